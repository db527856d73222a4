"""What a store holds of sweeps, as files for other programs: what `reports.export` does."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.command_line import printable
from pipeline.errors import ConfigError
from pipeline.files import StorePath
from reports.flat import flat_frame, sample_frames, uniform
from reports.network import export_network
from reports.queries import load_study
from reports.robustbench import find_trial, model_info
from reports.store import checked_name
from reports.study import Study


def export(
    root: StorePath,
    names: Sequence[str],
    out: Path,
    *,
    samples: bool,
    model: str | None = None,
    network: str | None = None,
) -> list[Path]:
    """Write the files; returns their paths, folders for per-sample rows and for a network.

    Args:
        root: The store.
        names: Sweeps in it.
        out: Where to write, made if absent.
        samples: Whether per-sample rows are wanted, too.
        model: Label or fingerprint of a network to be described as RobustBench does.
        network: That of a network to be taken along, `CHOSEN` for the chosen one.

    Raises:
        ConfigError: A sweep or model is absent, or a file cannot be read or written.
    """
    studies = [load_study(root, checked_name(name)) for name in dict.fromkeys(names)]
    info = model_info(root, *find_trial(studies, model)) if model is not None else None
    # First, as most can be wrong with it.
    taken = [] if network is None else [export_network(root, studies, network, out)]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{out}: cannot be made a folder ({error}); give another --out") from None
    written = _tables(root, studies, out)
    if samples:
        written.append(_samples(root, studies, out / "samples"))
    if info is not None:
        name = checked_name(info["spikeproof"]["fingerprint"], "fingerprint")
        path = out / f"robustbench-{name}.json"
        path.write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    for folder, which in taken:
        sys.stderr.write(printable(f"{which}\n"))
        written.append(folder)
    return written


def _tables(root: StorePath, studies: list[Study], out: Path) -> list[Path]:
    frames = [flat_frame(root, study) for study in studies]
    frame = uniform(pd.concat([f for f in frames if not f.empty] or frames, ignore_index=True))
    paths = [out / "results.csv", out / "results.parquet"]
    frame.to_csv(paths[0], index=False)
    frame.to_parquet(paths[1], index=False)
    return paths


def _samples(root: StorePath, studies: list[Study], folder: Path) -> Path:
    """One Parquet file a network: all of them together may not fit into memory."""
    for study in studies:
        place_of = folder / study.name
        place_of.mkdir(parents=True, exist_ok=True)
        for fingerprint, frame in sample_frames(root, study):
            frame.to_parquet(place_of / f"{fingerprint}.parquet", index=False)
    return folder
