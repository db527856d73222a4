"""What goes wrong around a sweep: damaged files, a second driver, impatience, a full disk."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from pipeline.adapters.driver_lock import only_driver
from pipeline.errors import ConfigError
from tests.test_sweep import done, rows_of, sweep  # noqa: F401 - a fixture
from tests.tiny import write_space

ROOT = Path(__file__).parents[1]


def flip(path: Path, *places: float) -> None:
    raw = bytearray(path.read_bytes())
    for where in places:
        raw[int(len(raw) * where)] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flipped", "short", "gone"])
def test_what_is_damaged_is_named_set_aside_and_made_again(
    done, tmp_path, ray_session, capsys, caplog, damage  # noqa: F811
):  # fmt: skip
    whole, broken = done / "store", tmp_path / "store"
    shutil.copytree(whole, broken)
    (verdicts,) = [path for path in (broken / "verdicts").rglob("*/test/fgsm+rga-*-0-12.parquet")
                   if "vanilla" not in str(path)][:1]  # fmt: skip
    checkpoint = broken / "trials" / verdicts.parts[-3] / "checkpoint.safetensors"
    # Of a network that is told, what it was told by.
    judged = next((broken / "verdicts").rglob("*/validation/pgd2+rga-*-12-24.parquet"))
    busy = {checkpoint.parent.name, judged.parts[-3]}
    logs = (broken / "trials").glob("*/epochs.jsonl")
    curves = next(path for path in logs if path.parent.name not in busy)
    curves.write_text(curves.read_text()[:-30])
    for path in (verdicts, checkpoint, judged):
        if damage == "flipped":
            # Several: one alone may hit what nobody reads.
            flip(path, *([0.7] if path == checkpoint else [0.1, 0.15, 0.2, 0.25]))
        elif damage == "short":
            path.write_bytes(path.read_bytes()[:-100])
        else:
            path.unlink()
    assert sweep(done, broken, resume=True) == 0
    printed = capsys.readouterr().out
    assert "it is trained again" in printed
    assert "set aside as epochs.jsonl.damaged-1" in caplog.text
    aside = sorted(path.name for path in broken.rglob("*.damaged-1"))
    if damage == "gone":
        assert aside == ["epochs.jsonl.damaged-1"]
    else:
        damaged = (checkpoint, curves, judged, verdicts)
        assert aside == sorted(f"{path.name}.damaged-1" for path in damaged)
        assert all(path.name in printed for path in (checkpoint, judged, verdicts))
    name = checkpoint.relative_to(broken)
    assert checkpoint.read_bytes() == (whole / name).read_bytes()
    pd.testing.assert_frame_equal(rows_of(broken), rows_of(whole))


def test_a_second_driver_is_refused_and_a_dead_one_holds_nothing_up(tmp_path):
    folder = tmp_path / "sweeps" / "tiny"
    script = (
        "import sys, time; from pathlib import Path\n"
        "from pipeline.adapters.driver_lock import only_driver\n"
        "with only_driver('sqlite:///x.db', Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    try:
        with pytest.raises(ConfigError, match=f"process {holder.pid} on .* since .*--name"):
            sweep(tmp_path, tmp_path)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with only_driver("sqlite:///x.db", folder):
        pass


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A PostgreSQL of our own, where its programs are installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL's programs are not installed (package postgresql)")
    psycopg2 = pytest.importorskip("psycopg2")
    programs, folder = programs[-1].parent, tmp_path_factory.mktemp("postgres")
    who = {"user": "postgres"} if os.geteuid() == 0 else {}
    if who:
        shutil.chown(folder, "postgres")
        for parent in folder.parents[:3]:
            parent.chmod(0o755)
    data, socket = folder / "data", f"-c listen_addresses='' -k {folder}"
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust"], check=True,
                   stdout=subprocess.DEVNULL, cwd=folder, **who)  # fmt: skip
    control = [programs / "pg_ctl", "-D", data, "-w"]
    subprocess.run([*control, "-o", socket, "start"], check=True, stdout=subprocess.DEVNULL,
                   cwd=folder, **who)  # fmt: skip
    assert psycopg2
    yield f"postgresql+psycopg2://postgres@/postgres?host={folder}"
    subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL,
                   cwd=folder, **who)  # fmt: skip


def test_drivers_that_share_a_database_but_no_disk_exclude_each_other(postgres, tmp_path):
    refused = pytest.raises(ConfigError, match="another driver works on sweep 's'")
    with only_driver(postgres, tmp_path / "here" / "s"):
        with refused, only_driver(postgres, tmp_path / "there" / "s"):
            pass
        with only_driver(postgres, tmp_path / "there" / "other"):
            pass
    with only_driver(postgres, tmp_path / "there" / "s"):
        pass


@pytest.mark.ray
@pytest.mark.slow
def test_a_sweep_runs_in_postgresql(postgres, tmp_path, ray_session, monkeypatch):
    monkeypatch.setenv("SPIKEPROOF_STUDY_URI", postgres)
    assert sweep(tmp_path, tmp_path / "store", "training.epochs=1") == 0
    assert not (tmp_path / "store" / "study.db").exists()
    assert sweep(tmp_path, tmp_path / "store", "training.epochs=1", resume=True) == 0


IMPATIENT = """
import time
from pipeline.interrupts import interruptible
with interruptible():
    try:
        print("working", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("finishing", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_and_the_second_stops_at_once(number):
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    assert process.stdout.readline() == "finishing\n"
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "once more stops at once" in told
    assert "stopped at once; nothing finished is lost" in told
    assert "Traceback" not in told


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own; a function sets its size."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: str, *more: str) -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join([*more, f"size={size}"]), "tmpfs", place],
            check=True,
            capture_output=True,
        )

    try:
        mount("10m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system cannot be mounted here (that takes root)")
    yield place, lambda size: mount(size, "remount")
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.ray
@pytest.mark.slow
def test_a_full_disk_is_a_clear_stop_and_room_lets_it_go_on(small_disk, tmp_path):
    """40 KiB are free when the driver starts again: no epoch's checkpoint fits."""
    disk, resize = small_disk
    write_space(tmp_path)
    command = [sys.executable, "-m", "pipeline.sweep", "--space", str(tmp_path / "tiny.yaml")]
    command += ["--store", str(disk / "store"), "--set", "report.num_samples=12"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}

    def run(*more: str) -> tuple[int, str]:
        result = subprocess.run(
            [*command, *more], env=environment, capture_output=True, text=True, timeout=280,
            check=False, cwd=tmp_path,
        )  # fmt: skip
        return result.returncode, result.stdout + result.stderr

    # The databases first, so that there is something to go on with.
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    while not list((disk / "store").glob("trials/*/epochs.jsonl")):
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    free = shutil.disk_usage(disk).free
    (disk / "ballast").write_bytes(b"x" * max(0, free - 40 * 1024))
    code, told = run("--resume")
    assert code == 1, told
    assert "is full" in told
    assert "--resume" in told
    assert "Traceback" not in told
    resize("300m")
    code, told = run("--resume")
    assert code == 0, told
    whole = tmp_path / "whole"
    assert sweep(tmp_path, whole, "report.num_samples=12") == 0
    pd.testing.assert_frame_equal(rows_of(disk / "store"), rows_of(whole))
