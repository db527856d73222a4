"""Turns pydantic's errors into sentences that name the YAML path and say what to write."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import ErrorDetails

from pipeline.config_kinds import (
    accepts,
    alternatives,
    bare,
    choices,
    describe,
    discriminator,
    item,
    key_kind,
    keys,
    listed,
    member_tagged,
    single,
)
from pipeline.config_words import dotted, nearest, shown, suggestion

EntryPath = tuple[str | int, ...]
TextOf = Callable[[EntryPath], str | None]
"""How the plain scalar at a path was written; None for quoted text and containers."""


@dataclass(frozen=True)
class Problem:
    """Something at a path that the user can fix."""

    path: EntryPath
    message: str
    at: Literal["key", "value"] = "value"
    """Whether the entry's key or its value is at fault."""


@dataclass(frozen=True)
class _Branch:
    """A union without discriminator that an error's location passes through."""

    depth: int
    """Length of the YAML path at the union."""
    where: tuple[Any, ...]
    """Pydantic's location of the union, which identifies it."""
    label: Any
    kind: Any


@dataclass(frozen=True)
class _Found:
    """One of pydantic's errors, brought back to the YAML path."""

    error: ErrorDetails
    path: EntryPath
    kind: Any
    parent: Any
    branches: tuple[_Branch, ...]


def refusals(kind: Any, value: Any, text_of: TextOf, path: EntryPath = ()) -> Iterator[Problem]:
    """Values that pydantic would accept though nobody means them: true as 1, .nan, .inf."""
    if isinstance(value, bool):
        # True equals 1, so pydantic takes it for a number and for a literal 1.
        numeric = accepts(kind, int, float) or any(type(one) is int for one in choices(kind))
        if numeric and not accepts(kind, bool, Any):
            yield Problem(path, _expected(kind, value, text_of(path)))
    elif isinstance(value, float):
        if not math.isfinite(value) and accepts(kind, int, float):
            yield Problem(path, _expected(kind, value, text_of(path)))
    elif isinstance(value, (dict, list)):
        kind = _member_for(kind, value)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for part, inner in pairs:
            inner_kind = item(kind, part)
            if inner_kind is not None:
                yield from refusals(inner_kind, inner, text_of, (*path, part))


def not_finite(value: Any, path: EntryPath = ()) -> Iterator[Problem]:
    """Numbers in a finished config that are infinite or NaN, as the text "inf" can become."""
    if isinstance(value, float) and not math.isfinite(value):
        yield Problem(path, f"expected a finite number, got {value}")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from not_finite(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, (Mapping, list, tuple)):
        for part, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from not_finite(inner, (*path, part))


def translate(
    kind: Any, errors: Sequence[ErrorDetails], data: Any, text_of: TextOf
) -> list[Problem]:
    """A problem for each error; the alternatives of a union make one together."""
    found = [_trace(kind, error, errors, data) for error in errors]
    settled = list(_settle_unions(found, 0, data, text_of))
    misspelt = {
        (*item.path[:-1], nearest(item.path[-1], list(keys(item.parent))))
        for item in settled
        if isinstance(item, _Found) and _is_unknown(item.error)
    }
    return [
        item if isinstance(item, Problem) else _message(item, value_at(data, item.path), text_of)
        for item in settled
        # A required key that is there, but misspelt, is one mistake.
        if not (isinstance(item, _Found) and _is_missing(item) and item.path in misspelt)
    ]


def _member_for(kind: Any, value: Any) -> Any:
    """The alternative of a union that a mapping or list is meant for, as far as can be told."""
    options = alternatives(single(kind))
    if len(options) == 1:
        return kind
    field = discriminator(kind)
    if field is not None:
        return member_tagged(kind, value.get(field) if isinstance(value, dict) else None)
    fitting = [option for option in options if isinstance(value, dict) == bool(keys(option))]
    return fitting[0] if len(fitting) == 1 else None


