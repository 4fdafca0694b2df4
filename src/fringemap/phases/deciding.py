"""Which measurement would tell apart what a spot can be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Candidate, FloatArray, Match, Reflections, Scale, SpotMatch, Spots

SAME_D = 0.001
"""Reflections whose d differ by a smaller share are told apart by no pixel size."""

APART = 0.015
"""A line of one phase is its own if no line of the other is nearer than this share of d."""

STRONG_PERCENT = 5.0
"""Weaker lines, of 100 for the strongest, prove nothing by being there."""

SEEN_SIGMA = 3.0
MAX_OTHERS = 2
"""So many alternatives are set against the likeliest phase."""


def what_decides(
    row: int, match: Match, spots: Spots, references: Sequence[Reflections], *, scale: Scale | None = None
) -> list[str]:
    """Say what would tell the likeliest explanation of a spot from the next ones.

    Parameters
    ----------
    row
        Of the spot.
    match, spots
        Of the frame.
    references
        What the spots were compared with; without those of the phases in question only the d of the spot is compared.
    scale
        Of the frame, to say how well the pixel size is known.

    Returns
    -------
    list of str
        Sentences; empty if there is nothing to decide.
    """
    known = {reflections.phase: reflections for reflections in references}
    options = distinct_phases(match.spots[row])
    told = []
    if options and match.spots[row].flags & Flag.SINGLE_SPOT:
        told.append(
            "A second spot of the same grain, in another direction: two d-spacings and the angle between them tell "
            "phases apart that share one d"
        )
    for other in options[1 : 1 + MAX_OTHERS]:
        sentences = [_pixel_size(options[0], other, scale), *_phases_apart(options[0].phase, other.phase, known, spots)]
        told += [f"{options[0].phase} or {other.phase}: {sentence}" for sentence in sentences]
    return told + _grains_apart(row, match, known, spots, scale, {option.phase for option in options[: 1 + MAX_OTHERS]})


def _grains_apart(
    row: int, match: Match, known: dict[str, Reflections], spots: Spots, scale: Scale | None, said: set[str]
) -> list[str]:
    """Compare whole grains that may explain the spot, where one of them has not been told of yet."""
    near = [evidence for evidence in match.candidates if row in evidence.spots]
    if len(near) < 2 or {near[0].phase, near[1].phase} <= said:
        return []
    one, other = near[0], near[1]
    apart = 100 * abs(one.scale - other.scale)
    now = f", now {100 * scale.sigma:.2g} %" if scale is not None and math.isfinite(scale.sigma) else ""
    sentences = [
        f"the pixel size: they need it {100 * (one.scale - 1):+.2f} % and {100 * (other.scale - 1):+.2f} % off, so it "
        f"must be known to {apart / SEEN_SIGMA:.2g} %{now}"
    ]
    sentences += _phases_apart(one.phase, other.phase, known, spots, scales=(one.scale, other.scale))
    return [f"{one.phase} or {other.phase}: {sentence}" for sentence in sentences]


def distinct_phases(spot: SpotMatch) -> list[Candidate]:
    """List what a spot can be, each phase once, by its best reflection: the name first, then by probability."""
    found: dict[str, Candidate] = {}
    rivals = sorted(spot.rivals, key=lambda rival: -rival.probability if math.isfinite(rival.probability) else 0.0)
    for candidate in [*([spot.best] if spot.best else []), *rivals]:
        found.setdefault(candidate.phase, candidate)
    return list(found.values())


def _phases_apart(
    one: str, other: str, known: dict[str, Reflections], spots: Spots, *, scales: tuple[float, float] = (1.0, 1.0)
) -> list[str]:
    """Say which lines and which elements only one of two phases has; ``scales`` are those that each of them needs."""
    if one not in known or other not in known:
        return []
    first, second = known[one], known[other]
    # The d at which the frame would show them.
    d_first, d_second = first.d_spacing / scales[0], second.d_spacing / scales[1]
    own = [
        line
        for line in (_own_line(first, d_first, d_second, spots), _own_line(second, d_second, d_first, spots))
        if line
    ]
    told = [f"another spot of the same grain, {'; '.join(own)}"] if own else []
    return told + _elements(first, second)


def _pixel_size(one: Candidate, other: Candidate, scale: Scale | None) -> str:
    apart = abs(one.d_reference_angstrom / other.d_reference_angstrom - 1.0)
    names = f"{_plane(one)} and {_plane(other)}"
    if apart < SAME_D:
        return f"no pixel size: the d-spacings of {names} are the same within {100 * SAME_D:g} %"
    needed = 100 * apart / SEEN_SIGMA
    now = f", now {100 * scale.sigma:.2g} %" if scale is not None and math.isfinite(scale.sigma) else ""
    enough = " already" if scale is not None and 100 * scale.sigma <= needed else ""
    return (
        f"the pixel size{enough}: the d-spacings of {names} differ by {100 * apart:.2g} %, so it must be known to "
        f"{needed:.2g} %{now}"
    )


def _plane(candidate: Candidate) -> str:
    return f"{candidate.phase} ({' '.join(map(str, candidate.hkl))})" if any(candidate.hkl) else candidate.phase


def _own_line(mine: Reflections, seen: FloatArray, theirs: FloatArray, spots: Spots) -> str:
    """Name the strong line with the largest d that only one of two phases has; and the spot that may be it."""
    strength = np.where(np.isfinite(mine.intensity), mine.intensity, 100.0)
    apart = np.abs(seen[:, None] / theirs[None, :] - 1.0).min(axis=1, initial=np.inf)
    own = np.flatnonzero((strength >= STRONG_PERCENT) & (apart > APART))
    if len(own) == 0:
        return ""
    line = int(own[0])
    hkl = f" ({' '.join(str(int(i)) for i in mine.hkl[line])})" if mine.hkl[line].any() else ""
    d = float(seen[line])
    spot = _nearest_spot(spots, d)
    at = "" if spot is None else f" (spot {spot} may be it)"
    return f"one at {d:.3f} Å{hkl} speaks for {mine.phase}{at}"


def _nearest_spot(spots: Spots, d_angstrom: float) -> int | None:
    off: FloatArray = np.abs(spots.d_spacing / d_angstrom - 1.0)
    nearest = int(np.argmin(off))
    return nearest if off[nearest] < 0.5 * APART else None


def _elements(first: Reflections, second: Reflections) -> list[str]:
    if first.structure is None or second.structure is None:
        return []
    mine, theirs = first.structure.elements, second.structure.elements
    only = [
        f"{' and '.join(sorted(own))} for {phase}"
        for own, phase in ((mine - theirs, first.phase), (theirs - mine, second.phase))
        if own
    ]
    return [f"elements, by EDX or EELS: {', '.join(only)}"] if only else []
