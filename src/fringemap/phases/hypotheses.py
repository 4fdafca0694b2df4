"""Every way in which a zone of a structure can explain some of the spots of a frame, and how well it does.

A pair of spots with the lengths and the angle of a seed makes a hypothesis. The pair maps the frame on the zone's plane
lattice, so that each further spot either falls on a lattice point or does not; this test is free of scale, ellipse and
shear, which the pair takes along. ``rank`` scores all hypotheses by the pair's fit to what is known of scale and
ellipse, the further spots, the missing ones and the prior; ``weigh`` integrates over rotation, scale and ellipse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.candidates import LATTICE_SIGMA, compute_relative_sigma
from fringemap.phases.distortion import Distortion, columns
from fringemap.phases.zones import MISS_BIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from fringemap.phases.seeds import SeedIndex
    from fringemap.records import FloatArray, IntArray, Mask, Spots

REACH = 3.5
"""How many standard errors a spot may lie from a lattice point, and a pair from a seed in each feature."""

MAX_SEED_SPOTS = 40
"""Pairs are made of so many spots, the first by score; the others can still join."""

SMALLEST_ANGLE = math.radians(9.0)
"""Pairs with a smaller angle do not fix a plane lattice."""

LOG_2PI = math.log(2.0 * math.pi)


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

    def __len__(self) -> int:
        return len(self.g)

    @property
    def length(self) -> FloatArray:
        """|g| [1/Å]; (n,)."""
        return np.hypot(self.g[:, 0], self.g[:, 1])


def observe(spots: Spots, *, visibility: Callable[[FloatArray], FloatArray] | None = None) -> Observed:
    """Gather positions and errors; a spot that was not refined gets the spread of its own peak."""
    g = np.stack([spots.gx, spots.gy], axis=1)
    refined: Mask = np.asarray(np.isfinite(spots.covariance).all(axis=(1, 2)), np.bool_)
    spread = (compute_relative_sigma(spots) * spots.g) ** 2
    fit = np.where(refined[:, None, None], spots.covariance, 0.0)
    isotropic = np.where(refined, (LATTICE_SIGMA * spots.g) ** 2, spread)
    covariance = fit + isotropic[:, None, None] * np.eye(2)
    n_bins = int(np.ceil(1.02 * spots.g.max() / MISS_BIN))
    centre = np.asarray((np.arange(n_bins) + 0.5) * MISS_BIN, np.float64)
    shown: FloatArray = np.ones(n_bins) if visibility is None else np.clip(visibility(centre), 0.0, 1.0)
    sigma = np.asarray(np.linalg.det(covariance), np.float64) ** 0.25
    return Observed(g, covariance, sigma, shown)


@dataclass(frozen=True)
class Hypotheses:
    """n ways to explain some spots of a frame; arrays over (n,) or (n, n_spots)."""

    pair: IntArray
    """Row in ``pairs``."""
    zone: IntArray
    """Row in the index's zones."""
    mirrored: Mask
    """The zone is seen along -[uvw]."""
    points: FloatArray
    """Nearest lattice point of each spot in units of the zone's basis; (n, n_spots, 2)."""
    gain: FloatArray
    """Log of probability of showing x density at the spot over that of not showing; -inf if off; (n, n_spots)."""
    constant: FloatArray
    """Log prior of the zone and of all its misses."""
    first: IntArray
    second: IntArray
    """The spots of the pair."""
    features: FloatArray
    """Observed less reference: mean log |g|, log ratio, angle; (n, 3)."""
    sensitivity: FloatArray
    """Derivative of the features by (s, e1, e2) of each pair; (n_pairs, 3, 3)."""
    noise: FloatArray
    """Covariance of the features from fit and lattice, of each pair; (n_pairs, 3, 3)."""
    log_jacobian: FloatArray
    """From density of features and rotation to that of the two spots; (n,)."""

    def __len__(self) -> int:
        return len(self.pair)


