"""Checkpoints: whole or absent, never a pickle, and the network they stand for."""

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models import InputSpec, ModelConfig, NeuronConfig, build_model
from pipeline import checkpoints
from pipeline.config import TrialConfig
from pipeline.data import DigitsConfig
from pipeline.errors import ConfigError
from pipeline.training.config import TrainingConfig
from pipeline.training.sparsity import SRConfig

SPEC = InputSpec(channels=1, height=8, width=8, num_classes=10, mean=(0.25,), std=(0.5,))
CONFIG = TrialConfig(
    data=DigitsConfig(num_train=10),
    model=ModelConfig(
        architecture="small",
        num_timesteps=3,
        channels=(4, 6, 5),
        neuron=NeuronConfig(leak=0.9, threshold=0.7, surrogate="sigmoid", width=3.0),
    ),
    training=TrainingConfig(epochs=2),
    strategy=SRConfig(method="sr", sparsity_weight=0.01),
)


def trained(config: ModelConfig = CONFIG.model) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network after two steps, with the momentum they left."""
    torch.manual_seed(4)
    model = build_model(config, SPEC)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.rand(6, 1, 8, 8)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
    checkpoints.save(path, model, optimizer, epoch=7, config=CONFIG, fingerprint="abc", spec=SPEC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trial" / checkpoints.FILE_NAME


def test_round_trip(path: Path) -> None:
    model, optimizer = trained()
    save(path, model, optimizer)
    checkpoint = checkpoints.load(path)
    assert (checkpoint.epoch, checkpoint.fingerprint) == (7, "abc")
    assert checkpoint.config["strategy"]["sparsity_weight"] == 0.01
    assert checkpoint.spec["mean"] == [0.25]
    state = model.state_dict()
    assert checkpoint.weights.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(checkpoint.weights[name], value), name
    parameters = dict(model.named_parameters())
    assert checkpoint.momentum.keys() == parameters.keys()
    for name, value in checkpoint.momentum.items():
        assert torch.equal(value, optimizer.state[parameters[name]]["momentum_buffer"]), name


def test_without_an_optimizer_there_is_no_momentum(path: Path) -> None:
    save(path, trained()[0], None)
    assert checkpoints.load(path).momentum == {}


def test_rebuilt_network_gives_identical_logits(path: Path) -> None:
    model, optimizer = trained()
    save(path, model, optimizer)
    rebuilt = checkpoints.rebuild(checkpoints.load(path))
    images = torch.rand(5, 1, 8, 8)
    assert not rebuilt.training
    assert (rebuilt.config, rebuilt.spec) == (CONFIG.model, SPEC)
    # Spikes are 0 or 1: the least difference in a weight or setting would show.
    with torch.no_grad():
        assert torch.equal(rebuilt(images), model.eval()(images))
    assert len({rebuilt(images)[0, k].item() for k in range(10)}) > 1


@pytest.mark.parametrize("fused", [False, True])
def test_restored_momentum_takes_the_same_step(path: Path, fused: bool) -> None:
    model, optimizer = trained()
    save(path, model, optimizer)
    checkpoint = checkpoints.load(path)
    twin = checkpoints.rebuild(checkpoint).train()
    model.train()
    images = torch.rand(6, 1, 8, 8)
    settings: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "fused": fused}
    for network in (model, twin):
        fresh = torch.optim.SGD(network.parameters(), **settings)
        if network is twin:
            checkpoints.restore_momentum(fresh, twin, checkpoint.momentum)
        else:
            for parameter in model.parameters():
                fresh.state[parameter] = optimizer.state[parameter]
        fresh.zero_grad()
        network(images).square().sum().backward()
        fresh.step()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_only_the_whole_file_is_left(path: Path) -> None:
    model, optimizer = trained()
    for _ in range(2):
        save(path, model, optimizer)
    assert [entry.name for entry in path.parent.iterdir()] == [checkpoints.FILE_NAME]


def test_a_crash_while_writing_keeps_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = trained()
    save(path, model, optimizer)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with torch.no_grad():
        model.head.weight.zero_()
    with pytest.raises(OSError, match="no space"):
        save(path, model, optimizer)
    assert path.read_bytes() == before
    assert checkpoints.load(path).epoch == 7


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        checkpoints.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_an_absent_file(path: Path) -> None:
    assert "no such checkpoint" in refused(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.999])
def test_a_truncated_file(path: Path, share: float) -> None:
    save(path, *trained())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "safetensors" in refused(path)


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch"])
def test_a_pickle_is_never_run(tmp_path: Path, path: Path, kind: str) -> None:
    trap, path = Trap(tmp_path / "sprung"), tmp_path / checkpoints.FILE_NAME
    if kind == "pickle":
        path.write_bytes(pickle.dumps(trap))
    else:
        torch.save({"weight": trap}, path, _use_new_zipfile_serialization=kind == "torch")
    assert "pickle" in refused(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"format": "spikeproof-0"}])
def test_safetensors_of_others(path: Path, metadata: dict[str, str] | None) -> None:
    path.parent.mkdir()
    save_file({"weight.head.weight": torch.zeros(2)}, path, metadata=metadata)
    assert checkpoints.FORMAT in refused(path)


def test_weights_that_do_not_fit_are_an_error(path: Path) -> None:
    save(path, *trained())
    checkpoint = checkpoints.load(path)
    checkpoint.weights.pop("head.bias")
    with pytest.raises(ConfigError, match=r"head\.bias"):
        checkpoints.rebuild(checkpoint)


def test_the_header_is_json_that_others_can_read(path: Path) -> None:
    save(path, *trained())
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["spikeproof"])
    assert header["config"]["model"]["num_timesteps"] == 3
    assert header["epoch"] == 7


def test_the_same_checkpoint_saved_twice_is_the_same_file(path: Path) -> None:
    model, optimizer = trained()
    save(path, model, optimizer)
    first = path.read_bytes()
    save(path, model, optimizer)
    assert path.read_bytes() == first


def test_digest_is_of_the_content(path: Path) -> None:
    model, optimizer = trained()
    save(path, model, optimizer)
    first = checkpoints.digest(path)
    assert first == hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name("copy").write_bytes(path.read_bytes())
    assert checkpoints.digest(path.with_name("copy")) == first
    with torch.no_grad():
        model.head.bias += 1
    save(path, model, optimizer)
    assert checkpoints.digest(path) != first
