"""Measure spots of single grains to the limit of their noise: position, amplitude, width, and their errors.

A block of bins around a spot is transformed back to a small complex image of its fringe. A plane wave under a Gaussian
envelope is fitted to that image by least squares, which is maximum likelihood for its noise. The data carry no window,
the envelope follows the grain, and the frame's own edges need no model because there are no samples beyond them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.spots.fringes import sample_fringes, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Array, Diffractogram, Mask
    from fringemap.spots.candidates import Candidates
    from fringemap.spots.fringes import Fringes

_ITERATIONS = 25
# A fit has settled when minus twice the log likelihood falls by less than this.
_LEAST_GAIN = 1e-4
# A step is made shorter or longer by these factors at most, from what the last one has taught.
_LEAST_STRETCH, _MOST_STRETCH = 0.3, 5.0
# First guesses that differ by less than this, in bins, lead to the same fit.
_SAME_START = 0.3
# An even disc leaves this share of its power when a Gaussian is fitted to it; that is no noise.
_MISFIT_OF_DISC = 0.05
# Weak priors keep the envelope of a grain that fills the frame from running away: its centre, in frame lengths; its
# size, in e-folds.
_CENTRE_PRIOR, _SIZE_PRIOR = 0.5, 1.5
# A fit that ends further from the detector's position than this many widths has found something else.
_FURTHEST = 1.5
# Order of the parameters: the amplitude; and for rows and columns the centre [px], the log of the size in px, and the
# frequency [1/px].
_RE, _IM = 0, 1
_CENTRE, _LOG_SIZE, _TURN = slice(2, 4), slice(4, 6), slice(6, 8)
# Which wave along the rows, and which along the columns, the derivative by each parameter is made of: 0 is the wave
# itself, 1 to 3 its derivatives by centre, log size and frequency.
_ROW_OF, _COL_OF = np.array([0, 0, 1, 0, 2, 0, 3, 0]), np.array([0, 0, 0, 1, 0, 2, 0, 3])


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
    fringes = sample_fringes(diffractogram, candidates, windowed=windowed)
    parameters = _fit_from_both(fringes, diffractogram.frame_shape)
    return _read_fit(parameters, fringes, candidates, diffractogram.frame_shape)


@dataclass(frozen=True)
class FittedEarly:
    """Candidates of which some may be listed later on, and their waves."""

    candidates: Candidates
    waves: WaveFit


def fit_other_waves(
    diffractogram: Diffractogram, candidates: Candidates, fitted: Sequence[FittedEarly] = ()
) -> WaveFit:
    """As ``fit_waves``; candidates of the same place and width as one that was fitted early have its wave."""
    known = {key: i for i, key in enumerate(key for early in fitted for key in _keys(early.candidates))}
    at = np.array([known.get(key, -1) for key in _keys(candidates)], int)
    others = np.flatnonzero(at < 0)
    waves = [*(early.waves for early in fitted), fit_waves(diffractogram, candidates.take(others))]
    at[others] = sum(len(early.candidates) for early in fitted) + np.arange(len(others))
    joined = WaveFit(*(np.concatenate(parts) for parts in zip(*(vars(one).values() for one in waves), strict=True)))
    return take(joined, at)


def _keys(candidates: Candidates) -> list[tuple[float, ...]]:
    return list(zip(candidates.row.tolist(), candidates.col.tolist(), candidates.width.tolist(), strict=True))


@dataclass(frozen=True)
class _Products:
    """Sums over the samples of n fringes; all that a step of the fit needs.

    The wave is the product of one along the rows and one along the columns, and so is each of its derivatives. Sums
    over a square of samples are therefore products of sums along its sides.
    """

    waves: Array
    """Of each two of the wave and its three derivatives, one conjugate, along rows and along columns; (n, 2, 4, 4)."""
    data: Array
    """Of the samples times the conjugate waves along rows and columns; (n, 4, 4)."""


def _draw_waves(parameters: Array, fringes: Fringes) -> Array:
    """Waves along rows and along columns and their derivatives by centre, log size and frequency; (n, 2, 4, k)."""
    centre, log_size, turn = (parameters[:, pair, None] for pair in (_CENTRE, _LOG_SIZE, _TURN))
    u = fringes.x - centre
    per_size, advance = np.exp(-log_size), 2 * np.pi * turn
    scaled = u * per_size
    envelope, argument = np.exp(-0.5 * scaled**2), advance * u
    cosine, sine = envelope * np.cos(argument), envelope * np.sin(argument)
    # Real and imaginary parts one by one: the matrix is real.
    drawn = np.empty((*u.shape[:2], 2, 4, u.shape[2]))
    for part, (wave, quarter_on) in enumerate(((cosine, -sine), (sine, cosine))):
        drawn[:, :, part, 0] = wave
        drawn[:, :, part, 1] = wave * scaled * per_size - advance * quarter_on
        drawn[:, :, part, 2] = wave * scaled**2
        drawn[:, :, part, 3] = 2 * np.pi * u * quarter_on
    sampled = drawn.reshape(*u.shape[:2], 8, -1) @ fringes.band.swapaxes(2, 3)
    waves: Array = sampled[:, :, :4] + 1j * sampled[:, :, 4:]
    return waves


def _multiply(waves: Array, fringes: Fringes) -> _Products:
    mirrored = np.conj(waves)
    data = mirrored[:, 0] @ fringes.values @ mirrored[:, 1].swapaxes(1, 2)
    return _Products(waves @ mirrored.swapaxes(2, 3), data)


def _fit_from_both(fringes: Fringes, frame_shape: tuple[int, int]) -> Array:
    """The better fit of those from the two first guesses; one fit where both guesses are nearly the same; (n, 8)."""
    apart = (fringes.starts[:, 1, _TURN] - fringes.starts[:, 0, _TURN]) * np.array(frame_shape)
    other = np.flatnonzero((np.abs(apart) > _SAME_START).any(axis=1))
    n = len(fringes.noise)
    starts = np.concatenate([fringes.starts[:, 0], fringes.starts[other, 1]])
    fitted, loss = _minimise(take(fringes, np.append(np.arange(n), other)), starts, frame_shape)
    parameters, better = fitted[:n], loss[n:] < loss[other]
    parameters[other[better]] = fitted[n:][better]
    return parameters


def _minimise(fringes: Fringes, start: Array, frame_shape: tuple[int, int]) -> tuple[Array, Array]:
    """Levenberg-Marquardt over all spots at once; parameters (n, 8) and their loss (n,).

    The amplitude enters linearly: after each step it is set to its best value, so that the others need not wait for it.
    """
    precision = np.zeros(8)
    precision[_CENTRE] = 1.0 / (_CENTRE_PRIOR * np.array(frame_shape)) ** 2
    precision[_LOG_SIZE] = 1.0 / _SIZE_PRIOR**2
    largest = math.log(4.0 * max(frame_shape))
    products = _multiply(_draw_waves(start, fringes), fringes)
    best = _with_best_amplitude(start, products)
    loss = _loss(products, best, start, precision, fringes)
    active, damping = np.arange(len(start)), np.full(len(start), 1e-2)
    before, moved = np.zeros_like(start), np.zeros_like(start)
    for _ in range(_ITERATIONS):
        step, gain = _step(products, best[active], start[active], precision, damping, fringes)
        moving = np.flatnonzero(gain > _LEAST_GAIN)
        if len(moving) == 0:
            break
        if len(moving) < len(active):
            # Spots that have settled leave the work to the others.
            active, damping, step = active[moving], damping[moving], step[moving]
            products, fringes = take(products, moving), take(fringes, moving)
            before, moved = before[moving], moved[moving]
        trial = best[active] + step * _stretch(step, before, moved)[:, None]
        trial[:, _LOG_SIZE] = np.minimum(np.maximum(trial[:, _LOG_SIZE], 0.0), largest)
        before, moved = step, trial - best[active]
        trial_products = _multiply(_draw_waves(trial, fringes), fringes)
        trial = _with_best_amplitude(trial, trial_products)
        trial_loss = _loss(trial_products, trial, start[active], precision, fringes)
        better = trial_loss < loss[active]
        best[active[better]], loss[active[better]] = trial[better], trial_loss[better]
        for old, new in ((products.waves, trial_products.waves), (products.data, trial_products.data)):
            old[better] = new[better]
        moved[~better] = 0.0
        damping = np.clip(np.where(better, damping / 5, damping * 8), 1e-9, 1e9)
    return best, loss


def _stretch(step: Array, before: Array, moved: Array) -> Array:
    """Factor that a step of each spot is made longer or shorter by, from how the move before it changed the step; (n,).

    Where a grain is no Gaussian, what Gauss-Newton leaves out of the curvature makes its steps too short, or too long,
    by the same factor again and again, most of all along the sizes.

    References
    ----------
    .. [1] J. Barzilai, J. M. Borwein, IMA J. Numer. Anal. 8 (1988) 141, doi:10.1093/imanum/8.1.141.
    """
    move, change = moved[:, _LOG_SIZE], (before - step)[:, _LOG_SIZE]
    squared, product = np.sum(move**2, axis=1), np.sum(move * change, axis=1)
    factor = squared / np.maximum(np.maximum(product, squared / _MOST_STRETCH), 1e-300)
    return np.where(squared > 0, np.maximum(factor, _LEAST_STRETCH), 1.0)


def _with_best_amplitude(parameters: Array, products: _Products) -> Array:
    """The same waves, with the amplitude of the least loss."""
    amplitude = products.data[:, 0, 0] / np.maximum(_wave_energy(products), 1e-300)
    filled = parameters.copy()
    filled[:, _RE], filled[:, _IM] = amplitude.real, amplitude.imag
    return filled


def _wave_energy(products: _Products) -> Array:
    """Sum of |wave|² of unit amplitude over the samples; (n,)."""
    energy: Array = products.waves[:, 0, 0, 0].real * products.waves[:, 1, 0, 0].real
    return energy


def _step(
    products: _Products, parameters: Array, start: Array, precision: Array, damping: Array, fringes: Fringes
) -> tuple[Array, Array]:
    """Damped Gauss-Newton step of each spot (n, 8), and by how much it should lower the loss, at least (n,)."""
    normal, gradient = _normal_equations(products, parameters, fringes)
    gradient -= precision * (parameters - start)
    diagonal = np.einsum("nii->ni", normal)
    diagonal += precision
    floor = 1e-12 * diagonal.max(axis=1, keepdims=True)
    diagonal *= 1 + damping[:, None]
    diagonal += floor
    step: Array = np.linalg.solve(normal, gradient[..., None])[..., 0]
    return step, np.sum(step * gradient, axis=1)


def _loss(products: _Products, parameters: Array, start: Array, precision: Array, fringes: Fringes) -> Array:
    """Minus twice the log likelihood, with the priors; (n,)."""
    amplitude = parameters[:, _RE] + 1j * parameters[:, _IM]
    fitted = np.abs(amplitude) ** 2 * _wave_energy(products)
    residual = fringes.energy - 2 * (np.conj(amplitude) * products.data[:, 0, 0]).real + fitted
    loss: Array = 2 * residual / fringes.noise + np.sum(precision * (parameters - start) ** 2, axis=1)
    return loss


def _normal_equations(products: _Products, parameters: Array, fringes: Fringes) -> tuple[Array, Array]:
    """Fisher matrix (n, 8, 8) and gradient (n, 8) of the log likelihood."""
    amplitude = (parameters[:, _RE] + 1j * parameters[:, _IM])[:, None]
    factor = np.concatenate([np.ones_like(amplitude), np.full_like(amplitude, 1j), np.repeat(amplitude, 6, 1)], axis=1)
    rows, cols = (products.waves[:, axis, of[:, None], of] for axis, of in enumerate((_ROW_OF, _COL_OF)))
    weight = (2.0 / fringes.noise)[:, None]
    normal = (factor[:, :, None] * np.conj(factor)[:, None, :] * rows * cols).real * weight[:, :, None]
    fitted = amplitude * rows[:, 0] * cols[:, 0]
    gradient = (np.conj(factor) * (products.data[:, _ROW_OF, _COL_OF] - fitted)).real * weight
    return normal, gradient


def _read_fit(parameters: Array, fringes: Fringes, candidates: Candidates, frame_shape: tuple[int, int]) -> WaveFit:
    waves = _draw_waves(parameters, fringes)
    amplitude = parameters[:, _RE] + 1j * parameters[:, _IM]
    fringe = (amplitude[:, None] * waves[:, 0, 0])[:, :, None] * waves[:, 1, None, 0]
    normal, _ = _normal_equations(_multiply(waves, fringes), parameters, fringes)
    diagonal = np.einsum("nii->ni", normal)
    diagonal += 1e-9 * np.maximum(diagonal, 1e-12)
    covariance = np.linalg.inv(normal) * _excess(fringe, fringes)[:, None, None]
    lengths = np.array(frame_shape, float)
    shift = parameters[:, _TURN] * lengths
    bins = fringes.centre + shift
    energy = np.abs(fringe) ** 2
    position, extent = _moments(parameters, fringes)
    crest, crest_sigma = _amplitude_of_core(fringe, fringes)
    spectral_energy = (lengths.prod() / 2) ** 2 * energy.sum(axis=(1, 2)) / fringes.side**2
    sizes = np.exp(parameters[:, _LOG_SIZE])
    width = np.hypot(lengths * math.sqrt(math.log(2)) / (math.pi * sizes), 0.886)
    offset = np.hypot(bins[:, 0] - candidates.row, bins[:, 1] - candidates.col)
    ok = np.isfinite(bins).all(axis=1) & (offset < _FURTHEST * np.maximum(candidates.width, 1.5))
    return WaveFit(
        row=bins[:, 0],
        col=bins[:, 1],
        covariance=covariance[:, _TURN, _TURN] * lengths[:, None] * lengths,
        amplitude=crest,
        amplitude_sigma=crest_sigma,
        energy=spectral_energy,
        share=energy.sum(axis=(1, 2)) / _energy_over_noise(fringes),
        noise=fringes.bin_noise,
        width=width,
        position=position,
        extent=extent,
        ok=ok & (crest > 2 * crest_sigma),
    )


def _energy_over_noise(fringes: Fringes) -> Array:
    """Energy of the fringes less what the noise adds; (n,)."""
    total = np.sum(np.abs(fringes.values) ** 2, axis=(1, 2)) - fringes.noise * fringes.weights.sum(axis=(1, 2))
    energy: Array = np.maximum(total, 1e-30)
    return energy


def _amplitude_of_core(fringe: Array, fringes: Fringes) -> tuple[Array, Array]:
    """Mean amplitude where the fitted envelope is above 60 % of its crest, and its error; right for an even grain."""
    size = np.abs(fringe)
    core = size > 0.6 * size.max(axis=(1, 2), keepdims=True)
    n = core.sum(axis=(1, 2))
    in_step = (fringes.values * np.conj(fringe) / np.maximum(size, 1e-300)).real
    amplitude = np.sum(in_step * core, axis=(1, 2)) / n
    return amplitude, np.sqrt(fringes.noise / (2 * n) * _excess(fringe, fringes))


def _excess(fringe: Array, fringes: Fringes) -> Array:
    """Residual power in the grain over the noise's, at least 1; (n,)."""
    residual = np.abs(fringes.values - fringe) ** 2
    weight = np.abs(fringe) ** 2
    total = np.maximum(np.sum(weight, axis=(1, 2)), 1e-300)
    mean = np.sum(weight * residual, axis=(1, 2)) / total - _MISFIT_OF_DISC * np.sum(weight**2, axis=(1, 2)) / total
    excess: Array = np.maximum(mean / fringes.noise, 1.0)
    return excess


def _moments(parameters: Array, fringes: Fringes) -> tuple[Array, Array]:
    """Centre and standard deviation of the fringe's energy along (row, col) [px]; (n, 2) each."""
    centre, log_size = (parameters[:, pair, None] for pair in (_CENTRE, _LOG_SIZE))
    share = np.exp(-(((fringes.x - centre) * np.exp(-log_size)) ** 2)) + 1e-300
    share /= share.sum(axis=2, keepdims=True)
    mean = np.sum(share * fringes.x, axis=2)
    return mean, np.sqrt(np.sum(share * (fringes.x - mean[..., None]) ** 2, axis=2))
