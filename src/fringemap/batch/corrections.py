"""What a person corrects in the result of a frame: an ordered list, from which the corrected result follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from fringemap.errors import SettingsError
from fringemap.maps import compute_maps
from fringemap.phases.by_hand import name_by_hand
from fringemap.pipeline import analyze_frame
from fringemap.records import UNKNOWN
from fringemap.report.words import PER_NM, count
from fringemap.spots.by_hand import join_spots, measure_at, nearest_spot, take_spots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Diffractogram, Frame, FrameResult, Reflections, Spots
    from fringemap.settings import AnalysisSettings


@dataclass(frozen=True)
class Correction:
    """One thing that a person did. Places are in 1/nm, as shown."""

    op: Literal["add", "move", "delete", "name", "threshold"]
    gx: float = 0.0
    """Where the spot is, [1/nm]."""
    gy: float = 0.0
    to_gx: float = 0.0
    """Where it was moved."""
    to_gy: float = 0.0
    phase: str = ""
    """What it was named; ``unknown`` takes its name away."""
    score: float = 0.0
    """Spots with a smaller score were left out."""


def correct_result(
    result: FrameResult,
    corrections: Sequence[Correction],
    *,
    frame: Frame,
    diffractogram: Diffractogram,
    references: Sequence[Reflections],
    settings: AnalysisSettings,
) -> FrameResult:
    """Apply corrections in their order, then find names and maps anew from the spots that are left.

    Parameters
    ----------
    result
        As the analysis left it.
    frame, diffractogram
        What it was made from.

    Returns
    -------
    FrameResult
        Added, moved and named spots carry ``Flag.BY_HAND``; what was removed is a warning.

    Raises
    ------
    SettingsError
        A correction names a spot that is not there, or a place where none can be; or the frame's calibration knows a
        shear, so that spots are not where they are shown.
    """
    if result.scale.shear != 0.0:
        raise SettingsError("spots of a frame whose calibration knows a shear cannot be corrected by hand yet")
    spots = result.spots
    for correction in corrections:
        spots = _apply(spots, correction, diffractogram)
    if any(c.op != "name" for c in corrections):
        corrected = analyze_frame(frame, references, settings=settings, choose=lambda _: spots)
    else:
        corrected = result
    return _with_names(corrected, corrections, diffractogram, references, settings, result)


def _apply(spots: Spots, correction: Correction, diffractogram: Diffractogram) -> Spots:
    gx, gy = correction.gx / PER_NM, correction.gy / PER_NM
    if correction.op == "add":
        return join_spots(spots, measure_at(diffractogram, gx=gx, gy=gy))
    if correction.op == "threshold":
        return take_spots(spots, np.flatnonzero(~(spots.score < correction.score)))
    if correction.op == "name":
        return spots
    row = _row(spots, correction)
    left = take_spots(spots, np.delete(np.arange(len(spots)), row))
    if correction.op == "delete":
        return left
    there = measure_at(diffractogram, gx=correction.to_gx / PER_NM, gy=correction.to_gy / PER_NM)
    return join_spots(left, there)


def _row(spots: Spots, correction: Correction) -> int:
    row = nearest_spot(spots, gx=correction.gx / PER_NM, gy=correction.gy / PER_NM)
    if row is None:
        raise SettingsError(f"there is no spot at g = ({correction.gx:.3f}, {correction.gy:.3f}) 1/nm")
    return row


def _with_names(
    corrected: FrameResult,
    corrections: Sequence[Correction],
    diffractogram: Diffractogram,
    references: Sequence[Reflections],
    settings: AnalysisSettings,
    original: FrameResult,
) -> FrameResult:
    by_phase = {reflections.phase: reflections for reflections in references}
    names: dict[int, Reflections | None] = {}
    for correction in corrections:
        if correction.op != "name":
            continue
        row = nearest_spot(corrected.spots, gx=correction.gx / PER_NM, gy=correction.gy / PER_NM)
        if row is None:
            continue  # deleted since
        if correction.phase != UNKNOWN and correction.phase not in by_phase:
            raise SettingsError(f"{correction.phase} is not among the phases of this run")
        names[row] = by_phase.get(correction.phase)
    if names:
        match = name_by_hand(corrected.match, corrected.spots, names, scale=corrected.scale)
        maps = compute_maps(diffractogram, corrected.spots, match, settings=settings.maps)
        corrected = replace(corrected, match=match, maps=maps)
    return replace(corrected, seconds=original.seconds, warnings=(*original.warnings, *_said(corrections)))


def _said(corrections: Sequence[Correction]) -> list[str]:
    """Say what was done, for every page and table."""
    words = {"add": "added", "move": "moved", "delete": "removed", "name": "named"}
    numbers = {op: sum(c.op == op for c in corrections) for op in words}
    said = [f"{count(n, 'spot')} {words[op]}" for op, n in numbers.items() if n]
    if any(c.op == "threshold" for c in corrections):
        least = max(c.score for c in corrections if c.op == "threshold")
        said.append(f"spots with a score below {least:.2f} left out")
    return [f"corrected by hand: {', '.join(said)}"] if said else []
