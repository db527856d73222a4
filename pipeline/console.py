"""What a person sees of a running command: calm lines, readable in a file too."""

import contextlib
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from io import FileIO
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.command_line import printable

TROUBLE = ("yellow", "red")
"""Styles of lines that are printed even where the user wants quiet."""


class Progress:
    """Lines with the time since the start; nothing is drawn over anything else."""

    def __init__(
        self, out: TextIO | None = None, *, log: FileIO | None = None, quiet: bool = False
    ) -> None:
        """Print to a stream.

        Args:
            out: By default what `sys.stdout` is now.
            log: A file for every line, with the date; it takes details, too.
            quiet: Whether lines that tell of no trouble are left out.
        """
        self.out = out = out or sys.stdout
        # Piped to a file, rich would fold lines at 80 columns.
        width = None if out.isatty() else 200
        self.console = Console(file=out, highlight=False, soft_wrap=True, width=width)
        self.quiet = quiet
        self.last_line = time.monotonic()
        """When the last line was printed, on time.monotonic's clock."""
        self._log = log
        self._started = time.perf_counter()

    def line(self, text: str, style: str = "") -> None:
        """Print a line after the minutes and seconds since the start."""
        self.detail(text)
        if self.quiet and style not in TROUBLE:
            return
        minutes, seconds = divmod(int(time.perf_counter() - self._started), 60)
        stamp = f"[dim]{minutes:3d}:{seconds:02d}[/dim]  "
        body = escape(printable(text))
        self.last_line = time.monotonic()
        self.console.print(stamp + (f"[{style}]{body}[/{style}]" if style else body))

    def plain(self, text: str) -> None:
        """Print a line alone."""
        self.detail(text)
        self.console.print(printable(text), markup=False)

    def into(self, out: TextIO, log: FileIO) -> "Progress":
        """One that prints to other streams and goes on counting the time."""
        other = Progress(out, log=log, quiet=self.quiet)
        other._started = self._started
        return other

    def note(self, text: str) -> None:
        """Print a line alone, unless it is to be quiet."""
        self.detail(text)
        if not self.quiet:
            # In a terminal folded between words; a file has whole lines.
            folded = self.console.is_terminal
            self.console.print(printable(text), markup=False, soft_wrap=not folded)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows below the first, the titles, unless it is to be quiet."""
        for row in rows:
            self.detail("  ".join(row))
        if rows and not self.quiet:
            table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
            for title in rows[0]:
                table.add_column(printable(title), overflow="fold")
            for row in rows[1:]:
                table.add_row(*(Text(printable(cell)) for cell in row))
            if self.console.is_terminal:
                self.console.print(table, soft_wrap=False)
                return
            with self.console.capture() as drawn:
                self.console.print(table, soft_wrap=False)
            for line in drawn.get().splitlines():  # a file needs no blanks up to the last column
                self.console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)

    def detail(self, text: str) -> None:
        """Write to the log alone."""
        if self._log is not None:
            now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            with contextlib.suppress(OSError):  # a full disk is told elsewhere
                self._log.write(f"{now}  {text}\n".encode(errors="backslashreplace"))

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


def percent(value: float) -> str:
    """An accuracy for people: `93.3 %`."""
    return f"{100 * value:.1f} %"
