"""Plain sentences on how certain the front is."""

import pandas as pd

from reports.study import Study, TrialResult
from reports.wording import NBSP, interval, percent, points

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
    return [
        sentence
        for who, trial in named.items()
        if (sentence := _uncertain(study, who, trial, study.front_probability(trial)))
    ]


def _uncertain(study: Study, who: str, trial: TrialResult, chance: float) -> str:
    found = study.front_statistics
    if found is None or not chance < SURE:
        return ""
    place = "is on the Pareto front, but were" if trial in study.front else (
        "is not on the Pareto front; were"
    )  # fmt: skip
    return (
        f"{who} {place} other validation images of the same kind drawn, it would be there with "
        f"probability {probability(chance)} ({found.num_resamples} paired bootstrap resamples of "
        f"{found.num_samples} images)."
    )


def front_frames(study: Study) -> dict[str, pd.DataFrame]:
    """By file name: the hypervolume in one row, and the band of resampled fronts; fractions."""
    found = study.front_statistics
    if found is None:
        return {}
    scalars = ("hypervolume", "low", "high", "bias", "num_samples", "num_resamples")
    band = {name: getattr(found, name) for name in ("clean", "attained_low", "attained_high")}
    return {
        "front_hypervolume": pd.DataFrame([{name: getattr(found, name) for name in scalars}]),
        "front_band": pd.DataFrame(band),
    }


def hypervolume_sentence(study: Study) -> str:
    """The front's hypervolume with its interval, and what of it is luck."""
    found = study.front_statistics
    if found is None:
        return ""
    return (
        f"The validation front dominates {percent(found.hypervolume)} of the square from 0 to "
        f"100{NBSP}% in both accuracies (95{NBSP}% interval "
        f"{interval(found.low, found.high)}). The best of many looks better than it is: of that, "
        f"the bootstrap puts {points(max(found.bias, 0.0))} points down to chance, and the "
        "interval takes them off."
    )
