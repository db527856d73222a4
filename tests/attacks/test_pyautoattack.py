"""APGD and Square against pyautoattack 0.2.0, the authors' own code as a package."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.attacks import APGDConfig, Ball, Oracle, SquareConfig, build_attack
from pipeline.attacks.apgd import ascend
from pipeline.attacks.losses import LOSSES, targeted_dlr
from pipeline.attacks.square import side, square

REASON = "pyautoattack 0.2.0 is the authors' code; install the extra 'test'"
autopgd = pytest.importorskip("pyautoattack.autopgd_base", reason=REASON)
squares = pytest.importorskip("pyautoattack.square", reason=REASON)

Batch = Callable[..., tuple[Tensor, Tensor]]
NAMES = {"cross_entropy": "ce", "dlr": "dlr"}
# Rounding only: both take the same steps in float64.
pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.filterwarnings("ignore:there are .* points with zero gradient"),
]


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images).argmax(1)


def ours_and_theirs(
    model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, loss: str, num_steps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One run each from the same start: images, verdicts, images, verdicts."""
    torch.manual_seed(4)
    oracle = Oracle.of(model, labels)
    ours, fooled = ascend(oracle, images, labels, Ball(epsilon), LOSSES[loss], num_steps)
    torch.manual_seed(4)
    peer = autopgd.APGDAttack(model, n_iter=num_steps, eps=epsilon, loss=NAMES[loss])
    peer.init_hyperparam(images)
    best, standing, _, adversarial = peer.attack_single_run(images, labels)
    return ours, fooled, torch.where(standing.view(-1, 1, 1, 1), best, adversarial), ~standing


@pytest.mark.parametrize("loss", NAMES)
@pytest.mark.parametrize("num_steps", [*range(1, 14), 25, 50, 100])
@pytest.mark.parametrize("epsilon", [0.015, 0.06])
def test_apgd_iterate_for_iterate(
    curved: nn.Module, batch: Batch, loss: str, num_steps: int, epsilon: float
) -> None:
    images, _ = batch(count=30)
    labels = predicted(curved, images)
    # Some are wrong from the start, too.
    labels[:3] = (labels[:3] + 1) % 10
    ours, fooled, theirs, broken = ours_and_theirs(curved, images, labels, epsilon, loss, num_steps)
    assert torch.equal(fooled, broken)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    if epsilon < 0.05:
        assert 5 < int(fooled.sum()) < 25
    elif num_steps > 1:
        # Not all at the ball's corners, where any attack ends if there is little to decide.
        inner = ((ours - images).abs() < 0.99 * epsilon) & (ours > 0) & (ours < 1)
        assert float(inner.double().mean()) > 0.04


