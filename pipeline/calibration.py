"""Measures what steps of training and of attack take here, by running a few of them for real.

No step is a model of a step: training is `train_epoch`, evaluation is `evaluate_block`, on the
space's own data and network. Only the number of steps is short of the sweep's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch

from models import SpikingClassifier, build_model
from models.exact import ExactClassifier, exact
from pipeline.attacks import NoiseConfig, NothingConfig
from pipeline.batches import MOST
from pipeline.config import TrialConfig, domain_of, input_spec
from pipeline.config_types import Judge
from pipeline.costs import Rate
from pipeline.data import Dataset, Split
from pipeline.data.augmentation import AUGMENTATIONS
from pipeline.evaluation import EvaluationTask, evaluate_block
from pipeline.experiment import clean_accuracy
from pipeline.host_memory import keep_freed_memory
from pipeline.records import BlockKey
from pipeline.seeding import seeded
from pipeline.suite_costs import SuiteRates, kind, kinds, num_steps, shortened
from pipeline.threats import GRADIENTS, MEASURE, Member
from pipeline.training import build_strategy
from pipeline.training.compilation import CompileChoice, compile_if_worthwhile, num_updates
from pipeline.training.loop import build_optimizer, train_epoch
from pipeline.worker import strict_fp32

FEW = 2
"""Samples of the smallest batch: batch norm needs as many."""
GROWTH = 4
"""Batches grow by this until they are full, or take too long."""
SLOW_S = 0.3
"""What takes longer is measured once, and on no larger batch."""
REPEATS = 3
"""Otherwise the median of so many measurements counts, after one to warm up."""
AT_ONCE_S = 0.25
"""About so long short training steps are measured at a time."""
SUITE_S = 20.0
"""Seconds after which further kinds of attack steps are taken to cost what those like them do."""
UNBEATABLE = 1e3
"""Added to one class's logit, so that every attack goes to its end."""


