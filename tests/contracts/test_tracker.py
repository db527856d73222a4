"""Every tracker keeps the promise of `pipeline.ports.Tracker`; MLflow is asked what it holds."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from mlflow.types import Schema

from pipeline.adapters import mlflow_tracker
from pipeline.adapters.mlflow_tracker import MLflowTracker, initialize_database
from pipeline.local import MemoryTracker
from pipeline.records import NetworkVersion, Outcome, Phase, Showcase, TrialRow, UsedData

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


BASELINE = dataclasses.replace(
    ROW, label="at", fingerprint="beef", role="baseline", strategy="at", method="at", parameters={}
)
DATA = [
    UsedData(
        name=f"digits-{split}",
        digest="0123456789ab",
        context=context,
        note="digits",
        dtype="uint8",
        sample_shape=(1, 8, 8),
        class_counts=(3, 4),
    )
    for split, context in (("train", "training"), ("validation", "validation"), ("test", "test"))
]
CHOSEN = NetworkVersion(
    fingerprint="f00d", aliases=("chosen", "knee"), tags={"lambda": "0.05"}, description="SR."
)
REFERENCE = NetworkVersion(
    fingerprint="beef", aliases=("baseline-at",), tags={"strategy": "at"}, description="AT."
)
SHOWCASE = Showcase(
    note="[Report](file:report/index.html): [sr-000](network:f00d), [all](view:), [best](models:) "
    "![front](image:report/front.svg)",
    front=("f00d",),
    models_note="Of [s](file:report/index.html).",
    networks=(REFERENCE, CHOSEN),
)


def tell_the_story(tracker, file):
    searched = ["strategy.sparsity_weight", "training.epochs"]
    tracker.start_sweep("s", {"space": "s.yaml", "seed": 0}, [str(file)], searched)
    tracker.log_data("", DATA)
    for row in (ROW, BASELINE):
        tracker.start_trial(row)
    tracker.log_data("f00d", DATA[:2])
    tracker.log_epoch("f00d", 1, {"train_loss": 2.0})
    tracker.log_epoch("f00d", 2, {"train_loss": 1.0})
    tracker.finish_trial(TOLD, TOLD.metrics, [str(file)], network=[str(file)])
    tracker.log_data("f00d", DATA[2:])
    tracker.show(SHOWCASE)
    tracker.finish_sweep({"wall_s": 3.0}, [str(file.parent)], complete=True)


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    path = folder / "index.html"
    path.write_text("<html></html>")
    return path


def in_folder(folder):
    folder.mkdir(exist_ok=True)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    initialize_database(uri)
    return MLflowTracker(uri, "s", folder / "artifacts", folder / "mlflow.spool"), MlflowClient(
        tracking_uri=uri
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Twice, as a resumed sweep does in a new process; folder, client, runs, and the tracker."""
    folder = tmp_path_factory.mktemp("told")
    page = folder / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("<html></html>")
    for _ in range(2):
        tracker, client = in_folder(folder)
        tell_the_story(tracker, page)
        assert tracker.close() == []
    experiment = client.get_experiment_by_name("s")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3  # nothing is doubled
    return folder, client, {run.data.tags.get("label", "sweep"): run for run in runs}, tracker


def test_memory_tracker_remembers(file):
    tracker = MemoryTracker()
    tell_the_story(tracker, file)
    tell_the_story(tracker, file)
    assert tracker.close() == []
    assert tracker.trials["f00d"]["epochs"] == {1: {"train_loss": 2.0}, 2: {"train_loss": 1.0}}
    assert tracker.trials["f00d"]["metrics"] == TOLD.metrics
    assert list(tracker.data["f00d"].values()) == list(tracker.data[""].values()) == DATA
    assert tracker.showcase == SHOWCASE
    assert tracker.sweep["complete"]


