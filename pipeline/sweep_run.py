"""One run of a sweep: ledger -> ask -> train -> evaluate -> tell -> report."""

import contextlib
import dataclasses
import json
import logging
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray

from models import build_model
from models.config import FieldError
from pipeline import checkpoints
from pipeline.adapters.mlflow_tracker import MLflowTracker, initialize_database
from pipeline.adapters.optuna_ledger import OptunaLedger, feasible
from pipeline.adapters.parquet_store import ParquetStore
from pipeline.adapters.ray_executor import RayExecutor
from pipeline.adapters.ray_tune import RunEnd, TrialEvents, run_trials
from pipeline.config import DIRECTIONS, SpaceConfig, input_spec
from pipeline.console import Progress, percent
from pipeline.data import Dataset, load_dataset
from pipeline.environment import describe
from pipeline.errors import ConfigError
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.experiment import EPOCHS_FILE, elapsed, read_history, trial_folder
from pipeline.files import write_atomically
from pipeline.fingerprint import fingerprint
from pipeline.records import Outcome, Phase, SplitName, TrialRow
from pipeline.resources import Shares, local_resources, shares
from pipeline.search.front import pareto_front
from pipeline.summary import union
from pipeline.threats import Member, load_suite, measure_member, members
from pipeline.worker import choose_device
from reports.build import build_report

HEARTBEAT_S = 15.0
"""A line of progress at least so often while trials run."""
EVALUATION_METRICS = ("clean_accuracy", "robust_accuracy")


