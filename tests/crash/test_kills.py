"""kill -9 of the driver in every phase: what is resumed ends as if nothing had happened.

Three kills by default. SPIKEPROOF_KILLS=24 (any number) runs through all places, several times if
need be, and through random moments; README's test command leaves that to those who want it, and
so it does with links that die between nodes.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from tests.crash.partition import possible
from tests.test_sweep import AUDIT, rows_of
from tests.tiny import write_space

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[2]
LEDGER = "pipeline.adapters.optuna_ledger:OptunaLedger"
DRIVER = "pipeline.sweep_driver:Driver"
STORE = "pipeline.adapters.parquet_store:ParquetStore"
SPOOL = "pipeline.adapters.spool:Spool"
PLACES = {
    "asked": [
        f"after/{LEDGER}._next/1",
        f"before/{LEDGER}._write/2",
        f"after/{LEDGER}.ask/2",
        f"before/{DRIVER}._started/3",
    ],
    "training": [f"after/{DRIVER}._epoch/1", f"before/{DRIVER}._epoch/3"],
    "between training and evaluation": [
        f"before/{DRIVER}._trained/1",
        f"after/{DRIVER}._trained/2",
        f"before/{DRIVER}._evaluate/1",
    ],
    "evaluating": [f"before/{STORE}.put/3", f"after/{STORE}.put/8", f"after/{SPOOL}.append/9"],
    "telling": [
        f"before/{LEDGER}._finish/1",
        f"after/{LEDGER}._finish/1",
        "after/pipeline.publisher:Publisher.ended/1",
        f"before/{SPOOL}.deliver/7",
    ],
    "reporting": [
        f"before/{DRIVER}._report/1",
        "after/pipeline.publisher:Publisher.reported/1",
        f"before/{DRIVER}._audit/1",
        "before/pipeline.sweep_driver:store_audit/1",
        "before/pipeline.sweep_driver:write_report/1",
        "after/pipeline.sweep_files:SweepFiles.end/1",
    ],
}
FEW = (("training", 1), ("telling", 0), ("reporting", 3))
"""Of the default run: phase, and place in it."""
TIMES = {"training_s", "evaluation_s", "wall_s"}


def command(folder: Path, store: str, place: str, *more: str, script: str = "driver") -> list[str]:
    (folder / "trust.yaml").write_text(AUDIT)
    overrides = [f"report.audit={folder / 'trust.yaml'}", "report.audit_samples=12",
                 "training.epochs=3", "report.num_samples=12"]  # fmt: skip
    arguments = ["--space", str(write_space(folder)), "--store", str(folder / store)]
    for item in overrides:
        arguments += ["--set", item]
    return [sys.executable, "-m", f"tests.crash.{script}", place, *arguments, *more]


def run(
    folder: Path,
    store: str,
    place: str = "nowhere",
    *,
    kill_after_s: float | None = None,
    script: str = "driver",
) -> int:
    """The exit code of one driver; it resumes where there is something to resume."""
    started = optuna_names(folder / store)
    more = ["--resume"] if "tiny" in started else []
    # Not what this process's own Ray has put there: a token mode without a token in that home.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = inherited | {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
    with (folder / f"{store}.log").open("a") as log:
        process = subprocess.Popen(
            command(folder, store, place, *more, script=script),
            env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            return process.wait(kill_after_s or 280)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert kill_after_s is not None, (folder / f"{store}.log").read_text()[-3000:]
            return -signal.SIGKILL


def printed(folder: Path) -> str:
    """What the driver printed, to the terminal and, as engines do, into the sweep's log."""
    logs = (folder / "store.log", folder / "store/sweeps/tiny/sweep.log")
    return "".join(path.read_text() for path in logs if path.is_file())


def optuna_names(store: Path) -> list[str]:
    if not (store / "study.db").is_file():
        return []
    return optuna.get_all_study_names(f"sqlite:///{store / 'study.db'}")


def study(store: Path):
    """All trials of both studies, without what differs from run to run."""
    found = {}
    for name in ("tiny", "tiny.baselines"):
        known = optuna.load_study(study_name=name, storage=f"sqlite:///{store / 'study.db'}")
        for trial in known.trials:
            row = {k: v for k, v in json.loads(trial.user_attrs["row"]).items() if k not in TIMES}
            found[name, trial.number] = (trial.state.name, trial.params, trial.values, row)
    return found


