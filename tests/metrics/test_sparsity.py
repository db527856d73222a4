"""Gradient sparsity: by hand, free of scale, within the bound of Theorem 4.3."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.logits import rival_class, two_class_probability
from pipeline.metrics import gradient_sparsity
from pipeline.metrics.sparsity import margin_gradient_norms, probability_gradient


def of(*values: float) -> dict[str, float]:
    """The metrics of one gradient."""
    gradient = torch.tensor([values], dtype=torch.float64)
    return {name: value.item() for name, value in gradient_sparsity(gradient).items()}


@pytest.mark.parametrize(
    ("gradient", "l1", "l2", "l0", "density", "hoyer"),
    [
        ((3, 4, 0), 7, 5, 2, 49 / 25, (3**0.5 - 7 / 5) / (3**0.5 - 1)),
        ((-3, 4, 0), 7, 5, 2, 49 / 25, (3**0.5 - 7 / 5) / (3**0.5 - 1)),
        ((0, 0, -2, 0), 2, 2, 1, 1, 1),
        ((1, -1, 1, 1), 4, 2, 4, 4, 0),
        ((1, 1e-9, 0, 0), 1, 1, 1, 1, 1),
    ],
)
def test_by_hand(
    gradient: tuple[float, ...], l1: float, l2: float, l0: float, density: float, hoyer: float
) -> None:
    values = of(*gradient)
    assert values["gradient_l1"] == pytest.approx(l1)
    assert values["gradient_l2"] == pytest.approx(l2)
    assert values["gradient_l0"] == l0
    assert values["gradient_density"] == pytest.approx(density)
    assert values["hoyer"] == pytest.approx(hoyer, abs=1e-8)


def test_one_value_a_sample_whatever_the_shape() -> None:
    values = gradient_sparsity(torch.randn(5, 3, 4, 4))
    assert {name: value.shape for name, value in values.items()} == dict.fromkeys(
        ("gradient_l1", "gradient_l2", "gradient_l0", "gradient_density", "hoyer"), (5,)
    )


def test_a_zero_gradient_has_no_density() -> None:
    values = of(0, 0, 0)
    assert (values["gradient_l1"], values["gradient_l2"], values["gradient_l0"]) == (0, 0, 0)
    assert values["gradient_density"] != values["gradient_density"]
    assert values["hoyer"] != values["hoyer"]


COMPONENTS = st.one_of(st.just(0.0), st.floats(1e-3, 1e3), st.floats(-1e3, -1e-3))
GRADIENTS = st.lists(COMPONENTS, min_size=2, max_size=40)


@given(GRADIENTS)
def test_density_lies_between_one_and_l0(gradient: list[float]) -> None:
    assume(any(gradient))
    values = of(*gradient)
    assert 1 - 1e-9 <= values["gradient_density"] <= values["gradient_l0"] * (1 + 1e-9)
    assert -1e-9 <= values["hoyer"] <= 1 + 1e-9


@given(GRADIENTS, st.floats(1e-12, 1e12))
def test_no_rescaling_changes_density_and_hoyer(gradient: list[float], scale: float) -> None:
    assume(any(gradient))
    plain, scaled = of(*gradient), of(*(scale * value for value in gradient))
    for name in ("gradient_density", "hoyer", "gradient_l0"):
        assert scaled[name] == pytest.approx(plain[name], rel=1e-9, abs=1e-9)
    assert scaled["gradient_l1"] == pytest.approx(scale * plain["gradient_l1"], rel=1e-9)


def test_tiny_gradients_of_single_precision_keep_their_density() -> None:
    gradient = torch.tensor([[3e-30, 4e-30, 0.0]])
    assert gradient_sparsity(gradient)["gradient_density"].item() == pytest.approx(49 / 25)


def test_probability_gradient_by_hand() -> None:
    # f_y = sigmoid((w_y - w_rival) x); its gradient is f_y (1 - f_y) (w_y - w_rival).
    weight = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]], dtype=torch.float64)
    images = torch.tensor([[1.0, 0.25]], dtype=torch.float64)

    def linear(x: Tensor) -> Tensor:
        return x @ weight.T

    gradient, value = probability_gradient(linear, images, torch.tensor([0]))
    chance = torch.sigmoid(torch.tensor(0.5, dtype=torch.float64)).item()
    assert value.item() == pytest.approx(chance)
    slope = chance * (1 - chance)
    assert gradient.tolist()[0] == pytest.approx([slope, -2 * slope])


def test_rival_and_two_class_probability_by_hand() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [1e4, 0.0, -1e4]])
    labels = torch.tensor([0, 1, 2])
    rival = rival_class(logits, labels)
    assert rival.tolist() == [1, 2, 0]
    values = two_class_probability(logits, labels, rival).tolist()
    # No overflow, where exp(1e4) would be infinite.
    assert values == pytest.approx([0.11920292, 0.73105858, 0.0])


def test_margin_gradient_is_that_of_f_y_without_its_saturation() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)
    ).double()
    images = torch.rand(5, 6, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0])
    gradient, chance = probability_gradient(network, images, labels)
    steep = margin_gradient_norms(network, images, labels)
    norms = gradient_sparsity(gradient)
    for name in ("l1", "l2"):
        expected = norms[f"gradient_{name}"] / (chance * (1 - chance))
        torch.testing.assert_close(steep[f"margin_gradient_{name}"], expected)


def test_margin_gradient_by_hand() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])
    images = torch.tensor([[1.0, 0.25]])
    values = margin_gradient_norms(lambda x: x @ weight.T, images, torch.tensor([0]))
    assert values["margin_gradient_l1"].item() == pytest.approx(3)
    assert values["margin_gradient_l2"].item() == pytest.approx(5**0.5)
