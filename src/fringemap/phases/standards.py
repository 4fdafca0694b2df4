"""Scale, ellipse and shear of a frame that shows a known lattice: as grains, as single fringes, or as rings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fringemap.errors import CalibrationError
from fringemap.phases.any_scale import search_scale
from fringemap.phases.calibrate import ELLIPSE_SIGMA, fit_distortion
from fringemap.phases.candidates import compute_relative_sigma
from fringemap.phases.distortion import STRAIN_SIGMA, Distortion, prior_distortion
from fringemap.phases.grains import UNLISTED
from fringemap.phases.posterior import Problem, explain_spots
from fringemap.records import Scale, ScaleSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.phases.grains import Grain
    from fringemap.phases.posterior import Explanation
    from fringemap.records import FloatArray, Reflections, Spots

SURE = 0.8
"""Smallest probability of grains of the standard that calibrate by d and angles; less sure ones leave d alone."""

FEWEST = 3
"""Spots, in more than one direction, that scale and ellipse take."""

STANDARD_SIGMA = 0.001
"""Relative error of the cell of a standard: its composition, its temperature, its strain as a whole."""

ON_LINE = 3.0
"""A spot lies on the standard within this many standard errors."""

RING_SIGMA = 0.002
"""Relative error of the radius of a ring besides that of its fit: strain and the grains' shape."""

N_DECOYS = 4


class Ring(NamedTuple):
    """Shape of a ring: log |g| of its crest is ``log_g + e1 cos 2a + e2 sin 2a`` in the direction a."""

    log_g: float
    e1: float
    e2: float
    covariance: FloatArray
    """Of the three; (3, 3)."""


@dataclass(frozen=True)
class StandardFit:
    """How a frame differs from its standard."""

    distortion: Distortion
    method: str
    """How it was found: "grains", "spots" or "rings"."""
    used: tuple[int, ...]
    """Rows of the spots or rings that lie on the standard."""
    n_found: int
    residual: float
    """Root mean square relative deviation of |g| of those used, each weighted by its error."""
    zones: tuple[tuple[int, int, int], ...] = ()
    """Zone axes of the grains."""


def fit_standard(spots: Spots, standard: Reflections, *, scale_sigma: float) -> StandardFit:
    """Fit scale and ellipse to the grains of a standard, or to the d-spacings of its single fringes.

    Parameters
    ----------
    spots
        Of the frame, at the stated scale; those of other phases do no harm as long as they are fewer.
    standard
        Without a structure only d counts.
    scale_sigma
        Relative standard error of the stated pixel size.

    Raises
    ------
    CalibrationError
        The spots are too few, or are not those of the standard.
    """
    if len(spots) < FEWEST:
        raise CalibrationError(
            f"{len(spots)} spots are too few to calibrate on {standard.phase}; it takes {FEWEST} and more in several "
            "directions"
        )
    explanation = _explain(spots, standard, scale_sigma)
    grains = [grain for grain in explanation.grains if grain.reference != UNLISTED]
    _refuse_another_lattice(explanation, grains, standard)
    n_spots = sum(len(grain.spots) for grain in grains)
    if n_spots >= FEWEST and max(grain.probability for grain in grains) >= SURE:
        zones = tuple(axis for grain in grains if (axis := grain.zone_axis) is not None)
        on_grains = {spot for grain in grains for spot in grain.spots}
        return _judge(spots, standard, explanation.distortion, "grains", on_grains, zones)
    found = fit_distortion(spots, standard, scale_sigma=scale_sigma)
    return _judge(spots, standard, found, "spots", set(), ())


def _explain(spots: Spots, standard: Reflections, scale_sigma: float) -> Explanation:
    prior = prior_distortion(scale_sigma, ellipse_sigma=ELLIPSE_SIGMA)
    return explain_spots(Problem(spots, (standard,), priors=((1.0, prior),), n_decoys=N_DECOYS, certain=(0,)))


def _refuse_another_lattice(explanation: Explanation, grains: Sequence[Grain], standard: Reflections) -> None:
    """Refuse if most spots form a lattice that the standard does not have: another phase, or another pixel size."""
    other = max((len(grain.spots) for grain in explanation.grains if grain.reference == UNLISTED), default=0)
    if other > sum(len(grain.spots) for grain in grains):
        raise CalibrationError(
            f"{other} spots form a lattice that {standard.phase} does not have at this pixel size; name another "
            "standard, or give the pixel size with its error if it is far off (--pixel-size, --scale-sigma)"
        )


def _judge(
    spots: Spots,
    standard: Reflections,
    distortion: Distortion,
    method: str,
    on_grains: set[int],
    zones: tuple[tuple[int, int, int], ...],
) -> StandardFit:
    """Count the spots on the lines of the standard after the correction, and how far they are off."""
    off, sigma = _off_lines(spots, standard, distortion)
    near = np.abs(off) <= ON_LINE * np.hypot(sigma, math.sqrt(2.0) * STRAIN_SIGMA)
    used = sorted({*np.flatnonzero(near).tolist(), *on_grains})
    # A spot that double diffraction shows belongs to a grain, but has no line of its own.
    weight = 1.0 / (sigma[near] ** 2 + STRAIN_SIGMA**2)
    residual = math.sqrt(float(weight @ off[near] ** 2 / weight.sum())) if near.any() else math.nan
    return StandardFit(distortion, method, tuple(used), len(spots), residual, zones)


