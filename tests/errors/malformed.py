"""Malformed YAML files, made of good ones by one mistake each, with the line at fault."""

import dataclasses
import functools
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.config_kinds import (
    accepts,
    alternatives,
    bare,
    choices,
    item,
    keys,
    members,
    single,
)

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """A file with one thing wrong."""

    kind: str
    what: str
    """The entry or line it was made at, and how."""
    content: bytes
    line: int
    """Where a message must point, counted from 1."""
    column: int | None
    """None where the line says enough."""
    certain: bool
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


def position(text: str, index: int) -> tuple[int, int]:
    """Line and column, counted from 1."""
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


@functools.cache
def places(text: str) -> Mapping[Path, Place]:
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

    note(yaml.compose(text, Loader=yaml.SafeLoader), (), 0, False)
    return found


def mistakes(text: str, kind: Any) -> Iterator[Mistake]:
    """One mistake at every entry and line, of every kind that applies to it.

    Args:
        text: A file without a mistake.
        kind: The type that it is checked against.
    """
    for path, place in places(text).items():
        if path:
            own = _kind(kind, text, path)
            yield from _of_keys(text, path, place, _kind(kind, text, path[:-1]))
            yield from _of_values(text, path, place, own) if own is not None else ()
            yield from _of_scalars(text, path, place) if place.scalar else ()
            yield from _of_brackets(text, path, place) if text[place.value] in "[{" else ()
    yield from _of_lines(text)


def chosen(found: Iterable[Mistake], most: int) -> list[Mistake]:
    """At most so many of each kind, drawn from all, always the same."""
    kinds: dict[str, list[Mistake]] = {}
    for mistake in found:
        kinds.setdefault(mistake.kind, []).append(mistake)
    draw = random.Random(0)
    return [
        mistake
        for of_kind in kinds.values()
        for mistake in (of_kind if len(of_kind) <= most else draw.sample(of_kind, most))
    ]


def _made(
    kind: str,
    path: Path | str,
    text: str,
    at: int,
    *,
    note: str = "",
    column: bool = True,
    certain: bool = True,
) -> Mistake:
    """A mistake, to be told at the character `at` of the text with it."""
    what = path if isinstance(path, str) else ".".join(map(str, path))
    line, first = position(text, at)
    # A lone surrogate stands for a byte that is no UTF-8.
    content = text.encode("utf-8", "surrogateescape")
    return Mistake(kind, f"{what} {note}", content, line, first if column else None, certain)


@functools.cache
def _data(text: str) -> Any:
    return yaml.safe_load(text)


def _kind(kind: Any, text: str, path: Path) -> Any:
    """The type at a path; of a union, the member that is written there."""
    data = _data(text)
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


def _of_keys(text: str, path: Path, place: Place, parent: Any) -> Iterator[Mistake]:
    """Keys of a dataclass: misspelt, written twice, left out."""
    known, key = keys(parent), path[-1]
    if not known or not isinstance(key, str):
        return
    before, after = text[: place.key], text[place.key + len(key) :]
    turned = key[0] + key[2:1:-1] + key[1] + key[3:]
    for wrong in (turned, f"{key}s", f"{key.upper()}_X", f"x-{key}"):
        if wrong != key and wrong not in known:
            yield _made("misspelt key", path, before + wrong + after, place.key, note=wrong)
    indent = "\n" + " " * (position(text, place.key)[1] - 1)
    first = f"{key}: 1" + (", " if place.flow else indent)
    yield _made("key twice", path, before + first + key + after, place.key + len(first))
    (field,) = (f for f in dataclasses.fields(bare(single(parent))[0]) if f.name == key)
    if field.default is field.default_factory is dataclasses.MISSING:
        rest = text[place.end :]
        without = before + (rest.lstrip(", ") if place.flow else rest)
        left = places(without)
        if path[:-1] in left:
            tops = [one.key for other, one in left.items() if other]
            yield _made(
                "key missing", path, without, left[path[:-1]].key if path[:-1] else min(tops)
            )


NO_NUMBERS = ("many", "-1e9", "1e400", ".nan", "-.inf", "yes", "[1, 2, 3, 4, 5, 6, 7]", "1/0",
              "'8/0'", "9" * 45, "0x", "''", "8/255/2")  # fmt: skip
NO_TEXTS = ("[a, [b]]", "{a: 1}", "3.5", "no")
NO_NAMES = ("'a b'", "../x", "''", f"'{'x' * 65}'", "ä", "2024-01-01T00:00:00")


