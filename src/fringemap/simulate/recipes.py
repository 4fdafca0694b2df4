"""Scenes to order: random ones for tests and training, and a composite that shows what fringemap does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import SettingsError
from fringemap.phases import load_structure
from fringemap.simulate.amorphous import amorphous_contrast
from fringemap.simulate.optics import Camera, Microscope, scherzer_defocus
from fringemap.simulate.scene import Amorphous, Ellipse, Faults, Grain, HalfPlane, Halo, Polygon, ScaleBar, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, Structure
    from fringemap.simulate.scene import Point, Region

Range = tuple[float, float]
"""Smallest and largest value."""


@dataclass(frozen=True)
class SceneRanges:
    """What ``random_scene`` draws from: uniform between two values, or in their logarithm where that is said."""

    voltages_kv: tuple[float, ...] = (200.0, 300.0)
    cs_mm: Range = (0.5, 2.0)
    corrected_share: float = 0.3
    """Of microscopes with an aberration corrector: |Cs| below 0.01 mm, |defocus| below 150 Å."""
    defocus_scherzer: Range = (0.3, 4.0)
    """Defocus over Scherzer's, for microscopes without a corrector."""
    focal_spread_angstrom: Range = (8.0, 60.0)
    convergence_mrad: Range = (0.01, 0.5)
    astigmatism_angstrom: Range = (0.0, 80.0)
    vibration_angstrom: Range = (0.05, 0.5)
    mtf_nyquist: Range = (0.15, 0.9)
    counts_per_electron: Range = (1.0, 100.0)
    """In the logarithm."""
    read_noise_counts: Range = (0.0, 5.0)
    dose_per_angstrom2: Range = (5.0, 5000.0)
    """In the logarithm."""
    drift_angstrom: Range = (0.0, 0.8)
    empty_share: float = 0.15
    """Of frames without any crystal."""
    n_grains: tuple[int, int] = (1, 8)
    grain_diameter_angstrom: Range = (20.0, 600.0)
    """In the logarithm."""
    grain_thickness_angstrom: Range = (20.0, 300.0)
    strength: Range = (0.1, 1.0)
    """In the logarithm."""
    max_contrast: float = 0.4
    """Most that a grain's fringe amplitudes may add to, over the mean."""
    tilt: Range = (0.0, 0.03)
    """Away from the zone axis [rad]."""
    low_zone_share: float = 0.6
    """Of zone axes with indices of 0 and 1 only; the others have indices up to ``zone_index``."""
    zone_index: int = 4
    voronoi_share: float = 0.25
    """Of frames whose grains touch along straight boundaries."""
    amorphous_share: float = 0.9
    amorphous_angstrom: Range = (10.0, 300.0)
    amorphous_elements: tuple[str, ...] = ("C", "O", "Si")
    amorphous_contrast: Range = (0.02, 0.25)
    """Most that the layer's contrast may be (standard deviation over the mean); weakened where it would be more."""
    halo_share: float = 0.2
    vacuum_share: float = 0.2
    fault_share: float = 0.25
    """Of frames with each kind of fault: uneven light, hot pixels, gain stripes."""
    second_order_share: float = 0.3
    thickness_slope: Range = (-0.6, 0.6)
    """Relative change of the layer's thickness across the frame, along each axis."""
    roughness: Range = (0.0, 0.3)
    """Standard deviation of the layer's thickness over its mean."""
    grey_share: float = 0.0
    """Of frames rounded to 256 grey levels."""
    jpeg_share: float = 0.0
    """Of frames that are JPEG pictures."""
    jpeg_quality: tuple[int, int] = (60, 98)
    scale_bar_share: float = 0.0
    """Of frames with a scale bar burned in."""


