"""Suites: which attacks through which oracles a network has to survive."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models import GradientEstimator
from pipeline import config_file
from pipeline.attacks import (
    FLIPPING,
    IMAGES,
    PIXELS,
    WITHOUT_GRADIENT,
    AttackConfig,
    Domain,
    FlipConfig,
    FlipNoiseConfig,
    NothingConfig,
    SDAConfig,
    Threat,
    ThreatName,
)
from pipeline.attacks.fab import PACKAGE, installed
from pipeline.config_messages import Problem
from pipeline.config_types import Count, Epsilon, Judge, Name, Order, Positive
from pipeline.config_words import suggestion
from pipeline.errors import ConfigError
from pipeline.fingerprint import fingerprint

SUITES = Path(__file__).parent / "suites"
CLEAN = "clean"
MEASURE = "measure"
PROBE = "probe"
GRADIENTS = "gradients"
DEFAULT_EOT_DRAWS = 10
MEASURED = (MEASURE, PROBE, GRADIENTS)
"""Pseudo-members whose blocks hold measurements, not verdicts."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Every attack is run through every oracle."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    attacks: Annotated[dict[Name, AttackConfig], Field(min_length=1)]
    """By a name of one's own, which tables show; a method may stand here several times."""
    oracles: list[GradientEstimator] = field(default_factory=list)
    """May stay empty where no attack follows a gradient."""
    access: Literal["white_box", "transfer"] = "white_box"
    """`transfer`: the oracles differentiate other networks, the sources."""
    threat: ThreatName | None = None
    """What the adversary may do; omitted, `pixels` for images and `counts` for event frames. The
    suite's own counts; a later stage's other threat model is reported beside it."""
    epsilon_factor: Positive = 1.0
    """Radius as a multiple of the evaluation's, at most 1; above 1 it is a control, no member."""
    eot_draws: Count | None = None
    """Gradients averaged for a network that is random; omitted, the suite's. Others take one."""


@dataclass(frozen=True, kw_only=True)
class SuiteConfig(Stage):
    """A file of `pipeline/suites/`: a stage and those that follow."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: Name
    """What tables and stored rows call the suite."""
    description: str = ""
    """One line on what is in it."""
    epsilon: Epsilon
    """Radius of attacks that name none; the space's `evaluation.epsilon` wins over it."""
    then: list[Stage] = field(default_factory=list)
    """Stages that follow, each with its own attacks and oracles."""
    order: Order = "all"
    """`all`: every member attacks every sample. `survivors`: each attacks what those before it
    left standing; the union is the same, and costs less."""
    judge_draws: Count = 10
    """Forward passes whose mean logits decide about a network that is random. Others take one."""
    judge: Judge = "plain"
    """`exact`: attacked images are put on a grid, and the verdicts are the same on any machine;
    evidence of every break is kept (`docs/exact.md`). A network that is random, or none of this
    project's, is judged `plain`."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A stored network whose gradients attack another one (transfer, black box)."""

    label: str
    fingerprint: str
    checkpoint: str
    """Path of its checkpoint, as every worker sees it."""

    def identity(self) -> str:
        """What decides the attack's rows."""
        return self.fingerprint


@dataclass(frozen=True, kw_only=True)
class Member:
    """One attack through one oracle: a row of a suite, and the unit of scheduling."""

    attack_name: str
    """Key of the suite's `attacks`; `clean` for no attack, `measure` and others for metrics."""
    attack: AttackConfig | None
    estimator: GradientEstimator | None
    """None: the network's own training gradient."""
    epsilon: float
    """Radius in the threat model's unit; flips for `binary`."""
    threat: Threat = PIXELS
    source: Source | None = None
    """The network that is differentiated; None: the victim itself."""
    eot_draws: int = 1
    """Gradients averaged at every step."""
    judge_draws: int = 1
    """Forward passes whose mean logits decide."""
    judge: Judge = "plain"
    """Which forward pass of the victim's decides."""
    after: str = ""
    """Names the members before it that leave it their survivors; empty: it attacks every sample."""
    counted: bool = True
    """Whether it belongs to the union; a control with a larger radius, or an attack of another
    threat model than the suite's, does not."""

    @property
    def oracle_name(self) -> str:
        """Label of the oracle; `none` where no gradient of the suite's is used."""
        own = "none" if self.estimator is None else self.estimator.label
        return own if self.source is None else f"{own}@{self.source.label}"

    @property
    def name(self) -> str:
        """Speaking name within a suite, `attack+oracle`."""
        if self.attack is None:
            return self.attack_name
        return f"{self.attack_name}+{self.oracle_name}"

    @property
    def hash(self) -> str:
        """Names the stored rows: all that decides them besides network, samples and seed."""
        parts = self._identity()
        parts += [self.after] if self.after else []
        parts += [self.judge] if self.judge == "exact" else []
        return fingerprint(parts, 12)

    @property
    def seed_hash(self) -> str:
        """Names the random numbers: those of an attack on survivors are those on all samples."""
        return fingerprint(self._identity(), 12)

    def _identity(self) -> list[Any]:
        kind = self.attack_name if self.attack is None else ""
        draws = [self.eot_draws, self.judge_draws]
        known = [kind, self.attack, self.estimator, self.epsilon, self.source, draws]
        return known if self.threat == PIXELS else [*known, self.threat]


