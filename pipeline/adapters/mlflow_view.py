"""What MLflow's pages show of a study: names, parameters, columns, links."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.records import TrialRow

VIEW = "study"
COLUMNS = (
    "metrics.`clean_accuracy`",
    "metrics.`robust_accuracy`",
    "metrics.`test_clean_accuracy`",
    "metrics.`test_robust_accuracy`",
    "params.`lambda`",
    "params.`h`",
    "tags.`strategy`",
    "tags.`front`",
    "tags.`audit`",
    "tags.`outcome`",
)
"""Of the prepared view, besides what was searched."""
SHORT = {
    "strategy.sparsity_weight": "lambda",
    "strategy.finite_difference_step": "h",
}
"""The paper's letters, under which people look for these."""
TRAINING = "workflowType=machine_learning"
"""Else MLflow greets with its menu for language models."""
LINK = re.compile(r"\((network|file|image|view|models):([^()\s]*)\)")
"""In a note: what stands for an address that only the tracker knows."""


def short_name(path: str) -> str:
    """The parameter under which MLflow has a setting."""
    return SHORT.get(path, path.removeprefix("strategy.").removeprefix("training."))


def run_name(row: TrialRow) -> str:
    """What the runs' list shows: `sr-004 lambda=0.05`."""
    values = [
        f"{short_name(path)}={value:.3g}"
        if isinstance(value, float)
        else f"{short_name(path)}={value}"
        for path, value in row.parameters.items()
    ]
    return " ".join([row.label, *values])


def trial_parameters(row: TrialRow) -> dict[str, Any]:
    """What people filter by: searched values under the paper's letters, then all settings."""
    settings = _flat({k: v for k, v in row.config.items() if k != "data"})
    named = {
        short_name(path): value
        for path, value in settings.items()
        if path.startswith("strategy.") and value is not None
    }
    rest = {path: value for path, value in settings.items() if not path.startswith("strategy.")}
    data = {f"data.{key}": value for key, value in row.config.get("data", {}).items()}
    return named | rest | data


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted path."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            result |= _flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def view(sweep_run: str, searched: Sequence[str]) -> dict[str, Any]:
    """The state of a shared view: its columns, the trials unfolded, the most robust first.

    Args:
        sweep_run: The sweep's run, which the others hang below.
        searched: Dotted paths of the searched parameters.
    """
    own = [f"params.`{short_name(path)}`" for path in searched]
    return {
        "orderByKey": "metrics.`robust_accuracy`",
        "orderByAsc": False,
        "selectedColumns": list(dict.fromkeys([*COLUMNS, *own])),
        "runsExpanded": {sweep_run: True},
    }


def view_path(experiment: str) -> str:
    """Of the prepared view in MLflow's UI."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={VIEW}&{TRAINING}"


def run_path(experiment: str, run: str, file: str = "") -> str:
    """Of a run's page in MLflow's UI, or of one of its artifacts."""
    return f"#/experiments/{experiment}/runs/{run}{f'/artifacts/{file}' if file else ''}"


def model_name(sweep: str) -> str:
    """Under which MLflow's registry, one for the whole server, has a sweep's networks."""
    return f"spikeproof-{sweep}"


def linked(
    text: str, experiment: str, sweep: str, sweep_run: str, run: Callable[[str], str]
) -> str:
    """A note with addresses: of a network's run, a file of the sweep's run, the view, the models.

    Args:
        text: Markdown; its links are `(network:FINGERPRINT)`, `(file:PATH)`, `(image:PATH)`,
            `(view:)` and `(models:)`.
        experiment: MLflow's id.
        sweep: Name.
        sweep_run: MLflow's id.
        run: Finds the id of a network's run by its fingerprint.
    """
    targets: dict[str, Callable[[str], str]] = {
        "network": lambda name: run_path(experiment, run(name)),
        "file": lambda path: run_path(experiment, sweep_run, path),
        "image": lambda path: f"get-artifact?path={path}&run_uuid={sweep_run}",
        "view": lambda _: view_path(experiment),
        "models": lambda _: f"#/models/{model_name(sweep)}",
    }
    return LINK.sub(lambda found: f"({targets[found[1]](found[2])})", text)
