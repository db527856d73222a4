"""A search space's file after all that is set from outside, and where a setting stands in it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import config_file
from pipeline.config_messages import Problem
from pipeline.errors import SettingError
from pipeline.scale import expanded, scaled


def space_file(path: Path, overrides: Sequence[str]) -> config_file.ConfigFile:
    """The file's data after the `--set` settings, those of a scale among them.

    Raises:
        ConfigError: One of the files is absent or malformed, or a setting is.
    """
    data = config_file.read(path).data.get("data") if scaled(overrides) else None
    return config_file.read(path, expanded(overrides, data))


@contextlib.contextmanager
def located(path: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Says of settings that fit neither data nor machine where they stand in the space.

    Raises:
        ConfigError: For a `SettingError` that was raised inside.
    """
    try:
        yield
    except SettingError as error:
        file = space_file(path, overrides)
        raise file.error(
            Problem(file.path(place), text) for place, text in error.problems
        ) from None