class Clock:
    """Seconds that work takes; of a single thread on a CPU its own, as other work may go on."""

    def __init__(self, device: torch.device, num_threads: int) -> None:
        """For work on this device, with so many threads of torch."""
        self._device, self._num_threads = device, num_threads
        alone = device.type == "cpu" and num_threads == 1
        self._now = time.process_time if alone else time.perf_counter

    def __call__(self, work: Callable[[], object]) -> float:
        """Do the work once."""
        keep_freed_memory()
        before = torch.get_num_threads()
        torch.set_num_threads(self._num_threads)
        self._finish()
        started = self._now()
        work()
        self._finish()
        torch.set_num_threads(before)
        return self._now() - started

    def often(self, work: Callable[[], object]) -> float:
        """Do the work several times, unless it takes long; the median of all but the first."""
        first = self(work)
        return first if first > SLOW_S else median(self(work) for _ in range(REPEATS))

    def _finish(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


@dataclass(frozen=True, kw_only=True)
class TrainingRate:
    """What training takes."""

    step_s: float
    """Of a full batch."""
    validation_s: float
    """Of a look at the whole validation split, after each epoch."""
    whole: bool
    """Whether full batches were measured, not small ones."""

    def epoch_s(self, num_samples: int, batch_size: int) -> float:
        """Seconds of an epoch; the last, smaller batch counts in part."""
        return self.step_s * num_samples / batch_size + self.validation_s


def measure_training(
    trial: TrialConfig,
    dataset: Dataset,
    device: torch.device,
    num_threads: int,
    compile_choice: CompileChoice,
) -> TrainingRate:
    """Run a few optimiser steps of a trial, on the data set's first samples.

    Layers are compiled where the training's own would be, which takes half a minute, not counted.

    Raises:
        DivergedError: Even these few do not stay finite.
    """
    config, clock = trial.training, Clock(device, num_threads)
    tf32 = config.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    strategy = build_strategy(trial.strategy, domain_of(dataset))
    with seeded(trial.seed, "weights"):
        model = build_model(trial.model, input_spec(dataset)).to(device)
    updates = num_updates(model, model.spec, model.num_timesteps)
    updates *= len(dataset.train) * config.epochs
    compiled = compile_if_worthwhile(model, compile_choice, updates=updates, device=device)
    optimizer = build_optimizer(model, config, strategy)
    full = min(config.batch_size, len(dataset.train))

    def train(batch: int, count: int) -> object:
        images, labels = _tensors(dataset.train, batch * count, device)
        augment = AUGMENTATIONS[config.augmentation]
        return train_epoch(model, optimizer, strategy, images, labels, batch, augment)

    def steps(batch: int, count: int = 1) -> float:
        return clock.often(lambda: train(batch, count))

    with seeded(trial.seed, "calibration"):
        if compiled:
            train(FEW, 1)
        batch, step_s = _grown(steps, full)
        whole = batch == full
        if whole:
            count = max(1, min(int(AT_ONCE_S / step_s), len(dataset.train) // full))
            step_s = steps(full, count) / count
        looked = len(dataset.validation) if whole else batch
        images, labels = _tensors(dataset.validation, looked, device)
        look_s = clock.often(lambda: clean_accuracy(model, images, labels))
    return TrainingRate(
        step_s=step_s * full / batch,
        validation_s=look_s * len(dataset.validation) / len(labels),
        whole=whole,
    )


def measure_suite(
    trial: TrialConfig,
    dataset: Dataset,
    members: Sequence[Member],
    block_size: int,
    device: torch.device,
    num_threads: int,
) -> SuiteRates:
    """Run a few steps of each kind of attack, the judges and the measurements.

    The network has the trial's architecture and initial weights, and cannot be fooled: what is
    measured is the course of a sample that survives.
    """
    strict_fp32()
    with seeded(trial.seed, "weights"):
        model = build_model(trial.model, input_spec(dataset)).to(device)
    with torch.no_grad():
        model.head.bias[0] += UNBEATABLE
    bench = _Bench(model, dataset, block_size, device, num_threads)
    pseudo = {member.attack_name: member for member in members}
    rates = SuiteRates(
        steps={},
        judges={judge: bench.judge(judge) for judge in sorted({m.judge for m in members})},
        pseudo={name: bench.rate(pseudo[name]) for name in (MEASURE, GRADIENTS) if name in pseudo},
    )
    until = time.monotonic() + SUITE_S
    for member in [_NOISE, *kinds(members)]:
        if kind(member) in rates.steps:
            continue
        if time.monotonic() > until and len(rates.steps) > 1:
            break
        rates.steps[kind(member)] = bench.step(member)
    return rates


_NOISE = Member(attack_name="noise", attack=NoiseConfig(), estimator=None, epsilon=0.0)
_STILL = replace(_NOISE, attack=NothingConfig())
"""Nothing is done, and the judge is asked."""


class _Bench:
    """A network and blocks of samples that all stand."""

    def __init__(
        self,
        model: SpikingClassifier,
        dataset: Dataset,
        block_size: int,
        device: torch.device,
        num_threads: int,
    ) -> None:
        self._model, self._split, self._device = model, dataset.validation, device
        self._clock = Clock(device, num_threads)
        self._judges: dict[Judge, ExactClassifier | None] = {"plain": None}
        most = min(block_size, MOST, len(self._split))
        self._few = min(FEW, most)
        self._many, _ = _grown(lambda count: self._seconds(_STILL, count), most)
        self._plain = self.rate(_STILL)

    def _seconds(self, member: Member, count: int) -> float:
        if member.judge not in self._judges:
            self._judges[member.judge] = exact(self._model).to(self._device)
        key = BlockKey(
            fingerprint="calibration", split="validation", member=member.name, member_hash="",
            seed=0, start=0, stop=count,
        )  # fmt: skip
        task = EvaluationTask(key=key, member=member, checkpoint="", standing=(True,) * count)
        images, labels = self._split.images[:count], np.zeros(count, dtype=np.int64)
        judge = self._judges[member.judge]
        return self._clock.often(
            lambda: evaluate_block(
                self._model, task, images, labels, device=self._device, judge=judge
            )
        )

    def rate(self, member: Member) -> Rate:
        """Of the member as it is."""
        few, many = ((n, self._seconds(member, n)) for n in (self._few, self._many))
        return Rate.through(few, many)

    def judge(self, judge: Judge) -> Rate:
        """Of a judge's answer."""
        return self._plain if judge == "plain" else self.rate(replace(_STILL, judge=judge))

    def step(self, member: Member) -> Rate:
        """Of a step of the member's attack: what a few of them take more than none."""
        attack = member.attack
        assert attack is not None
        plain = replace(member, source=None, judge="plain", judge_draws=1, eot_draws=1)

        def seconds(count: int) -> float:
            # So many that they outweigh what the judge takes, where that is short.
            steps = max(1, min(int(SLOW_S / 20 / self._plain.seconds(count)), 10))
            asked = replace(plain, attack=shortened(attack, steps))
            more = self._seconds(asked, count) - self._plain.seconds(count)
            return max(more, 0.0) / num_steps(asked.attack)

        few, many = ((n, seconds(n)) for n in (self._few, self._many))
        return Rate.through(few, many)


def _grown(seconds: Callable[[int], float], most: int) -> tuple[int, float]:
    """The largest batch, and its seconds, that batches grow to before one takes long."""
    batch = min(FEW, most)
    taken = seconds(batch)
    while batch < most and taken < SLOW_S / GROWTH:
        batch = min(batch * GROWTH, most)
        taken = seconds(batch)
    return batch, taken


def _tensors(split: Split, count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The split's first samples and labels, as training takes them."""
    images = torch.tensor(np.array(split.images[:count]), device=device)
    return images, torch.tensor(np.array(split.labels[:count]), device=device)
