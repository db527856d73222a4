"""What every benchmark prints: the machine it ran on, medians with their spread, a table."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path

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


def spread(values: Sequence[float], digits: int = 3) -> str:
    """The median, and in brackets the smallest and largest value; alone where there is one.

    Args:
        values: Measurements of one thing, all in the same unit; not empty.
        digits: Significant digits of each number.
    """
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return number(middle, digits)
    return f"{number(middle, digits)} ({number(low, digits)}..{number(high, digits)})"


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


def publish(text: str, out: Path | None) -> None:
    """Print a benchmark's result; also write it to a file, where one is named."""
    print(text)
    if out is not None:
        out.write_text(text + "\n")
