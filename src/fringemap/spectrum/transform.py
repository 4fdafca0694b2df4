"""From counts to a streak-free complex half spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

if TYPE_CHECKING:
    from fringemap.records import Array, ComplexImage, Image
    from fringemap.spectrum.axes import Part

# More single pixels than this share of a frame are no defects but its signal: a frame of counted electrons.
_MOST_HOT = 1e-4


def replace_hot_pixels(image: Image, *, sigma: float) -> tuple[Image, int]:
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

    Returns
    -------
    image, n_replaced
        The same array, or a mended copy. Frames in which such pixels are common are returned unchanged.
    """
    if sigma <= 0:
        return image, 0
    middle, spread = _robust_centre(image)
    reach = max(sigma / 2.0, 4.0) * spread
    outer = np.flatnonzero((image.max(axis=1) > middle + reach) | (image.min(axis=1) < middle - reach))
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


def _robust_centre(image: Image) -> tuple[float, float]:
    step = max(1, round((image.size / 65536) ** 0.5))
    low, middle, high = np.percentile(image[::step, ::step], [15.87, 50.0, 84.13])
    return float(middle), max(float(high - low) / 2, 1e-30)


def _pixel_noise(image: Image) -> float:
    """Standard deviation of what differs between neighbouring pixels."""
    step = max(1, image.shape[0] // 128)
    rows = image[::step]
    return float(np.median(np.abs(np.diff(rows, axis=1)))) * 1.4826 / 2**0.5


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


def transform(image: Image, *, edges: str, part: Part, workers: int = 1) -> ComplexImage:
    """Half spectrum of a frame without the cross-shaped streak of its edges.

    Parameters
    ----------
    image
        Counts, shape (n_rows, n_cols).
    edges
        "periodic": subtract the smooth part that carries the jump between opposite edges [1]_; "hann": multiply by a
        Hann window of mean square 1, so that noise keeps its power; "none": nothing but the mean is taken away.
    part
        Bins that matter; the others keep their smooth part.

    Returns
    -------
    ComplexImage
        Shape (n_rows, n_cols // 2 + 1), order of ``scipy.fft.rfft2``; the zero frequency holds the frame's sum.

    References
    ----------
    .. [1] L. Moisan, J. Math. Imaging Vis. 39 (2011) 161, doi:10.1007/s10851-010-0227-1.
    """
    level = np.float32(image.mean(dtype=np.float64)) if edges == "hann" else np.float32(0)
    if edges == "hann":
        image = (image - level) * _hann(image.shape)
    spectrum: ComplexImage = scipy.fft.rfft2(image, workers=workers)
    if edges == "periodic":
        _subtract_smooth_part(spectrum, image, part, workers)
    spectrum[0, 0] += level * image.size
    return spectrum


def _hann(shape: tuple[int, ...]) -> Image:
    rows, cols = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in shape)
    window = np.outer(rows / np.sqrt(np.mean(rows**2)), cols / np.sqrt(np.mean(cols**2)))
    return window.astype(np.float32)


def _subtract_smooth_part(spectrum: ComplexImage, image: Image, part: Part, workers: int) -> None:
    """Take the transform of Moisan's smooth part away, in place.

    The image of the jumps is zero except on the four edges, so its transform is a sum of two outer products and the
    two-dimensional transform of it need not be computed.
    """
    n_rows, n_cols = image.shape
    top_bottom = scipy.fft.rfft(image[-1].astype(np.float64) - image[0])
    left_right = scipy.fft.fft(image[:, -1].astype(np.float64) - image[:, 0])
    row_angle = 2 * np.pi * np.arange(n_rows) / n_rows
    col_angle = 2 * np.pi * np.arange(spectrum.shape[1]) / n_cols
    row_jump = (1 - np.exp(1j * row_angle)).astype(np.complex64)
    col_jump = (1 - np.exp(1j * col_angle)).astype(np.complex64)
    top_bottom, left_right = top_bottom.astype(np.complex64), left_right.astype(np.complex64)
    # 2 cos a - 2 = -4 sin²(a / 2), without the cancellation near zero.
    row_term = (-4 * np.sin(row_angle / 2) ** 2).astype(np.float32)
    col_term = (-4 * np.sin(col_angle / 2) ** 2).astype(np.float32)

    def subtract(rows: slice, cols: slice) -> None:
        laplacian = row_term[rows, None] + col_term[cols]
        if rows.start == 0:
            laplacian[0, 0] = 1.0
        jumps = row_jump[rows, None] * top_bottom[cols]
        jumps += left_right[rows, None] * col_jump[cols]
        jumps /= laplacian
        spectrum[rows, cols] -= jumps

    part.each(subtract, workers=workers)


def power_of(spectrum: ComplexImage, part: Part, *, workers: int = 1) -> Image:
    """|spectrum|² in the part, 0 elsewhere."""
    power = np.zeros(spectrum.shape, np.float32)

    def square(rows: slice, cols: slice) -> None:
        block = spectrum[rows, cols]
        np.multiply(block.real, block.real, out=power[rows, cols])
        power[rows, cols] += block.imag * block.imag

    part.each(square, workers=workers)
    return power
