"""One evaluation: a network, a suite, a split -> stored verdicts, printed accuracies, an audit."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from torch import nn

from models import GradientEstimator, stateless, unsupported
from pipeline import checkpoints
from pipeline.adapters.parquet_store import ParquetStore
from pipeline.attacks import NothingConfig, Threat
from pipeline.audit import Status
from pipeline.audit_file import store_audit
from pipeline.config import TRIAL, TrialConfig, domain_of, input_spec
from pipeline.config_types import Order
from pipeline.console import Progress, percent
from pipeline.data import Dataset
from pipeline.environment import revision
from pipeline.errors import ConfigError, SettingError
from pipeline.evaluation import OWN, is_random
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.exactness import require_exact
from pipeline.files import StorePath, open_store
from pipeline.foreign_network import data_config, load_network
from pipeline.local import LocalExecutor
from pipeline.records import SplitName
from pipeline.resources import local_resources
from pipeline.stored_data import load_stored
from pipeline.summary import union
from pipeline.threats import (
    CLEAN,
    MEASURED,
    Member,
    Source,
    SuiteConfig,
    headline_threat,
    in_order,
    load_suite,
    measure_member,
    members,
    probe_member,
)
from reports.statistics import wilson_interval

HEARTBEAT_S = 10.0
COLOURS = {Status.PASS: "green", Status.WARN: "yellow", Status.FAIL: "red", Status.SKIPPED: "dim"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for."""

    checkpoint: StorePath
    suite: str
    order: Order | None
    split: str
    epsilon: float | None
    num_samples: int | None
    block_size: int
    seed: int | None
    sources: tuple[Path, ...]
    store: StorePath
    data_root: str | None
    device: str
    model: str | None
    data: str | None


@dataclass(frozen=True, kw_only=True)
class Victim:
    """The network to attack, and what is known of it."""

    label: str
    fingerprint: str
    dataset: Dataset
    randomised: bool
    seed: int
    network: nn.Module | None = None
    """The network itself, where it is none of this project's; otherwise workers load it."""


def evaluate(request: Request) -> int:
    """Attack, store, print; returns the exit code.

    Raises:
        ConfigError: What the user can fix.
    """
    suite, console = in_order(load_suite(request.suite), request.order), Progress()
    if request.model is None:
        victim = own_network(request.checkpoint, request.store, request.data_root)
        if suite.judge == "exact" and not victim.randomised:
            network = checkpoints.rebuild(checkpoints.load(request.checkpoint))
            require_exact(network, suite.name)
    else:
        victim = _foreign(request)
    split = {"validation": victim.dataset.validation, "test": victim.dataset.test}[request.split]
    wanted = len(split) if request.num_samples is None else request.num_samples
    if not 1 <= wanted <= len(split):
        raise ConfigError(f"--num-samples: expected 1 to {len(split)}, got {wanted}")
    radius = suite.epsilon if request.epsilon is None else request.epsilon
    chosen = _members(request, suite, victim, console)
    is_audit = suite.name == "audit"
    measured = probe_member if is_audit else measure_member
    threat = headline_threat(suite, domain_of(victim.dataset))
    job = EvaluationJob(
        label=victim.label,
        fingerprint=victim.fingerprint,
        checkpoint=str(request.checkpoint.absolute()),
        split=request.split,
        members=(*chosen, measured(radius, threat)),
        num_samples=wanted,
        block_size=request.block_size,
        seed=victim.seed if request.seed is None else request.seed,
    )
    store = ParquetStore(open_store(request.store))
    stored = sum(store.has(task.key) for task in job.tasks())
    console.line(
        f"{victim.label} on {victim.dataset.note}: suite '{suite.name}', epsilon {radius:.4g}, "
        f"{wanted} samples of {request.split}; {len(job.tasks())} blocks, {stored} of them stored"
    )
    networks = {} if victim.network is None else {job.checkpoint: victim.network}
    executor = LocalExecutor(
        {SplitName(request.split): split},
        device=request.device,
        num_threads=int(local_resources()["CPU"]),
        revision=revision(),
        data=victim.dataset.content_hash(),
        networks=networks,
    )
    failure = run_job(job, executor, store, console)
    if failure:
        console.line(failure, "red")
        return 1
    _print_accuracies(job, suite, store, console)
    if is_audit:
        _print_audit(job, victim, radius, store, console)
    return 0


