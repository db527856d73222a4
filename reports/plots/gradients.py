"""The paper's Fig. 4 and Fig. 5: how gradients are distributed, and what they look like."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.records import BIN_EDGES
from reports.plots.members import notable
from reports.plots.style import WIDTH, Drawn, Omitted, looks
from reports.study import GradientPictures, Study, TrialResult
from reports.wording import short_method

Pixels = NDArray[np.float64]
_EDGES = np.array(BIN_EDGES)
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_MOST_CURVES, _MOST_ROWS = 6, 5
_SHOWN_SHARE = 0.995
"""Of the components of the widest distribution, what the axis covers."""


def draw_distribution(study: Study) -> Drawn | Omitted:
    """Density of the components of f_y's gradient over the reported images, as in Fig. 4."""
    name, title = "distribution", "How the components of the gradient are distributed"
    shown = _pictured(study)[:_MOST_CURVES]
    if not shown:
        return Omitted(name=name, title=title, reason="no gradients of test images are stored")
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    ax = figure.add_subplot()
    styles, frames = looks(study), []
    widest = max(_reach(pictures) for _, pictures in shown)
    for rank, (trial, pictures) in enumerate(shown):
        density = pictures.counts / pictures.counts.sum() / np.diff(_EDGES)
        ax.stairs(density, _EDGES, baseline=None, color=styles[trial.row.strategy].colour, lw=1.6,
                  ls=_DASHES[rank % len(_DASHES)],
                  label=f"{trial.row.label} ({short_method(trial.row.method)})")  # fmt: skip
        frames.append(
            pd.DataFrame(
                {
                    "label": trial.row.label,
                    "from": _EDGES[:-1],
                    "to": _EDGES[1:],
                    "components": pictures.counts,
                    "density": density,
                }
            )
        )
    ax.set_xlim(-widest, widest)
    ax.set_yscale("log")
    data = pd.concat(frames, ignore_index=True)
    inside = data[(data["from"] < widest) & (data["to"] > -widest) & (data["density"] > 0)]
    # The bins next to zero are so narrow that their density would squeeze all others.
    low, high = inside["density"].min(), inside["density"].quantile(0.98)
    ax.set_ylim(float(low) / 2, float(high) * 3)
    ax.set_xlabel("Component of ∇f_y (per unit of pixel value)")
    ax.set_ylabel("Density (log scale)")
    figure.legend(loc="outside upper left", ncols=2)
    num_samples = max(pictures.num_samples for _, pictures in shown)
    return Drawn(
        name=name,
        title=title,
        reading=(
            f"All components of the gradients of {num_samples} test images, as a density. A curve "
            "that is higher at zero and lower at the sides belongs to a network whose answer "
            "hangs on fewer pixels, or merely changes less: the density ‖g‖₁² / ‖g‖₂² in the table "
            "of gradients tells the two apart."
        ),
        figure=figure,
        data=data,
    )


def draw_heatmaps(study: Study) -> Drawn | Omitted:
    """Gradients of the first test images, a row a network, as in Fig. 5."""
    name, title = "heatmaps", "What the gradients look like"
    shown = [(t, p) for t, p in _pictured(study) if len(p.images)][:_MOST_ROWS]
    if not shown:
        return Omitted(name=name, title=title, reason="no gradients of test images are stored")
    images = shown[0][1].images
    columns = len(images)
    figure = Figure(figsize=(WIDTH, 0.45 + 1.02 * (1 + len(shown))), layout="constrained")
    axes = figure.subplots(1 + len(shown), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    for ax, image in zip(axes[0], images, strict=True):
        ax.imshow(_picture(image), cmap="gray", vmin=0, vmax=1)
    recorded = images.ndim == 5
    axes[0][0].set_ylabel("events" if recorded else "image", rotation=0, ha="right", va="center")
    rows = []
    for line, (trial, pictures) in zip(axes[1:], shown, strict=True):
        for index, (ax, gradient) in enumerate(zip(line, pictures.gradients, strict=True)):
            size = np.abs(gradient).max(axis=tuple(range(gradient.ndim - 2)))
            top = size.max()
            ax.imshow(size / top if top else size, cmap="Greys", vmin=0, vmax=1)
            flat = np.abs(gradient).ravel()
            norm = np.square(flat).sum()
            rows.append(
                {
                    "label": trial.row.label,
                    "sample": index,
                    "largest": float(top),
                    "gradient_density": float(flat.sum() ** 2 / norm) if norm else np.nan,
                }
            )
        line[0].set_ylabel(trial.row.label, rotation=0, ha="right", va="center")
    return Drawn(
        name=name,
        title=title,
        reading=(
            (
                "Top: the first test recordings, white where most events are, over all frames and "
                "both polarities. Below, for each network, the size of the gradient of f_y at "
                "every pixel, the largest of its frames and polarities"
                if recorded
                else "Top: the first test images. Below, for each network, the size of the "
                "gradient of f_y at every pixel, the largest of its colours"
            )
            + ", each picture scaled to its own largest value: black is where a change moves the "
            "answer most, white where it moves nothing."
        ),
        figure=figure,
        data=pd.DataFrame(rows),
    )


def _picture(image: Pixels) -> Pixels:
    """Grey (H, W) or colours (H, W, 3) from 0 to 1 of an image, or of event frames (T, 2, H, W)."""
    if image.ndim == 4:
        # ON less OFF would cancel where the camera moves there and back.
        counts: Pixels = image.sum(axis=(0, 1))
        return counts / max(float(counts.max()), 1e-9)
    return image.transpose(1, 2, 0) if len(image) == 3 else image[0]


def _pictured(study: Study) -> list[tuple[TrialResult, GradientPictures]]:
    return [(trial, trial.pictures) for trial in notable(study) if trial.pictures is not None]


def _reach(pictures: GradientPictures) -> float:
    """How far from zero the middle `_SHOWN_SHARE` of the components lie."""
    sizes = np.maximum(np.abs(_EDGES[:-1]), np.abs(_EDGES[1:]))
    order = np.argsort(sizes, kind="stable")
    share = np.cumsum(pictures.counts[order]) / pictures.counts.sum()
    return float(sizes[order][np.searchsorted(share, _SHOWN_SHARE).clip(max=len(sizes) - 1)])
