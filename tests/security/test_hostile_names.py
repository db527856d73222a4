"""Names and paths: they also name folders, runs and artifacts."""

import shlex
import subprocess

import pytest

from pipeline import doctor, evaluate, sweep, train
from pipeline.adapters.mlflow_tracker import open_tracker
from reports import build
from tests.tiny import write_space

NAMES = [
    "..", ".", "../x", "a/b", "/x", "a\\b", "a\0b", "a\nb", "a\n", "-x", "--", "$(touch CANARY)",
    "`touch CANARY`", "; touch CANARY", "<script>alert(1)</script>", "a' or '1'='1", "a" * 65,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_sweeps(tmp_path, canary, refused, name):
    name = name.replace("CANARY", str(canary))
    space = write_space(tmp_path)
    assert "--name" in refused(sweep.main, "--space", space, f"--name={name}")
    refused(build.main, "--store", tmp_path, f"--sweep={name}")


@pytest.mark.parametrize(
    "store", ["a\0b", "/proc/nope", "/dev/null/x", "/dev/full", "x" * 300, "--"]
)
def test_stores(tmp_path, refused, store):
    space = write_space(tmp_path)
    for command in (sweep, train):
        refused(command.main, "--space", space, f"--store={store}")
    refused(build.main, f"--store={store}")


@pytest.mark.parametrize("out", ["a\0b", "/dev/null/x"])
def test_report_folders(refused, out, study_of_a_stranger):
    refused(build.main, "--store", study_of_a_stranger, f"--out={out}")


def test_a_doctor_for_odd_stores(tmp_path, canary, capsys):
    for store in ("a\0b", "/dev/null/x", f"$(touch {canary})"):
        code = doctor.main(["--json", f"--store={tmp_path}/{store}"])
        assert code in (0, 1)
        assert "Traceback" not in "".join(capsys.readouterr())
    assert not canary.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x:make", ":x", "x:", "\0:a", "os:no", "os:path:x", "a b:c"])
def test_names_of_functions(tmp_path, refused, name):
    refused(
        evaluate.main,
        *("--checkpoint", tmp_path / "w.pt", "--model", name, "--data", "digits"),
        *("--suite", "quick", "--store", tmp_path / "store"),
    )


def test_artifacts_stay_in_the_store(tmp_path, canary):
    """File names that a server would read as a way out, or a shell as a command."""
    store, files = tmp_path / "store", tmp_path / "files"
    store.mkdir()
    files.mkdir()
    names = ["..%2f..%2f..%2fout", "%2e%2e", "a\nb", f"$(touch {canary.name})", "-x", "<b>.html"]
    paths = [files / name for name in names]
    for path in paths:
        path.write_text("x")
    tracker = open_tracker(store, "study", store / "mlflow.spool")
    tracker.start_sweep("study", {}, [])
    tracker.finish_sweep({}, [str(path) for path in paths], complete=True)
    tracker.close()  # what MLflow refuses is a line of text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "store"]
    assert sorted(path.name for path in store.iterdir()) == [
        "artifacts",
        "mlflow.db",
        "mlflow.spool",
        "mlflow.spool.sent",
    ]
    assert not canary.exists()


def test_the_resume_command_is_quoted_for_a_shell(tmp_path, canary):
    from pipeline.sweep_run import _resume_command

    space = sweep.read_space(write_space(tmp_path), [])
    command = _resume_command(
        space,
        tmp_path / f"a; touch {canary}",
        [f"description=$(touch {canary})"],
        tmp_path / f"`touch {canary}`",
        space.name,
        None,
    )
    subprocess.run(["sh", "-c", shlex.join(["true", *command[1:]])], check=True)
    assert not canary.exists()
