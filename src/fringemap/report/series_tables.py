"""Tables of a series: evolution, events, tracks and drift. Cells as in ``tables``; missing is empty, never zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.report.tables import Cell, spaced_indices, write_table
from fringemap.report.words import NM, PER_NM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fringemap.records import Evolution, Series, Track

PPM = 1e6
EVOLUTION_COLUMNS = (
    "frame",
    "time_s",
    "dose_e_per_angstrom2",
    "phase",
    "plane",
    "n_spots",
    "fringe_power_ppm",
    "fringe_power_sigma_ppm",
    "intensity",
    "intensity_sigma",
    "area_fraction",
    "area_sigma",
    "d_angstrom",
    "d_sigma_angstrom",
    "deviation_percent",
    "deviation_sigma_percent",
)
EVENT_COLUMNS = (
    "kind",
    "phase",
    "plane",
    "frame",
    "time_s",
    "dose_e_per_angstrom2",
    "first_frame",
    "last_frame",
    "first_time_s",
    "last_time_s",
    "quantity",
    "value",
    "value_sigma",
    "evidence",
)
TRACK_COLUMNS = (
    "track",
    "phase",
    "plane",
    "support",
    "frame",
    "time_s",
    "spot",
    "gx_per_nm",
    "gy_per_nm",
    "d_angstrom",
    "d_sigma_angstrom",
    "amplitude",
    "fringe_power_ppm",
)
DRIFT_COLUMNS = (
    "frame",
    "time_s",
    "shift_y_px",
    "shift_x_px",
    "sigma_y_px",
    "sigma_x_px",
    "shift_y_nm",
    "shift_x_nm",
    "sigma_y_nm",
    "sigma_x_nm",
    "n_pairs",
)
TABLE_NAMES = ("evolution.csv", "events.csv", "tracks.csv", "drift.csv")


def write_series_tables(series: Series, folder: Path) -> None:
    """Write ``evolution.csv``, ``events.csv``, ``tracks.csv`` and ``drift.csv``.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    contents = (
        (EVOLUTION_COLUMNS, evolution_rows(series)),
        (EVENT_COLUMNS, event_rows(series)),
        (TRACK_COLUMNS, track_rows(series)),
        (DRIFT_COLUMNS, drift_rows(series)),
    )
    for name, (columns, rows) in zip(TABLE_NAMES, contents, strict=True):
        write_table(folder / name, columns, rows)


def evolution_rows(series: Series) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each frame, phase and family of planes; a whole phase has no plane."""
    doses = _doses(series)
    for i, frame in enumerate(series.frames):
        for evolution in series.evolutions:
            yield (frame.index, frame.time_s, doses[i], *_evolution_cells(evolution, i))


def _evolution_cells(evolution: Evolution, i: int) -> tuple[Cell, ...]:
    return (
        evolution.phase,
        spaced_indices(evolution.plane),
        int(evolution.n_spots[i]),
        PPM * float(evolution.fringe_power[i]),
        PPM * float(evolution.fringe_power_sigma[i]),
        float(evolution.intensity[i]),
        float(evolution.intensity_sigma[i]),
        float(evolution.area_fraction[i]),
        float(evolution.area_sigma[i]),
        float(evolution.d_angstrom[i]),
        float(evolution.d_sigma_angstrom[i]),
        float(evolution.deviation_percent[i]),
        float(evolution.deviation_sigma_percent[i]),
    )


def _doses(series: Series) -> list[float]:
    doses = series.doses
    return [np.nan] * len(series) if doses is None else doses.tolist()


def event_rows(series: Series) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each event; frames are numbered as in the file."""
    doses = _doses(series)
    for event in series.events:
        frame, time = _frame_and_time(series, event.frame)
        first, first_time = _frame_and_time(series, event.first_frame)
        last, last_time = _frame_and_time(series, event.last_frame)
        yield (
            event.kind.value,
            event.phase,
            spaced_indices(event.plane),
            frame,
            time,
            doses[event.frame],
            first,
            last,
            first_time,
            last_time,
            event.quantity,
            event.value,
            event.sigma,
            event.evidence,
        )


def _frame_and_time(series: Series, position: int) -> tuple[Cell, Cell]:
    """Give number and time of a frame; an end that may lie beyond the series has none."""
    if position >= len(series):
        return None, None
    return series.frames[position].index, series.frames[position].time_s


def track_rows(series: Series) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each sighting of each track."""
    for track in series.tracks:
        for k in range(len(track)):
            yield _sighting(series, track, k)


def _sighting(series: Series, track: Track, k: int) -> tuple[Cell, ...]:
    frame, row = series.frames[track.frames[k]], int(track.spots[k])
    return (
        track.number,
        track.phase,
        spaced_indices(track.plane),
        track.support,
        frame.index,
        frame.time_s,
        row,
        PER_NM * float(track.g[k, 0]),
        PER_NM * float(track.g[k, 1]),
        float(frame.spots.d_spacing[row]),
        float(frame.spots.d_sigma[row]),
        float(frame.spots.amplitude[row]),
        PPM * float(frame.fringe_power[row]),
    )


def drift_rows(series: Series) -> Iterator[tuple[Cell, ...]]:
    """Yield where the specimen lies in each frame against the first, in pixels and nm."""
    drift = series.drift
    for i, frame in enumerate(series.frames):
        nm = NM * np.array(frame.scale.pixel_size_angstrom)
        shift, sigma = drift.shift_px[i], drift.sigma_px[i]
        cells = np.concatenate([shift, sigma, shift * nm, sigma * nm]).tolist()
        yield (frame.index, frame.time_s, *cells, int(drift.n_pairs[i]))
