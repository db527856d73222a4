"""Checks across the fields of a space: each finds everything it can find at once."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from models.config import FieldError
from pipeline.attacks import Domain, Threat
from pipeline.config import SpaceConfig
from pipeline.config_messages import Problem
from pipeline.config_words import nearest, suggestion
from pipeline.errors import ConfigError, SettingError
from pipeline.search.frame_rules import frames_fit
from pipeline.threats import load_suite


def applies(space: SpaceConfig, strategy: str, path: str) -> bool:
    """Whether a searched parameter is a setting of this strategy (or of no strategy at all)."""
    head, _, name = path.partition(".")
    if head != "strategy":
        return True
    return any(field.name == name for field in dataclasses.fields(space.strategies[strategy]))


def _known_labels(space: SpaceConfig) -> Iterator[Problem]:
    places: list[tuple[tuple[str | int, ...], str]] = [
        (("baselines", index), label) for index, label in enumerate(space.baselines)
    ]
    places += [
        (("search", "strategies", index), label)
        for index, label in enumerate(space.search.strategies)
    ]
    for path, label in places:
        if label not in space.strategies:
            known = f"; write one of {', '.join(space.strategies)}"
            hint = suggestion(label, list(space.strategies)) or known
            yield Problem(path, f"no strategy is labelled '{label}'{hint}")
    for index, label in enumerate(space.report.sources):
        if label not in space.baselines:
            known = ", ".join(space.baselines) or "none: add it there"
            message = f"expected the label of a baseline, got '{label}'; `baselines` has {known}"
            yield Problem(("report", "sources", index), message)
    if not space.baselines and not space.search.strategies:
        message = "nothing would be trained: name labels in `baselines` or in `search.strategies`"
        yield Problem(("strategies",), message, "key")
    yield from _each_once(("baselines",), space.baselines)
    yield from _each_once(("search", "strategies"), space.search.strategies)


def _each_once(place: tuple[str, ...], names: Sequence[str]) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem((*place, index), f"'{name}' stands here a second time; remove it")


def _parameters_fit(space: SpaceConfig) -> Iterator[Problem]:
    labels = [label for label in space.search.strategies if label in space.strategies]
    for path, parameter in space.search.parameters.items():
        place = ("search", "parameters", path)
        if path == "strategy.method":
            yield Problem(place, "list the labels to search in search.strategies", "key")
            continue
        if not path.startswith(("strategy.", "training.", "model.")):
            yield Problem(
                place,
                "expected a path that starts with strategy., training. or model., such as "
                f"{_path_meant(space, labels, path)}",
                "key",
            )
            continue
        users = [label for label in labels if applies(space, label, path)]
        if labels and not users:
            known = _settings(space, labels)
            near = nearest(path.partition(".")[2], known)
            listed = ", ".join(f"strategy.{name}" for name in known)
            hint = f"; did you mean 'strategy.{near}'?" if near else f"; write one of {listed}"
            yield Problem(
                place, f"none of the searched strategies ({', '.join(labels)}) has it{hint}", "key"
            )
        for label in users:
            misfits = list(_misfits(space, label, path, parameter.examples()))
            for inner, message in misfits:
                yield Problem((*place, *inner), message, "value" if inner else "key")
            if misfits:
                break


def _settings(space: SpaceConfig, labels: Sequence[str]) -> list[str]:
    """What of the strategies can be searched."""
    named = [
        field.name for label in labels for field in dataclasses.fields(space.strategies[label])
    ]
    return [name for name in dict.fromkeys(named) if name != "method"]


def _path_meant(space: SpaceConfig, labels: Sequence[str], path: str) -> str:
    """The setting whose last word is nearest to the path's; any, where none is near."""
    known = {
        field.name: f"{section}.{field.name}"
        for section in ("model", "training")
        for field in dataclasses.fields(getattr(space, section))
    }
    known |= {name: f"strategy.{name}" for name in _settings(space, labels)}
    return known[nearest(path.rpartition(".")[2], list(known)) or "epochs"]


