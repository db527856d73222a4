"""How commands read their arguments: what they share.

`--help`, `--version` and a press of TAB load this and a command's own module. So both import
nothing that takes long: what does is imported where a command begins its work.
"""

import argparse
import contextlib
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.errors import ConfigError
from pipeline.files import StorePath, store_path


def command_parser(module: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose help ends in examples, with `--version`.

    Args:
        module: What `python -m` runs, such as `pipeline.sweep`.
        description: What the command does, in a sentence or two.
        examples: Command lines as a user types them, a line each, and what else is worth knowing.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=textwrap.fill(description, 79),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    return parser


def add_version(parser: argparse.ArgumentParser) -> None:
    """Give a parser the option `--version`."""
    parser.add_argument(
        "--version",
        action="version",
        version=f"spikeproof {__version__}",
        help="print the version and exit",
    )


def place(text: str) -> StorePath:
    """An argument that names a folder, a file, or something in an object store.

    Raises:
        argparse.ArgumentTypeError: It names no bucket.
    """
    try:
        return store_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


STORE: dict[str, Any] = {
    "type": place,
    "default": Path("runs"),
    "metavar": "DIR",
    "help": "folder for all results, or s3://bucket/prefix (default: runs)",
}
"""Of the argument `--store`, which most commands have."""

OVERRIDES: dict[str, Any] = {
    "action": "append",
    "default": [],
    "metavar": "KEY=VALUE",
    "dest": "overrides",
    "help": "change a setting of the space, such as training.epochs=5; repeatable",
}
"""Of the argument `--set`."""
VENV_PYTHON = Path(".venv/bin/python")
"""Of the environment that `make` sets up."""
NEEDED = {
    "matplotlib", "mlflow", "numpy", "optuna", "pandas", "pyarrow", "pydantic", "ray", "rich",
    "safetensors", "scipy", "sklearn", "torch", "torchvision", "yaml",
}  # fmt: skip
"""What a Python without that environment may lack."""
DEVICE: dict[str, Any] = {
    "choices": ["auto", "cpu", "cuda"],
    "default": "auto",
    "help": "where to compute; auto is a GPU where there is one",
}
"""Of the argument `--device`."""


def this_python() -> str:
    """The interpreter to write into a command: from the working directory, where it lies below.

    Where this one lacks the project's environment and there is one, it is that one's.
    """
    path = Path(sys.executable)
    if find_spec("torch") is None and VENV_PYTHON.exists():
        path = VENV_PYTHON
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def completing() -> bool:
    """Whether a shell asks for what could be typed, instead of running the command."""
    return "_ARGCOMPLETE" in os.environ


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """What argparse reads; `--` as the value of an option is an error.

    Python before 3.13 reads `--name=--` as an option without a value, and returns a list. Where a
    shell asks for what could be typed, the process answers and ends.
    """
    if completing() and arguments is None:
        from pipeline.completers import answer

        answer(parser)
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        if value == [] and parser.get_default(name) != []:
            parser.error(f"argument --{name.replace('_', '-')}: expected a value, got '--'")
    return options


def run_command(main: Callable[[], int]) -> int:
    """Exit code of a command: what the user can fix is printed alone and gives 2."""
    try:
        return main()
    except ConfigError as error:
        sys.stderr.write(printable(f"{error}\n"))
        return 2
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in NEEDED:
            raise
        sys.stderr.write(
            f"{sys.executable} has no {name}: write {VENV_PYTHON} for python, which make sets up, "
            "or install the project with `python -m pip install .`\n"
        )
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def printable(text: str) -> str:
    """The text with control characters written out: a file must not steer the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else repr(c)[1:-1] for c in text)
