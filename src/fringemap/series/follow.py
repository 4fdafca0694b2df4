"""A series as a whole: frames come one by one, and what they tell together is worked out at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import Series
from fringemap.series.drift import DriftFollower
from fringemap.series.events import find_events, find_presence
from fringemap.series.evolution import compute_evolutions
from fringemap.series.linking import SpotFollower
from fringemap.series.tracks import gather_tracks
from fringemap.settings import SeriesSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fringemap.records import Evolution, FloatArray, FrameSummary, IntArray

_NO_IMAGE = np.zeros((0, 0), dtype=np.float32)


class SeriesFollower:
    """Takes the summaries of frames in their order and keeps some 20 kB of each; no images."""

    def __init__(self, settings: SeriesSettings | None = None) -> None:
        self._settings = settings or SeriesSettings()
        self._spots = SpotFollower(self._settings)
        self._drift = DriftFollower(window=self._settings.drift_window)
        self._frames: list[FrameSummary] = []
        self._track_of: list[IntArray] = []

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: FrameSummary) -> IntArray:
        """Link the spots of the next frame and compare its place; gives the tracks' numbers."""
        numbers = self._spots.add(frame.spots)
        self._drift.add(frame.drift_image, frame.drift_pixel_px)
        self._frames.append(replace(frame, drift_image=_NO_IMAGE))
        self._track_of.append(numbers)
        return numbers

    def shifts_angstrom(self) -> FloatArray:
        """Where the specimen lies in each frame so far, seen from the first, along (rows, cols); NaN where unknown."""
        pixel = np.array([frame.scale.pixel_size_angstrom for frame in self._frames]).reshape(-1, 2)
        shifts: FloatArray = self._drift.solve().shift_px * pixel
        return shifts

    def finish(self, *, dose_rate: float | None = None) -> Series:
        """Work out tracks, drift, evolution and events of the frames so far; more may follow."""
        frames, track_of = tuple(self._frames), tuple(self._track_of)
        tracks = gather_tracks(frames, track_of)
        evolutions = _credible(compute_evolutions(frames, tracks, track_of), self._settings)
        series = Series(frames, tracks, track_of, self._drift.solve(), evolutions, (), dose_rate)
        times = series.times_s
        axis, unit = (np.arange(len(frames), dtype=np.float64), "frames") if times is None else (times, "s")
        false_presence = self._settings.false_presence
        events = find_events(frames, tracks, evolutions, axis=axis, unit=unit, false_presence=false_presence)
        return replace(series, events=events)


def follow_series(
    frames: Iterable[FrameSummary], *, settings: SeriesSettings | None = None, dose_rate: float | None = None
) -> Series:
    """Follow spots, phases and the specimen over the frames of a series.

    Parameters
    ----------
    frames
        From ``summarise_frame``, in their order; read once.
    settings
        Of tracking, presence and drift.
    dose_rate
        [e/Å²/s]; gives the series a dose axis.

    Returns
    -------
    Series
        ``evolutions`` holds the phases whose presence is credible over all frames; single false names do not make one.
    """
    follower = SeriesFollower(settings)
    for frame in frames:
        follower.add(frame)
    return follower.finish(dose_rate=dose_rate)


def _credible(evolutions: Sequence[Evolution], settings: SeriesSettings) -> tuple[Evolution, ...]:
    """Keep phases, and of these the families of planes, that are seen more often than chance brings."""
    present = [e for e in evolutions if find_presence(e.n_spots > 0, false_presence=settings.false_presence)]
    phases = {e.phase for e in present if e.plane is None}
    return tuple(e for e in present if e.phase in phases)
