"""The doctor on real things: folders, databases, servers, a Ray session; nothing is played."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline import doctor
from pipeline.adapters.mlflow_health import check_mlflow
from pipeline.adapters.mlflow_tracker import initialize_database
from pipeline.adapters.optuna_ledger import OptunaLedger
from pipeline.adapters.ray_health import (
    TOKEN,
    TOKEN_PATH,
    Access,
    access,
    check_access,
    check_token_file,
)
from pipeline.adapters.study_database import STUDY_URI, study_database
from pipeline.adapters.study_health import check_study_database
from pipeline.data import EventsConfig, FramesConfig
from pipeline.health.addresses import redacted, sqlite_file, without_password
from pipeline.health.data_sets import check_data
from pipeline.health.databases import check_database
from pipeline.health.finding import Finding, Status, guarded, report
from pipeline.health.hardware import (
    check_clock,
    check_cpus_and_memory,
    check_gpus,
    check_shared_memory,
)
from pipeline.health.machine import examine_machine
from pipeline.health.mounts import NETWORK, mount_of
from pipeline.health.software import check_alike, check_packages, check_python
from pipeline.health.store import answer, check_room, check_shared, check_store, scratch_folder
from tests.data.recordings import random_events, write_nmnist, write_parquet
from tests.tiny import tiny_space, write_space

REPOSITORY = Path(__file__).parents[1]
GIB = 2**30


def only(findings) -> Finding:
    (finding,) = list(findings)
    return finding


@pytest.fixture(scope="module")
def machine():
    return examine_machine()


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = doctor.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out, captured.err


# The command.


def test_a_machine_that_is_fit(tmp_path, capsys):
    store = tmp_path / "a" / "store"
    code, printed, _ = run(capsys, "--store", store)
    assert code == 0, printed
    assert "Python" in printed
    assert "packages are in pyproject's ranges" in printed
    assert "is not there yet, and can be made" in printed
    assert "digits loads: 1,100 training" in printed
    assert not (tmp_path / "a").exists(), "the doctor leaves nothing behind"


def test_json_says_the_same(tmp_path, capsys):
    code, printed, _ = run(capsys, "--json", "--store", tmp_path)
    found = json.loads(printed)
    assert code == 0
    assert found["status"] in ("OK", "WARN")
    names = {row["name"] for row in found["findings"]}
    assert {"Python", "packages", "GPUs", "/dev/shm", "store", "MLflow", "data sets"} <= names
    for row in found["findings"]:
        assert set(row) == {"status", "name", "where", "found", "remedy"}
        assert row["status"] == "OK" or row["remedy"], row
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_store_should_be(tmp_path, capsys):
    (tmp_path / "runs").write_text("a file")
    code, printed, _ = run(capsys, "--store", tmp_path / "runs")
    assert code == 1
    assert "cannot be made a folder" in printed
    assert "-> Give another folder with --store" in printed
    assert "a sweep would fail" in printed
    assert (tmp_path / "runs").read_text() == "a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_store_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    finding = next(iter(check_store(tmp_path)))
    tmp_path.chmod(0o700)
    assert finding.status is Status.FAIL
    assert "cannot be written to" in finding.found


def test_wrong_arguments_are_told_at_once(tmp_path, capsys):
    code, _, error = run(capsys, "--space", tmp_path / "none.yaml")
    assert code == 2
    assert "none.yaml" in error
    for address in ("", "ray://10.0.0.1:10001", "a b:1", "10.0.0.1", "x;id:6379", "h:1\n"):
        code, _, error = run(capsys, "--address", address)
        assert code == 2, address
        assert "--address: expected host:port" in error
    with pytest.raises(SystemExit) as left:
        doctor.main(["--stores"])
    assert left.value.code == 2


def test_the_data_of_a_space(tmp_path, capsys):
    code, printed, _ = run(capsys, "--store", tmp_path, "--space", write_space(tmp_path))
    assert code == 0
    assert "digits loads: 200 training, 24 validation, 30 test images of 1x8x8" in printed
    assert "cifar" not in printed
    text = write_space(tmp_path).read_text()
    wanted = "{dataset: digits, num_train: 200, num_validation: 24, num_test: 30}"
    assert wanted in text
    path = tmp_path / "absent.yaml"
    path.write_text(text.replace(wanted, f"{{dataset: cifar10, root: {tmp_path}}}"))
    code, printed, _ = run(capsys, "--store", tmp_path, "--space", path)
    assert code == 1
    assert "cifar10 cannot be loaded" in printed
    assert "cifar-10-python.tar.gz" in printed


def test_event_data_of_a_space_is_looked_at_and_not_built(tmp_path):
    config = EventsConfig(
        root=str(tmp_path),
        sensor=(34, 34),
        frames=FramesConfig(num_frames=3, size=(8, 8)),
        num_test=2,
        num_validation=1,
    )
    rows = [random_events(9, seed=seed) for seed in range(6)]
    write_parquet(tmp_path / "train.parquet", rows, [0, 1] * 3)
    finding = only(check_data(config))
    assert finding.status is Status.OK
    assert "3 train, 1 validation, 2 test recordings in 2 classes" in finding.found
    assert "makes frames of 3x2x8x8" in finding.found
    write_parquet(tmp_path / "train.parquet", [random_events(1)] * 6, [0, 1] * 3)
    finding = only(check_data(config))
    assert finding.status is Status.FAIL
    assert "train.parquet: row" in finding.remedy
    assert "expected an event a frame or more" in finding.remedy


def test_event_data_that_lies_where_it_should(tmp_path):
    def found() -> dict[str, Status]:
        return {f.found.split()[0]: f.status for f in check_data(None, tmp_path)}

    assert found()["nmnist"] is Status.SKIPPED
    write_nmnist(tmp_path / "nmnist", 1, 1)
    assert found()["nmnist"] is Status.OK
    assert found()["cifar10_dvs"] is Status.SKIPPED


@pytest.mark.slow
def test_a_package_that_is_absent(tmp_path):
    """As on a machine where only some were installed: no traceback, and its name."""
    code = (
        "import sys; sys.modules['optuna'] = None; from pipeline.doctor import main; "
        f"sys.exit(main(['--store', {str(tmp_path)!r}]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert "The checks cannot be loaded" in result.stdout
    assert "optuna" in result.stdout


def test_a_check_that_raises_or_hangs_is_a_finding():
    def raises():
        raise RuntimeError("the disk\nis on fire")

    finding = only(guarded("disk", raises, 5.0))
    assert (finding.status, finding.name) == (Status.FAIL, "disk")
    assert "the disk is on fire" in finding.found
    finding = only(guarded("sleep", lambda: time.sleep(5), 0.05))
    assert "no answer within 0.05 s" in finding.found
    assert report([finding])["status"] == "FAIL"


def test_a_cluster_that_is_not_there(tmp_path, capsys):
    code, printed, _ = run(capsys, "--store", tmp_path, "--address", f"127.0.0.1:{free_port()}")
    assert code == 1
    assert "No Ray head answers at 127.0.0.1" in printed
    assert "They were not looked at" in printed


# Software and hardware: facts of this machine, some of them changed.


def test_versions_against_ranges():
    assert only(check_python(">=3.11,<3.14", "3.12.1")).status is Status.OK
    finding = only(check_python(">=3.11,<3.14", "3.9.2"))
    assert finding.status is Status.FAIL
    assert "3.9.2" in finding.found
    wanted = ["torch>=99", "no-such-package-xyz>=1", "numpy>=1", "x>1; python_version < '3'"]
    *wrong, right = check_packages(wanted)
    assert [f.status for f in wrong] == [Status.FAIL, Status.FAIL]
    assert "is outside the range >=99" in wrong[0].found
    assert "no-such-package-xyz (>=1) is not installed" in wrong[1].found
    assert right.found.startswith("1 packages")


def test_a_node_that_differs_from_the_driver(machine):
    assert [f.status for f in check_alike(machine, machine, "n")] == [Status.OK, Status.OK]
    other = replace(
        machine, python="3.99.1", versions=machine.versions | {"ray": "2.0"}, code="0" * 12
    )
    versions, code = check_alike(machine, other, "10.0.0.2")
    assert versions.status is code.status is Status.FAIL
    assert versions.where == "10.0.0.2"
    assert "Python 3.99.1 instead of" in versions.found
    assert "ray 2.0 instead of" in versions.found
    assert "mlflow" not in versions.found
    assert "000000000000" in code.found
    # In an image there is no git; the code is what counts.
    assert list(check_alike(machine, replace(machine, revision="unknown"), "n"))[1].status == "OK"


def test_gpus(machine):
    bare = replace(machine, cuda=None, driver=None, gpus=(), gpu_problem="", hidden=False)
    assert only(check_gpus(bare)).status is Status.OK
    unused = replace(bare, driver="550.54")
    assert only(check_gpus(unused)).status is Status.FAIL
    assert "torch built for CUDA none" in only(check_gpus(unused)).found
    assert only(check_gpus(replace(unused, hidden=True))).status is Status.SKIPPED
    there = replace(unused, cuda="12.8", gpus=("H100, 80 GiB",))
    assert only(check_gpus(there)).status is Status.OK
    assert only(check_gpus(replace(there, gpu_problem="no kernel image"))).status is Status.FAIL
    assert "Ray hands out 2 GPUs here, and torch sees 1" in list(check_gpus(there, "n", 2))[1].found


def test_memory_and_shared_memory(machine):
    tight = replace(
        machine, memory_bytes=16 * GIB, available_bytes=GIB, num_cpus=8, cpu_quota=2.0,
        shm_bytes=64 * 2**20,
    )  # fmt: skip
    cpus, memory = check_cpus_and_memory(tight)
    assert (cpus.status, memory.status) == (Status.WARN, Status.WARN)
    assert "--num-cpus 2" in cpus.remedy
    assert "1.0 of 16.0 GiB" in memory.found
    shm = only(check_shared_memory(tight))
    assert shm.status is Status.WARN
    assert "0.06 GiB, less than the 2.0" in shm.found
    # A small machine needs less: 30 % of 4 GiB.
    small = replace(tight, memory_bytes=4 * GIB, shm_bytes=int(1.25 * GIB))
    assert only(check_shared_memory(small)).status is Status.OK


def test_clocks_are_off_only_beyond_what_the_round_trip_hides():
    assert only(check_clock(2.0, 1.5, "n")).status is Status.OK
    assert only(check_clock(-2.0, 0.1, "n")).status is Status.WARN
    assert only(check_clock(40.0, 0.1, "n")).status is Status.FAIL


# The store.


def test_room():
    found = [only(check_room(int(size))).status for size in (4e8, 4e9, 6e9)]
    assert found == [Status.FAIL, Status.WARN, Status.OK]


MOUNTS = r"""
/dev/sda1 / ext4 rw 0 0
server:/export /shared nfs4 rw,vers=4.2 0 0
server:/x /with\040blank nfs rw 0 0
/dev/sdb /shared/local xfs rw 0 0
tmpfs /over tmpfs rw 0 0
//nas/over /over cifs rw 0 0
me@host: /ssh fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/home/a", "ext4", False),
        ("/shared", "nfs4", True),
        ("/shared/runs/x", "nfs4", True),
        ("/sharedx", "ext4", False),
        ("/shared/local/runs", "xfs", False),
        ("/with blank/runs", "nfs", True),
        ("/over/runs", "cifs", True),
        ("/ssh/a", "fuse.sshfs", True),
    ],
)
def test_which_file_system_a_path_lies_on(path, kind, network):
    mount = mount_of(Path(path), MOUNTS)
    assert mount.kind == kind
    assert bool(NETWORK.fullmatch(mount.kind)) is network


