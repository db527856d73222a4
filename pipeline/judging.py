"""The judgements of a sweep: selection on validation, reporting and the audit on test."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from models import build_model
from pipeline.attacks import IMAGES, PIXELS, Domain, Threat
from pipeline.checkpoints import FILE_NAME
from pipeline.config import SpaceConfig, domain_of, input_spec
from pipeline.config_types import Count, Epsilon, Name, Order
from pipeline.data import Dataset, Split
from pipeline.errors import ConfigError
from pipeline.evaluator import EvaluationJob
from pipeline.exactness import require_exact
from pipeline.experiment import trial_folder
from pipeline.files import StorePath
from pipeline.records import SplitName, TrialRow
from pipeline.stale import suite_hash
from pipeline.threats import (
    Member,
    Source,
    SuiteConfig,
    gradients_member,
    headline_threat,
    in_order,
    load_suite,
    measure_member,
    members,
    probe_member,
)

MOST_SOURCES = 3
"""Networks whose gradients attack an audited one."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a judgement follows from, besides the suite's file: written down by a sweep."""

    suite: str
    """Name of a suite, or the path of its file."""
    order: Order | None
    epsilon: Epsilon | None
    """Radius that wins over the suite's; None leaves it that."""
    randomised: bool
    sources: dict[Name, Name]
    """Fingerprints of the networks that are differentiated for transfer, by label."""
    num_samples: Count
    block_size: Count
    seed: int
    domain: Domain = IMAGES
    """What the samples are."""
    pictures: bool = False
    suite_hash: str = ""
    """Names what the suite's file says."""


_BASIS = TypeAdapter(Basis)


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
    basis: Basis

    @property
    def threat(self) -> Threat:
        """The threat model that counts."""
        return headline_threat(self.suite, self.basis.domain)

    def job(self, row: TrialRow, store: StorePath) -> EvaluationJob:
        """The evaluation of a trained trial: verdicts and gradient measurements."""
        chosen = self.without.get(row.fingerprint, self.members)
        measured = [measure_member(self.epsilon, self.threat)]
        measured += [gradients_member()] if self.pictures else []
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
            self.suite,
            self.epsilon,
            randomised=randomised,
            sources=sources[:MOST_SOURCES],
            domain=self.basis.domain,
        )
        probed = probe_member(self.epsilon, self.threat)
        return replace(self.job(row, store), members=(*chosen, probed))

    def facts(self) -> dict[str, Any]:
        """What the report needs to find and to name the rows."""
        facts: dict[str, Any] = {
            "name": self.suite.name,
            "description": self.suite.description,
            "order": self.suite.order,
            **_named(self.members),
            "num_samples": self.num_samples,
        }
        if self.threat != PIXELS:
            facts["threat"] = self.threat.name
        if any(member.judge == "exact" for member in self.members):
            facts["judge"] = "exact"
        if self.without:
            facts["without"] = {name: _named(kept) for name, kept in self.without.items()}
        return facts

    def recorded(self) -> dict[str, Any]:
        """The facts, and what they follow from: `judgement_now` reads it."""
        return self.facts() | {"basis": asdict(self.basis)}


def judgement_now(facts: Mapping[str, Any], split: SplitName, store: StorePath) -> Judgement | None:
    """What a recorded judgement would be today; None where an older sweep has not recorded it.

    Raises:
        ConfigError: What is recorded is no judgement, or its suite's file is gone or wrong.
    """
    if "basis" not in facts:
        return None
    try:
        basis = _BASIS.validate_python(facts["basis"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(("basis", *map(str, first["loc"])))
        raise ConfigError(
            f"its suite's {where} is not what a sweep writes: {first['msg']}"
        ) from None
    return _judgement(basis, split, store)


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
    selection = _basis(space, dataset, evaluation.suite, evaluation.num_samples, dataset.validation)
    reporting = replace(
        _basis(space, dataset, report.suite or evaluation.suite, report.num_samples, dataset.test),
        sources={label: space.trial(label).fingerprint() for label in report.sources},
        pictures=True,
    )
    return (
        _judgement(selection, SplitName.VALIDATION, store),
        _judgement(reporting, SplitName.TEST, store),
    )


def require_judges(space: SpaceConfig, dataset: Dataset, wanted: Sequence[Judgement]) -> None:
    """Make sure that the space's network can be judged as the judgements ask.

    Raises:
        ConfigError: A suite asks for the exact judge, and the network has none.
    """
    for judgement in wanted:
        if any(member.judge == "exact" for member in judgement.members):
            require_exact(build_model(space.model, input_spec(dataset)), judgement.suite.name)
            return


def audit_judgement(space: SpaceConfig, dataset: Dataset, store: StorePath) -> Judgement | None:
    """The trust audit, on the first of the reported samples; None where the space wants none."""
    report = space.report
    if report.audit is None:
        return None
    reported = min(report.num_samples or len(dataset.test), len(dataset.test))
    count = min(report.audit_samples, reported)
    basis = replace(_basis(space, dataset, report.audit, count, dataset.test), order=None)
    return _judgement(basis, SplitName.TEST, store)


def _basis(
    space: SpaceConfig, dataset: Dataset, suite: str, count: int | None, samples: Split
) -> Basis:
    evaluation = space.evaluation
    is_file = Path(suite).suffix in (".yaml", ".yml")
    return Basis(
        suite=str(Path(suite).absolute()) if is_file else suite,
        order=evaluation.order,
        epsilon=evaluation.epsilon,
        randomised=space.model.randomised,
        sources={},
        num_samples=min(count or len(samples), len(samples)),
        block_size=evaluation.block_size,
        seed=space.seed,
        domain=domain_of(dataset),
    )


def _judgement(basis: Basis, split: SplitName, store: StorePath) -> Judgement:
    suite = in_order(load_suite(basis.suite), basis.order)
    sources = [
        Source(label=label, fingerprint=name, checkpoint=_checkpoint(store, name))
        for label, name in basis.sources.items()
    ]

    def attacked_by(kept: Sequence[Source]) -> tuple[Member, ...]:
        return members(
            suite,
            basis.epsilon,
            randomised=basis.randomised,
            sources=kept,
            domain=basis.domain,
        )

    return Judgement(
        suite=suite,
        members=attacked_by(sources),
        split=split,
        num_samples=basis.num_samples,
        block_size=basis.block_size,
        epsilon=suite.epsilon if basis.epsilon is None else basis.epsilon,
        seed=basis.seed,
        without={
            own.fingerprint: attacked_by([s for s in sources if s is not own]) for own in sources
        },
        pictures=basis.pictures,
        basis=replace(basis, suite_hash=suite_hash(basis.suite)),
    )
