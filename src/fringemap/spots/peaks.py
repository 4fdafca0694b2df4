"""From bright blocks to single spots: groups, watershed, Friedel mates, side lobes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
from skimage.segmentation import watershed

if TYPE_CHECKING:
    from fringemap.records import Array, Mask
    from fringemap.spots.window import Window

# Found bins are grouped on cells of this side: what lies nearer is looked at together.
_CELL = 4
# Two maxima of a group are two spots if the valley between them is this deep, in heights of the lower one ...
_VALLEY = 0.5
# ... and deeper than this many standard deviations of the noise on such a height.
_VALLEY_SIGMA = 4.0
# Maxima lower than this many standard deviations of smoothed noise are not looked at.
_LEAST_SIGMA = 3.0
# A sharp edge of the frame or of a grain leaves lobes beside a spot: power (width / distance)² along the axes of the
# frame, steeper elsewhere. Fainter maxima than this multiple of it are lobes.
_LOBE_MARGIN = 2.0
# Area of a spot over the square of its width, for a Gaussian: pi / (4 ln 2).
_AREA = 1.13


@dataclass(frozen=True)
class Peak:
    """One maximum, in bins of the half spectrum (row signed)."""

    row: float
    col: float
    width: float
    height: float
    """Smoothed whitened power over the background's."""
    energy: float
    """Whitened power of the whole basin over the background's: a sum over bins."""
    merged: bool


