"""The whole road on the smallest study: run, resume, interrupt, GPUs declared to Ray."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import ConfigError
from pipeline.records import VERDICT_COLUMNS
from pipeline.sweep import main
from pipeline.sweep_run import run_sweep
from tests.tiny import tiny_space, write_space

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def sweep(folder, store, *overrides, name="tiny", resume=False):
    return run_sweep(
        tiny_space(folder, *overrides),
        space_file=folder / "tiny.yaml",
        overrides=overrides,
        store=store,
        name=name,
        resume=resume,
        address=None,
    )


def rows_of(store: Path, kind="verdicts"):
    """All stored rows in a fixed order."""
    frames = [pd.read_parquet(path) for path in sorted((store / kind).rglob("*.parquet"))]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def done(ray_session, tmp_path_factory):
    """A finished tiny sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    assert sweep(folder, folder / "store") == 0
    return folder


def test_everything_a_sweep_promises_is_there(done, capsys):
    store = done / "store"
    facts = json.loads((store / "sweeps/tiny/sweep.json").read_text())
    assert facts["complete"]
    assert facts["phases"]["training_s"] > 0
    assert facts["environment"]["gpus"] == ["2 x GPU"]  # as declared to Ray, which has no name
    trials = json.loads((store / "sweeps/tiny/trials.json").read_text())
    assert [trial["label"] for trial in trials] == ["vanilla", "sr-000", "sr-001"]
    assert {trial["outcome"] for trial in trials} == {"complete"}
    for trial in trials:
        folder = store / "trials" / trial["fingerprint"]
        assert (folder / "checkpoint.safetensors").is_file()
        assert len((folder / "epochs.jsonl").read_text().splitlines()) == 4
        assert json.loads((folder / "config.json").read_text())["strategy"]["method"]
    page = (store / "reports/tiny/index.html").read_text()
    assert "sr-001" in page


def test_verdicts_have_every_column_and_agree_with_what_was_told(done):
    store = done / "store"
    for trial in json.loads((store / "sweeps/tiny/trials.json").read_text()):
        folder = store / "verdicts" / trial["fingerprint"] / "validation"
        rows = pd.concat([pd.read_parquet(path) for path in folder.glob("*.parquet")])
        assert set(rows.columns) == set(VERDICT_COLUMNS)
        assert len(rows) == 24 * 5  # clean, and two attacks through two oracles
        survived = rows.groupby("sample")["robust"].all()
        assert survived.mean() == pytest.approx(trial["metrics"]["robust_accuracy"], abs=1e-12)


def test_the_study_in_the_database_and_mlflow_tell_the_same(done):
    store = done / "store"
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{store / 'study.db'}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    runs = client.search_runs([experiment.experiment_id])
    children = {r.data.tags["label"]: r for r in runs if r.data.tags["kind"] == "trial"}
    assert set(children) == {"vanilla", "sr-000", "sr-001"}
    trials = {t["label"]: t for t in json.loads((store / "sweeps/tiny/trials.json").read_text())}
    for label, run in children.items():
        told = trials[label]["metrics"]
        assert run.data.metrics["robust_accuracy"] == told["robust_accuracy"]
        files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert {"network", "epochs.jsonl", "verdicts-validation.parquet"} <= files
        assert run.info.status == "FINISHED"
        met = {used.dataset.name: used.dataset.digest for used in run.inputs.dataset_inputs}
        judged = "test_robust_accuracy" in run.data.metrics
        assert met.keys() == {"digits-train", "digits-validation", *["digits-test"] * judged}
        facts = json.loads((store / "sweeps/tiny/sweep.json").read_text())
        assert all(facts["data_hash"].startswith(digest) for digest in met.values())
    assert "test_robust_accuracy" in children["vanilla"].data.metrics


def test_mlflow_shows_the_front_and_has_its_networks_registered(done):
    """What is registered can be fetched and judged; the page names the runs of the front."""
    uri = f"sqlite:///{done / 'store' / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    (sweep,) = client.search_runs([experiment], "tags.kind = 'sweep'")
    note = sweep.data.tags["mlflow.note.content"]
    front = client.search_runs([experiment], "tags.front = 'true'")
    assert front
    for run in front:
        label = run.data.tags["label"]
        assert f"[{label}](#/experiments/{experiment}/runs/{run.info.run_id}?" in note
    figure = re.search(r"!\[.*\]\(get-artifact\?path=(\S+)&run_uuid=", note)
    assert figure[1] in [item.path for item in client.list_artifacts(
        sweep.info.run_id, "report/figures")]  # fmt: skip
    for alias in ("chosen", "baseline-vanilla"):
        version = client.get_model_version_by_alias("spikeproof-tiny", alias)
        assert version.source == f"runs:/{version.run_id}/network"
        network = Path(client.download_artifacts(version.run_id, "network", str(done)))
        own = done / "store" / "trials" / version.tags["fingerprint"]
        for name in ("checkpoint.safetensors", "config.json"):
            assert (network / name).read_bytes() == (own / name).read_bytes()


