"""The arithmetic of a plan, on cases computed by hand."""

from dataclasses import replace

import pytest

from pipeline.attacks import APGDConfig, NoiseConfig, PGDConfig, SquareConfig
from pipeline.costs import Case, Phase, Plan, Rate, front_size, go_on, mean_front, wall_clock
from pipeline.evaluator import EvaluationJob
from pipeline.suite_costs import (
    FORWARD,
    Fate,
    SuiteRates,
    job_seconds,
    kinds,
    num_steps,
    shortened,
    steps_to_break,
)
from pipeline.threats import in_order, load_suite, measure_member, members, probe_member
from tests.tiny import write_space


def test_a_rate_goes_through_both_measurements() -> None:
    rate = Rate.through((2, 3.0), (10, 7.0))
    assert rate == Rate(fixed_s=2.0, sample_s=0.5)
    assert rate.seconds(4) == 4.0
    assert rate.seconds(0) == 0.0
    # A part of its own below zero is none; of one batch the cost is in proportion.
    assert Rate.through((2, 1.0), (10, 10.0)) == Rate(sample_s=1.0)
    assert Rate.through((2, 1.0)) == Rate(sample_s=0.5)


def test_the_front_of_random_points() -> None:
    assert [mean_front(n, 2) for n in (0, 1, 2, 3)] == pytest.approx([0, 1, 1.5, 11 / 6])
    assert mean_front(2, 3) == 1 / 1 + 1.5 / 2
    assert mean_front(9, 1) == 1
    assert [front_size(case, 3, 2) for case in Case] == pytest.approx([1, 11 / 6, 3])


def test_halving_lets_on_average_so_many_go_on() -> None:
    # Of 4 with factor 2: the first; the second by 1.5 / 2; then 2 / 3, and 25 / 12 of 4.
    assert go_on(Case.ABOUT, 4, 2) == pytest.approx(1 + 0.75 + 2 / 3 + 25 / 48)
    assert [go_on(case, 4, 2) for case in (Case.LEAST, Case.MOST)] == [1, 4]
    assert go_on(Case.MOST, 0, 2) == 0


def test_wall_clock_lies_between_the_best_and_the_worst_packing() -> None:
    # 12 s on 3 slots, the longest piece 3 s: 4 s at best; at worst it begins when 9 s are done.
    assert [wall_clock(case, 12, 3, 3) for case in Case] == pytest.approx([4, 5, 6])
    assert wall_clock(Case.LEAST, 12, 8, 3) == 8
    assert [wall_clock(case, 12, 8, 1) for case in Case] == [12, 12, 12]


def test_stages_follow_each_other() -> None:
    plan = Plan(
        case=Case.LEAST,
        phases=[
            Phase(stage="search", name="training", count=4, work_s=10, longest_s=3, bytes=5),
            Phase(stage="search", name="evaluation", count=4, work_s=2, longest_s=1, bytes=1),
            Phase(stage="report", name="report", count=1, work_s=8, longest_s=6),
        ],
        slots=2,
    )
    assert (plan.work_s, plan.bytes) == (20, 6)
    assert plan.wall_s() == 12 / 2 + 6
    assert plan.wall_s(8) == 3 + 6


def test_steps_of_those_that_survive_and_of_those_that_do_not() -> None:
    early = PGDConfig(num_steps=20, iterate="any", num_restarts=3)
    assert (num_steps(early), steps_to_break(early)) == (60, 5)
    assert (num_steps(PGDConfig(num_steps=3, iterate="any")), steps_to_break(early)) == (3, 5)
    assert steps_to_break(PGDConfig(num_steps=3, iterate="any")) == 3
    assert steps_to_break(PGDConfig(num_steps=20, iterate="last")) == 20
    targeted = APGDConfig(num_steps=10, loss="targeted_dlr", num_targets=4)
    assert (num_steps(targeted), steps_to_break(targeted)) == (44, 11)
    assert num_steps(SquareConfig(num_queries=7, num_restarts=2)) == 14
    assert steps_to_break(NoiseConfig(num_draws=9)) == 9
    assert shortened(targeted, 2) == APGDConfig(num_steps=2, loss="targeted_dlr", num_targets=1)
    assert shortened(SquareConfig(num_queries=5000), 2).num_queries == 2


