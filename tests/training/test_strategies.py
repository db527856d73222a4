"""What a step of each strategy trains on, in which mode, and what it does to the weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import GradientEstimator, SpikingClassifier, oracle
from pipeline.attacks import FGSMConfig, PGDConfig, RFGSMConfig, build_attack
from pipeline.seeding import seeded
from pipeline.training import STRATEGIES, build_strategy
from pipeline.training.adversarial import ATConfig
from pipeline.training.config import TrainingConfig
from pipeline.training.gradient_regularization import GRConfig
from pipeline.training.loop import build_optimizer, training_step
from pipeline.training.rat import RATConfig
from pipeline.training.sparsity import SRConfig, SRStarConfig
from pipeline.training.vanilla import VanillaConfig

Make = Callable[[], SpikingClassifier]
Batch = tuple[Tensor, Tensor]
ROWS: dict[str, Any] = {
    "vanilla": VanillaConfig(method="vanilla"),
    "at": ATConfig(method="at", epsilon=0.1, step_size=0.05, num_steps=3),
    "at-rates": ATConfig(method="at", epsilon=0.1, step_size=0.05, num_steps=3, estimator="bptr"),
    "at-fgsm": ATConfig(method="at", attack="fgsm", epsilon=0.1),
    "rat": RATConfig(method="rat", epsilon=0.1),
    "rat-pgd": RATConfig(method="rat", attack="pgd", estimator="stbp", epsilon=0.1),
    "gr": GRConfig(method="gr", gradient_weight=0.01),
    "sr": SRConfig(method="sr", sparsity_weight=0.01),
    "sr_star": SRStarConfig(method="sr_star", sparsity_weight=0.01, epsilon=0.1, step_size=0.05),
}
EVERY_ROW = pytest.mark.parametrize("row", ROWS)


@dataclass
class Call:
    """One forward pass of the network."""

    training: bool
    images: Tensor
    num_batches: int
    """That batch norm has counted before it."""


def recorded(model: SpikingClassifier, config: Any, batch: Batch, rate: float = 0.0) -> list[Call]:
    """The forward passes of one step, under seed 1."""
    calls: list[Call] = []
    counter = dict(model.named_buffers())["features.1.num_batches_tracked"]
    handle = model.register_forward_pre_hook(
        lambda m, arguments: calls.append(Call(m.training, arguments[0].detach(), int(counter)))
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    with seeded(1):
        training_step(model, optimizer, build_strategy(config), *batch)
    handle.remove()
    return calls


def test_every_strategy_has_a_row() -> None:
    assert {config.method for config in ROWS.values()} == set(STRATEGIES)


@EVERY_ROW
def test_a_step_leaves_training_mode_on(spiking: Make, batch: Batch, row: str) -> None:
    for before in (False, True):
        model = spiking().train(before)
        images = batch[0].clone()
        recorded(model, ROWS[row], batch)
        assert all(module.training for module in model.modules())
        assert torch.equal(batch[0], images)
        assert not batch[0].requires_grad


@EVERY_ROW
def test_every_parameter_learns(spiking: Make, batch: Batch, row: str) -> None:
    model = spiking()
    before = {name: value.clone() for name, value in model.named_parameters()}
    recorded(model, ROWS[row], batch, rate=0.1)
    for name, value in model.named_parameters():
        # A convolution's bias before batch norm has no effect, hence next to no gradient.
        if not (name.endswith("bias") and value.shape[0] in (4, 6)):
            assert not torch.equal(value, before[name]), name


@EVERY_ROW
def test_steps_repeat_under_the_same_seed(spiking: Make, batch: Batch, row: str) -> None:
    states = []
    for _ in range(2):
        model = spiking()
        recorded(model, ROWS[row], batch, rate=0.1)
        states.append(model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


# A rate gradient takes a second, short call: the network at one time step.
NUM_CALLS = {
    "vanilla": (0, 1),
    "at": (3, 1),
    "at-rates": (6, 1),
    "at-fgsm": (1, 1),
    "rat": (2, 1),
    "rat-pgd": (2, 1),
    "gr": (0, 2),
    "sr": (0, 2),
    "sr_star": (5, 2),
}


@EVERY_ROW
def test_attacks_are_crafted_in_evaluation_mode(spiking: Make, batch: Batch, row: str) -> None:
    calls = recorded(spiking(), ROWS[row], batch)
    crafting, learning = NUM_CALLS[row]
    assert [call.training for call in calls] == [False] * crafting + [True] * learning
    # Crafting does not move batch norm's statistics; each pass in training mode does, once.
    assert [call.num_batches for call in calls] == [0] * crafting + list(range(learning))


def expected_attack(row: str, model: nn.Module, batch: Batch) -> Tensor:
    """The images a step should train on, made by the attack itself under the same seed."""
    model.eval()
    pgd = PGDConfig(num_steps={"at": 3, "at-rates": 3, "sr_star": 5}.get(row, 2), step_size=0.05)
    with seeded(1):
        if row == "at-fgsm":
            return build_attack(FGSMConfig(), 0.1)(model, *batch)
        if row.startswith("rat"):
            drawn = int(torch.randint(2 if row == "rat" else 1, ()))
            if row == "rat-pgd":
                pgd = PGDConfig(num_steps=2, step_size=1 / 255)
                return build_attack(pgd, 0.1)(model, *batch)
            config = [FGSMConfig(), RFGSMConfig(convention="rat")][drawn]
            target = oracle(model, GradientEstimator(method="bptr"))
            return build_attack(config, 0.1)(target, *batch)
        if row == "at-rates":
            return build_attack(pgd, 0.1)(oracle(model, GradientEstimator(method="bptr")), *batch)
        return build_attack(pgd, 0.1)(model, *batch)


@pytest.mark.parametrize("row", ["at", "at-rates", "at-fgsm", "rat", "rat-pgd", "sr_star"])
def test_training_sees_the_attacked_images(spiking: Make, batch: Batch, row: str) -> None:
    calls = recorded(spiking(), ROWS[row], batch)
    adversarial = next(call.images for call in calls if call.training)
    assert torch.equal(adversarial, expected_attack(row, spiking(), batch))
    moved = (adversarial - batch[0]).abs()
    assert 0.01 < float(moved.max()) <= 0.1 + 1e-6


def test_sr_star_moves_on_from_the_attacked_images(spiking: Make, batch: Batch) -> None:
    calls = recorded(spiking(), ROWS["sr_star"], batch)
    adversarial, moved = (call.images for call in calls if call.training)
    steps = (moved - adversarial).abs()
    assert bool(((steps - 0.01).abs().minimum(steps) < 1e-6).all())
    assert float((steps > 0.005).float().mean()) > 0.5


def test_rat_draws_both_of_its_attacks(spiking: Make, batch: Batch) -> None:
    model = spiking().eval()
    perturb = build_strategy(ROWS["rat"]).perturb
    assert perturb is not None
    kinds = set()
    for seed in range(12):
        with seeded(seed):
            moved = (perturb(model, *batch) - batch[0]).abs()
        # FGSM moves each pixel that has a gradient, RFGSM about every other one.
        kinds.add(float((moved > 0.05).float().mean()) > 0.7)
    assert kinds == {False, True}


@pytest.mark.parametrize("method", ["sr", "gr"])
def test_weight_zero_is_plain_training_step_for_step(
    spiking: Make, batch: Batch, method: str
) -> None:
    zero: Any = (
        SRConfig(method="sr", sparsity_weight=0.0)
        if method == "sr"
        else GRConfig(method="gr", gradient_weight=0.0)
    )
    states = []
    for config in (zero, ROWS["vanilla"]):
        model = spiking()
        optimizer = build_optimizer(model, TrainingConfig(), build_strategy(config))
        with seeded(5):
            results = [
                training_step(model, optimizer, build_strategy(config), *batch) for _ in range(3)
            ]
        states.append((results, model.state_dict()))
    assert states[0][0] == states[1][0]
    for name, value in states[0][1].items():
        assert torch.equal(value, states[1][1][name]), name


def test_sr_star_without_its_penalty_is_adversarial_training(spiking: Make, batch: Batch) -> None:
    attack = {"epsilon": 0.1, "step_size": 0.05, "num_steps": 2}
    states = []
    for config in (
        SRStarConfig(method="sr_star", sparsity_weight=0.0, **attack),  # type: ignore[arg-type]
        ATConfig(method="at", **attack),  # type: ignore[arg-type]
    ):
        model = spiking()
        recorded(model, config, batch, rate=0.1)
        states.append(model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_weight_decay_is_the_trainings_unless_rat_retracts(spiking: Make) -> None:
    def decay(config: Any) -> float:
        training = TrainingConfig(weight_decay=0.01)
        optimizer = build_optimizer(spiking(), training, build_strategy(config))
        (group,) = optimizer.param_groups
        assert len(group["params"]) == len(list(spiking().parameters()))
        return float(group["weight_decay"])

    assert decay(ROWS["vanilla"]) == 0.01
    assert decay(RATConfig(method="rat")) == 0.0
    assert decay(RATConfig(method="rat", weight_decay=0.002)) == 0.002
    assert decay(RATConfig(method="rat", beta=0.0)) == 0.01


def test_optimizer_step_by_hand() -> None:
    """Momentum 0.9 and weight decay 0.1 on one weight: v = 0.9 v + g + 0.1 w, w -= lr v."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    config = TrainingConfig(learning_rate=0.5, momentum=0.9, weight_decay=0.1)
    optimizer = build_optimizer(model, config, build_strategy(ROWS["vanilla"]))
    for _ in range(2):
        model.weight.grad = torch.full((1, 1), 0.2)
        optimizer.step()
    # v = 0.3, w = 0.85; v = 0.27 + 0.285 = 0.555, w = 0.5725.
    assert model.weight.item() == pytest.approx(0.5725)
