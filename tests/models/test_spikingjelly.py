"""The same networks with SpikingJelly's neurons in place of ours: same spikes, same gradients."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import InputSpec, ModelConfig, NeuronConfig, build_model
from models.neurons import SpikingNeurons

REASON = "spikingjelly is an independent neuron to compare with; install the extra 'test'"
pytest.importorskip("pipeline.data.torchvision_import").torchvision_datasets()
neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=REASON)
surrogates = pytest.importorskip("spikingjelly.activation_based.surrogate", reason=REASON)

# Their alpha is the inverse of the triangle's width, and the very width of the others.
PEERS = {
    "triangle": lambda gamma: surrogates.PiecewiseQuadratic(alpha=1 / gamma),
    "sigmoid": lambda gamma: surrogates.Sigmoid(alpha=gamma),
    "arctangent": lambda gamma: surrogates.ATan(alpha=gamma),
}


class PeerNeurons(nn.Module):
    """SpikingJelly's multi-step neuron: hard reset to 0, not detached."""

    def __init__(self, ours: SpikingNeurons) -> None:
        super().__init__()
        self.num_timesteps = ours.num_timesteps
        settings: dict[str, Any] = {
            "v_threshold": ours.threshold,
            "v_reset": 0.0,
            "surrogate_function": PEERS[ours.estimator.surrogate](ours.estimator.gamma),
            "detach_reset": False,
            "step_mode": "m",
        }
        if ours.leak == 1.0:
            self.node = neuron.IFNode(**settings)
        else:
            self.node = neuron.LIFNode(tau=1 / (1 - ours.leak), decay_input=False, **settings)

    def forward(self, current: Tensor) -> Tensor:
        self.node.reset()
        spikes: Tensor = self.node(current.unflatten(0, (self.num_timesteps, -1)))
        return spikes.flatten(0, 1)


def with_peers(model: nn.Module) -> nn.Module:
    """A copy whose neurons are SpikingJelly's."""
    twin = copy.deepcopy(model)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SpikingNeurons):
                setattr(parent, name, PeerNeurons(child))
    return twin


def measured(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Spikes of every layer, logits, and the gradients of input and parameters."""
    spikes: list[Tensor] = []
    handles = [
        layer.register_forward_hook(lambda _, __, out: spikes.append(out.detach()))
        for layer in model.modules()
        if isinstance(layer, SpikingNeurons | PeerNeurons)
    ]
    images = images.detach().requires_grad_()
    logits = model(images)
    loss = nn.functional.cross_entropy(logits, labels)
    wanted = [images, *model.parameters()]
    gradients = torch.autograd.grad(loss, wanted)
    for handle in handles:
        handle.remove()
    return {"spikes": spikes, "logits": logits.detach(), "gradients": gradients}


CASES = [
    ("small", NeuronConfig(), "train"),
    ("small", NeuronConfig(surrogate="arctangent"), "eval"),
    ("small", NeuronConfig(leak=0.5, threshold=0.8, surrogate="sigmoid"), "train"),
    ("vgg11", NeuronConfig(), "train"),
    ("vgg11", NeuronConfig(width=2.0), "eval"),
    ("wrn16_4", NeuronConfig(), "train"),
    ("wrn16_4", NeuronConfig(leak=0.5, surrogate="sigmoid"), "eval"),
]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("architecture", "config", "mode"),
    CASES,
    ids=[f"{name}-{config.surrogate}-{config.leak:g}-{mode}" for name, config, mode in CASES],
)
def test_same_spikes_and_gradients(
    architecture: Any, config: NeuronConfig, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The graph is what counts; the wide linear layers would only take time.
    monkeypatch.setattr("models.vgg.HIDDEN", 64)
    torch.manual_seed(0)
    side = 8 if architecture == "small" else 16
    model = build_model(
        ModelConfig(architecture=architecture, num_timesteps=3, neuron=config),
        InputSpec(
            channels=3, height=side, width=side, num_classes=5, mean=(0.5,) * 3, std=(0.2,) * 3
        ),
    )
    model.train(mode == "train")
    images, labels = torch.rand(3, 3, side, side), torch.tensor([0, 3, 4])
    ours, theirs = (measured(m, images, labels) for m in (model, with_peers(model)))

    assert len(ours["spikes"]) == {"small": 3, "vgg11": 10, "wrn16_4": 13}[architecture]
    assert any(0.02 < float(layer.mean()) < 0.98 for layer in ours["spikes"])
    for mine, peer in zip(ours["spikes"], theirs["spikes"], strict=True):
        assert torch.equal(mine, peer)
    torch.testing.assert_close(ours["logits"], theirs["logits"], rtol=1e-12, atol=1e-12)
    for mine, peer in zip(ours["gradients"], theirs["gradients"], strict=True):
        scale = max(float(peer.abs().max()), 1e-6)
        torch.testing.assert_close(mine, peer, rtol=1e-9, atol=1e-9 * scale)
    assert float(ours["gradients"][0].abs().max()) > 0
