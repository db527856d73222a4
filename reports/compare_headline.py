"""What a comparison says, in sentences; unlike things are named as such and not ranked."""

from itertools import combinations

from pipeline.records import SplitName
from reports.compare_queries import Compared, Entry, Group, Pair
from reports.compare_wording import (
    chosen_by,
    differences,
    gap,
    listed,
    of_entry,
    radius_of,
    short_data,
)
from reports.provenance import notes, redo_command
from reports.statistics import Comparison
from reports.wording import points, signed_points, with_interval

_MOST_PAIRS = 3


def summary(compared: Compared) -> list[str]:
    """The result, group by group."""
    sentences = []
    met: set[frozenset[str]] = set()
    for group in compared.groups:
        pairs = set(map(frozenset, combinations(group.sources, 2)))
        if pairs - met:
            sentences += _of_group(group)
            met |= pairs
    if not sentences:
        what = "Nothing here was judged alike" if len(compared.sources) > 1 else "One network alone"
        sentences.append(f"{what}, so nothing is compared. Each stands by itself below.")
    judged = {source for group in compared.groups for source in group.sources}
    sources = [source for source in compared.sources if source in judged]
    unlike = [pair for pair in combinations(sources, 2) if frozenset(pair) not in met]
    if unlike:
        names = listed([f"{first} with {second}" for first, second in unlike], 3)
        sentences.append(f"Not compared, as they were judged differently: {names}; see below why.")
    return sentences


def variants(compared: Compared) -> list[str]:
    """What choosing another epoch than the last one changes."""
    found: dict[tuple[str, str], str] = {}
    for group in compared.groups:  # test images come first
        for pair in group.variants:
            networks = (pair.first.fingerprint, pair.second.fingerprint)
            found.setdefault(networks, _variant(pair, group))
    return list(found.values())


def apart(compared: Compared) -> list[str]:
    """A line for each two that are not compared: what differs."""
    found = []
    for first, second in combinations(compared.sources, 2):
        left = [group for group in compared.groups if first in group.sources]
        right = [group for group in compared.groups if second in group.sources]
        if not left or not right or any(group in right for group in left):
            continue
        nearest = min(
            (differences(one, other) for one in left for other in right),
            key=len,
        )
        found.append(f"{first} and {second} differ in {listed(nearest, 9)}.")
    return found


def caveats(compared: Compared) -> list[str]:
    """What to keep in mind when reading the sentences."""
    stale: dict[str, list[str]] = {}
    for group in compared.groups:
        for entry in group.entries:
            told = [
                f"{reason} ({group.terms.split}, {name})" for name, reason in entry.stale.items()
            ]
            stale.setdefault(of_entry(entry), []).extend(told)
    found = notes(stale, redo_command(compared.place))
    shared = [group for group in compared.groups if len(group.sources) > 1]
    if any(group.leader and len(group.entries) > 2 for group in shared):
        found.append(
            "The highest of several is picked on the very images it is quoted on, which flatters "
            "it a little; what a study chose was chosen on validation images alone."
        )
    failed = {
        of_entry(entry) for group in compared.groups for entry in group.entries
        if not entry.believed
    }  # fmt: skip
    if failed:
        names = listed(sorted(failed))
        found.append(f"Never called the highest, as the trust audit failed: {names}.")
    for single, study in compared.by_labels.items():
        found.append(
            f"Which images {single} was judged on is not written down; it is taken for the data of "
            f"{study}, as the labels of all its images are the same."
        )
    for single, trial in compared.trials.items():
        found.append(
            f"{single} is {trial}; where it was judged as that study was, it stands there."
        )
    if compared.empty:
        names = listed(list(compared.empty))
        found.append(f"Without a complete set of verdicts, and so left out: {names}.")
    return found


def _of_group(group: Group) -> list[str]:
    leader = group.leader
    if leader is None:
        return []
    terms = group.terms
    flattered = "" if terms.split == SplitName.TEST else ", which also chose the settings"
    opening = (
        f"On the same {terms.num_samples} {terms.split} images of {short_data(group)}{flattered}, "
        f"under the same attacks at {radius_of(terms)}, {of_entry(leader)} has "
        f"the highest robust accuracy: {with_interval(leader.robust)}, "
        f"at {with_interval(leader.clean)} on clean images."
    )
    return [opening, *_behind(group), *_choices(group)]