def random_scene(
    structures: Sequence[Structure],
    frame_shape: tuple[int, int],
    pixel_size_angstrom: tuple[float, float],
    *,
    rng: np.random.Generator,
    n_grains: int | None = None,
    ranges: SceneRanges | None = None,
) -> Scene:
    """Draw a scene at random, all of its physics varied.

    Parameters
    ----------
    structures
        Phases that grains are drawn from, with equal chances.
    frame_shape, pixel_size_angstrom
        Of the frame.
    rng
        Source of all randomness.
    n_grains
        Number of grains, 0 for a frame without any crystal; drawn if None.
    ranges
        What is drawn from; the defaults of ``SceneRanges`` if None.

    Raises
    ------
    SettingsError
        Grains are wanted and there is no structure.
    """
    ranges = ranges or SceneRanges()
    if n_grains is None:
        n_grains = (
            0 if _chance(rng, ranges.empty_share) else int(rng.integers(ranges.n_grains[0], ranges.n_grains[1] + 1))
        )
    if n_grains and not structures:
        raise SettingsError(f"{n_grains} grains are wanted, but no structure is given; name at least one.")
    drift = float(rng.uniform(*ranges.drift_angstrom))
    bare = Scene(
        frame_shape,
        pixel_size_angstrom,
        microscope=random_microscope(rng, ranges),
        camera=_random_camera(rng, ranges),
        dose_per_angstrom2=_log_uniform(rng, ranges.dose_per_angstrom2),
        drift_angstrom=_turned(drift, rng),
        faults=_random_faults(rng, ranges),
        second_order=_chance(rng, ranges.second_order_share),
    )
    bare = replace(bare, faults=_as_picture(bare, rng, ranges))
    regions = _random_regions(bare, n_grains, rng, ranges)
    grains = tuple(_random_grain(structures[int(rng.integers(len(structures)))], r, rng, ranges) for r in regions)
    scene = replace(bare, grains=grains, amorphous=_random_amorphous(bare, rng, ranges))
    return _weaken_layer(scene, float(rng.uniform(*ranges.amorphous_contrast)))


def random_microscope(rng: np.random.Generator, ranges: SceneRanges | None = None) -> Microscope:
    """Draw a microscope at random, with or without a corrector."""
    ranges = ranges or SceneRanges()
    voltage = float(rng.choice(ranges.voltages_kv))
    if _chance(rng, ranges.corrected_share):
        cs, defocus = float(rng.uniform(-0.01, 0.01)), float(rng.uniform(-150.0, 150.0))
    else:
        cs = float(rng.uniform(*ranges.cs_mm))
        defocus = scherzer_defocus(voltage, cs) * float(rng.uniform(*ranges.defocus_scherzer))
    return Microscope(
        voltage_kv=voltage,
        cs_mm=cs,
        defocus_angstrom=defocus,
        focal_spread_angstrom=float(rng.uniform(*ranges.focal_spread_angstrom)),
        convergence_mrad=float(rng.uniform(*ranges.convergence_mrad)),
        astigmatism_angstrom=float(rng.uniform(*ranges.astigmatism_angstrom)),
        astigmatism_angle=float(rng.uniform(0, math.pi)),
        vibration_angstrom=float(rng.uniform(*ranges.vibration_angstrom)),
    )


def demo_scene(
    *,
    rng: np.random.Generator,
    frame_shape: tuple[int, int] = (2048, 2048),
    pixel_size_angstrom: float = 0.37,
    dose_per_angstrom2: float = 300.0,
) -> Scene:
    """Lay out a piece of a battery's solid electrolyte interphase: Li, Li2O, LiF and Li2CO3 in an amorphous matrix.

    Grains lie on zone axes that show two or more spots each; sizes scale with the frame, rotations are random. A corner
    of the frame is vacuum.
    """
    bare = Scene(frame_shape, (pixel_size_angstrom, pixel_size_angstrom))
    height, width = bare.size_angstrom
    size = min(height, width)

    def grain(
        name: str, zone_axis: tuple[int, int, int], place: Point, diameters: Point, thickness_angstrom: float
    ) -> Grain:
        y, x = place
        return Grain(
            load_structure(name),
            zone_axis,
            Ellipse((y * height, x * width), (diameters[0] * size, diameters[1] * size), _angle(rng)),
            rotation=_angle(rng),
            thickness_angstrom=thickness_angstrom,
            strength=0.4,
            darkening=0.04,
        )

    grains = (
        grain("Li", (1, 0, 0), (0.68, 0.64), (0.50, 0.42), 200.0),
        grain("Li2O", (0, 1, 1), (0.30, 0.30), (0.30, 0.24), 120.0),
        grain("Li2O", (0, 1, 1), (0.86, 0.22), (0.20, 0.16), 120.0),
        grain("LiF", (0, 1, 1), (0.24, 0.66), (0.24, 0.20), 120.0),
        grain("LiF", (0, 0, 1), (0.58, 0.18), (0.18, 0.15), 120.0),
        grain("Li2CO3", (0, 1, 0), (0.50, 0.42), (0.22, 0.18), 160.0),
    )
    edge = (0.10 * height, 0.90 * width)
    matrix = Amorphous(
        thickness_angstrom=120.0,
        region=HalfPlane(edge, math.atan2(-1.0, 1.0)),
        roughness=0.15,
        roughness_length_angstrom=size / 6,
        slope=(0.3, -0.2),
        absorption_per_angstrom=8e-4,
    )
    microscope = Microscope(defocus_angstrom=-560.0, focal_spread_angstrom=30.0, convergence_mrad=0.1)
    return replace(
        bare,
        grains=grains,
        amorphous=matrix,
        microscope=microscope,
        dose_per_angstrom2=dose_per_angstrom2,
        drift_angstrom=_turned(0.2, rng),
        faults=Faults(illumination_slope=(0.05, -0.08)),
    )


