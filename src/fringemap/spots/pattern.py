"""The half diffractogram as a network sees it: each pixel says how unlikely noise alone would make it.

A pixel stands at every ``factor``-th bin along each axis and looks at the bins around it. The first channel holds the
brightest of them, so that a spot of one bin survives any factor; the second the mean of a few more, so that a wide and
faint one stands out. Both are standard normal scores under the law of noise, whatever the frame's size, dose or
material: noise has the mean 0 and the standard deviation 1, and no network has to learn what a bin is worth. The third
is the mean again, over the calm of its ring instead of the background, which takes half of a very wide spot for its
own: noise is 0 ± 1 there only where it is the same all around the ring.

The grid is centred on zero frequency, so point symmetry holds pixel by pixel: ``complete`` continues a pattern beyond
the axis gx = 0 exactly. On that axis a spot and its mate are both seen; lists hold the one with gy > 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import scipy.special

from fringemap.errors import SettingsError
from fringemap.spectrum import bin_size, do_each
from fringemap.spots.calm import find_calm
from fringemap.spots.noise import independent_bins
from fringemap.spots.window import cut_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fringemap.records import Array, Diffractogram, FloatArray, Image, Mask
    from fringemap.settings import SpotSettings
    from fringemap.spots.window import Window

# The mean is taken over at least this many bins along each axis.
_MEAN_SIDE = 5
# Scores up to this one stay as they are, and noise with them; beyond it they grow with their logarithm.
_LINEAR = 1.5
_LOWEST = -4.0
# The table of scores: whitened values from exp(-12) to exp(24), in steps that change a score by less than 0.005.
_LOG_LOW, _LOG_HIGH, _PER_UNIT = -12.0, 24.0, 512
# Rows of pixels made at once: threads lose time where a step takes less than they need to wake up.
_SLAB_ROWS = 256
# The calm of a ring is taken for no less than this share of the largest power.
_LEAST_SHARE = 1e-18

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Pattern:
    """What a network sees of one diffractogram."""

    image: Image
    """Scores of the brightest bin, of the mean, and of the mean over the calm of its ring; (3, n_rows, n_cols), gy
    rising downward, gx >= 0 to the right. 0 where no spot is looked for."""
    valid: Mask
    """Where spots are looked for; (n_rows, n_cols)."""
    factor: tuple[int, int]
    """Bins from one pixel to the next along (gy, gx)."""
    step: tuple[float, float]
    """Distance of neighbouring pixels along (gy, gx) [1/Å]."""

    @property
    def zero_row(self) -> int:
        """The row of gy = 0; the column of gx = 0 is 0."""
        return len(self.valid) // 2

    def bins_of(self, row: FloatArray, col: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Signed bins (row, column) of the half spectrum at pixels, fractional as they are."""
        return (row - self.zero_row) * self.factor[0], col * self.factor[1]

    def pixels_of(self, row_bin: FloatArray, col_bin: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Pixels (row, column) at signed bins of the half spectrum; the inverse of ``bins_of``."""
        return row_bin / self.factor[0] + self.zero_row, col_bin / self.factor[1]


def make_pattern(
    diffractogram: Diffractogram,
    *,
    settings: SpotSettings,
    max_shape: tuple[int, int] = (1024, 512),
    window: Window | None = None,
    workers: int = 1,
) -> Pattern:
    """Half of a diffractogram around zero frequency, as scores against noise.

    Parameters
    ----------
    diffractogram
        With its background; any shape.
    settings
        The limits of d.
    max_shape
        Most rows and columns; an axis that would exceed them has a ``factor`` above 1.
    window
        From ``cut_window``, if it is there already.
    workers
        Threads.

    Returns
    -------
    Pattern
        An odd number of rows, centred. The outermost two or three bins, whose surroundings are cut off, have no pixel.

    Raises
    ------
    SettingsError
        So small a frame, or so large a smallest d-spacing, that fewer than two bins are left along an axis.

    Notes
    -----
    A pixel looks at the ``factor`` bins around it along each axis, at one more where the factor is even: so it has its
    own bin in the middle, and stays on its own side of point symmetry. The brightest of m bins has the probability
    ``F(w)^m``, F being the gamma law of one bin; the mean of n bins follows the gamma law of n times the shape. Each
    probability becomes the normal score z of the same tail, about ``sqrt(2 w)`` for a strong spot. Beyond z = 1.5 it
    is replaced by ``1.5 (1 + ln(z / 1.5))``, continuous with its slope: noise is left alone, 20 times the background
    gives 4.5, 10,000 times 8.3.
    """
    window = window or cut_window(diffractogram, settings)
    last_row, last_col = -window.layout.first_row, window.whitened.shape[1] - 1 + window.layout.first_col
    factor = _factor(2 * last_row + 1, max_shape[0]), _factor(last_col + 1, max_shape[1])
    half = _n_steps(last_row, factor[0]), _n_steps(last_col, factor[1])
    first = last_row - half[0] * factor[0], -window.layout.first_col
    if min(first[0], last_col - half[1] * factor[1]) < _MEAN_SIDE // 2:
        raise SettingsError(
            f"Only {last_row} x {last_col} bins lie above {settings.d_min_angstrom:g} Å; look for smaller d-spacings."
        )
    step_y, step_x = bin_size(diffractogram.frame_shape, diffractogram.scale)
    step = step_y * factor[0], step_x * factor[1]
    valid = _ring(half, step, window.layout.g_low, window.layout.g_high)
    image = _score(diffractogram, window.whitened, _Grid(first, half, factor, step), valid, workers)
    image *= valid
    return Pattern(image, valid, factor, step)


def complete(image: NDArray[Number], margin: int) -> NDArray[Number]:
    """Put ``margin`` columns of mates left of gx = 0, so that a network sees beyond the axis.

    Parameters
    ----------
    image
        (..., n_rows, n_cols) with an odd number of rows, centred; any quantity with P(-g) = P(g).
    margin
        At most n_cols - 1.

    Returns
    -------
    NDArray
        (..., n_rows, margin + n_cols); column ``margin`` is gx = 0.
    """
    mates = image[..., ::-1, margin:0:-1]
    return np.concatenate([mates, image], axis=-1)


def score_whitened(whitened: Array, *, shape: float, n_bins: int = 1) -> Image:
    """Compressed normal scores of the brightest of ``n_bins`` gamma numbers of mean 1 and this shape.

    Read from a table: within 0.005 of ``plain_score``.
    """
    per_unit = _steps_per_unit(shape)
    table = _score_table(float(shape), int(n_bins))
    place = np.log(np.maximum(whitened, np.float32(1e-30)))
    place -= np.float32(_LOG_LOW)
    place *= np.float32(per_unit)
    np.clip(place, 0, len(table) - 1, out=place)
    scores: Image = table.take(place.astype(np.int32))
    return scores


def plain_score(whitened: Array, *, shape: float, n_bins: int = 1) -> FloatArray:
    """As ``score_whitened``, computed and not looked up."""
    return _compressed(_normal_score(np.asarray(whitened, float), shape, n_bins))


def _steps_per_unit(shape: float) -> float:
    """Steps of the table in one unit of the logarithm: finer for a law that rises more steeply."""
    return _PER_UNIT * max(1.0, math.sqrt(shape / _MEAN_SIDE**2))


@lru_cache(maxsize=64)
def _score_table(shape: float, n_bins: int) -> Image:
    per_unit = _steps_per_unit(shape)
    middles = _LOG_LOW + (np.arange(round((_LOG_HIGH - _LOG_LOW) * per_unit)) + 0.5) / per_unit
    table: Image = plain_score(np.exp(middles), shape=shape, n_bins=n_bins).astype(np.float32)
    return table


def _normal_score(whitened: FloatArray, shape: float, n_bins: int) -> FloatArray:
    """Score of the standard normal law with the tail that the brightest of n gamma numbers has beyond these values."""
    x = np.maximum(whitened, 1e-30) * shape
    below = np.maximum(scipy.special.gammainc(shape, x), 1e-300)
    beyond = scipy.special.gammaincc(shape, x)
    # To the left the probability itself is exact, to the right the tail; n tails add where they are small.
    with np.errstate(divide="ignore"):
        log_below = np.where(below < 0.5, np.log(below), np.log1p(-np.minimum(beyond, 0.5))) * n_bins
        log_tail = np.where(beyond > 1e-12, np.log(-np.expm1(np.minimum(log_below, -1e-300))), -np.inf)
    log_tail = np.where(beyond > 1e-12, log_tail, np.log(n_bins) + _log_gamma_tail(x, shape))
    left = scipy.special.ndtri_exp(np.minimum(log_below, -1e-300))
    z: FloatArray = np.where(log_below < np.log(0.5), left, -scipy.special.ndtri_exp(np.minimum(log_tail, -1e-300)))
    return z


def _log_gamma_tail(x: FloatArray, shape: float) -> FloatArray:
    """Leading term of the log of the upper incomplete gamma function's share, for x far above the shape."""
    far = np.maximum(x, shape + 1.0)
    tail: FloatArray = (shape - 1) * np.log(far) - far - scipy.special.gammaln(shape) - np.log1p(-(shape - 1) / far)
    return tail


def _compressed(z: FloatArray) -> FloatArray:
    beyond = _LINEAR * (1 + np.log(np.maximum(z, _LINEAR) / _LINEAR))
    compressed: FloatArray = np.where(z > _LINEAR, beyond, np.maximum(z, _LOWEST))
    return compressed


def _factor(n_bins: int, most: int) -> int:
    """Smallest step at which so many bins make at most so many pixels."""
    return -(-n_bins // most)


def _n_steps(last_bin: int, factor: int) -> int:
    """Pixels beyond the middle one whose surroundings end at the last bin."""
    return max((last_bin - max(_side(factor), _MEAN_SIDE) // 2) // factor, 0)


def _side(factor: int) -> int:
    """Bins that a pixel looks at along an axis: odd, so that it has one in the middle."""
    return factor + 1 - factor % 2


@dataclass(frozen=True)
class _Grid:
    """Where pixels stand among the bins of a window; two numbers each, along (gy, gx)."""

    first: tuple[int, int]
    """Bin of the first pixel."""
    half: tuple[int, int]
    """Pixels beyond zero frequency."""
    factor: tuple[int, int]
    step: tuple[float, float]
    """As in ``Pattern``."""

    def slab(self, start: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The bin of the first pixel from row ``start`` on, and how many pixels make a slab there."""
        n_rows = min(_SLAB_ROWS, 2 * self.half[0] + 1 - start)
        return (self.first[0] + start * self.factor[0], self.first[1]), (n_rows, self.half[1] + 1)

    @property
    def sides(self) -> tuple[int, int]:
        """Bins that a pixel looks at."""
        return _side(self.factor[0]), _side(self.factor[1])

    @property
    def wide_sides(self) -> tuple[int, int]:
        """Bins over which its mean is taken."""
        return max(self.sides[0], _MEAN_SIDE), max(self.sides[1], _MEAN_SIDE)


def _score(diffractogram: Diffractogram, whitened: Image, grid: _Grid, valid: Mask, workers: int) -> Image:
    """All channels, also where no spot is looked for."""
    image = np.empty((3, *valid.shape), np.float32)
    shape, windowed = diffractogram.noise_shape, diffractogram.windowed
    shape_of_mean = shape * math.prod(independent_bins(side, windowed=windowed) ** 0.5 for side in grid.wide_sides)

    def over_background(start: int) -> None:
        first, n = grid.slab(start)
        slab = image[:, start : start + n[0]]
        brightest = _pool(whitened, np.maximum, first, n, grid.factor, grid.sides)
        slab[0] = score_whitened(brightest, shape=shape, n_bins=math.prod(grid.sides))
        mean = _pool(whitened, np.add, first, n, grid.factor, grid.wide_sides)
        mean /= np.float32(math.prod(grid.wide_sides))
        slab[1] = score_whitened(mean, shape=shape_of_mean)
        # Power, until the calm of its rings is known.
        np.multiply(mean, _background_at(diffractogram, grid, start, n), out=slab[2])

    def over_calm(start: int) -> None:
        rows = slice(start, start + _SLAB_ROWS)
        image[2, rows] = score_whitened(image[2, rows] / np.maximum(calm.at(rows), least), shape=shape_of_mean)

    slabs = range(0, len(valid), _SLAB_ROWS)
    do_each(over_background, slabs, workers=workers)
    calm = find_calm(image[2], valid, step=grid.step, shape=shape_of_mean)
    # Where a frame was drawn without noise nothing is there between its spots; for all others it is far below the calm.
    least = np.float32(_LEAST_SHARE) * image[2].max()
    do_each(over_calm, slabs, workers=workers)
    return image


def _background_at(diffractogram: Diffractogram, grid: _Grid, start: int, n: tuple[int, int]) -> Image:
    """Background of the bin in the middle of each pixel of a slab."""
    along_y, along_x = grid.factor
    rows = (np.arange(start, start + n[0]) - grid.half[0]) * along_y % len(diffractogram.background)
    # Not ``take``, which would copy the whole background first.
    return diffractogram.background[:, : (n[1] - 1) * along_x + 1 : along_x][rows]


def _pool(
    whitened: Image,
    combine: Callable[..., Image],
    first: tuple[int, int],
    n: tuple[int, ...],
    factor: tuple[int, int],
    sides: tuple[int, int],
) -> Image:
    """Combine the bins around each pixel, those above each other before those beside each other."""
    down = _pool_rows(whitened, combine, first[0], n[0], factor[0], sides[0])
    return _pool_rows(down.T, combine, first[1], n[1], factor[1], sides[1]).T


def _pool_rows(image: Image, combine: Callable[..., Image], first: int, n: int, step: int, side: int) -> Image:
    reach = side // 2
    starts = range(first - reach, first + reach + 1)
    parts = [image[start : start + (n - 1) * step + 1 : step] for start in starts]
    total = combine(parts[0], parts[1]) if side > 1 else parts[0].copy(order="K")
    for part in parts[2:]:
        combine(total, part, out=total)
    return total


def _ring(half: tuple[int, int], step: tuple[float, float], g_low: float, g_high: float) -> Mask:
    gy, gx = np.arange(-half[0], half[0] + 1) * step[0], np.arange(half[1] + 1) * step[1]
    g2 = (gy**2).astype(np.float32)[:, None] + (gx**2).astype(np.float32)
    valid: Mask = (g2 >= np.float32(g_low**2)) & (g2 <= np.float32(g_high**2))
    return valid
