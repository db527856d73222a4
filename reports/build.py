"""Builds the report of a sweep: python -m reports.build [--store DIR] [--sweep N ...]."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.console import parse, place, printable
from pipeline.errors import ConfigError
from pipeline.files import StorePath, local_folder
from pipeline.object_path import ObjectPath
from reports.page import write_page
from reports.paper_page import write_paper_page
from reports.queries import load_study
from reports.store import checked_name, read_sweep, sweep_names


def build_report(store: StorePath, name: str, out: Path | None = None) -> Path:
    """Write a sweep's page, figures and tables.

    Args:
        store: Folder, or place in an object store, that holds `sweeps/`, `verdicts/` and the
            others.
        name: Name of the sweep.
        out: Folder to write to; by default `reports/<name>` of the store, and where that
            is an object store, a local folder whose files are copied there.

    Returns:
        The path of the page.

    Raises:
        ConfigError: If the sweep is absent or one of its files cannot be read.
    """
    checked_name(name)
    study = load_study(store, name)
    folder = out if out is not None else local_folder(store) / "reports" / name
    page = write_page(study, _made(folder))
    if out is None:
        _copied(store, folder, name)
    return page


def build_paper(store: StorePath, out: Path | None = None) -> Path:
    """Write the page that sets every sweep of the paper's tables and figures beside them.

    Raises:
        ConfigError: A sweep's file cannot be read.
    """
    names = sweep_names(store)
    wanted = [name for name in names if read_sweep(store, name).get("paper")]
    folder = out if out is not None else local_folder(store) / "reports" / "paper"
    page = write_paper_page([load_study(store, name) for name in wanted], _made(folder))
    if out is None:
        _copied(store, folder, "paper")
    return page


def _made(folder: Path) -> Path:
    """The folder, made if absent.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder}: cannot be made a folder ({error}); give another --out"
        ) from None
    return folder


def _copied(store: StorePath, folder: Path, name: str) -> None:
    """Copy a report's files into the store, where that is an object store."""
    if isinstance(store, ObjectPath):
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            copy = store / "reports" / name / file.relative_to(folder).as_posix()
            copy.write_bytes(file.read_bytes())


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the report of each sweep asked for; the last line printed is a page's path."""
    options = parse(_parser(), arguments)
    try:
        if options.paper:
            print(build_paper(options.store, options.out))  # noqa: T201
            return 0
        names = options.sweep or [_only_sweep(options.store)]
        for name in names:
            out = options.out
            if out is not None and len(names) > 1:
                out = out / checked_name(name)
            page = build_report(options.store, name, out)
            print(page)  # noqa: T201
    except ConfigError as error:
        print(printable(str(error)), file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _only_sweep(store: StorePath) -> str:
    names = sweep_names(store)
    if len(names) == 1:
        return names[0]
    if not names:
        raise ConfigError(
            f"no sweep in {store}: run one first (python -m pipeline.sweep --space FILE), "
            "or name its store with --store DIR"
        )
    raise ConfigError(f"{store} holds several sweeps; name one with --sweep: {', '.join(names)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports.build",
        description="Build tables, figures and one self-contained page from a store.",
    )
    parser.add_argument("--store", type=place, default=Path("runs"), metavar="DIR",
                        help="where the sweep wrote to, a folder or s3://bucket/prefix "
                        "(default: runs)")  # fmt: skip
    parser.add_argument("--sweep", nargs="+", metavar="N",
                        help="sweeps to report; one page each (default: the only one)")  # fmt: skip
    parser.add_argument("--paper", action="store_true",
                        help="one page of the paper's tables and figures, from all sweeps of the "
                        "store that repeat a part of it")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where to write (default: STORE/reports/N)")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
