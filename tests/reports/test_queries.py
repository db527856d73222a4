import json
import math

import pytest
from stores import LAMBDA, trial, write_sweep, write_uniform, write_verdicts

from pipeline.errors import ConfigError
from reports.queries import load_study, trial_frame


def labels(trials):
    return [result.row.label for result in trials]


def test_front_leaves_out_the_infeasible(study_store):
    study = load_study(study_store, "demo")
    assert labels(study.judged) == ["vanilla", "at", "sr-1", "sr-2", "sr-3"]
    assert labels(study.front) == ["sr-2", "at", "vanilla"]
    assert labels(study.failures) == ["sr-4"]


def test_best_is_searched_feasible_and_above_the_floor(study_store):
    study = load_study(study_store, "demo")
    assert study.best.row.label == "sr-2"
    write_sweep(study_store, "strict", [t for t in _trials(study_store)],
                constraints={"clean_accuracy": 0.85})  # fmt: skip
    assert load_study(study_store, "strict").best.row.label == "sr-1"


def test_comparisons_pair_the_test_split(study_store):
    study = load_study(study_store, "demo")
    assert study.reporting_split == "test"
    against = {c.baseline.row.label: c for c in study.comparisons}
    # The first n samples survive, so sr-2 has 5 (7 - 2) and 2 (7 - 5) samples to itself.
    assert against["vanilla"].robust.only_first == 5
    assert against["vanilla"].robust.p_value == 2 / 2**5
    assert against["vanilla"].adjusted_p == 2 * 2 / 2**5
    assert against["at"].robust.difference == pytest.approx(0.2)
    assert against["at"].clean.difference == pytest.approx(-0.1)
    assert not against["at"].distinguishable


def test_selection_never_reads_the_test_split(study_store):
    write_uniform(study_store, "sr-1", 9, 9, splits=["test"])
    assert load_study(study_store, "demo").best.row.label == "sr-2"


def test_gradient_means_count_zero_gradients_apart(study_store):
    stats = load_study(study_store, "demo").trials[2].gradients
    assert stats.means["gradient_l1"] == pytest.approx(4 / 3)
    assert stats.means["gradient_density"] == 3.0
    assert (stats.total, stats.undefined) == (3, 1)
    assert stats.ratio_median == 9.5
    assert stats.within_bounds == 0.5  # 12 <= 3 * 4 holds, 7 <= 3 * 2 does not


def test_told_and_stored_numbers_are_compared(tmp_path):
    metrics = {"clean_accuracy": 0.9, "robust_accuracy": 0.5}
    write_sweep(tmp_path, "s", [trial("a", metrics=metrics)])
    write_uniform(tmp_path, "a", 9, 4)
    assert load_study(tmp_path, "s").disagreements == (
        "a: robust_accuracy was told as 0.5000, the stored verdicts give 0.4000",
    )


def test_frame_has_fractions_and_leaves_incomplete_cells_empty(study_store):
    write_verdicts(study_store, "late", "validation", {"clean": [1, 1]})
    write_sweep(study_store, "demo", [*_trials(study_store), trial("late")])
    frame = trial_frame(load_study(study_store, "demo")).set_index("label")
    assert frame.loc["sr-2", "validation_robust"] == 0.7
    assert frame.loc["sr-2", LAMBDA] == 0.1
    assert math.isnan(frame.loc["late", "validation_robust"])
    assert frame.loc["late", "validation_robust_num_samples"] == 0


def test_sample_count_is_limited_to_the_split(tmp_path):
    write_sweep(tmp_path, "s", [trial("a")], num_samples=1000, num_validation=10)
    write_uniform(tmp_path, "a", 9, 4)
    study = load_study(tmp_path, "s")
    assert study.trials[0].robust("validation").total == 10
    assert study.trials[0].robust("test") is None


@pytest.mark.parametrize("name", ["../demo", "a/b", "..", "", "/etc", "a\\b", "-x", "a\n"])
def test_names_that_lead_elsewhere_are_refused(study_store, name):
    with pytest.raises(ConfigError, match="sweep name"):
        load_study(study_store, name)


def test_fingerprints_that_lead_elsewhere_are_refused(tmp_path):
    write_sweep(tmp_path, "s", [trial("a", fingerprint="../../etc")])
    with pytest.raises(ConfigError, match="fingerprint"):
        load_study(tmp_path, "s")


def test_absent_sweep_lists_the_known(study_store):
    with pytest.raises(ConfigError, match="no sweep 'other'.*demo"):
        load_study(study_store, "other")


def test_broken_files_are_named(study_store):
    (study_store / "sweeps/demo/trials.json").write_text("[{")
    with pytest.raises(ConfigError, match=r"trials\.json: expected JSON"):
        load_study(study_store, "demo")


def test_half_written_epoch_is_ignored(study_store):
    path = study_store / "trials/sr-10000/epochs.jsonl"
    path.write_text(path.read_text() + '{"epoch": 3, "tra')
    assert load_study(study_store, "demo").trials[2].epochs["epoch"].tolist() == [1, 2]


def _trials(store):
    return json.loads((store / "sweeps/demo/trials.json").read_text())
