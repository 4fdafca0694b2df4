"""Explain a frame by a set of grains: which phase, zone and rotation, with one scale and ellipse for all.

The explanation is found greedily: the best hypothesis takes its spots, what it says about scale and ellipse is kept,
and the next is sought among the spots that are left. Then each grain is taken out in turn and sought again with all
others in place. A last search yields the rivals: everything else that could explain the same spots, decoys, unlisted
lattices and "unknown" included, and so the probability of each name. The first grain of a phase is judged without its
sisters: they would vouch for a scale error that they share with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.cases import Cases
from fringemap.phases.combinations import claimed, find_combinations, flag_combinations
from fringemap.phases.grains import UNLISTED, Grain, triple
from fringemap.phases.hypotheses import propose
from fringemap.phases.joining import join_spots
from fringemap.phases.judging import probabilities
from fringemap.phases.observed import observe, take
from fringemap.phases.pairs import fit_pairs, make_pairs
from fringemap.phases.prepared import prepare
from fringemap.phases.rivals import FREE, find_rivals, weigh_rivals, weigh_zones
from fringemap.phases.search import Search
from fringemap.phases.sets import explore
from fringemap.phases.unlisted import find_lattices
from fringemap.phases.zones import standard_zone
from fringemap.records import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fringemap.phases.combinations import Combination
    from fringemap.phases.distortion import Distortion
    from fringemap.phases.observed import Observed
    from fringemap.phases.pairs import Pairs
    from fringemap.phases.sets import GrainSet
    from fringemap.phases.singles import RingSet
    from fringemap.phases.unlisted import Lattices
    from fringemap.records import FloatArray, Reflections, Spots

DOUBTFUL_FACTOR = 10.0
DOUBTFUL = Flag.ON_STREAK | Flag.SINGLE_PIXEL | Flag.FEW_PERIODS | Flag.NOT_REFINED
"""A spot with one of these flags is so many times as likely to be no reflection at all."""

SECOND_ORDER = Flag.HARMONIC | Flag.COMBINATION
"""A spot with one of these is explained by stronger ones and speaks for no lattice."""

N_STRONGEST = 10
"""If listed phases explain most of so many of the strongest spots, a frame is taken as understood."""

MAX_SPOTS = 100
"""Grains are sought among so many of the strongest spots; the others may join them afterwards."""

HOPELESS = 5.0
"""What is known beforehand of scale and ellipse need not be so if the best set lies so far below in log odds."""


@dataclass(frozen=True)
class Explanation:
    """The grains of a frame and what they share."""

    grains: tuple[Grain, ...]
    """In falling order of score."""
    prior: Distortion
    """Of scale and ellipse, before any grain."""
    distortion: Distortion
    """The same after all grains and single fringes."""
    log_null: FloatArray
    """Log density at each spot of one unknown spot anywhere; (n_spots,)."""
    certain: tuple[int, ...]
    """References that are surely in the frame."""
    single_share: float = 0.0
    """Share of the spots outside all grains that the phases of the grains make, by single fringes."""
    rings: tuple[RingSet, ...] = ()
    """Of each reference."""
    rivals: Mapping[int, Grain] = field(default_factory=dict)
    """Of each reference that leads another set of grains, its strongest grain in the best of these sets."""
    score: float = 0.0
    """Log odds of all grains together against all spots being unknown."""


class Problem:
    """The spots of one frame and the structures that may explain them.

    What is computed here holds however often grains are sought for it.

    Parameters
    ----------
    spots
        At least one.
    references
        Those without a structure take no part.
    priors
        What may be known beforehand of the common scale error and ellipse, each with its probability; at least one.
        The second is not tried if several grains of listed phases explain most spots with the first.
    n_decoys
        Decoys for each structure.
    certain
        References that are surely in the frame.
    visibility
        Probability that a spot at |g| [1/Å] would be seen if the grain makes it; multiplies how much a missing
        reflection counts. None: 1 up to the largest |g| seen.
    """

    def __init__(
        self,
        spots: Spots,
        references: Sequence[Reflections],
        *,
        priors: Sequence[tuple[float, Distortion]],
        n_decoys: int,
        certain: tuple[int, ...] = (),
        visibility: Callable[[FloatArray], FloatArray] | None = None,
    ) -> None:
        self.spots, self.references, self.priors, self.certain = spots, references, priors, certain
        self.prepared = prepare(references, n_decoys=n_decoys)
        self.every = observe(spots, visibility=visibility)
        self.rows = np.sort(np.argsort(-spots.snr, kind="stable")[:MAX_SPOTS])
        self.observed = take(self.every, self.rows)
        self._searches: dict[int, Search] = {}

    @cached_property
    def pairs(self) -> Pairs:
        """Pairs of strong spots."""
        return make_pairs(self.observed)

    @cached_property
    def nets(self) -> Lattices:
        """Plane lattices on the pairs."""
        return find_lattices(self.observed, self.pairs)

    def search(self, number: int, log_null: FloatArray) -> Search:
        """Prepare the search with one of the priors, at this log density of unknown spots at each spot."""
        log_null = log_null[self.rows]
        if number in self._searches:
            return self._searches[number].with_denser_null(log_null)
        probability, prior = self.priors[number]
        case = Cases.of([prior], log_null[None])
        fit = fit_pairs(self.pairs, case.covariance, case.mean)
        self._searches[number] = Search(
            index=self.prepared.index,
            decoys=self.prepared.decoys,
            observed=self.observed,
            pairs=self.pairs,
            hypotheses=propose(self.prepared.index, self.observed, self.pairs, fit),
            lattices=self.nets.given(prior, self.prepared.resemblance, self.observed),
            prior=prior,
            log_null=log_null,
            rings=self.prepared.rings,
            log_weight=math.log(probability),
            certain=self.certain,
        )
        return self._searches[number]


@dataclass(frozen=True)
class Sought:
    """Sets of grains that may explain a frame."""

    problem: Problem
    log_null: FloatArray
    """Log density at each spot of one unknown spot anywhere; (n_spots,)."""
    sets: tuple[GrainSet, ...]
    """The best first; none if there is nothing to be sought."""
    grains: tuple[Grain, ...]
    """Of the best set, with all their spots but without probabilities, in falling order of score."""


def explain_spots(problem: Problem) -> Explanation:
    """Find the set of grains that explains a frame best, and how sure each is; no grains if unknown spots are likelier.

    Every spot is taken for one that a crystal makes.
    """
    return judge_grains(seek_grains(problem))


def seek_first_order(problem: Problem) -> tuple[Sought, dict[int, Combination]]:
    """Find grains that need no sums or differences of other grains' spots, and which spots are such."""
    sought = seek_grains(problem)
    combinations = find_combinations(problem.spots, sought.grains)
    if claimed(sought.grains, combinations):
        sought = seek_grains(problem, combinations)
        combinations = find_combinations(problem.spots, sought.grains)
    return sought, combinations