def voronoi_cells(places: FloatArray, size: Point) -> tuple[Polygon, ...]:
    """Cut a frame of a size (height, width) [Å] into the cells nearest to each place; places (n, 2) inside it."""
    height, width = size
    frame = np.array([(0.0, 0.0), (0.0, width), (height, width), (height, 0.0)])
    cells = []
    for i, own in enumerate(places):
        corners = frame
        for j, other in enumerate(places):
            if i != j:
                corners = _clip(corners, (own + other) / 2, other - own)
        cells.append(Polygon(tuple((float(y), float(x)) for y, x in corners)))
    return tuple(cells)


def _clip(corners: FloatArray, point: FloatArray, normal: FloatArray) -> FloatArray:
    """Cut a convex polygon along a line and keep the side that the normal points away from (Sutherland and Hodgman)."""
    height = (corners - point) @ normal
    kept = []
    for i in range(len(corners)):
        j = (i + 1) % len(corners)
        if height[i] <= 0:
            kept.append(corners[i])
        if height[i] * height[j] < 0:
            share = height[i] / (height[i] - height[j])
            kept.append(corners[i] + share * (corners[j] - corners[i]))
    return np.array(kept)


def _random_grain(structure: Structure, region: Region, rng: np.random.Generator, ranges: SceneRanges) -> Grain:
    return Grain(
        structure,
        _random_zone(rng, ranges),
        region,
        rotation=_angle(rng),
        tilt=_turned(float(rng.uniform(*ranges.tilt)), rng),
        thickness_angstrom=float(rng.uniform(*ranges.grain_thickness_angstrom)),
        strength=_log_uniform(rng, ranges.strength),
        max_contrast=ranges.max_contrast,
        height_angstrom=float(rng.normal(0.0, 40.0)),
        darkening=float(rng.uniform(0.0, 0.08)),
    )


def _random_zone(rng: np.random.Generator, ranges: SceneRanges) -> tuple[int, int, int]:
    highest = 1 if _chance(rng, ranges.low_zone_share) else ranges.zone_index
    while True:
        u, v, w = (int(i) for i in rng.integers(-highest, highest + 1, size=3))
        divisor = math.gcd(u, v, w)
        if divisor:
            return u // divisor, v // divisor, w // divisor


def _random_regions(scene: Scene, n_grains: int, rng: np.random.Generator, ranges: SceneRanges) -> tuple[Region, ...]:
    height, width = scene.size_angstrom
    if n_grains > 1 and _chance(rng, ranges.voronoi_share):
        n_cells = n_grains + int(rng.integers(0, n_grains + 1))
        return voronoi_cells(rng.uniform(0, 1, (n_cells, 2)) * (height, width), (height, width))[:n_grains]
    low, high = ranges.grain_diameter_angstrom
    longest = min(high, 1.2 * max(height, width))
    regions = []
    for _ in range(n_grains):
        diameter = _log_uniform(rng, (min(low, longest), longest))
        ratio = float(rng.uniform(0.5, 1.0))
        place = float(rng.uniform(0, height)), float(rng.uniform(0, width))
        regions.append(Ellipse(place, (diameter, diameter * ratio), _angle(rng)))
    return tuple(regions)


