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
from fringemap.phases.combinations import flag_combinations
from fringemap.phases.grains import UNLISTED, Grain, triple
from fringemap.phases.hypotheses import propose
from fringemap.phases.joining import join_spots
from fringemap.phases.judging import Odds, as_reported, judge
from fringemap.phases.observed import observe, take
from fringemap.phases.pairs import fit_pairs, make_pairs
from fringemap.phases.search import AGAIN_EXPECTED, Search, distinct, odds_of
from fringemap.phases.seeds import prepare
from fringemap.phases.sets import claims_of, explore, given_by, overlaps
from fringemap.phases.unlisted import find_lattices
from fringemap.phases.zones import standard_zone
from fringemap.records import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fringemap.phases.distortion import Distortion
    from fringemap.phases.observed import Observed
    from fringemap.phases.pairs import Pairs
    from fringemap.phases.sets import GrainSet
    from fringemap.phases.singles import RingSet
    from fringemap.phases.unlisted import Lattices
    from fringemap.records import FloatArray, Mask, Reflections, Spots

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

TRUST = 0.43
"""Share of the log odds between sets of grains that is believed. Grains of a frame share one transfer function that
nobody knows, so what each shows and hides is no independent evidence; without this, nine of ten would be six of ten."""

SIBLING_SIZES = 0.06
"""Spread of the cells of crystals that are built alike [relative]: spinels, rock salts, perovskites."""


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
        self.known = prepare(references, n_decoys=n_decoys)
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
            index=self.known.index,
            decoys=self.known.decoys,
            observed=self.observed,
            pairs=self.pairs,
            hypotheses=propose(self.known.index, self.observed, self.pairs, fit),
            lattices=self.nets.given(prior, self.known.resemblance, self.observed),
            prior=prior,
            log_null=log_null,
            rings=self.known.rings,
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


def explain_spots(
    spots: Spots,
    references: Sequence[Reflections],
    *,
    priors: Sequence[tuple[float, Distortion]],
    n_decoys: int,
    certain: tuple[int, ...] = (),
    visibility: Callable[[FloatArray], FloatArray] | None = None,
) -> Explanation:
    """Find the set of grains that explains a frame best, and how sure each is; the parameters are those of ``Problem``.

    Returns
    -------
    Explanation
        No grains if none is likelier than unknown spots.
    """
    problem = Problem(spots, references, priors=priors, n_decoys=n_decoys, certain=certain, visibility=visibility)
    return judge_grains(seek_grains(problem))


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
    if len(problem.known.index) == 0 or len(problem.spots) < 2:
        return Sought(problem, log_null, (), ())
    sets: list[GrainSet] = []
    for number in range(len(problem.priors)):
        search = problem.search(number, log_null)
        sets += explore(search, least=max((one.score for one in sets), default=-math.inf) - HOPELESS)
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
        return Explanation((), prior, prior, sought.log_null, problem.certain, rings=problem.known.rings)
    leaders = {one.reference: one for one in _leaders(sets[::-1])}
    search, odds = sets[0].search, _odds(sets, len(problem.references))
    judged = zip(sought.grains, judge(odds, again=AGAIN_EXPECTED / search.decoys_expected), strict=True)
    return Explanation(
        grains=tuple(
            replace(grain, probabilities=as_reported(raw, is_lattice=grain.reference == UNLISTED))
            for grain, raw in judged
        ),
        prior=search.prior,
        distortion=sets[0].distortion,
        log_null=sought.log_null,
        certain=problem.certain,
        single_share=sets[0].single_share,
        rings=problem.known.rings,
        rivals={reference: _finish(one, problem) for reference, one in leaders.items()},
        score=sets[0].score,
    )


