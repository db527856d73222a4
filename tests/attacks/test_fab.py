"""FAB-T through its authors' package: held to the ball, and leaving no trace."""

import pytest
import torch
from torch import Tensor, nn

from pipeline import threats
from pipeline.attacks import FABConfig, Oracle, build_attack
from pipeline.errors import ConfigError
from pipeline.threats import load_suite

pytest.importorskip("pyautoattack", reason="FAB is its authors' code; install the extra 'test'")


def right(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images).argmax(1)


def test_is_the_packages_own_result_within_the_radius(smooth: nn.Module, batch) -> None:
    from pyautoattack.fab_pt import FABAttack_PT

    network = smooth.float()
    images, _ = batch(torch.float32)
    labels, epsilon = right(network, images), 0.2
    theirs = FABAttack_PT(network, n_iter=10, eps=epsilon, targeted=True, n_target_classes=3)
    expected = theirs.perturb(images, labels)
    found = build_attack(FABConfig(num_steps=10), epsilon)(network, images, labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert bool((right(network, found) != labels).any())


@pytest.mark.parametrize("epsilon", [0.0, 8 / 255, 0.3])
def test_stays_in_ball_and_box(spiking: nn.Module, batch, epsilon: float) -> None:
    images, _ = batch(torch.float32)
    labels = right(spiking, images)
    found = build_attack(FABConfig(num_steps=5), epsilon)(spiking, images, labels)
    assert float((found - images).abs().max()) <= epsilon + 1e-6
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert epsilon or torch.equal(found, images)


def test_leaves_the_network_and_the_generator_alone(spiking: nn.Module, batch) -> None:
    images, _ = batch(torch.float32)
    labels = right(spiking, images)
    state = torch.get_rng_state()
    asked = Oracle.of(spiking, labels)
    build_attack(FABConfig(num_steps=3), 0.1)(asked, images, labels)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in spiking.parameters())
    assert bool((asked.cost.backward > 0).all())


def test_a_gradient_that_is_no_number_is_an_error(smooth: nn.Module, batch) -> None:
    images, _ = batch(torch.float32)
    network = smooth.float()
    labels = right(network, images)

    def broken(asked: Tensor) -> Tensor:
        # Finite logits; the root of zero has an infinite slope, and zero times that is NaN.
        return (
            network(asked) + (asked - asked.detach()).square().sum((1, 2, 3), True).sqrt()[:, 0, 0]
        )

    with pytest.raises(ArithmeticError, match="fab"):
        build_attack(FABConfig(num_steps=3), 0.1)(broken, images, labels)


def test_without_the_package_the_suite_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(threats, "installed", lambda: False)
    with pytest.raises(
        ConfigError, match=r"autoattack.yaml:12:3 .*fab-t.*spikeproof\[autoattack\]"
    ):
        load_suite("autoattack")
