"""Every result store keeps the promise of `pipeline.ports.ResultStore`."""

import dataclasses

import numpy as np
import pytest

from pipeline.adapters.parquet_store import ParquetStore
from pipeline.local import MemoryStore
from pipeline.records import Block, BlockKey

KEY = BlockKey(
    fingerprint="f00d", split="test", member="pgd+rga", member_hash="abc", seed=0, start=0, stop=3
)


def block(robust=(True, False, True)):
    columns = {
        "sample": np.arange(3),
        "attack": np.full(3, "pgd", dtype=object),
        "robust": np.array(robust),
        "margin": np.array([0.5, -1.25, np.nan], dtype=np.float32),
    }
    return Block(columns=columns, metadata={"torch": "2.13", "device": "cpu"})


@pytest.fixture(params=["memory", "parquet", "parquet in an object store"])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore()
    if request.param == "parquet":
        return ParquetStore(tmp_path)
    return ParquetStore(request.getfixturevalue("bucket") / tmp_path.name)


def test_what_was_put_comes_back_unchanged(store):
    assert not store.has(KEY)
    store.put(KEY, block())
    assert store.has(KEY)
    back = store.get(KEY)
    assert back.metadata == block().metadata
    assert list(back.columns) == list(block().columns)
    for name, values in block().columns.items():
        np.testing.assert_array_equal(back.columns[name], values)
        assert back.columns[name].dtype == values.dtype


def test_the_first_block_stays(store):
    store.put(KEY, block())
    store.put(KEY, block((False, False, False)))
    assert store.get(KEY).columns["robust"].tolist() == [True, False, True]


def test_an_absent_block_is_a_key_error(store):
    with pytest.raises(KeyError):
        store.get(KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "beef"},
        {"split": "validation"},
        {"member": "fgsm+rga"},
        {"member_hash": "abd"},
        {"start": 3, "stop": 6},
        {"stop": 2},
        {"seed": 1},
    ],
)
def test_every_part_of_the_key_counts(store, change):
    store.put(KEY, block())
    assert not store.has(dataclasses.replace(KEY, **change))


def test_parquet_blocks_survive_the_process_and_leave_no_temporary_files(tmp_path):
    ParquetStore(tmp_path).put(KEY, block())
    assert ParquetStore(tmp_path).has(KEY)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [ParquetStore(tmp_path).path(KEY)]


def test_parquet_blocks_merge_into_one_table(tmp_path):
    store = ParquetStore(tmp_path)
    second = dataclasses.replace(KEY, start=3, stop=6)
    store.put(KEY, block())
    store.put(second, block((False, False, False)))
    store.merge([KEY, second], tmp_path / "all.parquet")
    import pandas as pd

    rows = pd.read_parquet(tmp_path / "all.parquet")
    assert rows["robust"].tolist() == [True, False, True, False, False, False]


def test_lists_come_back_unchanged(store):
    """In a store that is opened anew, too: what is read again is checked against its sum."""
    lists = np.empty(3, dtype=object)
    for row, value in enumerate(([1.0, 2.0], [], [3.5])):
        lists[row] = np.array(value, dtype=np.float32)
    told = Block(columns={"sample": np.arange(3), "gradient": lists}, metadata={})
    store.put(KEY, told)
    if isinstance(store, ParquetStore):
        store = ParquetStore(store.root)
    assert store.has(KEY)
    back = store.get(KEY).columns["gradient"]
    assert [list(row) for row in back] == [[1.0, 2.0], [], [3.5]]
