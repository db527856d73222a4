"""What holds for every attack. A new attack adds one row to `ROWS`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import GradientEstimator, oracle
from models.neurons import SpikingNeurons
from pipeline.attacks import (
    ATTACKS,
    FLIPPING,
    WITHOUT_GRADIENT,
    APGDConfig,
    FGSMConfig,
    NoiseConfig,
    Oracle,
    PGDConfig,
    RFGSMConfig,
    SampleDraws,
    SAPGDConfig,
    SquareConfig,
    build_attack,
)
from pipeline.seeding import seeded

Batch = Callable[..., tuple[Tensor, Tensor]]
ROWS: dict[str, Any] = {
    "fgsm": FGSMConfig(),
    "fgsm-margin": FGSMConfig(loss="margin"),
    "fgsm-dlr": FGSMConfig(loss="dlr"),
    "rfgsm": RFGSMConfig(),
    "rfgsm-margin": RFGSMConfig(loss="margin"),
    "rfgsm-rat": RFGSMConfig(convention="rat"),
    "rfgsm-alpha": RFGSMConfig(convention="rat", alpha=0.01),
    "pgd": PGDConfig(num_steps=4, step_size=0.01),
    "pgd-relative": PGDConfig(num_steps=4, random_start=False),
    "pgd-any": PGDConfig(num_steps=4, iterate="any"),
    "pgd-any-margin": PGDConfig(num_steps=4, iterate="any", loss="margin", random_start=False),
    "pgd-margin": PGDConfig(num_steps=4, loss="margin", random_start=False),
    "pgd-dlr-restarts": PGDConfig(num_steps=3, loss="dlr", num_restarts=3),
    "pgd-long-steps": PGDConfig(num_steps=3, step_size=2.0),
    "apgd": APGDConfig(num_steps=5),
    "apgd-once": APGDConfig(num_steps=1),
    "apgd-dlr": APGDConfig(num_steps=4, loss="dlr"),
    "apgd-margin-restarts": APGDConfig(num_steps=3, loss="margin", num_restarts=2),
    "apgd-targeted": APGDConfig(num_steps=3, loss="targeted_dlr"),
    "apgd-targeted-once": APGDConfig(num_steps=3, loss="targeted_dlr", num_targets=1),
    "sa_pgd": SAPGDConfig(num_steps=4),
    "sa_pgd-last": SAPGDConfig(num_steps=4, iterate="last", loss="margin"),
    "sa_pgd-restarts": SAPGDConfig(num_steps=3, loss="dlr", num_restarts=2),
    "square": SquareConfig(num_queries=12),
    "square-small": SquareConfig(num_queries=8, share=0.1, num_restarts=2),
    "noise": NoiseConfig(num_draws=3),
    "noise-once": NoiseConfig(num_draws=1),
    "noise-corners": NoiseConfig(num_draws=3, distribution="corners"),
}
DETERMINISTIC = [
    "fgsm",
    "fgsm-margin",
    "fgsm-dlr",
    "pgd-relative",
    "pgd-any-margin",
    "pgd-margin",
]
EVERY_ROW = pytest.mark.parametrize("row", ROWS)
GRADIENT_ROWS = [row for row in ROWS if ROWS[row].method not in WITHOUT_GRADIENT]
ON_SPIKES = [
    *((method, row) for method in (None, "assg") for row in ROWS if not row.startswith("square")),
    *((method, row) for method in ("pdsg", "hart", "rga", "relu") for row in GRADIENT_ROWS),
]
"""Without a gradient one oracle is as good as another, but for the one that remembers.

