"""Circular integration: the diffraction-like graph of a diffractogram."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from fringemap.records import Profile
from fringemap.spectrum.axes import bin_size, half_shape
from fringemap.spectrum.background import polar_grid
from fringemap.spectrum.diffractogram import diffractogram_part

if TYPE_CHECKING:
    from fringemap.records import Array, Diffractogram, Image, IntArray, Mask, Scale
    from fringemap.spectrum.axes import Part

# Smooth rings are averaged over about this many rows of bins; a mean of so many is as good as that of all.
_ROWS_ENOUGH = 400
# A peak of the masked graph is listed if it rises by this share of the highest one.
_LEAST_PROMINENCE = 0.01
_SMOOTHING_RINGS = 1.0


@dataclass(frozen=True)
class RingSums:
    """Sums over the bins of each ring in a sample of rows, spots and all; (n_rings,)."""

    in_sample: Mask
    """Which rows of the half spectrum were looked at; (n_rows,)."""
    count: Array
    power: Array
    background: Array


@dataclass(frozen=True)
class _Sample:
    """Bins that are summed: all in the columns of the part, of some rows."""

    rows: IntArray
    bins: IntArray
    """Flat places of all of them in a half spectrum, ring after ring."""
    count: IntArray
    """Bins in each ring."""

    def add_up(self, image: Image) -> Array:
        """Sum over each ring; of a large spectrum far from the interpreter, which ``bincount`` would hold."""
        sums, filled = np.zeros(len(self.count)), np.flatnonzero(self.count)
        first = (np.cumsum(self.count) - self.count)[filled]
        sums[filled] = np.add.reduceat(image.ravel().take(self.bins, mode="clip"), first, dtype=np.float64)
        return sums


# The same for all frames of a series.
@lru_cache(maxsize=2)
def _sample_of(frame_shape: tuple[int, int], scale: Scale, part: Part) -> _Sample:
    grid, rows = polar_grid(frame_shape, scale, part), part.rows()
    rows = rows[:: max(1, len(rows) // _ROWS_ENOUGH)]
    ring = grid.ring(rows, slice(part.n_cols)).ravel()
    bins = (rows[:, None] * half_shape(frame_shape)[1] + np.arange(part.n_cols)).ravel()
    return _Sample(rows, bins[np.argsort(ring, kind="stable")], np.bincount(ring, minlength=grid.n_rings))


def sum_rings(diffractogram: Diffractogram) -> RingSums:
    """Add up what ``compute_profile`` can know before the spots are found."""
    part = diffractogram_part(diffractogram)
    sample = _sample_of(diffractogram.frame_shape, diffractogram.scale, part)
    in_sample = np.zeros(part.n_rows, bool)
    in_sample[sample.rows] = True
    power, background = (sample.add_up(image) for image in (diffractogram.power, diffractogram.background))
    return RingSums(in_sample, sample.count, power, background)


def compute_profile(diffractogram: Diffractogram, *, inside: IntArray, sums: RingSums | None = None) -> Profile:
    """Average power, background and masked power around each circle.

    Parameters
    ----------
    diffractogram
        Any shape.
    inside
        Bins that belong to detected spots: flat places in the half spectrum, in rising order.
    sums
        From ``sum_rings``, if they are there already.

    Returns
    -------
    Profile
        One radius a ring, each one bin wide (of the coarser axis), up to the corner of what was evaluated.

    Notes
    -----
    d follows from the radius by d = 1 / |g|. Bins of spots are all counted; the smooth rest is averaged over a
    sample of rows where there are very many.
    """
    part = diffractogram_part(diffractogram)
    grid = polar_grid(diffractogram.frame_shape, diffractogram.scale, part)
    n, sums = grid.n_rings, sums or sum_rings(diffractogram)
    row, col = np.divmod(inside, diffractogram.power.shape[1])
    inside_ring, power, below = (
        grid.ring(row, col),
        diffractogram.power.ravel()[inside],
        diffractogram.background.ravel()[inside],
    )
    summed = sums.in_sample[row] & (col < part.n_cols)

    def less_masked(total: Array, weights: Array | None = None) -> Array:
        rest: Array = total - np.bincount(inside_ring[summed], weights, n)
        return rest

    count = np.maximum(less_masked(sums.count), 1)
    outside = less_masked(sums.power, power[summed]) / count
    background = less_masked(sums.background, below[summed]) / count
    excess, whole = power - outside[inside_ring], _bins_in_rings(n, diffractogram)
    whitened = power / below
    masked = np.bincount(inside_ring, weights=whitened, minlength=n) / whole
    peaks, height = _find_peaks(masked)
    g = np.arange(n, dtype=np.float64) * grid.ring_width
    return Profile(
        g=g,
        intensity=outside + np.bincount(inside_ring, weights=excess, minlength=n) / whole,
        background=background,
        masked=masked,
        peaks_g=np.interp(peaks, np.arange(n), g),
        peaks_height=height,
    )


def _bins_in_rings(n: int, diffractogram: Diffractogram) -> Array:
    """Expected number of bins of the half spectrum in each ring, as if it went on beyond the frame's corners."""
    fine, coarse = sorted(bin_size(diffractogram.frame_shape, diffractogram.scale))
    expected: Array = np.maximum(np.pi * np.arange(n) * coarse / fine, 1.0)
    return expected


def _find_peaks(masked: Array) -> tuple[Array, Array]:
    """Positions (fractional rings) and heights of the peaks of the masked graph."""
    from scipy.signal import find_peaks  # a third of a second to load: with the first frame

    smooth = scipy.ndimage.gaussian_filter1d(masked, _SMOOTHING_RINGS)
    peaks, _ = find_peaks(smooth, prominence=max(_LEAST_PROMINENCE * float(smooth.max()), 1e-12))
    left, middle, right = smooth[peaks - 1], smooth[peaks], smooth[peaks + 1]
    curvature = left - 2 * middle + right
    offset = np.where(curvature < 0, 0.5 * (left - right) / np.where(curvature < 0, curvature, 1.0), 0.0)
    return peaks + offset, smooth[peaks]
