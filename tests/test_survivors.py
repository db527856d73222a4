"""Attacks on survivors, restarts, costs, transfer, averaged draws: what each verdict rests on."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from models import GradientEstimator
from pipeline.attacks import (
    ATTACKS,
    FLIPPING,
    APGDConfig,
    AttackConfig,
    FABConfig,
    FGSMConfig,
    NoiseConfig,
    Oracle,
    PGDConfig,
    RFGSMConfig,
    SAPGDConfig,
    SquareConfig,
    build_attack,
)
from pipeline.data import Split
from pipeline.evaluation import EvaluationTask, evaluating
from pipeline.evaluation import judged as answers
from pipeline.local import LocalExecutor, MemoryStore
from pipeline.logits import margin
from pipeline.ports import Finished
from pipeline.records import Block
from pipeline.seeding import seeded
from pipeline.summary import survivors, union
from pipeline.threats import Member, Source, Stage, SuiteConfig, measure_member, members
from pipeline.worker import run_task
from tests import victims
from tests.victims import (
    CLEAN,
    RGA,
    TRIANGLE,
    Exactly,
    failures_of,
    job_of,
    judged,
    member,
    run_job,
)

EPSILON = 0.06
ASSG = GradientEstimator(method="assg")
ATTACKED: dict[str, AttackConfig] = {
    "noise": NoiseConfig(num_draws=3),
    "fgsm": FGSMConfig(),
    "pgd": PGDConfig(num_steps=3, num_restarts=2),
    "any": PGDConfig(num_steps=4, iterate="any", loss="margin", num_restarts=3),
    "square": SquareConfig(num_queries=15),
}
THEN = [
    Stage(attacks={"sa": SAPGDConfig(num_steps=3)}, oracles=[ASSG]),
    Stage(attacks={"apgd": APGDConfig(num_steps=4, loss="dlr", num_restarts=2)}, oracles=[RGA]),
    Stage(
        attacks={
            "t": APGDConfig(num_steps=2, loss="targeted_dlr", num_targets=2),
            "fab": FABConfig(num_steps=3, num_targets=2),
        },
        oracles=[TRIANGLE],
    ),
    Stage(attacks={"far": PGDConfig(num_steps=2)}, oracles=[TRIANGLE], epsilon_factor=4),
]


def rows_of_suite(order: Any) -> tuple[Member, ...]:
    wanted = SuiteConfig(
        name="s", epsilon=EPSILON, order=order, attacks=ATTACKED, oracles=[TRIANGLE, RGA], then=THEN
    )
    return members(wanted)


ALL, CHAINED = rows_of_suite("all"), rows_of_suite("survivors")


class Recording(LocalExecutor):
    """Remembers what it was asked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[EvaluationTask] = []

    def submit(self, task: EvaluationTask) -> None:
        self.asked.append(task)
        super().submit(task)


def executor(split: Split, network: nn.Module) -> Recording:
    return Recording({"validation": split}, device="cpu", networks={"victim": network})


def columns(store: MemoryStore, job: Any, wanted: Member) -> dict[str, Any]:
    """All samples' rows of one member."""
    blocks = [store.get(task.key) for task in job.tasks() if task.member == wanted]
    return {name: np.concatenate([b.columns[name] for b in blocks]) for name in blocks[0].columns}


@pytest.fixture(scope="module")
def both_orders(trained: tuple[Path, Split]) -> tuple[Any, ...]:
    """One suite's rows in both orders, by a network without rounding; two blocks."""
    path, split = trained
    network = Exactly(victims.network(path))
    jobs = [job_of(rows, 48, 30) for rows in (ALL, CHAINED)]
    return tuple((job, run_job(executor(split, network), job)) for job in jobs)


def test_the_union_over_survivors_is_the_union_over_all(both_orders: Any) -> None:
    (job, store), (chained, chain_store) = both_orders
    left = survivors(job, store)
    np.testing.assert_array_equal(left, survivors(chained, chain_store))
    assert union(job, store) == union(chained, chain_store)
    clean = columns(store, job, ALL[0])["robust"]
    singles = [columns(store, job, row)["robust"].sum() for row in ALL[1:] if row.counted]
    # No member does it alone, so the order matters for what each of them is asked.
    assert 0 < left.sum() < min(singles) < clean.sum() < len(clean)