def own_network(path: StorePath, store: StorePath, data_root: str | None) -> Victim:
    """A checkpoint of this project: it knows its network and its data.

    Raises:
        ConfigError: The file is no checkpoint, or the data is absent or other data.
    """
    checkpoint, trial, dataset = trained(path, store, data_root)
    return Victim(
        label=trial.strategy.method,
        fingerprint=checkpoint.fingerprint,
        dataset=dataset,
        randomised=trial.model.randomised,
        seed=trial.seed,
    )


def trained(
    path: StorePath, store: StorePath, data_root: str | None
) -> tuple[checkpoints.Checkpoint, TrialConfig, Dataset]:
    """A checkpoint of this project, what it was trained by, and on what.

    Args:
        path: Of the file.
        store: Where event frames are kept.
        data_root: Where the data is now; None: where it was.

    Raises:
        ConfigError: The file is no checkpoint, or the data is absent or other data.
    """
    checkpoint = checkpoints.load(path)
    tree = dict(checkpoint.config)
    if isinstance(tree.get("data"), dict):
        # The file may be anybody's: it does not decide that something is fetched and unpacked.
        allowed = {"download": False} if "download" in tree["data"] else {}
        if data_root and "root" not in tree["data"]:
            raise ConfigError("--data-root: this network's data lie in no folder; remove it")
        moved = {"root": data_root} if data_root else {}
        tree["data"] = tree["data"] | allowed | moved
    try:
        trial = TRIAL.validate_python(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{path}: its header describes no network of this project ({where}: "
            f"{first['msg']}); train the network again"
        ) from error
    checkpoints.check_weights(checkpoint)
    with _data_root(data_root):
        dataset = load_stored(trial.data, store)
    if trial.fingerprint() != checkpoint.fingerprint:
        raise ConfigError(
            f"{path}: the data now at its place is not what this network was "
            "trained on; give the right folder with --data-root"
        )
    return checkpoint, trial, dataset


@contextlib.contextmanager
def _data_root(given: str | None) -> Iterator[None]:
    """Says with which option a folder of data is named: there is no search space here."""
    try:
        yield
    except SettingError as error:
        if all(path != "data.root" for path, _ in error.problems):
            raise
        option = "another folder" if given else "its folder"
        raise ConfigError(f"{error}; name {option} with --data-root") from error


def _foreign(request: Request) -> Victim:
    """A network of the user's own: a function that builds it, and its weights."""
    assert request.model is not None
    assert request.data is not None
    with _data_root(request.data_root):
        dataset = load_stored(data_config(request.data, request.data_root), request.store)
    assert isinstance(request.checkpoint, Path)  # the command line is checked for it
    network, fingerprint = load_network(request.model, request.checkpoint, dataset)
    network = stateless(network)
    return Victim(
        label=request.model.rpartition(":")[2],
        fingerprint=fingerprint,
        dataset=dataset,
        randomised=is_random(network, dataset.test.images[:8]),
        seed=0,
        network=network,
    )


def _members(
    request: Request, suite: SuiteConfig, victim: Victim, console: Progress
) -> tuple[Member, ...]:
    """The suite's members for this network; what had to be replaced is said."""
    stages = [suite, *suite.then]
    transfers = any(stage.access == "transfer" for stage in stages)
    if not request.sources and all(stage.access == "transfer" for stage in stages):
        raise ConfigError(
            f"--source: suite '{suite.name}' attacks through other networks; name at least one "
            "checkpoint with --source FILE"
        )
    if request.sources and not transfers:
        raise ConfigError(
            f"--source: suite '{suite.name}' has no stage with access: transfer; remove --source, "
            "or use --suite transfer or audit"
        )
    if suite.judge == "exact" and (victim.network is not None or victim.randomised):
        why = "none of this project's" if victim.network is not None else "random"
        console.line(
            f"the network is {why}: its verdicts are those of its plain forward pass, which other "
            "machines need not repeat bit for bit",
            "yellow",
        )
        suite = dataclasses.replace(suite, judge="plain")
    replaced: dict[str, list[str]] = {}

    def available(wanted: GradientEstimator) -> GradientEstimator | None:
        reason = "" if victim.network is None else unsupported(victim.network, wanted)
        if not reason:
            return wanted
        replaced.setdefault(reason, []).append(wanted.label)
        return OWN

    chosen = members(
        suite,
        request.epsilon,
        randomised=victim.randomised,
        sources=[_source(path, victim.dataset) for path in request.sources],
        available=available,
        domain=domain_of(victim.dataset),
    )
    for reason, labels in replaced.items():
        names = ", ".join(dict.fromkeys(labels))
        console.line(f"the network's own gradient stands for {names}: {reason}", "yellow")
    if transfers and not request.sources:
        console.line("no --source given: transfer attacks are left out", "yellow")
    if victim.randomised:
        draws = max(member.eot_draws for member in chosen)
        console.line(
            f"its answers are random: gradients are means of up to {draws} draws, verdicts of "
            f"{chosen[0].judge_draws}"
        )
    return chosen


def _source(path: Path, dataset: Dataset) -> Source:
    """A checkpoint of this project as a source; its folder's name labels it.

    Raises:
        ConfigError: It is none, or it reads other images than the victim.
    """
    checkpoint = checkpoints.load(path)
    checkpoints.check_weights(checkpoint)
    wanted = dataclasses.asdict(input_spec(dataset))
    for name in ("channels", "height", "width", "num_classes"):
        if checkpoint.spec[name] != wanted[name]:
            raise ConfigError(
                f"--source {path}: expected a network of the victim's data ({name} "
                f"{wanted[name]}), got one with {name} {checkpoint.spec[name]}"
            )
    return Source(
        label=path.parent.name,
        fingerprint=checkpoint.fingerprint,
        checkpoint=str(path.absolute()),
    )


def run_job(job: EvaluationJob, executor: LocalExecutor, store: ParquetStore, out: Progress) -> str:
    """Fill the store; returns the first failure's text, empty if there is none."""
    failures: list[str] = []
    last = time.monotonic()

    def finished(backlog: int) -> bool:
        nonlocal last
        if backlog and time.monotonic() - last > HEARTBEAT_S:
            last = time.monotonic()
            done = sum(store.has(task.key) for task in job.tasks())
            out.line(f"{done} of {len(job.tasks())} blocks done", "dim")
        return backlog == 0

    evaluator = Evaluator(executor, store)
    evaluator.submit(job, lambda _job, _seconds, failure: failures.append(failure))
    evaluator.wait(finished)
    evaluator.close()
    return failures[0]


def _print_accuracies(
    job: EvaluationJob, suite: SuiteConfig, store: ParquetStore, console: Progress
) -> None:
    """One line a member with what it cost, and the union with its interval."""
    total = np.zeros(2)
    left = "left after it" if suite.order == "survivors" else "accuracy"
    console.line(
        f"{'member':<38} {left:>13} {'forward':>9} {'backward':>9}  passes a sample", "dim"
    )
    counted = {member.threat for member in job.members if member.counted and member.attack}
    for member in job.members:
        if member.attack_name in MEASURED:
            continue
        blocks = [store.get(task.key) for task in job.tasks() if task.member == member]
        columns = {
            name: np.concatenate([block.columns[name] for block in blocks])
            for name in ("robust", "share", "num_forward", "num_backward")
        }
        cost = np.array([columns["num_forward"].mean(), columns["num_backward"].mean()])
        total += cost if member.counted else 0.0
        note = "" if member.counted else f"  ({_uncounted(member, counted)})"
        if member.attack_name == CLEAN and member.judge_draws > 1:
            share = columns["share"]
            spread = float(np.sqrt((share * (1 - share)).sum()) / len(share))
            note = f"  (a single draw: {percent(float(share.mean()))}, sd {percent(spread)})"
        console.line(
            f"{member.name:<38} {percent(float(columns['robust'].mean())):>13} "
            f"{cost[0]:>9.1f} {cost[1]:>9.1f}{note}"
        )
    accuracy = union(job, store)["robust_accuracy"]
    low, high = wilson_interval(round(accuracy * job.num_samples), job.num_samples)
    console.line(
        f"{'all that count: robust accuracy':<38} {percent(accuracy):>13} {total[0]:>9.1f} "
        f"{total[1]:>9.1f}  95 % interval {percent(low)} to {percent(high)}, n={job.num_samples}",
        "bold",
    )


def _uncounted(member: Member, counted: set[Threat]) -> str:
    """Why the union leaves a member out."""
    if member.threat in counted:
        return "a control: its radius is larger"
    nothing = ", without attack" if isinstance(member.attack, NothingConfig) else ""
    return f"beside it: threat model {member.threat.name}{nothing}"


def _print_audit(
    job: EvaluationJob, victim: Victim, radius: float, store: ParquetStore, console: Progress
) -> None:
    """The audit's checks, a line each, and where it is kept."""
    result, path = store_audit(job, store, epsilon=radius, num_classes=victim.dataset.num_classes)
    for check in result.checks:
        console.line(f"{check.status:<8} {check.question} {check.sentence}", COLOURS[check.status])
    console.line(result.summary(), COLOURS[result.status])
    console.plain(str(path))
