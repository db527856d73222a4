"""What MLflow's pages show of a study: names, parameters, columns, links."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

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
)
"""Of the prepared view, besides what was searched."""
SHORT = {
    "strategy.sparsity_weight": "lambda",
    "strategy.finite_difference_step": "h",
}
"""The paper's letters, under which people look for these."""
TRAINING = "workflowType=machine_learning"
"""Else MLflow greets with its menu for language models."""
SECTION = "trade-off"
"""Of the prepared view's charts."""
LINK = re.compile(r"\((network|file|image|view|charts|models):([^()\s]*)\)")
"""In a note: what stands for an address that only the tracker knows."""


def parameter_name(path: str) -> str:
    """The parameter under which MLflow has a setting."""
    return SHORT.get(path, path.removeprefix("strategy."))


def run_name(row: TrialRow) -> str:
    """What the runs' list shows: `sr-004 lambda=0.05`."""
    values = [
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for path, value in sorted(row.parameters.items(), key=lambda item: _rank(item[0]))
        for name in [parameter_name(path).removeprefix("training.")]
    ]
    return " ".join([row.label, *values])


def _rank(path: str) -> int:
    """The paper's letters first, then the others as they come."""
    known = list(SHORT)
    return known.index(path) if path in known else len(known)


def trial_parameters(row: TrialRow) -> dict[str, Any]:
    """What people filter by: searched values under the paper's letters, then all settings."""
    settings = _flat({k: v for k, v in row.config.items() if k != "data"})
    named = {
        parameter_name(path): value
        for path, value in settings.items()
        if path.startswith("strategy.") and value is not None
    }
    rest = {path: value for path, value in settings.items() if not path.startswith("strategy.")}
    data = {f"data.{key}": value for key, value in row.config.get("data", {}).items()}
    return named | rest | data


def shown(value: Any) -> str:
    """A parameter as text; numbers below 1 sort as they should, for MLflow sorts the text."""
    if isinstance(value, float) and math.isfinite(value):
        return np.format_float_positional(value, trim="0")
    return str(value)


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
    """The state of a shared view: columns, trials unfolded, the most robust first; charts.

    Args:
        sweep_run: The sweep's run, which the others hang below.
        searched: Dotted paths of the searched parameters.
    """
    names = [parameter_name(path) for path in searched]
    own = [f"params.`{name}`" for name in names]
    return {
        "orderByKey": "metrics.`robust_accuracy`",
        "orderByAsc": False,
        "selectedColumns": list(dict.fromkeys([*COLUMNS, *own])),
        "runsExpanded": {sweep_run: True},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": [
            {
                "uuid": SECTION,
                "name": "Clean against robust accuracy",
                "display": True,
                "isReordered": False,
            }
        ],
        "compareRunCharts": [
            {**chart, "uuid": f"{SECTION}-{number}"} for number, chart in enumerate(_charts(names))
        ],
    }


def _charts(searched: Sequence[str]) -> list[dict[str, Any]]:
    """Trade-off on validation and test, robust accuracy over each parameter, and over all.

    MLflow adds the curves of all trials below by itself.
    """
    clean, robust = _axis("clean_accuracy"), _axis("robust_accuracy")
    pairs = [(clean, robust), (_axis("test_clean_accuracy"), _axis("test_robust_accuracy"))]
    pairs += [(_axis(name, "PARAM"), robust) for name in searched]
    charts: list[dict[str, Any]] = [
        {"type": "SCATTER", "xaxis": across, "yaxis": up} for across, up in pairs
    ]
    if len(searched) > 1:
        metrics = [clean["key"], robust["key"]]
        lines = {"selectedParams": list(searched), "selectedMetrics": metrics, "showAllRuns": True}
        charts.append({"type": "PARALLEL", **lines})
    same = {
        "runsCountToCompare": 100,
        "metricSectionId": SECTION,
        "deleted": False,
        "isGenerated": False,
    }
    return [chart | same for chart in charts]


def _axis(key: str, kind: str = "METRIC") -> dict[str, str]:
    return {"key": key, "type": kind}


def view_path(experiment: str, *, charts: bool = False) -> str:
    """Of the prepared view in MLflow's UI: the table of trials, or their charts."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={VIEW}&{TRAINING}{mode}"


def run_path(experiment: str, run: str, file: str = "") -> str:
    """Of a run's page in MLflow's UI, or of one of its artifacts."""
    place = f"/artifacts/{file}" if file else ""
    return f"#/experiments/{experiment}/runs/{run}{place}?{TRAINING}"


def model_name(sweep: str) -> str:
    """Under which MLflow's registry, one for the whole server, has a sweep's networks."""
    return f"spikeproof-{sweep}"


def linked(
    text: str, experiment: str, sweep: str, sweep_run: str, run: Callable[[str], str]
) -> str:
    """A note with addresses: of a network's run, a file of the sweep's run, the view, the models.

    Args:
        text: Markdown; its links are `(network:FINGERPRINT)`, `(file:PATH)`, `(image:PATH)`,
            `(view:)`, `(charts:)` and `(models:)`.
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
        "charts": lambda _: view_path(experiment, charts=True),
        "models": lambda _: f"#/models/{model_name(sweep)}?{TRAINING}",
    }
    return LINK.sub(lambda found: f"({targets[found[1]](found[2])})", text)