def _random_amorphous(scene: Scene, rng: np.random.Generator, ranges: SceneRanges) -> Amorphous | None:
    if not _chance(rng, ranges.amorphous_share):
        return None
    height, width = scene.size_angstrom
    region: Region | None = None
    halos: tuple[Halo, ...] = ()
    if _chance(rng, ranges.vacuum_share):
        region = HalfPlane((float(rng.uniform(0.1, 0.9)) * height, float(rng.uniform(0.1, 0.9)) * width), _angle(rng))
    if _chance(rng, ranges.halo_share):
        halos = (Halo(float(rng.uniform(2.0, 4.0)), float(rng.uniform(0.02, 0.1)), float(rng.uniform(0.5, 5.0))),)
    slope_y, slope_x = (float(s) for s in rng.uniform(*ranges.thickness_slope, size=2))
    return Amorphous(
        thickness_angstrom=float(rng.uniform(*ranges.amorphous_angstrom)),
        element=str(rng.choice(ranges.amorphous_elements)),
        region=region,
        slope=(slope_y, slope_x),
        roughness=float(rng.uniform(*ranges.roughness)),
        roughness_length_angstrom=float(rng.uniform(0.1, 0.5)) * max(height, width),
        halos=halos,
        absorption_per_angstrom=float(rng.uniform(0.0, 1e-3)),
    )


def _weaken_layer(scene: Scene, most: float) -> Scene:
    contrast = amorphous_contrast(scene)
    if scene.amorphous is None or contrast <= most:
        return scene
    return replace(scene, amorphous=replace(scene.amorphous, strength=most / contrast))


def _random_camera(rng: np.random.Generator, ranges: SceneRanges) -> Camera:
    return Camera(
        mtf_nyquist=float(rng.uniform(*ranges.mtf_nyquist)),
        noise_share=float(rng.uniform(0.0, 1.0)),
        counts_per_electron=_log_uniform(rng, ranges.counts_per_electron),
        read_noise_counts=float(rng.uniform(*ranges.read_noise_counts)),
    )


def _random_faults(rng: np.random.Generator, ranges: SceneRanges) -> Faults:
    slope_y, slope_x = (float(s) for s in rng.uniform(-0.3, 0.3, size=2))
    uneven, hot, rows, cols = (_chance(rng, ranges.fault_share) for _ in range(4))
    return Faults(
        illumination_slope=(slope_y, slope_x) if uneven else (0.0, 0.0),
        hot_pixels=int(rng.integers(1, 30)) if hot else 0,
        hot_pixel_factor=float(rng.uniform(3.0, 40.0)),
        row_gain=float(rng.uniform(0.0, 0.02)) if rows else 0.0,
        column_gain=float(rng.uniform(0.0, 0.02)) if cols else 0.0,
        gain_stripe_px=int(2 ** rng.integers(0, 5)),
    )


def _as_picture(scene: Scene, rng: np.random.Generator, ranges: SceneRanges) -> Faults:
    """Add what a frame suffers that was saved as a picture; what has no share draws no numbers either."""
    grey, jpeg, barred = (
        share > 0 and _chance(rng, share) for share in (ranges.grey_share, ranges.jpeg_share, ranges.scale_bar_share)
    )
    low, high = ranges.jpeg_quality
    return replace(
        scene.faults,
        grey_levels=256 if grey or jpeg else None,
        jpeg_quality=int(rng.integers(low, high + 1)) if jpeg else None,
        scale_bar=_random_scale_bar(scene, rng) if barred else None,
    )


def _random_scale_bar(scene: Scene, rng: np.random.Generator) -> ScaleBar:
    """A bar of 1, 2 or 5 times a power of ten nm, about an eighth to a third of the frame's width."""
    wanted = float(rng.uniform(0.12, 0.35)) * scene.size_angstrom[1]
    power = 10.0 ** math.floor(math.log10(wanted))
    return ScaleBar(
        length_angstrom=max(n for n in (1, 2, 5) if n * power <= wanted) * power,
        corner=(_chance(rng, 0.8), _chance(rng, 0.5)),
        height_px=max(2, round(float(rng.uniform(0.004, 0.012)) * min(scene.frame_shape))),
        bright=_chance(rng, 0.7),
        boxed=_chance(rng, 0.3),
    )


def _chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _angle(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.0, 2 * math.pi))


def _turned(length: float, rng: np.random.Generator) -> Point:
    """Vector of a length in a random direction."""
    angle = _angle(rng)
    return length * math.sin(angle), length * math.cos(angle)


def _log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    low, high = bounds
    return float(low * (high / low) ** rng.random())
