"""What holds for every attack. A new attack adds one row to `ROWS`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.attacks import (
    ATTACKS,
    FGSMConfig,
    NoiseConfig,
    PGDConfig,
    RFGSMConfig,
    build_attack,
)
from pipeline.seeding import seeded

Batch = Callable[[torch.dtype], tuple[Tensor, Tensor]]
ROWS: dict[str, Any] = {
    "fgsm": FGSMConfig(),
    "fgsm-margin": FGSMConfig(loss="margin"),
    "rfgsm": RFGSMConfig(),
    "rfgsm-margin": RFGSMConfig(loss="margin"),
    "rfgsm-rat": RFGSMConfig(convention="rat"),
    "rfgsm-alpha": RFGSMConfig(convention="rat", alpha=0.01),
    "pgd": PGDConfig(num_steps=4, step_size=0.01),
    "pgd-relative": PGDConfig(num_steps=4, random_start=False),
    "pgd-any": PGDConfig(num_steps=4, iterate="any"),
    "pgd-any-margin": PGDConfig(num_steps=4, iterate="any", loss="margin", random_start=False),
    "pgd-margin": PGDConfig(num_steps=4, loss="margin", random_start=False),
    "pgd-long-steps": PGDConfig(num_steps=3, step_size=2.0),
    "noise": NoiseConfig(num_draws=3),
    "noise-once": NoiseConfig(num_draws=1),
}
DETERMINISTIC = ["fgsm", "fgsm-margin", "pgd-relative", "pgd-any-margin", "pgd-margin"]
EVERY_ROW = pytest.mark.parametrize("row", ROWS)


def test_every_attack_has_a_row() -> None:
    assert {config.method for config in ROWS.values()} == set(ATTACKS)


@EVERY_ROW
@pytest.mark.parametrize("epsilon", [8 / 255, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stays_in_ball_and_box(
    smooth: nn.Module, batch: Batch, row: str, epsilon: float, dtype: torch.dtype
) -> None:
    images, labels = batch(dtype)
    adversarial = build_attack(ROWS[row], epsilon)(smooth.to(dtype), images, labels)
    assert float((adversarial - images).abs().max()) <= epsilon + 1e-6
    assert float(adversarial.min()) >= 0
    assert float(adversarial.max()) <= 1
    assert (adversarial.dtype, adversarial.shape, adversarial.device) == (
        images.dtype,
        images.shape,
        images.device,
    )
    assert not adversarial.requires_grad
    # The ball is used, not merely respected (RFGSM may step back to where it came from).
    assert float((adversarial - images).abs().max()) > min(epsilon, 8 / 255) / 4


@EVERY_ROW
def test_radius_zero_returns_the_images(spiking: nn.Module, batch: Batch, row: str) -> None:
    images, labels = batch(torch.float32)
    assert torch.equal(build_attack(ROWS[row], 0.0)(spiking, images, labels), images)


@EVERY_ROW
@pytest.mark.parametrize("training", [False, True])
def test_leaves_its_inputs_and_the_model_alone(
    spiking: nn.Module, batch: Batch, row: str, training: bool
) -> None:
    images, labels = batch(torch.float32)
    spiking.train(training)
    weights = {name: value.clone() for name, value in spiking.named_parameters()}
    before = images.clone(), labels.clone()
    build_attack(ROWS[row], 0.1)(spiking, images, labels)
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    assert not images.requires_grad
    assert images.grad is None
    assert all(module.training is training for module in spiking.modules())
    for name, parameter in spiking.named_parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
        assert torch.equal(parameter, weights[name])


@EVERY_ROW
def test_is_the_same_under_the_same_seed(spiking: nn.Module, batch: Batch, row: str) -> None:
    images, labels = batch(torch.float32)
    results = []
    for seed in (1, 1, 2):
        with seeded(seed):
            results.append(build_attack(ROWS[row], 0.1)(spiking, images, labels))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2]) is (row in DETERMINISTIC)


@pytest.mark.parametrize("row", DETERMINISTIC)
def test_a_sample_does_not_depend_on_its_batch(smooth: nn.Module, batch: Batch, row: str) -> None:
    images, labels = batch(torch.float64)
    attack = build_attack(ROWS[row], 0.05)
    together = attack(smooth, images, labels)
    alone = [attack(smooth, images[i : i + 1], labels[i : i + 1]) for i in range(len(images))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)
    backwards = attack(smooth, images.flip(0), labels.flip(0)).flip(0)
    torch.testing.assert_close(together, backwards, rtol=0, atol=1e-12)


@EVERY_ROW
def test_works_where_gradients_are_off(spiking: nn.Module, batch: Batch, row: str) -> None:
    images, labels = batch(torch.float32)
    attack = build_attack(ROWS[row], 0.1)
    with seeded(0):
        usual = attack(spiking, images, labels)
    with torch.no_grad(), seeded(0):
        assert torch.equal(attack(spiking, images, labels), usual)


@EVERY_ROW
def test_takes_a_single_image(smooth: nn.Module, batch: Batch, row: str) -> None:
    images, labels = batch(torch.float64)
    assert build_attack(ROWS[row], 0.1)(smooth, images[:1], labels[:1]).shape == images[:1].shape
