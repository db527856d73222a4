"""Malformed YAML files, made of good ones by one mistake each, with the line at fault."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.config_kinds import accepts, alternatives, bare, choices, item, keys, single

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """A file with one thing wrong."""

    kind: str
    what: str
    """The mistake in a few words."""
    content: bytes
    line: int
    """Where the message must point, counted from 1."""
    column: int | None = None
    """None where the line says enough."""
    certain: bool = True
    """Whether no file with this mistake may be taken."""


@dataclass(frozen=True)
class Place:
    """Where an entry stands in the text, as indices into it."""

    key: int
    value: int
    end: int
    flow: bool
    """Whether it stands within brackets."""
    scalar: bool


def places(text: str) -> dict[Path, Place]:
    """Every entry of the file."""
    found: dict[Path, Place] = {}

    def last(node: Node) -> int:
        """Where its text ends; a block's own mark is that of what follows it."""
        if isinstance(node, ScalarNode) or getattr(node, "flow_style", False):
            return node.end_mark.index
        inner = node.value[-1]
        return last(inner[1] if isinstance(inner, tuple) else inner)

    def note(node: Node, path: Path, key: int, flow: bool) -> None:
        scalar = isinstance(node, ScalarNode)
        found[path] = Place(key, node.start_mark.index, last(node), flow, scalar)
        inside = bool(getattr(node, "flow_style", False))
        if isinstance(node, MappingNode):
            for name, child in node.value:
                note(child, (*path, name.value), name.start_mark.index, inside)
        elif isinstance(node, SequenceNode):
            for index, child in enumerate(node.value):
                note(child, (*path, index), child.start_mark.index, inside)

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    note(root, (), 0, False)
    del found[()]
    return found


def position(text: str, index: int) -> tuple[int, int]:
    """Line and column, counted from 1."""
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


def replaced(text: str, path: Path, value: str) -> tuple[str, Place]:
    """The text with another value at a path."""
    place = places(text)[path]
    return text[: place.value] + value + text[place.end :], place


def mistakes(text: str, kind: Any) -> Iterator[Mistake]:
    """One mistake at every entry, of every kind that applies to it.

    Args:
        text: A file without a mistake.
        kind: The type that it is checked against.
    """
    for path, place in places(text).items():
        parent, own = _kind(kind, text, path[:-1]), _kind(kind, text, path)
        name = ".".join(map(str, path))
        if keys(parent) and isinstance(path[-1], str):
            yield from _of_keys(text, path, place, parent, name)
        if own is not None:
            yield from _of_values(text, path, place, own, name)
        yield from _of_syntax(text, path, place, name)
    yield from _of_lines(text)


def _kind(kind: Any, text: str, path: Path) -> Any:
    """The type at a path; of a union, the member that is written there."""
    data: Any = yaml.safe_load(text)
    for part in (*path, None):
        options = alternatives(single(kind))
        if len(options) > 1 and isinstance(data, dict):
            fit = [one for one in options if {*data} <= {*keys(one)} and _tagged(one, data)]
            kind = fit[0] if fit else None
        if part is None or kind is None:
            return kind
        kind, data = item(kind, part), data[part]
    return kind


def _tagged(kind: Any, data: dict[str, Any]) -> bool:
    """Whether the literals among its fields are those that are written."""
    return all(
        name not in data or not choices(one) or data[name] in choices(one)
        for name, one in keys(kind).items()
    )


