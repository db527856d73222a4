"""A plan counts what is left, tries real steps, and holds a sweep to its budget."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline import calibration, experiment, sweep
from pipeline.calibration import TrainingRate, measure_suite
from pipeline.config import input_spec
from pipeline.costs import Case, Phase, Rate
from pipeline.experiment import trial_folder
from pipeline.plan import Costs, Planner, Target, duration
from pipeline.plan_run import SpacePlan, _count
from pipeline.records import Outcome
from pipeline.records import Phase as RowPhase
from pipeline.resources import Shares
from pipeline.stored_data import load_stored
from pipeline.suite_costs import FORWARD, Fate, SuiteRates, kind
from pipeline.threats import load_suite, members
from tests.tiny import tiny_space, write_space

HERE = Target(
    device=torch.device("cpu"),
    share=Shares(trial_cpus=1, trial_gpus=0, evaluation_cpus=1, evaluation_gpus=0),
    slots=2,
)


def planner(folder: Path, *overrides: str) -> Planner:
    space = tiny_space(folder, *overrides)
    return Planner(space, load_stored(space.data, folder / "s"), folder / "s", space.name, HERE)


def counts(found: Planner, num_trials: int) -> dict[str, list[float]]:
    """Networks of each phase: at least, about, at most."""
    plans = [{p.name: p for p in found.plan(case, num_trials).phases} for case in Case]
    return {name: [plan[name].count if name in plan else 0 for plan in plans] for name in plans[-1]}


def test_what_a_grid_trains_is_counted_once(tmp_path: Path) -> None:
    found = counts(planner(tmp_path), 2)
    assert found["train vanilla"] == [1, 1, 1]
    assert found["train sr"] == [2, 2, 2]
    assert found["evaluation"] == [3, 3, 3]
    # The baseline, and of two trials one to two on the front; of random ones 1.5.
    assert found["report"] == [2, 2.5, 3]
    assert "audit" not in found
    # A baseline that is a point of the grid is one network.
    twin = planner(
        tmp_path, "baselines=[vanilla, sr]", "strategies.sr={method: sr, sparsity_weight: 0.05}"
    )
    assert counts(twin, 2)["train sr"] == [2, 2, 2]
    assert counts(planner(tmp_path), 1)["train sr"] == [1, 1, 1]


def test_seeds_reports_and_early_stops_are_counted(tmp_path: Path) -> None:
    seeds = counts(planner(tmp_path, "seeds=3", "report.trials=all", "report.audit=quick"), 2)
    assert seeds["further seeds"] == [6, 6, 6]
    assert seeds["report"] == [9, 9, 9]
    assert seeds["audit"] == [2, 2.5, 3]
    halved = planner(
        tmp_path, "search.halving={first_epoch: 1, factor: 2}", "search.sampler=random",
        "search.parameters={strategy.sparsity_weight: {low: 0.01, high: 0.1}}",
        "search.num_trials=8", "training.epochs=3",
    )  # fmt: skip
    least, about, most = counts(halved, 8)["evaluation"]
    # Looks after epochs 1 and 2: one goes on, or all eight, or about so many.
    assert (least, most) == (2, 9)
    assert least < about < most


def test_what_is_stored_is_not_counted_again(tmp_path: Path) -> None:
    from pipeline.adapters.parquet_store import ParquetStore
    from pipeline.config import input_spec
    from pipeline.evaluator import Evaluator
    from pipeline.experiment import train
    from pipeline.local import LocalExecutor

    found = planner(tmp_path)
    splits = {"train": found.dataset.train, "validation": found.dataset.validation}
    spec = input_spec(found.dataset)

    def train_for(epochs: int, label: str, values: dict[str, float] | None = None) -> str:
        trial = found.space.trial(label, values)
        name = trial.fingerprint()
        folder = trial_folder(found.store, name)
        steps = train(trial, splits, spec, folder, fingerprint=name, device="cpu")
        for _, _ in zip(range(epochs), steps, strict=False):
            pass
        return name

    train_for(4, "vanilla")
    train_for(1, "sr", {"strategy.sparsity_weight": 0.01})
    job = found._job("evaluation", found._baselines[0])
    evaluator = Evaluator(LocalExecutor(splits, device="cpu"), ParquetStore(found.store))
    evaluator.submit(job, lambda *_: None)
    evaluator.wait()
    evaluator.close()

    again = planner(tmp_path)
    assert again.num_trained(2) == 1
    left = counts(again, 2)
    assert "train vanilla" not in left
    assert left["train sr"] == [2, 2, 2]
    assert left["evaluation"] == [2, 2, 2]
    # Three of the first point's four epochs are left, and all four of the second one's.
    again.costs = COSTS
    phases = {phase.name: phase for phase in again.plan(Case.ABOUT, 2).phases}
    one_s = again._training_s(Case.ABOUT, "sr")
    assert phases["train sr"].work_s == pytest.approx(1.75 * one_s)


def test_a_front_of_judged_trials_is_known(tmp_path: Path) -> None:
    found = planner(tmp_path)
    judged = [
        dataclasses.replace(
            row,
            phase=RowPhase.TOLD,
            outcome=Outcome.COMPLETE,
            metrics={"clean_accuracy": 0.9, "robust_accuracy": robust},
        )
        for row, robust in zip(found._searched(2), (0.5, 0.6), strict=True)
    ]
    found.stored.trials = judged[:1]
    assert not found.knows_front(2)
    assert counts(found, 2)["report"] == [2, 2.5, 3]
    found.stored.trials = judged
    assert found.knows_front(2)
    assert counts(found, 2)["report"] == [2, 2, 2]


COSTS = Costs(
    trainings_s={"vanilla": [10.0], "sr": [20.0, 40.0]},
    rates=dict.fromkeys(("vanilla", "sr"), TrainingRate(step_s=0.1, validation_s=0.0, whole=True)),
    suites=[
        SuiteRates(
            steps={FORWARD: Rate(), ("gradient", "own", ""): Rate(sample_s=0.01)},
            judges={"plain": Rate(), "exact": Rate()},
            pseudo={"measure": Rate(), "gradients": Rate()},
        )
    ],
    fates={case: Fate(clean=1.0, robust=case.value) for case in Case},
)


def test_a_network_that_is_judged_in_part_counts_as_one() -> None:
    rows = [Phase(stage="report", name="report", count=count) for count in (0.03, 0.5, 2.5)]
    assert _count(rows[0], rows[0], rows[0]) == "1"
    assert _count(*rows) == "1 (1-3)"


def test_hours_follow_from_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pipeline.plan as plan

    for name in ("START_S", "END_S", "WORKER_S", "BLOCK_S", "EPOCH_S", "SPREAD"):
        monkeypatch.setattr(plan, name, 0.0)
    found = planner(tmp_path)
    found.costs = COSTS
    # Vanilla 10 s, two of SR at 20, 30 or 40 s. FGSM of one step and PGD of two through two oracles
    # on all samples: 6 steps of 0.01 s each; 24 samples for 3 networks, and 30 for 2, 2.5, 3.
    works = [found.plan(case, 2).work_s for case in Case]
    attacks = [3 * 24 * 0.06 + reported * 30 * 0.06 for reported in (2, 2.5, 3)]
    assert works == pytest.approx([50 + attacks[0], 70 + attacks[1], 90 + attacks[2]])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0284, "28 ms"), (4.13, "4.1 s"), (89, "89 s"), (370, "6.2 min"), (11160, "3.1 h")]
    + [(1e6, "12 days"), (0, "0 ms")],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("name", ["strong", "audit", "paper"])
def test_every_kind_of_attack_is_tried(name: str, tmp_path: Path) -> None:
    space = tiny_space(tmp_path)
    dataset = load_stored(space.data, tmp_path)
    chosen = members(load_suite(name), 0.1)
    rates = measure_suite(space.trial("vanilla"), dataset, chosen, 12, HERE.device, 1)
    wanted = {kind(member) for member in chosen if member.attack is not None}
    assert wanted <= set(rates.steps)
    assert all(rate.seconds(12) > 0 for kind, rate in rates.steps.items() if kind != FORWARD)


def test_training_is_tried_as_it_will_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled or not, by the same rule: what the whole training updates."""
    asked = []

    def watched(model: nn.Module, choice: str, **details: Any) -> bool:
        asked.append((choice, details["updates"]))
        return False

    for module in (calibration, experiment):
        monkeypatch.setattr(module, "compile_if_worthwhile", watched)
    found = planner(tmp_path, "compute.compile='off'")
    trial = found.space.trial("vanilla")
    calibration.measure_training(trial, found.dataset, HERE.device, 1, "off")
    splits = {"train": found.dataset.train, "validation": found.dataset.validation}
    folder = trial_folder(found.store, "any")
    epochs = experiment.train(
        trial, splits, input_spec(found.dataset), folder,
        fingerprint="any", device="cpu", compile_choice="off",
    )  # fmt: skip
    next(iter(epochs))
    assert asked[0] == asked[1]
    assert asked[0][1] > len(found.dataset.train) * trial.training.epochs


