"""What an epoch of each training method costs, as multiples of a vanilla one: Table 7.

    python -m benchmarks.epoch_cost [--device cuda] [--batch-size 64]

An epoch of few batches through the very loop that trains, ours beside the paper's seconds (VGG-11,
CIFAR-10). RAT's retraction of the weights costs the same whatever the batch, so that its multiple
falls as the batch grows; the paper's batch is 64.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.networks import ours
from benchmarks.report import Cell, Table, add_outputs, publish
from benchmarks.timing import alternating, ratio
from pipeline.data.augmentation import AUGMENTATIONS
from pipeline.training import build_strategy
from pipeline.training.adversarial import ATConfig
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import build_optimizer, train_epoch
from pipeline.training.rat import RATConfig
from pipeline.training.sparsity import SRConfig, SRStarConfig
from pipeline.training.vanilla import VanillaConfig

PAPER = Path(__file__).parents[1] / "reports" / "paper" / "table7_epoch_seconds.csv"
METHODS: dict[str, Any] = {
    "vanilla": VanillaConfig(method="vanilla"),
    "pgd5_at": ATConfig(method="at"),
    "rat": RATConfig(method="rat"),
    "sr": SRConfig(method="sr", sparsity_weight=0.008),
    "sr_star": SRStarConfig(method="sr_star", sparsity_weight=0.002),
    "pgd5_at, bptr": ATConfig(method="at", estimator="bptr"),
    "sr_star, bptr": SRStarConfig(method="sr_star", sparsity_weight=0.002, estimator="bptr"),
}
"""Under the names of the paper's table, and with rate gradients in the training attack."""


def epoch(
    config: Any, arguments: argparse.Namespace, device: torch.device
) -> Callable[[], dict[str, float]]:
    """An epoch of a method on a network of its own."""
    model = ours(arguments.architecture, arguments.num_timesteps, arguments.side).to(device)
    strategy = build_strategy(config)
    # So small a rate that the network stays as it is.
    optimizer = build_optimizer(model, TrainingConfig(learning_rate=1e-9), strategy)
    shape = (arguments.batches * arguments.batch_size, 3, arguments.side, arguments.side)
    images = torch.randint(256, shape, dtype=torch.uint8, device=device)
    labels = torch.randint(10, shape[:1], device=device)
    augment = AUGMENTATIONS["crop_flip"]
    size = arguments.batch_size
    return lambda: train_epoch(model, optimizer, strategy, images, labels, size, augment)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--architecture", default="vgg11")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=1, help="of an epoch")
    parser.add_argument("--num-timesteps", type=int, default=8)
    parser.add_argument("--side", type=int, default=32, help="of the square images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "tf32"], help="on CUDA")
    parser.add_argument("--quick", action="store_true", help="a tiny network, in seconds")
    add_outputs(parser)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.architecture, arguments.side, arguments.num_timesteps = "small", 8, 2
        arguments.batch_size, arguments.rounds = 8, 2
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = arguments.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = arguments.precision == "tf32"
    device = torch.device(arguments.device)
    with PAPER.open(newline="") as file:
        paper = next(csv.DictReader(file))
    candidates = {name: epoch(config, arguments, device) for name, config in METHODS.items()}
    seconds = alternating(candidates, arguments.rounds, device)
    rows: list[dict[str, Cell]] = [
        {
            "method": name,
            "ours_s": times,
            "over_vanilla": ratio(times, seconds["vanilla"]),
        }
        for name, times in seconds.items()
    ]
    for row in rows:
        if row["method"] in paper:
            published = float(paper[str(row["method"])])
            row["paper_s"] = published
            row["paper_over_vanilla"] = published / float(paper["vanilla"])
    columns = {
        "method": "method",
        "ours_s": "ours, s",
        "over_vanilla": "ours / vanilla",
        "paper_s": "paper, s",
        "paper_over_vanilla": "paper / vanilla",
    }
    settings = (
        f"{arguments.architecture}, T={arguments.num_timesteps}, {arguments.batches} batch(es) of "
        f"{arguments.batch_size}, side {arguments.side}, {arguments.threads} thread(s), "
        f"{arguments.precision}; medians (smallest..largest) of {arguments.rounds} rounds"
    )
    publish(Table(columns=columns, rows=rows, note=settings, device=device), arguments)


if __name__ == "__main__":
    main()
