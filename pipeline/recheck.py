"""Judge stored breaks again, bit for bit: `python -m pipeline.recheck --run NETWORK`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.console import STORE, parse, place, run_command
from pipeline.errors import ConfigError
from pipeline.recheck_run import Request, run_recheck

EXAMPLES = """examples:
  python -m pipeline.recheck --store runs --run 3f21ab
  python -m pipeline.recheck --store runs --sweep digits --run vanilla
  python -m pipeline.recheck --archive vanilla.zip --data-root data
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m pipeline.recheck",
        description="Judge every stored break of a network again and name whatever does not fit. "
        "Exit code 0: all breaks reproduce; 1: something does not; 2: bad input.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--store", **STORE)
    result.add_argument(
        "--run", metavar="NETWORK", help="fingerprint, its beginning, or the label of a trial"
    )
    result.add_argument("--sweep", metavar="NAME", help="sweep that the label is of")
    result.add_argument(
        "--archive", type=Path, metavar="FILE", help="what reports.build --evidence wrote"
    )
    result.add_argument(
        "--checkpoint", type=place, metavar="FILE", help="the network's, if not in the store"
    )
    result.add_argument("--data-root", help="folder of the data set, if it has moved")
    result.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    return result


def _request(options: argparse.Namespace) -> Request:
    """The checked command line.

    Raises:
        ConfigError: Arguments that do not fit together.
    """
    if (options.run is None) == (options.archive is None):
        raise ConfigError("expected --run NETWORK, or --archive FILE: write one of the two")
    if options.archive is not None and (options.sweep or options.checkpoint):
        raise ConfigError("--archive: it holds one network; remove --sweep and --checkpoint")
    return Request(
        store=options.store,
        run=options.run,
        sweep=options.sweep,
        archive=options.archive,
        checkpoint=options.checkpoint,
        data_root=options.data_root,
        device=options.device,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parse(parser(), arguments)
    return run_command(lambda: run_recheck(_request(options)))


if __name__ == "__main__":
    sys.exit(main())