def _of_values(text: str, path: Path, place: Place, kind: Any) -> Iterator[Mistake]:
    """Values of another kind, or out of range."""

    def written(why: str, *values: str, certain: bool = True) -> Iterator[Mistake]:
        for value in values:
            changed = text[: place.value] + value + text[place.end :]
            # Where nothing is written below a key, the key's own line is at fault.
            at = place.value if value else place.key
            note = f"= {value[:30]}"
            yield _made(why, path, changed, at, note=note, column=False, certain=certain)

    if type(None) not in [bare(one)[0] for one in members(kind)]:
        yield from written("null", "null")
        yield from written("nothing", "", certain=isinstance(path[-1], str))
    allowed = choices(kind)
    if allowed:
        first = str(allowed[0])
        yield from written("misspelt value", first[:-1] or "x", certain=first[:-1] not in allowed)
        yield from written("unknown value", f"{first}_x", "[1]")
    elif accepts(kind, int, float) and not keys(kind):
        # A searched parameter may have values of any kind.
        searched = accepts(kind, str)
        yield from written("no number of the range", *NO_NUMBERS, certain=not searched)
        yield from written("perhaps out of range", "-1", "0", "1.5", "1e9", certain=False)
    elif accepts(kind, bool):
        yield from written("neither true nor false", "2", "maybe", "[yes]")
    elif accepts(kind, str):
        yield from written("no text", *NO_TEXTS)
        yield from written("perhaps no name", *NO_NAMES, certain=False)
    elif not place.scalar:
        yield from written("another shape", "3", "text", "[[1]]", "{zzz: 1}", "yes")


def _of_scalars(text: str, path: Path, place: Place) -> Iterator[Mistake]:
    """What YAML gives a meaning of its own."""

    def instead(why: str, *values: str, column: bool = True) -> Iterator[Mistake]:
        for value in values:
            changed = text[: place.value] + value + text[place.end :]
            yield _made(why, path, changed, place.value, column=column)

    own = text[place.value : place.end]
    yield from instead("tag", f"!!python/object/apply:os.system {own}", f"!mine {own}")
    yield from instead("alias", "*nowhere")
    yield from instead("reserved character", "@x", "`x`", "%x")
    yield from instead("merge key", "{<<: {a: 1}}", column=False)
    yield from instead("two colons", "a: b: c", column=False)
    yield from instead("not UTF-8", "\udcff\udcfe")
    yield from instead("control character", "a\x07", column=False)
    yield from instead("open quote", "'", '"', column=False)


def _of_brackets(text: str, path: Path, place: Place) -> Iterator[Mistake]:
    """Brackets that lack their other half, and lists that lack a comma."""
    before, inside, after = text[: place.value], text[place.value : place.end], text[place.end :]
    other = {"]": "}", "}": "]"}[inside[-1]]
    yield _made("open bracket", path, before + inside[:-1] + after, place.value, column=False)
    yield _made("bracket not opened", path, before + inside[1:] + after, place.value, column=False)
    changed = before + inside[:-1] + other + after
    yield _made("other bracket", path, changed, place.end - 1, column=False)
    if ", " in inside:
        comma = inside.index(", ")
        changed = before + inside[:comma] + inside[comma + 1 :] + after
        yield _made("no comma", path, changed, place.value + comma, column=False)


def _of_lines(text: str) -> Iterator[Mistake]:
    """Lines that are indented otherwise, or have lost their colon."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        code = line.partition(" #")[0]
        if not code.strip() or code.lstrip().startswith("#"):
            continue
        start = sum(len(before) + 1 for before in lines[:number])
        above = lines[number - 1]

        def changed(
            why: str, new: str, *, at: int = start, end: int = start + len(line), sure: bool = True
        ) -> Mistake:
            what = f"line {position(text, at)[0]}"
            return _made(why, what, text[:at] + new + text[end:], at, column=False, certain=sure)

        if line.startswith("  ") and line[2] != " ":
            yield changed("tab", "\t" + line.lstrip())
            if above.startswith("  ") and not above.lstrip().startswith("#"):
                yield changed("indentation", " " + line.lstrip())
                yield changed("indentation", "   " + line.lstrip())
        if re.search(r": \S", code):
            yield changed("no colon", line.replace(": ", " ", 1))
            yield changed("no space after the colon", line.replace(": ", ":", 1))
        yield changed("second document", f"---\n{line}", sure=False)
