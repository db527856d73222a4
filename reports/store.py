"""Reads the files of a store as they are; nothing here aggregates."""

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config_types import PLACE_PATTERN
from pipeline.errors import ConfigError
from pipeline.files import StorePath
from pipeline.records import Outcome, Phase, TrialRow

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_TRIAL_FIELDS = {field.name for field in dataclasses.fields(TrialRow)}
GRADIENT_FIELDS = ("sample", "label", "counts", "image", "gradient")
VERDICT_FIELDS = ("sample", "attack", "oracle", "attack_hash", "robust")
OPTIONAL_FIELDS = ("epsilon", "threat", "attacked", "num_forward", "num_backward")
"""Columns of a verdict that older stores may lack."""
_FACTS: dict[str, type] = {
    "paper": str,
    "scale": str,
    "parameters": dict,
    "constraints": dict,
    "environment": dict,
    "selection_suite": dict,
    "report_suite": dict,
    "objectives": list,
    "overrides": list,
}
_ROW: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("label", "fingerprint", "role", "strategy", "method"), str),
    **dict.fromkeys(("reason", "replicate_of"), str),
    **dict.fromkeys(("parameters", "config", "metrics"), dict),
    **dict.fromkeys(("training_s", "evaluation_s"), (int, float)),
}


def _is_list(kind: pa.DataType) -> bool:
    numbers = pa.types.is_list(kind) and kind.value_type
    return bool(numbers) and bool(pa.types.is_floating(numbers) or pa.types.is_integer(numbers))


_AGAIN = "run the sweep again with --resume, which writes it anew"
_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "sample": pa.types.is_integer,
    "attack": pa.types.is_string,
    "oracle": pa.types.is_string,
    "threat": pa.types.is_string,
    "attack_hash": pa.types.is_string,
    "robust": pa.types.is_boolean,
    **dict.fromkeys(("counts", "image", "gradient"), _is_list),
}
"""What the columns that are read hold; every other column of a measurement is a number."""
BLOCK_FACTS = (
    *("revision", "device", "torch", "precision", "platform"),
    *("checkpoint_sha256", "data_sha256", "code", "judge"),
)
"""What a file of verdicts says of all its rows."""


def checked_name(name: str, what: str = "sweep name") -> str:
    """The name itself, which also names a folder.

    Raises:
        ConfigError: If it could lead out of the store.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what}: expected letters, digits, '_', '-' and '.', got {name!r}; "
            "write the name of a folder below the store's sweeps/"
        )
    return name


def sweep_names(store: StorePath) -> list[str]:
    """Names of the sweeps in the store, sorted."""
    try:
        return sorted(path.parent.name for path in (store / "sweeps").glob("*/sweep.json"))
    except (OSError, ValueError):  # no folder, and none that could be one
        return []


def read_sweep(store: StorePath, name: str) -> dict[str, Any]:
    """Facts of a sweep, from its sweep.json.

    Raises:
        ConfigError: If the store holds no such sweep or the file is not a JSON object.
    """
    path = store / "sweeps" / checked_name(name) / "sweep.json"
    if not path.is_file():
        known = ", ".join(sweep_names(store)) or "none"
        raise ConfigError(
            f"no sweep '{name}' in {store}; sweeps there: {known}; correct --sweep or --store"
        )
    facts = _read_json(path)
    if not isinstance(facts, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {type(facts).__name__}; {_AGAIN}")
    _check_facts(path, facts)
    return facts


def _check_facts(path: StorePath, facts: dict[str, Any]) -> None:
    """Refuses a description that no sweep has written; absent facts are no fault."""
    for name, kind in _FACTS.items():
        if not isinstance(facts.get(name), kind | None):
            raise ConfigError(f"{path}: '{name}' is no {kind.__name__}; {_AGAIN}")
    if facts.get("paper") and not PLACE_PATTERN.fullmatch(facts["paper"]):
        raise ConfigError(f"{path}: 'paper' names no table or figure; {_AGAIN}")
    for name in ("selection_suite", "report_suite"):
        suite = facts.get(name) or {}
        members, size = suite.get("members") or [], suite.get("num_samples")
        named = isinstance(members, list) and all(isinstance(item, str) for item in members)
        if not named or not isinstance(size, int | None):
            raise ConfigError(f"{path}: '{name}' has no list of members and a count; {_AGAIN}")
    if not all(isinstance(item, dict) for item in (facts.get("parameters") or {}).values()):
        raise ConfigError(f"{path}: 'parameters' holds no ranges; {_AGAIN}")


def read_trials(store: StorePath, name: str) -> list[TrialRow]:
    """Trials of a sweep, as its ledger wrote them; empty where none was asked yet."""
    path = store / "sweeps" / checked_name(name) / "trials.json"
    rows = _read_json(path) if path.is_file() else []
    if not isinstance(rows, list):
        raise ConfigError(f"{path}: expected a JSON list, got {type(rows).__name__}; {_AGAIN}")
    try:
        return [_trial(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a list of trials ({error!r}); {_AGAIN}") from error


def read_epochs(store: StorePath, fingerprint: str) -> pd.DataFrame:
    """One row per finished epoch; empty where the trial left none."""
    path = store / "trials" / fingerprint / "epochs.jsonl"
    if not path.is_file():
        return pd.DataFrame({"epoch": pd.Series(dtype=int)})
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # an interrupted write leaves half a line
    frame = pd.DataFrame(rows)
    if "epoch" not in frame:
        frame["epoch"] = range(1, len(frame) + 1)
    return frame.drop_duplicates("epoch", keep="last").sort_values("epoch", ignore_index=True)


def read_verdicts(store: StorePath, fingerprint: str, split: str) -> pd.DataFrame:
    """Per-sample verdicts of a network on a split: `VERDICT_FIELDS`, and what else is stored."""
    folder = store / "verdicts" / fingerprint / split
    return _read_parquet(folder, VERDICT_FIELDS, OPTIONAL_FIELDS)


def read_rows(store: StorePath, fingerprint: str, split: str) -> pd.DataFrame:
    """Per-sample verdicts with all their columns, and with their files' `BLOCK_FACTS` as text."""
    return _read_parquet(store / "verdicts" / fingerprint / split, None, about=BLOCK_FACTS)