def test_flips_of_event_frames_are_tried(tmp_path: Path) -> None:
    space = tiny_space(
        tmp_path, "data={dataset: digits_events, frames: {num_frames: 2}, num_train: 60, "
        "num_validation: 20, num_test: 20}", "model.input=binary", "evaluation.suite=flips",
    )  # fmt: skip
    dataset = load_stored(space.data, tmp_path)
    from pipeline.config import domain_of

    chosen = members(load_suite("flips"), 0.1, domain=domain_of(dataset))
    rates = measure_suite(space.trial("vanilla"), dataset, chosen, 12, HERE.device, 1)
    assert ("sda", "stbp", "sigmoid") in rates.steps
    assert rates.judges["exact"].seconds(12) > 0


def test_plan_prints_what_a_sweep_takes_and_leaves_nothing(tmp_path, capsys) -> None:
    space, store = write_space(tmp_path), tmp_path / "store"
    assert sweep.main(["--space", str(space), "--store", str(store), "--plan"]) == 0
    out = capsys.readouterr().out
    assert "1 baselines, 2 by grid" in out
    assert "4 x 10 steps of" in out
    for word in ("train sr", "evaluation", "report", "wall-clock", "CPU time", "disk"):
        assert word in out
    assert not store.exists()


def test_without_the_device_only_counts_are_told(tmp_path, capsys) -> None:
    space = str(write_space(tmp_path))
    cuda = ["--set", "compute={device: cuda}"]
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = ["--space", space, "--store", str(tmp_path / "store"), *cuda, "--plan"]
    assert sweep.main(command) == 0
    out = capsys.readouterr().out
    assert "not timed" in out
    # SR: the loss, the gradient for the direction, the second point.
    assert "4 x 10 steps of 3 passes" in out
    assert "wall-clock" not in out
    assert sweep.main([*command, "--budget-hours", "5"]) == 2
    assert "nothing can be timed here: compute.device: cuda" in capsys.readouterr().err


