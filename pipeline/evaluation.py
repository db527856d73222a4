"""Judge one block of samples against one member of a suite: per-sample verdicts."""

import hashlib
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import GradientEstimator, SpikingClassifier, membrane_support, oracle
from models.exact import ExactClassifier, exact
from pipeline.attacks import Oracle, SampleDraws, build_attack
from pipeline.attacks.grid import from_steps, in_reach, in_steps
from pipeline.attacks.oracle import Cost
from pipeline.batches import in_batches
from pipeline.data.network_input import network_input
from pipeline.logits import margin
from pipeline.metrics import gradient_sparsity, probe, vulnerability
from pipeline.metrics.distribution import component_counts
from pipeline.metrics.sparsity import margin_gradient_norms, probability_gradient
from pipeline.records import EVIDENCE_COLUMNS, GRID_LEVELS, Block, BlockKey
from pipeline.seeding import derive, seeded
from pipeline.threats import GRADIENTS, MEASURE, PROBE, Member

SCHEMA_VERSION = "4"
OWN = GradientEstimator(method="own")
Columns = dict[str, NDArray[Any]]
NUM_PICTURES = 6
"""Images of a split, the first ones, whose gradients are kept as they are (Fig. 5)."""


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
    images: NDArray[Any],
    labels: NDArray[np.int64],
    *,
    device: torch.device,
    revision: str = "unknown",
    source: nn.Module | None = None,
    batch_size: int | None = None,
    judge: ExactClassifier | None = None,
) -> Block:
    """Verdicts (or, for a pseudo-member, measurements) of a block of samples.

    Rows depend on the task and the block alone, not on who runs it or on what ran before.

    Args:
        model: The victim; it is judged in evaluation mode and in fp32, and left as it was.
        task: What to do.
        images: The samples of `task.key`: uint8, shape (B, C, H, W), or event frames
            (B, T, C, H, W).
        labels: Shape (B,).
        device: Where to compute.
        revision: Of the code, for the metadata.
        source: The network that is differentiated, where it is not the victim.
        batch_size: Samples that are computed at once, at most; all. Of a random network the
            block as a whole is judged.
        judge: The victim's exact twin on the device, for members that ask for it; made if absent.

    Returns:
        One row a sample; columns as in `records.VERDICT_COLUMNS`, or the metrics' names. With an
        exact judge, evidence of what the member broke.
    """
    pixels = network_input(torch.from_numpy(np.array(images)).to(device))
    targets = torch.from_numpy(np.array(labels)).to(device)
    key, size = task.key, min(batch_size or len(labels), len(labels))
    if task.member.judge == "plain":
        judge = None
    elif judge is None:
        assert isinstance(model, SpikingClassifier)
        judge = exact(model).to(device)
    evidence: Columns | None = None
    with (
        evaluating(model, source or model),
        seeded(key.seed, key.fingerprint, key.split, task.member.seed_hash, key.start),
    ):
        if task.member.attack_name == MEASURE:
            columns = _in_parts(_measurements, model, task, pixels, targets, size)
        elif task.member.attack_name == PROBE:
            columns = _in_parts(_probed, model, task, pixels, targets, size)
        elif task.member.attack_name == GRADIENTS:
            columns = _gradients(model, key.start, pixels, targets, size)
        else:
            columns, evidence = _verdicts(
                model, judge, source or model, task, pixels, targets, size
            )
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
        "batch": str(size),
        "platform": platform.machine(),
        "shape": ",".join(map(str, images.shape[1:])),
    }
    columns["sample"] = np.arange(key.start, key.stop)
    if judge is not None:
        metadata |= {"judge": "exact", "steps": str(judge.steps)}
    if evidence is not None:
        evidence["sample"] += key.start
    return Block(columns=columns, metadata=metadata, evidence=evidence)


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


def is_random(model: nn.Module, images: NDArray[Any]) -> bool:
    """Whether the same images get different logits when asked again."""
    pixels = network_input(torch.from_numpy(np.array(images)))
    with evaluating(model), torch.no_grad():
        return not torch.equal(model(pixels), model(pixels))


def judged(model: nn.Module, images: Tensor, labels: Tensor, num_draws: int) -> tuple[Tensor, ...]:
    """The victim's mean logits over the draws, (B, K), and how often it is right, (B,)."""
    with torch.no_grad():
        answers = torch.stack([model(images) for _ in range(num_draws)])
    share = (answers.argmax(2) == labels).double().mean(0)
    return answers.mean(0), share


