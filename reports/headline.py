"""The result in two or three sentences, and what they do not say."""

from pipeline.records import SplitName
from reports.front_notes import uncertain_front
from reports.parameters import Parameter, is_number, number, value_of
from reports.provenance import mark, study_notes
from reports.spread import Spread, spread
from reports.statistics import Comparison
from reports.study import BaselineComparison, Study, TrialResult
from reports.unions import CLEAN
from reports.wording import (
    METHOD_NAMES,
    NBSP,
    interval,
    p_value,
    percent,
    points,
    setting,
    short_method,
    signed_points,
    with_interval,
)


def headline(study: Study) -> list[str]:
    """Generated sentences, the result first; percentages carry 95 % intervals in brackets."""
    if not study.judged:
        return [_nothing_judged(study)]
    sentences = [*_undefended(study), *_best(study), *_over_seeds(study)]
    return sentences or [_only_baselines(study)]


def caveats(study: Study) -> list[str]:
    """What this sweep's own numbers ask the reader to keep in mind."""
    found = study_notes(study)
    split, best = study.reporting_split, study.best
    if split == SplitName.VALIDATION and best is not None:
        found.append(
            "No test verdicts are stored for the chosen setting, so the sentences above quote the "
            "validation images that also chose it: the choice flatters them."
        )
    if best is not None:
        found.append(_audited(best))
    failed = [trial.row.label for trial in study.judged if not trial.believed]
    if failed:
        found.append(f"Never called the best, as the trust audit failed: {', '.join(failed)}.")
    compared = {comparison.baseline.row.label for comparison in study.comparisons}
    absent = [b.row.label for b in study.baselines if b.complete and b.row.label not in compared]
    if best is not None and absent:
        names = ", ".join(absent)
        found.append(f"Not compared, for lack of complete {split} verdicts: {names}.")
    found += uncertain_front(study)
    found += [_at_edge(best, parameter) for parameter in study.parameters if best is not None]
    found += [f"Stored rows and ledger disagree: {line}." for line in study.disagreements]
    return [sentence for sentence in found if sentence]


def undefended(study: Study) -> TrialResult | None:
    """The network trained without a defence, where the sweep has one."""
    vanilla = [trial for trial in study.judged if trial.row.method == "vanilla"]
    return next((t for t in vanilla if t.row.role == "baseline"), next(iter(vanilla), None))


def _undefended(study: Study) -> list[str]:
    trial, split = undefended(study), study.reporting_split
    point = trial.point(split) if trial else None
    if trial is None or point is None:
        return []
    clean, robust = _accuracies(trial, split)
    return [
        f"Without a defence the network classifies {clean} of the clean {split} images correctly "
        f"and {robust} of the attacked ones."
    ]


def _accuracies(trial: TrialResult, split: str) -> tuple[str, str]:
    """Clean and robust accuracy for a sentence, marked where they are stale."""
    clean, robust = with_interval(trial.clean(split)), with_interval(trial.robust(split))
    return (
        mark(clean, stale=trial.is_stale(split, CLEAN)),
        mark(robust, stale=trial.is_stale(split)),
    )


def _best(study: Study) -> list[str]:
    best, split = study.best, study.reporting_split
    if best is None:
        searched = [trial for trial in study.judged if trial.row.role != "baseline"]
        return [_none_chosen(study)] if searched else []
    own = setting(best, study.parameters)
    name = METHOD_NAMES.get(best.row.method, best.row.strategy)
    chosen = f"{name[0].upper()}{name[1:]}" + (f" with {own}" if own else "")
    clean, robust = _accuracies(best, split)
    origin = "chosen on validation images alone" if split == SplitName.TEST else "the best found"
    opening = (
        f"{chosen}, {origin}, classifies {clean} of the clean {split} images correctly and "
        f"{robust} of the attacked ones."
    )
    return [opening, *_against_baselines(study)]


def _over_seeds(study: Study) -> list[str]:
    """What other seeds make of the chosen setting and the baselines; one training may be lucky."""
    split, told = study.reporting_split, []
    chosen = [study.best] if study.best else []
    for trial in [*chosen, *study.baselines]:
        networks = [network for network in study.alike(trial) if network.point(split)]
        found = [spread(values) for values in zip(*(n.point(split) for n in networks), strict=True)]
        if len(networks) > 1:
            clean, robust = (_mean(values) for values in found)
            told.append(f"{_called(trial)} {robust} robust and {clean} clean")
    if not told:
        return []
    count = max(len(study.alike(trial)) for trial in [*chosen, *study.baselines])
    return [
        f"The sentences above are about one training each; over {count} seeds, mean ± standard "
        f"deviation: {', '.join(told)}."
    ]


def _mean(values: Spread | None) -> str:
    assert values is not None
    return f"{100 * values.mean:.1f}{NBSP}±{NBSP}{100 * values.deviation:.1f}{NBSP}%"