def test_the_most_trials_that_a_budget_allows(tmp_path: Path) -> None:
    space = tiny_space(tmp_path)
    found = SpacePlan(tmp_path / "tiny.yaml", space, "tiny", tmp_path / "store")
    found.planner.costs = COSTS
    one, two = found.hours(1), found.hours(2)
    assert one < two
    assert [found.fitting(hours) for hours in (0.9 * one, one, 0.99 * two, two, 9.0)] == [
        0, 1, 1, 2, 2,
    ]  # fmt: skip


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What would have been handed to the driver."""
    import pipeline.sweep_run as sweep_run

    runs: list[dict] = []
    monkeypatch.setattr(
        sweep_run, "run_sweep", lambda space, **more: runs.append(more | {"space": space}) or 0
    )
    return runs


def test_a_plan_beyond_the_budget_is_refused(tmp_path, capsys, started) -> None:
    command = ["--space", str(write_space(tmp_path)), "--store", str(tmp_path / "store")]
    for more in (["--resume"], ["--trim"], ["--plan"]):
        assert sweep.main([*command, "--budget-hours", "1e-9", *more]) == 2
        said = capsys.readouterr()
        text = said.out if more == ["--plan"] else said.err
        assert "--budget-hours 1e-09: the plan takes about" in text
        assert "the baselines and one searched trial take about" in text
        assert "Traceback" not in said.err
    assert not started
    assert sweep.main([*command, "--budget-hours", "100"]) == 0
    assert started[0]["space"].search.num_trials is None


@pytest.mark.parametrize(("options", "message"), [
    (["--budget-hours", "nan"], "--budget-hours: expected hours above 0, got nan"),
    (["--budget-hours", "-1"], "--budget-hours: expected hours above 0, got -1"),
    (["--trim"], "--trim: expected --budget-hours H"),
    (["--trials", "-3"], "--trials: expected a whole number of at least 1, got -3"),
    (["--seed", "-1"], "--seed: expected a whole number of at least 0, got -1"),
])  # fmt: skip
def test_options_that_make_no_sense(options, message, tmp_path, capsys, started) -> None:
    assert sweep.main(["--space", str(write_space(tmp_path)), *options]) == 2
    assert message in capsys.readouterr().err
    assert not started


def test_a_trimmed_sweep_is_that_of_so_many_trials(tmp_path, capsys, started) -> None:
    text = (
        "search.sampler=random", "search.num_trials=5000",
        "search.parameters={strategy.sparsity_weight: {low: 0.01, high: 0.1}}",
    )  # fmt: skip
    settings = [part for setting in text for part in ("--set", setting)]
    command = ["--space", str(write_space(tmp_path)), "--store", str(tmp_path / "s"), *settings]
    assert sweep.main([*command, "--budget-hours", "0.1"]) == 2
    assert "of 5000 searched trials would fit: add --trim" in capsys.readouterr().err
    assert sweep.main([*command, "--budget-hours", "0.1", "--trim", "--resume"]) == 0
    (run,) = started
    fitting = run["space"].search.num_trials
    assert 0 < fitting < 5000
    assert f"{fitting} of 5000 searched trials" in capsys.readouterr().out
    assert sweep.main([*command, "--trials", str(fitting), "--resume"]) == 0
    assert started[1] == run


def test_steps_that_diverge_are_told(tmp_path, capsys, started) -> None:
    space = str(write_space(tmp_path))
    command = ["--space", space, "--store", str(tmp_path / "s"), "--plan", "--set"]
    assert sweep.main([*command, "training.learning_rate=1e30"]) == 2
    assert f"{space}: after a few steps of training" in capsys.readouterr().err


def test_a_folder_is_summed_and_not_trimmed(tmp_path, capsys, started) -> None:
    folder = tmp_path / "spaces"
    folder.mkdir()
    text = write_space(tmp_path).read_text()
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text(text.replace("name: tiny", f"name: {name}"))
    command = ["--space", str(folder), "--store", str(tmp_path / "s")]
    assert sweep.main([*command, "--plan"]) == 0
    assert "all 2 sweeps: about" in capsys.readouterr().out
    assert sweep.main([*command, "--budget-hours", "1e-9"]) == 2
    assert "run fewer spaces, or allow more" in capsys.readouterr().err
    assert sweep.main([*command, "--budget-hours", "1", "--trim"]) == 2
    assert "--trim: expected one space, got a folder of 2" in capsys.readouterr().err
    assert not started
