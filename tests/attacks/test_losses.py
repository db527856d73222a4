"""The losses that attacks maximise, by hand."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.attacks.losses import LOSSES, cross_entropy, dlr, margin, targeted_dlr

LOGITS = torch.tensor(
    [[5.0, 1.0, 3.0, 2.0, 0.0], [5.0, 1.0, 3.0, 2.0, 0.0], [0.0, -4.0, -1.0, -2.0, -8.0]],
    dtype=torch.float64,
)
LABELS = torch.tensor([0, 3, 2])


def test_cross_entropy_and_margin_by_hand() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 2, 1])
    assert margin(logits, labels).tolist() == [-1.0, 2.0, 0.0]
    spread = math.log(1 + math.exp(-1) + math.exp(-2))
    assert cross_entropy(logits, labels).tolist() == pytest.approx(
        [spread, 2 + spread, math.log(3)]
    )


def test_dlr_by_hand() -> None:
    # Sorted: 5, 3, 2, 1, 0 twice, then 0, -1, -2, -4, -8: the differences of first and third.
    expected = [(3 - 5) / (5 - 2), (5 - 2) / (5 - 2), (0 - -1) / (0 - -2)]
    assert dlr(LOGITS, LABELS).tolist() == pytest.approx(expected)


def test_targeted_dlr_by_hand() -> None:
    # The scale is the first less the mean of the third and fourth.
    loss = targeted_dlr(torch.tensor([1, 0, 4]))
    expected = [(1 - 5) / (5 - 1.5), (5 - 2) / (5 - 1.5), (-8 - -1) / (0 - -3)]
    assert loss(LOGITS, LABELS).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [dlr, targeted_dlr(torch.tensor([1, 0, 4]))])
@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_no_scaling_or_shift_changes_dlr(loss: object, factor: float) -> None:
    assert callable(loss)
    torch.testing.assert_close(loss(factor * LOGITS - 3.0, LABELS), loss(LOGITS, LABELS))


def test_dlr_differentiates_its_denominator() -> None:
    logits = torch.tensor([[5.0, 1.0, 3.0, 2.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(dlr(logits, torch.tensor([0])).sum(), logits)
    # (3 - 5) / (5 - 2): by the first -1/3 + 2/9, by the second 1/3, by the third -2/9.
    assert gradient[0].tolist() == pytest.approx([-1 / 9, 0.0, 1 / 3, -2 / 9])


def test_too_few_classes_for_dlr() -> None:
    two, three = torch.zeros(1, 2), torch.tensor([[0.0, 1.0, 2.0]])
    label = torch.tensor([0])
    with pytest.raises(ValueError, match=r"at least 3 classes, got 2.*margin"):
        dlr(two, label)
    assert dlr(three, label).item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"at least 4 classes, got 3.*margin"):
        targeted_dlr(torch.tensor([1]))(three, label)


def test_margin_and_dlr_keep_their_gradient_where_cross_entropy_saturates() -> None:
    logits = torch.tensor([[800.0, 0.0, -800.0]], requires_grad=True)

    def gradient(name: str) -> Tensor:
        return torch.autograd.grad(LOSSES[name](logits, torch.tensor([0])).sum(), logits)[0][0]

    assert gradient("cross_entropy").tolist() == [0.0, 0.0, 0.0]
    assert gradient("margin").tolist() == [-1.0, 1.0, 0.0]
    assert gradient("dlr").tolist() == pytest.approx([-1 / 3200, 1 / 1600, -1 / 3200])
