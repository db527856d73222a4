"""CIFAR-10 and CIFAR-100 from the official folders or archives."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.config_types import Count, CountOrZero
from pipeline.data.dataset import Dataset, Split
from pipeline.data.normalization import CIFAR10, CIFAR100, Statistics
from pipeline.data.splits import cap_test, split_off_validation
from pipeline.data.torchvision_import import torchvision_datasets
from pipeline.errors import ConfigError, SettingError


@dataclass(frozen=True, kw_only=True)
class Cifar10Config:
    """50,000 + 10,000 colour images of 32x32 in 10 classes."""

    __pydantic_config__ = {"extra": "forbid"}

    dataset: Literal["cifar10"] = "cifar10"
    root: str = "data"
    """Folder that holds `cifar-10-batches-py` or `cifar-10-python.tar.gz`."""
    download: bool = False
    """Whether to fetch the official archive where it is absent."""
    num_train: Count | None = None
    """Training samples; null takes all that validation leaves."""
    num_validation: Count = 5000
    """Taken from the official training images."""
    num_test: Count | None = None
    """Test samples; null takes all, in the official order."""
    split_seed: CountOrZero = 0
    """Draws the splits; another number gives other ones."""

    def identity(self) -> dict[str, Any]:
        """All that decides which samples come out, as JSON can hold it."""
        return _identity(self)


@dataclass(frozen=True, kw_only=True)
class Cifar100Config:
    """50,000 + 10,000 colour images of 32x32 in 100 classes."""

    __pydantic_config__ = {"extra": "forbid"}

    dataset: Literal["cifar100"] = "cifar100"
    root: str = "data"
    """Folder that holds `cifar-100-python` or `cifar-100-python.tar.gz`."""
    download: bool = False
    """Whether to fetch the official archive where it is absent."""
    num_train: Count | None = None
    """Training samples; null takes all that validation leaves."""
    num_validation: Count = 5000
    """Taken from the official training images."""
    num_test: Count | None = None
    """Test samples; null takes all, in the official order."""
    split_seed: CountOrZero = 0
    """Draws the splits; another number gives other ones."""

    def identity(self) -> dict[str, Any]:
        """All that decides which samples come out, as JSON can hold it."""
        return _identity(self)


def load_cifar10(config: Cifar10Config) -> Dataset:
    """CIFAR-10 with the statistics that the field normalises it by."""
    return _load(config, torchvision_datasets().CIFAR10, 10, CIFAR10)


def load_cifar100(config: Cifar100Config) -> Dataset:
    """CIFAR-100 (fine labels) with the statistics that the field normalises it by."""
    return _load(config, torchvision_datasets().CIFAR100, 100, CIFAR100)


def _identity(config: Cifar10Config | Cifar100Config) -> dict[str, Any]:
    # The official md5 sums are checked, so where the files lie decides nothing.
    return {key: value for key, value in asdict(config).items() if key not in ("root", "download")}


def _load(
    config: Cifar10Config | Cifar100Config,
    source: Any,
    num_classes: int,
    statistics: Statistics,
) -> Dataset:
    root = Path(config.root).expanduser()
    _provide(source, root, config.download)
    train, validation = split_off_validation(
        _split(source, root, train=True), config.num_validation, config.num_train, config.split_seed
    )
    test = cap_test(_split(source, root, train=False), config.num_test, config.split_seed)
    return Dataset(
        name=config.dataset,
        train=train,
        validation=validation,
        test=test,
        num_classes=num_classes,
        mean=statistics[0],
        std=statistics[1],
        note=f"{config.dataset}: {len(train):,} training, {len(validation):,} validation and "
        f"{len(test):,} test images of the official 32x32 colour images",
    )


def _split(source: Any, root: Path, *, train: bool) -> Split:
    try:
        loaded = source(root, train=train)
    except RuntimeError:
        folder = root / source.base_folder
        raise ConfigError(
            f"{folder}: a file is missing, or its md5 is not the official one; remove the folder "
            f"and put {source.filename} into {root}"
        ) from None
    images = np.ascontiguousarray(loaded.data.transpose(0, 3, 1, 2))
    return Split(images=images, labels=np.asarray(loaded.targets, dtype=np.int64))


def _provide(source: Any, root: Path, download: bool) -> None:
    """Sees to it that the folder is there, from the archive or the network if need be."""
    archive = root / source.filename
    if (root / source.base_folder).exists():
        return
    if not archive.is_file():
        if not download:
            raise SettingError(
                "data.root",
                f"expected {source.base_folder}/ or {source.filename} in {root}, found "
                f"neither; put {source.url} there, or set data.download: true",
            )
        _download(source, root)
    _extract(source, archive)


def _download(source: Any, root: Path) -> None:
    utils = torchvision_datasets().utils
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _scratch(root) as folder:
            utils.download_url(source.url, folder, source.filename, source.tgz_md5)
            (folder / source.filename).replace(root / source.filename)
    except (OSError, RuntimeError) as error:
        raise SettingError(
            "data.download",
            f"{source.url} could not be fetched into {root} ({error}); "
            f"fetch it by other means and put it there",
        ) from None


def _extract(source: Any, archive: Path) -> None:
    """Extracts beside the archive and renames: whoever looks sees all of the folder or none."""
    utils = torchvision_datasets().utils
    if not utils.check_md5(archive, source.tgz_md5):
        raise ConfigError(
            f"{archive}: corrupt or incomplete: its md5 is not {source.tgz_md5}; fetch it again "
            f"from {source.url}"
        )
    folder = archive.parent / source.base_folder
    try:
        with _scratch(archive.parent) as scratch:
            utils.extract_archive(archive, scratch)
            _rename(scratch / source.base_folder, folder)
    except OSError as error:
        raise ConfigError(
            f"{archive}: cannot be extracted beside itself ({error}); make room "
            "there, or extract it yourself"
        ) from None


def _rename(extracted: Path, folder: Path) -> None:
    try:
        os.rename(extracted, folder)
    except OSError:
        # Another process may have been faster; what it extracted passed the same check.
        if not folder.exists():
            raise


@contextlib.contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
