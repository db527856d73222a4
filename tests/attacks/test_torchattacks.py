"""FGSM, RFGSM and PGD against torchattacks 3.2.7, the version the paper's numbers came from."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.attacks import FGSMConfig, PGDConfig, RFGSMConfig, build_attack

torchattacks = pytest.importorskip(
    "torchattacks", reason="torchattacks 3.2.7 is what to compare with; install the extra 'test'"
)
Batch = Callable[[], tuple[Tensor, Tensor]]
EPSILON = 8 / 255


def same(ours: Tensor, theirs: Tensor, images: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert not torch.equal(ours, images)


@pytest.mark.parametrize("epsilon", [2 / 255, EPSILON, 0.3])
def test_fgsm(smooth: nn.Module, batch: Batch, epsilon: float) -> None:
    images, labels = batch()
    ours = build_attack(FGSMConfig(), epsilon)(smooth, images, labels)
    same(ours, torchattacks.FGSM(smooth, eps=epsilon)(images, labels), images)


@pytest.mark.parametrize(
    ("epsilon", "alpha"), [(EPSILON, 8 / 255), (2 / 255, 8 / 255), (0.1, 0.02)]
)
def test_rfgsm(smooth: nn.Module, batch: Batch, epsilon: float, alpha: float) -> None:
    images, labels = batch()
    torch.manual_seed(1)
    ours = build_attack(RFGSMConfig(alpha=alpha), epsilon)(smooth, images, labels)
    torch.manual_seed(1)
    theirs = torchattacks.RFGSM(smooth, eps=epsilon, alpha=alpha, steps=1)(images, labels)
    same(ours, theirs, images)


def test_rfgsm_at_its_defaults(smooth: nn.Module, batch: Batch) -> None:
    images, labels = batch()
    torch.manual_seed(2)
    ours = build_attack(RFGSMConfig(), EPSILON)(smooth, images, labels)
    torch.manual_seed(2)
    same(ours, torchattacks.RFGSM(smooth, eps=EPSILON)(images, labels), images)


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("num_steps", range(1, 8))
def test_pgd_iterate_for_iterate(
    smooth: nn.Module, batch: Batch, num_steps: int, random_start: bool
) -> None:
    images, labels = batch()
    config = PGDConfig(num_steps=num_steps, step_size=0.01, random_start=random_start)
    torch.manual_seed(3)
    ours = build_attack(config, EPSILON)(smooth, images, labels)
    torch.manual_seed(3)
    peer = torchattacks.PGD(
        smooth, eps=EPSILON, alpha=0.01, steps=num_steps, random_start=random_start
    )
    same(ours, peer(images, labels), images)
