"""Explain a frame by a set of grains: which phase, zone and rotation, with one scale and ellipse for all.

The explanation is found greedily: the best hypothesis takes its spots, what it says about scale and ellipse is kept,
and the next is sought among the spots that are left. Then each grain is taken out in turn and sought again with all
others in place, until nothing changes. This last search also yields the rivals: everything else that could explain the
same spots, decoys and "unknown" included, and so the probability of each name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.distortion import Distortion, prior_distortion
from fringemap.phases.hypotheses import Hypotheses, Observed, Weighed, observe, propose, rank, weigh
from fringemap.phases.seeds import SeedIndex, build_seed_index
from fringemap.records import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fringemap.records import FloatArray, IntArray, Mask, Reflections, Scale, Spots

GRAINS_EXPECTED = 2.0
"""Grains that a frame is expected to show, over all phases of the list."""

AGAIN_EXPECTED = 0.5
"""Further grains expected of a phase that is in the frame already."""

UNKNOWN_SHARE = 0.4
"""Expected share of spots without a phase of the list: noise, other phases, second order."""

UNLISTED_SHARE = 0.3
"""Grains of phases outside the list, over those inside: how much what a decoy reaches speaks for "unknown"."""

DOUBTFUL_FACTOR = 10.0
"""A spot on a streak, of one pixel or of few periods is so many times as likely to be no reflection at all."""

MAX_GRAINS = 12
N_WEIGHED = 160
"""So many of the best-ranked hypotheses are integrated, of the real structures and of the decoys each."""

DEPTH = 14.0
"""Hypotheses whose log odds lie further below the best are not integrated."""


@dataclass(frozen=True)
class Grain:
    """One zone of one phase that explains some spots."""

    reference: int
    zone_axis: tuple[int, int, int]
    rotation: float
    """From the x-axis to the zone's first basis reflection [rad]."""
    spots: tuple[int, ...]
    hkl: tuple[tuple[int, int, int], ...]
    """Of each spot, with the sign that the spot's direction demands."""
    shown: tuple[float, ...]
    """Probability of showing of each."""
    score: float
    """Log odds against its spots being unknown, all other grains given."""
    evidence: Distortion
    """What it says about scale and ellipse."""
    masses: FloatArray
    """Odds of each reference to explain the same spots, against unknown; (n_references,)."""
    decoy_mass: float
    """Mean odds of a wrong cell for each real one, summed over the list."""


@dataclass(frozen=True)
class Explanation:
    """The grains of a frame and what they share."""

    grains: tuple[Grain, ...]
    """In falling order of score."""
    distortion: Distortion
    """Of scale and ellipse, after all grains."""
    log_null: FloatArray
    """Log density of unknown spots at each spot; (n_spots,)."""


def explain_spots(
    spots: Spots,
    references: Sequence[Reflections],
    *,
    scale: Scale,
    n_decoys: int,
    visibility: Callable[[FloatArray], FloatArray] | None = None,
) -> Explanation:
    """Find the set of grains that explains a frame best.

    Parameters
    ----------
    spots
        At least one.
    references
        Those without a structure take no part.
    scale
        Its sigma is the prior of the common scale error.
    n_decoys
        Decoys for each structure.
    visibility
        Probability that a spot at |g| [1/Å] would be seen if the grain makes it; multiplies how much a missing
        reflection counts. None: 1 up to the largest |g| seen.

    Returns
    -------
    Explanation
        No grains if none is likelier than unknown spots.
    """
    index = build_seed_index(references, n_decoys=n_decoys)
    observed = observe(spots, visibility=visibility)
    log_null = _log_null(spots, observed)
    prior = prior_distortion(scale.sigma)
    if index.n_real == 0 or len(spots) < 2:
        return Explanation((), prior, log_null)
    search = _Search(index, observed, propose(index, observed, prior), prior, log_null, len(references))
    grains = _settle(search, _find_greedily(search))
    return Explanation(tuple(grains), prior.with_evidence(grain.evidence for grain in grains), log_null)


def _log_null(spots: Spots, observed: Observed) -> FloatArray:
    """Log density at each spot of spots that no grain makes: uniform in |g| and angle over the span of the frame.

    A harmonic lies on the lattice of its own spot in any case, so it speaks for no lattice: its density is as high.
    """
    expected = max(1.0, UNKNOWN_SHARE * len(spots))
    span = 1.05 * observed.length.max()
    log_null = math.log(expected) - np.log(math.pi * span * observed.length)
    doubtful = (spots.flags & int(Flag.ON_STREAK | Flag.SINGLE_PIXEL | Flag.FEW_PERIODS)) != 0
    log_null = log_null + math.log(DOUBTFUL_FACTOR) * doubtful
    harmonic = (spots.flags & int(Flag.HARMONIC)) != 0
    sure = -math.log(2.0 * math.pi) - 2.0 * np.log(observed.sigma)
    density: FloatArray = np.where(harmonic, np.maximum(log_null, sure), log_null)
    return density