def _behind(group: Group) -> list[str]:
    pairs = sorted(group.behind, key=lambda pair: -pair.robust.difference)
    level = [pair for pair in pairs if not pair.distinguishable]
    less = [pair for pair in pairs if pair.distinguishable and pair.robust.difference < 0]
    same = [
        entry
        for entry in (group.same(group.leader) if group.leader else ())
        if entry is not group.leader
    ]
    found = []
    if same:
        names = listed([of_entry(entry) for entry in same])
        found.append(f"The very same network is {names}.")
    if level:
        names = listed([of_entry(pair.first, group.same(pair.first)) for pair in level])
        nearest = ", " if len(level) == 1 else "; the nearest is "
        found.append(
            f"In robust accuracy it is not distinguishable from {names}{nearest}{gap(level[0])} "
            "apart."
        )
    if less:
        who = "the others" if level else "all others"
        first, name = less[0], of_entry(less[0].first, group.same(less[0].first))
        text = (
            f"It withstands more than {name}, by {gap(first)}."
            if len(less) == 1
            else f"It withstands more than {who}; the nearest of them, {name}, by {gap(first)}."
        )
        found.append(text)
    return found


def _choices(group: Group) -> list[str]:
    pairs = group.choices
    if len(group.sources) < 2 or not pairs:
        return []
    if len(pairs) > _MOST_PAIRS:
        level = sum(not pair.distinguishable for pair in pairs)
        return [
            f"Of the {len(pairs)} pairs of chosen settings and single networks, {level} are not "
            "distinguishable in robust accuracy; the table of pairs has them all."
        ]
    return [_choice(pair, group) for pair in pairs if group.leader not in (pair.first, pair.second)
            or len(group.entries) > 2]  # fmt: skip


def _choice(pair: Pair, group: Group) -> str:
    first, second = pair.first, pair.second
    both = first.study == first.source and second.study == second.source
    opening = "What the two studies chose on validation images alone" if both else "Side by side"
    told = (
        f"{opening}: {of_entry(first)} withstands {with_interval(first.robust)}, "
        f"{of_entry(second)} {with_interval(second.robust)}"
    )
    if pair.distinguishable:
        higher = first if pair.robust.difference > 0 else second
        robust = f"{higher.label} of the two withstands {gap(pair)} more"
    else:
        robust = f"in robust accuracy they are not distinguishable, {gap(pair)} apart"
    if first.label == second.label and pair.distinguishable:
        robust = f"{of_entry(higher)} withstands {gap(pair)} more"
    return f"{told}; {robust}. {_clean(pair)}"


def _clean(pair: Pair) -> str:
    if pair.clean.p_value >= 0.05:
        return "On clean images they are not distinguishable."
    higher = pair.first if pair.clean.difference > 0 else pair.second
    return f"On clean images {of_entry(higher)} is {points(pair.clean.difference)} points higher."


def _variant(pair: Pair, group: Group) -> str:
    entry: Entry = pair.first
    how = chosen_by(entry).removeprefix("variant: ")
    seen = (
        " These are the images that chose it, which flatters it."
        if entry.selection == f"best_{group.terms.split}"
        else ""
    )
    return (
        f"A variant, {of_entry(entry)}, {how}: {_signed(pair.clean)} points in clean and "
        f"{_signed(pair.robust)} points in robust accuracy against {of_entry(pair.second)}, the "
        f"same training's last epoch, on {group.terms.num_samples} {group.terms.split} images"
        f"{_verdict(pair)}.{seen}"
    )


def _signed(comparison: Comparison) -> str:
    low, high = signed_points(comparison.low), signed_points(comparison.high)
    return f"{signed_points(comparison.difference)} ({low} to {high})"


def _verdict(pair: Pair) -> str:
    alike = [
        name
        for name, level in (
            ("clean", pair.clean.p_value >= 0.05),
            ("robust", not pair.distinguishable),
        )
        if level
    ]
    return f"; not distinguishable in {' and '.join(alike)} accuracy" if alike else ""
