"""The frames of one input, seen together."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fringemap.records.basics import FloatArray, IntArray
    from fringemap.records.results import FrameSummary


@dataclass(frozen=True)
class Drift:
    """Where the specimen lies in each frame, seen from the first; n frames."""

    shift_px: FloatArray
    """Along (rows, cols), positive downward and to the right; (n, 2). NaN where a frame joins no other."""
    sigma_px: FloatArray
    """Standard error of each shift; (n, 2)."""
    n_pairs: IntArray
    """Pairs of frames that each shift rests on; (n,)."""


@dataclass(frozen=True)
class Track:
    """One spot followed over the frames of a series, n sightings."""

    number: int
    """From 0, in the order of first sighting."""
    frames: IntArray
    """Positions in the series, from 0, rising; (n,)."""
    spots: IntArray
    """Row in the frame's ``Spots``; (n,)."""
    g: FloatArray
    """(gx, gy), on the half plane of the first sighting [1/Å]; (n, 2)."""
    g_mean: FloatArray
    """Weighted mean position [1/Å]; (2,)."""
    phase: str
    """What most of its sightings were named; ``UNKNOWN`` if too few were."""
    plane: tuple[int, int, int]
    """Of the family of planes, 0 0 0 without a name or indices."""
    d_reference_angstrom: float
    support: float
    """Share of the sightings that carry this name."""

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Evolution:
    """One phase, or one family of its planes, over the n frames of a series; NaN where it was not seen."""

    phase: str
    plane: tuple[int, int, int] | None
    """None: all planes of the phase together."""
    n_spots: IntArray
    intensity: FloatArray
    """As in ``PhaseMap``: over the noise of its own aperture; only for a whole phase."""
    intensity_sigma: FloatArray
    fringe_power: FloatArray
    """Mean square of the fringes over the frame, over the square of the mean counts."""
    fringe_power_sigma: FloatArray
    area_fraction: FloatArray
    """Only for a whole phase."""
    area_sigma: FloatArray
    d_angstrom: FloatArray
    """Weighted mean of the spots' d; only for a single family of planes."""
    d_sigma_angstrom: FloatArray
    deviation_percent: FloatArray
    """Weighted mean of (d - reference) / reference."""
    deviation_sigma_percent: FloatArray


class EventKind(enum.StrEnum):
    """What can happen to a phase."""

    ONSET = "onset"
    END = "end"
    CHANGE = "change"
    DECAY = "decay"


@dataclass(frozen=True)
class Event:
    """Something that happened to a phase, or to one family of its planes."""

    kind: EventKind
    phase: str
    plane: tuple[int, int, int] | None
    frame: int
    """Position in the series, from 0: the first frame with it (onset), without it (end), or after the change."""
    first_frame: int
    """The true one lies between these two with 68 % probability."""
    last_frame: int
    evidence: float
    """Log likelihood over that of no event."""
    quantity: str = ""
    """What ``value`` is, with its unit."""
    value: float = float("nan")
    sigma: float = float("nan")


@dataclass(frozen=True)
class Series:
    """The frames of one input, seen together."""

    frames: tuple[FrameSummary, ...]
    tracks: tuple[Track, ...]
    track_of: tuple[IntArray, ...]
    """Of each frame: number of the track of each row of its spots."""
    drift: Drift
    evolutions: tuple[Evolution, ...]
    """Each phase, followed by its planes; phases in the order of first sighting."""
    events: tuple[Event, ...]
    """In the order of frames."""
    dose_rate: float | None = None
    """[e/Å²/s]"""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def times_s(self) -> FloatArray | None:
        """Time of each frame [s]; None unless all have one."""
        times = [frame.time_s for frame in self.frames]
        return None if None in times else np.array(times, dtype=np.float64)

    @property
    def doses(self) -> FloatArray | None:
        """Dose since the first frame began [e/Å²]; None without times or a dose rate."""
        times = self.times_s
        return None if times is None or self.dose_rate is None else self.dose_rate * (times - times[:1])