def _misfits(
    space: SpaceConfig, label: str, path: str, examples: Sequence[tuple[tuple[str | int, ...], Any]]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Values that the setting does not take, with their places; no place if it takes none."""
    for place, value in examples:
        try:
            space.trial(label, {path: value})
        except SettingError:
            continue  # a missing lambda, which another parameter may supply
        except ConfigError as error:
            text = str(error)
            unknown = "a trial has no such setting" in text
            yield (() if unknown else place), text.removeprefix(f"{path}: ")
            if unknown:
                return


def _lambda_known(space: SpaceConfig) -> Iterator[Problem]:
    # Also where it is searched under a wrong name, which another rule tells.
    searched = any(
        nearest(path.rpartition(".")[2], ["sparsity_weight"]) for path in space.search.parameters
    )
    used = [*space.baselines, *([] if searched else space.search.strategies)]
    for label in dict.fromkeys(used):
        if label in space.strategies:
            try:
                space.trial(label)
            except SettingError as error:
                yield Problem(("strategies", label), error.problems[0][1])


def _sampler_can(space: SpaceConfig) -> Iterator[Problem]:
    search = space.search
    if not search.strategies:
        if search.parameters:
            yield Problem(
                ("search",),
                "strategies is missing: whose parameters are searched? add strategies: [LABEL]",
                "key",
            )
        return
    if search.sampler == "grid":
        for path, parameter in search.parameters.items():
            try:
                parameter.points()
            except FieldError as error:
                yield Problem(("search", "parameters", path), str(error))
    elif search.num_trials is None:
        message = (
            f"num_trials is missing: {search.sampler} never ends by itself; add num_trials: 30"
        )
        yield Problem(("search",), message, "key")
    elif not search.parameters and len(search.strategies) == 1:
        message = "nothing is searched: give parameters or several strategies"
        yield Problem(("search",), message, "key")
    labels = [label for label in search.strategies if label in space.strategies]
    if search.sampler in ("gp", "qmc"):
        conditional = [
            path
            for path in search.parameters
            if not all(applies(space, label, path) for label in labels)
        ]
        for path in conditional:
            yield Problem(
                ("search", "parameters", path),
                f"{search.sampler} needs parameters that every searched strategy has; "
                "use tpe, nsga2 or random",
                "key",
            )


def _suites_exist(space: SpaceConfig) -> Iterator[Problem]:
    places = (
        (("evaluation", "suite"), space.evaluation.suite),
        (("report", "suite"), space.report.suite),
        (("report", "audit"), space.report.audit),
    )
    for place, name in places:
        if name is None:
            continue
        try:
            suite = load_suite(name)
        except ConfigError as error:
            yield from (Problem(place, line) for line in str(error).splitlines())
            continue
        domain = Domain(frames=hasattr(space.data, "frames"))
        for stage in (suite, *suite.then):
            try:
                Threat.named(stage.threat, domain)
            except ValueError as error:
                yield Problem(place, f"suite '{name}': {error}; or name another suite")
                break
        access = {stage.access for stage in (suite, *suite.then)}
        if access == {"transfer"}:
            yield Problem(
                place,
                f"'{name}' attacks through other networks alone, and would not attack those; use "
                "it with pipeline.evaluate --source",
            )
        elif place == ("report", "suite") and space.report.sources and "transfer" not in access:
            yield Problem(
                ("report", "sources"),
                f"the suite '{name}' has no stage with access: transfer; remove the sources",
                "key",
            )


def _steps_inside_ball(space: SpaceConfig) -> Iterator[Problem]:
    """A derivative's estimate that reaches beyond the attack would measure something else."""
    try:
        epsilon = space.evaluation.radius(load_suite(space.evaluation.suite).epsilon)
    except ConfigError:
        return
    steps: list[tuple[tuple[str | int, ...], Any]] = [
        (("strategies", label, "finite_difference_step"), strategy.finite_difference_step)
        for label, strategy in space.strategies.items()
        if hasattr(strategy, "finite_difference_step")
    ]
    path = "strategy.finite_difference_step"
    parameter = space.search.parameters.get(path)
    for inner, value in parameter.examples() if parameter else []:
        steps.append((("search", "parameters", path, *inner), value))
    for place, value in steps:
        if isinstance(value, int | float) and value > epsilon:
            yield Problem(
                place,
                f"h = {value:g} is beyond the attack's epsilon; write at most {epsilon:g}",
            )


def _constraints_apply(space: SpaceConfig) -> Iterator[Problem]:
    for name, bound in space.search.constraints.items():
        if name.endswith("accuracy") and not 0 <= bound <= 1:
            path = ("search", "constraints", name)
            yield Problem(path, f"expected an accuracy as a fraction from 0 to 1, got {bound:g}")
    yield from _each_once(("search", "objectives"), space.search.objectives)


RULES: tuple[Callable[[SpaceConfig], Iterator[Problem]], ...] = (
    _known_labels,
    _parameters_fit,
    _lambda_known,
    _sampler_can,
    _suites_exist,
    _steps_inside_ball,
    frames_fit,
    _constraints_apply,
)
