"""One scale and one ellipse for a whole frame: what all its grains share.

A lattice point q (rotated into the frame) is seen at g = (1 + s) q + E q with E = [[e1, e2], [e2, -e1]]; s is the true
pixel size over the stated one, less 1. The three numbers (s, e1, e2) have a Gaussian prior, and what each grain says
about them is a Gaussian too, so that grains are added and taken away by adding and taking away matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fringemap.records import FloatArray

ELLIPSE_SIGMA = 0.005
"""Prior standard deviation of e1 and e2: axes differ by 2 e, so that 2 % is a distortion of two sigma."""

WIDE_ELLIPSE_SIGMA = 0.02
"""The same for a frame that is badly distorted: a slow scan, an oblong picture, lenses out of adjustment."""

WIDE_SCALE = 0.25
"""Where directions differ, one pixel size is less well known: by this share of the ellipse that is allowed."""

WIDE_PROBABILITY = 0.15
"""Prior probability that a frame is badly distorted."""

STRAIN_SIGMA = 0.003
"""Standard deviation of the strain of a grain, in each of (s, e1, e2): stress, bending and local distortion."""


@dataclass(frozen=True)
class Distortion:
    """Gaussian over (s, e1, e2), held as precision matrix and precision x mean."""

    precision: FloatArray
    """(3, 3)."""
    pull: FloatArray
    """(3,)."""

    @cached_property
    def mean(self) -> FloatArray:
        """(s, e1, e2); (3,)."""
        mean: FloatArray = self.covariance @ self.pull
        return mean

    @cached_property
    def covariance(self) -> FloatArray:
        """Of (s, e1, e2); (3, 3)."""
        return self._inverted[0]

    @cached_property
    def _inverted(self) -> tuple[FloatArray, float]:
        """Covariance and log of the determinant of the precision.

        Written out, since a search asks for thousands of them, and a solver takes longer to start than to solve.
        """
        (xx, xy, xz), (_, yy, yz), (_, _, zz) = self.precision.tolist()
        a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
        determinant = xx * a + xy * b + xz * c
        d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
        return np.array([[a, b, c], [b, d, e], [c, e, f]]) / determinant, math.log(determinant)

    @cached_property
    def of_one_grain(self) -> Distortion:
        """What is shared, widened by the strain that each grain has for itself."""
        precision: FloatArray = np.asarray(np.linalg.inv(self.covariance + STRAIN_SIGMA**2 * np.eye(3)), np.float64)
        return Distortion(precision, precision @ self.mean)

    @property
    def log_det(self) -> float:
        """Log of the determinant of the precision."""
        return self._inverted[1]

    @cached_property
    def potential(self) -> float:
        """Log of the integral over (s, e1, e2), but for a constant: differences of it are log evidence."""
        return 0.5 * float(self.pull @ self.mean) - 0.5 * self.log_det

    def gain(self, evidence: Sequence[Distortion]) -> float:
        """Log evidence of what grains say, in so far as it depends on this distribution."""
        return self.with_evidence(evidence).potential - self.potential

    def widened(self, scale_sigma: float, ellipse_sigma: float = 0.0) -> Distortion:
        """Add an uncertainty of the scale, and of e1 and e2 [relative]."""
        more = np.diag([scale_sigma**2, ellipse_sigma**2, ellipse_sigma**2])
        precision: FloatArray = np.asarray(np.linalg.inv(self.covariance + more))
        return Distortion(precision, precision @ self.mean)

    def with_evidence(self, evidence: Iterable[Distortion]) -> Distortion:
        """Add what grains say."""
        precision, pull = self.precision, self.pull
        for one in evidence:
            precision, pull = precision + one.precision, pull + one.pull
        return Distortion(precision, pull)


def prior_distortion(scale_sigma: float, *, ellipse_sigma: float = ELLIPSE_SIGMA) -> Distortion:
    """Before any grain: no scale error and no ellipse, within the errors [relative]."""
    # A scale without any error would make the matrix singular; a millionth is as good as none.
    sigma = np.array([max(scale_sigma, 1e-6), ellipse_sigma, ellipse_sigma])
    return Distortion(np.diag(sigma**-2.0), np.zeros(3))


def distortion_priors(scale_sigma: float) -> tuple[tuple[float, Distortion], ...]:
    """Prior probability and prior of a frame with the usual ellipse, and of a badly distorted one."""
    wide = math.hypot(scale_sigma, WIDE_SCALE * WIDE_ELLIPSE_SIGMA)
    return (
        (1.0 - WIDE_PROBABILITY, prior_distortion(scale_sigma)),
        (WIDE_PROBABILITY, prior_distortion(wide, ellipse_sigma=WIDE_ELLIPSE_SIGMA)),
    )


def without_strain(precision: FloatArray, pull: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What grains say about the shared (s, e1, e2), their own strain integrated out; (n, 3, 3), (n, 3)."""
    # (A^-1 + T)^-1, written so that A need not have an inverse: a grain may say nothing about the ellipse.
    mixed = np.linalg.inv(np.eye(3) + STRAIN_SIGMA**2 * precision)
    weaker = precision @ mixed
    return 0.5 * (weaker + weaker.transpose(0, 2, 1)), (mixed.transpose(0, 2, 1) @ pull[:, :, None])[:, :, 0]


def gain_of_freedom(known: Distortion, freer: Distortion, precision: FloatArray, pull: FloatArray) -> FloatArray:
    """By how much log evidence gains if less is known of scale and ellipse.

    Parameters
    ----------
    known, freer
        What is known, and less than that.
    precision, pull
        What each of n explanations says about scale and ellipse; (n, 3, 3), (n, 3).

    Returns
    -------
    FloatArray
        Above 0 where the explanation needs a scale or an ellipse that is not expected; (n,).
    """
    return _log_evidence(freer, precision, pull) - _log_evidence(known, precision, pull)


def _log_evidence(known: Distortion, precision: FloatArray, pull: FloatArray) -> FloatArray:
    """Log evidence of what explanations say, in so far as it depends on what is known; (n,)."""
    full, drawn = precision + known.precision, pull + known.pull
    best = np.linalg.solve(full, drawn[:, :, None])[:, :, 0]
    log_evidence: FloatArray = 0.5 * np.sum(best * drawn, axis=1) - 0.5 * np.linalg.slogdet(full)[1] - known.potential
    return log_evidence


def columns(q: FloatArray) -> FloatArray:
    """Differentiate g by (s, e1, e2, rotation) at lattice points q; (..., 2) gives (..., 2, 4)."""
    x, y = q[..., 0], q[..., 1]
    derivatives = np.empty((*q.shape, 4))
    derivatives[..., 0] = q
    derivatives[..., 0, 1], derivatives[..., 1, 1] = x, -y
    derivatives[..., 0, 2], derivatives[..., 1, 2] = y, x
    derivatives[..., 0, 3], derivatives[..., 1, 3] = -y, x
    return derivatives
