"""Trust audits in a report: shown where they are, and obeyed."""

import re
from html import unescape

import pytest
from stores import LAMBDA, trial, write_audit, write_sweep, write_uniform

from pipeline.errors import ConfigError
from reports import tables
from reports.build_run import build_report
from reports.headline import caveats, headline
from reports.plots import front
from reports.queries import load_study, trial_frame

FAILED = ("zero gradients", "random search")


def labels(trials):
    return [result.row.label for result in trials]


@pytest.fixture
def masked_store(study_store):
    """The best searched trial, sr-2, fails its audit; sr-1 only warns, vanilla passes."""
    write_audit(study_store, "sr-2", "FAIL", failed=FAILED, warned=["losses"], robust=0.1)
    write_audit(study_store, "sr-1", "WARN", warned=["surrogates", "losses"], robust=0.3)
    write_audit(study_store, "vanilla", robust=0.2)
    return study_store


def test_audits_are_found_by_their_networks(masked_store):
    study = load_study(masked_store, "demo")
    found = {result.row.label: result.audit for result in study.trials}
    assert {label: audit.status for label, audit in found.items() if audit} == {
        "vanilla": "PASS",
        "sr-1": "WARN",
        "sr-2": "FAIL",
    }
    audit = found["sr-2"]
    assert (audit.split, audit.num_samples, audit.robust_accuracy) == ("test", 10, 0.1)
    assert audit.named("FAIL") == list(FAILED)
    assert audit.named("WARN") == ["losses"]
    assert audit.checks[0].sentence == "What iterations found."
    assert [result.row.label for result in study.trials if not result.believed] == ["sr-2"]


def test_what_fails_its_audit_is_never_the_best_nor_the_knee(study_store):
    study = load_study(study_store, "demo")
    assert (study.best.row.label, study.knee.row.label) == ("sr-2", "at")
    write_audit(study_store, "sr-2", "FAIL", failed=FAILED)
    write_audit(study_store, "at", "FAIL", failed=FAILED)
    study = load_study(study_store, "demo")
    assert study.best.row.label == "sr-1"
    assert study.knee is None or study.knee.row.label not in ("sr-2", "at")
    # It stays on the front: what was measured was measured.
    assert labels(study.front) == ["sr-2", "at", "vanilla"]
    write_audit(study_store, "sr-1", "FAIL", failed=FAILED)
    assert load_study(study_store, "demo").best is None


@pytest.mark.parametrize("status", ["PASS", "WARN", None])
def test_a_warning_or_no_audit_changes_nothing(study_store, status):
    if status:
        write_audit(study_store, "sr-2", status, warned=["losses"] if status == "WARN" else [])
    study = load_study(study_store, "demo")
    assert study.best.row.label == "sr-2"
    assert all(result.believed for result in study.trials)


def test_the_test_splits_audit_goes_before_the_validations(study_store):
    write_audit(study_store, "sr-2", "FAIL", failed=FAILED, split="validation")
    audits = {r.row.label: r.audit for r in load_study(study_store, "demo").trials}
    assert (audits["sr-2"].status, audits["sr-2"].split) == ("FAIL", "validation")
    write_audit(study_store, "sr-2")
    audits = {r.row.label: r.audit for r in load_study(study_store, "demo").trials}
    assert (audits["sr-2"].status, audits["sr-2"].split) == ("PASS", "test")


def test_a_broken_audit_is_named(study_store):
    write_audit(study_store, "sr-2")
    path = study_store / "audits" / "sr-20000" / "test.json"
    for text in ('{"status": "PASS"}', "[]", "{"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"sr-20000.*test\.json"):
            load_study(study_store, "demo")


def test_the_audit_table_has_a_row_for_each_audit(masked_store):
    table = tables.audit_table(load_study(masked_store, "demo"))
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows == [
        ["vanilla", "PASS", "20.0", "10", "–", "–"],
        ["sr-1", "WARN", "30.0", "10", "–", "surrogates, losses"],
        ["sr-2", "FAIL", "10.0", "10", "zero gradients, random search", "losses"],
    ]
    # Wilson's interval of 2 in 10.
    assert table.rows[0][2].note == "5.7–51.0"
    frame = table.frame()
    assert frame["Robust %, audit"].tolist() == [0.2, 0.3, 0.1]
    assert frame["Robust %, audit, range"].tolist()[0] == "5.7–51.0"
    trials = tables.trials_table(load_study(masked_store, "demo"))
    notes = {row[0].text: row[-1].note for row in trials.rows}
    assert notes["sr-2"] == "fails the trust audit"
    assert notes["at"] == "front"
    audits = trial_frame(load_study(masked_store, "demo")).set_index("label")["audit"]
    assert audits[["vanilla", "at", "sr-2"]].tolist() == ["PASS", "", "FAIL"]


