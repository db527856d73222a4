"""Training trials under Ray Tune, fed by our own searcher.

Tune schedules and restarts; it keeps no truth. The ledger hands out trials and the checkpoint
of each lies in the store, so a new `Tuner` over the same ledger continues whatever stopped.
"""

import logging
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import ray
from pydantic import TypeAdapter
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from models import InputSpec
from pipeline.adapters.ray_session import slots, worker_logs
from pipeline.config import TRIAL
from pipeline.experiment import train, trial_folder, write_config
from pipeline.files import store_path, takes_nothing
from pipeline.records import TrialRow
from pipeline.training.loop import DivergedError

MAX_FAILURES = 3
"""Restarts of a trial whose worker or node died; it continues from its checkpoint."""
ENDED = "training_ended"
COUNT_S = 5
"""Between two looks at what the cluster has."""
SPEC: TypeAdapter[InputSpec] = TypeAdapter(InputSpec)


class RunEnd(Enum):
    """Why a run of Tune ended."""

    EXHAUSTED = "the ledger has nothing left"
    PAUSED = "too many networks wait for evaluation"
    NO_STORE = "the store is full, or out of reach"
    INTERRUPTED = "the user stopped it"


@dataclass(frozen=True, kw_only=True)
class TrialEvents:
    """What the sweep is asked and told while trials run; called in the driver's main thread."""

    ask: Callable[[], TrialRow | None]
    """The next trial; None: nothing is left."""
    full: Callable[[], bool]
    """Whether training should pause: too many networks wait for evaluation."""
    started: Callable[[TrialRow], None]
    epoch: Callable[[TrialRow, dict[str, float]], None]
    trained: Callable[[TrialRow], None]
    failed: Callable[[TrialRow, str, bool], None]
    """With the reason, and whether it diverged."""
    hopeless: Callable[[TrialRow, dict[str, float]], str] = lambda _row, _metrics: ""
    """Why a trial is to be stopped after this epoch; empty: it goes on."""
    stopped: Callable[[TrialRow, str], None] = lambda _row, _reason: None
    """A trial was stopped for that reason."""


