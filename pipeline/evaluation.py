"""Judge one block of samples against one member of a suite: per-sample verdicts."""

import platform
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import oracle
from pipeline.attacks import build_attack
from pipeline.attacks.losses import margin
from pipeline.metrics import gradient_sparsity, vulnerability
from pipeline.metrics.sparsity import margin_gradient_norms, probability_gradient
from pipeline.records import Block, BlockKey
from pipeline.seeding import seeded
from pipeline.threats import MEASURE, Member

SCHEMA_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """The unit of scheduling: one network, one member, one block of samples."""

    key: BlockKey
    member: Member
    checkpoint: str
    """Path of the checkpoint, as every worker sees it."""


def evaluate_block(
    model: nn.Module,
    task: EvaluationTask,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    device: torch.device,
    revision: str = "unknown",
) -> Block:
    """Verdicts (or, for the pseudo-member `measure`, measurements) of a block of samples.

    Rows depend on the task and the block alone, not on who runs it or on what ran before.

    Args:
        model: The victim; it is judged in evaluation mode and in fp32, and left as it was.
        task: What to do.
        images: uint8, shape (B, C, H, W), the samples of `task.key`.
        labels: Shape (B,).
        device: Where to compute.
        revision: Of the code, for the metadata.

    Returns:
        One row a sample; columns as in `records.VERDICT_COLUMNS`, or the metrics' names.
    """
    pixels = torch.from_numpy(np.array(images)).to(device).float() / 255
    targets = torch.from_numpy(np.array(labels)).to(device)
    was_training = model.training
    model.eval()
    key = task.key
    try:
        with seeded(key.seed, key.fingerprint, key.split, key.member_hash, key.start):
            if task.member.attack_name == MEASURE:
                columns = _measurements(model, task, pixels, targets)
            else:
                columns = _verdicts(model, task, pixels, targets)
    finally:
        model.train(was_training)
    metadata = {
        "schema": SCHEMA_VERSION,
        "fingerprint": key.fingerprint,
        "split": key.split,
        "member": key.member,
        "member_hash": key.member_hash,
        "revision": revision,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": "fp32",
        "platform": platform.machine(),
    }
    columns["sample"] = np.arange(key.start, key.stop)
    return Block(columns=columns, metadata=metadata)


def _verdicts(
    model: nn.Module, task: EvaluationTask, images: Tensor, labels: Tensor
) -> dict[str, NDArray[np.generic]]:
    """Attack what is classified correctly, judge the result by the victim in fp32."""
    member = task.member
    with torch.no_grad():
        logits = model(images)
    num_steps = torch.zeros_like(labels)
    standing = (logits.argmax(1) == labels).nonzero().squeeze(1)
    if member.attack is not None and len(standing):
        target = model if member.estimator is None else oracle(model, member.estimator)
        attack = build_attack(member.attack, member.epsilon)
        # Judged in the same batch as the clean images: another one could flip a spike.
        attacked = images.clone()
        attacked[standing] = attack(target, images[standing], labels[standing])
        with torch.no_grad():
            logits = model(attacked)
        num_steps[standing] = member.attack.num_steps
    count = len(labels)
    predicted = logits.argmax(1)
    return {
        "label": labels.cpu().numpy(),
        "attack": np.full(count, member.attack_name, dtype=object),
        "attack_hash": np.full(count, member.hash, dtype=object),
        "oracle": np.full(count, member.oracle_name, dtype=object),
        "epsilon": np.full(count, member.epsilon),
        "seed": np.full(count, task.key.seed),
        "restart": np.zeros(count, dtype=np.int64),
        "robust": (predicted == labels).cpu().numpy(),
        "predicted": predicted.cpu().numpy(),
        "margin": -margin(logits, labels).cpu().numpy(),
        "num_steps": num_steps.cpu().numpy(),
    }


def _measurements(
    model: nn.Module, task: EvaluationTask, images: Tensor, labels: Tensor
) -> dict[str, NDArray[np.generic]]:
    """Gradient sparsity and vulnerability of f_y, per sample."""
    gradient, _ = probability_gradient(model, images, labels)
    values = gradient_sparsity(gradient)
    values |= margin_gradient_norms(model, images, labels)
    values |= vulnerability(model, images, labels, task.member.epsilon)
    return {name: value.cpu().numpy() for name, value in values.items()}


def block_ranges(num_samples: int, block_size: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive blocks that cover the samples."""
    return [
        (start, min(start + block_size, num_samples)) for start in range(0, num_samples, block_size)
    ]