def _trace(kind: Any, error: ErrorDetails, errors: Sequence[ErrorDetails], data: Any) -> _Found:
    """Walks pydantic's location along the types, leaving out the unions' tags and labels."""
    path: EntryPath = ()
    branches: list[_Branch] = []
    parent: Any = None
    location = error["loc"]
    for index, part in enumerate(location):
        if part == "[key]" and index == len(location) - 1:
            kind = key_kind(parent)
            break
        options = alternatives(single(kind)) if kind is not None else []
        if len(options) > 1:
            if discriminator(kind) is not None:
                kind = member_tagged(kind, part)
                continue
            where = location[:index]
            branches.append(_Branch(depth=len(path), where=where, label=part, kind=kind))
            labels = _labels(errors, where)
            kind = options[labels.index(part)] if len(labels) == len(options) else None
            # A member that is itself a tagged union adds no label of its own.
            if kind is not None and discriminator(kind) is not None:
                kind = member_tagged(kind, part) or kind
            continue
        if kind is None and not _holds(value_at(data, path), part) and index < len(location) - 1:
            continue
        parent, kind = kind, item(kind, part) if kind is not None else None
        path = (*path, part)
    return _Found(error=error, path=path, kind=kind, parent=parent, branches=tuple(branches))


def _labels(errors: Sequence[ErrorDetails], where: tuple[Any, ...]) -> list[Any]:
    """Labels of a union's alternatives in their order; each has at least one error."""
    length = len(where)
    below = [error["loc"] for error in errors if error["loc"][:length] == where]
    return list(dict.fromkeys(location[length] for location in below if len(location) > length))


def _settle_unions(
    found: Sequence[_Found], level: int, data: Any, text_of: TextOf
) -> Iterator[_Found | Problem]:
    """Keeps the errors of the alternative that was meant, or makes one problem of all."""
    groups: dict[Any, dict[Any, list[_Found]]] = {}
    for entry in found:
        if len(entry.branches) <= level:
            yield entry
        else:
            branch = entry.branches[level]
            groups.setdefault(branch.where, {}).setdefault(branch.label, []).append(entry)
    for by_label in groups.values():
        branch = next(iter(by_label.values()))[0].branches[level]
        meant = [
            entries
            for entries in by_label.values()
            if all(len(entry.path) > branch.depth for entry in entries)
        ]
        if meant:
            yield from _settle_unions(min(meant, key=len), level + 1, data, text_of)
        else:
            path = next(iter(by_label.values()))[0].path[: branch.depth]
            yield Problem(path, _expected(branch.kind, value_at(data, path), text_of(path)))


def _message(found: _Found, value: Any, text_of: TextOf) -> Problem:
    """The sentence for one error."""
    path, kind, name = found.path, found.kind, found.error["type"]
    context = found.error.get("ctx", {})
    own_name = path[-1] if path else ""
    if _is_unknown(found.error):
        return Problem(path, _unknown(own_name, keys(found.parent)), "key")
    if _is_missing(found) and isinstance(own_name, str):
        return Problem(path, _missing(own_name, kind, path[:-1]), "key")
    if name == "union_tag_not_found":
        field = discriminator(kind) or "kind"
        for key in value if isinstance(value, dict) else ():
            if nearest(key, [field]):
                return Problem((*path, key), _unknown(key, {field: None}), "key")
        return Problem((*path, field), _missing(field, None, path) + _tags(kind, field), "key")
    if name == "union_tag_invalid":
        field = discriminator(kind) or "kind"
        tag = value.get(field) if isinstance(value, dict) else value
        text = text_of((*path, field))
        allowed = _tag_values(kind, field)
        message = f"expected {listed(allowed)}, got {shown(tag, text)}{suggestion(tag, allowed)}"
        return Problem((*path, field), message)
    if name in ("value_error", "assertion_error"):
        return _raised(path, context.get("error"), isinstance(value, dict))
    if name == "missing":
        return Problem(path[:-1], f"expected {len(_fixed(found.parent))} entries, got {own_name}")
    if name in ("too_short", "too_long"):
        return Problem(path, _length(name, context))
    if name.startswith("string_too"):
        limit = context.get("min_length", context.get("max_length"))
        side = "at least" if name == "string_too_short" else "at most"
        return Problem(path, f"expected text of {side} {limit} characters, got {len(str(value))}")
    if found.error["loc"][-1:] == ("[key]",):
        return Problem(path, _bad_key(own_name, kind), "key")
    if kind is None:
        return Problem(path, f"{found.error['msg'][:1].lower()}{found.error['msg'][1:]}")
    return Problem(path, _expected(kind, value, text_of(path)))


