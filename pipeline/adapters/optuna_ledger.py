"""The ledger of a sweep: an Optuna study in a database, the one source of truth.

`NAME` holds what is searched; `NAME.baselines` the fixed trials, apart because they have no
parameters, and samplers that build on the parameters all trials share (GP, QMC) would fall back to
random draws beside them; `NAME.replicates`, in a study of several seeds, what is trained again with
another one, so that the search does not see it.
"""

import dataclasses
import json
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.adapters.study_database import DATABASE_ERRORS, no_study_database
from pipeline.config import DIRECTIONS, SpaceConfig, TrialConfig
from pipeline.errors import ConfigError
from pipeline.fingerprint import fingerprint
from pipeline.records import Outcome, Phase, TrialRow
from pipeline.search.points import grid_points, num_searched
from pipeline.search.rules import applies
from pipeline.search.space import ParameterConfig
from pipeline.seeding import derive

ROW = "row"
SPACE_HASH = "space_hash"
STRATEGY = "strategy"
ROLES = ("baseline", "searched", "replicate")
BESIDE = (".baselines", ".replicates")
"""How the names of the studies end that stand beside the one that is searched."""


def _distribution(parameter: ParameterConfig) -> BaseDistribution:
    """What Optuna proposes a parameter from."""
    if parameter.values is not None:
        return CategoricalDistribution(parameter.values)
    low, high = parameter.low or 0.0, parameter.high or 0.0
    if parameter.integer:
        return IntDistribution(
            int(low), int(high), log=parameter.log, step=int(parameter.step or 1)
        )
    return FloatDistribution(low, high, log=parameter.log, step=parameter.step)


