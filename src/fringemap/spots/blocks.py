"""Blocks of bins that are brighter than noise makes them, from fine to coarse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fringemap.spots.noise import independent_bins, measure_noise_laws, threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Array, Image, IntArray, Mask
    from fringemap.spots.window import Layout, Window

# The noise law is measured in this many rings of equal width, each from some of its blocks.
_N_ZONES = 8
_SAMPLE = 20_000
# A zone with fewer bins than this can be crowded with spots; its law follows that of the others.
_OWN_LAW_BINS = 2_000
_BLOCK_ROWS = 64
_PIECE = 2**17
# From the first cell of a block to each of its four.
_DOWN, _ACROSS = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])


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

    What has been found at one size of blocks counts as noise at the next ones.
    ``grid`` holds the means of cells that do not overlap; the tested blocks, four cells each, overlap by half.
    """
    found = np.zeros(window.whitened.shape, bool)
    grid, hidden, laws = window.whitened, [], []
    for side in levels:
        law = _measure_law(grid, window, side, noise_shape * independent_bins(side, windowed=windowed))
        rows, cols = _cells_of_bright_blocks(grid, window, law, false_spots)
        if grid is window.whitened:
            # A copy of so large an array would take longer than to put these bins back.
            hidden.append((rows, cols, grid[rows, cols]))
        grid[rows, cols] = 1.0
        _mark(found, rows, cols, max(side // 2, 1))
        if side > 1:
            grid = _mean_of_four(grid)
        laws.append(law)
    for rows, cols, values in reversed(hidden):
        window.whitened[rows, cols] = values
    return found, laws


def _mean_of_four(grid: Image) -> Image:
    """Mean of each 2 x 2 cells, which do not overlap."""
    rows, cols = (n // 2 for n in grid.shape)
    mean = np.empty((rows, cols), np.float32)
    for start in range(0, rows, _BLOCK_ROWS):
        out = mean[start : start + _BLOCK_ROWS]
        block = grid[2 * start : 2 * (start + len(out)), : 2 * cols]
        block = block[::2] + block[1::2]
        np.add(block[:, ::2], block[:, 1::2], out=out)
        out *= np.float32(0.25)
    return mean


def _block_means(grid: Image, rows: Array, cols: Array, side: int) -> Image:
    """Means of the blocks with these first cells; (n,)."""
    flat, width, first = grid.ravel(), grid.shape[1], rows * grid.shape[1] + cols
    if side == 1:
        return grid[rows, cols]
    left, right = (flat.take(first + k) + flat.take(first + (width + k)) for k in (0, 1))
    means: Image = (left + right) * np.float32(0.25)
    return means


def _sampled_means(grid: Image, side: int, step: int) -> Image:
    """Means of the blocks in every so many rows and columns."""
    if side == 1:
        return grid[::step, ::step]
    left, right = (
        np.add(*(grid[r : grid.shape[0] - 1 + r : step, c : grid.shape[1] - 1 + c : step] for r in (0, 1)))
        for c in (0, 1)
    )
    means: Image = (left + right) * np.float32(0.25)
    return means


def _mark(found: Mask, rows: Array, cols: Array, cell: int) -> None:
    """Mark the bins of cells, in place."""
    inside = np.arange(cell)
    found[(rows * cell)[:, None, None] + inside[:, None], (cols * cell)[:, None, None] + inside] = True


def _cells_of_bright_blocks(grid: Image, window: Window, law: Law, false_spots: float) -> tuple[Array, Array]:
    """Rows and columns of the cells, each once, of all blocks above the threshold of their zone.

    A mean of four exceeds a threshold only where one of the four does: the other blocks need not be worked out.
    """
    per_test = np.log(false_spots / law.n_tests)
    limits = np.array([threshold(per_test, mean=m, shape=s) for m, s in zip(law.means, law.shapes, strict=True)])
    lowest = float(limits.min())
    rows, cols = _cells_above(grid, lowest)
    if law.side > 1:
        rows, cols = _blocks_around(rows, cols, grid.shape)
    means = _block_means(grid, rows, cols, law.side)
    bright = np.flatnonzero(means > np.float32(lowest))
    rows, cols = rows[bright], cols[bright]
    above = means[bright] > limits[zone_of(window, *_middle(rows, cols, law.side))]
    rows, cols = rows[above], cols[above]
    return (rows, cols) if law.side == 1 else _cells_of_blocks(rows, cols, grid.shape[1])


def _cells_above(grid: Image, level: float) -> tuple[IntArray, IntArray]:
    """Rows and columns of the cells above a level."""
    flat = grid.ravel()
    # Piece by piece, in the processor's cache, and flat: several times quicker than looking for pairs of indices.
    pieces = [np.flatnonzero(flat[k : k + _PIECE] > np.float32(level)) + k for k in range(0, len(flat), _PIECE)]
    place = np.concatenate(pieces)
    rows = place // grid.shape[1]
    return rows, place - rows * grid.shape[1]


def _blocks_around(rows: Array, cols: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """First cells of the blocks that hold these cells; a block can come several times."""
    rows, cols = (np.concatenate([a - step for step in steps]) for a, steps in ((rows, _DOWN), (cols, _ACROSS)))
    whole = (rows >= 0) & (cols >= 0) & (rows + 1 < shape[0]) & (cols + 1 < shape[1])
    return rows[whole], cols[whole]


def _cells_of_blocks(rows: Array, cols: Array, width: int) -> tuple[Array, Array]:
    """The four cells of each block, each cell once."""
    cells = (rows * width + cols)[:, None] + _DOWN * width + _ACROSS
    unique_rows, unique_cols = np.divmod(np.unique(cells), width)
    return unique_rows, unique_cols


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


def _measure_law(grid: Image, window: Window, side: int, independent_shape: float) -> Law:
    """Noise law of one level in each zone, from a sample of its blocks."""
    sample = _sample_of(window.layout, grid.shape, side)
    groups = np.split(_sampled_means(grid, side, sample.step).take(sample.places), sample.ends[:-1])
    means, shapes = measure_noise_laws(groups, independent_shape=independent_shape)
    # A zone with few bins can be crowded with spots; it follows the others.
    weight = np.array([len(group) for group in groups]) * sample.step**2 / _OWN_LAW_BINS
    shapes = (weight * shapes + np.median(shapes)) / (weight + 1)
    return Law(side, means, shapes, max(len(sample.places) * sample.step**2, 1))


@dataclass(frozen=True)
class _Sample:
    """Some blocks of a level, those of each zone together."""

    places: Array
    """Flat indices into the sampled block means."""
    ends: Array
    """Of the zones, in ``places``; (_N_ZONES,)."""
    step: int
    """Every so many rows and columns of blocks are taken."""


# The same for all frames of a series.
@lru_cache(maxsize=32)
def _sample_of(layout: Layout, grid_shape: tuple[int, int], side: int) -> _Sample:
    shape = grid_shape if side == 1 else (grid_shape[0] - 1, grid_shape[1] - 1)
    # Of blocks that overlap by half, every second one in both directions tells nearly all.
    step = math.ceil((shape[0] * shape[1] / (_SAMPLE * _N_ZONES)) ** 0.5)
    rows, cols = (np.arange(0, n, step) for n in shape)
    row, col = _middle(rows[:, None], cols, side)
    g = layout.g_at(row, col)
    reach = side * layout.step
    inside = (g > layout.g_low + reach) & (g < layout.g_high - reach)
    zones = _zone_at(g[inside], layout)
    ends = np.cumsum(np.bincount(zones, minlength=_N_ZONES))
    return _Sample(np.flatnonzero(inside)[np.argsort(zones, kind="stable")], ends, step)