@dataclass(frozen=True)
class _Search:
    """What stays the same through the search of one frame."""

    index: SeedIndex
    observed: Observed
    hypotheses: Hypotheses
    prior: Distortion
    log_null: FloatArray
    n_references: int

    def best(self, others: Sequence[Grain], *, again: Sequence[int] | None = None) -> Weighed:
        """Integrate the best hypotheses for the spots that the other grains leave; phases in ``again`` are expected."""
        distortion = self.prior.with_evidence(grain.evidence for grain in others)
        log_null = self.log_null.copy()
        log_null[[spot for grain in others for spot in grain.spots]] = np.inf
        table = self.index.table[self.hypotheses.zone]
        present = {grain.reference for grain in others} if again is None else again
        log_rate = self._log_rate(present)[table]
        ranked = rank(self.hypotheses, distortion, log_null) + log_rate
        real = table < self.index.n_real
        rows = np.concatenate([_top(ranked, np.flatnonzero(real)), _top(ranked, np.flatnonzero(~real))])
        weighed = weigh(self.index, self.observed, self.hypotheses, rows, distortion, log_null)
        return _distinct(replace(weighed, score=weighed.score + log_rate[rows]), self.hypotheses)

    def _log_rate(self, present: set[int] | Sequence[int]) -> FloatArray:
        """Log of the number of grains expected of each table; (n_tables,)."""
        n_real = self.index.n_real
        rate = np.full(len(self.index.references), GRAINS_EXPECTED / max(n_real, 4))
        again = np.isin(self.index.references, list(present))
        again[n_real:] = False
        return np.log(np.where(again, AGAIN_EXPECTED, rate))

    def reference(self, weighed: Weighed) -> IntArray:
        """Tell the reference of each hypothesis."""
        reference: IntArray = self.index.references[self._table(weighed)]
        return reference

    def is_real(self, weighed: Weighed) -> Mask:
        """Tell which hypotheses are no decoys."""
        real: Mask = self._table(weighed) < self.index.n_real
        return real

    def _table(self, weighed: Weighed) -> IntArray:
        table: IntArray = self.index.table[self.hypotheses.zone[weighed.row]]
        return table


def _top(ranked: FloatArray, rows: IntArray) -> IntArray:
    """Rows with the highest rank, at most N_WEIGHED, none much below the best."""
    score = ranked[rows]
    if len(rows) > N_WEIGHED:
        chosen = np.argpartition(-score, N_WEIGHED)[:N_WEIGHED]
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
    return Weighed(*(getattr(weighed, name)[kept] for name in Weighed.__dataclass_fields__))


def _find_greedily(search: _Search) -> list[Grain]:
    grains: list[Grain] = []
    while len(grains) < MAX_GRAINS:
        found = _take(search, search.best(grains))
        if found is None:
            break
        grains.append(found)
    return grains


def _settle(search: _Search, grains: list[Grain]) -> list[Grain]:
    """Seek each grain again with all others in place, twice over, weak ones first: they yield to strong ones."""
    for _ in range(2):
        grains.sort(key=lambda grain: grain.score)
        for grain in list(grains):
            others = [other for other in grains if other is not grain]
            stronger = [other.reference for other in others if other.score > grain.score]
            found = _take(search, search.best(others, again=stronger))
            grains = others if found is None else [*others, found]
    return sorted(grains, key=lambda grain: -grain.score)


def _take(search: _Search, weighed: Weighed) -> Grain | None:
    """Make a grain of the best real hypothesis, if it is likelier than unknown spots."""
    real = search.is_real(weighed)
    candidates = np.flatnonzero(real & (weighed.score > 0.0))
    if len(candidates) == 0:
        return None
    best = int(candidates[np.argmax(weighed.score[candidates])])
    claims = weighed.claims[best]
    overlap = (weighed.claims & claims).sum(axis=1) >= 0.5 * claims.sum()
    odds = np.where(overlap, np.exp(np.minimum(weighed.score, 600.0)), 0.0)
    masses = np.zeros(search.n_references)
    np.add.at(masses, search.reference(weighed)[real], odds[real])
    n_decoys = len(search.index.references) - search.index.n_real
    decoy_mass = odds[~real].sum() * search.index.n_real / n_decoys if n_decoys else 0.0
    row = int(weighed.row[best])
    zone = int(search.hypotheses.zone[row])
    rows = np.flatnonzero(claims)
    points = search.hypotheses.points[row, rows].astype(np.int64)
    axis = search.index.uvw[zone] * (-1 if search.hypotheses.mirrored[row] else 1)
    place = points @ search.index.place_steps[zone] + search.index.place_origin[zone]
    return Grain(
        reference=int(search.reference(weighed)[best]),
        zone_axis=_triple(axis),
        rotation=float(np.angle(np.exp(1j * weighed.rotation[best]))),
        spots=tuple(int(spot) for spot in rows),
        hkl=tuple(_triple(hkl) for hkl in points @ search.index.basis_hkl[zone]),
        shown=tuple(float(p) for p in search.index.shown[place]),
        score=float(weighed.score[best]),
        evidence=Distortion(weighed.precision[best], weighed.pull[best]),
        masses=masses,
        decoy_mass=float(decoy_mass),
    )


def _triple(indices: IntArray) -> tuple[int, int, int]:
    first, second, third = (int(index) for index in indices)
    return first, second, third


def grain_probabilities(grain: Grain) -> FloatArray:
    """Probability that each reference explains the grain's spots; what is left to 1 is unknown; (n_references,)."""
    total = grain.masses.sum() + 1.0 + UNLISTED_SHARE * grain.decoy_mass
    probabilities: FloatArray = grain.masses / total
    return probabilities
