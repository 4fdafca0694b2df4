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
from fringemap.spots.noise import log_tail, measure_upper_law

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Array, Image
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
# Bins, and widths of a peak, within which its surroundings are looked at.
_NEARBY_BINS = 12
_NEARBY_WIDTHS = 3.0
_FEW_BINS = 20


def score_peaks(peaks: Sequence[Peak], window: Window, laws: Sequence[Law], *, crowded: bool) -> Array:
    """-log10 of the number of blocks, in the whole frame, that noise makes as bright as the best one on each peak.

    Parameters
    ----------
    crowded
        One crystal fills the frame: a ring must leave more blocks free before it is believed.
    """
    few = _FEW_BLOCKS_CROWDED if crowded else _FEW_BLOCKS
    places = np.array([(p.row, p.col, p.width) for p in peaks]).reshape(-1, 3)
    return np.array([_score(i, places, window, laws, few) for i in range(len(peaks))])


def _score(index: int, places: Array, window: Window, laws: Sequence[Law], few: int) -> float:
    best, nearby = -np.inf, _nearby_mean(index, places, window)
    for law in _fitting(laws, float(places[index, 2])):
        bright = _brightest_block(index, places, window, law.side)
        reference = _blocks_on_ring(index, places, window, law.side)
        limit = float(law.shapes.max())
        if len(reference) < few:
            zone = int(zone_of(window, *_in_window(index, places, window)))
            mean, shape, n = float(law.means[zone]), float(law.shapes[zone]), few
        else:
            mean, shape = measure_upper_law(reference, largest_shape=limit)
            mean, n = max(mean, nearby), len(reference)
        if law.side > 1:
            shape *= _INDEPENDENT_SHARE
        tail = log_tail(np.array(bright / mean), shape=np.array(shape), background_shape=n * max(shape, 1.0) / 2)
        best = max(best, -float(tail) - np.log(_DEPENDENT_SIZES * law.n_tests))
    return float(best / np.log(10))


def _fitting(laws: Sequence[Law], width: float) -> list[Law]:
    """Blocks of about the size of a spot; others can only dilute it."""
    fitting = [law for law in laws if width / 3 <= law.side <= 3 * max(width, 1.0)]
    return fitting or [laws[-1]]


def _in_window(index: int, places: Array, window: Window) -> tuple[int, int]:
    """Bin of a peak, counted from the corner of the window."""
    return round(places[index, 0]) - window.layout.first_row, round(places[index, 1]) - window.layout.first_col


def _brightest_block(index: int, places: Array, window: Window, side: int) -> float:
    """Largest mean of the blocks of this side around a peak, what belongs to other peaks counted as noise."""
    row, col = _in_window(index, places, window)
    reach = side // 2
    rows = np.clip(np.arange(row - reach, row + reach + 1), 0, window.whitened.shape[0] - 1)
    cols = np.clip(np.arange(col - reach, col + reach + 1), 0, window.whitened.shape[1] - 1)
    power = window.whitened[np.ix_(rows, cols)]
    power = np.where(
        _belongs(index, places, rows + window.layout.first_row, cols + window.layout.first_col), power, 1.0
    )
    starts = (0,) if side == 1 else (0, 1)
    return max(float(power[r : r + side, c : c + side].mean()) for r in starts for c in starts)


def _belongs(index: int, places: Array, rows: Array, cols: Array) -> Array:
    """Bins nearer to a peak than to any other, in their widths."""
    size = 1.0 * len(rows) + 2 * places[:, 2].max()
    near = np.hypot(places[:, 0] - places[index, 0], places[:, 1] - places[index, 1]) < size
    near[index] = False
    own = np.hypot(rows[:, None] - places[index, 0], cols - places[index, 1]) / places[index, 2]
    belongs = np.ones(own.shape, bool)
    for row, col, width in places[near]:
        belongs &= own <= np.hypot(rows[:, None] - row, cols - col) / width
    return belongs


def _nearby_mean(index: int, places: Array, window: Window) -> float:
    """Mean of noise around a peak, from the median of the bins between it and a few widths away that no spot holds."""
    row, col, width = places[index]
    reach = round(max(_NEARBY_BINS, _NEARBY_WIDTHS * width))
    top, left = (
        max(round(row) - window.layout.first_row - reach, 0),
        max(round(col) - window.layout.first_col - reach, 0),
    )
    around = window.whitened[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
    rows, cols = (np.arange(n) + first for n, first in ((around.shape[0], top), (around.shape[1], left)))
    g = window.layout.g_at(rows[:, None], cols)
    free = (g > window.layout.g_low) & (g < window.layout.g_high)
    near = np.hypot(places[:, 0] - row, places[:, 1] - col) < 2 * reach + places[:, 2]
    for other_row, other_col, other_width in places[near]:
        distance = np.hypot(
            rows[:, None] + window.layout.first_row - other_row, cols + window.layout.first_col - other_col
        )
        free &= distance > _CLEAR_WIDTHS * other_width
    values = around[free]
    return float(np.median(values)) / np.log(2) if len(values) >= _FEW_BINS else 0.0


def _blocks_on_ring(index: int, places: Array, window: Window, side: int) -> Array:
    """Means of blocks at the |g| of a peak, around the half plane, clear of all spots."""
    step_y, step_x = window.layout.step_y, window.layout.step_x
    g = float(np.hypot(places[index, 0] * step_y, places[index, 1] * step_x))
    around = int(np.clip(np.pi * g / window.layout.step / max(side, 2), 12, _MOST_BLOCKS // 3))
    angle = np.linspace(-np.pi / 2, np.pi / 2, around, endpoint=False)
    offset = np.array([-1.0, 0.0, 1.0])[:, None] * max(side / 2, 1.0) * window.layout.step
    rows = np.rint((g + offset) * np.sin(angle) / step_y).astype(int).ravel()
    cols = np.rint((g + offset) * np.cos(angle) / step_x).astype(int).ravel()
    clear = np.ones(len(rows), bool)
    reach = side + 2 + _CLEAR_WIDTHS * places[:, 2]
    on_ring = np.abs(np.hypot(places[:, 0] * step_y, places[:, 1] * step_x) - g) < reach * window.layout.step
    for row, col, width in places[on_ring]:
        least = (side / 2 + _CLEAR_WIDTHS * width) ** 2
        for sign in (1, -1):
            clear &= (rows - sign * row) ** 2 + (cols - sign * col) ** 2 > least
    low = side // 2
    rows, cols = rows[clear] - window.layout.first_row - low, cols[clear] - window.layout.first_col - low
    n_rows, n_cols = window.whitened.shape
    inside = (rows >= 0) & (cols >= 0) & (rows + side <= n_rows) & (cols + side <= n_cols)
    return _means(window.whitened, rows[inside], cols[inside], side)


def _means(whitened: Image, rows: Array, cols: Array, side: int) -> Array:
    offset = np.arange(side)
    # Flat indices are gathered several times quicker than pairs of them.
    flat = (rows[:, None] + offset)[:, :, None] * whitened.shape[1] + (cols[:, None] + offset)[:, None, :]
    means: Array = whitened.ravel().take(flat).mean(axis=(1, 2), dtype=np.float64)
    return means