class SweepRun:
    """Everything of a sweep that lives as long as its driver process."""

    def __init__(
        self,
        *,
        space: SpaceConfig,
        space_file: Path,
        overrides: Sequence[str],
        store: Path,
        name: str,
    ) -> None:
        self.space, self.space_file, self.overrides = space, space_file, list(overrides)
        self.store, self.name = store, name
        self.folder = store / "sweeps" / name
        self.console = Progress()
        self.blocks = ParquetStore(store)
        suite = load_suite(space.evaluation.suite)
        report_suite = load_suite(space.report.suite or space.evaluation.suite)
        self.epsilon = suite.epsilon if space.evaluation.epsilon is None else (
            space.evaluation.epsilon
        )
        self.selection_suite, self.report_suite = suite, report_suite
        self.selection_members = members(suite, space.evaluation.epsilon)
        self.report_members = members(report_suite, space.evaluation.epsilon)
        self._epochs_sent: dict[str, set[int]] = {}
        self._training: dict[str, tuple[TrialRow, int]] = {}
        self._last_line = time.monotonic()

    def run(self, *, resume: bool, address: str | None) -> int:
        """Run or continue the sweep; returns the command's exit code.

        Raises:
            ConfigError: Something the user can fix, found before Ray starts where possible.
        """
        if not resume and self._complete_already():
            self.console.line(f"sweep '{self.name}' is complete in {self.store}: nothing to run")
            self.console.line("run it again under another --name, or in another --store")
            self.console.plain(str(build_report(self.store, self.name)))
            return 0
        dataset = load_dataset(self.space.data)
        self._check_network(dataset)
        if address is None and not ray.is_initialized():
            shares(self.space.compute, local_resources(), "this machine")
        self.store.mkdir(parents=True, exist_ok=True)
        self.ledger = OptunaLedger(
            f"sqlite:///{(self.store / 'study.db').absolute()}",
            self.name,
            self.space,
            resume=resume,
        )
        with self._cluster(address) as resources:
            return self._run(dataset, shares(self.space.compute, resources, "the Ray cluster"))

    def _complete_already(self) -> bool:
        path = self.folder / "sweep.json"
        if not path.is_file():
            return False
        facts = json.loads(path.read_text())
        same = facts.get("space_hash") == fingerprint(self.space.identity())
        return bool(facts.get("complete")) and same

    def _check_network(self, dataset: Dataset) -> None:
        try:
            model = build_model(self.space.model, input_spec(dataset))
        except FieldError as error:
            raise ConfigError(f"{self.space_file}: model.{error.field}: {error}") from error
        count = sum(parameter.numel() for parameter in model.parameters())
        config = self.space.model
        self.model_note = (
            f"{config.architecture}, T={config.num_timesteps}, {config.encoding} coding, "
            f"{count:,} parameters"
        )

    @contextlib.contextmanager
    def _cluster(self, address: str | None) -> Iterator[dict[str, float]]:
        """A connection to Ray; one that was there before is used and left alone."""
        started = not ray.is_initialized()
        if started:
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            where = {"address": address} if address else {"include_dashboard": False}
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield ray.cluster_resources()
        finally:
            if started:
                ray.shutdown()

    def _run(self, dataset: Dataset, share: Shares) -> int:
        self.dataset = dataset
        self.environment = describe(
            choose_device(self.space.compute.device),
            ray.cluster_resources().get("CPU", 0),
            [f"{ray.cluster_resources().get('GPU', 0):g} declared to Ray"]
            if ray.cluster_resources().get("GPU")
            else [],
        )
        self.facts = self._facts(dataset)
        self._write_sweep()
        self.tracker = self._tracker()
        splits = {
            SplitName.TRAIN.value: dataset.train,
            SplitName.VALIDATION.value: dataset.validation,
            SplitName.TEST.value: dataset.test,
        }
        reference = ray.put(splits)
        self.evaluator = Evaluator(
            RayExecutor(
                reference,
                num_cpus=share.evaluation_cpus,
                num_gpus=share.evaluation_gpus,
                device=self.space.compute.device,
                revision=self.environment["revision"],
            ),
            self.blocks,
        )
        self.console.line(
            f"sweep '{self.name}': {self.ledger.num_planned} trials of {self.model_note} on "
            f"{dataset.note}",
            "bold",
        )
        try:
            self._sync_told()
            self._train_all(reference, share)
            self.evaluator.wait()
            self._report()
            page = self._conclude()
        except KeyboardInterrupt:
            return self._interrupted()
        finally:
            self.evaluator.close()
            self._deliver()
        self.console.plain(str(page))
        return 0

    def _facts(self, dataset: Dataset) -> dict[str, Any]:
        """What the report says of the sweep; see `reports/store.py` for its reader."""
        space = self.space
        selection = space.evaluation.num_samples or len(dataset.validation)
        reported = space.report.num_samples or len(dataset.test)
        self.num_selection = min(selection, len(dataset.validation))
        self.num_reported = min(reported, len(dataset.test))

        def suite(description: str, name: str, chosen: tuple[Member, ...], n: int) -> Any:
            names = [member.name for member in chosen]
            return {
                "name": name,
                "description": description,
                "members": names,
                "hashes": {member.name: member.hash for member in chosen},
                "num_samples": n,
            }

        previous = self.folder / "sweep.json"
        started = datetime.now(UTC).isoformat(timespec="seconds")
        wall = 0.0
        if previous.is_file():
            old = json.loads(previous.read_text())
            started, wall = old.get("started", started), float(old.get("wall_s") or 0.0)
        self._wall_before, self._began = wall, time.perf_counter()
        return {
            "name": self.name,
            "description": space.description,
            "space_hash": fingerprint(space.identity()),
            "space_text": self.space_file.read_text(),
            "space_file": self.space_file.name,
            "overrides": self.overrides,
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
            "model_note": self.model_note,
            "epsilon": self.epsilon,
            "selection_suite": suite(
                self.selection_suite.description,
                self.selection_suite.name,
                self.selection_members,
                self.num_selection,
            ),
            "report_suite": suite(
                self.report_suite.description,
                self.report_suite.name,
                self.report_members,
                self.num_reported,
            ),
            "report_trials": space.report.trials,
            "environment": self.environment,
            "started": started,
            "finished": None,
            "wall_s": wall,
            "phases": {},
            "complete": False,
        }

    def _write_sweep(self) -> None:
        text = json.dumps(self.facts, indent=2) + "\n"
        write_atomically(self.folder / "sweep.json", text.encode())

    def _write_trials(self) -> None:
        rows = [dataclasses.asdict(row) for row in self.ledger.rows()]
        text = json.dumps(rows, indent=1, default=str) + "\n"
        write_atomically(self.folder / "trials.json", text.encode())

    def _tracker(self) -> MLflowTracker:
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        own = not uri
        if own:
            uri = f"sqlite:///{(self.store / 'mlflow.db').absolute()}"
            initialize_database(uri)
        tracker = MLflowTracker(uri, self.name, self.store / "artifacts" if own else None)
        space_copy = self.folder / self.space_file.name
        write_atomically(space_copy, self.facts["space_text"].encode())
        environment = self.folder / "environment.json"
        write_atomically(environment, (json.dumps(self.environment, indent=2) + "\n").encode())
        parameters = {
            "space": self.space_file.name,
            "data": self.facts["data_note"],
            "model": self.model_note,
            "sampler": self.space.search.sampler,
            "objectives": ", ".join(self.space.search.objectives),
            "selection suite": self.selection_suite.name,
            "report suite": self.report_suite.name,
            "epsilon": self.epsilon,
            "seed": self.space.seed,
            "revision": self.environment["revision"],
        }
        tracker.start_sweep(self.name, parameters, [str(space_copy), str(environment)])
        return tracker

    def _sync_told(self) -> None:
        """What an earlier run left: told trials to MLflow again, trained ones to evaluation."""
        for row in self.ledger.rows():
            if row.phase is Phase.TOLD:
                self._track_end(row)
            elif row.phase is Phase.TRAINED:
                self._evaluate(row)

    # --- training -------------------------------------------------------------------------

    def _train_all(self, splits: Any, share: Shares) -> None:
        limit = self.space.compute.max_backlog
        events = TrialEvents(
            ask=self.ledger.ask,
            full=lambda: self.evaluator.backlog >= limit,
            started=self._started,
            epoch=self._epoch,
            trained=self._trained,
            failed=self._failed,
        )
        settings = {
            "store": str(self.store.absolute()),
            "spec": dataclasses.asdict(input_spec(self.dataset)),
            "device": self.space.compute.device,
            "num_threads": share.trial_cpus,
        }
        end = RunEnd.PAUSED
        while end is RunEnd.PAUSED:
            self.evaluator.wait(lambda backlog: backlog < limit)
            end = run_trials(
                events,
                splits,
                settings,
                num_cpus=share.trial_cpus,
                num_gpus=share.trial_gpus,
                scratch=self.store / "ray" / self.name,
            )
        if end is RunEnd.INTERRUPTED:
            raise KeyboardInterrupt

    def _started(self, row: TrialRow) -> None:
        self._training[row.fingerprint] = (row, 0)
        self._epochs_sent[row.fingerprint] = set()
        self.tracker.start_trial(row)
        values = ", ".join(f"{path} = {value:g}" if isinstance(value, float) else f"{path} = {value}"
                           for path, value in row.parameters.items())
        self._say(f"{row.label}: training" + (f", {values}" if values else ""))
        self._write_trials()

    def _epoch(self, row: TrialRow, metrics: dict[str, float]) -> None:
        epoch = int(metrics["epoch"])
        self._send_epoch(row.fingerprint, epoch, metrics)
        self._training[row.fingerprint] = (row, epoch)
        if time.monotonic() - self._last_line > HEARTBEAT_S:
            total = self.space.training.epochs
            now = ", ".join(f"{r.label} {e}/{total}" for r, e in self._training.values() if e)
            told = sum(1 for r in self.ledger.rows() if r.phase is Phase.TOLD)
            self._say(
                f"{told} of {self.ledger.num_planned} done; in training: {now or 'none'}; "
                f"waiting for evaluation: {self.evaluator.backlog}",
                "dim",
            )

    def _send_epoch(self, name: str, epoch: int, metrics: dict[str, Any]) -> None:
        keys = (
            "train_loss",
            "train_penalty",
            "train_accuracy",
            "validation_accuracy",
            "learning_rate",
            "epoch_s",
        )
        numbers = {key: float(metrics[key]) for key in keys if key in metrics}
        self.tracker.log_epoch(name, epoch, numbers)
        self._epochs_sent.setdefault(name, set()).add(epoch)

    def _trained(self, row: TrialRow) -> None:
        self._training.pop(row.fingerprint, None)
        history = read_history(trial_folder(self.store, row.fingerprint))
        seconds = elapsed(history)
        row = dataclasses.replace(row, phase=Phase.TRAINED, training_s=seconds)
        self.ledger.update(row)
        accuracy = history[-1]["validation_accuracy"] if history else float("nan")
        self._say(
            f"{row.label}: trained in {seconds:.0f} s, clean validation accuracy "
            f"{percent(accuracy)}"
        )
        self._evaluate(row)

    def _failed(self, row: TrialRow, reason: str, diverged: bool) -> None:
        self._training.pop(row.fingerprint, None)
        outcome = Outcome.DIVERGED if diverged else Outcome.FAILED
        row = dataclasses.replace(row, phase=Phase.TOLD, outcome=outcome, reason=reason)
        self.ledger.update(row)
        last = reason.strip().splitlines()[-1] if reason.strip() else "no reason given"
        self._say(f"{row.label}: {outcome}: {last}", "red")
        self._track_end(row)
        self._write_trials()

    # --- evaluation -----------------------------------------------------------------------

    def _job(
        self, row: TrialRow, split: SplitName, chosen: tuple[Member, ...], num_samples: int
    ) -> EvaluationJob:
        folder = trial_folder(self.store, row.fingerprint)
        return EvaluationJob(
            label=row.label,
            fingerprint=row.fingerprint,
            checkpoint=str((folder / checkpoints.FILE_NAME).absolute()),
            split=split.value,
            members=(*chosen, measure_member(self.epsilon)),
            num_samples=num_samples,
            block_size=self.space.evaluation.block_size,
            seed=self.space.seed,
        )

    def _evaluate(self, row: TrialRow) -> None:
        job = self._job(row, SplitName.VALIDATION, self.selection_members, self.num_selection)

        def done(job: EvaluationJob, seconds: float, failure: str) -> None:
            if failure:
                self._failed(row, failure, False)
                return
            metrics = union(job, self.blocks)
            told = dataclasses.replace(
                row,
                phase=Phase.TOLD,
                outcome=Outcome.COMPLETE,
                metrics=metrics,
                feasible=feasible(self.space, metrics),
                evaluation_s=seconds,
            )
            self.ledger.update(told)
            self._say(
                f"{row.label}: clean {percent(metrics['clean_accuracy'])}, robust "
                f"{percent(metrics['robust_accuracy'])} (validation, n={job.num_samples})",
                "green",
            )
            self._track_end(told)
            self._write_trials()

        self.evaluator.submit(job, done)

    def _report(self) -> None:
        """The full suite on the test split, for the front and the baselines, or for all."""
        for row in self._reported_rows():
            job = self._job(row, SplitName.TEST, self.report_members, self.num_reported)
            self.evaluator.submit(job, self._reported)
        count = self.evaluator.backlog
        self._say(f"reporting: {count} networks under suite '{self.report_suite.name}' on test")
        self.evaluator.wait()

    def _reported_rows(self) -> list[TrialRow]:
        rows = [row for row in self.ledger.rows() if row.outcome is Outcome.COMPLETE]
        objectives = self.space.search.objectives
        candidates = [row for row in rows if row.feasible]
        front = pareto_front(
            [[row.metrics[name] for name in objectives] for row in candidates],
            [DIRECTIONS[name] for name in objectives],
        )
        chosen = {candidates[index].fingerprint for index in front}
        chosen |= {row.fingerprint for row in rows if row.role == "baseline"}
        everything = self.space.report.trials == "all"
        unique = {row.fingerprint: row for row in rows if everything or row.fingerprint in chosen}
        return list(unique.values())

    def _reported(self, job: EvaluationJob, seconds: float, failure: str) -> None:
        if failure:
            last = failure.strip().splitlines()[-1]
            self._say(f"{job.label}: evaluation on test failed: {last}", "red")
            return
        metrics = union(job, self.blocks)
        row = next(row for row in self.ledger.rows() if row.fingerprint == job.fingerprint)
        prefixed = {f"test_{name}": value for name, value in metrics.items()}
        self.tracker.finish_trial(row, prefixed, self._verdict_files(job))
        self._say(
            f"{job.label}: test clean {percent(metrics['clean_accuracy'])}, robust "
            f"{percent(metrics['robust_accuracy'])} (n={job.num_samples})",
            "green",
        )

    # --- tracking, end --------------------------------------------------------------------

    def _verdict_files(self, job: EvaluationJob) -> list[str]:
        """One Parquet file of all the job's verdicts, for MLflow."""
        out = self.store / "trials" / job.fingerprint / f"verdicts-{job.split}.parquet"
        self.blocks.merge([t.key for t in job.tasks() if t.member.attack_name != "measure"], out)
        return [str(out)]

    def _track_end(self, row: TrialRow) -> None:
        folder = trial_folder(self.store, row.fingerprint)
        self.tracker.start_trial(row)
        sent = self._epochs_sent.get(row.fingerprint, set())
        for metrics in read_history(folder):
            if int(metrics["epoch"]) not in sent:
                self._send_epoch(row.fingerprint, int(metrics["epoch"]), metrics)
        files = [folder / name for name in (checkpoints.FILE_NAME, "config.json", EPOCHS_FILE)]
        metrics = dict(row.metrics)
        if row.outcome is Outcome.COMPLETE:
            metrics |= {"training_s": row.training_s, "evaluation_s": row.evaluation_s}
            job = self._job(row, SplitName.VALIDATION, self.selection_members, self.num_selection)
            files += [Path(file) for file in self._verdict_files(job)]
        self.tracker.finish_trial(row, metrics, [str(file) for file in files if file.is_file()])

    def _say(self, text: str, style: str = "") -> None:
        self._last_line = time.monotonic()
        self.console.line(text, style)

    def _interrupted(self) -> int:
        self._note_time()
        self._write_sweep()
        self._write_trials()
        self.tracker.finish_sweep({}, [], complete=False)
        name = f" --name {shlex.quote(self.name)}" if self.name != self.space.name else ""
        store = "" if self.store == Path("runs") else f" --store {shlex.quote(str(self.store))}"
        settings = "".join(f" --set {shlex.quote(item)}" for item in self.overrides)
        self.console.line("interrupted; nothing finished is lost. Continue with", "yellow")
        self.console.plain(
            f"python -m pipeline.sweep --space {shlex.quote(str(self.space_file))}"
            f"{store}{name}{settings} --resume"
        )
        return 130

    def _note_time(self) -> None:
        rows = self.ledger.rows()
        self.facts["wall_s"] = self._wall_before + time.perf_counter() - self._began
        self.facts["phases"] = {
            "training_s": sum(row.training_s for row in rows),
            "evaluation_s": sum(row.evaluation_s for row in rows),
        }

    def _conclude(self) -> Path:
        """Write the sweep off as complete, build its page, show it in MLflow."""
        self._note_time()
        self.facts["complete"] = True
        self.facts["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self._write_sweep()
        self._write_trials()
        page = build_report(self.store, self.name)
        numbers = {"wall_s": self.facts["wall_s"], **self.facts["phases"]}
        self.tracker.finish_sweep(numbers, [str(page.parent)], complete=True)
        self._say(f"report built; `make ui` or `mlflow ui` shows the runs; store: {self.store}")
        return page

    def _deliver(self) -> None:
        for problem in self.tracker.close():
            self.console.line(f"MLflow did not take: {problem}", "yellow")
