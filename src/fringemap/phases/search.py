"""Seek the hypotheses that explain the free spots of a frame best, with all other grains in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.hypotheses import Hypotheses, Observed, Weighed, rank, weigh
from fringemap.phases.singles import weigh_singles

if TYPE_CHECKING:
    from collections.abc import Collection

    from fringemap.phases.distortion import Distortion
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

SIBLINGS = 0.06
"""Phases on no list that differ from a listed one by the size of their cells only, for each that is on a long list."""

N_WEIGHED = 96
"""Hypotheses that are integrated where all rivals count."""

DEPTH = 14.0
"""Hypotheses whose log odds lie further below the best are not integrated."""

LARGEST_LOG_ODDS = 600.0
"""Odds beyond it are as good as certain, and would overflow."""


@dataclass(frozen=True)
class Found:
    """What can explain the free spots: real structures, decoys and plain lattices, each best first."""

    real: Weighed
    decoys: Weighed
    lattice_score: FloatArray
    lattice_claims: Mask


@dataclass(frozen=True)
class Search:
    """What stays the same through the search of one frame."""

    index: SeedIndex
    observed: Observed
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
        return SIBLINGS * min(1.0, self.index.n_real / LONG_LIST)

    def weigh_singles(
        self, references: Collection[int], distortion: Distortion, taken: Collection[int]
    ) -> tuple[float, Distortion, float]:
        """Log odds of references to make spots outside all grains by single fringes; see ``weigh_singles``."""
        free = np.setdiff1d(np.arange(len(self.observed)), list(taken))
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
        # If no grain explains the free spots, they are all unknown: so many unknown spots are expected.
        log_null = self.log_null + np.log(max(1, len(self.log_null) - len(taken)))
        log_null[list(taken)] = np.inf
        table = self.index.table[self.hypotheses.zone]
        log_rate = self._log_rates(present)[table]
        ranked = rank(self.hypotheses, distortion, log_null) + log_rate
        real = table < self.index.n_real
        chosen = [_top(ranked, np.flatnonzero(which), n_weighed) for which in (real, ~real)]
        rows = np.concatenate(chosen)
        weighed = weigh(self.index, self.observed, self.hypotheses, rows, distortion, log_null)
        weighed = weighed.add(log_rate[rows])
        unlisted = UNLISTED_EXPECTED * min(1.0, self.index.n_real / LONG_LIST)
        score, claims = self.lattices.score(float(np.log(unlisted)), log_null)
        order = np.argsort(-score, kind="stable")[:N_WEIGHED]
        lattice_score, lattice_claims = score[order], claims[order]
        _, first = np.unique(np.packbits(lattice_claims, axis=1), axis=0, return_index=True)
        first.sort()
        return Found(
            _distinct(weighed.take(np.arange(len(chosen[0]))), self.hypotheses),
            _distinct(weighed.take(np.arange(len(chosen[0]), len(rows))), self.hypotheses),
            lattice_score[first],
            lattice_claims[first],
        )

    def _log_rates(self, present: Collection[int]) -> FloatArray:
        """Log of the number of grains expected of each table; (n_tables,)."""
        n_real, n_tables = self.index.n_real, len(self.index.references)
        rate = np.full(n_tables, GRAINS_EXPECTED / max(n_real, FEWEST_REAL))
        rate[:n_real][np.isin(self.index.references[:n_real], [*present, *self.certain])] = AGAIN_EXPECTED
        rate[n_real:] = DECOYS_EXPECTED * min(1.0, n_real / LONG_LIST) / max(n_tables - n_real, 1)
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


def _top(ranked: FloatArray, rows: IntArray, at_most: int) -> IntArray:
    """Rows with the highest rank, none much below the best."""
    score = ranked[rows]
    if len(rows) > at_most:
        chosen = np.argpartition(-score, at_most)[:at_most]
        rows, score = rows[chosen], score[chosen]
    keep: IntArray = rows[(score > score.max(initial=-np.inf) - DEPTH) & np.isfinite(score)]
    return keep


def _distinct(weighed: Weighed, hypotheses: Hypotheses) -> Weighed:
    """Keep one of the hypotheses that are the same grain found through different pairs, or by symmetry; best first."""
    order = np.argsort(-weighed.score, kind="stable")
    packed = np.packbits(weighed.claims[order], axis=1)
    names = np.concatenate(
        [
            hypotheses.zone[weighed.row[order], None],
            np.rint(10.0 * weighed.score[order, None]).astype(np.int64),
            packed.astype(np.int64),
        ],
        axis=1,
    )
    _, first = np.unique(names, axis=0, return_index=True)
    kept = order[np.sort(first)]
    return weighed.take(kept)