def components(found: Mask) -> list[tuple[tuple[slice, slice], Mask]]:
    """Groups of found bins that touch on a grid of coarse cells, each as a box with a margin and a mask in it."""
    shape = tuple(-(-n // _CELL) * _CELL for n in found.shape)
    padded = np.zeros(shape, bool)
    padded[: found.shape[0], : found.shape[1]] = found
    # Four neighbouring truth values are one 32-bit number.
    coarse = (padded.view(np.uint32) != 0).reshape(shape[0] // _CELL, _CELL, shape[1] // _CELL).any(axis=1)
    labels, _ = scipy.ndimage.label(coarse, np.ones((3, 3)))
    groups = []
    for label, cells in enumerate(scipy.ndimage.find_objects(labels), start=1):
        inner = tuple(slice(side.start * _CELL, side.stop * _CELL) for side in cells)
        own = np.kron(labels[cells] == label, np.ones((_CELL, _CELL), bool)).astype(bool)
        # A margin of one cell, so that smoothing sees what lies around.
        top, left = (max(side.start - _CELL, 0) for side in inner)
        box = (
            slice(top, min(inner[0].stop + _CELL, found.shape[0])),
            slice(left, min(inner[1].stop + _CELL, found.shape[1])),
        )
        component = np.zeros(found[box].shape, bool)
        part = component[inner[0].start - top : inner[0].stop - top, inner[1].start - left : inner[1].stop - left]
        part |= (own & padded[inner])[: part.shape[0], : part.shape[1]]
        groups.append((box, component))
    return groups


def split_component(window: Window, box: tuple[slice, slice], component: Mask) -> list[Peak]:
    """Spots of one connected component: basins of a watershed whose valleys are deep enough."""
    excess = np.where(component, np.maximum(window.whitened[box] - 1.0, 0.0), 0.0).astype(np.float64)
    sigma = max(0.7, 0.2 * _effective_area(excess) ** 0.5)
    smooth = scipy.ndimage.gaussian_filter(window.whitened[box].astype(np.float64) - 1.0, sigma, mode="nearest")
    n_smoothed = 4 * np.pi * sigma**2
    basins = _merge_shallow(_basins(smooth, component, n_smoothed=n_smoothed), smooth, n_smoothed=n_smoothed)
    numbers = np.unique(basins[component])
    origin_row, origin_col = box[0].start + window.layout.first_row, box[1].start + window.layout.first_col
    peaks = []
    for number in numbers[numbers > 0]:
        own = np.where(basins == number, excess, 0.0)
        row, col = np.unravel_index(int(np.argmax(np.where(basins == number, smooth, -np.inf))), smooth.shape)
        centre_row, centre_col = _centroid(own, int(row), int(col), reach=max(1, round(2 * sigma)))
        width = 2.355 * (_effective_area(own) / (4 * np.pi)) ** 0.5
        height = float(smooth[row, col])
        energy, shared = float(own.sum()), len(numbers) > 1
        peaks.append(Peak(centre_row + origin_row, centre_col + origin_col, max(width, 1.0), height, energy, shared))
    return peaks


def _effective_area(excess: Array) -> float:
    """Bins over which the energy is spread: (sum E)² / sum E²; 4 pi s² for a Gaussian of standard deviation s."""
    squares = float(np.sum(excess**2))
    return float(np.sum(excess)) ** 2 / squares if squares > 0 else 1.0


def _centroid(excess: Array, row: int, col: int, *, reach: int) -> tuple[float, float]:
    rows = slice(max(row - reach, 0), row + reach + 1)
    cols = slice(max(col - reach, 0), col + reach + 1)
    part = excess[rows, cols]
    total = part.sum()
    if total <= 0:
        return float(row), float(col)
    r = np.arange(rows.start, rows.start + part.shape[0])
    c = np.arange(cols.start, cols.start + part.shape[1])
    return float(part.sum(axis=1) @ r / total), float(part.sum(axis=0) @ c / total)


def _basins(smooth: Array, component: Mask, *, n_smoothed: float) -> Array:
    """Watershed of the component from each local maximum that noise does not make; 0 outside."""
    maxima = (scipy.ndimage.maximum_filter(smooth, 3, mode="nearest") == smooth) & component
    high = maxima & (smooth > min(_LEAST_SIGMA / n_smoothed**0.5, 0.999 * float(smooth[component].max())))
    maxima = high if high.any() else maxima
    markers, n = scipy.ndimage.label(maxima, np.ones((3, 3)))
    if n == 1:
        return component.astype(np.int32)
    basins: Array = watershed(-smooth, markers, mask=component)  # type: ignore[no-untyped-call]
    return basins


def _merge_shallow(basins: Array, smooth: Array, *, n_smoothed: float) -> Array:
    """Join each basin to the higher neighbour from which no deep valley parts it.

    A height A over noise of mean 1 has a standard deviation of about sqrt(2 A + 1) in one bin, less by the square root
    of the number of bins that the smoothing averages.
    """
    n = int(basins.max())
    if n < 2:
        return basins
    basins = basins.copy()
    heights = np.full(n + 1, -np.inf)
    np.maximum.at(heights, basins.ravel(), smooth.ravel())
    saddles = _saddles(basins, smooth, n)
    for lower in np.argsort(heights[1:]) + 1:
        higher = int(np.argmax(saddles[lower]))
        saddle = saddles[lower, higher]
        if not np.isfinite(saddle):
            continue
        noise = (max(2 * heights[lower] + 1, 1.0) / n_smoothed) ** 0.5
        depth = heights[lower] - saddle
        if depth < max(_VALLEY * heights[lower], _VALLEY_SIGMA * noise):
            basins[basins == lower] = higher
            joined = np.maximum(saddles[lower], saddles[higher])
            saddles[higher], saddles[:, higher] = joined, joined
            heights[higher] = max(heights[higher], heights[lower])
        saddles[lower], saddles[:, lower] = -np.inf, -np.inf
        np.fill_diagonal(saddles, -np.inf)
    return basins


def _saddles(basins: Array, smooth: Array, n: int) -> Array:
    """Highest pass between each two basins; -inf where they do not touch; (n + 1, n + 1)."""
    saddles = np.full((n + 1, n + 1), -np.inf)
    for axis in (0, 1):
        one, other = (np.take(basins, range(k, basins.shape[axis] - 1 + k), axis) for k in (0, 1))
        pass_height = np.minimum(*(np.take(smooth, range(k, basins.shape[axis] - 1 + k), axis) for k in (0, 1)))
        border = (one != other) & (one > 0) & (other > 0)
        for a, b in ((one, other), (other, one)):
            np.maximum.at(saddles, (a[border], b[border]), pass_height[border])
    return saddles


def keep_real_half(peaks: list[Peak]) -> list[Peak]:
    """One of each Friedel pair, with col > 0, or col == 0 and row > 0; in falling order of height."""
    kept: list[Peak] = []
    places = np.zeros((len(peaks), 2))
    for peak in sorted(peaks, key=lambda p: -p.height):
        sign = 1 if (peak.col, peak.row) > (0, 0) else -1
        place = np.array([sign * peak.row, sign * peak.col])
        others = places[: len(kept)]
        nearest = np.minimum(np.hypot(*(others - place).T), np.hypot(*(others + place).T))
        if (nearest < max(1.5, 0.5 * peak.width)).any():
            continue
        places[len(kept)] = place
        kept.append(dataclasses.replace(peak, row=sign * peak.row, col=sign * peak.col))
    return kept


def drop_lobes(peaks: list[Peak]) -> list[Peak]:
    """Leave out maxima that the sharp edges of the frame or of a grain make beside a stronger spot."""
    row, col, width, height, energy = (
        np.array([(p.row, p.col, p.width, p.height, p.energy) for p in peaks]).reshape(-1, 5).T
    )  # A spot one bin wide has all its energy there, however the smoothing lowers its crest.
    crest = np.maximum(height, energy / np.maximum(_AREA * width**2, 1.0))
    kept: list[int] = []
    for i in range(len(peaks)):
        lobes = _lobe_heights(row[i] - row[kept], col[i] - col[kept], width[kept], crest[kept])
        mates = _lobe_heights(row[i] + row[kept], col[i] + col[kept], width[kept], crest[kept])
        if not (height[i] < _LOBE_MARGIN * np.maximum(lobes, mates)).any():
            kept.append(i)
    return [peaks[i] for i in kept]


def _lobe_heights(rows_away: Array, cols_away: Array, width: Array, crest: Array) -> Array:
    """Upper envelope of the side lobes of strong spots at some distance from them."""
    distance = np.maximum(np.hypot(rows_away, cols_away) / width, 1e-9)
    on_axis = np.minimum(np.abs(rows_away), np.abs(cols_away)) <= 1.0 + width / 2
    heights: Array = crest * np.minimum(1.0, (np.pi * distance) ** np.where(on_axis, -2.0, -3.0))
    return heights
