"""What a person sees of a running sweep: lines of what happened, and below them how far it is."""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.console import Progress
from pipeline.sweep_status import Status, about

HEARTBEAT_S = 15.0
"""Piped to a file, a line of progress at least so often."""
REFRESH_S = 1.0
BAR = 32
MOST = 4
"""Running trials that are named."""
STAGE_NAMES = {
    "search": "training and search",
    "report": "report suite on test images",
    "audit": "trust audit",
}


class SweepView:
    """In a terminal, a block below the lines that is drawn anew; in a file, a line now and then.

    Nothing is shown where the console is to be quiet.
    """

    def __init__(self, console: Progress, status: Callable[[], Status]) -> None:
        self._console, self._status = console, status
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._live: Live | None = None

    def __enter__(self) -> "SweepView":
        if self._console.quiet:
            return self
        if self._console.console.is_terminal:
            self._live = Live(
                get_renderable=lambda: block(self._status()),
                console=self._console.console,
                refresh_per_second=1 / REFRESH_S,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(REFRESH_S):
            if time.monotonic() - self._console.last_line > HEARTBEAT_S:
                self._console.line(line(self._status()), "dim")


def block(status: Status) -> RenderableType:
    """The status for a terminal: trials, two bars, the best so far, the time left."""
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(width=10)
    table.add_column(overflow="fold")

    def bar(share: float, note: str) -> Table:
        row = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        row.add_row(
            ProgressBar(total=1.0, completed=share, width=BAR), f"{100 * share:3.0f} %", note
        )
        return row

    table.add_row("trials", _counts(status))
    table.add_row("training", bar(status.trained, _running(status)))
    table.add_row("attacks", bar(status.judged, _stages(status)))
    for number, best in enumerate(status.best):
        table.add_row("best" if not number else "", best)
    table.add_row("time left", _left(status))
    return Group(Text(""), table)


def line(status: Status) -> str:
    """The status in a line."""
    parts = [_counts(status)]
    if status.running:
        parts.append(f"epochs: {_running(status)}")
    parts.append(f"attacks {100 * status.judged:.0f} %")
    if status.seconds_left is not None:
        parts.append(f"{about(status.seconds_left)} left")
    return "; ".join(parts)


def _counts(status: Status) -> str:
    return ", ".join(f"{count} {place}" for place, count in status.trials.items())


def _running(status: Status) -> str:
    more = len(status.running) - MOST
    return ", ".join([*status.running[:MOST], *([f"and {more} more"] if more > 0 else [])])


def _stages(status: Status) -> str:
    now = STAGE_NAMES[status.stage]
    return f"{now}; then {' and '.join(status.after)}" if status.after else now


def _left(status: Status) -> str:
    if status.seconds_left is None:
        return "told once the first network is judged"
    return about(status.seconds_left)
