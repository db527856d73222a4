"""What a step costs: ours, SpikingJelly's, and that of the same network with ReLUs.

    python -m benchmarks.throughput [--device cuda] [--architectures vgg11 wrn16_4]

Every step does the same for all: they differ in the network alone. `limit / ours` is the share of
a dense network's speed. There are two of these where ours is compiled on a CPU: one with PyTorch's
convolutions and linear layers, and one with ours, which are faster (`models.winograd`).
"""

import argparse
import copy
import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks import networks
from benchmarks.report import Cell, Table, add_outputs, publish
from benchmarks.timing import alternating, ratio
from models import GradientEstimator, compile_layers, oracle
from pipeline.attacks import PGDConfig, build_attack
from pipeline.training import build_strategy
from pipeline.training.adversarial import ATConfig
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import build_optimizer, training_step
from pipeline.training.sparsity import SRConfig, SRStarConfig
from pipeline.training.vanilla import VanillaConfig

TRAINING: dict[str, Any] = {
    "vanilla": VanillaConfig(method="vanilla"),
    "sr": SRConfig(method="sr", sparsity_weight=0.008),
    "pgd5_at": ATConfig(method="at"),
    "sr_star": SRStarConfig(method="sr_star", sparsity_weight=0.002),
}
STEPS = ["forward", "pgd", "pgd_rate", *TRAINING]
"""A forward pass in evaluation mode, one step of PGD through the network's own gradient and
through a rate gradient (the limit takes its own in both), and training steps."""


def step(name: str, model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], object]:
    """One of `STEPS` of a network on a batch.

    Args:
        name: Which.
        model: A classifier of images.
        images: Shape (B, 3, H, W), in [0, 1].
        labels: Shape (B,).
    """
    if name == "forward":

        @torch.no_grad()
        def forward() -> object:
            return model.eval()(images)

        return forward
    if name in ("pgd", "pgd_rate"):
        attack = build_attack(PGDConfig(num_steps=1), 8 / 255)
        target: Any = model
        if name == "pgd_rate" and any(hasattr(layer, "threshold") for layer in model.modules()):
            target = oracle(model, GradientEstimator(method="bptr"))
        return lambda: (model.eval(), attack(target, images, labels))
    strategy = build_strategy(TRAINING[name])
    # So small a rate that hundreds of steps leave the network as it is.
    optimizer = build_optimizer(model, TrainingConfig(learning_rate=1e-9), strategy)
    return functools.partial(training_step, model, optimizer, strategy, images, labels)


def measure(
    architecture: str, arguments: argparse.Namespace, device: torch.device
) -> list[dict[str, Cell]]:
    """The table's rows of one architecture."""
    found = networks(architecture, arguments.num_timesteps, arguments.side, device)
    if arguments.compile:
        compile_layers(found["ours"])
        if device.type == "cpu":
            found["own_limit"] = copy.deepcopy(found["relu"])
            compile_layers(found["own_limit"])
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch_size, 3, arguments.side, arguments.side)
    images = torch.rand(shape, generator=generator).to(device)
    labels = torch.randint(10, shape[:1], generator=generator).to(device)
    rows: list[dict[str, Cell]] = []
    vanilla: list[float] | None = None
    for name in arguments.steps:
        candidates = {key: step(name, model, images, labels) for key, model in found.items()}
        seconds = alternating(candidates, arguments.rounds, device)
        ours, limit = seconds["ours"], seconds["relu"]
        vanilla = ours if name == "vanilla" else vanilla
        row: dict[str, Cell] = {
            "network": architecture,
            "task": name,
            "ours_s": ours,
            "limit_s": limit,
            "share_of_limit": ratio(limit, ours),
        }
        if theirs := seconds.get("spikingjelly"):
            row |= {"spikingjelly_s": theirs, "over_spikingjelly": ratio(theirs, ours)}
        if own_limit := seconds.get("own_limit"):
            row |= {"own_limit_s": own_limit, "share_of_own_limit": ratio(own_limit, ours)}
        if vanilla and name in TRAINING:
            row["over_vanilla"] = ratio(ours, vanilla)
        rows.append(row)
        print(f"{architecture} {name}: {len(ours)} rounds", file=sys.stderr, flush=True)
    return rows


COLUMNS = {
    "network": "network",
    "task": "step",
    "ours_s": "ours, s",
    "spikingjelly_s": "SpikingJelly, s",
    "limit_s": "ReLU limit, s",
    "own_limit_s": "limit, our layers, s",
    "over_spikingjelly": "SpikingJelly / ours",
    "share_of_limit": "limit / ours",
    "share_of_own_limit": "limit, our layers / ours",
    "over_vanilla": "ours / vanilla",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--architectures", nargs="+", default=["vgg11", "wrn16_4"])
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--num-timesteps", type=int, default=8)
    parser.add_argument("--side", type=int, default=32, help="of the square images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "tf32"], help="on CUDA")
    parser.add_argument("--compile", action="store_true", help="our layers, as long trainings do")
    parser.add_argument("--quick", action="store_true", help="tiny networks, in seconds")
    add_outputs(parser)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.architectures, arguments.side, arguments.num_timesteps = ["small"], 8, 2
        arguments.rounds = 2
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = arguments.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = arguments.precision == "tf32"
    device = torch.device(arguments.device)
    rows = [row for name in arguments.architectures for row in measure(name, arguments, device)]
    settings = (
        f"T={arguments.num_timesteps}, batch {arguments.batch_size}, side {arguments.side}, "
        f"{arguments.threads} thread(s), {arguments.precision}, "
        f"our layers {'compiled' if arguments.compile else 'eager'}; "
        f"medians (smallest..largest) of {arguments.rounds} rounds"
    )
    publish(Table(columns=COLUMNS, rows=rows, note=settings, device=device), arguments)


if __name__ == "__main__":
    main()
