"""Good spaces that ask for what data, machine or engines have not: told at their line, too."""

import pickle
from pathlib import Path

import pytest
import torch

from models.config import FieldError
from pipeline import evaluate, recheck, sweep, train
from pipeline.adapters.driver_lock import only_driver
from pipeline.adapters.optuna_ledger import OptunaLedger
from pipeline.adapters.ray_session import connected
from pipeline.errors import ConfigError, SettingError
from tests.data.test_parquet_images import picture, write
from tests.errors.malformed import position
from tests.tiny import tiny_space

SPACES = Path(__file__).parents[2] / "search_spaces"
PAPER = "paper/table1/cifar10_vgg11.yaml"
COMPUTE = "name: lambda\ncompute: "
ROOT = "root: data/images"
WIDTHS = "architecture: small\n  num_timesteps: 4\n  channels: [8, 16, 32]"
SEARCH = """search:
  sampler: grid
  strategies: [vanilla]
  parameters:
    model.architecture: {values: [small, §vgg11]}
"""


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch, tmp_path):
    """Fails a test that starts Ray; relative folders of data are not there."""
    import ray

    def refuse(*args, **kwargs):
        raise AssertionError("Ray was started although the space does not fit")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def images(tmp_path):
    """A folder of pictures too small for a VGG."""
    for name in ("train", "test"):
        write(tmp_path / f"data/images/{name}.parquet", [picture(n) for n in range(8)], [0, 1] * 4)


def complaint(refusal, tmp_path, name, old, new, main=sweep.main, *more):
    """The one line that is said of a space with a change, without its place."""
    text = (SPACES / name).read_text()
    assert text.count(old) == 1
    marked = text.replace(old, new)
    line, column = position(marked, marked.index("§"))
    space = tmp_path / "space.yaml"
    space.write_text(marked.replace("§", ""))
    (said,) = refusal(main, "--space", space, "--store", tmp_path / "store", *more)[-1:]
    place = f"{space}:{line}:{column} "
    assert said.startswith(place), said
    return said.removeprefix(place)


@pytest.mark.parametrize(
    ("name", "old", "new", "why"),
    [
        ("lambda.yaml", "digits}", "digits, num_train: §9999}", "at most 1100, as there are 1100"),
        ("lambda.yaml", "digits}", "digits, num_validation: §9999}", "and one must be left"),
        ("lambda.yaml", "digits}", "digits, num_test: §9999}", "lower data.num_test"),
        ("lambda.yaml", "name: lambda", COMPUTE + "{cpus_per_trial: §4096}", "write at most"),
        ("lambda.yaml", "name: lambda", COMPUTE + "{gpus_per_trial: §4096}", "write at most"),
        ("lambda.yaml", "name: lambda", COMPUTE + "{gpus_per_evaluation: §1.5}", "a fraction"),
        ("nmnist.yaml", "root: data/nmnist", "root: §data/nmnist", "Train.zip and Test.zip"),
        ("images.yaml", "root: data/images", "root: §data/images", "correct the path"),
        (PAPER, "root: data ", "root: §data ", "cifar-10-python.tar.gz"),
    ],
)  # fmt: skip
def test_data_and_machine(refusal, tmp_path, name, old, new, why, explained):
    said = complaint(refusal, tmp_path, name, old, new)
    assert why in said
    assert explained(f":1:1 {said}")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (WIDTHS, "architecture: §vgg11\n  num_timesteps: 4", "at least 8x8, got 4x5"),
        ("evaluation: ", SEARCH + "evaluation: ", "at least 8x8, got 4x5"),
        (ROOT, ROOT + "\n  train: §['no*.parquet']", "that match no*.parquet, found none"),
        (ROOT, ROOT + "\n  train: §['../*.parquet']", "patterns relative to data.root"),
        (ROOT, ROOT + "\n  mode: L\n  normalization: §cifar10", "write train or none"),
        ("num_validation: 500", "num_validation: §500", "expected at most 7"),
    ],
)
def test_images(refusal, tmp_path, images, old, new, why, explained):
    more = [] if "§500" in new else ["--set", "data.num_validation=1"]
    more += [] if old == WIDTHS else ["--set", "model.channels=[16, 32, 32]"]
    said = complaint(refusal, tmp_path, "images.yaml", old, new, sweep.main, *more)
    assert why in said
    assert explained(f":1:1 {said}")


