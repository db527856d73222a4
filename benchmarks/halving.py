"""What early stopping saves on the digits, and whether the front stays.

    python -m benchmarks.halving --trials 24

The same search twice, with the same proposals (a random sampler): all trials to their end, and with
`search.halving`. Compared are the seconds of training and evaluation and the front on validation.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Cell, Table, add_outputs, number, publish
from pipeline.search.front import pareto_front
from pipeline.sweep import main as sweep

SPACE = """
name: NAME
seed: SEED
data: {dataset: digits, num_train: 600, num_validation: 200}
model: {architecture: small, num_timesteps: 4}
training: {epochs: 12, batch_size: 64, learning_rate: 0.1, augmentation: none}
strategies:
  sr: {method: sr}
  at: {method: at, epsilon: 0.05, num_steps: 3, step_size: 0.02}
  sr_star: {method: sr_star, epsilon: 0.05, num_steps: 3, step_size: 0.02}
baselines: []
search:
  sampler: random
  num_trials: TRIALS
  strategies: [sr, at, sr_star]
  parameters:
    strategy.sparsity_weight: {low: 0.001, high: 1.0, log: true}
    training.learning_rate: {low: 0.003, high: 0.3, log: true}
evaluation: {suite: quick, epsilon: 0.1}
report: {audit: null, num_samples: 20}
"""
HALVING = "  halving: {first_epoch: 2, factor: 3}\n"


def run(folder: Path, name: str, trials: int, seed: int) -> list[dict[str, Any]]:
    """The trials of one search."""
    text = SPACE.replace("NAME", name).replace("TRIALS", str(trials)).replace("SEED", str(seed))
    if name == "halving":
        text = text.replace("evaluation:", HALVING + "evaluation:")
    space = folder / f"{name}.yaml"
    space.write_text(text)
    if sweep(["--space", str(space), "--store", str(folder / name)]):
        raise RuntimeError(f"the sweep '{name}' failed")
    rows: list[dict[str, Any]] = json.loads(
        (folder / name / "sweeps" / name / "trials.json").read_text()
    )
    return rows


def point(row: dict[str, Any]) -> tuple[float, float]:
    """Clean and robust accuracy on validation."""
    return row["metrics"]["clean_accuracy"], row["metrics"]["robust_accuracy"]


def hypervolume(points: list[tuple[float, float]]) -> float:
    """Area that two maximised objectives dominate, from (0, 0)."""
    total, height = 0.0, 0.0
    for clean, robust in sorted(points, reverse=True):
        total += clean * max(robust - height, 0.0)
        height = max(height, robust)
    return total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    add_outputs(parser)
    options = parser.parse_args()
    lines: list[dict[str, Cell]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("full", "halving"):
            rows = run(Path(folder), name, options.trials, options.seed)
            complete = [row for row in rows if row["outcome"] == "complete"]
            points = [point(row) for row in complete]
            front = pareto_front(points, ("maximize", "maximize"))
            training = sum(row["training_s"] for row in rows)
            evaluation = sum(row["evaluation_s"] for row in rows)
            lines.append(
                {
                    "search": name,
                    "complete": f"{len(complete)} of {len(rows)}",
                    "training_s": training,
                    "evaluation_s": evaluation,
                    "hypervolume": number(hypervolume(points), 4),
                    "front": " ".join(sorted(complete[index]["label"] for index in front)),
                }
            )
    columns = {
        "search": "search",
        "complete": "to their end",
        "training_s": "training s",
        "evaluation_s": "evaluation s",
        "hypervolume": "hypervolume",
        "front": "front",
    }
    publish(Table(columns=columns, rows=lines), options)


if __name__ == "__main__":
    main()
