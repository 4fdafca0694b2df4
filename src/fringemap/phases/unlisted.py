"""Lattices that no listed phase need have: the rival of every name.

Spots at whole-number combinations of two others are no chance, but any crystal shows that. A phase of the list has to
earn its name by the two lengths and the angle of the lattice, not by the lattice as such.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.pairs import cross, feature_covariance
from fringemap.phases.strength import log_hidden, log_misses

if TYPE_CHECKING:
    from fringemap.phases.distortion import Distortion
    from fringemap.phases.observed import Observed
    from fringemap.phases.pairs import Pairs
    from fringemap.phases.resemblance import Resemblance
    from fringemap.records import FloatArray, IntArray, Mask

SHOWN = 0.13
"""Probability that a point of an unlisted lattice is shown."""

LOG_ODDS = math.log(SHOWN / (1.0 - SHOWN))

MAX_INDEX = 4
"""Points with larger indices are not looked for: with many points, any spot lies near one."""

DIVISIONS = np.array([[[1, 0], [0, 1]], [[1, 0], [0, 2]], [[2, 0], [0, 1]], [[1, 1], [1, -1]]], dtype=np.float64)
"""Lattices on a pair of spots: the pair spans it, or every other point of it. Rows times points of the pair's lattice
give points of the finer one."""

REACH = 3.5
"""How many standard errors a spot may lie from a point."""

ANY = 0.1
"""Share of lattices that resemble no crystal of the list."""

SYMMETRIES = (0.35, 0.25, 0.2, 0.1, 0.1)
"""Shares of oblique, rectangular, rhombic, square and hexagonal lattices among the zones of crystals: few zones of a
crystal of high symmetry are oblique."""

RATIO_SPAN = 1.2
ANGLE_SPAN = math.radians(80.0)
"""Spans of log ratio and angle of pairs of random spots."""


@dataclass(frozen=True)
class Lattices:
    """Plane lattices on pairs of spots; n rows."""

    pairs: Pairs
    """Of each row the pair; n rows."""
    gain: FloatArray
    """Log of probability of showing x density at each further spot over that of not showing; -inf off the lattice and
    for the pair itself; (n, k)."""
    of_pair: FloatArray
    """The same of both spots of the pair; (n,)."""
    division: IntArray
    """Row in ``DIVISIONS``; (n,)."""
    misses: FloatArray
    """Log of the probability of each kind of grain to hide all other points; once ``given``, with the density of the
    pair; (n_kinds, n)."""

    def given(self, distortion: Distortion, resemblance: Resemblance, observed: Observed) -> Lattices:
        """Tell how usual each pair is, given what is known of the ellipse."""
        symmetric = _log_symmetry(self.pairs.features, feature_covariance(self.pairs, distortion))
        any_pair = self.misses + self.of_pair + symmetric
        length = observed.length[self.pairs.first] * observed.length[self.pairs.second]
        usual = resemblance.log_density(self.pairs.features, observed.g_shown)[:, self.division, np.arange(len(length))]
        usual = usual - 2.0 * np.log(length)
        return replace(self, misses=np.logaddexp(math.log(ANY) + any_pair, math.log(1.0 - ANY) + usual))

    def best(self, log_rate: float, log_null: FloatArray, at_most: int) -> tuple[FloatArray, Mask]:
        """Log odds of the best lattices against unknown spots, and the spots that they claim; (n,), (n, k).

        Of lattices that claim the same spots only the best counts. ``log_null`` is +inf at spots that are not free.
        """
        rows = np.flatnonzero(np.isfinite(log_null[self.pairs.first]) & np.isfinite(log_null[self.pairs.second]))
        over = np.maximum(self.gain[rows] - log_null, 0.0)
        n_shown = 2.0 + np.sum(over > 0.0, axis=1)
        score = log_rate + log_misses(self.misses[:, rows], n_shown) + over.sum(axis=1)
        score -= log_null[self.pairs.first[rows]] + log_null[self.pairs.second[rows]]
        chosen = np.argsort(-score, kind="stable")[:at_most]
        claims = over[chosen] > 0.0
        order = np.arange(len(chosen))
        claims[order, self.pairs.first[rows[chosen]]] = claims[order, self.pairs.second[rows[chosen]]] = True
        distinct: dict[bytes, int] = {}
        for row in order.tolist():
            distinct.setdefault(claims[row].tobytes(), row)
        kept = np.fromiter(distinct.values(), np.int64, len(distinct))
        return score[chosen[kept]], claims[kept]


def find_lattices(observed: Observed, pairs: Pairs) -> Lattices:
    """Make a lattice of each pair of strong spots and see which others lie on it.

    Lengths and directions of the pair are taken as uniform, as those of unknown spots are; ``Lattices.given`` adds what
    symmetry favours.
    """
    length, own = observed.length, observed.sigma**2
    first, second = pairs.first, pairs.second
    g1, g2 = observed.g[first], observed.g[second]
    area = cross(g1, g2)[:, None]
    along1, along2 = cross(observed.g, g2[:, None]) / area, cross(g1[:, None], observed.g) / area
    variance = own + along1**2 * own[first, None] + along2**2 * own[second, None]
    density = LOG_ODDS - np.log(2.0 * math.pi * variance)
    rows = np.arange(len(first))
    span = 1.05 * length.max()
    of_pair = 2.0 * LOG_ODDS - np.log(math.pi * span * length[first]) - np.log(math.pi * span * length[second])
    gains, misses = [], []
    for division in DIVISIONS:
        finer1, finer2 = (division[0, i] * along1 + division[1, i] * along2 for i in (0, 1))
        point1, point2 = np.rint(finer1), np.rint(finer2)
        (a, b), (c, d) = np.linalg.inv(division)
        basis1, basis2 = a * g1 + b * g2, c * g1 + d * g2
        off1, off2 = finer1 - point1, finer2 - point2
        x = off1 * basis1[:, 0, None] + off2 * basis2[:, 0, None]
        y = off1 * basis1[:, 1, None] + off2 * basis2[:, 1, None]
        chi2 = (x * x + y * y) / variance
        largest = np.maximum(np.abs(point1), np.abs(point2))
        gain = np.where((chi2 <= REACH**2) & (largest > 0.0) & (largest <= MAX_INDEX), density - 0.5 * chi2, -np.inf)
        gain[rows, first] = gain[rows, second] = -np.inf
        n_points = 0.5 * math.pi * length.max() ** 2 / np.abs((a * d - b * c) * area[:, 0])
        gains.append(gain)
        misses.append(n_points * log_hidden(np.array(SHOWN))[:, None])
    gain = np.stack(gains)
    # A finer lattice that no further spot shows claims the same spots as the coarse one and is less likely.
    kept = np.any(np.isfinite(gain) != np.isfinite(gain[0]), axis=2)
    kept[0] = True
    division, rows = np.nonzero(kept)
    return Lattices(pairs.take(rows), gain[kept], of_pair[rows], division, np.stack(misses, axis=1)[:, kept])


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
