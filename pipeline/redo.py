"""Redo what is stale, and nothing else: `python -m pipeline.evaluate --stale`."""

import contextlib
import json
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.adapters.driver_lock import only_driver
from pipeline.adapters.parquet_store import ParquetStore
from pipeline.adapters.study_database import study_database
from pipeline.audit_file import renew_audit
from pipeline.console import Progress, percent
from pipeline.data import Split
from pipeline.environment import revision
from pipeline.errors import ConfigError
from pipeline.evaluate_run import own_network, run_job
from pipeline.evaluation import EvaluationTask
from pipeline.files import StorePath, local_folder, open_store, write_atomically
from pipeline.judging import Judgement, judgement_now
from pipeline.local import LocalExecutor
from pipeline.provenance import member_of
from pipeline.records import BlockKey, Outcome, SplitName, TrialRow
from pipeline.resources import local_resources
from pipeline.stale import (
    SUITES,
    Stale,
    StoredBlock,
    checkpoint_of,
    find_stale,
    predecessors,
    stored_blocks,
)
from pipeline.sweep_files import SweepFiles
from pipeline.threats import Member
from pipeline.worker import run_task
from reports.provenance import build_commands, robust_accuracies
from reports.store import judged_networks, read_sweep, read_trials, sweep_names


@dataclass(kw_only=True)
class _Renewal:
    """What the renewal of blocks needs and has done."""

    store: ParquetStore
    data_root: str | None
    device: str
    console: Progress
    revision: str = field(default_factory=revision)
    num_threads: int = field(default_factory=lambda: int(local_resources()["CPU"]))
    renewed: list[BlockKey] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def fail(self, text: str) -> None:
        self.failures.append(text)
        self.console.line(text, "red")


GONE = (
    "its checkpoint is gone; bring it back, or run its sweep with --resume, which trains it again"
)


def redo(place: StorePath, *, sweep: str | None, data_root: str | None, device: str) -> int:
    """Find what is stale in a store, evaluate it anew, print what changed; returns the exit code.

    Rows of an unchanged suite are replaced block by block; where a suite has changed, its new
    members are evaluated and the sweep then names them. Another call continues an interrupted one.

    Args:
        place: The store.
        sweep: Only this sweep and its networks; None takes all that is stored.
        data_root: Folder of the data set, if it has moved.
        device: auto, cpu or cuda.

    Returns:
        0 where nothing is stale any more, 1 where something could not be redone or told.

    Raises:
        ConfigError: There is no such sweep, nothing is stored, or a file of the store is damaged.
    """
    console = Progress()
    sweeps = [sweep] if sweep is not None else sweep_names(place)
    known = {name: read_sweep(place, name) for name in sweeps}
    networks = judged_networks(place)
    if sweep is not None:
        own = {row.fingerprint for row in read_trials(place, sweep)}
        networks = [name for name in networks if name in own]
    if not networks:
        raise ConfigError(f"--stale: no network of {sweep or place} has rows; check --store")
    store = ParquetStore(open_store(place), damaged=lambda text: console.line(text, "yellow"))
    found = find_stale(store, networks, known)
    for problem in found.problems:
        console.line(problem, "yellow")
    if not found.blocks and not found.suites:
        what = "nothing else is" if found.problems else "nothing is"
        console.line(f"{what} stale in {len(networks)} networks of {sweep or place}")
        return 1 if found.problems else 0
    _print_reasons(found, console)
    before = dict(robust_accuracies(place, sweeps, found))
    renewal = _Renewal(store=store, data_root=data_root, device=device, console=console)
    for name, which, _ in found.suites:
        try:
            _redo_suite(renewal, name, which)
        except ConfigError as error:  # a driver works on it, perhaps: the others can be redone
            renewal.fail(f"sweep '{name}', {which}: {error}")
    for fingerprint in found.blocks:
        _redo_network(renewal, fingerprint)
    _print_changes(before, dict(robust_accuracies(place, sweeps, found)), console)
    console.line(
        f"{len(renewal.renewed)} blocks evaluated anew; reports show it once they are built again:",
        "bold",
    )
    for command in build_commands(place, sweeps, found):
        console.plain(command)
    return 1 if renewal.failures or found.problems else 0


def _print_reasons(found: Stale, console: Progress) -> None:
    for name, which, change in found.suites:
        console.line(f"sweep '{name}', {which.replace('_', ' ')}: {change}")
    for fingerprint, blocks in found.blocks.items():
        console.line(f"{fingerprint}: {len(blocks)} stale blocks")
        for (member, reason), count in Counter(
            (block.key.member, reason) for block in blocks for reason in block.reasons
        ).items():
            console.line(f"  {member}: {count} blocks: {reason}", "dim")


