"""Names derived from content: equal configurations get equal names, on every machine."""

import dataclasses
import hashlib
import json
from enum import Enum
from typing import Any


def plain(value: Any) -> Any:
    """Dataclasses, tuples and enums as what JSON knows.

    A dataclass may say what counts by a method `identity()`; a folder's place does not.
    """
    if hasattr(value, "identity") and not isinstance(value, type):
        return plain(value.identity())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def fields_without_defaults(config: Any, *names: str) -> dict[str, Any]:
    """A dataclass's fields, without those of `names` that have their default.

    So that a setting that is new, and not used, changes no name given before there was one.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    values = {name: getattr(config, name) for name in defaults}
    return {k: v for k, v in values.items() if k not in names or v != defaults[k]}


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any, length: int = 16) -> str:
    """Hexadecimal SHA-256 of the canonical JSON, cut to `length` characters."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]
