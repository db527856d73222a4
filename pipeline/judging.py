"""The judgements of a sweep: selection on validation, reporting and the audit on test."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.checkpoints import FILE_NAME
from pipeline.config import SpaceConfig
from pipeline.data import Dataset, Split
from pipeline.evaluator import EvaluationJob
from pipeline.experiment import trial_folder
from pipeline.files import StorePath
from pipeline.records import SplitName, TrialRow
from pipeline.threats import (
    Member,
    Source,
    SuiteConfig,
    gradients_member,
    in_order,
    load_suite,
    measure_member,
    members,
    probe_member,
)

MOST_SOURCES = 3
"""Networks whose gradients attack an audited one."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A suite on the first samples of a split; every network is judged by the same."""

    suite: SuiteConfig
    members: tuple[Member, ...]
    split: SplitName
    num_samples: int
    block_size: int
    epsilon: float
    """Radius of attacks that name none, and of the vulnerability measurements."""
    seed: int
    without: dict[str, tuple[Member, ...]] = field(default_factory=dict)
    """Members for the networks that are sources themselves, by fingerprint: they are not attacked
    by transfer from themselves."""
    pictures: bool = False
    """Whether distribution and pictures of the gradients are kept, too."""

    def job(self, row: TrialRow, store: StorePath) -> EvaluationJob:
        """The evaluation of a trained trial: verdicts and gradient measurements."""
        chosen = self.without.get(row.fingerprint, self.members)
        measured = [measure_member(self.epsilon), *([gradients_member()] if self.pictures else [])]
        return EvaluationJob(
            label=row.label,
            fingerprint=row.fingerprint,
            checkpoint=_checkpoint(store, row.fingerprint),
            split=self.split.value,
            members=(*chosen, *measured),
            num_samples=self.num_samples,
            block_size=self.block_size,
            seed=self.seed,
        )

    def audit_job(
        self, row: TrialRow, store: StorePath, others: Sequence[TrialRow], *, randomised: bool
    ) -> EvaluationJob:
        """The trust audit of a trained trial; some of the others lend it their gradients."""
        sources = [
            Source(
                label=other.label,
                fingerprint=other.fingerprint,
                checkpoint=_checkpoint(store, other.fingerprint),
            )
            for other in others
            if other.fingerprint != row.fingerprint
        ]
        chosen = members(
            self.suite, self.epsilon, randomised=randomised, sources=sources[:MOST_SOURCES]
        )
        return replace(self.job(row, store), members=(*chosen, probe_member(self.epsilon)))

    def facts(self) -> dict[str, Any]:
        """What the report needs to find and to name the rows."""
        facts: dict[str, Any] = {
            "name": self.suite.name,
            "description": self.suite.description,
            "order": self.suite.order,
            **_named(self.members),
            "num_samples": self.num_samples,
        }
        if self.without:
            facts["without"] = {name: _named(kept) for name, kept in self.without.items()}
        return facts


def _named(chosen: Sequence[Member]) -> dict[str, Any]:
    return {
        "members": [member.name for member in chosen if member.counted],
        "hashes": {member.name: member.hash for member in chosen},
    }


def _checkpoint(store: StorePath, fingerprint: str) -> str:
    """Path of a network's checkpoint, as every worker sees it."""
    return str((trial_folder(store, fingerprint) / FILE_NAME).absolute())


def judgements(
    space: SpaceConfig, dataset: Dataset, store: StorePath
) -> tuple[Judgement, Judgement]:
    """Selection and reporting as the space wants them, capped at the samples there are.

    Args:
        space: Checked.
        dataset: What it names.
        store: Where the networks whose gradients attack others by transfer will lie.
    """
    evaluation, report = space.evaluation, space.report

    def judgement(name: str, split: SplitName, count: int | None, samples: Split) -> Judgement:
        suite = in_order(load_suite(name), evaluation.order)
        return _judgement(space, suite, split, min(count or len(samples), len(samples)))

    selection = judgement(
        evaluation.suite, SplitName.VALIDATION, evaluation.num_samples, dataset.validation
    )
    reporting = judgement(
        report.suite or evaluation.suite, SplitName.TEST, report.num_samples, dataset.test
    )
    fingerprints = {label: space.trial(label).fingerprint() for label in report.sources}
    sources = [
        Source(label=label, fingerprint=name, checkpoint=_checkpoint(store, name))
        for label, name in fingerprints.items()
    ]

    def attacked_by(kept: Sequence[Source]) -> tuple[Member, ...]:
        return members(
            reporting.suite,
            evaluation.epsilon,
            randomised=space.model.randomised,
            sources=kept,
        )

    reporting = replace(
        reporting,
        members=attacked_by(sources),
        without={
            own.fingerprint: attacked_by([s for s in sources if s is not own]) for own in sources
        },
        pictures=True,
    )
    return selection, reporting


def audit_judgement(space: SpaceConfig, dataset: Dataset) -> Judgement | None:
    """The trust audit, on the first of the reported samples; None where the space wants none."""
    report = space.report
    if report.audit is None:
        return None
    suite = load_suite(report.audit)
    reported = min(report.num_samples or len(dataset.test), len(dataset.test))
    return _judgement(space, suite, SplitName.TEST, min(report.audit_samples, reported))


def _judgement(
    space: SpaceConfig, suite: SuiteConfig, split: SplitName, num_samples: int
) -> Judgement:
    own = space.evaluation.epsilon
    return Judgement(
        suite=suite,
        members=members(suite, own, randomised=space.model.randomised),
        split=split,
        num_samples=num_samples,
        block_size=space.evaluation.block_size,
        epsilon=suite.epsilon if own is None else own,
        seed=space.seed,
    )