def _redo_network(renewal: _Renewal, fingerprint: str) -> None:
    """Evaluate the stale blocks of a network, those first that others depend on.

    A block whose predecessor leaves other samples to it becomes stale on the way.
    """
    splits: Mapping[str, Split] | None = None
    data, tried, first = "", set[BlockKey](), len(renewal.renewed)
    while True:
        blocks = stored_blocks(renewal.store, fingerprint)
        before = predecessors(blocks)
        stale = [block for block in blocks if block.reasons and block.key not in tried]
        if not stale:
            break
        # Those of one depth together: they do not change what stands before each other.
        depth = min(_depth(block, before) for block in stale)
        for block in (block for block in stale if _depth(block, before) == depth):
            tried.add(block.key)
            try:
                if splits is None:
                    splits, data = _data(renewal, block)
                _redo_block(renewal, block, before.get(block.key), splits, data)
            except ConfigError as error:
                renewal.fail(f"{fingerprint}: not redone: {error}")
                if splits is None:
                    return
            except Exception:  # of one block: the others are redone all the same
                reason = traceback.format_exc().strip().splitlines()[-1]
                renewal.fail(f"{fingerprint}: {block.key.member}: {reason}")
    for block in blocks:
        # Its image may have been another block's, which breaks other samples now.
        if splits is not None and renewal.store.lacks_evidence(block.key):
            try:
                _redo_block(renewal, block, before.get(block.key), splits, data)
            except Exception:  # likewise
                reason = traceback.format_exc().strip().splitlines()[-1]
                renewal.fail(f"{fingerprint}: {block.key.member}: no evidence: {reason}")
    for split in sorted({key.split for key in renewal.renewed[first:]}):
        try:
            audit = renew_audit(renewal.store, fingerprint, split, _members(blocks))
        except ConfigError as error:
            renewal.fail(str(error))
            continue
        if audit is not None:
            renewal.console.line(f"{fingerprint}: {audit.summary()}")


def _redo_block(
    renewal: _Renewal,
    block: StoredBlock,
    before: StoredBlock | None,
    splits: Mapping[str, Split],
    data: str,
) -> None:
    rows = run_task(
        _task(renewal.store, block, before),
        splits,
        device=renewal.device,
        num_threads=renewal.num_threads,
        revision=renewal.revision,
        data=data,
    )
    renewal.store.replace(block.key, rows)
    renewal.renewed.append(block.key)


def _members(blocks: Iterable[StoredBlock]) -> dict[str, Member]:
    """What blocks were made by, by its hash; what is not recorded is left out."""
    found: dict[str, Member] = {}
    for block in blocks:
        if block.member and block.key.member_hash not in found:
            with contextlib.suppress(ConfigError):
                found[block.key.member_hash] = _member(block)
    return found


def _member(block: StoredBlock) -> Member:
    return member_of(block.about["member_config"], block.key.member_hash)


def _depth(block: StoredBlock, before: Mapping[BlockKey, StoredBlock]) -> int:
    """How many blocks it hangs on."""
    count = 0
    while block.key in before:
        block, count = before[block.key], count + 1
    return count


def _data(renewal: _Renewal, block: StoredBlock) -> tuple[Mapping[str, Split], str]:
    """The network's data, checked to be what it was trained on, and their hash."""
    if block.about.get("checkpoint_sha256") == "":
        raise ConfigError(
            "it is a network of another origin, which a checkpoint alone does not build; remove "
            f"{renewal.store.root}/verdicts/{block.key.fingerprint} and give it to "
            "pipeline.evaluate --model again"
        )
    place = checkpoint_of(
        renewal.store.root, block.key.fingerprint, block.about.get("checkpoint", "")
    )
    if place is None:
        raise ConfigError(GONE)
    dataset = own_network(place, renewal.store.root, renewal.data_root).dataset
    splits = {SplitName.VALIDATION.value: dataset.validation, SplitName.TEST.value: dataset.test}
    return splits, dataset.content_hash()


