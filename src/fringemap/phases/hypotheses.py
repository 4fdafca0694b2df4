"""Every way in which a zone of a structure can explain some of the spots of a frame, and how well it does.

A pair of spots with the lengths and the angle of a seed makes a hypothesis. The pair maps the frame on the zone's plane
lattice, so that each further spot either falls on a lattice point or does not; this test is free of scale, ellipse and
shear, which the pair takes along. ``rank`` scores all hypotheses by the pair's fit to what is known of scale and
ellipse, the further spots, the missing ones and the prior; ``weigh`` integrates over rotation, scale and ellipse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fringemap.phases.candidates import FWHM_PER_SIGMA, LATTICE_SIGMA, compute_relative_sigma
from fringemap.phases.distortion import Distortion, columns, without_strain
from fringemap.phases.strength import log_misses
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

NEAR2 = (REACH + 0.5) ** 2
"""Squared distance of a pair from a seed, all features together, within which it counts."""

MAX_HYPOTHESES = 3_000
BLOCK = 1024
"""Hypotheses that are tested at a time."""

EDGE = 1.08
"""Spots this much beyond the largest |g| of a structure's list are not looked up."""

UPPER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))

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

    @cached_property
    def length(self) -> FloatArray:
        """|g| [1/Å]; (n,)."""
        return np.hypot(self.g[:, 0], self.g[:, 1])

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
    def shared(self) -> FloatArray:
        """Upper triangle of the features' covariance by each of the nine terms of that of (s, e1, e2); (6, n, 9)."""
        terms = [self.sensitivity[:, i, :, None] * self.sensitivity[:, j, None, :] for i, j in UPPER]
        shared: FloatArray = np.stack(terms).reshape(len(UPPER), -1, 9)
        return shared

    def take(self, rows: IntArray) -> Pairs:
        """Return these pairs in this order."""
        return Pairs(*(getattr(self, column.name)[rows] for column in fields(self)))


@dataclass(frozen=True)
class PairFit:
    """How well pairs can fit seeds, given what is known of scale and ellipse; n_pairs columns."""

    shift: FloatArray
    """Features that scale and ellipse add; (3, n_pairs)."""
    reach: FloatArray
    """How far a seed may lie in each feature; (3, n_pairs)."""
    precision: FloatArray
    """Upper triangle of the precision of the features, in the order of ``UPPER``; (6, n_pairs)."""
    log_norm: FloatArray
    """Log density where the features agree; (n_pairs,)."""

    def chi2(self, pair: IntArray, off: FloatArray) -> FloatArray:
        """Squared distance of seeds that lie ``off`` (3, n) from pairs, in standard errors; (n,)."""
        x, y, z = off - self.shift[:, pair]
        xx, yy, zz, xy, xz, yz = self.precision[:, pair]
        chi2: FloatArray = x * (xx * x + 2.0 * (xy * y + xz * z)) + y * (yy * y + 2.0 * yz * z) + zz * z * z
        return chi2


@dataclass(frozen=True)
class Further:
    """Spots beyond the pair that lie on the lattice of a hypothesis, n rows."""

    row: IntArray
    """Hypothesis, rising."""
    spot: IntArray
    point: FloatArray
    """In units of the zone's basis; (n, 2)."""
    place: IntArray
    """Of the point in ``SeedIndex.shown``."""
    gain: FloatArray
    """Log of probability of showing x density at the spot over that of not showing."""


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
    """Observed less reference; (3, n)."""
    constant: FloatArray
    """Log prior of the zone and its misses, log odds of showing the pair, and from features to positions; (n,)."""
    misses: FloatArray
    """Log of the probability of each kind of grain to show nothing where spots would be seen; (n_kinds, n)."""
    further: Further

    def __len__(self) -> int:
        return len(self.pair)


