"""What the trust audit asks of a network: do its gradients point anywhere, and where?"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.logits import margin, rival_class, two_class_probability

Network = Callable[[Tensor], Tensor]
Uniform = Callable[[Tensor, float, float], Tensor]
"""Uniform numbers in [low, high), shaped like a tensor, for each sample its own."""

NUM_QUERIES = 500
"""Of the finite-difference gradient; they come in opposite pairs."""
STEP = 0.25
"""Length of the step along a gradient's sign, as a share of epsilon."""
PLANE = 21
"""Points on each side of the searched plane."""
NUM_REPEATS = 4
SAME_ANSWER = 1e-4
"""Largest change of the normalised logits that is put down to rounding."""
NUM_DRAWS = 10
"""Answers and gradients of a random network that are averaged before a direction is judged."""


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="none")


def probe(
    model: Network,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    uniform: Uniform,
    clip: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Facts on the network's own gradient and answers, one value a sample, each of shape (B,).

    `clip` takes images moved by up to epsilon back into the box.

    Returns:
        - `zero_cross_entropy`, `zero_margin`: 1 where the loss has no gradient at the image or at
          a random start in the ball; `zero_pixels`: share of pixels without one (margin);
        - `saturation`: f_y (1 - f_y); `margin`: z_y minus the best other; `largest_logit`;
        - `ascent`, `random_ascent`: 1 where the true margin loss rises along the gradient's sign
          (a random one), 0 where it falls, 0.5 where it stays; gradient and loss of a random
          network are means over `NUM_DRAWS`, as they are to those who attack and judge it;
        - `cosine`: between the gradient and a finite-difference one of `NUM_QUERIES` queries, as a
          share of what that many queries can show at best;
        - `plane_breaks`: 1 where a point of the plane (gradient's sign, random sign) is
          misclassified;
        - `repeat_difference`: largest change of the normalised logits over `NUM_REPEATS` further
          answers; `repeat_changes`: 1 where the class changes;
        - `probabilities`: 1 where the answer sums to 1 within [0, 1].
    """
    start = clip(images + uniform(images, -epsilon, epsilon))
    random = uniform(images, -1.0, 1.0).sign()
    first = _answer(model, images)
    repeated = _repeated(model, images, first)
    draws = NUM_DRAWS if bool((repeated["repeat_difference"] > SAME_ANSWER).any()) else 1
    gradient, logits = _gradient(model, images, labels, margin, draws)
    zero = {
        name: _is_zero(_gradient(model, images, labels, loss, draws)[0])
        | _is_zero(_gradient(model, start, labels, loss, draws)[0])
        for name, loss in (("cross_entropy", _cross_entropy), ("margin", margin))
    }
    own = two_class_probability(logits, labels, rival_class(logits, labels))
    loss = margin(logits, labels)

    def rises(direction: Tensor) -> Tensor:
        stepped = clip(images + STEP * epsilon * direction)
        return 0.5 + 0.5 * (margin(_answer(model, stepped, draws), labels) - loss).sign()

    facts = {
        "zero_cross_entropy": zero["cross_entropy"].to(images.dtype),
        "zero_margin": zero["margin"].to(images.dtype),
        "zero_pixels": (gradient == 0).flatten(1).to(images.dtype).mean(1),
        "saturation": own * (1.0 - own),
        "margin": -loss,
        "largest_logit": logits.abs().amax(1),
        "ascent": rises(gradient.sign()),
        "random_ascent": rises(random),
        "cosine": _cosine(model, images, labels, gradient, epsilon, uniform),
        "plane_breaks": _plane_breaks(
            model, images, labels, epsilon, gradient.sign(), random, clip
        ),
        "probabilities": _are_probabilities(first).to(images.dtype),
    }
    return facts | repeated


def _answer(model: Network, images: Tensor, draws: int = 1) -> Tensor:
    with torch.no_grad():
        return torch.stack([model(images) for _ in range(draws)]).mean(0)


def _gradient(
    model: Network,
    images: Tensor,
    labels: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    draws: int,
) -> tuple[Tensor, Tensor]:
    """Means of gradient and logits over the draws."""
    images = images.detach().requires_grad_()
    gradients, answers = [], []
    for _ in range(draws):
        with torch.enable_grad():
            logits = model(images)
            (gradient,) = torch.autograd.grad(loss(logits, labels).sum(), images)
        gradients.append(gradient)
        answers.append(logits.detach())
    return torch.stack(gradients).mean(0), torch.stack(answers).mean(0)


def _is_zero(gradient: Tensor) -> Tensor:
    return gradient.flatten(1).abs().sum(1) == 0


def _are_probabilities(logits: Tensor) -> Tensor:
    """Whether each answer is already a distribution, so that its loss is taken twice."""
    inside = ((logits >= 0) & (logits <= 1)).all(1)
    return inside & ((logits.sum(1) - 1.0).abs() <= 1e-5)


def _repeated(model: Network, images: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """How much the same question's answers differ; the first flag of AutoAttack's checks."""
    first = functional.normalize(logits, dim=1)
    difference = torch.zeros_like(first[:, 0])
    changes = torch.zeros_like(difference, dtype=torch.bool)
    for _ in range(NUM_REPEATS):
        again = _answer(model, images)
        moved = (functional.normalize(again, dim=1) - first).abs().amax(1)
        difference = torch.maximum(difference, moved)
        changes |= again.argmax(1) != logits.argmax(1)
    return {"repeat_difference": difference, "repeat_changes": changes.to(logits.dtype)}


def _cosine(
    model: Network,
    images: Tensor,
    labels: Tensor,
    gradient: Tensor,
    epsilon: float,
    uniform: Uniform,
) -> Tensor:
    """Cosine to a gradient from differences of the true loss (random signs, step epsilon / 2).

    An estimate from q pairs in d dimensions has a cosine of about sqrt(q / (q + d)) to the
    truth; the result is the share of that. 0 where one of the two has no direction.
    """
    pairs, size = NUM_QUERIES // 2, images[0].numel()
    step = 0.5 * epsilon
    estimate = torch.zeros_like(images)
    for _ in range(pairs):
        direction = uniform(images, -1.0, 1.0).sign()
        up = margin(_answer(model, images + step * direction), labels)
        down = margin(_answer(model, images - step * direction), labels)
        estimate += (up - down).view(-1, *[1] * (images.dim() - 1)) * direction
    between = functional.cosine_similarity(estimate.flatten(1), gradient.flatten(1), dim=1)
    at_best: float = (pairs / (pairs + size)) ** 0.5
    return between / at_best


def _plane_breaks(
    model: Network,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    along: Tensor,
    across: Tensor,
    clip: Callable[[Tensor], Tensor],
) -> Tensor:
    """1 where a point of the plane, clipped to ball and box, is misclassified."""
    broken = torch.zeros_like(labels, dtype=torch.bool)
    marks = torch.linspace(-1.0, 1.0, PLANE).tolist()
    for first in marks:
        for second in marks:
            moved = (epsilon * (first * along + second * across)).clamp(-epsilon, epsilon)
            answer = _answer(model, clip(images + moved))
            broken |= answer.argmax(1) != labels
    return broken.to(images.dtype)