def tracked(store: Path):
    """All of MLflow, without what differs from run to run; of times, how many there are."""
    client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    found = {}
    for item in client.search_runs([experiment.experiment_id]):
        tags = {k: v for k, v in item.data.tags.items() if not k.startswith("mlflow.")}
        tags.pop("spikeproof.note_sha256", "")  # of a text with ids
        metrics = {}
        for name in item.data.metrics:
            points = client.get_metric_history(item.info.run_id, name)
            timed = name in TIMES or name.endswith("epoch_s")
            metrics[name] = [(p.step, None if timed else p.value) for p in points]
            if name in TIMES:  # of each interrupted run the sweep's run has one
                metrics[name] = [(0, None)]
        files = sorted(artifact.path for artifact in client.list_artifacts(item.info.run_id))
        data = sorted(used.dataset.name for used in item.inputs.dataset_inputs)
        found[item.info.run_name] = (item.info.status, item.data.params, tags, metrics, files, data)
    for version in client.search_model_versions("name = 'spikeproof-tiny'"):
        known = client.get_model_version(version.name, version.version)
        name = f"version {version.version}"
        found[name] = (sorted(known.aliases), known.tags, known.description)
    return found


def equal(broken: Path, whole: Path) -> None:
    """Same trials, same rows, same networks, same runs."""
    assert study(broken) == study(whole)
    for kind in ("verdicts", "measurements", "probes"):
        pd.testing.assert_frame_equal(rows_of(broken, kind), rows_of(whole, kind))
    names = sorted(path.relative_to(whole) for path in (whole / "trials").rglob("*.safetensors"))
    assert len(names) == 3
    for name in names:
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    left, right = tracked(broken), tracked(whole)
    assert "version 2" in right
    assert left.keys() == right.keys()
    for name in right:
        assert left[name] == right[name], name
    damaged = list(broken.rglob("*.damaged-*")) + list(broken.rglob("*.tmp"))
    assert [path for path in damaged if "damaged" in path.name] == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    folder = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    assert run(folder, "store") == 0, (folder / "store.log").read_text()[-3000:]
    return folder / "store", time.monotonic() - started


def test_killed_again_and_again_and_resumed_nothing_is_lost(tmp_path, undisturbed):
    """Each driver is killed once; the last one is left alone."""
    whole, seconds = undisturbed
    wanted = int(os.environ.get("SPIKEPROOF_KILLS", "3"))
    chosen = [(phase, PLACES[phase][index]) for phase, index in FEW]
    if wanted > len(FEW):
        chosen = [(phase, place) for phase, places in PLACES.items() for place in places]
        chance = random.Random(0)
        moments = [chance.uniform(0.2, 0.95) * seconds for _ in range(8)]
        chosen += [("any moment", f"{moment:.1f} s") for moment in moments]
        chosen = (chosen * (wanted // len(chosen) + 1))[:wanted]
    kills: Counter[str] = Counter()
    store, number = "store-0", 0
    for phase, place in chosen:
        moment = float(place.removesuffix(" s")) if phase == "any moment" else None
        asked = ("nowhere", moment) if moment else (place, None)
        code = run(tmp_path, store, asked[0], kill_after_s=asked[1])
        if code == 0:  # this sweep was over before it came to the place: the next one is killed
            equal(tmp_path / store, whole)
            number += 1
            store = f"store-{number}"
            code = run(tmp_path, store, asked[0], kill_after_s=asked[1])
        if code == -signal.SIGKILL:
            kills[phase] += 1
            continue
        assert code == 0, (tmp_path / f"{store}.log").read_text()[-3000:]
    assert run(tmp_path, store) == 0, (tmp_path / f"{store}.log").read_text()[-3000:]
    equal(tmp_path / store, whole)
    sys.stdout.write(f"\n{sum(kills.values())} kills in {number + 1} sweeps: {dict(kills)}\n")
    assert sum(kills.values()) >= min(wanted, len(FEW))


@pytest.mark.parametrize("when", ["training", "evaluating"])
def test_a_node_dies_and_its_work_is_done_elsewhere(tmp_path, undisturbed, when):
    whole, _ = undisturbed
    code = run(tmp_path, "store", when, script="nodes")
    told = printed(tmp_path)
    assert code == 0, told[-3000:]
    assert f"a node dies while {when}" in told
    assert "2 nodes are alive" in told  # the head, and one that works
    equal(tmp_path / "store", whole)


@pytest.mark.skipif("SPIKEPROOF_KILLS" not in os.environ, reason="minutes: set SPIKEPROOF_KILLS")
@pytest.mark.parametrize("when", ["training", "evaluating"])
def test_a_link_dies_silently_and_comes_back(tmp_path, undisturbed, when):
    """The node behind it goes on working unseen, until it hears that it was given up."""
    if reason := possible():
        pytest.skip(reason)
    whole, _ = undisturbed
    code = run(tmp_path, "store", when, script="partition")
    told = printed(tmp_path)
    assert code == 0, told[-3000:]
    steps = ("nodes: 10.213.77.1, 10.213.77.2", f"the link is dead while {when}",
             "1 node is left after", "the link is back",
             "0 workers are left on the other node")  # fmt: skip
    assert [step for step in steps if step not in told] == []
    equal(tmp_path / "store", whole)
