"""Say in words what a spot is, what else it could be, and why a name was refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fringemap.errors import SettingsError
from fringemap.records import FLAG_MEANING, Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Candidate, Match, Reflections, SpotMatch, Spots

MAX_RIVALS = 8


def explain_spot(row: int, match: Match, spots: Spots, references: Sequence[Reflections]) -> str:
    """Explain one spot of a match.

    Parameters
    ----------
    row
        In ``spots``, from 0.
    match
        What ``match_spots`` returned for ``spots``.
    references
        What the spots were compared with.

    Returns
    -------
    str
        Several lines: what was measured, the name or that there is none, why, the evidence for the phase in the frame,
        the rivals, and what is doubtful.

    Raises
    ------
    SettingsError
        There is no such row.
    """
    if not 0 <= row < len(spots):
        raise SettingsError(f"spot {row} does not exist; the frame has {len(spots)} spots, counted from 0")
    spot = match.spots[row]
    lines = [_measured(row, spots), _verdict(spot), *_evidence(spot, match)]
    if spot.remark:
        lines.append(f"Why: {spot.remark}.")
    lines += _rivals(spot)
    lines += _doubts(Flag(int(spots.flags[row])) | spot.flags)
    lines.append(f"Compared with {len(references)} phases.")
    return "\n".join(lines)


def _measured(row: int, spots: Spots) -> str:
    angle = math.degrees(float(spots.angle[row]))
    d, sigma = float(spots.d_spacing[row]), float(spots.d_sigma[row])
    error = f" ± {sigma:.4f}" if math.isfinite(sigma) else ""
    return f"Spot {row}: d = {d:.4f}{error} Å at {angle:.1f} degrees."


def _verdict(spot: SpotMatch) -> str:
    if spot.best is None:
        return f"Unknown{_how_sure(spot.probability)}."
    return f"{_describe(spot.best)}{_how_sure(spot.probability)}."


def _how_sure(probability: float) -> str:
    return f", probability {probability:.2f}" if math.isfinite(probability) else ""


def _describe(candidate: Candidate) -> str:
    h, k, l = candidate.hkl  # noqa: E741 - the name every crystallographer uses
    plane = f" ({h} {k} {l})" if any(candidate.hkl) else ""
    return (
        f"{candidate.phase}{plane}, d = {candidate.d_reference_angstrom:.4f} Å, off by "
        f"{candidate.deviation_percent:+.2f} % or {candidate.deviation_sigma:+.1f} standard errors"
    )


def _evidence(spot: SpotMatch, match: Match) -> list[str]:
    """Say what speaks for the phase in the whole frame."""
    if spot.best is None:
        return []
    evidence = next(one for one in match.phases if one.phase == spot.best.phase)
    said = [f"{len(evidence.spots)} spots of the frame bear this name"]
    if evidence.zone_axis is not None:
        said.append(f"zone [{' '.join(str(index) for index in evidence.zone_axis)}]")
    if math.isfinite(evidence.q_value):
        said.append(f"expected share of false names {evidence.q_value:.3f}")
    said.append(f"pixel size off by {100 * (evidence.scale - 1):+.2f} %")
    return [f"In the frame: {', '.join(said)}."]


def _rivals(spot: SpotMatch) -> list[str]:
    if not spot.rivals:
        return ["Nothing else comes near."]
    lines = ["It could also be:" if spot.best else "It could be:"]
    lines += [f"  {_describe(rival)}{_how_sure(rival.probability)}" for rival in spot.rivals[:MAX_RIVALS]]
    left = len(spot.rivals) - MAX_RIVALS
    return [*lines, f"  and {left} more"] if left > 0 else lines


def _doubts(flags: Flag) -> list[str]:
    meanings = [meaning for flag, meaning in FLAG_MEANING.items() if flags & flag]
    return [f"Mind: {'; '.join(meanings)}."] if meanings else []
