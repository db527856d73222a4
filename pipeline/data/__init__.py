"""Data sets: one loader and one config for each; adding one is a file and a line here."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from pipeline.data.cifar import Cifar10Config, Cifar100Config, load_cifar10, load_cifar100
from pipeline.data.dataset import Dataset, Split
from pipeline.data.digits import DigitsConfig, load_digits
from pipeline.data.parquet_images import ParquetConfig, load_parquet

__all__ = [
    "DATASETS",
    "Cifar10Config",
    "Cifar100Config",
    "DataConfig",
    "Dataset",
    "DigitsConfig",
    "ParquetConfig",
    "Split",
    "load_dataset",
]

DataConfig = Annotated[
    DigitsConfig | Cifar10Config | Cifar100Config | ParquetConfig,
    Field(discriminator="dataset"),
]

DATASETS: dict[str, Callable[[Any], Dataset]] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "parquet": load_parquet,
}


def load_dataset(config: DataConfig) -> Dataset:
    """The data set that the config describes.

    Raises:
        ConfigError: If the data is absent or damaged, or has fewer samples than asked for.
    """
    return DATASETS[config.dataset](config)
