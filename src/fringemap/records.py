"""The nouns: frozen records that rooms pass to each other.

Records hold arrays, units and flags, and no algorithms; an array in a record is never changed in place. Inside, lengths
are in Å, reciprocal lengths in 1/Å, angles in radians, times in s; arrays are (row, col). See ``docs/conventions.md``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

FloatArray = NDArray[np.float64]
Array = NDArray[Any]
"""Inside a routine, where precision follows from the input."""
Image = NDArray[np.float32]
ComplexImage = NDArray[np.complex64]
Mask = NDArray[np.bool_]
IntArray = NDArray[np.int64]


class Flag(enum.IntFlag):
    """What is doubtful about a frame, spot, ring, match or map: the one registry; ``FLAG_MEANING`` says it in words."""

    NONE = 0
    # frames
    UNCALIBRATED = 1 << 0
    COARSE_SAMPLING = 1 << 1
    ANISOTROPIC_PIXELS = 1 << 2
    HOT_PIXELS = 1 << 3
    SATURATED = 1 << 4
    NOT_FINITE = 1 << 5
    # spots
    NOT_REFINED = 1 << 8
    HARMONIC = 1 << 9
    ON_STREAK = 1 << 10
    MERGED = 1 << 11
    FEW_PERIODS = 1 << 12
    NEAR_NYQUIST = 1 << 13
    SINGLE_PIXEL = 1 << 14
    ON_RING = 1 << 15
    SEVERAL_GRAINS = 1 << 26
    # matches
    AMBIGUOUS = 1 << 16
    FORBIDDEN = 1 << 17
    SINGLE_SPOT = 1 << 18
    SCALE_SUSPECT = 1 << 19
    # maps
    NOTHING_SIGNIFICANT = 1 << 24
    OVERLAPS = 1 << 25


FLAG_MEANING: Mapping[Flag, str] = {
    Flag.UNCALIBRATED: "no trustworthy pixel size",
    Flag.COARSE_SAMPLING: "the pixels are too coarse to resolve any lattice",
    Flag.ANISOTROPIC_PIXELS: "the pixel size differs between rows and columns",
    Flag.HOT_PIXELS: "hot pixels were replaced by their neighbours",
    Flag.SATURATED: "many pixels sit at the largest value",
    Flag.NOT_FINITE: "pixels that were not finite were replaced",
    Flag.NOT_REFINED: "the fit did not converge; the position is the detector's",
    Flag.HARMONIC: "lies at a multiple of a stronger spot and may be its second-order image",
    Flag.ON_STREAK: "lies on the streak along an axis",
    Flag.MERGED: "touches another spot",
    Flag.FEW_PERIODS: "fewer than 7 fringe periods: lattice-like, hardly identifiable",
    Flag.NEAR_NYQUIST: "lies near the sampling limit",
    Flag.SINGLE_PIXEL: "a single bin of the diffractogram: may be a disturbance of the camera",
    Flag.ON_RING: "part of a ring",
    Flag.SEVERAL_GRAINS: "several grains of nearly the same lattice, or a bent one, share the spot",
    Flag.AMBIGUOUS: "other phases explain it as well",
    Flag.FORBIDDEN: "extinct by symmetry; double diffraction can show it",
    Flag.SINGLE_SPOT: "rests on a single d-spacing",
    Flag.SCALE_SUSPECT: "fits only with another pixel size",
    Flag.NOTHING_SIGNIFICANT: "no region exceeds the noise",
    Flag.OVERLAPS: "overlaps another phase",
}


def flag_names(flags: int) -> str:
    """Names of the flags that are set, lower case, joined by a semicolon; empty if none."""
    return ";".join(name.lower() for name, flag in Flag.__members__.items() if flag and flags & flag)


class ScaleSource(enum.StrEnum):
    """Where a pixel size comes from."""

    NONE = "none"
    HEADER = "header"
    USER = "user"
    CALIBRATED = "calibrated"


@dataclass(frozen=True)
class Scale:
    """Pixel size of a frame and how far it can be trusted."""

    pixel_size_angstrom: tuple[float, float]
    """Along rows (y) and columns (x) [Å/px]."""
    sigma: float
    """Relative standard error, common to all d-spacings of the frame (0.01 is 1 %)."""
    source: ScaleSource


@dataclass(frozen=True)
class Frame:
    """One real-space image."""

    image: Image
    """Counts, shape (n_rows, n_cols), finite."""
    scale: Scale | None
    """None: uncalibrated."""
    name: str
    """What a user calls it: the file's stem, with the frame number in a series."""
    index: int = 0
    """Position in its series, from 0, as stored in the file."""
    time_s: float | None = None
    flags: Flag = Flag.NONE


