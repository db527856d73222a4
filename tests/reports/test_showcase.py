"""The study's note, front and networks for a tracker."""

import pytest
from stores import LAMBDA, trial, write_audit, write_sweep, write_uniform

from pipeline.data import DigitsConfig, load_dataset
from pipeline.publisher import used_data
from reports.ending import MOST
from reports.queries import load_study
from reports.showcase import showcase


def shown(store):
    return showcase(load_study(store, "demo"))


def networks(store):
    return {network.fingerprint: network for network in shown(store).networks}


def test_baselines_and_chosen_setting_are_registered(study_store):
    found = networks(study_store)
    # sr-2 is the most robust of what was searched; sr-3 breaks the constraint.
    assert {name: network.aliases for name, network in found.items()} == {
        "vanilla0000": ("baseline-vanilla",),
        "at0000": ("baseline-at", "knee"),
        "sr-20000": ("chosen",),
    }
    chosen = found["sr-20000"]
    assert chosen.tags == {
        "network": "sr-2",
        "strategy": "sr",
        "lambda": "0.1",
        "h": "0.02",
        "clean": "80.0 %",
        "robust": "70.0 %",
        "audit": "not audited",
        "judged": "test, n=10, suite full, epsilon 8/255",
        "fingerprint": "sr-20000",
    }
    assert "the most robust of the search with at least 50.0" in chosen.description


def test_what_the_audit_failed_is_not_registered(study_store):
    write_audit(study_store, "sr-2", "FAIL", failed=["iterations"])
    write_audit(study_store, "at", "WARN")
    found = networks(study_store)
    assert found["sr-10000"].aliases == ("chosen",)
    assert "sr-20000" not in found
    assert found["at0000"].tags["audit"] == "WARN"


def test_a_network_that_is_two_things_has_two_aliases(tmp_path):
    trials = [trial(f"sr.{i}", parameters={LAMBDA: 10.0**-i}) for i in range(3)]
    trials.append(trial("at.5", "at", role="baseline"))
    write_sweep(tmp_path, "demo", trials)
    for label, clean, robust in (("sr.0", 10, 1), ("sr.1", 9, 6), ("sr.2", 3, 3), ("at.5", 7, 7)):
        write_uniform(tmp_path, label, clean, robust)
    found = {network.fingerprint: network.aliases for network in shown(tmp_path).networks}
    assert found == {"at.50000": ("baseline-at-5",), "sr.10000": ("chosen", "knee")}


def test_the_note_has_front_baselines_and_links(study_store):
    found = shown(study_store)
    assert found.front == ("sr-20000", "at0000", "vanilla0000")
    head, *rest = found.note.split("\n\n")
    assert "[Report](file:report/index.html)" in head
    assert "[registered networks](models:)" in head
    table = next(part for part in rest if part.startswith("|")).replace("\u00a0", "")
    table = table.replace("\u2060", "").splitlines()
    assert len({line.count("|") for line in table}) == 1
    assert [line.split("|")[1].strip() for line in table[2:]] == [
        "[sr-2](network:sr-20000)",
        "[at](network:at0000)",
        "[sr-1](network:sr-10000)",
        "[sr-3](network:sr-30000)",
        "[vanilla](network:vanilla0000)",
    ]
    assert "| 80.0(49.0–94.3) | 70.0(39.7–89.2) |" in table[2]
    assert "image:report/figures/front.svg" in found.note


def test_a_study_without_results_has_a_note_and_nothing_to_register(tmp_path):
    write_sweep(tmp_path, "demo", [trial("sr-0", outcome="failed", reason="no")])
    found = shown(tmp_path)
    assert (found.front, found.networks) == ((), ())
    assert "Report" in found.note
    assert "registered" not in found.note
    assert "image:" not in found.note


def test_the_note_of_a_long_front_fits_into_a_tag(tmp_path):
    labels = [f"{'a-very-long-label-of-a-strategy' * 2}-{i:03d}" for i in range(40)]
    write_sweep(tmp_path, "demo", [trial(label, parameters={LAMBDA: 0.1}) for label in labels],
                num_samples=50, space_file="a space (1).yaml")  # fmt: skip
    for i, label in enumerate(labels):
        write_uniform(tmp_path, label, 50 - i, i, total=50)
    note = shown(tmp_path).note
    assert len(shown(tmp_path).front) > MOST
    assert f"and {len(labels) - MOST} more" in note
    assert "(file:a%20space%20%281%29.yaml)" in note
    # With the addresses that the tracker puts in.
    assert len(note) + MOST * 100 < 8000


def test_data_are_counted_by_class_and_hashed_as_the_verdicts_are():
    dataset = load_dataset(DigitsConfig(num_train=200, num_validation=24, num_test=30))
    data = used_data(dataset, dataset.content_hash())
    assert [used.name for used in data.values()] == [
        "digits-train", "digits-validation", "digits-test",
    ]  # fmt: skip
    assert [used.context for used in data.values()] == ["training", "validation", "test"]
    assert [sum(used.class_counts) for used in data.values()] == [200, 24, 30]
    assert {len(used.class_counts) for used in data.values()} == {10}
    assert data["test"].sample_shape == (1, 8, 8)
    assert dataset.content_hash().startswith(data["test"].digest)
    assert len(data["test"].digest) <= 36  # what MLflow takes
    with pytest.raises(AttributeError):
        data["test"].digest = ""
