"""Every way in which a zone of a structure can explain some of the spots of a frame, and how well it does.

A pair of spots with the lengths and the angle of a seed makes a hypothesis. The pair maps the frame on the zone's plane
lattice, so that each further spot either falls on a lattice point or does not; this test is free of scale, ellipse and
shear, which the pair takes along. ``rank`` scores hypotheses by the pair's fit to what is known of scale and ellipse,
the further spots, the missing ones and the prior; ``weigh`` integrates over rotation, scale and ellipse. Both take
hypotheses in several cases at a time: each is a trial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.distortion import Distortion, columns, without_strain
from fringemap.phases.pairs import cross
from fringemap.phases.strength import log_misses

if TYPE_CHECKING:
    from fringemap.phases.cases import Cases
    from fringemap.phases.observed import Observed
    from fringemap.phases.pairs import PairFit, Pairs
    from fringemap.phases.seeds import SeedIndex
    from fringemap.records import FloatArray, IntArray, Mask

REACH = 3.5
"""How many standard errors a spot may lie from a lattice point."""

NEAR2 = 16.0
"""Squared distance of a pair from a seed, all features together, within which it counts [standard errors squared]."""

MAX_HYPOTHESES = 3_000
BLOCK = 1024
"""Hypotheses that are tested at a time."""

EDGE = 1.08
"""Spots this much beyond the largest |g| of a structure's list are not looked up."""