def test_a_store_that_a_node_sees_and_one_that_it_does_not(tmp_path):
    def ask(folder):
        answer(folder, "a")
        answer(folder, "b")
        Path(folder, "answer-b").write_text("from another folder of this name")
        try:
            answer(f"{tmp_path}/elsewhere", "c")
        except OSError as error:
            return {"a": "", "b": "", "c": error}

    sees, other, blind = check_shared(tmp_path, ask)
    assert [f.status for f in (sees, other, blind)] == [Status.OK, Status.FAIL, Status.FAIL]
    assert "does not show on the driver" in other.found
    assert "No such file" in blind.found
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays(tmp_path):
    (tmp_path / "runs").mkdir()
    with scratch_folder(tmp_path / "runs" / "new") as folder:
        assert folder.is_dir()
    assert list(tmp_path.rglob("*")) == [tmp_path / "runs"]


# Databases.


def test_passwords_are_hidden():
    url = "postgresql+psycopg2://me:p%40ss@db/optuna?sslmode=require&password=more"
    shown = without_password(url)
    assert shown == "postgresql+psycopg2://me:***@db/optuna?sslmode=require&password=***"
    for text in (f"cannot parse {url}", "user me with p@ss", "and more"):
        assert not {"p%40ss", "p@ss", "more"} & set(redacted(text, url).split())
    assert without_password("http://a:b@c@host:5000/x") == "http://a:***@host:5000/x"
    assert without_password("sqlite:////tmp/a.db") == "sqlite:////tmp/a.db"
    assert sqlite_file("sqlite:////tmp/a%20b.db?timeout=3") == Path("/tmp/a b.db")
    assert sqlite_file("postgresql://a/b") is None


