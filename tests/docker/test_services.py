"""The container's sweep begins, goes on, or has nothing to do."""

import importlib.util
from pathlib import Path

import optuna
import pytest

from pipeline import environment, sweep
from pipeline.sweep_files import SweepFiles

ROOT = Path(__file__).parents[2]


@pytest.fixture
def services():
    spec = importlib.util.spec_from_file_location("services", ROOT / "docker" / "services.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the pipeline is called with; nothing runs."""
    calls = []
    monkeypatch.setattr(sweep, "main", lambda arguments: calls.append(list(arguments)) or 0)
    monkeypatch.setenv("SPIKEPROOF_STUDY_URI", f"sqlite:///{tmp_path}/study.db")
    monkeypatch.setenv("SPACE", str(ROOT / "search_spaces" / "lambda.yaml"))
    monkeypatch.setenv("SWEEP_ARGS", "--name mine --set training.epochs=2")
    return calls


def make_study(tmp_path, name):
    optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", study_name=name)


def test_a_new_sweep_begins_with_the_arguments_of_the_variable(services, asked):
    assert services.sweep([]) == 0
    assert asked[0][-4:] == ["--name", "mine", "--set", "training.epochs=2"]


def test_a_study_that_exists_is_resumed(services, asked, tmp_path):
    make_study(tmp_path, "mine")
    services.sweep([])
    assert asked[0][-1] == "--resume"


def test_arguments_win_over_the_variable(services, asked, tmp_path):
    make_study(tmp_path, "mine")
    services.sweep(["--name", "other"])
    assert asked[0][-2:] == ["--name", "other"]


def test_a_complete_sweep_is_not_resumed(services, asked, tmp_path, monkeypatch):
    make_study(tmp_path, "mine")
    monkeypatch.setattr(SweepFiles, "is_complete", lambda self, space: True)
    services.sweep([])
    assert "--resume" not in asked[0]


def test_a_wrong_space_runs_nothing(services, asked, monkeypatch, capsys):
    monkeypatch.setenv("SPACE", "search_spaces/none.yaml")
    assert services.sweep([]) == 2
    assert asked == []
    assert "none.yaml" in capsys.readouterr().err


def test_the_revision_is_the_image_s_where_git_has_no_answer(monkeypatch):
    def no_git(*_):
        raise FileNotFoundError

    monkeypatch.setattr(environment, "_git", no_git)
    monkeypatch.setenv("SPIKEPROOF_REVISION", "0123456789ab")
    assert environment.revision() == "0123456789ab"
    monkeypatch.delenv("SPIKEPROOF_REVISION")
    assert environment.revision() == "unknown"
