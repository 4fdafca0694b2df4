"""Pairs of spots: two lengths and an angle, their errors, and how far scale and ellipse may shift them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fringemap.phases.distortion import Distortion
    from fringemap.phases.observed import Observed
    from fringemap.records import FloatArray, IntArray

REACH = 3.5
"""How many standard errors a pair may lie from a seed in each feature."""

SMALLEST_ANGLE = math.radians(9.0)
"""Pairs with a smaller angle do not fix a plane lattice."""

UPPER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))

Real = TypeVar("Real", np.float32, np.float64)


@dataclass(frozen=True)
class Pairs:
    """Pairs of spots; n_pairs rows."""

    first: IntArray
    second: IntArray
    """Its |g| is the larger."""
    sign: FloatArray
    """-1 where the Friedel mate of the second spot makes the angle acute."""
    features: FloatArray
    """Mean log |g|, log ratio of |g|, angle [rad]; (n_pairs, 3)."""
    sensitivity: FloatArray
    """Derivative of the features by (s, e1, e2); (n_pairs, 3, 3)."""
    noise: FloatArray
    """Covariance of the features from fit and lattice; (n_pairs, 3, 3)."""

    @cached_property
    def noise_upper(self) -> FloatArray:
        """Upper triangle of ``noise``, in the order of ``UPPER``; (6, n_pairs)."""
        upper: FloatArray = np.stack([self.noise[:, i, j] for i, j in UPPER])
        return upper

    @cached_property
    def sensitivity_rows(self) -> FloatArray:
        """Sensitivity of each feature in one piece; (3, 3, n_pairs)."""
        return np.ascontiguousarray(self.sensitivity.transpose(1, 2, 0))

    @cached_property
    def shared(self) -> FloatArray:
        """Upper triangle of the features' covariance by each of the nine terms of that of (s, e1, e2); (9, 6 n)."""
        terms = [self.sensitivity[:, i, :, None] * self.sensitivity[:, j, None, :] for i, j in UPPER]
        shared: FloatArray = np.stack(terms).reshape(-1, 9).T
        return shared

    def take(self, rows: IntArray) -> Pairs:
        """Return these pairs in this order."""
        return Pairs(*(getattr(self, column.name)[rows] for column in fields(self)))


@dataclass(frozen=True)
class PairFit:
    """How well pairs can fit seeds, given what is known of scale and ellipse; n columns."""

    shift: FloatArray
    """Features that scale and ellipse add; (3, n)."""
    variance: FloatArray
    """Of each feature; (3, n)."""
    precision: FloatArray
    """Upper triangle of the precision of the features, in the order of ``UPPER``; (6, n)."""
    log_norm: FloatArray
    """Log density where the features agree; (n,)."""

    @property
    def reach(self) -> FloatArray:
        """How far a seed may lie in each feature; (3, n)."""
        reach: FloatArray = REACH * np.sqrt(self.variance)
        return reach

    def chi2(self, column: IntArray, off: FloatArray) -> FloatArray:
        """Squared distance in standard errors of seeds that lie ``off`` (3, m) from the shifted pairs; (m,)."""
        x, y, z = off
        xx, yy, zz, xy, xz, yz = self.precision[:, column]
        chi2: FloatArray = x * (xx * x + 2.0 * (xy * y + xz * z)) + y * (yy * y + 2.0 * yz * z) + zz * z * z
        return chi2

    def take(self, columns: IntArray) -> PairFit:
        """Return these columns in this order."""
        return PairFit(*(getattr(self, column.name)[..., columns] for column in fields(self)))


