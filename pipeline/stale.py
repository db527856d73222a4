"""Which stored rows this code, these suites and these checkpoints would no longer give, and why.

Everything is read from metadata, without torch, so that a report can say it, too.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.adapters.parquet_store import FOLDERS, ParquetStore
from pipeline.config_types import NAME_PATTERN
from pipeline.errors import ConfigError, DamagedError
from pipeline.files import StorePath, modified_ns, read_start, store_path
from pipeline.fingerprint import fingerprint
from pipeline.object_path import ObjectPath
from pipeline.records import BlockKey, SplitName
from pipeline.source_code import code_changes, code_hashes

SUITES = {"selection_suite": SplitName.VALIDATION, "report_suite": SplitName.TEST}
"""What a sweep writes down of its suites, and where each judges."""
CHECKPOINT = "checkpoint.safetensors"
_MOST_HEADER = 100_000_000


@dataclass(frozen=True, kw_only=True)
class StoredBlock:
    """A block with what its metadata say, and what of that no longer holds."""

    key: BlockKey
    about: Mapping[str, str]
    member: Mapping[str, Any] = field(default_factory=dict)
    """Its member as plain data; empty where it is not recorded, as in earlier revisions."""
    reasons: tuple[str, ...] = ()
    """Why its rows are stale; empty where they are not, or where nothing is recorded."""
    problem: str = ""
    """What is wrong with its metadata, so that nothing can be said."""

    @property
    def after(self) -> str:
        """Names the members whose survivors it attacks; empty where it attacks every sample."""
        return str(self.member.get("after") or "")

    @property
    def spot(self) -> tuple[Any, ...]:
        """Which samples it judges, with which seed."""
        return self.key.split, self.key.seed, self.key.start, self.key.stop


@dataclass(frozen=True, kw_only=True)
class Stale:
    """What of a store is to be redone."""

    blocks: dict[str, list[StoredBlock]]
    """Stale ones, by the network's fingerprint."""
    suites: list[tuple[str, str, str]]
    """Sweep, which suite of its, and how it has changed."""
    problems: list[str]
    """What cannot be told, a line each."""


def find_stale(
    store: ParquetStore, networks: Iterable[str], sweeps: Mapping[str, Mapping[str, Any]]
) -> Stale:
    """What is stale of these networks, and of the suites of these sweeps, by their facts."""
    found: dict[str, list[StoredBlock]] = {}
    suites, problems = [], []
    for name in networks:
        blocks = stored_blocks(store, name)
        problems += [block.problem for block in blocks if block.problem]
        stale = [block for block in blocks if block.reasons]
        if stale:
            found[name] = stale
    for name, facts in sweeps.items():
        for which in SUITES:
            try:
                change = suite_change(facts.get(which) or {})
            except ConfigError as error:
                problems.append(f"sweep '{name}', {which}: {error}")
                continue
            if change:
                suites.append((name, which, change))
    return Stale(blocks=found, suites=suites, problems=problems)


def stored_blocks(store: ParquetStore, network: str) -> list[StoredBlock]:
    """Every block of a network, judged by its metadata alone."""
    found = [_read(store, key) for key in store.keys(network)]
    before = predecessors(found)
    return [_judged(store, block, before.get(block.key)) for block in found]


def predecessors(blocks: Sequence[StoredBlock]) -> dict[BlockKey, StoredBlock]:
    """By block: that of the member before it, on the same samples, whose survivors it attacks."""
    found: dict[BlockKey, StoredBlock] = {}
    groups: dict[tuple[Any, ...], list[StoredBlock]] = {}
    for block in blocks:
        if block.member.get("counted"):
            groups.setdefault(block.spot, []).append(block)
    for group in groups.values():
        named: dict[str, list[StoredBlock]] = {}
        for block in group:
            named.setdefault(block.after, []).append(block)
        # As `threats.chain_hash` names those before a member: by their seeds' hashes, in order.
        grown = [([block.about.get("seed_hash", "")], block) for block in named.pop("", [])]
        while grown:
            seeds, last = grown.pop()
            for block in named.pop(fingerprint(seeds, 12), []):
                found[block.key] = last
                grown.append(([*seeds, block.about.get("seed_hash", "")], block))
    return found


def checkpoint_of(root: StorePath, network: str, recorded: str = "") -> StorePath | None:
    """A network's checkpoint: the store's own, or the one that a block names; None without any."""
    if not NAME_PATTERN.fullmatch(network):
        return None
    own = root / "trials" / network / CHECKPOINT
    if own.is_file():
        return own
    try:
        other = store_path(recorded)
        there = bool(recorded) and other.is_file()
    except (ConfigError, OSError, ValueError):
        return None
    return other if there and _whose(other, modified_ns(other)) == network else None


