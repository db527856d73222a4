"""All that a third party needs to judge a network's breaks again, in one file."""

import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import StorePath
from pipeline.recheck_file import block_files
from reports.single import CHECKPOINT
from reports.study import Study

SPLITS = ("test", "validation")
STAMP = (1980, 1, 1, 0, 0, 0)
"""Of every entry: equal contents make equal archives."""


def write_archive(store: StorePath, fingerprint: str, out: Path) -> Path | None:
    """Pack a network's checkpoint, configuration, exact verdicts and evidence, and nothing else.

    `python -m pipeline.recheck --archive FILE` checks it, given the data set.

    Returns:
        The path of the archive; None where nothing was judged exactly.
    """
    found: dict[str, StorePath] = {}
    for split in SPLITS:
        for kind in ("verdicts", "evidence"):
            for path in block_files(store / kind / fingerprint / split):
                if kind == "evidence" or _is_exact(path):
                    found[f"{kind}/{fingerprint}/{split}/{path.name}"] = path
    folder = store / "trials" / fingerprint
    if not found or not (folder / CHECKPOINT).is_file():
        return None
    for name in (CHECKPOINT, "config.json"):
        if (folder / name).is_file():
            found[f"trials/{fingerprint}/{name}"] = folder / name
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(found):
            entry = zipfile.ZipInfo(name, STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, found[name].read_bytes())
    temporary.replace(out)
    return out


def write_archives(study: Study, store: StorePath, folder: Path) -> list[Path]:
    """An archive for each of a sweep's networks that was judged exactly; returns their paths."""
    found = [
        write_archive(store, trial.row.fingerprint, folder / f"{trial.row.label}.zip")
        for trial in study.trials
    ]
    return [path for path in found if path is not None]


def _is_exact(path: StorePath) -> bool:
    try:
        about = pq.read_schema(pa.BufferReader(path.read_bytes())).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return bool(about.get(b"judge") == b"exact")
