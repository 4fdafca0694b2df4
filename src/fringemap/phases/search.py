"""Seek the hypotheses that explain the free spots of a frame best, with all other grains in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.hypotheses import propose, rank, weigh
from fringemap.phases.singles import weigh_singles

if TYPE_CHECKING:
    from collections.abc import Collection

    from fringemap.phases.distortion import Distortion
    from fringemap.phases.hypotheses import Hypotheses, Observed, Pairs, Weighed
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

DECOYS_EXPECTED = 1.0
"""Grains expected of phases that are on no list but resemble those that are."""

FEWEST_REAL = 2
"""A list of fewer structures expects no more grains of each: the user may be wrong about the only phase."""

LONG_LIST = 60
"""A shorter list is what a user knows of the specimen: it leaves less to phases that are not on it."""

SIBLINGS = 0.08
"""Phases on no list that differ from a listed one by the size of their cells only, for each that is on a long list."""

N_WEIGHED = 64
"""Hypotheses that are integrated where all rivals count."""

DEPTH = 14.0
"""Hypotheses whose log odds lie further below the best are not integrated."""

LARGEST_LOG_ODDS = 600.0
"""Odds beyond it are as good as certain, and would overflow."""


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

    @property
    def siblings(self) -> float:
        """Unlisted phases that are built like a listed one, for each of these."""
        return SIBLINGS * min(1.0, len(self.index) / LONG_LIST)

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
        self, distortion: Distortion, taken: Collection[int], present: Collection[int], *, n_weighed: int = N_WEIGHED
    ) -> Found:
        """Integrate the best hypotheses.

        Parameters
        ----------
        distortion
            What is known of scale and ellipse.
        taken
            Spots that other grains explain.
        present
            References that are in the frame already, so that a further grain of theirs is no surprise.
        n_weighed
            So many of the best-ranked hypotheses are integrated, of the real structures and of the decoys each.
        """
        log_null = self._log_null(taken)
        log_rate = self._log_rates(present)[self.index.table[self.hypotheses.zone]]
        rows = _top(rank(self.hypotheses, distortion, log_null) + log_rate, n_weighed)
        weighed = weigh(self.index, self.observed, self.hypotheses, rows, distortion, log_null).add(log_rate[rows])
        unlisted = UNLISTED_EXPECTED * min(1.0, len(self.index) / LONG_LIST)
        return Found(
            _distinct(weighed, self.hypotheses), *self.lattices.best(float(np.log(unlisted)), log_null, n_weighed)
        )

    def find_decoys(
        self, distortion: Distortion, taken: Collection[int], claims: Mask
    ) -> tuple[IntArray, FloatArray, Mask]:
        """Integrate the best decoys that explain some pair of the claimed spots.

        Returns
        -------
        IntArray, FloatArray, Mask
            The reference that each mocks, its log odds, and the spots that it claims; (n,), (n,), (n, n_spots).
        """
        log_null = self._log_null(taken)
        pairs = self.pairs.take(np.flatnonzero(claims[self.pairs.first] & claims[self.pairs.second]))
        hypotheses = propose(self.decoys, self.observed, pairs, distortion)
        rows = _top(rank(hypotheses, distortion, log_null), N_WEIGHED)
        weighed = _distinct(weigh(self.decoys, self.observed, hypotheses, rows, distortion, log_null), hypotheses)
        expected = DECOYS_EXPECTED * min(1.0, len(self.index) / LONG_LIST) / max(len(self.decoys), 1)
        reference = self.decoys.references[self.decoys.table[hypotheses.zone[weighed.row]]]
        return reference, weighed.score + np.log(expected), weighed.claims

    def _log_null(self, taken: Collection[int]) -> FloatArray:
        """Log density at each spot of the unknown spots; +inf where a grain explains it."""
        # If no grain explains the free spots, they are all unknown: so many unknown spots are expected.
        log_null: FloatArray = self.log_null + np.log(max(1, len(self.log_null) - len(taken)))
        log_null[list(taken)] = np.inf
        return log_null

    def _log_rates(self, present: Collection[int]) -> FloatArray:
        """Log of the number of grains expected of each table; (n_tables,)."""
        rate = np.full(len(self.index), GRAINS_EXPECTED / max(len(self.index), FEWEST_REAL))
        rate[np.isin(self.index.references, [*present, *self.certain])] = AGAIN_EXPECTED
        rates: FloatArray = np.log(rate)
        return rates

    def reference(self, weighed: Weighed) -> IntArray:
        """Tell the reference of each hypothesis."""
        reference: IntArray = self.index.references[self.index.table[self.hypotheses.zone[weighed.row]]]
        return reference


def odds_of(score: FloatArray) -> FloatArray:
    """Odds of log odds, without overflow."""
    odds: FloatArray = np.exp(np.minimum(score, LARGEST_LOG_ODDS))
    return odds


def _top(ranked: FloatArray, at_most: int) -> IntArray:
    """Rows with the highest rank, none much below the best."""
    rows = np.flatnonzero(ranked > max(ranked.max(initial=-np.inf) - DEPTH, -1e300))
    if len(rows) > at_most:
        rows = rows[np.argpartition(-ranked[rows], at_most)[:at_most]]
    top: IntArray = rows
    return top


def _distinct(weighed: Weighed, hypotheses: Hypotheses) -> Weighed:
    """Keep one of the hypotheses that are the same grain found through different pairs, or by symmetry; best first."""
    kept: dict[tuple[int, int, bytes], int] = {}
    zones, scores = hypotheses.zone[weighed.row].tolist(), np.rint(10.0 * weighed.score).astype(np.int64).tolist()
    for row in np.argsort(-weighed.score, kind="stable").tolist():
        kept.setdefault((zones[row], scores[row], weighed.claims[row].tobytes()), row)
    return weighed.take(np.fromiter(kept.values(), np.int64, len(kept)))
