"""Frames with a known answer for the benchmark of identification: lists of spots, and images that detectors search.

A list holds one to five grains of up to three phases near low-index zones, tilted by a degree or two and strained by
a permille. Contrast transfer hides some of the reflections, noise moves the others, false spots and sums of spots of
different grains are added, and the whole is scaled and distorted. Every sixth structure of the library is kept from
the matcher, so that some grains have no right answer but "unknown".
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from fringemap.errors import StructureError
from fringemap.phases import load_references, zone_pattern
from fringemap.records import Frame, Reflections, Scale, ScaleSource, Spots, Structure, Truth, ZonePattern
from fringemap.settings import PhaseSettings, SpotSettings
from fringemap.simulate import Scene, SceneRanges, random_scene, simulate_frame
from fringemap.spectrum import compute_diffractogram
from fringemap.spots import find_spots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

D_MIN = 1.0
SECOND_ORDER = 0.3
"""Amplitude of false spots, and of sums of two others, over that of the reflections of grains."""
CASES = {
    "no error, 1 % stated": ("fixed", 0.0, 0.01),
    "±1 % error, 1 % stated": ("fixed", 0.01, 0.01),
    "±3 % error, 2.5 % stated": ("fixed", 0.03, 0.025),
    "error as stated, 1 %": ("drawn", 0.01, 0.01),
}
SHAPE, PIXEL = (768, 768), 0.4
RANGES = SceneRanges(empty_share=0.0, n_grains=(1, 5), fault_share=0.1, dose_per_angstrom2=(50.0, 5000.0))
SCALE_SIGMA = 0.01
NEAR_SIGMA = 4.0

Detector = Literal["classical", "unet"]
DETECTORS: tuple[Detector, ...] = ("classical", "unet")


@dataclass
class Made:
    """A frame with its answer."""

    spots: Spots
    scale: Scale
    phase: list[str]
    """Of each spot; "" if no grain made it."""
    grain: list[int]
    zones: list[tuple[Structure, tuple[int, int, int]]]
    scale_error: float
    turns: list[float]
    """In-plane rotation of each grain's pattern [rad]."""
    known: frozenset[str]
    """Phases of the frame that the matcher could know."""


class Drawn(NamedTuple):
    """A frame as an image, with its answer."""

    scene: Scene
    frame: Frame
    """With a scale that is as wrong as it says, and not the same along rows and columns."""
    truth: Truth
    scale_error: float


def draw_frame(library: tuple[Reflections, ...], rng: np.random.Generator) -> Drawn:
    """Draw one to five grains of up to three phases behind a random microscope."""
    rows = rng.choice(len(library), size=int(rng.integers(1, 4)), replace=False)
    structures = [one.structure for row in rows if (one := library[row]).structure is not None]
    scene = random_scene([one for one in structures if one], SHAPE, (PIXEL, PIXEL), rng=rng, ranges=RANGES)
    frame, truth = simulate_frame(scene, rng=rng)
    error, ellipse = SCALE_SIGMA * float(rng.normal()), float(rng.uniform(-0.01, 0.01))
    stated = (PIXEL / (1.0 + error + ellipse), PIXEL / (1.0 + error - ellipse))
    return Drawn(scene, replace(frame, scale=Scale(stated, SCALE_SIGMA, ScaleSource.HEADER)), truth, error)


def spots_of(drawn: Drawn, detector: Detector) -> Spots:
    """Find spots as in any frame."""
    return find_spots(compute_diffractogram(drawn.frame), settings=SpotSettings(detector=detector))


def true_grains(spots: Spots, truth: Truth, scale: Scale) -> tuple[list[str], list[int]]:
    """Tell the phase and the grain of the strongest true spot at the place of each spot; "" and -1 if there is none."""
    true, (row_size, col_size) = truth.spots, scale.pixel_size_angstrom
    g = np.stack([true.gx * PIXEL / col_size, true.gy * PIXEL / row_size], axis=1)
    found = np.stack([spots.gx, spots.gy], axis=1)
    off = np.minimum(np.linalg.norm(found[:, None] - g, axis=2), np.linalg.norm(found[:, None] + g, axis=2))
    error = NEAR_SIGMA * np.sqrt(np.trace(spots.covariance, axis1=1, axis2=2) / 2.0)
    reach = np.where(np.isfinite(error), np.maximum(error, 0.5 * spots.width), spots.width)
    phases, grains = [], []
    for row, limit in zip(off, reach, strict=True):
        near = np.flatnonzero(row <= limit)
        best = int(near[np.argmax(true.amplitude[near])]) if len(near) else None
        real = best is not None and true.grain[best] >= 0
        phases.append(true.phase[best] if best is not None and real else "")
        grains.append(int(true.grain[best]) if best is not None and real else -1)
    return phases, grains


