"""One run of a sweep: ledger -> ask -> train -> evaluate -> tell -> report."""

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from models import build_model
from pipeline.adapters.driver_lock import only_driver
from pipeline.adapters.mlflow_tracker import open_tracker
from pipeline.adapters.optuna_ledger import OptunaLedger
from pipeline.adapters.ray_map import ray_map
from pipeline.adapters.ray_session import (
    connected,
    gpu_kinds,
    is_connected,
    largest_node,
    worker_logs,
)
from pipeline.adapters.study_database import STUDY_URI, study_database
from pipeline.command_line import this_python
from pipeline.config import SpaceConfig, input_spec
from pipeline.console import Progress
from pipeline.data import EVENT_DATASETS, Dataset
from pipeline.engine_log import FILE_NAME, engine_log
from pipeline.environment import describe
from pipeline.errors import ConfigError
from pipeline.files import StorePath, local_folder, open_store, takes_nothing
from pipeline.fingerprint import fingerprint
from pipeline.fit import require_fit
from pipeline.interrupts import STOPPED, interruptible
from pipeline.judging import judgements, require_judges
from pipeline.object_path import ObjectPath
from pipeline.resources import local_resources, shares
from pipeline.stored_data import load_stored
from pipeline.sweep_driver import Driver, NoStoreError
from pipeline.sweep_files import SweepFiles
from pipeline.sweep_view import SweepView
from pipeline.worker import choose_device
from reports.build_run import build_report
from reports.ending import caption, front_table, next_steps, sentences
from reports.study import Study


def run_sweep(
    space: SpaceConfig,
    *,
    space_file: Path,
    overrides: Sequence[str],
    store: StorePath,
    name: str,
    resume: bool,
    address: str | None,
    quiet: bool = False,
) -> int:
    """Run or continue a sweep; the last line printed is the path of its report.

    Args:
        space: Checked.
        space_file: Where it was read from.
        overrides: `--set` settings it was read with.
        store: Place of all results; on a cluster, one that every node sees.
        name: Of the sweep.
        resume: Whether to continue an existing sweep of this name.
        address: Of a running Ray cluster; None starts one on this machine, or uses the
            session this process is connected to.
        quiet: Whether only trouble and the report's path are printed.

    Returns:
        Exit code: 0; 1 where something could not be evaluated, or nothing was trained; 130
        after an interruption.

    Raises:
        ConfigError: Something the user can fix, found before Ray starts where that is possible.
    """
    console = Progress(quiet=quiet)
    files = SweepFiles(store, name)
    if not resume and files.is_complete(space):
        console.line(f"sweep '{name}' is complete in {store}: nothing to run")
        console.line("to run it again, give another --name or another --store")
        console.plain(str(build_report(store, name)))
        return 0
    if address is None and not is_connected():
        shares(space.compute, local_resources(), "this machine")
    with _data(space, store, address, console) as dataset:
        require_fit(space, dataset)
        model_note = _model_note(space, dataset)
        open_store(store)
        database = study_database(local_folder(store))
        _refuse_begun_elsewhere(store, database, files)
        again = _resume_command(space, space_file, overrides, store, name, address)
        log_file = files.local / FILE_NAME
        with only_driver(database, files.local), engine_log(log_file) as (terminal, log):
            console = console.into(terminal, log)
            try:
                return _work(space, space_file, overrides, dataset, model_note, files,
                             database, resume, address, again, console)  # fmt: skip
            except KeyboardInterrupt:
                console.line("interrupted; nothing finished is lost. Continue with", "yellow")
                console.plain(shlex.join(again))
                return STOPPED
            except ConfigError:
                raise
            except Exception as error:
                if not (isinstance(error, NoStoreError) or takes_nothing(error)):
                    console.line(f"stopped by {type(error).__name__}; {_logs(files)}", "red")
                    raise
                console.line(f"{_trouble(store, error)}, and continue with", "red")
                console.plain(shlex.join(again))
                return 1


@contextlib.contextmanager
def _data(
    space: SpaceConfig, store: StorePath, address: str | None, console: Progress
) -> Iterator[Dataset]:
    """The data set; frames of event data are built by Ray, which then stays for the run."""
    if space.data.dataset not in EVENT_DATASETS:
        yield load_stored(space.data, store)
        return
    EVENT_DATASETS[space.data.dataset](space.data)  # lists the files: absent ones are told at once
    with connected(address):
        yield load_stored(space.data, store, run=ray_map, say=console.line)


