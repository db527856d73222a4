"""Pages of the reference that the code itself writes: settings, suites, audit checks.

A page names what it wants by a comment, `<!-- generated: settings -->`; on the site the text takes
its place. All functions return Markdown.
"""

import argparse
import dataclasses
import functools
import importlib
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sphinx.pycode import ModuleAnalyzer

from models.config import DEFAULT_WIDTH, GradientEstimator
from pipeline import config_file
from pipeline.audit import Evidence, audit
from pipeline.config import SpaceConfig
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
from pipeline.threats import SUITES, Source, SuiteConfig
from pipeline.threats import members as suite_members

ROOT = Path(__file__).parents[2]
PARSER = re.compile(r"^def _?parser\(", re.MULTILINE)
MARK = re.compile(r"^<!-- generated: ([a-z ]+) -->$", re.MULTILINE)


def complete(text: str) -> str:
    """The page with what it asks for."""
    return MARK.sub(lambda match: GENERATED[match[1]](), text)


# Settings


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


# Suites and oracles


def read_suite(path: Path) -> SuiteConfig:
    """A suite, whether or not the packages of its attacks are installed."""
    suite: SuiteConfig = config_file.check(config_file.read(path), SuiteConfig)
    return suite


def suites() -> str:
    """The shipped suites and what each is made of."""
    rows = []
    for path in sorted(SUITES.glob("*.yaml")):
        suite = read_suite(path)
        source = Source(label="source", fingerprint="", checkpoint="")
        found = suite_members(suite, sources=[source]) if not _frames_only(suite) else ()
        count = str(len(found) - 1) if found else ""
        stages = [suite, *suite.then]
        attacks = dict.fromkeys(name for stage in stages for name in stage.attacks)
        rows.append(
            [
                f"`{suite.name}`",
                suite.description,
                ", ".join(f"`{name}`" for name in attacks),
                count,
                suite.judge,
                suite.order,
            ]
        )
    return table(["suite", "what", "attacks", "members", "judge", "order"], rows)


def _frames_only(suite: SuiteConfig) -> bool:
    """Whether a stage's threat model is for event frames alone."""
    return any(stage.threat not in (None, "pixels") for stage in [suite, *suite.then])


def oracles() -> str:
    """What an oracle may be, and the width that stands where none is written."""
    surrogates = choices(keys(GradientEstimator)["surrogate"])
    methods = choices(keys(GradientEstimator)["method"])
    rows = [
        [f"`{{surrogate: {name}}}`", _width(name if name != "straight_through" else "")]
        for name in surrogates
    ]
    rows += [[f"`{{method: {name}}}`", _width(name)] for name in methods if name != "stbp"]
    return table(["oracle", "default width"], rows)


def _width(name: str) -> str:
    return f"{DEFAULT_WIDTH[name]:g}" if name in DEFAULT_WIDTH else "none"


# The trust audit


def audit_checks() -> str:
    """Every check with its question and its thresholds, asked of a network without a fault."""
    found = {}
    for is_random in (False, True):
        result = audit(_evidence(is_random=is_random), fingerprint="", split="test")
        # What is skipped for one kind of network is asked of the other.
        asked = {check.name: check for check in result.checks if check.pass_at is not None}
        found |= {name: check for name, check in asked.items() if name not in found}
    rows = [
        [check.name, check.question, f"{check.pass_at:g}", f"{check.fail_at:g}"]
        for check in found.values()
    ]
    return table(["check", "question", "passes at", "fails beyond"], rows)


def _evidence(*, is_random: bool) -> Evidence:
    """What ten samples leave that withstand everything they should."""
    source = Source(label="source", fingerprint="", checkpoint="")
    suite = read_suite(SUITES / "audit.yaml")
    known = suite_members(suite, sources=[source], randomised=is_random)
    yes, zero, one = np.ones(10, dtype=bool), np.zeros(10), np.ones(10)
    probe = dict.fromkeys(("zero_cross_entropy", "zero_margin", "random_ascent"), zero)
    probe |= dict.fromkeys(("plane_breaks", "repeat_changes", "probabilities"), zero)
    probe |= dict.fromkeys(("largest_logit", "ascent", "cosine", "support_first"), one)
    probe["repeat_difference"] = one if is_random else zero
    return Evidence(
        epsilon=suite.epsilon,
        num_classes=10,
        members={member.name: member for member in known},
        robust={member.name: yes for member in known},
        distance={member.name: zero for member in known},
        probe=probe,
        reported=yes,
    )


# Commands


def commands() -> str:
    """Every command of `pipeline` and `reports`, its options and its examples."""
    found = sorted(path for name in ("pipeline", "reports") for path in (ROOT / name).glob("*.py"))
    return "\n".join(
        _command(importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)))
        for path in found
        if PARSER.search(path.read_text())
    )


def _command(module: Any) -> str:
    parser = next(
        getattr(module, name) for name in ("parser", "_parser") if hasattr(module, name)
    )()
    lines = [f"## {parser.prog}\n", f"{parser.description}\n"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.dest != "help"]
        if actions and group.title not in ("options", "positional arguments"):
            lines.append(f"{group.title.capitalize()}:\n")
        lines += [_option(action) for action in actions]
    if parser.epilog:
        lines.append(_examples(parser.epilog))
    return "\n".join(lines)


def _option(action: argparse.Action) -> str:
    """An option with its value; the help's own words."""
    value = ""
    if action.nargs != 0:
        value = " " + str(action.metavar or action.dest.upper())
    if action.choices:
        value = " " + "|".join(str(choice) for choice in action.choices)
    names = ", ".join(action.option_strings) or action.dest
    text = (action.help or "see the examples").replace("%%", "%")
    required = "; required" if action.required else ""
    return f"`{names}{value}`\n: {text}{required}\n"


def _examples(epilog: str) -> str:
    """The help's last part, with its commands as a block."""
    return f"```text\n{epilog.strip()}\n```\n"


def make_targets() -> str:
    """What `make help` says."""
    told = re.findall(r"^\t@echo '(make .*)'$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return "\n".join(
        f"`{line.split('  ')[0]}`\n: {line.split('  ', 1)[1].strip()}\n" for line in told
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


GENERATED: dict[str, Callable[[], str]] = {
    "settings": lambda: settings(SpaceConfig, whole="The file"),
    "suites": suites,
    "suite settings": lambda: settings(SuiteConfig, whole="The file", leaving_out=["then"]),
    "oracles": oracles,
    "audit": audit_checks,
    "commands": commands,
    "make": make_targets,
}