@dataclass(frozen=True)
class _Pairs:
    first: IntArray
    second: IntArray
    sign: FloatArray
    """-1 where the Friedel mate of the second spot makes the angle acute."""
    features: FloatArray
    sensitivity: FloatArray
    noise: FloatArray


def propose(index: SeedIndex, observed: Observed, distortion: Distortion) -> Hypotheses:
    """Find all seeds near all pairs of spots, and test every further spot against the lattice of each."""
    pairs = _make_pairs(observed)
    covariance = _feature_covariance(pairs.sensitivity, pairs.noise, distortion.covariance)
    reach = REACH * np.sqrt(np.einsum("pii->pi", covariance))
    centre = pairs.features - pairs.sensitivity @ distortion.mean
    pair, seed = index.find(centre, reach)
    off = pairs.features[pair] - np.stack([index.log_g[seed], index.log_ratio[seed], index.angle[seed]], axis=1)
    zone = index.zone[seed]
    lattice = index.points[seed]
    points, gain = _test_spots(index, observed, pairs, pair, zone, lattice)
    turn = np.sign(_cross(observed.g[pairs.first], observed.g[pairs.second]) * pairs.sign)
    n_bins = min(index.miss.shape[1], len(observed.g_shown))
    misses = index.miss[:, :n_bins] @ observed.g_shown[:n_bins]
    first, second = pairs.first[pair], pairs.second[pair]
    return Hypotheses(
        pair=pair,
        zone=zone,
        mirrored=turn[pair] * np.sign(_cross(lattice[:, 0], lattice[:, 1])) < 0,
        points=points,
        gain=gain,
        constant=(index.log_prior + misses)[zone],
        first=first,
        second=second,
        features=off,
        sensitivity=pairs.sensitivity,
        noise=pairs.noise,
        log_jacobian=-2.0 * np.log(observed.length[first] * observed.length[second]),
    )


def rank(hypotheses: Hypotheses, distortion: Distortion, log_null: FloatArray) -> FloatArray:
    """Log odds of each hypothesis against all its spots being unknown; -inf where the pair is not free.

    Parameters
    ----------
    hypotheses
        n of them.
    distortion
        What is known of scale and ellipse.
    log_null
        Log density of unknown spots at each spot; +inf for spots that are not free; (n_spots,).
    """
    covariance = _feature_covariance(hypotheses.sensitivity, hypotheses.noise, distortion.covariance)
    inverse = np.linalg.inv(covariance)[hypotheses.pair]
    off = hypotheses.features - (hypotheses.sensitivity @ distortion.mean)[hypotheses.pair]
    chi2 = np.einsum("ni,nij,nj->n", off, inverse, off)
    log_norm = -0.5 * (3.0 * LOG_2PI + np.linalg.slogdet(covariance)[1])[hypotheses.pair]
    score = hypotheses.constant + hypotheses.log_jacobian + log_norm - 0.5 * chi2
    rows = np.arange(len(hypotheses))
    for spot in (hypotheses.first, hypotheses.second):
        score += hypotheses.gain[rows, spot] - log_null[spot]
    further = np.maximum(hypotheses.gain - log_null, 0.0)
    further[rows, hypotheses.first] = further[rows, hypotheses.second] = 0.0
    score = score + further.sum(axis=1)
    score[chi2 > (REACH + 0.5) ** 2] = -np.inf
    ranked: FloatArray = score
    return ranked


