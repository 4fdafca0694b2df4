"""Frames drawn by hand with a known answer, for the tests and the benchmark of maps."""

from __future__ import annotations

import numpy as np
import scipy.fft

from fringemap.records import (
    Diffractogram,
    Match,
    PhaseEvidence,
    Scale,
    ScaleSource,
    SpotMatch,
    Spots,
)


def draw_frame(shape, pixel, grains, *, noise, rng):
    """Sum of A cos(2π g·x) in masks, and white noise; pixel in Å along (rows, cols), grains of (A, gx, gy, mask)."""
    y, x = np.arange(shape[0])[:, None] * pixel[0], np.arange(shape[1])[None, :] * pixel[1]
    frame = noise * rng.standard_normal(shape)
    for amplitude, gx, gy, mask in grains:
        frame += amplitude * mask * np.cos(2 * np.pi * (gx * x + gy * y))
    return frame.astype(np.float32)


def diffractogram_of(frame, pixel, noise_power):
    """Half spectrum with the known noise power of a bin: a number or an image."""
    spectrum = scipy.fft.rfft2(frame - frame.mean())
    return Diffractogram(
        spectrum=spectrum.astype(np.complex64),
        power=(np.abs(spectrum) ** 2).astype(np.float32),
        background=np.broadcast_to(np.float32(noise_power), spectrum.shape).astype(np.float32),
        noise_shape=1.0,
        frame_shape=frame.shape,
        scale=Scale((float(pixel[0]), float(pixel[1])), 0.01, ScaleSource.USER),
    )


def spots_at(gx, gy, *, amplitude=np.nan, diameter=np.nan, frame=((1, 1), (1.0, 1.0))):
    """Spots as a detector would hand them on, with the width of round grains of this diameter [Å]."""
    n = len(gx)
    column = np.full(n, np.nan)
    return Spots(
        gx=np.asarray(gx, float),
        gy=np.asarray(gy, float),
        covariance=np.full((n, 2, 2), np.nan),
        amplitude=np.broadcast_to(np.asarray(amplitude, float), n).copy(),
        amplitude_sigma=column,
        snr=column,
        width=0.9 / np.broadcast_to(np.asarray(diameter, float), n),
        score=column,
        position=np.full((n, 2), np.nan),
        extent=np.full((n, 2), np.nan),
        flags=np.zeros(n, np.int64),
    )


def match_of(phases, n_spots):
    """Which rows belong to which phase, as a mapping of name to rows."""
    return Match(
        spots=tuple(SpotMatch(None) for _ in range(n_spots)),
        phases=tuple(PhaseEvidence(name, tuple(rows)) for name, rows in phases.items()),
    )


def disc(shape, pixel, centre, diameter):
    """Disc with soft edges of one pixel; centre in frame pixels (row, col), diameter in Å."""
    y = (np.arange(shape[0])[:, None] - centre[0]) * pixel[0]
    x = (np.arange(shape[1])[None, :] - centre[1]) * pixel[1]
    return np.clip((diameter / 2 - np.hypot(y, x)) / max(pixel) + 0.5, 0.0, 1.0).astype(np.float32)
