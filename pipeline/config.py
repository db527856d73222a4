"""A search space, and the configuration of one trial drawn from it."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from models import InputSpec, ModelConfig
from pipeline.attacks import Domain
from pipeline.config_messages import refusals, translate
from pipeline.config_types import Count, CountOrZero, Epsilon, Name, NonNegative, Order, PaperPlace
from pipeline.config_words import dotted, nearest
from pipeline.data import DataConfig, Dataset
from pipeline.errors import ConfigError, SettingError
from pipeline.fingerprint import fingerprint
from pipeline.search.halving import HalvingConfig
from pipeline.search.space import ParameterConfig
from pipeline.training import StrategyConfig
from pipeline.training.compilation import CompileChoice
from pipeline.training.config import TrainingConfig

EXTRA_FORBID = {"extra": "forbid"}

DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "clean_accuracy": "maximize",
    "robust_accuracy": "maximize",
    "gradient_l1": "minimize",
    "gradient_density": "minimize",
    "adversarial_vulnerability": "minimize",
}
"""What a search may optimise, and which way is better."""
ObjectiveName = Literal[
    "clean_accuracy",
    "robust_accuracy",
    "gradient_l1",
    "gradient_density",
    "adversarial_vulnerability",
]
PAPER_SPARSITY_WEIGHT = {
    ("cifar10", "sr"): 0.008,
    ("cifar10", "sr_star"): 0.002,
    ("cifar100", "sr"): 0.002,
    ("cifar100", "sr_star"): 0.001,
    ("cifar10_dvs", "sr"): 0.002,
    ("cifar10_dvs", "sr_star"): 0.002,
}
"""lambda of Appendix D by data set and method, for the squared penalty."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that decides a trained network."""

    __pydantic_config__: ClassVar[dict[str, str]] = EXTRA_FORBID

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    strategy: StrategyConfig
    seed: CountOrZero = 0

    def fingerprint(self) -> str:
        """Names the network in the store, in MLflow and in every verdict."""
        return fingerprint(self)

    def with_values(self, values: dict[str, Any]) -> "TrialConfig":
        """The same trial with other values at dotted paths, checked anew.

        Raises:
            ConfigError: A value does not fit, with the path in the message.
        """
        tree = dataclasses.asdict(self)
        for path, value in values.items():
            node = tree
            *parents, last = path.split(".")
            for name in parents:
                node = node.get(name, {}) if isinstance(node, dict) else {}
            if not isinstance(node, dict) or last not in node:
                raise ConfigError(
                    f"{path}: a trial has no such setting{_hint(path, parents, node)}"
                )
            node[last] = value
        problems = list(refusals(TrialConfig, tree, _unwritten))
        trial: TrialConfig | None = None
        try:
            trial = TRIAL.validate_python(tree)
        except ValidationError as error:
            first = error.errors(include_url=False)
            problems += translate(TrialConfig, first, tree, _unwritten)
        if problems or trial is None:
            raise ConfigError(f"{dotted(problems[0].path)}: {problems[0].message}")
        return trial


def _hint(path: str, parents: list[str], node: Any) -> str:
    """What to write in place of a path that is no setting."""
    if not isinstance(node, dict) or not node:
        return "; write one such as training.epochs"
    near = nearest(path.rpartition(".")[2], list(node))
    if near is not None:
        return f"; did you mean '{'.'.join([*parents, near])}'?"
    return f"; write one of {', '.join('.'.join([*parents, name]) for name in node)}"


def _unwritten(_: tuple[str | int, ...]) -> None:
    """How a proposed value was written: nobody wrote it."""


