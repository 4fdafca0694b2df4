"""The simplest frames with a known answer: plane waves in white noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import SettingsError
from fringemap.records import Frame, Scale, ScaleSource, TrueSpots, Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Mask

WAVE = "wave"
"""The name that plane waves have in place of a phase."""


@dataclass(frozen=True)
class PlaneWave:
    """``amplitude cos(2π (gx x + gy y) + argument)`` inside a mask; x and y from the centre of pixel [0, 0]."""

    gx: float
    """Along columns, to the right [1/Å]."""
    gy: float
    """Along rows, downward [1/Å]."""
    amplitude: float
    """[counts]"""
    argument: float = 0.0
    mask: Mask | None = None
    """None: the whole frame."""


def plane_wave_frame(
    shape: tuple[int, int],
    pixel_size_angstrom: tuple[float, float],
    waves: Sequence[PlaneWave],
    *,
    rng: np.random.Generator,
    noise_sigma: float = 0.0,
    mean_counts: float = 0.0,
) -> tuple[Frame, Truth]:
    """Draw plane waves in white Gaussian noise.

    Parameters
    ----------
    shape, pixel_size_angstrom
        Of the frame, along (rows, columns).
    waves
        They add where they overlap.
    rng
        Source of the noise.
    noise_sigma
        Standard deviation of a pixel [counts].
    mean_counts
        Added everywhere.

    Returns
    -------
    Frame
        Float32.
    Truth
        A mask and a spot for each wave, in the order given, g as given; the SNR is infinite without noise.

    Raises
    ------
    SettingsError
        A mask has another shape than the frame.
    """
    y, x = np.arange(shape[0])[:, None] * pixel_size_angstrom[0], np.arange(shape[1])[None, :] * pixel_size_angstrom[1]
    masks = np.ones((len(waves), *shape), bool)
    image = np.full(shape, mean_counts, np.float64)
    for wave, mask in zip(waves, masks, strict=True):
        if wave.mask is not None:
            _check_shape(wave.mask, shape)
            mask[...] = wave.mask
        image += mask * wave.amplitude * np.cos(2 * np.pi * (wave.gx * x + wave.gy * y) + wave.argument)
    image += noise_sigma * rng.standard_normal(shape)
    scale = Scale(pixel_size_angstrom, 0.0, ScaleSource.CALIBRATED)
    truth = Truth((WAVE,) * len(waves), masks, _spots(waves, masks, pixel_size_angstrom, noise_sigma), scale)
    return Frame(image.astype(np.float32), scale, "plane waves"), truth


def _spots(
    waves: Sequence[PlaneWave], masks: Mask, pixel_size_angstrom: tuple[float, float], noise_sigma: float
) -> TrueSpots:
    n = len(waves)
    amplitude = np.array([wave.amplitude for wave in waves], float)
    n_pixels = masks.reshape(n, -1).sum(axis=1, dtype=np.float64) if n else np.zeros(0)
    area = n_pixels * pixel_size_angstrom[0] * pixel_size_angstrom[1]
    with np.errstate(divide="ignore"):
        snr = amplitude * np.sqrt(n_pixels / 2) / noise_sigma if noise_sigma else np.full(n, np.inf)
        width = 0.886 / np.sqrt(area)
    return TrueSpots(
        gx=np.array([wave.gx for wave in waves], float),
        gy=np.array([wave.gy for wave in waves], float),
        hkl=np.zeros((n, 3), np.int64),
        phase=(WAVE,) * n,
        grain=np.arange(n, dtype=np.int64),
        amplitude=amplitude,
        width=width,
        snr=snr,
    )


def _check_shape(mask: Mask, shape: tuple[int, int]) -> None:
    if mask.shape != shape:
        raise SettingsError(f"A wave's mask has the shape {mask.shape}, the frame {shape}; both must be equal.")
