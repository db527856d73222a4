"""Pages of sweeps and of single networks, written to folders and printed by name."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.command_line import printable
from pipeline.errors import ConfigError
from pipeline.files import StorePath, local_folder
from pipeline.object_path import ObjectPath
from reports.archive import write_archives
from reports.compare import folder_name, write_comparison
from reports.compare_load import load_comparison
from reports.page import write_page
from reports.paper_page import write_paper_page
from reports.queries import load_study
from reports.single import Single, find_network
from reports.store import checked_name, read_sweep, sweep_names
from reports.study import Study


class NothingToCompare(ConfigError):
    """Too little was judged; the pages of the sweeps themselves are written all the same."""


def build_report(store: StorePath, name: str, out: Path | None = None) -> Path:
    """Write a sweep's page, figures and tables.

    Args:
        store: Folder, or place in an object store, that holds `sweeps/`, `verdicts/` and the
            others.
        name: Name of the sweep.
        out: Folder to write to; by default `reports/<name>` of the store, and where that
            is an object store, a local folder whose files are copied there.

    Returns:
        The path of the page.

    Raises:
        ConfigError: If the sweep is absent or one of its files cannot be read.
    """
    checked_name(name)
    return write_report(load_study(store, name), store, out)


def build_comparison(
    store: StorePath, studies: Sequence[Study], singles: Sequence[Single], out: Path | None = None
) -> Path:
    """Write the page that compares studies and single networks, with its figures and tables.

    Returns:
        The path of the page.

    Raises:
        NothingToCompare: Fewer than two of them have a complete set of verdicts.
        ConfigError: A file of the store cannot be read.
    """
    compared = load_comparison(store, studies, singles)
    if len(compared.sources) - len(compared.empty) < min(2, len(compared.sources)):
        raise NothingToCompare(
            f"no page that compares: {' and '.join(compared.empty)} without a complete set of "
            "verdicts; continue it with pipeline.sweep --resume, or judge it with pipeline.evaluate"
        )
    name = folder_name(compared.sources)
    return _published(store, name, out, lambda folder: write_comparison(compared, folder))


def build_paper(store: StorePath, out: Path | None = None) -> Path:
    """Write the page that sets every sweep of the paper's tables and figures beside them.

    Raises:
        ConfigError: A sweep's file cannot be read.
    """
    names = sweep_names(store)
    wanted = [name for name in names if read_sweep(store, name).get("paper")]
    studies = [load_study(store, name) for name in wanted]
    return _published(store, "paper", out, lambda folder: write_paper_page(studies, folder))


def write_report(study: Study, store: StorePath, out: Path | None = None) -> Path:
    """Write a study's page, as `build_report` does; returns its path."""
    return _published(store, study.name, out, lambda folder: write_page(study, folder))


def _published(
    store: StorePath, name: str, out: Path | None, write: Callable[[Path], Path]
) -> Path:
    """Have a page written to its folder, and copied to where the store is; returns its path."""
    folder = out if out is not None else local_folder(store) / "reports" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder}: cannot be made a folder ({error}); give another --out"
        ) from None
    page = write(folder)
    if out is None and isinstance(store, ObjectPath):
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            copy = store / "reports" / name / file.relative_to(folder).as_posix()
            copy.write_bytes(file.read_bytes())
    return page


def build(
    store: StorePath,
    *,
    sweeps: Sequence[str],
    networks: Sequence[str],
    paper: bool,
    evidence: bool,
    out: Path | None,
) -> int:
    """Build what is asked for, and print every page's path once it is written.

    Args:
        store: Folder, or place in an object store, where sweeps wrote to.
        sweeps: Names; none with no networks is the store's only one.
        networks: `[LABEL=]FINGERPRINT`, of networks that no sweep trained.
        paper: The paper's page alone.
        evidence: Also pack what judging the breaks again needs.
        out: Where to write, instead of the store's `reports/`.

    Returns:
        The exit code.

    Raises:
        ConfigError: What is asked for is not there, or cannot be read or written.
    """
    if paper:
        _say(build_paper(store, out))
        return 0
    singles = [find_network(store, text) for text in networks]
    names = list(dict.fromkeys(sweeps or ([] if singles else [_only_sweep(store)])))
    _check_distinct([*names, *(single.label for single in singles)])
    checked = [checked_name(name) for name in names]
    parts = len(names) + len(singles)
    studies = []
    for name in checked:
        study = load_study(store, name)
        page = write_report(study, store, out / name if out is not None and parts > 1 else out)
        _say(page)
        studies.append(study)
        if evidence:
            for archive in write_archives(study, store, page.parent / "evidence"):
                _say(archive)
    if parts > 1 or singles:
        shown = [*names, *(single.label for single in singles)]
        if out is not None and parts > 1:
            out = out / folder_name(shown)
        try:
            _say(build_comparison(store, studies, singles, out))
        except NothingToCompare as error:
            sys.stderr.write(printable(f"{error}\n"))
            return 0 if names else 2
    return 0


def _say(path: Path) -> None:
    sys.stdout.write(f"{path}\n")
    sys.stdout.flush()


def _check_distinct(labels: Sequence[str]) -> None:
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(
                f"--network: '{label}' names two things; give one a label, --network LABEL=..."
            )


def _only_sweep(store: StorePath) -> str:
    names = sweep_names(store)
    if len(names) == 1:
        return names[0]
    if not names:
        raise ConfigError(
            f"no sweep in {store}: run one first (python -m pipeline.sweep --space FILE), "
            "or name its store with --store DIR"
        )
    raise ConfigError(f"{store} holds several sweeps; name one with --sweep: {', '.join(names)}")
