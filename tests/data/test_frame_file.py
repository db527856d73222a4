"""The file of frames: built once, mapped by all, and nobody is fooled by a damaged one."""

import json
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data import Dataset, EventsConfig, FramesConfig, Split, load_dataset
from pipeline.data.frame_file import SPLITS, open_rows, read_facts
from pipeline.errors import ConfigError, DamagedError
from tests.data.recordings import random_events, write_parquet

ROWS = [random_events(60, seed=seed) for seed in range(40)]
LABELS = [seed % 4 for seed in range(40)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "data/train.parquet", ROWS[:30], LABELS[:30])
    write_parquet(tmp_path / "data/test.parquet", ROWS[30:], LABELS[30:])
    return tmp_path


def config(root: Path, damaged: Any = "refuse", **frames: Any) -> EventsConfig:
    return EventsConfig(
        root=str(root / "data"),
        sensor=(34, 34),
        frames=FramesConfig(**({"num_frames": 5} | frames)),
        damaged=damaged,
    )


def load(root: Path, say: Any = None, **values: Any) -> Dataset:
    return load_dataset(config(root, **values), cache=root / "frames", say=say)


def parts(dataset: Dataset) -> list[Split]:
    return [getattr(dataset, name) for name in SPLITS]


def only_file(root: Path) -> Path:
    (file,) = (root / "frames").iterdir()
    return file


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_the_file_has_what_memory_had(root: Path, dtype: Any) -> None:
    in_memory = load_dataset(config(root, dtype=dtype))
    cached = load(root, dtype=dtype)
    for ours, theirs in zip(parts(cached), parts(in_memory), strict=True):
        assert ours.images.dtype == dtype
        assert np.array_equal(ours.images, theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)
        assert not ours.images.flags.writeable
    assert cached.content_hash() == in_memory.content_hash()
    assert (cached.scale, cached.note) == (in_memory.scale, in_memory.note)
    assert cached.scale == max(sample.max() for sample in in_memory.train.images)


def test_the_second_load_builds_nothing(root: Path) -> None:
    said: list[str] = []
    first = load(root, said.append)
    assert said[0] == "frames of 40 recordings of events are built"
    assert said[-1].endswith("of 40 recordings")
    said.clear()

    def build(*_: Any) -> Any:
        raise AssertionError("nothing is to be built")

    second = load_dataset(config(root), cache=root / "frames", run=build, say=said.append)
    assert said == []
    assert second.content_hash() == first.content_hash()


def test_each_choice_and_each_change_of_data_has_a_file_of_its_own(root: Path) -> None:
    load(root)
    load(root, split_by="time")
    load(root, damaged="skip")
    write_parquet(root / "data/test.parquet", ROWS[30:], LABELS[29:39])
    load(root)
    assert len(list((root / "frames").glob("*.arrow"))) == 4


def test_any_reader_of_arrow_can_open_it(root: Path) -> None:
    dataset = load(root)
    with pa.ipc.open_file(pa.memory_map(str(only_file(root)))) as reader:
        assert reader.schema.names == ["frames", "label"]
        table = reader.read_all()
        facts = json.loads(reader.schema.metadata[b"spikeproof"])
    frames = table.column("frames").combine_chunks().to_numpy_ndarray()
    assert np.array_equal(frames, np.concatenate([split.images for split in parts(dataset)]))
    assert facts["num_samples"] == {"train": 27, "validation": 3, "test": 10}
    assert facts["shape"] == [5, 2, 34, 34]
    assert facts["key"] == only_file(root).stem


def test_skipped_recordings_are_remembered(root: Path) -> None:
    rows = [*ROWS[:30]]
    rows[4] = random_events(2)
    write_parquet(root / "data/train.parquet", rows, LABELS[:30])
    first = load(root, damaged="skip")
    second = load(root, damaged="skip")
    assert first.note == second.note
    assert second.note.endswith("; 1 damaged recordings left out")
    (reason,) = read_facts(only_file(root)).skipped
    assert reason.startswith(f"{root / 'data/train.parquet'}: row 4: expected an event a frame")
    assert first.content_hash() == load_dataset(config(root, "skip")).content_hash()


def test_a_refused_recording_leaves_nothing_behind(root: Path) -> None:
    write_parquet(root / "data/train.parquet", [*ROWS[:29], random_events(2)], LABELS[:30])
    with pytest.raises(ConfigError, match="row 29"):
        load(root)
    assert list((root / "frames").iterdir()) == []


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def whole(path: Path) -> int:
    return path.stat().st_size


