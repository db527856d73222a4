"""One Ray session for the whole run, in a home of its own, and a tiny trained network."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.data import DigitsConfig, Split, load_dataset
from pipeline.object_path import ObjectPath
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
        address="local",  # whatever else runs on this machine
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


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """A server that speaks S3, in a process of its own; the environment names it and a key."""
    pytest.importorskip("moto.server", reason="moto[s3] and flask are not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    named = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in named}
    os.environ.update(named)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path_factory.mktemp("s3") / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(
                    urllib.request.Request(f"{address}/spikeproof", method="PUT"), timeout=5
                ).close()
                break
            time.sleep(0.1)
        yield server
    finally:
        server.kill()
        server.wait()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@pytest.fixture
def bucket(object_store: subprocess.Popen[bytes]) -> ObjectPath:
    """A bucket of that server."""
    return ObjectPath("spikeproof")
