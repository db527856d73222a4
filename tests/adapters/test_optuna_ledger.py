import dataclasses

import optuna
import pytest

from pipeline.adapters.optuna_ledger import OptunaLedger, feasible
from pipeline.errors import ConfigError
from pipeline.records import Outcome, Phase
from tests.tiny import tiny_space


def told(row, clean, robust):
    metrics = {"clean_accuracy": clean, "robust_accuracy": robust}
    return dataclasses.replace(row, phase=Phase.TOLD, outcome=Outcome.COMPLETE, metrics=metrics)


def open_ledger(folder, space, *, resume=False):
    return OptunaLedger(f"sqlite:///{folder / 'study.db'}", "s", space, resume=resume)


def states(folder, name="s"):
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'study.db'}")
    return [trial.state.name for trial in study.trials]


def drain(ledger):
    rows = []
    while (row := ledger.ask()) is not None:
        rows.append(row)
    return rows


def test_baselines_come_first_and_a_grid_is_handed_out_in_order(tmp_path):
    ledger = open_ledger(tmp_path, tiny_space(tmp_path))
    rows = drain(ledger)
    assert [row.label for row in rows] == ["vanilla", "sr-000", "sr-001"]
    assert [row.role for row in rows] == ["baseline", "searched", "searched"]
    assert [row.parameters.get("strategy.sparsity_weight") for row in rows] == [None, 0.01, 0.05]
    assert rows[1].config["strategy"]["sparsity_weight"] == 0.01
    assert ledger.num_planned == 3
    assert len({row.fingerprint for row in rows}) == 3


def test_told_values_and_grid_parameters_are_in_the_database(tmp_path):
    ledger = open_ledger(tmp_path, tiny_space(tmp_path))
    for row in drain(ledger):
        ledger.update(told(row, 0.9, 0.4))
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [trial.params for trial in study.trials] == [
        {"strategy.sparsity_weight": 0.01},
        {"strategy.sparsity_weight": 0.05},
    ]
    assert [trial.values for trial in study.trials] == [[0.9, 0.4], [0.9, 0.4]]
    assert states(tmp_path, "s.baselines") == ["COMPLETE"]


def test_reopening_hands_out_the_interrupted_first_and_nothing_twice(tmp_path):
    space = tiny_space(tmp_path)
    ledger = open_ledger(tmp_path, space)
    first, second = ledger.ask(), ledger.ask()
    ledger.update(told(first, 0.9, 0.1))
    again = open_ledger(tmp_path, space, resume=True)
    rows = drain(again)
    assert [row.label for row in rows] == [second.label, "sr-001"]
    assert rows[0].fingerprint == second.fingerprint
    assert again.num_planned == 3


def test_a_trained_trial_is_not_trained_again(tmp_path):
    space = tiny_space(tmp_path)
    ledger = open_ledger(tmp_path, space)
    row = ledger.ask()
    ledger.update(dataclasses.replace(row, phase=Phase.TRAINED, training_s=3.0))
    again = open_ledger(tmp_path, space, resume=True)
    assert [r.label for r in drain(again)] == ["sr-000", "sr-001"]
    assert again.rows()[0].phase is Phase.TRAINED
    assert again.rows()[0].training_s == 3.0


def test_a_crash_between_the_row_and_optuna_is_mended(tmp_path):
    space = tiny_space(tmp_path)
    ledger = open_ledger(tmp_path, space)
    ledger.ask()
    row = ledger.ask()
    ledger._write("searched", 0, told(row, 0.8, 0.3))  # told, but Optuna was not
    assert states(tmp_path) == ["RUNNING"]
    open_ledger(tmp_path, space, resume=True)
    assert states(tmp_path) == ["COMPLETE"]


RANGE = "search.parameters.strategy.sparsity_weight={low: 0.0, high: 1.0}"


def proposals(ledger):
    """All parameters and labels the ledger hands out, each told before the next is asked."""
    found = []
    while (row := ledger.ask()) is not None:
        found.append((row.label, row.parameters))
        ledger.update(told(row, 0.9 - len(found) / 100, len(found) / 50))
    return found


