"""The same store in an S3-compatible object store: a server's process, not a stand-in for one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest

from models import InputSpec, build_model
from pipeline import checkpoints
from pipeline.adapters.parquet_store import ParquetStore
from pipeline.command_line import place
from pipeline.errors import ConfigError, DamagedError
from pipeline.files import (
    local_folder,
    modified_ns,
    open_store,
    set_aside,
    store_path,
    takes_nothing,
    write_atomically,
)
from pipeline.health.store import check_shared, check_store
from pipeline.object_path import ObjectPath, StoreUnreachableError
from pipeline.sweep import main
from reports.build_run import build_report
from reports.store import read_measurements, read_trials, read_verdicts, sweep_names
from tests.contracts.test_result_store import KEY, block
from tests.tiny import tiny_space, write_space

ROOT = Path(__file__).parents[1]


@pytest.fixture
def store(bucket, tmp_path, monkeypatch) -> ObjectPath:
    """A place of its own in the bucket, and a working folder for what stays on this machine."""
    monkeypatch.chdir(tmp_path)
    return bucket / tmp_path.name


def test_a_store_is_a_path_or_a_bucket():
    assert store_path("runs/a") == Path("runs/a")
    found = store_path("s3://bucket/some/prefix/")
    assert found == ObjectPath("bucket/some/prefix")
    assert str(found) == "s3://bucket/some/prefix"
    assert local_folder(found) == Path("runs/s3/bucket/some/prefix")


@pytest.mark.parametrize("text", ["s3://", "s3:///", "gs://bucket", "s3://bucket/../other", "://a"])
def test_what_names_no_bucket_is_one_message(text):
    with pytest.raises(ConfigError, match="expected a path or s3://bucket/prefix"):
        store_path(text)
    with pytest.raises(Exception, match="expected a path or s3://bucket/prefix, got"):
        place(text)


def test_an_object_is_replaced_listed_and_removed(store):
    path = store / "a" / "b.json"
    assert not path.exists()
    assert not path.is_file()
    with pytest.raises(FileNotFoundError):
        path.read_bytes()
    write_atomically(path, b"one")
    first = modified_ns(path)
    write_atomically(path, b"two, and longer")
    assert path.read_text() == "two, and longer"
    assert modified_ns(path) >= first > 0
    assert path.is_file()
    assert (store / "a").exists()
    assert not (store / "a").is_file()
    write_atomically(store / "a" / "deeper" / "b.json", b"")
    assert list((store / "a").glob("*.json")) == [path]
    assert list(store.glob("*/b.json")) == [path]
    assert list((store / "none").glob("*")) == []
    aside = set_aside(path)
    assert aside.name == "b.json.damaged-1"
    assert aside.read_text() == "two, and longer"
    assert not path.is_file()
    assert modified_ns(path) == 0


def test_a_damaged_block_is_set_aside_and_computed_again(store):
    told: list[str] = []
    blocks = ParquetStore(store, damaged=told.append)
    blocks.put(KEY, block())
    path = blocks.path(KEY)
    path.write_bytes(path.read_bytes()[:-20])
    assert not ParquetStore(store, damaged=told.append).has(KEY)
    assert len(told) == 1
    assert "set aside as" in told[0]
    again = ParquetStore(store)
    again.put(KEY, block())
    assert again.get(KEY).columns["robust"].tolist() == [True, False, True]


def test_a_checkpoint_comes_back_and_a_damaged_one_is_named(store, tmp_path):
    spec = InputSpec(channels=1, height=8, width=8, num_classes=10)
    trial = tiny_space(tmp_path).trial("vanilla")
    model = build_model(trial.model, spec)
    path = store / "trials" / "f00d" / checkpoints.FILE_NAME

    checkpoints.save(path, model, None, epoch=1, config=trial, fingerprint="f00d", spec=spec)
    rebuilt = checkpoints.rebuild(checkpoints.load(path))
    for name, tensor in model.state_dict().items():
        assert (rebuilt.state_dict()[name] == tensor).all()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match="s3://spikeproof/.*SHA-256"):
        checkpoints.load(path)


def test_no_such_bucket_and_no_server_are_one_message(object_store, store, monkeypatch):
    with pytest.raises(ConfigError, match=r"--store: s3://nobody/x/.*AWS_ENDPOINT_URL"):
        open_store(ObjectPath("nobody/x"))
    code = (
        "from pipeline.files import *\n"
        "try: open_store(ObjectPath('spikeproof/x'))\n"
        "except ConfigError as error: print(error, bool(takes_nothing(error)))\n"
    )
    environment = os.environ | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=environment, cwd=ROOT, timeout=120, check=True).stdout  # fmt: skip
    assert said.startswith("--store: s3://spikeproof/x/.probe-")
    assert said.rstrip().endswith("True")


def test_only_what_the_store_says_is_the_store_s_trouble():
    assert takes_nothing(StoreUnreachableError("gone"))
    assert not takes_nothing(FileNotFoundError("gone"))
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("the evaluator stopped") from StoreUnreachableError("s3://b: gone")
    assert takes_nothing(caught.value) == "s3://b: gone"


def test_the_doctor_looks_at_an_object_store(store):
    findings = list(check_store(store))
    assert "may be written to" in findings[0].found
    assert {finding.status.name for finding in findings} <= {"OK", "WARN"}
    from pipeline.health.store import answer

    def ask(folder):
        answer(folder, "one")
        return {"one": "", "two": ""}

    levels = {f.where: f.status.name for f in check_shared(store, ask)}
    assert levels["one"] == "OK"
    assert levels["two"] == "FAIL"
    assert list(store.glob("*/*")) == []


def sweep(folder: Path, place: str, *more: str) -> "subprocess.Popen[bytes]":
    """A driver that dies at a place (`nowhere`: that does not)."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.crash.driver", place, "--space",
             str(write_space(folder)), *more],
            env=inherited | {"PYTHONPATH": str(ROOT), "HOME": str(folder)},
            cwd=folder, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def tables(store, kind, read):
    """Rows of all trials, in one order."""
    rows = read_trials(store, "tiny")
    splits = ("validation", "test")
    frame = pd.concat([read(store, row.fingerprint, split).assign(f=row.fingerprint, split=split)
                       for row in rows for split in splits])  # fmt: skip
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_killed_and_cut_off_ends_as_one_on_disk(object_store, store, tmp_path, capsys):
    """Killed once; once more the server falls silent; at the end the rows are those of a disk."""
    said = tmp_path / "log"
    put = "pipeline.adapters.parquet_store:ParquetStore.put/6"
    assert sweep(tmp_path, f"after/{put}", "--store", str(store)).wait(400) == -signal.SIGKILL
    assert sweep_names(store) == ["tiny"]
    driver = sweep(tmp_path, "nowhere", "--store", str(store), "--resume")
    try:
        deadline = time.monotonic() + 200
        while "validation clean" not in said.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        object_store.send_signal(signal.SIGSTOP)
        assert driver.wait(400) == 1, said.read_text()[-3000:]
    finally:
        object_store.send_signal(signal.SIGCONT)
        driver.kill()
    assert "takes nothing (s3://spikeproof/" in said.read_text()
    assert "--resume" in said.read_text().splitlines()[-1]
    code = sweep(tmp_path, "nowhere", "--store", str(store), "--resume").wait(400)
    assert code == 0, said.read_text()[-3000:]
    assert sweep(tmp_path, "nowhere", "--store", "disk").wait(400) == 0
    disk = tmp_path / "disk"
    for kind, read in (("verdicts", read_verdicts), ("measurements", read_measurements)):
        pd.testing.assert_frame_equal(tables(store, kind, read), tables(disk, kind, read))
    for path in (disk / "trials").glob("*/checkpoint.safetensors"):
        copy = store / path.relative_to(disk).as_posix()
        assert copy.read_bytes() == path.read_bytes()
    page = tmp_path / local_folder(store) / "reports" / "tiny" / "index.html"
    assert (store / "reports" / "tiny" / "index.html").read_bytes() == page.read_bytes()
    again = build_report(store, "tiny", tmp_path / "page")
    assert again.is_file()
    names = optuna.get_all_study_names(f"sqlite:///{tmp_path / local_folder(store) / 'study.db'}")
    assert sorted(names) == ["tiny", "tiny.baselines"]
    # On another machine, where the study is not.
    shutil.rmtree(tmp_path / "runs")
    command = ["--space", str(tmp_path / "tiny.yaml"), "--store", str(store)]
    assert main(command) == 0  # it is complete
    facts = store / "sweeps" / "tiny" / "sweep.json"
    facts.write_bytes(facts.read_bytes().replace(b'"complete": true', b'"complete": false'))
    assert main(command) == 2
    assert "was begun in s3://" in capsys.readouterr().err
