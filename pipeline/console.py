"""What a person sees of a running command: calm lines, readable in a file too."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.command_line import printable


class Progress:
    """Lines with the time since the start; nothing is drawn over anything else."""

    def __init__(self) -> None:
        # Piped to a file, rich would fold lines at 80 columns.
        width = None if sys.stdout.isatty() else 200
        self._console = Console(highlight=False, soft_wrap=True, width=width)
        self._started = time.perf_counter()

    def line(self, text: str, style: str = "") -> None:
        """Print a line after the minutes and seconds since the start."""
        minutes, seconds = divmod(int(time.perf_counter() - self._started), 60)
        stamp = f"[dim]{minutes:3d}:{seconds:02d}[/dim]  "
        body = escape(printable(text))
        self._console.print(stamp + (f"[{style}]{body}[/{style}]" if style else body))

    def plain(self, text: str) -> None:
        """Print a line alone."""
        self._console.print(printable(text), markup=False)

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
        self._console.print(row, soft_wrap=False)


def percent(value: float) -> str:
    """An accuracy for people: `93.3 %`."""
    return f"{100 * value:.1f} %"