def _grid_distribution(values: Sequence[Any]) -> BaseDistribution:
    """Numbers as a range, so that dashboards draw them on an axis."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return FloatDistribution(float(min(values)), float(max(values)))
    return CategoricalDistribution(values)


def _sampler(space: SpaceConfig, index: int) -> optuna.samplers.BaseSampler:
    """The sampler of one proposal; a grid is handed out by the ledger itself.

    Each proposal has a seed of its own, so that a resumed search draws what it would have drawn.

    Args:
        space: What is searched.
        index: Of the proposal in the search.
    """
    table: dict[str, Any] = {
        "grid": optuna.samplers.RandomSampler,
        "random": optuna.samplers.RandomSampler,
        "tpe": optuna.samplers.TPESampler,
        "nsga2": optuna.samplers.NSGAIISampler,
        "gp": optuna.samplers.GPSampler,
        "qmc": optuna.samplers.QMCSampler,
    }
    settings: dict[str, Any] = {"seed": derive(space.seed, "proposal", index) % 2**32}
    if space.search.sampler == "qmc":
        # Its sequence is one of the study, wherever it was left: always the first seed.
        settings = {"seed": space.seed, "scramble": True, "warn_asynchronous_seeding": False}
    if space.search.sampler == "nsga2":
        # A generation as large as the default 50 would never end in a short study.
        settings["population_size"] = max(4, min(50, (space.search.num_trials or 50) // 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler: optuna.samplers.BaseSampler = table[space.search.sampler](**settings)
    return sampler


class OptunaLedger:
    """Hands out trials, and keeps what became of them.

    All methods may be called from several threads. Every change is in the database before the
    method returns.
    """

    def __init__(
        self, url: str, name: str, space: SpaceConfig, *, resume: bool, judged_by: str = ""
    ) -> None:
        """Open or create the studies.

        Args:
            url: Database, as SQLAlchemy writes it.
            name: Of the sweep.
            space: What is searched.
            resume: Whether existing studies may be continued.
            judged_by: Identity of the suite and samples whose verdicts are told; a study must
                not mix two.

        Raises:
            ConfigError: The study exists and `resume` is False; or it belongs to another space.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._lock = threading.RLock()
        self._space = space
        self._hash = fingerprint([space.identity(), judged_by])
        timeout = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
        try:
            storage = optuna.storages.RDBStorage(url, engine_kwargs=timeout)
            existing = set(optuna.get_all_study_names(storage))
        except DATABASE_ERRORS as error:
            raise no_study_database(url, error) from error
        if resume and name not in existing:
            known = ", ".join(n for n in sorted(existing) if not n.endswith(BESIDE))
            raise ConfigError(
                f"there is no sweep '{name}' to resume; the store has {known or 'none'}: name one "
                "with --name, or leave --resume out to begin it"
            )
        if name in existing and not resume and _num_trials(storage, name):
            raise ConfigError(
                f"a sweep '{name}' exists already: continue it with --resume, or start another "
                "with --name"
            )
        directions = list(space.search.directions.values())
        names = {"searched": name, "baseline": f"{name}.baselines"}
        if space.seeds > 1:
            names["replicate"] = f"{name}.replicates"
        self._studies = {
            role: self._open(storage, study, directions, known=study in existing)
            for role, study in names.items()
        }
        self._rows: dict[tuple[str, int], TrialRow] = {}
        self._nameless: dict[str, list[int]] = {role: [] for role in self._studies}
        """Trials that Optuna knows and nobody wrote down: a crash in between left them."""
        for role, study in self._studies.items():
            for trial in study.get_trials(deepcopy=False):
                self._adopt(role, trial)
        self._interrupted = self._left_asked()
        self._grid = grid_points(space) if space.search.sampler == "grid" else []
        self._replicates: list[tuple[TrialRow, int]] = []
        """What is to be trained again, and the seed."""

    def _left_asked(self) -> list[TrialRow]:
        """Trials to train again; of twins one, or none where one is trained already."""
        rows = self.rows()
        for row in rows:
            if row.phase is Phase.TOLD:
                self.update(row)
        trained = {row.fingerprint for row in rows if row.phase is Phase.TRAINED}
        asked = {row.fingerprint: row for row in self.rows() if row.phase is Phase.ASKED}
        return [row for name, row in asked.items() if name not in trained]

    def _open(
        self,
        storage: optuna.storages.RDBStorage,
        name: str,
        directions: Sequence[str],
        *,
        known: bool,
    ) -> optuna.Study:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
        study.sampler = _sampler(self._space, 0)
        if not known:
            study.set_user_attr(SPACE_HASH, self._hash)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names(list(self._space.search.objectives))
        stored = [direction.name.lower() for direction in study.directions]
        if stored != list(directions) or study.user_attrs.get(SPACE_HASH) != self._hash:
            raise ConfigError(
                f"the study '{name}' in the database was made from another search space, or "
                "judged by another suite: give the new one another --name, or restore the old files"
            )
        return study

    def _adopt(self, role: str, trial: FrozenTrial) -> None:
        """Take over a trial from the database, mending what a crash left half done."""
        text = trial.user_attrs.get(ROW)
        if text is None:
            # Asked, but the process died before it was written down: the next one to be asked.
            if not trial.state.is_finished():
                self._nameless[role].append(trial.number)
            return
        row = _row_from_text(text)
        self._rows[role, trial.number] = row
        if row.phase is Phase.TOLD and not trial.state.is_finished():
            self._finish(role, trial.number, row)

    @property
    def num_planned(self) -> int:
        """Trials of the whole sweep, baselines included, and replicates once they are known."""
        replicates = self._count("replicate") + len(self._replicates)
        return len(self._space.baselines) + num_searched(self._space) + replicates

    def rows(self) -> list[TrialRow]:
        """All trials in the order they were asked for: baselines, searched, replicates."""
        with self._lock:
            order = sorted(self._rows, key=lambda key: (ROLES.index(key[0]), key[1]))
            return [self._rows[key] for key in order]

    def ask(self) -> TrialRow | None:
        """The next trial to train: interrupted ones, baselines, proposals, then replicates.

        A proposal that equals a trial already there is not trained again: it is told what the
        other is told. Returns None when nothing is left to hand out.
        """
        with self._lock:
            if self._interrupted:
                return self._interrupted.pop(0)
            waiting = self._missing_baselines()
            while True:
                before = {row.fingerprint: row for row in self.rows()}
                if waiting:
                    row = self._ask_baseline(waiting.pop(0))
                elif self._count("searched") < num_searched(self._space):
                    row = self._ask_searched()
                elif self._replicates:
                    row = self._ask_replicate(*self._replicates.pop(0))
                else:
                    break
                twin = before.get(row.fingerprint)
                if twin is None:
                    return row
                if twin.phase is Phase.TOLD:
                    self.update(twin)
            for role, numbers in self._nameless.items():
                while numbers:  # a smaller search was asked for than the one that crashed
                    self._studies[role].tell(numbers.pop(), state=TrialState.FAIL)
            return None

    def train_again(self, rows: Sequence[TrialRow]) -> None:
        """Hand these out once more: what they trained is lost; what was told of them stays."""
        with self._lock:
            self._interrupted += rows

    def replicate(self, rows: Sequence[TrialRow]) -> None:
        """Hand these out with the space's further seeds, where that has not been done yet."""
        first = self._space.seed
        with self._lock:
            there = {row.label for row in self.rows()}
            self._replicates = [
                (row, seed)
                for row in rows
                for seed in range(first + 1, first + self._space.seeds)
                if _replicate_label(row, seed) not in there
            ]

    def _next(self, role: str) -> Trial:
        """A new trial of Optuna's, or one that a crash left without a name."""
        study, numbers = self._studies[role], self._nameless[role]
        if not numbers:
            return study.ask()
        number = numbers.pop(0)
        storage = study._storage
        return Trial(
            study, storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        )

    def _count(self, role: str) -> int:
        return sum(1 for key in self._rows if key[0] == role)

    def _missing_baselines(self) -> list[str]:
        there = {row.strategy for key, row in self._rows.items() if key[0] == "baseline"}
        return [label for label in self._space.baselines if label not in there]

    def _ask_baseline(self, strategy: str) -> TrialRow:
        trial = self._next("baseline")
        return self._record("baseline", trial, strategy, {}, label=strategy)

    def _ask_replicate(self, row: TrialRow, seed: int) -> TrialRow:
        trial = self._next("replicate")
        return self._record(
            "replicate",
            trial,
            row.strategy,
            row.parameters,
            label=_replicate_label(row, seed),
            seed=seed,
            replicate_of=row.label,
        )

    def _ask_searched(self) -> TrialRow:
        search = self._space.search
        if self._grid:
            return self._ask_grid()
        self._studies["searched"].sampler = _sampler(self._space, self._count("searched"))
        trial = self._next("searched")
        strategy = search.strategies[0]
        if len(search.strategies) > 1:
            strategy = trial.suggest_categorical(STRATEGY, search.strategies)
        values = {
            path: _suggest(trial, path, parameter)
            for path, parameter in search.parameters.items()
            if applies(self._space, strategy, path)
        }
        return self._record("searched", trial, strategy, values)

    def _ask_grid(self) -> TrialRow:
        strategy, values = self._grid[self._count("searched")]
        parameters = self._space.search.parameters
        distributions = {path: _grid_distribution(parameters[path].points()) for path in values}
        trial = self._next("searched")
        for path, distribution in distributions.items():
            if path in trial.params:
                continue
            # A fixed value instead of a sampled one: what enqueue_trial does, for one trial.
            number = isinstance(distribution, FloatDistribution)
            value = float(values[path]) if number else values[path]
            trial.storage.set_trial_param(
                trial._trial_id, path, distribution.to_internal_repr(value), distribution
            )
        return self._record("searched", trial, strategy, values)

    def _record(
        self,
        role: str,
        trial: Trial,
        strategy: str,
        values: dict[str, Any],
        label: str | None = None,
        seed: int | None = None,
        replicate_of: str = "",
    ) -> TrialRow:
        config: TrialConfig = self._space.trial(strategy, values)
        if seed is not None:
            config = dataclasses.replace(config, seed=seed)
        row = TrialRow(
            label=label or f"{strategy}-{trial.number:03d}",
            fingerprint=config.fingerprint(),
            role=role,
            strategy=strategy,
            method=config.strategy.method,
            parameters=values,
            config=dataclasses.asdict(config),
            replicate_of=replicate_of,
        )
        trial.set_user_attr("label", row.label)
        self._write(role, trial.number, row)
        return row

    def _write(self, role: str, number: int, row: TrialRow) -> None:
        study = self._studies[role]
        trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        study._storage.set_trial_user_attr(trial_id, ROW, json.dumps(dataclasses.asdict(row)))
        self._rows[role, number] = row

    def update(self, row: TrialRow) -> None:
        """Keep a trial's new phase and numbers, and those of its twins; tell Optuna at the end."""
        with self._lock:
            for (role, number), old in list(self._rows.items()):
                if old.fingerprint != row.fingerprint or old.phase is Phase.TOLD:
                    continue
                own = {"label", "role", "strategy", "parameters"}
                new = dataclasses.replace(row, **{name: getattr(old, name) for name in own})
                self._write(role, number, new)
                if new.phase is Phase.TOLD:
                    self._finish(role, number, new)

    def _finish(self, role: str, number: int, row: TrialRow) -> None:
        """Tell Optuna: values for a complete trial, else PRUNED or FAIL; the row has the reason."""
        study, search = self._studies[role], self._space.search
        if row.outcome is not Outcome.COMPLETE:
            pruned = row.outcome is Outcome.PRUNED
            study.tell(number, state=TrialState.PRUNED if pruned else TrialState.FAIL)
            return
        storage = study._storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        trial = Trial(study, trial_id)
        for name, bound in search.constraints.items():
            trial.set_constraint(name, _violation(name, row.metrics[name], bound))
        study.tell(number, [row.metrics[objective] for objective in search.objectives])