@pytest.fixture
def suite(tmp_path):
    """FGSM and PGD of 2 steps, the last one counts, through a triangle and RGA."""
    write_space(tmp_path)
    return load_suite(str(tmp_path / "suite.yaml"))


def job(chosen, num_samples: int = 10) -> EvaluationJob:
    return EvaluationJob(
        label="a", fingerprint="f", checkpoint="", split="test", members=tuple(chosen),
        num_samples=num_samples, block_size=6, seed=0,
    )  # fmt: skip


RATES = SuiteRates(
    steps={
        FORWARD: Rate(sample_s=1.0),
        ("gradient", "stbp", "triangle"): Rate(fixed_s=10.0, sample_s=2.0),
        ("gradient", "rga", ""): Rate(sample_s=3.0),
    },
    judges={"plain": Rate(sample_s=0.5), "exact": Rate(sample_s=4.0)},
    pseudo={"measure": Rate(fixed_s=7.0)},
)


def test_every_member_attacks_all_that_are_right(suite) -> None:
    chosen = members(suite, 0.1)
    # Blocks of 6 and 4, half right and none robust. Clean: 0.5 a sample. Each member: clean again,
    # the judge's answers on what it attacked, and 1 or 2 steps for those.
    fate = Fate(clean=0.5, robust=0.0)
    clean = 10 * 0.5
    judged = 10 * 0.5 + 5 * 0.5
    triangle, rga = 2 * 10 + 5 * 2, 5 * 3
    spent = clean + 4 * judged + (1 + 2) * (triangle + rga)
    total, longest = job_seconds(job(chosen), 0.1, RATES, fate)
    assert total == pytest.approx(spent)
    # The larger block's PGD through the triangle.
    assert longest == pytest.approx(6 * 0.5 + 3 * 0.5 + 2 * (10 + 3 * 2))


def test_of_a_chain_only_the_first_meets_those_that_break(suite) -> None:
    chosen = members(in_order(suite, "survivors"), 0.1)
    fate = Fate(clean=1.0, robust=0.5)
    # One block of 6: FGSM through the triangle on 6, all others on 3; clean is asked about once.
    first = (10 + 6 * 2) + 6 * 0.5
    others = 3 * 3 + 2 * (10 + 3 * 2) + 2 * 3 * 3 + 3 * 3 * 0.5
    total, longest = job_seconds(job(chosen, 6), 0.1, RATES, fate, task_s=100.0)
    assert total == longest == pytest.approx(6 * 0.5 + first + others + 5 * 100.0)


def test_controls_measurements_and_the_exact_judge(suite) -> None:
    fate = Fate(clean=1.0, robust=1.0)
    fgsm = members(suite, 0.1)[1]
    early = replace(fgsm, attack=PGDConfig(num_steps=20, iterate="any"), counted=False, epsilon=0.4)
    spent, _ = job_seconds(job([early], 4), 0.1, RATES, fate)
    # Nobody survives four times the radius: five steps each.
    assert spent == pytest.approx(2 * 4 * 0.5 + 5 * (10 + 4 * 2))
    still = replace(early, epsilon=0.0)
    spent, _ = job_seconds(job([still], 4), 0.1, RATES, Fate(clean=1.0, robust=0.0))
    assert spent == pytest.approx(2 * 4 * 0.5 + 20 * (10 + 4 * 2))
    exact = replace(fgsm, judge="exact")
    assert job_seconds(job([exact], 1), 0.1, RATES, fate)[0] == pytest.approx(2 * 4 + 10 + 2)
    assert job_seconds(job([measure_member(0.1)], 4), 0.1, RATES, fate)[0] == 7
    # 500 queries and a plane of 21 x 21 points.
    assert job_seconds(job([probe_member(0.1)], 2), 0.1, RATES, fate)[0] == 2 * 941


def test_a_kind_is_tried_once_and_the_longest_first() -> None:
    chosen = kinds(members(load_suite("thorough"), 0.1))
    names = [(m.estimator.method, m.estimator.surrogate) for m in chosen if m.estimator]
    # Triangles of two widths cost the same, and together take most steps.
    assert names[0] == ("stbp", "triangle")
    assert len(names) == len(set(names)) == 4


def test_a_kind_that_was_not_tried_costs_what_is_like_it() -> None:
    assert RATES.step(("fab", "rga", "")) == RATES.steps["gradient", "rga", ""]
    assert RATES.step(("gradient", "hart", "")) == RATES.steps["gradient", "stbp", "triangle"]
