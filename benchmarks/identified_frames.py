"""Frames drawn as images for the benchmark of identification, with the spots that the detectors find in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from fringemap.records import Frame, Scale, ScaleSource, Spots, Truth
from fringemap.settings import SpotSettings
from fringemap.simulate import Scene, SceneRanges, random_scene, simulate_frame
from fringemap.spectrum import compute_diffractogram
from fringemap.spots import find_spots

if TYPE_CHECKING:
    from fringemap.records import Reflections

SHAPE, PIXEL = (768, 768), 0.4
RANGES = SceneRanges(empty_share=0.0, n_grains=(1, 5), fault_share=0.1, dose_per_angstrom2=(50.0, 5000.0))
SCALE_SIGMA = 0.01
NEAR_SIGMA = 4.0

Detector = Literal["classical", "unet"]


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