def _is_understood(one: GrainSet) -> bool:
    """Tell whether several grains of listed phases explain most of the strongest spots with one scale and ellipse."""
    strongest = one.search.observed.seeds[:N_STRONGEST]
    listed = [grain for grain in one.grains if grain.reference != UNLISTED]
    explained = {spot for grain in listed for spot in grain.spots}
    return len(listed) > 1 and sum(int(spot) in explained for spot in strongest) > 0.6 * len(strongest)


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


def _odds_of_siblings(best: GrainSet, grain: Grain) -> float:
    """Odds of a phase that is on no list but differs from the grain's by its size only, against the grain's phase.

    Many crystals are built alike. The further the scale must be from where the calibration sees it, the likelier is
    such a sibling. Other phases of the frame do not vouch for the scale: they were chosen to suit it.
    """
    if grain.reference == UNLISTED or grain.reference in best.search.certain:
        return 0.0
    own = [one.evidence for one in best.grains if one.reference == grain.reference]
    prior = best.search.prior
    log_odds = prior.widened(SIBLING_SIZES).gain(own) - prior.gain(own)
    return best.search.siblings * float(odds_of(np.array(log_odds)))


def _sisters(grains: Sequence[Grain], number: int) -> list[int]:
    """Other grains of the same phase."""
    reference = grains[number].reference
    if reference == UNLISTED:
        return []
    return [other for other, grain in enumerate(grains) if grain.reference == reference and other != number]


def _weights(sets: Sequence[GrainSet], claims: Mask, n_references: int) -> FloatArray:
    """Weight of the sets in which each reference, and last plain lattices or nothing, explain the claimed spots."""
    weights = np.zeros(n_references + 1)
    for one, weight in zip(sets, odds_of(TRUST * np.array([one.score - sets[0].score for one in sets])), strict=True):
        reference = one.share(claims)
        weights[UNLISTED if reference is None else reference] += weight
    return weights


def _odds(sets: Sequence[GrainSet], n_references: int) -> list[Odds]:
    """Weigh all that may explain most spots of each grain of the best set.

    The first grain of a phase is judged without what its sisters say about scale and ellipse. What leads no set has no
    single fringes to speak for it, so the odds of all that is like it are less by what these say for the grain's phase.
    """
    search, grains = sets[0].search, sets[0].grains
    given = [given_by(search, _judges(grains, number)) for number in range(len(grains))]
    claims = [claims_of(search, grain) for grain in grains]
    phases = {grain.reference for grain in grains}
    alone = {phase: float(odds_of(np.array(-sets[0].singles_of(phase)))) for phase in phases}
    found = zip(grains, claims, search.find(given), search.find_decoys(given, claims), strict=True)
    of_grains = []
    for grain, claim, listed, (decoy, score, mock_claims) in found:
        leaders = {one.share(claim) for one in sets}
        faded = np.full(n_references, alone[grain.reference])
        faded[[one for one in leaders if one not in (None, UNLISTED)]] = 1.0
        real = distinct(listed.real, search.hypotheses)
        odds, decoys = np.zeros(n_references), np.zeros(len(search.decoys))
        np.add.at(odds, search.reference(real.row), odds_of(real.score) * overlaps(real.claims, claim))
        np.add.at(decoys, decoy, odds_of(score) * overlaps(mock_claims, claim))
        plain = 1.0 + odds_of(listed.lattice_score) @ overlaps(listed.lattice_claims, claim)
        of_grains.append(
            Odds(
                reference=None if grain.reference == UNLISTED else grain.reference,
                of_list=odds * faded,
                decoys=decoys * faded[search.decoys.references],
                plain=float(plain * alone[grain.reference]),
                of_sets=_weights(sets, claim, n_references),
                siblings=_odds_of_siblings(sets[0], grain),
            )
        )
    return of_grains


def _judges(grains: Sequence[Grain], number: int) -> list[Grain]:
    """Grains beside which one is judged: all others, but for the first of its phase without its sisters."""
    sisters = _sisters(grains, number)
    first = not any(other < number for other in sisters)
    return [one for other, one in enumerate(grains) if other != number and not (first and other in sisters)]
