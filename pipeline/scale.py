"""Scales: a space's own settings, shrunk or grown by one word, `--set scale=tiny`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import config_file
from pipeline.errors import ConfigError

SCALES = Path(__file__).parent / "scales"
WHOLE = ("data", "model")
"""Sections that a scale replaces; of all others it sets single keys."""
_PREFIX = "scale="


def expanded(overrides: Sequence[str], data: Any = None) -> list[str]:
    """The `--set` settings with the scale's own before them, so that all others win over it.

    Args:
        overrides: Settings as the command line has them.
        data: The space's own `data`; event data is replaced by the scale's `event_data`.

    Raises:
        ConfigError: There is no such scale, or its file is wrong.
    """
    named = scaled(overrides)
    events = isinstance(data, dict) and "frames" in data
    return [*_settings(named, events=events), *overrides] if named else list(overrides)


def scaled(overrides: Sequence[str]) -> str:
    """The scale that the `--set` settings name, the last one; empty without any."""
    named = [item for item in overrides if item.replace(" ", "").startswith(_PREFIX)]
    return named[-1].partition("=")[2].strip() if named else ""


def _settings(name: str, *, events: bool) -> list[str]:
    """What a scale sets, as `--set` would."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else SCALES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SCALES.glob("*.yaml")))
        raise ConfigError(
            f"--set scale={name}: no such scale; write one of {known}, or the path of a YAML file"
        )
    settings: dict[str, Any] = {}
    sections = dict(config_file.read(path).data)
    event_data = sections.pop("event_data", None)
    if events and event_data is not None:
        sections["data"] = event_data
    for section, value in sections.items():
        if str(section) in WHOLE or not isinstance(value, dict):
            settings[str(section)] = value
        else:
            settings |= {f"{section}.{key}": item for key, item in value.items()}
    # JSON is YAML, too.
    return [f"{place}={json.dumps(value)}" for place, value in settings.items()]