def in_order(suite: SuiteConfig, order: Order | None) -> SuiteConfig:
    """The suite in another order; None leaves it its own."""
    return suite if order is None else replace(suite, order=order)


def load_suite(name: str) -> SuiteConfig:
    """A suite by its name in `pipeline/suites/`, or by the path of a YAML file.

    Raises:
        ConfigError: There is no such suite, or its file is wrong.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else SUITES / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in SUITES.glob("*.yaml"))
        raise ConfigError(
            f"no suite '{name}'{suggestion(name, known)}: write one of {', '.join(known)}, or the "
            "path of a YAML file"
        )
    return config_file.check(config_file.read(path), SuiteConfig, RULES)


def _oracles_needed(suite: SuiteConfig) -> list[Problem]:
    """An attack that follows a gradient needs one."""
    return [
        Problem(
            path=(*path, "oracles"),
            message="expected at least one oracle, such as {surrogate: triangle}",
            at="key",
        )
        for path, stage in _stages(suite)
        if not stage.oracles
        and any(a.method not in WITHOUT_GRADIENT for a in stage.attacks.values())
    ]


def _one_meaning(suite: SuiteConfig) -> list[Problem]:
    """Two members of one name would be taken for one in every table."""
    known: dict[str, Any] = {}
    problems = []
    for path, stage in _stages(suite):
        for name, attack in stage.attacks.items():
            meaning = (attack, stage.epsilon_factor, stage.eot_draws, stage.threat)
            if known.setdefault(name, meaning) != meaning:
                problems.append(
                    Problem(
                        path=(*path, "attacks", name),
                        message="an earlier stage has another attack of this name; rename one",
                        at="key",
                    )
                )
    return problems


def _packages_there(suite: SuiteConfig) -> list[Problem]:
    """FAB is its authors' code, which is no part of this project."""
    return [
        Problem(
            path=(*path, "attacks", name),
            message=f"needs the package {PACKAGE}, which is not installed; run "
            "pip install 'spikeproof[autoattack]', or leave this attack out",
            at="key",
        )
        for path, stage in _stages(suite)
        for name, attack in stage.attacks.items()
        if attack.method == "fab" and not installed()
    ]


def _threats_fit(suite: SuiteConfig) -> list[Problem]:
    """Flips are for binary frames, and all else is not."""
    problems = []
    for path, stage in _stages(suite):
        threat = stage.threat or suite.threat
        for name, attack in stage.attacks.items():
            message = ""
            if attack.method == "fab" and threat == "clamped":
                message = "fab knows no clamp that destroys counts; leave it out of this stage"
            elif threat == "binary" and attack.method not in (*FLIPPING, "nothing"):
                flips = ", ".join(FLIPPING)
                message = f"{attack.method} moves within a ball; with threat: binary use {flips}"
            elif threat != "binary" and attack.method in FLIPPING:
                message = (
                    f"{attack.method} turns over entries of binary frames; write threat: binary "
                    "in this stage"
                )
            if message:
                problems.append(Problem(path=(*path, "attacks", name), message=message, at="key"))
    return problems


RULES = (_oracles_needed, _one_meaning, _packages_there, _threats_fit)


def _stages(suite: SuiteConfig) -> list[tuple[tuple[str | int, ...], Stage]]:
    """The suite's stages with their places in its file."""
    return [((), suite), *((("then", i), stage) for i, stage in enumerate(suite.then))]


