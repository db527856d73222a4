"""How far a sweep is, and how long the rest may take, from what its work has cost so far."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.config import SpaceConfig
from pipeline.judging import Judgement
from pipeline.records import Outcome, Phase, TrialRow
from pipeline.resources import Shares
from pipeline.search.front import front_rows
from pipeline.threats import Member

SEARCH, REPORT, AUDIT = STAGES = ("search", "report", "audit")
"""What a sweep does, in this order; its own trainings belong to the search."""
PLACES = ("judged", "in evaluation", "in training", "to come", "stopped", "failed")
FEW = 3
"""Networks that a front is taken to have before there is one."""
BOTH = {"clean_accuracy": "maximize", "robust_accuracy": "maximize"}


@dataclass(frozen=True, kw_only=True)
class Status:
    """A sweep at one moment."""

    stage: str
    """`search`, `report` or `audit`."""
    after: Sequence[str]
    """The stages to come."""
    trials: Mapping[str, int]
    """By where they are, one of PLACES; those with none are left out."""
    running: Sequence[str]
    """Trials in training, with their epochs: `sr-004 12/30`."""
    trained: float
    """Share of all epochs that are done."""
    judged: float
    """Share of all attacks that are done, those of report and audit included."""
    best: Sequence[str]
    """The cleanest and the most robust so far, on validation images."""
    seconds_left: float | None
    """None as long as nothing was measured."""


@dataclass
class Work:
    """Something of which pieces have been done, at a measured cost."""

    done: float = 0.0
    seconds: float = 0.0

    def add(self, done: float, seconds: float) -> None:
        """Count a piece."""
        self.done += done
        self.seconds += seconds

    @property
    def rate(self) -> float | None:
        """Seconds a unit; None as long as there is none."""
        return self.seconds / self.done if self.done else None


def passes(members: Sequence[Member], num_samples: int) -> float:
    """Gradient passes of all members on all samples, at least one a member: a measure of cost.

    Survivors alone are attacked, so fewer are made; how many fewer is in the measured seconds.
    """
    each = [m.attack.gradient_steps * m.eot_draws if m.attack else 1 for m in members]
    return float(num_samples * sum(max(1, steps) for steps in each))


@dataclass
class Meter:
    """Counts a sweep's work while the driver does it; all methods may be called from any thread.

    Epochs cost what earlier ones of their strategy did, an attack's passes what others did.
    """

    space: SpaceConfig
    share: Shares
    resources: Mapping[str, float]
    """CPUs and GPUs of the cluster."""
    judgements: Mapping[str, Judgement]
    """By stage; no `audit` where the space wants none."""
    rows: Callable[[], Sequence[TrialRow]]
    planned: Callable[[], int]
    """Trainings of the whole sweep, as far as they are known."""
    stage: str = SEARCH
    epochs: dict[str, Work] = field(default_factory=dict)
    attacks: dict[str, Work] = field(default_factory=dict)
    _running: dict[str, tuple[TrialRow, int]] = field(default_factory=dict)
    _open: dict[str, Work] = field(default_factory=dict)
    """Passes done of the networks in evaluation, by fingerprint. They count as a measure when the
    whole network is judged: blocks that come first, without an attack, cost more a pass."""
    _judged: dict[str, set[str]] = field(default_factory=dict)
    _due: dict[str, int] = field(default_factory=dict)
    """Networks that a stage is about, once that is known."""

    def begin(self, stage: str, networks: int) -> None:
        """A stage begins, for so many networks."""
        self.stage = stage
        self._due[stage] = networks
        self._open.clear()

    def epoch(self, row: TrialRow, epoch: int, seconds: float = 0.0) -> None:
        """A trial was started (epoch 0), or ended an epoch."""
        self._running[row.fingerprint] = (row, epoch)
        if epoch:
            self.epochs.setdefault(row.strategy, Work()).add(1, seconds)

    def left_training(self, row: TrialRow) -> None:
        """A trial trains no more."""
        self._running.pop(row.fingerprint, None)

    def block(self, fingerprint: str, member: Member, num_samples: int, seconds: float) -> None:
        """A block was computed."""
        done = passes([member], num_samples)
        self._open.setdefault(fingerprint, Work()).add(done, seconds)

    def judged(self, fingerprint: str) -> None:
        """A network's evaluation is over."""
        self._judged.setdefault(self.stage, set()).add(fingerprint)
        own = self._open.pop(fingerprint, Work())
        if own.done:
            self.attacks.setdefault(self.stage, Work()).add(own.done, own.seconds)

    def status(self) -> Status:
        """The sweep as it is now."""
        rows = self.rows()
        planned = max(self.planned(), len(rows))
        trials = Counter(self._place(row) for row in rows)
        trials["to come"] += planned - len(rows)
        done, total = self._epochs(rows, planned)
        made, due = self._passes(rows, planned)
        running = [(row, epoch) for row, epoch in list(self._running.values()) if epoch]
        return Status(
            stage=self.stage,
            after=[s for s in self.judgements if STAGES.index(s) > STAGES.index(self.stage)],
            trials={place: trials[place] for place in PLACES if trials[place]},
            running=[f"{row.label} {epoch}/{self.space.training.epochs}" for row, epoch in running],
            trained=done / total if total else 1.0,
            judged=sum(made.values()) / sum(due.values()) if sum(due.values()) else 1.0,
            best=best_so_far(rows),
            seconds_left=self._seconds_left(rows, planned, made, due),
        )

    def _place(self, row: TrialRow) -> str:
        if row.phase is Phase.TRAINED:
            return "in evaluation"
        if row.phase is Phase.ASKED:
            return "in training" if row.fingerprint in self._running else "to come"
        return {Outcome.COMPLETE: "judged", Outcome.PRUNED: "stopped"}.get(
            row.outcome or Outcome.FAILED, "failed"
        )

    def _epochs(self, rows: Sequence[TrialRow], planned: int) -> tuple[int, int]:
        """Done, and in all; a trial that ended counts as trained, whatever became of it."""
        each = self.space.training.epochs
        ended = sum(row.phase is not Phase.ASKED for row in rows)
        running = sum(epoch for _, epoch in list(self._running.values()))
        return min(ended * each + running, planned * each), planned * each

    def _passes(
        self, rows: Sequence[TrialRow], planned: int
    ) -> tuple[dict[str, float], dict[str, float]]:
        """By stage: done, and in all."""
        made, due = {}, {}
        for stage, judgement in self.judgements.items():
            each = passes(judgement.members, judgement.num_samples)
            networks = self._due.get(stage, self._expected(stage, rows, planned))
            over = STAGES.index(stage) < STAGES.index(self.stage)
            # Of a resumed search, what was told before was not counted here.
            there = len(self._judged.get(stage, ()))
            if stage == SEARCH:
                there = max(there, sum(row.phase is Phase.TOLD for row in rows))
            part = (
                sum(work.done for work in list(self._open.values())) if stage == self.stage else 0.0
            )
            due[stage] = networks * each
            made[stage] = due[stage] if over else min(due[stage], there * each + part)
        return made, due

    def _expected(self, stage: str, rows: Sequence[TrialRow], planned: int) -> int:
        """Networks that a stage will be about, as it looks now."""
        if stage == SEARCH:
            return planned
        if stage == REPORT and self.space.report.trials == "all":
            return planned
        baselines = len(self.space.baselines)
        searched = [row for row in _told(rows) if row.role == "searched"]
        front = len(front_rows(searched, BOTH)) if searched else FEW
        return min(planned, baselines + front) * (self.space.seeds if stage == REPORT else 1)

    def _seconds_left(
        self,
        rows: Sequence[TrialRow],
        planned: int,
        made: Mapping[str, float],
        due: Mapping[str, float],
    ) -> float | None:
        trained, epochs = self._epochs(rows, planned)
        mean = _together(self.epochs.values()).rate
        own = [
            (self.space.training.epochs - epoch) * (self._rate(row.strategy) or 0.0)
            for row, epoch in list(self._running.values())
        ]
        running = sum(self.space.training.epochs - e for _, e in list(self._running.values()))
        others = max(0, epochs - trained - running)
        attack = _together(self.attacks.values()).rate
        if (epochs > trained and mean is None) or (attack is None and due != made):
            return None
        training = sum(own) + others * (mean or 0.0)
        attacks = 0.0
        for stage in due:
            measured = self.attacks.get(stage, Work()).rate or attack or 0.0
            attacks += (due[stage] - made[stage]) * measured
        share, there = self.share, self.resources
        busy = [
            training * share.trial_cpus + attacks * share.evaluation_cpus,
            training * share.trial_gpus + attacks * share.evaluation_gpus,
        ]
        return max(
            work / there[kind]
            for kind, work in zip(("CPU", "GPU"), busy, strict=True)
            if there.get(kind)
        )

    def _rate(self, strategy: str) -> float | None:
        """Seconds an epoch of a strategy; of all, where none of it was seen."""
        return self.epochs.get(strategy, Work()).rate or _together(self.epochs.values()).rate