def seek_grains(problem: Problem, combinations: Collection[int] = ()) -> Sought:
    """Find the sets of grains that explain a frame best.

    Parameters
    ----------
    problem
        Spots and structures.
    combinations
        Rows of spots that speak for no grain, for they are sums or differences of two others.
    """
    log_null = _log_null(flag_combinations(problem.spots, combinations), problem.every)
    if len(problem.prepared.index) == 0 or len(problem.spots) < 2:
        return Sought(problem, log_null, (), ())
    sets: list[GrainSet] = []
    for number in range(len(problem.priors)):
        search = problem.search(number, log_null)
        sets += explore(search, least=_least(sets))
        sets.sort(key=lambda one: -one.score)
        if _is_understood(sets[0]):
            break
    grains = [_finish(grain, problem) for grain in sets[0].grains]
    return Sought(problem, log_null, tuple(sets), tuple(_join_all(grains, problem)))


def judge_grains(sought: Sought) -> Explanation:
    """Give each grain of the best set its probabilities."""
    problem, sets = sought.problem, sought.sets
    if not sets:
        prior = problem.priors[0][1]
        return Explanation((), prior, prior, sought.log_null, problem.certain, rings=problem.prepared.rings)
    leaders = {one.reference: one for one in _leaders(sets[::-1])}
    found = find_rivals(sets[0])
    judged = probabilities(weigh_rivals(sets, found, problem.references)) if sought.grains else ()
    zones = weigh_zones(sets[0], found, problem.references)
    return Explanation(
        grains=tuple(
            replace(one, probabilities=shares, zone_probability=zone.own, rival_zones=zone.others)
            for one, shares, zone in zip(sought.grains, judged, zones, strict=True)
        ),
        prior=sets[0].search.prior,
        distortion=sets[0].distortion,
        log_null=sought.log_null,
        certain=problem.certain,
        single_share=sets[0].single_share,
        rings=problem.prepared.rings,
        rivals={reference: _finish(one, problem) for reference, one in leaders.items()},
        score=sets[0].score,
    )


