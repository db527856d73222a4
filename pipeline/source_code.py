"""Hashes of the code that decides verdicts: a changed line is seen, a changed comment is not."""

import ast
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
"""Where the packages `models` and `pipeline` lie."""
JUDGING = ("evaluation", "worker", "batches", "logits", "seeding", "data/network_input")
"""Modules of `pipeline` that every block is computed by."""
ATTACKING = ("oracle", "draws", "ball", "threat", "grid")
"""Modules of `pipeline.attacks` that every attack is run by."""


def code_hashes(method: str, *, measures: bool) -> dict[str, str]:
    """SHA-256 of the code that decides a member's rows, in parts, as it is on the disk now.

    `models`: the package; `judging`: what computes every block; `attack`: the attack's own module,
    those that every attack is run by, and what of `pipeline.attacks` they import; `metrics`: for a
    member that measures. Comments, docstrings and layout do not count. Empty where there is no
    source to read.

    Args:
        method: Of the member's attack; empty without one.
        measures: Whether its rows are measurements, not verdicts.
    """
    models = tuple(sorted(f"models/{path.name}" for path in (ROOT / "models").glob("*.py")))
    parts = {
        "models": code_hash(ROOT, models),
        "judging": code_hash(ROOT, tuple(f"pipeline/{name}.py" for name in JUDGING)),
    }
    if method:
        # A method's module has its name.
        parts["attack"] = code_hash(ROOT, _attack_files(ROOT, method))
    elif measures:
        found = sorted((ROOT / "pipeline/metrics").glob("*.py"))
        parts["metrics"] = code_hash(ROOT, tuple(f"pipeline/metrics/{p.name}" for p in found))
    return parts


@functools.lru_cache(maxsize=64)
def code_hash(root: Path, files: tuple[str, ...]) -> str:
    """SHA-256 of what Python files say, 16 digits; empty where one cannot be read.

    Read once: a process goes on with the code that it began with.
    """
    result = hashlib.sha256()
    for name in files:
        try:
            tree = ast.parse((root / name).read_bytes())
        except (OSError, SyntaxError, ValueError):
            return ""
        result.update(f"{name} {json.dumps(_said(tree))}\n".encode())
    return result.hexdigest()[:16] if files else ""


def _said(node: Any) -> Any:
    """A syntax tree as plain data: without places, strings that stand alone, and empty fields.

    Empty fields differ between versions of Python; what they hold does not.
    """
    if isinstance(node, ast.AST):
        fields = [(name, _said(value)) for name, value in ast.iter_fields(node)]
        return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]
    if isinstance(node, list):
        return [_said(item) for item in node if not _is_text(item)]
    return node if node is None else repr(node)


def _is_text(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@functools.lru_cache(maxsize=64)
def _attack_files(root: Path, method: str) -> tuple[str, ...]:
    """Modules of `pipeline.attacks` that an attack is made of: its own, and what they import."""
    package, found, left = "pipeline.attacks.", set[str](), [method, *ATTACKING]
    while left:
        name = left.pop()
        file = f"pipeline/attacks/{name}.py"
        if file in found or not (root / file).is_file():
            continue
        found.add(file)
        try:
            tree = ast.parse((root / file).read_bytes())
        except (SyntaxError, ValueError):  # then it has no hash, either
            continue
        left += [
            node.module.removeprefix(package)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and package in node.module
        ]
    return tuple(sorted(found))


def code_changes(then: Mapping[str, str], now: Mapping[str, str], method: str) -> list[str]:
    """A sentence for each part of the code whose hashes are known and differ."""
    names = {
        "models": "the networks and oracles (models/)",
        "judging": f"the judging (pipeline/{', '.join(JUDGING)})",
        "attack": f"the attack (pipeline/attacks/{method}.py or what it uses)",
        "metrics": "the measurements (pipeline/metrics/)",
    }
    changed = [name for name in now if then.get(name) and now[name] and then[name] != now[name]]
    return [f"the code of {names[name]} has changed" for name in changed]