@dataclass(frozen=True)
class Weighed:
    """n hypotheses with rotation, scale and ellipse integrated out."""

    row: IntArray
    """In ``Hypotheses``."""
    score: FloatArray
    """Log odds against all its spots being unknown."""
    claims: Mask
    """Which spots it explains; (n, n_spots)."""
    rotation: FloatArray
    """[rad]."""
    precision: FloatArray
    """What each says about (s, e1, e2), alone; (n, 3, 3)."""
    pull: FloatArray
    """(n, 3)."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: IntArray) -> Weighed:
        """Return these rows in this order."""
        return Weighed(*(getattr(self, column.name)[rows] for column in fields(self)))

    def add(self, log_prior: FloatArray) -> Weighed:
        """Return the same with this much more score."""
        return replace(self, score=self.score + log_prior)


def weigh(
    index: SeedIndex,
    observed: Observed,
    hypotheses: Hypotheses,
    rows: IntArray,
    distortion: Distortion,
    log_null: FloatArray,
) -> Weighed:
    """Integrate the likelihood of chosen hypotheses over rotation, scale and ellipse.

    The model is linear about the best rotation, so the integral is a Gaussian's; its prior density of rotation stands
    in ``log_prior`` of the zone.
    """
    claims = hypotheses.gain[rows] > log_null
    order = np.arange(len(rows))
    claims[order, hypotheses.first[rows]] = claims[order, hypotheses.second[rows]] = True
    claims &= np.isfinite(log_null)
    q, rotation = _place(index, observed, hypotheses, rows, claims)
    weight = claims[:, :, None, None] * np.linalg.inv(observed.covariance)
    residual = observed.g - q
    jacobian = columns(q)
    weighted = weight @ jacobian
    normal = np.einsum("nkia,nkib->nab", jacobian, weighted)
    right = np.einsum("nki,nkia->na", residual, weighted)
    chi2 = np.einsum("nki,nkij,nkj->n", residual, weight, residual)
    turn = normal[:, 3, 3]
    full, pull = normal.copy(), right.copy()
    full[:, :3, :3] += distortion.precision
    pull[:, :3] += distortion.pull
    best = np.linalg.solve(full, pull[:, :, None])[:, :, 0]
    chi2 = chi2 + distortion.pull @ distortion.mean - np.einsum("na,na->n", best, pull)
    log_det = np.linalg.slogdet(full)[1] - np.linalg.slogdet(distortion.precision)[1]
    log_norm = claims @ (-LOG_2PI - 0.5 * np.linalg.slogdet(observed.covariance)[1])
    odds = _log_odds(index, hypotheses, rows) - np.where(np.isfinite(log_null), log_null, 0.0)
    score = hypotheses.constant[rows] + np.where(claims, odds, 0.0).sum(axis=1)
    score += log_norm - 0.5 * chi2 - 0.5 * log_det + 0.5 * LOG_2PI
    across = normal[:, :3, 3]
    return Weighed(
        row=rows,
        score=score,
        claims=claims,
        rotation=rotation + best[:, 3],
        precision=normal[:, :3, :3] - across[:, :, None] * across[:, None, :] / turn[:, None, None],
        pull=right[:, :3] - across * (right[:, 3] / turn)[:, None],
    )


def _place(
    index: SeedIndex, observed: Observed, hypotheses: Hypotheses, rows: IntArray, claims: Mask
) -> tuple[FloatArray, FloatArray]:
    """Lattice points in the frame, turned to fit the claimed spots best, and the turn; (n, n_spots, 2), (n,)."""
    flat = hypotheses.points[rows] @ index.basis[hypotheses.zone[rows]]
    flat[:, :, 1] *= np.where(hypotheses.mirrored[rows], -1.0, 1.0)[:, None]
    lattice = flat[:, :, 0] + 1j * flat[:, :, 1]
    seen = observed.g[:, 0] + 1j * observed.g[:, 1]
    turn = np.sum(np.where(claims, np.conj(lattice) * seen / observed.sigma**2, 0.0), axis=1)
    rotation = np.angle(turn)
    placed = lattice * np.exp(1j * rotation)[:, None]
    return np.stack([placed.real, placed.imag], axis=-1), rotation


def _log_odds(index: SeedIndex, hypotheses: Hypotheses, rows: IntArray) -> FloatArray:
    zone = hypotheses.zone[rows]
    place = np.einsum("nkb,nb->nk", hypotheses.points[rows], index.place_steps[zone]).astype(np.int64)
    shown = index.shown[np.clip(place + index.place_origin[zone][:, None], 0, len(index.shown) - 1)]
    return _logit(shown)


def _logit(shown: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        logit: FloatArray = np.log(shown) - np.log1p(-shown)
    return logit


def _test_spots(
    index: SeedIndex, observed: Observed, pairs: _Pairs, pair: IntArray, zone: IntArray, lattice: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Nearest lattice point of each spot, and what the spot says for it; (n, n_spots, 2), (n, n_spots)."""
    g1, g2 = observed.g[pairs.first], observed.g[pairs.second] * pairs.sign[:, None]
    area = _cross(g1, g2)[:, None]
    along = np.stack([_cross(observed.g, g2[:, None]) / area, _cross(g1[:, None], observed.g) / area], axis=-1)
    variance = observed.sigma**2 + np.einsum(
        "pka,pa->pk", along**2, np.stack([observed.sigma[pairs.first], observed.sigma[pairs.second]], axis=1) ** 2
    )
    at = along[pair] @ lattice
    points = np.rint(at)
    seen_basis = np.linalg.inv(lattice) @ np.stack([g1, g2], axis=1)[pair]
    off = (at - points) @ seen_basis
    off2 = np.einsum("nki,nki->nk", off, off)
    place = np.einsum("nkb,nb->nk", points, index.place_steps[zone]).astype(np.int64)
    known = observed.length <= 1.08 * index.g_max[zone][:, None]
    place = np.clip(place + index.place_origin[zone][:, None], 0, len(index.shown) - 1)
    shown = index.shown[place]
    variance = variance[pair]
    fits = known & (off2 <= REACH**2 * variance) & (shown > 0.0)
    gain = _logit(np.where(fits, shown, 0.5)) - LOG_2PI - np.log(variance) - 0.5 * off2 / variance
    rows = np.arange(len(pair))
    for spot in (pairs.first[pair], pairs.second[pair]):
        # The two spots of the pair fit by construction; their density is that of the features.
        gain[rows, spot] = _logit(np.where(fits, shown, 0.5))[rows, spot]
    return points, np.where(fits, gain, -np.inf)


