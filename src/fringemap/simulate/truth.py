"""What a drawn frame holds: masks, spots, and the noise that they stand in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import TrueSpots
from fringemap.simulate.amorphous import amorphous_transfer
from fringemap.simulate.camera import illumination, incident_electrons, readout_transfer, sensor_transfer
from fringemap.simulate.interference import MOIRE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, Mask
    from fringemap.simulate.interference import Patch
    from fringemap.simulate.lattice import Fringes
    from fringemap.simulate.regions import Coverage
    from fringemap.simulate.scene import Scene


@dataclass(frozen=True)
class NoiseLevel:
    """Frame means that the expected noise depends on."""

    electrons: float
    """Per pixel."""
    thickness_angstrom: float
    """Of the amorphous layer."""


def expected_noise_power(
    scene: Scene, gx: FloatArray, gy: FloatArray, *, level: NoiseLevel | None = None
) -> FloatArray:
    """Compute the expected |F|² of a bin without a spot [counts²]: electrons, read-out and amorphous layer.

    Parameters
    ----------
    scene
        As for ``simulate_frame``; grey levels are not applied.
    gx, gy
        Where [1/Å], arrays that broadcast.
    level
        Means of what was drawn. Without it: the dose through vacuum, the layer's nominal thickness everywhere.

    Returns
    -------
    FloatArray
        Gain stripes, hot pixels, rounding and the tails of sharp edges are not in it.
    """
    if level is None:
        nominal = scene.amorphous.thickness_angstrom if scene.amorphous else 0.0
        level = NoiseLevel(incident_electrons(scene), nominal)
    camera, n_pixels = scene.camera, scene.frame_shape[0] * scene.frame_shape[1]
    readout = readout_transfer(scene, gx, gy)
    layer = incident_electrons(scene) * amorphous_transfer(scene, gx, gy) * sensor_transfer(scene, gx, gy)
    electrons = (level.electrons + level.thickness_angstrom * layer**2) * readout**2
    power: FloatArray = n_pixels * (camera.counts_per_electron**2 * electrons + camera.read_noise_counts**2)
    return power


def build_masks(scene: Scene, coverages: Sequence[Coverage]) -> Mask:
    """Where each grain is: pixels that it covers by half or more; (n_grains, n_rows, n_cols)."""
    masks = np.zeros((len(coverages), *scene.frame_shape), bool)
    for mask, covered in zip(masks, coverages, strict=True):
        mask[covered.rows, covered.cols] = covered.share >= 0.5
    return masks


def build_spots(scene: Scene, patches: Sequence[Patch], *, level: NoiseLevel, grey_scale: float) -> TrueSpots:
    """List the spots of all patches that touch the frame, strongest SNR first."""
    parts = [_patch_spots(scene, patch, level) for patch in patches]
    joined = _join(parts)
    order = np.argsort(-joined.snr, kind="stable")
    return TrueSpots(
        gx=joined.gx[order],
        gy=joined.gy[order],
        hkl=joined.hkl[order],
        phase=tuple(joined.phase[i] for i in order),
        grain=joined.grain[order],
        amplitude=joined.amplitude[order] * grey_scale,
        width=joined.width[order],
        snr=joined.snr[order],
    )


def _patch_spots(scene: Scene, patch: Patch, level: NoiseLevel) -> TrueSpots:
    waves, covered = patch.fringes, patch.covered
    area = float(covered.share.sum(dtype=np.float64))
    if area < 1:
        return _no_spots()
    lit = covered.share * illumination(scene, covered.rows, covered.cols)
    counts = incident_electrons(scene) * scene.camera.counts_per_electron
    transfer = readout_transfer(scene, waves.gx, waves.gy)
    amplitude: FloatArray = np.asarray(2 * counts * np.abs(waves.coefficient) * transfer, np.float64)
    # Parseval: the fringe's half of the power, summed over its bins.
    n_pixels = scene.frame_shape[0] * scene.frame_shape[1]
    excess = n_pixels * float(np.sum(lit**2, dtype=np.float64)) * amplitude**2 / 4
    # Of a square of side L it is 0.886 / L; of a disc of the same area 2 % more.
    width = 0.886 / math.sqrt(area * scene.pixel_size_angstrom[0] * scene.pixel_size_angstrom[1])
    snr = np.sqrt(2 * excess / _noise_below(scene, waves, width, level))
    n = len(snr)
    return TrueSpots(
        gx=waves.gx,
        gy=waves.gy,
        hkl=waves.hkl,
        phase=(MOIRE if patch.grain < 0 else scene.grains[patch.grain].structure.name,) * n,
        grain=np.full(n, patch.grain, np.int64),
        amplitude=amplitude * (float(lit.sum(dtype=np.float64)) / area),
        width=np.full(n, width),
        snr=snr,
    )


def _noise_below(scene: Scene, waves: Fringes, width: float, level: NoiseLevel) -> FloatArray:
    """Mean noise power under a spot, weighted with a Gaussian of its width: it matters beside Thon's zeros."""
    steps = np.linspace(-1.5, 1.5, 7)
    weights = np.exp(-4 * math.log(2) * (steps[:, None] ** 2 + steps[None, :] ** 2)).ravel()
    dy, dx = (offset.ravel() * width for offset in np.meshgrid(steps, steps, indexing="ij"))
    nyquist_y, nyquist_x = (0.5 / pixel for pixel in scene.pixel_size_angstrom)
    gy = np.clip(waves.gy[:, None] + dy, -nyquist_y, nyquist_y)
    gx = np.clip(waves.gx[:, None] + dx, -nyquist_x, nyquist_x)
    power = expected_noise_power(scene, gx, gy, level=level)
    mean: FloatArray = np.maximum(power @ weights / weights.sum(), 1e-300)
    return mean


def _no_spots() -> TrueSpots:
    none = np.zeros(0)
    return TrueSpots(none, none, np.zeros((0, 3), np.int64), (), np.zeros(0, np.int64), none, none, none)


def _join(parts: Sequence[TrueSpots]) -> TrueSpots:
    if not parts:
        return _no_spots()
    return TrueSpots(
        gx=np.concatenate([p.gx for p in parts]),
        gy=np.concatenate([p.gy for p in parts]),
        hkl=np.concatenate([p.hkl for p in parts]),
        phase=tuple(name for p in parts for name in p.phase),
        grain=np.concatenate([p.grain for p in parts]),
        amplitude=np.concatenate([p.amplitude for p in parts]),
        width=np.concatenate([p.width for p in parts]),
        snr=np.concatenate([p.snr for p in parts]),
    )