def test_mlflow_holds_one_run_a_sweep_and_one_child_a_trial(told):
    _, client, runs, tracker = told
    experiment = client.get_experiment_by_name("s")
    view = json.loads(experiment.tags["mlflow.sharedViewState.study"])
    assert "metrics.`robust_accuracy`" in view["selectedColumns"]
    assert view["selectedColumns"].count("params.`lambda`") == 1
    columns = {column.removeprefix("params.").strip("`") for column in view["selectedColumns"]}
    assert columns & runs["sr-000"].data.params.keys() == {"lambda", "h", "training.epochs"}
    assert [chart["type"] for chart in view["compareRunCharts"]] == [*["SCATTER"] * 4, "PARALLEL"]
    page = f"#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=study"
    assert tracker.page == f"http://127.0.0.1:5000/{page}&workflowType=machine_learning"
    assert page in experiment.tags["mlflow.note.content"]
    sweep, trial = runs["sweep"], runs["sr-000"]
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
    assert {a.path for a in client.list_artifacts(trial.info.run_id)} == {"index.html", "network"}
    assert {a.path for a in client.list_artifacts(sweep.info.run_id)} == {"index.html", "report"}


def test_a_note_has_the_addresses_that_only_the_server_knows(told):
    _, _, runs, _ = told
    trial, own = runs["sr-000"].info.run_id, runs["sweep"].info.run_id
    page = f"#/experiments/{runs['sweep'].info.experiment_id}/runs"
    menu = "workflowType=machine_learning"
    assert runs["sweep"].data.tags["mlflow.note.content"] == (
        f"[Report]({page}/{own}/artifacts/report/index.html?{menu}): "
        f"[sr-000]({page}/{trial}?{menu}), [all]({page}?viewStateShareKey=study&{menu}), "
        f"[best](#/models/spikeproof-s?{menu}) "
        f"![front](get-artifact?path=report/front.svg&run_uuid={own})"
    )


def test_what_a_person_wrote_over_the_note_stays(tmp_path, file):
    tag = "mlflow.note.content"
    for own in ("", "Do not cite: wrong epsilon."):
        tracker, client = in_folder(tmp_path)
        tell_the_story(tracker, file)
        assert tracker.close() == []
        experiment = client.get_experiment_by_name("s").experiment_id
        (run,) = client.search_runs([experiment], "tags.kind = 'sweep'")
        if own:
            assert run.data.tags[tag] == own
        else:
            assert run.data.tags[tag].startswith("[Report]")
            client.set_tag(run.info.run_id, tag, "Do not cite: wrong epsilon.")


def test_data_are_inputs_that_say_what_they_were_used_for(told):
    _, _, runs, _ = told
    inputs = {name: run.inputs.dataset_inputs for name, run in runs.items()}
    assert [len(inputs[name]) for name in ("sweep", "sr-000", "at")] == [3, 3, 0]
    met = {used.tags[0].value: used.dataset for used in inputs["sr-000"]}
    assert set(met) == {"training", "validation", "test"}
    assert (met["test"].name, met["test"].digest) == ("digits-test", "0123456789ab")
    profile = json.loads(met["test"].profile)
    assert (profile["samples"], profile["sample_shape"]) == (7, [1, 8, 8])
    spec = json.loads(met["test"].schema)["mlflow_tensorspec"]
    assert Schema.from_json(spec["features"]).inputs[0].shape == (-1, 1, 8, 8)
    assert mlflow.data.get_source(met["test"]).to_dict() == {"tags": {"note": "digits"}}


def test_a_registered_network_is_the_files_of_its_run(told, tmp_path, monkeypatch):
    folder, client, runs, _ = told
    assert len(client.search_model_versions("name = 'spikeproof-s'")) == 2
    version = client.get_model_version_by_alias("spikeproof-s", "chosen")
    assert version.run_id == runs["sr-000"].info.run_id
    assert (version.description, version.tags) == ("SR.", {"lambda": "0.05"})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    found = mlflow.artifacts.download_artifacts("models:/spikeproof-s@chosen", dst_path=tmp_path)
    assert [path.name for path in Path(found).iterdir()] == ["index.html"]


