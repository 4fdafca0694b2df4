"""Tables as CSV: UTF-8, a row of column names first, units in the names, an empty cell where a value is missing.

The columns and their order are a promise to users. Numbers keep nine significant digits, more than any measurement
here holds. A text that a spreadsheet would take for a formula gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import UNKNOWN, flag_names
from fringemap.report.atomic import atomic_write, growing_text, writing
from fringemap.report.words import PER_NM, format_rivals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fringemap.records import FrameResult, PhaseEvidence, PhaseMap, Spots

Cell = str | int | float | None

SPOT_COLUMNS = (
    "frame",
    "time_s",
    "spot",
    "gx_per_nm",
    "gy_per_nm",
    "g_per_nm",
    "d_angstrom",
    "d_sigma_angstrom",
    "angle_deg",
    "amplitude",
    "snr",
    "width_per_nm",
    "score",
    "phase",
    "hkl",
    "d_reference_angstrom",
    "deviation_percent",
    "match_percent",
    "probability",
    "rivals",
    "flags",
)
PHASE_COLUMNS = (
    "frame",
    "time_s",
    "phase",
    "probability",
    "q_value",
    "zone_axis",
    "zone_probability",
    "rival_zones",
    "n_spots",
    "d_mean_angstrom",
    "match_percent",
    "intensity",
    "intensity_sigma",
    "area_fraction",
    "area_sigma",
    "scale",
    "scale_sigma_percent",
    "flags",
)
PROFILE_COLUMNS = ("frame", "g_per_nm", "d_angstrom", "intensity", "background")
SUMMARY_COLUMNS = (
    "input",
    "status",
    "n_frames",
    "n_failed",
    "n_spots",
    "n_unknown_spots",
    "phases",
    "q_batch",
    "pixel_size_y_nm",
    "pixel_size_x_nm",
    "scale_sigma_percent",
    "scale_source",
    "seconds",
    "flags",
    "warnings",
)
ERROR_COLUMNS = ("input", "frame", "kind", "message")


def format_cell(value: Cell) -> str:
    """Write one cell: nine digits for a number, nothing for a missing one, harmless text."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return _harmless(value)
    return format(float(value), ".9g") if isinstance(value, float | np.floating) else str(int(value))


def _harmless(text: str) -> str:
    # Spreadsheets run what begins like a formula, and a line break in a name would break tools that count lines.
    line = "".join(" " if ord(c) < 32 or c in "\x7f\x85\u2028\u2029" else c for c in text)
    return "'" + line if line.lstrip().startswith(("=", "+", "-", "@")) else line


def spaced_indices(indices: Iterable[int] | None, brackets: str = "()") -> str:
    """Write indices apart, ``(-1 1 2)``: a spreadsheet takes ``(111)`` for the number -111.

    Empty for None and for 0 0 0, by which a table of d-spacings without indices says that it has none.
    """
    values = () if indices is None else tuple(int(i) for i in indices)
    return f"{brackets[0]}{' '.join(map(str, values))}{brackets[1]}" if any(values) else ""


def spot_rows(result: FrameResult) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows of ``spots.csv`` for one frame, in the order of its spots."""
    measured = _measured_columns(result.spots)
    flags = result.spots.flags
    for i, (values, match) in enumerate(zip(measured.tolist(), result.match.spots, strict=True)):
        best = match.best
        yield (
            result.index,
            result.time_s,
            i,
            *values,
            UNKNOWN if best is None else best.phase,
            "" if best is None else spaced_indices(best.hkl),
            None if best is None else best.d_reference_angstrom,
            None if best is None else best.deviation_percent,
            None if best is None else 100.0 - abs(best.deviation_percent),
            match.probability,
            format_rivals(match.rivals),
            flag_names(int(flags[i]) | match.flags),
        )


def _measured_columns(spots: Spots) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    columns = (
        PER_NM * spots.gx,
        PER_NM * spots.gy,
        PER_NM * spots.g,
        spots.d_spacing,
        spots.d_sigma,
        np.degrees(spots.angle),
        spots.amplitude,
        spots.snr,
        PER_NM * spots.width,
        spots.score,
    )
    stacked: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.stack(columns, axis=1)
    return stacked


def phase_rows(result: FrameResult) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows of ``phases.csv`` for one frame, in the order of the evidence.

    A phase that fitted no scale of its own has the frame's: scale 1 with the standard error of the calibration.
    """
    maps = {phase_map.phase: phase_map for phase_map in result.maps}
    for evidence in result.match.phases:
        yield (result.index, result.time_s, *_phase_cells(evidence, maps.get(evidence.phase), result.scale.sigma))