class LedgerSearcher(Searcher):  # type: ignore[misc]
    """Gives Tune the ledger's trials.

    Tune itself would start one worker at a time, and give each that comes free to the trial whose
    own is still starting, which it then stops: trials shorter than a start would run one by one.
    So it may start as many as it is given, and is given as many as there are slots.

    Returning None with no trial alive would make Tune sleep while finished actors keep their
    GPUs; so then the run is declared finished, Tune lets go of everything, and the caller
    starts the next run when the backlog has shrunk.
    """

    def __init__(self, events: TrialEvents, slots: Callable[[], int]) -> None:
        """Hand out trials while there are slots for them.

        Args:
            events: What is asked and told.
            slots: How many trials may run or wait for a worker; asked now and then, as a cluster
                grows and shrinks.
        """
        super().__init__()
        self._events = events
        self._count_slots, self._slots, self._counted = slots, 0, -math.inf
        self._live: dict[str, TrialRow] = {}
        self._stopped: dict[str, str] = {}
        self._paused = self._exhausted = False
        self._cut_short = self._no_store = False

    @property
    def end(self) -> "RunEnd":
        """Why the run ended, once it has."""
        if self._no_store:
            return RunEnd.NO_STORE
        if self._live or self._cut_short or not (self._paused or self._exhausted):
            return RunEnd.INTERRUPTED
        return RunEnd.PAUSED if self._paused else RunEnd.EXHAUSTED

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Nothing is taken over from Tune."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next trial's configuration, None to be asked again, or FINISHED."""
        if self._no_store:
            return Searcher.FINISHED
        if self._events.full():
            if self._live:
                return None
            self._paused = True
            return Searcher.FINISHED
        if len(self._live) >= self._current_slots():
            return None
        row = self._events.ask()
        if row is None:
            self._exhausted = True
            return Searcher.FINISHED
        self._live[trial_id] = row
        self._events.started(row)
        return {"label": row.label, "fingerprint": row.fingerprint, "trial": row.config}

    def _current_slots(self) -> int:
        now = time.monotonic()
        if now - self._counted >= COUNT_S:
            self._slots, self._counted = self._count_slots(), now
        return self._slots

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass an epoch's metrics on."""
        if "epoch" in result:
            self._events.epoch(self._live[trial_id], result)

    def stops(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial is to be stopped after this report."""
        if "epoch" not in result:
            return False
        reason = self._events.hopeless(self._live[trial_id], result)
        if reason:
            self._events.epoch(self._live[trial_id], result)
            self._stopped[trial_id] = reason
        return bool(reason)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the trial's end on; one cut short by an interruption stays as it was asked."""
        row = self._live.pop(trial_id)
        if trial_id in self._stopped:
            self._events.stopped(row, self._stopped.pop(trial_id))
        elif error:
            where = worker_logs() or "the Ray logs"
            reason = f"its worker died more than {MAX_FAILURES} times; see {where}"
            self._events.failed(row, reason, False)
        elif result and result.get("no_store"):
            self._no_store = True  # the trial stays as it was asked
        elif result and result.get("reason"):
            self._events.failed(row, result["reason"], bool(result.get("diverged")))
        elif result and result.get(ENDED):
            self._events.trained(row)
        else:
            self._cut_short = True

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher beside its snapshot, which nothing of ours ever reads."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger is the state."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save: the ledger is the state."""


Trainable = Callable[[dict[str, Any], Any, dict[str, Any]], None]
"""What a worker runs, given the searcher's suggestion, the splits and the settings; its last
report has ENDED."""


class Stopping(FIFOScheduler):  # type: ignore[misc]
    """First in, first out; a trial whose searcher calls it hopeless is stopped."""

    def __init__(self, searcher: LedgerSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """STOP or CONTINUE."""
        return str(self.STOP if self._searcher.stops(trial.trial_id, result) else self.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler, too."""
        return {}


def train_trial(config: dict[str, Any], splits: Any, settings: dict[str, Any]) -> None:
    """What a trial's worker does: train to the end, reporting each epoch."""
    # Tune copies the configuration through JSON-like containers; the border check restores it.
    trial = TRIAL.validate_python(config["trial"])
    folder = trial_folder(store_path(settings["store"]), config["fingerprint"])
    try:
        write_config(folder, trial)
        epochs = train(
            trial,
            splits,
            SPEC.validate_python(settings["spec"]),
            folder,
            fingerprint=config["fingerprint"],
            device=settings["device"],
            num_threads=settings["num_threads"],
            look=settings["look"],
            compile_choice=settings["compile_choice"],
        )
        for metrics in epochs:
            tune.report(metrics)
    except DivergedError as error:
        tune.report({ENDED: True, "reason": str(error), "diverged": True})
        return
    except Exception as error:
        reason = traceback.format_exc()
        tune.report(
            {
                ENDED: True,
                "reason": reason,
                "diverged": False,
                "no_store": bool(takes_nothing(error)),
            }
        )
        return
    tune.report({ENDED: True})


def run_trials(
    events: TrialEvents,
    splits: Any,
    settings: dict[str, Any],
    *,
    num_cpus: int,
    num_gpus: float,
    scratch: Path,
    trainable: Trainable = train_trial,
) -> RunEnd:
    """Train what the ledger hands out until it has nothing left, or training must pause.

    Args:
        events: What is asked and told.
        splits: Object reference of the mapping of splits.
        settings: `store`, `spec`, `device`, `num_threads`, `look` and `compile_choice` of the
            workers.
        num_cpus: Of each trial.
        num_gpus: Of each trial; fractions share a GPU.
        scratch: Folder for Tune's own files, which nothing reads.
        trainable: What a trial's worker runs.

    Returns:
        Whether the ledger has nothing left, training must pause, or the user interrupted it.
    """
    # Tune reads these from the environment alone: its per-trial log files repeat our own.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # How many workers may start at a time: the searcher holds back what has no slot.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(sys.maxsize))
    # The sweep's handler asks Tune to end by the other signal Tune listens to, SIGUSR1.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    # Of Tune's snapshot, which nothing reads: a full disk would print tracebacks.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    searcher = LedgerSearcher(events, lambda: slots(num_cpus, num_gpus))
    with_data = tune.with_resources(
        tune.with_parameters(trainable, splits=ray.get(splits), settings=settings),
        {"cpu": num_cpus, "gpu": num_gpus},
    )
    tuner = tune.Tuner(
        with_data,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=Stopping(searcher),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch.absolute()),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0),
        ),
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        tuner.fit()
    finally:
        # Tune puts its own handlers in place and leaves them there: the next Ctrl-C would be lost.
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return searcher.end
