"""Which reflections have nearly the d-spacing of a spot: what a single d can say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import Candidate, ScaleSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, Reflections, Scale, Spots

LATTICE_SIGMA = 0.002
"""Relative error of d that no fit knows: strain, bending and tilt of a real grain. Strained grains reach some 0.5 %."""

FWHM_PER_SIGMA = 2.3548
"""Full width at half maximum of a Gaussian over its standard deviation."""


def is_calibrated(scale: Scale) -> bool:
    """Tell whether d-spacings of this scale mean anything."""
    return scale.source is not ScaleSource.NONE and bool(np.isfinite(scale.sigma))


def compute_relative_sigma(spots: Spots) -> FloatArray:
    """Relative standard error of each spot's |g| from fit and lattice, without the calibration's; (n,).

    A spot that was not refined gets the spread of its own peak.
    """
    fit = spots.g_sigma / spots.g
    unrefined = spots.width / (FWHM_PER_SIGMA * spots.g)
    return np.hypot(np.where(np.isfinite(fit), fit, unrefined), LATTICE_SIGMA)


def compute_deviation(spots: Spots, reflections: Reflections) -> FloatArray:
    """Relative deviation (measured - reference) / reference of d; (n_spots, n_reflections)."""
    return spots.d_spacing[:, None] / reflections.d_spacing[None, :] - 1.0


def find_candidates(
    spots: Spots, references: Sequence[Reflections], *, scale: Scale, tolerance_sigma: float
) -> list[list[Candidate]]:
    """List, for each spot, all reflections within the bound, the nearest first.

    The bound is ``tolerance_sigma`` standard errors of fit, lattice and calibration, added in quadrature.
    """
    found: list[list[Candidate]] = [[] for _ in range(len(spots))]
    sigma = np.hypot(compute_relative_sigma(spots), scale.sigma)
    for reflections in references:
        deviation = compute_deviation(spots, reflections)
        in_sigma = deviation / sigma[:, None]
        for spot, row in np.argwhere(np.abs(in_sigma) <= tolerance_sigma):
            found[spot].append(make_candidate(reflections, row, deviation[spot, row], in_sigma[spot, row]))
    for candidates in found:
        candidates.sort(key=lambda candidate: abs(candidate.deviation_sigma))
    return found


def make_candidate(
    reflections: Reflections, row: int, deviation: float, in_sigma: float, *, probability: float = math.nan
) -> Candidate:
    """Record that row ``row`` of ``reflections`` lies at this relative deviation from a spot."""
    h, k, l = reflections.hkl[row].tolist()  # noqa: E741 - the name every crystallographer uses
    return Candidate(
        phase=reflections.phase,
        hkl=(h, k, l),
        d_reference_angstrom=float(reflections.d_spacing[row]),
        deviation_percent=100.0 * float(deviation),
        deviation_sigma=float(in_sigma),
        probability=probability,
    )