def members(
    suite: SuiteConfig,
    epsilon: float | None = None,
    *,
    randomised: bool = False,
    sources: Sequence[Source] = (),
    available: Callable[[GradientEstimator], GradientEstimator | None] = lambda wanted: wanted,
    domain: Domain = IMAGES,
) -> tuple[Member, ...]:
    """The suite's members: clean first, then every attack through every oracle.

    A threat model that alters samples by itself adds its control, `clamped-only` and the like:
    the accuracy on what it makes of the samples without any attack.

    Args:
        suite: Which attacks and oracles.
        epsilon: Radius of attacks that name none, in pixel units; None takes the suite's.
        randomised: Whether the network's answers are random, as with Poisson coding.
        sources: Networks that stages with `access: transfer` differentiate; without any, those
            stages are left out.
        available: The victim's oracle for one that is wanted; None is its own gradient.
        domain: What the samples are.

    Raises:
        ConfigError: A threat model is not for such samples.
    """
    radius = suite.epsilon if epsilon is None else epsilon
    judge_draws = suite.judge_draws if randomised else 1
    judge: Judge = "plain" if randomised else suite.judge
    clean = Member(
        attack_name=CLEAN,
        attack=None,
        estimator=None,
        epsilon=0.0,
        judge_draws=judge_draws,
        judge=judge,
    )
    found: dict[str, Member] = {clean.hash: clean}
    headline = headline_threat(suite, domain)
    for _, stage in _stages(suite):
        threat = headline if stage.threat is None else _threat(stage.threat, domain, suite)
        if threat.alters:
            control = replace(
                clean,
                attack_name=f"{threat.name}-only",
                attack=NothingConfig(),
                threat=threat,
                counted=threat == headline,
            )
            found.setdefault(control.hash, control)
        draws = stage.eot_draws or suite.eot_draws or DEFAULT_EOT_DRAWS
        for name, attack, oracle, source in _combinations(stage, sources, available):
            own = _size(attack, radius * stage.epsilon_factor)
            member = Member(
                attack_name=name,
                attack=attack,
                estimator=oracle,
                epsilon=own if threat.name == "binary" else min(own, 1.0),
                threat=threat,
                source=source,
                eot_draws=draws if randomised else 1,
                judge_draws=judge_draws,
                judge=judge,
                counted=threat == headline
                and (threat.name == "binary" or own <= radius * (1 + 1e-9)),
            )
            found.setdefault(member.hash, member)
    return _chained(found.values()) if suite.order == "survivors" else tuple(found.values())


def headline_threat(suite: SuiteConfig, domain: Domain) -> Threat:
    """The threat model whose union is the suite's robust accuracy.

    Raises:
        ConfigError: It is not for such samples.
    """
    return _threat(suite.threat, domain, suite)


def _threat(name: ThreatName | None, domain: Domain, suite: SuiteConfig) -> Threat:
    try:
        return Threat.named(name, domain)
    except ValueError as error:
        raise ConfigError(f"suite '{suite.name}': {error}; or name another suite") from error


def _size(attack: AttackConfig, radius: float) -> float:
    """Radius or number of flips of an attack that may name its own."""
    if isinstance(attack, FlipConfig | SDAConfig | FlipNoiseConfig):
        return float(attack.flips)
    own = getattr(attack, "epsilon", None)
    return radius if own is None else float(own)


def _combinations(
    stage: Stage,
    sources: Sequence[Source],
    available: Callable[[GradientEstimator], GradientEstimator | None],
) -> list[tuple[str, AttackConfig, GradientEstimator | None, Source | None]]:
    """Attack, oracle and source of each of the stage's members."""
    networks: Sequence[Source | None] = sources if stage.access == "transfer" else [None]
    result = []
    # What a victim cannot have, a source of this project's can.
    usable = available if stage.access == "white_box" else lambda wanted: wanted
    for name, attack in stage.attacks.items():
        blind = attack.method in WITHOUT_GRADIENT
        # Without a gradient all oracles would be the same member.
        oracles = [None] if blind else [usable(wanted) for wanted in stage.oracles]
        result += [(name, attack, oracle, source) for source in networks for oracle in oracles]
    return result


def _chained(found: Iterable[Member]) -> tuple[Member, ...]:
    """Each counted member on the survivors of those before it."""
    before: list[Member] = []
    result = []
    for member in found:
        if member.counted and before:
            member = replace(member, after=chain_hash(before))
        result.append(member)
        if member.counted:
            before.append(member)
    return tuple(result)


def chain_hash(before: Iterable[Member]) -> str:
    """Names members, first to last, by what their successor's `after` calls them."""
    return fingerprint([member.seed_hash for member in before], 12)


def measure_member(epsilon: float, threat: Threat = PIXELS) -> Member:
    """The pseudo-member that measures gradient sparsity and vulnerability at this radius."""
    return _pseudo(MEASURE, epsilon, threat)


def gradients_member() -> Member:
    """The pseudo-member that keeps how a network's gradients are distributed, and some of them."""
    return _pseudo(GRADIENTS, 0.0, PIXELS)


def probe_member(epsilon: float, threat: Threat = PIXELS) -> Member:
    """The pseudo-member that measures what the trust audit asks of a network's gradients."""
    return _pseudo(PROBE, epsilon, threat)


def _pseudo(name: str, epsilon: float, threat: Threat) -> Member:
    return Member(
        attack_name=name,
        attack=None,
        estimator=None,
        epsilon=epsilon,
        threat=threat,
        counted=False,
    )
