"""Scale and ellipse of a frame from a phase that is known to be in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import CalibrationError
from fringemap.phases.candidates import compute_relative_sigma
from fringemap.phases.distortion import Distortion

if TYPE_CHECKING:
    from fringemap.records import FloatArray, Reflections, Spots

ELLIPSE_SIGMA = 0.02
"""Prior of e1 and e2 when they are sought: uncorrected lenses, scans and pictures with oblong pixels reach 5 %."""

SHARE = 0.5
"""Share of the spots that the standard is expected to make."""

LARGEST = 2.5
"""The search reaches this many prior standard deviations from 0."""

STEP = 0.0035
"""Step of the coarse search in scale and ellipse, about the width of its peaks."""

N_SCRAMBLED = 12
SCRAMBLE = 0.1
MARGIN = 3.0
"""A standard must explain the spots better by this much log likelihood than it explains any of so many sets of spots
whose log |g| were moved at random by so much."""

GOLDEN = 0.6180339887


def fit_distortion(spots: Spots, standard: Reflections, *, scale_sigma: float) -> Distortion:
    """Find the scale and the ellipse at which most spots lie on the rings of a standard.

    Parameters
    ----------
    spots
        At least three; the more directions they have, the better. Spots of other phases do no harm.
    standard
        Reflections of the phase that is known to be there.
    scale_sigma
        Relative standard error of the pixel size, the prior of the common scale error.

    Returns
    -------
    Distortion
        Of (s, e1, e2), see there; takes the place of the prior when grains are sought.

    Raises
    ------
    CalibrationError
        The spots are fewer than three, or fit the standard no better than random ones do.

    Notes
    -----
    Each spot is made by the standard or by something else, whose log |g| is uniform. The sum over the spots of the log
    likelihood is searched on a grid, with all peaks widened to the step, and then refined by expectation maximisation.
    """
    if len(spots) < 3 or len(standard) == 0:
        raise CalibrationError(
            f"{len(spots)} spots are too few to calibrate on {standard.phase}; it takes three and more in several "
            "directions"
        )
    prior = Distortion(np.diag(np.array([max(scale_sigma, 1e-4), ELLIPSE_SIGMA, ELLIPSE_SIGMA]) ** -2.0), np.zeros(3))
    found, gain = _fit(spots, np.log(spots.g), standard, prior)
    chance = max(_fit(spots, _scrambled(spots, number), standard, prior)[1] for number in range(N_SCRAMBLED))
    if gain < chance + MARGIN:
        raise CalibrationError(
            f"the spots fit {standard.phase} hardly better than random ones, by {gain - chance:.1f} in log likelihood; "
            "name another standard, or give the pixel size with its error"
        )
    return found


def _scrambled(spots: Spots, number: int) -> FloatArray:
    """Log |g| of the spots, each moved by its own amount up to SCRAMBLE: multiples of an irrational number."""
    moves = np.mod((number + 1) * GOLDEN * np.arange(1, len(spots) + 1) ** 2, 1.0)
    scrambled: FloatArray = np.log(spots.g) + SCRAMBLE * (2.0 * moves - 1.0)
    return scrambled


def _fit(spots: Spots, log_g: FloatArray, standard: Reflections, prior: Distortion) -> tuple[Distortion, float]:
    """Find the best distortion and its log likelihood over that of no standard at all."""
    lines = -np.log(standard.d_spacing)
    weight = np.where(np.isfinite(standard.intensity), standard.intensity, 1.0) ** 0.5
    weight = weight / weight.sum()
    design = np.stack([np.ones(len(spots)), np.cos(2 * spots.angle), np.sin(2 * spots.angle)], axis=1)
    sigma = compute_relative_sigma(spots)
    span = float(np.ptp(log_g)) + 0.2
    start = _search_grid(log_g, design, np.hypot(sigma, STEP), lines, weight, span, prior)
    x = start
    for _ in range(30):
        off, share = _shares(log_g - design @ x, sigma, lines, weight, span)
        w = share / sigma[:, None] ** 2
        precision = prior.precision + np.einsum("kl,ka,kb->ab", w, design, design)
        pull = np.einsum("kl,kl,ka->a", w, off + (design @ x)[:, None], design)
        x = np.linalg.solve(precision, pull)
    gain = _log_likelihood(log_g - design @ x, sigma, lines, weight, span).sum() - 0.5 * x @ prior.precision @ x
    return Distortion(precision, pull), float(gain)


def _search_grid(
    log_g: FloatArray,
    design: FloatArray,
    sigma: FloatArray,
    lines: FloatArray,
    weight: FloatArray,
    span: float,
    prior: Distortion,
) -> FloatArray:
    """Best point of a grid over scale and ellipse: sums of what a table says of each spot at each shift."""
    reach = LARGEST / np.sqrt(np.diag(prior.precision))
    axes = [np.linspace(-r, r, 2 * math.ceil(r / STEP) + 1) for r in reach]
    shifts = np.linspace(-reach.sum(), reach.sum(), 2 * math.ceil(reach.sum() / (0.3 * STEP)) + 1)
    table = np.stack([_log_likelihood(log_g - shift, sigma, lines, weight, span) for shift in shifts])
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    total = -0.5 * np.einsum("ga,ab,gb->g", grid, prior.precision, grid)
    for k, row in enumerate(design):
        place = np.rint((grid @ row - shifts[0]) / (shifts[1] - shifts[0])).astype(np.int64)
        total += table[np.clip(place, 0, len(shifts) - 1), k]
    best: FloatArray = grid[int(np.argmax(total))]
    return best


def _shares(
    log_g: FloatArray, sigma: FloatArray, lines: FloatArray, weight: FloatArray, span: float
) -> tuple[FloatArray, FloatArray]:
    """Distance of each spot from each line, and the probability that the line makes it; (n_spots, n_lines)."""
    off = log_g[:, None] - lines[None, :]
    density = (
        SHARE * span * weight * np.exp(-0.5 * (off / sigma[:, None]) ** 2) / (math.sqrt(2 * math.pi) * sigma[:, None])
    )
    share: FloatArray = density / (1.0 - SHARE + density.sum(axis=1, keepdims=True))
    return off, share


def _log_likelihood(
    log_g: FloatArray, sigma: FloatArray, lines: FloatArray, weight: FloatArray, span: float
) -> FloatArray:
    """Log likelihood of each spot over that of one of unknown origin; (n_spots,)."""
    off = (log_g[:, None] - lines[None, :]) / sigma[:, None]
    density = (weight * np.exp(-0.5 * off**2)).sum(axis=1) / (math.sqrt(2 * math.pi) * sigma)
    log_likelihood: FloatArray = np.log(1.0 - SHARE + SHARE * span * density)
    return log_likelihood
