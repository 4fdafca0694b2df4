"""Sets of grains that explain a frame together, found greedily, and the rivals that begin a set of their own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.distortion import Distortion, gain_of_freedom
from fringemap.phases.grains import UNLISTED, Grain, make_unlisted, triple
from fringemap.phases.search import Found, Given, odds_of, overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.phases.hypotheses import Weighed
    from fringemap.phases.search import Search
    from fringemap.records import Mask

N_TAKEN = 16
"""Hypotheses that are integrated where only the best is wanted."""

MAX_GRAINS = 12

MAX_RIVALS = 4
RIVAL_DEPTH = 6.0
"""So many rivals, and not further below in log odds, begin a set of grains of their own."""

DISTURBED = 0.7
"""A grain is sought anew beside a rival that costs it as much of its log odds, by way of scale and ellipse."""


class GrainSet:
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

    def gain_of_freedom(self, scale_sigma: float, ellipse_sigma: float = 0.0, *, reference: int | None = None) -> float:
        """By how much the log odds gain if scale and ellipse are so much less well known; or those of one phase alone.

        Plain lattices say nothing of either.
        """
        own = [grain.evidence for grain in self.grains if reference in (None, grain.reference)]
        seen = Distortion(np.zeros((3, 3)), np.zeros(3)).with_evidence(own)
        freer = self.search.prior.widened(scale_sigma, ellipse_sigma)
        return float(gain_of_freedom(self.search.prior, freer, seen.precision[None], seen.pull[None])[0])

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


def explore(search: Search, *, least: float) -> list[GrainSet]:
    """Find the best set of grains and those that begin with a rival of one of its grains; the best first.

    A rival drags scale and ellipse along, and with them other grains. Those that suffer are sought anew. Where the best
    set's log odds stay below ``least``, its rivals cannot matter.
    """
    first = GrainSet(_settle(search, _complete(search, [[]])[0]), search)
    if first.score < least:
        return [first]
    begun = [[rival, *_undisturbed(search, rival, first.grains)] for rival in _rivals(search, first.grains)]
    sets = [first, *(GrainSet(grains, search) for grains in _complete(search, begun))]
    sets.sort(key=lambda one: -one.score)
    if sets[0] is first:
        return sets
    best = GrainSet(_settle(search, sets[0].grains), search)
    return [max(best, sets[0], key=lambda one: one.score), *sets[1:]]


def given_by(search: Search, others: Sequence[Grain]) -> Given:
    """Gather what the other grains say to the search for one more."""
    return Given(
        distortion=search.prior.with_evidence(grain.evidence for grain in others),
        taken={spot for grain in others for spot in grain.spots},
        present={grain.reference for grain in others},
    )


def claims_of(search: Search, grain: Grain) -> Mask:
    """Tell which spots a grain explains; (n_spots,)."""
    claims = np.zeros(len(search.observed), np.bool_)
    claims[list(grain.spots)] = True
    return claims


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
        if grain.reference == UNLISTED or grain.reference in phases or any(grain is one for one in ousted):
            continue
        if after.gain([grain.evidence]) > before.gain([grain.evidence]) - DISTURBED:
            kept.append(grain)
            before, after = before.with_evidence([grain.evidence]), after.with_evidence([grain.evidence])
    return kept


def _rivals(search: Search, grains: Sequence[Grain]) -> list[Grain]:
    """Best hypotheses of other phases for the spots of each grain, when the other phases keep theirs.

    They are compared together with the spots that their phase explains on d alone.
    """
    eldest = [
        grain
        for number, grain in enumerate(grains)
        if grain.reference == UNLISTED or all(other.reference != grain.reference for other in grains[:number])
    ]
    taken = [{spot for other in _strangers(grains, grain) for spot in other.spots} for grain in eldest]
    claims = [claims_of(search, grain) for grain in eldest]
    found = search.find([Given(search.prior, spots, ()) for spots in taken], wanted=claims)
    rivals = [one for case in zip(eldest, taken, found, strict=True) for one in _rivals_of(search, *case)]
    rivals.sort(key=lambda rival: rival[0])
    return [rival for _, rival in rivals[:MAX_RIVALS]]


def _strangers(grains: Sequence[Grain], grain: Grain) -> list[Grain]:
    """All other grains that are not of the same phase."""
    of_phase = grain.reference if grain.reference != UNLISTED else None
    return [other for other in grains if other is not grain and other.reference != of_phase]


def _rivals_of(search: Search, grain: Grain, taken: set[int], found: Found) -> list[tuple[float, Grain]]:
    """Rivals of one grain, each with the log odds that it lacks."""
    first = np.sort(np.unique(search.reference(found.real.row), return_index=True)[1])[: MAX_RIVALS + 1]
    made = [_make_grain(search, found.real, int(row), search.prior, len(taken)) for row in first]
    worth = [one.score + _singles_of(search, one, taken) for one in made]
    own = [value for value, one in zip(worth, made, strict=True) if one.reference == grain.reference]
    best = max([grain.score if grain.reference == UNLISTED else -math.inf, *own])
    return [
        (best - value, one)
        for value, one in zip(worth, made, strict=True)
        if one.reference != grain.reference and value > best - RIVAL_DEPTH
    ]


def _singles_of(search: Search, grain: Grain, taken: set[int]) -> float:
    seen = search.prior.with_evidence([grain.evidence])
    return search.weigh_singles([grain.reference], seen, taken.union(grain.spots))[0]


def _complete(search: Search, sets: Sequence[Sequence[Grain]]) -> list[list[Grain]]:
    """Add grains to each set, the best first, until unknown spots are likelier."""
    complete = [list(grains) for grains in sets]
    growing = complete
    while growing := [grains for grains in growing if len(grains) < MAX_GRAINS]:
        found = zip(growing, _take(search, growing), strict=True)
        growing = []
        for grains, one in found:
            if one is not None:
                grains.append(one)
                growing.append(grains)
    return complete


def _settle(search: Search, grains: Sequence[Grain]) -> list[Grain]:
    """Seek each grain again with all others in place, weak ones first: they yield to strong ones.

    All are sought at once, as if those before them stayed what they are; where one has not, the rest is sought again.
    """
    settled = sorted(grains, key=lambda grain: grain.score)
    waiting = list(settled)
    while waiting:
        sought = _take(search, [_without(settled, grain) for grain in waiting])
        for found in sought:
            grain = waiting.pop(0)
            settled = _without(settled, grain) + ([found] if found else [])
            if found is None or found.name != grain.name:
                break
    return settled


def _without(grains: Sequence[Grain], one: Grain) -> list[Grain]:
    return [grain for grain in grains if grain is not one]


def _take(search: Search, sets: Sequence[Sequence[Grain]]) -> list[Grain | None]:
    """Make one more grain for each set of grains, or none if unknown spots are likelier."""
    names = [frozenset(grain.name for grain in grains) for grains in sets]
    known = search.found_beside
    new = {name: given_by(search, grains) for name, grains in zip(names, sets, strict=True) if name not in known}
    found = search.find(list(new.values()), n_weighed=N_TAKEN)
    for (name, given), one in zip(new.items(), found, strict=True):
        known[name] = _best_grain(search, given, one)
    return [known[name] for name in names]


def _best_grain(search: Search, given: Given, found: Found) -> Grain | None:
    """Make a grain of the best hypothesis if it is likelier than unknown spots.

    If plain lattices together are likelier still, it is unlisted: its spots are taken, but it says nothing about scale
    and ellipse, for a chance fit would draw them its way.
    """
    real = float(found.real.score[0]) if len(found.real) else -math.inf
    plain = float(found.lattice_score[0]) if len(found.lattice_score) else -math.inf
    if max(real, plain) <= 0.0:
        return None
    n_taken = len(given.taken)
    n_free = len(search.log_null) - n_taken
    if plain > real:
        return make_unlisted(found.lattice_claims[0], plain, n_free)
    claims = found.real.claims[0]
    unlisted = odds_of(found.lattice_score) @ overlaps(found.lattice_claims, claims)
    if unlisted > odds_of(found.real.score)[0]:
        return make_unlisted(claims, float(np.log(unlisted)), n_free)
    return _make_grain(search, found.real, 0, given.distortion, n_taken)


def _make_grain(search: Search, weighed: Weighed, best: int, distortion: Distortion, n_taken: int) -> Grain:
    """Make a grain of a hypothesis, where others have told scale and ellipse and taken so many spots."""
    hypotheses, row = search.hypotheses, int(weighed.row[best])
    zone = int(hypotheses.zone[row])
    members = hypotheses.members
    member = hypotheses.members_of(weighed.row[best : best + 1])[1]
    member = member[weighed.claims[best, members.spot[member]]]
    member = member[np.argsort(members.spot[member])]
    axis = search.index.uvw[zone] * (-1 if hypotheses.mirrored[row] else 1)
    hkl = members.point[member].astype(np.int64) @ search.index.basis_hkl[zone]
    evidence = weighed.evidence(best)
    score = float(weighed.score[best])
    n_unknown = max(1, len(search.log_null) - n_taken)
    return Grain(
        reference=int(search.reference(weighed.row[best])),
        zone_axis=triple(axis),
        spots=tuple(members.spot[member].tolist()),
        hkl=tuple(map(tuple, hkl.tolist())),
        shown=tuple(search.index.shown[members.place[member]].tolist()),
        score=score,
        base=score - distortion.gain([evidence]) + len(member) * math.log(n_unknown),
        evidence=evidence,
    )
