"""Drift of the specimen from frame to frame, without lattice fringes and so without jumps of a unit cell.

Small blurred frames are compared with several before them; all shifts together are solved by least squares, so that a
single wrong one stands out against the others and is left out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from fringemap.records import Drift

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fringemap.records import Array, FloatArray, FrameSummary, Image, IntArray

LEAST_PEAK = 6.0
"""Height of a credible correlation peak, in standard deviations of the correlation."""
_REJECT_SIGMA = 5.0
_ROUNDS = 8
_CORRECTIONS = 2
_MOST_CORRECTION_PX = 2.0
_LEAST_OVERLAP_PX = 24
_LEAST_SIGMA = 0.05
"""No pair is better than this, in pixels of the drift image."""


@dataclass(frozen=True)
class _Seen:
    """A drift image with its spectra: as it is, and tapered and whitened."""

    image: Image
    spectrum: Array
    whitened: Array


@dataclass(frozen=True)
class _Pair:
    first: int
    second: int
    shift: FloatArray
    """Of the second against the first, in pixels of the drift image."""


class DriftFollower:
    """Takes drift images one by one; keeps the last few and the shifts between them."""

    def __init__(self, *, window: int) -> None:
        self._recent: deque[tuple[int, _Seen]] = deque(maxlen=max(window, 1))
        self._window = window
        self._pairs: list[_Pair] = []
        self._n = 0
        self._shape: tuple[int, ...] | None = None
        self._pixel = (1.0, 1.0)

    def add(self, image: Image, pixel_px: tuple[float, float]) -> None:
        """Compare a frame with those before it; one of another shape joins no other."""
        index, self._n = self._n, self._n + 1
        if not self._window or image.size == 0:
            return
        if self._shape != image.shape:
            self._recent.clear()
            self._shape, self._pixel = image.shape, pixel_px
        seen = _see(image)
        for other, earlier in self._recent:
            shift, peak = correlate(earlier.whitened, seen.whitened, image.shape)
            if peak > LEAST_PEAK:
                self._pairs.append(_Pair(other, index, _correct(earlier, seen, shift)))
        self._recent.append((index, seen))

    def solve(self) -> Drift:
        """Give the shift of each frame against the first."""
        shift, sigma, n_pairs = solve_shifts(self._pairs, self._n)
        pixel = np.array(self._pixel)
        return Drift(shift_px=shift * pixel, sigma_px=sigma * pixel, n_pairs=n_pairs)


def estimate_drift(frames: Iterable[FrameSummary], *, window: int = 6) -> Drift:
    """Find where the specimen lies in each frame of a series.

    Parameters
    ----------
    frames
        In their order; read once.
    window
        With how many frames before it each is compared; 0 gives NaN throughout.

    Returns
    -------
    Drift
        Against the first frame. Frames that no credible shift joins to it have NaN.

    Notes
    -----
    Phase correlation of images that hold nothing as fine as a lattice fringe, each weighted by what both images have
    above their own noise, with the peak located by a parabola. The shifts of all pairs are solved together; a pair that
    leaves the solution by more than five standard errors (from the median of the residuals) is left out, and the rest
    solved again.
    """
    follower = DriftFollower(window=window)
    for frame in frames:
        follower.add(frame.drift_image, frame.drift_pixel_px)
    return follower.solve()


def _see(image: Image) -> _Seen:
    return _Seen(image, scipy.fft.rfft2(image), _whitened(image))


def _whitened(image: Image) -> Array:
    """Transform of the tapered image, each frequency with modulus at most 1."""
    spectrum: Array = scipy.fft.rfft2((image - _plane(image)) * _tapers(image.shape))
    power = spectrum.real**2
    power += spectrum.imag**2
    # Blurring left nothing at the highest frequencies: there the noise of rounding must not count as much as signal.
    n_strong = max(power.size // 20, 1)
    floor = 1e-4 * float(np.median(np.partition(power.ravel(), -n_strong)[-n_strong:])) + 1e-30
    spectrum /= np.sqrt(power + np.float32(floor))
    spectrum[0, 0] = 0.0
    return spectrum


def _plane(image: Image) -> Image:
    """Least-squares plane through the image: uneven illumination does not move with the specimen."""
    rows, cols = (np.linspace(-1.0, 1.0, n) for n in image.shape)
    by_row, by_col = image.mean(axis=1, dtype=np.float64), image.mean(axis=0, dtype=np.float64)
    slope_y = float((by_row * rows).mean() / max(float((rows**2).mean()), 1e-12))
    slope_x = float((by_col * cols).mean() / max(float((cols**2).mean()), 1e-12))
    level = by_row.mean() + slope_y * rows
    plane: Image = level.astype(np.float32)[:, None] + (slope_x * cols).astype(np.float32)
    return plane


@lru_cache(maxsize=64)
def _tapers(shape: tuple[int, int]) -> Image:
    rows, cols = (np.hanning(n + 2)[1:-1] for n in shape)
    return np.outer(rows, cols).astype(np.float32)


def correlate(first: Array, second: Array, shape: tuple[int, ...]) -> tuple[FloatArray, float]:
    """Shift of the second whitened spectrum against the first [px], and the peak over the scatter of all."""
    surface = scipy.fft.irfft2(np.conj(first) * second, s=shape)
    peak = np.unravel_index(int(np.argmax(surface)), shape)
    # The zero frequencies are empty, so that the mean is 0.
    height = float(surface[peak]) / max(float(surface.std()), 1e-30)
    shift = [_vertex(np.moveaxis(surface, axis, 0)[:, peak[1 - axis]], int(peak[axis])) for axis in (0, 1)]
    return np.array(shift), height


def _vertex(line: Array, k: int) -> float:
    """Place of the peak near index k by a parabola through three points; beyond half the side it is negative."""
    n = len(line)
    near = np.array([(k + offset) % n for offset in (-1, 0, 1)])
    left, middle, right = line[near].tolist()
    curvature = left - 2.0 * middle + right
    place = k + (0.5 * (left - right) / curvature if curvature < 0 else 0.0)
    return place - n if place > n / 2 else place


def _correct(first: _Seen, second: _Seen, shift: FloatArray) -> FloatArray:
    """Lay the second frame on the first and compare again: tapers that lie elsewhere draw the peak towards zero."""
    laid: _Laid | None = None
    for _ in range(_CORRECTIONS):
        whole = np.rint(shift).astype(int)
        if np.min(np.subtract(first.image.shape, np.abs(whole))) < _LEAST_OVERLAP_PX:
            return shift
        if laid is None or np.any(laid.whole != whole):
            laid = _lay(first, second, whole)
        rest, peak = correlate(laid.first, _whitened(_move(laid, whole - shift)), laid.shape)
        if peak < LEAST_PEAK or np.abs(rest).max() > _MOST_CORRECTION_PX:
            return shift
        shift = shift + rest
    return shift


@dataclass(frozen=True)
class _Laid:
    """What two frames have in common, one laid on the other by whole pixels."""

    whole: IntArray
    shape: tuple[int, ...]
    first: Array
    """Whitened spectrum of the part of the first frame."""
    second: Array
    """Spectrum of that of the second."""


def _lay(first: _Seen, second: _Seen, whole: IntArray) -> _Laid:
    if not whole.any():
        return _Laid(whole, first.image.shape, first.whitened, second.spectrum)
    shape = first.image.shape
    here = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(whole, shape, strict=True))
    there = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(whole, shape, strict=True))
    part = first.image[there]
    return _Laid(whole, part.shape, _whitened(part), scipy.fft.rfft2(second.image[here]))


def _move(laid: _Laid, shift: FloatArray) -> Image:
    """Shift the second frame by a part of a pixel; exact, since nothing in it is as fine as its pixels."""
    rows, cols = laid.shape
    ramps = [
        np.exp(-2j * np.pi * s * frequency).astype(np.complex64)
        for s, frequency in zip(shift, (np.fft.fftfreq(rows), np.fft.rfftfreq(cols)), strict=True)
    ]
    moved: Image = scipy.fft.irfft2(laid.second * ramps[0][:, None] * ramps[1], s=laid.shape)
    return moved


def solve_shifts(pairs: list[_Pair], n_frames: int) -> tuple[FloatArray, FloatArray, IntArray]:
    """Least squares over all pairs with outliers left out; shift and standard error of each frame against the first."""
    shift, sigma = np.full((n_frames, 2), np.nan), np.full((n_frames, 2), np.nan)
    count = np.zeros(n_frames, dtype=np.int64)
    if not n_frames:
        return shift, sigma, count
    shift[0], sigma[0] = 0.0, 0.0
    kept = pairs
    for _ in range(_ROUNDS):
        joined = _joined_to_first(kept, n_frames)
        kept = [pair for pair in kept if joined[pair.first]]
        if not kept:
            return shift, sigma, count
        solution, variance, residual, error = _least_squares(kept, joined)
        good = np.abs(residual).max(axis=1) <= _REJECT_SIGMA * error
        if good.all():
            break
        kept = [pair for pair, fits in zip(kept, good, strict=True) if fits]
    shift[joined], sigma[joined] = solution, np.sqrt(variance)[:, None]
    for pair in kept:
        count[[pair.first, pair.second]] += 1
    return shift, sigma, count


def _joined_to_first(pairs: list[_Pair], n: int) -> Array:
    ends = np.array([(pair.first, pair.second) for pair in pairs], dtype=np.int64).reshape(-1, 2)
    graph = csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    joined: Array = labels == labels[0]
    return joined


def _least_squares(pairs: list[_Pair], joined: Array) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Shifts of the joined frames (first 0), their variance, the residuals of the pairs, and the error of one pair."""
    column = np.cumsum(joined) - 1
    first, second = (column[[getattr(pair, end) for pair in pairs]] for end in ("first", "second"))
    measured = np.array([pair.shift for pair in pairs])
    factor, right = _normal_equations(first, second, measured, int(joined.sum()))
    solution = np.vstack([np.zeros(2), cho_solve_banded((factor, True), right)])
    residual = measured - (solution[second] - solution[first])
    freedom = max(1.0 - (len(solution) - 1) / len(pairs), 0.1)
    error = max(1.4826 * float(np.median(np.abs(residual))) / np.sqrt(freedom), _LEAST_SIGMA)
    return solution, error**2 * np.concatenate([[0.0], _inverse_diagonal(factor)]), residual, error