@pytest.mark.parametrize("asked", ["searched", "baseline"])
@pytest.mark.parametrize("sampler", ["grid", "random", "tpe", "nsga2", "gp"])
def test_a_trial_asked_but_never_written_down_is_asked_again(tmp_path, sampler, asked):
    overrides = [f"search.sampler={sampler}"]
    if sampler != "grid":
        overrides += ["search.num_trials=6", RANGE]
    found = {}
    for name in ("whole", "broken"):
        folder = tmp_path / name
        folder.mkdir()
        space = tiny_space(folder, *overrides)
        ledger = open_ledger(folder, space)
        if name == "broken":
            trial = ledger._studies[asked].ask()
            if sampler == "random" and asked == "searched":  # and it had drawn already
                trial.suggest_float("strategy.sparsity_weight", 0.0, 1.0)
            ledger = open_ledger(folder, space, resume=True)
        found[name] = proposals(ledger)
    assert found["broken"] == found["whole"]
    assert set(states(tmp_path / "broken")) == {"COMPLETE"}
    assert states(tmp_path / "broken", "s.baselines") == ["COMPLETE"]


def test_a_smaller_search_leaves_no_zombie_of_a_larger_one(tmp_path):
    overrides = ["search.sampler=random", RANGE]
    ledger = open_ledger(tmp_path, tiny_space(tmp_path, *overrides, "search.num_trials=5"))
    for row in [ledger.ask() for _ in range(3)]:
        ledger.update(told(row, 0.9, 0.1))
    ledger._studies["searched"].ask()
    smaller = tiny_space(tmp_path, *overrides, "search.num_trials=2")
    assert drain(open_ledger(tmp_path, smaller, resume=True)) == []
    assert states(tmp_path) == ["COMPLETE", "COMPLETE", "FAIL"]


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "gp", "qmc"])
def test_a_resumed_search_proposes_what_it_would_have_proposed(tmp_path, sampler):
    found = {}
    for name in ("whole", "broken"):
        folder = tmp_path / name
        folder.mkdir()
        space = tiny_space(folder, f"search.sampler={sampler}", "search.num_trials=8", RANGE)
        ledger, found[name] = open_ledger(folder, space), []
        while (row := ledger.ask()) is not None:
            found[name].append((row.label, row.parameters))
            ledger.update(told(row, 0.9 - len(found[name]) / 100, len(found[name]) / 50))
            if name == "broken":
                ledger = open_ledger(folder, space, resume=True)
    assert found["broken"] == found["whole"]


def test_what_is_lost_is_trained_again_and_what_was_told_stays(tmp_path):
    ledger = open_ledger(tmp_path, tiny_space(tmp_path))
    rows = drain(ledger)
    for row in rows:
        ledger.update(told(row, 0.9, 0.4))
    ledger.train_again(rows[:1])
    assert [row.label for row in drain(ledger)] == ["vanilla"]
    ledger.update(dataclasses.replace(rows[0], phase=Phase.TRAINED))
    ledger.update(told(rows[0], 0.1, 0.1))
    assert [row.metrics["clean_accuracy"] for row in ledger.rows()] == [0.9] * 3


def test_failures_are_told_as_such(tmp_path):
    ledger = open_ledger(tmp_path, tiny_space(tmp_path))
    for row in drain(ledger):
        bad = dataclasses.replace(row, phase=Phase.TOLD, outcome=Outcome.DIVERGED, reason="NaN")
        ledger.update(bad)
    assert states(tmp_path) == ["FAIL", "FAIL"]
    assert {row.reason for row in ledger.rows()} == {"NaN"}


def test_equal_proposals_are_trained_once_and_told_alike(tmp_path):
    space = tiny_space(
        tmp_path,
        "search.sampler=random",
        "search.num_trials=6",
        "search.parameters.strategy.sparsity_weight.values=[0.01, 0.02]",
    )
    ledger = open_ledger(tmp_path, space)
    rows = drain(ledger)
    assert len(rows) == 3  # vanilla and the two values
    for row in rows:
        ledger.update(told(row, 0.5, 0.25))
    assert states(tmp_path) == ["COMPLETE"] * 6
    assert len({row.label for row in ledger.rows()}) == 7


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "gp", "qmc"])
def test_every_sampler_proposes_inside_the_range(tmp_path, sampler):
    space = tiny_space(
        tmp_path,
        f"search.sampler={sampler}",
        "search.num_trials=12",
        "search.parameters={strategy.sparsity_weight: {low: 1.0e-3, high: 0.1, log: true}, "
        "strategy.finite_difference_step: {low: 0.002, high: 0.05}}",
    )
    ledger = open_ledger(tmp_path, space)
    seen = []
    while (row := ledger.ask()) is not None:
        ledger.update(told(row, 0.9 - len(seen) / 100, len(seen) / 50))
        if row.role == "searched":
            seen.append(row.parameters)
    # NSGA-II crosses parents over, and may propose a point again, which is not trained again.
    assert len(seen) == 12 or (sampler == "nsga2" and len(seen) >= 8)
    assert len(ledger.rows()) == 13
    assert all(1e-3 <= values["strategy.sparsity_weight"] <= 0.1 for values in seen)
    assert all(0.002 <= values["strategy.finite_difference_step"] <= 0.05 for values in seen)
    assert len({values["strategy.sparsity_weight"] for values in seen}) > 4


