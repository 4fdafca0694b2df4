"""Several series in one figure: the same phases at different doses or places, from what runs left on disk."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.lines import Line2D

from fringemap.errors import ReadError
from fringemap.report.figures import Sheet, legend_shape
from fringemap.report.panels import escape_mathtext
from fringemap.report.rendering import house_style
from fringemap.report.run import RUN_NAME
from fringemap.report.series_figures import NORMAL, SMALL, lonely
from fringemap.report.series_tables import EVOLUTION_COLUMNS
from fringemap.report.words import format_formula

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fringemap.records import Array, FloatArray

EVOLUTION_NAME = "evolution.csv"
QUANTITIES = {
    "area": ("area_fraction", "area_sigma", 100.0, "area (%)"),
    "power": ("fringe_power_ppm", "fringe_power_sigma_ppm", 1.0, "fringe power (10⁻⁶)"),
    "intensity": ("intensity", "intensity_sigma", 1.0, "intensity (× noise)"),
}
"""Columns of value and standard error, factor, and name on the axis."""
_AXES = {"dose_e_per_angstrom2": "dose (e/Å²)", "time_s": "time (s)", "frame": "frame"}


@dataclass(frozen=True)
class Course:
    """What became of the phases of one series: columns of its ``evolution.csv``, n frames."""

    axes: Mapping[str, FloatArray]
    """Frame, time and dose from the first frame; NaN where unknown."""
    phases: Mapping[str, Mapping[str, FloatArray]]
    """Of each phase the columns with numbers."""


def find_courses(places: Sequence[Path]) -> dict[str, Course]:
    """Read the evolution of several series.

    Parameters
    ----------
    places
        Each the folder of one input, its ``evolution.csv``, or the folder of a run, which stands for all series in it.

    Returns
    -------
    dict
        By the name of their folder, with the dose rate where one was given; longer names where two are alike.

    Raises
    ------
    ReadError
        There is no ``evolution.csv``, or it is none.
    """
    tables = list(dict.fromkeys(table for place in places for table in _tables_at(place)))
    names = [_name_of(table.parent.resolve()) for table in tables]
    if len(set(names)) < len(names):
        names = [f"{table.parent.resolve().parent.name}/{name}" for table, name in zip(tables, names, strict=True)]
    return {name: read_course(table) for name, table in zip(names, tables, strict=True)}


def _tables_at(place: Path) -> list[Path]:
    found = (
        [place] if place.is_file() else sorted(place.glob(EVOLUTION_NAME)) or sorted(place.glob(f"*/{EVOLUTION_NAME}"))
    )
    if not found:
        raise ReadError(f"{place} holds no {EVOLUTION_NAME}; give the folders that fringemap analyze made of series")
    return found


def _name_of(folder: Path) -> str:
    try:
        run = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))
        rate = float(run["settings"]["read"]["dose_rate"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name
    return f"{folder.name}, {rate:g} e/Å²/s"


def read_course(path: Path) -> Course:
    """Read an ``evolution.csv``.

    Raises
    ------
    ReadError
        It cannot be read, or has other columns.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [row for row in reader if not row["plane"]]
            if tuple(reader.fieldnames or ()) != EVOLUTION_COLUMNS:
                raise ValueError("it has other columns")
            return _gather(rows)
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror}; check the name") from error
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise ReadError(f"{path} is no table of an evolution: {error}; repeat the analysis of the series") from error


def _gather(rows: Sequence[Mapping[str, str]]) -> Course:
    phases = {}
    axes = {name: np.zeros(0) for name in _AXES}
    for phase in dict.fromkeys(row["phase"] for row in rows):
        mine = [row for row in rows if row["phase"] == phase]
        columns = [name for value, sigma, _, _ in QUANTITIES.values() for name in (value, sigma)]
        phases[phase] = {name: _column(mine, name) for name in columns}
        axes = {name: _column(mine, name) for name in _AXES}
    return Course({name: values - values[:1] for name, values in axes.items()}, phases)


def _column(rows: Sequence[Mapping[str, str]], name: str) -> FloatArray:
    return np.array([float(row[name]) if row[name] else math.nan for row in rows])


def draw_comparison(courses: Mapping[str, Course], *, quantity: str = "area", dpi: float = 150) -> Figure:
    """Draw several series in one figure: a panel a phase, a line a series.

    Parameters
    ----------
    courses
        By the names to be shown, in the order of the legend.
    quantity
        A key of ``QUANTITIES``. Intensities count in noise and do not compare between dose rates; the others do.
    dpi
        Of the figure.

    Notes
    -----
    Over the dose if each series has one, else over the time from its first frame, else over the frames.
    """
    phases = list(dict.fromkeys(phase for course in courses.values() for phase in course.phases))
    colours = [mpl.colormaps["viridis"](x) for x in np.linspace(0.0, 0.85, max(len(courses), 1))]
    handles: list[Artist] = [
        Line2D([], [], color=colour, linewidth=1.6, label=escape_mathtext(name))
        for name, colour in zip(courses, colours, strict=True)
    ]
    axis = _shared_axis([course for course in courses.values() if course.phases])
    n_rows = max(math.ceil(len(phases) / 2), 1)
    with house_style():
        columns, legend = legend_shape(handles, 6.6)
        sheet = Sheet(7.4, 0.15 + n_rows * 2.2 + legend, dpi)
        for k, phase in enumerate(phases):
            axes = sheet.axes(0.65 + (k % 2) * 3.5, 0.3 + (k // 2) * 2.2, 2.9, 1.65)
            for course, colour in zip(courses.values(), colours, strict=True):
                if phase in course.phases:
                    _show_course(axes, course.axes[axis], course.phases[phase], quantity, colour)
            _finish(axes, format_formula(phase), QUANTITIES[quantity][3], _AXES[axis])
        sheet.legend(handles, 0.65, sheet.height - legend, 6.6, columns)
    return sheet.figure


def _shared_axis(courses: Sequence[Course]) -> str:
    return next(name for name in _AXES if all(np.isfinite(course.axes[name]).all() for course in courses))


def _show_course(
    axes: Axes, x: FloatArray, columns: Mapping[str, FloatArray], quantity: str, colour: Array | tuple[float, ...]
) -> None:
    value, error, factor, _ = QUANTITIES[quantity]
    y, sigma = factor * columns[value], factor * columns[error]
    axes.fill_between(x, y - sigma, y + sigma, color=colour, alpha=0.25, linewidth=0)
    axes.plot(x, y, color=colour, linewidth=1.3)
    alone = lonely(y)
    axes.plot(x[alone], y[alone], color=colour, linestyle="none", marker="o", markersize=2.0)


def _finish(axes: Axes, title: str, y_label: str, x_label: str) -> None:
    axes.set_ylim(bottom=0.0)
    axes.set_title(escape_mathtext(title), fontsize=NORMAL, loc="left")
    axes.set_ylabel(y_label, fontsize=SMALL)
    axes.set_xlabel(x_label, fontsize=SMALL)
    axes.tick_params(labelsize=SMALL)
