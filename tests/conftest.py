"""One Ray session for the whole run, in a home of its own, and a tiny trained network."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.data import DigitsConfig, Split, load_dataset
from tests import victims


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory):
    """Ray writes an authentication token to HOME; MLflow and torchvision look there, too."""
    home = tmp_path_factory.mktemp("home")
    before = {name: os.environ.get(name) for name in ("HOME", "MLFLOW_TRACKING_URI")}
    os.environ["HOME"] = str(home)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    for name, value in before.items():
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Networks this small only wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def ray_session(_own_home):
    """A local Ray with two CPUs and two GPUs that are declared, not real."""
    import ray

    ray.init(
        num_cpus=2,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=200 * 2**20,
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Split]:
    """Checkpoint of a network that reads some digits, and samples it has not seen."""
    path = victims.train_digits(tmp_path_factory.mktemp("trained"), victims.small())
    data = load_dataset(DigitsConfig(num_validation=victims.NUM_SAMPLES))
    return path, data.validation


@pytest.fixture
def victim(trained: tuple[Path, Split]) -> nn.Module:
    return victims.network(trained[0])


@pytest.fixture
def split(trained: tuple[Path, Split]) -> Split:
    return trained[1]


@pytest.fixture(scope="session")
def poisson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a network whose answers are random, because its inputs are drawn."""
    model = victims.small(8, encoding="poisson")
    return victims.train_digits(tmp_path_factory.mktemp("poisson"), model, epochs=5)
