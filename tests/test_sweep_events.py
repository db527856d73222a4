"""A whole sweep on event frames: trained, attacked under four threat models, audited, rechecked."""

import json

import pandas as pd
import pytest

from pipeline import recheck, sweep
from tests.tiny import SPACE, write_space

pytestmark = [pytest.mark.ray, pytest.mark.slow]

EVENTS = (
    SPACE.replace(
        "data: {dataset: digits, num_train: 200, num_validation: 24, num_test: 30}",
        "data: {dataset: digits_events, num_train: 200, num_validation: 24, num_test: 24,\n"
        "       frames: {num_frames: 2}}",
    )
    .replace("epochs: 4", "epochs: 6")
    .replace("name: tiny", "name: frames", 1)
    .replace("strategies: [sr]", "strategies: [sr_star]")
    .replace("values: [0.01, 0.05]", "values: [0.01]")
    .replace(
        "report: {trials: front, audit: null}",
        "report: {trials: all, suite: SUITE, audit: AUDIT, audit_samples: 12}",
    )
)
SUITE = """
name: frames
epsilon: 0.1
judge: exact
order: survivors
attacks:
  pgd4: {method: pgd, num_steps: 4, relative_step_size: 0.5, loss: margin, iterate: any}
oracles: [{method: own}]
then:
  - threat: clamped
    attacks: {clamped-pgd4: {method: pgd, num_steps: 4, relative_step_size: 0.5, loss: margin}}
    oracles: [{method: own}]
  - threat: scaled
    attacks: {scaled-fgsm: {method: fgsm, epsilon: 0.1}}
    oracles: [{method: own}]
  - threat: binary
    attacks:
      flip-4: {method: flip, flips: 4, num_steps: 2, loss: margin}
      sda-8: {method: sda, flips: 8, num_rounds: 2}
    oracles: [{method: own}]
"""
AUDIT = """
name: short-audit
epsilon: 0.1
attacks:
  pgd4: {method: pgd, num_steps: 4, loss: cross_entropy}
  pgd8: {method: pgd, num_steps: 8, loss: cross_entropy}
  square: {method: square, num_queries: 4}
oracles: [{method: own}]
"""


@pytest.fixture(scope="module")
def store(ray_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    (folder / "audit.yaml").write_text(AUDIT)
    space = write_space(folder, EVENTS.replace("AUDIT", str(folder / "audit.yaml")))
    (folder / "suite.yaml").write_text(SUITE)
    assert sweep.main(["--space", str(space), "--store", str(folder / "store")]) == 0
    return folder / "store"


def test_frames_are_built_once_and_every_network_saw_them(store):
    assert len(list((store / "frames").glob("*.arrow"))) == 1
    trials = json.loads((store / "sweeps/frames/trials.json").read_text())
    assert [trial["label"] for trial in trials] == ["vanilla", "sr_star-000"]
    assert {trial["outcome"] for trial in trials} == {"complete"}
    # Ten classes; chance would be 0.1.
    assert trials[0]["metrics"]["clean_accuracy"] > 0.3


def test_four_threat_models_stand_in_the_report_each_with_its_control(store):
    page = (store / "reports/frames/index.html").read_text()
    assert "What an attacker of events may do" in page
    assert "may change every count by at most ε = 0.1 events, none below 0" in page
    table = pd.read_csv(store / "reports/frames/tables/threats.csv")
    heads = [
        *("Network", "Clean %", "counts, ε = 0.1", "clamped, no attack", "clamped, ε = 0.1"),
        *("scaled, no attack", "scaled, ε = 0.1"),
        *("binary, no attack", "binary, 4 flips", "binary, 8 flips"),
    ]
    assert list(table.columns) == [*heads, *(f"{head}, range" for head in heads[1:])]
    assert len(table) == 2
    assert table.notna().all(axis=None)
    assert (table["counts, ε = 0.1"] <= table["Clean %"]).all()
    assert (table["binary, 8 flips"] <= table["binary, 4 flips"]).all()


def test_what_the_report_says_is_what_the_rows_say(store):
    trials = json.loads((store / "sweeps/frames/trials.json").read_text())
    table = pd.read_csv(store / "reports/frames/tables/threats.csv").set_index("Network")
    for trial in trials:
        folder = store / "verdicts" / trial["fingerprint"] / "test"
        rows = pd.concat([pd.read_parquet(path) for path in folder.glob("*.parquet")])
        rows = rows[rows["judge"] == "exact"] if "judge" in rows else rows
        right = rows[rows["attack"] == "clean"].groupby("sample")["robust"].all()
        flipped = rows[rows["attack"].isin(["flip-4", "sda-8"])].groupby("sample")["robust"].all()
        row = table.loc[trial["label"]]
        assert (right & flipped).mean() == pytest.approx(row["binary, 8 flips"])


def test_the_audit_asks_networks_of_frames_too(store):
    audits = pd.read_csv(store / "reports/frames/tables/audit.csv")
    assert len(audits) == 2
    assert set(audits["Audit"]) <= {"PASS", "WARN", "FAIL"}


def test_every_break_of_frames_is_judged_again(store, capsys):
    for trial in json.loads((store / "sweeps/frames/trials.json").read_text()):
        command = ["--store", str(store), "--run", trial["fingerprint"], "--device", "cpu"]
        assert recheck.main(command) == 0
        assert "breaks reproduce" in capsys.readouterr().out
