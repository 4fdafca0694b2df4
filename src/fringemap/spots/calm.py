"""How bright noise is in a ring full of spots: what its darkest tenth says.

A background that follows halos and astigmatic Thon rings follows wide spots as well: a half of what a spot of ten bins
adds to the power counts as background. In a crowd of spots, whose wings cover most of a ring, all of the ring is
lifted. But somewhere in almost any ring there is nothing else than noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import scipy.special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fringemap.records import FloatArray, Image, IntArray, Mask

# The share of a ring that is taken for noise alone, and the rings over which what it says is averaged.
_CALM_SHARE = 0.1
_AVERAGED_RINGS = 5
# Neighbours are means of almost the same bins: every second pixel says enough.
_EVERY = 2
# Logarithms of power lie within half of this around their median; so rings can be sorted all at once.
_SPAN = 64.0
_TINY = np.float32(1e-30)


@dataclass(frozen=True)
class Calm:
    """Power of noise in the rings of a pattern."""

    ring: NDArray[np.int32]
    """Of each pixel; (n_rows, n_cols)."""
    level: Image
    """(n_rings,)."""

    def at(self, rows: slice) -> Image:
        """The level at all pixels of some rows."""
        return self.level.take(self.ring[rows])


def find_calm(power: Image, valid: Mask, *, step: tuple[float, float], shape: float) -> Calm:
    """Expected power of noise in each ring, from the darkest tenth of its pixels.

    Parameters
    ----------
    power
        Mean power of some bins around each pixel of a pattern: gx >= 0, zero frequency in the middle of the first
        column; (n_rows, n_cols), any unit.
    valid
        Pixels that are looked at; same shape.
    step
        Distance of neighbouring pixels along (gy, gx), any unit; rings are as wide as the larger of them.
    shape
        Of the gamma law that these means follow where there is noise alone.

    Notes
    -----
    The quantile of a ring is divided by that of the law, so the level is right where noise is all there is. It rises by
    a quarter where spots, halos or the bright part of an elliptic Thon ring cover seven tenths of the ring.
    """
    ring = _rings_of(power.shape, step[0] / step[1])
    some = valid[::_EVERY, ::_EVERY]
    in_ring, log_power = ring[::_EVERY, ::_EVERY][some], np.log(np.maximum(power[::_EVERY, ::_EVERY][some], _TINY))
    middle = float(np.median(log_power)) if log_power.size else 0.0
    key = _SPAN * in_ring.astype(float) + np.clip(log_power - middle, -_SPAN / 2, _SPAN / 2)
    key.sort()
    n = np.bincount(in_ring, minlength=int(ring.max()) + 1)
    level = np.exp(_averaged(_quantiles(key, n), n) + middle) * (shape / scipy.special.gammaincinv(shape, _CALM_SHARE))
    return Calm(ring, level.astype(np.float32))


def _quantiles(key: FloatArray, n: IntArray) -> FloatArray:
    """The calm quantile of each ring, from sorted keys of n pixels each; 0 where there is none."""
    quantile = np.zeros(len(n))
    filled = np.flatnonzero(n)
    first = np.cumsum(n) - n
    quantile[filled] = key[first[filled] + (_CALM_SHARE * n[filled]).astype(int)] - _SPAN * filled
    return quantile


def _averaged(values: FloatArray, n: IntArray) -> FloatArray:
    """Mean over neighbouring rings, by their pixels; rings far from any get the nearest value."""
    weight = scipy.ndimage.uniform_filter1d(n.astype(float), _AVERAGED_RINGS, mode="constant")
    total = scipy.ndimage.uniform_filter1d(n * values, _AVERAGED_RINGS, mode="constant")
    known = np.flatnonzero(weight > 1e-9)
    if not len(known):
        return np.zeros(len(n))
    averaged: FloatArray = np.interp(np.arange(len(n)), known, total[known] / weight[known])
    return averaged


# The same for all frames of a series.
@lru_cache(maxsize=4)
def _rings_of(shape: tuple[int, int], step_ratio: float) -> NDArray[np.int32]:
    """Ring of each pixel; ``step_ratio`` is that of the steps along (gy, gx)."""
    gy = (np.arange(shape[0]) - shape[0] // 2)[:, None] * min(step_ratio, 1.0)
    gx = np.arange(shape[1]) * min(1.0 / step_ratio, 1.0)
    ring: NDArray[np.int32] = np.rint(np.hypot(gy, gx)).astype(np.int32)
    return ring
