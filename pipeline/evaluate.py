# PYTHON_ARGCOMPLETE_OK
"""Attack a stored network: `python -m pipeline.evaluate --checkpoint FILE --suite paper`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import DEVICE, STORE, command_parser, parse, place, run_command
from pipeline.errors import ConfigError
from pipeline.object_path import ObjectPath

if TYPE_CHECKING:
    from pipeline.evaluate_run import Request

EXAMPLES = """examples:
  # a network that pipeline.sweep or pipeline.train has stored
  python -m pipeline.evaluate --checkpoint runs/trials/NAME/checkpoint.safetensors --suite paper
  # all that there is, on 200 test images
  python -m pipeline.evaluate --checkpoint FILE --suite strong --epsilon 0.1 --num-samples 200
  # can its robust accuracy be believed? other networks' gradients attack it, too
  python -m pipeline.evaluate --checkpoint FILE --suite audit --source OTHER --num-samples 200
  # a network of your own: make() returns a torch module, the file has its weights
  python -m pipeline.evaluate --model my_package.networks:make --checkpoint weights.safetensors \\
      --data digits --suite strong --epsilon 0.1
  # judge anew what the code, a suite or a checkpoint has made stale, and only that
  python -m pipeline.evaluate --stale --sweep lambda
"""
IMAGES = ("cifar10", "cifar100", "digits")
"""Data sets that need no folder to be named."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_parser(
        "pipeline.evaluate",
        "Attack a stored network; blocks that are stored already are not run again.",
        EXAMPLES,
    )
    result.add_argument("--checkpoint", type=place, help="file of a trained network")
    result.add_argument("--suite", default="paper", help="name of a suite, or its YAML file")
    result.add_argument(
        "--order",
        choices=["all", "survivors"],
        help="whom a member attacks: every sample, or those that stand before it; the suite's",
    )
    result.add_argument(
        "--split", choices=["validation", "test"], default="test", help="images to attack; test"
    )
    result.add_argument("--epsilon", help="radius in pixel units, such as 8/255; the suite's")
    result.add_argument("--num-samples", type=int, help="first samples of the split; all")
    result.add_argument("--block-size", type=int, default=128, help="samples attacked together")
    result.add_argument("--seed", type=int, help="of the attacks; the network's")
    result.add_argument(
        "--source",
        type=Path,
        action="append",
        default=[],
        help="checkpoint of a network whose gradients are used for transfer attacks; repeatable",
    )
    result.add_argument("--store", **STORE)
    result.add_argument("--data-root", help="folder of the data set, if it has moved")
    result.add_argument("--device", **DEVICE)
    stale = result.add_argument_group("what is stored already")
    stale.add_argument(
        "--stale",
        action="store_true",
        help="instead of a checkpoint: redo the rows of the store whose attack code, suite or "
        "checkpoint has changed since, and only those",
    )
    stale.add_argument("--sweep", metavar="NAME", help="with --stale: of this sweep alone")
    foreign = result.add_argument_group("a network of your own")
    foreign.add_argument(
        "--model",
        metavar="MODULE:FUNCTION",
        help="returns a torch module from images (B, C, H, W) in [0, 1] to logits (B, K); "
        "--checkpoint then holds its weights (safetensors, or a state dict torch can load "
        "without pickled code)",
    )
    foreign.add_argument(
        "--data",
        help=f"with --model: {', '.join(IMAGES)}, a folder of "
        "Parquet files, or a YAML file whose `data:` reads as in a search space",
    )
    return result


def _epsilon(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        top, _, bottom = text.partition("/")
        value = float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"--epsilon: expected 0 to 1 such as 0.1 or 8/255, got '{text}'")
    return value


def _check_stale(options: argparse.Namespace) -> None:
    """Refuse what says how to judge: what is stored was judged as it was asked for.

    Raises:
        ConfigError: There is such an argument.
    """
    known = {"stale", "sweep", "store", "data_root", "device"}
    for name, value in vars(options).items():
        if name not in known and value != parser().get_default(name):
            option = name.replace("_", "-")
            raise ConfigError(f"--stale: redoes rows as they were asked for; remove --{option}")


def _request(options: argparse.Namespace) -> "Request":
    """The checked command line.

    Raises:
        ConfigError: Arguments that do not fit together.
    """
    if options.checkpoint is None:
        raise ConfigError("--checkpoint: name the file of a network, or redo rows with --stale")
    if options.sweep is not None:
        raise ConfigError("--sweep: goes with --stale; remove it, or --checkpoint")
    if options.block_size < 1:
        raise ConfigError(f"--block-size: expected at least 1, got {options.block_size}")
    if options.model and isinstance(options.checkpoint, ObjectPath):
        raise ConfigError(
            "--checkpoint: weights of a network of your own are read from a file; copy them here"
        )
    if options.model and not options.data:
        raise ConfigError("--model: also give --data, such as --data digits")
    if options.data and not options.model:
        raise ConfigError("--data: a checkpoint of this pipeline knows its data; remove --data")
    # Imported here: torch takes seconds, and a wrong argument should be told at once.
    from pipeline.config_types import NAME_PATTERN
    from pipeline.evaluate_run import Request

    labels = [source.parent.name for source in options.source]
    for source, label in zip(options.source, labels, strict=True):
        if not NAME_PATTERN.fullmatch(label) or labels.count(label) > 1:
            raise ConfigError(
                f"--source {source}: its folder's name labels it, so it must be unique and of at "
                "most 64 letters, digits, '.', '_' or '-'; rename the folder"
            )
    return Request(
        checkpoint=options.checkpoint,
        suite=options.suite,
        order=options.order,
        split=options.split,
        epsilon=_epsilon(options.epsilon),
        num_samples=options.num_samples,
        block_size=options.block_size,
        seed=options.seed,
        sources=tuple(options.source),
        store=options.store,
        data_root=options.data_root,
        device=options.device,
        model=options.model,
        data=options.data,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parse(parser(), arguments)
    return run_command(lambda: _redo(options) if options.stale else _evaluate(options))


def _evaluate(options: argparse.Namespace) -> int:
    request = _request(options)
    from pipeline.evaluate_run import evaluate
    from pipeline.resources import check_device, local_resources

    check_device("--device", request.device, local_resources()["GPU"])
    return evaluate(request)


def _redo(options: argparse.Namespace) -> int:
    _check_stale(options)
    from pipeline.redo import redo

    return redo(
        options.store, sweep=options.sweep, data_root=options.data_root, device=options.device
    )


if __name__ == "__main__":
    sys.exit(main())
