"""Every way in which a zone of a structure can explain some of the spots of a frame, and how well it does.

A pair of spots with the lengths and the angle of a seed makes a hypothesis. The pair maps the frame on the zone's plane
lattice, so that each further spot either falls on a lattice point or does not; this test is free of scale, ellipse and
shear, which the pair takes along. ``rank`` scores all hypotheses by the pair's fit to what is known of scale and
ellipse, the further spots, the missing ones and the prior; ``weigh`` integrates over rotation, scale and ellipse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fringemap.phases.candidates import FWHM_PER_SIGMA, LATTICE_SIGMA, compute_relative_sigma
from fringemap.phases.distortion import Distortion, columns, without_strain
from fringemap.phases.zones import MISS_BIN
from fringemap.records import Flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fringemap.phases.seeds import SeedIndex
    from fringemap.records import FloatArray, IntArray, Mask, Spots

REACH = 3.5
"""How many standard errors a spot may lie from a lattice point, and a pair from a seed in each feature."""

MAX_SEED_SPOTS = 32
"""Pairs are made of so many spots, the strong and precise ones; the others can still join."""

LARGEST_SEED_ERROR = 0.015
"""Largest relative error of such a spot: a worse one tells hardly one lattice from another, and fits thousands."""

SMALLEST_ANGLE = math.radians(9.0)
"""Pairs with a smaller angle do not fix a plane lattice."""

SHARED_SPREAD = 0.25
"""Where several grains share a spot, the one meant lies off its centre by this share of the spot's spread."""

MAX_HYPOTHESES = 12_000
BLOCK = 1024
"""Hypotheses that are tested at a time."""

EDGE = 1.08
"""Spots this much beyond the largest |g| of a structure's list are not looked up."""

Real = TypeVar("Real", np.float32, np.float64)

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
    merit: FloatArray
    """Strength over error of each spot; -inf if it is too uncertain to make pairs; (n,)."""

    def __len__(self) -> int:
        return len(self.g)

    @property
    def length(self) -> FloatArray:
        """|g| [1/Å]; (n,)."""
        return np.hypot(self.g[:, 0], self.g[:, 1])

    @property
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


@dataclass(frozen=True)
class Hypotheses:
    """n ways to explain some spots of a frame."""

    pairs: Pairs
    pair: IntArray
    """Row in ``pairs``; (n,)."""
    zone: IntArray
    """Row in the index's zones; (n,)."""
    lattice: FloatArray
    """The two spots in units of the zone's basis; (n, 2, 2)."""
    mirrored: Mask
    """The zone is seen along -[uvw]; (n,)."""
    features: FloatArray
    """Observed less reference; (n, 3)."""
    constant: FloatArray
    """Log prior of the zone and its misses, log odds of showing the pair, and from features to positions; (n,)."""
    further: IntArray
    """Hypothesis and spot of each further spot that lies on the lattice; (n_further, 2)."""
    gain: FloatArray
    """Of each, log of probability of showing x density at the spot over that of not showing; (n_further,)."""

    def __len__(self) -> int:
        return len(self.pair)


