"""Lattices that no listed phase need have: the rival of every name.

Spots at whole-number combinations of two others are no chance, but any crystal shows that. A phase of the list has to
earn its name by the two lengths and the angle of the lattice, not by the lattice as such.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.hypotheses import feature_covariance

if TYPE_CHECKING:
    from fringemap.phases.distortion import Distortion
    from fringemap.phases.hypotheses import Observed, Pairs
    from fringemap.records import FloatArray, IntArray, Mask

SHOWN = 0.3
"""Probability that a point of an unlisted lattice is shown."""

MAX_INDEX = 4
"""Points with larger indices are not looked for: with many points, any spot lies near one."""

DIVISIONS = np.array([[[1, 0], [0, 1]], [[1, 0], [0, 2]], [[2, 0], [0, 1]], [[1, 1], [0, 2]]], dtype=np.float64)
"""Lattices on a pair of spots: the pair spans it, or every other point of it. Rows times points of the pair's lattice
give points of the finer one."""

REACH = 3.5
"""How many standard errors a spot may lie from a point."""

SYMMETRIES = (0.35, 0.25, 0.2, 0.1, 0.1)
"""Shares of oblique, rectangular, rhombic, square and hexagonal lattices among the zones of crystals: few zones of a
crystal of high symmetry are oblique."""

RATIO_SPAN = 1.2
ANGLE_SPAN = math.radians(70.0)
"""Spans of log ratio and angle of pairs of random spots."""

SMALLEST_ANGLE = math.radians(20.0)
"""Of the two vectors of a lattice; a lattice always has a pair with a larger one."""


@dataclass(frozen=True)
class Lattices:
    """Plane lattices on pairs of spots; n rows."""

    first: IntArray
    second: IntArray
    gain: FloatArray
    """Log of probability of showing x density at each spot over that of not showing; -inf off the lattice; (n, k)."""
    constant: FloatArray
    """Log of density of the pair and of all misses; (n,)."""

    def score(self, log_rate: float, log_null: FloatArray) -> tuple[FloatArray, Mask]:
        """Log odds of each lattice against unknown spots, and the spots that it claims; (n,), (n, k).

        ``log_null`` is +inf at spots that are not free.
        """
        rows = np.arange(len(self.first))
        over = np.maximum(self.gain - log_null, 0.0)
        claims = over > 0.0
        over[rows, self.first] = self.gain[rows, self.first] - log_null[self.first]
        over[rows, self.second] = self.gain[rows, self.second] - log_null[self.second]
        claims[rows, self.first] = claims[rows, self.second] = True
        return log_rate + self.constant + over.sum(axis=1), claims


def find_lattices(observed: Observed, pairs: Pairs, distortion: Distortion) -> Lattices:
    """Make a lattice of each pair of strong spots and see which others lie on it.

    Lengths and directions of the pair are taken as uniform, as those of unknown spots are, but for the lattices that
    symmetry favours.
    """
    length = observed.length
    keep = pairs.features[:, 2] >= SMALLEST_ANGLE
    first, second = pairs.first[keep], pairs.second[keep]
    symmetric = _log_symmetry(pairs.features[keep], feature_covariance(pairs, distortion)[keep])
    area = _cross(observed.g[first], observed.g[second])
    g1, g2 = observed.g[first][:, None], observed.g[second][:, None]
    at = np.stack([_cross(observed.g, g2), _cross(g1, observed.g)], axis=-1) / area[:, None, None]
    own = np.stack([observed.sigma[first], observed.sigma[second]], axis=1) ** 2
    variance = observed.sigma**2 + np.einsum("nka,na->nk", at**2, own)
    pair = np.stack([g1[:, 0], g2[:, 0]], axis=1)
    log_odds = math.log(SHOWN / (1.0 - SHOWN))
    rows = np.arange(len(first))
    span = 1.05 * length.max()
    gains, constants = [], []
    for division in DIVISIONS:
        finer = at @ division
        points = np.rint(finer)
        off = (finer - points) @ np.linalg.inv(division) @ pair
        off2 = np.einsum("nki,nki->nk", off, off)
        fits = (off2 <= REACH**2 * variance) & np.any(points != 0, axis=2) & (np.abs(points).max(axis=2) <= MAX_INDEX)
        gain = np.where(fits, log_odds - np.log(2.0 * math.pi * variance) - 0.5 * off2 / variance, -np.inf)
        for spot in (first, second):
            gain[rows, spot] = log_odds - np.log(math.pi * span * length[spot])
        n_points = 0.5 * math.pi * length.max() ** 2 * np.linalg.det(division) / np.abs(area)
        gains.append(gain)
        constants.append(symmetric + n_points * math.log(1.0 - SHOWN))
    n = len(DIVISIONS)
    return Lattices(np.tile(first, n), np.tile(second, n), np.concatenate(gains), np.concatenate(constants))


def _log_symmetry(features: FloatArray, covariance: FloatArray) -> FloatArray:
    """Log of the density of ratio and angle of pairs, over that of pairs of random spots; (n,)."""
    ratio, angle = features[:, 1], features[:, 2]
    off = np.stack([ratio, angle - 0.5 * math.pi], axis=1)
    variance_ratio, variance_angle = covariance[:, 1, 1], covariance[:, 2, 2]
    # Ratios and angles are folded to one side of 1 and of 90 degrees, so what lies there counts twice.
    rhombic = 2.0 * _normal(off[:, 0], variance_ratio) * RATIO_SPAN
    rectangular = 2.0 * _normal(off[:, 1], variance_angle) * ANGLE_SPAN
    hexagonal = rhombic * _normal(angle - math.pi / 3.0, variance_angle) * ANGLE_SPAN
    oblique, rect, rhomb, square, hexa = SYMMETRIES
    density = oblique + rect * rectangular + rhomb * rhombic + square * rhombic * rectangular + hexa * hexagonal
    log_density: FloatArray = np.log(density)
    return log_density


def _normal(off: FloatArray, variance: FloatArray) -> FloatArray:
    density: FloatArray = np.exp(-0.5 * off**2 / variance) / np.sqrt(2.0 * math.pi * variance)
    return density


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    cross: FloatArray = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return cross