def test_a_study_database(tmp_path, monkeypatch):
    monkeypatch.delenv(STUDY_URI, raising=False)
    assert "is not there yet" in only(check_study_database(tmp_path)).found
    assert list(tmp_path.iterdir()) == []
    OptunaLedger(study_database(tmp_path), "first", tiny_space(tmp_path), resume=False)
    finding = only(check_study_database(tmp_path))
    assert finding.status is Status.OK
    assert "is whole" in finding.found
    assert finding.found.endswith("Sweeps: first.")


def test_a_damaged_study_database(tmp_path, monkeypatch):
    monkeypatch.delenv(STUDY_URI, raising=False)
    (tmp_path / "study.db").write_bytes(b"no database at all" * 100)
    finding = only(check_study_database(tmp_path))
    assert finding.status is Status.FAIL
    assert "file is not a database" in finding.found
    # Half overwritten, as by a full disk.
    path = tmp_path / "half.db"
    connection = sqlite3.connect(path)
    connection.execute("create table t (x)")
    connection.executemany("insert into t values (?)", [("x" * 500,)] * 200)
    connection.commit()
    connection.close()
    content = bytearray(path.read_bytes())
    content[5000:40000] = b"\xff" * 35000
    path.write_bytes(content)
    finding = only(check_database("study", f"sqlite:///{path}", "S"))
    assert finding.status is Status.FAIL
    assert "is damaged" in finding.found


