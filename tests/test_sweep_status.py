"""How far a sweep is and how long it has to go, counted by hand; and what is shown of it."""

import dataclasses
import io
import time

import pytest
from rich.console import Console

from pipeline.console import Progress
from pipeline.judging import judgements
from pipeline.records import Outcome, Phase, TrialRow
from pipeline.resources import Shares
from pipeline.stored_data import load_stored
from pipeline.sweep_status import REPORT, SEARCH, Meter, Status, about, best_so_far, passes
from pipeline.sweep_view import SweepView, block, line
from tests.tiny import tiny_space

SHARES = Shares(trial_cpus=1, trial_gpus=0.0, evaluation_cpus=1, evaluation_gpus=0.0)


def row(label, strategy="sr", role="searched", clean=None, robust=None, **changes):
    metrics = {} if clean is None else {"clean_accuracy": clean, "robust_accuracy": robust}
    told = {"phase": Phase.TOLD, "outcome": Outcome.COMPLETE, "metrics": metrics} if metrics else {}
    fixed = {"role": role, "strategy": strategy, "method": strategy, "parameters": {}, "config": {}}
    return TrialRow(label=label, fingerprint=label, **fixed | told | changes)


@pytest.fixture
def meter(tmp_path):
    """Of the tiny study: three trials of four epochs; 24 images searched on, 30 reported."""
    space = tiny_space(tmp_path)
    selection, reporting = judgements(space, load_stored(space.data, tmp_path), tmp_path)
    rows = []
    meter = Meter(
        space=space, share=SHARES, resources={"CPU": 2.0}, rows=lambda: rows,
        judgements={SEARCH: selection, REPORT: reporting}, planned=lambda: 3,
    )  # fmt: skip
    return meter, rows


def test_passes_are_steps_of_all_members_on_all_samples(meter):
    members = meter[0].judgements[SEARCH].members
    # clean counts as one; FGSM 1 and PGD 2 steps, each through two oracles.
    assert passes(members, 24) == 24 * (1 + 2 * 1 + 2 * 2)


def test_nothing_is_foretold_before_something_was_measured(meter):
    status = meter[0].status()
    assert status.seconds_left is None
    assert status.trials == {"to come": 3}
    assert (status.trained, status.judged) == (0.0, 0.0)


def test_time_left_is_what_is_left_at_the_rates_measured(meter):
    meter, rows = meter
    rows += [row("vanilla", "vanilla", "baseline", 0.9, 0.1), row("sr-000")]
    for epoch in range(1, 5):
        meter.epoch(rows[0], epoch, 1.0)
    meter.left_training(rows[0])
    each = passes(meter.judgements[SEARCH].members, 24)
    for member in meter.judgements[SEARCH].members:
        seconds = 0.5 * passes([member], 12)
        for _ in range(2):
            meter.block("vanilla", member, 12, seconds)
    meter.judged("vanilla")
    meter.epoch(rows[1], 0)
    meter.epoch(rows[1], 1, 3.0)
    status = meter.status()
    assert status.trials == {"judged": 1, "in training": 1, "to come": 1}
    assert status.running == ["sr-000 1/4"]
    assert status.trained == pytest.approx((4 + 1) / 12)
    # Reported will be the baseline and three of the front, of the three that there are.
    report = 3 * passes(meter.judgements[REPORT].members, 30)
    assert status.judged == pytest.approx(each / (3 * each + report))
    epochs = 3 * 3.0 + 4 * (4 * 1.0 + 3.0) / 5
    attacks = 0.5 * (2 * each + report)
    assert status.seconds_left == pytest.approx((epochs + attacks) / 2)


