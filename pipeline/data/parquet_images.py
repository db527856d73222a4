"""Image data sets in Parquet files, laid out as on public hubs."""

import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config_types import Count, CountOrZero
from pipeline.data.dataset import Dataset, Split
from pipeline.data.encoded_image import Mode, decode_image
from pipeline.data.file_hash import file_hashes
from pipeline.data.normalization import Normalization, mean_and_std
from pipeline.data.parquet_files import Patterns, matching_files
from pipeline.data.splits import cap_test, split_off_test, split_off_validation
from pipeline.errors import ConfigError, SettingError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")
_BATCH_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class ParquetConfig:
    """A folder of Parquet files with one encoded image and one integer label a row."""

    __pydantic_config__ = {"extra": "forbid"}

    dataset: Literal["parquet"] = "parquet"
    root: str
    """Folder that the patterns are relative to."""
    train: Patterns = ("**/*train*.parquet", "**/train/*.parquet")
    """Patterns of the training files' names."""
    test: Patterns = ("**/*test*.parquet", "**/test/*.parquet")
    """Where no file matches, test is drawn from the training files; then give `num_test`."""
    image_column: str | None = None
    """Null finds `image` or `img`: bytes, or a struct that holds `bytes`."""
    label_column: str | None = None
    """Null finds `label`, `labels` or `fine_label`: integers 0..K-1."""
    mode: Mode = "RGB"
    """RGB gives three channels, L one."""
    normalization: Normalization = "train"
    """`train` computes mean and standard deviation of the training images."""
    num_train: Count | None = None
    """Training samples; null takes all that validation leaves."""
    num_validation: Count | None = None
    """Taken from the training files; null takes a tenth of them."""
    num_test: Count | None = None
    """Test samples; null takes all of the test files."""
    split_seed: CountOrZero = 0
    """Draws the splits; another number gives other ones."""

    def identity(self) -> dict[str, Any]:
        """All that decides which samples come out, as JSON can hold it.

        The files' hashes stand for the folder and the patterns: two folders with the same
        file names are different data, and one that moved is the same.
        """
        own = asdict(self)
        for name in ("root", "train", "test"):
            del own[name]
        train, test = matching_files(self.root, self.train, self.test)
        return {**own, "train_sha256": file_hashes(train), "test_sha256": file_hashes(test)}


def load_parquet(config: ParquetConfig) -> Dataset:
    """The images of the folder, decoded to one size and split."""
    train_files, test_files = matching_files(config.root, config.train, config.test)
    source = _read(train_files, config)
    num_classes = int(source.labels.max()) + 1
    if num_classes > len(source):
        raise ConfigError(
            f"{train_files[0]}: expected labels 0..K-1, got {num_classes - 1} among "
            f"{len(source)} images; set data.label_column to the column of class numbers"
        )
    if test_files:
        test = cap_test(_read(test_files, config), config.num_test, config.split_seed)
        _check_test(source, test, num_classes, test_files)
    elif config.num_test is not None:
        source, test = split_off_test(source, config.num_test, config.split_seed)
    else:
        raise SettingError(
            "data.test",
            f"expected files in {config.root} that match {', '.join(config.test)}, "
            "found none; correct the pattern, or set data.num_test to draw a test split from "
            "the training files",
        )
    num_validation = config.num_validation or max(1, len(source) // 10)
    train, validation = split_off_validation(
        source, num_validation, config.num_train, config.split_seed
    )
    mean, std = mean_and_std(config.normalization, train.images)
    return Dataset(
        name="parquet",
        train=train,
        validation=validation,
        test=test,
        num_classes=num_classes,
        mean=mean,
        std=std,
        note=_note(config, train, validation, test, num_classes, bool(test_files)),
    )


def _note(
    config: ParquetConfig,
    train: Split,
    validation: Split,
    test: Split,
    num_classes: int,
    own_test: bool,
) -> str:
    folder = Path(config.root).expanduser().resolve().name
    _, _, height, width = train.images.shape
    colour = "colour" if config.mode == "RGB" else "grey"
    return (
        f"parquet: folder {folder}, {len(train):,} training, {len(validation):,} validation and "
        f"{len(test):,} test images{'' if own_test else ' drawn from the training files'}, "
        f"{height}x{width} {colour}, {num_classes} classes"
    )


def _check_test(source: Split, test: Split, num_classes: int, files: Sequence[Path]) -> None:
    outside = test.labels[test.labels >= num_classes]
    if len(outside):
        raise ConfigError(
            f"{files[0]}: expected test labels 0..{num_classes - 1}, as in the training files, "
            f"got {outside[0]}; correct data.train or data.test"
        )
    if source.images.shape[1:] != test.images.shape[1:]:
        expected, got = (f"{s.images.shape[2]}x{s.images.shape[3]}" for s in (source, test))
        raise ConfigError(
            f"{files[0]}: expected test images of {expected} like the training files, got {got}; "
            "correct data.train or data.test"
        )


def _read(files: Sequence[Path], config: ParquetConfig) -> Split:
    parts: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.int64]] = []
    size: tuple[int, int] | None = None
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for file in files:
            for first_row, encoded, batch_labels in _batches(file, config):
                decode = functools.partial(decode_image, file, config.mode)
                rows = range(first_row, first_row + len(encoded))
                images = list(pool.map(decode, rows, encoded))
                for row, image in zip(rows, images, strict=True):
                    size = size or (image.shape[1], image.shape[2])
                    _check_size(file, row, image, size)
                parts.append(np.stack(images))
                labels.append(batch_labels)
    if not parts:
        raise ConfigError(f"{files[0]}: expected images, got a file without rows; remove it")
    return Split(images=np.concatenate(parts), labels=np.concatenate(labels))


