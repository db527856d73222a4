"""What a finished sweep says in a terminal."""

import dataclasses

import pytest

from reports.ending import caption, front_table, next_steps, sentences
from reports.queries import load_study
from reports.study import AuditCheck, AuditResult
from tests.reports.stores import LAMBDA, trial, write_sweep, write_uniform

AGAIN = ["python", "-m", "pipeline.sweep", "--space", "space.yaml", "--resume"]


def study(tmp_path, points, **facts):
    """Trials with so many of 40 images right, clean and attacked."""
    trials = [trial("vanilla", "vanilla", role="baseline")]
    trials += [trial(name, parameters={LAMBDA: 0.01}) for name in points if name != "vanilla"]
    write_sweep(tmp_path, "s", trials, num_samples=40, **facts)
    for name, (clean, robust) in points.items():
        write_uniform(tmp_path, name, clean, robust, total=40)
    return load_study(tmp_path, "s")


@pytest.fixture
def told(tmp_path):
    return study(
        tmp_path, {"vanilla": (40, 2), "sr-0": (34, 20), "sr-1": (30, 21), "sr-2": (25, 1)}
    )


def test_the_table_has_all_that_was_reported_on_the_most_robust_first(told):
    titles, *rows = front_table(told)
    assert titles[3:5] == ("clean", "robust")
    assert caption(told) == (
        "accuracies in % on 40 test images, with 95 % intervals; front: of all networks, on "
        "validation images"
    )
    assert [cells[0] for cells in rows] == ["sr-1", "sr-0", "vanilla", "sr-2"]
    assert rows[0][4].startswith("52.5 (")
    assert rows[0][2] == "λ = 0.01"
    assert rows[0][-1] == "best of the search with clean at least 50.0 %; front"
    assert rows[1][-1] == "best trade-off; front"
    assert rows[3][-1] == ""
    assert {len(cells) for cells in rows} == {len(titles)}


def test_what_cannot_be_told_apart_is_named(told):
    text = " ".join(sentences(told))
    assert "Of the front, sr-0 is not distinguishable from sr-1 in robust accuracy" in text
    assert "\xa0" not in text


def test_a_clear_result_leads_to_a_harder_attack(told):
    ((why, command),) = next_steps(told, AGAIN)
    assert why == "attack sr-1 with all that is known"
    assert command.startswith("python -m pipeline.evaluate")
    assert f"{told.place}/trials/sr-10000/checkpoint.safetensors" in command
    assert "--suite strong" in command


def test_a_small_difference_leads_to_more_seeds(tmp_path):
    level = study(tmp_path, {"vanilla": (40, 20), "sr-0": (34, 21)})
    (why, command), (then, harder) = next_steps(level, AGAIN)
    assert "seeds" in why
    assert command.endswith("--space space.yaml --set seeds=3 --resume")
    assert then.startswith("attack sr-0")
    assert "--suite strong" in harder
    again = study(tmp_path / "seeds", {"vanilla": (40, 20), "sr-0": (34, 21)}, seeds=3)
    assert ["--suite strong" in command for _, command in next_steps(again, AGAIN)] == [True]


def test_a_doubtful_audit_is_a_reason_to_attack(told):
    check = AuditCheck(name="losses", question="q", status="WARN", sentence="s")
    audit = AuditResult(
        status="WARN", split="test", num_samples=40, robust_accuracy=0.5, checks=(check,)
    )
    doubted = dataclasses.replace(told.best, audit=audit)
    trials = [doubted if t is told.best else t for t in told.trials]
    ((why, _),) = next_steps(dataclasses.replace(told, trials=trials), AGAIN)
    assert why == "attack sr-1 with all that is known, as its audit warns of losses"


def test_what_the_chosen_setting_costs_against_no_defence_is_told(tmp_path):
    trials = [trial("vanilla", "vanilla", role="baseline"), trial("at", "at", role="baseline"),
              trial("sr-0", parameters={LAMBDA: 0.1})]  # fmt: skip
    write_sweep(tmp_path, "s", trials, num_samples=40)
    for name, clean, robust in (("vanilla", 40, 2), ("at", 38, 20), ("sr-0", 36, 21)):
        write_uniform(tmp_path, name, clean, robust, total=40)
    text = " ".join(sentences(load_study(tmp_path, "s")))
    assert "AT withstands 50.0 %" in text
    assert "a difference of +2.5 points (" in text
    assert "Against no defence it changes robust accuracy by +47.5 points (+32.5 to +62.5)" in text
    assert "and clean accuracy by −10.0 points (−20.0 to" in text


def test_other_seeds_are_told_in_the_same_breath(tmp_path):
    trials = [trial("vanilla", "vanilla", role="baseline"), trial("sr-0", parameters={LAMBDA: 0.1})]
    again = trial("sr-0.seed1", role="replicate", replicate_of="sr-0", parameters={LAMBDA: 0.1})
    write_sweep(tmp_path, "s", [*trials, again], num_samples=40, seeds=2)
    for name, clean, robust in (("vanilla", 40, 2), ("sr-0", 36, 20), ("sr-0.seed1", 32, 10)):
        write_uniform(tmp_path, name, clean, robust, total=40)
    text = " ".join(sentences(load_study(tmp_path, "s")))
    # 50 and 25 % robust, 90 and 80 % clean: standard deviations 17.7 and 7.1.
    assert "over 2 seeds, mean ± standard deviation" in text
    assert "SR (sr-0) 37.5 ± 17.7 % robust and 85.0 ± 7.1 % clean." in text


def test_nothing_judged_is_told_too(tmp_path):
    write_sweep(tmp_path, "s", [trial("sr-0", outcome="failed")])
    empty = load_study(tmp_path, "s")
    assert front_table(empty) == []
    assert "no result" in " ".join(sentences(empty))
    assert next_steps(empty, AGAIN)[0][1].startswith("python -m reports.build")