@dataclass(frozen=True)
class Diffractogram:
    """Half spectrum of one frame, or of several averaged, with its noise.

    All images have the shape (n_rows, n_cols // 2 + 1) and the order of a real transform: zero frequency at [0, 0],
    negative rows at the end.
    """

    spectrum: ComplexImage
    """Transform of the last (or only) frame, mean removed [counts]."""
    power: Image
    """|spectrum|², averaged over ``n_averaged`` frames [counts²]."""
    background: Image
    """Expected power of everything that is not a spot, smooth; ``power / background`` is the whitened power."""
    noise_shape: float
    """Shape k of the gamma law (mean 1) that the whitened power follows in a bin without a spot; 1 is exponential."""
    frame_shape: tuple[int, int]
    scale: Scale
    smooth_part: tuple[NDArray[np.complex64], NDArray[np.complex64]] | None = None
    """Transforms of the jumps between the frame's opposite edges, along columns and along rows, if the smooth part that
    they make was subtracted from ``spectrum``; ``spectrum.read_raw_block`` puts it back."""
    windowed: bool = False
    """A Hann window lay over the frame: neighbouring bins depend on each other."""
    n_averaged: int = 1
    d_min_angstrom: float | None = None
    """Bins beyond 1 / d_min along either axis are not evaluated: power 0, background 1. None: all are."""
    mean_counts: float = float("nan")
    flags: Flag = Flag.NONE


@dataclass(frozen=True)
class Spots:
    """Spots of one diffractogram, one of each Friedel pair, n rows in falling order of score."""

    gx: FloatArray
    """Along columns, to the right [1/Å]; (n,)."""
    gy: FloatArray
    """Along rows, downward [1/Å]; (n,)."""
    covariance: FloatArray
    """Of (gx, gy), from the fit alone [1/Å²]; (n, 2, 2). NaN where not refined."""
    amplitude: FloatArray
    """Of the lattice fringe at its strongest, half peak to valley [counts]; (n,)."""
    amplitude_sigma: FloatArray
    snr: FloatArray
    """Power of the whole spot over the background's, as an amplitude: sqrt(2 excess energy / noise power of a bin)."""
    width: FloatArray
    """Full width at half maximum of the power [1/Å]; about 0.9 / grain diameter, never below that of the frame."""
    score: FloatArray
    """-log10 of the number of equally strong false spots expected in the frame: above 0 better than one a frame."""
    position: FloatArray
    """Centre of the fringe's region in the frame (row, col) [px]; (n, 2)."""
    extent: FloatArray
    """Standard deviation of that region along (row, col) [px]; (n, 2). An evenly filled frame has n / sqrt(12)."""
    flags: IntArray

    def __len__(self) -> int:
        return len(self.gx)

    @property
    def g(self) -> FloatArray:
        """|g| [1/Å]."""
        return np.hypot(self.gx, self.gy)

    @property
    def g_sigma(self) -> FloatArray:
        """Standard error of |g| from the fit [1/Å]."""
        return self._sigma_along(self.gx, self.gy)

    @property
    def d_spacing(self) -> FloatArray:
        """1 / |g| [Å]."""
        return 1.0 / self.g

    @property
    def d_sigma(self) -> FloatArray:
        """Standard error of the d-spacing from the fit alone [Å]."""
        return self.g_sigma / self.g**2

    @property
    def angle(self) -> FloatArray:
        """Argument of (gx, gy): 0 to the right, growing clockwise on the screen [rad]."""
        return np.arctan2(self.gy, self.gx)

    @property
    def angle_sigma(self) -> FloatArray:
        """Standard error of the angle from the fit alone [rad]."""
        return self._sigma_along(-self.gy, self.gx) / self.g

    def _sigma_along(self, x: FloatArray, y: FloatArray) -> FloatArray:
        u = np.stack([x, y], axis=-1) / np.maximum(np.hypot(x, y), 1e-300)[..., None]
        variance: FloatArray = np.einsum("ni,nij,nj->n", u, self.covariance, u)
        return np.sqrt(variance)


@dataclass(frozen=True)
class Rings:
    """Rings and wide arcs of a diffractogram, n rows in rising order of g."""

    g: FloatArray
    """Radius of the crest [1/Å]; (n,)."""
    g_sigma: FloatArray
    width: FloatArray
    """Full width at half maximum [1/Å]."""
    contrast: FloatArray
    """Height of the crest over the smooth background, as a share of that background."""
    significance: FloatArray
    """Height of the crest in standard errors of the radial mean."""
    flags: IntArray

    def __len__(self) -> int:
        return len(self.g)


@dataclass(frozen=True)
class Profile:
    """Circular integration: the diffraction-like graph, n radii in rising order."""

    g: FloatArray
    """Radius [1/Å]; (n,)."""
    intensity: FloatArray
    """Azimuthal mean of the power [counts²]; (n,)."""
    background: FloatArray
    """Azimuthal mean of the background [counts²]; (n,)."""
    masked: FloatArray
    """Azimuthal mean of the whitened power inside detected spots, zero elsewhere: sharp peaks; (n,)."""
    peaks_g: FloatArray
    """Radii of the peaks of ``masked`` [1/Å]; (m,)."""
    peaks_height: FloatArray


@dataclass(frozen=True)
class Atom:
    """One site of the asymmetric unit."""

    element: str
    fract: tuple[float, float, float]
    occupancy: float = 1.0
    u_iso: float = 0.01
    """Mean square displacement [Å²]."""


