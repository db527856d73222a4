"""Scores against tables worked out by hand, and against scipy."""

import numpy as np
import pytest
from scipy import stats
from stores import LAMBDA, trial, write_sweep, write_verdicts

from reports.plots.breakdown import breakdown_frame
from reports.plots.members import member_frame
from reports.queries import load_study
from reports.statistics import (
    bootstrap_difference,
    compare,
    holm,
    mcnemar_exact,
    wilson_interval,
)

MEMBERS = ("fgsm+triangle", "pgd+triangle", "pgd+rga", "noise")
# Eight samples. Sample 7 is wrong without attack. Broken by: 1 fgsm; 2 fgsm, pgd; 3 pgd+rga;
# 4 pgd, pgd+rga; 5 all four; 0 and 6 nothing.
TABLE = {
    "clean": "11111110",
    "fgsm+triangle": "10011011",
    "pgd+triangle": "11010010",
    "pgd+rga": "11100010",
    "noise": "11111011",
}


@pytest.fixture
def study(tmp_path):
    trials = [trial("a", parameters={LAMBDA: 0.1})]
    write_sweep(tmp_path, "s", trials, members=MEMBERS, num_samples=8)
    outcomes = {name: [int(char) for char in row] for name, row in TABLE.items()}
    write_verdicts(tmp_path, "a", "test", outcomes)
    write_verdicts(tmp_path, "a", "validation", outcomes)
    return load_study(tmp_path, "s")


def test_union_of_four_members(study):
    result = study.trials[0].splits["test"]
    assert result.survivors.tolist() == [True, *[False] * 5, True, False]
    assert (result.robust.successes, result.robust.total) == (2, 8)
    # 0, 3, 4, 6 and 7, of which 7 is wrong without attack.
    counts = {name: result.member(name).successes for name in TABLE}
    assert counts == {
        "clean": 7,
        "fgsm+triangle": 4,
        "pgd+triangle": 4,
        "pgd+rga": 4,
        "noise": 6,
    }


def test_broken_by_one_alone(study):
    frame = breakdown_frame(study, study.trials, "test").set_index("member")
    assert frame["broken"].to_dict() == {
        "fgsm+triangle": 3,
        "pgd+triangle": 3,
        "pgd+rga": 3,
        "noise": 1,
    }
    assert frame["broken_only_by_it"].to_dict() == {
        "fgsm+triangle": 1,
        "pgd+triangle": 0,
        "pgd+rga": 1,
        "noise": 0,
    }
    assert set(frame["num_correct"]) == {7}
    assert set(frame["num_samples"]) == {8}
    members = member_frame(study, list(study.trials), "test").set_index("member")
    assert members.loc["all of them", "accuracy"] == 0.25
    assert members.loc["noise", "accuracy"] == 0.75


def test_what_one_alone_breaks_is_what_the_union_lacks_without_it(study):
    result = study.trials[0].splits["test"]
    for name in MEMBERS:
        rest = result.outcomes.drop(columns=[name]).to_numpy().all(axis=1).sum()
        assert result.broken_only_by(name) == rest - result.robust.successes


@pytest.mark.parametrize(
    ("successes", "total"), [(0, 10), (1, 10), (5, 10), (10, 10), (81, 263), (999, 1000)]
)
def test_wilson_is_scipys(successes, total):
    expected = stats.binomtest(successes, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, total) == pytest.approx((expected.low, expected.high))


def test_wilson_is_symmetric():
    for successes in range(11):
        low, high = wilson_interval(successes, 10)
        assert wilson_interval(10 - successes, 10) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("first", "second"), [(0, 5), (1, 7), (4, 4), (12, 30), (0, 1), (250, 300)]
)
def test_mcnemar_is_scipys_binomial_test(first, second):
    expected = stats.binomtest(first, first + second, 0.5).pvalue
    assert mcnemar_exact(first, second) == pytest.approx(expected)


def test_mcnemar_by_counting():
    # 2 of 9 discordant pairs: twice the tail (1 + 9 + 36) / 512.
    assert mcnemar_exact(2, 7) == 92 / 512
    # All three on one side: twice 1 / 8.
    assert mcnemar_exact(3, 0) == 0.25


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 gives 0.02, 0.03, 0.06, 0.04, kept rising.
    assert holm([0.03, 0.005, 0.04, 0.01]) == pytest.approx([0.06, 0.02, 0.06, 0.03])
    assert holm([0.5]) == [0.5]
    assert holm([0.01, 0.01]) == pytest.approx([0.02, 0.02])


def test_the_paired_interval_turns_over_with_its_networks():
    rng = np.random.default_rng(2)
    first, second = rng.random((2, 500)) < [[0.7], [0.6]]
    low, high = bootstrap_difference(first, second)
    back = bootstrap_difference(second, first)
    assert back == pytest.approx((-high, -low), abs=0.004)


def test_the_paired_interval_covers_a_known_difference():
    # Second is first but for samples lost with 0.10 and won with 0.04: the difference is
    # 0.7 * 0.10 - 0.3 * 0.04 = 0.058. Of 400 simulated studies about 380 should cover it.
    rng, covered, runs = np.random.default_rng(17), 0, 400
    for run in range(runs):
        first = rng.random(300) < 0.7
        moved = rng.random(300)
        second = np.where(first, moved >= 0.10, moved < 0.04)
        low, high = bootstrap_difference(first, second, num_resamples=1000, seed=run)
        covered += low <= 0.058 <= high
    assert covered / runs == pytest.approx(0.95, abs=0.03)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(4)
    first = rng.random(1000) < 0.6
    second = np.where(rng.random(1000) < 0.05, ~first, first)
    low, high = bootstrap_difference(first, second)
    unpaired = bootstrap_difference(first, rng.permutation(second))
    assert high - low < 0.5 * (unpaired[1] - unpaired[0])


def test_a_comparison_by_hand():
    # Eight samples: three to the first alone, one to the second alone.
    first = np.array([1, 1, 1, 1, 0, 0, 1, 0], dtype=bool)
    second = np.array([1, 0, 0, 0, 1, 0, 1, 0], dtype=bool)
    result = compare(first, second)
    assert (result.only_first, result.only_second, result.total) == (3, 1, 8)
    assert result.difference == 0.25
    assert result.p_value == 2 * (1 + 4) / 16
    assert result.low < 0.25 < result.high
