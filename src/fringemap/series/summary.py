"""From the result of one frame to the little that a series needs of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from fringemap.records import FrameSummary, MapSummary, Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, FrameResult, Image, PhaseMap

_PROFILE_BINS = 512
DRIFT_SIDE_PX = 192
"""Longest side of a drift image."""
COARSEST_LATTICE_ANGSTROM = 12.0
"""No lattice fringe is wider; a drift image keeps what is coarser."""


def summarise_frame(result: FrameResult) -> FrameSummary:
    """Keep the numbers of a frame, its reduced graph and a small image for the drift.

    Returns
    -------
    FrameSummary
        About 200 kB, of which all but a tenth is the drift image.

    Notes
    -----
    The fringe power of a spot is the mean square of its fringe over the frame, over the square of the mean counts.
    The spot's excess energy in the half spectrum is ``E = snr²/2 B(g)``, with B the azimuthal mean of the background;
    by Parseval's theorem, and counting the Friedel mate, the mean square is ``2 E / (R C)²``. It does not depend on
    the dose: fringes and mean both grow with it. A frame whose mean is not positive (its offset was taken away) has
    none.
    """
    power, sigma = _fringe_power(result)
    g, profile = _reduced_profile(result.profile)
    image, pixel = _drift_image(result)
    return FrameSummary(
        name=result.name,
        index=result.index,
        time_s=result.time_s,
        frame_shape=result.frame_shape,
        scale=result.scale,
        mean_counts=_mean_counts(result),
        spots=result.spots,
        names=tuple(match.best for match in result.match.spots),
        fringe_power=power,
        fringe_power_sigma=sigma,
        maps=tuple(_map_summary(phase_map) for phase_map in result.maps),
        profile_g=g,
        profile=profile,
        drift_image=image,
        drift_pixel_px=pixel,
    )


def _mean_counts(result: FrameResult) -> float:
    return result.mean_counts if np.isfinite(result.mean_counts) else float(result.thumbnail.mean(dtype=np.float64))


def _fringe_power(result: FrameResult) -> tuple[FloatArray, FloatArray]:
    spots, mean = result.spots, _mean_counts(result)
    if not (mean > 0 and len(result.profile.g)):
        return np.full(len(spots), np.nan), np.full(len(spots), np.nan)
    background = np.interp(spots.g, result.profile.g, result.profile.background)
    rows, cols = result.frame_shape
    unit = 2.0 * background / (float(rows * cols) * mean) ** 2
    energy = 0.5 * spots.snr**2
    # A bin of signal F² over noise B has the variance B² + 2 B F².
    return unit * energy, unit * np.sqrt(1.0 + 2.0 * energy)


def _reduced_profile(profile: Profile) -> tuple[FloatArray, FloatArray]:
    group = max(-(-len(profile.g) // _PROFILE_BINS), 1)
    n = len(profile.g) // group
    g = np.asarray(profile.g[: n * group], dtype=np.float64).reshape(n, group).mean(axis=1)
    return g, np.asarray(profile.masked[: n * group], dtype=np.float64).reshape(n, group).max(axis=1)


def _map_summary(phase_map: PhaseMap) -> MapSummary:
    return MapSummary(
        phase=phase_map.phase,
        intensity=phase_map.intensity,
        intensity_sigma=phase_map.intensity_sigma,
        area_fraction=phase_map.area_fraction,
        area_sigma=phase_map.area_sigma,
        spots=phase_map.spots,
    )


def _drift_image(result: FrameResult) -> tuple[Image, tuple[float, float]]:
    """Keep of the frame what is coarser than any lattice fringe; fringes would lock the drift to unit cells."""
    thumbnail = result.thumbnail
    block = [n / m for n, m in zip(result.frame_shape, thumbnail.shape, strict=True)]
    side = [n * b * p for n, b, p in zip(thumbnail.shape, block, result.scale.pixel_size_angstrom, strict=True)]
    # Twice as many pixels as the finest wave kept needs: peaks of the correlation are then smooth.
    shape = [
        min(4 * math.ceil(s / COARSEST_LATTICE_ANGSTROM), DRIFT_SIDE_PX, n)
        for s, n in zip(side, thumbnail.shape, strict=True)
    ]
    image = _low_pass(thumbnail, (shape[0], shape[1]), side)
    return image, tuple(n * b / m for n, b, m in zip(thumbnail.shape, block, shape, strict=True))


def _low_pass(image: Image, shape: tuple[int, int], side_angstrom: Sequence[float]) -> Image:
    """Resample to a coarser grid with nothing left that is finer than the coarsest lattice."""
    rows = np.r_[0 : (shape[0] + 1) // 2, -(shape[0] // 2) : 0]
    # Columns that are not kept need no second transform.
    columns = scipy.fft.rfft(image, axis=1)[:, : shape[1] // 2 + 1]
    kept = scipy.fft.fft(columns, axis=0)[rows]
    gy, gx = rows[:, None] / side_angstrom[0], np.arange(kept.shape[1]) / side_angstrom[1]
    reach = np.hypot(gy, gx) * COARSEST_LATTICE_ANGSTROM
    kept = kept * np.clip(5.0 * (1.0 - reach), 0.0, 1.0).astype(np.float32)
    reduced: Image = scipy.fft.irfft2(kept, s=shape) * np.float32(shape[0] * shape[1] / image.size)
    return reduced
