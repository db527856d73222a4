"""Attack a stored network: `python -m pipeline.evaluate --checkpoint FILE --suite paper`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from pipeline import checkpoints
from pipeline.adapters.parquet_store import ParquetStore
from pipeline.config import ComputeConfig, TrialConfig
from pipeline.console import Progress, percent, run_command
from pipeline.data import load_dataset
from pipeline.environment import revision
from pipeline.errors import ConfigError
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.local import LocalExecutor
from pipeline.records import SplitName
from pipeline.resources import local_resources
from pipeline.summary import union
from pipeline.threats import load_suite, measure_member, members
from reports.statistics import wilson_interval

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
    result.add_argument("--seed", type=int, default=0)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)

    def run() -> int:
        suite = load_suite(options.suite)
        epsilon = _epsilon(options.epsilon)
        checkpoint = checkpoints.load(options.checkpoint)
        tree = dict(checkpoint.config)
        if options.data_root:
            tree["data"] = tree["data"] | {"root": options.data_root}
        trial = TypeAdapter(TrialConfig).validate_python(tree)
        dataset = load_dataset(trial.data)
        if trial.fingerprint() != checkpoint.fingerprint:
            raise ConfigError(
                f"{options.checkpoint}: the data now at its place is not what this network was "
                "trained on; give the right folder with --data-root"
            )
        split = {"validation": dataset.validation, "test": dataset.test}[options.split]
        wanted = options.num_samples or len(split)
        if not 1 <= wanted <= len(split):
            raise ConfigError(f"--num-samples: expected 1 to {len(split)}, got {wanted}")
        radius = suite.epsilon if epsilon is None else epsilon
        job = EvaluationJob(
            label=options.checkpoint.parent.name,
            fingerprint=checkpoint.fingerprint,
            checkpoint=str(options.checkpoint.absolute()),
            split=options.split,
            members=(*members(suite, epsilon), measure_member(radius)),
            num_samples=wanted,
            block_size=options.block_size,
            seed=options.seed,
        )
        store = ParquetStore(options.store)
        console = Progress()
        stored = sum(store.has(task.key) for task in job.tasks())
        console.line(
            f"{trial.strategy.method} on {dataset.note}: suite '{suite.name}', epsilon "
            f"{radius:.4g}, {wanted} samples of {options.split}; {len(job.tasks())} blocks, "
            f"{stored} of them stored"
        )
        executor = LocalExecutor(
            {SplitName(options.split): split},
            device=options.device,
            num_threads=ComputeConfig().cpus_per_evaluation
            if options.device == "cuda"
            else int(local_resources()["CPU"]),
            revision=revision(),
        )
        failures: list[str] = []
        evaluator = Evaluator(executor, store)
        evaluator.submit(job, lambda _job, _seconds, failure: failures.append(failure))
        evaluator.wait()
        evaluator.close()
        if failures[0]:
            console.line(failures[0], "red")
            return 1
        for member in members(suite, epsilon):
            rows = [store.get(t.key) for t in job.tasks() if t.member.hash == member.hash]
            robust = np.concatenate([block.columns["robust"] for block in rows])
            console.line(f"{member.name:<28} {percent(float(robust.mean())):>8}")
        metrics = union(job, store)
        low, high = wilson_interval(round(metrics["robust_accuracy"] * wanted), wanted)
        console.line(
            f"{'all members (robust accuracy)':<28} {percent(metrics['robust_accuracy']):>8}  "
            f"95 % interval {percent(low)} to {percent(high)}, n={wanted}",
            "bold",
        )
        return 0

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
