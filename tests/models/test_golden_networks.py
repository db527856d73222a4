"""VGG-11 and WRN-16-4 against the released code, in float64."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import GradientEstimator, SpikingClassifier, oracle
from pipeline.attacks import FGSMConfig, Oracle, PGDConfig, build_attack
from pipeline.attacks.losses import cross_entropy
from pipeline.logits import rival_class, two_class_probability
from pipeline.training.loop import training_step
from pipeline.training.sparsity import SRConfig, sr

Case = tuple[SpikingClassifier, dict[str, NDArray[Any]]]
ORACLES = {
    "triangle_width1": GradientEstimator(),
    "sigmoid_width4": GradientEstimator(surrogate="sigmoid", width=4.0),
    "arctangent_width2": GradientEstimator(surrogate="arctangent", width=2.0),
    "rga": GradientEstimator(method="rga"),
}


def inputs(numbers: dict[str, NDArray[Any]]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(numbers["images"]), torch.from_numpy(numbers["labels"])


def close(actual: Tensor, expected: NDArray[Any], relative: float = 1e-9) -> None:
    """Equal up to rounding, measured on the largest entry."""
    wanted = torch.from_numpy(np.asarray(expected))
    scale = float(wanted.abs().max())
    torch.testing.assert_close(actual, wanted, rtol=relative, atol=relative * scale)


@pytest.mark.parametrize("name", ORACLES)
def test_logits_and_input_gradient(golden_case: Case, name: str) -> None:
    model, numbers = golden_case
    images, labels = inputs(numbers)
    asked = Oracle.of(oracle(model, ORACLES[name]), labels)
    direction, logits = asked.gradient(images, labels, cross_entropy)
    close(logits, numbers[f"logits_{name}"])
    close(direction, numbers[f"gradient_{name}"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ORACLES)
def test_attacks(golden_case: Case, name: str) -> None:
    model, numbers = golden_case
    images, labels = inputs(numbers)
    target = oracle(model, ORACLES[name])
    pgd5 = PGDConfig(num_steps=5, step_size=0.01, random_start=False)
    for key, config in (("fgsm", FGSMConfig()), ("pgd5", pgd5)):
        adversarial = build_attack(config, 8 / 255)(target, images, labels)
        # The golden images are stored in float32.
        expected = torch.from_numpy(numbers[f"{key}_{name}"]).double()
        torch.testing.assert_close(adversarial, expected, rtol=0, atol=1e-7)
        assert not torch.equal(adversarial, images)


class Recorder:
    """What goes into and comes out of a network, call by call."""

    def __init__(self, model: nn.Module) -> None:
        self.calls: list[tuple[Tensor, Tensor]] = []
        self.handle = model.register_forward_hook(
            lambda _, arguments, logits: self.calls.append((arguments[0].detach(), logits.detach()))
        )


@pytest.fixture
def restored(golden_case: Case) -> Iterator[Case]:
    """The case, whose running statistics and gradients are put back after the test."""
    model, numbers = golden_case
    before = {name: value.clone() for name, value in model.named_buffers()}
    yield model, numbers
    for name, value in model.named_buffers():
        value.copy_(before[name])
    model.zero_grad(set_to_none=True)
    model.eval()


@pytest.mark.parametrize("form", ["squared", "absolute"])
def test_step_of_sparsity_regularisation(restored: Case, form: Any) -> None:
    model, numbers = restored
    images, labels = inputs(numbers)
    weight, step = float(numbers["sr_lambda"]), float(numbers["sr_h"])
    strategy = sr(
        SRConfig(method="sr", sparsity_weight=weight, finite_difference_step=step, penalty=form)
    )
    recorder = Recorder(model)
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    loss, penalty, _ = training_step(model, still, strategy, images, labels)
    recorder.handle.remove()

    assert loss.item() == pytest.approx(float(numbers["sr_cross_entropy"]), rel=1e-9)
    assert penalty.item() == pytest.approx(weight * float(numbers[f"sr_penalty_{form}"]), rel=1e-9)
    (first, logits), (second, moved_logits) = recorder.calls
    assert torch.equal(first, images)
    close(second, numbers["images"] + step * numbers["sr_direction"], 1e-12)
    rival = rival_class(logits, labels)
    close(two_class_probability(logits, labels, rival), numbers["sr_f1"])
    close(two_class_probability(moved_logits, labels, rival), numbers["sr_f2"])
    for kind in ("mean", "var"):
        norms = [v.norm() for n, v in model.named_buffers() if n.endswith(f"running_{kind}")]
        close(torch.stack(norms), numbers[f"sr_running_{kind}_norms"])
    if form == "squared":
        gradients = [parameter.grad.norm() for parameter in model.parameters()]  # type: ignore[union-attr]
        torch.testing.assert_close(
            torch.stack(gradients),
            torch.from_numpy(numbers["sr_grad_norms"]),
            rtol=1e-8,
            atol=1e-10,
        )
