"""Measure spots of single grains to the limit of their noise: position, amplitude, width, and their errors.

A block of bins around a spot is transformed back to a small complex image of its fringe. A plane wave under a Gaussian
envelope is fitted to that image by least squares, which is maximum likelihood for its noise. The data carry no window,
the envelope follows the grain, and the frame's own edges need no model because there are no samples beyond them.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import scipy.fft
import scipy.ndimage

from fringemap.spectrum import read_block, read_raw_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from fringemap.records import Array, Diffractogram, Mask
    from fringemap.spots.candidates import Candidates

# Half the side of a block, in widths of its spot, and its least value in bins.
_BLOCK_WIDTHS = 3.0
_LEAST_HALF = 6
# The fit sees at most this many samples along each axis, around the grain.
_MOST_SAMPLES = 24
# The wave is drawn on this many places along each axis before it is seen through the block.
_FINE = 80
# Bins from both axes from which the jumps of the edges are weaker than the smooth part of a wave.
_CLEAR_OF_AXES = 8
_ITERATIONS = 25
# A fit has settled when minus twice the log likelihood falls by less than this.
_LEAST_GAIN = 1e-4
# First guesses that differ by less than this, in bins, lead to the same fit.
_SAME_START = 0.3
# An even disc leaves this share of its power when a Gaussian is fitted to it; that is no noise.
_MISFIT_OF_DISC = 0.05
# Weak priors keep the envelope of a grain that fills the frame from running away: its centre, in frame lengths; its
# size, in e-folds.
_CENTRE_PRIOR, _SIZE_PRIOR = 0.5, 1.5
# A fit that ends further from the detector's position than this many widths has found something else.
_FURTHEST = 1.5
# Order of the parameters.
_RE, _IM, _X_ROW, _X_COL, _S_ROW, _S_COL, _D_ROW, _D_COL = range(8)
# Which wave along the rows, and which along the columns, the derivative by each parameter is made of: 0 is the wave
# itself, 1 to 3 its derivatives by centre, log size and frequency.
_ROW_OF, _COL_OF = np.array([0, 0, 1, 0, 2, 0, 3, 0]), np.array([0, 0, 0, 1, 0, 2, 0, 3])


_Record = TypeVar("_Record", "_Samples", "_Products")


@dataclass(frozen=True)
class WaveFit:
    """What the fit says of n spots, in bins of the half spectrum, pixels of the frame and counts."""

    row: Array
    col: Array
    covariance: Array
    """Of (row, col) [bins²]; (n, 2, 2)."""
    amplitude: Array
    amplitude_sigma: Array
    energy: Array
    """Power of the whole fitted spot [counts²]; (n,)."""
    share: Array
    """That power over all the power of its block but the noise's; (n,)."""
    noise: Array
    """Expected noise power of a bin [counts²]; (n,)."""
    width: Array
    """Full width at half maximum of the power along (row, col) [bins]; (n, 2)."""
    position: Array
    extent: Array
    ok: Mask
    """The fit converged on the spot that the detector saw."""


@dataclass(frozen=True)
class _Samples:
    """Complex images of n fringes, padded to one size."""

    values: Array
    """(n, k, k) complex [counts]."""
    weights: Array
    """1 for a sample, 0 for padding; (n, k, k)."""
    x_row: Array
    """Places in the frame on a fine grid, on which the wave is drawn [px]; (n, j)."""
    x_col: Array
    band_row: Array
    """What the fine grid becomes at the samples once all but the bins of the block is left out; (n, k, j)."""
    band_col: Array
    energy: Array
    """Sum of |values|² [counts²]; (n,)."""
    noise: Array
    """Variance of a complex sample [counts²]; (n,)."""
    bin_noise: Array
    """Expected noise power of a bin [counts²]; (n,)."""
    centre: Array
    """Bin that has become zero frequency (row, col); (n, 2)."""
    starts: Array
    """First guesses of the parameters: from the brightest patch of the frame and from the crest of the power; (n, 2,
    8)."""