def test_a_failed_audit_is_hollow_in_the_front_figure(masked_store):
    study = load_study(masked_store, "demo")
    drawn = front.draw(study)
    data = drawn.data.set_index("label")
    assert data.loc[["vanilla", "at", "sr-1", "sr-2"], "audit"].tolist() == [
        "PASS",
        "",
        "WARN",
        "FAIL",
    ]
    tips = {tip.split(" ")[0].splitlines()[0]: tip for tip in drawn.tips.values()}
    assert "trust audit: FAIL" in tips["sr-2"]
    assert "trust audit: WARN" in tips["sr-1"]
    assert "trust audit" not in tips["at"]
    marks = {line.get_gid(): line for line in drawn.figure.axes[0].lines if line.get_gid()}
    hollow = {
        result.row.label
        for index, result in enumerate(study.judged)
        if marks[f"point-{index}"].get_markerfacecolor() == "white"
    }
    # sr-3 breaks a constraint.
    assert hollow == {"sr-2", "sr-3"}
    assert "hollow marks break a constraint or fail the trust audit" in drawn.reading
    legend = [line.get_label() for line in drawn.figure.axes[0].lines]
    assert "fails the trust audit" in legend


def test_without_failures_no_mark_is_hollow_for_its_audit(study_store):
    write_audit(study_store, "sr-2", "WARN", warned=["losses"])
    drawn = front.draw(load_study(study_store, "demo"))
    assert "trust audit" not in drawn.reading
    assert drawn.data["audit"].tolist().count("WARN") == 1


def test_the_headline_passes_over_what_failed_and_says_so(masked_store):
    study = load_study(masked_store, "demo")
    assert "λ\u00a0=\u00a00.01" in headline(study)[1]
    found = caveats(study)
    assert any(
        "The trust audit of the chosen setting says WARN, with warnings on surrogates, losses; "
        "under all that it tried, 30.0" in sentence
        for sentence in found
    ), found
    assert "Never called the best, as the trust audit failed: sr-2." in found


def test_a_chosen_setting_without_an_audit_is_said_to_be_not_audited(study_store):
    found = caveats(load_study(study_store, "demo"))
    assert "The chosen setting was not audited for misleading gradients." in found
    write_audit(study_store, "sr-2", robust=0.6)
    found = caveats(load_study(study_store, "demo"))
    assert not [sentence for sentence in found if "not audited" in sentence]
    assert any("says PASS; under all that it tried, 60.0" in sentence for sentence in found)


def test_when_everything_fails_no_setting_is_chosen(tmp_path):
    trials = [trial("vanilla", "vanilla", role="baseline"), trial("a", parameters={LAMBDA: 0.1})]
    write_sweep(tmp_path, "s", trials)
    write_uniform(tmp_path, "vanilla", 9, 2)
    write_uniform(tmp_path, "a", 9, 8)
    write_audit(tmp_path, "a", "FAIL", failed=FAILED)
    study = load_study(tmp_path, "s")
    assert study.best is None
    text = " ".join([*headline(study), *caveats(study)])
    text = text.replace("\u00a0", " ")
    assert "of the attacked ones" in text
    assert "correctly and 80.0 %" not in text
    assert "Never called the best, as the trust audit failed: a." in text
    assert "No searched setting meets the floor" not in text
    assert "Every searched setting that meets the floor of 50.0" in text
    assert "fails the trust audit, so none is called the best" in text


def test_the_page_shows_audits_and_their_checks(masked_store):
    page = build_report(masked_store, "demo").read_text(encoding="utf-8")
    text = unescape(re.sub(r"<[^>]+>", " ", page))
    assert "Can these numbers be believed?" in text
    assert re.search(r"sr-2: FAIL, 5 checks on 10\s+test images", text)
    assert page.count('<span class="badge fail">FAIL</span>') == 2
    assert "Is random search as it should be?" in text
    assert "What random search found." in text
    assert "Never called the best, as the trust audit failed: sr-2." in text
    csv = (masked_store / "reports/demo/tables/audit.csv").read_text()
    assert "sr-2,FAIL,0.1,10" in csv
