# PYTHON_ARGCOMPLETE_OK
"""All commands of the project, and the next sensible step: `python -m pipeline`, `spikeproof`."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pipeline.command_line import add_version, completing, parse, printable, this_python
from pipeline.files import modified_ns

COMMANDS = {
    "sweep": ("pipeline", "train, attack and compare the networks of a search space"),
    "train": ("pipeline", "train one network of a search space, without Ray"),
    "evaluate": ("pipeline", "attack a stored network, or one of your own"),
    "recheck": ("pipeline", "judge the stored breaks of a network again, bit for bit"),
    "doctor": ("pipeline", "check this machine or cluster for what a sweep needs"),
    "build": ("reports", "write the report of a sweep, or compare several"),
    "export": ("reports", "take numbers or a network along: CSV, Parquet, plain PyTorch"),
    "completion": ("pipeline", "have bash or zsh complete what you type"),
}
"""By the name of its module: the package that it lies in, and what it does."""
SHORT = "'--help' behind any of them shows examples; 'spikeproof sweep' is short for the first."
FIRST = "search_spaces/lambda.yaml"


def parser() -> argparse.ArgumentParser:
    """The list of commands; where a shell asks, with all that each of them takes."""
    called = Path(sys.argv[0])
    width = max(len(f"{package}.{name}") for name, (package, _) in COMMANDS.items())
    lines = [
        f"  python -m {f'{package}.{name}':{width}}  {does}"
        for name, (package, does) in COMMANDS.items()
    ]
    result = argparse.ArgumentParser(
        prog=f"python -m {called.parent.name}" if called.name == "__main__.py" else called.name,
        usage="%(prog)s COMMAND [options]",
        description="How robust is this spiking neural network, really, and what does robustness "
        "cost in accuracy?",
        epilog="\n".join(["commands:", *lines, "", SHORT, "", "next:", *next_step(Path("runs"))]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(result)
    if completing():
        commands = result.add_subparsers()
        for name, (package, does) in COMMANDS.items():
            own = import_module(f"{package}.{name}").parser()
            commands.add_parser(name, help=does, parents=[own], add_help=False)
    return result


def next_step(store: Path) -> list[str]:
    """What to type now, given what a store holds: indented lines."""
    python = this_python()
    begun = sorted((store / "sweeps").glob("*/sweep.json"), key=modified_ns)
    if not begun:
        return [
            f"  {python} -m pipeline.sweep --space {FIRST}",
            "      trains and attacks ten small networks, in minutes and without a GPU",
            f"  {python} -m pipeline.doctor",
            "      if something is in the way",
        ]
    name = printable(begun[-1].parent.name)
    page = store / "reports" / name / "index.html"
    if not page.is_file():
        return [
            "  the command that began it, with --resume",
            f"      goes on with the sweep '{name}', which has no report yet",
            f"  {python} -m reports.build --sweep {name}",
            "      reports what it has so far",
        ]
    return [
        f"  open {page} in a browser",
        f"      what the sweep '{name}' found",
        f"  {python} -m reports.export --sweep {name} --out exported --network",
        "      takes its chosen network along, for PyTorch alone",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command named first, or the list of them; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS and not completing():
        package, _ = COMMANDS[words[0]]
        code: int = import_module(f"{package}.{words[0]}").main(words[1:])
        return code
    listing = parser()
    if words and not words[0].startswith("-") and not completing():
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(COMMANDS)}"
        listing.error(f"no command '{printable(words[0])}'; {hint}")
    parse(listing, arguments)
    listing.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
