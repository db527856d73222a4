"""What a config type expects, in plain words, and how to find the type at a path."""

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence, Set
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_WORDS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "true/false values"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    type(None): ("null", "nulls"),
    Any: ("any value", "values"),
}
_BOUNDS = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}


def bare(kind: Any) -> tuple[Any, list[Any]]:
    """The type without `Annotated` and `NewType`, and the annotations' metadata."""
    metadata: list[Any] = []
    while True:
        if get_origin(kind) is Annotated:
            kind, *own = get_args(kind)
            for item in own:
                metadata += [item, *item.metadata] if isinstance(item, FieldInfo) else [item]
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        else:
            return kind, metadata


def members(kind: Any) -> list[Any]:
    """The union's alternatives; the type itself where it is no union."""
    plain = bare(kind)[0]
    return list(get_args(plain)) if get_origin(plain) in (Union, types.UnionType) else [kind]


def alternatives(kind: Any) -> list[Any]:
    """`members` without None, as `X | None` has one alternative for a value."""
    return [member for member in members(kind) if member is not type(None)]


def single(kind: Any) -> Any:
    """The type behind annotations and `| None`, where only one is left."""
    while True:
        plain = bare(kind)[0]
        left = alternatives(plain)
        if len(left) != 1 or left[0] is plain:
            return kind
        kind = left[0]


def discriminator(kind: Any) -> str | None:
    """Name of the field that tells the union's members apart, if there is one."""
    for item in bare(single(kind))[1]:
        name = getattr(item, "discriminator", None)
        if isinstance(name, str):
            return name
    return None


def member_tagged(kind: Any, tag: Any) -> Any:
    """The member of a discriminated union whose discriminator admits `tag`; None if none does."""
    field = discriminator(kind)
    for member in alternatives(single(kind)):
        allowed = choices(keys(member).get(field or ""))
        if any(tag == option for option in allowed):
            return member
    return None


def keys(kind: Any) -> dict[str, Any]:
    """Names and types of a dataclass's fields; empty for all else."""
    plain = bare(single(kind))[0]
    if not (isinstance(plain, type) and dataclasses.is_dataclass(plain)):
        return {}
    hints = typing.get_type_hints(plain, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(plain) if field.init}


def choices(kind: Any) -> tuple[Any, ...]:
    """Values of a Literal, an enumeration, or a union of them; empty for all else."""
    plain = bare(single(kind))[0]
    if get_origin(plain) is Literal:
        return get_args(plain)
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return tuple(item.value for item in plain)
    return ()


def item(kind: Any, part: str | int) -> Any:
    """The type of the entry `part` of a value of this type; None if that is not known."""
    plain = bare(single(kind))[0]
    arguments, origin = get_args(plain), get_origin(plain)
    if keys(plain):
        return keys(plain).get(str(part))
    if not arguments or not isinstance(origin, type):
        return None
    if issubclass(origin, Mapping):
        return arguments[1]
    if origin is tuple and Ellipsis not in arguments:
        fits = isinstance(part, int) and part < len(arguments)
        return arguments[int(part)] if fits else None
    return arguments[0] if issubclass(origin, (Sequence, Set)) else None


def key_kind(kind: Any) -> Any:
    """The type of a mapping's keys; None if that is not known."""
    arguments = get_args(bare(single(kind))[0])
    return arguments[0] if arguments else None


def accepts(kind: Any, *wanted: Any) -> bool:
    """Whether one of the wanted types is among the type's alternatives."""
    return any(bare(single(member))[0] in wanted for member in members(kind))


def describe(kind: Any) -> str:
    """What to write for a value of this type, such as 'a whole number of at least 1'."""
    plain, metadata = bare(single(kind))
    outer = bare(kind)[1]
    for note in [*outer, *metadata]:
        if getattr(note, "description", None):
            return str(note.description)
    options = alternatives(plain)
    if discriminator(kind):
        return f"a mapping with the key '{discriminator(kind)}'"
    if len(options) > 1:
        return " or ".join(dict.fromkeys(describe(option) for option in options))
    allowed = choices(plain)
    if allowed:
        return listed(allowed)
    if keys(plain):
        return f"a mapping with the keys {', '.join(keys(plain))}"
    if plain in _WORDS:
        return _WORDS[plain][0] + _bounds([*outer, *metadata])
    return _container(plain)


def listed(allowed: Sequence[Any]) -> str:
    """The allowed values, ready to follow 'expected'."""
    shown = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in allowed)
    return f"one of {shown}" if len(allowed) > 1 else shown


def _bounds(metadata: list[Any]) -> str:
    found = [
        f"{words} {getattr(note, name):g}"
        for note in metadata
        for name, words in _BOUNDS.items()
        if isinstance(getattr(note, name, None), (int, float))
    ]
    patterns = [note.pattern for note in metadata if isinstance(getattr(note, "pattern", 0), str)]
    text = " and ".join(dict.fromkeys(found))
    return (f" {text}" if text else "") + (f" that matches {patterns[0]}" if patterns else "")


def _container(plain: Any) -> str:
    origin = get_origin(plain) or plain
    arguments = [argument for argument in get_args(plain) if argument is not Ellipsis]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if isinstance(origin, type) and issubclass(origin, (Sequence, Set)):
        inner = bare(single(arguments[0]))[0] if arguments else Any
        of = f" of {_WORDS[inner][1]}" if inner in _WORDS and inner is not Any else ""
        return f"a list{of}"
    return f"a {getattr(origin, '__name__', 'value').lower()}"