def fit_waves(diffractogram: Diffractogram, candidates: Candidates, *, windowed: bool = False) -> WaveFit:
    """Fit a plane wave under a Gaussian envelope to each candidate.

    Parameters
    ----------
    diffractogram
        Its ``spectrum`` carries no window.
    candidates
        n coarse positions.
    windowed
        Put a Hann window over the frame: half the precision for a grain that fills it, but grains of nearly the same g
        no longer mix through the lobes of the frame's edges.

    Returns
    -------
    WaveFit
        The same n rows in the same order; ``ok`` is false where the fit left its spot.

    Notes
    -----
    Errors come from the Fisher matrix at the solution. Where the residual in the grain exceeds the noise (the grain is
    no Gaussian, a neighbour interferes) they grow by the root of that excess.
    """
    if len(candidates) == 0:
        empty = np.zeros(0)
        pairs = np.zeros((0, 2))
        return WaveFit(
            empty, empty, np.zeros((0, 2, 2)), empty, empty, empty, empty, empty, pairs, pairs, pairs, np.zeros(0, bool)
        )
    samples = _sample_all(diffractogram, candidates, windowed)
    parameters = _fit_from_both(samples, diffractogram.frame_shape)
    return _read_fit(parameters, samples, candidates, diffractogram.frame_shape)


def _sample_all(diffractogram: Diffractogram, candidates: Candidates, windowed: bool) -> _Samples:
    parts = [
        _sample_one(diffractogram, float(row), float(col), float(width), windowed)
        for row, col, width in zip(candidates.row, candidates.col, candidates.width, strict=True)
    ]
    return _Samples(*(np.stack(column) for column in zip(*parts, strict=True)))