@pytest.mark.parametrize(
    "error", [SettingError("a.b", "x", ("c", "y")), FieldError("width", "expected more")]
)
def test_errors_come_back_from_workers_as_they_were(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_other_commands_that_read_a_space(refusal, tmp_path):
    old, new = "root: data/images", "root: §data/images"
    for main, more in ((train.main, ()), (sweep.main, ("--plan",))):
        assert "correct the path" in complaint(
            refusal, tmp_path, "images.yaml", old, new, main, *more
        )


def test_a_setting_is_named_where_it_was_set(refusal, tmp_path):
    space = SPACES / "lambda.yaml"
    setting = ("--set", "compute.cpus_per_trial=4096", "--set", "compute.cpus_per_evaluation=4096")
    *_, first, second = refusal(sweep.main, "--space", space, *setting)
    assert first.startswith("--set compute.cpus_per_trial=4096      compute.cpus_per_trial: asks")
    assert second.startswith("--set compute.cpus_per_evaluation=4096 compute.cpus_per_eval")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(refusal, tmp_path):
    why = "cuda, but this machine has no GPU that torch can use; write auto or cpu"
    for main in (sweep.main, train.main):
        said = complaint(
            refusal, tmp_path, "lambda.yaml", "name: lambda", COMPUTE + "{device: §cuda}", main
        )
        assert said == f"compute.device: {why}"
    for main, given in ((evaluate.main, "--checkpoint"), (recheck.main, "--run")):
        assert refusal(main, given, "x", "--device", "cuda") == [f"--device: {why}"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense", r"SPIKEPROOF_STUDY_URI: nonsense does not let us in \(.*; start the database"),
        ("mongodb://me:secret@host/x", r"mongodb://me:\*\*\*@host/x does not let us in"),
        ("postgresql+nothing://me:secret@host/x", "does not let us in|is absent; write postgresql"),
        ("sqlite:////no/such/folder/study.db", "/study.db: cannot be opened .* move it away or"),
    ],
)
def test_a_study_database_that_cannot_be_opened(tmp_path, address, said, explained):
    with pytest.raises(ConfigError, match=said) as caught:
        OptunaLedger(address, "s", tiny_space(tmp_path), resume=False)
    assert "secret" not in str(caught.value)
    assert explained(f"place {caught.value}")


def test_a_study_database_that_is_none(tmp_path):
    (tmp_path / "study.db").write_text("no database\n" * 200)
    with pytest.raises(ConfigError, match="study.db: cannot be opened .*file is not a database"):
        OptunaLedger(f"sqlite:///{tmp_path}/study.db", "s", tiny_space(tmp_path), resume=True)


def test_a_lock_in_a_database_that_is_away(tmp_path):
    pytest.importorskip("psycopg2")
    refused = pytest.raises(ConfigError, match=r"me:\*\*\*@127.0.0.1:1/x does not let us in")
    with refused, only_driver("postgresql+psycopg2://me:secret@127.0.0.1:1/x", tmp_path / "s"):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "127.0.0.1:port", "::1"])
def test_a_cluster_that_does_not_answer_is_told_at_once(address, explained):
    """Ray alone would try for minutes, and then be told to start by the fixture above."""
    refused = pytest.raises(ConfigError, match=f"no Ray cluster .* answers at '{address}'")
    with refused as caught, connected(address):
        pass
    assert explained(f"place {caught.value}")
