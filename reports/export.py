# PYTHON_ARGCOMPLETE_OK
"""Everything measured as files: python -m reports.export --store DIR --sweep NAME ... --out DIR."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.command_line import STORE, command_parser, parse, run_command

EXAMPLES = """examples:
  # every accuracy with its interval
  python -m reports.export --sweep lambda --out exported
  # of two sweeps, and every verdict on every sample
  python -m reports.export --sweep lambda defences --out exported --samples
  # the network that the report calls chosen, to run with PyTorch alone
  python -m reports.export --sweep lambda --out exported --network
  # another one, by its label
  python -m reports.export --sweep lambda --out exported --network sr-003
  # a network as RobustBench describes its models
  python -m reports.export --sweep lambda --out exported --model sr-003
"""


def parser() -> argparse.ArgumentParser:
    """The command line, with examples in its help."""
    result = command_parser(
        "reports.export",
        "Write all accuracies of sweeps as CSV and Parquet, a row for each trial, split and "
        "attack; fractions, with 95 % intervals.",
        EXAMPLES,
    )
    result.add_argument("--store", **STORE)
    result.add_argument("--sweep", nargs="+", action="extend", required=True, metavar="NAME",
                        help="sweeps to export")  # fmt: skip
    result.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    result.add_argument("--samples", action="store_true",
                        help="also one Parquet file a network with a row a sample")  # fmt: skip
    result.add_argument("--network", nargs="?", const="", metavar="NETWORK",
                        help="also this network, by its label or fingerprint, as a folder that "
                        "runs with PyTorch alone; without a name the one that the report calls "
                        "chosen")  # fmt: skip
    result.add_argument("--model", metavar="NETWORK",
                        help="also this network, by its label or fingerprint, in the form of "
                        "RobustBench's model_info files; the robust accuracy is an `external` "
                        "one, not AutoAttack's")  # fmt: skip
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what is asked for, and print where it is."""
    options = parse(parser(), arguments)

    def run() -> int:
        # Imported here: pandas takes a second, and `--help` should take none.
        from reports.export_run import export

        written = export(options.store, options.sweep, options.out, samples=options.samples,
                         model=options.model, network=options.network)  # fmt: skip
        for path in written:
            sys.stdout.write(f"{path}\n")
        return 0

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
