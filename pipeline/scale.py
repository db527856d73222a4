"""Scales: a space's own settings, shrunk or grown by one word, `--set scale=tiny`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import config_file
from pipeline.config_file import ConfigFile, Setting
from pipeline.errors import ConfigError

SCALES = Path(__file__).parent / "scales"
WHOLE = ("data", "model")
"""Sections that a scale replaces; of all others it sets single keys."""
_PREFIX = "scale="


def expanded(overrides: Sequence[str], data: Any = None) -> list[str | Setting]:
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


def _settings(name: str, *, events: bool) -> list[Setting]:
    """What a scale sets, as `--set` would."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else SCALES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SCALES.glob("*.yaml")))
        raise ConfigError(
            f"--set scale={name}: no such scale; write one of {known}, or the path of a YAML file"
        )
    file = config_file.read(path)
    found = []
    events = events and file.data.get("event_data") is not None
    for section, value in file.data.items():
        if section in ("data", "event_data"):
            if (section == "event_data") == events:
                found.append(_setting(file, (section,), "data"))
        elif section in WHOLE or not isinstance(value, dict):
            found.append(_setting(file, (section,), str(section)))
        else:
            found += [_setting(file, (section, key), f"{section}.{key}") for key in value]
    return found


def _setting(file: ConfigFile, place: tuple[str | int, ...], path: str) -> Setting:
    """An entry of the scale's file, to be written at a path of the space."""
    value: Any = file.data
    for key in place:
        value = value[key]
    inner = [known[len(place) :] for known in file.entries if known[: len(place)] == place]
    return Setting(
        path=path,
        value=value,
        above=file.location(place[:1], "key"),
        entries={known: file.entries[(*place, *known)] for known in inner},
        places={
            known: (file.location((*place, *known), "key"), file.location((*place, *known)))
            for known in inner
        },
    )
