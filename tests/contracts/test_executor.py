"""Every executor keeps the promise of `pipeline.ports.Executor`, and all give equal rows."""

import dataclasses
import time

import numpy as np
import pytest

from pipeline.config import input_spec
from pipeline.data import load_dataset
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.experiment import train
from pipeline.local import LocalExecutor, MemoryStore
from pipeline.records import SplitName
from pipeline.summary import union
from pipeline.threats import load_suite, measure_member, members
from tests.tiny import tiny_space


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A trained tiny network, its splits, and the job that judges it."""
    folder = tmp_path_factory.mktemp("executor")
    space = tiny_space(folder)
    dataset = load_dataset(space.data)
    trial = space.trial("vanilla")
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    for _ in train(trial, splits, input_spec(dataset), folder, fingerprint=trial.fingerprint()):
        pass
    job = EvaluationJob(
        label="vanilla",
        fingerprint=trial.fingerprint(),
        checkpoint=str(folder / "checkpoint.safetensors"),
        split=SplitName.VALIDATION.value,
        members=(*members(load_suite(space.evaluation.suite), 0.1), measure_member(0.1)),
        num_samples=24,
        block_size=12,
        seed=0,
    )
    return splits, job


def ray_executor(ray, splits, num_cpus=1, num_gpus=0.0):
    from pipeline.adapters.ray_executor import RayExecutor

    return RayExecutor(
        ray.put(splits), num_cpus=num_cpus, num_gpus=num_gpus, device="cpu", revision="test"
    )


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request, study):
    splits, _ = study
    if request.param == "local":
        made = LocalExecutor(splits, device="cpu", num_threads=1)
    else:
        made = ray_executor(request.getfixturevalue("ray_session"), splits)
    yield made
    made.close()


def collect(executor, count, patience_s=120):
    finished, deadline = [], time.monotonic() + patience_s
    while len(finished) < count and time.monotonic() < deadline:
        finished += executor.completed(0.5)
    return finished


def test_each_task_comes_back_once(executor, study):
    tasks = study[1].tasks()[:3]
    for task in tasks:
        executor.submit(task)
    finished = collect(executor, 3)
    assert {f.task.key for f in finished} == {task.key for task in tasks}
    assert all(f.block is not None and len(f.block) == 12 for f in finished)
    assert executor.completed(0.1) == []
    assert executor.num_slots >= 1


def test_a_failing_task_comes_back_with_its_reason(executor, study):
    bad = dataclasses.replace(study[1].tasks()[0], checkpoint="/nowhere/checkpoint.safetensors")
    executor.submit(bad)
    (finished,) = collect(executor, 1)
    assert finished.block is None
    assert "no such checkpoint" in finished.failure


def run_job(executor, job):
    store, ended = MemoryStore(), []
    evaluator = Evaluator(executor, store)
    evaluator.submit(job, lambda *result: ended.append(result))
    evaluator.wait()
    evaluator.close()
    assert [failure for _, _, failure in ended] == [""]
    return store


@pytest.mark.ray
def test_local_one_worker_and_two_give_identical_rows(ray_session, study):
    splits, job = study
    stores = [
        run_job(LocalExecutor(splits, device="cpu", num_threads=1), job),
        # Two CPUs a task leave room for one worker at a time; the tasks' thread count must not
        # differ, so the one-worker run asks for both CPUs through GPUs instead.
        run_job(ray_executor(ray_session, splits, num_gpus=2.0), job),
        run_job(ray_executor(ray_session, splits, num_gpus=1.0), job),
    ]
    for task in job.tasks():
        blocks = [store.get(task.key) for store in stores]
        for name, values in blocks[0].columns.items():
            for other in blocks[1:]:
                np.testing.assert_array_equal(values, other.columns[name], err_msg=name)


def test_finished_blocks_are_not_computed_again(study):
    splits, job = study
    store = run_job(LocalExecutor(splits, device="cpu"), job)

    class Refusing(LocalExecutor):
        def submit(self, task):
            raise AssertionError(f"{task.key} was stored already")

    evaluator = Evaluator(Refusing(splits), store)
    ended = []
    evaluator.submit(job, lambda *result: ended.append(result))
    evaluator.wait()
    evaluator.close()
    assert len(ended) == 1


def test_a_failed_job_is_reported_once_and_keeps_what_it_has(study):
    splits, job = study
    broken = dataclasses.replace(job, checkpoint="/nowhere/checkpoint.safetensors")
    store, ended = MemoryStore(), []
    evaluator = Evaluator(LocalExecutor(splits, device="cpu"), store)
    evaluator.submit(broken, lambda *result: ended.append(result))
    evaluator.wait()
    evaluator.close()
    assert len(ended) == 1
    assert "no such checkpoint" in ended[0][2]
    assert store.blocks == {}


def test_the_union_counts_a_sample_only_if_every_member_spares_it(study):
    splits, job = study
    store = run_job(LocalExecutor(splits, device="cpu"), job)
    robust = np.ones(24, dtype=bool)
    for member in job.members[:-1]:
        own = [store.get(t.key) for t in job.tasks() if t.member == member]
        rows = np.concatenate([block.columns["robust"] for block in own])
        if member.name == "clean":
            assert union(job, store)["clean_accuracy"] == rows.mean()
        robust &= rows
    metrics = union(job, store)
    assert metrics["robust_accuracy"] == robust.mean()
    assert metrics["robust_accuracy"] <= metrics["clean_accuracy"]
    assert metrics["gradient_l1"] > 0