def test_a_survivors_verdict_is_the_one_it_would_have_had_among_all(both_orders: Any) -> None:
    (job, store), (chained, chain_store) = both_orders
    for alone, after in zip(ALL, CHAINED, strict=True):
        whole, part = columns(store, job, alone), columns(chain_store, chained, after)
        same = part["attacked"] if after.attack else np.ones(48, dtype=bool)
        costs = () if after.attack_name == "fab" else ("num_forward", "num_backward")
        for name in ("robust", "predicted", "restart", "distance", *costs):
            np.testing.assert_array_equal(part[name][same], whole[name][same], err_msg=name)
        np.testing.assert_allclose(part["margin"][same], whole["margin"][same], rtol=1e-5)


def test_what_is_broken_is_not_attacked_again(both_orders: Any) -> None:
    _, (chained, store) = both_orders
    clean = columns(store, chained, CHAINED[0])["robust"]
    standing, found = clean, 0
    for row in CHAINED[1:]:
        rows = columns(store, chained, row)
        expected = standing if row.after or row == CHAINED[1] else clean
        np.testing.assert_array_equal(rows["attacked"], expected)
        assert not rows["robust"][~expected].any()
        assert set(rows["num_forward"][~expected]) | set(rows["num_backward"][~expected]) == {0}
        broken = clean & ~expected
        assert (rows["predicted"][broken] == -1).all()
        assert np.isnan(rows["margin"][broken]).all()
        assert np.isnan(rows["share"][broken]).all()
        assert (rows["distance"][broken] == 0).all()
        assert (rows["num_forward"][expected] > 0).all()
        if row.counted:
            standing, found = rows["robust"], found + int(broken.sum())
    assert found > 0


def test_clean_mistakes_are_asked_about_no_more_down_the_chain(both_orders: Any) -> None:
    (job, whole), (chained, store) = both_orders
    clean = columns(store, chained, CHAINED[0])
    wrong = ~clean["robust"]
    assert wrong.any()
    assert (clean["margin"][wrong] <= 0).all()
    for alone, row in zip(ALL[1:], CHAINED[1:], strict=True):
        rows = columns(store, chained, row)
        assert not (rows["attacked"] | rows["robust"])[wrong].any()
        if row.after:
            assert (rows["predicted"][wrong] == -1).all()
        # Where every member attacks every sample, it judges the clean mistakes as they are.
        everyone = columns(whole, job, alone)
        np.testing.assert_array_equal(everyone["predicted"][wrong], clean["predicted"][wrong])


def test_a_control_is_asked_about_all_samples_and_not_counted(both_orders: Any) -> None:
    (job, store), (chained, chain_store) = both_orders
    rows = columns(chain_store, chained, CHAINED[-1])
    assert CHAINED[-1].attack_name == "far"
    np.testing.assert_array_equal(rows["attacked"], columns(store, job, ALL[0])["robust"])
    assert rows["robust"].sum() < survivors(chained, chain_store).sum()


PREFIX = CHAINED[: 1 + 2 * 2]
"""Clean, noise, and two attacks of which the first goes through both oracles."""


def stored_first(number: int, _start: int) -> bool:
    return number < 3


def stored_last(number: int, _start: int) -> bool:
    return number >= 3


