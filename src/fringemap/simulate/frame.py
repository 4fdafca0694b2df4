"""Draw a frame and say exactly what it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import Frame, Scale, ScaleSource, Truth
from fringemap.simulate.amorphous import draw_amorphous, draw_thickness, specimen_generator
from fringemap.simulate.camera import add_faults, illumination, incident_electrons, record, sensor_transfer
from fringemap.simulate.interference import Patch, interfere_within, moire_patches
from fringemap.simulate.lattice import compute_fringes
from fringemap.simulate.regions import cover, places, region_origin
from fringemap.simulate.truth import NoiseLevel, build_masks, build_spots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, Image
    from fringemap.simulate.lattice import ComplexArray
    from fringemap.simulate.regions import Coverage
    from fringemap.simulate.scene import Scene


def simulate_frame(
    scene: Scene, *, rng: np.random.Generator, name: str = "simulated", index: int = 0, time_s: float | None = None
) -> tuple[Frame, Truth]:
    """Draw a scene as the camera records it, with its exact answer.

    Parameters
    ----------
    scene
        What is in the frame, the microscope, the camera and the dose.
    rng
        Source of all randomness: atoms of the amorphous layer, electrons, read-out, faults.
    name, index, time_s
        Passed on to the frame.

    Returns
    -------
    Frame
        Counts, float32, with the true pixel size.
    Truth
        Masks of the grains, and their spots with amplitude, width and SNR; all spots that the sampling can show, also
        those far below the noise; with ``Scene.second_order`` also those of moiré (phase "moire", grain -1, no hkl).
        ``settings`` holds ``mean_counts``; ``clipped_share``, of pixels whose intensity the
        linear theory made negative; and ``grey_scale``, the grey levels for one count (1 unless rounded).

    Notes
    -----
    The intensity over the incident one is ``1 - absorption + fringes + amorphous contrast``, times the illumination;
    ``lattice`` and ``amorphous`` give both contrasts, ``Camera`` the order of transfer and noise. Fringes end at their
    grain's edge: the lens's displacement of each beam is not drawn. The amorphous layer and the camera's blur continue
    periodically at the frame's edges.
    """
    coverages = [cover(grain.region, scene) for grain in scene.grains]
    patches = [_behind_sensor(patch, scene) for patch in _lay_patches(scene, coverages)]
    specimen_rng = specimen_generator(scene, rng)
    thickness = draw_thickness(scene, specimen_rng)
    intensity = draw_amorphous(scene, thickness, specimen_rng)
    _add_transmitted(intensity, scene, coverages, thickness)
    _add_fringes(intensity, scene, patches)
    clipped_share = _to_electrons(intensity, scene)
    level = NoiseLevel(_mean(intensity), 0.0 if thickness is None else _mean(thickness))
    image = record(intensity, scene, rng)
    grey_scale = add_faults(image, scene, rng)
    scale = Scale(scene.pixel_size_angstrom, 0.0, ScaleSource.CALIBRATED)
    truth = Truth(
        phases=tuple(grain.structure.name for grain in scene.grains),
        masks=build_masks(scene, coverages),
        spots=build_spots(scene, patches, level=level, grey_scale=grey_scale),
        scale=scale,
        settings={
            "mean_counts": level.electrons * scene.camera.counts_per_electron * grey_scale,
            "clipped_share": clipped_share,
            "grey_scale": grey_scale,
        },
    )
    return Frame(image, scale, name, index, time_s), truth


def sum_waves(y: FloatArray, x: FloatArray, gx: FloatArray, gy: FloatArray, weight: ComplexArray) -> Image:
    """``Re Σ weight exp(2πi (gx x + gy y))`` on the grid of y and x [Å], as one product of two thin matrices.

    Phases are computed in float64; a wave is separable, so n waves cost 2 n multiplications a pixel.
    """
    down = weight * np.exp(2j * np.pi * np.outer(y, gy))
    across = np.exp(2j * np.pi * np.outer(gx, x))
    left = np.concatenate([down.real, -down.imag], axis=1).astype(np.float32)
    right = np.concatenate([across.real, across.imag], axis=0).astype(np.float32)
    total: Image = left @ right
    return total


def _lay_patches(scene: Scene, coverages: Sequence[Coverage]) -> list[Patch]:
    """Fringes of all grains and, in second order, of their overlaps."""
    patches = [
        Patch(number, compute_fringes(grain, scene), covered, region_origin(grain.region))
        for number, (grain, covered) in enumerate(zip(scene.grains, coverages, strict=True))
    ]
    if not scene.second_order:
        return patches
    moire = list(moire_patches(patches, scene))
    return [replace(patch, fringes=interfere_within(patch.fringes, scene)) for patch in patches] + moire


def _behind_sensor(patch: Patch, scene: Scene) -> Patch:
    """Weaken fringes by the part of the camera's transfer that acts before electrons are counted."""
    fringes = patch.fringes
    coefficient = fringes.coefficient * sensor_transfer(scene, fringes.gx, fringes.gy)
    return replace(patch, fringes=replace(fringes, coefficient=coefficient))


def _add_transmitted(intensity: Image, scene: Scene, coverages: Sequence[Coverage], thickness: Image | None) -> None:
    """Add the intensity that absorption leaves of 1, in place."""
    intensity += 1
    for grain, covered in zip(scene.grains, coverages, strict=True):
        if grain.darkening:
            intensity[covered.rows, covered.cols] -= np.float32(grain.darkening) * covered.share
    if scene.amorphous is not None and thickness is not None and scene.amorphous.absorption_per_angstrom:
        intensity -= np.float32(scene.amorphous.absorption_per_angstrom) * thickness


def _add_fringes(intensity: Image, scene: Scene, patches: Sequence[Patch]) -> None:
    """Add the lattice waves of all patches, in place; where patches overlap they add."""
    for patch in patches:
        covered, waves = patch.covered, patch.fringes
        if covered.share.size and len(waves.gx):
            y = places(scene, 0, covered.rows) - patch.origin[0]
            x = places(scene, 1, covered.cols) - patch.origin[1]
            contrast = sum_waves(y, x, waves.gx, waves.gy, 2 * waves.coefficient)
            intensity[covered.rows, covered.cols] += covered.share * contrast


def _to_electrons(intensity: Image, scene: Scene) -> float:
    """Make relative intensity expected electrons a pixel, in place; return the share of pixels clipped at 0."""
    if any(scene.faults.illumination_slope):
        intensity *= illumination(scene, *(slice(0, n) for n in scene.frame_shape))
    clipped_share = float(np.mean(intensity < 0))
    np.maximum(intensity, 0, out=intensity)
    intensity *= np.float32(incident_electrons(scene))
    return clipped_share


def _mean(image: Image) -> float:
    return float(image.mean(dtype=np.float64))
