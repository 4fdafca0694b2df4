"""Names that a person gives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.candidates import compute_deviation, compute_relative_sigma, make_candidate
from fringemap.phases.evidence import gather_match
from fringemap.records import UNKNOWN, Flag, Match, SpotMatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fringemap.records import Reflections, Scale, Spots


def name_by_hand(match: Match, spots: Spots, names: Mapping[int, Reflections | None], *, scale: Scale) -> Match:
    """Give spots the names that a person chose.

    Parameters
    ----------
    match
        Of ``spots``.
    names
        Row of a spot to the phase it is said to be, or to None: unknown. Of the phase's reflections the one with the
        nearest d is taken.

    Returns
    -------
    Match
        The spots so named carry ``Flag.BY_HAND``, and the name that was there is their first rival. A phase keeps its
        probability, zone and scale where none of its spots changed; else it has those that its spots alone give.
    """
    named = list(match.spots)
    for row, reflections in names.items():
        named[row] = _named(named[row], spots, row, reflections, scale)
    gathered = gather_match(spots, named, scale=scale)
    before = {evidence.phase: evidence for evidence in match.phases}
    phases = []
    for evidence in gathered.phases:
        old = before.get(evidence.phase)
        same = old is not None and set(old.spots) == set(evidence.spots)
        by_hand = Flag.BY_HAND if any(row in names for row in evidence.spots) else Flag.NONE
        kept = old if old is not None and same else evidence
        phases.append(replace(kept, flags=kept.flags | (by_hand if evidence.phase != UNKNOWN else Flag.NONE)))
    return Match(gathered.spots, tuple(phases), match.candidates)


def _named(old: SpotMatch, spots: Spots, row: int, reflections: Reflections | None, scale: Scale) -> SpotMatch:
    rivals = tuple(c for c in (old.best, *old.rivals) if c is not None)
    flags = (old.flags | Flag.BY_HAND) & ~(Flag.AMBIGUOUS | Flag.FORBIDDEN)
    if reflections is None or not len(reflections):
        return SpotMatch(None, rivals, flags=flags, remark="left without a name by hand")
    nearest = int(np.abs(spots.d_spacing[row] - reflections.d_spacing).argmin())
    deviation = float(compute_deviation(spots, reflections)[row, nearest])
    sigma = float(np.hypot(compute_relative_sigma(spots)[row], scale.sigma))
    best = make_candidate(reflections, nearest, deviation, deviation / sigma)
    others = tuple(c for c in rivals if (c.phase, c.hkl) != (best.phase, best.hkl))
    return SpotMatch(best, others, flags=flags, remark="named by hand")
