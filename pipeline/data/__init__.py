"""Data sets: one loader and one config for each; adding one is a file and a line here."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pipeline.data.cifar import Cifar10Config, Cifar100Config, load_cifar10, load_cifar100
from pipeline.data.cifar10_dvs import Cifar10DvsConfig, cifar10_dvs_source
from pipeline.data.dataset import Dataset, Split
from pipeline.data.digits import DigitsConfig, load_digits
from pipeline.data.digits_events import DigitsEventsConfig, digits_events_source
from pipeline.data.event_dataset import EventSource, Run, Say, load_events
from pipeline.data.event_frames import FramesConfig
from pipeline.data.nmnist import NmnistConfig, nmnist_source
from pipeline.data.parquet_events import EventsConfig, events_source
from pipeline.data.parquet_images import ParquetConfig, load_parquet

__all__ = [
    "DATASETS",
    "EVENT_DATASETS",
    "Cifar10Config",
    "Cifar100Config",
    "Cifar10DvsConfig",
    "DataConfig",
    "Dataset",
    "DigitsConfig",
    "DigitsEventsConfig",
    "EventsConfig",
    "FramesConfig",
    "NmnistConfig",
    "ParquetConfig",
    "Split",
    "load_dataset",
]

DataConfig = Annotated[
    DigitsConfig
    | Cifar10Config
    | Cifar100Config
    | ParquetConfig
    | DigitsEventsConfig
    | NmnistConfig
    | Cifar10DvsConfig
    | EventsConfig,
    Field(discriminator="dataset"),
]

DATASETS: dict[str, Callable[[Any], Dataset]] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "parquet": load_parquet,
}
"""Images."""
EVENT_DATASETS: dict[str, Callable[[Any], EventSource]] = {
    "digits_events": digits_events_source,
    "nmnist": nmnist_source,
    "cifar10_dvs": cifar10_dvs_source,
    "events": events_source,
}
"""Recordings of events, which `load_events` makes frames of."""


def load_dataset(
    config: DataConfig,
    *,
    cache: Path | None = None,
    run: Run | None = None,
    say: Say | None = None,
) -> Dataset:
    """The data set that the config describes.

    Args:
        config: Of the data set.
        cache: Folder where event frames are kept; None builds them in memory. Images need none.
        run: Applies a function to chunks of recordings, in order; by default in this process.
        say: Takes a line now and then while frames are built.

    Raises:
        ConfigError: If the data is absent or damaged, or has fewer samples than asked for.
    """
    if config.dataset in EVENT_DATASETS:
        return load_events(EVENT_DATASETS[config.dataset](config), cache, run, say)
    return DATASETS[config.dataset](config)
