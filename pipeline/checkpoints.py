"""A checkpoint is one safetensors file: weights, momentum, and JSON about what they are."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor, nn

from models import InputSpec, SpikingClassifier
from pipeline.config_types import NAME_PATTERN
from pipeline.described import described
from pipeline.errors import ConfigError, DamagedError
from pipeline.files import StorePath, read_start, write_atomically

FILE_NAME = "checkpoint.safetensors"
FORMAT = "spikeproof-checkpoint-2"
HEADER = "spikeproof"
WEIGHT, MOMENTUM = "weight.", "momentum."
MAX_HEADER = 100_000_000
"""Bytes of a header that the format allows."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds; tensors are on the CPU."""

    weights: dict[str, Tensor]
    momentum: dict[str, Tensor]
    epoch: int
    """Epochs finished."""
    config: dict[str, Any]
    """The trial's configuration, as plain data."""
    fingerprint: str
    """Of the trial, as the store names it."""
    spec: dict[str, Any]
    """The network's `InputSpec`, as plain data."""


def save(
    path: StorePath,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    *,
    epoch: int,
    config: Any,
    fingerprint: str,
    spec: InputSpec,
) -> None:
    """Write model and momentum; the file appears under its name only when it is whole."""
    tensors = {WEIGHT + name: value for name, value in model.state_dict().items()}
    if optimizer is not None:
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for parameter, state in optimizer.state.items():
            if state.get("momentum_buffer") is not None:
                tensors[MOMENTUM + names[id(parameter)]] = state["momentum_buffer"]
    header = {
        "format": FORMAT,
        "epoch": epoch,
        # Not its identity alone: whoever loads it wants to know where the data lay, too.
        "config": dataclasses.asdict(config),
        "fingerprint": fingerprint,
        "spec": dataclasses.asdict(spec),
    }
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry: safetensors writes several in random order, and equal files would differ.
    header = json.loads(json.dumps(header, default=str))
    about = {HEADER: json.dumps(header | {"sha256": _sum(on_cpu, header)})}
    write_atomically(path, serialize(on_cpu, about))


def _sum(tensors: dict[str, Tensor], header: dict[str, Any]) -> str:
    """SHA-256 of names, shapes, numbers and header, hexadecimal."""
    result = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        result.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return result.hexdigest()


def load(path: StorePath) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ConfigError: There is no such file, or it is no checkpoint of this project.
        DamagedError: It is cut short, or not what was written.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such checkpoint; expected a file {FILE_NAME} of a trial")
    data = path.read_bytes()
    try:
        tensors: dict[str, Tensor] = deserialize(data)
        text = _text(data)
    except (SafetensorError, ValueError) as error:
        raise DamagedError(
            f"{path}: expected a checkpoint in safetensors format, got something else, or one cut "
            f"short ({error}); files that need pickle are never loaded"
        ) from error
    header = _header(path, text)
    if header.pop("sha256", "") != _sum(tensors, header):
        raise DamagedError(f"{path}: is not what was written (its SHA-256 differs)")
    return Checkpoint(
        weights={k[len(WEIGHT) :]: v for k, v in tensors.items() if k.startswith(WEIGHT)},
        momentum={k[len(MOMENTUM) :]: v for k, v in tensors.items() if k.startswith(MOMENTUM)},
        epoch=header["epoch"],
        config=header["config"],
        fingerprint=header["fingerprint"],
        spec=header["spec"],
    )


def stored_epoch(path: StorePath) -> int:
    """Epochs of the checkpoint that lies there, read from its header alone; 0 if none can be."""
    try:
        length = int.from_bytes(read_start(path, 8), "little")
        if length > MAX_HEADER:
            return 0
        epoch: int = _header(path, _text(read_start(path, 8 + length)))["epoch"]
    except (ValueError, FileNotFoundError):
        return 0
    return epoch


def _text(data: bytes) -> str:
    """This project's part of a safetensors header: its length in 8 bytes, then JSON.

    Raises:
        ValueError: It is none.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = header.get("__metadata__") if isinstance(header, dict) else None
    return str((about or {}).get(HEADER, "{}"))


def _header(path: StorePath, text: str) -> dict[str, Any]:
    """The JSON of a file that may be anybody's, with the types of its entries checked."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    found = header.get("format", "none") if isinstance(header, dict) else "none"
    if not isinstance(header, dict) or found != FORMAT:
        raise ConfigError(
            f"{path}: expected a checkpoint written by this pipeline ({FORMAT}), "
            f"got format '{str(found)[:80]}'"
        )
    for name, kind in (("epoch", int), ("config", dict), ("fingerprint", str), ("spec", dict)):
        if not isinstance(header.get(name), kind):
            raise ConfigError(
                f"{path}: damaged: its '{name}' is no {kind.__name__}; train the network again"
            )
    if not NAME_PATTERN.fullmatch(header["fingerprint"]):
        # It names folders of the store.
        raise ConfigError(f"{path}: damaged: its fingerprint is no name; train the network again")
    return header


def restore_momentum(
    optimizer: torch.optim.Optimizer, model: nn.Module, momentum: dict[str, Tensor]
) -> None:
    """Give the optimiser the momentum of a checkpoint, by parameter name."""
    for name, parameter in model.named_parameters():
        if name in momentum:
            # In the parameter's own memory layout: fused optimisers walk raw memory.
            buffer = torch.empty_like(parameter, requires_grad=False).copy_(momentum[name])
            optimizer.state[parameter]["momentum_buffer"] = buffer


def rebuild(checkpoint: Checkpoint) -> SpikingClassifier:
    """The network of a checkpoint with its weights, in evaluation mode, on the CPU.

    Raises:
        ConfigError: The header describes no network, or another one than the weights are of.
    """
    check_weights(checkpoint)
    model = _described(checkpoint)
    model.load_state_dict(checkpoint.weights, strict=True)
    return model.eval()


def check_weights(checkpoint: Checkpoint) -> None:
    """Whether the weights are those of the network that the header describes.

    Nothing is allocated for it: the header may describe layers that no memory holds.

    Raises:
        ConfigError: They are not.
    """
    try:
        with torch.device("meta"):
            wanted = _described(checkpoint).state_dict()
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"checkpoint {checkpoint.fingerprint}: its header describes no network of this "
            f"project ({reason}); train the network again"
        ) from error
    got = checkpoint.weights
    other = sorted(
        name
        for name in {*wanted, *got}
        if name not in got or name not in wanted or got[name].shape != wanted[name].shape
    )
    if other:
        raise ConfigError(
            f"checkpoint {checkpoint.fingerprint}: its weights are not of the network that its "
            f"header describes (first: {other[0][:80]}); train the network again"
        )


def _described(checkpoint: Checkpoint) -> SpikingClassifier:
    """A network as the header says, on torch's default device."""
    return described(checkpoint.config["model"], checkpoint.spec)


def digest(path: StorePath) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
