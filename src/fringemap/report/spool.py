"""Pictures of a series wait on disk until the whole of it is known, so that colours, names and axes are those of all.

Memory holds one frame; the disk gets some 100 kB a frame, in a nameless file that is gone when it is closed.
"""

from __future__ import annotations

import io
import pickle
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow

from fringemap.report.atomic import writing
from fringemap.report.panels import contrast, frame_pixels, grey_pixels
from fringemap.report.words import PER_NM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fringemap.records import FrameResult, Mask, PhaseMap

SPECTRUM_SIDE = 720
_QUALITY = 92


@dataclass(frozen=True)
class SpooledMap:
    """Where a phase is significant."""

    mask: Mask
    origin_px: tuple[float, float]
    pixel_px: tuple[float, float]
    """Pixels of the frame to one of the mask, along (rows, cols)."""


@dataclass(frozen=True)
class SpooledFrame:
    """The pictures of one frame, ready to be shown."""

    frame: NDArray[np.uint8]
    """Grey, fitted into a square of the side that the spool was made for."""
    spectrum: NDArray[np.uint8]
    """Grey, the whole centred diffractogram."""
    g_max: tuple[float, float]
    """|gy|, |gx| at the edge of ``spectrum`` [1/nm]."""
    frame_shape: tuple[int, int]
    maps: tuple[SpooledMap, ...]


class PictureSpool:
    """Takes frames one by one, and gives them back in the same order."""

    def __init__(self, folder: Path, *, side: int) -> None:
        self._folder = folder
        self._side = side
        with writing(folder):
            self._file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._ends: list[int] = [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def add(self, result: FrameResult) -> None:
        """Put the pictures of a frame down.

        Raises
        ------
        OutputError
            If the disk is full.
        """
        rows, cols = fitted(result.frame_shape, self._side, result.scale.pixel_size_angstrom)
        spectrum = result.shown_spectrum
        shown = fitted(spectrum.shape, min(SPECTRUM_SIDE, max(spectrum.shape)), (1.0, 1.0))
        content = (
            _jpeg(frame_pixels(result, (rows, cols))),
            _jpeg(grey_pixels(spectrum, shown, contrast(spectrum, 30.0, 99.98))),
            tuple(PER_NM * g for g in result.shown_g_max),
            result.frame_shape,
            [_packed(phase_map, result) for phase_map in result.maps],
        )
        with writing(self._folder):
            self._file.seek(self._ends[-1])
            # Nobody else can reach the nameless file, so unpickling it is safe.
            pickle.dump(content, self._file, protocol=pickle.HIGHEST_PROTOCOL)
            self._ends.append(self._file.tell())

    def __iter__(self) -> Iterator[SpooledFrame]:
        for start in self._ends[:-1]:
            self._file.seek(start)
            frame, spectrum, g_max, shape, maps = pickle.load(self._file)
            yield SpooledFrame(_grey(frame), _grey(spectrum), g_max, shape, tuple(_unpacked(*item) for item in maps))


def fitted(shape: tuple[int, ...], side: int, pixel: tuple[float, float]) -> tuple[int, int]:
    """Largest (rows, cols) of a picture's aspect within a square of this side, in pixels of equal height and width."""
    height, width = shape[0] * pixel[0], shape[1] * pixel[1]
    scale = side / max(height, width)
    return max(round(scale * height), 1), max(round(scale * width), 1)


def _jpeg(grey: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(grey).save(stream, format="jpeg", quality=_QUALITY)
    return stream.getvalue()


def _grey(content: bytes) -> NDArray[np.uint8]:
    with Pillow.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def _packed(phase_map: PhaseMap, result: FrameResult) -> tuple[Any, ...]:
    pixel = [m / f for m, f in zip(phase_map.pixel_size_angstrom, result.scale.pixel_size_angstrom, strict=True)]
    step = [max(n // 512, 1) for n in phase_map.mask.shape]
    mask = phase_map.mask[:: step[0], :: step[1]]
    return np.packbits(mask), mask.shape, phase_map.origin_px, (step[0] * pixel[0], step[1] * pixel[1])


def _unpacked(
    bits: NDArray[np.uint8], shape: tuple[int, int], origin: tuple[float, float], pixel: tuple[float, float]
) -> SpooledMap:
    mask = np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)
    return SpooledMap(mask, origin, pixel)
