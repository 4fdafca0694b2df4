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

from fringemap.phases.combinations import flag_combinations
from fringemap.phases.distortion import Distortion
from fringemap.phases.hypotheses import Observed, Weighed, make_pairs, observe, propose, take
from fringemap.phases.joining import join_spots
from fringemap.phases.search import N_WEIGHED, Found, Search, odds_of
from fringemap.phases.seeds import build_decoy_index, build_resemblance, build_seed_index
from fringemap.phases.singles import make_ring_set
from fringemap.phases.unlisted import find_lattices
from fringemap.phases.zones import standard_zone
from fringemap.records import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fringemap.phases.hypotheses import Pairs
    from fringemap.phases.singles import RingSet
    from fringemap.phases.unlisted import Lattices
    from fringemap.records import FloatArray, IntArray, Mask, Reflections, Spots

DOUBTFUL_FACTOR = 10.0
DOUBTFUL = Flag.ON_STREAK | Flag.SINGLE_PIXEL | Flag.FEW_PERIODS | Flag.NOT_REFINED
"""A spot with one of these flags is so many times as likely to be no reflection at all."""

SECOND_ORDER = Flag.HARMONIC | Flag.COMBINATION
"""A spot with one of these is explained by stronger ones and speaks for no lattice."""

N_STRONGEST = 10
"""If listed phases explain most of so many of the strongest spots, a frame is taken as understood."""

N_TAKEN = 16
"""Hypotheses that are integrated where only the best is wanted."""

MAX_SPOTS = 100
"""Grains are sought among so many of the strongest spots; the others may join them afterwards."""

MAX_GRAINS = 12

MAX_RIVALS = 4
RIVAL_DEPTH = 6.0
"""So many rivals, and not further below in log odds, begin a set of grains of their own."""

HOPELESS = 5.0
"""What is known beforehand of scale and ellipse need not be so if the best set lies so far below in log odds."""

TRUST = 0.5
"""Share of the log odds between sets of grains that is believed. Grains of a frame share one transfer function that
nobody knows, so what each shows and hides is no independent evidence; without this, nine of ten would be six of ten."""

DISTURBED = 0.7
"""A grain is sought anew beside a rival that costs it as much of its log odds, by way of scale and ellipse."""

SIBLING_SIZES = 0.06
"""Spread of the cells of crystals that are built alike [relative]: spinels, rock salts, perovskites."""

UNLISTED = -1
"""In place of a reference: a lattice that no phase of the list explains as well."""


@dataclass(frozen=True)
class Grain:
    """One zone of one phase that explains some spots."""

    reference: int
    """``UNLISTED``: none of the list."""
    zone_axis: tuple[int, int, int] | None
    spots: tuple[int, ...]
    hkl: tuple[tuple[int, int, int], ...]
    """Of each spot, with the sign that the spot's direction demands."""
    shown: tuple[float, ...]
    """Probability of showing of each."""
    score: float
    """Log odds against its spots being unknown, all other grains given."""
    base: float
    """The same without what scale and ellipse and the number of unknown spots add: these are shared."""
    evidence: Distortion
    """What it says about scale and ellipse."""
    probabilities: FloatArray = field(default_factory=lambda: np.empty(0))
    """That each reference explains its spots; what is missing to 1 is unknown; (n_references,)."""

    @property
    def probability(self) -> float:
        """That the grain is of its phase."""
        return float(self.probabilities[self.reference])


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
        self.index, self.decoys = build_seed_index(references), build_decoy_index(references, n_decoys=n_decoys)
        self.resemblance = build_resemblance(references, n_decoys=n_decoys)
        self.rings = tuple(make_ring_set(reflections) for reflections in references)
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
        if number not in self._searches:
            probability, prior = self.priors[number]
            self._searches[number] = Search(
                index=self.index,
                decoys=self.decoys,
                observed=self.observed,
                pairs=self.pairs,
                hypotheses=propose(self.index, self.observed, self.pairs, prior),
                lattices=self.nets.given(prior, self.resemblance, self.observed),
                prior=prior,
                log_null=log_null,
                rings=self.rings,
                log_weight=math.log(probability),
                certain=self.certain,
            )
        return replace(self._searches[number], log_null=log_null)


