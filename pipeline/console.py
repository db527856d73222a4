"""What a person sees of a running command: calm lines, readable in a file too."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.errors import ConfigError
from pipeline.files import StorePath, store_path


class Progress:
    """Lines with the time since the start; nothing is drawn over anything else."""

    def __init__(self) -> None:
        # Piped to a file, rich would fold lines at 80 columns.
        width = None if sys.stdout.isatty() else 200
        self.console = Console(highlight=False, soft_wrap=True, width=width)
        self._started = time.perf_counter()

    def line(self, text: str, style: str = "") -> None:
        """Print a line after the minutes and seconds since the start."""
        minutes, seconds = divmod(int(time.perf_counter() - self._started), 60)
        stamp = f"[dim]{minutes:3d}:{seconds:02d}[/dim]  "
        body = escape(printable(text))
        self.console.print(stamp + (f"[{style}]{body}[/{style}]" if style else body))

    def plain(self, text: str) -> None:
        """Print a line alone."""
        self.console.print(printable(text), markup=False)

    def columns(self, cells: Sequence[str], widths: Sequence[int], style: str = "") -> None:
        """Print one row; the last cell takes the rest of the line and is folded within it.

        Args:
            cells: Texts; the first one alone is coloured.
            widths: Of all cells but the last, in characters.
            style: Of the first cell.
        """
        row = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        for width in widths:
            row.add_column(width=width)
        row.add_column(overflow="fold", ratio=1)
        row.add_row(Text(cells[0], style=style), *(Text(printable(cell)) for cell in cells[1:]))
        self.console.print(row, soft_wrap=False)


def printable(text: str) -> str:
    """The text with control characters written out: a file must not steer the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else repr(c)[1:-1] for c in text)


def percent(value: float) -> str:
    """An accuracy for people: `93.3 %`."""
    return f"{100 * value:.1f} %"


def run_command(main: Callable[[], int]) -> int:
    """Exit code of a command: what the user can fix is printed alone and gives 2."""
    try:
        return main()
    except ConfigError as error:
        sys.stderr.write(printable(f"{error}\n"))
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def place(text: str) -> StorePath:
    """An argument that names a folder, a file, or something in an object store.

    Raises:
        argparse.ArgumentTypeError: It names no bucket.
    """
    try:
        return store_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


STORE: dict[str, Any] = {
    "type": place,
    "default": Path("runs"),
    "metavar": "DIR",
    "help": "folder for all results, or s3://bucket/prefix (default: runs)",
}
"""Of the argument `--store`, which most commands have."""


def parse(parser: Any, arguments: Sequence[str] | None) -> Any:
    """What argparse reads; `--` as the value of an option is an error.

    Python before 3.13 reads `--name=--` as an option without a value, and returns a list.
    """
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        if value == [] and parser.get_default(name) != []:
            parser.error(f"argument --{name.replace('_', '-')}: expected a value, got '--'")
    return options
