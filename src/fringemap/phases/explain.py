"""Say in words what a spot is, what else it could be, why a name was refused, and what would decide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fringemap.errors import SettingsError
from fringemap.phases.deciding import what_decides
from fringemap.phases.grains import in_brackets
from fringemap.records import FLAG_MEANING, Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Candidate, Match, PhaseEvidence, Reflections, Scale, SpotMatch, Spots

MAX_RIVALS = 8


@dataclass(frozen=True)
class SpotStory:
    """What there is to say of one spot, in sentences."""

    measured: str
    verdict: str
    evidence: str
    """What speaks for the phase in the whole frame; empty for an unknown spot that no candidate explains."""
    why: str
    """Why the name was given or refused; empty where the way of matching gives no reason."""
    rivals: tuple[str, ...]
    """What else it could be, the likeliest first."""
    doubts: tuple[str, ...]
    """What the spot's flags mean."""
    decides: tuple[str, ...]
    """Which measurement would decide."""

    def lines(self) -> list[str]:
        """Put all of it on lines."""
        told = [f"{part}." for part in (self.measured, self.verdict, self.evidence) if part]
        if self.why:
            told.append(f"Why: {self.why}.")
        if self.rivals:
            told += [
                "It could be:" if self.verdict.startswith("Unknown") else "It could also be:",
                *(f"  {rival}" for rival in self.rivals),
            ]
        else:
            told.append("Nothing else comes near.")
        if self.doubts:
            told.append(f"Mind: {'; '.join(self.doubts)}.")
        if self.decides:
            told += ["What would decide:", *(f"  {sentence}." for sentence in self.decides)]
        return told


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
        the rivals, what is doubtful, and what would decide.

    Raises
    ------
    SettingsError
        There is no such row.
    """
    lines = tell_spot(row, match, spots, references).lines()
    return "\n".join([*lines, f"Compared with {len(references)} phases."])


def tell_spot(
    row: int, match: Match, spots: Spots, references: Sequence[Reflections] = (), *, scale: Scale | None = None
) -> SpotStory:
    """Say the same part by part; see ``explain_spot``.

    Without ``references`` only the spot's own d is used to say what would decide; ``scale`` adds how well the pixel
    size is known.
    """
    if not 0 <= row < len(spots):
        raise SettingsError(f"spot {row} does not exist; the frame has {len(spots)} spots, counted from 0")
    spot = match.spots[row]
    flags = Flag(int(spots.flags[row])) | spot.flags
    return SpotStory(
        measured=_measured(row, spots),
        verdict=_verdict(spot),
        evidence=_evidence(row, spot, match),
        why=spot.remark,
        rivals=_rivals(spot),
        doubts=tuple(meaning for flag, meaning in FLAG_MEANING.items() if flags & flag),
        decides=tuple(what_decides(row, match, spots, references, scale=scale)),
    )


def _measured(row: int, spots: Spots) -> str:
    angle = math.degrees(float(spots.angle[row]))
    d, sigma = float(spots.d_spacing[row]), float(spots.d_sigma[row])
    error = f" ± {sigma:.4f}" if math.isfinite(sigma) else ""
    return f"Spot {row}: d = {d:.4f}{error} Å at {angle:.1f} degrees"


def _verdict(spot: SpotMatch) -> str:
    if spot.best is None:
        return f"Unknown{_how_sure(spot.probability)}"
    return f"{_describe(spot.best)}{_how_sure(spot.probability)}"


def _how_sure(probability: float) -> str:
    if not math.isfinite(probability):
        return ""
    if probability > 0.995:
        return ", probability above 0.99"
    return ", probability below 0.01" if probability < 0.005 else f", probability {probability:.2f}"


def _describe(candidate: Candidate) -> str:
    h, k, l = candidate.hkl  # noqa: E741 - the name every crystallographer uses
    plane = f" ({h} {k} {l})" if any(candidate.hkl) else ""
    # Zero is added so that a rounded nothing has no minus.
    in_sigma = round(candidate.deviation_sigma, 1) + 0.0
    return (
        f"{candidate.phase}{plane}, d = {candidate.d_reference_angstrom:.4f} Å, off by "
        f"{candidate.deviation_percent:+.2f} % or {in_sigma:+.1f} standard errors"
    )


def _evidence(row: int, spot: SpotMatch, match: Match) -> str:
    """Say what speaks for the phase in the whole frame; or for the candidates that did not get their name."""
    if spot.best is not None:
        evidence = next(one for one in match.phases if one.phase == spot.best.phase)
        said = [f"{len(evidence.spots)} spots bear this name", *_fit(evidence)]
        if math.isfinite(evidence.q_value):
            said.append(f"expected share of false names {evidence.q_value:.3f}")
        return f"In the frame: {', '.join(said)}"
    near = [one for one in match.candidates if row in one.spots]
    said = [
        f"{one.phase}{_how_sure(one.probability)}, would explain {len(one.spots)} spots, {', '.join(_fit(one))}"
        for one in near
    ]
    return f"Candidates in the frame, without a name: {'; '.join(said)}" if said else ""


def _fit(evidence: PhaseEvidence) -> list[str]:
    zones = [in_brackets(zone) for zone in (evidence.zone_axis, *evidence.rival_zones) if zone]
    sure = f" ({evidence.zone_probability:.2f}), or {', '.join(zones[1:])}" if len(zones) > 1 else ""
    return [
        *([f"zone {zones[0]}{sure}"] if zones else []),
        f"pixel size off by {100 * (evidence.scale - 1):+.2f} %",
    ]


def _rivals(spot: SpotMatch) -> tuple[str, ...]:
    told = [f"{_describe(rival)}{_how_sure(rival.probability)}" for rival in spot.rivals[:MAX_RIVALS]]
    left = len(spot.rivals) - MAX_RIVALS
    return (*told, f"and {left} more") if left > 0 else tuple(told)