@dataclass(frozen=True)
class Sought:
    """Sets of grains that may explain a frame."""

    problem: Problem
    log_null: FloatArray
    """Log density at each spot of one unknown spot anywhere; (n_spots,)."""
    sets: tuple[_Set, ...]
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
    if len(problem.index) == 0 or len(problem.spots) < 2:
        return Sought(problem, log_null, (), ())
    sets: list[_Set] = []
    for number in range(len(problem.priors)):
        search = problem.search(number, log_null)
        sets += _explore(search, least=max((one.score for one in sets), default=-math.inf) - HOPELESS)
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
        return Explanation((), prior, prior, sought.log_null, problem.certain, rings=problem.rings)
    leaders = {one.reference: one for one in _leaders(sets[::-1])}
    judged = zip(sought.grains, _judge(sets, len(problem.references)), strict=True)
    return Explanation(
        grains=tuple(replace(grain, probabilities=probabilities) for grain, probabilities in judged),
        prior=sets[0].search.prior,
        distortion=sets[0].distortion,
        log_null=sought.log_null,
        certain=problem.certain,
        single_share=sets[0].single_share,
        rings=problem.rings,
        rivals={reference: _finish(one, problem) for reference, one in leaders.items()},
        score=sets[0].score,
    )


def _is_understood(one: _Set) -> bool:
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


def _leaders(sets: Sequence[_Set]) -> list[Grain]:
    """List the grains of all sets in the order of the sets, of each set the weakest first."""
    return [grain for one in sets for grain in one.grains[::-1] if grain.reference != UNLISTED]


def _finish(grain: Grain, problem: Problem) -> Grain:
    """Write a grain with the rows of all spots, and its zone in the standard setting."""
    grain = replace(grain, spots=tuple(int(problem.rows[spot]) for spot in grain.spots))
    structure = problem.references[grain.reference].structure if grain.reference != UNLISTED else None
    if structure is None or grain.zone_axis is None:
        return grain
    axis, hkl = standard_zone(structure, np.array(grain.zone_axis), np.array(grain.hkl))
    return replace(grain, zone_axis=_triple(axis), hkl=tuple(_triple(one) for one in hkl))


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


def _explore(search: Search, *, least: float) -> list[_Set]:
    """Find the best set of grains and those that begin with a rival of one of its grains; the best first.

    A rival drags scale and ellipse along, and with them other grains. Those that suffer are sought anew. Where the best
    set's log odds stay below ``least``, its rivals cannot matter.
    """
    first = _Set(_settle(search, _complete(search, [])), search)
    if first.score < least:
        return [first]
    sets = [first]
    sets += [
        _Set(_complete(search, [rival, *_undisturbed(search, rival, first.grains)]), search)
        for rival in _rivals(search, first.grains)
    ]
    sets.sort(key=lambda one: -one.score)
    if sets[0] is first:
        return sets
    best = _Set(_settle(search, sets[0].grains), search)
    return [max(best, sets[0], key=lambda one: one.score), *sets[1:]]


class _Set:
    """Grains that explain a frame together, and the log odds against all spots being unknown."""

    def __init__(self, grains: Sequence[Grain], search: Search) -> None:
        self.search = search
        self.grains = sorted(grains, key=lambda grain: -grain.score)
        joint = search.prior.with_evidence(grain.evidence for grain in grains)
        taken = [spot for grain in grains for spot in grain.spots]
        n_spots = len(search.log_null)
        self.score = sum(grain.base for grain in grains) + joint.potential - search.prior.potential
        # The number of unknown spots to be expected is itself unknown; with an even prior it leaves factorials.
        self.score += math.lgamma(n_spots - len(taken) + 1) - math.lgamma(n_spots + 1)
        phases = {grain.reference for grain in grains if grain.reference != UNLISTED}
        self.singles, self.distortion, self.single_share = _weigh_singles(search, phases, joint, taken)
        self.score += self.singles + search.log_weight

    def singles_of(self, reference: int) -> float:
        """Log odds that a phase owes to single fringes; never below 0."""
        if reference == UNLISTED:
            return 0.0
        taken = [spot for grain in self.grains for spot in grain.spots]
        others = [grain for grain in self.grains if grain.reference not in (UNLISTED, reference)]
        joint = self.search.prior.with_evidence(grain.evidence for grain in others)
        without, _, _ = _weigh_singles(self.search, {grain.reference for grain in others}, joint, taken)
        return max(0.0, self.singles - without)

    def share(self, claims: Mask) -> int | None:
        """Tell which reference, or unlisted lattice, explains most of the claimed spots; None if none does."""
        for grain in self.grains:
            if claims[list(grain.spots)].sum() >= 0.5 * claims.sum():
                return grain.reference
        return None