class _Verdicts:
    """What the victim says of a block's samples; tensors of shape (B,)."""

    def __init__(
        self, model: nn.Module, task: EvaluationTask, images: Tensor, labels: Tensor
    ) -> None:
        """Nothing is asked yet; the model is the one whose answer counts."""
        self._model, self._task, self._images, self._labels = model, task, images, labels
        self.predicted = torch.full_like(labels, -1)
        self.margin = torch.full(labels.shape, torch.nan, device=labels.device)
        self.share = torch.full_like(self.margin, torch.nan, dtype=torch.float64)

    def judge(self, tried: Tensor, asked: Tensor) -> None:
        """Ask the victim about the samples at the positions `asked`, as they were tried."""
        key, draws = self._task.key, self._task.member.judge_draws
        if draws == 1:
            logits, share = judged(self._model, tried, self._labels[asked], draws)
        else:
            # A random network draws the same for every member, so that many members do not break
            # by chance what each would spare; its draws belong to the block as a whole.
            whole = self._images.clone()
            whole[asked] = tried
            with seeded(key.seed, key.fingerprint, key.split, "judge", key.start):
                logits, share = judged(self._model, whole, self._labels, draws)
            logits, share = logits[asked], share[asked]
        self.predicted[asked], self.share[asked] = logits.argmax(1), share
        self.margin[asked] = -margin(logits, self._labels[asked]).to(self.margin.dtype)

    def right(self) -> Tensor:
        """Samples whose last answer was right; never those that were not asked about."""
        return self.predicted == self._labels


def _verdicts(
    model: nn.Module,
    judge: ExactClassifier | None,
    source: nn.Module,
    task: EvaluationTask,
    images: Tensor,
    labels: Tensor,
    size: int,
) -> tuple[Columns, Columns | None]:
    """Attack what stands, in batches of at most `size`, and let the victim judge it in fp32.

    What stands is gathered first: a few survivors of a large block still fill their batches.
    An exact judge's attacked images are put on its grid first; evidence is what they hold.
    """
    member, cost = task.member, Cost.zero(labels)
    rows = _Verdicts(judge or model, task, images, labels)
    everyone, tried = torch.arange(len(labels), device=labels.device), images.clone()
    restart, moved = torch.zeros_like(labels), torch.zeros_like(rows.share)
    judged_whole = member.judge_draws > 1
    if task.standing is None:
        at_once = len(labels) if judged_whole else size
        in_batches(everyone, at_once, lambda part: rows.judge(images[part], part))
        attacked = rows.right()
    else:
        attacked = torch.tensor(task.standing, device=labels.device)
        rows.predicted = rows.predicted.where(~attacked, labels)
    if member.attack is None:
        attacked = torch.zeros_like(attacked)
    else:
        target = oracle(source, member.estimator or OWN)
        budget = member.threat.budget(member.epsilon)
        attack = build_attack(member.attack, budget)

    def attack_part(part: Tensor, number: int) -> None:
        asked = Oracle.of(
            target,
            labels[part],
            draws=sample_draws(task, part, number),
            eot_draws=member.eot_draws,
        )
        clean = images[part]
        tried[part] = attack(asked, clean, labels[part])
        if judge is not None:
            steps = judge.steps
            tried[part] = from_steps(in_reach(budget, tried[part], clean, steps), steps, clean)
            clean = from_steps(in_steps(clean, steps), steps, clean)
        moved[part] = budget.distance(tried[part], clean)
        same = (tried[part] == images[part]).flatten(1).all(1)
        if not judged_whole:
            before = rows.predicted[part]
            rows.judge(tried[part], part)
            # An image that is left as it is keeps its verdict: in a batch of another size its last
            # digits may differ, and flip a spike.
            rows.predicted[part] = rows.predicted[part].where(~same, before)
        cost.add(part, asked.cost)
        restart[part] = number

    standing = everyone[attacked]
    for number in range(getattr(member.attack, "num_restarts", 1)):
        if not len(standing):
            break
        in_batches(standing, size, partial(attack_part, number=number))
        if judged_whole:
            rows.judge(tried[standing], standing)
        standing = standing[rows.right()[standing]]
    count = len(labels)
    columns: Columns = {
        "label": labels.cpu().numpy(),
        "attack": np.full(count, member.attack_name, dtype=object),
        "attack_hash": np.full(count, member.hash, dtype=object),
        "oracle": np.full(count, member.oracle_name, dtype=object),
        "threat": np.full(count, member.threat.name, dtype=object),
        "epsilon": np.full(count, member.epsilon),
        "seed": np.full(count, task.key.seed),
        "restart": restart.cpu().numpy(),
        "attacked": attacked.cpu().numpy(),
        "robust": rows.right().cpu().numpy(),
        "predicted": rows.predicted.cpu().numpy(),
        "margin": rows.margin.cpu().numpy(),
        "share": rows.share.cpu().numpy(),
        "distance": moved.cpu().numpy(),
        "num_forward": cost.forward.cpu().numpy(),
        "num_backward": cost.backward.cpu().numpy(),
    }
    if judge is None or member.attack is None:
        return columns, None
    broken = everyone[attacked & ~rows.right()]
    return columns, break_evidence(columns, broken, images, tried, judge.steps)


def sample_draws(task: EvaluationTask, positions: Tensor, restart: int) -> SampleDraws:
    """Random numbers of some of a block's samples; they do not depend on who else is attacked."""
    key = task.key
    parts = key.seed, key.fingerprint, key.split, task.member.seed_hash, restart
    seeds = [derive(*parts, key.start + position) for position in positions.tolist()]
    return SampleDraws(torch.tensor(seeds, device=positions.device), derive(*parts, "shared"))


