"""Suites: which attacks through which oracles a network has to survive."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from models import GradientEstimator
from pipeline import config_file
from pipeline.attacks import AttackConfig
from pipeline.config_types import Epsilon, Name
from pipeline.errors import ConfigError
from pipeline.fingerprint import fingerprint

SUITES = Path(__file__).parent / "suites"
CLEAN = "clean"
MEASURE = "measure"


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """A file of `pipeline/suites/`: every attack is run through every oracle."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: Name
    description: str = ""
    epsilon: Epsilon
    """Radius of attacks that name none; the space's `evaluation.epsilon` wins over it."""
    attacks: Annotated[dict[Name, AttackConfig], Field(min_length=1)]
    oracles: Annotated[list[GradientEstimator], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One attack through one oracle: a row of a suite, and the unit of scheduling."""

    attack_name: str
    """Key of the suite's `attacks`; `clean` for no attack, `measure` for gradient metrics."""
    attack: AttackConfig | None
    estimator: GradientEstimator | None
    """None: the network's own training gradient."""
    epsilon: float

    @property
    def oracle_name(self) -> str:
        """Label of the oracle; `none` where no gradient of the suite's is used."""
        return "none" if self.estimator is None else self.estimator.label

    @property
    def name(self) -> str:
        """Speaking name within a suite, `attack+oracle`."""
        if self.attack is None:
            return self.attack_name
        return f"{self.attack_name}+{self.oracle_name}"

    @property
    def hash(self) -> str:
        """Names the stored rows: all that decides them besides network, samples and seed."""
        kind = self.attack_name if self.attack is None else ""
        return fingerprint([kind, self.attack, self.estimator, self.epsilon], length=12)


def load_suite(name: str) -> SuiteConfig:
    """A suite by its name in `pipeline/suites/`, or by the path of a YAML file.

    Raises:
        ConfigError: There is no such suite, or its file is wrong.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else SUITES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SUITES.glob("*.yaml")))
        raise ConfigError(f"no suite '{name}': write one of {known}, or the path of a YAML file")
    return config_file.check(config_file.read(path), SuiteConfig)


def members(suite: SuiteConfig, epsilon: float | None = None) -> tuple[Member, ...]:
    """The suite's members: clean first, then every attack through every oracle.

    Args:
        suite: Which attacks and oracles.
        epsilon: Radius of attacks that name none, in pixel units; None takes the suite's.
    """
    radius = suite.epsilon if epsilon is None else epsilon
    result = [Member(attack_name=CLEAN, attack=None, estimator=None, epsilon=0.0)]
    for name, attack in suite.attacks.items():
        # Noise follows no gradient, so all oracles would be the same member.
        oracles: Sequence[GradientEstimator | None] = (
            [None] if attack.method == "noise" else suite.oracles
        )
        own = radius if attack.epsilon is None else attack.epsilon
        result += [
            Member(attack_name=name, attack=attack, estimator=oracle, epsilon=own)
            for oracle in oracles
        ]
    return tuple(result)


def measure_member(epsilon: float) -> Member:
    """The pseudo-member that measures gradient sparsity and vulnerability at this radius."""
    return Member(attack_name=MEASURE, attack=None, estimator=None, epsilon=epsilon)