def _weigh_singles(
    search: Search, phases: set[int], joint: Distortion, taken: Sequence[int]
) -> tuple[float, Distortion, float]:
    """Weigh single fringes of all phases of a set, or of one of them alone; what is said of scale is the best's."""
    choices = [phases, *({phase} for phase in sorted(phases) if len(phases) > 1)]
    weighed = [search.weigh_singles(choice, joint, taken) for choice in choices]
    log_odds = np.array([one for one, _, _ in weighed])
    best = int(np.argmax(log_odds))
    top = float(log_odds[best])
    return top + math.log(float(np.exp(log_odds - top).mean())), *weighed[best][1:]


def _undisturbed(search: Search, rival: Grain, grains: Sequence[Grain]) -> list[Grain]:
    """Grains that share no spot with a rival, nor the phase with what it ousts, and that like its scale as well."""
    ousted = [grain for grain in grains if set(grain.spots) & set(rival.spots)]
    phases = {grain.reference for grain in ousted if grain.reference != UNLISTED}
    before = search.prior.with_evidence(grain.evidence for grain in ousted)
    after = search.prior.with_evidence([rival.evidence])
    kept = []
    for grain in grains:
        if any(grain is one for one in ousted) or grain.reference in phases:
            continue
        if after.gain([grain.evidence]) > before.gain([grain.evidence]) - DISTURBED:
            kept.append(grain)
            before, after = before.with_evidence([grain.evidence]), after.with_evidence([grain.evidence])
    return kept


def _rivals(search: Search, grains: Sequence[Grain]) -> list[Grain]:
    """Best hypotheses of other phases for the spots of each grain, when the other phases keep theirs.

    They are compared together with the spots that their phase explains on d alone.
    """
    rivals: list[tuple[float, Grain]] = []
    for number, grain in enumerate(grains):
        if grain.reference != UNLISTED and any(other.reference == grain.reference for other in grains[:number]):
            continue
        others = [other for other in grains if other is not grain]
        if grain.reference != UNLISTED:
            others = [other for other in others if other.reference != grain.reference]
        taken = {spot for other in others for spot in other.spots}
        found = search.find(search.prior, taken, ())
        reference = search.reference(found.real)
        close = _overlaps(found.real.claims, _claims(search, grain)) > 0
        _, first = np.unique(np.where(close, reference, -1), return_index=True)
        first = np.sort(first[close[first]])[: MAX_RIVALS + 1]
        made = [_make_grain(search, found.real, int(row), search.prior, len(taken)) for row in first]
        worth = [one.score + _singles_of(search, one, taken) for one in made]
        own = [value for value, one in zip(worth, made, strict=True) if one.reference == grain.reference]
        best = max([grain.score if grain.reference == UNLISTED else -math.inf, *own])
        rivals += [
            (best - value, one)
            for value, one in zip(worth, made, strict=True)
            if one.reference != grain.reference and value > best - RIVAL_DEPTH
        ]
    rivals.sort(key=lambda rival: rival[0])
    return [rival for _, rival in rivals[:MAX_RIVALS]]


def _singles_of(search: Search, grain: Grain, taken: set[int]) -> float:
    seen = search.prior.with_evidence([grain.evidence])
    return search.weigh_singles([grain.reference], seen, taken.union(grain.spots))[0]