def propose(index: SeedIndex, observed: Observed, pairs: Pairs, distortion: Distortion) -> Hypotheses:
    """Find all seeds near all pairs of spots, and test every further spot against the lattice of each.

    At most ``MAX_HYPOTHESES``, those whose pair alone speaks most for them.
    """
    fit = fit_pairs(pairs, distortion)
    pair, seed = index.find(pairs.features - fit.shift.T, fit.reach.T)
    features = pairs.features.T[:, pair] - np.stack([index.log_g[seed], index.log_ratio[seed], index.angle[seed]])
    n_bins = min(index.miss.shape[2], len(observed.g_shown))
    misses = index.miss[:, :, :n_bins] @ observed.g_shown[:n_bins]
    of_pair = -2.0 * np.log(observed.length[pairs.first] * observed.length[pairs.second])
    constant = index.constant[seed] + log_misses(misses, np.array(2.0))[index.zone[seed]] + of_pair[pair]
    chi2 = fit.chi2(pair, features)
    rows = _best_rows(np.where(chi2 <= NEAR2, constant + fit.log_norm[pair] - 0.5 * chi2, -np.inf))
    pair, seed = pair[rows], seed[rows]
    zone, lattice = index.zone[seed], index.points[seed]
    turn = np.sign(_cross(observed.g[pairs.first], observed.g[pairs.second]) * pairs.sign)
    mirrored = turn[pair] * np.sign(_cross(lattice[:, 0], lattice[:, 1])) < 0
    return Hypotheses(
        pairs=pairs,
        pair=pair,
        zone=zone,
        lattice=lattice,
        mirrored=mirrored,
        features=features[:, rows],
        constant=constant[rows],
        misses=misses[:, zone],
        further=_find_further(index, observed, pairs, pair, zone, lattice),
    )