def make_pairs(observed: Observed) -> Pairs:
    """List the pairs of strong spots, the best first."""
    i, j = np.triu_indices(len(observed.seeds), 1)
    best_first = np.argsort(i + j, kind="stable")
    i, j = observed.seeds[i[best_first]], observed.seeds[j[best_first]]
    swap = observed.length[i] > observed.length[j]
    i, j = np.where(swap, j, i), np.where(swap, i, j)
    angle = np.arctan2(observed.g[:, 1], observed.g[:, 0])
    opening = np.arccos(np.abs(np.cos(angle[i] - angle[j])))
    i, j, opening = (a[opening >= SMALLEST_ANGLE] for a in (i, j, opening))
    sign = np.where(np.cos(angle[i] - angle[j]) < 0.0, -1.0, 1.0)
    turn = np.sign(np.sin(angle[j] - angle[i])) * sign
    log_g, stretch = observed.log_length, observed.stretch
    features = np.stack([0.5 * (log_g[i] + log_g[j]), log_g[j] - log_g[i], opening], axis=1)
    twist = np.stack([np.zeros_like(angle), -stretch[:, 2], stretch[:, 1]], axis=1)
    sensitivity = np.stack(
        [0.5 * (stretch[i] + stretch[j]), stretch[j] - stretch[i], turn[:, None] * (twist[j] - twist[i])], axis=1
    )
    radial, tangential, mixed = _polar_covariance(observed, angle)
    noise = np.zeros((len(i), 3, 3))
    noise[:, 0, 0] = 0.25 * (radial[i] + radial[j])
    noise[:, 1, 1] = radial[i] + radial[j]
    noise[:, 0, 1] = noise[:, 1, 0] = 0.5 * (radial[j] - radial[i])
    noise[:, 2, 2] = tangential[i] + tangential[j]
    noise[:, 0, 2] = noise[:, 2, 0] = 0.5 * turn * (mixed[j] - mixed[i])
    noise[:, 1, 2] = noise[:, 2, 1] = turn * (mixed[j] + mixed[i])
    return Pairs(i, j, sign, features, sensitivity, noise)


def fit_pairs(pairs: Pairs, covariance: FloatArray, mean: FloatArray) -> PairFit:
    """Say how far seeds may lie from pairs, given what is known of scale and ellipse in each of several cases.

    Parameters
    ----------
    pairs
        n_pairs of them.
    covariance, mean
        Of (s, e1, e2) as one grain shows them; (n_cases, 3, 3), (n_cases, 3).

    Returns
    -------
    PairFit
        n_cases x n_pairs columns, those of the first case first.
    """
    shared = covariance.reshape(-1, 9) @ pairs.shared
    upper = (shared.reshape(len(shared), len(UPPER), -1) + pairs.noise_upper).transpose(1, 0, 2)
    xx, yy, zz, xy, xz, yz = upper
    # The inverse of a symmetric matrix, written out: pairs are many, and solvers of small matrices slow.
    minors = np.stack(
        [yy * zz - yz**2, xx * zz - xz**2, xx * yy - xy**2, xz * yz - xy * zz, xy * yz - xz * yy, xy * xz - xx * yz]
    )
    determinant = xx * minors[0] + xy * minors[3] + xz * minors[4]
    return PairFit(
        shift=(mean @ pairs.sensitivity_rows).reshape(3, -1),
        variance=upper[:3].reshape(3, -1),
        precision=(minors / determinant).reshape(len(UPPER), -1),
        log_norm=(-1.5 * math.log(2.0 * math.pi) - 0.5 * np.log(determinant)).ravel(),
    )


def _polar_covariance(observed: Observed, angle: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Variance of log |g|, variance of the angle, and their covariance; (n,) each."""
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    unit = observed.length**2
    return (
        observed.radial_variance,
        np.einsum("ni,nij,nj->n", across, observed.covariance, across) / unit,
        np.einsum("ni,nij,nj->n", along, observed.covariance, across) / unit,
    )


def feature_covariance(pairs: Pairs, distortion: Distortion) -> FloatArray:
    """Covariance of the features of pairs, from fit, lattice, scale and ellipse; (n_pairs, 3, 3)."""
    shared = pairs.sensitivity @ distortion.of_one_grain.covariance @ pairs.sensitivity.transpose(0, 2, 1)
    covariance: FloatArray = pairs.noise + shared
    return covariance


def cross(a: NDArray[Real], b: NDArray[Real]) -> NDArray[Real]:
    """Cross product in the plane; (..., 2) gives (...)."""
    product: NDArray[Real] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product
