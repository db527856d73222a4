"""What a shell offers at a press of TAB, beside options and choices; argcomplete asks."""

import argparse
import glob
import json
from collections.abc import Iterator
from pathlib import Path

import argcomplete
from argcomplete.completers import BaseCompleter, FilesCompleter

from pipeline.command_line import place

SUITES = Path(__file__).parent / "suites"
FILES = FilesCompleter()
YAML = FilesCompleter(("yaml", "yml"))
MOST_BYTES = 20_000_000
"""A longer list of trials is not read: nobody waits so long for a word."""


def answer(parser: argparse.ArgumentParser) -> None:
    """Tell the shell what could stand at the cursor, and end the process."""
    argcomplete.autocomplete(parser, default_completer=Offered())


class Offered(BaseCompleter):
    """What an argument without choices may be, as its name in the help says."""

    def __call__(
        self,
        *,
        prefix: str,
        action: argparse.Action,
        parser: argparse.ArgumentParser,
        parsed_args: argparse.Namespace,
    ) -> list[str]:
        """Words that may stand at the cursor; argcomplete drops those that begin otherwise."""
        match action.metavar or action.dest.upper():
            case "SPACE":
                return YAML(prefix)
            case "SUITE":
                named = sorted(path.stem for path in SUITES.glob(f"{glob.escape(prefix)}*.yaml"))
                return named or YAML(prefix)
            case "NAME":
                return [path.name for path in _sweep_folders(parsed_args)]
            case "NETWORK":
                return _labels(parsed_args)
            case "DATA" | "DATA_ROOT":
                return FILES(prefix)
            case _:
                return FILES(prefix) if action.type in (Path, place) else []


def _sweep_folders(options: argparse.Namespace) -> list[Path]:
    """Of a store that is a folder: an object store answers too slowly."""
    store = getattr(options, "store", None)
    if not isinstance(store, Path):
        return []
    found = (path.parent for path in (store / "sweeps").glob("*/sweep.json"))
    return sorted(path for path in found if path.name.isprintable())


def _labels(options: argparse.Namespace) -> list[str]:
    """Of the trials of the sweeps that `--sweep` names, or of all in the store."""
    named = getattr(options, "sweep", None) or []
    wanted = [named] if isinstance(named, str) else named
    folders = [path for path in _sweep_folders(options) if not wanted or path.name in wanted]
    return sorted({label for path in folders for label in _read_labels(path / "trials.json")})


def _read_labels(path: Path) -> Iterator[str]:
    try:
        rows = json.loads(path.read_bytes()) if path.stat().st_size < MOST_BYTES else []
    except (OSError, ValueError, RecursionError):
        return
    for row in rows if isinstance(rows, list) else []:
        label = row.get("label") if isinstance(row, dict) else None
        if isinstance(label, str) and label.isprintable():
            yield label
