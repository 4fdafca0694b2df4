"""Seek the hypotheses that explain the free spots of a frame best, with all other grains in place."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fringemap.phases.cases import Cases
from fringemap.phases.hypotheses import Trials, compare_claims, propose, rank, try_all, weigh
from fringemap.phases.pairs import fit_pairs
from fringemap.phases.singles import weigh_singles

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fringemap.phases.distortion import Distortion
    from fringemap.phases.grains import Grain, Name
    from fringemap.phases.hypotheses import Hypotheses, Weighed
    from fringemap.phases.observed import Observed
    from fringemap.phases.pairs import Pairs
    from fringemap.phases.seeds import SeedIndex
    from fringemap.phases.singles import RingSet
    from fringemap.phases.unlisted import Lattices
    from fringemap.records import FloatArray, IntArray, Mask

GRAINS_EXPECTED = 2.0
"""Grains that a frame is expected to show, over all phases of the list."""

AGAIN_EXPECTED = 0.5
"""Further grains expected of a phase that is in the frame already."""

UNLISTED_EXPECTED = 1.0
"""Grains expected of any lattice that is on no list."""

DECOYS_EXPECTED = 0.1
"""Grains expected of phases that are on no list but resemble those that are. Plain lattices and siblings stand for most
of what is on no list."""

FEWEST_REAL = 2
"""A list of fewer structures expects no more grains of each: the user may be wrong about the only phase."""

LONG_LIST = 60
"""A shorter list is what a user knows of the specimen: it leaves less to phases that are not on it."""

N_WEIGHED = 64
"""Hypotheses that are integrated where all rivals count."""

DEPTH = 14.0
"""Hypotheses whose log odds lie further below the best are not integrated."""

LARGEST_LOG_ODDS = 600.0
"""Odds beyond it are as good as certain, and would overflow."""


class Given(NamedTuple):
    """What the other grains of a frame say to the search for one more."""

    distortion: Distortion
    """What is known of scale and ellipse."""
    taken: Collection[int]
    """Spots that they explain."""
    present: Collection[int]
    """References that are in the frame already, so that a further grain of theirs is no surprise."""


@dataclass(frozen=True)
class Found:
    """What can explain the free spots: structures and plain lattices, each best first."""

    real: Weighed
    lattice_score: FloatArray
    lattice_claims: Mask


@dataclass(frozen=True)
class Search:
    """What stays the same through the search of one frame."""

    index: SeedIndex
    decoys: SeedIndex
    observed: Observed
    pairs: Pairs
    hypotheses: Hypotheses
    lattices: Lattices
    prior: Distortion
    log_null: FloatArray
    """Log density at each spot of one unknown spot anywhere; (n_spots,)."""
    rings: tuple[RingSet, ...]
    """Of each reference."""
    log_weight: float = 0.0
    """Log of the prior probability that ``prior`` is the right one."""
    certain: tuple[int, ...] = ()
    """References that are surely in the frame."""
    found_beside: dict[frozenset[Name], Grain | None] = field(default_factory=dict)
    """Best further grain beside other grains, these by their names; None: unknown spots are likelier."""
    plain_among: dict[tuple[bytes, int], tuple[FloatArray, Mask]] = field(default_factory=dict)
    """Best plain lattices by the log density of unknown spots, and how many were asked for."""

    def with_denser_null(self, log_null: FloatArray) -> Search:
        """Return the search where some spots are likelier unknown.

        These spots speak less for whatever claims them, and nothing speaks more for anything: what was found without
        them is still the best.
        """
        denser = set(np.flatnonzero(log_null > self.log_null).tolist())
        still_best = {
            names: grain
            for names, grain in self.found_beside.items()
            if grain is None or (grain.is_listed and denser.isdisjoint(grain.spots))
        }
        return replace(self, log_null=log_null, found_beside=still_best)

    @property
    def share_unlisted(self) -> float:
        """How much is left to what is not on the list, of what a long list leaves."""
        return min(1.0, len(self.index) / LONG_LIST)

    @property
    def decoys_expected(self) -> float:
        """Grains expected of each decoy."""
        return DECOYS_EXPECTED * self.share_unlisted / max(len(self.decoys), 1)

    @property
    def log_again(self) -> float:
        """Log of how many times as many grains are expected of a phase that is in the frame already."""
        return math.log(AGAIN_EXPECTED / self._new_expected)

    @property
    def log_prior_unlisted(self) -> float:
        """What the length of the list takes from the log odds of all that is not on it; 0 for long lists."""
        return min(0.0, math.log(self.share_unlisted * GRAINS_EXPECTED / LONG_LIST / self._new_expected))

    @property
    def _new_expected(self) -> float:
        """Grains expected of each structure of the list."""
        return GRAINS_EXPECTED / max(len(self.index), FEWEST_REAL)

    def weigh_singles(
        self, references: Collection[int], distortion: Distortion, taken: Collection[int]
    ) -> tuple[float, Distortion, float]:
        """Log odds of references to make spots outside all grains by single fringes; see ``weigh_singles``."""
        is_free = np.ones(len(self.observed), np.bool_)
        is_free[list(taken)] = False
        free = np.flatnonzero(is_free)
        rings = [self.rings[reference] for reference in sorted(references)]
        return weigh_singles(self.observed, self.log_null, rings, distortion, free)

    def find(
        self, given: Sequence[Given], *, wanted: Sequence[Mask] | None = None, n_weighed: int = N_WEIGHED
    ) -> list[Found]:
        """Integrate the best hypotheses.

        Parameters
        ----------
        given
            What to take for granted, in each of several cases.
        wanted
            Spots of each case: only what explains half of them is integrated, each way to explain the same spots by the
            same zone once. None: anything, the same thing perhaps several times.
        n_weighed
            So many of the best-ranked hypotheses of each case are integrated.

        Returns
        -------
        list of Found
            One a case.
        """
        if not given:
            return []
        cases = self._cases(given)
        fit = fit_pairs(self.pairs, cases.covariance, cases.mean)
        trials = try_all(self.hypotheses, cases)
        log_rate = self._log_rates(given)[trials.case, self._tables[trials.row]]
        ranked = rank(self.hypotheses, trials, fit, cases.log_null) + log_rate
        if wanted is not None:
            kept = _relevant(self.hypotheses, trials, ranked, cases, np.stack(wanted))
            trials, ranked, log_rate = trials.take(kept), ranked[kept], log_rate[kept]
        best = _top(ranked, trials, cases, n_weighed)
        weighed = weigh(self.hypotheses, trials.take(best), cases).add(log_rate[best])
        return [
            Found(real, *self._best_lattices(log_null, n_weighed))
            for real, log_null in zip(_by_case(weighed, trials.case[best], cases), cases.log_null, strict=True)
        ]

    def find_decoys(self, given: Sequence[Given], claims: Sequence[Mask]) -> list[tuple[IntArray, FloatArray, Mask]]:
        """Integrate the best decoys that explain some pair of the claimed spots, which differ from case to case.

        Returns
        -------
        list of IntArray, FloatArray, Mask
            For each case which decoys were found, their log odds, and the spots that they claim; (n,), (n,),
            (n, n_spots).
        """
        if not given:
            return []
        cases = self._cases(given)
        wanted = np.stack(claims) & cases.free
        case, pair = np.nonzero(wanted[:, self.pairs.first] & wanted[:, self.pairs.second])
        fit = fit_pairs(self.pairs, cases.covariance, cases.mean).take(case * len(self.pairs.first) + pair)
        hypotheses = propose(self.decoys, self.observed, self.pairs.take(pair), fit)
        trials = Trials(np.arange(len(hypotheses)), case[hypotheses.pair], hypotheses.pair)
        trials = trials.take(np.argsort(trials.case, kind="stable"))
        best = _top(rank(hypotheses, trials, fit, cases.log_null), trials, cases, N_WEIGHED)
        weighed = weigh(hypotheses, trials.take(best), cases)
        found = [distinct(one, hypotheses) for one in _by_case(weighed, trials.case[best], cases)]
        decoy, log_expected = self.decoys.table[hypotheses.zone], math.log(self.decoys_expected)
        return [(decoy[one.row], one.score + log_expected, one.claims) for one in found]

    def _best_lattices(self, log_null: FloatArray, at_most: int) -> tuple[FloatArray, Mask]:
        """Log odds of plain lattices and the spots that they claim: the same wherever the same spots are free."""
        key = log_null.tobytes(), at_most
        if key not in self.plain_among:
            log_rate = float(np.log(UNLISTED_EXPECTED * self.share_unlisted))
            self.plain_among[key] = self.lattices.best(log_rate, log_null, at_most)
        return self.plain_among[key]

    def _cases(self, given: Sequence[Given]) -> Cases:
        """Gather what is given; the log density at each spot is that of the unknown spots, +inf where a grain is."""
        # If no grain explains the free spots, they are all unknown: so many unknown spots are expected.
        n_spots = len(self.log_null)
        log_null = self.log_null + np.log([[max(1, n_spots - len(one.taken))] for one in given])
        for row, one in zip(log_null, given, strict=True):
            row[list(one.taken)] = np.inf
        return Cases.of([one.distortion for one in given], log_null)

    def _log_rates(self, given: Sequence[Given]) -> FloatArray:
        """Log of the number of grains expected of each table in each case; (n_cases, n_tables)."""
        # The last place is that of unlisted lattices.
        is_present = np.zeros((len(given), len(self.rings) + 1), np.bool_)
        for row, one in zip(is_present, given, strict=True):
            row[[*one.present, *self.certain]] = True
        expected = np.where(is_present[:, self.index.references], AGAIN_EXPECTED, self._new_expected)
        rates: FloatArray = np.log(expected)
        return rates

    @cached_property
    def _tables(self) -> IntArray:
        """Table of each hypothesis."""
        tables: IntArray = self.index.table[self.hypotheses.zone]
        return tables

    def reference(self, hypothesis: IntArray) -> IntArray:
        """Tell the reference of hypotheses."""
        reference: IntArray = self.index.references[self._tables[hypothesis]]
        return reference


def odds_of(score: FloatArray) -> FloatArray:
    """Odds of log odds, without overflow."""
    odds: FloatArray = np.exp(np.minimum(score, LARGEST_LOG_ODDS))
    return odds


def _top(ranked: FloatArray, trials: Trials, cases: Cases, at_most: int) -> IntArray:
    """Trials with the highest rank in each case, none much below the best; case by case."""
    edges = np.searchsorted(trials.case, np.arange(len(cases) + 1)).tolist()
    return np.concatenate([begin + _highest(ranked[begin:end], at_most) for begin, end in itertools.pairwise(edges)])


def _highest(ranked: FloatArray, at_most: int) -> IntArray:
    rows = np.flatnonzero(ranked > max(ranked.max(initial=-np.inf) - DEPTH, -1e300))
    if len(rows) > at_most:
        rows = rows[np.argpartition(-ranked[rows], at_most)[:at_most]]
    highest: IntArray = rows
    return highest


def overlaps(claims: Mask, wanted: Mask) -> Mask:
    """Tell which rows of claims hold half of the wanted spots; (n,). ``wanted`` is one row, or one for each."""
    enough: Mask = (claims & wanted).sum(axis=1) >= 0.5 * wanted.sum(axis=-1)
    return enough


def _relevant(hypotheses: Hypotheses, trials: Trials, ranked: FloatArray, cases: Cases, wanted: Mask) -> IntArray:
    """Trials that explain half of the wanted spots of their case, of those that are the same grain the best; in order.

    Without this, the many pairs of a grain with many spots would leave no place for its rivals.
    """
    rows = np.flatnonzero(np.isfinite(ranked))
    claims, mixed = compare_claims(hypotheses, trials.take(rows), cases.log_null)
    close = np.flatnonzero(overlaps(claims, wanted[trials.case[rows]]))
    close = close[np.argsort(-ranked[rows[close]], kind="stable")]
    case, zone = trials.case[rows[close]].tolist(), hypotheses.zone[trials.row[rows[close]]].tolist()
    first: dict[tuple[int, int, float, bytes], int] = {}
    names = zip(case, zone, mixed[close].round(6).tolist(), np.packbits(claims[close], axis=1), strict=True)
    for place, (*name, spots) in enumerate(names):
        first.setdefault((*name, spots.tobytes()), place)
    kept: IntArray = np.sort(rows[close[list(first.values())]])
    return kept


def _by_case(weighed: Weighed, case: IntArray, cases: Cases) -> list[Weighed]:
    """Part what was weighed by its case, rising; the best first."""
    # Twins by symmetry differ by rounding errors only: their order is to be the same everywhere.
    ordered = weighed.take(np.lexsort((weighed.row, -weighed.score.round(6), case)))
    edges = np.searchsorted(case, np.arange(len(cases) + 1)).tolist()
    return [ordered.take(slice(begin, end)) for begin, end in itertools.pairwise(edges)]


def distinct(weighed: Weighed, hypotheses: Hypotheses) -> Weighed:
    """Keep the first of the hypotheses that are the same grain found through different pairs, or by symmetry."""
    kept: dict[tuple[int, int, bytes], int] = {}
    scores = np.rint(10.0 * weighed.score).astype(np.int64).tolist()
    for row, (zone, score) in enumerate(zip(hypotheses.zone[weighed.row].tolist(), scores, strict=True)):
        kept.setdefault((zone, score, weighed.claims[row].tobytes()), row)
    return weighed.take(np.fromiter(kept.values(), np.int64, len(kept)))