def test_gp_and_qmc_search_beside_baselines_without_falling_back_to_random(tmp_path):
    points = {}
    for sampler in ("qmc", "random"):
        folder = tmp_path / sampler
        folder.mkdir()
        space = tiny_space(
            folder,
            f"search.sampler={sampler}",
            "search.num_trials=9",
            "search.parameters.strategy.sparsity_weight={low: 0.0, high: 1.0}",
        )
        ledger = open_ledger(folder, space)
        values = []
        while (row := ledger.ask()) is not None:
            ledger.update(told(row, 0.9, 0.5))
            values += list(row.parameters.values())
        points[sampler] = sorted(values[1:])
    # Eight consecutive Sobol points lie one in each eighth of the range; random ones do not.
    assert [int(8 * value) for value in points["qmc"]] == list(range(8))
    assert [int(8 * value) for value in points["random"]] != list(range(8))


def test_strategy_is_searched_and_lambda_only_where_it_exists(tmp_path):
    space = tiny_space(
        tmp_path,
        "search.sampler=tpe",
        "search.num_trials=24",
        "search.strategies=[vanilla, at, sr, sr_star]",
        "baselines=[]",
        "search.parameters={strategy.sparsity_weight: {low: 1.0e-3, high: 0.1, log: true}, "
        "training.learning_rate: {low: 0.05, high: 0.2}}",
    )
    rows = drain(open_ledger(tmp_path, space))
    assert {row.strategy for row in rows} == {"vanilla", "at", "sr", "sr_star"}
    for row in rows:
        has_lambda = row.method in ("sr", "sr_star")
        assert ("strategy.sparsity_weight" in row.parameters) is has_lambda
        assert "training.learning_rate" in row.parameters


def test_constraints_reach_optuna(tmp_path):
    space = tiny_space(tmp_path, "search.constraints={clean_accuracy: 0.8}")
    ledger = open_ledger(tmp_path, space)
    for row, clean in zip(drain(ledger), (0.9, 0.7, 0.95), strict=True):
        metrics = {"clean_accuracy": clean, "robust_accuracy": 1 - clean}
        assert feasible(space, metrics) is (clean >= 0.8)
        ledger.update(told(row, clean, 1 - clean))
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [trial.values[0] for trial in study.best_trials] == [0.95]


def test_an_existing_sweep_is_not_touched_unasked_nor_by_another_space(tmp_path):
    space = tiny_space(tmp_path)
    open_ledger(tmp_path, space).ask()
    with pytest.raises(ConfigError, match="--resume"):
        open_ledger(tmp_path, space)
    other = tiny_space(tmp_path, "training.epochs=2")
    with pytest.raises(ConfigError, match="another search space"):
        open_ledger(tmp_path, other, resume=True)
    directions = tiny_space(tmp_path, "search.objectives=[clean_accuracy]")
    with pytest.raises(ConfigError, match="another search space"):
        open_ledger(tmp_path, directions, resume=True)


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp"])
def test_a_single_objective_is_a_search_too(tmp_path, sampler):
    space = tiny_space(
        tmp_path,
        f"search.sampler={sampler}",
        "search.num_trials=3",
        "search.objectives=[robust_accuracy]",
        "search.parameters.strategy.sparsity_weight={low: 0.0, high: 1.0}",
    )
    ledger = open_ledger(tmp_path, space)
    while (row := ledger.ask()) is not None:
        ledger.update(told(row, 0.9, 0.25))
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [trial.values for trial in study.trials] == [[0.25]] * 3


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "qmc"])
def test_a_resumed_search_proposes_new_points(tmp_path, sampler):
    overrides = [
        f"search.sampler={sampler}",
        "search.parameters.strategy.sparsity_weight={low: 0.0, high: 1.0}",
        "baselines=[]",
    ]
    values = []
    for num_trials in (3, 6):
        space = tiny_space(tmp_path, *overrides, f"search.num_trials={num_trials}")
        ledger = open_ledger(tmp_path, space, resume=num_trials > 3)
        while (row := ledger.ask()) is not None:
            ledger.update(told(row, 0.9, 0.1))
            values += row.parameters.values()
    assert len(values) == len(set(values)) == 6


