"""What a sweep's driver does: train, evaluate, tell, report, audit; and mend what was lost."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline import checkpoints
from pipeline.adapters.mlflow_tracker import MLflowTracker
from pipeline.adapters.optuna_ledger import OptunaLedger, feasible
from pipeline.adapters.parquet_store import ParquetStore
from pipeline.adapters.ray_executor import RayExecutor
from pipeline.adapters.ray_session import share_data
from pipeline.adapters.ray_tune import RunEnd, TrialEvents, run_trials
from pipeline.audit import Status
from pipeline.audit_file import store_audit
from pipeline.config import SpaceConfig, input_spec
from pipeline.console import Progress, percent
from pipeline.data import Dataset
from pipeline.errors import ConfigError
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.experiment import elapsed, read_history, trial_folder
from pipeline.files import StorePath, local_folder, set_aside
from pipeline.judging import audit_judgement, judgements
from pipeline.ports import Finished
from pipeline.publisher import Publisher
from pipeline.quick_look import NAME as QUICK
from pipeline.quick_look import QuickLook
from pipeline.records import Outcome, Phase, SplitName, TrialRow
from pipeline.resources import Shares
from pipeline.search.front import front_rows
from pipeline.search.halving import hopeless
from pipeline.summary import survivors, union
from pipeline.sweep_files import SweepFiles
from pipeline.sweep_status import AUDIT, REPORT, SEARCH, Meter
from reports.build_run import write_report
from reports.queries import load_study
from reports.showcase import showcase
from reports.study import Study


class NoStoreError(Exception):
    """A worker found the store full, or out of reach."""


class Driver:
    """What lives as long as a process works on a sweep."""

    def __init__(
        self,
        space: SpaceConfig,
        dataset: Dataset,
        store: StorePath,
        files: SweepFiles,
        ledger: OptunaLedger,
        tracker: MLflowTracker,
        share: Shares,
        resources: Mapping[str, float],
        console: Progress,
    ) -> None:
        self.space, self.dataset, self.store = space, dataset, store
        self.files, self.ledger, self.share, self.console = files, ledger, share, console
        self.selection, self.reporting = judgements(space, dataset, store)
        self.audit = audit_judgement(space, dataset, store)
        self.blocks = ParquetStore(store, damaged=lambda text: self._say(text, "yellow"))
        self.publisher = Publisher(tracker, self.blocks, dataset, files.facts["data_hash"])
        # The arrays once per node: workers map them from Ray's object store.
        self.splits = share_data(
            {
                SplitName.TRAIN.value: dataset.train,
                SplitName.VALIDATION.value: dataset.validation,
                SplitName.TEST.value: dataset.test,
            }
        )
        executor = RayExecutor(
            self.splits,
            num_cpus=share.evaluation_cpus,
            num_gpus=share.evaluation_gpus,
            device=space.compute.device,
            revision=files.facts["environment"]["revision"],
            data=files.facts["data_hash"],
        )
        self.evaluator = Evaluator(executor, self.blocks, self._computed)
        judgements_by_stage = {SEARCH: self.selection, REPORT: self.reporting}
        if self.audit is not None:
            judgements_by_stage[AUDIT] = self.audit
        self.meter = Meter(
            space=space,
            share=share,
            resources=resources,
            judgements=judgements_by_stage,
            rows=ledger.rows,
            planned=lambda: ledger.num_planned,
        )
        self.unfinished: list[str] = []
        """What this run could not do, a line each; `--resume` tries it again."""
        self._told: set[str] = set()
        """Networks that train again although they are told: only their checkpoints were lost."""
        self.look: QuickLook | None = None
        self._seen: dict[int, dict[str, tuple[float, float]]] = {}
        """What searched trials had after an epoch at which they are compared."""
        halving = space.search.halving
        if halving is not None:
            epochs = tuple(halving.looks(space.training.epochs))
            self.look = QuickLook(
                epochs=epochs,
                epsilon=self.selection.epsilon,
                threat=self.selection.threat,
                num_samples=halving.num_samples,
                num_steps=halving.num_steps,
            )
            for row in ledger.rows():
                for metrics in read_history(trial_folder(store, row.fingerprint)):
                    self._note(row, metrics)

    def to_the_end(self) -> tuple[Path, Study]:
        """Train, evaluate, tell and report all that is left.

        Returns:
            The report's page, and what it shows.

        Raises:
            KeyboardInterrupt: The user stopped it.
            NoStoreError: A worker found the store full, or out of reach.
        """
        # By fingerprint: twins share a network, which is judged once.
        unique = {row.fingerprint: row for row in self.ledger.rows()}.values()
        unjudged = []
        for row in unique:
            job = self.selection.job(row, self.store)
            if row.phase is Phase.TRAINED or (
                row.outcome is Outcome.COMPLETE
                and not all(self.blocks.has(task.key) for task in job.tasks())
            ):
                unjudged.append(row)
            elif row.phase is Phase.TOLD:
                self.publisher.ended(row, job)
        lost = self._lost(unjudged)
        self.ledger.train_again(lost)
        for row in unjudged:
            if row not in lost:
                self._evaluate(row)
        self._train_all()
        self.evaluator.wait()
        self._replicate()
        self._report()
        self._audit()
        if not any(row.outcome is Outcome.COMPLETE for row in self.ledger.rows()):
            self.unfinished.append("no trial was trained and evaluated; see the reasons above")
        self.files.end(self.ledger.rows, complete=not self.unfinished)
        study = load_study(self.store, self.files.folder.name)
        page = write_report(study, self.store)
        self.publisher.concluded(showcase(study))
        return page, study

    def close(self, *, complete: bool, artifacts: Sequence[Path] = ()) -> None:
        """Stop evaluating, write down how far things are, deliver what the tracker waits for."""
        self.evaluator.close()
        numbers = self.files.end(self.ledger.rows, complete=complete)
        for problem in self.publisher.sweep_ended(numbers, artifacts, complete=complete):
            self._say(f"MLflow did not take: {problem}", "yellow")

    def _say(self, text: str, style: str = "") -> None:
        self.console.line(text, style)

    def _computed(self, finished: Finished) -> None:
        key, member = finished.task.key, finished.task.member
        self.meter.block(key.fingerprint, member, key.stop - key.start, finished.seconds)

    def _train_all(self) -> None:
        limit = self.space.compute.max_backlog
        events = TrialEvents(
            ask=self.ledger.ask,
            full=lambda: self.evaluator.backlog >= limit,
            started=self._started,
            epoch=self._epoch,
            trained=self._trained,
            failed=self._failed,
            hopeless=self._hopeless,
            stopped=self._stopped,
        )
        settings = {
            "store": str(self.store.absolute()),
            "spec": dataclasses.asdict(input_spec(self.dataset)),
            "device": self.space.compute.device,
            "num_threads": self.share.trial_cpus,
            "look": self.look,
            "compile_choice": self.space.compute.compile,
        }
        end = RunEnd.PAUSED
        while end is RunEnd.PAUSED:
            self.evaluator.wait(lambda backlog: backlog < limit)
            end = run_trials(
                events,
                self.splits,
                settings,
                num_cpus=self.share.trial_cpus,
                num_gpus=self.share.trial_gpus,
                scratch=local_folder(self.store) / "ray" / self.files.folder.name,
            )
        if end is RunEnd.INTERRUPTED:
            raise KeyboardInterrupt
        if end is RunEnd.NO_STORE:
            raise NoStoreError

    def _started(self, row: TrialRow) -> None:
        self.meter.epoch(row, 0)
        self.publisher.started(row)
        values = [
            f"{path} = {value:.4g}" if isinstance(value, float) else f"{path} = {value}"
            for path, value in row.parameters.items()
        ]
        self._say(": ".join([row.label, ", ".join(["training", *values])]))
        self.files.write_trials(self.ledger.rows)

    def _epoch(self, row: TrialRow, metrics: dict[str, float]) -> None:
        self.publisher.epoch(row, metrics)
        self.meter.epoch(row, int(metrics["epoch"]), metrics["epoch_s"])

    def _trained(self, row: TrialRow) -> None:
        self.meter.left_training(row)
        history = read_history(trial_folder(self.store, row.fingerprint))
        row = dataclasses.replace(row, phase=Phase.TRAINED, training_s=elapsed(history))
        self.ledger.update(row)
        accuracy = percent(history[-1]["validation_accuracy"])
        self._say(f"{row.label}: trained in {row.training_s:.0f} s, clean {accuracy}")
        if row.fingerprint not in self._told:
            self._evaluate(row)

    def _lost(self, rows: Iterable[TrialRow]) -> list[TrialRow]:
        """Those whose checkpoint is gone or damaged, which is set aside; they train again."""
        lost = []
        for row in rows:
            path = trial_folder(self.store, row.fingerprint) / checkpoints.FILE_NAME
            try:
                checkpoints.load(path)
            except ConfigError as error:
                aside = f"; set aside as {set_aside(path).name}" if path.is_file() else ""
                self._say(f"{row.label}: {error}{aside}; it is trained again", "yellow")
                lost.append(row)
        return lost

    def _mend(self, jobs: dict[str, EvaluationJob]) -> None:
        """Train again what is lost of the networks that still have something to be judged by."""
        rows = {row.fingerprint: row for row in self.ledger.rows()}
        unfinished = [
            rows[name]
            for name, job in jobs.items()
            if not all(self.blocks.has(task.key) for task in job.tasks())
        ]
        lost = self._lost(unfinished)
        if lost:
            self._told = {row.fingerprint for row in lost}
            self.ledger.train_again(lost)
            self._train_all()

    def _note(self, row: TrialRow, metrics: dict[str, float]) -> None:
        """Remember what a searched trial had, if this is an epoch at which they are compared."""
        if row.role == "searched" and QUICK in metrics:
            seen = self._seen.setdefault(int(metrics["epoch"]), {})
            seen[row.fingerprint] = metrics["validation_accuracy"], metrics[QUICK]

    def _hopeless(self, row: TrialRow, metrics: dict[str, float]) -> str:
        """Why the trial should stop after this epoch; empty if it should go on."""
        halving = self.space.search.halving
        if halving is None or row.role != "searched" or QUICK not in metrics:
            return ""
        self._note(row, metrics)
        seen = dict(self._seen[int(metrics["epoch"])])
        own = seen.pop(row.fingerprint)
        why = hopeless(own, list(seen.values()), factor=halving.factor)
        told = f"after epoch {metrics['epoch']:.0f}: clean {percent(own[0])}, robust about "
        return why and f"{told}{percent(own[1])}; {why}"

    def _stopped(self, row: TrialRow, reason: str) -> None:
        self._ended(row, Outcome.PRUNED, reason)

    def _failed(self, row: TrialRow, reason: str, diverged: bool) -> None:
        self._ended(row, Outcome.DIVERGED if diverged else Outcome.FAILED, reason)

    def _ended(self, row: TrialRow, outcome: Outcome, reason: str) -> None:
        """A trial that will not be judged."""
        self.meter.left_training(row)
        seconds = elapsed(read_history(trial_folder(self.store, row.fingerprint)))
        row = dataclasses.replace(
            row, phase=Phase.TOLD, outcome=outcome, reason=reason, training_s=seconds
        )
        self.ledger.update(row)
        colour = "dim" if outcome is Outcome.PRUNED else "red"
        self._say(f"{row.label}: {outcome}: {_last_line(reason)}", colour)
        self.console.detail(reason)
        self.publisher.ended(row, self.selection.job(row, self.store))
        self.files.write_trials(self.ledger.rows)

    def _evaluate(self, row: TrialRow) -> None:
        """Judge a trained network on the validation split; the ledger is told at the end."""

        def done(job: EvaluationJob, seconds: float, failure: str) -> None:
            if failure:
                # Not told: the network is trained, and --resume evaluates what is missing.
                self._not_evaluated(job, failure)
                return
            self.meter.judged(row.fingerprint)
            metrics = union(job, self.blocks)
            told = dataclasses.replace(
                row,
                phase=Phase.TOLD,
                outcome=Outcome.COMPLETE,
                metrics=metrics,
                feasible=feasible(self.space, metrics),
                evaluation_s=row.evaluation_s or seconds,
            )
            self.ledger.update(told)
            self._say(f"{row.label}: validation {_accuracies(metrics, job)}", "green")
            self.publisher.ended(told, job)
            self.files.write_trials(self.ledger.rows)

        self.evaluator.submit(self.selection.job(row, self.store), done)

    def _not_evaluated(self, job: EvaluationJob, failure: str) -> None:
        problem = f"{job.label}: evaluation on {job.split} failed: {_last_line(failure)}"
        self.unfinished.append(f"{problem}; --resume tries it again")
        self._say(problem, "red")
        self.console.detail(failure)

    def _replicate(self) -> None:
        """Train what is reported with further seeds; the search is over and sees none of it."""
        seeds = self.space.seeds
        if seeds == 1:
            return
        chosen = list(self._reported_rows().values())
        self._say(f"the search is over; {len(chosen)} settings are trained with {seeds} seeds")
        self.ledger.replicate(chosen)
        self._train_all()
        self.evaluator.wait()

    def _report(self) -> None:
        """Judge the front and the baselines (or all) on the test split, and their replicates."""
        rows = self._reported_rows()
        labels = {row.label for row in rows.values()}
        rows |= {
            row.fingerprint: row
            for row in self.ledger.rows()
            if row.replicate_of in labels and row.outcome is Outcome.COMPLETE
        }
        suite = self.reporting.suite.name
        self.meter.begin(REPORT, len(rows))
        self._say(f"the search is over; {self._who(rows)} under suite '{suite}' on test")

        def done(job: EvaluationJob, _seconds: float, failure: str) -> None:
            if failure:
                self._not_evaluated(job, failure)
                return
            self.meter.judged(job.fingerprint)
            metrics = union(job, self.blocks)
            self._say(f"{job.label}: test {_accuracies(metrics, job)}", "green")
            self.publisher.reported(rows[job.fingerprint], job, metrics)

        jobs = {name: self.reporting.job(row, self.store) for name, row in rows.items()}
        self._mend(jobs)
        for job in jobs.values():
            self.evaluator.submit(job, done)
        self.evaluator.wait()

    def _who(self, rows: Mapping[str, TrialRow]) -> str:
        """Which networks are reported on: `5 networks (2 baselines, 3 on the search's front)`."""
        roles = Counter(row.role for row in rows.values())
        searched = "of the search" if self.space.report.trials == "all" else "on the search's front"
        baselines = "baseline" if roles["baseline"] == 1 else "baselines"
        named = {"baseline": baselines, "searched": searched, "replicate": "with other seeds"}
        parts = [f"{roles[role]} {name}" for role, name in named.items() if roles[role]]
        return f"{len(rows)} networks ({', '.join(parts)})"

    def _audit(self) -> None:
        """Ask of every reported network on the front, and of the baselines, whether to believe."""
        if self.audit is None:
            return
        rows = {row.fingerprint: row for row in self._front_and_baselines()}
        sources = [row for row in rows.values() if row.role == "baseline"]
        count = self.audit.num_samples
        self.meter.begin(AUDIT, len(rows))
        self._say(
            f"trust audit of {len(rows)} networks, on {count} of the test images: can the numbers "
            "be believed?"
        )

        def done(job: EvaluationJob, _seconds: float, failure: str) -> None:
            if failure:
                self._not_evaluated(job, failure)
                return
            self.meter.judged(job.fingerprint)
            row = rows[job.fingerprint]
            reported = self.reporting.job(row, self.store)
            result, path = store_audit(
                job, self.blocks, epsilon=self.selection.epsilon,
                num_classes=self.dataset.num_classes, reported=reported,
            )  # fmt: skip
            colour = {Status.PASS: "green", Status.WARN: "yellow"}.get(result.status, "red")
            before = percent(survivors(reported, self.blocks)[: job.num_samples].mean())
            self._say(f"{job.label}: {result.summary()}, {before} the report's suite", colour)
            self.publisher.audited(row, result, path)

        jobs = {
            name: self.audit.audit_job(
                row, self.store, sources, randomised=self.space.model.randomised
            )
            for name, row in rows.items()
        }
        self._mend(jobs)
        for job in jobs.values():
            self.evaluator.submit(job, done)
        self.evaluator.wait()

    def _reported_rows(self) -> dict[str, TrialRow]:
        """By fingerprint, so that a network that two trials share is judged once."""
        chosen = self._complete_rows()
        if self.space.report.trials == "front":
            chosen = self._front_and_baselines()
        return {row.fingerprint: row for row in chosen}

    def _complete_rows(self) -> list[TrialRow]:
        """Trials that ended well, without replicates."""
        rows = self.ledger.rows()
        return [r for r in rows if r.outcome is Outcome.COMPLETE and not r.replicate_of]

    def _front_and_baselines(self) -> list[TrialRow]:
        rows = self._complete_rows()
        searched = [row for row in rows if row.role == "searched"]
        baselines = [row for row in rows if row.role == "baseline"]
        # What was searched has a front of its own, even where a baseline beats all of it.
        return [*baselines, *front_rows(searched, self.space.search.directions)]


def _accuracies(metrics: dict[str, float], job: EvaluationJob) -> str:
    clean, robust = (percent(metrics[name]) for name in ("clean_accuracy", "robust_accuracy"))
    return f"clean {clean}, robust {robust} (n={job.num_samples})"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
