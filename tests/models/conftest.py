"""Networks that carry the weights behind the golden numbers, in float64."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import InputSpec, ModelConfig, SpikingClassifier, build_model

GOLDEN = Path(__file__).parents[1] / "golden"
CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}


@pytest.fixture
def float64() -> Iterator[None]:
    """New tensors and networks are float64: threshold crossings do not hang on rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, NDArray[Any]]]:
    """Reads a file of `tests/golden`."""

    def read(name: str) -> dict[str, NDArray[Any]]:
        with np.load(GOLDEN / f"{name}.npz") as file:
            return {key: file[key] for key in file.files}

    return read


def _drawn(name: str, shape: list[int], random: np.random.RandomState) -> NDArray[np.float64]:
    """The recipe of the golden weights."""
    if len(shape) == 4:
        return random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
    if len(shape) == 2:
        return random.randn(*shape) * np.sqrt(2 / shape[1])
    if name.endswith("running_mean"):
        return 0.1 * random.randn(*shape)
    if name.endswith("running_var"):
        return 0.5 + random.rand(*shape)
    if name.endswith("comb"):
        return np.array([0.6, 0.4])
    if name.endswith("bias"):
        return 0.3 + 0.1 * random.randn(*shape)
    return 1 + 0.2 * random.randn(*shape)


def golden_network(numbers: dict[str, NDArray[Any]], architecture: Any, seed: int) -> Any:
    """The network of the golden numbers, in evaluation mode."""
    torch.set_default_dtype(torch.float64)
    try:
        config = ModelConfig(architecture=architecture, num_timesteps=int(numbers["num_timesteps"]))
        spec = InputSpec(channels=3, height=32, width=32, num_classes=10, **CIFAR10)
        model: SpikingClassifier = build_model(config, spec)
        recipe = [json.loads(line) for line in numbers["parameter_shapes"]]
        state: dict[str, Tensor] = model.state_dict()
        for index, ((name, shape), value) in enumerate(zip(recipe, state.values(), strict=True)):
            assert list(value.shape) == shape, name
            if not name.endswith("num_batches_tracked"):
                random = np.random.RandomState(seed + index)
                value.copy_(torch.from_numpy(_drawn(name, shape, random)))
    finally:
        torch.set_default_dtype(torch.float32)
    return model.eval()


@pytest.fixture(scope="module", params=["vgg11", "wrn16"])
def golden_case(
    request: pytest.FixtureRequest, golden: Callable[[str], dict[str, NDArray[Any]]]
) -> tuple[SpikingClassifier, dict[str, NDArray[Any]]]:
    """A network and what the released code computes with its weights."""
    architecture, seed = {"vgg11": ("vgg11", 1100), "wrn16": ("wrn16_4", 1400)}[request.param]
    numbers = golden(request.param)
    return golden_network(numbers, architecture, seed), numbers