@functools.lru_cache(maxsize=4096)
def _whose(path: StorePath, modified_ns: int) -> str:
    """Whose checkpoint a file is, read from its header alone; empty where it is none."""
    try:
        length = int.from_bytes(read_start(path, 8), "little")
        if length > _MOST_HEADER:
            return ""
        about = json.loads(read_start(path, 8 + length)[8:])["__metadata__"]
        return str(json.loads(about["spikeproof"])["fingerprint"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def suite_hash(name: str) -> str:
    """Names what a suite's file says besides its description; its path, or a suite's name.

    Raises:
        ConfigError: There is no such file, or it is no YAML.
    """
    is_file = Path(name).suffix in (".yaml", ".yml")
    path = Path(name) if is_file else Path(__file__).parent / "suites" / f"{name}.yaml"
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(tree, dict):
            raise TypeError("it is no table")
        return fingerprint({key: value for key, value in tree.items() if key != "description"})
    except (OSError, ValueError, TypeError, yaml.YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"its suite {path} cannot be read any more ({reason})") from error


def suite_change(facts: Mapping[str, Any]) -> str:
    """Whether a suite that a sweep was judged by says something else today, as a sentence.

    Empty where it does not, and where the sweep is older than such records.

    Raises:
        ConfigError: What the sweep has recorded is no suite, or the suite's file is gone.
    """
    basis = facts.get("basis")
    if basis is None:
        return ""
    told = basis if isinstance(basis, dict) else {}
    suite, then = told.get("suite"), told.get("suite_hash")
    if not isinstance(suite, str) or not isinstance(then, str):
        raise ConfigError("its basis is not what a sweep writes")
    return "" if suite_hash(suite) == then else f"the suite {Path(suite).stem} has been edited"


def _read(store: ParquetStore, key: BlockKey) -> StoredBlock:
    about: Mapping[str, str] = {}
    try:
        about = store.about(key)
        named = (about.get("fingerprint"), about.get("split"), about.get("member_hash"))
        if named != (key.fingerprint, key.split, key.member_hash):
            raise ConfigError("its metadata are of another block")
        member, code = _table(about, "member_config"), _table(about, "code")
        parts = [member.get(name) or {} for name in ("attack", "source")]
        method = parts[0].get("method", "none") if isinstance(parts[0], dict) else ""
        if not all(isinstance(part, dict) for part in parts) or not str(method).isidentifier():
            raise ConfigError("its member_config is no member")
        if not all(isinstance(value, str) for value in code.values()):
            raise ConfigError("its code is no table of hashes")
    except DamagedError as error:
        again = "run the sweep with --resume or pipeline.evaluate again, which make it anew"
        return StoredBlock(key=key, about={}, problem=f"{error}; {again}")
    except ConfigError as error:
        problem = f"{store.path(key)}: {error}; whether it is stale cannot be told"
        return StoredBlock(key=key, about=about, problem=problem)
    return StoredBlock(key=key, about=about, member=member)


def _table(about: Mapping[str, str], name: str) -> dict[str, Any]:
    """An entry of metadata that is a JSON object; empty where it is absent."""
    try:
        found = json.loads(about.get(name) or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"its {name} is no table of names and values")
    return found


def _judged(store: ParquetStore, block: StoredBlock, before: StoredBlock | None) -> StoredBlock:
    """The block with the reasons for which it is stale."""
    if block.problem:
        return block
    about, key = block.about, block.key
    method = str((block.member.get("attack") or {}).get("method") or "")
    now = code_hashes(method, measures=key.member in FOLDERS)
    reasons = code_changes(_table(about, "code"), now, method)
    if _is_another(store, block, "checkpoint_sha256", key.fingerprint, about.get("checkpoint")):
        reasons.append("its checkpoint is another file now")
    source = block.member.get("source") or {}
    whose, place = str(source.get("fingerprint")), source.get("checkpoint")
    if source and _is_another(store, block, "source_sha256", whose, place):
        label = source.get("label")
        reasons.append(f"the checkpoint of {label}, which attacks it, is another file now")
    left = "" if before is None else before.about.get("left", "")
    if before is not None and left and about.get("standing") and left != about["standing"]:
        reasons.append(f"{before.key.member} leaves other samples to it now")
    return StoredBlock(key=key, about=about, member=block.member, reasons=tuple(reasons))


def _is_another(
    store: ParquetStore, block: StoredBlock, recorded: str, network: str, place: Any
) -> bool:
    """Whether a checkpoint's SHA-256 is not the recorded one; False where either is unknown."""
    then = block.about.get(recorded, "")
    path = checkpoint_of(store.root, network, str(place or "")) if then else None
    if isinstance(path, ObjectPath) and modified_ns(path) < modified_ns(store.path(block.key)):
        return False  # a report would have to fetch every checkpoint
    return path is not None and _digest(path, modified_ns(path)) != then


@functools.lru_cache(maxsize=4096)
def _digest(path: StorePath, modified_ns: int) -> str:
    """SHA-256 of a file; the time of modification keeps a replaced one from being missed."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
