"""Places short texts beside points so that they cover neither points nor each other."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_OFFSETS = [
    (dx, dy) for gap in (9, 20, 34) for dx, dy in ((gap, 5), (-gap, 5), (gap, -13), (-gap, -13))
]
_CHARACTER, _LINE = 5.6, 11.0
"""Width and height of a character, points."""


def place_labels(
    ax: Any, labels: Sequence[tuple[float, float, str, str]], points: Sequence[tuple[float, float]]
) -> None:
    """Write each (x, y, text, colour) where it covers the fewest points and other texts.

    Call it last: it depends on the limits of the axes.
    """
    figure = ax.get_figure()
    figure.draw_without_rendering()
    per_pixel = 72.0 / figure.dpi
    frame = np.asarray(ax.get_window_extent().extents) * per_pixel
    dots = [_box(ax.transData.transform(p) * per_pixel, 6.0) for p in points]
    taken: list[tuple[float, float, float, float]] = []
    for x, y, text, colour in labels:
        at = ax.transData.transform((x, y)) * per_pixel
        boxes = [_text_box(at, offset, text) for offset in _OFFSETS]
        costs = [
            10.0 * sum(_overlap(box, other) for other in taken)
            + sum(_overlap(box, dot) for dot in dots)
            + 100.0 * (not _inside(box, frame))
            + 0.1 * rank
            for rank, box in enumerate(boxes)
        ]
        best = int(np.argmin(costs))
        taken.append(boxes[best])
        dx, dy = _OFFSETS[best]
        arrow = {"arrowstyle": "-", "color": colour, "lw": 0.6} if abs(dx) > 9 else None
        ax.annotate(text, (x, y), (dx, dy), textcoords="offset points", color=colour,
                    ha="left" if dx > 0 else "right", fontsize=9.5, arrowprops=arrow,
                    bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
                    zorder=6)  # fmt: skip


def spread(values: Sequence[float], gap: float, top: float = math.inf) -> list[float]:
    """Move values apart until neighbours are at least `gap` apart; order is kept.

    They move upwards; those that would end above `top` are pushed down from there.
    """
    placed = list(values)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    for below, above in zip(order, order[1:], strict=False):
        placed[above] = max(placed[above], placed[below] + gap)
    limit = top
    for index in reversed(order):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed


def _text_box(at: Any, offset: tuple[int, int], text: str) -> tuple[float, float, float, float]:
    width = _CHARACTER * len(text)
    left = at[0] + offset[0] - (width if offset[0] < 0 else 0.0)
    return left, at[1] + offset[1] - 2, left + width, at[1] + offset[1] + _LINE - 2


def _box(centre: Any, size: float) -> tuple[float, float, float, float]:
    x, y = centre
    return x - size / 2, y - size / 2, x + size / 2, y + size / 2


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _inside(box: tuple[float, ...], frame: Any) -> bool:
    return bool(
        frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]
    )