def test_a_stage_that_began_is_about_the_networks_it_has(meter):
    meter, rows = meter
    rows += [row(label, clean=0.9, robust=0.1) for label in ("sr-000", "sr-001", "sr-002")]
    meter.begin(REPORT, 2)
    members = meter.judgements[REPORT].members
    meter.block("sr-000", members[0], 30, 6.0)
    each = passes(members, 30)
    searched = 3 * passes(meter.judgements[SEARCH].members, 24)
    status = meter.status()
    assert status.judged == pytest.approx((searched + 30) / (searched + 2 * each))
    assert status.seconds_left is None  # the first block says little of the others
    assert status.after == []
    for member in members[1:]:
        meter.block("sr-000", member, 30, 1.0)
    meter.judged("sr-000")
    took = 6.0 + len(members) - 1
    assert meter.status().seconds_left == pytest.approx(took / 2)
    meter.judged("sr-001")
    assert meter.status().judged == 1.0
    assert meter.status().seconds_left == 0.0


def test_trials_that_ended_badly_are_neither_trained_again_nor_judged(meter):
    meter, rows = meter
    rows += [
        row("sr-000", phase=Phase.TOLD, outcome=Outcome.PRUNED),
        row("sr-001", phase=Phase.TOLD, outcome=Outcome.DIVERGED),
        row("sr-002", phase=Phase.TRAINED),
    ]
    status = meter.status()
    assert status.trials == {"in evaluation": 1, "stopped": 1, "failed": 1}
    assert status.trained == 1.0


def test_the_best_are_of_the_front_and_feasible():
    rows = [
        row("clean", clean=0.99, robust=0.2),
        row("robust", clean=0.7, robust=0.6),
        row("beaten", clean=0.6, robust=0.5),
        row("infeasible", clean=0.1, robust=0.9, feasible=False),
    ]
    assert best_so_far(rows) == [
        "robust: clean 70.0 %, robust 60.0 %",
        "clean: clean 99.0 %, robust 20.0 %",
    ]
    assert best_so_far(rows[:1]) == ["clean: clean 99.0 %, robust 20.0 %"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2, "5 s"), (31, "30 s"), (70, "1 min"), (1000, "17 min"), (9000, "2.5 h"), (2e5, "2.3 days")],
)
def test_times_left_are_as_rough_as_they_are_known(seconds, text):
    assert about(seconds) == f"about {text}"


STATUS = Status(
    stage="search",
    after=["report", "audit"],
    trials={"judged": 2, "in training": 1, "to come": 3},
    running=["sr-004 12/30"],
    trained=0.5,
    judged=0.25,
    best=["sr-001: clean 90.0 %, robust 60.0 %"],
    seconds_left=130.0,
)


def test_a_terminal_gets_a_block_that_says_it_all():
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=False).print(block(STATUS))
    text = out.getvalue()
    for part in (
        "2 judged, 1 in training, 3 to come", "50 %", "sr-004 12/30", "25 %",
        "then report and audit", "sr-001: clean 90.0 %", "about 2 min",
    ):  # fmt: skip
        assert part in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_cluster_with_many_trials_still_fits_a_line():
    many = dataclasses.replace(STATUS, running=[f"sr-{n} 1/30" for n in range(1000)])
    assert "sr-3 1/30, and 996 more" in line(many)
    assert len(line(many)) < 200


def test_a_file_gets_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr("pipeline.sweep_view.HEARTBEAT_S", 0.0)
    monkeypatch.setattr("pipeline.sweep_view.REFRESH_S", 0.01)
    out = io.StringIO()
    with SweepView(Progress(out), lambda: STATUS):
        deadline = time.monotonic() + 30
        while "\n" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert line(STATUS) in out.getvalue()
    assert "about 2 min left" in line(STATUS)
    assert "\x1b" not in out.getvalue()


def test_quiet_leaves_trouble_alone_and_the_log_everything(tmp_path):
    out, path = io.StringIO(), tmp_path / "log"
    with io.FileIO(path, "a") as log:
        console = Progress(out, log=log, quiet=True)
        with SweepView(console, lambda: STATUS):
            console.line("calm")
            console.line("odd", "yellow")
            console.note("a remark")
            console.table([["title"], ["cell"]])
            console.plain("the result")
    lines = out.getvalue().splitlines()
    assert [text.strip().split("  ")[-1] for text in lines] == ["odd", "the result"]
    told = path.read_text()
    assert all(word in told for word in ("calm", "odd", "a remark", "cell", "the result"))
