"""FGSM and PGD against foolbox 3.3.4."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.attacks import FGSMConfig, PGDConfig, build_attack

foolbox = pytest.importorskip(
    "foolbox", reason="foolbox 3.3.4 is a third opinion on PGD; install the extra 'test'"
)
Batch = Callable[..., tuple[Tensor, Tensor]]


def theirs(attack: Any, model: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    peer = foolbox.PyTorchModel(model, bounds=(0, 1))
    _, clipped, _ = attack(peer, images, labels, epsilons=epsilon)
    return clipped


@pytest.mark.parametrize("network", ["smooth", "curved"])
@pytest.mark.parametrize("epsilon", [2 / 255, 8 / 255, 0.3])
def test_fgsm(request: pytest.FixtureRequest, batch: Batch, network: str, epsilon: float) -> None:
    model = request.getfixturevalue(network).eval()
    images, labels = batch()
    ours = build_attack(FGSMConfig(), epsilon)(model, images, labels)
    peer = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    torch.testing.assert_close(
        ours, theirs(peer, model, images, labels, epsilon), rtol=0, atol=1e-12
    )
    assert not torch.equal(ours, images)


@pytest.mark.parametrize("network", ["smooth", "curved"])
@pytest.mark.parametrize("num_steps", range(1, 9))
@pytest.mark.parametrize("relative", [False, True])
def test_pgd_iterate_for_iterate(
    request: pytest.FixtureRequest, batch: Batch, network: str, num_steps: int, relative: bool
) -> None:
    model = request.getfixturevalue(network).eval()
    images, labels = batch()
    epsilon, alpha = 8 / 255, 0.01
    settings: Any = {"relative_step_size": 0.3} if relative else {"step_size": alpha}
    config = PGDConfig(num_steps=num_steps, random_start=False, **settings)
    ours = build_attack(config, epsilon)(model, images, labels)
    same: Any = {"rel_stepsize": 0.3} if relative else {"abs_stepsize": alpha}
    peer = foolbox.attacks.LinfPGD(steps=num_steps, random_start=False, **same)
    torch.testing.assert_close(
        ours, theirs(peer, model, images, labels, epsilon), rtol=0, atol=1e-12
    )
    assert not torch.equal(ours, images)


def test_pgd_on_spikes(spiking_ten: nn.Module, batch: Batch) -> None:
    """A rounding in the last digit can flip a spike, and with it a sample's way: 3 % may differ."""
    model = spiking_ten.double()
    images, _ = batch(count=150)
    with torch.no_grad():
        labels = model(images).argmax(1)
    config = PGDConfig(num_steps=10, step_size=0.002, random_start=False)
    ours = build_attack(config, 0.01)(model, images, labels)
    peer = foolbox.attacks.LinfPGD(abs_stepsize=0.002, steps=10, random_start=False)
    other = theirs(peer, model, images, labels, 0.01)
    with torch.no_grad():
        fooled, broken = (model(found).argmax(1) != labels for found in (ours, other))
    assert 0.2 < float(fooled.double().mean()) < 0.8
    assert float((fooled == broken).double().mean()) >= 0.97
    close = (ours - other).abs().flatten(1).amax(1) < 1e-9
    assert float(close.double().mean()) >= 0.97
