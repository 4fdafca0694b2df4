"""From the expected intensity to the counts that a camera stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from fringemap.simulate.optics import modulation_transfer
from fringemap.simulate.picture import burn_scale_bar, pass_through_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable

    from fringemap.records import Image
    from fringemap.simulate.optics import Array
    from fringemap.simulate.scene import Scene

_BLOCK_ROWS = 64
"""Rows treated at once, so that intermediate results stay in the processor's cache."""


def incident_electrons(scene: Scene) -> float:
    """Mean electrons that a pixel receives through vacuum."""
    return scene.dose_per_angstrom2 * scene.pixel_size_angstrom[0] * scene.pixel_size_angstrom[1]


def sensor_transfer(scene: Scene, gx: Array, gy: Array) -> Array:
    """Part of the camera's transfer that acts before electrons are counted."""
    return _transfer(scene, gx, gy) ** (1 - scene.camera.noise_share)


def readout_transfer(scene: Scene, gx: Array, gy: Array) -> Array:
    """Part of the camera's transfer that acts on the counted electrons, signal and noise alike."""
    return _transfer(scene, gx, gy) ** scene.camera.noise_share


def illumination(scene: Scene, rows: slice, cols: slice) -> Image:
    """Relative illumination of a window; mean 1 over the whole frame."""
    slope_y, slope_x = scene.faults.illumination_slope
    n_rows, n_cols = scene.frame_shape
    down = 1 + slope_y * (np.arange(rows.start, rows.stop) - (n_rows - 1) / 2) / n_rows
    across = slope_x * (np.arange(cols.start, cols.stop) - (n_cols - 1) / 2) / n_cols
    return down.astype(np.float32)[:, None] + across.astype(np.float32)[None, :]


def record(expected: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Count electrons, spread them, read the camera out.

    Parameters
    ----------
    expected
        Expected electrons a pixel, after ``sensor_transfer``; overwritten.

    Returns
    -------
    Image
        Counts.
    """
    camera = scene.camera
    for start in range(0, len(expected), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        expected[block] = rng.poisson(expected[block])
    image = expected
    if camera.noise_share:
        image = filter_image(image, scene, readout_transfer)
    image *= np.float32(camera.counts_per_electron)
    if camera.read_noise_counts:
        image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(camera.read_noise_counts)
    return image


def add_faults(image: Image, scene: Scene, rng: np.random.Generator) -> float:
    """Draw gain stripes and hot pixels, make a picture of it, all in place; return the grey levels for one count."""
    faults = scene.faults
    for axis, spread in enumerate((faults.row_gain, faults.column_gain)):
        if spread:
            n_stripes = -(-image.shape[axis] // faults.gain_stripe_px)
            stripes = 1 + np.float32(spread) * rng.standard_normal(n_stripes, dtype=np.float32)
            gain = np.repeat(stripes, faults.gain_stripe_px)[: image.shape[axis]]
            image *= gain[:, None] if axis == 0 else gain[None, :]
    if faults.hot_pixels:
        hot = rng.integers(image.size, size=faults.hot_pixels)
        image.ravel()[hot] = faults.hot_pixel_factor * image.mean()
    grey_scale = 1.0 if faults.grey_levels is None else _round_to_levels(image, faults.grey_levels)
    if faults.scale_bar is not None:
        burn_scale_bar(image, faults.scale_bar, scene.pixel_size_angstrom)
    if faults.jpeg_quality is not None:
        pass_through_jpeg(image, faults.jpeg_quality)
    return grey_scale


def filter_image(image: Image, scene: Scene, transfer: Callable[[Scene, Array, Array], Array]) -> Image:
    """Multiply the image's half spectrum by ``transfer(scene, gx, gy)``; the input is overwritten."""
    rows, cols = image.shape
    spectrum = fft.rfft2(image, overwrite_x=True)
    gy = fft.fftfreq(rows, scene.pixel_size_angstrom[0]).astype(np.float32)[:, None]
    gx = fft.rfftfreq(cols, scene.pixel_size_angstrom[1]).astype(np.float32)[None, :]
    for start in range(0, rows, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        spectrum[block] *= transfer(scene, gx, gy[block])
    filtered: Image = fft.irfft2(spectrum, s=(rows, cols), overwrite_x=True)
    return filtered


def _transfer(scene: Scene, gx: Array, gy: Array) -> Array:
    pixel_y, pixel_x = scene.pixel_size_angstrom
    return modulation_transfer(scene.camera, gx * pixel_x, gy * pixel_y)


def _round_to_levels(image: Image, levels: int) -> float:
    low, high = np.percentile(image, [0.1, 99.9])
    grey_scale = (levels - 1) / max(float(high - low), 1e-30)
    np.clip(np.rint((image - np.float32(low)) * np.float32(grey_scale)), 0, levels - 1, out=image)
    return grey_scale