TRIAL: TypeAdapter[TrialConfig] = TypeAdapter(TrialConfig)


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """A file that says of a space its data alone."""

    __pydantic_config__: ClassVar[dict[str, str]] = EXTRA_FORBID

    data: DataConfig


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What is proposed, how, and by what it is judged."""

    __pydantic_config__: ClassVar[dict[str, str]] = EXTRA_FORBID

    sampler: Literal["grid", "random", "tpe", "nsga2", "gp", "qmc"] = "tpe"
    """Optuna's; `grid` takes every combination of the values."""
    num_trials: Count | None = None
    """Trials besides the baselines; a grid may leave it out: all its points."""
    strategies: list[Name] = field(default_factory=list)
    """Labels out of the space's `strategies`; with several, the strategy is searched too. Without
    any nothing is searched: the baselines alone are trained."""
    parameters: dict[str, ParameterConfig] = field(default_factory=dict)
    """By dotted path into a trial, such as `strategy.sparsity_weight`; a `strategy.` path counts
    only for strategies that have that setting."""
    objectives: Annotated[list[ObjectiveName], Field(min_length=1)] = field(
        default_factory=lambda: ["clean_accuracy", "robust_accuracy"]
    )
    """What is optimised, all at once; the result is a Pareto front."""
    constraints: dict[ObjectiveName, float] = field(default_factory=dict)
    """Bounds on the worse side: a floor where more is better, a ceiling where less is."""
    halving: HalvingConfig | None = None
    """Stops hopeless trials early; omitted, all train to their end."""

    @property
    def directions(self) -> dict[str, Literal["maximize", "minimize"]]:
        """What to do with each objective, in their order."""
        return {name: DIRECTIONS[name] for name in self.objectives}


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The attack that the search's robust accuracy comes from, on the validation split."""

    __pydantic_config__: ClassVar[dict[str, str]] = EXTRA_FORBID

    suite: str = "quick"
    """A shipped suite's name, or the path of a YAML file."""
    epsilon: Epsilon | None = None
    """Radius in pixel units; omitted, the suite's."""
    num_samples: Count | None = None
    """Samples of the validation split; omitted, all."""
    order: Order | None = None
    """Of the members, in search and report: `survivors`, each attacks what those before it left
    standing, or `all`, every member attacks every sample; omitted, the suite's."""
    block_size: Count = 128
    """Samples per task. Of a block, what stands is gathered into batches as large as the memory
    holds: larger blocks fill a GPU better, smaller ones spread over more workers."""

    def radius(self, own: float) -> float:
        """The radius of a suite whose own is `own`."""
        return own if self.epsilon is None else self.epsilon


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What is attacked on the test split once the search is over."""

    __pydantic_config__: ClassVar[dict[str, str]] = EXTRA_FORBID

    suite: str | None = None
    """Omitted, the evaluation's."""
    trials: Literal["front", "all"] = "front"
    """`front`: the baselines, and the Pareto front of what was searched."""
    sources: list[Name] = field(default_factory=list)
    """Baselines whose gradients the suite's transfer attacks (black box) are made with; without
    any, those attacks are left out."""
    num_samples: Count | None = None
    """Test samples; omitted, all."""
    audit: str | None = "audit"
    """Suite of the trust audit of baselines and front; null leaves it out."""
    audit_samples: Count = 200
    """Test samples that are audited, the first ones; at most `num_samples`."""


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Shares of the machine or cluster."""

    __pydantic_config__: ClassVar[dict[str, str]] = EXTRA_FORBID

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where trials and attacks run; `auto` takes a GPU where there is one."""
    cpus_per_trial: Count = 1
    """Of a training; also its threads."""
    gpus_per_trial: NonNegative | None = None
    """Omitted: 1 where there is a GPU, else 0. Fractions share a GPU."""
    cpus_per_evaluation: Count = 1
    """Of a task: one member on one block of samples."""
    gpus_per_evaluation: NonNegative | None = None
    """Omitted: a quarter of a GPU where there is one, else 0."""
    max_backlog: Count = 8
    """Trained networks that may wait for evaluation before training pauses."""
    compile: CompileChoice = "auto"
    """Whether layers are compiled for training, which changes its last digits: `auto` on a CPU with
    a compiler for trainings of half an hour or more; `on` also on a GPU."""


