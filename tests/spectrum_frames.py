"""Frames drawn by hand and through the lens, for the tests of spectrum and spots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fringemap.records import Diffractogram, Frame, Scale, ScaleSource
from fringemap.simulate import Amorphous, Microscope, PlaneWave, Scene, plane_wave_frame, simulate_frame
from fringemap.spectrum import compute_diffractogram

PIXEL = (0.4, 0.4)


def scale_of(pixel=PIXEL):
    return Scale((float(pixel[0]), float(pixel[1])), 0.01, ScaleSource.USER)


def frame_of(image, pixel=PIXEL):
    return Frame(np.asarray(image, np.float32), scale_of(pixel), "drawn")


def white_frame(shape, rng, *, sigma=10.0, mean=100.0, pixel=PIXEL):
    return frame_of(mean + sigma * rng.standard_normal(shape), pixel)


def thon_frame(shape, rng, *, pixel=PIXEL, defocus=-6000.0, astigmatism=0.0, region=None, thickness=100.0):
    """Amorphous carbon through a real lens: Thon rings, the camera's roll-off and counting noise."""
    microscope = Microscope(defocus_angstrom=defocus, astigmatism_angstrom=astigmatism, astigmatism_angle=0.5)
    layer = Amorphous(thickness, region=region)
    scene = Scene(shape, pixel, amorphous=layer, microscope=microscope, dose_per_angstrom2=2000.0)
    return simulate_frame(scene, rng=rng)[0]


def wave_at(row, col, amplitude, *, shape, pixel=PIXEL, argument=0.3, mask=None):
    """A fringe whose spot lies at these (fractional) bins."""
    return PlaneWave(col / (shape[1] * pixel[1]), row / (shape[0] * pixel[0]), amplitude, argument, mask)


def waves_frame(shape, waves, rng, *, sigma=0.0, mean=100.0, pixel=PIXEL):
    return plane_wave_frame(shape, pixel, waves, rng=rng, noise_sigma=sigma, mean_counts=mean)[0]


def disc_mask(shape, centre, diameter_px):
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - centre[0], cols - centre[1]) <= diameter_px / 2


def flat_diffractogram(power, frame_shape, *, pixel=PIXEL, background=1.0, noise_shape=1.0):
    """A diffractogram with this half spectrum of power over a flat background."""
    power = np.asarray(power, np.float32)
    return Diffractogram(
        spectrum=np.sqrt(power).astype(np.complex64),
        power=power,
        background=np.full(power.shape, background, np.float32),
        noise_shape=noise_shape,
        frame_shape=frame_shape,
        scale=scale_of(pixel),
    )


def with_known_background(frame, sigma):
    """Diffractogram of a frame whose white noise is known: no error of the background's own."""
    diffractogram = compute_diffractogram(frame)
    expected = np.float32(sigma**2 * frame.image.size)
    return replace(diffractogram, background=np.full_like(diffractogram.power, expected))
