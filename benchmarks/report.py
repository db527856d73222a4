"""What every benchmark prints: the machine it ran on, medians with their spread, a table."""

import argparse
import json
import os
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.environment import describe


def machine(device: torch.device | str = "cpu") -> str:
    """The hardware and versions that a number was measured with, in one line.

    Args:
        device: What computed; a CUDA device is named by its card.
    """
    device = torch.device(device)
    gpus = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    facts = describe(device, len(os.sched_getaffinity(0)), gpus)
    versions = ", ".join(f"{name} {facts[name]}" for name in ("python", "torch", "ray", "optuna"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hardware = f"{facts['cpu']}, {facts['num_cpus']} cores, {memory:.0f} GiB"
    computes = f"{device.type} ({', '.join(gpus)})" if gpus else device.type
    return f"{hardware}; device {computes}; {versions}; revision {facts['revision']}"


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without an exponent."""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text else text


def markdown(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown, its columns aligned so that it can be read as text, too.

    Args:
        headers: One a column.
        rows: Each with a cell a column; cells are written with `str`.
    """
    table = [[str(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(headers))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in table
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


Cell = str | int | float | list[float]
"""A measured thing: of several measurements all of them."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a benchmark found, as text for people and as JSON for programs."""

    columns: Mapping[str, str]
    """Heading of each column, by the key that its cells have in a row."""
    rows: Sequence[Mapping[str, Cell]]
    """Times in the unit of the heading; a key that a row lacks leaves its cell empty."""
    note: str = ""
    """What was measured, and how often."""
    device: torch.device | str = "cpu"
    below: str = ""
    """A line for people below the table."""

    def text(self) -> str:
        """Machine, note and table in Markdown."""
        return rendered(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """All of it; of several measurements the median, with `KEY_low` and `KEY_high`.

        `n` is the number of measurements of a row, where it has any.
        """
        return {
            "machine": machine(self.device),
            "note": self.note,
            "columns": dict(self.columns),
            "rows": [_flat(row) for row in self.rows],
            "below": self.below,
        }


def rendered(found: Mapping[str, Any]) -> str:
    """Machine, note and table in Markdown, from what a benchmark wrote as JSON."""
    lines = [[_shown(row, key) for key in found["columns"]] for row in found["rows"]]
    head = "\n".join(filter(None, [found["machine"], found["note"]]))
    table = markdown(list(found["columns"].values()), lines)
    return "\n\n".join(filter(None, [head, table, found["below"]]))


def _shown(row: Mapping[str, Any], key: str) -> str:
    cell = row.get(key, "")
    if not isinstance(cell, float):
        return str(cell)
    if row.get("n", 1) == 1 or f"{key}_low" not in row:
        return number(cell)
    return f"{number(cell)} ({number(row[f'{key}_low'])}..{number(row[f'{key}_high'])})"


def _flat(row: Mapping[str, Cell]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, cell in row.items():
        found[key] = float(statistics.median(cell)) if isinstance(cell, list) else cell
        if isinstance(cell, list):
            found |= {f"{key}_low": min(cell), f"{key}_high": max(cell), "n": len(cell)}
    return found


OUTPUTS = ("--out", "--json")
"""Options of `add_outputs`; each takes a file."""


def command() -> str:
    """How this program was called, without the options of `add_outputs`."""
    kept, skip = [], False
    for argument in sys.argv[1:]:
        named = argument.partition("=")[0] in OUTPUTS
        if not named and not skip:
            kept.append(argument)
        skip = named and "=" not in argument
    return shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *kept])


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that say where the table goes."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the table, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="for the rows as JSON")


def publish(table: Table, options: argparse.Namespace) -> None:
    """Print the table, and write it to the files that the options name."""
    text = table.text()
    print(text)
    if options.out is not None:
        options.out.write_text(f"{text}\n")
    if options.json is not None:
        found = {"command": command(), **table.as_json()}
        options.json.write_text(f"{json.dumps(found, indent=1)}\n")