def drawn_frames(n_frames: int, seed: int, cache: Path | None = None) -> Iterator[tuple[Detector, Made]]:
    """Draw images, find their spots by each detector, and yield those in which it finds any.

    What is found is kept in the folder ``cache``, if there is one, and taken from there.
    """
    library, held_out, _ = split_library()
    for number in range(n_frames):
        file = cache / f"{seed}-{number}.pickle" if cache else None
        if file and file.exists():
            found = pickle.loads(file.read_bytes())
        else:
            drawn = draw_frame(library, np.random.default_rng([seed, 77, number]))
            seen = {detector: spots_of(drawn, detector) for detector in DETECTORS}
            found = {detector: as_made(drawn, spots, held_out) for detector, spots in seen.items() if len(spots)}
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(pickle.dumps(found))
        yield from ((detector, made) for detector, made in found.items() if made)


def listed_frames(case: str, n_frames: int, seed: int) -> Iterator[Made]:
    """Draw lists of spots of one case."""
    library, held_out, _ = split_library()
    rng = np.random.default_rng([seed, list(CASES).index(case)])
    for _ in range(n_frames):
        yield make_frame(library, held_out, case, rng)


@lru_cache(maxsize=1)
def split_library() -> tuple[tuple[Reflections, ...], frozenset[str], tuple[Reflections, ...]]:
    """All structures, the names of those kept from the matcher, and the others."""
    library = load_references(PhaseSettings(), d_min_angstrom=D_MIN)
    library = tuple(reflections for reflections in library if reflections.structure is not None)
    held_out = frozenset(reflections.phase for reflections in library[::6])
    return library, held_out, tuple(reflections for reflections in library if reflections.phase not in held_out)


def as_made(drawn: Drawn, spots: Spots, held_out: frozenset[str]) -> Made:
    """Join what was found in an image to its answer."""
    phase, grain = true_grains(spots, drawn.truth, drawn.frame.scale)
    zones = [(one.structure, one.zone_axis) for one in drawn.scene.grains]
    turns = [one.rotation for one in drawn.scene.grains]
    known = frozenset(phase) - held_out - {""}
    return Made(spots, drawn.frame.scale, phase, grain, zones, drawn.scale_error, turns, known)


def make_frame(library: tuple[Reflections, ...], held_out: frozenset[str], case: str, rng: np.random.Generator) -> Made:
    """Draw a frame."""
    kind, size, stated = CASES[case]
    scale_error = size * float(rng.normal() if kind == "drawn" else rng.choice([-1.0, 1.0]))
    ellipse = rng.uniform(0.0, 0.01)
    axis = rng.uniform(0.0, np.pi)
    e1, e2 = ellipse * np.cos(2 * axis), ellipse * np.sin(2 * axis)
    affine = (1.0 + scale_error) * (np.eye(2) + np.array([[e1, e2], [e2, -e1]]))
    chosen = rng.choice(len(library), size=int(rng.integers(1, 4)), replace=False)
    focus = rng.uniform(4.0, 30.0)
    g, phase, grain, zones, turns = [], [], [], [], []
    for number in range(int(rng.integers(1, 6))):
        structure = library[int(rng.choice(chosen))].structure
        uvw, seen, turn = draw_grain(structure, focus, rng)
        turns.append(turn)
        g.append(seen @ affine.T)
        phase += [structure.name] * len(seen)
        grain += [number] * len(seen)
        zones.append((structure, uvw))
    real = np.concatenate(g)
    extra = [*second_order(real, np.array(grain), rng), *false_spots(rng)]
    every = np.concatenate([real, np.reshape(extra, (-1, 2))])
    spots = as_spots(every, rng)
    # What two spots make together is weaker than both.
    amplitude = np.where(np.arange(len(every)) < len(real), 1.0, SECOND_ORDER)
    spots = replace(spots, amplitude=amplitude)
    phase += [""] * len(extra)
    grain += [-1] * len(extra)
    known = frozenset(phase) - held_out - {""}
    return Made(spots, Scale((0.4, 0.4), stated, ScaleSource.HEADER), phase, grain, zones, scale_error, turns, known)


