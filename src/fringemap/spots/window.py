"""The part of the whitened power in which spots are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.spectrum import bin_size, do_each, nyquist

if TYPE_CHECKING:
    from fringemap.records import Array, Diffractogram, Image, IntArray
    from fringemap.settings import SpotSettings

_CORNER = 1.15
# Close to the Nyquist frequency a camera's rows and columns, and what is folded back, make lines of their own.
_EDGE = 0.95
# Rows that are worked on at a time: threads lose time where a step takes less than they need to wake up.
_BLOCK_ROWS = 128


@dataclass(frozen=True)
class Layout:
    """Where the bins of a window lie."""

    first_row: int
    first_col: int
    step_y: float
    """Distance of neighbouring bins [1/Å]."""
    step_x: float
    g_low: float
    g_high: float

    @property
    def step(self) -> float:
        """Distance of neighbouring bins along the coarser axis [1/Å]."""
        return max(self.step_y, self.step_x)

    def g_at(self, row: Array | int, col: Array | int) -> Array:
        """|g| of bins counted from the corner of the window [1/Å]."""
        gy, gx = (row + self.first_row) * self.step_y, (col + self.first_col) * self.step_x
        # Many times quicker than hypot, which guards against overflow.
        g: Array = np.sqrt(gy * gy + gx * gx)
        return g


@dataclass(frozen=True)
class Window:
    """The part of a diffractogram in which spots are looked for, centred, with a margin across the column axis.

    Bins outside the limits of d hold 1, the mean of noise.
    """

    whitened: Image
    layout: Layout


def smallest_grain_width(diffractogram: Diffractogram, settings: SpotSettings) -> float:
    """Full width at half maximum of the spots of the smallest grain [bins]."""
    return 1.0 / (settings.min_grain_nm * 10.0) / min(bin_size(diffractogram.frame_shape, diffractogram.scale))


def block_sides(diffractogram: Diffractogram, settings: SpotSettings) -> tuple[int, ...]:
    """Sides of the blocks that are tested [bins]: 1, 2, 4, ... up to twice the width of the smallest grain's spots."""
    largest = min(2 * smallest_grain_width(diffractogram, settings), min(diffractogram.frame_shape) / 16)
    return tuple(2**level for level in range(int(np.log2(max(largest, 2.0))) + 1))


def cut_window(diffractogram: Diffractogram, settings: SpotSettings, *, workers: int = 1) -> Window:
    """Whitened power within the limits of d, centred.

    Left of zero frequency stand as many columns of mates as two of the largest blocks have.
    """
    margin = 2 * block_sides(diffractogram, settings)[-1]
    (rows, cols), scale = diffractogram.frame_shape, diffractogram.scale
    step_y, step_x = bin_size(diffractogram.frame_shape, scale)
    # In the corners beyond the Nyquist frequency a ring is only a few short arcs, too few to tell its noise.
    g_low, g_high = 1.0 / settings.d_max_angstrom, min(1.0 / settings.d_min_angstrom, _CORNER * max(nyquist(scale)))
    last_row = min(int(g_high / step_y), int(_EDGE * rows / 2))
    last_col = min(int(g_high / step_x), int(_EDGE * cols / 2))
    margin = min(margin, last_col)
    whitened = np.empty((2 * last_row + 1, last_col + 1 + margin), np.float32)
    right = whitened[:, margin:]
    gy, gx = np.arange(-last_row, last_row + 1) * step_y, np.arange(last_col + 1) * step_x
    starts, ends = _line_ends(gy, gx, g_low, g_high)

    def divide(block_rows: tuple[int, int]) -> None:
        first, end = block_rows
        here, there = slice(first + last_row, end + last_row), slice(first % rows, first % rows + end - first)
        block, most = right[here], int(ends[here].max())
        np.divide(diffractogram.power[there, :most], diffractogram.background[there, :most], out=block[:, :most])
        block[:, most:] = 1.0
        # Only near the ends does it differ between the rows of a block which bins are outside.
        hole, rim = np.arange(starts[here].max()), np.arange(ends[here].min(), most)
        np.copyto(block[:, : len(hole)], 1.0, where=hole < starts[here, None])
        np.copyto(block[:, most - len(rim) : most], 1.0, where=rim >= ends[here, None])

    do_each(divide, _row_blocks(last_row), workers=workers)
    whitened[:, :margin] = right[::-1, margin:0:-1]
    return Window(whitened, Layout(-last_row, -margin, step_y, step_x, g_low, g_high))


def _row_blocks(last_row: int) -> list[tuple[int, int]]:
    """First row and end of groups of rows, from -last_row to last_row; none of them on either side of row 0."""
    below = [(first, min(first + _BLOCK_ROWS, 0)) for first in range(-last_row, 0, _BLOCK_ROWS)]
    above = [(first, min(first + _BLOCK_ROWS, last_row + 1)) for first in range(0, last_row + 1, _BLOCK_ROWS)]
    return below + above


def _line_ends(gy: Array, gx: Array, g_low: float, g_high: float) -> tuple[IntArray, IntArray]:
    """First column, and the one after the last, that each row has within a ring, right of the middle."""
    reach, hole = (np.sqrt(np.maximum(limit**2 - gy**2, 0.0)) for limit in (g_high, g_low))
    starts = np.where(np.abs(gy) < g_low, np.searchsorted(gx, hole, side="right"), 0)
    return starts, np.searchsorted(gx, reach, side="right")