def _against_baselines(study: Study) -> list[str]:
    if not study.comparisons:
        return ["The sweep holds no baseline to compare it with."]
    better = [c for c in study.comparisons if c.distinguishable and c.robust.difference > 0]
    worse = [c for c in study.comparisons if c.distinguishable and c.robust.difference < 0]
    level = [c for c in study.comparisons if not c.distinguishable]
    strongest = min(study.comparisons, key=lambda c: c.robust.difference)
    cost = _clean_cost(strongest)
    price = _price(study, strongest)
    if worse:
        rival = f"Nothing that the search tried beats the baselines: {_rival(strongest)}"
        return [f"{rival}, {_gap(strongest)} more. {cost}", *price]
    if level:
        nearest = min(level, key=lambda c: c.robust.difference)
        p = p_value(nearest.adjusted_p)
        names = " and ".join(_called(c.baseline) for c in level)
        rest = " and ".join(_called(c.baseline) for c in better)
        return [
            f"In robust accuracy it is not distinguishable from {names}: {_rival(nearest)}, a "
            f"difference of {_signed(nearest.robust, f'; McNemar {p}')}. {cost}"
            + (f" It does withstand more than {rest}." if rest else ""),
            *price,
        ]
    if len(better) == 1:
        return [f"That is {_gap(strongest)} more than {_called(strongest.baseline)}. {cost}"]
    return [
        f"That is more than any of the {len(better)} baselines: {_rival(strongest)}, "
        f"{_gap(strongest)} less, and is the strongest of them. {cost}",
        *price,
    ]


def _price(study: Study, told: BaselineComparison) -> list[str]:
    """What the chosen setting gains and costs against no defence, unless that was told already."""
    found = [c for c in study.comparisons if c.baseline.row.method == "vanilla" and c is not told]
    if not found:
        return []
    robust, clean = found[0].robust, found[0].clean
    noise = ", which may be chance" if clean.p_value >= 0.05 else ""
    return [
        f"Against no defence it changes robust accuracy by {_signed(robust)}, and clean "
        f"accuracy by {_signed(clean)}{noise}."
    ]


def _signed(found: Comparison, more: str = "") -> str:
    """The chosen setting's accuracy less the baseline's, as the table has it."""
    low, high = signed_points(found.low), signed_points(found.high)
    return f"{signed_points(found.difference)} points ({low} to {high}{more})"


def _rival(comparison: BaselineComparison) -> str:
    _, robust = _accuracies(comparison.baseline, comparison.split)
    return f"{_called(comparison.baseline)} withstands {robust}"


def _gap(comparison: BaselineComparison) -> str:
    robust = comparison.robust
    low, high = sorted((robust.low, robust.high))
    if robust.difference < 0:
        low, high = -high, -low
    bounds = interval(low, high).replace("–", " to ")
    return (
        f"{points(robust.difference)} points ({bounds}; McNemar {p_value(comparison.adjusted_p)})"
    )


def _clean_cost(comparison: BaselineComparison) -> str:
    clean, name = comparison.clean, _called(comparison.baseline)
    if clean.p_value >= 0.05:
        return f"On clean images it is not distinguishable from {name}."
    verb = "gives up" if clean.difference < 0 else "gains"
    return f"On clean images it {verb} {points(clean.difference)} points against {name}."


def _called(trial: TrialResult) -> str:
    short = short_method(trial.row.method)
    same = short.lower() == trial.row.label.lower() or trial.row.method == "vanilla"
    return short if same else f"{short} ({trial.row.label})"


def _none_chosen(study: Study) -> str:
    floor = f" of {percent(study.floor)} clean accuracy" if study.floor is not None else ""
    doubted = [
        trial.point(SplitName.VALIDATION) or (0.0, 0.0)
        for trial in study.judged
        if trial.row.role != "baseline" and trial.row.feasible and not trial.believed
    ]
    if any(clean >= (study.floor or 0.0) for clean, _ in doubted):
        which = f" that meets the floor{floor}" if floor else ""
        return (
            f"Every searched setting{which} fails the trust audit, so none is called the best; see "
            "the table for what each reached."
        )
    return f"No searched setting meets the floor{floor}; see the table for what each reached."


def _only_baselines(study: Study) -> str:
    split = SplitName.VALIDATION
    trial = max(study.judged, key=lambda t: (t.point(split) or (0, 0))[1])
    clean, robust = _accuracies(trial, split)
    count = len(study.judged)
    return (
        f"Only {count} {'trial has' if count == 1 else 'trials have'} a full set of verdicts; "
        f"{_called(trial)} classifies {clean} of the clean validation images and withstands the "
        f"attacks on {robust}."
    )


def _nothing_judged(study: Study) -> str:
    failed, total = len(study.failures), len(study.trials)
    if total == 0:
        return "No trial was started yet, so there is no result."
    if failed == total:
        who = "The only trial" if total == 1 else f"All {total} trials"
        return f"{who} failed, so there is no result; the reasons are listed below."
    return (
        f"None of the {total} trials was trained and attacked completely yet "
        f"({failed} failed), so there is no result."
    )


def _audited(trial: TrialResult) -> str:
    """What the trust audit says of the chosen setting."""
    if trial.audit is None:
        return "The chosen setting was not audited for misleading gradients."
    warned = trial.audit.named("WARN")
    of_what = f", with warnings on {', '.join(warned)}" if warned else ""
    union = percent(trial.audit.robust_accuracy)
    return (
        f"The trust audit of the chosen setting says {trial.audit.status}{of_what}; under all that "
        f"it tried, {union} of {trial.audit.num_samples} {trial.audit.split} images withstand."
    )


def _at_edge(trial: TrialResult | None, parameter: Parameter) -> str:
    value = value_of(trial.row, parameter.path) if trial else None
    ends = [parameter.low, parameter.high]
    if parameter.values and parameter.numeric and len(parameter.values) > 1:
        ends = [min(parameter.values), max(parameter.values)]
    if not is_number(value) or value == 0 or value not in ends:
        return ""
    return (
        f"The chosen {parameter.symbol}{NBSP}={NBSP}{number(value)} lies at the edge of what was "
        "searched: a wider space may hold a better one."
    )
