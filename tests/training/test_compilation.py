"""Short trainings are never compiled; long ones are, where there is a compiler."""

import shutil
from typing import Any

import pytest
import torch

from models import InputSpec, ModelConfig, build_model
from models.neurons import SpikingNeurons
from pipeline.training.compilation import WORTHWHILE, compile_if_worthwhile, num_updates

SPEC = InputSpec(channels=1, height=8, width=8, num_classes=3)
CONFIG = ModelConfig(architecture="small", num_timesteps=3, channels=(2, 4, 5))


def test_updates_by_hand() -> None:
    model = build_model(CONFIG, SPEC).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    # Neurons see 8x8, 8x8 and 4x4 pixels.
    assert num_updates(model, SPEC, 3) == 3 * (2 * 64 + 4 * 64 + 5 * 16)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_updates_of_event_frames() -> None:
    spec = InputSpec(channels=2, height=8, width=8, num_classes=3, frames=True)
    assert num_updates(build_model(CONFIG, spec), spec, 3) == 3 * (2 * 64 + 4 * 64 + 5 * 16)


@pytest.mark.parametrize(
    ("choice", "updates", "device", "compiler", "expected"),
    [
        ("auto", WORTHWHILE, "cpu", "/usr/bin/g++", True),
        ("auto", 0.9 * WORTHWHILE, "cpu", "/usr/bin/g++", False),
        ("auto", WORTHWHILE, "cpu", None, False),
        ("auto", WORTHWHILE, "cuda", "/usr/bin/g++", False),
        ("on", 1.0, "cpu", "/usr/bin/g++", True),
        ("on", 1.0, "cuda", None, True),
        ("off", 10 * WORTHWHILE, "cpu", "/usr/bin/g++", False),
    ],
)
def test_who_is_compiled(
    choice: Any,
    updates: float,
    device: str,
    compiler: str | None,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: compiler)
    model = build_model(CONFIG, SPEC)
    done = compile_if_worthwhile(model, choice, updates=updates, device=torch.device(device))
    assert done is expected
    assert {m.compiled for m in model.modules() if isinstance(m, SpikingNeurons)} == {expected}


def test_the_quickstart_is_not_compiled() -> None:
    """The digits space's network, for a thousand epochs of all its images."""
    model = build_model(ModelConfig(architecture="small"), SPEC)
    assert 1000 * 1100 * num_updates(model, SPEC, 8) < WORTHWHILE