def break_evidence(
    columns: Columns, broken: Tensor, images: Tensor, tried: Tensor, steps: int
) -> Columns:
    """What anyone needs to judge broken samples again: `records.EVIDENCE_COLUMNS`.

    Args:
        columns: Of the block's verdicts.
        broken: Positions of the samples within the block.
        images: As stored, not altered by a threat model; shape (B, ...).
        tried: The images judged, on the grid; same shape.
        steps: Of the grid, from 0 to 1.
    """
    chosen = broken.cpu().numpy()
    clean, found = (
        in_steps(values[broken], steps).cpu().numpy().astype(np.int64) for values in (images, tried)
    )
    kept = [name for name in EVIDENCE_COLUMNS if name in columns]
    evidence: Columns = {"sample": chosen.astype(np.int64)}
    evidence |= {name: columns[name][chosen] for name in kept}
    for name, values in (
        ("perturbation", [pack_steps(a - b) for a, b in zip(found, clean, strict=True)]),
        ("image_sha256", [hashlib.sha256(pack_steps(a)).hexdigest() for a in found]),
    ):
        evidence[name] = np.empty(len(chosen), dtype=object)
        evidence[name][:] = values
    return evidence


def pack_steps(values: NDArray[np.int64]) -> bytes:
    """Whole steps, or their differences, modulo 2**16: two bytes each, the lower one first."""
    return (values % GRID_LEVELS).astype("<u2").tobytes()


Measure = Callable[[nn.Module, EvaluationTask, Tensor, Tensor, SampleDraws], dict[str, Tensor]]
"""(network, task, images, labels, random numbers) -> values, one a sample."""


def _in_parts(
    measure: Measure,
    model: nn.Module,
    task: EvaluationTask,
    images: Tensor,
    labels: Tensor,
    size: int,
) -> dict[str, NDArray[np.generic]]:
    """The values of all samples, measured `size` at a time."""
    parts: list[dict[str, Tensor]] = []

    def one(part: Tensor) -> None:
        draws = sample_draws(task, part, 0)
        parts.append(measure(model, task, images[part], labels[part], draws))

    in_batches(torch.arange(len(labels), device=labels.device), size, one)
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}


def _measurements(
    model: nn.Module, task: EvaluationTask, images: Tensor, labels: Tensor, draws: SampleDraws
) -> dict[str, Tensor]:
    """Gradient sparsity and vulnerability of f_y, per sample."""
    gradient, _ = probability_gradient(model, images, labels)
    values = gradient_sparsity(gradient)
    values |= margin_gradient_norms(model, images, labels)
    radius = task.member.threat.ball(task.member.epsilon).radius
    return values | vulnerability(model, images, labels, radius, draws.uniform)


def _gradients(
    model: nn.Module, start: int, images: Tensor, labels: Tensor, size: int
) -> dict[str, NDArray[np.generic]]:
    """How f_y's gradients are distributed, and those of the split's first images themselves.

    Returns:
        `label`; `counts`, a list a sample, by the bins of `distribution.BIN_EDGES`; `image` and
        `gradient`, flattened lists for the first `NUM_PICTURES` samples of the split, empty for
        all others.
    """
    counts: list[NDArray[np.int64]] = []
    pictures: dict[str, list[NDArray[np.float32]]] = {"image": [], "gradient": []}

    def one(part: Tensor) -> None:
        gradient, _ = probability_gradient(model, images[part], labels[part])
        counts.extend(component_counts(gradient).cpu().numpy())
        kept = int((part + start < NUM_PICTURES).sum())  # a split's first samples come first
        for name, values in (("image", images[part]), ("gradient", gradient)):
            flat = values[:kept].detach().float().flatten(1).cpu().numpy()
            pictures[name].extend([*flat, *[flat.reshape(-1)[:0]] * (len(part) - kept)])

    in_batches(torch.arange(len(labels), device=labels.device), size, one)
    columns: dict[str, Sequence[Any]] = {"counts": counts, **pictures}
    found = {name: np.empty(len(labels), dtype=object) for name in columns}
    for name, values in columns.items():
        for row, value in enumerate(values):
            found[name][row] = value
    return {"label": labels.cpu().numpy(), **found}


def _probed(
    model: nn.Module, task: EvaluationTask, images: Tensor, labels: Tensor, draws: SampleDraws
) -> dict[str, Tensor]:
    """What the trust audit asks of the training gradient and the network's answers."""
    ball = task.member.threat.ball(task.member.epsilon)
    values = probe(model, images, labels, ball.radius, draws.uniform, ball.clip)
    return values | membrane_support(model, images)


def block_ranges(num_samples: int, block_size: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive blocks that cover the samples."""
    return [
        (start, min(start + block_size, num_samples)) for start in range(0, num_samples, block_size)
    ]
