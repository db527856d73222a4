"""CIFAR in its official layout, written by the test with checksums of its own."""

import hashlib
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data import Cifar10Config, Cifar100Config, load_dataset
from pipeline.data.torchvision_import import torchvision_datasets
from pipeline.errors import ConfigError

PER_FILE = 40


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_batch(path: Path, key: str, num_classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    entry = {
        "data": generator.integers(0, 256, (PER_FILE, 3072), dtype=np.uint8),
        key: [(seed + i) % num_classes for i in range(PER_FILE)],
    }
    path.write_bytes(pickle.dumps(entry))


def fabricate(source: Any, root: Path, patch: pytest.MonkeyPatch, key: str, classes: int) -> None:
    """Writes the official folder and makes torchvision expect these files' checksums."""
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    for field in ("train_list", "test_list"):
        entries = []
        for seed, (name, _) in enumerate(getattr(source, field)):
            write_batch(folder / name, key, classes, seed + 10 * (field == "test_list"))
            entries.append([name, md5(folder / name)])
        patch.setattr(source, field, entries)
    meta = folder / source.meta["filename"]
    meta.write_bytes(pickle.dumps({source.meta["key"]: [str(i) for i in range(classes)]}))
    patch.setattr(source, "meta", {**source.meta, "md5": md5(meta)})


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fabricate(torchvision_datasets().CIFAR10, tmp_path, monkeypatch, "labels", 10)
    return tmp_path


@pytest.fixture
def archive(cifar10: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same files, but only as the official archive."""
    source = torchvision_datasets().CIFAR10
    path = cifar10 / str(source.filename)
    with tarfile.open(path, "w:gz") as tar:
        tar.add(cifar10 / source.base_folder, source.base_folder)
    (cifar10 / source.base_folder).rename(cifar10 / "moved")
    monkeypatch.setattr(source, "tgz_md5", md5(path))
    return path


def config(root: Path, **values: Any) -> Cifar10Config:
    return Cifar10Config(root=str(root), num_validation=50, **values)


def test_cifar10_folder(cifar10: Path) -> None:
    dataset = load_dataset(config(cifar10))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (150, 50, 40)
    assert (dataset.channels, dataset.height, dataset.width, dataset.num_classes) == (3, 32, 32, 10)
    assert dataset.mean == (0.4914, 0.4822, 0.4465)
    assert dataset.std == (0.2023, 0.1994, 0.2010)
    assert np.bincount(dataset.validation.labels).tolist() == [5] * 10
    entry = pickle.loads((cifar10 / "cifar-10-batches-py/test_batch").read_bytes())
    # Test keeps the official order; each row holds 1,024 red, green, then blue values.
    assert np.array_equal(dataset.test.images, entry["data"].reshape(-1, 3, 32, 32))
    assert dataset.test.labels.tolist() == entry["labels"]


def test_cifar100_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fabricate(torchvision_datasets().CIFAR100, tmp_path, monkeypatch, "fine_labels", 100)
    dataset = load_dataset(Cifar100Config(root=str(tmp_path), num_validation=10, num_test=7))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (30, 10, 7)
    assert dataset.num_classes == 100
    assert dataset.mean == (0.5071, 0.4867, 0.4408)
    assert dataset.std == (0.2675, 0.2565, 0.2761)


def test_the_place_is_no_part_of_the_identity(tmp_path: Path) -> None:
    assert config(tmp_path, download=True).identity() == config(Path("elsewhere")).identity()
    assert config(tmp_path, num_test=3).identity() != config(tmp_path).identity()


def test_absent() -> None:
    with pytest.raises(ConfigError) as caught:
        load_dataset(Cifar10Config(root="no/such/folder"))
    assert str(caught.value) == (
        "data.root: expected cifar-10-batches-py/ or cifar-10-python.tar.gz in no/such/folder, "
        "found neither; put https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz there, or set "
        "data.download: true"
    )


def test_archive_is_extracted(archive: Path) -> None:
    assert len(load_dataset(config(archive.parent)).test) == 40
    assert (archive.parent / "cifar-10-batches-py/test_batch").is_file()
    assert not list(archive.parent.glob(".partial-*"))


def test_archive_is_extracted_by_several_at_once(archive: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(load_dataset, [config(archive.parent)] * 4))
    assert len({dataset.content_hash() for dataset in loaded}) == 1
    assert not list(archive.parent.glob(".partial-*"))


def test_corrupt_archive_is_named(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(ConfigError, match=r"cifar-10-python.tar.gz: corrupt or incomplete: its md"):
        load_dataset(config(archive.parent))
    assert not (archive.parent / "cifar-10-batches-py").exists()


def test_incomplete_folder_is_named(cifar10: Path) -> None:
    (cifar10 / "cifar-10-batches-py/data_batch_3").write_bytes(b"cut")
    with pytest.raises(ConfigError, match=r"cifar-10-batches-py: a file is missing, or its md5"):
        load_dataset(config(cifar10))


def test_download_goes_through_torchvision_and_is_checked(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive.read_bytes()
    root = tmp_path / "new"

    def fake(url: str, folder: Path, filename: str, expected: str) -> None:
        assert url.endswith(filename)
        assert expected == hashlib.md5(content, usedforsecurity=False).hexdigest()
        (Path(folder) / filename).write_bytes(content)

    monkeypatch.setattr(torchvision_datasets().utils, "download_url", fake)
    assert len(load_dataset(config(root, download=True)).test) == 40
    assert sorted(p.name for p in root.iterdir()) == ["cifar-10-batches-py", archive.name]


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(*_: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision_datasets().utils, "download_url", fake)
    with pytest.raises(ConfigError, match=r"^data.download: .*\(no route to host\); fetch it by"):
        load_dataset(config(tmp_path, download=True))
    assert not list(tmp_path.iterdir())
