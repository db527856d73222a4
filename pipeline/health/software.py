"""Python and packages: as pyproject.toml asks for them, and alike on all nodes."""

import platform
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pipeline.health.finding import Finding

if TYPE_CHECKING:  # it imports torch, whose absence is to be told here
    from pipeline.health.machine import Machine

ROOT = Path(__file__).parents[2]
PACKAGE = "spikeproof"
COMPARED = ("torch", "ray", "optuna", "mlflow", "pyarrow", PACKAGE)
"""Packages whose versions decide results, or what a node can read of another's."""
INSTALL = "Run `make sweep` in a checkout, or `pip install -c constraints.txt -e .`"


def ranges(root: Path = ROOT) -> tuple[str, list[str]]:
    """Range of Python versions, and the requirements: the checkout's, or the installed package's.

    Raises:
        PackageNotFoundError: Neither is there.
    """
    path = root / "pyproject.toml"
    if path.is_file():
        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        return project["requires-python"], list(project["dependencies"])
    installed = metadata.metadata(PACKAGE)
    return installed["Requires-Python"] or "", metadata.requires(PACKAGE) or []


def check_python(wanted: str, got: str) -> Iterator[Finding]:
    """Whether this Python is one that the project is tested with."""
    if SpecifierSet(wanted).contains(got, prereleases=True):
        yield Finding.ok("Python", f"Python {got} is in the range {wanted}.")
    else:
        yield Finding.fail(
            "Python",
            f"Python {got} is outside the range {wanted}.",
            "Make the environment anew with another Python: `make PYTHON=python3.11 sweep`.",
        )


def check_packages(requirements: list[str]) -> Iterator[Finding]:
    """Whether everything is installed, in a version that the project allows."""
    fitting = 0
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = str(requirement.specifier)
        try:
            got = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding.fail(
                "packages", f"{requirement.name} ({wanted}) is not installed.", f"{INSTALL}."
            )
            continue
        if requirement.specifier.contains(got, prereleases=True):
            fitting += 1
        else:
            yield Finding.fail(
                "packages",
                f"{requirement.name} {got} is outside the range {wanted}.",
                f"{INSTALL}.",
            )
    yield Finding.ok("packages", f"{fitting} packages are in pyproject's ranges.")


def check_installation() -> Iterator[Finding]:
    """This process's own Python and packages."""
    python, requirements = ranges()
    yield from check_python(python, platform.python_version())
    yield from check_packages(requirements)


def check_alike(here: "Machine", node: "Machine", where: str) -> Iterator[Finding]:
    """Whether a node has the driver's versions and the driver's code."""
    other = [
        f"{name} {node.versions[name]} instead of {here.versions[name]}"
        for name in COMPARED
        if node.versions[name] != here.versions[name]
    ]
    if node.python.rpartition(".")[0] != here.python.rpartition(".")[0]:
        other.insert(0, f"Python {node.python} instead of {here.python}")
    if other:
        yield Finding.fail(
            "versions",
            f"It has {', '.join(other)}.",
            "Give all nodes the same image, or the same constraints.txt.",
            where,
        )
    else:
        yield Finding.ok("versions", "Its packages have the driver's versions.", where)
    if (node.code, node.revision) == (here.code, here.revision):
        yield Finding.ok("code", f"It runs the driver's code ({_named(here)}).", where)
    elif node.code == here.code:
        yield Finding.ok(
            "code", f"Its code equals the driver's, at {_named(node)} to {_named(here)}.", where
        )
    else:
        yield Finding.fail(
            "code",
            f"It runs {_named(node)}, the driver {_named(here)}.",
            "Check out the same revision on every node, or give all of them the same image.",
            where,
        )


def _named(machine: "Machine") -> str:
    return f"revision {machine.revision}, hash {machine.code}"