def fit_pairs(pairs: Pairs, distortion: Distortion) -> PairFit:
    """Say how far seeds may lie from pairs, given what is known of scale and ellipse."""
    xx, yy, zz, xy, xz, yz = pairs.noise_upper + pairs.shared @ distortion.of_one_grain.covariance.ravel()
    # The inverse of a symmetric matrix, written out: pairs are many, and solvers of small matrices slow.
    minors = np.stack(
        [yy * zz - yz**2, xx * zz - xz**2, xx * yy - xy**2, xz * yz - xy * zz, xy * yz - xz * yy, xy * xz - xx * yz]
    )
    determinant = xx * minors[0] + xy * minors[3] + xz * minors[4]
    return PairFit(
        shift=(pairs.sensitivity @ distortion.mean).T,
        reach=REACH * np.sqrt(np.stack([xx, yy, zz])),
        precision=minors / determinant,
        log_norm=-1.5 * LOG_2PI - 0.5 * np.log(determinant),
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
    pairs, further = hypotheses.pairs, hypotheses.further
    fit = fit_pairs(pairs, distortion)
    per_pair = fit.log_norm - log_null[pairs.first] - log_null[pairs.second]
    rows = np.flatnonzero(np.isfinite(per_pair)[hypotheses.pair])
    pair = hypotheses.pair[rows]
    chi2 = fit.chi2(pair, hypotheses.features[:, rows])
    score = np.full(len(hypotheses), -np.inf)
    score[rows] = np.where(chi2 <= NEAR2, hypotheses.constant[rows] + per_pair[pair] - 0.5 * chi2, -np.inf)
    gain = np.maximum(further.gain - log_null[further.spot], 0.0)
    score += np.asarray(np.bincount(further.row, weights=gain, minlength=len(score)), np.float64)
    n_shown = np.bincount(further.row[gain > 0.0], minlength=len(score))
    more = np.flatnonzero(n_shown)
    misses = hypotheses.misses[:, more]
    score[more] = score[more] + log_misses(misses, 2.0 + n_shown[more]) - log_misses(misses, np.array(2.0))
    return score


def _best_rows(alone: FloatArray) -> IntArray:
    rows = np.flatnonzero(np.isfinite(alone))
    if len(rows) > MAX_HYPOTHESES:
        rows = rows[np.sort(np.argpartition(-alone[rows], MAX_HYPOTHESES)[:MAX_HYPOTHESES])]
    return rows


def _find_further(
    index: SeedIndex, observed: Observed, pairs: Pairs, pair: IntArray, zone: IntArray, lattice: FloatArray
) -> Further:
    """List the further spots of each hypothesis; in blocks that stay in the processor's cache."""
    blocks = [slice(start, start + BLOCK) for start in range(0, max(len(pair), 1), BLOCK)]
    found = [_on_lattice(index, observed, pairs, pair[block], zone[block], lattice[block]) for block in blocks]
    row = np.concatenate([one.row + block.start for one, block in zip(found, blocks, strict=True)])
    return Further(
        row, *(np.concatenate([getattr(one, n) for one in found]) for n in ("spot", "point", "place", "gain"))
    )


def _on_lattice(
    index: SeedIndex, observed: Observed, pairs: Pairs, pair: IntArray, zone: IntArray, lattice: FloatArray
) -> Further:
    """Find each further spot that lies on a lattice point which may show."""
    lattice = lattice.astype(np.float32)
    first, second = pairs.first[pair], pairs.second[pair]
    g = observed.g.astype(np.float32)
    g1, g2 = g[first], g[second] * pairs.sign[pair, None].astype(np.float32)
    area = _cross(g1, g2)[:, None]
    along1, along2 = _cross(g, g2[:, None]) / area, _cross(g1[:, None], g) / area
    off1 = along1 * lattice[:, 0, 0, None] + along2 * lattice[:, 1, 0, None]
    off2 = along1 * lattice[:, 0, 1, None] + along2 * lattice[:, 1, 1, None]
    off1 -= np.rint(off1)
    off2 -= np.rint(off2)
    # Rows of the inverse of ``lattice`` on the pair: the basis of the zone as the frame shows it.
    (a, b), (c, d) = lattice.transpose(1, 2, 0)
    basis = np.stack([d[:, None] * g1 - b[:, None] * g2, a[:, None] * g2 - c[:, None] * g1], axis=1)
    basis /= (a * d - b * c)[:, None, None]
    x = off1 * basis[:, 0, 0, None] + off2 * basis[:, 1, 0, None]
    y = off1 * basis[:, 0, 1, None] + off2 * basis[:, 1, 1, None]
    own = (observed.sigma**2).astype(np.float32)
    variance = own + along1**2 * own[first, None] + along2**2 * own[second, None]
    distance2 = x * x + y * y
    near = distance2 <= np.float32(REACH**2) * variance
    near &= observed.length <= EDGE * index.g_max[zone][:, None]
    near[np.arange(len(pair)), first] = near[np.arange(len(pair)), second] = False
    row, spot = np.nonzero(near)
    along = np.stack([along1[row, spot], along2[row, spot]], axis=1)
    point = np.rint(np.einsum("na,nab->nb", along, lattice[row])).astype(np.float64)
    place = index.place(zone[row], point)
    kept = np.isfinite(index.log_shown[place])
    row, spot, point, place = row[kept], spot[kept], point[kept], place[kept]
    spread = variance[row, spot].astype(np.float64)
    off = distance2[row, spot].astype(np.float64) / spread
    return Further(row, spot, point, place, index.log_shown[place] - LOG_2PI - np.log(spread) - 0.5 * off)


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
    """What each says about (s, e1, e2), its own strain included; (n, 3, 3)."""
    pull: FloatArray
    """(n, 3)."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: IntArray) -> Weighed:
        """Return these rows in this order."""
        return Weighed(*(getattr(self, column.name)[rows] for column in fields(self)))

    def evidence(self, row: int) -> Distortion:
        """Return what one says about (s, e1, e2), its own strain integrated out."""
        precision, pull = without_strain(self.precision[row : row + 1], self.pull[row : row + 1])
        return Distortion(precision[0], pull[0])

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
    distortion = distortion.of_one_grain
    found = _claim(hypotheses, index, rows, log_null)
    begin = np.searchsorted(found.row, np.arange(len(rows)))
    q, rotation = _place(index, observed, hypotheses, rows, found)
    # Residual and derivatives side by side, in standard errors: one product holds all sums of squares.
    off = np.concatenate([columns(q), (observed.g[found.spot] - q)[:, :, None]], axis=2)
    off = observed.root_weight[found.spot] @ off
    sums = np.add.reduceat(off.transpose(0, 2, 1) @ off, begin)
    normal, right, chi2 = sums[:, :4, :4], sums[:, :4, 4], sums[:, 4, 4]
    # The rotation is integrated out first: what is left speaks of scale and ellipse alone.
    turn, across = normal[:, 3, 3], normal[:, :3, 3]
    precision = normal[:, :3, :3] - across[:, :, None] * across[:, None, :] / turn[:, None, None]
    pull = right[:, :3] - across * (right[:, 3] / turn)[:, None]
    full, drawn = precision + distortion.precision, pull + distortion.pull
    best = np.linalg.solve(full, drawn[:, :, None])[:, :, 0]
    chi2 = chi2 + distortion.pull @ distortion.mean - np.sum(best * drawn, axis=1) - right[:, 3] ** 2 / turn
    log_det = np.linalg.slogdet(full)[1] + np.log(turn) - distortion.log_det
    log_odds = index.log_shown[found.place] - log_null[found.spot] - LOG_2PI + 0.5 * observed.log_weight[found.spot]
    n_shown = np.diff(np.append(begin, len(found.row)))
    score = index.log_prior[hypotheses.zone[rows]] + np.add.reduceat(log_odds, begin)
    score += log_misses(hypotheses.misses[:, rows], n_shown)
    score += -0.5 * chi2 - 0.5 * log_det + 0.5 * LOG_2PI
    points, shown = np.zeros((len(rows), len(observed), 2)), np.zeros((len(rows), len(observed)))
    points[found.row, found.spot] = found.point
    shown[found.row, found.spot] = index.shown[found.place]
    return Weighed(
        row=rows,
        score=score,
        claims=shown > 0.0,
        points=points,
        shown=shown,
        rotation=rotation + (right[:, 3] - np.sum(across * best, axis=1)) / turn,
        precision=precision,
        pull=pull,
    )


def _claim(hypotheses: Hypotheses, index: SeedIndex, rows: IntArray, log_null: FloatArray) -> Further:
    """List all spots that chosen hypotheses claim, the pairs included; ``row`` is the row in ``rows``, rising."""
    further, pairs = hypotheses.further, hypotheses.pairs
    begin, end = np.searchsorted(further.row, rows), np.searchsorted(further.row, rows, side="right")
    count = end - begin
    row = np.repeat(np.arange(len(rows)), count)
    at = np.arange(len(row)) + np.repeat(begin - (np.cumsum(count) - count), count)
    better = further.gain[at] > log_null[further.spot[at]]
    row, at = row[better], at[better]
    pair, zone, lattice = hypotheses.pair[rows], hypotheses.zone[rows], hypotheses.lattice[rows]
    second = lattice[:, 1] * pairs.sign[pair, None]
    every = np.concatenate([np.arange(len(rows)), np.arange(len(rows)), row])
    order = np.argsort(every, kind="stable")
    places = [index.place(zone, lattice[:, 0]), index.place(zone, lattice[:, 1]), further.place[at]]
    return Further(
        row=every[order],
        spot=np.concatenate([pairs.first[pair], pairs.second[pair], further.spot[at]])[order],
        point=np.concatenate([lattice[:, 0], second, further.point[at]])[order],
        place=np.concatenate(places)[order],
        gain=np.empty(0),
    )


def _place(
    index: SeedIndex, observed: Observed, hypotheses: Hypotheses, rows: IntArray, found: Further
) -> tuple[FloatArray, FloatArray]:
    """Lattice points in the frame, turned to fit the claimed spots best, and each row's turn; (n, 2), (n_rows,)."""
    flat = np.einsum("na,nab->nb", found.point, index.basis[hypotheses.zone[rows]][found.row])
    lattice = flat[:, 0] + 1j * np.where(hypotheses.mirrored[rows][found.row], -1.0, 1.0) * flat[:, 1]
    seen = observed.g[found.spot, 0] + 1j * observed.g[found.spot, 1]
    match = np.conj(lattice) * seen / observed.sigma[found.spot] ** 2
    rotation = np.angle(np.add.reduceat(match, np.searchsorted(found.row, np.arange(len(rows)))))
    placed = lattice * np.exp(1j * rotation)[found.row]
    return np.stack([placed.real, placed.imag], axis=-1), rotation


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
    shared = pairs.sensitivity @ distortion.of_one_grain.covariance @ pairs.sensitivity.transpose(0, 2, 1)
    covariance: FloatArray = pairs.noise + shared
    return covariance


def _cross(a: NDArray[Real], b: NDArray[Real]) -> NDArray[Real]:
    cross: NDArray[Real] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return cross