def _together(parts: Iterable[Work]) -> Work:
    work = Work()
    for part in list(parts):
        work.add(part.done, part.seconds)
    return work


def _told(rows: Sequence[TrialRow]) -> list[TrialRow]:
    return [row for row in rows if row.outcome is Outcome.COMPLETE and not row.replicate_of]


def best_so_far(rows: Sequence[TrialRow]) -> list[str]:
    """The most robust and the cleanest trial of the front so far, a line each."""
    front = front_rows(_told(rows), BOTH)
    if not front:
        return []
    by_robust = max(front, key=lambda row: row.metrics["robust_accuracy"])
    by_clean = max(front, key=lambda row: row.metrics["clean_accuracy"])
    shown = {row.label: row for row in (by_robust, by_clean)}
    return [
        f"{label}: clean {100 * row.metrics['clean_accuracy']:.1f} %, "
        f"robust {100 * row.metrics['robust_accuracy']:.1f} %"
        for label, row in shown.items()
    ]


def about(seconds: float) -> str:
    """A time left, as rough as it is known: `about 3 min`."""
    if seconds < 50:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"about {max(1, round(seconds / 60))} min"
    if seconds < 48 * 3600:
        return f"about {seconds / 3600:.1f} h"
    return f"about {seconds / 86400:.1f} days"