def judged_networks(store: StorePath) -> list[str]:
    """Fingerprints of the networks that have verdicts, sorted."""
    try:
        return sorted(
            {path.parent.parent.name for path in (store / "verdicts").glob("*/*/*.parquet")}
        )
    except (OSError, ValueError):  # no folder, and none that could be one
        return []


def read_config(store: StorePath, fingerprint: str) -> dict[str, Any]:
    """The configuration that a network was trained with; empty for a network of another origin."""
    path = store / "trials" / fingerprint / "config.json"
    found = _read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def read_measurements(store: StorePath, fingerprint: str, split: str) -> pd.DataFrame:
    """Per-sample gradient measurements of a network on a split, all columns."""
    return _read_parquet(store / "measurements" / fingerprint / split, None)


def read_gradients(
    store: StorePath, fingerprint: str, split: str
) -> tuple[pd.DataFrame, tuple[int, ...]]:
    """How a network's gradients are distributed, and pictures of some: lists a sample.

    Returns:
        The rows, and the shape (C, H, W) of a flattened picture; empty where nothing is stored.
    """
    folder = store / "gradients" / fingerprint / split
    rows = _read_parquet(folder, GRADIENT_FIELDS)
    if rows.empty:
        return rows, ()
    path = [file for file in folder.glob("*.parquet") if not file.name.startswith(".")][0]
    told = pq.ParquetFile(pa.BufferReader(path.read_bytes())).schema_arrow.metadata or {}
    shape = told.get(b"shape", b"").decode().split(",")
    if not all(part.isdecimal() for part in shape):
        raise ConfigError(f"{path}: its metadata has no shape; remove it and {_AGAIN}")
    return rows, tuple(int(part) for part in shape)


def read_audit(store: StorePath, fingerprint: str, split: str) -> dict[str, Any] | None:
    """The trust audit of a network on a split; None where there was none.

    Raises:
        ConfigError: If its file is not a JSON object.
    """
    path = store / "audits" / fingerprint / f"{split}.json"
    if not path.is_file():
        return None
    found = _read_json(path)
    if not isinstance(found, dict) or not {"status", "checks"} <= set(found):
        raise ConfigError(f"{path}: expected an audit with `status` and `checks`; {_AGAIN}")
    return found


def _trial(row: dict[str, Any]) -> TrialRow:
    if not isinstance(row, dict):
        raise TypeError(f"expected an object, got {type(row).__name__}")
    for name, kind in _ROW.items():
        if name in row and not isinstance(row[name], kind):
            raise TypeError(f"'{name}' is a {type(row[name]).__name__}")
    known = {key: value for key, value in row.items() if key in _TRIAL_FIELDS}
    filled: dict[str, Any] = {"role": "searched", "parameters": {}, "config": {}} | known
    filled.setdefault("strategy", filled.get("method", "unknown"))
    filled.setdefault("method", filled["strategy"])
    filled["phase"] = Phase(filled.get("phase", Phase.ASKED))
    outcome = filled.get("outcome")
    filled["outcome"] = Outcome(outcome) if outcome else None
    checked_name(str(filled["fingerprint"]), "fingerprint")
    return TrialRow(**filled)


def _read_json(path: StorePath) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: expected JSON ({error}); {_AGAIN}") from error


def _read_parquet(
    folder: StorePath,
    columns: tuple[str, ...] | None,
    optional: tuple[str, ...] = (),
    about: Sequence[str] = (),
) -> pd.DataFrame:
    files = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    frames: list[pd.DataFrame] = []
    for path in files:
        try:
            file = pq.ParquetFile(pa.BufferReader(path.read_bytes()))
            table = file.read(columns=[*columns, *optional] if columns else None)
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{path}: not a readable Parquet file ({error}); {_AGAIN}") from error
        if columns and not set(columns) <= set(table.column_names):
            missing = ", ".join(sorted(set(columns) - set(table.column_names)))
            raise ConfigError(f"{path}: the columns {missing} are missing; remove it and {_AGAIN}")
        _check_types(path, table.schema)
        known = table.schema.metadata or {}
        facts = {name: known.get(name.encode(), b"").decode(errors="replace") for name in about}
        frames.append(table.to_pandas().assign(**facts))
    if not frames:
        return pd.DataFrame(columns=list(columns or ("sample",)))
    return pd.concat(frames, ignore_index=True)


def _check_types(path: StorePath, schema: pa.Schema) -> None:
    """Refuses what this project would not have written.

    Raises:
        ConfigError: A column holds something else than its name says.
    """
    for field in schema:
        fits = _KINDS.get(field.name, _is_number)
        if schema.names.count(field.name) > 1 or not fits(field.type):
            raise ConfigError(
                f"{path}: column '{field.name}' is not what this pipeline writes (it holds "
                f"{field.type}); remove the file and run the sweep with --resume"
            )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    )
