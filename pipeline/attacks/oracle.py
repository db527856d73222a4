"""What an attack may ask of the network in front of it, and what each answer costs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pipeline.attacks.draws import Draws, GlobalDraws

Classifier = Callable[[Tensor], Tensor]
"""Maps images (B, C, H, W) in [0, 1] to logits (B, K)."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (B, K) and labels (B,) to one value a sample, (B,)."""


@runtime_checkable
class Remembering(Protocol):
    """A classifier that remembers earlier steps of an attack, sample by sample."""

    @property
    def passes(self) -> int:
        """Forward passes through the network that one answer takes."""
        ...

    def __call__(self, images: Tensor, *, learning: bool = True) -> Tensor:
        """Logits; `learning=False` leaves the memory as it is."""
        ...

    def fresh(self) -> "Remembering":
        """The classifier before its first batch."""
        ...

    def narrowed(self, keep: Tensor) -> "Remembering":
        """The classifier for some of the last batch's samples."""
        ...


@dataclass(frozen=True)
class Cost:
    """Passes through the network, sample by sample, int64, shape (B,)."""

    forward: Tensor
    backward: Tensor

    @staticmethod
    def zero(labels: Tensor) -> "Cost":
        """Nothing spent yet on as many samples as there are labels."""
        return Cost(
            torch.zeros_like(labels, dtype=torch.int64), torch.zeros_like(labels, dtype=torch.int64)
        )

    def add(self, positions: Tensor, other: "Cost") -> None:
        """Add what some of the samples, at `positions`, cost elsewhere."""
        self.forward[positions] += other.forward
        self.backward[positions] += other.backward


@dataclass(frozen=True)
class Oracle:
    """A classifier as an attack sees it: logits, gradients, random numbers, all counted."""

    classifier: Classifier
    cost: Cost
    positions: Tensor
    """Where this oracle's samples stand in `cost`, shape (B,)."""
    draws: Draws = field(default_factory=GlobalDraws)
    eot_draws: int = 1
    """Forward passes that every answer averages over: EOT, for random networks."""

    @staticmethod
    def of(
        classifier: "Classifier | Oracle",
        labels: Tensor,
        *,
        draws: Draws | None = None,
        eot_draws: int = 1,
    ) -> "Oracle":
        """The oracle of a classifier for a batch, before its first step."""
        if isinstance(classifier, Oracle):
            return classifier
        fresh: Any = classifier.fresh() if isinstance(classifier, Remembering) else classifier
        positions = torch.arange(len(labels), device=labels.device)
        return Oracle(fresh, Cost.zero(labels), positions, draws or GlobalDraws(), eot_draws)

    def logits(self, images: Tensor) -> Tensor:
        """Mean logits over the draws, (B, K), without a graph."""
        self._count(self.cost.forward, self.eot_draws * self._passes)
        with torch.no_grad():
            answers = [self._ask(images, draw) for draw in range(self.eot_draws)]
        return answers[0] if len(answers) == 1 else torch.stack(answers).mean(0)

    def gradient(self, images: Tensor, labels: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Gradient of the summed loss with respect to the images, and the logits.

        The sum, not the mean: a sample's gradient must not depend on the batch it is in. Over
        several draws both are means (expectation over transformation; Athalye et al., 2018).
        """
        self._count(self.cost.forward, self.eot_draws * self._passes)
        self._count(self.cost.backward, self.eot_draws)
        gradients, answers = [], []
        for draw in range(self.eot_draws):
            asked = images.detach().requires_grad_()
            with torch.enable_grad():
                logits = self._ask(asked, draw)
                (gradient,) = torch.autograd.grad(loss(logits, labels).sum(), asked)
            gradients.append(gradient)
            answers.append(logits.detach())
        if self.eot_draws == 1:
            return gradients[0], answers[0]
        return torch.stack(gradients).mean(0), torch.stack(answers).mean(0)

    def narrowed(self, keep: Tensor) -> "Oracle":
        """The oracle for some of the samples, given by a mask or by positions."""
        classifier: Any = self.classifier
        if isinstance(classifier, Remembering):
            classifier = classifier.narrowed(keep)
        return replace(
            self,
            classifier=classifier,
            positions=self.positions[keep],
            draws=self.draws.narrowed(keep),
        )

    @property
    def _passes(self) -> int:
        """Forward passes that one answer takes."""
        return self.classifier.passes if isinstance(self.classifier, Remembering) else 1

    def _count(self, spent: Tensor, passes: int) -> None:
        """Add passes; a sample that is asked about several times at once pays for each."""
        spent.index_add_(0, self.positions, torch.full_like(self.positions, passes))

    def _ask(self, images: Tensor, draw: int) -> Tensor:
        if draw and isinstance(self.classifier, Remembering):
            return self.classifier(images, learning=False)
        return self.classifier(images)