def test_a_database_that_does_not_answer_keeps_its_password(tmp_path, monkeypatch):
    secret = "hunter2"
    monkeypatch.setenv(STUDY_URI, f"postgresql+psycopg2://me:{secret}@127.0.0.1:{free_port()}/o")
    finding = only(check_study_database(tmp_path))
    assert finding.status is Status.FAIL
    assert secret not in finding.found + finding.remedy
    monkeypatch.setenv(STUDY_URI, f"nonsense:{secret}")
    finding = only(check_study_database(tmp_path))
    assert finding.status is Status.FAIL
    assert secret not in finding.found + finding.remedy


# MLflow.


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_mlflow_in_the_store(tmp_path):
    assert "is not there yet" in only(check_mlflow(tmp_path)).found
    initialize_database(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert only(check_mlflow(tmp_path)).status is Status.OK


@pytest.mark.parametrize("uri", ["runs/mlruns", "file:///tmp/mlruns"])
def test_mlflow_in_a_folder(tmp_path, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    finding = only(check_mlflow(tmp_path))
    assert finding.status is Status.FAIL
    assert "is a folder" in finding.found


def test_an_mlflow_that_is_dead_or_silent(tmp_path, monkeypatch):
    began = time.monotonic()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{free_port()}")
    finding = only(check_mlflow(tmp_path))
    assert finding.status is Status.FAIL
    assert "No server answers" in finding.found
    assert "hunter2" not in finding.found
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        assert only(check_mlflow(tmp_path)).status is Status.FAIL
    assert time.monotonic() - began < 8


@pytest.mark.slow
def test_a_real_mlflow_server_and_its_host_check(tmp_path, monkeypatch):
    """A container's name is what a server does not know until it is told."""
    port = free_port()
    uri = f"sqlite:///{tmp_path / 'server.db'}"
    initialize_database(uri)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--default-artifact-root", str(tmp_path / "artifacts"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--allowed-hosts", f"127.0.0.1:{port}"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server)
        MlflowClient(f"http://127.0.0.1:{port}").create_experiment("some")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        assert only(check_mlflow(tmp_path)).status is Status.OK
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://localhost:{port}")
        finding = only(check_mlflow(tmp_path))
        assert finding.status is Status.FAIL
        assert "Host check answers 403" in finding.found
        assert "--allowed-hosts" in finding.remedy
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def _wait_for(address: str, server: subprocess.Popen) -> None:
    for _ in range(240):
        assert server.poll() is None
        try:
            urllib.request.urlopen(address, timeout=1).close()
        except OSError:
            time.sleep(0.25)
        else:
            return
    pytest.fail("the server did not start")


# Ray.


def test_the_token_file(tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN, "")
    path = tmp_path / "token"
    monkeypatch.setenv(TOKEN_PATH, str(path))
    assert only(check_token_file()).status is Status.FAIL
    path.write_text("0123456789abcdef")
    path.chmod(0o640)
    finding = only(check_token_file())
    assert finding.status is Status.WARN
    assert f"chmod 600 {path}" in finding.remedy
    assert "0123456789abcdef" not in finding.found + finding.remedy
    path.chmod(0o600)
    assert only(check_token_file()).status is Status.OK
    monkeypatch.setenv(TOKEN, "0123456789abcdef")
    assert "no file is read" in only(check_token_file()).found


@pytest.mark.ray
def test_a_cluster_from_head_to_store(ray_session, tmp_path, capsys):
    head = ray_session.get_runtime_context().gcs_address
    code, printed, _ = run(capsys, "--json", "--address", head, "--store", tmp_path)
    found = {(row["name"], row["where"]): row for row in json.loads(printed)["findings"]}
    (node,) = {where for _, where in found} - {"this machine", "the cluster"}
    for name in ("versions", "code", "CPUs", "clock", "shared store"):
        assert found[name, node]["status"] == "OK", found[name, node]
    assert found["Ray token", "the cluster"]["found"] == (
        "The cluster asks for a token, and takes ours."
    )
    # The shared session hands out two GPUs that are not there.
    assert "Ray hands out 2 GPUs here" in found["GPUs", node]["found"]
    assert code == 1
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".doctor")] == []
    assert ray_session.is_initialized()


