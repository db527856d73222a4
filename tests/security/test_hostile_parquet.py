"""Parquet data of a stranger: schemas that surprise, pictures that unpack to gigabytes."""

import io
import resource
import struct
import time
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.command_line import run_command
from pipeline.data import ParquetConfig, load_dataset
from pipeline.data.encoded_image import MAX_PIXELS

ROWS = 40


def picture(width: int = 8, height: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, "PNG")
    return out.getvalue()


def claimed(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


OK = picture()
LABELS = list(range(4)) * 10
TABLES = {
    "list": {"image": [[{"bytes": OK}]] * ROWS},
    "struct-in-struct": {"image": [{"bytes": {"bytes": OK}}] * ROWS},
    "path-in-struct": {"image": [{"path": "/etc/passwd", "bytes": None}] * ROWS},
    "path": {"image": ["/etc/passwd"] * ROWS},
    "null-bytes": {"image": pa.array([None] * ROWS, pa.binary())},
    "uuid": {
        "image": pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([b"0" * 16] * ROWS, pa.binary(16))
        )
    },
    "postscript": {"image": [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"] * ROWS},
    "svg": {"image": [b"<svg xmlns='http://www.w3.org/2000/svg'/>"] * ROWS},
    "text-label": {"label": ["cat"] * ROWS},
    "fraction-label": {"label": [0.5] * ROWS},
    "negative-label": {"label": [-1] * ROWS},
    "huge-label": {"label": [2**62] * ROWS},
    "label-2^31": {"label": [2**31 - 1] * ROWS},
    "label-2^64": {"label": pa.array([2**64 - 1] * ROWS, pa.uint64())},
    "list-label": {"label": [[1]] * ROWS},
    "no-rows": {"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())},
    "bomb-of-Pillow": {"image": [claimed(40_000, 40_000)] * ROWS},
    "bomb-below-Pillow": {"image": [claimed(13_000, 13_000)] * ROWS},
    "bomb-whole": {"image": [picture(8_000, 8_000)] * ROWS},
    "just-above": {"image": [picture(1024, MAX_PIXELS // 1024 + 1)] * ROWS},
}


def written(folder, table):
    for name in ("train", "test"):
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def load(folder):
    def command(_arguments):
        return run_command(lambda: len(load_dataset(ParquetConfig(root=str(folder))).train))

    return command


@pytest.mark.parametrize("kind", TABLES)
def test_what_is_no_image_with_a_label(tmp_path, refused, kind):
    columns = {"image": [OK] * ROWS, "label": LABELS} | TABLES[kind]
    folder = written(tmp_path, pa.table(columns))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    assert ".parquet" in refused(load(folder))
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024  # KiB


def test_columns_that_steer_a_terminal_or_come_twice(tmp_path, refused):
    refused(load(written(tmp_path, pa.table({"\x1b[31mimage": [OK], "label": [0]}))))
    twice = pa.Table.from_arrays(
        [pa.array([OK])] * 2 + [pa.array([0])], ["image", "image", "label"]
    )
    refused(load(written(tmp_path, twice)))


@pytest.mark.parametrize("content", [b"", b"PAR1" + b"\xff" * 100 + b"PAR1", b"\x80\x04evil"])
def test_what_is_no_parquet(tmp_path, refused, content):
    for name in ("train", "test"):
        (tmp_path / f"{name}.parquet").write_bytes(content)
    refused(load(tmp_path))


@pytest.mark.parametrize("pattern", ["../**", "/etc/*", "a/../../*", "\0"])
def test_patterns_stay_below_the_root(tmp_path, refused, pattern):
    (tmp_path / "data").mkdir()
    config = ParquetConfig(root=str(tmp_path / "data"), train=(pattern,))
    refused(lambda _: run_command(lambda: len(load_dataset(config).train)))
