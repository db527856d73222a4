"""How attacks scale with workers: `python -m benchmarks.scaling`.

One network on digits is judged by the suite `quick`, block by block, through the project's Ray
executor and store: with one worker and with two, in turn. Each run has a process, a Ray and a
store of its own; its workers have judged once before the clock starts. What two processes without
Ray make of the same blocks is the limit of the machine.
"""

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import ray

from benchmarks.report import Cell, Table, add_outputs, publish
from benchmarks.timing import ratio
from models import ModelConfig
from pipeline import checkpoints
from pipeline.adapters.parquet_store import ParquetStore
from pipeline.adapters.ray_executor import RayExecutor
from pipeline.adapters.ray_session import share_data
from pipeline.config import TrialConfig, input_spec
from pipeline.data import DigitsConfig, Split, load_dataset
from pipeline.evaluation import EvaluationTask
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.experiment import train
from pipeline.threats import load_suite, members
from pipeline.training.config import TrainingConfig
from pipeline.training.vanilla import VanillaConfig
from pipeline.worker import run_task

TRIAL = TrialConfig(
    data=DigitsConfig(num_train=600, num_validation=128),
    model=ModelConfig(architecture="small", num_timesteps=4, channels=(8, 16, 16)),
    training=TrainingConfig(epochs=3, batch_size=32, learning_rate=0.05, augmentation="none"),
    strategy=VanillaConfig(method="vanilla"),
)
EPSILON = 0.1
BLOCK = 16
"""Samples of a block."""


def network(folder: Path) -> Path:
    """The checkpoint of a network trained for a few epochs."""
    dataset = load_dataset(TRIAL.data)
    splits = {"train": dataset.train, "validation": dataset.validation}
    name = TRIAL.fingerprint()
    list(train(TRIAL, splits, input_spec(dataset), folder, fingerprint=name, device="cpu"))
    return folder / checkpoints.FILE_NAME


def judged(checkpoint: Path, num_samples: int, seed: int) -> EvaluationJob:
    """The network under suite `quick`; another seed makes it other blocks."""
    return EvaluationJob(
        label="network", fingerprint=TRIAL.fingerprint(), checkpoint=str(checkpoint),
        split="validation", members=members(load_suite("quick"), EPSILON),
        num_samples=num_samples, block_size=BLOCK, seed=seed,
    )  # fmt: skip


def splits() -> dict[str, Split]:
    """What a worker of a sweep is given."""
    return {"validation": load_dataset(TRIAL.data).validation}


def with_ray(checkpoint: Path, num_samples: int, workers: int) -> float:
    """Seconds for all blocks, from handing them out to the last one stored."""
    ray.init(
        address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR", object_store_memory=200 * 2**20,
    )  # fmt: skip
    failures = []
    with tempfile.TemporaryDirectory(prefix="scaling-") as store:
        executor = RayExecutor(
            share_data(splits()), num_cpus=1, num_gpus=0, device="cpu", revision="benchmark"
        )
        evaluator = Evaluator(executor, ParquetStore(Path(store)))
        for seed in (0, 1):  # the first one starts the workers
            began = time.perf_counter()
            evaluator.submit(
                judged(checkpoint, num_samples, seed),
                lambda job, seconds, failure: failures.append(failure),
            )
            evaluator.wait()
            seconds = time.perf_counter() - began
        evaluator.close()
    ray.shutdown()
    if any(failures):
        raise RuntimeError(failures[0] or failures[1])
    return seconds


def all_of(tasks: list[EvaluationTask]) -> None:
    """Compute blocks, one after the other, in this process."""
    data = splits()
    for task in tasks:
        run_task(task, data, device="cpu", num_threads=1, revision="benchmark")


def without_ray(pool: Executor, checkpoint: Path, num_samples: int, workers: int) -> float:
    """Seconds for the same blocks, dealt out to processes that wait for nothing."""
    for seed in (0, 1):
        tasks = judged(checkpoint, num_samples, seed).tasks()
        began = time.perf_counter()
        list(pool.map(all_of, [tasks[index::workers] for index in range(workers)]))
        seconds = time.perf_counter() - began
    return seconds


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--samples", type=int, default=128, help="judged by each member")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each variant")
    parser.add_argument("--quick", action="store_true", help="few samples, one run of each")
    add_outputs(parser)
    options = parser.parse_args()
    if options.quick:
        options.samples, options.repeat = 32, 1
    spawn = multiprocessing.get_context("spawn")
    seconds: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        checkpoint = network(Path(folder))
        for _ in range(options.repeat):
            for workers in (1, 2):
                with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                    run = pool.submit(with_ray, checkpoint, options.samples, workers)
                    seconds.setdefault(("spikeproof on Ray", workers), []).append(run.result())
                with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
                    found = without_ray(pool, checkpoint, options.samples, workers)
                    seconds.setdefault(("processes alone", workers), []).append(found)
    job = judged(checkpoint, options.samples, 1)
    count = len(job.tasks())
    rows: list[dict[str, Cell]] = []
    for name in ("spikeproof on Ray", "processes alone"):
        one, two = seconds[name, 1], seconds[name, 2]
        for workers, runs in ((1, one), (2, two)):
            rows.append(
                {
                    "how": name,
                    "workers": workers,
                    "seconds": runs,
                    "blocks_per_s": [count / run for run in runs],
                    "over_one_worker": ratio(one, two) if workers > 1 else 1,
                }
            )
    columns = {
        "how": "",
        "workers": "workers",
        "seconds": "s",
        "blocks_per_s": "blocks a second",
        "over_one_worker": "ratio to one worker",
    }
    note = f"{count} blocks of {BLOCK} samples, suite quick, {options.repeat} runs each, in turn"
    publish(Table(columns=columns, rows=rows, note=note), options)


if __name__ == "__main__":
    main()
