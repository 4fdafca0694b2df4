"""From bright blocks to single spots: groups, watershed, Friedel mates, side lobes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from fringemap.spots.basins import Terrain, climb, find_passes, flood, join_shallow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Array, IntArray, Mask
    from fringemap.spots.window import Window

# Found bins are grouped on cells of this side: what lies nearer is looked at together.
_CELL = 4
# Two maxima of a group are two spots if the valley between them is this deep, in heights of the lower one ...
_VALLEY = 0.5
# ... and deeper than this many standard deviations of the noise on such a height.
_VALLEY_SIGMA = 4.0
# Maxima lower than this many standard deviations of smoothed noise are not looked at.
_LEAST_SIGMA = 3.0
# No more are looked at: frames of many grains show a few hundred, and each is compared with all others. A picture that
# repeats itself exactly, as a supercell of a simulation does, has thousands.
_MOST_PEAKS = 1000
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


@dataclass(frozen=True)
class _Bins:
    """Found bins, n in all."""

    row: IntArray
    """Counted from the corner of the window; (n,)."""
    col: IntArray
    group: IntArray
    excess: Array
    """Whitened power over the background's, not below 0; (n,)."""


def find_peaks(window: Window, found: Mask) -> list[Peak]:
    """Spots among found bins: basins of a watershed of smoothed power whose valleys are deep enough.

    Parameters
    ----------
    found
        Bins of the window; they form a group where they touch on a grid of coarse cells.
    """
    bins, boxes = _group(window, found)
    if len(boxes) == 0:
        return []
    sigma = np.maximum(0.7, 0.2 * _effective_area(bins.excess, bins.group, len(boxes)) ** 0.5)
    terrain = _smooth(window, bins, boxes, sigma)
    region, summit = climb(terrain)
    owner, marked = _basins(terrain, region, summit, 4 * np.pi * sigma**2)
    spots = np.flatnonzero(marked & (owner == np.arange(len(owner))))
    number = np.full(len(owner), -1)
    number[spots] = np.arange(len(spots))
    spot_of_region = number[owner]
    # The last one written is the highest.
    rising = np.argsort(terrain.height[terrain.place[summit]])
    rising = rising[spot_of_region[rising] >= 0]
    top = np.zeros(len(spots), int)
    top[spot_of_region[rising]] = summit[rising]
    return _measure(window, bins, spot_of_region[region], top, terrain.height[terrain.place[top]], sigma)


