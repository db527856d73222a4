"""A trained network as a folder that needs PyTorch alone: sources, weights and an example."""

import dataclasses
import importlib.metadata
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import models
from models import InputSpec, ModelConfig, SpikingClassifier
from pipeline import __version__, checkpoints, described
from pipeline.errors import ConfigError
from pipeline.files import StorePath

PACKAGE = "spiking_network"
"""The exported package; all its imports are relative, so that it may be renamed and moved."""
NUM_IMAGES = 4
"""Random images that the example classifies."""

INIT = '''"""A trained spiking network for PyTorch alone; see README.md beside this folder.

Exported by Spikeproof {version} under the Apache License 2.0, see LICENSE.
"""

from pathlib import Path

from .described import read_network
from .models import GradientEstimator, SpikingClassifier, oracle

__all__ = ["GradientEstimator", "SpikingClassifier", "load", "oracle"]


def load() -> SpikingClassifier:
    """The network with its trained weights, in evaluation mode, in float32 on the CPU."""
    return read_network(Path(__file__).parent)
'''
EXAMPLE = '''"""Classifies a batch with the network beside this file: PyTorch is all it needs."""

import torch

from {package} import load

model = load()
torch.manual_seed(0)
images = {images}  # {what}
with torch.no_grad():
    logits = model(images)  # (B, {num_classes})
print(logits.argmax(dim=1).tolist())
'''


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and what its reader wants to know."""

    config: ModelConfig
    spec: InputSpec
    num_parameters: int
    epoch: int
    """Epochs of training behind it."""
    images: str
    """Shape and values of its input, in words."""
    classes: tuple[int, ...]
    """What this project's own network says of the example's images."""


def write_standalone(checkpoint: StorePath, fingerprint: str, folder: Path) -> Exported:
    """Write a network of the store; files of the same names are replaced.

    Args:
        checkpoint: The file of its weights.
        fingerprint: Of the network that the file should hold.
        folder: Where to write, made if absent.

    Raises:
        ConfigError: The file is absent, damaged or another network's, or nothing can be written.
    """
    found = checkpoints.load(checkpoint)
    if found.fingerprint != fingerprint:
        raise ConfigError(
            f"{checkpoint}: expected network {fingerprint}, got {found.fingerprint}; "
            "run its sweep with --resume, which makes it again"
        )
    model = checkpoints.rebuild(found)
    about = {"model": dataclasses.asdict(model.config), "input": dataclasses.asdict(model.spec)}
    images, what = _example_images(model.config, model.spec)
    licence = _licence()
    package = folder / PACKAGE
    try:
        (package / "models").mkdir(parents=True, exist_ok=True)
        _write(folder / "LICENSE", licence)
        _write(
            folder / "example.py",
            EXAMPLE.format(
                package=PACKAGE, images=images, what=what, num_classes=model.spec.num_classes
            ),
        )
        _write(package / "__init__.py", INIT.format(version=__version__))
        _write(package / "described.py", _relative(Path(described.__file__), inside=False))
        for source in sorted(Path(models.__file__).parent.glob("*.py")):
            _write(package / "models" / source.name, _relative(source, inside=True))
        _write(package / described.DESCRIPTION, json.dumps(about, indent=1) + "\n")
        weights = io.BytesIO()
        torch.save(found.weights, weights)
        (package / described.WEIGHTS).write_bytes(weights.getvalue())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: cannot be written ({error}); give another --out") from error
    return Exported(
        config=model.config,
        spec=model.spec,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        epoch=found.epoch,
        images=what,
        classes=_classes(model),
    )


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _relative(source: Path, *, inside: bool) -> str:
    """A file's text with what it imports of `models` named relative to its new place.

    Args:
        source: A file of `models`, or one that imports that package alone.
        inside: Whether it stays within `models`.
    """
    text = source.read_text(encoding="utf-8")
    if inside:
        return re.sub(r"(?m)^(\s*from )models\.?", r"\1.", text)
    return re.sub(r"(?m)^(\s*from )models", r"\1.models", text)


def _example_images(config: ModelConfig, spec: InputSpec) -> tuple[str, str]:
    """A call that makes a batch of inputs, and what they are."""
    sizes = [spec.channels, spec.height, spec.width]
    if not spec.frames:
        shape = ", ".join(map(str, sizes))
        return (
            f"torch.rand({NUM_IMAGES}, {shape})",
            f"(B, {shape}), pixels in [0, 1]",
        )
    shape = ", ".join(map(str, [config.num_timesteps, *sizes]))
    return (
        f"torch.randint(0, 3, ({NUM_IMAGES}, {shape})).float()",
        f"(B, {shape}), events a time step, polarity and pixel",
    )


def _inputs(config: ModelConfig, spec: InputSpec) -> Tensor:
    """What the call above makes."""
    sizes = [spec.channels, spec.height, spec.width]
    if not spec.frames:
        return torch.rand(NUM_IMAGES, *sizes)
    return torch.randint(0, 3, (NUM_IMAGES, config.num_timesteps, *sizes)).float()


def _classes(model: SpikingClassifier) -> tuple[int, ...]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        logits = model(_inputs(model.config, model.spec))
    return tuple(logits.argmax(dim=1).tolist())


def _licence() -> str:
    """The licence's text, of a checkout or an installation.

    Raises:
        ConfigError: It has been removed from both.
    """
    checkout = Path(models.__file__).parents[1] / "LICENSE"
    if checkout.is_file():
        return checkout.read_text(encoding="utf-8")
    text = importlib.metadata.distribution("spikeproof").read_text("licenses/LICENSE")
    if not text:
        raise ConfigError(f"{checkout}: absent; put the project's licence there, to be passed on")
    return text
