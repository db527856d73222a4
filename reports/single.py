"""Networks judged on their own, by `pipeline.evaluate`: which they are, and by what judged."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.files import StorePath
from pipeline.records import SplitName
from reports import store
from reports.parameters import section
from reports.unions import CLEAN, NO_ORACLE, SplitResult, Suite, judge

CHECKPOINT = "checkpoint.safetensors"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_HEADER = 100_000_000
Attacks = frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Single:
    """A network that has verdicts of its own."""

    fingerprint: str
    label: str
    config: dict[str, Any]
    """As it was trained; empty for a network of another origin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSet:
    """A complete set of verdicts: every member on the same samples."""

    split: str
    suite: str
    """Name of the study's suite that it is; empty otherwise."""
    epsilon: float | None
    attacks: Attacks
    result: SplitResult
    labels: tuple[int, ...]
    """Of the samples; empty where they are not recorded."""


def find_network(root: StorePath, text: str) -> Single:
    """The network that `--network` names: `[LABEL=]` a fingerprint, its beginning, or a folder.

    Raises:
        ConfigError: It names none that has verdicts, or several.
    """
    label, equals, name = text.partition("=")
    if not equals or Path(text).exists():
        label, name = "", text
    elif not _LABEL.fullmatch(label):
        raise ConfigError(
            f"--network {text}: expected a label of letters, digits, '_', '-' and '.' before the "
            f"'=', got {label!r}"
        )
    known = store.judged_networks(root)
    wanted = _fingerprint_in(Path(name)) or name
    found = [wanted] if wanted in known else [k for k in known if wanted and k.startswith(wanted)]
    if len(found) != 1:
        listed = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
        what = "names several networks" if found else "no such network has verdicts"
        raise ConfigError(
            f"--network {text}: {what} in {root}; judge one with python -m pipeline.evaluate, then "
            f"give its checkpoint's folder or one of: {listed or 'none yet'}"
        )
    config = store.read_config(root, found[0])
    method = section(config, "strategy").get("method", "network")
    return Single(fingerprint=found[0], label=label or f"{method}-{found[0][:6]}", config=config)


def judged_sets(
    root: StorePath, singles: Sequence[Single], recorded: Iterable[tuple[str, Suite]]
) -> list[tuple[Single, JudgedSet]]:
    """Every complete set of verdicts of single networks.

    A set is a suite of the studies beside which they stand, or else all attacks of one radius that
    judged the same samples; what one network was judged by is looked for in the others too.
    """
    rows = {
        (index, split): store.read_rows(root, single.fingerprint, split)
        for index, single in enumerate(singles)
        for split in (SplitName.TEST, SplitName.VALIDATION)
    }
    wanted = [(split, suite) for split, suite in recorded if suite.members]
    for (_, split), frame in rows.items():
        wanted += [(split, suite) for suite in _own_suites(frame)]
    found: list[tuple[Single, JudgedSet]] = []
    for (index, split), frame in rows.items():
        seen: set[tuple[Attacks, int]] = set()
        for on, suite in wanted:
            judged = _judged(frame, split, suite) if on == split else None
            if judged is None or (judged.attacks, judged.result.expected) in seen:
                continue
            seen.add((judged.attacks, judged.result.expected))
            found.append((singles[index], judged))
    return found


def attacks_of(rows: pd.DataFrame, suite: Suite) -> Attacks:
    """Members of a suite with the hashes that the rows have, or the suite names."""
    names = _members(rows)
    stored = rows["attack_hash"].groupby(names).unique()
    return frozenset(
        (name, suite.hashes.get(name) or "/".join(sorted(map(str, stored.get(name, [])))))
        for name in (CLEAN, *suite.members)
    )


def epsilon_of(rows: pd.DataFrame, attacks: Attacks) -> float | None:
    """The largest radius among the attacks; None where the rows have none."""
    if "epsilon" not in rows:
        return None
    hashes = {code for _, code in attacks}
    radii = rows.loc[rows["attack_hash"].isin(hashes) & (rows["attack"] != CLEAN), "epsilon"]
    return round(float(radii.max()), 6) if len(radii) else None


def labels_of(rows: pd.DataFrame, num_samples: int) -> tuple[int, ...]:
    """Labels of the first samples; empty where any is not recorded."""
    if "label" not in rows:
        return ()
    first = rows.drop_duplicates("sample").set_index("sample")["label"]
    first = first.reindex(range(num_samples)).dropna()
    return tuple(int(label) for label in first) if len(first) == num_samples else ()


def _own_suites(rows: pd.DataFrame) -> list[Suite]:
    """For each radius, judge and number of samples, all members that were judged on so many."""
    if rows.empty or "epsilon" not in rows:
        return []
    names = _members(rows)
    attacked = rows[rows["attack"] != CLEAN]
    found = []
    judge = rows["judge"] if "judge" in rows else pd.Series("", index=rows.index)
    for (_, by), of_radius in attacked.groupby([attacked["epsilon"].round(6), judge]):
        clean = rows.loc[(rows["attack"] == CLEAN) & (judge == by), "attack_hash"].unique()
        own = {CLEAN: str(clean[0])} if len(clean) == 1 else {}
        counted = of_radius.groupby([names[of_radius.index], of_radius["attack_hash"]])[
            "sample"
        ].nunique()
        for size in sorted(set(counted), reverse=True):
            versions: dict[str, list[str]] = {}
            for name, code in counted[counted >= size].index:
                versions.setdefault(str(name), []).append(str(code))
            # A suite names one version of an attack: of several, each makes a set.
            for i in range(max(map(len, versions.values()))):
                hashes = {name: codes[min(i, len(codes) - 1)] for name, codes in versions.items()}
                found.append(
                    Suite(
                        name="", members=tuple(hashes), num_samples=int(size), hashes=hashes | own
                    )
                )
    return found


def _judged(rows: pd.DataFrame, split: str, suite: Suite) -> JudgedSet | None:
    result = judge(rows, suite)
    if result is None or result.survivors is None:
        return None
    attacks = attacks_of(rows, suite)
    return JudgedSet(
        split=split,
        suite=suite.name,
        epsilon=epsilon_of(rows, attacks),
        attacks=attacks,
        result=result,
        labels=labels_of(rows, result.expected),
    )


def _members(rows: pd.DataFrame) -> "pd.Series[Any]":
    """The member of each row, `attack+oracle`."""
    bare = rows["oracle"] == NO_ORACLE
    return rows["attack"].where(bare, rows["attack"] + "+" + rows["oracle"])


def _fingerprint_in(folder: Path) -> str:
    """What a checkpoint in the folder says it is, read from its header alone; empty without one."""
    path = folder / CHECKPOINT if folder.is_dir() else folder
    if not path.is_file():
        return folder.name
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _MOST_HEADER:
                return folder.name
            about = json.loads(file.read(length))["__metadata__"]
        return str(json.loads(about["spikeproof"])["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name