def _make_pairs(observed: Observed) -> _Pairs:
    n = min(len(observed), MAX_SEED_SPOTS)
    i, j = np.triu_indices(n, 1)
    swap = observed.length[i] > observed.length[j]
    i, j = np.where(swap, j, i), np.where(swap, i, j)
    angle = np.arctan2(observed.g[:, 1], observed.g[:, 0])
    opening = np.arccos(np.abs(np.cos(angle[i] - angle[j])))
    i, j, opening = (a[opening >= SMALLEST_ANGLE] for a in (i, j, opening))
    sign = np.where(np.cos(angle[i] - angle[j]) < 0.0, -1.0, 1.0)
    turn = np.sign(np.sin(angle[j] - angle[i])) * sign
    log_g = np.log(observed.length)
    features = np.stack([0.5 * (log_g[i] + log_g[j]), log_g[j] - log_g[i], opening], axis=1)
    double = 2.0 * angle
    stretch = np.stack([np.ones_like(angle), np.cos(double), np.sin(double)], axis=1)
    twist = np.stack([np.zeros_like(angle), -np.sin(double), np.cos(double)], axis=1)
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
    return _Pairs(i, j, sign, features, sensitivity, noise)


def _polar_covariance(observed: Observed, angle: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Variance of log |g|, variance of the angle, and their covariance; (n,) each."""
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    unit = observed.length**2
    return (
        np.einsum("ni,nij,nj->n", along, observed.covariance, along) / unit,
        np.einsum("ni,nij,nj->n", across, observed.covariance, across) / unit,
        np.einsum("ni,nij,nj->n", along, observed.covariance, across) / unit,
    )


def _feature_covariance(sensitivity: FloatArray, noise: FloatArray, shared: FloatArray) -> FloatArray:
    covariance: FloatArray = noise + sensitivity @ shared @ sensitivity.transpose(0, 2, 1)
    return covariance


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    cross: FloatArray = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return cross
