"""Maps, and the whole analysis of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fringemap.records.basics import Flag, FloatArray, Image, Mask, Scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fringemap.records.phases import Candidate, Match
    from fringemap.records.spots import Profile, Rings, Spots


@dataclass(frozen=True)
class PhaseMap:
    """Where one phase is in one frame."""

    phase: str
    amplitude: Image
    """Fringe amplitude, shape (n_rows, n_cols) of the map [counts]."""
    mask: Mask
    """Where it is significant; same shape."""
    pixel_size_angstrom: tuple[float, float]
    """Of the map, along (rows, cols)."""
    origin_px: tuple[float, float]
    """Where the centre of map pixel [0, 0] lies in the frame (row, col) [frame px]."""
    resolution_angstrom: float
    """Full width at half maximum of what a point becomes."""
    intensity: float
    """Fringe energy over its own noise's, mean over the frame: sum of (amplitude² / noise² - 1)."""
    intensity_sigma: float
    area_fraction: float
    area_sigma: float
    spots: tuple[int, ...]
    flags: Flag = Flag.NONE


@dataclass(frozen=True)
class FrameResult:
    """The whole analysis of one frame."""

    name: str
    index: int
    time_s: float | None
    frame_shape: tuple[int, int]
    scale: Scale
    spots: Spots
    rings: Rings
    profile: Profile
    match: Match
    maps: tuple[PhaseMap, ...]
    thumbnail: Image
    """The frame, reduced by averaging to at most 1024 px a side [counts]; empty where nobody looks at it."""
    shown_spectrum: Image
    """Centred whole diffractogram for pictures: log10 of whitened power, at most 1024 px a side; empty where nobody
    looks at it."""
    shown_g_max: tuple[float, float]
    """|gy|, |gx| at the edge of ``shown_spectrum`` [1/Å]."""
    mean_counts: float = float("nan")
    """Of the frame."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each step [s]; steps can run beside each other."""
    flags: Flag = Flag.NONE
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class MapSummary:
    """The numbers of a ``PhaseMap``, without its images."""

    phase: str
    intensity: float
    intensity_sigma: float
    area_fraction: float
    area_sigma: float
    spots: tuple[int, ...]


@dataclass(frozen=True)
class FrameSummary:
    """What a series needs of one frame: a few kilobytes, no large images."""

    name: str
    index: int
    time_s: float | None
    frame_shape: tuple[int, int]
    scale: Scale
    mean_counts: float
    spots: Spots
    names: tuple[Candidate | None, ...]
    """Best explanation of each row of ``spots``; None: unknown."""
    fringe_power: FloatArray
    """Mean square of each spot's fringe over the frame, over the square of the mean counts; n rows of ``spots``."""
    fringe_power_sigma: FloatArray
    maps: tuple[MapSummary, ...]
    profile_g: FloatArray
    """Radii of the reduced graph [1/Å]; (m,)."""
    profile: FloatArray
    """``Profile.masked``, the largest value of each group of radii; (m,)."""
    drift_image: Image
    """The frame without lattice fringes, a few pixels a side; empty once the drift is known."""
    drift_pixel_px: tuple[float, float]
    """Pixels of the frame to one of ``drift_image``, along (rows, cols)."""