def _complete(search: Search, grains: Sequence[Grain]) -> list[Grain]:
    """Add grains, the best first, until unknown spots are likelier."""
    grains = list(grains)
    while len(grains) < MAX_GRAINS:
        found = _take(search, grains)
        if found is None:
            break
        grains.append(found)
    return grains


def _settle(search: Search, grains: Sequence[Grain]) -> list[Grain]:
    """Seek each grain again with all others in place, weak ones first: they yield to strong ones."""
    grains = sorted(grains, key=lambda grain: grain.score)
    for grain in list(grains):
        others = [other for other in grains if other is not grain]
        found = _take(search, others)
        grains = others if found is None else [*others, found]
    return grains


def _find(search: Search, others: Sequence[Grain], *, n_weighed: int = N_WEIGHED) -> Found:
    return search.find(*_given(search, others), n_weighed=n_weighed)


def _given(search: Search, others: Sequence[Grain]) -> tuple[Distortion, set[int], set[int]]:
    """What the other grains say of scale and ellipse, the spots that they take, and their references."""
    distortion = search.prior.with_evidence(grain.evidence for grain in others)
    taken = {spot for grain in others for spot in grain.spots}
    return distortion, taken, {grain.reference for grain in others}


def _take(search: Search, others: Sequence[Grain]) -> Grain | None:
    """Make a grain of the best hypothesis if it is likelier than unknown spots.

    If plain lattices together are likelier still, it is unlisted: its spots are taken, but it says nothing about scale
    and ellipse, for a chance fit would draw them its way.
    """
    found = _find(search, others, n_weighed=N_TAKEN)
    real = float(found.real.score.max(initial=-np.inf))
    plain = float(found.lattice_score.max(initial=-np.inf))
    if max(real, plain) <= 0.0:
        return None
    n_taken = sum(len(grain.spots) for grain in others)
    n_free = len(search.log_null) - n_taken
    if plain > real:
        return _make_unlisted(found.lattice_claims[int(np.argmax(found.lattice_score))], plain, n_free)
    best = int(np.argmax(found.real.score))
    claims = found.real.claims[best]
    unlisted = odds_of(found.lattice_score) @ _overlaps(found.lattice_claims, claims)
    if unlisted > odds_of(found.real.score)[best]:
        return _make_unlisted(claims, float(np.log(unlisted)), n_free)
    distortion = search.prior.with_evidence(grain.evidence for grain in others)
    return _make_grain(search, found.real, best, distortion, n_taken)


def _make_grain(search: Search, weighed: Weighed, best: int, distortion: Distortion, n_taken: int) -> Grain:
    row = int(weighed.row[best])
    zone = int(search.hypotheses.zone[row])
    spots = np.flatnonzero(weighed.claims[best])
    points = weighed.points[best, spots].astype(np.int64)
    axis = search.index.uvw[zone] * (-1 if search.hypotheses.mirrored[row] else 1)
    evidence = weighed.evidence(best)
    gained = distortion.gain([evidence])
    score = float(weighed.score[best])
    return Grain(
        reference=int(search.reference(weighed)[best]),
        zone_axis=_triple(axis),
        spots=tuple(int(spot) for spot in spots),
        hkl=tuple(_triple(hkl) for hkl in points @ search.index.basis_hkl[zone]),
        shown=tuple(float(p) for p in weighed.shown[best, spots]),
        score=score,
        base=score - gained + len(spots) * math.log(max(1, len(search.log_null) - n_taken)),
        evidence=evidence,
    )


def _make_unlisted(claims: Mask, score: float, n_free: int) -> Grain:
    spots = tuple(int(spot) for spot in np.flatnonzero(claims))
    nothing = Distortion(np.zeros((3, 3)), np.zeros(3))
    base = score + len(spots) * math.log(n_free)
    return Grain(UNLISTED, None, spots, ((0, 0, 0),) * len(spots), (0.0,) * len(spots), score, base, nothing)


