"""From pixels as stored to a float32 image, in one pass over memory."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fringemap.records import Flag, Image, lend_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

SATURATED_SHARE = 1e-3
"""A frame is saturated if more of its pixels than this sit at its largest value."""

# Half of a core's cache: a block is converted, searched and counted while it is still there.
_BLOCK_BYTES = 1 << 20
# ITU-R BT.601: the weights that cameras and picture programs use for the brightness of a colour.
_GREY = (0.299, 0.587, 0.114)


def as_frame_image(raw: NDArray[Any], *, workers: int = 1) -> tuple[Image, Flag]:
    """Convert to a float32 image of its own, with finite pixels only.

    Parameters
    ----------
    raw
        (n_rows, n_cols) of any real type, or (n_rows, n_cols, n_channels) in colour.
    workers
        Threads.

    Returns
    -------
    image
        float32, C order, a copy. Pixels that are not finite get the median of those that are (0 if none is).
    flags
        Flag.NOT_FINITE if any pixel was replaced; Flag.SATURATED if more than ``SATURATED_SHARE`` of all pixels
        share the largest value.
    """
    raw = _to_grey(raw)
    image, finite, n_top = _convert(raw, workers)
    flags = Flag.NONE
    if not finite:
        image, n_top = _replace_not_finite(image)
        flags |= Flag.NOT_FINITE
    if n_top > SATURATED_SHARE * image.size:
        flags |= Flag.SATURATED
    return image, flags


def _to_grey(raw: NDArray[Any]) -> NDArray[Any]:
    if raw.ndim == 2:
        return raw
    if raw.shape[2] < 3:
        return raw[..., 0]
    red, green, blue = (raw[..., k].astype(np.float32) for k in range(3))
    return np.asarray(_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue, dtype=np.float32)


def _convert(raw: NDArray[Any], workers: int) -> tuple[Image, bool, int]:
    """Copy it; also whether all is finite, and how many pixels have the largest value."""
    raw = np.asarray(raw)
    n_rows, n_cols = raw.shape
    image = lend_array((n_rows, n_cols), np.float32)
    ends = [n_rows * k // workers for k in range(workers + 1)]
    strips = [slice(*pair) for pair in itertools.pairwise(ends)]
    with ThreadPoolExecutor(workers) as pool:
        seen = list(pool.map(_convert_strip, [raw[rows] for rows in strips], [image[rows] for rows in strips]))
    top = max(strip.top for strip in seen)
    return image, all(strip.finite for strip in seen), sum(strip.n_top for strip in seen if strip.top == top)


class _Seen(NamedTuple):
    """What is known of some rows once they are converted."""

    finite: bool
    top: Any
    """The largest value, as it is stored."""
    n_top: int
    """Pixels that have it."""


def _convert_strip(raw: NDArray[Any], image: Image) -> _Seen:
    """Copy some rows block by block."""
    step = max(1, _BLOCK_BYTES // max(1, image.shape[1] * image.itemsize))
    may_be_infinite = raw.dtype.kind == "f"
    top, n_top, finite = -np.inf, 0, True
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(image), step):
            block = image[start : start + step]
            block[...] = raw[start : start + step]
            seen = block if may_be_infinite else raw[start : start + step]
            high = seen.max()
            if may_be_infinite and not (np.isfinite(high) and np.isfinite(block.min())):
                finite = False
            if high > top:
                top, n_top = high, 0
            if high == top:
                n_top += int(np.count_nonzero(seen == high))
    return _Seen(finite, top, n_top)


def _replace_not_finite(image: Image) -> tuple[Image, int]:
    good = np.isfinite(image)
    values = image[good]
    image[~good] = np.median(values) if values.size else 0.0
    return image, int(np.count_nonzero(values == values.max())) if values.size else image.size
