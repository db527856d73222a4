"""What a space of event frames may say: every mistake is told with its place and a way out."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.sweep import read_space
from tests.tiny import write_space

SPACE = """
name: frames
seed: 0
data: {dataset: digits_events, frames: {num_frames: 4}}
model: {architecture: small, num_timesteps: 4}
training: {epochs: 1, augmentation: none}
strategies:
  vanilla: {method: vanilla}
  at: {method: at, attack: fgsm, epsilon: 0.1}
  sr: {method: sr, sparsity_weight: 0.01, finite_difference_step: 0.05}
baselines: [vanilla, at, sr]
evaluation: {suite: SUITE, epsilon: 0.1}
report: {audit: null}
"""
SEARCH = """search:
  sampler: grid
  strategies: [vanilla, sr]
  parameters:
    model.input: {values: [scaled, binary]}
"""


def problems(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_space(write_space(folder, text), ())
    return str(caught.value)


def test_a_space_of_frames(tmp_path: Path) -> None:
    space = read_space(write_space(tmp_path, SPACE), ())
    assert space.data.dataset == "digits_events"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("num_timesteps: 4", "num_timesteps: 3", "expected 4, the data's number of frames"),
        ("model: {", "model: {encoding: poisson, ", "event frames are used as they are"),
    ],
    ids=["time-steps", "encoding"],
)
def test_frames_fit_the_network(tmp_path: Path, old: str, new: str, why: str) -> None:
    said = problems(tmp_path, SPACE.replace(old, new))
    assert ":5:" in said
    assert why in said


def test_settings_of_frames_are_none_of_images(tmp_path: Path) -> None:
    text = SPACE.replace("digits_events, frames: {num_frames: 4}", "digits")
    text = text.replace("model: {", "model: {input: scaled, ").replace(": none", ": nda")
    text = text.replace("method: at,", "method: at, threat: clamped,")
    said = problems(tmp_path, text)
    only = "is for event data; these are images: remove this key"
    assert said.count(only) == 2
    assert "model.input" in said
    assert "strategies.at.threat" in said
    assert "nda is for event data; write crop_flip" in said


def test_less_than_half_an_event_is_nothing_to_binary_frames(tmp_path: Path) -> None:
    fixed = SPACE.replace("model: {", "model: {input: binary, ")
    said = problems(tmp_path, fixed)
    assert ":9:" in said
    assert "strategies.at.epsilon: expected at least 0.5 with model.input: binary, got 0.1" in said
    assert "strategies.sr.finite_difference_step" in said
    searched = problems(tmp_path, SPACE + SEARCH)
    assert "strategies.sr.finite_difference_step" in searched
    assert "strategies.at" not in searched  # never trained on binary frames


def test_a_ball_that_binary_frames_never_notice_is_told(tmp_path: Path) -> None:
    alone = SPACE + SEARCH.replace("[vanilla, sr]", "[vanilla]")
    said = problems(tmp_path, alone)
    assert "moves counts by 0.1 events, which a network with model.input: binary never sees" in said
    assert "evaluation.suite" in said
    assert "report.suite" in said
    assert "report.audit" not in said
    audited = problems(tmp_path, alone.replace("{audit: null}", "{audit: audit}"))
    assert "report.audit: 'audit' moves counts by 0.1 events" in audited
    assert "would look robust; write null" in audited
    flips = alone.replace("suite: SUITE", "suite: flips").replace(
        "{audit:", "{suite: flips, audit:"
    )
    assert read_space(write_space(tmp_path, flips), ()).search.strategies == ["vanilla"]
