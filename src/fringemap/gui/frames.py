"""The frames that were looked at last, with their diffractograms, within a bound on memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import ReadError
from fringemap.io import read
from fringemap.records import Scale, ScaleSource
from fringemap.settings import ReadSettings, SpectrumSettings, SpotSettings
from fringemap.spectrum import compute_diffractogram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fringemap.io import FrameSeries
    from fringemap.records import Diffractogram, Frame

MOST_BYTES = 384 << 20
MOST_OPEN = 4

STAND_IN = Scale((1.0, 1.0), float("nan"), ScaleSource.NONE)
"""Of a frame without a pixel size: it can be looked at, in units of its pixels."""


@dataclass(frozen=True)
class Place:
    """One frame of one input, read in one way."""

    path: Path
    stamp: tuple[int, int]
    """Size and time of change: a file that was replaced is another."""
    settings: ReadSettings
    frame: int
    scale: Scale | None = None
    """In place of what the file says and the user gave: that of a run, which may have found its own."""
    spectrum: SpectrumSettings = field(default_factory=SpectrumSettings)
    d_min_angstrom: float = SpotSettings().d_min_angstrom
    """The diffractogram is evaluated down to this; all of it if there is no pixel size."""


def place_of(path: Path, settings: ReadSettings, frame: int) -> Place:
    """Name a frame as it is on disk now."""
    status = path.stat()
    return Place(path, (status.st_size, status.st_mtime_ns), settings, frame)


class FrameStore:
    """Reads frames and computes diffractograms once, and forgets those not used for longest."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._n_bytes = 0
        self._open: OrderedDict[Any, FrameSeries] = OrderedDict()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._computing: dict[Any, threading.Lock] = {}

    @property
    def n_bytes(self) -> int:
        """How much is kept."""
        return self._n_bytes

    def frame(self, place: Place) -> Frame:
        """Read a frame; one without a pixel size gets a stand-in.

        Raises
        ------
        ReadError
            It cannot be read, or there is no such frame.
        """
        key = ("frame", place.path, place.stamp, place.settings, place.frame)
        frame: Frame = self._once(key, lambda: self._read(place), lambda made: made.image.nbytes)
        return frame if place.scale is None else replace(frame, scale=place.scale)

    def diffractogram(self, place: Place) -> Diffractogram:
        """Compute the diffractogram of a frame, down to the smallest d-spacing that its place names.

        Raises
        ------
        ReadError
            The frame cannot be read, or is constant.
        """
        # A run and the page share it where both have the same pixel size.
        place = replace(place, scale=self.frame(place).scale)
        made: Diffractogram = self._once(("diffractogram", place), lambda: self._transform(place), _bytes_of)
        return made

    def close(self) -> None:
        """Close all files."""
        with self._reading:
            while self._open:
                self._open.popitem()[1].close()

    def _transform(self, place: Place) -> Diffractogram:
        frame = self.frame(place)
        limit = None if frame.scale is STAND_IN else place.d_min_angstrom
        return compute_diffractogram(frame, settings=place.spectrum, d_min_angstrom=limit, workers=2)

    def _read(self, place: Place) -> Frame:
        with self._reading:
            series = self._series(place)
            if not 0 <= place.frame < len(series):
                raise ReadError(f"{place.path.name} has no frame {place.frame}; it has {len(series)}, counted from 0")
            frame = series[place.frame]
        return frame if frame.scale is not None else replace(frame, scale=STAND_IN)

    def _series(self, place: Place) -> FrameSeries:
        key = (place.path, place.stamp, place.settings)
        if key not in self._open:
            self._open[key] = read(place.path, settings=place.settings)
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(key)
        return self._open[key]

    def _once(self, key: Any, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """Give what is kept, or make it; of two that ask for the same at once, one waits."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            mine = self._computing.setdefault(key, threading.Lock())
        with mine:
            with self._lock:
                if key in self._kept:
                    return self._kept[key][0]
            try:
                made = make()
            finally:
                with self._lock:
                    self._computing.pop(key, None)
            self._keep(key, made, size(made))
            return made

    def _keep(self, key: Any, made: Any, n_bytes: int) -> None:
        with self._lock:
            self._kept[key] = (made, n_bytes)
            self._n_bytes += n_bytes
            while self._n_bytes > self._most_bytes and len(self._kept) > 1:
                self._n_bytes -= self._kept.popitem(last=False)[1][1]


def _bytes_of(diffractogram: Diffractogram) -> int:
    images = (diffractogram.spectrum, diffractogram.power, diffractogram.background)
    return sum(int(np.asarray(image).nbytes) for image in images)
