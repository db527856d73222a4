import numpy as np
import pytest

from reports.statistics import bootstrap_difference, compare, holm, mcnemar_exact, wilson_interval


def test_wilson_interval_of_known_values():
    # Newcombe (1998), Table I, method 3: 81/263, 15/148, 0/20, 1/29.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_wilson_interval_ends_at_the_unit_interval():
    assert wilson_interval(7, 7)[1] == 1.0
    assert wilson_interval(0, 7)[0] == 0.0
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_mcnemar_by_hand():
    # 1 against 7: 2 * (C(8,0) + C(8,1)) / 2**8 = 18 / 256.
    assert mcnemar_exact(1, 7) == mcnemar_exact(7, 1) == 18 / 256
    assert mcnemar_exact(3, 3) == 1.0
    assert mcnemar_exact(0, 0) == 1.0


def test_mcnemar_holds_for_thousands_of_pairs():
    assert 0.0 <= mcnemar_exact(2000, 3000) < 1e-40


def test_bootstrap_is_repeatable_and_brackets_the_difference():
    first, second = np.arange(400) < 300, np.arange(400) < 240
    low, high = bootstrap_difference(first, second)
    # 60 of 400 pairs differ: standard error sqrt(0.15 * 0.85 / 400) = 0.01785.
    assert (low, high) == pytest.approx((0.15 - 1.96 * 0.01785, 0.15 + 1.96 * 0.01785), abs=4e-3)
    assert (low, high) == bootstrap_difference(first, second)


def test_bootstrap_of_equal_outcomes_is_zero():
    same = np.array([True, False, True])
    assert bootstrap_difference(same, same) == (0.0, 0.0)


def test_compare_counts_discordant_pairs():
    first = np.array([True, True, True, False, False])
    second = np.array([True, False, False, True, False])
    result = compare(first, second)
    assert (result.only_first, result.only_second, result.total) == (2, 1, 5)
    assert result.difference == pytest.approx(0.2)


def test_compare_refuses_unpaired_outcomes():
    with pytest.raises(ValueError, match="3 and 2"):
        compare(np.ones(3, dtype=bool), np.ones(2, dtype=bool))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
