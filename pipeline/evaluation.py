"""Judge one block of samples against one member of a suite: per-sample verdicts."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import GradientEstimator, membrane_support, oracle
from pipeline.attacks import Oracle, SampleDraws, build_attack
from pipeline.attacks.oracle import Cost
from pipeline.logits import margin
from pipeline.metrics import gradient_sparsity, probe, vulnerability
from pipeline.metrics.sparsity import margin_gradient_norms, probability_gradient
from pipeline.records import Block, BlockKey
from pipeline.seeding import derive, seeded
from pipeline.threats import MEASURE, PROBE, Member

SCHEMA_VERSION = "3"
OWN = GradientEstimator(method="own")


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """The unit of scheduling: one network, one member, one block of samples."""

    key: BlockKey
    member: Member
    checkpoint: str
    """Path of the checkpoint, as every worker sees it."""
    standing: tuple[bool, ...] | None = None
    """Samples that the members before this one left standing; None attacks all."""


def evaluate_block(
    model: nn.Module,
    task: EvaluationTask,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    device: torch.device,
    revision: str = "unknown",
    source: nn.Module | None = None,
) -> Block:
    """Verdicts (or, for a pseudo-member, measurements) of a block of samples.

    Rows depend on the task and the block alone, not on who runs it or on what ran before.

    Args:
        model: The victim; it is judged in evaluation mode and in fp32, and left as it was.
        task: What to do.
        images: uint8, shape (B, C, H, W), the samples of `task.key`.
        labels: Shape (B,).
        device: Where to compute.
        revision: Of the code, for the metadata.
        source: The network that is differentiated, where it is not the victim.

    Returns:
        One row a sample; columns as in `records.VERDICT_COLUMNS`, or the metrics' names.
    """
    pixels = torch.from_numpy(np.array(images)).to(device).float() / 255
    targets = torch.from_numpy(np.array(labels)).to(device)
    key = task.key
    with (
        evaluating(model, source or model),
        seeded(key.seed, key.fingerprint, key.split, task.member.seed_hash, key.start),
    ):
        if task.member.attack_name == MEASURE:
            columns = _measurements(model, task, pixels, targets)
        elif task.member.attack_name == PROBE:
            columns = _probed(model, task, pixels, targets)
        else:
            columns = _verdicts(model, source or model, task, pixels, targets)
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


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Put networks into evaluation mode; afterwards every layer is in the mode it was in."""
    modes = [(layer, layer.training) for network in networks for layer in network.modules()]
    try:
        for network in networks:
            network.eval()
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def is_random(model: nn.Module, images: NDArray[np.uint8]) -> bool:
    """Whether the same images get different logits when asked again."""
    pixels = torch.from_numpy(np.array(images)).float() / 255
    with evaluating(model), torch.no_grad():
        return not torch.equal(model(pixels), model(pixels))


def judged(model: nn.Module, images: Tensor, labels: Tensor, num_draws: int) -> tuple[Tensor, ...]:
    """The victim's mean logits over the draws, (B, K), and how often it is right, (B,)."""
    with torch.no_grad():
        answers = torch.stack([model(images) for _ in range(num_draws)])
    share = (answers.argmax(2) == labels).double().mean(0)
    return answers.mean(0), share


