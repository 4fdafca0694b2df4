"""The shape of a ring: its radius in every direction, with errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.optimize

from fringemap.spectrum import frequency_axes

if TYPE_CHECKING:
    from fringemap.records import Array, Diffractogram, FloatArray, Mask

_SECTORS = 24
_STEPS = 36
# The annulus reaches so many widths, or this share of the radius, from the crest.
_WIDTHS = 2.2
_LEAST_REACH = 0.25
_MOST_REACH = 0.6
_FEWEST_BINS = 4
# What the slope of the course below it moves a crest by, as a share of the ring's full width at half maximum.
_CREST_SHARE = 0.12
_FWHM_PER_SIGMA = 2.3548


class RingShape(NamedTuple):
    """log |g| of the crest is ``log_g + e1 cos 2a + e2 sin 2a`` in the direction a."""

    log_g: float
    e1: float
    e2: float
    covariance: FloatArray
    """Of the three, with what the course below the ring may move its crest by; (3, 3)."""


def measure_ring(diffractogram: Diffractogram, *, g: float, width: float, mask: Mask) -> RingShape:
    """Fit an ellipse to a ring.

    Parameters
    ----------
    diffractogram
        Any shape.
    g, width
        Radius and full width at half maximum, as ``find_rings`` gives them [1/Å].
    mask
        Bins of spots, which are left out; half-spectrum shape.

    Returns
    -------
    RingShape
        With the covariance of the fit; infinite if it did not converge.

    Notes
    -----
    Least squares on the mean power in cells of log |g| and direction. The course below the ring is a parabola in
    log |g| whose level changes with the direction as cos 2a and sin 2a, as astigmatism makes it.
    """
    cells = _cells(diffractogram, g, min(max(_WIDTHS * width / g, _LEAST_REACH), _MOST_REACH), mask)
    level = float(np.log(cells.mean.mean()))
    start = np.array([level, 0.0, 0.0, 0.0, 0.0, 0.5, np.log(0.4 * width / g), 0.0, 0.0, 0.0])
    fit = scipy.optimize.least_squares(_residuals, start, args=(cells,), method="lm")
    try:
        covariance = np.linalg.inv(fit.jac.T @ fit.jac) * max(1.0, 2.0 * fit.cost / max(len(cells.mean) - 10, 1))
    except np.linalg.LinAlgError:
        covariance = np.full((10, 10), np.inf)
    if not fit.success:
        covariance = np.full((10, 10), np.inf)
    x, of_ring = fit.x, covariance[7:, 7:].copy()
    of_ring[0, 0] += (_CREST_SHARE * _FWHM_PER_SIGMA * float(np.exp(np.clip(x[6], -6.0, 0.0)))) ** 2
    return RingShape(float(np.log(g) + x[7]), float(x[8]), float(x[9]), of_ring)


class _Cells(NamedTuple):
    """Cells of an annulus, n rows."""

    offset: Array
    """log |g| less that of the ring."""
    direction: Array
    mean: Array
    """Power."""
    sigma: Array
    """Relative error of the mean."""


def _cells(diffractogram: Diffractogram, g: float, reach: float, mask: Mask) -> _Cells:
    gy, gx = frequency_axes(diffractogram.frame_shape, diffractogram.scale)
    rows = np.flatnonzero(np.abs(gy) <= g * np.exp(reach))
    cols = np.flatnonzero((gx > 0) & (gx <= g * np.exp(reach)))
    y, x = gy[rows, None], gx[None, cols]
    offset = np.log(np.hypot(y, x) / g)
    inside = (np.abs(offset) < reach) & ~mask[np.ix_(rows, cols)] & (y != 0)
    direction = np.broadcast_to(np.arctan2(y, x), offset.shape)[inside]
    offset, power = offset[inside], diffractogram.power[np.ix_(rows, cols)][inside].astype(np.float64)
    step = np.minimum(((offset + reach) / (2 * reach) * _STEPS).astype(int), _STEPS - 1)
    sector = np.minimum(((direction / np.pi + 0.5) * _SECTORS).astype(int), _SECTORS - 1)
    cell = step * _SECTORS + sector
    n = np.bincount(cell, minlength=_STEPS * _SECTORS)
    keep = n >= _FEWEST_BINS
    means = [
        np.bincount(cell, weights=w, minlength=len(n))[keep] / n[keep]
        for w in (offset, np.cos(2 * direction), np.sin(2 * direction), power)
    ]
    along = 0.5 * np.arctan2(means[2], means[1])
    return _Cells(means[0], along, means[3], 1.0 / np.sqrt(n[keep] * diffractogram.noise_shape))


def _residuals(x: Array, cells: _Cells) -> Array:
    """Deviation of each cell from the model in its errors; parameters: level, slope, curve, its 2a terms, ring."""
    level, slope, curve, level_cos, level_sin, height, log_width, radius, e1, e2 = x
    cosine, sine = np.cos(2 * cells.direction), np.sin(2 * cells.direction)
    course = level + slope * cells.offset + curve * cells.offset**2 + level_cos * cosine + level_sin * sine
    from_crest = (cells.offset - radius - e1 * cosine - e2 * sine) / np.exp(np.clip(log_width, -6.0, 0.0))
    log_mean = course + np.log1p(np.exp(np.clip(height, -20.0, 20.0)) * np.exp(-0.5 * from_crest**2))
    residuals: Array = (np.log(cells.mean) - log_mean) / cells.sigma
    return residuals
