"""A trial that only takes its time. Its module imports no torch, so that a worker starts fast."""

import time
from typing import Any

from ray import tune


def wait_trial(config: dict[str, Any], splits: Any, settings: dict[str, Any]) -> None:
    """Wait for `settings["seconds"]`, then report two objectives and that training ended."""
    time.sleep(settings["seconds"])
    last = {settings["ended"]: True}
    tune.report(last | {"clean_accuracy": 0.9, "robust_accuracy": config.get("x", 0.0)})
