"""Maps on other grids."""

from __future__ import annotations

import numpy as np

from fringemap.records import Image, IntArray


def resample(image: Image, shape: tuple[int, int]) -> Image:
    """Linear interpolation onto another number of pixels that tile the same area.

    Pixel centres keep their place: [i, j] of the result lies at ``(i + 1/2) n_in / n_out - 1/2`` of the input. Beyond
    the outermost centres the outermost value holds.
    """
    rows = _interpolate_rows(image, shape[0])
    return np.ascontiguousarray(_interpolate_rows(rows.T, shape[1]).T)


def _interpolate_rows(image: Image, n: int) -> Image:
    low, high, share = _neighbours(len(image), n)
    share = share[:, None]
    between: Image = image[low] * (1.0 - share) + image[high] * share
    return between


def _neighbours(n_in: int, n_out: int) -> tuple[IntArray, IntArray, Image]:
    place = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0.0, n_in - 1.0)
    low = np.minimum(place.astype(np.int64), max(n_in - 2, 0))
    return low, np.minimum(low + 1, n_in - 1), (place - low).astype(np.float32)