def _expected(kind: Any, value: Any, text: str | None) -> str:
    """`expected ..., got ...`, with a hint where quotes are missing or a name is near."""
    message = f"expected {describe(kind)}, got {shown(value, text)}"
    allowed = [option for member in alternatives(single(kind)) for option in choices(member)]
    plain_text = text is not None and not isinstance(value, (str, dict, list)) and text
    if plain_text and (accepts(kind, str, pathlib.Path) or text in allowed):
        return f"{message}; quote it: '{text}'"
    return message + (suggestion(value, allowed) if isinstance(value, str) else "")


def _raised(path: EntryPath, error: object, at_mapping: bool) -> Problem:
    """What a validator said; an error with a `field` is about that entry of the mapping."""
    field = getattr(error, "field", None)
    if isinstance(field, str):
        return Problem((*path, field), str(error))
    return Problem(path, str(error), "key" if at_mapping else "value")


def _missing(name: str, kind: Any, parent: EntryPath) -> str:
    where = f"under '{dotted(parent)}'" if parent else "at the top level"
    what = f" ({describe(kind)})" if kind is not None else ""
    return f"required key '{name}' is missing; add it {where}{what}"


def _is_unknown(error: ErrorDetails) -> bool:
    return error["type"] in ("unexpected_keyword_argument", "extra_forbidden")


def _is_missing(found: _Found) -> bool:
    return found.error["type"].startswith("missing") and isinstance(found.path[-1], str)


def _unknown(key: str | int, known: Mapping[str, Any]) -> str:
    near = nearest(key, list(known))
    if near is not None and re.match(rf"{re.escape(near)}[ :]", str(key)):
        return f"unknown key; write '{near}: ', with a space after the colon"
    if near is not None:
        return f"unknown key; did you mean '{near}'?"
    return "unknown key" + _keys_here(known)


def _keys_here(known: Mapping[str, Any]) -> str:
    if not known:
        return "; no key is expected here: remove it"
    return f"; the keys here are {', '.join(known)}"


def _bad_key(key: str | int, kind: Any) -> str:
    if not isinstance(key, str):
        return f"the key {key} is no text; quote it: '{key}'"
    allowed = choices(kind)
    hint = suggestion(key, allowed) or f"; the keys here are {', '.join(map(str, allowed))}"
    return f"unknown key{hint}" if allowed else f"expected a key that is {describe(kind)}"


def _tag_values(kind: Any, field: str) -> list[Any]:
    members = alternatives(single(kind))
    return [value for member in members for value in choices(keys(member).get(field))]


def _tags(kind: Any, field: str) -> str:
    return f" ({listed(_tag_values(kind, field))})"


def _fixed(kind: Any) -> tuple[Any, ...]:
    return tuple(getattr(bare(single(kind))[0], "__args__", ()))


def _length(name: str, context: Mapping[str, Any]) -> str:
    limit = context.get("min_length" if name == "too_short" else "max_length")
    side = "at least" if name == "too_short" else "at most"
    noun = "entry" if limit == 1 else "entries"
    return f"expected {side} {limit} {noun}, got {context.get('actual_length')}"


def _holds(value: Any, part: Any) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def value_at(data: Any, path: Sequence[str | int]) -> Any:
    """What plain data holds at a path; None where there is nothing."""
    for part in path:
        if not _holds(data, part):
            return None
        data = data[part]
    return data
