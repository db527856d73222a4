"""FGSM, RFGSM, PGD and APGD against torchattacks 3.2.7, which the paper's numbers came from."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.attacks import APGDConfig, FGSMConfig, PGDConfig, RFGSMConfig, build_attack

torchattacks = pytest.importorskip(
    "torchattacks", reason="torchattacks 3.2.7 is what to compare with; install the extra 'test'"
)
Batch = Callable[..., tuple[Tensor, Tensor]]
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
@pytest.mark.parametrize("network", ["smooth", "curved"])
def test_pgd_iterate_for_iterate(
    request: pytest.FixtureRequest,
    batch: Batch,
    network: str,
    num_steps: int,
    random_start: bool,
) -> None:
    images, labels = batch()
    model = request.getfixturevalue(network)
    config = PGDConfig(num_steps=num_steps, step_size=0.01, random_start=random_start)
    torch.manual_seed(3)
    ours = build_attack(config, EPSILON)(model, images, labels)
    torch.manual_seed(3)
    peer = torchattacks.PGD(
        model, eps=EPSILON, alpha=0.01, steps=num_steps, random_start=random_start
    )
    same(ours, peer(images, labels), images)


def apgd_ce(
    model: nn.Module, images: Tensor, epsilon: float, num_steps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Labels, our images, theirs, and which of ours fool; theirs attacks what is right alone."""
    with torch.no_grad():
        labels = model(images).argmax(1)
    torch.manual_seed(0)
    ours = build_attack(APGDConfig(num_steps=num_steps), epsilon)(model, images, labels)
    peer: Any = torchattacks.APGD(model, eps=epsilon, steps=num_steps, seed=0)
    theirs = peer(images, labels)
    with torch.no_grad():
        return labels, ours, theirs, model(ours).argmax(1) != labels


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_steps", [*range(1, 13), 30, 50, 100])
def test_apgd_iterate_for_iterate(curved: nn.Module, batch: Batch, num_steps: int) -> None:
    images, _ = batch(count=30)
    labels, ours, theirs, fooled = apgd_ce(curved, images, 0.015, num_steps)
    assert 5 < int(fooled.sum()) < 25
    torch.testing.assert_close(ours[fooled], theirs[fooled], rtol=0, atol=1e-11)
    # What it does not break it gives back as it was.
    assert torch.equal(theirs[~fooled], images[~fooled])


@pytest.mark.usefixtures("float64")
def test_apgd_on_spikes(spiking_ten: nn.Module, batch: Batch) -> None:
    """A rounding in the last digit can flip a spike, and with it a sample's way: 3 % may differ."""
    images, _ = batch(count=150)
    labels, ours, theirs, fooled = apgd_ce(spiking_ten.double(), images, 0.01, 20)
    with torch.no_grad():
        broken = spiking_ten(theirs).argmax(1) != labels
    assert 0.2 < float(fooled.double().mean()) < 0.8
    assert float((fooled == broken).double().mean()) >= 0.97
    both = fooled & broken
    close = (ours[both] - theirs[both]).abs().flatten(1).amax(1) < 1e-9
    assert float(close.double().mean()) >= 0.97