def _sample_one(
    diffractogram: Diffractogram, row: float, col: float, width: float, windowed: bool
) -> tuple[Array, ...]:
    """Complex image of one fringe on a coarse grid, cut to the surroundings of its grain, with a first guess."""
    shape = diffractogram.frame_shape
    half = min(max(math.ceil(_BLOCK_WIDTHS * width), _LEAST_HALF), (min(shape) - 1) // 4)
    side = 2 * half + 1
    corner = (round(row) - half, round(col) - half)
    rim = int(windowed)
    read = _reader(diffractogram, row, col)
    block = read(start=(corner[0] - rim, corner[1] - rim), shape=(side + 2 * rim, side + 2 * rim))
    if windowed:
        block = _hann(block)
    bin_noise = float(read_block(diffractogram.background, shape[1], start=corner, shape=(side, side)).mean())
    to_counts = 2.0 * side**2 / (shape[0] * shape[1])
    fringe = scipy.fft.ifft2(scipy.fft.ifftshift(block.astype(np.complex128))) * to_counts
    crest = scipy.fft.ifft2(scipy.fft.ifftshift(_around_crest(block, width))) * to_counts
    noise = (2.0 * side / (shape[0] * shape[1])) ** 2 * bin_noise
    k = min(side, _MOST_SAMPLES)
    energy = scipy.ndimage.gaussian_filter(np.abs(crest) ** 2, 1.0, mode="nearest")
    peak = np.unravel_index(int(np.argmax(energy)), energy.shape)
    first = [min(max(int(p) - k // 2, 0), side - k) for p in peak]
    rows, cols = (slice(f, f + k) for f in first)
    x_row, x_col = (np.arange(s.start, s.stop) * (n / side) for s, n in zip((rows, cols), shape, strict=True))
    starts = [_first_guess(image[rows, cols], x_row, x_col, noise) for image in (fringe, crest)]
    fine_row, band_row = _band(x_row, shape[0], side, windowed)
    fine_col, band_col = _band(x_col, shape[1], side, windowed)
    pad = (0, _MOST_SAMPLES - k)
    return (
        np.pad(fringe[rows, cols], (pad, pad)),
        np.pad(np.ones((k, k)), (pad, pad)),
        fine_row,
        fine_col,
        np.pad(band_row, (pad, (0, 0))),
        np.pad(band_col, (pad, (0, 0))),
        np.sum(np.abs(fringe[rows, cols]) ** 2),
        np.array(noise),
        np.array(bin_noise),
        np.array([round(row), round(col)], float),
        np.stack(starts),
    )


def _reader(diffractogram: Diffractogram, row: float, col: float) -> Callable[..., Array]:
    """How the block is read: with its smooth part, but without it beside an axis, where the edges' jumps are strong."""
    if min(abs(row), abs(col)) >= _CLEAR_OF_AXES:
        return partial(read_raw_block, diffractogram)
    return partial(read_block, diffractogram.spectrum, diffractogram.frame_shape[1])


def _band(samples: Array, n: int, side: int, windowed: bool) -> tuple[Array, Array]:
    """Fine grid around the samples, and the matrix that takes a wave on it to the samples through the block's band.

    A block of ``side`` bins is the sum of side plane waves: each place spreads as the Dirichlet kernel of that order.
    The frame ends at -1/2 and n - 1/2; there is no wave beyond.
    """
    step = n / side
    low, high = max(samples[0] - 2 * step, -0.5), min(samples[-1] + 2 * step, n - 0.5)
    fine = low + (np.arange(_FINE) + 0.5) * (high - low) / _FINE
    turn = (samples[:, None] - fine) / n
    denominator = np.sin(np.pi * turn)
    near = np.abs(denominator) < 1e-9
    kernel = np.where(near, side, np.sin(np.pi * side * turn) / np.where(near, 1.0, denominator))
    band = kernel * (high - low) / _FINE / n
    if windowed:
        band *= np.sin(np.pi * (fine + 0.5) / n) ** 2 / math.sqrt(3 / 8)
    return fine, band


def _hann(block: Array) -> Array:
    """The block, less a rim of one bin, of the frame under a Hann window of mean square 1."""
    for axis in (0, 1):
        low, middle, high = (np.take(block, range(k, block.shape[axis] - 2 + k), axis) for k in range(3))
        block = (0.5 * middle - 0.25 * (low + high)) / math.sqrt(3 / 8)
    return block


def _around_crest(block: Array, width: float) -> Array:
    """The block with all but the surroundings of its brightest place faded out."""
    sigma = max(1.0, 0.35 * width)
    power = scipy.ndimage.gaussian_filter(np.abs(block) ** 2, sigma / 2, mode="nearest")
    middle = (len(block) - 1) / 2
    row, col = (np.arange(len(block)) for _ in range(2))
    reach = 1.5 * max(width, 1.0)
    near = np.hypot(row[:, None] - middle, col - middle) <= reach
    top_row, top_col = np.unravel_index(int(np.argmax(np.where(near, power, 0.0))), power.shape)
    faded: Array = block * np.exp(-0.5 * ((row[:, None] - top_row) ** 2 + (col - top_col) ** 2) / sigma**2)
    return faded


def _first_guess(fringe: Array, x_row: Array, x_col: Array, noise: float) -> Array:
    """Parameters from the brightest patch of the fringe: its centre, size and mean advance of the argument."""
    energy = scipy.ndimage.gaussian_filter(np.abs(fringe) ** 2, 1.0, mode="nearest")
    patch, _ = scipy.ndimage.label(energy > max(0.35 * energy.max(), min(noise, 0.9 * energy.max())))
    inside = patch == patch.flat[int(np.argmax(energy))]
    weight = np.where(inside, energy, 0.0)
    weight /= weight.sum()
    centre_row, centre_col = float(weight.sum(1) @ x_row), float(weight.sum(0) @ x_col)
    step_row, step_col = x_row[1] - x_row[0], x_col[1] - x_col[0]
    size_row = max(float(np.sqrt(weight.sum(1) @ (x_row - centre_row) ** 2)) * 1.8, 0.7 * step_row)
    size_col = max(float(np.sqrt(weight.sum(0) @ (x_col - centre_col) ** 2)) * 1.8, 0.7 * step_col)
    masked = np.where(inside, fringe, 0.0)
    turn_row = np.angle(np.sum(masked[1:] * np.conj(masked[:-1]))) / (2 * np.pi * step_row)
    turn_col = np.angle(np.sum(masked[:, 1:] * np.conj(masked[:, :-1]))) / (2 * np.pi * step_col)
    back_row = np.exp(-2j * np.pi * turn_row * (x_row - centre_row))
    back_col = np.exp(-2j * np.pi * turn_col * (x_col - centre_col))
    mean = np.sum(weight * fringe * back_row[:, None] * back_col)
    return np.array(
        [mean.real, mean.imag, centre_row, centre_col, np.log(size_row), np.log(size_col), turn_row, turn_col]
    )


@dataclass(frozen=True)
class _Products:
    """Sums over the samples of n fringes; all that a step of the fit needs.

    The wave is the product of one along the rows and one along the columns, and so is each of its derivatives. Sums
    over a square of samples are therefore products of sums along its sides.
    """

    rows: Array
    """Of each two of the wave and its three derivatives along the rows, one conjugate; (n, 4, 4)."""
    cols: Array
    data: Array
    """Of the samples times the conjugate waves along rows and columns; (n, 4, 4)."""


def _waves(parameters: Array, samples: _Samples) -> tuple[Array, Array]:
    """Wave and derivatives along rows and along columns, at the samples; (n, 4, k) each."""
    p = parameters
    return (
        _along(samples.x_row, samples.band_row, p[:, _X_ROW], p[:, _S_ROW], p[:, _D_ROW]),
        _along(samples.x_col, samples.band_col, p[:, _X_COL], p[:, _S_COL], p[:, _D_COL]),
    )


def _along(x: Array, band: Array, centre: Array, log_size: Array, turn: Array) -> Array:
    """Wave along one axis and its derivatives by centre, log size and frequency, at the samples; (n, 4, k)."""
    u = x - centre[:, None]
    per_size, advance = np.exp(-log_size)[:, None], 2 * np.pi * turn[:, None]
    scaled = u * per_size
    envelope = np.exp(-0.5 * scaled**2)
    cosine, sine = envelope * np.cos(advance * u), envelope * np.sin(advance * u)
    # Real and imaginary parts one by one: the matrix is real.
    drawn = np.empty((len(u), 2, 4, u.shape[1]))
    for part, (wave, quarter_on) in enumerate(((cosine, -sine), (sine, cosine))):
        drawn[:, part, 0] = wave
        drawn[:, part, 1] = wave * scaled * per_size - advance * quarter_on
        drawn[:, part, 2] = wave * scaled**2
        drawn[:, part, 3] = 2 * np.pi * u * quarter_on
    sampled = drawn.reshape(len(u), 8, -1) @ band.transpose(0, 2, 1)
    joined: Array = sampled[:, :4] + 1j * sampled[:, 4:]
    return joined


def _multiply(parameters: Array, samples: _Samples) -> _Products:
    rows, cols = _waves(parameters, samples)
    rows_mirrored, cols_mirrored = (np.conj(waves).transpose(0, 2, 1) for waves in (rows, cols))
    data = np.conj(rows) @ samples.values @ cols_mirrored
    return _Products(rows @ rows_mirrored, cols @ cols_mirrored, data)


def _draw(parameters: Array, samples: _Samples) -> Array:
    """Fringes at the samples; (n, k, k)."""
    rows, cols = _waves(parameters, samples)
    amplitude = (parameters[:, _RE] + 1j * parameters[:, _IM])[:, None]
    fringe: Array = (amplitude * rows[:, 0])[:, :, None] * cols[:, None, 0]
    return fringe


def _fit_from_both(samples: _Samples, frame_shape: tuple[int, int]) -> Array:
    """The better fit of those from the two first guesses; one fit where both guesses are nearly the same; (n, 8)."""
    parameters, loss = _minimise(samples, samples.starts[:, 0], frame_shape)
    apart = np.abs(samples.starts[:, 1] - parameters) * np.array(frame_shape)[[0, 0, 0, 0, 0, 0, 0, 1]]
    other = np.flatnonzero((apart[:, [_D_ROW, _D_COL]] > _SAME_START).any(axis=1))
    if len(other):
        again, again_loss = _minimise(_take(samples, other), samples.starts[other, 1], frame_shape)
        better = again_loss < loss[other]
        parameters[other[better]] = again[better]
    return parameters


def _take(record: _Record, rows: Array) -> _Record:
    """Some rows of each array of a record."""
    return type(record)(*(getattr(record, f.name)[rows] for f in dataclasses.fields(record)))


def _minimise(samples: _Samples, start: Array, frame_shape: tuple[int, int]) -> tuple[Array, Array]:
    """Levenberg-Marquardt over all spots at once; parameters (n, 8) and their loss (n,)."""
    precision = np.zeros(8)
    precision[[_X_ROW, _X_COL]] = 1.0 / (_CENTRE_PRIOR * np.array(frame_shape)) ** 2
    precision[[_S_ROW, _S_COL]] = 1.0 / _SIZE_PRIOR**2
    best = start.copy()
    active, some, damping = np.arange(len(start)), samples, np.full(len(start), 1e-2)
    products = _multiply(best, samples)
    loss = _loss(products, best, start, precision, samples)
    for _ in range(_ITERATIONS):
        trial = best[active] + _step(products, best[active], start[active], precision, damping, some)
        trial[:, [_S_ROW, _S_COL]] = np.clip(trial[:, [_S_ROW, _S_COL]], 0.0, np.log(4.0 * max(frame_shape)))
        trial_products = _multiply(trial, some)
        trial_loss = _loss(trial_products, trial, start[active], precision, some)
        better = trial_loss < loss[active]
        gain = np.where(better, loss[active] - trial_loss, np.inf)
        best[active[better]], loss[active[better]] = trial[better], trial_loss[better]
        products = _Products(
            *(
                np.where(better[:, None, None], getattr(trial_products, f.name), getattr(products, f.name))
                for f in dataclasses.fields(_Products)
            )
        )
        damping = np.clip(np.where(better, damping / 5, damping * 8), 1e-9, 1e9)
        # Spots that have settled leave the work to the others.
        moving = np.flatnonzero((gain > _LEAST_GAIN) & (better | (damping < 1e5)))
        if len(moving) == 0:
            break
        if len(moving) < len(active):
            active, damping, products, some = (
                active[moving],
                damping[moving],
                _take(products, moving),
                _take(some, moving),
            )
    return best, loss


def _step(
    products: _Products, parameters: Array, start: Array, precision: Array, damping: Array, samples: _Samples
) -> Array:
    """Damped Gauss-Newton step of each spot; (n, 8)."""
    normal, gradient = _normal_equations(products, parameters, samples)
    diagonal = range(8)
    normal[:, diagonal, diagonal] += precision
    gradient -= precision * (parameters - start)
    floor = 1e-12 * normal[:, diagonal, diagonal].max(axis=1, keepdims=True)
    normal[:, diagonal, diagonal] = normal[:, diagonal, diagonal] * (1 + damping[:, None]) + floor
    step: Array = np.linalg.solve(normal, gradient[..., None])[..., 0]
    return step


def _loss(products: _Products, parameters: Array, start: Array, precision: Array, samples: _Samples) -> Array:
    """Minus twice the log likelihood, with the priors; (n,)."""
    amplitude = parameters[:, _RE] + 1j * parameters[:, _IM]
    fitted = np.abs(amplitude) ** 2 * (products.rows[:, 0, 0] * products.cols[:, 0, 0]).real
    residual = samples.energy - 2 * (np.conj(amplitude) * products.data[:, 0, 0]).real + fitted
    loss: Array = 2 * residual / samples.noise + np.sum(precision * (parameters - start) ** 2, axis=1)
    return loss


def _normal_equations(products: _Products, parameters: Array, samples: _Samples) -> tuple[Array, Array]:
    """Fisher matrix (n, 8, 8) and gradient (n, 8) of the log likelihood."""
    amplitude = (parameters[:, _RE] + 1j * parameters[:, _IM])[:, None]
    factor = np.concatenate([np.ones_like(amplitude), np.full_like(amplitude, 1j), np.repeat(amplitude, 6, 1)], axis=1)
    rows, cols = products.rows[:, _ROW_OF[:, None], _ROW_OF], products.cols[:, _COL_OF[:, None], _COL_OF]
    weight = (2.0 / samples.noise)[:, None]
    normal = (factor[:, :, None] * np.conj(factor)[:, None, :] * rows * cols).real * weight[:, :, None]
    fitted = amplitude * products.rows[:, 0, _ROW_OF] * products.cols[:, 0, _COL_OF]
    gradient = (np.conj(factor) * (products.data[:, _ROW_OF, _COL_OF] - fitted)).real * weight
    return normal, gradient


def _read_fit(parameters: Array, samples: _Samples, candidates: Candidates, frame_shape: tuple[int, int]) -> WaveFit:
    fringe = _draw(parameters, samples)
    normal, _ = _normal_equations(_multiply(parameters, samples), parameters, samples)
    normal[:, range(8), range(8)] += 1e-9 * np.maximum(normal[:, range(8), range(8)], 1e-12)
    covariance = np.linalg.inv(normal) * _excess(fringe, samples)[:, None, None]
    lengths = np.array(frame_shape, float)
    shift = parameters[:, [_D_ROW, _D_COL]] * lengths
    bins = samples.centre + shift
    energy = np.abs(fringe) ** 2
    position, extent = _moments(parameters, samples)
    amplitude, amplitude_sigma = _amplitude_of_core(fringe, samples)
    n_samples = np.array([_block_side(width, frame_shape) ** 2 for width in candidates.width])
    spectral_energy = (lengths.prod() / 2) ** 2 * energy.sum(axis=(1, 2)) / n_samples
    sizes = np.exp(parameters[:, [_S_ROW, _S_COL]])
    width = np.hypot(lengths * math.sqrt(math.log(2)) / (math.pi * sizes), 0.886)
    offset = np.hypot(bins[:, 0] - candidates.row, bins[:, 1] - candidates.col)
    ok = np.isfinite(bins).all(axis=1) & (offset < _FURTHEST * np.maximum(candidates.width, 1.5))
    return WaveFit(
        row=bins[:, 0],
        col=bins[:, 1],
        covariance=covariance[:, _D_ROW:, _D_ROW:] * lengths[:, None] * lengths,
        amplitude=amplitude,
        amplitude_sigma=amplitude_sigma,
        energy=spectral_energy,
        share=energy.sum(axis=(1, 2)) / _energy_over_noise(samples),
        noise=samples.bin_noise,
        width=width,
        position=position,
        extent=extent,
        ok=ok & (amplitude > 2 * amplitude_sigma),
    )


def _block_side(width: float, frame_shape: tuple[int, int]) -> int:
    half = min(max(math.ceil(_BLOCK_WIDTHS * width), _LEAST_HALF), (min(frame_shape) - 1) // 4)
    return 2 * half + 1


def _energy_over_noise(samples: _Samples) -> Array:
    """Energy of the samples less what the noise adds; (n,)."""
    total = np.sum(np.abs(samples.values) ** 2, axis=(1, 2)) - samples.noise * samples.weights.sum(axis=(1, 2))
    energy: Array = np.maximum(total, 1e-30)
    return energy


def _amplitude_of_core(fringe: Array, samples: _Samples) -> tuple[Array, Array]:
    """Mean amplitude where the fitted envelope is above 60 % of its crest, and its error; right for an even grain."""
    size = np.abs(fringe)
    core = size > 0.6 * size.max(axis=(1, 2), keepdims=True)
    n = core.sum(axis=(1, 2))
    in_step = (samples.values * np.conj(fringe) / np.maximum(size, 1e-300)).real
    amplitude = np.sum(in_step * core, axis=(1, 2)) / n
    return amplitude, np.sqrt(samples.noise / (2 * n) * _excess(fringe, samples))


def _excess(fringe: Array, samples: _Samples) -> Array:
    """Residual power in the grain over the noise's, at least 1; (n,)."""
    residual = np.abs(samples.values - fringe) ** 2
    weight = np.abs(fringe) ** 2
    total = np.maximum(np.sum(weight, axis=(1, 2)), 1e-300)
    mean = np.sum(weight * residual, axis=(1, 2)) / total - _MISFIT_OF_DISC * np.sum(weight**2, axis=(1, 2)) / total
    excess: Array = np.maximum(mean / samples.noise, 1.0)
    return excess


def _moments(parameters: Array, samples: _Samples) -> tuple[Array, Array]:
    """Centre and standard deviation of the fringe's energy along (row, col) [px]; (n, 2) each."""
    centres, spreads = [], []
    for centre, log_size, x in (
        (parameters[:, _X_ROW], parameters[:, _S_ROW], samples.x_row),
        (parameters[:, _X_COL], parameters[:, _S_COL], samples.x_col),
    ):
        share = np.exp(-(((x - centre[:, None]) * np.exp(-log_size)[:, None]) ** 2)) + 1e-300
        share /= share.sum(axis=1, keepdims=True)
        mean = np.sum(share * x, axis=1)
        centres.append(mean)
        spreads.append(np.sqrt(np.sum(share * (x - mean[:, None]) ** 2, axis=1)))
    return np.stack(centres, axis=1), np.stack(spreads, axis=1)
