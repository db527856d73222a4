"""Pages of the reference that the code itself writes: settings, suites, audit checks, commands.

A page names what it wants by a comment, `<!-- generated: settings -->`; on the site the text takes
its place. All functions return Markdown.
"""

import argparse
import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from settings import settings

from models.config import DEFAULT_WIDTH, GradientEstimator
from pipeline import config_file
from pipeline.audit import Evidence, audit
from pipeline.config import SpaceConfig
from pipeline.config_kinds import choices, keys
from pipeline.threats import SUITES, Source, SuiteConfig
from pipeline.threats import members as suite_members

ROOT = Path(__file__).parents[2]
PARSER = re.compile(r"^def _?parser\(", re.MULTILINE)
MARK = re.compile(r"^<!-- generated: ([a-z ]+) -->$", re.MULTILINE)


def complete(text: str) -> str:
    """The page with what it asks for."""
    return MARK.sub(lambda match: GENERATED[match[1]](), text)


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
