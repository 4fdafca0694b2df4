"""How many false spots as bright as a peak its own ring would hold.

The background follows Thon rings and envelopes only so far, most of all where rings are as fine as a few bins or no
circles. What remains is the same all along a ring of one |g|. A peak is therefore compared with blocks of its own size
on its own ring, all around, where no other spot lies; the law of these blocks is read from their upper half, because
it is the tail that counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.spots.blocks import Law, zone_of
from fringemap.spots.noise import log_tail, measure_upper_laws, quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Array, Image, IntArray, Mask
    from fringemap.spots.peaks import Peak
    from fringemap.spots.window import Window

# Blocks on the ring of a peak: at most so many, and too few to tell a law.
_MOST_BLOCKS = 240
_FEW_BLOCKS = 20
# Where one crystal fills the frame its spots crowd the rings, and what is left of a ring tells little about noise.
_FEW_BLOCKS_CROWDED = 48
# Blocks of several sizes are tried on each peak; as they overlap, they count as about two independent trials.
_DEPENDENT_SIZES = 2.0
# Neighbouring bins of real frames depend on each other a little, by uneven specimens and cameras, more than the upper
# half of a few hundred blocks can tell: so much of the measured shape is trusted.
_INDEPENDENT_SHARE = 0.8
# A block of the ring is free of another spot if it lies further from it than this many of its widths.
_CLEAR_WIDTHS = 1.5
# Peaks that are scored at once: each is compared with all others around its ring, which takes memory.
_AT_ONCE = 200
# Bins, and widths of a peak, within which its surroundings are looked at.
_NEARBY_BINS = 12
_NEARBY_WIDTHS = 3.0
_FEW_BINS = 20
# Of wide surroundings at most about so many bins are looked at on either side of the peak.
_NEARBY_SAMPLES = 50


def score_peaks(peaks: Sequence[Peak], window: Window, laws: Sequence[Law], *, crowded: bool) -> Array:
    """-log10 of the number of blocks, in the whole frame, that noise makes as bright as the best one on each peak.

    Parameters
    ----------
    crowded
        One crystal fills the frame: a ring must leave more blocks free before it is believed.
    """
    few = _FEW_BLOCKS_CROWDED if crowded else _FEW_BLOCKS
    places = np.array([(p.row, p.col, p.width) for p in peaks]).reshape(-1, 3)
    nearby = _nearby_means(places, window)
    best = np.full(len(places), -np.inf)
    for law, fitting in zip(laws, _fitting(laws, places[:, 2]).T, strict=True):
        every = np.flatnonzero(fitting)
        for begin in range(0, len(every), _AT_ONCE):
            chosen = every[begin : begin + _AT_ONCE]
            # A picture without any noise has rings of zeros, over which anything stands out.
            with np.errstate(divide="ignore", invalid="ignore"):
                best[chosen] = np.maximum(best[chosen], _score(chosen, places, window, law, nearby[chosen], few))
    scores: Array = best / np.log(10)
    return scores


def _fitting(laws: Sequence[Law], width: Array) -> Mask:
    """Blocks of about the size of a spot, as others can only dilute it; (n spots, n laws)."""
    sides = np.array([law.side for law in laws])
    fitting: Mask = (width[:, None] / 3 <= sides) & (sides <= 3 * np.maximum(width, 1.0)[:, None])
    fitting[~fitting.any(axis=1), -1] = True
    return fitting


def _score(chosen: IntArray, places: Array, window: Window, law: Law, nearby: Array, few: int) -> Array:
    """Minus the log of the number of blocks of one side that noise makes as bright as those on some peaks."""
    bright = _brightest_blocks(chosen, places, window, law.side)
    reference, n = _blocks_on_rings(chosen, places, window, law.side)
    mean, shape = measure_upper_laws(reference, n, largest_shape=float(law.shapes.max()))
    enough = n >= few
    zone = zone_of(window, *_in_window(places[chosen], window))
    mean = np.where(enough, np.maximum(mean, nearby), law.means[zone])
    shape = np.where(enough, shape, law.shapes[zone])
    if law.side > 1:
        shape *= _INDEPENDENT_SHARE
    background_shape = np.where(enough, n, few) * np.maximum(shape, 1.0) / 2
    tail = log_tail(bright / mean, shape=shape, background_shape=background_shape)
    score: Array = -tail - np.log(_DEPENDENT_SIZES * law.n_tests)
    return score


def _in_window(places: Array, window: Window) -> tuple[IntArray, IntArray]:
    """Bins of peaks, counted from the corner of the window."""
    rows, cols = np.rint(places[:, :2].T).astype(int)
    return rows - window.layout.first_row, cols - window.layout.first_col


def _brightest_blocks(chosen: IntArray, places: Array, window: Window, side: int) -> Array:
    """Largest mean of the blocks of this side around each peak, what belongs to other peaks counted as noise."""
    reach = np.arange(-(side // 2), side // 2 + 1)
    at = np.stack(_in_window(places[chosen], window), axis=1)[:, :, None] + reach
    bins = np.clip(at, 0, np.array(window.whitened.shape)[:, None] - 1)
    power = window.whitened[bins[:, 0, :, None], bins[:, 1, None, :]]
    corner = np.array([window.layout.first_row, window.layout.first_col])
    _leave_others_out(power, bins + corner[:, None], chosen, places)
    starts = (0,) if side == 1 else (0, 1)
    means = [power[:, r : r + side, c : c + side].mean(axis=(1, 2)) for r in starts for c in starts]
    brightest: Array = np.max(means, axis=0).astype(np.float64)
    return brightest


def _leave_others_out(power: Image, bins: IntArray, chosen: IntArray, places: Array) -> None:
    """Put the mean of noise into bins that are nearer to another peak, in their widths; in place.

    Parameters
    ----------
    power
        Around some peaks; (m, k, k).
    bins
        Their rows and columns; (m, 2, k).
    """
    away = np.hypot(*(places[chosen, None, :2] - places[:, :2]).transpose(2, 0, 1))
    size = power.shape[1] + 2 * places[:, 2].max()
    # No bin of the block is nearer to a peak that lies further away than this.
    reach = 0.71 * (power.shape[1] + 1) * (1 + places[:, 2] / places[chosen, 2][:, None])
    near = away < np.minimum(reach, size)
    near[np.arange(len(chosen)), chosen] = False
    for k in np.flatnonzero(near.any(axis=1)):
        own = _squared_distance(bins[k], places[chosen[k]])
        for other in places[near[k]]:
            power[k][own > _squared_distance(bins[k], other)] = 1.0


def _squared_distance(bins: IntArray, place: Array) -> Array:
    """From a peak to bins, in its widths; (k, k)."""
    rows, cols = (bins - place[:2, None]) / place[2]
    distance: Array = (rows * rows)[:, None] + cols * cols
    return distance


def _nearby_means(places: Array, window: Window) -> Array:
    """Mean of noise around each peak, from the median of the bins up to a few widths away that no spot holds; (n,)."""
    rows, cols = (places[:, :2] - (window.layout.first_row, window.layout.first_col)).T
    radii = _CLEAR_WIDTHS * places[:, 2]
    reaches = np.rint(np.maximum(_NEARBY_BINS, _NEARBY_WIDTHS * places[:, 2])).astype(int)
    means = np.zeros(len(places))
    for k, (row, col, reach) in enumerate(zip(*_in_window(places, window), reaches, strict=True)):
        step = max(1, reach // _NEARBY_SAMPLES)
        sides = [slice(max(middle - reach, 0), middle + reach + 1, step) for middle in (row, col)]
        around = window.whitened[sides[0], sides[1]]
        at_rows, at_cols = (np.arange(n) * step + side.start for n, side in zip(around.shape, sides, strict=True))
        g = window.layout.g_at(at_rows[:, None], at_cols)
        free = (g > window.layout.g_low) & (g < window.layout.g_high)
        # Half a bin more: the middle of the square is a whole bin.
        near = np.maximum(np.abs(rows - row), np.abs(cols - col)) <= reach + radii + 0.5
        for i in np.flatnonzero(near):
            free &= ((at_rows - rows[i]) ** 2)[:, None] + (at_cols - cols[i]) ** 2 > radii[i] ** 2
        values = around[free]
        if len(values) >= _FEW_BINS:
            means[k] = quantiles(values, 0.5)[0] / np.log(2)
    return means


def _blocks_on_rings(chosen: IntArray, places: Array, window: Window, side: int) -> tuple[Array, IntArray]:
    """Means of blocks at the |g| of each peak, around the half plane, clear of all spots.

    Returns
    -------
    means, n
        The means of each peak's blocks in rising order, filled up with infinity, (m, most); how many there are, (m,).
    """
    steps = np.array([window.layout.step_y, window.layout.step_x])
    g = np.hypot(*(places[:, :2] * steps).T)
    rows, cols, there = _places_on_rings(g[chosen], window, side)
    reach = side + 2 + _CLEAR_WIDTHS * places[:, 2]
    on_ring = np.abs(g - g[chosen, None]) < reach * window.layout.step
    one, other = np.nonzero(on_ring)
    least = (side / 2 + _CLEAR_WIDTHS * places[other, 2]) ** 2
    clear = np.ones((len(one), rows.shape[1]), bool)
    for sign in (1, -1):
        away = (rows[one] - sign * places[other, 0, None]) ** 2 + (cols[one] - sign * places[other, 1, None]) ** 2
        clear &= away > least[:, None]
    # Each peak lies on its own ring: no peak is without a row here.
    there &= np.logical_and.reduceat(clear, np.searchsorted(one, np.arange(len(chosen))))
    low = side // 2
    rows, cols = rows - (window.layout.first_row + low), cols - (window.layout.first_col + low)
    n_rows, n_cols = window.whitened.shape
    there &= (rows >= 0) & (cols >= 0) & (rows + side <= n_rows) & (cols + side <= n_cols)
    means = np.full(rows.shape, np.inf)
    means[there] = _means(window.whitened, rows[there], cols[there], side)
    return np.sort(means, axis=1), there.sum(axis=1)


def _places_on_rings(g: Array, window: Window, side: int) -> tuple[IntArray, IntArray, Mask]:
    """Bins at the middle of blocks on, just inside and just outside of rings; (m, most), and which of them count."""
    layout = window.layout
    around = np.clip(np.pi * g / layout.step / max(side, 2), 12, _MOST_BLOCKS // 3).astype(int)
    number = np.arange(int(around.max()))
    angle = np.pi * (number / around[:, None] - 0.5)
    offset = np.array([-1.0, 0.0, 1.0])[:, None] * max(side / 2, 1.0) * layout.step
    radius = g[:, None, None] + offset
    rows, cols = (
        np.rint(radius * wave(angle)[:, None] / step).astype(int).reshape(len(g), -1)
        for wave, step in ((np.sin, layout.step_y), (np.cos, layout.step_x))
    )
    return rows, cols, np.tile(number < around[:, None], (1, 3))


def _means(whitened: Image, rows: IntArray, cols: IntArray, side: int) -> Array:
    blocks = np.lib.stride_tricks.sliding_window_view(whitened, (side, side))[rows, cols]
    means: Array = blocks.mean(axis=(1, 2)).astype(np.float64)
    return means
