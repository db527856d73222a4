"""Parquet folders that the test writes, and the real files beside the repository."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import TypeAdapter

from pipeline.data import ParquetConfig, load_dataset
from pipeline.errors import ConfigError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data beside the repository")


def picture(value: int, size: tuple[int, int] = (5, 4), mode: str = "RGB") -> bytes:
    """A PNG of width 5 and height 4 whose first pixel is the value and whose rest is 7."""
    pixels = np.full((size[1], size[0], 3), 7, np.uint8)
    pixels[0, 0] = value
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, images: list[Any], labels: Any, **names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {names.get("image", "image"): images, names.get("label", "label"): labels}
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tiny"
    for shard in range(2):
        rows = range(shard * 10, shard * 10 + 10)
        write(
            root / "data" / f"train-0000{shard}-of-00002.parquet",
            [{"bytes": picture(row), "path": f"{row}.png"} for row in rows],
            [row % 2 for row in rows],
        )
    write(root / "data/test-00000-of-00001.parquet", [picture(99), picture(98)], [1, 0])
    return root


def load_error(**values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_dataset(ParquetConfig(**values))
    return str(caught.value)


def test_hub_layout(folder: Path) -> None:
    dataset = load_dataset(ParquetConfig(root=str(folder), num_validation=4))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (16, 4, 2)
    assert (dataset.channels, dataset.height, dataset.width, dataset.num_classes) == (3, 4, 5, 2)
    seen = np.concatenate([dataset.train.images, dataset.validation.images])[:, 0, 0, 0]
    assert sorted(seen.tolist()) == list(range(20))
    for split in (dataset.train, dataset.validation):
        assert np.array_equal(split.images[:, 0, 0, 0] % 2, split.labels)
    assert dataset.test.images[:, 0, 0, 0].tolist() == [99, 98]
    assert dataset.note == (
        "parquet: folder tiny, 16 training, 4 validation and 2 test images, 4x5 colour, 2 classes"
    )


def test_folders_named_train_and_other_column_names(tmp_path: Path) -> None:
    images = [picture(i) for i in range(10)]
    write(tmp_path / "default/train/0000.parquet", images, [0, 1] * 5, image="img", label="labels")
    dataset = load_dataset(ParquetConfig(root=str(tmp_path), mode="L", num_test=4))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (5, 1, 4)
    assert dataset.channels == 1
    assert "4 test images drawn from the training files" in dataset.note


def test_normalization(folder: Path) -> None:
    config: dict[str, Any] = {"root": str(folder), "num_validation": 4}
    dataset = load_dataset(ParquetConfig(**config))
    pixels = dataset.train.images[:, 1].astype(np.float64) / 255
    assert dataset.mean[1] == pytest.approx(pixels.mean())
    assert dataset.std[1] == pytest.approx(pixels.std())
    assert load_dataset(ParquetConfig(**config, normalization="none")).std == (1.0, 1.0, 1.0)
    assert load_dataset(ParquetConfig(**config, normalization="cifar10")).mean[0] == 0.4914
    assert "write train or none" in load_error(**config, mode="L", normalization="cifar100")


def test_a_constant_channel_has_unit_deviation(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [picture(7)] * 6, [0, 1] * 3)
    assert load_dataset(ParquetConfig(root=str(tmp_path), num_test=2)).std == (1.0, 1.0, 1.0)


def test_identity_follows_the_content_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    config = ParquetConfig(root=str(folder))
    identity = config.identity()
    assert json.loads(json.dumps(identity)) == identity
    moved = folder.rename(tmp_path / "moved")
    assert ParquetConfig(root=str(moved)).identity() == identity
    assert ParquetConfig(root=str(moved), mode="L").identity() != identity
    write(moved / "data/test-00000-of-00001.parquet", [picture(99), picture(97)], [1, 0])
    assert ParquetConfig(root=str(moved)).identity() != identity
    with pytest.raises(ConfigError, match=r"^data.root: expected a folder, found none at "):
        config.identity()


def test_yaml_may_write_one_pattern(folder: Path) -> None:
    adapter = TypeAdapter(ParquetConfig)
    one = adapter.validate_python({"dataset": "parquet", "root": str(folder), "train": "a/*"})
    assert one.train == ("a/*",)


Damage = Callable[[Path], object]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "truncated image": (
        lambda root: write(
            root / "train.parquet", [picture(1), picture(2)[:-30]], [0, 1]
        ),
        "train.parquet: row 1: the image is damaged or of an unknown format",
    ),
    "not an image": (
        lambda root: write(root / "train.parquet", [b"%!PS-Adobe-3.0 EPSF"], [0]),
        "train.parquet: row 0: the image is damaged or of an unknown format",
    ),
    "no image": (
        lambda root: write(root / "train.parquet", [picture(1), None], [0, 1]),
        "train.parquet: row 1: expected an encoded image, got none",
    ),
    "a path only": (
        lambda root: write(
            root / "train.parquet",
            [{"bytes": b"", "path": "a"}, {"bytes": None, "path": "/etc/passwd"}],
            [0, 1],
        ),
        "train.parquet: row 1: expected an encoded image, got none; only pictures inside the file",
    ),
    "16 bits": (
        lambda root: write(root / "train.parquet", [picture(1, mode="I;16")], [0]),
        "train.parquet: row 0: expected 8-bit pixels, got mode I;16",
    ),
    "two sizes": (
        lambda root: write(root / "train.parquet", [picture(1), picture(1, (6, 4))], [0, 1]),
        "train.parquet: row 1: expected an image of 4x5 like those before it, got 4x6",
    ),
    "missing image column": (
        lambda root: write(root / "train.parquet", [b""], [0], image="pixels"),
        "train.parquet: expected a column 'image' or 'img', got the columns pixels, label; set "
        "data.image_column to one of them",
    ),
    "missing label column": (
        lambda root: write(root / "train.parquet", [b""], [0], label="class"),
        "train.parquet: expected a column 'label' or 'labels' or 'fine_label', got the columns "
        "image, class; set data.label_column to one of them",
    ),
    "image column of text": (
        lambda root: write(root / "train.parquet", ["a.png"], [0]),
        "train.parquet: column 'image': expected encoded images as bytes, or a struct with 'bytes'"
        ", got string",
    ),
    "labels of text": (
        lambda root: write(root / "train.parquet", [picture(1)], ["cat"]),
        "train.parquet: column 'label': expected integers, got string",
    ),
    "negative label": (
        lambda root: write(root / "train.parquet", [picture(1)] * 2, [0, -1]),
        "train.parquet: row 1: column 'label': expected a class number of at least 0, got -1",
    ),
    "no label": (
        lambda root: write(root / "train.parquet", [picture(1)] * 2, [0, None]),
        "train.parquet: row 1: column 'label': expected a class number of at least 0, got nothing",
    ),
    "identifiers as labels": (
        lambda root: write(root / "train.parquet", [picture(1)] * 2, [0, 1234]),
        "train.parquet: expected labels 0..K-1, got 1234 among 2 images",
    ),
    "no rows": (
        lambda root: write(
            root / "train.parquet", pa.array([], pa.binary()), pa.array([], pa.int64())
        ),
        "train.parquet: expected images, got a file without rows",
    ),
    "no Parquet": (
        lambda root: (root / "train.parquet").write_bytes(b"hello"),
        "train.parquet: cannot be read as Parquet",
    ),
    "no file": (lambda root: None, "that match **/*train*.parquet, **/train/*.parquet, found none"),
    "no test": (
        lambda root: write(root / "train.parquet", [picture(1)] * 4, [0, 1, 0, 1]),
        "or set data.num_test to draw a test split from the training files",
    ),
    "one file twice": (
        lambda root: write(root / "train-test.parquet", [picture(1)], [0]),
        "train-test.parquet: matches data.train and data.test",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    damage, expected = DAMAGES[name]
    damage(tmp_path)
    message = load_error(root=str(tmp_path))
    assert expected in message
    assert "\n" not in message


def test_damaged_test_files(folder: Path) -> None:
    path = folder / "data/test-00000-of-00001.parquet"
    write(path, [picture(1)], [2])
    assert "expected test labels 0..1, as in the training files, got 2" in load_error(
        root=str(folder)
    )
    write(path, [picture(1, (6, 6))], [1])
    assert "expected test images of 4x5 like the training files, got 6x6" in load_error(
        root=str(folder)
    )


@pytest.mark.parametrize("pattern", ["/etc/*", ""])
def test_patterns_stay_within_the_root(folder: Path, pattern: str) -> None:
    assert "data.train: expected patterns relative to data.root" in load_error(
        root=str(folder), train=(pattern,)
    )


@real
def test_real_cifar10() -> None:
    config = ParquetConfig(
        root=str(REAL),
        train=("cifar10_lossless_train.parquet",),
        test=("cifar10_lossless_test.parquet",),
        normalization="cifar10",
        num_validation=1000,
    )
    dataset = load_dataset(config)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (7068, 1000, 1017)
    assert (dataset.channels, dataset.height, dataset.width, dataset.num_classes) == (3, 32, 32, 10)
    counts = np.bincount(np.concatenate([dataset.train.labels, dataset.validation.labels]))
    stored = pq.read_table(REAL / "cifar10_lossless_train.parquet", columns=["label"])
    assert counts.tolist() == np.bincount(stored["label"].to_numpy()).tolist()
    assert dataset.test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert np.bincount(dataset.test.labels).tolist() == [
        105, 93, 100, 104, 92, 87, 114, 102, 110, 110
    ]  # fmt: skip
    assert np.abs(np.bincount(dataset.validation.labels) - counts * 1000 / 8068).max() <= 1.5


@real
def test_real_mnist_is_grey() -> None:
    config = ParquetConfig(
        root=str(REAL), train=("mnist_test.parquet",), test=(), mode="L", num_test=2000
    )
    dataset = load_dataset(config)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (7200, 800, 2000)
    assert (dataset.channels, dataset.height, dataset.width, dataset.num_classes) == (1, 28, 28, 10)
    splits = (dataset.train, dataset.validation, dataset.test)
    counts = np.bincount(np.concatenate([split.labels for split in splits]))
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert dataset.mean[0] == pytest.approx(0.1325, abs=0.001)