def _group(window: Window, found: Mask) -> tuple[_Bins, list[tuple[slice, slice]]]:
    """Found bins by group, and the box of coarse cells of each group."""
    shape = tuple(-(-n // _CELL) for n in found.shape)
    flat = np.flatnonzero(found)
    # Quicker than divmod.
    row = flat // found.shape[1]
    col = flat - row * found.shape[1]
    cell = row // _CELL * shape[1] + col // _CELL
    coarse = np.zeros(shape, bool)
    coarse.ravel()[cell] = True
    labels, _ = scipy.ndimage.label(coarse, np.ones((3, 3)))
    group = labels.ravel().take(cell) - 1
    excess = np.maximum(window.whitened.ravel().take(flat).astype(np.float64) - 1.0, 0.0)
    return _Bins(row, col, group, excess), scipy.ndimage.find_objects(labels)


def _effective_area(excess: Array, number: IntArray, n: int) -> Array:
    """Bins over which the energy of each of n is spread: (sum E)² / sum E²; 4 pi s² for a Gaussian of deviation s."""
    return _area_of(np.bincount(number, weights=excess, minlength=n), excess, number)


def _area_of(sums: Array, excess: Array, number: IntArray) -> Array:
    """The same where the sums of E are known; (n,)."""
    squares = np.bincount(number, weights=excess * excess, minlength=len(sums))
    area: Array = np.where(squares > 0, sums**2 / np.maximum(squares, 1e-300), 1.0)
    return area


def _smooth(window: Window, bins: _Bins, boxes: Sequence[tuple[slice, slice]], sigma: Array) -> Terrain:
    """Smoothed power over the background's, each group in a frame of its own."""
    corners, sizes = np.zeros((len(boxes), 2), int), np.zeros((len(boxes), 2), int)
    pieces = []
    for k, box in enumerate(boxes):
        # A margin of one cell, so that smoothing sees what lies around.
        low = [max((side.start - 1) * _CELL, 0) for side in box]
        high = [min((side.stop + 1) * _CELL, n) for side, n in zip(box, window.whitened.shape, strict=True)]
        smooth = np.full((high[0] - low[0] + 2, high[1] - low[1] + 2), -np.inf, np.float32)
        around = window.whitened[low[0] : high[0], low[1] : high[1]]
        scipy.ndimage.gaussian_filter(around, sigma[k], mode="nearest", output=smooth[1:-1, 1:-1])
        corners[k], sizes[k] = low, smooth.shape
        pieces.append(smooth.ravel())
    first = np.cumsum(sizes.prod(axis=1)) - sizes.prod(axis=1)
    next_row = sizes[:, 1].take(bins.group)
    place = bins.row * next_row + bins.col
    place += (first - (corners[:, 0] - 1) * sizes[:, 1] - (corners[:, 1] - 1)).take(bins.group)
    return Terrain(np.concatenate(pieces) - np.float32(1.0), place, next_row, bins.group)


def _basins(terrain: Terrain, region: IntArray, summit: IntArray, n_smoothed: Array) -> tuple[IntArray, Mask]:
    """Basin, named by one of its regions, that each region belongs to, and which regions have a summit of their own.

    A height A over noise of mean 1 has a standard deviation of about sqrt(2 A + 1) in one bin, less by the square root
    of the number of bins that the smoothing averages.
    """
    group, height = terrain.group[summit], terrain.height[terrain.place[summit]]
    marked = _marked(terrain, summit, n_smoothed)
    passes = find_passes(terrain, region)
    owner = flood(passes, marked)
    noise = np.sqrt(np.maximum(2 * height + 1, 1.0) / n_smoothed[group])
    owner = join_shallow(passes.between(owner), height, np.maximum(_VALLEY * height, _VALLEY_SIGMA * noise))[owner]
    # The only summit of a group owns all of it, islands of bins as well.
    only = np.zeros(len(n_smoothed), int)
    only[group[marked]] = np.flatnonzero(marked)
    alone = np.bincount(group, weights=marked, minlength=len(n_smoothed)) == 1
    return np.where(alone[group], only[group], owner), marked


def _marked(terrain: Terrain, summit: IntArray, n_smoothed: Array) -> Mask:
    """Summits, from which a basin can start: maxima that noise does not make; if a group has none, all its maxima."""
    place, down, group = terrain.place[summit], terrain.next_row[summit], terrain.group[summit]
    height = terrain.height[place]
    around = np.stack([terrain.height[place + k * down + c] for k in (-1, 0, 1) for c in (-1, 0, 1)])
    maximum = height == around.max(axis=0)
    highest = np.full(len(n_smoothed), -np.inf)
    np.maximum.at(highest, group, height)
    high = maximum & (height > np.minimum(_LEAST_SIGMA / np.sqrt(n_smoothed), 0.999 * highest)[group])
    any_high = np.bincount(group, weights=high, minlength=len(n_smoothed)) > 0
    marked: Mask = np.where(any_high[group], high, maximum)
    return marked


def _measure(window: Window, bins: _Bins, spot: IntArray, top: IntArray, height: Array, sigma: Array) -> list[Peak]:
    """Position, width and energy of each spot from its bins.

    Parameters
    ----------
    spot
        Number of the spot of each bin, -1 for none.
    top, height
        Highest bin of each spot, and its height.
    """
    n, group = len(top), bins.group[top]
    rows, cols, excess = bins.row, bins.col, bins.excess
    if spot.min(initial=0) < 0:
        inside = np.flatnonzero(spot >= 0)
        spot, rows, cols, excess = (x[inside] for x in (spot, rows, cols, excess))
    reach = np.maximum(1, np.rint(2 * sigma[group])).astype(int)
    # Few bins lie in the rows near the top of their spot: the columns are looked at for these only.
    near = np.flatnonzero(np.abs(rows - bins.row[top][spot]) <= reach[spot])
    near = near[np.abs(cols[near] - bins.col[top][spot[near]]) <= reach[spot[near]]]
    near_spot = spot[near]
    total = np.maximum(np.bincount(near_spot, weights=excess[near], minlength=n), 1e-300)
    row, col = (
        middle + first + np.bincount(near_spot, excess[near] * (x[near] - middle[near_spot]), n) / total
        for x, middle, first in (
            (rows, bins.row[top], window.layout.first_row),
            (cols, bins.col[top], window.layout.first_col),
        )
    )
    energy = np.bincount(spot, weights=excess, minlength=n)
    width = np.maximum(2.355 * np.sqrt(_area_of(energy, excess, spot) / (4 * np.pi)), 1.0)
    merged = np.bincount(group, minlength=len(sigma))[group] > 1
    columns = (row, col, width, height, energy, merged)
    return [Peak(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def keep_real_half(peaks: list[Peak]) -> list[Peak]:
    """One of each Friedel pair, with col > 0, or col == 0 and row > 0; the strongest, in falling order of height."""
    kept: list[Peak] = []
    places = np.zeros((len(peaks), 2))
    for peak in sorted(peaks, key=lambda p: -p.height):
        sign = 1 if (peak.col, peak.row) > (0, 0) else -1
        place = np.array([sign * peak.row, sign * peak.col])
        others = places[: len(kept)]
        nearest = np.minimum(np.hypot(*(others - place).T), np.hypot(*(others + place).T))
        if (nearest < max(1.5, 0.5 * peak.width)).any():
            continue
        if len(kept) == _MOST_PEAKS:
            break
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
