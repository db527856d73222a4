"""Threat models: what an adversary may do to a sample, by name."""

from dataclasses import dataclass
from typing import Literal

from pipeline.attacks.ball import Ball, Budget
from pipeline.attacks.flips import Flips

ThreatName = Literal["pixels", "clamped", "counts", "scaled", "binary"]


@dataclass(frozen=True)
class Domain:
    """What the samples are: images in [0, 1], or event frames of counts."""

    frames: bool = False
    scale: float = 1.0
    """The training set's largest count, from the data set."""


IMAGES = Domain()


@dataclass(frozen=True)
class Threat:
    """How far an adversary may go, and what it has to keep to.

    - `pixels`: images; an L-infinity ball of radius epsilon and the box [0, 1].
    - `clamped`: event counts as the paper's code attacked them: a ball of radius epsilon, then all
      counts clamped to [0, 1]. Counts above 1 are destroyed whatever epsilon is.
    - `counts`: event counts in a ball of radius epsilon; a count may not become negative.
    - `scaled`: the same, epsilon and box in units of the training set's largest count: the ball in
      [0, 1] that images have.
    - `binary`: frames of "an event or none"; at most so many entries are turned over (L0).
    """

    name: ThreatName = "pixels"
    scale: float = 1.0
    """Of `scaled`: the training set's largest count."""

    @staticmethod
    def named(name: ThreatName | None, domain: Domain) -> "Threat":
        """The threat model of this name on such samples; None is the plain one, without clamps.

        Raises:
            ValueError: The samples are not what the threat model is about.
        """
        own: ThreatName = "counts" if domain.frames else "pixels"
        if name is None:
            return Threat(own)
        if (name == "pixels") == domain.frames:
            there = "event frames" if domain.frames else "images"
            raise ValueError(f"threat: {name} is not for {there}; leave it out, or write {own}")
        return Threat(name, domain.scale if name == "scaled" else 1.0)

    def budget(self, size: float) -> Budget:
        """What is allowed at a radius epsilon, or (binary) with so many flips."""
        if self.name == "binary":
            return Flips(int(size))
        if self.name == "counts":
            return Ball(size, 0.0, float("inf"))
        return Ball(size, 0.0, self.scale, self.scale)

    def ball(self, epsilon: float) -> Ball:
        """The ball of radius epsilon; flips know none, and have that of plain counts here."""
        budget = self.budget(epsilon)
        return budget if isinstance(budget, Ball) else Ball(epsilon, 0.0, float("inf"))

    @property
    def alters(self) -> bool:
        """Whether a sample can be altered by an adversary that changes nothing."""
        return self.name in ("clamped", "scaled", "binary")


PIXELS = Threat()