A square that no spike notices leaves the loss equal but for rounding, which hangs on the batch;
whether it is kept hangs on that. So Square is asked on the smooth network alone.
"""


def test_every_attack_has_a_row() -> None:
    # FAB is its authors' code, in float32, with draws of its own: test_fab.py. Flips are no ball:
    # test_flips.py.
    elsewhere = {"fab", "nothing", *FLIPPING}
    assert {config.method for config in ROWS.values()} == set(ATTACKS) - elsewhere


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
# The fixtures are built once for all examples, and no example changes them.
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(epsilon=st.floats(0, 1), seed=st.integers(0, 2**62), frequency=st.floats(0.1, 30))
def test_stays_in_a_ball_of_any_size(
    batch: Batch, row: str, epsilon: float, seed: int, frequency: float
) -> None:
    images, labels = batch(torch.float32, count=3)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(192, 5, generator=generator)

    def wavy(x: Tensor) -> Tensor:
        return torch.sin(frequency * (x.flatten(1) @ weights)) + x.flatten(1) @ weights.roll(1, 1)

    draws = SampleDraws(torch.arange(3) + seed, seed)
    asked = Oracle.of(wavy, labels, draws=draws)
    adversarial = build_attack(ROWS[row], epsilon)(asked, images, labels)
    assert float((adversarial - images).abs().max()) <= epsilon * (1 + 1e-6) + 1e-7
    assert float(adversarial.min()) >= 0
    assert float(adversarial.max()) <= 1


@EVERY_ROW
def test_radius_zero_returns_the_images(spiking: nn.Module, batch: Batch, row: str) -> None:
    images, labels = batch(torch.float32)
    assert torch.equal(build_attack(ROWS[row], 0.0)(spiking, images, labels), images)


@EVERY_ROW
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("method", [None, "assg"])
def test_leaves_its_inputs_and_the_model_alone(
    spiking: nn.Module, batch: Batch, row: str, training: bool, method: Any
) -> None:
    images, labels = batch(torch.float32)
    spiking.train(training)
    parameters = {name for name, _ in spiking.named_parameters()}
    state = {name: value.clone() for name, value in spiking.state_dict().items()}
    layers = [layer for layer in spiking.modules() if isinstance(layer, SpikingNeurons)]
    estimators = [layer.estimator for layer in layers]
    before = images.clone(), labels.clone()
    asked = oracle(spiking, GradientEstimator(method=method)) if method else spiking
    build_attack(ROWS[row], 0.1)(asked, images, labels)
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    assert not images.requires_grad
    assert images.grad is None
    assert all(module.training is training for module in spiking.modules())
    for name, value in spiking.state_dict().items():
        # In training mode batch norm counts what it sees, whoever asks.
        if name in parameters or not training:
            assert torch.equal(value, state[name]), name
    for parameter in spiking.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
    assert [layer.estimator for layer in layers] == estimators
    assert all(layer.memory is None for layer in layers)


@EVERY_ROW
def test_is_the_same_under_the_same_seed(spiking: nn.Module, batch: Batch, row: str) -> None:
    images, labels = batch(torch.float32)
    results = []
    for seed in (1, 1, 2):
        with seeded(seed):
            results.append(build_attack(ROWS[row], 0.1)(spiking, images, labels))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2]) is (row in DETERMINISTIC)


SEEDS = torch.tensor([3, -5, 2**62 + 1, 0, 17, -(2**60), 99])


def with_own_draws(row: str, classifier: Any, images: Tensor, labels: Tensor) -> Any:
    """The attack on some of the samples, as a function of their positions."""
    attack = build_attack(ROWS[row], 0.03)

    def on(positions: list[int]) -> Tensor:
        draws = SampleDraws(SEEDS[positions], 11)
        asked = Oracle.of(classifier, labels[positions], draws=draws)
        return attack(asked, images[positions], labels[positions])

    return on


def check_that_the_batch_does_not_matter(on: Any, alone: list[int]) -> None:
    together = on(list(range(7)))
    order = [4, 0, 6, 3, 1, 5, 2]
    torch.testing.assert_close(on(order), together[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(on([5, 2, 1]), together[[5, 2, 1]], rtol=0, atol=1e-12)
    for sample in alone:
        torch.testing.assert_close(on([sample])[0], together[sample], rtol=0, atol=1e-12)


@EVERY_ROW
def test_a_sample_does_not_depend_on_its_batch(smooth: nn.Module, batch: Batch, row: str) -> None:
    images, labels = batch(torch.float64)
    with torch.no_grad():
        # Some stand and some are wrong from the start: attacks that drop the fooled drop some.
        labels[::2] = smooth(images).argmax(1)[::2]
    on = with_own_draws(row, smooth, images, labels)
    check_that_the_batch_does_not_matter(on, alone=list(range(7)))


@pytest.mark.parametrize(("method", "row"), ON_SPIKES)
def test_a_sample_does_not_depend_on_its_batch_on_spikes(
    spiking: nn.Module, batch: Batch, method: Any, row: str
) -> None:
    """In float64, where no rounding flips a spike; oracles with a memory take it along."""
    spiking.double()
    images, labels = batch(torch.float64)
    with torch.no_grad():
        labels[1::2] = spiking(images).argmax(1)[1::2]
    classifier = oracle(spiking, GradientEstimator(method=method)) if method else spiking
    on = with_own_draws(row, classifier, images, labels)
    check_that_the_batch_does_not_matter(on, alone=[3, 4])


@EVERY_ROW
def test_samples_with_the_same_image_draw_for_themselves(
    curved: nn.Module, batch: Batch, row: str
) -> None:
    images, labels = batch(torch.float64)
    images, labels = images[:1].expand(7, -1, -1, -1), labels[:1].expand(7)
    result = with_own_draws(row, curved, images, labels)(list(range(7)))
    same = bool((result == result[:1]).all())
    assert same is (row in DETERMINISTIC)


@EVERY_ROW
def test_costs_no_more_gradients_than_the_config_says(
    smooth: nn.Module, batch: Batch, row: str
) -> None:
    images, _ = batch(torch.float64)
    with torch.no_grad():
        labels = smooth(images).argmax(1)
    asked = Oracle.of(smooth, labels)
    # A radius so small that nobody is fooled: everybody goes all the way.
    build_attack(ROWS[row], 1e-4)(asked, images, labels)
    config = ROWS[row]
    said = config.gradient_steps // getattr(config, "num_restarts", 1)
    if row == "apgd-targeted":
        # Of the nine targets only three are there.
        assert (config.num_targets, said) == (9, 4 * 9)
        said = 4 * 3
    assert asked.cost.backward.tolist() == [said] * len(images)
    assert bool((asked.cost.forward >= asked.cost.backward).all())


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


class _BrokenGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * torch.nan


@pytest.mark.parametrize("row", GRADIENT_ROWS)
@pytest.mark.parametrize("label", [0, 3])
@pytest.mark.parametrize("good_calls", [0, 2])
def test_a_gradient_that_is_no_number_does_not_pass_for_robustness(
    row: str, label: int, good_calls: int
) -> None:
    """The network says its label whatever comes, a NaN included, as spikes do."""
    calls = 0

    def steadfast(images: Tensor) -> Tensor:
        nonlocal calls
        calls += images.requires_grad
        seen = images if calls <= good_calls else _BrokenGradient.apply(images)
        score = 0.01 * torch.nan_to_num(seen).flatten(1).mean(1, keepdim=True)
        return torch.nn.functional.one_hot(torch.tensor([label]), 4) + score * torch.arange(4.0)

    attack = build_attack(ROWS[row], 0.1)
    images = torch.full((1, 1, 4, 4), 0.5)
    if ROWS[row].gradient_steps <= good_calls:
        assert torch.isfinite(attack(steadfast, images, torch.tensor([label]))).all()
        return
    with pytest.raises(ArithmeticError):
        attack(steadfast, images, torch.tensor([label]))
