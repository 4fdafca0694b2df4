"""Frame -> Diffractogram: the transform with the noise that it stands in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import CalibrationError, ReadError
from fringemap.records import Diffractogram, Flag, Frame
from fringemap.settings import SpectrumSettings
from fringemap.spectrum.background import estimate_background
from fringemap.spectrum.transform import power_of, replace_hot_pixels, transform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fringemap.records import ComplexImage, Image, IntArray, Scale

log = logging.getLogger(__name__)


def compute_diffractogram(frame: Frame, *, settings: SpectrumSettings | None = None, workers: int = 1) -> Diffractogram:
    """Half spectrum of a frame, its power, and the background that a spot has to exceed.

    Parameters
    ----------
    frame
        Any shape from 32 x 32; it must carry a scale.
    workers
        Threads of the transform.

    Raises
    ------
    CalibrationError
        The frame has no pixel size.
    ReadError
        The frame is constant.
    """
    return average_diffractograms([frame], settings=settings, workers=workers)


def average_diffractograms(
    frames: Iterable[Frame], *, settings: SpectrumSettings | None = None, workers: int = 1
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
    total: Image | None = None
    first: Frame | None = None
    n, flags, mean = 0, Flag.NONE, 0.0
    spectrum: ComplexImage | None = None
    for frame in frames:
        first = first or frame
        _require_alike(frame, first)
        spectrum, hot = _transform_frame(frame, settings, workers)
        power = power_of(spectrum)
        total = power if total is None else np.add(total, power, out=total)
        flags |= frame.flags | (Flag.HOT_PIXELS if hot else Flag.NONE)
        mean += float(frame.image.mean(dtype=np.float64))
        n += 1
    if first is None or total is None or spectrum is None:
        raise ReadError("there is no frame to transform; check the range of frames")
    if n > 1:
        total /= np.float32(n)
    scale = _scale_of(first)
    background = estimate_background(total, frame_shape=first.image.shape, scale=scale, noise_shape=float(n))
    return Diffractogram(
        spectrum=spectrum,
        power=total,
        background=background,
        noise_shape=float(n),
        frame_shape=first.image.shape,
        scale=scale,
        n_averaged=n,
        mean_counts=mean / n,
        flags=flags,
    )


def _transform_frame(frame: Frame, settings: SpectrumSettings, workers: int) -> tuple[ComplexImage, int]:
    image, n_hot = replace_hot_pixels(frame.image, sigma=settings.hot_pixel_sigma)
    if n_hot:
        log.info("%s: %d hot pixels replaced", frame.name, n_hot)
    if float(image.max()) == float(image.min()):
        raise ReadError(f"{frame.name}: every pixel is {image.flat[0]:g}; the frame holds no image")
    return transform(image, edges=settings.edges, workers=workers), n_hot


def _scale_of(frame: Frame) -> Scale:
    if frame.scale is None:
        raise CalibrationError(f"{frame.name}: no trustworthy pixel size; give it with --pixel-size, in nm/px")
    return frame.scale


def _require_alike(frame: Frame, first: Frame) -> None:
    _scale_of(frame)
    if frame.image.shape != first.image.shape or frame.scale != first.scale:
        raise CalibrationError(f"{frame.name}: shape or pixel size differs from {first.name}; average like frames only")


def whiten(diffractogram: Diffractogram, *, rows: IntArray | None = None, n_cols: int | None = None) -> Image:
    """Power over background: mean 1, gamma-distributed where there is no spot.

    Parameters
    ----------
    rows, n_cols
        Only these rows, in this order, and the first so many columns; the whole half spectrum if left out.
    """
    if rows is None:
        return diffractogram.power[:, :n_cols] / diffractogram.background[:, :n_cols]
    power = diffractogram.power[rows, :n_cols]
    return np.divide(power, diffractogram.background[rows, :n_cols], out=power)
