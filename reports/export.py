"""Everything measured as files: python -m reports.export --store DIR --sweep N ... --out DIR."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.console import parse, place, printable
from pipeline.errors import ConfigError
from pipeline.files import StorePath
from reports.flat import flat_frame, sample_frames, uniform
from reports.queries import load_study
from reports.robustbench import find_trial, model_info
from reports.store import checked_name
from reports.study import Study

EXAMPLES = """examples:
  python -m reports.export --store runs --sweep lambda --out exported
  python -m reports.export --sweep A B --out exported --samples
  python -m reports.export --sweep lambda --out exported --model sr-003
"""


def export(
    root: StorePath, names: Sequence[str], out: Path, *, samples: bool, model: str | None
) -> list[Path]:
    """Write the files; returns their paths, a folder for the per-sample rows.

    Raises:
        ConfigError: A sweep or model is absent, or a file cannot be read or written.
    """
    studies = [load_study(root, checked_name(name)) for name in dict.fromkeys(names)]
    info = model_info(root, *find_trial(studies, model)) if model is not None else None
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports.export",
        description="Write all accuracies of sweeps as CSV and Parquet, a row for each trial, "
        "split and attack; fractions, with 95 %% intervals.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", type=place, default=Path("runs"), metavar="DIR",
                        help="where the sweeps wrote to, a folder or s3://bucket/prefix "
                        "(default: runs)")  # fmt: skip
    parser.add_argument("--sweep", nargs="+", action="extend", required=True, metavar="N",
                        help="sweeps to export")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--samples", action="store_true",
                        help="also one Parquet file a network with a row a sample")  # fmt: skip
    parser.add_argument("--model", metavar="LABEL_OR_FINGERPRINT",
                        help="also this network in the form of RobustBench's model_info files; the "
                        "robust accuracy is an `external` one, not AutoAttack's")  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what is asked for, and print where it is."""
    options = parse(_parser(), arguments)
    try:
        written = export(options.store, options.sweep, options.out, samples=options.samples,
                         model=options.model)  # fmt: skip
    except ConfigError as error:
        print(printable(str(error)), file=sys.stderr)  # noqa: T201
        return 2
    for path in written:
        print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