def _task(store: ParquetStore, block: StoredBlock, before: StoredBlock | None) -> EvaluationTask:
    """What computes the block, on what the one before it leaves now."""
    key, again = block.key, "remove it, and run the sweep with --resume or pipeline.evaluate again"
    if not block.member:
        raise ConfigError(f"{store.path(key)}: is older than records of how it was made; {again}")
    try:
        member = _member(block)
    except ConfigError as error:
        raise ConfigError(f"{store.path(key)}: {error}; {again}") from error
    if member.source is not None:
        recorded = member.source.checkpoint
        place = checkpoint_of(store.root, member.source.fingerprint, recorded)
        if place is None:
            raise ConfigError(
                f"the checkpoint of {member.source.label}, which attacks it, is gone; bring "
                "it back, or train that network again"
            )
        member = replace(member, source=replace(member.source, checkpoint=str(place.absolute())))
    standing = None
    if member.after:
        if before is None:
            raise ConfigError(f"{store.path(key)}: what went before it is not stored; {again}")
        # Each of a chain keeps broken what was broken before it.
        standing = tuple(bool(robust) for robust in store.get(before.key).columns["robust"])
    place = checkpoint_of(store.root, key.fingerprint, block.about.get("checkpoint", ""))
    if place is None:
        raise ConfigError(GONE)
    return EvaluationTask(
        key=key, member=member, checkpoint=str(place.absolute()), standing=standing
    )


def _redo_suite(renewal: _Renewal, sweep: str, which: str) -> None:
    """Judge a sweep's networks by a suite as it is today; only then does the sweep name it."""
    root, split = renewal.store.root, SUITES[which]
    files = SweepFiles(root, sweep)
    with only_driver(study_database(local_folder(root)), files.local):
        facts = read_sweep(root, sweep)
        judgement = judgement_now(facts[which], split, root)
        assert judgement is not None  # the suite has been compared with what it was
        renewal.console.line(f"sweep '{sweep}': {_differences(facts[which], judgement)}", "dim")
        rows = _judged_rows(renewal.store, sweep, split, facts[which])
        for row in rows:
            failure = _judge(renewal, judgement, row)
            if failure:
                renewal.fail(f"{row.label} of {sweep}: not judged by the changed suite: {failure}")
                return
        facts |= {which: judgement.recorded()}
        if which == "selection_suite":
            facts["epsilon"] = judgement.epsilon
        text = json.dumps(facts, indent=1, default=str)
        write_atomically(files.folder / "sweep.json", f"{text}\n".encode())


def _differences(facts: Mapping[str, Any], judgement: Judgement) -> str:
    """Which members a suite has now that it had not, or had otherwise, and which it has lost."""
    then, now = dict(facts.get("hashes") or {}), judgement.facts()["hashes"]
    kinds = {
        "changed": [name for name in now if name in then and now[name] != then[name]],
        "new": [name for name in now if name not in then],
        "gone": [name for name in then if name not in now],
    }
    told = [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]
    return "; ".join(told) or "its members are the same"


def _judged_rows(
    store: ParquetStore, sweep: str, split: SplitName, facts: Mapping[str, Any]
) -> list[TrialRow]:
    """Trials that were judged by the recorded suite, a network once."""
    hashes = set((facts.get("hashes") or {}).values())
    rows = {
        row.fingerprint: row
        for row in read_trials(store.root, sweep)
        if row.outcome is Outcome.COMPLETE
    }
    return [
        row
        for row in rows.values()
        if any(key.split == split and key.member_hash in hashes
               for key in store.keys(row.fingerprint))
    ]  # fmt: skip


def _judge(renewal: _Renewal, judgement: Judgement, row: TrialRow) -> str:
    """Evaluate what a network lacks of a suite; returns why it could not be, or nothing."""
    store = renewal.store
    place = checkpoint_of(store.root, row.fingerprint)
    if place is None:
        return "its checkpoint is gone"
    dataset = own_network(place, renewal.store.root, renewal.data_root).dataset
    split = {SplitName.VALIDATION: dataset.validation, SplitName.TEST: dataset.test}
    job = judgement.job(row, store.root)
    missing = [task.key for task in job.tasks() if not store.has(task.key)]
    executor = LocalExecutor(
        {judgement.split: split[judgement.split]},
        device=renewal.device,
        num_threads=renewal.num_threads,
        revision=renewal.revision,
        data=dataset.content_hash(),
    )
    failure = run_job(job, executor, store, renewal.console)
    renewal.renewed += [key for key in missing if store.has(key)]
    return failure.strip().rpartition("\n")[2]


def _print_changes(
    before: Mapping[str, tuple[float, int]],
    after: Mapping[str, tuple[float, int]],
    console: Progress,
) -> None:
    for label, (value, count) in after.items():
        then = before.get(label)
        was = "not complete" if then is None else percent(then[0])
        told = f"{was} -> {percent(value)}" if then != (value, count) else f"{was}, as before"
        console.line(f"{label}: robust accuracy {told} (n={count})")
