"""Does every fast path compute what it should on this device? Ours beside the definition, float64.

    python -m benchmarks.correctness [--device cuda] [--compile]

Run it before a table is believed: the exit code is 1 where a number differs by more than rounding.
The definition is the plain loop over T, every layer at all T copies of the image, PyTorch's own
batch norm (`benchmarks.definition`); in float64 no spike hangs on rounding.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from benchmarks.definition import PlainNetwork
from benchmarks.networks import ours
from benchmarks.report import Cell, Table, add_outputs, publish
from models import GradientEstimator, compile_layers, oracle

TOLERANCE = 1e-7
"""Largest difference, as a share of the largest value."""
RATES = ("rga", "bptr", "hart")
SETTLING = 20
"""Passes in training mode first: with statistics that are not its own a network may be silent."""
LOUDER = 8.0
"""Factor on the hidden linear layers' weights: as drawn, they leave VGG-11's neurons silent."""
SIDES = {"small": 8, "wrn16_4": 16, "vgg11": 32}


def _inputs_gradient(classify: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Logits and the loss's gradient for the images."""
    asked = images.clone().requires_grad_()
    logits = classify(asked)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels), asked)
    return [logits.detach(), gradient]


def _weights_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """The loss's gradients for all weights, and running statistics, in the order of their names."""
    model.train()
    loss = nn.functional.cross_entropy(model(images), labels)
    weights = dict(model.named_parameters())
    gradients = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
    statistics = {name: value for name, value in model.named_buffers() if "running" in name}
    model.eval()
    return [value for _, value in sorted((gradients | statistics).items())]


def difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest difference of any two tensors, each as a share of the largest value in it.

    Values a million times smaller than the largest of all count as zero: batch norm leaves nothing
    of the gradient of a bias before it. Where one of the first two tensors is zero, nothing was
    compared: infinity.
    """
    scale = max(float(tensor.abs().max()) for tensor in theirs)
    if not all(float(tensor.abs().max()) for tensor in theirs[:2]):
        return math.inf
    return max(
        float((a - b).abs().max()) / max(float(b.abs().max()), 1e-6 * scale)
        for a, b in zip(ours, theirs, strict=True)
    )


def differences(
    architecture: str, device: torch.device, *, compiled: bool
) -> Iterator[tuple[str, float]]:
    """What is compared, and how far apart it is.

    Args:
        architecture: One of `SIDES`.
        device: What computes.
        compiled: Whether our layers are.
    """
    side = SIDES[architecture]
    model = ours(architecture, 3, side).double().to(device).eval()
    model = model.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((4, 3, side, side), generator=generator, dtype=torch.float64).to(device)
    labels = torch.randint(10, (4,), generator=generator).to(device)
    for layer in model.features:
        if isinstance(layer, nn.Linear):
            layer.weight.data.mul_(LOUDER)
    for _ in range(SETTLING):
        model.train()(images)
    model.eval()
    if compiled:
        compile_layers(model)
    plain = PlainNetwork(model, plain_neurons=True).eval()
    answers = [_inputs_gradient(network, images, labels) for network in (model, plain)]
    yield "logits and gradient of the images", difference(*answers)
    rates = PlainNetwork(model, plain_neurons=False).eval()
    for method in RATES:
        estimator = GradientEstimator(method=method)
        answers = [
            _inputs_gradient(oracle(network, estimator), images, labels)
            for network in (model, rates)
        ]
        yield f"the same by {method}", difference(*answers)
    answers = [_weights_gradient(network, images, labels) for network in (model, plain)]
    yield "training: gradients of the weights, statistics", difference(*answers)


def main() -> None:
    """Compare, print, and exit with 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--architectures", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--compile", action="store_true", help="our layers")
    parser.add_argument("--quick", action="store_true", help="the small network alone")
    add_outputs(parser)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    rows: list[dict[str, Cell]] = [
        {
            "network": name,
            "compared": what,
            "difference": f"{apart:.1e}",
            "exact": apart < TOLERANCE,
        }
        for name in (["small"] if arguments.quick else arguments.architectures)
        for what, apart in differences(name, device, compiled=arguments.compile)
    ]
    columns = {
        "network": "network",
        "compared": "compared with the definition",
        "difference": "largest difference / largest value",
        "exact": f"below {TOLERANCE:g}",
    }
    settings = f"float64, T=3, 4 images, layers {'compiled' if arguments.compile else 'eager'}"
    publish(Table(columns=columns, rows=rows, note=settings, device=device), arguments)
    if not all(row["exact"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
