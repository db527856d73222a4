"""Parquet files of events that the test writes, and the real ones beside the repository."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from pipeline.data import DataConfig, EventsConfig, FramesConfig, load_dataset
from pipeline.data.event_frames import to_frames
from pipeline.data.parquet_events import events_source
from pipeline.errors import ConfigError
from tests.data.recordings import random_events, write_parquet

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data beside the repository")
SENSOR = (34, 34)
FRAMES = FramesConfig(num_frames=4)
ROWS = [random_events(40, seed=seed) for seed in range(30)]
LABELS = [seed % 3 for seed in range(30)]


def config(root: Path, **values: Any) -> EventsConfig:
    return EventsConfig(root=str(root), **({"sensor": SENSOR, "frames": FRAMES} | values))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tiny"
    write_parquet(root / "train-0.parquet", ROWS[:11], LABELS[:11])
    write_parquet(root / "train-1.parquet", ROWS[11:20], LABELS[11:20])
    write_parquet(root / "test.parquet", ROWS[20:], LABELS[20:])
    return root


def test_every_row_comes_out_once_with_its_label(folder: Path) -> None:
    dataset = load_dataset(config(folder, num_validation=5))
    splits = (dataset.train, dataset.validation, dataset.test)
    assert [len(split) for split in splits] == [15, 5, 10]
    expected = {to_frames(r, SENSOR, FRAMES).tobytes(): label for r, label in zip(ROWS, LABELS)}  # noqa: B905
    got = {
        image.tobytes(): int(label)
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert got == expected
    assert dataset.test.labels.tolist() == LABELS[20:]
    assert dataset.note == (
        "events: folder tiny, 15 training, 5 validation and 10 test recordings of 4 frames "
        "(equal count) of 34x34, 3 classes"
    )


@pytest.mark.parametrize("row_group_size", [1, 7, 30])
def test_row_groups_do_not_matter(tmp_path: Path, row_group_size: int) -> None:
    write_parquet(tmp_path / "train.parquet", ROWS, LABELS)
    one = load_dataset(config(tmp_path, num_test=6))
    table = pq.read_table(tmp_path / "train.parquet")
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=row_group_size)
    other = load_dataset(config(tmp_path, num_test=6))
    assert other.content_hash() == one.content_hash()
    recordings, positions = events_source(config(tmp_path, num_test=6)).recordings["train"]
    groups = list(recordings.chunks(np.sort(positions)))
    assert np.concatenate(groups).tolist() == sorted(positions.tolist())
    assert len(groups) == len({p // row_group_size for p in positions.tolist()})


def test_any_chunking_gives_the_same(folder: Path) -> None:
    def backwards(function: Callable[[Any], Any], chunks: list[Any]) -> list[Any]:
        return [function(chunk) for chunk in reversed(chunks)][::-1]

    plain = load_dataset(config(folder))
    assert load_dataset(config(folder), run=backwards).content_hash() == plain.content_hash()


def test_large_lists_and_booleans_are_read_too(folder: Path) -> None:
    plain = load_dataset(config(folder)).content_hash()
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        fields = [(f, pa.large_list(pa.uint16())) for f in "xy"]
        fields += [("p", pa.list_(pa.bool_())), ("t", pa.list_(pa.int64())), ("label", pa.int64())]
        pq.write_table(table.cast(pa.schema(fields)), path)
    assert load_dataset(config(folder)).content_hash() == plain


def test_identity_follows_the_content_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    identity = config(folder).identity()
    assert json.loads(json.dumps(identity)) == identity
    moved = folder.rename(tmp_path / "moved")
    assert config(moved).identity() == identity
    assert config(moved, sensor=(34, 35)).identity() != identity
    write_parquet(moved / "test.parquet", ROWS[20:], LABELS[19:29])
    assert config(moved).identity() != identity


def test_yaml_s_shape() -> None:
    got: Any = TypeAdapter(DataConfig).validate_python(
        {
            "dataset": "events",
            "root": "x",
            "sensor": [34, 34],
            "train": "a.parquet",
            "frames": {"num_frames": 5, "split_by": "time", "size": [8, 8], "antialias": True},
        }
    )
    assert got.frames.size == (8, 8)
    assert got.train == ("a.parquet",)


def rows_with(field: str, row: int, values: Any, kind: Any = None) -> dict[str, Any]:
    column = [np.asarray(getattr(r, field)).tolist() for r in ROWS[:6]]
    column[row] = values
    return {field: pa.array(column, kind or pa.list_(pa.int32()))}


RECORDING_DAMAGES: dict[str, tuple[dict[str, Any], str]] = {
    "unequal lengths": (rows_with("x", 2, [1, 2, 3]), "row 2: expected x, y, p and t of one"),
    "outside": (rows_with("x", 2, [34] * 40), "row 2: event 0: expected x in 0..33, got 34"),
    "negative": (rows_with("y", 2, [-1] * 40), "row 2: event 0: expected y in 0..33, got -1"),
    "polarity": (rows_with("p", 2, [-1] * 40), "row 2: event 0: expected p in 0..1, got -1"),
    "no list": (rows_with("t", 2, None), "row 2: column 't': expected a list of integers, got no"),
    "gaps": (rows_with("t", 2, [None] * 40), "row 2: column 't': expected a list of integers, got"),
    "time": (rows_with("t", 2, list(range(40))[::-1]), "row 2: event 1: time 38 is before"),
    "no events": (
        {f: rows_with(f, 2, [])[f] for f in "xypt"},
        "row 2: expected an event a frame or more, got 0 for 4",
    ),
    "label": (
        {"label": pa.array([0, 1, -1, 0, 1, 0], pa.int32())},
        "row 2: column 'label': expected a class number of at least 0, got -1",
    ),
    "no label": (
        {"label": pa.array([0, 1, None, 0, 1, 0], pa.int32())},
        "row 2: column 'label': expected a class number of at least 0, got nothing",
    ),
}


@pytest.mark.parametrize("name", RECORDING_DAMAGES)
def test_damaged_rows_are_refused_or_skipped(tmp_path: Path, name: str) -> None:
    columns, expected = RECORDING_DAMAGES[name]
    write_parquet(tmp_path / "train.parquet", ROWS[:6], LABELS[:6], **columns)
    write_parquet(tmp_path / "test.parquet", ROWS[6:12], LABELS[6:12])
    values: dict[str, Any] = {"num_validation": 2}
    if "label" in columns:
        write_parquet(tmp_path / "test.parquet", ROWS[6:12], [0, 1] * 3)
    with pytest.raises(ConfigError) as caught:
        load_dataset(config(tmp_path, **values))
    assert str(caught.value).startswith(f"{tmp_path / 'train.parquet'}: {expected}")
    assert "data.damaged: skip" in str(caught.value)
    left = load_dataset(config(tmp_path, damaged="skip", **values))
    assert len(left.train) + len(left.validation) == 5
    assert left.note.endswith("; 1 damaged recordings left out")


FILE_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "not Parquet": (lambda path: path.write_bytes(b"hello"), "cannot be read as Parquet"),
    "cut short": (
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        "cannot be read as Parquet",
    ),
    "no times": (
        lambda path: write_parquet(path, ROWS[:6], LABELS[:6], t=None),
        "expected the columns x, y, p, t, label, each once, got x, y, p, label; rename what holds",
    ),
    "fractions": (
        lambda path: write_parquet(
            path, ROWS[:6], LABELS[:6], t=pa.array([[0.5, float("nan")]] * 6)
        ),
        "column 't': expected lists of integers, got list<",
    ),
    "no lists": (
        lambda path: write_parquet(path, ROWS[:6], LABELS[:6], x=pa.array([1] * 6)),
        "column 'x': expected lists of integers, got int64",
    ),
    "labels of text": (
        lambda path: write_parquet(path, ROWS[:6], LABELS[:6], label=pa.array(["a"] * 6)),
        "column 'label': expected integers, got string; set data.label_column",
    ),
    "no rows": (lambda path: write_parquet(path, [], []), "expected recordings, got a file with"),
    "identifiers as labels": (
        lambda path: write_parquet(path, ROWS[:6], [0, 1, 2, 3, 4, 999]),
        "expected labels 0..K-1, got 999 among 6 recordings",
    ),
}


@pytest.mark.parametrize("damaged", ["refuse", "skip"])
@pytest.mark.parametrize("name", FILE_DAMAGES)
def test_a_file_as_a_whole_is_refused_in_any_case(tmp_path: Path, name: str, damaged: Any) -> None:
    damage, expected = FILE_DAMAGES[name]
    path = tmp_path / "train.parquet"
    write_parquet(path, ROWS[:6], LABELS[:6])
    damage(path)
    with pytest.raises(ConfigError) as caught:
        load_dataset(config(tmp_path, num_test=2, damaged=damaged))
    assert str(caught.value).startswith(f"{path}: {expected}")


def test_a_small_file_that_claims_more_events_than_memory_holds(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    count = 2**24 + 1
    lists = {
        field: pa.ListArray.from_arrays([0, count], pa.array(np.zeros(count, np.uint8)))
        for field in "xypt"
    }
    write_parquet(path, [], [0], **lists)
    assert path.stat().st_size < 100_000
    with pytest.raises(ConfigError, match="expected at most 16,777,216 events a row, got 16,777,2"):
        load_dataset(config(tmp_path, num_test=1))


def test_a_page_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    write_parquet(path, ROWS, LABELS)
    data = bytearray(path.read_bytes())
    data[10:2000] = bytes(1990)
    path.write_bytes(bytes(data))
    with pytest.raises(ConfigError, match=r"train.parquet: cannot be read as Parquet"):
        load_dataset(config(tmp_path, num_test=2))


def test_test_labels_that_training_has_not(folder: Path) -> None:
    write_parquet(folder / "test.parquet", ROWS[20:], [7] * 10)
    with pytest.raises(ConfigError, match=r"expected test labels 0\.\.2, as in the training files"):
        load_dataset(config(folder))


@real
def test_real_nmnist() -> None:
    dataset = load_dataset(
        config(
            REAL,
            train=("nmnist_subset_train.parquet",),
            test=("nmnist_subset_test.parquet",),
            num_train=60,
            num_validation=20,
        )
    )
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [60, 20, 100]
    assert dataset.num_classes == 10
    stored = pq.read_table(REAL / "nmnist_subset_test.parquet")
    assert dataset.test.labels.tolist() == stored["label"].to_pylist()
    # No event is lost, and ON events lie in channel 1.
    lengths = [len(row) for row in stored["x"].to_pylist()]
    assert dataset.test.images.sum(axis=(1, 2, 3, 4)).tolist() == lengths
    assert sum(lengths) == 385_596
    ons = [sum(row) for row in stored["p"].to_pylist()]
    assert dataset.test.images[:, :, 1].sum(axis=(1, 2, 3)).tolist() == ons