@pytest.mark.ray
def test_a_token_that_the_cluster_refuses(ray_session, tmp_path, monkeypatch):
    head = ray_session.get_runtime_context().gcs_address
    assert access(head) is Access.TAKEN
    monkeypatch.setenv(TOKEN, "f" * 64)
    assert access(head) is Access.REFUSED
    finding = only(check_access(head, Access.REFUSED))
    assert finding.status is Status.FAIL
    assert "f" * 64 not in finding.found
    monkeypatch.setenv(TOKEN, "")
    monkeypatch.setenv(TOKEN_PATH, str(tmp_path / "none"))
    assert access(head) is Access.MISSING


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_that_lets_anybody_in(tmp_path):
    """A head started without a token, as by a bare `ray start --head`: only its own processes."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    code = (
        "import sys, ray; ray.init(address='local', num_cpus=1, include_dashboard=False, "
        "log_to_driver=False, object_store_memory=100 * 2**20); "
        "print(ray.get_runtime_context().gcs_address, flush=True); sys.stdin.read(); ray.shutdown()"
    )
    head = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        address = head.stdout.readline().strip()
        assert access(address) is Access.OPEN
        finding = only(check_access(address, Access.OPEN))
        assert finding.status is Status.FAIL
        assert "whoever reaches this port runs code" in finding.found
    finally:
        head.stdin.close()
        head.wait(60)


@pytest.mark.slow
def test_help_teaches_with_examples():
    result = subprocess.run(
        [sys.executable, "-m", "pipeline.doctor", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "python -m pipeline.doctor --address" in result.stdout
    assert "exit code: 0" in result.stdout
