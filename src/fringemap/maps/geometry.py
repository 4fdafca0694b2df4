"""Small images: smoothed, in blocks, on other grids."""

from __future__ import annotations

import operator
from functools import lru_cache, reduce
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fringemap.records import Image, IntArray


def smooth(images: Image, width: tuple[float, float], *, periodic: bool = False) -> Image:
    """Gaussian mean of images (..., rows, cols) with these standard deviations along (rows, cols) [px].

    Two products with small matrices: on maps of some hundred pixels several times as quick as a running sum. Where
    the frame ends the weights that are left are brought to a sum of one again; or, if ``periodic``, it goes on at the
    other side.
    """
    rows, cols = (_gaussian_matrix(n, w, periodic) for n, w in zip(images.shape[-2:], width, strict=True))
    return (rows @ images @ cols.T).astype(np.float32, copy=False)


@lru_cache(maxsize=16)
def _gaussian_matrix(n: int, width: float, periodic: bool) -> Image:
    distance: IntArray = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    if periodic:
        distance = np.minimum(distance, n - distance)
    # Weights that no float32 sum could feel are dropped; denormal numbers would make the products many times slower.
    weights = np.where(distance < 5.0 * width + 1.0, np.exp(-0.5 * (distance / width) ** 2), 0.0)
    matrix: Image = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix


def block_means(images: Image, k: int) -> Image:
    """Mean of each block of k x k pixels of images (..., rows, cols)."""
    # Sums of strided slices: a reduction over short axes takes ten times as long.
    rows = reduce(operator.add, [images[..., i::k, :] for i in range(k)])
    total: Image = reduce(operator.add, [rows[..., j::k] for j in range(k)])
    return (total * np.float32(1.0 / (k * k))).astype(np.float32, copy=False)


def spread_cols(coarse: Image, k: int) -> Image:
    """Each value k times along the columns, with an axis for the k rows of a block; (block rows, 1, cols)."""
    return np.repeat(coarse, k, axis=1)[:, None, :]


def by_block_rows(image: Image, k: int) -> Image:
    """View with an axis for the k rows of a block; (block rows, k, cols)."""
    return image.reshape(image.shape[0] // k, k, image.shape[1])


def resample(image: Image, shape: tuple[int, int]) -> Image:
    """Linear interpolation onto another number of pixels that tile the same area.

    Pixel centres keep their place: [i, j] of the result lies at ``(i + 1/2) n_in / n_out - 1/2`` of the input. Beyond
    the outermost centres the outermost value holds.
    """
    rows, cols = (_interpolation_matrix(n_in, n_out) for n_in, n_out in zip(image.shape, shape, strict=True))
    return (rows @ image @ cols.T).astype(np.float32, copy=False)


@lru_cache(maxsize=16)
def _interpolation_matrix(n_in: int, n_out: int) -> Image:
    place = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0.0, n_in - 1.0)
    matrix: Image = np.maximum(1.0 - np.abs(place[:, None] - np.arange(n_in)), 0.0).astype(np.float32)
    return matrix
