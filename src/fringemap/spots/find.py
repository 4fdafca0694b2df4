"""Diffractogram -> Spots: detect, refine, and say what is doubtful."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import Flag, Spots
from fringemap.settings import SpotSettings
from fringemap.spectrum import bin_size, nyquist, read_block
from fringemap.spots.classical import detect_classical
from fringemap.spots.refine import refine_candidates
from fringemap.spots.unet import detect_unet
from fringemap.spots.wave_fit import FittedEarly, fit_waves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fringemap.records import Diffractogram, FloatArray, IntArray, Mask
    from fringemap.spots.candidates import Candidates
    from fringemap.spots.refine import Refined

# Fewer periods than this make a lattice-like texture, hardly a crystal that can be identified.
_FEW_PERIODS = 7.0
_NEAR_NYQUIST = 0.92
# A spot within this many bins of an axis can belong to a streak.
_STREAK_BINS = 1.5
# Share of the energy of a 3 x 3 block in its middle bin from which a spot counts as a single pixel.
_SINGLE_PIXEL_SHARE = 0.97
_HARMONICS = (2, 3)
# From 0.0005 false spots a frame to 5: beyond either end a list is either useless or not to be trusted.
_FALSE_SPOTS_AT_50, _SENSITIVITY_DECADE = 0.05, 25.0


def find_spots(diffractogram: Diffractogram, *, settings: SpotSettings | None = None, workers: int = 1) -> Spots:
    """Spots of a diffractogram, measured, with their errors and doubts.

    Parameters
    ----------
    diffractogram
        Of one frame, or averaged over several.
    settings
        The detector and its rate of false alarms, the limits of d.
    workers
        Threads.

    Returns
    -------
    Spots
        One of each Friedel pair, in falling order of score; no rows if nothing stands out.
    """
    settings = settings or SpotSettings()
    fitted: list[FittedEarly] = []

    def fit(candidates: Candidates) -> None:
        fitted.append(FittedEarly(candidates, fit_waves(diffractogram, candidates)))

    candidates = detect_spots(diffractogram, settings=settings, workers=workers, meanwhile=fit)
    return measure_spots(diffractogram, candidates, fitted)


def detect_spots(
    diffractogram: Diffractogram,
    *,
    settings: SpotSettings,
    workers: int = 1,
    meanwhile: Callable[[Candidates], None] = lambda _: None,
) -> Candidates:
    """Coarse positions from the detector that the settings name; for ``meanwhile`` see ``detect_unet``."""
    if settings.sensitivity is not None:
        settings = replace(settings, false_spots=false_spots_at(settings.sensitivity), sensitivity=None)
    if settings.detector == "unet":
        return detect_unet(diffractogram, settings=settings, workers=workers, meanwhile=meanwhile)
    return detect_classical(diffractogram, settings=settings, workers=workers)


def false_spots_at(sensitivity: float) -> float:
    """False spots expected in a frame, for a sensitivity from 0 to 100: 50 is 0.05, and 25 more ten times as many."""
    return _FALSE_SPOTS_AT_50 * float(10.0 ** ((sensitivity - 50.0) / _SENSITIVITY_DECADE))


def measure_spots(diffractogram: Diffractogram, candidates: Candidates, fitted: Sequence[FittedEarly] = ()) -> Spots:
    """Refine candidates; where a fit leaves its spot the coarse position stays and Flag.NOT_REFINED is set.

    Of candidates that end on one and the same spot the strongest stays. What was fitted early is not fitted again.
    """
    fit = refine_candidates(diffractogram, candidates, fitted)
    keep = _first_of_same(fit.row, fit.col, fit.width.max(axis=1, initial=0.0))
    return _to_spots(diffractogram, candidates, fit, _flags(diffractogram, candidates, fit), keep)


def _first_of_same(row: FloatArray, col: FloatArray, width: FloatArray) -> Mask:
    """Which spots no stronger one, or its mate, sits on; candidates come in falling order of score."""
    kept: list[int] = []
    for i in range(len(row)):
        reach = np.maximum(0.5 * np.minimum(width[i], width[kept]), 1.0)
        same = np.hypot(row[i] - row[kept], col[i] - col[kept]) < reach
        mate = np.hypot(row[i] + row[kept], col[i] + col[kept]) < reach
        if not (same | mate).any():
            kept.append(i)
    mask = np.zeros(len(row), bool)
    mask[kept] = True
    return mask


def _to_spots(diffractogram: Diffractogram, candidates: Candidates, fit: Refined, flags: IntArray, keep: Mask) -> Spots:
    step_y, step_x = bin_size(diffractogram.frame_shape, diffractogram.scale)
    steps = np.array([step_x, step_y])
    sign = np.where((fit.col > 0) | ((fit.col == 0) & (fit.row > 0)), 1.0, -1.0)
    covariance = fit.covariance[:, ::-1, ::-1] * steps[:, None] * steps
    return Spots(
        gx=(sign * fit.col * step_x)[keep],
        gy=(sign * fit.row * step_y)[keep],
        covariance=covariance[keep],
        amplitude=fit.amplitude[keep],
        amplitude_sigma=fit.amplitude_sigma[keep],
        snr=fit.snr[keep],
        width=np.sqrt(np.prod(fit.width * steps[::-1], axis=1))[keep],
        score=candidates.score[keep],
        position=fit.position[keep],
        extent=fit.extent[keep],
        flags=flags[keep],
    )


def _flags(diffractogram: Diffractogram, candidates: Candidates, fit: Refined) -> IntArray:
    row, col = fit.row, fit.col
    step_y, step_x = bin_size(diffractogram.frame_shape, diffractogram.scale)
    limit_y, limit_x = nyquist(diffractogram.scale)
    g = np.hypot(row * step_y, col * step_x)
    pixel = np.array(diffractogram.scale.pixel_size_angstrom)
    # An evenly filled length L has the standard deviation L / sqrt(12).
    length = np.sqrt(12.0 * np.prod(fit.extent * pixel, axis=1))
    near_limit = (np.abs(row * step_y) > _NEAR_NYQUIST * limit_y) | (np.abs(col * step_x) > _NEAR_NYQUIST * limit_x)
    doubts = {
        Flag.NOT_REFINED: ~fit.refined,
        Flag.MERGED: candidates.merged,
        Flag.UNCONFIRMED: candidates.unconfirmed,
        Flag.SEVERAL_GRAINS: fit.several,
        Flag.ON_STREAK: (np.abs(row) < _STREAK_BINS) | (np.abs(col) < _STREAK_BINS),
        Flag.NEAR_NYQUIST: near_limit,
        Flag.FEW_PERIODS: g * length < _FEW_PERIODS,
        Flag.SINGLE_PIXEL: _single_pixels(diffractogram, row, col),
        Flag.HARMONIC: _harmonics(fit),
    }
    flags = np.zeros(len(row), np.int64)
    for flag, doubtful in doubts.items():
        flags |= np.where(doubtful, int(flag), 0)
    return flags


def _single_pixels(diffractogram: Diffractogram, row: FloatArray, col: FloatArray) -> Mask:
    shares = []
    for r, c in zip(np.rint(row).astype(int), np.rint(col).astype(int), strict=True):
        block = read_block(diffractogram.power, diffractogram.frame_shape[1], start=(r - 1, c - 1), shape=(3, 3))
        shares.append(float(block[1, 1] / max(block.sum(), 1e-30)))
    return np.array(shares) > _SINGLE_PIXEL_SHARE


def _harmonics(fit: Refined) -> Mask:
    """Spots at twice or three times the g of a stronger one, within the widths of both."""
    row, col = fit.row, fit.col
    harmonic = np.zeros(len(row), bool)
    width = fit.width.max(axis=1, initial=0.0)
    for order in _HARMONICS:
        distance = np.hypot(row[:, None] - order * row, col[:, None] - order * col)
        reach = np.maximum(0.5 * np.minimum(width[:, None], order * width), 1.0)
        weaker = fit.amplitude[:, None] < 0.5 * fit.amplitude
        harmonic |= ((distance < reach) & weaker).any(axis=1)
    return harmonic