def _replicate_label(row: TrialRow, seed: int) -> str:
    return f"{row.label}.seed{seed}"


def _num_trials(storage: optuna.storages.RDBStorage, name: str) -> int:
    """Trials of a sweep, baselines included."""
    studies = optuna.get_all_study_summaries(storage)
    names = (name, *(f"{name}{end}" for end in BESIDE))
    return sum(s.n_trials for s in studies if s.study_name in names)


def _suggest(trial: Trial, path: str, parameter: ParameterConfig) -> Any:
    """A value from Optuna's sampler."""
    distribution = _distribution(parameter)
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(path, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            path,
            distribution.low,
            distribution.high,
            step=distribution.step,
            log=distribution.log,
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(
        path, distribution.low, distribution.high, step=distribution.step, log=distribution.log
    )


def _violation(name: str, value: float, bound: float) -> float:
    """Above 0 where the bound is violated, as Optuna wants it."""
    return bound - value if DIRECTIONS[name] == "maximize" else value - bound


def feasible(space: SpaceConfig, metrics: dict[str, float]) -> bool:
    """Whether a trial's metrics satisfy every constraint of the space."""
    bounds = space.search.constraints.items()
    return all(_violation(name, metrics[name], bound) <= 0 for name, bound in bounds)


def _row_from_text(text: str) -> TrialRow:
    data = json.loads(text)
    data["phase"] = Phase(data["phase"])
    data["outcome"] = None if data["outcome"] is None else Outcome(data["outcome"])
    return TrialRow(**data)
