"""The data set of a run: event frames are built once, and kept in the run's store."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.data import DataConfig, Dataset, load_dataset
from pipeline.files import StorePath, local_folder

FRAMES_FOLDER = "frames"


def load_stored(
    config: DataConfig,
    store: StorePath,
    *,
    run: Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]] | None = None,
    say: Callable[[str], None] | None = None,
) -> Dataset:
    """The data set; event frames come from `<store>/frames/`, and are put there at first.

    Workers map a file in the store into memory. Of an object store they could not: there the
    frames lie on the driver's machine, and workers are sent them.

    Args:
        config: Of the data set.
        store: Of the run.
        run: Applies a function to chunks of recordings, in order; by default in this process.
        say: Takes a line now and then while frames are built.

    Raises:
        ConfigError: The data is absent or damaged, or has fewer samples than asked for.
    """
    folder = local_folder(store) / FRAMES_FOLDER
    dataset = load_dataset(config, cache=folder, run=run, say=say)
    if isinstance(store, Path):
        return dataset
    return replace(
        dataset,
        train=replace(dataset.train, stored=None),
        validation=replace(dataset.validation, stored=None),
        test=replace(dataset.test, stored=None),
    )