DAMAGES: dict[str, Any] = {
    "a flipped bit in the frames": lambda path: flip(path, whole(path) // 2),
    "cut short": lambda path: os.truncate(path, whole(path) // 2),
    "without its end": lambda path: os.truncate(path, whole(path) - 1),
    "empty": lambda path: os.truncate(path, 0),
    "foreign": lambda path: path.write_bytes(b"not Arrow at all, but long enough to be looked at"),
    "another Arrow file": lambda path: pa.ipc.new_file(
        str(path), pa.schema([("frames", pa.int64())])
    ).close(),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named_set_aside_and_made_again(root: Path, name: str) -> None:
    expected = load(root).content_hash()
    path = only_file(root)
    DAMAGES[name](path)
    said: list[str] = []
    assert load(root, said.append).content_hash() == expected
    assert said[0].startswith(str(path))
    assert said[0].endswith(f"; set aside as {path.name}.damaged-1, and built again")
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.damaged-1"]
    said.clear()
    load(root, said.append)
    assert said == []


def test_the_frames_of_something_else_under_this_name(root: Path) -> None:
    expected = load(root).content_hash()
    path = only_file(root)
    load(root, split_by="time")
    (other,) = {*path.parent.iterdir()} - {path}
    path.write_bytes(other.read_bytes())
    said: list[str] = []
    assert load(root, said.append).content_hash() == expected
    assert f"holds the frames of {other.stem}" in said[0]


def test_every_byte_of_frames_and_labels_counts(root: Path) -> None:
    """Bytes that may change unseen are padding, or names that nobody reads."""
    dataset = load(root)
    path = only_file(root)
    data = path.read_bytes()
    for split in parts(dataset):
        for array in (split.images, split.labels):
            at = data.find(array.tobytes())
            assert at > 0
            for place in (at, at + array.nbytes - 1):
                flip(path, place)
                said: list[str] = []
                load(root, said.append)
                assert "SHA-256" in said[0]
                path.write_bytes(data)


def test_what_the_file_says_of_itself_counts_too(root: Path) -> None:
    load(root)
    path = only_file(root)
    data = path.read_bytes()
    # Arrow writes the schema at the start of a file and once more at its end, where it is read.
    at = data.rfind(b'"scale": ') + len(b'"scale": ')
    flip(path, at)
    said: list[str] = []
    load(root, said.append)
    assert "what it says of itself was altered" in said[0]


# Pickles: what Ray's workers get.


def test_a_split_is_pickled_as_its_place(root: Path) -> None:
    split = load(root).train
    for original in (split, split.head(5)):
        pickled = pickle.dumps(original)
        assert len(pickled) < 1000
        back = pickle.loads(pickled)
        assert np.array_equal(back.images, original.images)
        assert np.array_equal(back.labels, original.labels)
        assert back.rows_hash() == original.rows_hash()
        assert not back.images.flags.writeable
        assert not back.images.flags.owndata
    assert split.head(5).rows_hash() != split.rows_hash()
    assert split.head(99) is split


def test_what_is_in_memory_is_pickled_whole(root: Path) -> None:
    taken = load(root).train.take(np.array([3, 1]))
    assert taken.stored is None
    back = pickle.loads(pickle.dumps(taken))
    assert np.array_equal(back.images, taken.images)
    assert back.labels.tolist() == taken.labels.tolist()


def test_a_split_of_a_file_that_is_gone(root: Path) -> None:
    pickled = pickle.dumps(load(root).train)
    path = only_file(root)
    path.unlink()
    with pytest.raises(ConfigError, match="expected the file of event frames, found none"):
        pickle.loads(pickled)


def test_open_rows_names_what_is_no_file_of_frames(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    path.write_bytes(b"hello")
    with pytest.raises(DamagedError, match=r"x.arrow: not a whole file of event frames"):
        open_rows(path, "train")


def test_a_map_outlives_its_file(root: Path) -> None:
    dataset = load(root)
    before = dataset.train.images.copy()
    only_file(root).unlink()
    load(root)
    assert np.array_equal(dataset.train.images, before)


# Several processes.


def _hash(root: Path) -> str:
    return load(root).content_hash()


@pytest.mark.slow
def test_processes_that_build_at_once_all_get_it(root: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawn) as pool:
        hashes = set(pool.map(_hash, [root] * 3))
    assert hashes == {load_dataset(config(root)).content_hash()}
    assert [path.suffix for path in (root / "frames").iterdir()] == [".arrow"]


@pytest.mark.slow
def test_chunks_may_be_worked_on_elsewhere(root: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        dataset = load_dataset(config(root), cache=root / "frames", run=pool.map)
    assert dataset.content_hash() == load_dataset(config(root)).content_hash()


def test_a_full_disk_is_a_clear_stop(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        ConfigError, match=r"frames: cannot take 0\.0 GB of frames, .*No space left"
    ):
        load(root)


def test_a_cache_that_is_a_file(root: Path) -> None:
    (root / "frames").write_text("")
    with pytest.raises(ConfigError, match="frames: cannot take"):
        load(root)