@dataclass(frozen=True)
class Structure:
    """Cell, symmetry and atoms of one phase."""

    name: str
    """Short and unique in a library: "Li2CO3", "ice Ih"."""
    formula: str
    cell: tuple[float, float, float, float, float, float]
    """a, b, c [Å], alpha, beta, gamma [degrees]."""
    space_group: str
    """Hermann-Mauguin symbol with its setting, as gemmi reads it: "F m -3 m", "F d -3 m:1"."""
    atoms: tuple[Atom, ...]
    temperature_k: float | None = None
    source: str = ""
    """Where the cell and the positions come from."""
    elements: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reflections:
    """What one phase can show: families of planes in falling order of d; or a user's table of d-spacings."""

    phase: str
    hkl: IntArray
    """One representative of each family; (n, 3). A table without hkl has zeros."""
    d_spacing: FloatArray
    """[Å]; (n,)."""
    multiplicity: IntArray
    intensity: FloatArray
    """Multiplicity x |F|² with electron scattering factors, strongest 100; NaN for a table; (n,)."""
    structure: Structure | None = None
    """None for a table: then only d can be compared."""

    def __len__(self) -> int:
        return len(self.d_spacing)


@dataclass(frozen=True)
class ZonePattern:
    """All reflections of one zone of one structure, n rows in falling order of d, both of each Friedel pair."""

    phase: str
    uvw: tuple[int, int, int]
    """The direction of the beam, from the source to the detector."""
    hkl: IntArray
    """(n, 3)."""
    g: FloatArray
    """Seen along the beam: x to the right, y downward; the first row lies along x [1/Å]; (n, 2)."""
    intensity: FloatArray
    """|F|² with electron scattering factors, strongest 100; (n,)."""
    extinct: Mask
    """Without kinematic intensity; double diffraction can show it; (n,)."""

    def __len__(self) -> int:
        return len(self.g)


@dataclass(frozen=True)
class Candidate:
    """One reflection that can explain one spot."""

    phase: str
    hkl: tuple[int, int, int]
    d_reference_angstrom: float
    deviation_percent: float
    """(measured - reference) / reference of d."""
    deviation_sigma: float
    """The same in standard errors of fit and calibration together."""
    probability: float = float("nan")


@dataclass(frozen=True)
class SpotMatch:
    """What one spot is."""

    best: Candidate | None
    """None: unknown."""
    rivals: tuple[Candidate, ...] = ()
    """Others within the same bound, the nearest first."""
    probability: float = float("nan")
    flags: Flag = Flag.NONE
    remark: str = ""
    """Why a name was given or refused, in words."""


@dataclass(frozen=True)
class PhaseEvidence:
    """What speaks for one phase in one frame."""

    phase: str
    """"unknown" gathers the spots without a name."""
    spots: tuple[int, ...]
    """Rows in ``Spots``."""
    d_mean_angstrom: float = float("nan")
    match_percent: float = float("nan")
    """100 - mean |deviation| in percent."""
    zone_axis: tuple[int, int, int] | None = None
    rotation: float = float("nan")
    """In-plane rotation of the zone [rad]."""
    probability: float = float("nan")
    q_value: float = float("nan")
    scale: float = 1.0
    """True pixel size over the stated one, as this phase sees it."""
    scale_sigma: float = float("nan")
    flags: Flag = Flag.NONE


UNKNOWN = "unknown"


@dataclass(frozen=True)
class Match:
    """Spots joined to reflections."""

    spots: tuple[SpotMatch, ...]
    """One for each row of ``Spots``."""
    phases: tuple[PhaseEvidence, ...]
    """In falling order of evidence; ``UNKNOWN`` last, if any spot has no name."""
    candidates: tuple[PhaseEvidence, ...] = ()
    """Phases that may explain spots which got no name, the likeliest first; their spots are among the unknown ones."""


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
    """The frame, reduced by averaging to at most 1024 px a side [counts]."""
    shown_spectrum: Image
    """Centred whole diffractogram for pictures: log10 of whitened power, at most 1024 px a side."""
    shown_g_max: tuple[float, float]
    """|gy|, |gx| at the edge of ``shown_spectrum`` [1/Å]."""
    mean_counts: float = float("nan")
    """Of the frame."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each step."""
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


@dataclass(frozen=True)
class Truth:
    """What a simulated frame really holds."""

    phases: tuple[str, ...]
    """Of each grain."""
    masks: Mask
    """Where each grain is; (n_grains, n_rows, n_cols)."""
    spots: TrueSpots
    scale: Scale
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrueSpots:
    """The spots of a simulated frame, n rows."""

    gx: FloatArray
    gy: FloatArray
    hkl: IntArray
    phase: tuple[str, ...]
    grain: IntArray
    """Row in ``Truth.masks``; -1 for moiré of two grains."""
    amplitude: FloatArray
    """Of the fringe [counts]."""
    width: FloatArray
    """Full width at half maximum of the power [1/Å]."""
    snr: FloatArray
    """As in ``Spots``."""

    def __len__(self) -> int:
        return len(self.gx)