def _of_keys(text: str, path: Path, place: Place, parent: Any, name: str) -> Iterator[Mistake]:
    key = str(path[-1])
    at = position(text, place.key)
    after = place.key + len(key)
    for wrong in (
        key[0] + key[2:1:-1] + key[1] + key[3:],
        f"{key}s",
        f"{key.upper()}_X",
        f"x-{key}",
    ):
        if wrong not in keys(parent) and wrong != key:
            changed = text[: place.key] + wrong + text[after:]
            yield Mistake("misspelt key", f"{name} -> {wrong}", changed.encode(), *at)
    twice = f"{key}: 1, " if place.flow else f"{key}: 1\n" + " " * (at[1] - 1)
    changed = text[: place.key] + twice + text[place.key :]
    second = position(changed, place.key + len(twice))
    yield Mistake("key twice", name, changed.encode(), *second)
    required = [
        field.name
        for field in dataclasses.fields(bare(single(parent))[0])
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if key in required:
        rest = text[place.end :].lstrip(", ") if place.flow else text[place.end :]
        rest_text = text[: place.key] + rest
        left = places(rest_text)
        if path[:-1] and path[:-1] not in left:
            return
        first = left[path[:-1]].key if path[:-1] else min(one.key for one in left.values())
        line, column = position(rest_text, first)
        yield Mistake("key missing", name, rest_text.encode(), line, column)


_NUMBERS = (
    "many",
    "-1e9",
    "1e400",
    ".nan",
    "-.inf",
    "yes",
    "[1, 2, 3, 4, 5, 6, 7]",
    "1/0",
    "'8/0'",
    "9" * 45,
    "0x",
    "''",
)
_TEXTS = ("[a, [b]]", "{a: 1}", "3.5", "no", "2024-01-01T00:00:00")
_NAMES = ("'a b'", "../x", "''", f"'{'x' * 65}'", "ä")


def _of_values(text: str, path: Path, place: Place, kind: Any, name: str) -> Iterator[Mistake]:
    def written(value: str, why: str, certain: bool = True) -> Mistake:
        changed = text[: place.value] + value + text[place.end :]
        # Where nothing is written below a key, the key's own line is at fault.
        at = position(text, place.value if value else place.key)
        return Mistake(why, f"{name}: {value[:30]}", changed.encode(), at[0], None, certain)

    optional = type(None) in [bare(one)[0] for one in _members(kind)]
    if not optional:
        yield written("null", "null")
        yield written("", "nothing", not isinstance(path[-1], int))
    allowed = choices(kind)
    if allowed:
        first = str(allowed[0])
        yield written(first[:-1] or "x", "misspelt value", first[:-1] not in allowed)
        yield written(f"{first}_x", "unknown value")
        yield written("[1]", "list for a value")
    elif accepts(kind, int, float) and not keys(kind):
        for value in _NUMBERS:
            yield written(value, "no number of the range")
        for value in ("-1", "0", "1.5", "1e9"):
            yield written(value, "perhaps out of range", False)
    elif accepts(kind, bool):
        for value in ("2", "maybe", "'true'", "[yes]"):
            yield written(value, "neither true nor false", False)
    elif accepts(kind, str):
        for value in _TEXTS:
            yield written(value, "no text", value[0] in "[{3n")
        for value in _NAMES:
            yield written(value, "perhaps no name", False)
    elif not place.scalar:
        for value in ("3", "text", "[[1]]", "{zzz: 1}", "yes"):
            yield written(value, "another shape")


def _members(kind: Any) -> list[Any]:
    from pipeline.config_kinds import members

    return members(kind)


def _of_syntax(text: str, path: Path, place: Place, name: str) -> Iterator[Mistake]:
    def at_value(inserted: str, why: str, certain: bool = True) -> Mistake:
        changed = text[: place.value] + inserted + text[place.value :]
        return Mistake(why, name, changed.encode(), *position(text, place.value), certain)

    yield at_value("!!python/object/apply:os.system ", "tag")
    yield at_value("!mine ", "tag")
    if place.scalar:
        scalars = text[: place.value], text[place.end :]
        for value, why in (
            ("*nowhere", "alias"),
            ("@x", "reserved character"),
            ("`x`", "reserved character"),
            ("%x", "reserved character"),
            ("{<<: {a: 1}}", "merge key"),
        ):
            content = scalars[0] + value + scalars[1]
            line, column = position(text, place.value)
            yield Mistake(why, name, content.encode(), line, None if why == "merge key" else column)
        content = (scalars[0] + "a: b: c" + scalars[1]).encode()
        yield Mistake("two colons", name, content, position(text, place.value)[0])
        content = scalars[0].encode() + b"\xff\xfe" + scalars[1].encode()
        yield Mistake("not UTF-8", name, content, *position(text, place.value))
        content = (scalars[0] + "a\x07" + scalars[1]).encode()
        yield Mistake("control character", name, content, position(text, place.value)[0])
        for quote in "'\"":
            content = (scalars[0] + quote + scalars[1]).encode()
            yield Mistake("open quote", name, content, position(text, place.value)[0])
    elif text[place.value] in "[{":
        open_ = text[: place.end - 1] + text[place.end :]
        yield Mistake("open bracket", name, open_.encode(), position(text, place.value)[0])
        unopened = text[: place.value] + text[place.value + 1 :]
        yield Mistake("bracket not opened", name, unopened.encode(), position(text, place.value)[0])
        other = (
            text[: place.end - 1] + {"]": "}", "}": "]"}[text[place.end - 1]] + text[place.end :]
        )
        yield Mistake("other bracket", name, other.encode(), position(text, place.end - 1)[0])
        inside = text[place.value : place.end]
        if ", " in inside:
            comma = place.value + inside.index(", ")
            content = (text[:comma] + text[comma + 1 :]).encode()
            yield Mistake("no comma", name, content, position(text, comma)[0], None, ":" in inside)


def _of_lines(text: str) -> Iterator[Mistake]:
    lines = text.split("\n")

    def changed(number: int, line: str) -> bytes:
        return "\n".join([*lines[:number], line, *lines[number + 1 :]]).encode()

    for number, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        what = f"line {number + 1}: {line.strip()[:30]}"
        if line.startswith("  ") and not line.startswith("   "):
            tab = changed(number, "\t" + line.lstrip())
            yield Mistake("tab", what, tab, number + 1)
            if lines[number - 1].startswith("  ") and not lines[number - 1].lstrip().startswith(
                "#"
            ):
                for spaces in (" ", "   "):
                    yield Mistake(
                        "indentation", what, changed(number, spaces + line.lstrip()), number + 1
                    )
        if ": " in line.partition(" #")[0]:
            yield Mistake("no colon", what, changed(number, line.replace(": ", " ", 1)), number + 1)
            yield Mistake(
                "no space after the colon",
                what,
                changed(number, line.replace(": ", ":", 1)),
                number + 1,
            )
        yield Mistake(
            "second document", what, changed(number, f"---\n{line}"), number + 1, None, False
        )