def _verdicts(
    model: nn.Module, source: nn.Module, task: EvaluationTask, images: Tensor, labels: Tensor
) -> dict[str, NDArray[np.generic]]:
    """Attack what is classified correctly, judge the result by the victim in fp32."""
    member, key, cost = task.member, task.key, Cost.zero(labels)

    def verdict(asked: Tensor) -> tuple[Tensor, ...]:
        # A random network draws the same for every member: an image that is left as it is keeps
        # its verdict, and many members do not break by chance what each would spare.
        with seeded(key.seed, key.fingerprint, key.split, "judge", key.start):
            return judged(model, asked, labels, member.judge_draws)

    logits, share = verdict(images)
    restart, moved = torch.zeros_like(labels), torch.zeros_like(share)
    attacked = torch.zeros_like(labels, dtype=torch.bool)
    broken_before = torch.zeros_like(attacked)
    if member.attack is not None:
        attacked = logits.argmax(1) == labels
        if task.standing is not None:
            before = torch.tensor(task.standing, device=labels.device)
            broken_before, attacked = attacked & ~before, attacked & before
        target = oracle(source, member.estimator or OWN)
        attack = build_attack(member.attack, member.epsilon)
        standing = attacked.nonzero().squeeze(1)
        for number in range(getattr(member.attack, "num_restarts", 1)):
            if not len(standing):
                break
            asked = Oracle.of(
                target,
                labels[standing],
                draws=sample_draws(task, standing, number),
                eot_draws=member.eot_draws,
            )
            # Judged in the same batch as the clean images: another one could flip a spike.
            tried = images.clone()
            tried[standing] = attack(asked, images[standing], labels[standing])
            cost.add(standing, asked.cost)
            judgement = verdict(tried)
            moved[standing] = (tried - images)[standing].double().flatten(1).abs().amax(1)
            logits[standing], share[standing] = (part[standing] for part in judgement)
            restart[standing] = number
            standing = standing[logits[standing].argmax(1) == labels[standing]]
    predicted = logits.argmax(1)
    count = len(labels)
    return {
        "label": labels.cpu().numpy(),
        "attack": np.full(count, member.attack_name, dtype=object),
        "attack_hash": np.full(count, member.hash, dtype=object),
        "oracle": np.full(count, member.oracle_name, dtype=object),
        "epsilon": np.full(count, member.epsilon),
        "seed": np.full(count, task.key.seed),
        "restart": restart.cpu().numpy(),
        "attacked": attacked.cpu().numpy(),
        "robust": ((predicted == labels) & ~broken_before).cpu().numpy(),
        "predicted": predicted.masked_fill(broken_before, -1).cpu().numpy(),
        "margin": -margin(logits, labels).masked_fill(broken_before, torch.nan).cpu().numpy(),
        "share": share.masked_fill(broken_before, torch.nan).cpu().numpy(),
        "distance": moved.cpu().numpy(),
        "num_forward": cost.forward.cpu().numpy(),
        "num_backward": cost.backward.cpu().numpy(),
    }


def sample_draws(task: EvaluationTask, positions: Tensor, restart: int) -> SampleDraws:
    """Random numbers of some of a block's samples; they do not depend on who else is attacked."""
    key = task.key
    parts = key.seed, key.fingerprint, key.split, task.member.seed_hash, restart
    seeds = [derive(*parts, key.start + position) for position in positions.tolist()]
    return SampleDraws(torch.tensor(seeds, device=positions.device), derive(*parts, "shared"))


def _measurements(
    model: nn.Module, task: EvaluationTask, images: Tensor, labels: Tensor
) -> dict[str, NDArray[np.generic]]:
    """Gradient sparsity and vulnerability of f_y, per sample."""
    gradient, _ = probability_gradient(model, images, labels)
    values = gradient_sparsity(gradient)
    values |= margin_gradient_norms(model, images, labels)
    values |= vulnerability(model, images, labels, task.member.epsilon)
    return {name: value.cpu().numpy() for name, value in values.items()}


def _probed(
    model: nn.Module, task: EvaluationTask, images: Tensor, labels: Tensor
) -> dict[str, NDArray[np.generic]]:
    """What the trust audit asks of the training gradient and the network's answers."""
    draws = sample_draws(task, torch.arange(len(labels), device=labels.device), 0)
    values = probe(model, images, labels, task.member.epsilon, draws.uniform)
    values |= membrane_support(model, images)
    return {name: value.cpu().numpy() for name, value in values.items()}


def block_ranges(num_samples: int, block_size: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive blocks that cover the samples."""
    return [
        (start, min(start + block_size, num_samples)) for start in range(0, num_samples, block_size)
    ]
