"""Pictures of a diffractogram: for people, never for measuring."""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.ndimage

from fringemap.spectrum.axes import bin_size, read_block

if TYPE_CHECKING:
    from fringemap.records import Diffractogram, Frame, Image, Scale

_MOST_PIXELS = 1024
# Pooled rows that are worked out at once: what is read for them stays in the processor's cache.
_GROUPS_AT_A_TIME = 128
# Of the paper's recipe: the side from which the middle is cut out, and the gain that it calls 80 % up.
_PAPER_SIDE = 2048
_PAPER_GAIN = 1.8


def shown_spectrum(diffractogram: Diffractogram, *, d_min_angstrom: float) -> tuple[Image, tuple[float, float]]:
    """Whole, centred diffractogram over its background, small enough to look at.

    Parameters
    ----------
    d_min_angstrom
        The picture ends at this d-spacing, or at the Nyquist frequency.

    Returns
    -------
    picture
        log10 of the whitened power, at most 1024 px a side, odd: zero frequency is the middle pixel. Each pixel is the
        brightest of the bins that it stands for, so that sharp spots survive.
    g_edge
        |gy| and |gx| at the outer edges of the picture [1/Å].
    """
    (rows, cols), (step_y, step_x) = diffractogram.frame_shape, bin_size(diffractogram.frame_shape, diffractogram.scale)
    last_row = min((rows - 1) // 2, int(np.ceil(1 / d_min_angstrom / step_y)))
    last_col = min((cols - 1) // 2, int(np.ceil(1 / d_min_angstrom / step_x)))
    factors = [_odd_factor(2 * last + 1) for last in (last_row, last_col)]
    (last_row, n_rows), (last_col, _) = (
        _fit(last, factor) for last, factor in zip((last_row, last_col), factors, strict=True)
    )
    # Rows first, while only one half is there: the groups are symmetric about the middle row.
    groups = np.arange(-last_row, last_row + 1).reshape(n_rows, factors[0])
    by_rows = np.empty((n_rows, last_col + 1), np.float32)
    for some in np.array_split(np.arange(n_rows), -(-n_rows // _GROUPS_AT_A_TIME)):
        whitened = _whitened(diffractogram, (int(groups[some[0], 0]), 0), (groups[some].size, last_col + 1))
        whitened.reshape(*groups[some].shape, -1).max(axis=1, out=by_rows[some[0] : some[-1] + 1])
    # Then columns, of one half: the other is its mirror image, and only the middle group holds bins of both.
    beside = by_rows[:, : factors[1] // 2 + 1].max(axis=1)
    middle = np.maximum(beside, beside[::-1])[:, None]
    right = reduce(
        np.maximum, [by_rows[:, k :: factors[1]] for k in range(factors[1] // 2 + 1, 3 * factors[1] // 2 + 1)]
    )
    pooled = np.concatenate([right[::-1, ::-1], middle, right], axis=1)
    picture = np.log10(np.maximum(pooled, np.float32(1e-3)))
    return _straightened(picture, ((last_row + 0.5) * step_y, (last_col + 0.5) * step_x), diffractogram.scale.shear)


def shown_block(
    diffractogram: Diffractogram, *, first: tuple[int, int], shape: tuple[int, int], factor: int = 1
) -> Image:
    """Rectangle of the whole diffractogram over its background, for looking closer.

    Parameters
    ----------
    first
        Signed (row, column) bin of its upper left corner; zero frequency is (0, 0).
    shape
        In bins.
    factor
        So many bins a side become one pixel, the brightest of them, so that sharp spots survive; what is left over at
        the lower and right edge is dropped.

    Returns
    -------
    Image
        log10 of the whitened power.
    """
    rows, cols = (n // factor for n in shape)
    whole = (rows * factor, cols * factor)
    whitened = _whitened(diffractogram, first, whole)
    pooled = whitened.reshape(rows, factor, cols, factor).max(axis=(1, 3)) if factor > 1 else whitened
    shown: Image = np.log10(np.maximum(pooled, np.float32(1e-3)))
    return shown


def _whitened(diffractogram: Diffractogram, first: tuple[int, int], shape: tuple[int, int]) -> Image:
    """Power over background in a rectangle of the whole diffractogram."""
    power, background = (
        read_block(image, diffractogram.frame_shape[1], start=first, shape=shape)
        for image in (diffractogram.power, diffractogram.background)
    )
    whitened: Image = power / background
    return whitened


def shown_limits(diffractogram: Diffractogram) -> tuple[int, int]:
    """Last row and column bin, from zero frequency, of what is evaluated: down to ``d_min``, or to Nyquist."""
    d_min = diffractogram.d_min_angstrom
    reach = np.inf if d_min is None else 1.0 / d_min
    steps = bin_size(diffractogram.frame_shape, diffractogram.scale)
    last = [int(min((n - 1) // 2, reach / step)) for n, step in zip(diffractogram.frame_shape, steps, strict=True)]
    return last[0], last[1]


def shown_paper_view(frame: Frame, scale: Scale) -> tuple[Image, tuple[float, float]]:
    """Paper's FFT image in the form of ``shown_spectrum``: odd sides, at most 1024 px, and |g| at its edges."""
    view = paper_view(frame)
    rows, cols = view.shape
    last_row, last_col = (rows - 1) // 2, (cols - 1) // 2
    odd = view[rows // 2 - last_row :, cols // 2 - last_col :][: 2 * last_row + 1, : 2 * last_col + 1]
    factors = [_odd_factor(n) for n in odd.shape]
    (last_row, n_rows), (last_col, n_cols) = (
        _fit(last, factor) for last, factor in zip((last_row, last_col), factors, strict=True)
    )
    top, left = (odd.shape[0] - (2 * last_row + 1)) // 2, (odd.shape[1] - (2 * last_col + 1)) // 2
    whole = odd[top : top + n_rows * factors[0], left : left + n_cols * factors[1]]
    picture = whole.reshape(n_rows, factors[0], n_cols, factors[1]).max(axis=(1, 3))
    step_y, step_x = bin_size((frame.image.shape[0], frame.image.shape[1]), scale)
    return _straightened(picture, ((last_row + 0.5) * step_y, (last_col + 0.5) * step_x), scale.shear)


def _straightened(picture: Image, g_edge: tuple[float, float], shear: float) -> tuple[Image, tuple[float, float]]:
    """Draw a picture again as it is without shear, so that spots lie where their true g says; see ``Scale.shear``."""
    if shear == 0.0:
        return picture, g_edge
    step = [2.0 * edge / n for edge, n in zip(g_edge, picture.shape, strict=True)]
    back = np.linalg.inv(np.array([[1.0, shear * step[1] / step[0]], [shear * step[0] / step[1], 1.0]]))
    middle = np.array(picture.shape) // 2
    lowest = float(picture.min())
    # The nearest pixel: a mean of neighbours would dim sharp spots.
    drawn: Image = scipy.ndimage.affine_transform(
        picture, back, offset=middle - back @ middle, order=0, mode="constant", cval=lowest
    )
    return drawn, g_edge


def _odd_factor(n: int) -> int:
    factor = -(-n // _MOST_PIXELS)
    return factor + (factor + 1) % 2


def _fit(last: int, factor: int) -> tuple[int, int]:
    """Last bin, not beyond the one given, for which all bins make whole groups around the middle; and their number."""
    n = (2 * last + 1) // factor
    n -= (n + 1) % 2
    return (n * factor - 1) // 2, n


def reduce_frame(image: Image, *, most_px: int = _MOST_PIXELS) -> Image:
    """Frame averaged over square blocks to at most ``most_px`` a side; rows and columns left over are dropped."""
    factor = -(-max(image.shape) // most_px)
    rows, cols = (n // factor for n in image.shape)
    if factor == 1:
        return image
    reduced = np.empty((rows, cols), np.float32)
    for start in range(0, rows, _GROUPS_AT_A_TIME):
        some = reduced[start : start + _GROUPS_AT_A_TIME]
        block = image[start * factor : (start + len(some)) * factor].reshape(len(some), factor, -1)
        # Summed along rows first: contiguous. A sum over short rows takes three times as long as one of strided slices.
        by_rows = block.sum(axis=1)[:, : cols * factor]
        reduce(partial(np.add, out=some), [by_rows[:, k::factor] for k in range(factor)])
    reduced *= np.float32(1 / factor**2)
    return reduced


def paper_view(frame: Frame) -> Image:
    """Draw the FFT image as the paper does: log, scaled, middle cut out, mean removed, weighted by radius, brightened.

    Returns
    -------
    Image
        Zero frequency centred, values 0 to 1; the middle 2048 of larger frames.

    Notes
    -----
    No window, so that the cross-shaped streak of the edges shows. The paper keeps its radial factor in a table that it
    does not print; an exponential rise to the edge of the picture, from 0.5 to 1, stands in for it.
    """
    logarithm = np.log1p(np.abs(scipy.fft.fftshift(scipy.fft.fft2(frame.image))))
    scaled = (logarithm - logarithm.min()) / max(float(np.ptp(logarithm)), 1e-30)
    cut = tuple(slice((n - min(n, _PAPER_SIDE)) // 2, (n + min(n, _PAPER_SIDE)) // 2) for n in scaled.shape)
    middle = scaled[cut]
    y, x = (np.linspace(-1, 1, n) for n in middle.shape)
    factor = 0.5 * 2.0 ** np.minimum(np.hypot(y[:, None], x), 1.0)
    view = (middle - middle.mean()) * factor * _PAPER_GAIN
    shown: Image = np.clip(view / max(float(view.max()), 1e-30) * _PAPER_GAIN, 0.0, 1.0).astype(np.float32)
    return shown
