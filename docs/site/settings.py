"""Every key of a YAML file, with what to write, its default and its docstring, as Markdown."""

import dataclasses
import functools
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sphinx.pycode import ModuleAnalyzer

from pipeline.config_kinds import (
    alternatives,
    bare,
    choices,
    describe,
    discriminator,
    keys,
    members,
    single,
)


@dataclasses.dataclass(frozen=True)
class Section:
    """The keys that one config class takes at one place of a file."""

    place: str
    """Dotted path as `--set` takes it, names of one's own in capitals; empty for the whole file."""
    title: str
    config: type


def sections(kind: Any, place: str = "", tag: str = "") -> Iterator[Section]:
    """Every config class within a type, each once for each place; what holds others comes first."""
    plain = bare(single(kind))[0]
    by = discriminator(kind)
    if by is not None:
        for member in alternatives(single(kind)):
            (value,) = choices(keys(member)[by])
            yield from sections(member, place, f"{by}: {value}")
    elif keys(plain):
        title = f"`{place}`" if place else ""
        yield Section(place, title + (f" with `{tag}`" if tag else ""), plain)
        for key, inner in keys(plain).items():
            yield from sections(inner, f"{place}.{key}" if place else key)
    else:
        arguments = typing.get_args(plain)
        origin = typing.get_origin(plain)
        if not isinstance(origin, type) or not arguments:
            return
        if issubclass(origin, Mapping):
            yield from sections(arguments[1], f"{place}.{NAMES.get(place, 'NAME')}")
        elif issubclass(origin, Sequence):
            yield from sections(arguments[0], place)


NAMES = {"strategies": "LABEL", "search.parameters": "PATH"}
"""What names the entries of a mapping; elsewhere NAME."""


@functools.cache
def _documented(module: str) -> dict[tuple[str, str], str]:
    """The docstrings below fields, by class and field."""
    found = ModuleAnalyzer.for_module(module).find_attr_docs()
    return {name: " ".join(" ".join(lines).split()) for name, lines in found.items()}


def field_doc(config: type, key: str) -> str:
    """The docstring below a config's field, its own or inherited; empty if there is none."""
    found = (_documented(c.__module__).get((c.__name__, key)) for c in config.__mro__[:-1])
    return next((text for text in found if text), "")


def default(field: Any) -> str:
    """What holds where the key is left out."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(value):
        return "default: as below"
    return f"default: `{_written(value)}`"


def _written(value: Any) -> str:
    """A value as YAML would have it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and 0 < value < 1 and (value * 255) % 1 == 0 and value != 0.5:
        return f"{value * 255:.0f}/255"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return value or '""'
    return f"[{', '.join(_written(item) for item in value)}]" if _is_list(value) else str(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence)


def _expected(kind: Any) -> str:
    """What to write; keys of a mapping have entries of their own."""
    text = re.sub(r" with the keys? .*", "", describe(kind))
    text = re.sub(r"'([^']+)'", r"`\1`", text)
    accepts_null = type(None) in members(kind)
    return text + (", or `null`" if accepts_null else "")


def _entry(section: Section, field: Any, kind: Any) -> str:
    path = f"{section.place}.{field.name}" if section.place else field.name
    text = field_doc(section.config, field.name)
    return f"`{path}`\n: {_expected(kind)}; {default(field)}.{_paragraph(text)}\n"


def _paragraph(text: str) -> str:
    return f"\n\n  {text}" if text else ""


def settings(kind: Any, *, whole: str, leaving_out: Sequence[str] = ()) -> str:
    """All keys of a file: a heading for each config class, an entry for each key."""
    lines, seen = [], dict[type, Section]()
    for section in sections(kind):
        if section.place.startswith(tuple(leaving_out)):
            continue
        lines.append(f"## {section.title or whole}\n")
        if section.config in seen:
            lines.append(f"As {seen[section.config].title}.\n")
            continue
        seen[section.config] = section
        lines.append(f"{paragraphs(section.config.__doc__ or '')}\n")
        kinds = keys(section.config)
        lines += [
            _entry(section, field, kinds[field.name])
            for field in dataclasses.fields(section.config)
            if field.init and f"{field.name}: " not in section.title
        ]
    return "\n".join(lines)


def paragraphs(docstring: str) -> str:
    """A docstring without its indentation."""
    first, _, rest = docstring.partition("\n")
    lines = rest.splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join([first.strip(), *(line[indent:].rstrip() for line in lines)]).strip()
