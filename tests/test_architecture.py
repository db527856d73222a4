"""The architecture is a test, not a wiki page: imports run down the map of docs/architecture.md."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINES = {"ray", "optuna", "mlflow"}
METHODS = [f"pipeline/{name}" for name in ("attacks", "metrics", "data", "training", "search")]
CORE = [
    f"pipeline/{name}.py"
    for name in (
        "checkpoints",
        "evaluation",
        "evaluator",
        "evidence_check",
        "evidence_rows",
        "experiment",
        "local",
        "logits",
        "ports",
        "records",
        "seeding",
        "summary",
        "threats",
        "worker",
    )
]
COMMANDS = {
    "pipeline/sweep.py",
    "pipeline/train.py",
    "pipeline/evaluate.py",
    "pipeline/recheck.py",
    "pipeline/doctor.py",
    "pipeline/completion.py",
    "pipeline/__main__.py",
    "reports/build.py",
    "reports/export.py",
}
PARQUET = {
    "pipeline/data/frame_file.py",
    "pipeline/data/parquet_events.py",
    "pipeline/data/parquet_images.py",
    "pipeline/object_path.py",
    "reports/archive.py",
    "reports/store.py",
}
"""Users of Arrow outside the adapters: data sets, object stores, and the report's input."""


def sources(place: str) -> list[Path]:
    """The Python files of a folder, or the one file."""
    path = ROOT / place
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files, f"{place} holds no Python file: was it renamed?"
    return files


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_modules(path: Path) -> set[str]:
    """Full names of what the file imports anywhere, function bodies included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module
            names.add(node.module)
            # `from pipeline import checkpoints` imports the module pipeline.checkpoints.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    """Top-level packages that the file imports."""
    return {name.partition(".")[0] for name in imported_modules(path)}


def offenders(place: str, forbidden: set[str]) -> dict[str, set[str]]:
    """Files below `place` that import a forbidden module, or anything below it."""
    found: dict[str, set[str]] = {}
    for path in sources(place):
        hits = {
            name
            for name in imported_modules(path)
            if any(name == module or name.startswith(f"{module}.") for module in forbidden)
        }
        if hits:
            found[name_of(path)] = hits
    return found


def test_the_rules_see_an_offence(tmp_path: Path) -> None:
    source = tmp_path / "inner.py"
    source.write_text("def f():\n    from ray import tune\n    import pipeline.data.splits\n")
    assert packages(source) == {"ray", "pipeline"}
    assert "pipeline.data.splits" in imported_modules(source)


def test_models_import_torch_and_nothing_else_of_weight() -> None:
    allowed = {
        "torch",
        "models",
        "typing",
        "collections",
        "contextlib",
        "dataclasses",
        "functools",
        "math",
    }
    for path in sources("models"):
        assert packages(path) <= allowed, name_of(path)


@pytest.mark.parametrize("place", ["models", *METHODS, *CORE])
def test_science_imports_no_engine(place: str) -> None:
    assert not offenders(place, ENGINES)


def test_engines_stay_in_the_adapters_and_in_the_wiring() -> None:
    users = {*offenders("pipeline", ENGINES), *offenders("models", ENGINES)}
    elsewhere = {name for name in users if not name.startswith("pipeline/adapters/")}
    assert elsewhere == set()


def test_each_engine_has_its_own_adapters() -> None:
    """One tool, one file: an engine can be replaced without reading the others."""
    for path in sources("pipeline/adapters"):
        assert len(packages(path) & (ENGINES | {"pyarrow"})) <= 1, name_of(path)


def test_pyarrow_stays_at_the_edge() -> None:
    users = {
        name
        for place in ("models", "pipeline", "reports")
        for name in offenders(place, {"pyarrow"})
    }
    assert {name for name in users if not name.startswith("pipeline/adapters/")} <= PARQUET


@pytest.mark.parametrize("place", ["attacks", "metrics", "data"])
def test_methods_know_neither_each_other_nor_the_models(place: str) -> None:
    others = {f"pipeline.{name}" for name in ("attacks", "metrics", "data", "training", "search")}
    others -= {f"pipeline.{place}"}
    assert not offenders(f"pipeline/{place}", {"models", *others})


UPPER = {
    "pipeline.adapters",
    "pipeline.doctor",
    "pipeline.evaluate",
    "pipeline.recheck",
    "pipeline.recheck_run",
    "pipeline.health",
    "pipeline.sweep",
    "pipeline.sweep_run",
    "pipeline.train",
    "reports",
}
USE_CASES = {"pipeline.evaluation", "pipeline.evaluator", "pipeline.experiment", "pipeline.threats"}


@pytest.mark.parametrize("place", [*METHODS, *CORE])
def test_nothing_imports_the_commands_or_the_adapters(place: str) -> None:
    assert not offenders(place, UPPER)


@pytest.mark.parametrize("place", [place for place in METHODS if place != "pipeline/search"])
def test_methods_do_not_import_use_cases(place: str) -> None:
    assert not offenders(place, USE_CASES | {"pipeline.ports", "pipeline.local"})


def test_reports_read_rows_alone() -> None:
    assert not offenders("reports", {"torch", "models", *ENGINES})
    assert not offenders("reports", {f"pipeline.{name}" for name in ("attacks", "training")})


def test_the_command_line_is_parsed_in_commands_alone() -> None:
    users = {
        name
        for place in ("models", "pipeline", "reports")
        for name in offenders(place, {"argparse"})
    }
    assert users <= COMMANDS | {"pipeline/command_line.py", "pipeline/completers.py"}
    for name in users:
        tree = ast.parse((ROOT / name).read_text())
        # Ray's workers import everything: nothing may be parsed on import.
        for statement in tree.body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.If):
                continue
            calls = [ast.unparse(n.func) for n in ast.walk(statement) if isinstance(n, ast.Call)]
            assert not any("parse" in call.lower() for call in calls), name


@pytest.mark.parametrize("place", ["models", "pipeline", "reports"])
def test_no_hidden_state_and_no_drawer_for_odds_and_ends(place: str) -> None:
    for path in sources(place):
        assert path.stem not in {"utils", "util", "helpers", "helper", "misc", "common"}, path
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Global), f"{name_of(path)}:{node.lineno}"


@pytest.mark.parametrize("place", ["models", "pipeline/attacks", "pipeline/training"])
def test_science_keeps_no_switches_in_the_environment(place: str) -> None:
    for path in sources(place):
        assert "environ" not in path.read_text(), name_of(path)