def propose(index: SeedIndex, observed: Observed, pairs: Pairs, distortion: Distortion) -> Hypotheses:
    """Find all seeds near all pairs of spots, and test every further spot against the lattice of each.

    At most ``MAX_HYPOTHESES``, those whose pair alone speaks most for them.
    """
    covariance = feature_covariance(pairs, distortion)
    reach = REACH * np.sqrt(np.einsum("pii->pi", covariance))
    centre = pairs.features - pairs.sensitivity @ distortion.mean
    pair, seed = index.find(centre, reach)
    features = pairs.features[pair] - np.stack([index.log_g[seed], index.log_ratio[seed], index.angle[seed]], axis=1)
    n_bins = min(index.miss.shape[1], len(observed.g_shown))
    misses = index.miss[:, :n_bins] @ observed.g_shown[:n_bins]
    zone, lattice = index.zone[seed], index.points[seed]
    first, second = pairs.first[pair], pairs.second[pair]
    constant = (index.log_prior + misses)[zone] - 2.0 * np.log(observed.length[first] * observed.length[second])
    for side in (0, 1):
        constant += _logit(index.shown[index.place(zone, lattice[:, side])])
    turn = np.sign(_cross(observed.g[pairs.first], observed.g[pairs.second]) * pairs.sign)
    hypotheses = Hypotheses(
        pairs=pairs,
        pair=pair,
        zone=zone,
        lattice=lattice,
        mirrored=turn[pair] * np.sign(_cross(lattice[:, 0], lattice[:, 1])) < 0,
        features=features,
        constant=constant,
        further=np.empty((0, 2), np.int64),
        gain=np.empty(0),
    )
    alone = rank(hypotheses, distortion, np.zeros(len(observed)))
    return _test_further(index, observed, _keep(hypotheses, _best_rows(alone)))


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
    pairs = hypotheses.pairs
    free = np.isfinite(log_null[pairs.first]) & np.isfinite(log_null[pairs.second])
    rows = np.flatnonzero(free[hypotheses.pair])
    pair = hypotheses.pair[rows]
    covariance = feature_covariance(pairs, distortion)
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    off = hypotheses.features[rows] - (pairs.sensitivity @ distortion.mean)[pair]
    chi2 = np.sum((root[pair] @ off[:, :, None])[:, :, 0] ** 2, axis=1)
    per_pair = -1.5 * LOG_2PI - 0.5 * np.linalg.slogdet(covariance)[1] - log_null[pairs.first] - log_null[pairs.second]
    near = chi2 <= (REACH + 0.5) ** 2
    score = np.full(len(hypotheses), -np.inf)
    score[rows[near]] = (hypotheses.constant[rows] + per_pair[pair] - 0.5 * chi2)[near]
    row, spot = hypotheses.further.T
    score += np.bincount(row, weights=np.maximum(hypotheses.gain - log_null[spot], 0.0), minlength=len(score))
    return score


def _best_rows(alone: FloatArray) -> IntArray:
    rows = np.flatnonzero(np.isfinite(alone))
    if len(rows) > MAX_HYPOTHESES:
        rows = rows[np.sort(np.argpartition(-alone[rows], MAX_HYPOTHESES)[:MAX_HYPOTHESES])]
    return rows


def _keep(hypotheses: Hypotheses, rows: IntArray) -> Hypotheses:
    return replace(
        hypotheses,
        pair=hypotheses.pair[rows],
        zone=hypotheses.zone[rows],
        lattice=hypotheses.lattice[rows],
        mirrored=hypotheses.mirrored[rows],
        features=hypotheses.features[rows],
        constant=hypotheses.constant[rows],
    )


def _test_further(index: SeedIndex, observed: Observed, hypotheses: Hypotheses) -> Hypotheses:
    """List the further spots of each hypothesis; in blocks that stay in the processor's cache."""
    further, gains = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for start in range(0, len(hypotheses), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(hypotheses)))
        row, spot, _, gain = _on_lattice(index, observed, hypotheses, rows)
        further.append(np.stack([rows[row], spot], axis=1))
        gains.append(gain)
    return replace(hypotheses, further=np.concatenate(further), gain=np.concatenate(gains))


