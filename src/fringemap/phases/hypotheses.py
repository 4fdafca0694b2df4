"""Every way in which a zone of a structure can explain some of the spots of a frame, and how well it does.

A pair of spots with the lengths and the angle of a seed makes a hypothesis. The pair maps the frame on the zone's plane
lattice, so that each further spot either falls on a lattice point or does not; this test is free of scale, ellipse and
shear, which the pair takes along. ``rank`` scores hypotheses by the pair's fit to what is known of scale and ellipse,
the further spots, the missing ones and the prior; ``weigh`` integrates over rotation, scale and ellipse. Both take
hypotheses in several cases at a time: each is a trial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from fringemap.phases.distortion import Distortion, columns, without_strain
from fringemap.phases.pairs import cross
from fringemap.phases.strength import log_misses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fringemap.phases.cases import Cases
    from fringemap.phases.observed import Observed
    from fringemap.phases.pairs import PairFit, Pairs
    from fringemap.phases.seeds import SeedIndex
    from fringemap.records import FloatArray, IntArray, Mask

Real = TypeVar("Real", bound=np.generic)

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


class Members(NamedTuple):
    """All spots of all hypotheses, of each the pair and then the further ones; n rows."""

    spot: IntArray
    point: FloatArray
    """In units of the zone's basis; (n, 2)."""
    place: IntArray
    """Of the point in ``SeedIndex.shown``."""
    gain: FloatArray
    """As that of further spots; +inf for the pair: it is always claimed."""
    shows: FloatArray
    """Log of probability of showing x density at the spot, but for its distance from the point."""
    lattice: NDArray[np.complex128]
    """The point as x + iy, not yet rotated into the frame [1/Å]."""
    turn: NDArray[np.complex128]
    """Rotation from the point to the spot, with the weight that the spot has for it."""


