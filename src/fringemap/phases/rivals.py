"""What else may explain the spots of each grain: other phases, other zones, decoys, siblings, plain lattices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fringemap.phases.cif import space_group
from fringemap.phases.distortion import gain_of_freedom, without_strain
from fringemap.phases.grains import UNLISTED
from fringemap.phases.judging import MEASURED, Odds, compare
from fringemap.phases.search import AGAIN_EXPECTED, overlaps
from fringemap.phases.sets import claims_of, given_by
from fringemap.phases.zones import one_of_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.phases.distortion import Distortion
    from fringemap.phases.grains import Axis, Grain
    from fringemap.phases.hypotheses import Weighed
    from fringemap.phases.judging import Rivals
    from fringemap.phases.search import Search
    from fringemap.phases.sets import GrainSet
    from fringemap.records import FloatArray, IntArray, Mask, Reflections

FREE = 0.06, 0.03
"""Scale and ellipse of a frame of which hardly anything were known: standard deviations [relative]."""

RIVAL_ODDS = 10.0
"""A rival is reported if the best is not more than this many times as probable."""

SMALLEST_SHARE = 0.005
"""Of a zone that is looked at at all."""

SIBLING_SIZES = 0.06
"""Spread of the cells of crystals that are built alike [relative]: spinels, rock salts, perovskites."""


@dataclass(frozen=True)
class Contenders:
    """Hypotheses that explain most spots of one grain, all others in place."""

    distortion: Distortion
    """What the other grains say about scale and ellipse."""
    listed: Weighed
    plain: FloatArray
    """Log odds of plain lattices."""
    decoy: IntArray
    """Which decoys."""
    decoy_score: FloatArray

    @cached_property
    def distortion_of_listed(self) -> FloatArray:
        """Share that scale and ellipse have in the log odds of each of ``listed``."""
        precision, pull = without_strain(self.listed.precision, self.listed.pull)
        return -gain_of_freedom(self.distortion, self.distortion.widened(*FREE), precision, pull)


def find_rivals(best: GrainSet) -> list[Contenders]:
    """Seek what explains half of the spots of each grain, beside all grains that may judge it."""
    search, grains = best.search, best.grains
    given = [given_by(search, _judges(grains, number)) for number in range(len(grains))]
    claims = [claims_of(search, grain) for grain in grains]
    found = zip(given, claims, search.find(given, wanted=claims), search.find_decoys(given, claims), strict=True)
    return [
        Contenders(
            distortion=one.distortion,
            listed=listed.real,
            plain=listed.lattice_score[overlaps(listed.lattice_claims, claim)],
            decoy=decoy[overlaps(decoy_claims, claim)],
            decoy_score=score[overlaps(decoy_claims, claim)],
        )
        for one, claim, listed, (decoy, score, decoy_claims) in found
    ]


class Zones(NamedTuple):
    """How sure a grain's zone is, if its phase is right."""

    own: float
    """Probability."""
    others: tuple[tuple[Axis, float], ...]
    """Zones at least 1 / ``RIVAL_ODDS`` as probable, the likeliest first."""


def weigh_zones(best: GrainSet, found: Sequence[Contenders], references: Sequence[Reflections]) -> list[Zones]:
    """Weigh all zones of its phase that may explain most spots of each grain of a set.

    The odds of a zone are those of the best way in which it explains them, believed as far as those of a phase are. An
    unlisted lattice has no zone.
    """
    return [
        _zones_of(best.search, grain, one, references[grain.reference]) if grain.is_listed else Zones(math.nan, ())
        for grain, one in zip(best.grains, found, strict=True)
    ]


def _zones_of(search: Search, grain: Grain, found: Contenders, of: Reflections) -> Zones:
    assert of.structure is not None  # only structures make grains
    assert grain.zone_axis is not None
    mine = search.reference(found.listed.row) == grain.reference
    log_odds = MEASURED.trust * found.listed.score + (1.0 - MEASURED.trust) * found.distortion_of_listed
    number, place = np.unique(search.hypotheses.zone[found.listed.row[mine]], return_inverse=True)
    best = np.full(len(number), -np.inf)
    np.maximum.at(best, place, log_odds[mine])
    share = np.exp(best - np.logaddexp.reduce(best, initial=-np.inf))
    zones = {
        one_of_all(of.structure, search.index.uvw[number[i]]): float(share[i])
        for i in np.argsort(-share, kind="stable")
        if share[i] > SMALLEST_SHARE
    }
    own = zones.pop(one_of_all(of.structure, np.array(grain.zone_axis)), 0.0)
    least = max(own, share.max(initial=0.0)) / RIVAL_ODDS
    return Zones(own, tuple((axis, one) for axis, one in zones.items() if one >= least))