def test_a_longer_search_moves_front_and_aliases_and_leaves_those_of_others(tmp_path, file):
    tracker, client = in_folder(tmp_path)
    tell_the_story(tracker, file)
    assert tracker.close() == []
    client.set_registered_model_alias("spikeproof-s", "production", "2")
    tracker, _ = in_folder(tmp_path)
    tell_the_story(tracker, file)
    better = dataclasses.replace(REFERENCE, aliases=("baseline-at", "chosen"), description="AT!")
    tracker.show(dataclasses.replace(SHOWCASE, front=("beef",), networks=(better,)))
    assert tracker.close() == []
    found = everything(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert "front" not in found["sr-000 lambda=0.05"][2]
    assert found["at"][2]["front"] == "true"
    assert found["spikeproof-s"] == {
        "1": (["baseline-at", "chosen"], {"strategy": "at"}, "AT!"),
        "2": (["production"], {"lambda": "0.05"}, "SR."),
    }
    # And back again: what was said before is said anew.
    tracker, _ = in_folder(tmp_path)
    tell_the_story(tracker, file)
    assert tracker.close() == []
    assert everything(f"sqlite:///{tmp_path / 'mlflow.db'}")["spikeproof-s"] == {
        "1": (["baseline-at"], {"strategy": "at"}, "AT."),
        "2": (["chosen", "knee", "production"], {"lambda": "0.05"}, "SR."),
    }


def test_a_failed_trial_is_shown_with_its_reason_and_trials_sort_by_lambda(tmp_path, file):
    tracker, client = in_folder(tmp_path)
    tracker.start_sweep("s", {}, [])
    for weight in (0.002, 0.00005, 0.1):
        strategy = {"method": "sr", "sparsity_weight": weight}
        config = ROW.config | {"strategy": strategy}
        tracker.start_trial(dataclasses.replace(ROW, fingerprint=f"f{weight}", config=config))
    failed = dataclasses.replace(
        ROW, phase=Phase.TOLD, outcome=Outcome.DIVERGED, reason="loss is NaN"
    )
    tracker.finish_trial(failed, {}, [])
    assert tracker.close() == []
    experiment = client.get_experiment_by_name("s")
    where, order = [experiment.experiment_id], ["params.lambda"]
    runs = client.search_runs(
        where, "params.method = 'sr' and attributes.status = 'RUNNING'", order_by=order
    )
    assert [run.data.params.get("lambda") for run in runs] == ["0.00005", "0.002", "0.1"]
    (run,) = client.search_runs(where, "tags.reason = 'loss is NaN'")
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "diverged")
    assert run.data.tags["reason"] == "loss is NaN"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(mlflow_tracker, "RETRY_S", 0.2)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def everything(uri):
    """All that a server shows of the sweep, without what differs from run to run."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("s")
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        tags = {k: v for k, v in run.data.tags.items() if "user" not in k and "source" not in k
                and k != "mlflow.parentRunId"}  # fmt: skip
        curves = {}
        for name in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, name)
            curves[name] = [(point.step, point.value) for point in history]
        files = sorted(item.path for item in client.list_artifacts(run.info.run_id))
        data = sorted((used.dataset.name, used.tags[0].value) for used in run.inputs.dataset_inputs)
        for name in ("mlflow.note.content", "spikeproof.note_sha256"):  # has ids
            tags.pop(name, "")
        found[run.info.run_name] = (run.info.status, run.data.params, tags, curves, files, data)
    for model in client.search_registered_models():
        found[model.name] = {
            str(version.version): (sorted(version.aliases), version.tags, version.description)
            for number in client.search_model_versions(f"name = '{model.name}'")
            for version in [client.get_model_version(model.name, number.version)]
        }
    return found


@pytest.mark.parametrize("answers", ["refuses", "hangs"])
def test_a_server_that_is_away_neither_raises_nor_blocks_the_caller(
    tmp_path, file, impatient, answers
):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        if answers == "hangs":
            server.listen()
        uri = f"http://127.0.0.1:{port}"
        tracker = MLflowTracker(uri, "s", None, tmp_path / "mlflow.spool")
        started = time.monotonic()
        tell_the_story(tracker, file)
        # A caller who waited for the server once would have waited for a second.
        assert time.monotonic() - started < 0.9
        (problem,) = tracker.close()
    assert "did not take 11 entries" in problem
    assert "--resume" in problem


@pytest.mark.slow
def test_a_server_that_comes_back_gets_everything_once(tmp_path, file, impatient):
    port, spool = free_port(), tmp_path / "mlflow.spool"
    uri, database = f"http://127.0.0.1:{port}", f"sqlite:///{tmp_path / 'server.db'}"
    away = MLflowTracker(uri, "s", None, spool)
    away.start_sweep("s", {"space": "s.yaml", "seed": 0}, [str(file)])
    away.log_data("", DATA)
    away.start_trial(ROW)
    away.log_epoch("f00d", 1, {"train_loss": 2.0})
    assert len(away.close()) == 1
    initialize_database(database)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database]
    command += ["--artifacts-destination", str(tmp_path / "served"), "--port", str(port)]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        [*command, "--workers", "1"], env=environment, cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        # It is on its way up while the resumed sweep goes on.
        back = MLflowTracker(uri, "s", None, spool)
        tell_the_story(back, file)
        deadline = time.monotonic() + 120
        while back._spool.waiting and time.monotonic() < deadline:
            time.sleep(0.2)
        assert back.close() == []
        found = everything(uri)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    whole, _ = in_folder(tmp_path / "whole")
    tell_the_story(whole, file)
    assert whole.close() == []
    assert found == everything(f"sqlite:///{tmp_path / 'whole' / 'mlflow.db'}")
    assert found["sr-000 lambda=0.05"][3]["curve/train_loss"] == [(1, 2.0), (2, 1.0)]
    assert list(found["spikeproof-s"]) == ["2", "1"]


def test_a_server_that_lost_everything_gets_it_again(tmp_path, file):
    tracker, client = in_folder(tmp_path)
    tell_the_story(tracker, file)
    assert tracker.close() == []
    before = everything(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("s")
    for run in client.search_runs([experiment.experiment_id]):
        client.delete_run(run.info.run_id)
    tracker, _ = in_folder(tmp_path)
    tracker.start_sweep("s", {"space": "s.yaml", "seed": 0}, [str(file)])
    tracker.finish_sweep({"wall_s": 3.0}, [str(file.parent)], complete=True)
    assert tracker.close() == []
    found = everything(f"sqlite:///{tmp_path / 'mlflow.db'}")
    # The versions of the runs that are gone stay, without a name.
    left = found.pop("spikeproof-s")
    assert [left[number][0] for number in "12"] == [[], []]
    assert {"1": left["3"], "2": left["4"]} == before.pop("spikeproof-s")
    assert found == before


def test_a_damaged_spool_is_named_and_what_is_left_of_it_sent(tmp_path, file):
    tracker, _ = in_folder(tmp_path)
    tell_the_story(tracker, file)
    assert tracker.close() == []
    spool = tmp_path / "mlflow.spool"
    spool.write_bytes(spool.read_bytes().replace(b"2.0", b"3.0", 1))
    before = everything(f"sqlite:///{tmp_path / 'mlflow.db'}")
    tracker, _ = in_folder(tmp_path)
    tell_the_story(tracker, file)
    (problem,) = tracker.close()
    assert "1 lines are damaged; set aside as mlflow.spool.damaged-1" in problem
    assert everything(f"sqlite:///{tmp_path / 'mlflow.db'}") == before


def test_a_file_that_is_gone_is_named_and_holds_nothing_up(tmp_path, file):
    tracker, client = in_folder(tmp_path)
    tracker.start_sweep("s", {}, [])
    tracker.finish_trial(TOLD, TOLD.metrics, [str(tmp_path / "gone.safetensors"), str(file)])
    (problem,) = tracker.close()
    assert "gone.safetensors: is gone" in problem
    found = everything(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert found["sr-000 lambda=0.05"][4] == ["index.html"]


def test_a_password_stands_in_no_message_and_no_file(tmp_path, file, impatient):
    uri = f"http://somebody:hunter2@127.0.0.1:{free_port()}"
    tracker = MLflowTracker(uri, "s", None, tmp_path / "mlflow.spool")
    tell_the_story(tracker, file)
    (problem,) = tracker.close()
    assert "hunter2" not in problem
    assert all(b"hunter2" not in path.read_bytes() for path in tmp_path.glob("mlflow*"))