@dataclass(frozen=True)
class Hypotheses:
    """n ways to explain some spots of a frame."""

    index: SeedIndex
    observed: Observed
    pairs: Pairs
    pair: IntArray
    """Row in ``pairs``; (n,)."""
    zone: IntArray
    """Row in the index's zones; (n,)."""
    lattice: FloatArray
    """The two spots in units of the zone's basis; (n, 2, 2)."""
    place: IntArray
    """Of the two spots in ``SeedIndex.shown``; (2, n)."""
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
        return _listed(self._first_further[rows], self._first_further[rows + 1])

    def members_of(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """List all spots of some hypotheses: for each the place in ``rows``, rising, and row in ``members``."""
        return _listed(self._first_further[rows] + 2 * rows, self._first_further[rows + 1] + 2 * rows + 2)

    @cached_property
    def members(self) -> Members:
        """All spots of all hypotheses, written out once, since each is looked up many times."""
        pairs, further, observed, index = self.pairs, self.further, self.observed, self.index
        row, first = np.repeat(np.arange(len(self)), np.diff(self._first_further) + 2), self._first_further[:-1]
        at = (first + 2 * np.arange(len(self)), np.arange(len(further.row)) + 2 * (further.row + 1))
        spot = _merged(at, pairs.first[self.pair], pairs.second[self.pair], further.spot)
        second = self.lattice[:, 1] * pairs.sign[self.pair, None]
        point = _merged(at, self.lattice[:, 0], second, further.point)
        place = _merged(at, self.place[0], self.place[1], further.place)
        always = np.full(len(self), np.inf)
        x, y = np.einsum("na,nab->bn", point, index.basis[self.zone[row]])
        lattice = x + 1j * np.where(self.mirrored[row], -y, y)
        seen = observed.g[:, 0] + 1j * observed.g[:, 1]
        return Members(
            spot=spot,
            point=point,
            place=place,
            gain=_merged(at, always, always, further.gain),
            shows=index.log_shown[place] + (0.5 * observed.log_weight - LOG_2PI)[spot],
            lattice=lattice,
            turn=np.conj(lattice) * (seen / observed.sigma**2)[spot],
        )

    @cached_property
    def log_pair_misses(self) -> FloatArray:
        """Log of the probability that a grain which shows the pair hides all the rest; (n,)."""
        return log_misses(self.misses, np.array(2.0))

    @cached_property
    def _first_further(self) -> IntArray:
        """First row of each hypothesis in ``further``; (n + 1,)."""
        first: IntArray = np.searchsorted(self.further.row, np.arange(len(self) + 1))
        return first


def _listed(begin: IntArray, end: IntArray) -> tuple[IntArray, IntArray]:
    """List some stretches of a table: for each row the number of its stretch, and the row."""
    count = end - begin
    place = np.repeat(np.arange(len(begin)), count)
    row: IntArray = np.arange(len(place)) + np.repeat(begin - (np.cumsum(count) - count), count)
    return place, row


def _merged(
    at: tuple[IntArray, IntArray], first: NDArray[Real], second: NDArray[Real], further: NDArray[Real]
) -> NDArray[Real]:
    """Write what belongs to the first and second spots of the pairs and to the further spots into one table."""
    table: NDArray[Real] = np.empty((2 * len(first) + len(further), *further.shape[1:]), further.dtype)
    table[at[0]], table[at[0] + 1], table[at[1]] = first, second, further
    return table


def propose(index: SeedIndex, observed: Observed, pairs: Pairs, fit: PairFit) -> Hypotheses:
    """Find all seeds near all pairs of spots, and test every further spot against the lattice of each.

    At most ``MAX_HYPOTHESES``, those whose pair alone speaks most for them. ``fit`` has a column for each pair.
    """
    pair, seed, off = index.find(pairs.features - fit.shift.T, fit.reach.T)
    chi2 = fit.chi2(pair, off)
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
        index=index,
        observed=observed,
        pairs=pairs,
        pair=pair,
        zone=zone,
        lattice=lattice,
        place=np.stack([index.place(zone, lattice[:, side]) for side in (0, 1)]),
        mirrored=mirrored,
        features=off[:, near[rows]] + fit.shift[:, pair],
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
    chi2 = fit.chi2(trials.column, hypotheses.features[:, row] - fit.shift[:, trials.column])
    score = np.where(chi2 <= NEAR2, score - 0.5 * chi2, -np.inf)
    trial, entry = hypotheses.further_of(row)
    gain = further.gain[entry] - log_null[case[trial], further.spot[entry]]
    trial, gain = trial[gain > 0.0], gain[gain > 0.0]
    score += np.asarray(np.bincount(trial, gain, len(row)), np.float64)
    n_shown = np.bincount(trial, minlength=len(row))
    more = np.flatnonzero(n_shown)
    score[more] -= hypotheses.log_pair_misses[row[more]]
    score[more] += log_misses(hypotheses.misses[:, row[more]], 2.0 + n_shown[more])
    return score


def compare_claims(hypotheses: Hypotheses, trials: Trials, log_null: FloatArray) -> tuple[Mask, FloatArray]:
    """Tell which spots each trial explains, and by reflections of which length.

    Parameters
    ----------
    hypotheses
        All that there are.
    trials
        n of them.
    log_null
        As for ``rank``.

    Returns
    -------
    Mask, FloatArray
        The spots; (n, n_spots). And a sum over their reflections that is the same for two trials which explain the
        same spots by the same zone only if they are the same grain, found through different pairs or by symmetry; (n,).
    """
    members = hypotheses.members
    row, entry = hypotheses.members_of(trials.row)
    claimed = np.flatnonzero(members.gain[entry] > log_null[trials.case[row], members.spot[entry]])
    row, entry = row[claimed], entry[claimed]
    spot = members.spot[entry]
    claims = np.zeros((len(trials), log_null.shape[1]), np.bool_)
    claims[row, spot] = True
    mixed = np.bincount(row, np.abs(members.lattice[entry]) * np.sqrt(spot + 2.0), len(trials))
    return claims, np.asarray(mixed, np.float64)


class _OnPairs(NamedTuple):
    """All spots written in each pair as a basis; single precision is enough to tell which lie on a lattice."""

    g1: NDArray[np.float32]
    """(n_pairs, 2)."""
    g2: NDArray[np.float32]
    along1: NDArray[np.float32]
    """(n_pairs, n_spots)."""
    along2: NDArray[np.float32]
    variance: NDArray[np.float32]
    """Of each spot's place, the errors of the pair included; -1 for the pair itself [1/Å²]; (n_pairs, n_spots)."""

    @classmethod
    def of(cls, observed: Observed, pairs: Pairs) -> _OnPairs:
        g, own = observed.g.astype(np.float32), (observed.sigma**2).astype(np.float32)
        g1, g2 = g[pairs.first], g[pairs.second] * pairs.sign[:, None].astype(np.float32)
        area = cross(g1, g2)[:, None]
        along1, along2 = cross(g, g2[:, None]) / area, cross(g1[:, None], g) / area
        variance = own + along1**2 * own[pairs.first, None] + along2**2 * own[pairs.second, None]
        every = np.arange(len(g1))
        variance[every, pairs.first] = variance[every, pairs.second] = -1.0
        return cls(g1, g2, along1, along2, variance)


def _find_further(
    index: SeedIndex, observed: Observed, pairs: Pairs, pair: IntArray, zone: IntArray, lattice: FloatArray
) -> Further:
    """List the further spots of each hypothesis; in blocks that stay in the processor's cache."""
    on_pairs = _OnPairs.of(observed, pairs)
    in_list = observed.length <= EDGE * index.g_max[zone][:, None]
    blocks = [slice(start, start + BLOCK) for start in range(0, max(len(pair), 1), BLOCK)]
    found = [_on_lattice(on_pairs, pair[block], lattice[block], in_list[block]) for block in blocks]
    row = np.concatenate([one[0] + block.start for one, block in zip(found, blocks, strict=True)])
    spot, point, spread, distance2 = (np.concatenate(column) for column in list(zip(*found, strict=True))[1:])
    place = index.place(zone[row], point)
    gain = index.log_shown[place] - LOG_2PI - np.log(spread) - 0.5 * distance2 / spread
    shows = np.isfinite(gain)
    return Further(row[shows], spot[shows], point[shows], place[shows], gain[shows])


def _on_lattice(
    on_pairs: _OnPairs, pair: IntArray, lattice: FloatArray, in_list: Mask
) -> tuple[IntArray, IntArray, FloatArray, FloatArray, FloatArray]:
    """Find each further spot that lies on a lattice point: hypothesis, spot, point, variance, squared distance."""
    lattice = lattice.astype(np.float32)
    g1, g2, along1, along2, variance = (part[pair] for part in on_pairs)
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
    distance2 = x * x + y * y
    row, spot = np.nonzero((distance2 <= np.float32(REACH**2) * variance) & in_list)
    along = np.stack([along1[row, spot], along2[row, spot]], axis=1)
    point = np.rint(np.einsum("na,nab->nb", along, lattice[row])).astype(np.float64)
    return row, spot, point, variance[row, spot].astype(np.float64), distance2[row, spot].astype(np.float64)


@dataclass(frozen=True)
class Weighed:
    """n hypotheses with rotation, scale and ellipse integrated out."""

    row: IntArray
    """In ``Hypotheses``."""
    score: FloatArray
    """Log odds against all its spots being unknown."""
    claims: Mask
    """Which spots it explains; (n, n_spots)."""
    precision: FloatArray
    """What each says about (s, e1, e2), its own strain included; (n, 3, 3)."""
    pull: FloatArray
    """(n, 3)."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: IntArray | slice) -> Weighed:
        """Return these rows in this order."""
        return Weighed(self.row[rows], self.score[rows], self.claims[rows], self.precision[rows], self.pull[rows])

    def evidence(self, row: int) -> Distortion:
        """Return what one says about (s, e1, e2), its own strain integrated out."""
        precision, pull = without_strain(self.precision[row : row + 1], self.pull[row : row + 1])
        return Distortion(precision[0], pull[0])

    def add(self, log_prior: FloatArray) -> Weighed:
        """Return the same with this much more score."""
        return replace(self, score=self.score + log_prior)


def weigh(hypotheses: Hypotheses, trials: Trials, cases: Cases) -> Weighed:
    """Integrate the likelihood of chosen hypotheses over rotation, scale and ellipse, each in its case.

    The model is linear about the best rotation, so the integral is a Gaussian's; its prior density of rotation stands
    in ``log_prior`` of the zone.
    """
    rows, case, observed, members = trials.row, trials.case, hypotheses.observed, hypotheses.members
    row, member = hypotheses.members_of(rows)
    spot = members.spot[member]
    log_null = cases.log_null[case[row], spot]
    claimed = np.flatnonzero(members.gain[member] > log_null)
    row, member, spot, log_null = row[claimed], member[claimed], spot[claimed], log_null[claimed]
    begin = np.searchsorted(row, np.arange(len(rows)))
    # Lattice points in the frame, turned to fit the claimed spots best.
    turn = np.exp(1j * np.angle(np.add.reduceat(members.turn[member], begin)))
    q = (members.lattice[member] * turn[row]).view(np.float64).reshape(-1, 2)
    # Residual and derivatives side by side, in standard errors: one product holds all sums of squares.
    off = np.concatenate([columns(q), (observed.g[spot] - q)[:, :, None]], axis=2)
    off = observed.root_weight[spot] @ off
    sums = np.add.reduceat(off.transpose(0, 2, 1) @ off, begin)
    normal, right, chi2 = sums[:, :4, :4], sums[:, :4, 4], sums[:, 4, 4]
    # The rotation is integrated out first: what is left speaks of scale and ellipse alone.
    stiff, across = normal[:, 3, 3], normal[:, :3, 3]
    precision = normal[:, :3, :3] - across[:, :, None] * across[:, None, :] / stiff[:, None, None]
    pull = right[:, :3] - across * (right[:, 3] / stiff)[:, None]
    known, mean = cases.precision[case], cases.mean[case]
    known_pull = (known @ mean[:, :, None])[:, :, 0]
    full, drawn = precision + known, pull + known_pull
    best = np.linalg.solve(full, drawn[:, :, None])[:, :, 0]
    chi2 = chi2 + np.sum(known_pull * mean, axis=1) - np.sum(best * drawn, axis=1) - right[:, 3] ** 2 / stiff
    log_det = np.linalg.slogdet(full)[1] + np.log(stiff) - cases.log_det[case]
    n_shown = np.diff(np.append(begin, len(row)))
    score = hypotheses.index.log_prior[hypotheses.zone[rows]] + np.add.reduceat(members.shows[member] - log_null, begin)
    score += log_misses(hypotheses.misses[:, rows], n_shown)
    score += -0.5 * chi2 - 0.5 * log_det + 0.5 * LOG_2PI
    claims = np.zeros((len(rows), len(observed)), np.bool_)
    claims[row, spot] = True
    return Weighed(rows, score, claims, precision, pull)