@dataclass(frozen=True, kw_only=True)
class SpaceConfig:
    """A file of `search_spaces/`."""

    __pydantic_config__: ClassVar[dict[str, str]] = EXTRA_FORBID

    name: Name
    """Of the sweep, unless `--name` gives another."""
    description: str = ""
    """One line on what the study asks; the report has it below its title."""
    paper: PaperPlace | None = None
    """What of the paper the results are to stand beside: `table1/cifar10/vgg11`, that is table or
    figure, data set and architecture; also where a smaller scale changed the last two."""
    scale: str | None = None
    """Name of the file of `pipeline/scales/` that shrank the space: `--set scale=tiny`."""
    seed: CountOrZero = 0
    """Of weights, batches, attacks and the sampler: equal seeds give equal numbers on one kind of
    machine."""
    seeds: Count = 1
    """Networks of each reported setting, trained alike with `seed` and the numbers after it. What
    is reported is chosen by the first alone."""
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    strategies: Annotated[dict[Name, StrategyConfig], Field(min_length=1)]
    """Ways of training by label; a method may stand here several times."""
    baselines: list[Name] = field(default_factory=list)
    """Labels trained once, exactly as they stand in `strategies`."""
    search: SearchConfig = SearchConfig()
    """Omitted: the baselines alone."""
    evaluation: EvaluationConfig = EvaluationConfig()
    report: ReportConfig = ReportConfig()
    compute: ComputeConfig = ComputeConfig()

    @property
    def sweep_name(self) -> str:
        """The sweep's name where none is given: the space's, and the scale it was shrunk to."""
        return f"{self.name}-{Path(self.scale).stem}" if self.scale else self.name

    def trial(self, strategy: str, values: dict[str, Any] | None = None) -> TrialConfig:
        """The trial that trains by `strategy`, with searched values at dotted paths.

        Raises:
            ConfigError: A value does not fit, or no lambda is given and the paper has none.
        """
        trial = TrialConfig(
            data=self.data,
            model=self.model,
            training=self.training,
            strategy=self.strategies[strategy],
            seed=self.seed,
        )
        if values:
            trial = trial.with_values(values)
        return self._resolved(trial, strategy)

    def _resolved(self, trial: TrialConfig, label: str) -> TrialConfig:
        """The trial with the paper's lambda where none is given."""
        method = trial.strategy.method
        if getattr(trial.strategy, "sparsity_weight", 0.0) is not None:
            return trial
        weight = PAPER_SPARSITY_WEIGHT.get((self.data.dataset, method))
        if weight is None:
            raise SettingError(
                f"strategies.{label}.sparsity_weight",
                f"the paper gives no lambda for {method} on {self.data.dataset}; write one, such "
                "as sparsity_weight: 0.01",
            )
        return trial.with_values({"strategy.sparsity_weight": weight})

    def identity(self) -> dict[str, Any]:
        """What a resumed study must agree on: all but names, compute and reporting."""
        return {
            "data": self.data,
            "model": self.model,
            "training": self.training,
            "strategies": self.strategies,
            "baselines": self.baselines,
            "parameters": self.search.parameters,
            "searched": self.search.strategies,
            "sampler": self.search.sampler,
            "objectives": self.search.objectives,
            "constraints": self.search.constraints,
            "halving": self.search.halving,
            "evaluation": self.evaluation,
            "seed": self.seed,
        }


def domain_of(dataset: Dataset) -> Domain:
    """What threat models must know of the data."""
    return Domain(frames=dataset.frames, scale=dataset.scale)


def input_spec(dataset: Dataset) -> InputSpec:
    """What the network must know of the data."""
    return InputSpec(
        channels=dataset.channels,
        height=dataset.height,
        width=dataset.width,
        num_classes=dataset.num_classes,
        mean=tuple(dataset.mean),
        std=tuple(dataset.std),
        frames=dataset.frames,
        scale=dataset.scale,
    )