@pytest.mark.parametrize("phase", [Phase.ASKED, Phase.TRAINED, Phase.TOLD])
def test_of_interrupted_twins_one_is_trained_again_at_most(tmp_path, phase):
    space = tiny_space(
        tmp_path,
        "search.sampler=random",
        "search.num_trials=8",
        "search.parameters.strategy.sparsity_weight.values=[0.01]",
        "baselines=[]",
    )
    ledger = open_ledger(tmp_path, space)
    (row,) = drain(ledger)
    assert len(ledger.rows()) == 8
    if phase is not Phase.ASKED:
        changed = told(row, 0.9, 0.1)
        if phase is Phase.TRAINED:
            changed = dataclasses.replace(row, phase=phase)
        ledger._write("searched", 3, changed)  # one of the eight, and then a crash
    again = open_ledger(tmp_path, space, resume=True)
    assert len(drain(again)) == (1 if phase is Phase.ASKED else 0)
    if phase is Phase.TOLD:
        assert states(tmp_path) == ["COMPLETE"] * 8


def test_another_suite_is_another_study_and_an_absent_one_cannot_be_resumed(tmp_path):
    space, url = tiny_space(tmp_path), f"sqlite:///{tmp_path / 'study.db'}"
    with pytest.raises(ConfigError, match="no sweep 's' to resume"):
        OptunaLedger(url, "s", space, resume=True)
    OptunaLedger(url, "s", space, resume=False, judged_by="pgd10").ask()
    with pytest.raises(ConfigError, match="another suite"):
        OptunaLedger(url, "s", space, resume=True, judged_by="pgd20")


def test_replicates_come_last_with_seeds_of_their_own(tmp_path):
    space = tiny_space(tmp_path, "seeds=3", "seed=7")
    ledger = open_ledger(tmp_path, space)
    rows = drain(ledger)
    assert all(row.role != "replicate" for row in rows)
    ledger.replicate([rows[0], rows[2]])
    assert ledger.num_planned == 7
    again = drain(ledger)
    assert [row.label for row in again] == [
        "vanilla.seed8",
        "vanilla.seed9",
        "sr-001.seed8",
        "sr-001.seed9",
    ]
    assert [row.replicate_of for row in again] == ["vanilla", "vanilla", "sr-001", "sr-001"]
    assert [row.config["seed"] for row in again] == [8, 9, 8, 9]
    assert again[2].parameters == rows[2].parameters
    assert again[2].config["strategy"] == rows[2].config["strategy"]
    assert len({row.fingerprint for row in rows + again}) == 7
    for row in rows + again:
        ledger.update(told(row, 0.9, 0.4))
    # The search has not seen them.
    assert states(tmp_path) == ["COMPLETE"] * 2
    assert states(tmp_path, "s.replicates") == ["COMPLETE"] * 4


def test_replicates_are_handed_out_once_across_runs(tmp_path):
    space = tiny_space(tmp_path, "seeds=2")
    ledger = open_ledger(tmp_path, space)
    rows = drain(ledger)
    ledger.replicate(rows)
    done = ledger.ask()
    ledger.update(told(done, 0.8, 0.3))
    interrupted = ledger.ask()
    again = open_ledger(tmp_path, space, resume=True)
    left = [row.label for row in drain(again) if row.role == "replicate"]
    assert left == [interrupted.label]
    again.replicate(rows)
    assert [row.label for row in drain(again)] == ["sr-001.seed1"]


def test_a_study_may_be_continued_with_more_seeds(tmp_path):
    ledger = open_ledger(tmp_path, tiny_space(tmp_path))
    rows = drain(ledger)
    for row in rows:
        ledger.update(told(row, 0.9, 0.4))
    again = open_ledger(tmp_path, tiny_space(tmp_path, "seeds=2"), resume=True)
    assert drain(again) == []
    again.replicate(again.rows())
    assert len(drain(again)) == 3