def stored_gaps(number: int, start: int) -> bool:
    return (number + start // 20) % 2 == 0


def stored_block(_number: int, start: int) -> bool:
    return start == 0


@pytest.mark.parametrize("kept", [stored_first, stored_last, stored_gaps, stored_block])
def test_an_interrupted_chain_ends_with_the_rows_of_an_undisturbed_one(
    victim: nn.Module, split: Split, kept: Callable[[int, int], bool]
) -> None:
    rows = (*PREFIX, measure_member(EPSILON))
    job = job_of(rows, 40, 20)
    whole = run_job(executor(split, victim), job)
    half = MemoryStore()
    for task in job.tasks():
        if kept(rows.index(task.member), task.key.start):
            half.put(task.key, whole.get(task.key))
    before, again = set(half.blocks), executor(split, victim)
    run_job(again, job, half)
    assert 0 < len(before) < len(whole.blocks)
    assert {task.key for task in again.asked} == set(whole.blocks) - before
    assert len(again.asked) == len(whole.blocks) - len(before)
    assert half.blocks.keys() == whole.blocks.keys()
    for key, block in whole.blocks.items():
        for name, values in block.columns.items():
            np.testing.assert_array_equal(half.get(key).columns[name], values, err_msg=name)


class Failing(Recording):
    """Fails at the tasks of one member, in the first block."""

    def __init__(self, *args: Any, at: Member, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at = at

    def completed(self, timeout_s: float) -> list[Finished]:
        waiting = self._waiting[0] if self._waiting else None
        if waiting is not None and waiting.member == self._at and waiting.key.start == 0:
            self._waiting.pop(0)
            return [Finished(task=waiting, block=None, failure="Traceback\nbroken here")]
        return super().completed(timeout_s)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("position", range(len(PREFIX)))
def test_a_failing_task_ends_its_chain_and_the_job_with_its_failure(
    victim: nn.Module, split: Split, position: int
) -> None:
    job, store = job_of(PREFIX, 24, 8), MemoryStore()
    failing = Failing(
        {"validation": split}, device="cpu", networks={"victim": victim}, at=PREFIX[position]
    )
    assert failures_of(failing, job, store) == ["Traceback\nbroken here"]
    first = {key.member_hash for key in store.blocks if key.start == 0}
    assert first == {row.hash for row in PREFIX[:position]}
    assert {PREFIX.index(task.member) for task in failing.asked if task.key.start == 0} == set(
        range(position + 1)
    )
    # Two chains were under way; the third is not begun for a job that has failed.
    assert {task.key.start for task in failing.asked} == {0, 8}
    # What was stored is taken up by the next run.
    run_job(executor(split, victim), job, store)
    assert len(store.blocks) == 3 * len(PREFIX)


@pytest.mark.timeout(60)
def test_a_failing_chain_does_not_take_other_jobs_with_it(victim: nn.Module, split: Split) -> None:
    store, job = MemoryStore(), job_of(PREFIX, 24, 12)
    assert "KeyError" in failures_of(
        executor(split, victim), dataclasses.replace(job, split="test"), store
    )[0]  # fmt: skip
    assert store.blocks == {}
    run_job(executor(split, victim), job, store)


class Steadfast(nn.Module):
    """Answers class 0 whatever it sees, with a gradient: no attack ever succeeds."""

    def forward(self, images: Tensor) -> Tensor:
        brightness = images.flatten(1).mean(1, keepdim=True)
        others = torch.arange(1, 10, device=images.device, dtype=images.dtype)
        return torch.cat([10.0 + brightness, brightness * others / 10.0], dim=1)


def zeros(count: int = 6, *, value: int = 128) -> Split:
    """Grey images of class 0."""
    return Split(
        images=np.full((count, 1, 4, 4), value, dtype=np.uint8),
        labels=np.zeros(count, dtype=np.int64),
    )


@pytest.mark.parametrize(
    ("attack", "forward", "backward"),
    [
        (FGSMConfig(), 1, 1),
        (RFGSMConfig(num_restarts=2), 2, 2),
        (PGDConfig(num_steps=7), 7, 7),
        (PGDConfig(num_steps=7, iterate="any"), 7, 7),
        (PGDConfig(num_steps=4, num_restarts=3), 12, 12),
        (APGDConfig(num_steps=5), 6, 6),
        (APGDConfig(num_steps=5, num_restarts=2), 12, 12),
        (APGDConfig(num_steps=3, loss="targeted_dlr"), 1 + 9 * 4, 9 * 4),
        (APGDConfig(num_steps=3, loss="targeted_dlr", num_targets=2), 1 + 2 * 4, 2 * 4),
        (SAPGDConfig(num_steps=6), 7, 6),
        (SAPGDConfig(num_steps=6, iterate="last"), 6, 6),
        (SquareConfig(num_queries=11), 12, 0),
        (SquareConfig(num_queries=11, num_restarts=2), 24, 0),
        (NoiseConfig(num_draws=5), 5, 0),
    ],
    ids=lambda value: value.method if hasattr(value, "method") else str(value),
)
@pytest.mark.parametrize("eot_draws", [1, 3])
def test_what_an_attack_costs_where_nothing_breaks(
    attack: AttackConfig, forward: int, backward: int, eot_draws: int
) -> None:
    asked = member(attack, GradientEstimator(method="own"), eot_draws=eot_draws, judge_draws=2)
    rows = judged(Steadfast(), zeros(), asked, stop=6).columns
    assert rows["attacked"].all()
    assert rows["robust"].all()
    assert set(rows["num_forward"]) == {forward * eot_draws}
    assert set(rows["num_backward"]) == {backward * eot_draws}
    assert getattr(attack, "gradient_steps", 0) == backward
    assert set(rows["restart"]) == {getattr(attack, "num_restarts", 1) - 1}


class Brightness(nn.Module):
    """Class 1 above a mean of one half, class 0 below; counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.judged, self.differentiated = 0, 0

    def forward(self, images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.differentiated += 1
        else:
            self.judged += 1
        excess = images.flatten(1).mean(1) - 0.5
        return torch.stack([-excess, excess], dim=1)


def test_a_sample_costs_what_it_took_to_break_it() -> None:
    """Means 28/255 to 1/255 below the threshold, steps of 8/255 without a random start."""
    below = np.array([1, 7, 9, 20, 28])
    grey = 127.5 - below  # judged in uint8, so the true gap is half a step smaller or larger
    pixels = np.floor(grey).astype(np.uint8)
    split = Split(
        images=np.broadcast_to(pixels[:, None, None, None], (5, 1, 4, 4)).copy(),
        labels=np.zeros(5, dtype=np.int64),
    )
    attack = PGDConfig(num_steps=5, step_size=8 / 255, random_start=False, iterate="any",
                       num_restarts=2)  # fmt: skip
    rows = judged(Brightness(), split, member(attack, None, epsilon=24.7 / 255), stop=5).columns
    # Gaps of 1.5, 7.5, 9.5, 20.5 and 28.5: one, one, two, three steps, and out of reach.
    np.testing.assert_array_equal(rows["robust"], [False, False, False, False, True])
    # The gradient after the last step finds the sample broken; two tries where nothing helps.
    np.testing.assert_array_equal(rows["num_backward"], [2, 2, 3, 4, 10])
    np.testing.assert_array_equal(rows["num_forward"], rows["num_backward"])
    np.testing.assert_array_equal(rows["restart"], [0, 0, 0, 0, 1])
    np.testing.assert_allclose(rows["distance"][:4], np.array([8, 8, 16, 24]) / 255, atol=1e-6)


def test_square_asks_no_further_once_a_sample_is_broken() -> None:
    near, far = zeros(1, value=127), zeros(1, value=0)
    both = Split(
        images=np.concatenate([near.images, far.images]), labels=np.zeros(2, dtype=np.int64)
    )
    asked = member(SquareConfig(num_queries=60), None, epsilon=0.2)
    rows = judged(Brightness(), both, asked, stop=2).columns
    np.testing.assert_array_equal(rows["robust"], [False, True])
    assert 1 <= rows["num_forward"][0] < 30
    assert rows["num_forward"][1] == 61


def test_costs_of_the_judge_are_nobodys_but_counted_apart() -> None:
    """The victim is asked once before and once after each try; the cost is the attacker's."""
    counting = Brightness()
    asked = member(PGDConfig(num_steps=3, num_restarts=2), None, epsilon=0.01, judge_draws=4)
    rows = judged(counting, zeros(value=0), asked, stop=6).columns
    assert (counting.judged, counting.differentiated) == (4 * 3, 6)
    assert set(rows["num_forward"]) == {6}


def test_restarts_lower_accuracy_alone_and_the_one_that_decides_is_named(
    trained: tuple[Path, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three numbers of restarts are three attacks, each with random numbers of its own.
    monkeypatch.setattr(Member, "seed_hash", "of all three")
    network, split = Exactly(victims.network(trained[0])), trained[1]
    rows = []
    for count in (1, 2, 4):
        attack = PGDConfig(num_steps=1, relative_step_size=0.2, num_restarts=count)
        rows.append(judged(network, split, member(attack, epsilon=0.2)).columns)
    robust = [row["robust"] for row in rows]
    assert all((~more | less).all() for less, more in zip(robust, robust[1:], strict=False))
    assert robust[2].sum() < robust[0].sum()
    restart, attacked = rows[2]["restart"], rows[2]["attacked"]
    # Broken first where fewer tries were not enough, and the last try where none was.
    np.testing.assert_array_equal(attacked & ~robust[0], attacked & (restart == 0))
    np.testing.assert_array_equal(robust[0] & ~robust[1], attacked & (restart == 1))
    np.testing.assert_array_equal(robust[1] & ~robust[2], attacked & (restart >= 2) & ~robust[2])
    assert (restart[robust[2]] == 3).all()
    np.testing.assert_array_equal(rows[2]["num_backward"], (restart + 1) * attacked)


def test_robust_accuracy_does_not_rise_with_the_radius(
    trained: tuple[Path, Split],
) -> None:
    network, split = Exactly(victims.network(trained[0])), trained[1]
    attack = PGDConfig(num_steps=20, relative_step_size=0.2, iterate="any", loss="margin")
    rates = [
        judged(network, split, member(attack, epsilon=epsilon), stop=48).columns["robust"].mean()
        for epsilon in (0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.4)
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[3] > rates[-1] == 0


ONE_OF_EACH = {
    name: TypeAdapter(AttackConfig).validate_python({"method": name} | quick)
    for name, quick in {
        "fgsm": {},
        "rfgsm": {},
        "pgd": {"num_steps": 4},
        "apgd": {"num_steps": 5, "loss": "dlr"},
        "sa_pgd": {"num_steps": 4},
        "fab": {"num_steps": 4, "num_targets": 2},
        "square": {"num_queries": 20},
        "noise": {},
    }.items()
}


def test_every_attack_is_among_those_tried_here() -> None:
    assert ONE_OF_EACH.keys() | {*FLIPPING, "nothing"} == ATTACKS.keys()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_radius_zero_is_clean_accuracy_for_every_attack(
    victim: nn.Module, split: Split, name: str
) -> None:
    still = judged(victim, split, member(ONE_OF_EACH[name], epsilon=0.0)).columns
    clean = judged(victim, split, CLEAN).columns
    for column in ("robust", "predicted", "margin"):
        np.testing.assert_array_equal(still[column], clean[column], err_msg=column)
    assert set(still["distance"]) == {0.0}
    assert still["attacked"].sum() == clean["robust"].sum()


ESTIMATED = [
    GradientEstimator(surrogate="sigmoid"),
    *(GradientEstimator(method=name) for name in ("bptr", "hart", "pdsg", "assg", "relu")),
]


@pytest.mark.parametrize(
    "asked",
    [
        *(member(attack, RGA) for attack in ONE_OF_EACH.values()),
        member(APGDConfig(num_steps=2, loss="targeted_dlr", num_targets=2), TRIANGLE),
        *(member(PGDConfig(num_steps=3, iterate="any", num_restarts=2), e) for e in ESTIMATED),
    ],
    ids=lambda value: value.name,
)
def test_verdicts_do_not_depend_on_who_else_is_in_the_block(
    trained: tuple[Path, Split], asked: Member
) -> None:
    network, split = Exactly(victims.network(trained[0])), trained[1]

    def rows(size: int) -> dict[str, Any]:
        ranges = [(start, min(start + size, 32)) for start in range(0, 32, size)]
        blocks = [judged(network, split, asked, start=a, stop=b).columns for a, b in ranges]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    # FAB's authors' code knows of its whole batch alone what it cost.
    costs = () if asked.attack_name == "fab" else ("num_forward", "num_backward")
    together = rows(32)
    assert 0 < together["robust"].sum() < together["attacked"].sum()
    for size in (1, 7):
        apart = rows(size)
        for name in ("sample", "robust", "predicted", "restart", *costs):
            np.testing.assert_array_equal(apart[name], together[name], err_msg=f"{name}, {size}")
        np.testing.assert_allclose(apart["margin"], together["margin"], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of another shape, and of other neurons."""
    folder = tmp_path_factory.mktemp("other") / "other"
    return victims.train_digits(folder, victims.small(2, (6, 8, 10)), epochs=3)


def through(path: Path, attack: AttackConfig, estimator: GradientEstimator | None) -> Member:
    source = Source(label="other", fingerprint="aaaa", checkpoint=str(path))
    return member(attack, estimator, source=source)


TRANSFERRED = PGDConfig(num_steps=8, loss="margin")


def test_a_transferred_attack_follows_the_source_and_is_judged_by_the_victim(
    victim: nn.Module, split: Split, other: Path
) -> None:
    source = victims.network(other)
    asked = through(other, TRANSFERRED, TRIANGLE)
    rows = judged(victim, split, asked, source=source).columns
    white = judged(victim, split, member(TRANSFERRED)).columns
    clean = judged(victim, split, CLEAN).columns["robust"]
    # Weaker than the victim's own gradient, better than none.
    assert white["robust"].sum() < rows["robust"].sum() < clean.sum()
    assert set(rows["oracle"]) == {"triangle@other"}
    np.testing.assert_array_equal(rows["attacked"], clean)


def test_the_victim_as_its_own_source_is_a_white_box(victim: nn.Module, split: Split) -> None:
    mirror = through(Path("victim"), TRANSFERRED, TRIANGLE)
    white = member(TRANSFERRED)
    # Random starts are drawn by member, so compare the attack without one.
    still = dataclasses.replace(TRANSFERRED, random_start=False)
    mirror, white = (dataclasses.replace(row, attack=still) for row in (mirror, white))
    rows = judged(victim, split, mirror, source=victim).columns
    expected = judged(victim, split, white).columns
    for name in ("robust", "margin", "num_forward", "num_backward"):
        np.testing.assert_array_equal(rows[name], expected[name], err_msg=name)


def test_a_source_has_surrogates_of_its_own(victim: nn.Module, split: Split, other: Path) -> None:
    source = victims.network(other)
    margins = [
        judged(victim, split, through(other, FGSMConfig(), e), source=source).columns["margin"]
        for e in (TRIANGLE, RGA, GradientEstimator(method="own"))
    ]
    assert not np.array_equal(margins[0], margins[1])
    np.testing.assert_array_equal(margins[0], margins[2])


def test_a_transfer_asks_the_victim_about_the_last_image_alone(split: Split, other: Path) -> None:
    asked = through(other, PGDConfig(num_steps=3, epsilon=0.01, num_restarts=2), TRIANGLE)
    counting = Brightness()
    dark = Split(images=np.zeros((6, 1, 8, 8), dtype=np.uint8), labels=np.zeros(6, dtype=np.int64))
    rows = judged(counting, dark, asked, source=victims.network(other), stop=6).columns
    assert (counting.judged, counting.differentiated) == (3, 0)
    assert set(rows["num_forward"]) == set(rows["num_backward"]) == {6}


def test_source_and_victim_are_left_as_they_were(
    victim: nn.Module, split: Split, other: Path
) -> None:
    source = victims.network(other).train()
    usual = judged(victim, split, through(other, FGSMConfig(), RGA), source=source, stop=16)
    assert source.training
    assert not victim.training
    again = judged(victim, split, through(other, FGSMConfig(), RGA), source=source.eval(), stop=16)
    np.testing.assert_array_equal(usual.columns["margin"], again.columns["margin"])


def test_a_worker_loads_the_source_from_its_checkpoint(
    trained: tuple[Path, Split], victim: nn.Module, other: Path
) -> None:
    path, split = trained
    asked = through(other, TRANSFERRED, RGA)
    task = victims.task(asked, stop=24, checkpoint=str(path))
    block = run_task(task, {"validation": split}, device="cpu", num_threads=1, revision="r")
    here = judged(victim, split, asked, source=victims.network(other), stop=24)
    for name, values in here.columns.items():
        np.testing.assert_array_equal(block.columns[name], values, err_msg=name)
    gone = through(other.with_name("gone.safetensors"), TRANSFERRED, RGA)
    with pytest.raises(Exception, match="no such checkpoint"):
        run_task(
            victims.task(gone, stop=8, checkpoint=str(path)),
            {"validation": split},
            device="cpu",
            num_threads=1,
            revision="r",
        )


DRAWN = PGDConfig(num_steps=3, num_restarts=2)


@pytest.fixture(scope="module")
def coin(poisson: Path) -> nn.Module:
    """A network whose inputs are drawn anew at every pass."""
    return victims.network(poisson).eval()


def gradients(network: nn.Module, split: Split, draws: int, repeats: int = 12) -> Tensor:
    images = torch.tensor(split.images[:8]) / 255
    labels = torch.tensor(split.labels[:8])
    asked = Oracle.of(network, labels, eot_draws=draws)
    found = [asked.gradient(images, labels, margin)[0] for _ in range(repeats)]
    return torch.stack(found)


def test_gradients_averaged_over_draws_vary_less(coin: nn.Module, split: Split) -> None:
    torch.manual_seed(0)
    single, averaged = (gradients(coin, split, draws).var(0).mean() for draws in (1, 16))
    # A sixteenth in expectation.
    assert single / 32 < averaged < single / 8


def test_mean_logits_decide_and_the_share_of_right_draws_is_kept(
    coin: nn.Module, split: Split
) -> None:
    asked = dataclasses.replace(CLEAN, judge_draws=10)
    task = victims.task(asked, stop=64)
    rows = judged(coin, split, asked, stop=64).columns
    labels = torch.tensor(split.labels[:64])
    images = torch.tensor(split.images[:64]) / 255
    key = task.key
    with seeded(key.seed, key.fingerprint, key.split, "judge", key.start):
        logits, share = answers(coin, images, labels, 10)
    np.testing.assert_array_equal(rows["predicted"], logits.argmax(1).numpy())
    np.testing.assert_array_equal(rows["share"], share.numpy())
    assert set(np.round(10 * rows["share"], 6)) <= set(range(11))
    undecided = (rows["share"] > 0) & (rows["share"] < 1)
    assert undecided.sum() >= 5
    assert rows["robust"][rows["share"] == 1].all()
    assert not rows["robust"][rows["share"] == 0].any()


class Deck(nn.Module):
    """Answers in turn; class 0 is right on one of three draws, and by the mean."""

    ANSWERS = ((3.0, 0.0), (0.0, 1.0), (0.0, 1.0))

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def forward(self, images: Tensor) -> Tensor:
        answer = torch.tensor(self.ANSWERS[self.asked % 3])
        self.asked += 1
        return answer.expand(len(images), 2) + 0.0 * images.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize(("draws", "share", "lead"), [(1, 1.0, 3.0), (3, 1 / 3, 1 / 3)])
def test_the_mean_decides_not_the_majority(draws: int, share: float, lead: float) -> None:
    asked = dataclasses.replace(CLEAN, judge_draws=draws)
    rows = judged(Deck(), zeros(2), asked, stop=2).columns
    assert rows["robust"].all()
    np.testing.assert_allclose(rows["share"], share)
    np.testing.assert_allclose(rows["margin"], lead, rtol=1e-6)


@pytest.mark.parametrize("attack", [DRAWN, SquareConfig(num_queries=10)], ids=["pgd", "square"])
def test_an_image_left_as_it_is_keeps_its_verdict_by_a_random_network(
    coin: nn.Module, split: Split, attack: AttackConfig
) -> None:
    """Else members that change nothing would break by chance what is nearly undecided."""
    clean = dataclasses.replace(CLEAN, judge_draws=2)
    still = member(attack, epsilon=0.0, eot_draws=2, judge_draws=2)
    rows, expected = (judged(coin, split, asked, stop=64).columns for asked in (still, clean))
    assert (rows["share"] % 1 > 0).any()
    for name in ("robust", "predicted", "margin", "share"):
        np.testing.assert_array_equal(rows[name], expected[name], err_msg=name)


@pytest.mark.parametrize("attack", [DRAWN, SquareConfig(num_queries=10)], ids=["pgd", "square"])
def test_a_random_networks_block_is_the_same_each_time(
    coin: nn.Module, split: Split, attack: AttackConfig
) -> None:
    asked = member(attack, eot_draws=3, judge_draws=4)
    blocks: list[Block] = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        coin(torch.rand(3, 1, 8, 8))
        blocks.append(judged(coin, split, asked, stop=24))
    for name, values in blocks[0].columns.items():
        np.testing.assert_array_equal(blocks[1].columns[name], values, err_msg=name)
    elsewhere = judged(coin, split, asked, stop=24, seed=1)
    assert not np.array_equal(elsewhere.columns["margin"], blocks[0].columns["margin"])


def test_a_single_draw_is_a_worse_judge_of_what_stands(coin: nn.Module, split: Split) -> None:
    """The same attack, judged by one draw, would call mistakes of the network's own broken."""
    shares: Sequence[Any] = [
        judged(coin, split, dataclasses.replace(CLEAN, judge_draws=draws), stop=64).columns
        for draws in (1, 10)
    ]
    assert set(shares[0]["share"]) <= {0.0, 1.0}
    assert shares[0]["robust"].mean() < shares[1]["robust"].mean()


def test_an_attack_may_be_called_without_any_bookkeeping(victim: nn.Module, split: Split) -> None:
    """Training calls attacks with a bare network; draws then come from torch's generator."""
    images, labels = torch.tensor(split.images[:8]) / 255, torch.tensor(split.labels[:8])
    attack = build_attack(PGDConfig(num_steps=2), 0.1)
    with evaluating(victim):
        torch.manual_seed(0)
        first = attack(victim, images, labels)
        torch.manual_seed(0)
        assert torch.equal(attack(victim, images, labels), first)
    assert not torch.equal(first, images)