@pytest.mark.parametrize("loss", NAMES)
@pytest.mark.parametrize("num_steps", [1, 5, 20])
def test_apgd_on_a_network_close_to_linear(
    ten_classes: nn.Module, batch: Batch, loss: str, num_steps: int
) -> None:
    images, _ = batch(count=20)
    labels = predicted(ten_classes, images)
    ours, fooled, theirs, broken = ours_and_theirs(
        ten_classes, images, labels, 0.05, loss, num_steps
    )
    assert torch.equal(fooled, broken)
    assert 0 < int(fooled.sum()) < 20
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 9])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 6, 20])
def test_towards_one_target_iterate_for_iterate(
    curved: nn.Module, batch: Batch, rank: int, num_steps: int
) -> None:
    images, _ = batch(count=30)
    labels = predicted(curved, images)
    with torch.no_grad():
        target = curved(images).sort(dim=1).indices[:, -1 - rank]
    torch.manual_seed(4)
    oracle, loss = Oracle.of(curved, labels), targeted_dlr(target)
    ours, fooled = ascend(oracle, images, labels, Ball(0.02), loss, num_steps)
    torch.manual_seed(4)
    peer = autopgd.APGDAttack_targeted(curved, n_iter=num_steps, eps=0.02)
    peer.init_hyperparam(images)
    peer.y_target = target
    best, standing, _, adversarial = peer.attack_single_run(images, labels)
    theirs = torch.where(standing.view(-1, 1, 1, 1), best, adversarial)
    assert torch.equal(fooled, ~standing)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def targeted(
    model: nn.Module, images: Tensor, epsilon: float, num_steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, our images and theirs, over nine targets in turn.

    Their `perturb` makes float32 of everything; see the fixture `stays_double`.
    """
    labels = predicted(model, images)
    config = APGDConfig(num_steps=num_steps, loss="targeted_dlr")
    torch.manual_seed(0)
    ours = build_attack(config, epsilon)(model, images, labels)
    peer = autopgd.APGDAttack_targeted(
        model, n_iter=num_steps, eps=epsilon, n_target_classes=9, seed=0
    )
    return labels, ours, peer.perturb(images, labels)


@pytest.fixture
def stays_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Tensor.float` gives the default dtype, as other people's casts mean it to."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@pytest.mark.usefixtures("stays_double")
@pytest.mark.parametrize("num_steps", [1, 3, 10])
def test_nine_targets_in_turn(curved: nn.Module, batch: Batch, num_steps: int) -> None:
    images, _ = batch(count=30)
    labels, ours, theirs = targeted(curved, images, 0.015, num_steps)
    fooled = predicted(curved, ours) != labels
    assert torch.equal(fooled, predicted(curved, theirs) != labels)
    assert 5 < int(fooled.sum()) < 25
    torch.testing.assert_close(ours[fooled], theirs[fooled], rtol=0, atol=1e-12)
    # What it does not break it gives back as it was.
    assert torch.equal(theirs[~fooled], images[~fooled])


@pytest.mark.parametrize("num_queries", [100, 777, 5000])
@pytest.mark.parametrize("share", [0.8, 0.3, 0.05])
@pytest.mark.parametrize("size", [8, 28, 32])
def test_side_of_every_query(num_queries: int, share: float, size: int) -> None:
    config = SquareConfig(num_queries=num_queries, share=share)
    peer = squares.SquareAttack(None, eps=0.1, n_queries=num_queries, p_init=share)
    for query in range(num_queries):
        theirs = max(round((peer.p_selection(query) * size * size) ** 0.5), 1)
        assert side(query, config, size, size) == min(theirs, size)


@pytest.mark.parametrize("num_queries", [*range(1, 8), 50, 300])
@pytest.mark.parametrize("network", ["curved", "ten_classes"])
def test_square_query_for_query(
    request: pytest.FixtureRequest, batch: Batch, network: str, num_queries: int
) -> None:
    model, (images, _) = request.getfixturevalue(network), batch(count=30)
    labels, epsilon = predicted(model, images), 0.1 if network == "ten_classes" else 0.04
    torch.manual_seed(4)
    config = SquareConfig(num_queries=num_queries)
    oracle = Oracle.of(model, labels)
    ours = square(oracle, images, labels, Ball(epsilon), config)
    torch.manual_seed(4)
    peer = squares.SquareAttack(model, n_queries=num_queries, eps=epsilon)
    peer.init_hyperparam(images)
    spent, theirs = peer.attack_single_run(images, labels)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert oracle.cost.forward.tolist() == spent.tolist()
    if num_queries == 300:
        assert 0 < int((predicted(model, ours) != labels).sum()) < 30
    # Both generators have given as many numbers.
    after = torch.rand(1)
    torch.manual_seed(4)
    square(Oracle.of(model, labels), images, labels, Ball(epsilon), config)
    assert torch.equal(torch.rand(1), after)


def nearly_all_agree(ours: Tensor, theirs: Tensor, fooled: Tensor, broken: Tensor) -> None:
    """A rounding in the last digit can flip a spike, and with it a sample's way: 3 % may differ."""
    assert 0.2 < float(fooled.double().mean()) < 0.95
    assert float((fooled == broken).double().mean()) >= 0.97
    both = fooled & broken
    close = (ours[both] - theirs[both]).abs().flatten(1).amax(1) < 1e-9
    assert float(close.double().mean()) >= 0.97


@pytest.mark.parametrize("loss", NAMES)
def test_apgd_on_spikes(spiking_ten: nn.Module, batch: Batch, loss: str) -> None:
    model, (images, _) = spiking_ten.double(), batch(count=150)
    labels = predicted(model, images)
    ours, fooled, theirs, broken = ours_and_theirs(model, images, labels, 0.01, loss, 20)
    nearly_all_agree(ours, theirs, fooled, broken)


@pytest.mark.usefixtures("stays_double")
def test_nine_targets_on_spikes(spiking_ten: nn.Module, batch: Batch) -> None:
    model, (images, _) = spiking_ten.double(), batch(count=100)
    labels, ours, theirs = targeted(model, images, 0.01, 5)
    fooled, broken = (predicted(model, found) != labels for found in (ours, theirs))
    nearly_all_agree(ours, theirs, fooled, broken)


def test_square_on_spikes(spiking_ten: nn.Module, batch: Batch) -> None:
    model, (images, _) = spiking_ten.double(), batch(count=150)
    labels = predicted(model, images)
    torch.manual_seed(4)
    ours = build_attack(SquareConfig(num_queries=100), 0.02)(model, images, labels)
    torch.manual_seed(4)
    peer = squares.SquareAttack(model, n_queries=100, eps=0.02)
    peer.init_hyperparam(images)
    _, theirs = peer.attack_single_run(images, labels)
    nearly_all_agree(
        ours, theirs, predicted(model, ours) != labels, predicted(model, theirs) != labels
    )
