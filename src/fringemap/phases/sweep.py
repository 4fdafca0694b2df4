"""What the names would be at other pixel sizes: which of them hang on the calibration, and where they flip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import SettingsError
from fringemap.phases.match import match_spots
from fringemap.records import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fringemap.records import Match, PhaseEvidence, Reflections, Scale, Spots
    from fringemap.settings import PhaseSettings

KNOWN_SIGMA = 0.003
"""At each step the pixel size is taken as known by this relative standard error: as after a calibration."""

MOST_STEPS = 401


@dataclass(frozen=True)
class SweepStep:
    """The names at one pixel size."""

    offset: float
    """Relative: 0.01 is 1 % larger than stated."""
    match: Match

    @property
    def named(self) -> dict[str, PhaseEvidence]:
        """Phases with a name."""
        return {evidence.phase: evidence for evidence in self.match.phases if evidence.phase != UNKNOWN}

    def likeliest(self) -> dict[str, PhaseEvidence]:
        """Phases with a name, and candidates without."""
        return {evidence.phase: evidence for evidence in self.match.candidates} | self.named


def sweep_scale(
    spots: Spots,
    references: Sequence[Reflections],
    *,
    scale: Scale,
    settings: PhaseSettings,
    reach: float = 0.05,
    step: float = 0.005,
    tell: Callable[[int, int], None] | None = None,
) -> tuple[SweepStep, ...]:
    """Name spots again at pixel sizes around the stated one.

    Parameters
    ----------
    spots, references, settings
        As for ``match_spots``. An internal standard is left out: it would find its own scale.
    scale
        As stated; its error is replaced by ``KNOWN_SIGMA``.
    reach, step
        Largest change of the pixel size and distance between two steps [relative].
    tell
        Called with the steps done and their number.

    Returns
    -------
    tuple of SweepStep
        In rising order of the offset, the stated size in the middle.

    Raises
    ------
    SettingsError
        Reach and step make no sweep.
    """
    if not 0.0 < step <= reach < 0.5 or 2 * round(reach / step) + 1 > MOST_STEPS:
        raise SettingsError(
            f"a sweep of ±{100 * reach:g} % in steps of {100 * step:g} % makes no sense; take steps above 0 and at "
            f"most {MOST_STEPS} of them"
        )
    n = round(reach / step)
    own = replace(settings, internal_standard="")
    steps = []
    for number, offset in enumerate(np.arange(-n, n + 1) * step):
        known = replace(scale, sigma=KNOWN_SIGMA)
        match = match_spots(rescaled(spots, 1.0 / (1.0 + offset)), references, scale=known, settings=own)
        steps.append(SweepStep(float(offset), match))
        if tell is not None:
            tell(number + 1, 2 * n + 1)
    return tuple(steps)


def rescaled(spots: Spots, factor: float) -> Spots:
    """Spots with all g multiplied by a factor: those of another pixel size."""
    return replace(
        spots,
        gx=factor * spots.gx,
        gy=factor * spots.gy,
        covariance=factor**2 * spots.covariance,
        width=factor * spots.width,
    )


def named_ranges(steps: Sequence[SweepStep]) -> dict[str, list[tuple[float, float]]]:
    """List, for each phase, the ranges of offsets over which it is named: first and last step of each run."""
    ranges: dict[str, list[tuple[float, float]]] = {}
    before: set[str] = set()
    for step in steps:
        for phase in step.named:
            runs = ranges.setdefault(phase, [])
            if phase in before:
                runs[-1] = (runs[-1][0], step.offset)
            else:
                runs.append((step.offset, step.offset))
        before = set(step.named)
    return ranges


def spot_ranges(steps: Sequence[SweepStep], row: int) -> list[tuple[str, float, float]]:
    """List what one spot is called over the sweep: name with plane, first and last offset of each run."""
    runs: list[tuple[str, float, float]] = []
    for step in steps:
        best = step.match.spots[row].best
        name = UNKNOWN if best is None else f"{best.phase} ({' '.join(map(str, _positive(best.hkl)))})"
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1], step.offset)
        else:
            runs.append((name, step.offset, step.offset))
    return runs


def _positive(hkl: tuple[int, int, int]) -> tuple[int, ...]:
    # Which of the equal planes of a family it is may change from step to step without any meaning.
    return tuple(sorted((abs(index) for index in hkl), reverse=True))
