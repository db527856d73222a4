"""A network of the user's own: built by a function, filled with weights, never unpickled."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline import config_file
from pipeline.checkpoints import digest
from pipeline.config import DataSection
from pipeline.data import DATASETS, DataConfig, Dataset
from pipeline.data.network_input import network_input
from pipeline.errors import ConfigError
from pipeline.fingerprint import fingerprint

USAGE = "expected MODULE:FUNCTION, such as my_package.networks:make"


def load_network(name: str, weights: Path, dataset: Dataset) -> tuple[nn.Module, str]:
    """The network in evaluation mode on the CPU, and what names it in the store.

    The function's file is part of the name: another forward pass on the same weights is another
    network. What the file imports is not looked at.

    Args:
        name: `module:function`; the function takes nothing and returns a torch module.
        weights: safetensors, or a state dict that torch loads without pickled code.
        dataset: Its images must fit.

    Raises:
        ConfigError: There is no such function, or weights and data do not fit it.
    """
    network = _built(name)
    state = _state_dict(weights)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ConfigError(
            f"{weights}: does not fit {name}: {' '.join(str(error).split())}; give the weights of "
            "the network that this function builds"
        ) from None
    network.eval()
    images = network_input(torch.from_numpy(dataset.test.images[:2].copy()))
    try:
        with torch.no_grad():
            logits = network(images)
    except Exception as error:  # whatever the user's own code raises
        raise ConfigError(
            f"--model {name}: fails on inputs of shape {tuple(images.shape)}: {error}; it must "
            "take what --data gives, images (B, C, H, W) in [0, 1]"
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (2, dataset.num_classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(
            f"--model {name}: expected logits of shape (2, {dataset.num_classes}) for two images, "
            f"got {got}"
        )
    code = sys.modules[name.partition(":")[0]].__file__
    written = digest(Path(code)) if code else ""
    return network, fingerprint([name, written, digest(weights), dataset.content_hash()])


def _built(name: str) -> nn.Module:
    module_name, colon, function_name = name.partition(":")
    if not colon or not module_name or not function_name:
        raise ConfigError(f"--model {name}: {USAGE}")
    # Run as a command, the folder one stands in is searched, as by `python -m`.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"--model {name}: {error}; {USAGE}") from error
    try:
        network = function() if callable(function) else None
    except Exception as error:  # whatever the user's own code raises
        raise ConfigError(
            f"--model {name}: fails when called without arguments ({type(error).__name__}: {error})"
            "; the function must take nothing and return a torch.nn.Module"
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"--model {name}: expected a function that returns a torch.nn.Module")
    return network


def _state_dict(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(
            f"{path}: no such file; expected the network's weights, written by "
            "safetensors or torch.save"
        )
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own unpickler raises whatever a broken file leads it to
        raise ConfigError(
            f"{path}: expected safetensors, or a state dict written by torch.save; files that "
            f"need pickled code are never loaded ({' '.join(str(error).split())[:200]})"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(f"{path}: expected a state dict, that is names and tensors")
    return state


def data_config(text: str, root: str | None) -> DataConfig:
    """The data that `--data` means: a data set's name, a folder, or a YAML file with `data:`.

    Raises:
        ConfigError: It is none of these.
    """
    path = Path(text)
    if path.suffix in (".yaml", ".yml"):
        section: DataSection = config_file.check(config_file.read(path), DataSection)
        return section.data
    tree: dict[str, Any] = {"dataset": text}
    if path.is_dir():
        tree = {"dataset": "parquet", "root": text}
    elif text not in DATASETS or text == "parquet":
        known = ", ".join(sorted(set(DATASETS) - {"parquet"}))
        raise ConfigError(
            f"--data: expected one of {known}, a folder of Parquet files, or a YAML file whose "
            f"`data:` reads as in a search space; got '{text}'"
        )
    if root is not None:
        if text == "digits":
            raise ConfigError("--data-root: the digits come with scikit-learn; remove it")
        tree["root"] = root
    adapter: TypeAdapter[DataConfig] = TypeAdapter(DataConfig)
    return adapter.validate_python(tree)