def _on_lattice(
    index: SeedIndex, observed: Observed, hypotheses: Hypotheses, rows: IntArray
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Row in ``rows``, spot, lattice point and gain of each further spot that lies on a lattice point."""
    pairs, pair, zone = hypotheses.pairs, hypotheses.pair[rows], hypotheses.zone[rows]
    lattice = hypotheses.lattice[rows].astype(np.float32)
    first, second = pairs.first[pair], pairs.second[pair]
    g = observed.g.astype(np.float32)
    g1, g2 = g[first], g[second] * pairs.sign[pair, None].astype(np.float32)
    area = _cross(g1, g2)[:, None]
    along1, along2 = _cross(g, g2[:, None]) / area, _cross(g1[:, None], g) / area
    at1 = along1 * lattice[:, 0, 0, None] + along2 * lattice[:, 1, 0, None]
    at2 = along1 * lattice[:, 0, 1, None] + along2 * lattice[:, 1, 1, None]
    point1, point2 = np.rint(at1), np.rint(at2)
    seen = np.linalg.inv(lattice) @ np.stack([g1, g2], axis=1)
    off1, off2 = at1 - point1, at2 - point2
    x = off1 * seen[:, 0, 0, None] + off2 * seen[:, 1, 0, None]
    y = off1 * seen[:, 0, 1, None] + off2 * seen[:, 1, 1, None]
    own = (observed.sigma**2).astype(np.float32)
    variance = own + along1**2 * own[first, None] + along2**2 * own[second, None]
    distance2 = (x * x + y * y) / variance
    near = distance2 <= np.float32(REACH**2)
    near &= observed.length <= EDGE * index.g_max[zone][:, None]
    near[np.arange(len(rows)), first] = near[np.arange(len(rows)), second] = False
    row, spot = np.nonzero(near)
    point = np.stack([point1[row, spot], point2[row, spot]], axis=1).astype(np.float64)
    shown = index.shown[index.place(zone[row], point)]
    kept = shown > 0.0
    row, spot, point, shown = row[kept], spot[kept], point[kept], shown[kept]
    spread = variance[row, spot].astype(np.float64)
    gain = _logit(shown) - LOG_2PI - np.log(spread) - 0.5 * distance2[row, spot].astype(np.float64)
    return row, spot, point, gain


@dataclass(frozen=True)
class Weighed:
    """n hypotheses with rotation, scale and ellipse integrated out."""

    row: IntArray
    """In ``Hypotheses``."""
    score: FloatArray
    """Log odds against all its spots being unknown."""
    claims: Mask
    """Which spots it explains; (n, n_spots)."""
    points: FloatArray
    """Lattice points of the claimed spots in units of the zone's basis; (n, n_spots, 2)."""
    shown: FloatArray
    """Probability of showing of each, 0 if not claimed; (n, n_spots)."""
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
    points, shown = _claim(index, observed, hypotheses, rows, log_null)
    distortion = distortion.for_one_grain()
    claims = shown > 0.0
    q, rotation = _place(index, observed, hypotheses, rows, points, claims)
    weight = claims[:, :, None, None] * np.linalg.inv(observed.covariance)
    residual = observed.g - q
    jacobian = columns(q)
    weighted = (weight @ jacobian).reshape(len(rows), 2 * len(observed), 4)
    normal = jacobian.reshape(len(rows), 2 * len(observed), 4).transpose(0, 2, 1) @ weighted
    right = (weighted.transpose(0, 2, 1) @ residual.reshape(len(rows), 2 * len(observed), 1))[:, :, 0]
    chi2 = np.sum(residual * (weight @ residual[..., None])[..., 0], axis=(1, 2))
    turn = normal[:, 3, 3]
    full, pull = normal.copy(), right.copy()
    full[:, :3, :3] += distortion.precision
    pull[:, :3] += distortion.pull
    best = np.linalg.solve(full, pull[:, :, None])[:, :, 0]
    chi2 = chi2 + distortion.pull @ distortion.mean - np.sum(best * pull, axis=1)
    log_det = np.linalg.slogdet(full)[1] - np.linalg.slogdet(distortion.precision)[1]
    log_norm = claims @ (-LOG_2PI - 0.5 * np.linalg.slogdet(observed.covariance)[1])
    odds = _logit(np.where(claims, shown, 0.5)) - np.where(claims, log_null, 0.0)
    score = index.log_prior[hypotheses.zone[rows]] + _misses(index, observed, hypotheses.zone[rows]) + odds.sum(axis=1)
    score += log_norm - 0.5 * chi2 - 0.5 * log_det + 0.5 * LOG_2PI
    across = normal[:, :3, 3]
    precision, told = without_strain(
        normal[:, :3, :3] - across[:, :, None] * across[:, None, :] / turn[:, None, None],
        right[:, :3] - across * (right[:, 3] / turn)[:, None],
    )
    return Weighed(
        row=rows,
        score=score,
        claims=claims,
        points=points,
        shown=shown,
        rotation=rotation + best[:, 3],
        precision=precision,
        pull=told,
    )


def _misses(index: SeedIndex, observed: Observed, zone: IntArray) -> FloatArray:
    """Log of the probability that a zone shows nothing where spots would be seen."""
    n_bins = min(index.miss.shape[1], len(observed.g_shown))
    misses: FloatArray = index.miss[zone, :n_bins] @ observed.g_shown[:n_bins]
    return misses


def _claim(
    index: SeedIndex, observed: Observed, hypotheses: Hypotheses, rows: IntArray, log_null: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Lattice point of each claimed spot and its probability of showing, 0 if not claimed; (n, k, 2), (n, k)."""
    points = np.zeros((len(rows), len(observed), 2))
    shown = np.zeros((len(rows), len(observed)))
    row, spot, point, gain = _on_lattice(index, observed, hypotheses, rows)
    better = gain > log_null[spot]
    row, spot, point = row[better], spot[better], point[better]
    points[row, spot] = point
    shown[row, spot] = index.shown[index.place(hypotheses.zone[rows[row]], point)]
    pairs, pair, order = hypotheses.pairs, hypotheses.pair[rows], np.arange(len(rows))
    for side, (of_pair, sign) in enumerate(((pairs.first, np.ones_like(pairs.sign)), (pairs.second, pairs.sign))):
        lattice = hypotheses.lattice[rows, side]
        points[order, of_pair[pair]] = lattice * sign[pair, None]
        shown[order, of_pair[pair]] = index.shown[index.place(hypotheses.zone[rows], lattice)]
    return points, shown


def _place(
    index: SeedIndex,
    observed: Observed,
    hypotheses: Hypotheses,
    rows: IntArray,
    points: FloatArray,
    claims: Mask,
) -> tuple[FloatArray, FloatArray]:
    """Lattice points in the frame, turned to fit the claimed spots best, and the turn; (n, n_spots, 2), (n,)."""
    flat = points @ index.basis[hypotheses.zone[rows]]
    flat[:, :, 1] *= np.where(hypotheses.mirrored[rows], -1.0, 1.0)[:, None]
    lattice = flat[:, :, 0] + 1j * flat[:, :, 1]
    seen = observed.g[:, 0] + 1j * observed.g[:, 1]
    turn = np.sum(np.where(claims, np.conj(lattice) * seen / observed.sigma**2, 0.0), axis=1)
    rotation = np.angle(turn)
    placed = lattice * np.exp(1j * rotation)[:, None]
    return np.stack([placed.real, placed.imag], axis=-1), rotation


def _logit(shown: FloatArray) -> FloatArray:
    logit: FloatArray = np.log(shown) - np.log1p(-shown)
    return logit


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
    return Pairs(i, j, sign, features, sensitivity, noise)


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


def feature_covariance(pairs: Pairs, distortion: Distortion) -> FloatArray:
    """Covariance of the features of pairs, from fit, lattice, scale and ellipse; (n_pairs, 3, 3)."""
    shared = pairs.sensitivity @ distortion.for_one_grain().covariance @ pairs.sensitivity.transpose(0, 2, 1)
    covariance: FloatArray = pairs.noise + shared
    return covariance


def _cross(a: NDArray[Real], b: NDArray[Real]) -> NDArray[Real]:
    cross: NDArray[Real] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return cross
