"""One recheck: find a network and what is stored of it, judge it again, say what was found."""

import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch

from models import SpikingClassifier
from models.digits import InexactError
from models.exact import ExactClassifier, exact
from pipeline import checkpoints
from pipeline.adapters.parquet_store import read_block
from pipeline.config import domain_of
from pipeline.console import Progress
from pipeline.data import Dataset
from pipeline.environment import revision
from pipeline.errors import ConfigError, DamagedError
from pipeline.evaluate_run import trained
from pipeline.evidence_check import recheck
from pipeline.evidence_rows import Claim, Problem, Recheck, Stored
from pipeline.files import StorePath
from pipeline.recheck_file import block_files, write_recheck
from pipeline.worker import choose_device
from reports.store import judged_networks, read_trials, sweep_names

MOST_SHOWN = 20
"""Problems that are printed."""
MOST_BYTES = 16 * 2**30
"""Of an archive that is unpacked."""
SPLITS = ("test", "validation")
_MEMBER = re.compile(
    r"(trials|verdicts|evidence)/[A-Za-z0-9][\w.-]*(/(test|validation))?/[A-Za-z0-9][\w.+@=-]*"
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for."""

    store: StorePath
    run: str | None
    sweep: str | None
    archive: Path | None
    checkpoint: StorePath | None
    data_root: str | None
    device: str


def run_recheck(request: Request) -> int:
    """Judge again, print, keep the result in the store; returns the exit code.

    Raises:
        ConfigError: What the user can fix.
    """
    if request.archive is None:
        assert request.run is not None
        fingerprint = _fingerprint(request.store, request.run, request.sweep)
        return _recheck(request.store, fingerprint, request, keep=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fingerprint = _unpacked(request.archive, root)
        return _recheck(root, fingerprint, request, keep=False)


def _recheck(store: StorePath, fingerprint: str, request: Request, *, keep: bool) -> int:
    console = Progress()
    path = request.checkpoint or store / "trials" / fingerprint / checkpoints.FILE_NAME
    try:
        checkpoint, _, dataset = trained(path, store, request.data_root)
    except DamagedError as error:
        console.line(f"checkpoint: {error}", "red")
        return 1
    digest = checkpoints.digest(path)
    if checkpoint.fingerprint != fingerprint:
        console.line(
            f"checkpoint: {path}: is of the network {checkpoint.fingerprint}, not of {fingerprint}",
            "red",
        )
        return 1
    judge = _judge(checkpoint, choose_device(request.device))
    codes = []
    for split in SPLITS:
        verdicts, evidence, damaged, others = _files(store, fingerprint, split)
        if not (verdicts or evidence or damaged):
            continue
        if others:
            console.line(
                f"{others} files of {split} verdicts have a plain judge, as those of an audit: not "
                "covered, and no part of the reported number"
            )
        claim = Claim(fingerprint=fingerprint, split=split, checkpoint_sha256=digest)
        samples = {"test": dataset.test, "validation": dataset.validation}[split]
        found = recheck(judge, samples, verdicts, evidence, claim, domain_of(dataset))
        found.problems[:0] = damaged
        codes.append(_told(console, found, claim, dataset, judge))
        if keep:
            write_recheck(store, fingerprint, split, _facts(found, judge))
    if not codes:
        raise ConfigError(
            f"{store}: no verdicts of an exact judge for {fingerprint}; run pipeline.evaluate with "
            "a suite that says judge: exact, such as paper"
        )
    return max(codes)


def _judge(checkpoint: checkpoints.Checkpoint, device: torch.device) -> ExactClassifier:
    model = checkpoints.rebuild(checkpoint)
    assert isinstance(model, SpikingClassifier)
    try:
        return exact(model).to(device)
    except InexactError as error:
        raise ConfigError(f"{error}; use a suite that says judge: plain") from error


def _files(
    store: StorePath, fingerprint: str, split: str
) -> tuple[list[Stored], list[Stored], list[Problem], int]:
    """Verdicts of an exact judge, evidence, what cannot be read, and how many files are plain."""
    read: dict[str, list[Stored]] = {"verdicts": [], "evidence": []}
    damaged, others = [], 0
    for kind, files in read.items():
        for path in block_files(store / kind / fingerprint / split):
            name = f"{kind}/{path.name}"
            try:
                block = read_block(path)
            except DamagedError as error:
                damaged.append(Problem(kind="file", where=name, sentence=str(error)))
                continue
            if kind == "evidence" or block.metadata.get("judge") == "exact":
                files.append(Stored(name=name, block=block))
            else:
                others += 1
    return read["verdicts"], read["evidence"], damaged, others


def _told(
    console: Progress, found: Recheck, claim: Claim, dataset: Dataset, judge: ExactClassifier
) -> int:
    """Print what was found, a quotable line at the end; 1 if anything does not fit."""
    for problem in found.problems[:MOST_SHOWN]:
        console.line(str(problem), "red")
    if len(found.problems) > MOST_SHOWN:
        console.line(f"and {len(found.problems) - MOST_SHOWN} more", "red")
    radii = ", ".join(f"{radius:.4g}" for radius in sorted({e for *_, e in found.breaks})) or "none"
    bad = f"; {len(found.problems)} problems" if found.problems else ""
    console.plain(
        f"rechecked: {len(found.reproduced)} of {len(found.breaks)} breaks reproduce, and "
        f"{len(found.clean_same)} of {len(found.clean)} clean answers, bit for bit{bad} "
        f"({claim.split} split of {dataset.name}, radius {radii}; network {claim.fingerprint}, "
        f"checkpoint sha256 {claim.checkpoint_sha256[:16]}, data sha256 "
        f"{dataset.content_hash()[:16]}; exact judge on {_device(judge)}, torch "
        f"{torch.__version__}, code {revision()})"
    )
    return int(bool(found.problems) or found.reproduced != found.breaks)


def _facts(found: Recheck, judge: ExactClassifier) -> dict[str, object]:
    return {
        "breaks": len(found.breaks),
        "reproduced": len(found.reproduced),
        "clean": len(found.clean),
        "clean_same": len(found.clean_same),
        "problems": len(found.problems),
        "first_problems": [str(problem) for problem in found.problems[:MOST_SHOWN]],
        "device": _device(judge),
        "torch": torch.__version__,
        "revision": revision(),
    }


def _device(judge: ExactClassifier) -> str:
    device = next(judge.buffers()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _fingerprint(store: StorePath, run: str, sweep: str | None) -> str:
    """The network that `--run` names.

    Raises:
        ConfigError: It names none, or several.
    """
    known = judged_networks(store)
    if sweep is not None and sweep not in sweep_names(store):
        listed = ", ".join(sweep_names(store)) or "none"
        raise ConfigError(
            f"--sweep {sweep}: no such sweep in {store}; sweeps there: {listed}; "
            "correct --sweep or --store"
        )
    names = [sweep] if sweep is not None else sweep_names(store)
    labelled = {
        row.fingerprint for name in names for row in read_trials(store, name) if row.label == run
    }
    found = labelled & {*known}
    if not found and sweep is None:
        found = {name for name in known if run and name.startswith(run)}
    if len(found) == 1:
        return found.pop()
    listed = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    what = "names several networks; add --sweep NAME" if found else "no such network has verdicts"
    raise ConfigError(
        f"--run {run}: {what} in {store}; known are {listed or 'none yet'}: write one"
    )


def _unpacked(archive: Path, folder: Path) -> str:
    """Unpack an archive of one network; returns its fingerprint.

    Raises:
        ConfigError: It is no such archive.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            strange = [m.filename for m in members if not _MEMBER.fullmatch(m.filename)]
            networks = {m.filename.split("/")[1] for m in members}
            if strange or len(networks) != 1 or sum(m.file_size for m in members) > MOST_BYTES:
                raise ConfigError(
                    f"--archive {archive}: expected checkpoint, config, verdicts and evidence of "
                    f"one network as reports.build --evidence writes them, got "
                    f"{(strange or sorted(networks) or ['nothing'])[0]!r}"
                )
            for member in members:
                target = folder / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(packed.read(member))
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise ConfigError(
            f"--archive {archive}: cannot be unpacked ({error}); give one that "
            "reports.build --evidence wrote"
        ) from error
    return networks.pop()
