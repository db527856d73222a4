"""Whether the images are there."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.data import EVENT_DATASETS, DataConfig, DigitsConfig, load_dataset
from pipeline.data.cifar10_dvs import CLASSES
from pipeline.data.event_dataset import EventSource, try_recordings
from pipeline.errors import ConfigError
from pipeline.health.finding import Finding, one_line

OFFICIAL = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
}
"""Folder and archive of each, below the root."""
EVENTS = {
    "nmnist": (("Train", "Test"), "https://data.mendeley.com/datasets/468j46mzdv"),
    "cifar10_dvs": (CLASSES, "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"),
}
"""Of recordings of events: folders below the root's folder of that name, and where they are."""
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
    for name, (folders, where) in EVENTS.items():
        if all((root / name / folder).is_dir() for folder in folders):
            yield Finding.ok("data sets", f"{name} lies in {root / name}/ (not read).")
        else:
            yield Finding.skipped(
                "data sets",
                f"{name} is not in {root / name}/, and need not be.",
                f"To study it, unpack the archives of {where} there.",
            )


def _loads(config: DataConfig) -> Iterator[Finding]:
    try:
        if config.dataset in EVENT_DATASETS:
            yield _reads(EVENT_DATASETS[config.dataset](config))
            return
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


def _reads(source: EventSource) -> Finding:
    """Frames of one recording a split stand for all: those of thousands take minutes."""
    try_recordings(source)
    counts = ", ".join(f"{len(labels):,} {name}" for name, labels in source.labels.items())
    shape = "x".join(str(size) for size in source.frames.shape(source.sensor))
    return Finding.ok(
        "data sets",
        f"{source.name} is there: {counts} recordings in {source.num_classes} classes; the first "
        f"of each split makes frames of {shape} (the others were not read).",
    )
