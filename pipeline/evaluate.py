"""Attack a stored network: `python -m pipeline.evaluate --checkpoint FILE --suite paper`."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline import checkpoints
from pipeline.adapters.parquet_store import ParquetStore
from pipeline.config import TRIAL, TrialConfig
from pipeline.console import Progress, percent, run_command
from pipeline.data import Dataset, load_dataset
from pipeline.environment import revision
from pipeline.errors import ConfigError
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.files import open_folder
from pipeline.local import LocalExecutor
from pipeline.ports import Executor
from pipeline.records import SplitName
from pipeline.resources import local_resources
from pipeline.summary import union
from pipeline.threats import MEASURE, load_suite, measure_member, members
from reports.statistics import wilson_interval

HEARTBEAT_S = 10.0
EXAMPLES = """examples:
  python -m pipeline.evaluate --checkpoint runs/trials/NAME/checkpoint.safetensors --suite paper
  python -m pipeline.evaluate --checkpoint FILE --suite quick --epsilon 0.1 --num-samples 200
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m pipeline.evaluate",
        description="Attack a stored network; blocks that are stored already are not run again.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--checkpoint", type=Path, required=True, help="file of a trained network")
    result.add_argument("--suite", default="paper", help="name of a suite, or its YAML file")
    result.add_argument("--split", choices=["validation", "test"], default="test")
    result.add_argument("--epsilon", help="radius in pixel units, such as 8/255; the suite's")
    result.add_argument("--num-samples", type=int, help="first samples of the split; all")
    result.add_argument("--block-size", type=int, default=128)
    result.add_argument("--seed", type=int, help="of the attacks; the network's")
    result.add_argument("--store", type=Path, default=Path("runs"), help="folder for all results")
    result.add_argument("--data-root", help="folder of the data set, if it has moved")
    result.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
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


def _trial_and_data(options: argparse.Namespace) -> tuple[TrialConfig, Dataset, str]:
    """What the checkpoint was trained as, its data, and its fingerprint.

    Raises:
        ConfigError: The file is no checkpoint, or the data is absent or other data.
    """
    checkpoint = checkpoints.load(options.checkpoint)
    tree = dict(checkpoint.config)
    if options.data_root:
        tree["data"] = tree["data"] | {"root": options.data_root}
    trial = TRIAL.validate_python(tree)
    dataset = load_dataset(trial.data)
    if trial.fingerprint() != checkpoint.fingerprint:
        raise ConfigError(
            f"{options.checkpoint}: the data now at its place is not what this network was "
            "trained on; give the right folder with --data-root"
        )
    return trial, dataset, checkpoint.fingerprint


def _evaluate(options: argparse.Namespace) -> int:
    suite = load_suite(options.suite)
    epsilon = _epsilon(options.epsilon)
    trial, dataset, fingerprint = _trial_and_data(options)
    split = {"validation": dataset.validation, "test": dataset.test}[options.split]
    wanted = len(split) if options.num_samples is None else options.num_samples
    if not 1 <= wanted <= len(split):
        raise ConfigError(f"--num-samples: expected 1 to {len(split)}, got {wanted}")
    if options.block_size < 1:
        raise ConfigError(f"--block-size: expected at least 1, got {options.block_size}")
    radius = suite.epsilon if epsilon is None else epsilon
    job = EvaluationJob(
        label=options.checkpoint.parent.name,
        fingerprint=fingerprint,
        checkpoint=str(options.checkpoint.absolute()),
        split=options.split,
        members=(*members(suite, epsilon), measure_member(radius)),
        num_samples=wanted,
        block_size=options.block_size,
        seed=trial.seed if options.seed is None else options.seed,
    )
    store, console = ParquetStore(open_folder(options.store)), Progress()
    stored = sum(store.has(task.key) for task in job.tasks())
    console.line(
        f"{trial.strategy.method} on {dataset.note}: suite '{suite.name}', epsilon "
        f"{radius:.4g}, {wanted} samples of {options.split}; {len(job.tasks())} blocks, "
        f"{stored} of them stored"
    )
    executor = LocalExecutor(
        {SplitName(options.split): split},
        device=options.device,
        num_threads=int(local_resources()["CPU"]),
        revision=revision(),
    )
    failure = _run(job, executor, store, console)
    if failure:
        console.line(failure, "red")
        return 1
    _print_accuracies(job, store, console)
    return 0


def _run(job: EvaluationJob, executor: Executor, store: ParquetStore, console: Progress) -> str:
    """Fill the store; returns the first failure's text, empty if there is none."""
    failures: list[str] = []
    last = time.monotonic()

    def finished(backlog: int) -> bool:
        nonlocal last
        if backlog and time.monotonic() - last > HEARTBEAT_S:
            last = time.monotonic()
            done = sum(store.has(task.key) for task in job.tasks())
            console.line(f"{done} of {len(job.tasks())} blocks done", "dim")
        return backlog == 0

    evaluator = Evaluator(executor, store)
    evaluator.submit(job, lambda _job, _seconds, failure: failures.append(failure))
    evaluator.wait(finished)
    evaluator.close()
    return failures[0]


def _print_accuracies(job: EvaluationJob, store: ParquetStore, console: Progress) -> None:
    """One line a member, and the union with its interval."""
    for member in job.members:
        if member.attack_name != MEASURE:
            blocks = [store.get(task.key) for task in job.tasks() if task.member == member]
            robust = np.concatenate([block.columns["robust"] for block in blocks])
            console.line(f"{member.name:<30} {percent(float(robust.mean())):>8}")
    accuracy = union(job, store)["robust_accuracy"]
    low, high = wilson_interval(round(accuracy * job.num_samples), job.num_samples)
    console.line(
        f"{'all members: robust accuracy':<30} {percent(accuracy):>8}  "
        f"95 % interval {percent(low)} to {percent(high)}, n={job.num_samples}",
        "bold",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    return run_command(lambda: _evaluate(options))


if __name__ == "__main__":
    sys.exit(main())