def _normal_equations(first: IntArray, second: IntArray, measured: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Cholesky factor of the normal matrix without the first frame, as a lower band, and the right-hand side."""
    band, right = np.zeros((int((second - first).max()) + 1, n)), np.zeros((n, 2))
    np.add.at(band[0], first, 1.0)
    np.add.at(band[0], second, 1.0)
    np.add.at(band, (second - first, first), -1.0)
    np.add.at(right, second, measured)
    np.add.at(right, first, -measured)
    factor: FloatArray = cholesky_banded(band[: n - 1, 1:], lower=True)
    return factor, right[1:]


def _inverse_diagonal(factor: FloatArray) -> FloatArray:
    """Diagonal of (L Lᵀ)⁻¹ from the band of L, last row first, in a time that grows with n only.

    With the column of L below its diagonal over the diagonal, l, and the known block Z of the inverse behind it:
    the new diagonal is 1 / L² + lᵀ Z l, its neighbours are -Z l.
    """
    width, n = factor.shape[0] - 1, factor.shape[1]
    block, diagonal = np.zeros((width, width)), np.zeros(n)
    for i in range(n - 1, -1, -1):
        below = factor[1:, i] / factor[0, i]
        beside = -block @ below
        diagonal[i] = 1.0 / factor[0, i] ** 2 - below @ beside
        grown = np.block([[np.array([[diagonal[i]]]), beside[None]], [beside[:, None], block]])
        block = grown[:width, :width]
    return diagonal
