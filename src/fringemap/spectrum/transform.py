"""From counts to a streak-free complex half spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fringemap.records import lend_array
from fringemap.spectrum.axes import do_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from fringemap.records import Array, ComplexImage, Image
    from fringemap.spectrum.axes import Part

# More single pixels than this share of a frame are no defects but its signal: a frame of counted electrons.
_MOST_HOT = 1e-4
# Far below any Laplacian but that of the zero frequency, and still a normal 32-bit number.
_TINY = 1e-30
# Pixels that tell the spread of a frame, and the noise of its pixels: to a percent.
_SAMPLE = 2**15
# Rows that are searched for extreme values, or transformed, at a time: they stay in the processor's cache.
_ROWS_AT_ONCE = 64


def replace_hot_pixels(image: Image, *, sigma: float, workers: int = 1) -> tuple[Image, int]:
    """Put the median of its neighbours in place of each pixel that leaves them by more than ``sigma``.

    Only pixels at the edge of the frame's own range of values are looked at: a spike inside that range cannot be told
    from signal, and does no harm to a spectrum.

    Parameters
    ----------
    image
        Counts, shape (n_rows, n_cols).
    sigma
        Distance from the median of the 5 x 5 neighbourhood, in robust standard deviations of that
        neighbourhood or of the whole frame's pixel noise, whichever is larger. 0 changes nothing.
    workers
        Threads.

    Returns
    -------
    image, n_replaced
        The same array, or a mended copy. Frames in which such pixels are common are returned unchanged.
    """
    if sigma <= 0:
        return image, 0
    middle, spread = _robust_centre(image)
    reach = max(sigma / 2.0, 4.0) * spread
    lowest, highest = _row_extremes(image, workers)
    outer = np.flatnonzero((highest > middle + reach) | (lowest < middle - reach))
    if len(outer) == 0:
        return image, 0
    rows, cols = np.nonzero(np.abs(image[outer] - np.float32(middle)) > reach)
    rows = outer[rows]
    if len(rows) > max(1, _MOST_HOT * image.size):
        return image, 0
    neighbours = _neighbours(image, rows, cols)
    local = np.median(neighbours, axis=1)
    deviation = 1.4826 * np.median(np.abs(neighbours - local[:, None]), axis=1)
    noise = np.maximum(deviation, 0.5 * _pixel_noise(image))
    hot = np.abs(image[rows, cols] - local) > sigma * noise
    if not hot.any():
        return image, 0
    mended = image.copy()
    mended[rows[hot], cols[hot]] = local[hot]
    return mended, int(hot.sum())


def _row_extremes(image: Image, workers: int) -> tuple[Image, Image]:
    """Lowest and highest value of each row, read from memory once."""
    lowest, highest = np.empty((2, len(image)), image.dtype)

    def look(start: int) -> None:
        rows = slice(start, start + _ROWS_AT_ONCE)
        image[rows].min(axis=1, out=lowest[rows])
        image[rows].max(axis=1, out=highest[rows])

    do_each(look, range(0, len(image), _ROWS_AT_ONCE), workers=workers)
    return lowest, highest


def _robust_centre(image: Image) -> tuple[float, float]:
    step = max(1, round((image.size / _SAMPLE) ** 0.5))
    # Sorted: quicker than selecting.
    rising = np.sort(image[::step, ::step], axis=None)
    low, middle, high = (float(rising[round(share * (len(rising) - 1))]) for share in (0.1587, 0.5, 0.8413))
    return middle, max((high - low) / 2, 1e-30)


def _pixel_noise(image: Image) -> float:
    """Standard deviation of what differs between neighbouring pixels."""
    rows = image[:: max(1, image.size // 2**17)]
    differences = np.diff(rows, axis=1).ravel()
    return float(np.median(np.abs(differences[:: max(1, len(differences) // _SAMPLE)]))) * 1.4826 / 2**0.5


def _neighbours(image: Image, rows: Array, cols: Array) -> Array:
    """The 24 pixels around each of n pixels, mirrored at the edges; (n, 24)."""
    dr, dc = (offset.ravel() for offset in np.mgrid[-2:3, -2:3])
    keep = (dr != 0) | (dc != 0)
    r = _mirror(rows[:, None] + dr[keep], image.shape[0])
    c = _mirror(cols[:, None] + dc[keep], image.shape[1])
    return image[r, c].astype(np.float64)


def _mirror(index: Array, n: int) -> Array:
    reflected = np.abs(index)
    mirrored: Array = np.minimum(reflected, 2 * (n - 1) - reflected)
    return mirrored


Jumps = tuple[NDArray[np.complex64], NDArray[np.complex64]]
"""Transforms of the jumps between opposite edges: of the last row less the first (half), of the last column less the
first (whole)."""


def transform(image: Image, *, edges: str, part: Part, workers: int = 1) -> tuple[ComplexImage, Image, Jumps | None]:
    """Half spectrum of a frame without the cross-shaped streak of its edges, and its power.

    Parameters
    ----------
    image
        Counts, shape (n_rows, n_cols).
    edges
        "periodic": subtract the smooth part that carries the jump between opposite edges [1]_; "hann": multiply by a
        Hann window of mean square 1, so that noise keeps its power; "none": nothing but the mean is taken away.
    part
        Bins that matter. Rows outside keep their smooth part, columns outside are 0.

    Returns
    -------
    spectrum
        Shape (n_rows, n_cols // 2 + 1), order of ``scipy.fft.rfft2``; the zero frequency holds the frame's sum.
    power
        |spectrum|² in the part, 0 elsewhere.
    jumps
        What the subtracted smooth part follows from; None if none was.

    References
    ----------
    .. [1] L. Moisan, J. Math. Imaging Vis. 39 (2011) 161, doi:10.1007/s10851-010-0227-1.
    """
    level = np.float32(image.mean(dtype=np.float64)) if edges == "hann" else np.float32(0)
    if edges == "hann":
        image = (image - level) * _hann(image.shape)
    spectrum = _half_spectrum(image, part.n_cols, workers)
    jumps = _jumps(image) if edges == "periodic" else None
    power = _empty_power(spectrum, part, workers)
    subtract = _subtraction(spectrum, jumps, image.shape, part.n_cols) if jumps is not None else None

    def finish(rows: slice, cols: slice) -> None:
        if subtract is not None:
            subtract(rows)
        _square(spectrum, power, rows, cols)

    part.each(finish, workers=workers)
    spectrum[0, 0] += level * image.size
    return spectrum, power, jumps


def _half_spectrum(image: Image, n_cols: int, workers: int) -> ComplexImage:
    """Transform of a frame, of which only the first columns are worked out; the others are 0."""
    spectrum: ComplexImage = lend_array((len(image), image.shape[1] // 2 + 1), np.complex64)
    kept = spectrum[:, :n_cols]

    def along_rows(start: int) -> None:
        rows = slice(start, start + _ROWS_AT_ONCE)
        kept[rows] = scipy.fft.rfft(image[rows], axis=1)[:, :n_cols]
        spectrum[rows, n_cols:] = 0

    do_each(along_rows, range(0, len(image), _ROWS_AT_ONCE), workers=workers)
    done = scipy.fft.fft(kept, axis=0, overwrite_x=True, workers=workers)
    if not np.may_share_memory(done, kept):
        kept[...] = done
    return spectrum


def _hann(shape: tuple[int, ...]) -> Image:
    rows, cols = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in shape)
    window = np.outer(rows / np.sqrt(np.mean(rows**2)), cols / np.sqrt(np.mean(cols**2)))
    return window.astype(np.float32)


def _jumps(image: Image) -> Jumps:
    top_bottom = scipy.fft.rfft(image[-1].astype(np.float64) - image[0])
    left_right = scipy.fft.fft(image[:, -1].astype(np.float64) - image[:, 0])
    return top_bottom.astype(np.complex64), left_right.astype(np.complex64)


def _subtraction(
    spectrum: ComplexImage, jumps: Jumps, frame_shape: tuple[int, ...], n_cols: int
) -> Callable[[slice], None]:
    """Make a function that takes the smooth part away, in place, from the first columns of some rows."""
    by_col = _Factors.along_cols(jumps[0][:n_cols], np.arange(n_cols), frame_shape[1])
    real = spectrum.view(np.float32)[:, : 2 * n_cols]

    def subtract(rows: slice) -> None:
        real[rows] -= _product(
            _Factors.along_rows(jumps[1][rows], np.arange(rows.start, rows.stop), frame_shape[0]), by_col
        )

    return subtract


def smooth_part(top_bottom: Array, left_right: Array, rows: Array, cols: Array, frame_shape: tuple[int, int]) -> Array:
    """Transform of Moisan's smooth part in some rows and columns of bins.

    The image of the jumps is zero except on the four edges, so its transform is a sum of two outer products and its
    two-dimensional transform need not be computed.

    Parameters
    ----------
    top_bottom, left_right
        Transforms of the jumps at these columns, and at these rows.
    rows, cols
        Bins, signed or not, along the last axis; there can be others before it.
    """
    row_angle, col_angle = (2 * np.pi / n * bins for bins, n in zip((rows, cols), frame_shape, strict=True))
    laplacian = _laplacian(row_angle)[..., :, None] + _laplacian(col_angle)[..., None, :]
    by_row, by_col = ((1 - np.exp(1j * angle)).astype(np.complex64) for angle in (row_angle, col_angle))
    part: Array = by_row[..., :, None] * top_bottom[..., None, :] + left_right[..., :, None] * by_col[..., None, :]
    part *= 1.0 / laplacian
    return part


@dataclass(frozen=True)
class _Factors:
    """What makes the smooth part, along one axis: real numbers, since numpy's complex products take far longer."""

    sums: NDArray[np.float32]
    """Of the two outer products. Rows: (n, 4), real and imaginary part of each. Columns: (4, 2 n), with what these make
    of the real and the imaginary part of each bin in turn."""
    laplacian: NDArray[np.float32]
    """Its share of the divisor: (n, 1), or (2 n,)."""

    @staticmethod
    def along_rows(left_right: Array, rows: Array, n_rows: int) -> _Factors:
        angle = 2 * np.pi / n_rows * rows
        terms = np.stack([1 - np.exp(1j * angle), left_right], axis=1).astype(np.complex64)
        return _Factors(terms.view(np.float32), _laplacian(angle)[:, None])

    @staticmethod
    def along_cols(top_bottom: Array, cols: Array, n_cols: int) -> _Factors:
        angle = 2 * np.pi / n_cols * cols
        terms = np.stack([top_bottom, 1 - np.exp(1j * angle)]).astype(np.complex64)
        sums = np.stack([terms, 1j * terms], axis=1).reshape(4, -1).astype(np.complex64).view(np.float32)
        return _Factors(sums, np.repeat(_laplacian(angle), 2))


def _laplacian(angle: Array) -> NDArray[np.float32]:
    """2 cos a - 2 = -4 sin²(a / 2), without the cancellation near zero; never 0, as it is divided by."""
    laplacian: NDArray[np.float32] = np.minimum(-4 * np.sin(angle / 2) ** 2, -_TINY).astype(np.float32)
    return laplacian


def _product(by_row: _Factors, by_col: _Factors) -> NDArray[np.float32]:
    """Smooth part, real and imaginary parts in turn; (rows, 2 columns)."""
    part: NDArray[np.float32] = by_row.sums @ by_col.sums
    part /= by_row.laplacian + by_col.laplacian
    return part


def power_of(spectrum: ComplexImage, part: Part) -> Image:
    """|spectrum|² in the part, 0 elsewhere."""
    power = _empty_power(spectrum, part)
    part.each(partial(_square, spectrum, power))
    return power


def _empty_power(spectrum: ComplexImage, part: Part, workers: int = 1) -> Image:
    power = lend_array((spectrum.shape[0], spectrum.shape[1]), np.float32)
    part.fill_outside(power, 0.0, workers=workers)
    return power


def _square(spectrum: ComplexImage, power: Image, rows: slice, cols: slice) -> None:
    """Write |spectrum|² into ``power``, in some rows and columns."""
    real = spectrum.view(np.float32)[rows, 2 * (cols.start or 0) : 2 * cols.stop]
    squared = real * real
    np.add(squared[:, ::2], squared[:, 1::2], out=power[rows, cols])
