"""What the searcher hands Tune: as many trials as there are slots, and why a run ends."""

import pytest
from ray.tune.search import Searcher

from pipeline.adapters import ray_tune
from pipeline.adapters.ray_tune import ENDED, LedgerSearcher, RunEnd, TrialEvents
from pipeline.records import TrialRow


class Sweep:
    """A ledger of some trials, and what it was told."""

    def __init__(self, count: int) -> None:
        self.left = [row(f"sr-{number}") for number in range(count)]
        self.trained: list[str] = []
        self.is_full = False

    def events(self) -> TrialEvents:
        return TrialEvents(
            ask=lambda: self.left.pop(0) if self.left else None,
            full=lambda: self.is_full,
            started=lambda _row: None,
            epoch=lambda _row, _metrics: None,
            trained=lambda row: self.trained.append(row.label),
            failed=lambda row, _reason, _diverged: pytest.fail(row.label),
        )


def row(label: str) -> TrialRow:
    return TrialRow(
        label=label, fingerprint=label, strategy="sr", method="sr", role="searched",
        parameters={}, config={},
    )  # fmt: skip


def test_as_many_trials_as_slots_and_more_when_the_cluster_grows(monkeypatch) -> None:
    monkeypatch.setattr(ray_tune, "COUNT_S", 0)
    sweep, slots = Sweep(4), [2]
    searcher = LedgerSearcher(sweep.events(), lambda: slots[0])
    labels = [(searcher.suggest(str(number)) or {}).get("label") for number in range(3)]
    assert labels == ["sr-0", "sr-1", None]
    searcher.on_trial_complete("0", {ENDED: True})
    assert searcher.suggest("3")["label"] == "sr-2"
    assert searcher.suggest("4") is None
    slots[0] = 3
    assert searcher.suggest("5")["label"] == "sr-3"
    slots[0] = 1
    searcher.on_trial_complete("1", {ENDED: True})
    assert searcher.suggest("6") is None
    for trial in ("3", "5"):
        searcher.on_trial_complete(trial, {ENDED: True})
    assert searcher.suggest("7") == Searcher.FINISHED
    assert searcher.end is RunEnd.EXHAUSTED
    assert sweep.trained == ["sr-0", "sr-1", "sr-2", "sr-3"]


def test_a_backlog_pauses_once_nothing_trains_any_more() -> None:
    sweep = Sweep(3)
    searcher = LedgerSearcher(sweep.events(), lambda: 2)
    assert searcher.suggest("0")["label"] == "sr-0"
    sweep.is_full = True
    assert searcher.suggest("1") is None
    searcher.on_trial_complete("0", {ENDED: True})
    assert searcher.suggest("2") == Searcher.FINISHED
    assert searcher.end is RunEnd.PAUSED