LOG_2PI = math.log(2.0 * math.pi)


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

    def further_of(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """List the further spots of some hypotheses: for each the place in ``rows``, rising, and row in ``further``."""
        count = self._begin[rows + 1] - self._begin[rows]
        place = np.repeat(np.arange(len(rows)), count)
        entry: IntArray = np.arange(len(place)) + np.repeat(self._begin[rows] - (np.cumsum(count) - count), count)
        return place, entry

    @cached_property
    def _begin(self) -> IntArray:
        """First row of each hypothesis in ``further``; (n + 1,)."""
        begin: IntArray = np.searchsorted(self.further.row, np.arange(len(self) + 1))
        return begin


def propose(index: SeedIndex, observed: Observed, pairs: Pairs, fit: PairFit) -> Hypotheses:
    """Find all seeds near all pairs of spots, and test every further spot against the lattice of each.

    At most ``MAX_HYPOTHESES``, those whose pair alone speaks most for them. ``fit`` has a column for each pair.
    """
    pair, seed = index.find(pairs.features - fit.shift.T, fit.reach.T)
    features = pairs.features.T[:, pair] - np.stack([index.log_g[seed], index.log_ratio[seed], index.angle[seed]])
    chi2 = fit.chi2(pair, features)
    near = np.flatnonzero(chi2 <= NEAR2)
    pair, seed = pair[near], seed[near]
    misses, at = _misses(index, observed, index.zone[seed])
    of_pair = -2.0 * np.log(observed.length[pairs.first] * observed.length[pairs.second])
    constant = index.constant[seed] + log_misses(misses, np.array(2.0))[at] + of_pair[pair]
    rows = _best_rows(constant + fit.log_norm[pair] - 0.5 * chi2[near])
    pair, seed = pair[rows], seed[rows]
    zone, lattice = index.zone[seed], index.points[seed]
    turn = np.sign(cross(observed.g[pairs.first], observed.g[pairs.second]) * pairs.sign)
    mirrored = turn[pair] * np.sign(cross(lattice[:, 0], lattice[:, 1])) < 0
    return Hypotheses(
        pairs=pairs,
        pair=pair,
        zone=zone,
        lattice=lattice,
        mirrored=mirrored,
        features=features[:, near[rows]],
        constant=constant[rows],
        misses=misses[:, at[rows]],
        further=_find_further(index, observed, pairs, pair, zone, lattice),
    )


def _misses(index: SeedIndex, observed: Observed, zone: IntArray) -> tuple[FloatArray, IntArray]:
    """Log of the probability of each kind of grain to show nothing where spots would be seen, and where each zone is.

    (n_kinds, n_zones), each zone once, and (n,).
    """
    is_wanted = np.zeros(len(index.uvw), np.bool_)
    is_wanted[zone] = True
    n_bins = min(index.miss.shape[2], len(observed.g_shown))
    misses: FloatArray = index.miss[:, is_wanted, :n_bins] @ observed.g_shown[:n_bins]
    return misses, (np.cumsum(is_wanted) - 1)[zone]


def _best_rows(alone: FloatArray) -> IntArray:
    if len(alone) <= MAX_HYPOTHESES:
        return np.arange(len(alone))
    rows: IntArray = np.sort(np.argpartition(-alone, MAX_HYPOTHESES)[:MAX_HYPOTHESES])
    return rows


@dataclass(frozen=True)
class Trials:
    """Hypotheses, each in one of several cases; n rows."""

    row: IntArray
    """In ``Hypotheses``."""
    case: IntArray
    """In ``Cases``."""
    column: IntArray
    """In ``PairFit``: how well the pair of spots can fit in this case."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: IntArray) -> Trials:
        """Return these rows in this order."""
        return Trials(self.row[rows], self.case[rows], self.column[rows])


def try_all(hypotheses: Hypotheses, cases: Cases) -> Trials:
    """Try each hypothesis in each case in which its pair of spots is free; case by case.

    Columns are those of the fit of all pairs in all cases.
    """
    pairs, free = hypotheses.pairs, cases.free
    case, row = np.nonzero((free[:, pairs.first] & free[:, pairs.second])[:, hypotheses.pair])
    return Trials(row, case, case * len(pairs.first) + hypotheses.pair[row])


def rank(hypotheses: Hypotheses, trials: Trials, fit: PairFit, log_null: FloatArray) -> FloatArray:
    """Log odds of hypotheses against all their spots being unknown; -inf where the pair does not fit.

    Parameters
    ----------
    hypotheses
        All that there are.
    trials
        n of them, each in a case in which its pair is free.
    fit
        How well the pairs fit in the cases.
    log_null
        Log density of unknown spots at each spot, +inf for spots that are not free; (n_cases, n_spots).
    """
    row, case, pairs, further = trials.row, trials.case, hypotheses.pairs, hypotheses.further
    pair = hypotheses.pair[row]
    score = hypotheses.constant[row] + fit.log_norm[trials.column]
    score -= log_null[case, pairs.first[pair]] + log_null[case, pairs.second[pair]]
    chi2 = fit.chi2(trials.column, hypotheses.features[:, row])
    score = np.where(chi2 <= NEAR2, score - 0.5 * chi2, -np.inf)
    trial, entry = hypotheses.further_of(row)
    gain = further.gain[entry] - log_null[case[trial], further.spot[entry]]
    trial, gain = trial[gain > 0.0], gain[gain > 0.0]
    score += np.asarray(np.bincount(trial, gain, len(row)), np.float64)
    n_shown = np.bincount(trial, minlength=len(row))
    more = np.flatnonzero(n_shown)
    misses = hypotheses.misses[:, row[more]]
    score[more] += log_misses(misses, 2.0 + n_shown[more]) - log_misses(misses, np.array(2.0))
    return score


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
    area = cross(g1, g2)[:, None]
    along1, along2 = cross(g, g2[:, None]) / area, cross(g1[:, None], g) / area
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


def weigh(index: SeedIndex, observed: Observed, hypotheses: Hypotheses, trials: Trials, cases: Cases) -> Weighed:
    """Integrate the likelihood of chosen hypotheses over rotation, scale and ellipse, each in its case.

    The model is linear about the best rotation, so the integral is a Gaussian's; its prior density of rotation stands
    in ``log_prior`` of the zone.
    """
    rows, case = trials.row, trials.case
    found = _claim(hypotheses, index, trials, cases.log_null)
    begin = np.searchsorted(found.row, np.arange(len(rows)))
    q = _place(index, observed, hypotheses, rows, found)
    # Residual and derivatives side by side, in standard errors: one product holds all sums of squares.
    off = np.concatenate([columns(q), (observed.g[found.spot] - q)[:, :, None]], axis=2)
    off = observed.root_weight[found.spot] @ off
    sums = np.add.reduceat(off.transpose(0, 2, 1) @ off, begin)
    normal, right, chi2 = sums[:, :4, :4], sums[:, :4, 4], sums[:, 4, 4]
    # The rotation is integrated out first: what is left speaks of scale and ellipse alone.
    turn, across = normal[:, 3, 3], normal[:, :3, 3]
    precision = normal[:, :3, :3] - across[:, :, None] * across[:, None, :] / turn[:, None, None]
    pull = right[:, :3] - across * (right[:, 3] / turn)[:, None]
    known, mean = cases.precision[case], cases.mean[case]
    known_pull = (known @ mean[:, :, None])[:, :, 0]
    full, drawn = precision + known, pull + known_pull
    best = np.linalg.solve(full, drawn[:, :, None])[:, :, 0]
    chi2 = chi2 + np.sum(known_pull * mean, axis=1) - np.sum(best * drawn, axis=1) - right[:, 3] ** 2 / turn
    log_det = np.linalg.slogdet(full)[1] + np.log(turn) - cases.log_det[case]
    log_odds = index.log_shown[found.place] - cases.log_null[case[found.row], found.spot]
    log_odds += 0.5 * observed.log_weight[found.spot] - LOG_2PI
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
        precision=precision,
        pull=pull,
    )


def _claim(hypotheses: Hypotheses, index: SeedIndex, trials: Trials, log_null: FloatArray) -> Further:
    """List all spots that chosen hypotheses claim, the pairs included; ``row`` is the row in ``trials``, rising."""
    rows, further, pairs = trials.row, hypotheses.further, hypotheses.pairs
    row, at = hypotheses.further_of(rows)
    better = further.gain[at] > log_null[trials.case[row], further.spot[at]]
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


def _place(index: SeedIndex, observed: Observed, hypotheses: Hypotheses, rows: IntArray, found: Further) -> FloatArray:
    """Lattice points in the frame, turned to fit the claimed spots best; (n, 2)."""
    flat = np.einsum("na,nab->nb", found.point, index.basis[hypotheses.zone[rows]][found.row])
    lattice = flat[:, 0] + 1j * np.where(hypotheses.mirrored[rows][found.row], -1.0, 1.0) * flat[:, 1]
    seen = observed.g[found.spot, 0] + 1j * observed.g[found.spot, 1]
    match = np.conj(lattice) * seen / observed.sigma[found.spot] ** 2
    rotation = np.angle(np.add.reduceat(match, np.searchsorted(found.row, np.arange(len(rows)))))
    placed = lattice * np.exp(1j * rotation)[found.row]
    return np.stack([placed.real, placed.imag], axis=-1)
