"""SR and GR on linear networks, where the difference quotient has a closed form."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training import build_strategy
from pipeline.training.gradient_regularization import GRConfig, gradient_regularization
from pipeline.training.loop import training_step
from pipeline.training.sparsity import SRConfig, SRStarConfig, sparsity_penalty, sr

STEP, WEIGHT = 0.01, 0.3


def problem(linear: Any) -> tuple[nn.Module, Tensor, Tensor]:
    """A network of 2x3 pixels and 4 classes, with images and labels."""
    torch.manual_seed(3)
    model = linear(torch.randn(4, 6), torch.randn(4))
    images = torch.rand(5, 1, 2, 3, dtype=torch.float64)
    return model, images, torch.tensor([0, 1, 2, 3, 1])


def sparsity_by_hand(model: Any, images: Tensor, labels: Tensor, form: str) -> Tensor:
    """sigmoid(w x + b) rises along sign(w), w and b those of the class minus its rival's."""
    values = []
    for image, label in zip(images.flatten(1), labels.tolist(), strict=True):
        logits = (model.weight @ image + model.bias).tolist()
        rival = max((z, k) for k, z in enumerate(logits) if k != label)[1]
        weight = model.weight[label] - model.weight[rival]
        bias = model.bias[label] - model.bias[rival]
        moved = image + STEP * weight.detach().sign()
        rise = torch.sigmoid(weight @ moved + bias) - torch.sigmoid(weight @ image + bias)
        values.append((rise / STEP) ** 2 if form == "squared" else (rise / STEP).abs())
    return torch.stack(values).mean()


def loss_rise_by_hand(model: Any, images: Tensor, labels: Tensor, form: str) -> Tensor:
    """The cross-entropy's gradient is W^T (softmax - one-hot)."""
    flat = images.flatten(1)
    probabilities = (flat @ model.weight.T + model.bias).softmax(1)
    one_hot = functional.one_hot(labels, 4).double()
    direction = ((probabilities - one_hot) @ model.weight).detach().sign()
    after, before = (
        functional.cross_entropy(x @ model.weight.T + model.bias, labels, reduction="none")
        for x in (flat + STEP * direction, flat)
    )
    quotient = (after - before) / STEP
    return quotient.square().mean() if form == "squared" else quotient.abs().mean()


CASES = {"sr": sparsity_by_hand, "gr": loss_rise_by_hand}


@pytest.mark.parametrize("form", ["squared", "absolute"])
@pytest.mark.parametrize("method", CASES)
def test_step_with_the_penalty(linear: Any, method: str, form: Any) -> None:
    model, images, labels = problem(linear)
    strategy = (
        sr(SRConfig(method="sr", sparsity_weight=WEIGHT, finite_difference_step=STEP, penalty=form))
        if method == "sr"
        else gradient_regularization(
            GRConfig(method="gr", gradient_weight=WEIGHT, finite_difference_step=STEP, penalty=form)
        )
    )
    expected = WEIGHT * CASES[method](model, images, labels, form)
    loss = functional.cross_entropy(model(images), labels)
    # Through both values of the quotient, and not through the direction.
    gradients = torch.autograd.grad(loss + expected, list(model.parameters()))
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    measured, penalty, correct = training_step(model, still, strategy, images, labels)
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-10)
    assert measured.item() == pytest.approx(loss.item(), rel=1e-12)
    assert correct.item() == int((model(images).argmax(1) == labels).sum())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-11)


def rivals(linear: Any) -> tuple[Any, Tensor, Tensor]:
    """At x class 1 is the rival of class 0; at x + h d class 2 would be."""
    weight = torch.tensor([[1.0, 0.0], [-3.0, 0.0], [0.0, 0.0]])
    model = linear(weight, torch.tensor([0.0, 1.5, -0.05]))
    return model, torch.tensor([[[[0.5, 0.5]]]], dtype=torch.float64), torch.tensor([0])


def test_the_rival_is_kept(linear: Any) -> None:
    # Logits (0.5, 0, -0.05); one step of 0.1 along x_1: (0.6, -0.3, -0.05).
    model, images, labels = rivals(linear)
    config = SRConfig(
        method="sr", sparsity_weight=2.0, finite_difference_step=0.1, penalty="absolute"
    )
    images.requires_grad_()
    penalty = sparsity_penalty(config)(model, images, labels, model(images))
    before, after = torch.sigmoid(torch.tensor([0.5, 0.9], dtype=torch.float64)).tolist()
    assert penalty.item() == pytest.approx(2.0 * (after - before) / 0.1)


def test_the_moved_image_may_leave_the_box(linear: Any) -> None:
    model, images, labels = rivals(linear)
    images = torch.ones_like(images).requires_grad_()
    seen: list[Tensor] = []
    logits = model(images)
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    config = SRConfig(method="sr", sparsity_weight=1.0, finite_difference_step=0.1)
    sparsity_penalty(config)(model, images, labels, logits)
    assert seen[0].flatten().tolist() == pytest.approx([1.1, 1.0])
    assert not seen[0].requires_grad


def test_squared_is_the_default_and_differs_from_absolute(linear: Any) -> None:
    model, images, labels = problem(linear)
    images.requires_grad_()
    values = {}
    for form in ("squared", "absolute"):
        config = SRConfig(method="sr", sparsity_weight=1.0, penalty=form)  # type: ignore[arg-type]
        values[form] = sparsity_penalty(config)(model, images, labels, model(images)).item()
    default = SRConfig(method="sr", sparsity_weight=1.0)
    assert sparsity_penalty(default)(model, images, labels, model(images)).item() == pytest.approx(
        values["squared"]
    )
    # The mean of squares is at least the square of the mean.
    assert values["squared"] > values["absolute"] ** 2


def test_an_unresolved_lambda_is_refused() -> None:
    with pytest.raises(ValueError, match="sparsity_weight"):
        sparsity_penalty(SRConfig(method="sr"))


@pytest.mark.parametrize("method", ["sr", "sr_star"])
def test_no_strategy_takes_an_unresolved_lambda_for_zero(method: Any) -> None:
    config = SRConfig(method=method) if method == "sr" else SRStarConfig(method=method)
    with pytest.raises(ValueError, match="sparsity_weight"):
        build_strategy(config)
