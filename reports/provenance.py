"""Where numbers come from, which of them are stale, and what a renewal changes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.files import StorePath
from pipeline.fingerprint import fingerprint
from pipeline.stale import SUITES, Stale, StoredBlock, suite_change
from reports.single import Single, judged_sets
from reports.store import read_sweep, read_trials, read_verdicts
from reports.study import Study
from reports.unions import CLEAN, NO_ORACLE, Suite, judge, suite_from

MARK = "†"
"""Stands after a stale number."""
UNKNOWN = "unknown"
SUITE = "suite"
"""Stands for a member where the suite as a whole has changed."""
_TOLD = ("checkpoint_sha256", "data_sha256", "revision", "device", "torch", "precision")


def stale_members(
    blocks: Iterable[StoredBlock],
    split: str,
    hashes: Mapping[str, str | None],
    num_samples: int | None,
) -> dict[str, str]:
    """By member: why its rows are stale; only those that are.

    Args:
        blocks: Of a network.
        split: Which of its rows.
        hashes: Attack hash by member, `attack+oracle`; None takes any version.
        num_samples: First samples of the split that count; None takes all.
    """
    found: dict[str, list[str]] = {}
    for block in blocks:
        key, name = block.key, block.key.member.removesuffix(f"+{NO_ORACLE}")
        counts = key.split == split and hashes.get(name, "") in (None, key.member_hash)
        if counts and key.start < (num_samples or key.stop):
            found.setdefault(name, []).extend(block.reasons)
    return {name: _joined(reasons) for name, reasons in found.items() if reasons}


def hashes_of(suite: Suite) -> dict[str, str | None]:
    """Attack hash by member of a suite, the unattacked rows included; None where not recorded."""
    return {name: suite.hashes.get(name) for name in (CLEAN, *suite.members)}


def stale_suites(facts: Mapping[str, Any]) -> dict[str, str]:
    """By split: how the suite that a sweep was judged by has changed; only those that have."""
    found = {}
    for which, split in SUITES.items():
        try:
            change = suite_change(facts.get(which) or {})
        except ConfigError:  # its file is gone, perhaps: `--stale` says so; a report can be built
            continue
        if change:
            found[str(split)] = change
    return found


def mark(text: str, *, stale: bool) -> str:
    """The text of a number, with the mark where it is stale."""
    return f"{text}{MARK}" if stale else text


def notes(stale: Mapping[str, Iterable[str]], command: str) -> list[str]:
    """One sentence for each reason why numbers are stale, and the command that redoes them.

    Args:
        stale: Reasons by what they are of, such as a network's label.
        command: What redoes it.
    """
    whose: dict[str, list[str]] = {}
    for name, reasons in stale.items():
        for reason in reasons:
            whose.setdefault(reason, []).append(name)
    if not whose:
        return []
    told = [f"{', '.join(dict.fromkeys(names))}: {reason}" for reason, names in whose.items()]
    return [f"{MARK} Stale: {'; '.join(told)}. Redo these rows alone: {command}"]


def study_notes(study: Study) -> list[str]:
    """What of a study is stale, and how it is redone; empty where nothing is."""
    stale = {
        trial.row.label: [
            *(f"{reason} ({split}, {name})" for split, of_split in trial.stale.items()
              for name, reason in of_split.items() if name != SUITE),
            *trial.stale_gradients,
        ]
        for trial in study.trials
    }  # fmt: skip
    found = {f"all on {split}": [change] for split, change in study.stale_suites.items()}
    return notes(found | stale, redo_command(study.place, study.name))


def redo_command(place: str, sweep: str = "") -> str:
    """The command that redoes what is stale in a store."""
    store = f" --store {place}" if place and place != "runs" else ""
    return f"python -m pipeline.evaluate --stale{store}" + (f" --sweep {sweep}" if sweep else "")


def provenance(blocks: Sequence[StoredBlock]) -> dict[str, str]:
    """What some blocks were computed from and with, each fact once, and whether they are stale."""
    told = {name: _joined(b.about.get(name, "") for b in blocks) for name in _TOLD}
    codes = [block.about.get("code", "") for block in blocks]
    reasons = _joined(reason for block in blocks for reason in block.reasons)
    unknown = not all(codes) or not codes or any(block.problem for block in blocks)
    return told | {
        "code": _joined(fingerprint(code, 12) if code else "" for code in codes),
        "stale": reasons or (UNKNOWN if unknown else "no"),
    }


def provenance_frame(study: Study) -> pd.DataFrame:
    """One row for each trial, split and stored member: what it was computed from and with."""
    rows: list[dict[str, Any]] = []
    for trial in study.trials:
        groups: dict[tuple[str, str, str], list[StoredBlock]] = {}
        for block in trial.blocks:
            key = block.key
            groups.setdefault((key.split, key.member, key.member_hash), []).append(block)
        for (split, member, code), blocks in groups.items():
            named = {"trial": trial.row.label, "fingerprint": trial.row.fingerprint}
            named |= {"split": split, "member": member, "attack_hash": code}
            rows.append({**named, "blocks": len(blocks), **provenance(blocks)})
    heads = ("trial", "fingerprint", "split", "member", "attack_hash", "blocks", *_TOLD)
    return pd.DataFrame(rows, columns=[*heads, "code", "stale"])


def robust_accuracies(
    root: StorePath, sweeps: Sequence[str], found: Stale
) -> Iterator[tuple[str, tuple[float, int]]]:
    """Robust accuracies that a renewal may change, and their samples, by what they are of."""
    of_sweeps = set()
    for name in sweeps:
        facts = read_sweep(root, name)
        changed = {which for sweep, which, _ in found.suites if sweep == name}
        for row in read_trials(root, name):
            of_sweeps.add(row.fingerprint)
            for which, split in SUITES.items():
                if row.fingerprint not in found.blocks and which not in changed:
                    continue
                suite = suite_from(facts.get(which), facts.get(f"num_{split}"))
                result = judge(
                    read_verdicts(root, row.fingerprint, split), suite.of(row.fingerprint)
                )
                if result is not None and result.robust is not None:
                    label = f"{row.label} of {name}, {split}, suite '{suite.name}'"
                    yield label, (result.robust.value, result.robust.total)
    alone = [
        Single(fingerprint=name, label=name, config={})
        for name in sorted(found.blocks.keys() - of_sweeps)
    ]
    for single, judged in judged_sets(root, alone, []):
        robust = judged.result.robust
        if robust is not None:
            radius = "" if judged.epsilon is None else f", epsilon {judged.epsilon:.4g}"
            many = f"{len(judged.attacks) - 1} attacks{radius}, n={robust.total}"
            yield f"{single.label}, {judged.split}, {many}", (robust.value, robust.total)


def build_commands(root: StorePath, sweeps: Sequence[str], found: Stale) -> Iterator[str]:
    """How the reports that show what was redone are built."""
    changed, shown = {name for name, _, _ in found.suites}, set[str]()
    for name in sweeps:
        own = {row.fingerprint for row in read_trials(root, name)}
        shown |= own
        if name in changed or own & found.blocks.keys():
            yield f"python -m reports.build --store {root} --sweep {name}"
    for name in sorted(found.blocks.keys() - shown):
        yield f"python -m reports.build --store {root} --network {name}"


def _joined(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(value for value in values if value))
