# PYTHON_ARGCOMPLETE_OK
"""Judge stored breaks again, bit for bit: `python -m pipeline.recheck --run NETWORK`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.command_line import DEVICE, STORE, command_parser, parse, place, run_command
from pipeline.errors import ConfigError

EXAMPLES = """examples:
  # a network by its fingerprint, or the beginning of it
  python -m pipeline.recheck --store runs --run 3f21ab
  # a network by its label
  python -m pipeline.recheck --store runs --sweep defences --run vanilla
  # what reports.build --evidence has packed, on any machine
  python -m pipeline.recheck --archive vanilla.zip --data-root data
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_parser(
        "pipeline.recheck",
        "Judge every stored break of a network again and name whatever does not fit. "
        "Exit code 0: all breaks reproduce; 1: something does not; 2: bad input.",
        EXAMPLES,
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
    result.add_argument("--device", **DEVICE)
    return result


def _recheck(options: argparse.Namespace) -> int:
    """Do what the command line asks for.

    Raises:
        ConfigError: Arguments that do not fit together, and what of the store is not right.
    """
    if (options.run is None) == (options.archive is None):
        raise ConfigError("expected --run NETWORK, or --archive FILE: write one of the two")
    if options.archive is not None and (options.sweep or options.checkpoint):
        raise ConfigError("--archive: it holds one network; remove --sweep and --checkpoint")
    # Imported here: torch takes seconds, and a wrong argument should be told at once.
    from pipeline.recheck_run import Request, run_recheck
    from pipeline.resources import check_device, local_resources

    check_device("--device", options.device, local_resources()["GPU"])
    request = Request(
        store=options.store,
        run=options.run,
        sweep=options.sweep,
        archive=options.archive,
        checkpoint=options.checkpoint,
        data_root=options.data_root,
        device=options.device,
    )
    return run_recheck(request)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parse(parser(), arguments)
    return run_command(lambda: _recheck(options))


if __name__ == "__main__":
    sys.exit(main())
