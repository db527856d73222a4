"""A sweep's files while it runs: not rewritten for every trial, and whole at the end."""

import dataclasses
import json

from pipeline.records import Outcome, Phase, TrialRow
from pipeline.sweep_files import SweepFiles


def rows(count: int, **changes) -> list[TrialRow]:
    row = TrialRow(
        label="sr-000", fingerprint="f", role="searched", strategy="sr", method="sr",
        parameters={"x": 0.5}, config={"model": {"channels": [4, 4]}},
    )  # fmt: skip
    return [dataclasses.replace(row, label=f"sr-{n:03d}", **changes) for n in range(count)]


def test_trials_are_written_now_and_then_and_at_the_end(tmp_path):
    files, asked = SweepFiles(tmp_path, "demo"), 0

    def current():
        nonlocal asked
        asked += 1
        return rows(200)

    for _ in range(500):
        files.write_trials(current)
    assert 1 <= asked < 250
    told = rows(200, phase=Phase.TOLD, outcome=Outcome.COMPLETE, metrics={"clean_accuracy": 0.5})
    files.end(lambda: told, complete=True)
    stored = json.loads((tmp_path / "sweeps/demo/trials.json").read_text())
    assert stored == [json.loads(json.dumps(dataclasses.asdict(row))) for row in told]
