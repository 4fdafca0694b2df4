"""What a simulated frame shows: grains, amorphous matter, vacuum, illumination and the camera's faults.

Places are (y, x) in Å from the centre of pixel [0, 0], y downward, so that a scene does not depend on the sampling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import SettingsError
from fringemap.simulate.optics import Camera, Microscope

if TYPE_CHECKING:
    from fringemap.records import FloatArray, Structure

Point = tuple[float, float]
"""(y, x)."""


@dataclass(frozen=True)
class Ellipse:
    """A disc, if both diameters are equal."""

    centre: Point
    diameters: tuple[float, float]
    """Along the first and the second axis [Å]."""
    angle: float = 0.0
    """Argument of the first axis [rad]."""

    def __post_init__(self) -> None:
        if min(self.diameters) <= 0:
            raise SettingsError(f"An ellipse's diameters must be above 0 Å; they are {self.diameters}.")


@dataclass(frozen=True)
class Polygon:
    """A convex polygon, its corners in order, either way round."""

    corners: tuple[Point, ...]

    def __post_init__(self) -> None:
        if len(self.corners) < 3 or not _is_convex(np.array(self.corners)):
            raise SettingsError(f"A polygon needs three or more corners in convex order; got {self.corners}.")


@dataclass(frozen=True)
class HalfPlane:
    """Everything on one side of a straight edge."""

    edge: Point
    """A point on the edge."""
    angle: float
    """Argument of the outward normal [rad]."""


Region = Ellipse | Polygon | HalfPlane


@dataclass(frozen=True)
class Grain:
    """One crystal."""

    structure: Structure
    zone_axis: tuple[int, int, int]
    """[uvw] along the beam, from the source to the detector."""
    region: Region | None = None
    """None: the whole frame."""
    rotation: float = 0.0
    """About the beam [rad], clockwise on the screen; at 0 the zone's shortest **g** points along +x."""
    tilt: Point = (0.0, 0.0)
    """Away from the exact zone axis: small turn whose excitation error is ``gy tilt_y + gx tilt_x`` [rad]."""
    thickness_angstrom: float = 50.0
    strength: float = 1.0
    """Factor on the kinematic amplitudes, for what weakens fringes in practice and is not modelled."""
    max_contrast: float = 0.6
    """Where the fringes' amplitudes add to more than this share of the mean, all are scaled down together."""
    height_angstrom: float = 0.0
    """Height of the grain's middle above the plane of focus: adds to the defocus."""
    darkening: float = 0.0
    """Share of the intensity that the grain takes away."""

    def __post_init__(self) -> None:
        if not any(self.zone_axis):
            raise SettingsError(f"The zone axis of {self.structure.name} is [0 0 0]; give three integers, not all 0.")
        if not self.thickness_angstrom > 0:
            raise SettingsError(
                f"The grain of {self.structure.name} is {self.thickness_angstrom} Å thick; it must be above 0."
            )


@dataclass(frozen=True)
class Halo:
    """A broad maximum of an amorphous structure factor: a diffuse ring."""

    d_angstrom: float
    fwhm_per_angstrom: float
    height: float
    """Of the maximum, above 1."""


@dataclass(frozen=True)
class Amorphous:
    """A layer of atoms without order, all of one element."""

    thickness_angstrom: float = 50.0
    element: str = "C"
    density_per_angstrom3: float = 0.1
    """Atoms per volume [1/Å³]; 0.1 is carbon of 2 g/cm³."""
    strength: float = 1.0
    """Factor on the contrast, as for a grain."""
    region: Region | None = None
    """Where it is; elsewhere is vacuum. None: everywhere."""
    slope: Point = (0.0, 0.0)
    """Relative change of thickness from one edge of the frame to the other, along (y, x)."""
    roughness: float = 0.0
    """Standard deviation of the thickness over its mean."""
    roughness_length_angstrom: float = 100.0
    halos: tuple[Halo, ...] = ()
    absorption_per_angstrom: float = 0.0
    """Share of the intensity that each Å takes away."""
    seed: int | None = None
    """Atoms drawn from this seed instead of the frame's generator: the same specimen in all frames of a series."""

    def __post_init__(self) -> None:
        if self.thickness_angstrom < 0:
            raise SettingsError(f"The amorphous layer is {self.thickness_angstrom} Å thick; it must not be negative.")