def _phase_cells(evidence: PhaseEvidence, phase_map: PhaseMap | None, calibration_sigma: float) -> tuple[Cell, ...]:
    own_scale = math.isfinite(evidence.scale_sigma)
    return (
        evidence.phase,
        evidence.probability,
        evidence.q_value,
        spaced_indices(evidence.zone_axis, "[]"),
        evidence.zone_probability,
        "; ".join(spaced_indices(axis, "[]") for axis in evidence.rival_zones),
        len(evidence.spots),
        evidence.d_mean_angstrom,
        evidence.match_percent,
        *_map_cells(phase_map),
        evidence.scale,
        100.0 * (evidence.scale_sigma if own_scale else calibration_sigma),
        flag_names(evidence.flags | (phase_map.flags if phase_map else 0)),
    )


def _map_cells(phase_map: PhaseMap | None) -> tuple[Cell, Cell, Cell, Cell]:
    if phase_map is None:
        return None, None, None, None
    return phase_map.intensity, phase_map.intensity_sigma, phase_map.area_fraction, phase_map.area_sigma


def profile_lines(result: FrameResult) -> str:
    """Write the rows of ``profile.csv`` for one frame, in rising order of g; d is empty at g = 0.

    There are thousands of rows a frame, of numbers only: all are formatted at once, in the way of ``format_cell``.
    """
    profile = result.profile
    g = np.asarray(profile.g, dtype=np.float64)
    d = np.divide(1.0, g, out=np.full_like(g, np.nan), where=g > 0)
    columns = np.stack([PER_NM * g, d, profile.intensity, profile.background], axis=1)
    line = f"{result.index}{',%.9g' * columns.shape[1]}\n"
    return (line * len(g) % tuple(columns.ravel().tolist())).replace("nan", "")


def _as_lines(rows: Iterable[tuple[Cell, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([format_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


@contextmanager
def _streamed_table(
    path: Path, columns: tuple[str, ...], lines: Callable[[FrameResult], str]
) -> Iterator[Callable[[FrameResult], None]]:
    """Open a table that grows frame by frame under a temporary name, and gets its own when the block ends well."""
    with growing_text(path, newline="") as stream:

        def append(result: FrameResult) -> None:
            with writing(path):
                stream.write(lines(result))

        with writing(path):
            stream.write(_as_lines([columns]))
        yield append


def write_spots_csv(path: Path) -> AbstractContextManager[Callable[[FrameResult], None]]:
    """Open ``spots.csv``: a row for each spot and frame.

    Returns
    -------
    context manager
        Gives a function that appends one frame. The file appears when the block ends without an error.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    return _streamed_table(path, SPOT_COLUMNS, lambda result: _as_lines(spot_rows(result)))


def write_phases_csv(path: Path) -> AbstractContextManager[Callable[[FrameResult], None]]:
    """Open ``phases.csv``: a row for each phase and frame, the unknown included. Used like `write_spots_csv`."""
    return _streamed_table(path, PHASE_COLUMNS, lambda result: _as_lines(phase_rows(result)))


def write_profile_csv(path: Path) -> AbstractContextManager[Callable[[FrameResult], None]]:
    """Open ``profile.csv``: the diffraction-like graph, a row for each radius. Used like `write_spots_csv`."""
    return _streamed_table(path, PROFILE_COLUMNS, profile_lines)


@dataclass(frozen=True)
class Failure:
    """An input or a frame that could not be analysed."""

    input: str
    """Name of the file as the user gave it."""
    frame: int | None
    """Position in its series; None if the whole input failed."""
    kind: str
    """Name of the error: "ReadError"."""
    message: str


def write_summary_csv(path: Path, summaries: Iterable[Mapping[str, Cell]]) -> None:
    """Write ``summary.csv``: one row for each input; keys are `SUMMARY_COLUMNS`, missing ones stay empty."""
    write_table(path, SUMMARY_COLUMNS, (tuple(s.get(c) for c in SUMMARY_COLUMNS) for s in summaries))


def write_errors_csv(path: Path, failures: Iterable[Failure]) -> None:
    """Write ``errors.csv``: one row for each input or frame that failed; only column names if none did."""
    write_table(path, ERROR_COLUMNS, ((f.input, f.frame, f.kind, f.message) for f in failures))


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[Cell, ...]]) -> None:
    """Write a whole table: the column names, then the rows."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([format_cell(cell) for cell in row] for row in rows)
