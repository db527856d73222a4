# PYTHON_ARGCOMPLETE_OK
"""Look at what a sweep needs: `python -m pipeline.doctor [--address HOST:PORT]`."""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import STORE, command_parser, parse, run_command
from pipeline.errors import ConfigError
from pipeline.health.finding import HERE, Finding, Status, guarded, one_line, report, worst

if TYPE_CHECKING:
    from pipeline.console import Progress

EXAMPLES = """examples:
  # this machine
  python -m pipeline.doctor
  # and the data of a space, and the store
  python -m pipeline.doctor --space search_spaces/lambda.yaml --store runs
  # every node of a Ray cluster
  python -m pipeline.doctor --address 10.0.0.1:6379 --store /shared/runs
  # for other programs
  python -m pipeline.doctor --json > health.json

exit code: 0 if nothing fails, 1 if something does, 2 for wrong arguments
"""
COLOURS = {
    Status.OK: "green",
    Status.WARN: "yellow",
    Status.FAIL: "red",
    Status.SKIPPED: "dim",
}
ADDRESS = re.compile(r"auto|([A-Za-z0-9_.-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")
WIDTHS = (7, 14)
"""Of the columns with the status and with what was looked at."""


def parser() -> argparse.ArgumentParser:
    """The command line, with examples in its help."""
    result = command_parser(
        "pipeline.doctor",
        "Check this machine, or a Ray cluster, for what a sweep needs; say what to do.",
        EXAMPLES,
    )
    result.add_argument("--store", **STORE)
    result.add_argument("--address", help="host:port of a Ray cluster's head: look at its nodes")
    result.add_argument("--space", type=Path, help="YAML file of a search space: load its data")
    result.add_argument("--json", action="store_true", help="print the findings as JSON")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parse(parser(), arguments)

    def run() -> int:
        if options.address is not None and not ADDRESS.fullmatch(options.address):
            raise ConfigError(
                "--address: expected host:port of the cluster's head such as 10.0.0.1:6379, or "
                f"auto, got {options.address!r}"
            )
        from pipeline.console import Progress

        console = Progress()
        findings: list[Finding] = []
        for finding in _findings(options, console):
            findings.append(finding)
            if not options.json:
                _show(console, finding)
        if options.json:
            sys.stdout.write(json.dumps(report(findings), indent=2) + "\n")
        else:
            console.plain(_summary(findings))
        return 1 if worst(finding.status for finding in findings) is Status.FAIL else 0

    return run_command(run)


def _findings(options: argparse.Namespace, console: "Progress") -> Iterator[Finding]:
    """What there is to say; without the packages that the checks need, which of them are absent.

    Raises:
        ConfigError: The space is wrong.
    """
    try:
        # Imported here: a wrong argument should be told at once, and a package may be absent.
        from pipeline.sweep import read_space

        data = None if options.space is None else read_space(options.space, ()).data
        if not options.json:
            console.plain("looking; loading Ray, Optuna and MLflow takes some seconds")
        from pipeline.doctor_run import examine
    except (ImportError, OSError) as error:  # OSError: a library that a package needs
        from pipeline.health.software import INSTALL, check_installation

        found = f"The checks cannot be loaded: {one_line(error)}."
        yield Finding.fail("packages", found, f"{INSTALL}.")
        yield from guarded("packages", check_installation, 60.0)
        return
    yield from examine(store=options.store, address=options.address, data=data)


def _show(console: "Progress", finding: Finding) -> None:
    """Status, name and sentence in columns; what to do stands below the sentence."""
    place = "" if finding.where == HERE else f"{finding.where}: "
    text = [place + finding.found]
    if finding.remedy:
        text.append(f"-> {finding.remedy}")
    console.columns(
        [str(finding.status), finding.name, "\n".join(text)], WIDTHS, COLOURS[finding.status]
    )


def _summary(findings: Sequence[Finding]) -> str:
    """How many findings of each kind there were."""
    counts = {status: sum(f.status is status for f in findings) for status in Status}
    parts = [f"{count} {status}" for status, count in counts.items() if count]
    end = {
        Status.FAIL: "a sweep would fail, or must not be trusted, until every FAIL is mended",
        Status.WARN: "a sweep runs; what warns makes it slower or less safe",
        Status.OK: "a sweep can run",
    }[worst(finding.status for finding in findings)]
    return f"{', '.join(parts)}: {end}"


if __name__ == "__main__":
    sys.exit(main())