@dataclass(frozen=True)
class ScaleBar:
    """A bar and its length in words, burned into the picture."""

    length_angstrom: float
    corner: tuple[bool, bool] = (True, False)
    """At the bottom (else the top), at the right (else the left)."""
    height_px: int = 8
    """Of the bar; the letters are three times as high."""
    bright: bool = True
    """White, else black."""
    boxed: bool = False
    """On a ground of the other colour."""


@dataclass(frozen=True)
class Faults:
    """What else spoils a frame."""

    illumination_slope: Point = (0.0, 0.0)
    """Relative change of the illumination from one edge of the frame to the other, along (y, x)."""
    hot_pixels: int = 0
    hot_pixel_factor: float = 20.0
    """Value of a hot pixel over the frame's mean."""
    row_gain: float = 0.0
    """Standard deviation of the rows' gain: a streak along gy."""
    column_gain: float = 0.0
    """Standard deviation of the columns' gain: a streak along gx."""
    gain_stripe_px: int = 1
    """Width of a stripe of equal gain."""
    grey_levels: int | None = None
    """Round to this many levels between the 0.1 and 99.9 percentiles (256: an 8-bit picture). None: keep counts."""
    scale_bar: ScaleBar | None = None
    jpeg_quality: int | None = None
    """Pack the picture as JPEG, 1 to 100, and unpack it. It must have 256 grey levels."""

    def __post_init__(self) -> None:
        if self.jpeg_quality is not None and self.grey_levels != 256:
            raise SettingsError(f"A JPEG picture has 256 grey levels, not {self.grey_levels}; set grey_levels to 256.")


@dataclass(frozen=True)
class Scene:
    """Everything that ``simulate_frame`` draws, but the noise."""

    frame_shape: tuple[int, int]
    pixel_size_angstrom: tuple[float, float]
    """Along rows (y) and columns (x) [Å/px]."""
    grains: tuple[Grain, ...] = ()
    amorphous: Amorphous | None = None
    microscope: Microscope = field(default_factory=Microscope)
    camera: Camera = field(default_factory=Camera)
    dose_per_angstrom2: float = 1000.0
    """Electrons through vacuum [e/Å²]."""
    drift_angstrom: Point = (0.0, 0.0)
    """How far the specimen moves during the exposure, along (y, x)."""
    shift_angstrom: Point = (0.0, 0.0)
    """How far the specimen has moved since the scene was laid out, along (y, x)."""
    faults: Faults = field(default_factory=Faults)
    second_order: bool = False
    """Also draw the interference of diffracted beams with each other: sum, difference and doubled frequencies."""

    def __post_init__(self) -> None:
        if min(self.frame_shape) < 2:
            raise SettingsError(f"The frame is {self.frame_shape} px; both sides need 2 px or more.")
        if min(self.pixel_size_angstrom) <= 0:
            raise SettingsError(f"The pixel size is {self.pixel_size_angstrom} Å; it must be above 0.")
        if not self.dose_per_angstrom2 > 0:
            raise SettingsError(f"The dose is {self.dose_per_angstrom2} e/Å²; it must be above 0.")

    @property
    def size_angstrom(self) -> Point:
        """Height and width of the frame [Å]."""
        rows, cols = self.frame_shape
        return rows * self.pixel_size_angstrom[0], cols * self.pixel_size_angstrom[1]

    @property
    def centre(self) -> Point:
        """Of the frame, as a place (y, x) [Å]."""
        rows, cols = self.frame_shape
        return (rows - 1) / 2 * self.pixel_size_angstrom[0], (cols - 1) / 2 * self.pixel_size_angstrom[1]


def disc(centre: Point, diameter: float) -> Ellipse:
    """Disc of a diameter [Å] about a place."""
    return Ellipse(centre, (diameter, diameter))


def _is_convex(corners: FloatArray) -> bool:
    edges = np.roll(corners, -1, axis=0) - corners
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    return bool(np.all(turns > 0) or np.all(turns < 0))
