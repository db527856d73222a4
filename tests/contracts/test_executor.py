"""Every executor keeps the promise of `pipeline.ports.Executor`, and all give equal rows."""

import dataclasses
import time

import numpy as np
import pytest

from models import GradientEstimator
from pipeline.attacks import FGSMConfig, PGDConfig, SquareConfig
from pipeline.config import input_spec
from pipeline.data import load_dataset
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.experiment import train
from pipeline.local import LocalExecutor, MemoryStore
from pipeline.records import SplitName
from pipeline.summary import union
from pipeline.threats import (
    Source,
    Stage,
    SuiteConfig,
    load_suite,
    measure_member,
    members,
)
from tests.tiny import tiny_space
from tests.victims import failures_of, run_job


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


@pytest.fixture
def chained(study):
    """The job in another order: each member attacks what those before it left standing."""
    _, job = study
    suite = SuiteConfig(
        name="chained",
        epsilon=0.1,
        order="survivors",
        attacks={"fgsm": FGSMConfig(), "pgd2": PGDConfig(num_steps=2, num_restarts=2)},
        oracles=[GradientEstimator(), GradientEstimator(method="rga")],
        then=[Stage(attacks={"square": SquareConfig(num_queries=10)})],
    )
    return dataclasses.replace(job, members=(*members(suite), measure_member(0.1)))


@pytest.mark.ray
@pytest.mark.parametrize("order", ["all", "survivors"])
def test_local_one_worker_and_two_give_identical_rows(ray_session, study, chained, order):
    splits, job = study
    job = chained if order == "survivors" else job
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


def test_a_chain_is_handed_out_in_order_and_told_what_is_left(executor, study, chained):
    told = []
    submit = executor.submit

    def watched(task):
        told.append(task)
        submit(task)

    executor.submit = watched
    store = run_job(executor, chained)
    assert len(store.blocks) == len(told) == len(chained.tasks())
    for start in (0, 12):
        asked = [t for t in told if t.key.start == start and t.member.attack_name != "measure"]
        assert [task.member for task in asked] == list(chained.members[:-1])
        assert asked[0].standing is None
        left = store.get(asked[0].key).columns["robust"]
        for task in asked[1:]:
            expected = None if not task.member.after else tuple(left.tolist())
            assert task.standing == expected
            left = left & store.get(task.key).columns["robust"]
    assert union(chained, store)["robust_accuracy"] < union(chained, store)["clean_accuracy"]


def test_a_chain_whose_task_fails_is_told_and_over(executor, study, chained):
    splits, job = study
    # The third member's network is gone: what came before it is kept, what follows is not tried.
    lost = dataclasses.replace(
        chained.members[2], source=Source(label="s", fingerprint="a", checkpoint="/nowhere/x")
    )
    broken = dataclasses.replace(
        chained, members=(*chained.members[:2], lost, *chained.members[3:-1])
    )
    store = MemoryStore()
    (failure,) = failures_of(executor, broken, store)
    assert "no such checkpoint" in failure
    kept = {key.member for key in store.blocks}
    assert kept == {member.name for member in chained.members[:2]}


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
