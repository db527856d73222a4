"""Names of networks, of how they were judged, and of what two judgements differ in."""

from collections import Counter
from collections.abc import Sequence

from reports.compare_queries import ALONE, LAST, Entry, Group, Pair, Terms
from reports.parameters import number
from reports.wording import NBSP, interval, p_value, points, radius, short_method

_CHOSEN_BY = {
    "best_test": "chosen by clean test accuracy, as the paper's code does",
    "best_validation": "chosen by clean validation accuracy",
}


def chosen_by(entry: Entry) -> str:
    """How a network's epoch was chosen, where that was not simply the last one."""
    if entry.selection == LAST:
        return "of the last epoch"
    return f"variant: {_CHOSEN_BY.get(entry.selection, f'chosen by {entry.selection}')}"


def of_entry(entry: Entry, also: Sequence[Entry] = ()) -> str:
    """A network's name in a sentence: `sr-2 of lambda (SR, λ = 0.1)`.

    Args:
        entry: The network.
        also: Where the very same network stands, too.
    """
    studies = [e.study for e in (entry, *also) if e.study != ALONE and e.label == entry.label]
    label, about = entry.label, [short_method(entry.method)] if entry.method else []
    if label.lower() == entry.method.lower() and entry.method != "vanilla":
        label, about = about[0], []
    name = f"{label} of {listed(list(dict.fromkeys(studies)))}" if studies else label
    if isinstance(entry.sparsity_weight, int | float):
        about.append(f"λ{NBSP}={NBSP}{number(entry.sparsity_weight)}")
    return f"{name} ({', '.join(about)})" if about else name


def radius_of(terms: Terms) -> str:
    """The attacks' radius."""
    return f"ε{NBSP}={NBSP}{radius(terms.epsilon)}"


def headings(groups: Sequence[Group]) -> list[str]:
    """What each group has in common; no two are equal."""
    plain = [_heading(group) for group in groups]
    count = Counter(plain)
    return [
        text if count[text] == 1 else f"{text}; {_version(group, groups)}"
        for text, group in zip(plain, groups, strict=True)
    ]


def differences(first: Group, second: Group) -> list[str]:
    """What two groups differ in."""
    a, b = first.terms, second.terms
    found = []
    if a.data != b.data:
        same = first.data_note == second.data_note
        notes = (
            "of one name, but not the same"
            if same
            else f"{short_data(first)}; {short_data(second)}"
        )
        found.append(f"the data ({notes})")
    if a.split != b.split:
        found.append(f"the split ({a.split}; {b.split})")
    if a.epsilon != b.epsilon:
        found.append(f"the radius of the attacks ({radius_of(a)}; {radius_of(b)})")
    if a.attacks != b.attacks:
        found.append(f"the attacks ({_attacks(first, second)})")
    if a.num_samples != b.num_samples:
        found.append(f"the number of images ({a.num_samples}; {b.num_samples})")
    return found


def gap(pair: Pair) -> str:
    """The difference in robust accuracy without its sign, with its interval and p-value."""
    robust = pair.robust
    low, high = robust.low, robust.high
    if robust.difference < 0:
        low, high = -high, -low
    bounds = interval(low, high).replace("–", " to ")
    unit = "point" if points(robust.difference) == "1.0" else "points"
    return f"{points(robust.difference)} {unit} ({bounds}; McNemar {p_value(pair.adjusted_p)})"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names joined by commas and `and`; a long list is cut."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _heading(group: Group) -> str:
    terms = group.terms
    count = len(terms.attacks) - 1
    attacks = f"{count} {'attack' if count == 1 else 'attacks'}"
    suite = f"suite {group.suite} ({attacks})" if group.suite else attacks
    images = f"{terms.num_samples} {terms.split} images"
    where = "radius not recorded" if terms.epsilon is None else radius_of(terms)
    return f"{group.data_note} · {images} · {where} · {suite}"


def _version(group: Group, groups: Sequence[Group]) -> str:
    """Tells a group from one of the same name: by its data, or by the versions of its attacks."""
    alike = [g for g in groups if _heading(g) == _heading(group)]
    if len({g.terms.data for g in alike}) == len(alike):
        return f"data {group.terms.data[:8]}"
    attacks = sorted({g.terms.attacks for g in alike}, key=sorted)
    version = f"version {attacks.index(group.terms.attacks) + 1} of these attacks"
    return version if len(attacks) == len(alike) else f"{version}, data {group.terms.data[:8]}"


def short_data(group: Group) -> str:
    """The name of a group's data."""
    return group.data_note.partition(":")[0]


def _attacks(first: Group, second: Group) -> str:
    if first.suite != second.suite:
        return f"{first.suite or 'no named suite'}; {second.suite or 'no named suite'}"
    names = [{name for name, _ in group.terms.attacks} for group in (first, second)]
    if names[0] == names[1]:
        return f"other versions or settings of {first.suite or 'them'}"
    return f"{len(names[0]) - 1} and {len(names[1]) - 1} of them"