def _off_lines(spots: Spots, standard: Reflections, distortion: Distortion) -> tuple[FloatArray, FloatArray]:
    """Relative deviation of each corrected |g| from the nearest line, and its error without the strain's."""
    design = np.stack([np.ones(len(spots)), np.cos(2 * spots.angle), np.sin(2 * spots.angle)], axis=1)
    off = (np.log(spots.g) - design @ distortion.mean)[:, None] + np.log(standard.d_spacing)[None, :]
    nearest: FloatArray = np.take_along_axis(off, np.abs(off).argmin(axis=1)[:, None], axis=1)[:, 0]
    return nearest, compute_relative_sigma(spots)


def find_scale(spots: Spots, standard: Reflections, *, smallest: float, largest: float) -> float:
    """Find the pixel size at which spots fit a standard, from ratios and angles alone.

    Parameters
    ----------
    spots
        At a provisional scale.
    standard
        With a structure.
    smallest, largest
        Bounds of the true over the provisional pixel size.

    Returns
    -------
    float
        True over provisional pixel size, within some percent: the beginning of a fit.

    Raises
    ------
    CalibrationError
        The spots are too few, or no scale is much likelier than all others and plain lattices together.
    """
    if standard.structure is None:
        raise CalibrationError(f"{standard.phase} has no cell, so no angles; give the pixel size with --pixel-size")
    return search_scale(spots, (standard,), smallest=smallest, largest=largest, surely=True).factor


def fit_rings(
    rings: Sequence[Ring], d_spacings: FloatArray, *, scale_sigma: float, name: str
) -> tuple[StandardFit, FloatArray]:
    """Fit scale and ellipse to rings of known d-spacing.

    Parameters
    ----------
    rings
        As measured, at the stated scale; at least one.
    d_spacings
        What the standard can show [Å].
    scale_sigma
        Relative standard error of the stated pixel size; infinite if there is none.
    name
        Of the standard, for errors.

    Returns
    -------
    StandardFit, FloatArray
        ``used`` are rows of ``rings``; and the d of each of them.

    Raises
    ------
    CalibrationError
        No ring fits, or which ring is which line stays open.
    """
    centres = np.array([ring.log_g for ring in rings])
    sigma = np.array([math.hypot(math.sqrt(ring.covariance[0, 0]), RING_SIGMA) for ring in rings])
    lines = -np.log(d_spacings)
    # Every ring on every line is a scale; the one on which most rings lie, and the likeliest before, is right.
    shifts = (centres[:, None] - lines[None, :]).ravel()
    off = centres[None, :, None] - shifts[:, None, None] - lines[None, None, :]
    nearest = np.abs(off).min(axis=2) / sigma
    on = nearest <= ON_LINE
    penalty = np.zeros(len(shifts)) if math.isinf(scale_sigma) else 0.5 * (shifts / scale_sigma) ** 2
    score = np.where(on, 3.0 - 0.5 * nearest**2, 0.0).sum(axis=1) - penalty
    best = int(np.argmax(score))
    if penalty[best] > 0.5 * ON_LINE**2:
        raise CalibrationError(
            f"no ring lies near a line of {name} within {ON_LINE:g} errors of the pixel size; name another "
            "standard, or give the pixel size with its error"
        )
    rivals = score[np.abs(shifts - shifts[best]) > ON_LINE * sigma.max()]
    if score[best] - rivals.max(initial=-np.inf) < 2.0:
        raise CalibrationError(
            f"which of the {len(rings)} rings is which line of {name} stays open; give the d-spacing of the ring with "
            "--ring, or the pixel size with --pixel-size"
        )
    used = np.flatnonzero(on[best])
    which = np.abs(off[best]).argmin(axis=1)[used]
    precision, pull = np.zeros((3, 3)), np.zeros(3)
    for row, line in zip(used.tolist(), which.tolist(), strict=True):
        ring = rings[row]
        own = np.linalg.inv(ring.covariance + np.diag([RING_SIGMA**2] * 3))
        precision = precision + own
        pull = pull + own @ np.array([ring.log_g - lines[line], ring.e1, ring.e2])
    found = Distortion(precision, pull)
    rest = centres[used] - lines[which] - found.mean[0]
    fit = StandardFit(found, "rings", tuple(used.tolist()), len(rings), math.sqrt(float(np.mean(rest**2))))
    return fit, d_spacings[which]


def corrected_scale(scale: Scale, distortion: Distortion) -> Scale:
    """Pixel sizes and shear that take a distortion away.

    The rotation of the image that remains free is chosen so that rows and columns are turned alike.
    """
    s, e1, e2 = distortion.mean
    seen = np.array([[1.0 + s + e1, e2], [e2, 1.0 + s - e1]])
    (a, b), (_, c) = np.linalg.inv(seen)
    of_x, of_y = math.atan2(b, a), math.atan2(b, c)
    skew = 0.5 * (of_x + of_y)
    shrink_x, shrink_y = math.hypot(a, b) * math.cos(skew), math.hypot(b, c) * math.cos(skew)
    rows, cols = scale.pixel_size_angstrom
    sigma = math.hypot(math.sqrt(float(distortion.covariance[0, 0])), STANDARD_SIGMA)
    return Scale((rows / shrink_y, cols / shrink_x), sigma, ScaleSource.CALIBRATED, shear=math.tan(skew))
