"""The spots of a frame as the search for grains sees them: positions, errors, and what could have been seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.candidates import FWHM_PER_SIGMA, LATTICE_SIGMA, compute_relative_sigma
from fringemap.phases.zones import MISS_BIN
from fringemap.records import Flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from fringemap.records import FloatArray, IntArray, Mask, Spots

MAX_SEED_SPOTS = 32
"""Pairs are made of so many spots, the strong and precise ones; the others can still join."""

LARGEST_SEED_ERROR = 0.015
"""Largest relative error of such a spot: a worse one tells hardly one lattice from another, and fits thousands."""

SHARED_SPREAD = 0.25
"""Where several grains share a spot, the one meant lies off its centre by this share of the spot's spread."""


@dataclass(frozen=True)
class Observed:
    """Spots as the search sees them, n rows."""

    g: FloatArray
    """[1/Å]; (n, 2)."""
    covariance: FloatArray
    """From fit and lattice [1/Å²]; (n, 2, 2)."""
    sigma: FloatArray
    """Geometric mean of the errors along its axes [1/Å]; (n,)."""
    g_shown: FloatArray
    """Probability that a spot is visible, in bins of |g| as in ``ZoneTable.miss``; beyond the last nothing is."""
    merit: FloatArray
    """Strength over error of each spot; -inf if it is too uncertain to make pairs; (n,)."""

    def __len__(self) -> int:
        return len(self.g)

    @cached_property
    def length(self) -> FloatArray:
        """|g| [1/Å]; (n,)."""
        return np.hypot(self.g[:, 0], self.g[:, 1])

    @cached_property
    def log_length(self) -> FloatArray:
        """Log |g|, |g| in 1/Å; (n,)."""
        return np.log(self.length)

    @cached_property
    def stretch(self) -> FloatArray:
        """Derivative of log |g| by (s, e1, e2); (n, 3)."""
        double = 2.0 * np.arctan2(self.g[:, 1], self.g[:, 0])
        return np.stack([np.ones_like(double), np.cos(double), np.sin(double)], axis=1)

    @cached_property
    def radial_variance(self) -> FloatArray:
        """Of log |g|; (n,)."""
        along = self.g / self.length[:, None] ** 2
        variance: FloatArray = np.einsum("ni,nij,nj->n", along, self.covariance, along)
        return variance

    @cached_property
    def root_weight(self) -> FloatArray:
        """Matrices that turn what is in 1/Å into standard errors; (n, 2, 2)."""
        root: FloatArray = np.asarray(np.linalg.inv(np.linalg.cholesky(self.covariance)), np.float64)
        return root

    @cached_property
    def log_weight(self) -> FloatArray:
        """Log of the determinant of the inverse covariance; (n,)."""
        log_weight: FloatArray = -np.linalg.slogdet(self.covariance)[1]
        return log_weight

    @cached_property
    def seeds(self) -> IntArray:
        """Rows of the spots that make pairs, the best first."""
        order = np.argsort(-self.merit, kind="stable")[:MAX_SEED_SPOTS]
        seeds: IntArray = order[np.isfinite(self.merit[order])]
        return seeds


def observe(spots: Spots, *, visibility: Callable[[FloatArray], FloatArray] | None = None) -> Observed:
    """Gather positions and errors; a spot that was not refined gets the spread of its own peak."""
    g = np.stack([spots.gx, spots.gy], axis=1)
    refined: Mask = np.asarray(np.isfinite(spots.covariance).all(axis=(1, 2)), np.bool_)
    spread = (compute_relative_sigma(spots) * spots.g) ** 2
    fit = np.where(refined[:, None, None], spots.covariance, 0.0)
    isotropic = np.where(refined, (LATTICE_SIGMA * spots.g) ** 2, spread)
    shared = (spots.flags & int(Flag.SEVERAL_GRAINS)) != 0
    isotropic = isotropic + np.where(shared, (SHARED_SPREAD * spots.width / FWHM_PER_SIGMA) ** 2, 0.0)
    covariance = fit + isotropic[:, None, None] * np.eye(2)
    n_bins = int(np.ceil(1.02 * spots.g.max() / MISS_BIN))
    centre = np.asarray((np.arange(n_bins) + 0.5) * MISS_BIN, np.float64)
    shown: FloatArray = np.ones(n_bins) if visibility is None else np.clip(visibility(centre), 0.0, 1.0)
    sigma = np.asarray(np.linalg.det(covariance), np.float64) ** 0.25
    return Observed(g, covariance, sigma, shown, _merit(spots, covariance))


def take(observed: Observed, rows: IntArray) -> Observed:
    """Return these spots in this order."""
    parts = (observed.g[rows], observed.covariance[rows], observed.sigma[rows])
    return Observed(*parts, observed.g_shown, observed.merit[rows])


def _merit(spots: Spots, covariance: FloatArray) -> FloatArray:
    error = np.sqrt(np.linalg.eigvalsh(covariance)[:, 1]) / spots.g
    merit: FloatArray = np.where(error <= LARGEST_SEED_ERROR, spots.snr / error, -np.inf)
    return merit