def test_one_worker_and_two_give_identical_rows(done, tmp_path, ray_session):
    """The first sweep ran two trials and tasks side by side; this one runs one at a time."""
    compute = ["compute.gpus_per_trial=2", "compute.gpus_per_evaluation=2"]
    assert sweep(tmp_path, tmp_path / "store", *compute) == 0
    for kind in ("verdicts", "measurements"):
        wide, narrow = rows_of(done / "store", kind), rows_of(tmp_path / "store", kind)
        assert len(wide) > 0
        pd.testing.assert_frame_equal(wide, narrow)


def test_hopeless_trials_are_stopped_and_told_pruned(done, tmp_path, capsys):
    """One trial at a time, the strongest penalty last: it learns next to nothing."""
    values = "{'values': [0.0, 100.0, 1000.0]}"
    settings = [
        "search.halving={'first_epoch': 2, 'factor': 3, 'num_samples': 24}",
        f"search.parameters={{'strategy.sparsity_weight': {values}}}",
        "evaluation.epsilon=0.01",
        "compute.cpus_per_trial=2",
        "baselines=[]",
    ]
    assert sweep(tmp_path, tmp_path / "store", *settings) == 0
    store = tmp_path / "store"
    trials = json.loads((store / "sweeps/tiny/trials.json").read_text())
    outcomes = [trial["outcome"] for trial in trials]
    assert outcomes[0] == "complete"
    assert "pruned" in outcomes
    for trial in trials:
        epochs = (store / "trials" / trial["fingerprint"] / "epochs.jsonl").read_text()
        pruned = trial["outcome"] == "pruned"
        assert len(epochs.splitlines()) == (2 if pruned else 4)
        assert epochs.count("quick_robust_accuracy") == 1
        assert pruned == trial["reason"].startswith("after epoch 2: clean ")
        assert trial["training_s"] > 0
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{store / 'study.db'}")
    assert [trial.state.name.lower() for trial in study.trials] == outcomes
    page = (store / "reports/tiny/index.html").read_text()
    assert "Trials without a result" in page
    assert "pruned: after epoch 2" in capsys.readouterr().out
    # A resumed sweep does not take them up again.
    assert sweep(tmp_path, tmp_path / "store", *settings, resume=True) == 0
    again = json.loads((store / "sweeps/tiny/trials.json").read_text())
    assert [trial["outcome"] for trial in again] == outcomes


def test_a_complete_sweep_is_not_run_again(done, capsys):
    before = (done / "store/sweeps/tiny/sweep.json").read_text()
    assert sweep(done, done / "store") == 0
    assert "nothing to run" in capsys.readouterr().out
    assert (done / "store/sweeps/tiny/sweep.json").read_text() == before


def test_a_diverging_trial_fails_with_its_reason_and_the_others_go_on(tmp_path, ray_session):
    overrides = ["search.parameters={training.learning_rate: {values: [0.1, 1.0e+30]}}"]
    overrides += ["strategies.sr.sparsity_weight=0.01", "training.epochs=2"]
    assert sweep(tmp_path, tmp_path / "store", *overrides) == 0
    trials = json.loads((tmp_path / "store/sweeps/tiny/trials.json").read_text())
    outcomes = {trial["label"]: trial["outcome"] for trial in trials}
    assert outcomes == {"vanilla": "complete", "sr-000": "complete", "sr-001": "diverged"}
    assert "learning_rate" in trials[2]["reason"]
    url = f"sqlite:///{tmp_path / 'store/study.db'}"
    states = [t.state.name for t in optuna.load_study(study_name="tiny", storage=url).trials]
    assert states == ["COMPLETE", "FAIL"]
    assert "diverged" in (tmp_path / "store/reports/tiny/index.html").read_text()


@pytest.mark.parametrize("backlog", [1, 8])
def test_declared_gpus_are_shared_without_a_deadlock(tmp_path, ray_session, backlog):
    """Trials of a whole GPU and evaluations of half a one, on two GPUs that Ray believes in."""
    overrides = [
        "search.parameters.strategy.sparsity_weight.values=[0.01, 0.02, 0.03, 0.04]",
        "compute.gpus_per_trial=1",
        "compute.gpus_per_evaluation=0.5",
        f"compute.max_backlog={backlog}",
    ]
    assert sweep(tmp_path, tmp_path / "store", *overrides) == 0
    trials = json.loads((tmp_path / "store/sweeps/tiny/trials.json").read_text())
    assert [trial["outcome"] for trial in trials] == ["complete"] * 5
    free = ray_session.available_resources()
    deadline = time.monotonic() + 30
    while free.get("GPU", 0) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
        free = ray_session.available_resources()
    assert free.get("GPU") == 2.0  # nobody kept one


