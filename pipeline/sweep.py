# PYTHON_ARGCOMPLETE_OK
"""Run a study: `python -m pipeline.sweep --space search_spaces/lambda.yaml`."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import OVERRIDES, STORE, command_parser, parse, run_command
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.config import SpaceConfig

EXAMPLES = """examples:
  # ten small networks on the digits, in minutes, without a GPU
  python -m pipeline.sweep --space search_spaces/lambda.yaml
  # try a few steps, say how long it would take, and run nothing
  python -m pipeline.sweep --space search_spaces/lambda.yaml --plan
  # as many trials as half a CPU-hour allows
  python -m pipeline.sweep --space search_spaces/lambda.yaml --budget-hours 0.5 --trim
  # the same study with another setting, under a name of its own
  python -m pipeline.sweep --space search_spaces/lambda.yaml --set training.epochs=5 --name short
  # go on where it was stopped: what is finished is not computed twice
  python -m pipeline.sweep --space search_spaces/lambda.yaml --resume
  # all spaces of a folder, one after another, shrunk to digits
  python -m pipeline.sweep --space search_spaces/paper/table1 --set scale=tiny
"""


def parser() -> argparse.ArgumentParser:
    """The command line, with examples in its help."""
    result = command_parser(
        "pipeline.sweep", "Train, attack and compare the networks of a search space.", EXAMPLES
    )
    result.add_argument(
        "--space",
        type=Path,
        required=True,
        help="YAML file of the search space, or a folder: all spaces in it, one after another",
    )
    result.add_argument("--store", **STORE)
    result.add_argument("--name", help="of the sweep; the space's by default")
    result.add_argument("--trials", type=int, help="trials besides the baselines")
    result.add_argument("--seed", type=int, help="instead of the space's")
    result.add_argument("--set", **OVERRIDES)
    result.add_argument(
        "--plan",
        action="store_true",
        help="try a few steps, print what the sweep would take, and stop",
    )
    result.add_argument(
        "--budget-hours",
        type=float,
        metavar="H",
        help="CPU-hours, on GPUs GPU-hours, that the sweep may take by its plan; more is refused",
    )
    result.add_argument(
        "--trim", action="store_true", help="run as many searched trials as the budget allows"
    )
    result.add_argument("--resume", action="store_true", help="continue the sweep of this name")
    result.add_argument("--address", help="of a running Ray cluster; by default one is started")
    result.add_argument(
        "--quiet", action="store_true", help="print trouble and the report's path alone"
    )
    return result


def read_space(path: Path, overrides: Sequence[str]) -> "SpaceConfig":
    """The checked search space.

    Raises:
        ConfigError: With everything that is wrong, at file:line:column.
    """
    from pipeline import config_file
    from pipeline.config import SpaceConfig
    from pipeline.scale import scaled
    from pipeline.search.rules import RULES
    from pipeline.space_file import space_file

    file = space_file(path, overrides)
    space = config_file.check(file, SpaceConfig, RULES)
    if space.scale and not scaled(overrides):
        message = f"is not written in a file: it shrinks one, by --set scale={space.scale}"
        raise file.error([config_file.Problem(("scale",), message, "key")])
    return space


def space_files(path: Path) -> list[Path]:
    """The space itself, or all spaces of a folder and the folders in it, by name.

    Raises:
        ConfigError: The folder has none.
    """
    if not os.path.isdir(path):  # unlike Path.is_dir, also of a name that no file could have
        return [path]
    found = sorted(path.rglob("*.yaml"))
    if not found:
        raise ConfigError(f"--space {path}: the folder holds no .yaml file; name a file")
    return found


def check_count(option: str, value: int | None, least: int) -> None:
    """Refuse a number that stands for a setting of the space, under the name it was given by.

    Raises:
        ConfigError: It is too small.
    """
    if value is not None and value < least:
        raise ConfigError(f"{option}: expected a whole number of at least {least}, got {value}")


def check_budget(budget: float | None, *, trim: bool, num_spaces: int) -> None:
    """Refuse options that make no sense.

    Raises:
        ConfigError: They do not.
    """
    if budget is not None and not 0 < budget < math.inf:
        raise ConfigError(f"--budget-hours: expected hours above 0, got {budget:g}")
    if trim and budget is None:
        raise ConfigError("--trim: expected --budget-hours H beside it; write both")
    if trim and num_spaces > 1:
        raise ConfigError(f"--trim: expected one space, got a folder of {num_spaces}; name a file")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = parse(parser(), arguments)
    overrides = list(options.overrides)
    if options.trials is not None:
        overrides.append(f"search.num_trials={options.trials}")
    if options.seed is not None:
        overrides.append(f"seed={options.seed}")

    def run() -> int:
        # Imported here, as the engines below: `--help` and a wrong path are told at once.
        from pipeline.config_types import NAME_PATTERN
        from pipeline.space_file import located

        files = space_files(options.space)
        check_count("--trials", options.trials, 1)
        check_count("--seed", options.seed, 0)
        check_budget(options.budget_hours, trim=options.trim, num_spaces=len(files))
        if options.name is not None and len(files) > 1:
            raise ConfigError(
                "--name: a folder holds several sweeps, each with its space's name; remove --name"
            )
        # All of them first: a mistake in the last one is told before the first one runs.
        spaces = []
        for file in files:
            space = read_space(file, overrides)
            name = space.sweep_name if options.name is None else options.name
            if not NAME_PATTERN.fullmatch(name):
                raise ConfigError(
                    f"--name: expected letters, digits, '.', '_' or '-', at most 64, got '{name}'"
                )
            spaces.append((file, space, name))
        budget = options.budget_hours
        if options.plan or budget is not None:
            from pipeline.plan_run import show, within_budget

            if options.plan:
                return show(
                    spaces, options.store, overrides, address=options.address, budget=budget
                )
            trials = within_budget(
                spaces, options.store, overrides, budget, trim=options.trim, quiet=options.quiet
            )
            if trials is not None:
                overrides.append(f"search.num_trials={trials}")
                spaces = [(file, read_space(file, overrides), name) for file, _, name in spaces]
        # Imported here: the engines take seconds, and a wrong space should be told at once.
        if not options.quiet:
            sys.stdout.write(f"{options.space} is fine; loading Ray, Optuna and MLflow\n")
            sys.stdout.flush()
        from pipeline.sweep_run import run_sweep
        from pipeline.sweep_series import run_sweeps

        if files != [options.space]:
            return run_sweeps(
                spaces,
                overrides=overrides,
                store=options.store,
                resume=options.resume,
                address=options.address,
                quiet=options.quiet,
            )
        ((file, space, name),) = spaces
        with located(file, overrides):
            return run_sweep(
                space,
                space_file=file,
                overrides=overrides,
                store=options.store,
                name=name,
                resume=options.resume,
                address=options.address,
                quiet=options.quiet,
            )

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
