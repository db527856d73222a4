"""Every tracker keeps the promise of `pipeline.ports.Tracker`; MLflow is asked what it holds."""

import dataclasses
import json

import pytest
from mlflow.tracking import MlflowClient

from pipeline.adapters.mlflow_tracker import MLflowTracker, initialize_database
from pipeline.local import MemoryTracker
from pipeline.records import Outcome, Phase, TrialRow

ROW = TrialRow(
    label="sr-000",
    fingerprint="f00d",
    role="searched",
    strategy="sr",
    method="sr",
    parameters={"strategy.sparsity_weight": 0.05},
    config={
        "strategy": {"method": "sr", "sparsity_weight": 0.05, "finite_difference_step": 0.01},
        "training": {"epochs": 2},
        "model": {"neuron": {"leak": 1.0}},
        "data": {"dataset": "digits"},
    },
)
TOLD = dataclasses.replace(
    ROW,
    phase=Phase.TOLD,
    outcome=Outcome.COMPLETE,
    metrics={"clean_accuracy": 0.9, "robust_accuracy": 0.5},
)


def tell_the_story(tracker, file):
    tracker.start_sweep("s", {"space": "s.yaml", "seed": 0}, [str(file)])
    tracker.start_trial(ROW)
    tracker.log_epoch("f00d", 1, {"train_loss": 2.0})
    tracker.log_epoch("f00d", 2, {"train_loss": 1.0})
    tracker.finish_trial(TOLD, TOLD.metrics, [str(file)])
    tracker.finish_sweep({"wall_s": 3.0}, [str(file.parent)], complete=True)


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    path = folder / "index.html"
    path.write_text("<html></html>")
    return path


def mlflow_tracker(folder):
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    initialize_database(uri)
    return MLflowTracker(uri, "s", folder / "artifacts"), MlflowClient(tracking_uri=uri)


def test_memory_tracker_remembers(file):
    tracker = MemoryTracker()
    tell_the_story(tracker, file)
    tell_the_story(tracker, file)
    assert tracker.close() == []
    assert tracker.trials["f00d"]["epochs"] == {1: {"train_loss": 2.0}, 2: {"train_loss": 1.0}}
    assert tracker.trials["f00d"]["metrics"] == TOLD.metrics
    assert tracker.sweep["complete"]


def test_mlflow_holds_one_run_a_sweep_and_one_child_a_trial(tmp_path, file):
    # Twice, as a resumed sweep does in a new process: nothing is doubled.
    for _ in range(2):
        tracker, client = mlflow_tracker(tmp_path)
        tell_the_story(tracker, file)
        assert tracker.close() == []
    experiment = client.get_experiment_by_name("s")
    view = json.loads(experiment.tags["mlflow.sharedViewState.study"])
    assert "metrics.`robust_accuracy`" in view["selectedColumns"]
    page = f"#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=study"
    assert tracker.page == f"http://127.0.0.1:5000/{page}"
    assert page in experiment.tags["mlflow.note.content"]
    runs = client.search_runs([experiment.experiment_id])
    kinds = {run.data.tags["kind"]: run for run in runs}
    assert len(runs) == 2
    sweep, trial = kinds["sweep"], kinds["trial"]
    assert sweep.info.run_name == "sweep s"
    assert sweep.info.status == "FINISHED"
    assert trial.info.run_name == "sr-000 lambda=0.05"
    assert trial.data.tags["mlflow.parentRunId"] == sweep.info.run_id
    assert trial.data.params["lambda"] == "0.05"
    assert trial.data.params["h"] == "0.01"
    assert trial.data.params["training.epochs"] == "2"
    assert trial.data.params["model.neuron.leak"] == "1.0"
    assert trial.data.tags["strategy"] == "sr"
    assert trial.data.metrics["robust_accuracy"] == 0.5
    history = client.get_metric_history(trial.info.run_id, "curve/train_loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0)]
    assert [a.path for a in client.list_artifacts(trial.info.run_id)] == ["index.html"]
    assert {a.path for a in client.list_artifacts(sweep.info.run_id)} == {"index.html", "report"}


def test_a_failed_trial_is_shown_with_its_reason(tmp_path, file):
    tracker, client = mlflow_tracker(tmp_path)
    tracker.start_sweep("s", {}, [])
    failed = dataclasses.replace(
        ROW, phase=Phase.TOLD, outcome=Outcome.DIVERGED, reason="loss is NaN"
    )
    tracker.finish_trial(failed, {}, [])
    assert tracker.close() == []
    experiment = client.get_experiment_by_name("s")
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "diverged")
    assert run.data.tags["reason"] == "loss is NaN"


def test_an_unreachable_server_neither_raises_nor_blocks_the_caller(monkeypatch, file):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MLflowTracker("http://127.0.0.1:9", "s", None)
    tell_the_story(tracker, file)
    problems = tracker.close()
    assert problems[0].startswith("sweep s: ")
    assert len(problems) == 4  # three failures, and that it gave up
    assert "--resume" in problems[-1]