def _check_size(file: Path, row: int, image: NDArray[np.uint8], size: tuple[int, int]) -> None:
    if image.shape[1:] != size:
        raise ConfigError(
            f"{file}: row {row}: expected an image of {size[0]}x{size[1]} like those before it, "
            f"got {image.shape[1]}x{image.shape[2]}; give all images one size, or narrow "
            "data.train and data.test"
        )


def _batches(
    file: Path, config: ParquetConfig
) -> Iterator[tuple[int, list[bytes], NDArray[np.int64]]]:
    """First row, encoded images and labels of one piece of the file after the other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            image, label = _columns(file, schema, config)
            first_row = 0
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=[image, label]):
                encoded = _encoded(file, first_row, batch.column(image))
                yield first_row, encoded, _labels(file, first_row, label, batch.column(label))
                first_row += len(batch)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{file}: cannot be read as Parquet ({reason}); repair it, or narrow "
            "data.train and data.test"
        ) from None


def _columns(file: Path, schema: Any, config: ParquetConfig) -> tuple[str, str]:
    """Names of the image and the label column, with their types checked."""
    import pyarrow as pa

    image = _column(file, schema.names, "image", config.image_column, IMAGE_COLUMNS)
    label = _column(file, schema.names, "label", config.label_column, LABEL_COLUMNS)
    kind = schema.field(image).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise ConfigError(
            f"{file}: column '{image}': expected encoded images as bytes, or a struct with "
            f"'bytes', got {schema.field(image).type}; set data.image_column to another column"
        )
    if not pa.types.is_integer(schema.field(label).type):
        raise ConfigError(
            f"{file}: column '{label}': expected integers, got {schema.field(label).type}; set "
            "data.label_column to another column"
        )
    return image, label


def _column(
    file: Path, names: Sequence[str], role: str, wanted: str | None, usual: Sequence[str]
) -> str:
    options = usual if wanted is None else (wanted,)
    for name in options:
        if names.count(name) == 1:
            return name
    raise ConfigError(
        f"{file}: expected a column {' or '.join(repr(name) for name in options)}, got the "
        f"columns {', '.join(names)}; set data.{role}_column to one of them"
    )


def _encoded(file: Path, first_row: int, column: Any) -> list[bytes]:
    values = column.to_pylist()
    encoded: list[Any] = [
        value.get("bytes") if isinstance(value, dict) else value for value in values
    ]
    for row, value in enumerate(encoded, first_row):
        if value is None:
            raise ConfigError(
                f"{file}: row {row}: expected an encoded image, got none; only pictures inside "
                "the file are read, a 'path' is not followed"
            )
    return encoded


def _labels(file: Path, first_row: int, name: str, column: Any) -> NDArray[np.int64]:
    values = column.to_pylist()
    for row, value in enumerate(values, first_row):
        if value is None or not 0 <= value < 2**31:
            raise ConfigError(
                f"{file}: row {row}: column '{name}': expected a class number of at least 0, got "
                f"{'nothing' if value is None else value}; leave unlabelled rows out"
            )
    return np.asarray(values, dtype=np.int64)
