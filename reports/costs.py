"""What training and evaluation cost, by strategy."""

import numpy as np
import pandas as pd

from pipeline.records import SplitName
from reports.study import Study

COLUMNS = ("strategy", "networks", "epochs", "median_s", "lower_quartile_s", "upper_quartile_s",
           "shortest_s", "longest_s", "ratio", "forward", "backward")  # fmt: skip


def cost_frame(study: Study) -> pd.DataFrame:
    """One row a strategy: seconds an epoch over all its epochs, and passes of the selection suite.

    `ratio` divides the median by that of the strategy trained without a defence, and is NaN
    where there is none. `forward` and `backward` are passes a validation image, the mean over
    the strategy's judged networks.
    """
    rows = []
    for strategy in dict.fromkeys(trial.row.strategy for trial in study.trials):
        own = {t.row.fingerprint: t for t in study.trials if t.row.strategy == strategy}.values()
        seconds = [t.epochs["epoch_s"].dropna() for t in own if "epoch_s" in t.epochs]
        epochs = np.concatenate([np.asarray(s, dtype=float) for s in seconds] or [np.empty(0)])
        if not epochs.size:
            continue
        judged = [found for t in own if (found := t.splits.get(SplitName.VALIDATION)) is not None]
        shortest, lower, median, upper, longest = np.quantile(epochs, [0, 0.25, 0.5, 0.75, 1])
        rows.append(
            {
                "strategy": strategy,
                "method": next(iter(own)).row.method,
                "networks": sum(bool(len(s)) for s in seconds),
                "epochs": int(epochs.size),
                "median_s": median,
                "lower_quartile_s": lower,
                "upper_quartile_s": upper,
                "shortest_s": shortest,
                "longest_s": longest,
                "forward": _mean([found.forward for found in judged]),
                "backward": _mean([found.backward for found in judged]),
            }
        )
    frame = pd.DataFrame(rows, columns=[*COLUMNS[:8], "ratio", "forward", "backward", "method"])
    reference = frame.loc[frame["method"] == "vanilla", "median_s"]
    frame["ratio"] = frame["median_s"] / (reference.iloc[0] if len(reference) else np.nan)
    return frame[list(COLUMNS)]


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
