"""Blocks of bins that are brighter than noise makes them, from fine to coarse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fringemap.spots.noise import independent_bins, measure_noise_law, threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Array, Image, Mask
    from fringemap.spots.window import Layout, Window

# The noise law is measured in this many rings of equal width, each from some of its blocks.
_N_ZONES = 8
_SAMPLE = 20_000
# A zone with fewer bins than this can be crowded with spots; its law follows that of the others.
_OWN_LAW_BINS = 2_000
_BLOCK_ROWS = 64


@dataclass(frozen=True)
class Law:
    """Noise law of the block means of one side length, by zone."""

    side: int
    means: Array
    shapes: Array
    n_tests: int


def find_blocks(
    window: Window, levels: Sequence[int], *, false_spots: float, noise_shape: float, windowed: bool
) -> tuple[Mask, list[Law]]:
    """Bins of all blocks that exceed their threshold, and the laws that these came from.

    ``grid`` holds the means of blocks that do not overlap; the tested blocks, four cells each, overlap by half.
    """
    found = np.zeros(window.whitened.shape, bool)
    grid = window.whitened
    laws = []
    for side in levels:
        cell = max(side // 2, 1)
        means = grid if side == 1 else _mean_of_four(grid, 1)
        law = _measure_law(means, window, side, noise_shape * independent_bins(side, windowed=windowed))
        rows, cols = _bright_blocks(means, window, law, false_spots)
        if side > 1:
            rows, cols = _cells_of_blocks(rows, cols)
        if len(rows):
            if grid is window.whitened:
                grid = grid.copy()
            grid[rows, cols] = 1.0
            _mark(found, rows, cols, cell)
        if side > 1:
            grid = _mean_of_four(grid, 2)
        laws.append(law)
    return found, laws


def _mean_of_four(grid: Image, step: int) -> Image:
    """Mean of each 2 x 2 cells, at every place or at every other one."""
    rows, cols = (n - 1 for n in grid.shape)
    mean = np.empty((-(-rows // step), -(-cols // step)), np.float32)
    for start in range(0, len(mean), _BLOCK_ROWS):
        first, end = start * step, min((start + _BLOCK_ROWS) * step, rows)
        block = grid[first:end:step] + grid[first + 1 : end + 1 : step]
        out = mean[start : start + len(block)]
        np.add(block[:, :cols:step], block[:, 1 : cols + 1 : step], out=out)
        out *= np.float32(0.25)
    return mean


def _cells_of_blocks(rows: Array, cols: Array) -> tuple[Array, Array]:
    """The four cells of each block, each cell once."""
    cells = {(int(r) + dr, int(c) + dc) for r, c in zip(rows, cols, strict=True) for dr in (0, 1) for dc in (0, 1)}
    unique = np.array(sorted(cells), int).reshape(-1, 2)
    return unique[:, 0], unique[:, 1]


def _mark(found: Mask, rows: Array, cols: Array, cell: int) -> None:
    """Mark the bins of cells, in place."""
    if cell == 1:
        found[rows, cols] = True
        return
    for r, c in zip(rows * cell, cols * cell, strict=True):
        found[r : r + cell, c : c + cell] = True


def _bright_blocks(means: Image, window: Window, law: Law, false_spots: float) -> tuple[Array, Array]:
    """Blocks above the threshold of their zone, as indices into ``means``."""
    per_test = np.log(false_spots / law.n_tests)
    limits = np.array([threshold(per_test, mean=m, shape=s) for m, s in zip(law.means, law.shapes, strict=True)])
    # Flat: several times quicker than looking for pairs of indices.
    rows, cols = np.divmod(np.flatnonzero(means > np.float32(limits.min())), means.shape[1])
    bright = means[rows, cols] > limits[zone_of(window, *_middle(rows, cols, law.side))]
    return rows[bright], cols[bright]


def zone_of(window: Window, row: Array | int, col: Array | int) -> Array:
    """Ring of equal width, numbered from the centre."""
    return _zone_at(window.layout.g_at(row, col), window.layout)


def _zone_at(g: Array, layout: Layout) -> Array:
    zone: Array = np.minimum(g * (_N_ZONES / layout.g_high), _N_ZONES - 1).astype(np.uint8)
    return zone


def _middle(rows: Array, cols: Array, side: int) -> tuple[Array, Array]:
    """Bins, counted from the corner of the window, at the middle of tested blocks."""
    cell = max(side // 2, 1)
    return rows * cell + (side - 1) / 2, cols * cell + (side - 1) / 2


def _measure_law(means: Image, window: Window, side: int, independent_shape: float) -> Law:
    """Noise law of one level in each zone, from a sample of its blocks."""
    sample = _sample_of(window.layout, means.shape, side)
    groups = np.split(means.ravel().take(sample.places), sample.ends[:-1])
    laws = np.array([measure_noise_law(group, independent_shape=independent_shape) for group in groups])
    # A zone with few bins can be crowded with spots; it follows the others.
    weight = np.array([len(group) for group in groups]) * sample.step**2 / _OWN_LAW_BINS
    shapes = (weight * laws[:, 1] + np.median(laws[:, 1])) / (weight + 1)
    return Law(side, laws[:, 0], shapes, max(len(sample.places) * sample.step**2, 1))


@dataclass(frozen=True)
class _Sample:
    """Some blocks of a level, those of each zone together."""

    places: Array
    """Flat indices into the block means."""
    ends: Array
    """Of the zones, in ``places``; (_N_ZONES,)."""
    step: int
    """Every so many rows and columns of blocks are taken."""


# The same for all frames of a series.
@lru_cache(maxsize=32)
def _sample_of(layout: Layout, shape: tuple[int, int], side: int) -> _Sample:
    step = max(1, int((shape[0] * shape[1] / (_SAMPLE * _N_ZONES)) ** 0.5))
    rows, cols = (np.arange(0, n, step) for n in shape)
    row, col = _middle(rows[:, None], cols, side)
    g = layout.g_at(row, col)
    reach = side * layout.step
    inside = (g > layout.g_low + reach) & (g < layout.g_high - reach)
    zones = _zone_at(g[inside], layout)
    places = (rows[:, None] * shape[1] + cols)[inside].astype(np.int32)
    ends = np.cumsum(np.bincount(zones, minlength=_N_ZONES))
    return _Sample(places[np.argsort(zones, kind="stable")], ends, step)
