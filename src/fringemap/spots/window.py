"""The part of the whitened power in which spots are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.spectrum import bin_size, nyquist

if TYPE_CHECKING:
    from fringemap.records import Array, Diffractogram, Image
    from fringemap.settings import SpotSettings

_CORNER = 1.15
# Close to the Nyquist frequency a camera's rows and columns, and what is folded back, make lines of their own.
_EDGE = 0.95


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


def cut_window(diffractogram: Diffractogram, settings: SpotSettings, *, margin: int) -> Window:
    """Whitened power within the limits of d, centred, with ``margin`` columns of mates left of zero frequency."""
    (rows, cols), scale = diffractogram.frame_shape, diffractogram.scale
    step_y, step_x = bin_size(diffractogram.frame_shape, scale)
    # In the corners beyond the Nyquist frequency a ring is only a few short arcs, too few to tell its noise.
    g_low, g_high = 1.0 / settings.d_max_angstrom, min(1.0 / settings.d_min_angstrom, _CORNER * max(nyquist(scale)))
    last_row = min(int(g_high / step_y), int(_EDGE * rows / 2))
    last_col = min(int(g_high / step_x), int(_EDGE * cols / 2))
    margin = min(margin, last_col)
    row = np.arange(-last_row, last_row + 1)
    whitened = np.empty((len(row), last_col + 1 + margin), np.float32)
    inner = slice(margin, None)
    for here, there in ((slice(last_row, None), slice(last_row + 1)), (slice(last_row), slice(rows - last_row, rows))):
        power, background = (half[there, : last_col + 1] for half in (diffractogram.power, diffractogram.background))
        np.divide(power, background, out=whitened[here, inner])
    whitened[:, :margin] = whitened[::-1, 2 * margin : margin : -1]
    gy, gx = row * step_y, np.arange(-margin, last_col + 1) * step_x
    _blank(whitened, gy, gx, g_low, g_high)
    return Window(whitened, Layout(-last_row, -margin, step_y, step_x, g_low, g_high))


def _blank(whitened: Image, gy: Array, gx: Array, g_low: float, g_high: float) -> None:
    """Put the mean of noise outside a ring, in place."""
    reach, hole = (np.sqrt(np.maximum(limit**2 - gy**2, 0.0)) for limit in (g_high, g_low))
    outer = zip(np.searchsorted(gx, -reach), np.searchsorted(gx, reach, side="right"), strict=True)
    for line, (first, last) in zip(whitened, outer, strict=True):
        line[:first] = 1.0
        line[last:] = 1.0
    for row in np.flatnonzero(np.abs(gy) < g_low):
        first, last = np.searchsorted(gx, -hole[row]), np.searchsorted(gx, hole[row], side="right")
        whitened[row, first:last] = 1.0
