"""Which files of a folder are training and which are test files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from pipeline.errors import ConfigError, SettingError

Patterns = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(min_length=1),
]
"""File name patterns relative to the root; YAML may write one or a list."""


def matching_files(
    root: str, train_patterns: Sequence[str], test_patterns: Sequence[str]
) -> tuple[list[Path], list[Path]]:
    """Training and test files, in the order of their names.

    Raises:
        ConfigError: There is no training file, or a file matches both.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise SettingError(
            "data.root", f"expected a folder, found none at {folder}; correct the path"
        )
    train = _matching(folder, train_patterns, "train")
    test = _matching(folder, test_patterns, "test")
    if not train:
        raise SettingError(
            "data.train",
            f"expected files in {folder} that match {', '.join(train_patterns)}, found "
            "none; correct the pattern",
        )
    both = sorted(set(train) & set(test))
    if both:
        raise ConfigError(
            f"{both[0]}: matches data.train and data.test; narrow one of the patterns, as a "
            "sample must not be in both"
        )
    return train, test


def _matching(root: Path, patterns: Sequence[str], field: str) -> list[Path]:
    try:
        if any(".." in Path(pattern).parts for pattern in patterns):
            raise ValueError("leads out of the root")
        found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    except (ValueError, NotImplementedError, IndexError):
        raise SettingError(
            f"data.{field}",
            f"expected patterns relative to data.root such as '**/*{field}*.parquet'"
            f", got {', '.join(patterns)!r}",
        ) from None
    return sorted(found)
