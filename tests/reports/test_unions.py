import numpy as np
import pytest
from stores import write_verdicts

from reports.store import read_verdicts
from reports.unions import Suite, judge, suite_from

SUITE = Suite(name="s", members=("fgsm+triangle", "pgd+triangle"), num_samples=5)
FULL = {
    "clean": [1, 1, 1, 1, 0],
    "fgsm+triangle": [1, 0, 1, 1, 1],
    "pgd+triangle": [1, 1, 0, 1, 0],
}


def judged(store, suite=SUITE):
    return judge(read_verdicts(store, "x0000", "test"), suite)


def test_union_by_hand(tmp_path):
    write_verdicts(tmp_path, "x", "test", FULL)
    result = judged(tmp_path)
    assert result.survivors.tolist() == [True, False, False, True, False]
    assert (result.robust.successes, result.robust.total) == (2, 5)
    assert result.clean.value == 0.8
    # Sample 4 is wrong without attack, so no attack can leave it robust.
    assert result.member("fgsm+triangle").value == pytest.approx(0.6)
    assert result.member("pgd+triangle").value == pytest.approx(0.6)
    assert result.broken_only_by("fgsm+triangle") == 1
    assert result.broken_only_by("pgd+triangle") == 1
    assert result.broken_only_by("clean") == 0


def test_union_is_never_above_a_member(tmp_path):
    write_verdicts(tmp_path, "x", "test", FULL)
    result = judged(tmp_path)
    assert all(result.robust.value <= result.member(name).value for name in FULL)


def test_unlisted_members_and_later_samples_do_not_count(tmp_path):
    longer = {name: [*values, 0, 0] for name, values in FULL.items()}
    write_verdicts(tmp_path, "x", "test", longer | {"other+triangle": [0] * 7})
    assert judged(tmp_path).robust.successes == 2


def test_all_restarts_must_fail_for_a_sample_to_be_robust(tmp_path):
    write_verdicts(tmp_path, "x", "test", FULL)
    write_verdicts(tmp_path, "x", "test", {"fgsm+triangle": [0, 1, 1, 1, 1]}, file="restart")
    assert judged(tmp_path).survivors.tolist() == [False, False, False, True, False]


def test_incomplete_member_gives_no_union_but_its_count(tmp_path):
    write_verdicts(tmp_path, "x", "test", FULL | {"pgd+triangle": [1, 1, 0]})
    result = judged(tmp_path)
    assert result.robust is None
    assert result.gaps == ("pgd+triangle: 3 of 5 samples",)
    assert result.clean.value == 0.8
    assert result.member("pgd+triangle") is None
    assert result.broken_only_by("fgsm+triangle") is None


def test_absent_member_and_absent_clean_row_are_gaps(tmp_path):
    write_verdicts(tmp_path, "x", "test", {"fgsm+triangle": FULL["fgsm+triangle"]})
    gaps = judged(tmp_path).gaps
    assert gaps == ("clean: 0 of 5 samples", "pgd+triangle: 0 of 5 samples")


def test_two_versions_of_an_attack_are_not_mixed(tmp_path):
    write_verdicts(tmp_path, "x", "test", FULL)
    stale = {"pgd+triangle": [0, 0, 0, 0, 0]}
    write_verdicts(tmp_path, "x", "test", stale, attack_hash="old", file="old")
    assert "2 versions" in judged(tmp_path).gaps[0]
    named = Suite(name="s", members=SUITE.members, num_samples=5, hashes={"pgd+triangle": "a1"})
    assert judged(tmp_path, named).robust.successes == 2


@pytest.mark.parametrize("written", ["noise", "noise+none"])
def test_attack_without_oracle_is_found_by_either_name(tmp_path, written):
    write_verdicts(tmp_path, "x", "test", {"clean": [1, 1, 0], "noise": [1, 0, 0]})
    suite = suite_from({"members": ["clean", written], "num_samples": 3}, None)
    result = judged(tmp_path, suite)
    assert suite.members == ("noise",)
    assert (result.gaps, result.robust.successes) == ((), 1)


def test_no_rows_is_no_result(tmp_path):
    assert judged(tmp_path) is None


def test_interval_of_a_union_is_wilson(tmp_path):
    write_verdicts(tmp_path, "x", "test", FULL)
    assert np.allclose(judged(tmp_path).robust.interval, (0.1176, 0.7693), atol=5e-5)
