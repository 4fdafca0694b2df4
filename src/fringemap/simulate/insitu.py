"""Series with a known answer: the same specimen frame by frame, changing under the beam."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import SettingsError
from fringemap.phases import load_structure
from fringemap.simulate.frame import simulate_frame
from fringemap.simulate.optics import Microscope
from fringemap.simulate.scene import Amorphous, Ellipse, Grain, Scene, disc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fringemap.records import FloatArray, Frame, Truth
    from fringemap.simulate.scene import Point


@dataclass(frozen=True)
class InSitu:
    """A lithium interphase under the beam: LiF shrinks, Li appears twice, Li2O and Li2CO3 stay weak."""

    n_frames: int = 100
    frame_time_s: float = 2.46
    frame_shape: tuple[int, int] = (1024, 1024)
    pixel_size_angstrom: float = 0.37
    dose_rate: float = 1000.0
    """At the first frame [e/Å²/s]."""
    dose_decay_s: float = 1200.0
    """In this time the beam falls to 1/e."""
    dose_step: tuple[int, float] | None = None
    """From this frame on the dose rate is multiplied by this factor."""
    lithium_011_frame: int = 6
    """First frame, counted from 0, with a Li grain that shows (011)."""
    lithium_002_frame: int = 22
    """First frame with a Li grain that shows (002)."""
    lithium_growth_frames: float = 25.0
    """In this many frames a Li grain comes 1 - 1/e closer to its final diameter, from the half of it."""
    fluoride_decay_frames: float = 40.0
    """In this many frames the area of LiF falls to 1/e."""
    drift_per_frame_angstrom: float = 0.3
    """Steady drift; a random walk of a third of it is added."""

    def __post_init__(self) -> None:
        if self.n_frames < 1 or not (self.frame_time_s > 0 and self.dose_rate > 0 and self.dose_decay_s > 0):
            raise SettingsError(
                f"A series needs a frame or more, and times and a dose rate above 0; got {self.n_frames} frames of "
                f"{self.frame_time_s} s at {self.dose_rate} e/Å²/s, decaying in {self.dose_decay_s} s."
            )


def simulate_series(
    scenes: Iterable[Scene], *, rng: np.random.Generator, frame_time_s: float | None = None, name: str = "simulated"
) -> Iterator[tuple[Frame, Truth]]:
    """Draw scenes one after the other; only one frame is in memory.

    Parameters
    ----------
    scenes
        Such as ``insitu_scenes`` yields.
    rng
        Source of the noise.
    frame_time_s
        From one frame to the next; None leaves the frames without a time.
    name
        Of the series; frame 6 is "name 0006".

    Yields
    ------
    Frame, Truth
        As from ``simulate_frame``; the frame's index counts from 0.
    """
    for index, scene in enumerate(scenes):
        time_s = None if frame_time_s is None else index * frame_time_s
        yield simulate_frame(scene, rng=rng, name=f"{name} {index:04d}", index=index, time_s=time_s)


def insitu_scenes(plan: InSitu, *, rng: np.random.Generator) -> Iterator[Scene]:
    """Lay out the frames of an in-situ series.

    The specimen is drawn once: places, rotations and the amorphous layer's atoms stay and move with the drift. Between
    frames ``shift_angstrom`` says how far it has moved, within a frame ``drift_angstrom``.
    """
    bare = Scene(
        plan.frame_shape,
        (plan.pixel_size_angstrom, plan.pixel_size_angstrom),
        microscope=Microscope(defocus_angstrom=-560.0, focal_spread_angstrom=30.0, convergence_mrad=0.1),
        amorphous=Amorphous(100.0, roughness=0.1, seed=int(rng.integers(2**31))),
    )
    lasting = _lasting_grains(bare, rng)
    fluorides, lithium = _fluoride_grains(bare, rng), _lithium_grains(bare, rng)
    onsets = (plan.lithium_011_frame, plan.lithium_002_frame)
    direction = float(rng.uniform(0, 2 * math.pi))
    steady = plan.drift_per_frame_angstrom * np.array([math.sin(direction), math.cos(direction)])
    shift = np.zeros(2)
    for index in range(plan.n_frames):
        step = steady + rng.normal(0, plan.drift_per_frame_angstrom / 3, size=2)
        shrunk = [_scaled(grain, math.exp(-index / plan.fluoride_decay_frames / 2)) for grain in fluorides]
        grown = [
            _scaled(grain, 1 - 0.5 * math.exp(-(index - onset) / plan.lithium_growth_frames))
            for grain, onset in zip(lithium, onsets, strict=True)
            if index >= onset
        ]
        yield replace(
            bare,
            grains=(*lasting, *shrunk, *grown),
            dose_per_angstrom2=_dose(plan, index),
            shift_angstrom=_point(shift),
            drift_angstrom=_point(step),
        )
        shift = shift + step


def _dose(plan: InSitu, index: int) -> float:
    factor = plan.dose_step[1] if plan.dose_step is not None and index >= plan.dose_step[0] else 1.0
    return plan.dose_rate * factor * plan.frame_time_s * math.exp(-index * plan.frame_time_s / plan.dose_decay_s)


def _lasting_grains(scene: Scene, rng: np.random.Generator) -> tuple[Grain, ...]:
    return (
        replace(_grain(scene, "Li2O", (0, 1, 1), (0.22, 0.24), 0.26, rng=rng), strength=0.1),
        replace(_grain(scene, "Li2CO3", (0, 1, 0), (0.24, 0.76), 0.24, rng=rng), strength=0.1),
    )


def _fluoride_grains(scene: Scene, rng: np.random.Generator) -> tuple[Grain, ...]:
    return (
        _grain(scene, "LiF", (0, 1, 1), (0.50, 0.50), 0.34, rng=rng),
        _grain(scene, "LiF", (0, 1, 1), (0.80, 0.50), 0.22, rng=rng),
        _grain(scene, "LiF", (0, 0, 1), (0.50, 0.14), 0.22, rng=rng),
    )


def _lithium_grains(scene: Scene, rng: np.random.Generator) -> tuple[Grain, ...]:
    """One that shows (011) and no (002), and one the other way round."""
    return (
        _grain(scene, "Li", (1, 1, 1), (0.76, 0.20), 0.36, rng=rng),
        replace(_grain(scene, "Li", (2, 1, 0), (0.70, 0.80), 0.36, rng=rng), strength=1.0),
    )


def _grain(
    scene: Scene,
    name: str,
    zone_axis: tuple[int, int, int],
    place: Point,
    diameter: float,
    *,
    rng: np.random.Generator,
) -> Grain:
    """Return a disc of a structure; place and diameter are shares of the frame."""
    height, width = scene.size_angstrom
    return Grain(
        load_structure(name),
        zone_axis,
        disc((place[0] * height, place[1] * width), diameter * min(height, width)),
        rotation=float(rng.uniform(0, 2 * math.pi)),
        strength=0.4,
        thickness_angstrom=150.0,
    )


def _scaled(grain: Grain, factor: float) -> Grain:
    """Return the grain with its diameters multiplied; its lattice stays in place."""
    region = grain.region
    if not isinstance(region, Ellipse):
        raise TypeError("only elliptic grains can grow")
    first, second = region.diameters
    return replace(grain, region=replace(region, diameters=(first * factor, second * factor)))


def _point(vector: FloatArray) -> Point:
    return float(vector[0]), float(vector[1])