def _least(sets: Sequence[GrainSet]) -> float:
    """Log odds below which another prior of scale and ellipse is hopeless; none is if the best set strains its own.

    Where that is so, the grains that the other prior makes possible often come up as rivals only.
    """
    if not sets or _is_distorted(sets[0]):
        return -math.inf
    return sets[0].score - HOPELESS


def _is_distorted(one: GrainSet) -> bool:
    """Tell whether a set of grains needs a scale or an ellipse that is not expected."""
    return one.gain_of_freedom(*FREE) > 0.0


def _is_understood(one: GrainSet) -> bool:
    """Tell whether several grains of listed phases explain most strong spots without much distortion."""
    strongest = one.search.observed.seeds[:N_STRONGEST]
    listed = [grain for grain in one.grains if grain.reference != UNLISTED]
    explained = {spot for grain in listed for spot in grain.spots}
    explains = len(listed) > 1 and sum(int(spot) in explained for spot in strongest) > 0.6 * len(strongest)
    return explains and not _is_distorted(one)


def _join_all(grains: Sequence[Grain], problem: Problem) -> list[Grain]:
    """Let each grain of a phase, the strongest first, take the free spots on its net."""
    joined = list(grains)
    for number, grain in enumerate(grains):
        structure = problem.references[grain.reference].structure if grain.reference != UNLISTED else None
        if structure is not None:
            taken = {spot for one in joined for spot in one.spots}
            joined[number] = join_spots(grain, structure, problem.every, taken)
    return joined


def _leaders(sets: Sequence[GrainSet]) -> list[Grain]:
    """List the grains of all sets in the order of the sets, of each set the weakest first."""
    return [grain for one in sets for grain in one.grains[::-1] if grain.reference != UNLISTED]


def _finish(grain: Grain, problem: Problem) -> Grain:
    """Write a grain with the rows of all spots, and its zone in the standard setting."""
    grain = replace(grain, spots=tuple(int(problem.rows[spot]) for spot in grain.spots))
    structure = problem.references[grain.reference].structure if grain.reference != UNLISTED else None
    if structure is None or grain.zone_axis is None:
        return grain
    axis, hkl = standard_zone(structure, np.array(grain.zone_axis), np.array(grain.hkl))
    return replace(grain, zone_axis=triple(axis), hkl=tuple(triple(one) for one in hkl))


def _log_null(spots: Spots, observed: Observed) -> FloatArray:
    """Log density at each spot of a spot that no grain makes: uniform in |g| and angle over the span of the frame.

    A harmonic lies on the lattice of its own spot in any case, and a sum where two other spots put it: they
    speak for no lattice, and their density is as high.
    """
    span = 1.05 * observed.length.max()
    log_null = -np.log(math.pi * span * observed.length)
    doubtful = (spots.flags & int(DOUBTFUL)) != 0
    log_null = log_null + math.log(DOUBTFUL_FACTOR) * doubtful
    derived = (spots.flags & int(SECOND_ORDER)) != 0
    sure = -math.log(2.0 * math.pi) - 2.0 * np.log(observed.sigma)
    density: FloatArray = np.where(derived, np.maximum(log_null, sure), log_null)
    return density
