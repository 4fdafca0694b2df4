"""Which bins of a half spectrum belong to spots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.spectrum import bin_size, half_shape, to_bins

if TYPE_CHECKING:
    from fringemap.records import Diffractogram, IntArray, Mask, Spots

_LEAST_RADIUS_BINS = 1.5


def spot_mask(diffractogram: Diffractogram, spots: Spots, *, radius_widths: float = 1.0) -> Mask:
    """Discs around spots, and around those of their mates that the half spectrum holds.

    Parameters
    ----------
    radius_widths
        Radius of a disc in widths of its spot; at least 1.5 bins.

    Returns
    -------
    Mask
        Shape of the half spectrum.
    """
    mask = np.zeros(half_shape(diffractogram.frame_shape), bool)
    mask.ravel()[spot_bins(diffractogram, spots, radius_widths=radius_widths)] = True
    return mask


def spot_bins(diffractogram: Diffractogram, spots: Spots, *, radius_widths: float = 1.0) -> IntArray:
    """Bins of ``spot_mask``, each once: flat places in a half spectrum, in rising order."""
    n_rows, n_cols = half_shape(diffractogram.frame_shape)
    inside = [np.zeros(0, np.int64)]
    step_y, step_x = bin_size(diffractogram.frame_shape, diffractogram.scale)
    rows, cols = to_bins(spots.gx, spots.gy, frame_shape=diffractogram.frame_shape, scale=diffractogram.scale)
    radius = np.maximum(radius_widths * spots.width, _LEAST_RADIUS_BINS * max(step_y, step_x))
    for row, col, r in zip(rows, cols, radius, strict=True):
        for sign in (1, -1):
            middle_row, middle_col = sign * row, sign * col
            reach_row, reach_col = r / step_y, r / step_x
            row_bins = np.arange(int(np.ceil(middle_row - reach_row)), int(middle_row + reach_row) + 1)
            col_bins = np.arange(
                max(int(np.ceil(middle_col - reach_col)), 0), min(int(middle_col + reach_col) + 1, n_cols)
            )
            if len(col_bins) == 0:
                continue
            disc = ((row_bins - middle_row) / reach_row)[:, None] ** 2 + ((col_bins - middle_col) / reach_col) ** 2 <= 1
            inside.append(((row_bins % n_rows * n_cols)[:, None] + col_bins)[disc])
    return np.unique(np.concatenate(inside))
