import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from comparisons import write_block, write_study
from stores import LAMBDA, trial, write_audit, write_sweep

from reports.export import main

ROOT = Path(__file__).parents[2]
CONFIG = {
    "data": {"dataset": "digits", "root": "/somewhere", "download": False},
    "model": {"architecture": "small", "num_timesteps": 4, "encoding": "direct", "channels": [1]},
    "training": {"epochs": 3},
    "strategy": {"method": "sr"},
}


@pytest.fixture
def two(tmp_path):
    """Studies A and B with 100 samples; a trial of B has failed."""
    write_study(tmp_path, "A", {"vanilla": (98, 20), "sr-a": (95, 70)})
    trials = write_study(tmp_path, "B", {"sr-b": (95, 40)})
    trials[0]["config"] = CONFIG
    failed = trial("sr-z", outcome="failed", parameters={LAMBDA: 0.3})
    (tmp_path / "sweeps" / "B" / "trials.json").write_text(json.dumps([*trials, failed]))
    return tmp_path


def exported(store, *arguments, sweeps=("A", "B")):
    out = store / "exported"
    assert main(["--store", str(store), "--sweep", *sweeps, "--out", str(out), *arguments]) == 0
    return out


def one(frame, **wanted):
    """The one row that has these values."""
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_a_row_for_each_trial_split_and_member(two, capsys):
    out = exported(two)
    assert capsys.readouterr().out.splitlines() == [
        str(out / "results.csv"),
        str(out / "results.parquet"),
    ]
    frame = pd.read_parquet(out / "results.parquet")
    assert len(frame) == 3 * 2 * 4 + 1  # clean, two attacks and their union; the failed trial
    row = one(frame, trial="sr-a", split="test", member="pgd+triangle")
    assert (row["num_samples"], row["num_robust"], row["accuracy"]) == (100, 70, 0.7)
    assert (round(row["low"], 4), round(row["high"], 4)) == (0.6042, 0.7811)
    assert row["attack_hash"] == "p0"
    assert row["epsilon"] == pytest.approx(8 / 255)
    assert (row["attack"], row["oracle"], row["device"]) == ("pgd", "triangle", "cpu")
    assert (row["revision"], row["checkpoint_sha256"]) == ("abc123", "77")
    assert row[f"parameters.{LAMBDA}"] == 0.02
    assert bool(row["in_suite"])
    assert bool(row["chosen"])


def test_the_union_is_the_robust_accuracy(two):
    frame = pd.read_parquet(exported(two) / "results.parquet")
    row = one(frame, trial="sr-b", split="validation", member="union")
    assert row["accuracy"] == 0.4
    assert row["epsilon"] == pytest.approx(8 / 255, abs=1e-6)


def test_attacks_outside_the_suite_are_told_apart(two):
    write_block(two, "sr-a", "test", "pgd+triangle", [True] * 10, code="other")
    frame = pd.read_parquet(exported(two) / "results.parquet")
    row = one(frame, trial="sr-a", split="test", attack_hash="other")
    assert not row["in_suite"]
    assert row["num_samples"] == 10


def test_a_trial_without_verdicts_is_not_lost(two):
    frame = pd.read_csv(exported(two) / "results.csv")
    row = one(frame, trial="sr-z")
    assert row["outcome"] == "failed"
    assert pd.isna(row["split"])


def test_settings_are_flat_and_name_no_places(two):
    frame = pd.read_csv(exported(two) / "results.csv")
    row = one(frame, trial="sr-b", split="test", member="clean")
    assert row["config.model.num_timesteps"] == 4
    assert row["config.model.channels"] == "[1]"
    assert not [name for name in frame if "root" in name or "download" in name]


def test_csv_and_parquet_say_the_same(two):
    out = exported(two)
    csv, parquet = pd.read_csv(out / "results.csv"), pd.read_parquet(out / "results.parquet")
    assert list(csv) == list(parquet)
    assert csv["accuracy"].fillna(-1).tolist() == parquet["accuracy"].fillna(-1).tolist()


def test_settings_of_several_types_become_text(tmp_path):
    trials = [trial(f"sr-{i}", config={"strategy": {"step": step}}, phase="asked", outcome=None)
              for i, step in enumerate([0.1, "auto", None])]  # fmt: skip
    write_sweep(tmp_path, "A", trials)
    frame = pd.read_parquet(exported(tmp_path, sweeps=["A"]) / "results.parquet")
    assert frame["config.strategy.step"].tolist()[:2] == ["0.1", "auto"]


def test_an_empty_sweep_exports_no_row(tmp_path):
    write_sweep(tmp_path, "A", [])
    exported(tmp_path, sweeps=["A"])


def test_samples_are_written_where_asked_for(two):
    assert not (exported(two) / "samples").exists()
    frame = pd.read_parquet(exported(two, "--samples") / "samples" / "A" / "sr-a0000.parquet")
    assert len(frame) == 2 * 3 * 100
    assert list(frame)[:4] == ["study", "trial", "fingerprint", "split"]
    assert {"sample", "label", "robust", "margin", "device"} <= set(frame)


def test_robustbench_fields_hold_what_is_known(two):
    write_audit(two, "sr-b", "PASS")
    info = json.loads((exported(two, "--model", "sr-b") / "robustbench-sr-b0000.json").read_text())
    assert list(info)[:12] == [
        *("link", "name", "authors", "additional_data", "number_forward_passes", "dataset"),
        *("venue", "architecture", "eps", "clean_acc", "reported", "autoattack_acc"),
    ]
    assert info["autoattack_acc"] is None  # it was not run
    assert (info["external"], info["clean_acc"], info["eps"]) == ("40.00", "95.00", "8/255")
    assert info["footnote"].startswith("Not AutoAttack: the union of 2 attacks")
    assert (info["dataset"], info["number_forward_passes"]) == ("digits", 1)
    assert info["architecture"] == "small, spiking, 4 time steps"
    assert info["unreliable"] is False
    assert info["spikeproof"]["external_interval"] == ["30.94", "49.80"]


def test_what_fails_the_audit_is_unreliable_and_what_has_none_is_unknown(two):
    out = exported(two, "--model", "sr-b")
    assert json.loads((out / "robustbench-sr-b0000.json").read_text())["unreliable"] is None
    write_audit(two, "sr-b", "FAIL", failed=("ball",))
    exported(two, "--model", "sr-b0000")
    assert json.loads((out / "robustbench-sr-b0000.json").read_text())["unreliable"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sweep", "A", "--model", "sr-q"], "no trial of these sweeps"),
        (["--sweep", "A", "B", "C", "--model", "sr-b"], "several networks bear that label"),
        (["--sweep", "B", "--model", "sr-z"], "no complete set of test verdicts"),
        (["--sweep", "missing"], "no sweep 'missing'"),
        (["--sweep", "../A"], "sweep name"),
    ],
)
def test_what_cannot_be_exported_is_an_error(two, capsys, arguments, said):
    write_sweep(two, "C", [trial("sr-b", fingerprint="else0000")])
    out = two / "exported"
    assert main(["--store", str(two), "--out", str(out), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_command_loads_no_engine(two):
    code = (
        "import sys; from reports.export import main; "
        f"status = main(['--store', {str(two)!r}, '--sweep', 'A', '--out', {str(two / 'o')!r}]); "
        "assert not {'torch', 'ray', 'optuna', 'mlflow'} & set(sys.modules); sys.exit(status)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
