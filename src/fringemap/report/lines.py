"""What is kept of each frame once its tables are written: a few numbers, so that memory does not grow with a series."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fringemap.records import UNKNOWN, Flag, flag_names
from fringemap.report.words import NM, format_formula, format_probability

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from fringemap.records import FrameResult, PhaseEvidence, PhaseMap, Scale, Series, Truth
    from fringemap.report.tables import Cell, Failure


@dataclass(frozen=True)
class PhaseLine:
    """One phase in one frame."""

    phase: str
    n_spots: int
    probability: float
    intensity: float
    intensity_sigma: float
    area_fraction: float
    area_sigma: float


@dataclass(frozen=True)
class FrameLine:
    """One frame of a run."""

    name: str
    frame: int
    time_s: float | None
    n_spots: int
    n_unknown_spots: int
    phases: tuple[PhaseLine, ...]
    """Without the unknown."""
    flags: Flag
    warnings: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Shown:
    """What a page is about."""

    result: FrameResult
    """The frame that is shown: the only one, or the most telling of a series."""
    lines: tuple[FrameLine, ...]
    """All frames."""
    truth: Truth | None = None
    """Of a simulated frame."""
    series: Series | None = None
    """None for a single frame."""
    video: Path | None = None


def line_of(result: FrameResult) -> FrameLine:
    """Keep the few numbers of a frame that overviews need."""
    maps = {phase_map.phase: phase_map for phase_map in result.maps}
    return FrameLine(
        name=result.name,
        frame=result.index,
        time_s=result.time_s,
        n_spots=len(result.spots),
        n_unknown_spots=sum(match.best is None for match in result.match.spots),
        phases=tuple(_phase_line(e, maps.get(e.phase)) for e in result.match.phases if e.phase != UNKNOWN),
        flags=result.flags,
        warnings=result.warnings,
        seconds=sum(result.seconds.values()),
    )


def _phase_line(evidence: PhaseEvidence, phase_map: PhaseMap | None) -> PhaseLine:
    nan = math.nan
    found = (
        (phase_map.intensity, phase_map.intensity_sigma, phase_map.area_fraction, phase_map.area_sigma)
        if phase_map is not None
        else (nan, nan, nan, nan)
    )
    return PhaseLine(evidence.phase, len(evidence.spots), evidence.probability, *found)


def summarise(
    name: str, lines: Sequence[FrameLine], failures: Sequence[Failure], scale: Scale | None
) -> dict[str, Cell]:
    """Make the row of ``summary.csv`` for one input; `lines` and `failures` are those of its frames."""
    pixel = scale.pixel_size_angstrom if scale else (math.nan, math.nan)
    flags = Flag.NONE
    for line in lines:
        flags |= line.flags
    return {
        "input": name,
        "status": status_of(len(lines), len(failures)),
        "n_frames": len(lines),
        "n_failed": len(failures),
        "n_spots": sum(line.n_spots for line in lines),
        "n_unknown_spots": sum(line.n_unknown_spots for line in lines),
        "phases": summarise_phases(lines),
        "pixel_size_y_nm": NM * pixel[0],
        "pixel_size_x_nm": NM * pixel[1],
        "scale_sigma_percent": 100.0 * scale.sigma if scale else math.nan,
        "scale_source": scale.source.value if scale else "",
        "seconds": sum(line.seconds for line in lines),
        "flags": flag_names(flags),
        "warnings": "; ".join(distinct_warnings(lines)),
    }


def status_of(n_done: int, n_failed: int) -> str:
    """Say how a run ended: ``done``, ``partly failed`` or ``failed``."""
    if not n_failed:
        return "done"
    return "partly failed" if n_done else "failed"


def distinct_warnings(lines: Sequence[FrameLine]) -> list[str]:
    """Give each warning once, in the order of appearance."""
    return list(dict.fromkeys(warning for line in lines for warning in line.warnings))


def phase_counts(lines: Sequence[FrameLine]) -> dict[str, list[PhaseLine]]:
    """Gather the lines of each phase, in the order of first appearance."""
    gathered: dict[str, list[PhaseLine]] = {}
    for line in lines:
        for phase in line.phases:
            gathered.setdefault(phase.phase, []).append(phase)
    return gathered


def summarise_phases(lines: Sequence[FrameLine]) -> str:
    """Say which phases were named: with probability for one frame, with the number of frames for a series."""
    if len(lines) == 1:
        return "; ".join(_name_with_probability(phase, phase.phase) for phase in lines[0].phases)
    return "; ".join(f"{name} in {len(found)} of {len(lines)} frames" for name, found in phase_counts(lines).items())


def phase_names(summary: str) -> list[str]:
    """Names alone, from what `summarise_phases` made."""
    return [re.sub(r" (\([^()]*\)|in \d+ of \d+ frames)$", "", part) for part in summary.split("; ") if part]


def _name_with_probability(phase: PhaseLine, name: str) -> str:
    return f"{name} ({format_probability(phase.probability)})" if math.isfinite(phase.probability) else name


def phases_in_words(lines: Sequence[FrameLine]) -> list[str]:
    """Like `summarise_phases`, one entry a phase, with subscripts."""
    if len(lines) == 1:
        return [_name_with_probability(phase, format_formula(phase.phase)) for phase in lines[0].phases]
    return [f"{format_formula(n)} in {len(found)} of {len(lines)} frames" for n, found in phase_counts(lines).items()]


def frame_status(line: FrameLine) -> dict[str, Any]:
    """Make the entry of a frame in ``run.json``."""
    return {
        "frame": line.frame,
        "time_s": line.time_s,
        "status": "done",
        "n_spots": line.n_spots,
        "n_unknown_spots": line.n_unknown_spots,
        "phases": {phase.phase: phase.probability for phase in line.phases},
        "flags": flag_names(line.flags),
        "warnings": list(line.warnings),
        "seconds": line.seconds,
    }


def name_probabilities(frames: Iterable[Mapping[str, Any]]) -> tuple[float, ...]:
    """Probabilities of all names, from the entries of frames in ``run.json``; names without one are left out."""
    every = [probability for frame in frames for probability in frame.get("phases", {}).values()]
    return tuple(float(one) for one in every if one is not None and math.isfinite(one))


def failure_status(failure: Failure) -> dict[str, Any]:
    """Make the entry of a failed frame in ``run.json``."""
    return {"frame": failure.frame, "status": "failed", "kind": failure.kind, "message": failure.message}


def all_statuses(lines: Sequence[FrameLine], failures: Sequence[Failure]) -> list[Mapping[str, Any]]:
    """Give the entries of all frames in ``run.json``, by frame number; failures of the whole input come first."""
    entries = [frame_status(line) for line in lines] + [failure_status(failure) for failure in failures]
    return sorted(entries, key=lambda entry: -1 if entry["frame"] is None else entry["frame"])
