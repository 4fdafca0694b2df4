"""Strokes of a brush and an eraser, drawn over the labels of a pattern."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.ndimage

from fringemap.spots.pattern import complete
from fringemap.training.labels import ellipse_pixels
from fringemap.training.samples import PatternSpots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fringemap.spots.pattern import Pattern
    from fringemap.training.circles import Stroke

# A brush finer than the pattern still marks the pixel that it touches.
_LEAST_RADIUS_PX = 0.75


def draw_strokes(
    strokes: Sequence[Stroke],
    pattern: Pattern,
    *,
    spots: PatternSpots,
    label: NDArray[np.uint8],
    weight: NDArray[np.uint8],
) -> PatternSpots:
    """Draw strokes, and their mates, onto label and weight, in place.

    What a brush touches is a spot; what an eraser touches is background, whatever was there.

    Parameters
    ----------
    spots
        That are painted already; visible ones whose middle is erased are dropped.
    label, weight
        As from ``paint_labels``; (n_rows, n_cols).

    Returns
    -------
    PatternSpots
        With a spot for each connected region that no listed one stands in.
    """
    for stroke in strokes:
        for row, col, form in _discs(stroke, pattern):
            window, inside = ellipse_pixels(row, col, form, label.shape)
            inside = inside & pattern.valid[window]
            label[window][inside] = 0 if stroke.erases else 1
            weight[window][inside] = 1
    kept = spots.take(~spots.visible | (_at(label, spots.row, spots.col) > 0))
    return _with_new(kept, label)


def _discs(stroke: Stroke, pattern: Pattern) -> list[tuple[float, float, NDArray[np.float64]]]:
    """Places in pixels and forms of the discs that make a stroke and its mate."""
    step = np.array(pattern.step)
    path = np.stack([stroke.gy, stroke.gx], axis=1) / 10 / step
    radius = np.maximum(stroke.radius / 10 / step, _LEAST_RADIUS_PX)
    form = np.diag(radius**-2.0)
    places = _densely(path, 0.5 * float(radius.min()))
    return [(pattern.zero_row + sign * row, sign * col, form) for row, col in places for sign in (1.0, -1.0)]


def _densely(path: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Places along a path, no two neighbours further apart than ``step``."""
    parts = [path[:1]]
    for first, last in itertools.pairwise(path):
        n = max(int(np.ceil(np.hypot(*(last - first)) / step)), 1)
        parts.append(first + (last - first) * (np.arange(1, n + 1) / n)[:, None])
    return np.concatenate(parts)


def _with_new(spots: PatternSpots, label: NDArray[np.uint8]) -> PatternSpots:
    """Add a spot for each region of the label in which none stands, one of each pair."""
    margin, middle = label.shape[1] - 1, len(label) // 2
    numbers, n = scipy.ndimage.label(complete(label, margin), structure=np.ones((3, 3)))
    shown = spots.take(spots.visible)
    taken = {int(x) for x in _at(numbers, shown.row, shown.col + margin)}
    taken |= {int(x) for x in _at(numbers, 2 * middle - shown.row, margin - shown.col)}
    new = [number for number in range(1, n + 1) if number not in taken]
    if not new:
        return spots
    row, col = np.array(scipy.ndimage.center_of_mass(numbers > 0, numbers, new)).T
    col = col - margin
    width = 2 * np.sqrt(np.bincount(numbers.ravel(), minlength=n + 1)[new] / np.pi)
    # On the axis a region and its mate both appear; that below the centre is listed.
    own = (col > 0.25) | ((np.abs(col) <= 0.25) & (row > middle))
    added = (row[own], col[own], width[own], np.full(own.sum(), np.nan), np.ones(own.sum(), bool))
    listed = (spots.row, spots.col, spots.width, spots.snr, spots.visible)
    return PatternSpots(*(np.concatenate(both) for both in zip(listed, added, strict=True)))


def _at(image: NDArray[Any], row: NDArray[np.float64], col: NDArray[np.float64]) -> NDArray[Any]:
    """Values at the nearest pixels, all of them inside."""
    rows = np.clip(np.rint(row).astype(int), 0, image.shape[0] - 1)
    cols = np.clip(np.rint(col).astype(int), 0, image.shape[1] - 1)
    values: NDArray[Any] = image[rows, cols]
    return values
