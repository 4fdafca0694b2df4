"""Frame -> Diffractogram: the transform with the noise that it stands in."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import CalibrationError, ReadError
from fringemap.records import Diffractogram, Flag
from fringemap.settings import SpectrumSettings
from fringemap.spectrum.axes import part_within, read_blocks
from fringemap.spectrum.background import estimate_background
from fringemap.spectrum.transform import power_of, replace_hot_pixels, smooth_part, transform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fringemap.records import Array, Frame, Image, IntArray
    from fringemap.spectrum.axes import Part

log = logging.getLogger(__name__)


def compute_diffractogram(
    frame: Frame,
    *,
    settings: SpectrumSettings | None = None,
    d_min_angstrom: float | None = None,
    workers: int = 1,
) -> Diffractogram:
    """Half spectrum of a frame, its power, and the background that a spot has to exceed.

    Parameters
    ----------
    frame
        Any shape from 32 x 32; it must carry a scale.
    d_min_angstrom
        Nothing is evaluated beyond 1 / d_min along either axis, which saves time on finely sampled frames; all if None.
    workers
        Threads of the transform.

    Raises
    ------
    CalibrationError
        The frame has no pixel size.
    ReadError
        The frame is constant.
    """
    return average_diffractograms([frame], settings=settings, d_min_angstrom=d_min_angstrom, workers=workers)


def average_diffractograms(
    frames: Iterable[Frame],
    *,
    settings: SpectrumSettings | None = None,
    d_min_angstrom: float | None = None,
    workers: int = 1,
) -> Diffractogram:
    """Power averaged over several frames of one shape and scale; the noise of each bin falls accordingly.

    The phases of the waves differ between frames, so ``spectrum`` is that of the last frame.

    Raises
    ------
    CalibrationError
        A frame has no pixel size, or frames differ in shape or scale.
    ReadError
        There is no frame, or a frame is constant.
    """
    settings = settings or SpectrumSettings()
    summed: Diffractogram | None = None
    for frame in frames:
        one = _without_background(frame, settings, d_min_angstrom, workers)
        summed = one if summed is None else _add(summed, one, frame.name)
    if summed is None:
        raise ReadError("there is no frame to transform; check the range of frames")
    n = summed.n_averaged
    if n > 1:
        summed = dataclasses.replace(
            summed, power=summed.power / np.float32(n), noise_shape=float(n), mean_counts=summed.mean_counts / n
        )
    background = estimate_background(
        summed.power,
        frame_shape=summed.frame_shape,
        scale=summed.scale,
        part=diffractogram_part(summed),
        noise_shape=summed.noise_shape,
        workers=workers,
    )
    return dataclasses.replace(summed, background=background)


def _without_background(
    frame: Frame, settings: SpectrumSettings, d_min_angstrom: float | None, workers: int
) -> Diffractogram:
    """Spectrum and power of one frame; the background is still empty."""
    if frame.scale is None:
        raise CalibrationError(f"{frame.name}: no trustworthy pixel size; give it with --pixel-size, in nm/px")
    shape = (frame.image.shape[0], frame.image.shape[1])
    part = part_within(shape, frame.scale, d_min_angstrom=d_min_angstrom)
    image, n_hot = replace_hot_pixels(frame.image, sigma=settings.hot_pixel_sigma, workers=workers)
    if n_hot:
        log.info("%s: %d hot pixels replaced", frame.name, n_hot)
    if _is_constant(image):
        raise ReadError(f"{frame.name}: every pixel is {image.flat[0]:g}; the frame holds no image")
    spectrum, power, jumps = transform(image, edges=settings.edges, part=part, workers=workers)
    mean_counts = float(spectrum[0, 0].real) / image.size
    spectrum[0, 0] = power[0, 0] = 0
    return Diffractogram(
        spectrum=spectrum,
        power=power,
        background=np.zeros((0, 0), np.float32),
        noise_shape=1.0,
        frame_shape=shape,
        scale=frame.scale,
        smooth_part=jumps,
        windowed=settings.edges == "hann",
        d_min_angstrom=d_min_angstrom,
        mean_counts=mean_counts,
        flags=frame.flags | (Flag.HOT_PIXELS if n_hot else Flag.NONE),
    )


def _is_constant(image: Image) -> bool:
    first = image.flat[0]
    return bool((image[0] == first).all()) and bool((image == first).all())


def _add(summed: Diffractogram, one: Diffractogram, name: str) -> Diffractogram:
    if one.frame_shape != summed.frame_shape or one.scale != summed.scale:
        raise CalibrationError(
            f"{name}: shape or pixel size differs from the frames before it; average like frames only"
        )
    return dataclasses.replace(
        one,
        power=summed.power + one.power,
        n_averaged=summed.n_averaged + 1,
        mean_counts=summed.mean_counts + one.mean_counts,
        flags=summed.flags | one.flags,
    )


def diffractogram_part(diffractogram: Diffractogram) -> Part:
    """The bins of a diffractogram that were evaluated."""
    return part_within(diffractogram.frame_shape, diffractogram.scale, d_min_angstrom=diffractogram.d_min_angstrom)


def read_raw_blocks(diffractogram: Diffractogram, *, start: IntArray, shape: tuple[int, int]) -> Array:
    """Rectangles of the complex spectrum with its smooth part, as if nothing had been done about the edges.

    A wave that fills the frame has a smooth part of its own, so the wave is measured here and not without it.

    Parameters
    ----------
    start
        First (row, column) bin of each, signed; (n, 2).
    shape
        Of all of them.
    """
    n_cols = diffractogram.frame_shape[1]
    blocks = read_blocks(diffractogram.spectrum, n_cols, start=start, shape=shape)
    if diffractogram.smooth_part is None:
        return blocks
    top_bottom, left_right = diffractogram.smooth_part
    rows, cols = (start[:, axis, None] + np.arange(n) for axis, n in enumerate(shape))
    wrapped = cols % n_cols
    mate = wrapped >= len(top_bottom)
    at_cols = np.where(mate, np.conj(top_bottom[-wrapped % n_cols * mate]), top_bottom[np.where(mate, 0, wrapped)])
    return blocks + smooth_part(at_cols, left_right[rows % len(left_right)], rows, cols, diffractogram.frame_shape)


def under_hann(diffractogram: Diffractogram) -> Diffractogram:
    """The same frame under a Hann window of mean square 1, with its power and background anew.

    The window is a product in the frame, so here it is a convolution with (-1/4, 1/2, -1/4) along each axis.
    """
    spectrum, n_cols = diffractogram.spectrum, diffractogram.frame_shape[1]
    row = np.arange(len(spectrum))
    before = np.conj(spectrum[-row % len(row), 1])
    after = np.conj(spectrum[-row % len(row), (n_cols - spectrum.shape[1]) % n_cols])
    wide = np.concatenate([before[:, None], spectrum, after[:, None]], axis=1)
    across = np.float32(0.5) * spectrum - np.float32(0.25) * (wide[:, :-2] + wide[:, 2:])
    windowed = np.float32(0.5) * across - np.float32(0.25) * (np.roll(across, 1, 0) + np.roll(across, -1, 0))
    windowed /= np.float32(3 / 8)
    windowed[0, 0] = 0
    part = diffractogram_part(diffractogram)
    power = power_of(windowed, part)
    background = estimate_background(
        power,
        frame_shape=diffractogram.frame_shape,
        scale=diffractogram.scale,
        part=part,
        noise_shape=1.0,
    )
    return dataclasses.replace(
        diffractogram,
        spectrum=windowed,
        power=power,
        background=background,
        noise_shape=1.0,
        smooth_part=None,
        windowed=True,
    )


def whiten(diffractogram: Diffractogram) -> Image:
    """Power over background: mean 1, gamma-distributed where there is no spot; the whole half spectrum."""
    return diffractogram.power / diffractogram.background