def _work(
    space: SpaceConfig,
    space_file: Path,
    overrides: Sequence[str],
    dataset: Dataset,
    model_note: str,
    files: SweepFiles,
    database: str,
    resume: bool,
    address: str | None,
    again: Sequence[str],
    console: Progress,
) -> int:
    """The run itself, of the only driver; returns the exit code."""
    store, name = files.store, files.folder.name
    selection, reporting = judgements(space, dataset, store)
    require_judges(space, dataset, (selection, reporting))
    judged_by = fingerprint([selection.facts(), selection.block_size])
    ledger = OptunaLedger(database, name, space, resume=resume, judged_by=judged_by)
    console.line(
        f"sweep '{name}': {ledger.num_planned} trials of {model_note}, on {dataset.note}", "bold"
    )
    # Inside: Ray puts a handler of its own for SIGTERM in place when it starts.
    with connected(address) as resources, interruptible(console.out):
        share = shares(space.compute, largest_node(), "the largest node of the Ray cluster")
        device = choose_device(space.compute.device)
        if address is not None:  # the driver's machine may have no GPU where its workers have
            has_gpus = resources.get("GPU") and space.compute.device != "cpu"
            device = torch.device("cuda" if has_gpus else "cpu")
        environment = describe(device, resources.get("CPU", 0), gpu_kinds())
        described = files.begin(
            name=name,
            space=space,
            space_file=space_file,
            overrides=overrides,
            dataset=dataset,
            model_note=model_note,
            selection=selection,
            reporting=reporting,
            environment=environment,
        )
        tracker = open_tracker(local_folder(store), name, files.local / "mlflow.spool")
        tracker.start_sweep(
            name,
            _parameters(files.facts),
            [str(path) for path in described],
            searched=list(files.facts["parameters"]),
        )
        driver = Driver(space, dataset, store, files, ledger, tracker, share, resources, console)
        try:
            with SweepView(console, driver.meter.status):
                page, study = driver.to_the_end()
        except BaseException:
            # What stopped the run, a full disk say, may stop this too.
            with contextlib.suppress(Exception):
                driver.close(complete=False)
            raise
        driver.close(complete=not driver.unfinished, artifacts=[page.parent])
        _end(driver, study, tracker.page, again, console)
    console.plain(str(page))
    return 1 if driver.unfinished else 0


def _end(
    driver: Driver, study: Study, mlflow: str, again: Sequence[str], console: Progress
) -> None:
    """What the sweep found, where all of it lies, and what to do next."""
    console.note("")
    console.note(f"{caption(study)}:")
    console.table(front_table(study))
    console.note("")
    for sentence in sentences(study):
        console.note(sentence)
    for problem in driver.unfinished:
        console.line(problem, "red")
    folder = local_folder(driver.store)
    place = "" if folder == Path("runs") else f" STORE={shlex.quote(str(folder))}"
    serve = "" if os.environ.get("MLFLOW_TRACKING_URI") else f"make ui{place}, then "
    steps = next_steps(study, again)
    if driver.unfinished:
        steps = [("do what could not be done", shlex.join(again))]
    console.note("")
    console.note(f"MLflow  {serve}{mlflow}")
    console.note(f"logs    {_logs(driver.files)}")
    for number, (why, command) in enumerate(steps):
        console.note(f"{'then' if number else 'next'}    {why}:")
        console.note(f"        {command}")
    console.note("report  open this page in a browser:")


def _logs(files: SweepFiles) -> str:
    """Where the messages of engines and workers are."""
    workers = f"; of Ray's workers: {worker_logs()}" if worker_logs() else ""
    return f"{files.local / FILE_NAME}{workers}"


def _refuse_begun_elsewhere(store: StorePath, database: str, files: SweepFiles) -> None:
    """A sweep in an object store whose study is not here must not begin a second time.

    Raises:
        ConfigError: It is one.
    """
    local = not os.environ.get(STUDY_URI) and not (local_folder(store) / "study.db").exists()
    if isinstance(store, ObjectPath) and local and files.exists():
        raise ConfigError(
            f"sweep '{files.folder.name}' was begun in {store}, but its study is not here "
            f"({database}): run it where it was begun, name the study's database in {STUDY_URI}, "
            "or begin another sweep with --name"
        )


def _trouble(store: StorePath, error: Exception) -> str:
    """What keeps the store from taking results, and the remedy."""
    if isinstance(store, ObjectPath):
        reason = takes_nothing(error) or "a worker says so"
        return f"{store} takes nothing ({reason}); nothing finished is lost. Mend that"
    free = shutil.disk_usage(store).free / 2**20
    return f"the disk of {store} is full ({free:.0f} MiB free); nothing finished is lost. Make room"


def _model_note(space: SpaceConfig, dataset: Dataset) -> str:
    """The network in a few words."""
    model = build_model(space.model, input_spec(dataset))
    count = sum(parameter.numel() for parameter in model.parameters())
    config = space.model
    return (
        f"{config.architecture}, T={config.num_timesteps}, {config.encoding} coding, "
        f"{count:,} parameters"
    )


def _parameters(facts: dict[str, Any]) -> dict[str, Any]:
    """What MLflow shows of the sweep itself."""
    return {
        "space": facts["space_file"],
        "data": facts["data_note"],
        "model": facts["model_note"],
        "sampler": facts["sampler"],
        "objectives": ", ".join(facts["objectives"]),
        "selection suite": facts["selection_suite"]["name"],
        "report suite": facts["report_suite"]["name"],
        "epsilon": facts["epsilon"],
        "seed": facts["seed"],
        "revision": facts["environment"]["revision"],
    }


def _resume_command(
    space: SpaceConfig,
    space_file: Path,
    overrides: Sequence[str],
    store: StorePath,
    name: str,
    address: str | None,
) -> list[str]:
    """The command line that continues this sweep, with this very Python."""
    parts = [this_python(), "-m", "pipeline.sweep", "--space", str(space_file)]
    if store != Path("runs"):
        parts += ["--store", str(store)]
    if name != space.sweep_name:
        parts += ["--name", name]
    if address is not None:
        parts += ["--address", address]
    for item in overrides:
        parts += ["--set", item]
    return [*parts, "--resume"]
