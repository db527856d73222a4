from pathlib import Path

import pytest
from stores import LAMBDA, STEP, trial, write_epochs, write_measurements, write_sweep, write_uniform


@pytest.fixture
def study_store(tmp_path: Path) -> Path:
    """Two baselines, three searched settings and a failure, ten samples each.

    Clean and robust counts: vanilla 10/2, at 9/5, sr-1 9/4, sr-2 8/7, sr-3 4/4 (infeasible).
    """
    counts = {"vanilla": (10, 2), "at": (9, 5), "sr-1": (9, 4), "sr-2": (8, 7), "sr-3": (4, 4)}
    trials = [
        trial("vanilla", "vanilla", role="baseline"),
        trial("at", "at", role="baseline"),
        trial("sr-1", parameters={LAMBDA: 0.01, STEP: 0.01}),
        trial("sr-2", parameters={LAMBDA: 0.1, STEP: 0.02}),
        trial("sr-3", parameters={LAMBDA: 1.0, STEP: 0.03}, feasible=False),
        trial("sr-4", parameters={LAMBDA: 0.5, STEP: 0.04}, outcome="diverged",
              reason="Traceback\n  deep\nDiverged: loss is <nan> in epoch 3"),
    ]  # fmt: skip
    parameters = {
        LAMBDA: {"low": 0.001, "high": 1.0, "log": True},
        STEP: {"low": 0.01, "high": 0.1, "log": True},
    }
    write_sweep(tmp_path, "demo", trials, parameters=parameters)
    for label, (clean, robust) in counts.items():
        write_uniform(tmp_path, label, clean, robust)
        write_epochs(tmp_path, label, [{"epoch": 1, "train_loss": 2.0, "validation_accuracy": 0.4},
                                       {"epoch": 2, "train_loss": 1.0}])  # fmt: skip
    measured = {
        "sample": [0, 1, 2],
        "gradient_l1": [1.0, 3.0, 0.0],
        "gradient_l2": [0.5, 1.5, 0.0],
        "gradient_l0": [4.0, 2.0, 0.0],
        "gradient_density": [4.0, 2.0, float("nan")],
        "vulnerability_ratio": [12.0, 7.0, float("nan")],
    }
    for label in ("sr-1", "sr-2"):
        write_measurements(tmp_path, label, measured)
    return tmp_path
