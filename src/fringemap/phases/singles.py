"""Spots outside all grains: how far the phases of a frame explain them by their d alone.

A grain that shows a single fringe has no zone, but its spot lies on a ring of its phase. One such spot is almost no
evidence. Many of them are: they lie on few rings, and with the same scale and ellipse as the grains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.distortion import STRAIN_SIGMA, Distortion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.phases.observed import Observed
    from fringemap.records import FloatArray, IntArray, Reflections

SHARES = np.array([0.0, 0.1, 0.25, 0.5, 0.75])
"""Shares of the spots outside all grains that the phases of the grains may make, each as likely as the others."""

LIKELY = 0.25
"""The share taken while scale and ellipse are sought."""

STEPS = 4

FAR = 1e-10
"""Density of all rings over that of unknown spots, at each spot, below which spots say nothing about scale and ellipse.
"""

WEAKEST = 1e-3
"""Intensities below this share of the strongest count as much: double diffraction shows such planes."""


@dataclass(frozen=True)
class RingSet:
    """Radii of the rings of one phase, n rows."""

    log_g: FloatArray
    """log |g|, |g| in 1/Å."""
    weight: FloatArray
    """Share of the phase's single spots that each ring has: by its planes, and weakly by their intensity."""


def make_ring_set(reflections: Reflections) -> RingSet:
    """Take the rings from a phase's list."""
    squared = reflections.intensity / reflections.multiplicity
    relative = np.where(np.isfinite(squared), squared / max(float(np.nanmax(squared, initial=0.0)), 1e-12), 1.0)
    weight = reflections.multiplicity * np.maximum(relative, WEAKEST) ** 0.1
    return RingSet(-np.log(reflections.d_spacing), weight / max(float(weight.sum()), 1e-12))


def weigh_singles(
    observed: Observed, log_null: FloatArray, rings: Sequence[RingSet], distortion: Distortion, free: IntArray
) -> tuple[float, Distortion, float]:
    """Log odds of some phases to make some of the free spots, against all of these being unknown.

    Parameters
    ----------
    observed
        All n spots.
    log_null
        Log density at each spot of one unknown spot; (n,).
    rings
        Of the phases in the frame.
    distortion
        What the grains say about scale and ellipse.
    free
        Rows of the spots outside all grains.

    Returns
    -------
    float, Distortion, float
        The log odds, scale and ellipse integrated out (Laplace's method about what expectation maximisation finds);
        what grains and singles together say about scale and ellipse; and the share of the free spots that the phases
        make.
    """
    if not rings or len(free) == 0:
        return 0.0, distortion, 0.0
    spots = _Singles.of(observed, log_null, rings, free)
    found = distortion
    for _ in range(STEPS):
        off, ratio = spots.compare(found.mean)
        total = ratio.sum(axis=1)
        if total.max() < FAR:
            break
        # Of the share that each ring has in a spot, over the spot's variance.
        weight = LIKELY / (1.0 - LIKELY + LIKELY * total) / spots.variance
        of_spot = weight * total
        precision = distortion.precision + (spots.design.T * of_spot) @ spots.design
        seen = weight * np.einsum("nm,nm->n", ratio, off) + of_spot * (spots.design @ found.mean)
        found = Distortion(precision, distortion.pull + seen @ spots.design)
    else:
        total = spots.compare(found.mean)[1].sum(axis=1)
    of_share = np.log1p(SHARES[:, None] * (total - 1.0)).sum(axis=1)
    best = float(of_share.max())
    moved = found.mean - distortion.mean
    occam = found.log_det - distortion.log_det
    likely = np.exp(of_share - best)
    log_odds = best + math.log(float(likely.mean())) - 0.5 * float(moved @ distortion.precision @ moved + occam)
    return log_odds, found, float(likely @ SHARES / likely.sum())


@dataclass(frozen=True)
class _Singles:
    """Free spots and all rings they may lie on; n spots, m rings."""

    variance: FloatArray
    """Of log |g| of each spot, from fit and strain; (n,)."""
    design: FloatArray
    """Derivative of log |g| by (s, e1, e2); (n, 3)."""
    off: FloatArray
    """Log |g| of each spot less that of each ring; (n, m)."""
    top: FloatArray
    """Density of each ring where it is, over that of unknown spots; (n, m)."""

    @classmethod
    def of(cls, observed: Observed, log_null: FloatArray, rings: Sequence[RingSet], free: IntArray) -> _Singles:
        # A grain's own strain moves its spot by s + e1 cos 2a + e2 sin 2a, which has twice the variance of each.
        variance = observed.radial_variance[free] + 2.0 * STRAIN_SIGMA**2
        of_null = math.pi * observed.length[free] ** 2 * np.exp(log_null[free])
        weight = np.concatenate([one.weight for one in rings]) / len(rings)
        return cls(
            variance=variance,
            design=observed.stretch[free],
            off=np.subtract.outer(observed.log_length[free], np.concatenate([one.log_g for one in rings])),
            top=np.multiply.outer(1.0 / (np.sqrt(2.0 * math.pi * variance) * of_null), weight),
        )

    def compare(self, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
        """How far each spot lies from each ring, and the ring's density over that of unknown spots; (n, m) each."""
        off = self.off - (self.design @ mean)[:, None]
        ratio = off * off
        ratio *= (-0.5 / self.variance)[:, None]
        np.exp(ratio, out=ratio)
        ratio *= self.top
        return off, ratio
