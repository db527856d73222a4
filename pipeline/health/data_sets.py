"""Whether the images are there."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.data import DataConfig, DigitsConfig, load_dataset
from pipeline.errors import ConfigError
from pipeline.health.finding import Finding, one_line

OFFICIAL = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
}
"""Folder and archive of each, below the root."""
DEFAULT_ROOT = Path("data")


def check_data(config: DataConfig | None, root: Path = DEFAULT_ROOT) -> Iterator[Finding]:
    """Findings on a space's data set; without one, on those that need no space.

    Args:
        config: Of the space; None without one.
        root: Where CIFAR lies by default.
    """
    yield from _loads(DigitsConfig() if config is None else config)
    if config is not None:
        return
    for name, (folder, archive) in OFFICIAL.items():
        if (root / folder).is_dir() or (root / archive).is_file():
            yield Finding.ok("data sets", f"{name} lies in {root}/ (not read).")
        else:
            yield Finding.skipped(
                "data sets",
                f"{name} is not in {root}/, and need not be.",
                f"To study it, put {archive} there, or set data.download: true.",
            )


def _loads(config: DataConfig) -> Iterator[Finding]:
    try:
        dataset = load_dataset(config)
    except ConfigError as error:
        yield Finding.fail(
            "data sets",
            f"{config.dataset} cannot be loaded.",
            one_line(error, 600) + ".",
        )
        return
    counts = ", ".join(
        f"{len(split):,} {name}"
        for name, split in (
            ("training", dataset.train),
            ("validation", dataset.validation),
            ("test", dataset.test),
        )
    )
    yield Finding.ok(
        "data sets",
        f"{dataset.name} loads: {counts} images of {dataset.channels}x{dataset.height}x"
        f"{dataset.width} in {dataset.num_classes} classes.",
    )
