"""Plain sentences on how certain the front is."""

from reports.queries import Study, TrialResult
from reports.wording import percent, points

SURE = 0.8
"""Probability from which a place on the front is not remarked upon."""


def probability(value: float) -> str:
    """A probability with two digits; never a false 0 or 1."""
    if 0 < value < 0.005:
        return "< 0.01"
    if 0.995 <= value < 1:
        return "> 0.99"
    return f"{value:.2f}"


def uncertain_front(study: Study) -> list[str]:
    """A sentence for the chosen and for the knee point where another draw might unseat them."""
    named: dict[str, TrialResult] = {}
    if study.best is not None:
        named["The chosen setting"] = study.best
    if study.knee is not None and study.knee is not study.best:
        named[f"The point of best trade-off, {study.knee.row.label},"] = study.knee
    found = study.front_statistics
    return [
        f"{who} is on the Pareto front with probability {probability(chance)} only, were other "
        f"validation images of the same kind drawn ({found.num_resamples} paired bootstrap "
        f"resamples of {found.num_samples} images): its place there is not certain."
        for who, trial in named.items()
        if found is not None and (chance := study.front_probability(trial)) < SURE
    ]


def hypervolume_sentence(study: Study) -> str:
    """The front's hypervolume with its interval, and what of it is luck."""
    found = study.front_statistics
    if found is None:
        return ""
    return (
        f"The validation front dominates {percent(found.hypervolume)} of the square from 0 to "
        f"100 % in both accuracies (95 % interval {100 * found.low:.1f}–{100 * found.high:.1f}). "
        "The best of many looks better than it is: of that, the bootstrap puts "
        f"{points(found.bias)} points down to chance, and the interval takes them off."
    )
