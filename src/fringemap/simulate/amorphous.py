"""The amorphous layer: atoms at random places, seen through the lens. Its power shows Thon rings."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from fringemap.errors import SettingsError
from fringemap.simulate.camera import filter_image, sensor_transfer
from fringemap.simulate.optics import (
    aberration,
    coherence_envelope,
    electron_wavelength,
    motion_envelope,
    relativistic_factor,
)
from fringemap.simulate.regions import cover, places

if TYPE_CHECKING:
    from fringemap.records import FloatArray, Image
    from fringemap.simulate.optics import Array
    from fringemap.simulate.scene import Amorphous, Scene


def amorphous_transfer(scene: Scene, gx: Array, gy: Array) -> Array:
    """Fourier amplitude of the contrast of 1 Å of the layer, relative to that of white noise of variance 1.

    Notes
    -----
    Atoms at random places, N per area, have the power ``N (γ λ f(g))²`` per area, f being the electron scattering
    factor [Å]; halos multiply it. The lens makes ``2 sin χ`` of it. The power grows with the thickness.
    """
    layer, microscope = scene.amorphous, scene.microscope
    if layer is None:
        return np.zeros(np.broadcast_shapes(gx.shape, gy.shape), gx.dtype)
    transfer = 2 * np.sin(aberration(microscope, gx, gy)) * coherence_envelope(microscope, gx, gy)
    transfer *= motion_envelope(
        gx, gy, drift_angstrom=scene.drift_angstrom, vibration_angstrom=microscope.vibration_angstrom
    )
    g2 = gx * gx + gy * gy
    transfer *= _form_factor(layer.element, g2)
    if layer.halos:
        transfer *= np.sqrt(_halo_factor(layer, g2))
    pixel_area = scene.pixel_size_angstrom[0] * scene.pixel_size_angstrom[1]
    scattering = relativistic_factor(microscope.voltage_kv) * electron_wavelength(microscope.voltage_kv)
    transfer *= layer.strength * scattering * float(np.sqrt(layer.density_per_angstrom3 / pixel_area))
    return transfer


def amorphous_contrast(scene: Scene) -> float:
    """Compute the standard deviation of the layer's contrast over the incident intensity, where it is all there.

    Above about a third the linear theory fails: it makes intensities negative.
    """
    if scene.amorphous is None:
        return 0.0
    gy = np.linspace(-0.5, 0.5, 128, endpoint=False)[:, None] / scene.pixel_size_angstrom[0]
    gx = np.linspace(-0.5, 0.5, 128, endpoint=False)[None, :] / scene.pixel_size_angstrom[1]
    transfer = amorphous_transfer(scene, gx, gy) * sensor_transfer(scene, gx, gy)
    return float(np.sqrt(np.mean(transfer**2) * scene.amorphous.thickness_angstrom))


def draw_thickness(scene: Scene, rng: np.random.Generator) -> Image | None:
    """Thickness of the layer at each pixel [Å]; None where there is no layer."""
    layer = scene.amorphous
    if layer is None or layer.thickness_angstrom == 0:
        return None
    y, x = places(scene, 0), places(scene, 1)
    height, width = scene.size_angstrom
    down = 1 + layer.slope[0] * (y - scene.centre[0]) / height
    across = layer.slope[1] * (x - scene.centre[1]) / width
    thickness = down.astype(np.float32)[:, None] + across.astype(np.float32)[None, :]
    if layer.roughness:
        thickness += np.float32(layer.roughness) * _smooth_field(y, x, layer.roughness_length_angstrom, rng)
    np.maximum(thickness, 0, out=thickness)
    if layer.region is not None:
        covered = cover(layer.region, scene)
        inside = thickness[covered.rows, covered.cols] * covered.share
        thickness[...] = 0
        thickness[covered.rows, covered.cols] = inside
    thickness *= np.float32(layer.thickness_angstrom)
    return thickness


def draw_amorphous(scene: Scene, thickness: Image | None, rng: np.random.Generator) -> Image:
    """Contrast of the layer, over the incident intensity: white noise through form factor, lens and sensor."""
    if thickness is None:
        return np.zeros(scene.frame_shape, np.float32)
    noise = rng.standard_normal(scene.frame_shape, dtype=np.float32)
    noise *= np.sqrt(thickness)
    return filter_image(noise, scene, _drawn_transfer)


def specimen_generator(scene: Scene, rng: np.random.Generator) -> np.random.Generator:
    """Return the generator of the layer's thickness and atoms: the frame's own, or a new one from the layer's seed."""
    if scene.amorphous is None or scene.amorphous.seed is None:
        return rng
    return np.random.default_rng(scene.amorphous.seed)


def _drawn_transfer(scene: Scene, gx: Array, gy: Array) -> Array:
    transfer = amorphous_transfer(scene, gx, gy) * sensor_transfer(scene, gx, gy)
    shift_y, shift_x = scene.shift_angstrom
    if scene.amorphous is None or scene.amorphous.seed is None or not (shift_y or shift_x):
        return transfer
    # The atoms of a series move with the specimen; they enter again at the opposite edge.
    moved: Array = transfer * np.exp(-2j * np.pi * (gx * shift_x + gy * shift_y)).astype(np.complex64)
    return moved


def _smooth_field(y: FloatArray, x: FloatArray, length: float, rng: np.random.Generator) -> Image:
    """Draw a field of mean 0 and variance 1, smooth over ``length``: Gaussian bumps on a grid, half a length apart."""

    def weights(positions: FloatArray, extent: float) -> Image:
        # Knots belong to the specimen, as the positions do; four beyond either edge carry the field on when it drifts.
        knots = (np.arange(int(np.ceil(2 * extent / length)) + 9) - 4) * (length / 2)
        bumps = np.exp(-2 * ((positions[:, None] - knots[None, :]) / length) ** 2)
        size = np.maximum(np.sqrt((bumps**2).sum(axis=1, keepdims=True)), 1e-6)
        normalised: Image = (bumps / size).astype(np.float32)
        return normalised

    step_y, step_x = y[1] - y[0], x[1] - x[0]
    rows, cols = weights(y, len(y) * step_y), weights(x, len(x) * step_x)
    knots = rng.standard_normal((rows.shape[1], cols.shape[1]), dtype=np.float32)
    return np.asarray(rows @ knots @ cols.T, np.float32)


@functools.lru_cache(maxsize=128)
def _gaussians(element: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    table = gemmi.Element(element).c4322
    if table is None:
        raise SettingsError(
            f"There is no electron scattering factor for the element {element!r}; give a symbol such as 'C'."
        )
    return tuple(table.a), tuple(table.b)


def _form_factor(element: str, g2: Array) -> Array:
    """Electron scattering factor f(g) [Å]: five Gaussians of International Tables C, table 4.3.2.2."""
    heights, widths = _gaussians(element)
    total = np.zeros_like(g2)
    for a, b in zip(heights, widths, strict=True):
        total += a * np.exp(g2 * (-b / 4))
    return total


def _halo_factor(layer: Amorphous, g2: Array) -> Array:
    total = np.ones_like(g2)
    for halo in layer.halos:
        sigma = halo.fwhm_per_angstrom / 2.3548
        total += halo.height * np.exp(-((np.sqrt(g2) - 1 / halo.d_angstrom) ** 2) / (2 * sigma**2))
    return total
