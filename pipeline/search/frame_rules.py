"""Checks of a space against what its samples are: event frames, or images."""

from collections.abc import Iterator

from pipeline.config import SpaceConfig
from pipeline.config_messages import Problem
from pipeline.errors import ConfigError
from pipeline.threats import load_suite

_HALF_AN_EVENT = 0.5
"""From here on `models.network.Binary` sees an event."""


def frames_fit(space: SpaceConfig) -> Iterator[Problem]:
    """Event frames and images have settings of their own."""
    frames = getattr(space.data, "frames", None)
    searched = space.search.parameters
    if frames is not None:
        if "model.num_timesteps" not in searched and space.model.num_timesteps != frames.num_frames:
            yield Problem(
                ("model", "num_timesteps"),
                f"expected {frames.num_frames}, the data's number of frames, got "
                f"{space.model.num_timesteps}; a network takes one frame a time step",
            )
        if space.model.encoding != "direct":
            yield Problem(
                ("model", "encoding"), "event frames are used as they are; remove this key", "key"
            )
        yield from _binary_frames_move(space)
        return
    only = "is for event data; these are images: remove this key"
    if space.model.input != "counts":
        yield Problem(("model", "input"), only, "key")
    if space.training.augmentation == "nda":
        yield Problem(("training", "augmentation"), "nda is for event data; write crop_flip")
    for path in ("model.input", "strategy.threat"):
        if path in searched:
            yield Problem(("search", "parameters", path), only, "key")
    for label, strategy in space.strategies.items():
        if getattr(strategy, "threat", None) is not None:
            yield Problem(("strategies", label, "threat"), only, "key")


def _binary_frames_move(space: SpaceConfig) -> Iterator[Problem]:
    """Where a network sees an event or none, less than half an event is nothing at all."""
    inputs = space.search.parameters.get("model.input")
    always = space.model.input == "binary"
    searched = inputs is not None and "binary" in (inputs.values or ())
    labels = [*(space.baselines if always else ()), *(space.search.strategies if searched else ())]
    for label in dict.fromkeys(labels):
        for key in ("epsilon", "finite_difference_step"):
            step = getattr(space.strategies.get(label), key, None)
            if step is not None and step < _HALF_AN_EVENT:
                yield Problem(
                    ("strategies", label, key),
                    f"expected at least {_HALF_AN_EVENT} with model.input: binary, got {step:g}: "
                    "less changes no frame of an event or none, so this would be trained as "
                    "without it; train it on counts or scaled, or leave it out there",
                )
    if not (always or searched):
        return
    flips = "write flips, or a suite with threat: binary"
    for place, name, instead in (
        (("evaluation", "suite"), space.evaluation.suite, flips),
        (("report", "suite"), space.report.suite or space.evaluation.suite, flips),
        (("report", "audit"), space.report.audit, "write null"),
    ):
        try:
            suite = load_suite(name) if name else None
        except ConfigError:
            continue  # told by another rule
        if suite is None or suite.threat in ("binary", "scaled"):
            continue
        epsilon = space.evaluation.radius(suite.epsilon)
        if epsilon < _HALF_AN_EVENT:
            yield Problem(
                place,
                f"'{suite.name}' moves counts by {epsilon:g} events, which a network with "
                f"model.input: binary never sees, so every one would look robust; {instead}",
            )
