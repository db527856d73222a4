"""A sweep's own files in the store: what it is, and its trials; the report reads them."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.config import SpaceConfig
from pipeline.data import Dataset
from pipeline.files import StorePath, local_folder, write_atomically
from pipeline.fingerprint import fingerprint
from pipeline.judging import Judgement
from pipeline.records import TrialRow

PAUSE = 20
"""After trials.json was written, this many times as long as it took passes before the next time:
with thousands of trials it would take longer to write than the trials themselves."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def asked_for(space: SpaceConfig) -> str:
    """Hash of what a complete sweep has done: what is searched, how much, what is reported."""
    return fingerprint([space.identity(), space.search.num_trials, space.report, space.seeds])


class SweepFiles:
    """`sweeps/NAME/`: sweep.json, trials.json, the space as written, the environment."""

    def __init__(self, store: StorePath, name: str) -> None:
        self.store, self.folder = store, store / "sweeps" / name
        self.local = local_folder(store) / "sweeps" / name
        """What cannot lie in an object store: the driver's lock, and what waits for MLflow."""
        self.facts: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._before_s, self._began = 0.0, time.perf_counter()

    def is_complete(self, space: SpaceConfig) -> bool:
        """Whether a sweep of this name, asking for just this, has run to its end."""
        facts = self._stored()
        return bool(facts.get("complete")) and facts.get("asked_for") == asked_for(space)

    def exists(self) -> bool:
        """Whether a sweep of this name has begun."""
        return (self.folder / "sweep.json").is_file()

    def _stored(self) -> dict[str, Any]:
        path = self.folder / "sweep.json"
        try:
            facts: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return facts

    def begin(
        self,
        *,
        name: str,
        space: SpaceConfig,
        space_file: Path,
        overrides: Sequence[str],
        dataset: Dataset,
        model_note: str,
        selection: Judgement,
        reporting: Judgement,
        environment: dict[str, Any],
    ) -> list[StorePath]:
        """Write down what is about to run; returns the files that describe it."""
        stored = self._stored()
        self._before_s, self._began = float(stored.get("wall_s") or 0.0), time.perf_counter()
        text = space_file.read_text()
        self.facts = {
            "name": name,
            "description": space.description,
            "paper": space.paper,
            "scale": space.scale,
            "seeds": space.seeds,
            "asked_for": asked_for(space),
            "space_text": text,
            "space_file": space_file.name,
            "overrides": list(overrides),
            "objectives": list(space.search.objectives),
            "constraints": dict(space.search.constraints),
            "parameters": {
                path: {k: v for k, v in dataclasses.asdict(parameter).items() if v is not None}
                for path, parameter in space.search.parameters.items()
            },
            "seed": space.seed,
            "sampler": space.search.sampler,
            "data_note": dataset.note,
            "data_hash": dataset.content_hash(),
            "num_train": len(dataset.train),
            "num_validation": len(dataset.validation),
            "num_test": len(dataset.test),
            "num_classes": dataset.num_classes,
            "model_note": model_note,
            "epsilon": selection.epsilon,
            "selection_suite": selection.recorded(),
            "report_suite": reporting.recorded(),
            "report_trials": space.report.trials,
            "environment": environment,
            "started": stored.get("started", _now()),
            "finished": None,
            "wall_s": self._before_s,
            "phases": {},
            "complete": False,
        }
        self._write("sweep.json", self.facts)
        self._write("environment.json", environment)
        write_atomically(self.folder / space_file.name, text.encode())
        return [self.folder / space_file.name, self.folder / "environment.json"]

    def _write(self, name: str, content: Any) -> None:
        text = json.dumps(content, indent=1, default=str) + "\n"
        write_atomically(self.folder / name, text.encode())

    def write_trials(self, rows: Callable[[], Sequence[TrialRow]], *, last: bool = False) -> None:
        """The ledger's rows as they are now, a line each; only now and then, but for the last.

        Rows are asked for under a lock, so that no older ones follow.
        """
        with self._lock:
            began = time.monotonic()
            if began < self._not_before and not last:
                return
            lines = ",\n".join(json.dumps(vars(row), default=str) for row in rows())
            write_atomically(self.folder / "trials.json", f"[\n{lines}\n]\n".encode())
            ended = time.monotonic()
            self._not_before = ended + PAUSE * (ended - began)

    def end(self, rows: Callable[[], Sequence[TrialRow]], *, complete: bool) -> dict[str, float]:
        """Write down that the run ended; returns its times in seconds."""
        phases = {
            "training_s": sum(row.training_s for row in rows()),
            "evaluation_s": sum(row.evaluation_s for row in rows()),
        }
        wall = self._before_s + time.perf_counter() - self._began
        self.facts |= {"wall_s": wall, "phases": phases, "complete": complete}
        self.facts["finished"] = _now() if complete else None
        self._write("sweep.json", self.facts)
        self.write_trials(rows, last=True)
        return {"wall_s": wall, **phases}