def _judge(sets: Sequence[_Set], n_references: int) -> list[FloatArray]:
    """Probabilities of each grain of the best set, the strongest first.

    What leads a set of its own is weighed by the sets; all else by the odds for the grain alone. Each further grain of
    a phase makes it less likely that plain lattices happen to look like it; but a phase that is on no list and
    resembles a listed one, which decoys stand for, would show all of them just as well.
    """
    search, grains = sets[0].search, sets[0].grains
    weights = odds_of(TRUST * np.array([one.score - sets[0].score for one in sets]))
    odds = [_odds(sets, number, n_references) for number in range(len(grains))]
    judged: list[FloatArray] = []
    for number, grain in enumerate(grains):
        of_list, decoys, plain = odds[number]
        sisters = _sisters(grains, number)
        elder = [judged[other] for other in sisters if other < number]
        if elder:
            own = of_list[grain.reference]
            probabilities = elder[0] * own / (own + decoys + plain)
        else:
            for other in sisters:
                plain *= odds[other][2] / (odds[other][0][grain.reference] + odds[other][2])
            of_list, plain = _with_sets(of_list, plain, grain, sets, weights, _claims(search, grain))
            probabilities = of_list / (of_list.sum() + decoys + plain) / (1.0 + _odds_of_siblings(sets[0], grain))
        judged.append(probabilities)
    return judged


def _odds_of_siblings(best: _Set, grain: Grain) -> float:
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


def _with_sets(
    odds: FloatArray, plain: float, grain: Grain, sets: Sequence[_Set], weights: FloatArray, claims: Mask
) -> tuple[FloatArray, float]:
    """Replace the odds of what leads a set, phases and plain lattices, by the weights of the sets."""
    merged = np.append(odds, plain)  # the last place is that of UNLISTED
    of_sets = np.zeros_like(merged)
    for one, weight in zip(sets, weights, strict=True):
        reference = one.share(claims)
        of_sets[UNLISTED if reference is None else reference] += weight
    own = merged[grain.reference]
    merged = np.where(of_sets > 0.0, own * of_sets / of_sets[grain.reference], merged)
    return merged[:-1], float(merged[-1])


def _odds(sets: Sequence[_Set], number: int, n_references: int) -> tuple[FloatArray, float, float]:
    """Odds of each reference, of decoys, and of plain lattices and unknown spots to explain most of a grain's spots.

    The first grain of a phase is judged without what its sisters say about scale and ellipse. What leads no set has no
    single fringes to speak for it, so the odds of all that is like it are less by what these say for the grain's phase.
    """
    search, grains = sets[0].search, sets[0].grains
    grain, sisters = grains[number], _sisters(grains, number)
    first = not any(other < number for other in sisters)
    others = [one for other, one in enumerate(grains) if other != number and not (first and other in sisters)]
    found = _find(search, others)
    claims = _claims(search, grain)
    leaders = {one.share(claims) for one in sets}
    alone = odds_of(np.array(-sets[0].singles_of(grain.reference)))
    faded = np.array([1.0 if reference in leaders else float(alone) for reference in range(n_references)])
    joint, taken, _ = _given(search, others)
    mocked, score, mock_claims = search.find_decoys(joint, taken, claims)
    odds, decoys = np.zeros(n_references), np.zeros(n_references)
    np.add.at(odds, search.reference(found.real), odds_of(found.real.score) * _overlaps(found.real.claims, claims))
    np.add.at(decoys, mocked, odds_of(score) * _overlaps(mock_claims, claims))
    plain = 1.0 + odds_of(found.lattice_score) @ _overlaps(found.lattice_claims, claims)
    return odds * faded, float(decoys @ faded), float(plain * alone)


def _claims(search: Search, grain: Grain) -> Mask:
    claims = np.zeros(len(search.observed), np.bool_)
    claims[list(grain.spots)] = True
    return claims


def _overlaps(claims: Mask, wanted: Mask) -> FloatArray:
    shared = (claims & wanted).sum(axis=1)
    enough: FloatArray = (shared >= 0.5 * wanted.sum()).astype(np.float64)
    return enough


def _triple(indices: IntArray) -> tuple[int, int, int]:
    first, second, third = (int(index) for index in indices)
    return first, second, third
