"""Frames with a known answer for the benchmark of accuracy, drawn by ``fringemap.simulate``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases import list_structures, load_structure
from fringemap.records import Frame, Spots, Truth
from fringemap.simulate import (
    Amorphous,
    Ellipse,
    Faults,
    Grain,
    HalfPlane,
    Microscope,
    PlaneWave,
    Scene,
    SceneRanges,
    disc,
    plane_wave_frame,
    random_scene,
    simulate_frame,
)

if TYPE_CHECKING:
    from fringemap.records import Mask

Shape = tuple[int, int]

PIXEL = 0.37
"""[Å]"""
DIAMETERS: tuple[float | None, ...] = (20.0, 40.0, 80.0, 160.0, 320.0, None)
"""[Å]; None: the whole frame."""
SEI = ("Li", "LiF", "Li2O", "Li2CO3", "LiOH", "LiH", "Li2O2", "Li3N", "Cu", "Cu2O", "CuO", "graphite", "ice Ih")
CALM = SceneRanges(empty_share=0.0, voronoi_share=0.0, fault_share=0.0, second_order_share=0.0, n_grains=(1, 5))


@dataclass(frozen=True)
class Condition:
    """What frames of crystals are drawn from."""

    label: str
    n_frames: int
    shape: Shape = (1024, 1024)
    diameter: float | None = 0.0
    """Of round grains [Å]; None: one grain fills the frame; 0: drawn from 20 to 320 Å, in the logarithm."""
    dose: float | None = 1000.0
    """[e/Å²]; None: drawn from 50 to 5000, in the logarithm."""
    ranges: SceneRanges = CALM


def conditions(frames: int) -> dict[str, list[Condition]]:
    """Sets of conditions, one a table; ``frames`` is the number of frames of 1024² in a row."""
    by_size = [Condition(size_label(d), frames, diameter=d) for d in DIAMETERS]
    by_dose = [Condition(f"{dose:g}", frames, dose=dose) for dose in (50.0, 200.0, 1000.0, 5000.0)]
    shapes = ((256, 256), (384, 512), (768, 1000), (1024, 1024), (2048, 2048), (2048, 4096), (4096, 4096))
    by_shape = [
        Condition(f"{cols} x {rows}", max(2, min(2 * frames, frames * 2**20 // (rows * cols))), shape=(rows, cols))
        for rows, cols in shapes
    ]
    rough = replace(CALM, fault_share=0.5)
    crowd = replace(CALM, second_order_share=1.0)
    by_trouble = [
        Condition("all doses, none of these", frames, dose=None),
        Condition("uneven light, hot pixels, gain stripes", frames, dose=None, ranges=rough),
        Condition("interference in second order", frames, dose=None, ranges=crowd),
    ]
    return {"grain": by_size, "dose": by_dose, "shape": by_shape, "trouble": by_trouble}


def size_label(diameter: float | None) -> str:
    """Diameter in nm, in words where the grain fills the frame."""
    return "whole frame" if diameter is None else f"{diameter / 10:g}"


def draw_scene(condition: Condition, *, rng: np.random.Generator) -> Scene:
    """Round grains of random structures of the library on random zones, behind a random microscope."""
    structures = [load_structure(str(name)) for name in rng.choice(list_structures(), 5)]
    pixel = (PIXEL, PIXEL)
    n_grains = 1 if condition.diameter is None else None
    scene = random_scene(structures, condition.shape, pixel, rng=rng, ranges=condition.ranges, n_grains=n_grains)
    grains = tuple(replace(grain, region=region_of(condition.diameter, scene, rng)) for grain in scene.grains)
    dose = 50.0 * 100.0 ** rng.random() if condition.dose is None else condition.dose
    return replace(scene, grains=grains, dose_per_angstrom2=dose)


def region_of(diameter: float | None, scene: Scene, rng: np.random.Generator) -> Ellipse | None:
    """Disc inside the frame, if it fits at all."""
    if diameter is None:
        return None
    diameter = diameter or 20.0 * 16.0 ** rng.random()
    rooms = [max(size / 2 - diameter / 2, 0.0) for size in scene.size_angstrom]
    y, x = (c + room * rng.uniform(-1, 1) for c, room in zip(scene.centre, rooms, strict=True))
    return disc((y, x), diameter)


def empty_scenes(shape: Shape) -> dict[str, Scene | None]:
    """Frames without crystal, by name; None is white noise."""
    size = shape[1] * PIXEL
    layer = Amorphous(100.0)
    bare = Scene(shape, (PIXEL, PIXEL), amorphous=layer, microscope=Microscope(defocus_angstrom=-580.0))
    far = replace(bare.microscope, defocus_angstrom=-2000.0)
    return {
        "white noise": None,
        "carbon, defocus -58 nm": bare,
        "carbon, defocus -200 nm": replace(bare, microscope=far),
        "carbon, defocus -400 nm": replace(bare, microscope=replace(far, defocus_angstrom=-4000.0)),
        "astigmatism 30 nm": replace(bare, microscope=replace(far, astigmatism_angstrom=300.0, astigmatism_angle=0.4)),
        "uneven thickness": replace(
            bare,
            amorphous=replace(layer, slope=(1.2, -0.6), roughness=0.3, roughness_length_angstrom=size / 4),
            microscope=far,
        ),
        "edge to vacuum": replace(
            bare, amorphous=replace(layer, region=HalfPlane((0.5 * size, 0.4 * size), 0.3)), microscope=far
        ),
        "camera faults": replace(bare, faults=Faults((0.2, -0.3), hot_pixels=20, row_gain=0.01, column_gain=0.005)),
    }


def draw_empty(scene: Scene | None, shape: Shape, rng: np.random.Generator) -> Frame:
    """Draw one frame without crystal."""
    if scene is None:
        return plane_wave_frame(shape, (PIXEL, PIXEL), [], rng=rng, noise_sigma=10.0, mean_counts=100.0)[0]
    return simulate_frame(scene, rng=rng)[0]


def draw_waves(diameter: float | None, snr: float, rng: np.random.Generator) -> tuple[Frame, Truth]:
    """One wave of a known SNR in each of four discs (one that fills the frame), their g well apart, in white noise."""
    side = 1024 if diameter is None or diameter > 80.0 else 512
    masks = [None] if diameter is None else _four_discs(side, diameter, rng)
    first = rng.uniform(-np.pi / 2, -np.pi / 4)
    waves = []
    for k, mask in enumerate(masks):
        n_pixels = side**2 if mask is None else int(np.count_nonzero(mask))
        g, angle = rng.uniform(0.3, 0.7), first + k * np.pi / 4
        amplitude = snr / np.sqrt(n_pixels / 2)
        waves.append(PlaneWave(g * np.cos(angle), g * np.sin(angle), amplitude, rng.uniform(0, 2 * np.pi), mask))
    return plane_wave_frame((side, side), (PIXEL, PIXEL), waves, rng=rng, noise_sigma=1.0)


def _four_discs(side: int, diameter: float, rng: np.random.Generator) -> list[Mask]:
    radius = diameter / PIXEL / 2
    room = side - 1 - 2 * radius
    grid = np.arange(side)
    centres = radius + max(room, 0.0) * rng.random((4, 2)) if room > 0 else np.full((4, 2), (side - 1) / 2)
    return [np.hypot(grid[:, None] - y, grid - x) <= radius for y, x in centres]


MAP_PHASES = ("Li", "LiF", "Li2O", "Cu", "Au", "Si", "MgO", "Ni")
MAP_ZONES = ((0, 0, 1), (0, 1, 1), (1, 1, 1))


def draw_grain(diameter: float, rng: np.random.Generator) -> tuple[Frame, Truth]:
    """One round grain of a cubic structure on a low zone, in 1024²."""
    scene = Scene(
        (1024, 1024),
        (PIXEL, PIXEL),
        amorphous=Amorphous(float(rng.uniform(20.0, 150.0)), roughness=0.1),
        dose_per_angstrom2=50.0 * 100.0 ** rng.random(),
    )
    grain = Grain(
        load_structure(str(rng.choice(MAP_PHASES))),
        MAP_ZONES[int(rng.integers(len(MAP_ZONES)))],
        region_of(diameter, scene, rng),
        rotation=float(rng.uniform(0, 2 * np.pi)),
        thickness_angstrom=float(rng.uniform(20.0, 120.0)),
        strength=0.1 * 10.0 ** rng.random(),
    )
    return simulate_frame(replace(scene, grains=(grain,)), rng=rng)


def invented_spots(n: int, diameter: float, rng: np.random.Generator) -> Spots:
    """Spots at random places of the spectrum, as wide as those of grains of this diameter [Å]."""
    g, angle = rng.uniform(0.25, 0.8, n), rng.uniform(-1.5, 1.5, n)
    column, pairs = np.full(n, np.nan), np.full((n, 2), np.nan)
    return Spots(
        gx=g * np.cos(angle),
        gy=g * np.sin(angle),
        covariance=np.full((n, 2, 2), np.nan),
        amplitude=column,
        amplitude_sigma=column,
        snr=column,
        width=np.full(n, 0.9 / diameter),
        score=column,
        position=pairs,
        extent=pairs,
        flags=np.zeros(n, np.int64),
    )


def rescaled(spots: Spots, factor: float) -> Spots:
    """The same spots as a pixel size that is ``factor`` too large shows them."""
    return replace(
        spots,
        gx=spots.gx / factor,
        gy=spots.gy / factor,
        covariance=spots.covariance / factor**2,
        width=spots.width / factor,
    )
