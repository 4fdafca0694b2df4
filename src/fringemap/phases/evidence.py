"""From named spots to what speaks for each phase of the frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.candidates import compute_relative_sigma
from fringemap.records import UNKNOWN, Flag, Match, PhaseEvidence, SpotMatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Scale, Spots


def gather_match(spots: Spots, named: Sequence[SpotMatch], *, scale: Scale) -> Match:
    """Join the names of single spots to a match: phases in falling number of spots, the nameless last."""
    rows: dict[str, list[int]] = {}
    for row, spot in enumerate(named):
        rows.setdefault(spot.best.phase if spot.best else UNKNOWN, []).append(row)
    nameless = rows.pop(UNKNOWN, None)
    phases = [summarise_phase(phase, spots, named, members, scale=scale) for phase, members in rows.items()]
    phases.sort(key=lambda evidence: (-len(evidence.spots), -evidence.match_percent))
    if nameless is not None:
        phases.append(PhaseEvidence(UNKNOWN, tuple(nameless)))
    return Match(tuple(named), tuple(phases))


def summarise_phase(
    phase: str, spots: Spots, named: Sequence[SpotMatch], members: Sequence[int], *, scale: Scale
) -> PhaseEvidence:
    """Mean d, percent match and scale of the spots that bear one phase's name.

    The scale is the mean of d_reference / d_measured, weighted by the errors of the fits, drawn towards 1 by the
    calibration's own error.
    """
    best = [named[row].best for row in members]
    deviation = np.array([candidate.deviation_percent for candidate in best if candidate is not None]) / 100.0
    weight = compute_relative_sigma(spots)[list(members)] ** -2.0
    prior = scale.sigma**-2.0 if scale.sigma > 0 else np.inf
    total = weight.sum() + prior
    shift = 0.0 if np.isinf(total) else float(-(weight * deviation).sum() / total)
    flags = [named[row].flags & (Flag.AMBIGUOUS | Flag.SINGLE_SPOT) for row in members]
    common = Flag(int(np.bitwise_and.reduce([int(flag) for flag in flags])))
    return PhaseEvidence(
        phase=phase,
        spots=tuple(members),
        d_mean_angstrom=float(spots.d_spacing[list(members)].mean()),
        match_percent=100.0 * float(1.0 - np.abs(deviation).mean()),
        scale=1.0 + shift,
        scale_sigma=float(total**-0.5),
        flags=common | (Flag.SINGLE_SPOT if len(members) == 1 else Flag.NONE),
    )