def test_interrupted_by_ctrl_c_and_resumed_equals_an_undisturbed_sweep(tmp_path, ray_session):
    write_space(tmp_path)
    longer = ["--set", "training.epochs=8", "--set", "data.num_train=400"]
    longer += ["--set", "report.num_samples=12"]
    command = [sys.executable, "-m", "pipeline.sweep", "--space", str(tmp_path / "tiny.yaml")]
    command += ["--store", str(tmp_path / "broken"), *longer]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        written = list((tmp_path / "broken/trials").glob("*/epochs.jsonl"))
        if any(len(path.read_text().splitlines()) >= 2 for path in written):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "--resume" in output
    assert "Traceback" not in output
    trials = json.loads((tmp_path / "broken/sweeps/tiny/trials.json").read_text())
    assert any(trial["phase"] != "told" for trial in trials)

    overrides = [item for item in longer if item != "--set"]
    assert sweep(tmp_path, tmp_path / "broken", *overrides, resume=True) == 0
    assert sweep(tmp_path, tmp_path / "whole", *overrides) == 0
    broken, whole = rows_of(tmp_path / "broken"), rows_of(tmp_path / "whole")
    pd.testing.assert_frame_equal(broken, whole)
    for store in ("broken", "whole"):
        url = f"sqlite:///{tmp_path / store / 'study.db'}"
        study = optuna.load_study(study_name="tiny", storage=url)
        assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
        values = np.array([trial.values for trial in study.trials])
        assert values.shape == (2, 2)


def test_resume_of_a_finished_search_only_reports_and_leaves_ctrl_c_alone(done):
    before = signal.getsignal(signal.SIGINT)
    assert sweep(done, done / "store", resume=True) == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_more_than_a_complete_sweep_did_is_not_taken_for_done(done):
    with pytest.raises(ConfigError, match="--resume"):
        sweep(done, done / "store", "report.trials=all")


def test_the_last_line_printed_is_the_report(done, capsys):
    code = main(["--space", str(done / "tiny.yaml"), "--store", str(done / "store")])
    assert code == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == str(done / "store/reports/tiny/index.html")


AUDIT = """
name: trust
epsilon: 0.1
attacks:
  fgsm: {method: fgsm}
  pgd10: {method: pgd, num_steps: 3, iterate: any}
  pgd50: {method: pgd, num_steps: 6, iterate: any}
oracles: [{method: own}, {surrogate: sigmoid}]
then:
  - access: transfer
    attacks:
      transfer: {method: pgd, num_steps: 3}
    oracles: [{method: own}]
"""


def test_baselines_and_front_are_audited_and_everybody_is_told(tmp_path, ray_session):
    (tmp_path / "trust.yaml").write_text(AUDIT)
    overrides = [
        f"report.audit={tmp_path / 'trust.yaml'}",
        "report.audit_samples=12",
        "report.num_samples=24",
        "training.epochs=2",
    ]
    assert sweep(tmp_path, tmp_path / "store", *overrides) == 0
    store = tmp_path / "store"
    trials = json.loads((store / "sweeps/tiny/trials.json").read_text())
    audited = {path.parent.name: path for path in (store / "audits").glob("*/test.json")}
    reported = {t["fingerprint"]: t for t in trials if (store / "verdicts" / t["fingerprint"]
                                                        / "test").is_dir()}  # fmt: skip
    assert audited.keys() == reported.keys()
    assert {trial["role"] for trial in reported.values()} == {"baseline", "searched"}
    client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    runs = {run.data.tags["label"]: run for run in client.search_runs([experiment.experiment_id])
            if run.data.tags["kind"] == "trial"}  # fmt: skip
    page = (store / "reports/tiny/index.html").read_text()
    for fingerprint, trial in reported.items():
        found = json.loads(audited[fingerprint].read_text())
        assert (found["fingerprint"], found["num_samples"]) == (fingerprint, 12)
        checks = {check["name"]: check for check in found["checks"]}
        assert checks["reported number"]["status"] != "SKIPPED"
        # The baseline lends its gradients to the others; nobody is there to lend it some.
        lent = trial["role"] == "searched"
        assert (checks["transfer"]["status"] == "SKIPPED") is not lent
        assert ("transfer+own@vanilla" in found["passes"]) is lent
        run = runs[trial["label"]]
        assert run.data.tags["audit"] == found["status"]
        assert run.data.metrics["audit_robust_accuracy"] == found["robust_accuracy"]
        files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert "test.json" in files
        assert f"{trial['label']}: {found['status']}, {len(checks)} checks on 12 test" in page
    rest = [trial for trial in trials if trial["fingerprint"] not in reported]
    assert all("audit" not in runs[trial["label"]].data.tags for trial in rest)
