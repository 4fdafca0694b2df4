"""How likely it is that noise alone makes a block of the whitened power as bright as this.

The mean of a block of n independent exponential bins follows a gamma law of shape n. Bins of a real diffractogram are
not quite independent (a specimen that covers part of the frame, a window) and the background is not quite known, so the
shape is measured on the blocks themselves, by the ratio of two low quantiles that spots cannot reach.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Array, IntArray

_LOW, _MIDDLE, _UPPER = 0.2, 0.5, 0.9
_SHAPES = np.geomspace(0.2, 1e5, 400)
_FEW = 100


@lru_cache(maxsize=1)
def _log_ratios() -> Array:
    """Log of the ratio of the middle to the low quantile, for each of ``_SHAPES``."""
    low, middle = (scipy.special.gammaincinv(_SHAPES, q) for q in (_LOW, _MIDDLE))
    ratios: Array = np.log(middle / low)
    return ratios


def measure_noise_law(values: Array, *, independent_shape: float) -> tuple[float, float]:
    """Mean and shape of the gamma law that the bulk of block means follows.

    Parameters
    ----------
    values
        Block means of the whitened power, most of them noise; (n,).
    independent_shape
        Shape if all bins were independent; the measured one never exceeds it.

    Returns
    -------
    mean, shape
        The assumed law (1, ``independent_shape``) if there are too few values to measure one.
    """
    means, shapes = measure_noise_laws([values], independent_shape=independent_shape)
    return float(means[0]), float(shapes[0])


def measure_noise_laws(groups: Sequence[Array], *, independent_shape: float) -> tuple[Array, Array]:
    """Means and shapes as of ``measure_noise_law`` for each of several groups of values; (n groups,) each."""
    means, shapes = np.ones(len(groups)), np.full(len(groups), independent_shape)
    pairs = [quantiles(values, _LOW, _MIDDLE) if len(values) >= _FEW else (0.0, 0.0) for values in groups]
    low, middle = np.array(pairs).T
    known = np.flatnonzero(low > 0)
    shape = np.interp(-np.log(middle[known] / low[known]), -_log_ratios(), _SHAPES)
    shapes[known] = np.minimum(shape, independent_shape)
    means[known] = middle[known] * shapes[known] / scipy.special.gammaincinv(shapes[known], _MIDDLE)
    return means, shapes


def quantiles(values: Array, *shares: float) -> tuple[float, ...]:
    """As numpy's, but by sorting, which processors do several times quicker than selecting."""
    rising, last = np.sort(values), len(values) - 1
    pairs = ((int(share * last), share * last % 1.0) for share in shares)
    return tuple(float(rising[k]) * (1.0 - part) + float(rising[min(k + 1, last)]) * part for k, part in pairs)


@lru_cache(maxsize=1)
def _upper_log_ratios() -> Array:
    """Log of the ratio of the upper quantile to the middle one, for each of ``_SHAPES``."""
    middle, upper = (scipy.special.gammaincinv(_SHAPES, q) for q in (_MIDDLE, _UPPER))
    ratios: Array = np.log(upper / middle)
    return ratios


def measure_upper_laws(rising: Array, n: IntArray, *, largest_shape: float) -> tuple[Array, Array]:
    """Means and shapes of the gamma laws that the upper halves of some block means follow.

    Where the background is right all around the ring that is the law of noise; where it is not, the law has a longer
    tail, and what is bright only as such a ring is bright gets no significance.

    Parameters
    ----------
    rising
        Block means of each of m rings, in rising order; (m, most).
    n
        How many of them count; (m,). Where that is none, the law is NaN.
    """
    middle, upper = (_quantile_of_rows(rising, n, share) for share in (_MIDDLE, _UPPER))
    shape = np.minimum(np.interp(-np.log(upper / middle), -_upper_log_ratios(), _SHAPES), largest_shape)
    return middle * shape / scipy.special.gammaincinv(shape, _MIDDLE), shape


def _quantile_of_rows(rising: Array, n: IntArray, share: float) -> Array:
    place = share * np.maximum(n - 1, 0)
    first = place.astype(int)
    known = np.where(n[:, None] > 0, rising, np.nan)
    low, high = (known[np.arange(len(n)), np.minimum(first + k, np.maximum(n - 1, 0))] for k in (0, 1))
    quantile: Array = low + (place - first) * (high - low)
    return quantile


def independent_bins(side: int, *, windowed: bool) -> float:
    """Number of independent bins in a block of side x side.

    Under a Hann window the amplitudes of neighbours correlate by -2/3 and those of the next ones by 1/6; the powers by
    the squares of that.
    """
    if not windowed:
        return float(side**2)
    along = 1 + 2 * (4 / 9 * (1 - 1 / side) + 1 / 36 * max(1 - 2 / side, 0.0))
    return (side / along) ** 2


def log_tail(ratio: Array, *, shape: Array, background_shape: Array | float) -> Array:
    """Log probability that a gamma number of ``shape`` exceeds an estimate of its own mean by ``ratio``.

    Parameters
    ----------
    ratio
        Block mean over the estimated mean.
    shape
        Shape of the block's law.
    background_shape
        Shape of the law of the estimate: about half the number of bins in a median.

    Notes
    -----
    The ratio of two gamma numbers; with a perfectly known mean (infinite ``background_shape``) the gamma tail itself.
    Tails below the smallest floating number are continued by their leading term.
    """
    z = background_shape / (background_shape + shape * ratio)
    with np.errstate(divide="ignore"):
        exact = np.log(scipy.special.betainc(background_shape, shape, z))
    leading = (
        background_shape * np.log(z)
        + shape * np.log1p(-z)
        - np.log(background_shape)
        - scipy.special.betaln(background_shape, shape)
    )
    tail: Array = np.where(exact > -650, exact, np.minimum(leading, -650.0))
    return tail


def threshold(log_probability: float, *, mean: float, shape: float) -> float:
    """Block mean that noise exceeds with this (log) probability."""
    return mean * float(scipy.special.gammainccinv(shape, np.exp(max(log_probability, -700.0)))) / shape
