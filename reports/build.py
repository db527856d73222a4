# PYTHON_ARGCOMPLETE_OK
"""Builds reports: python -m reports.build [--store DIR] [--sweep NAME ...] [--network N ...].

Each sweep gets a page; several, or single networks beside them, get one more that compares them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.command_line import STORE, command_parser, parse, run_command

EXAMPLES = """examples:
  # the page of the store's only sweep; the last line printed is its path
  python -m reports.build
  # of two sweeps, and one more page that compares them
  python -m reports.build --store runs --sweep lambda defences
  # a sweep beside a network that pipeline.evaluate has judged
  python -m reports.build --sweep lambda --network mine=5f21ab
  # the paper's tables and figures, ours beside the printed ones
  python -m reports.build --store runs/paper-tiny --paper
"""


def parser() -> argparse.ArgumentParser:
    """The command line, with examples in its help."""
    result = command_parser(
        "reports.build",
        "Build tables, figures and one self-contained page from a store.",
        EXAMPLES,
    )
    result.add_argument("--store", **STORE)
    result.add_argument("--sweep", nargs="+", action="extend", metavar="NAME",
                        help="sweeps to report; one page each, and for several one that compares "
                        "them (default: the only one)")  # fmt: skip
    result.add_argument("--network", action="append", default=[], metavar="[LABEL=]N",
                        help="a network judged by pipeline.evaluate, to be compared too: its "
                        "fingerprint, the beginning of it, or its checkpoint's folder; "
                        "repeatable")  # fmt: skip
    result.add_argument("--paper", action="store_true",
                        help="one page of the paper's tables and figures, from all sweeps of the "
                        "store that repeat a part of it")  # fmt: skip
    result.add_argument("--evidence", action="store_true",
                        help="also pack, for each network judged exactly, what pipeline.recheck "
                        "--archive needs, below the page's evidence/")  # fmt: skip
    result.add_argument("--out", type=Path, metavar="DIR",
                        help="where to write (default: STORE/reports/NAME; a comparison's is "
                        "named by all, such as A+B)")  # fmt: skip
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is asked for; the last line printed is a page's path."""
    options = parse(parser(), arguments)

    def run() -> int:
        # Imported here: pandas and Matplotlib take a second, and `--help` should take none.
        from reports.build_run import build

        return build(
            options.store,
            sweeps=options.sweep or [],
            networks=options.network,
            paper=options.paper,
            evidence=options.evidence,
            out=options.out,
        )

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