def draw_grain(
    structure: Structure, focus: float, rng: np.random.Generator
) -> tuple[tuple[int, int, int], np.ndarray, float]:
    """Draw the zone, the spots and the turn of a grain that shows at least one."""
    while True:
        uvw = tuple(int(i) for i in rng.integers(-2, 3, size=3))
        if not any(uvw) or np.gcd.reduce(uvw) != 1:
            continue
        try:
            pattern = zone_pattern_of(structure, uvw)
        except StructureError:  # a zone without reflections above D_MIN
            continue
        half = (pattern.hkl @ np.array([1e6, 1e3, 1.0])) > 0
        g, intensity = pattern.g[half], pattern.intensity[half]
        length = np.hypot(*g.T)
        transfer = np.abs(np.sin(np.pi * focus * length**2 + 0.4)) * np.exp(-((length / 0.75) ** 4))
        amplitude = np.sqrt(intensity / 100.0) * transfer * np.exp(0.4 * rng.normal(size=len(g)))
        shown = (amplitude > rng.uniform(0.1, 0.35)) & (rng.uniform(size=len(g)) > 0.15)
        if shown.any():
            break
    tilt = np.radians(np.abs(rng.normal(0.0, 1.5)))
    around = rng.uniform(0.0, np.pi)
    normal = np.array([np.cos(around), np.sin(around)])
    g = g[shown] - (1.0 - np.cos(tilt)) * (g[shown] @ normal)[:, None] * normal
    g = g * (1.0 + rng.normal(0.0, 0.001))
    turn = rng.uniform(0.0, 2.0 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return uvw, g @ rotation.T, float(turn)


@lru_cache(maxsize=8192)
def zone_pattern_of(structure: Structure, uvw: tuple[int, int, int]) -> ZonePattern:
    """Keep patterns: the same low zones are drawn again and again."""
    return zone_pattern(structure, uvw, d_min_angstrom=D_MIN)


def second_order(g: np.ndarray, grain: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw at most two sums or differences of spots of different grains."""
    first, second = np.nonzero(grain[:, None] < grain[None, :])
    if len(first) == 0:
        return []
    made = []
    for pick in rng.integers(0, len(first), size=int(rng.integers(0, 3))):
        new = g[first[pick]] + rng.choice([-1.0, 1.0]) * g[second[pick]]
        if 0.1 < np.hypot(*new) < 0.9:
            made.append(new)
    return made


def false_spots(rng: np.random.Generator) -> list[np.ndarray]:
    """Draw spots that nothing made."""
    made = []
    for _ in range(int(rng.poisson(2.0))):
        length, angle = rng.uniform(0.15, 0.8), rng.uniform(0.0, np.pi)
        made.append(length * np.array([np.cos(angle), np.sin(angle)]))
    return made


def as_spots(g: np.ndarray, rng: np.random.Generator) -> Spots:
    """Move the spots by their errors and list one of each Friedel pair."""
    n = len(g)
    sigma = np.exp(rng.uniform(np.log(2e-4), np.log(1.5e-3), size=n))
    g = g + rng.normal(size=(n, 2)) * sigma[:, None]
    flip = (g[:, 0] < 0) | ((g[:, 0] == 0) & (g[:, 1] < 0))
    g = np.where(flip[:, None], -g, g)
    return Spots(
        gx=g[:, 0],
        gy=g[:, 1],
        covariance=sigma[:, None, None] ** 2 * np.eye(2),
        amplitude=np.ones(n),
        amplitude_sigma=np.full(n, 0.1),
        snr=np.full(n, 10.0),
        width=np.full(n, 0.01),
        score=np.full(n, 5.0),
        position=np.zeros((n, 2)),
        extent=np.ones((n, 2)),
        flags=np.zeros(n, np.int64),
    )