def weigh_rivals(sets: Sequence[GrainSet], found: Sequence[Contenders], references: Sequence[Reflections]) -> Rivals:
    """Weigh all that may explain most spots of each grain of the best set.

    Parameters
    ----------
    sets
        The best first; that has some grain.
    found
        By ``find_rivals``, for the best set.
    references
        What was sought.

    Returns
    -------
    Rivals
        A row for each grain, in the order of the set.
    """
    search, grains = sets[0].search, sets[0].grains
    again = np.full(len(references), search.log_again)
    again[[*search.certain, *(grain.reference for grain in grains if grain.is_listed)]] = 0.0
    again_decoys = math.log(AGAIN_EXPECTED / search.decoys_expected)
    return compare(_odds(sets, found, references), again=again, again_decoys=again_decoys)


def _odds(sets: Sequence[GrainSet], found: Sequence[Contenders], references: Sequence[Reflections]) -> list[Odds]:
    """Gather the odds of all that may explain most spots of each grain of the best set.

    The first grain of a phase is judged without what its sisters say about scale and ellipse. What leads no set has no
    single fringes to speak for it, so the odds of all that is like it are less by what these say for the grain's phase.
    """
    search, grains = sets[0].search, sets[0].grains
    says = [-one.gain_of_freedom(*FREE) for one in sets]
    alone = {phase: -sets[0].singles_of(phase) for phase in {grain.reference for grain in grains}}
    of_grains = []
    for grain, beside in zip(grains, found, strict=True):
        claim = claims_of(search, grain)
        faded = np.full(len(references), alone[grain.reference])
        faded[[leader for one in sets if (leader := one.share(claim)) not in (None, UNLISTED)]] = 0.0
        of_list, of_distortion = _of_list(search, grain, beside, len(references))
        decoys = np.full(len(search.decoys), -np.inf)
        np.logaddexp.at(decoys, beside.decoy, beside.decoy_score)
        of_sets, distortion_of_sets = _best_sets(sets, says, claim, len(references))
        of_grains.append(
            Odds(
                reference=grain.reference if grain.is_listed else None,
                of_list=of_list + faded,
                decoys=decoys + faded[search.decoys.references],
                plain=float(np.logaddexp.reduce(beside.plain, initial=0.0)) + alone[grain.reference],
                of_sets=of_sets,
                distortion_of_list=of_distortion,
                distortion_of_sets=distortion_of_sets,
                siblings=_gain_of_siblings(sets[0], grain),
                is_cubic=grain.is_listed and _is_cubic(references[grain.reference]),
                of_prior=search.log_prior_unlisted,
            )
        )
    return of_grains


def _judges(grains: Sequence[Grain], number: int) -> list[Grain]:
    """Grains beside which one is judged: all others, but for the first of its phase without its sisters."""
    own = grains[number].reference
    sisters = [other for other, grain in enumerate(grains) if grain.reference == own != UNLISTED and other != number]
    first = not any(other < number for other in sisters)
    return [one for other, one in enumerate(grains) if other != number and not (first and other in sisters)]


def _of_list(search: Search, grain: Grain, found: Contenders, n_references: int) -> tuple[FloatArray, FloatArray]:
    """Log odds of each phase of the list, and what scale and ellipse say of its best hypothesis; (n_references,)."""
    of_list, of_distortion = np.full(n_references, -np.inf), np.zeros(n_references)
    reference = search.reference(found.listed.row)
    np.logaddexp.at(of_list, reference, found.listed.score)
    # The best comes first, so that it is written last.
    of_distortion[reference[::-1]] = found.distortion_of_listed[::-1]
    if grain.is_listed and not np.isfinite(of_list[grain.reference]):
        of_list[grain.reference] = grain.score
    return of_list, of_distortion


def _best_sets(
    sets: Sequence[GrainSet], says: Sequence[float], claims: Mask, n_references: int
) -> tuple[FloatArray, FloatArray]:
    """Log odds of the best set in which each reference, and last plain lattices or nothing, explain the claimed spots.

    Over the best of all, -inf where there is no such set; and what scale and ellipse say of it. (n_references + 1,).
    """
    best, of_distortion = np.full(n_references + 1, -np.inf), np.zeros(n_references + 1)
    for one, said in zip(sets, says, strict=True):
        reference = one.share(claims)
        place = UNLISTED if reference is None else reference
        if one.score - sets[0].score > best[place]:
            best[place], of_distortion[place] = one.score - sets[0].score, said
    return best, of_distortion


def _gain_of_siblings(best: GrainSet, grain: Grain) -> float:
    """By how much the evidence for the grain's phase gains if the size of its cell is free; log odds.

    Many crystals are built alike. The further the scale must be from where the calibration sees it, the likelier is
    a phase that is on no list but differs from the grain's by its size only. Other phases of the frame do not vouch for
    the scale: they were chosen to suit it.
    """
    if grain.reference == UNLISTED or grain.reference in best.search.certain:
        return -math.inf
    return best.gain_of_freedom(SIBLING_SIZES, reference=grain.reference) + math.log(best.search.share_unlisted)


def _is_cubic(reflections: Reflections) -> bool:
    structure = reflections.structure
    return structure is not None and space_group(structure).crystal_system_str() == "cubic"
