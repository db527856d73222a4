import subprocess
import sys
from pathlib import Path

import pytest
from stores import trial, write_sweep, write_uniform

from reports.build import main
from reports.build_run import build_report

ROOT = Path(__file__).parents[2]


def test_the_only_sweep_needs_no_name(study_store, capsys):
    assert main(["--store", str(study_store)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == str(study_store / "reports/demo/index.html")
    assert Path(last).is_file()


def test_several_sweeps_must_be_named(study_store, capsys):
    write_sweep(study_store, "second", [])
    assert main(["--store", str(study_store)]) == 2
    captured = capsys.readouterr()
    assert "demo, second" in captured.err
    assert captured.out == ""


def test_several_sweeps_get_a_page_each(study_store, tmp_path_factory, capsys):
    write_sweep(study_store, "second", [])
    out = tmp_path_factory.mktemp("out")
    assert main(["--store", str(study_store), "--sweep", "demo", "second", "--out", str(out)]) == 0
    expected = [str(out / name / "index.html") for name in ("demo", "second")]
    assert capsys.readouterr().out.splitlines() == expected


def test_out_folder_is_taken_as_it_is(study_store, tmp_path):
    assert build_report(study_store, "demo", tmp_path / "here") == tmp_path / "here/index.html"


@pytest.mark.parametrize("name", ["../demo", "missing"])
def test_bad_names_exit_with_two_and_write_nothing(study_store, capsys, name):
    assert main(["--store", str(study_store), "--sweep", name]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (study_store / "reports").exists()


def test_empty_store_says_what_to_do(tmp_path, capsys):
    assert main(["--store", str(tmp_path)]) == 2
    assert "pipeline.sweep" in capsys.readouterr().err


@pytest.mark.slow
def test_command_loads_no_engine(tmp_path):
    write_sweep(tmp_path, "s", [trial("a")])
    write_uniform(tmp_path, "a", 9, 5)
    code = (
        "import sys; from reports.build import main; "
        f"status = main(['--store', {str(tmp_path)!r}]); "
        "assert not {'torch', 'ray', 'optuna', 'mlflow'} & set(sys.modules); sys.exit(status)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
