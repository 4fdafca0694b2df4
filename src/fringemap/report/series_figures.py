"""Figures of a series: phases over time, d against frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import EventKind
from fringemap.report.figures import Sheet, legend_shape, line_handle
from fringemap.report.panels import escape_mathtext
from fringemap.report.rendering import house_style
from fringemap.report.style import assign_styles, style_for
from fringemap.report.words import PER_NM, format_formula, mathtext_indices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fringemap.records import Evolution, FloatArray, Mask, Series
    from fringemap.report.style import PhaseStyle

PPM = 1e6
SMALL, NORMAL = 7.0, 8.0
_WIDTH, _LEFT, _PANEL = 7.0, 0.85, 1.75
_D_TICKS = (12, 8, 6, 5, 4, 3.5, 3, 2.7, 2.5, 2.3, 2.1, 1.9, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1)
_EVENT_MARKS = {EventKind.ONSET: "▲", EventKind.END: "▼", EventKind.CHANGE: "◆"}


def phase_evolutions(series: Series) -> list[Evolution]:
    """Whole phases of a series, without their families of planes."""
    return [evolution for evolution in series.evolutions if evolution.plane is None]


def series_axis(series: Series) -> tuple[FloatArray, str]:
    """Time of each frame with the axis label; its number in the file where times are missing."""
    times = series.times_s
    if times is None:
        return np.array([float(frame.index) for frame in series.frames]), "frame"
    return times, "time (s)"


def draw_evolution(series: Series, styles: Mapping[str, PhaseStyle] | None = None, *, dpi: float = 150) -> Figure:
    """Draw each phase over the frames: fringe power, area, both over their own largest value, and areas stacked."""
    evolutions = phase_evolutions(series)
    styles = assign_styles(e.phase for e in evolutions) if styles is None else styles
    handles: list[Artist] = [line_handle(e.phase, styles) for e in evolutions]
    with house_style():
        columns, legend = legend_shape(handles, _WIDTH - _LEFT)
        sheet = Sheet(_WIDTH, 0.5 + 4 * (_PANEL + 0.1) + 0.45 + legend, dpi)
        panels = [sheet.axes(_LEFT, 0.5 + k * (_PANEL + 0.1), _WIDTH - _LEFT - 0.15, _PANEL) for k in range(4)]
        show_curves(panels[0], series, styles, "fringe_power", factor=PPM)
        show_curves(panels[1], series, styles, "area_fraction", factor=100.0)
        _show_relative(panels[2], series, styles)
        _show_stacked(panels[3], series, styles)
        labels = ("fringe power (10⁻⁶ mean²)", "area (%)", "power / own largest", "areas stacked (%)")
        for axes, label in zip(panels, labels, strict=True):
            _finish_panel(axes, series, label, last=axes is panels[-1])
        _mark_events(panels[0], series, styles)
        _add_dose_axis(panels[0], series)
        sheet.legend(handles, _LEFT, sheet.height - legend + 0.02, _WIDTH - _LEFT, columns)
    return sheet.figure


def _finish_panel(axes: Axes, series: Series, label: str, *, last: bool) -> None:
    x, name = series_axis(series)
    margin = 0.01 * max(float(np.ptp(x)), 1e-9)
    axes.set_xlim(float(x.min()) - margin, float(x.max()) + margin)
    axes.set_ylabel(label, fontsize=NORMAL)
    axes.yaxis.set_label_coords(-0.085, 0.5)
    axes.tick_params(labelsize=SMALL, labelbottom=last)
    if last:
        axes.set_xlabel(name, fontsize=NORMAL)
    if not phase_evolutions(series):
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no phase", transform=axes.transAxes, ha="center", va="center", fontsize=NORMAL)


def show_curves(
    axes: Axes,
    series: Series,
    styles: Mapping[str, PhaseStyle],
    quantity: str,
    *,
    factor: float = 1.0,
    width: float = 1.2,
) -> None:
    """Draw one quantity of each phase with its standard error as a band; gaps where it was not seen."""
    x, _ = series_axis(series)
    for evolution in phase_evolutions(series):
        style = style_for(styles, evolution.phase)
        y = factor * getattr(evolution, quantity)
        sigma = factor * getattr(evolution, sigma_name(quantity))
        axes.fill_between(x, y - sigma, y + sigma, color=style.colour, alpha=0.3, linewidth=0)
        axes.plot(x, y, color=style.colour, linestyle=style.line, linewidth=width)
        alone = lonely(y)
        axes.plot(x[alone], y[alone], color=style.colour, linestyle="none", marker=style.marker, markersize=2.5)
    axes.set_ylim(bottom=0.0)


def lonely(y: FloatArray) -> Mask:
    """Sightings between two gaps, of which a line shows nothing."""
    alone: Mask = np.isfinite(y) & ~np.isfinite(np.r_[np.nan, y[:-1]]) & ~np.isfinite(np.r_[y[1:], np.nan])
    return alone


def sigma_name(quantity: str) -> str:
    """Name of the field that holds the standard error of a quantity of an ``Evolution``."""
    return "area_sigma" if quantity == "area_fraction" else f"{quantity}_sigma"


def _show_relative(axes: Axes, series: Series, styles: Mapping[str, PhaseStyle]) -> None:
    x, _ = series_axis(series)
    for evolution in phase_evolutions(series):
        y = evolution.fringe_power
        if np.isfinite(y).any():
            style = style_for(styles, evolution.phase)
            axes.plot(x, y / np.nanmax(y), color=style.colour, linestyle=style.line, linewidth=1.2)
    axes.set_ylim(0.0, 1.05)


def _show_stacked(axes: Axes, series: Series, styles: Mapping[str, PhaseStyle]) -> None:
    """Pile the areas up; where one was not measured between two sightings, its neighbours are joined."""
    x, _ = series_axis(series)
    floor = np.zeros(len(series))
    for evolution in phase_evolutions(series):
        top = floor + 100.0 * _joined(evolution.area_fraction)
        style = style_for(styles, evolution.phase)
        axes.fill_between(x, floor, top, facecolor=style.colour, edgecolor="white", linewidth=0.6)
        floor = top
    axes.set_ylim(0.0, max(1.08 * float(floor.max(initial=0.0)), 1e-9))


def _joined(values: FloatArray) -> FloatArray:
    """Fill gaps between measured values by straight lines; nothing before the first and after the last."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.zeros(len(values))
    return np.asarray(np.interp(np.arange(len(values)), known, values[known], left=0.0, right=0.0))


def _mark_events(axes: Axes, series: Series, styles: Mapping[str, PhaseStyle]) -> None:
    """Mark onset ▲, end ▼ and change ◆ of whole phases along the upper edge, their intervals as bars."""
    x, _ = series_axis(series)
    top = axes.get_ylim()[1]
    axes.set_ylim(0.0, 1.18 * top)
    marked = [e for e in series.events if e.kind in _EVENT_MARKS and e.frame < len(x)]
    for event in marked:
        colour = style_for(styles, event.phase).colour
        y = 1.12 * top if event.plane is None else 1.04 * top
        low, high = (float(x[min(i, len(x) - 1)]) for i in (event.first_frame, event.last_frame))
        axes.plot([low, high], [y, y], color=colour, linewidth=2.2, alpha=0.6, solid_capstyle="butt")
        axes.text(
            float(x[event.frame]), y, _EVENT_MARKS[event.kind], color=colour, fontsize=6.5, ha="center", va="center"
        )


def _add_dose_axis(axes: Axes, series: Series) -> None:
    doses, (x, _) = series.doses, series_axis(series)
    if doses is None or not float(np.ptp(doses)) > 0:
        return
    # Both limits are linear in each other, so a second scale needs no function between them.
    top = axes.twiny()
    per_second = float(np.ptp(doses)) / float(np.ptp(x))
    left, right = (per_second * (limit - float(x[0])) for limit in axes.get_xlim())
    top.set_xlim(left, right)
    top.tick_params(labelsize=SMALL)
    top.set_xlabel("dose (e/Å²)", fontsize=NORMAL)


def draw_waterfall(series: Series, styles: Mapping[str, PhaseStyle] | None = None, *, dpi: float = 150) -> Figure:
    """Draw d against frames: each column is the reduced graph of one frame; lines on the right name the planes."""
    styles = assign_styles(e.phase for e in phase_evolutions(series)) if styles is None else styles
    g, rows = waterfall(series)
    with house_style():
        sheet = Sheet(_WIDTH, 4.9, dpi)
        axes = sheet.axes(_LEFT, 0.15, _WIDTH - _LEFT - 1.35, 4.2)
        x, name = series_axis(series)
        low, high = _shown_range(g, rows)
        # Two decades and a half: faint phases beside strong ones.
        floor = max(3e-3 * float(rows.max(initial=0.0)), 1e-12)
        edges, image = _edges(x), np.log10(np.maximum(rows.T, floor))
        # An image, not a mesh: an SVG would hold each of the cells as a path.
        axes.pcolorfast(edges, _edges(g), image, cmap="magma")
        axes.set(xlim=(edges[0], edges[-1]), ylim=(high, low))
        _set_d_ticks(axes, low, high)
        axes.set_xlabel(name, fontsize=NORMAL)
        axes.set_ylabel("d (Å)", fontsize=NORMAL)
        axes.tick_params(labelsize=SMALL)
        _name_planes(axes, series, styles, (low, high))
    return sheet.figure


def waterfall(series: Series) -> tuple[FloatArray, FloatArray]:
    """Lay the reduced graphs of all frames on the radii of the first: (m,) in 1/nm and (n, m)."""
    first = series.frames[0].profile_g
    rows = [np.interp(first, frame.profile_g, frame.profile, left=0.0, right=0.0) for frame in series.frames]
    return PER_NM * first, np.array(rows)


def _shown_range(g: FloatArray, rows: FloatArray) -> tuple[float, float]:
    """Radii that hold anything, with a margin [1/nm]."""
    held = np.flatnonzero(rows.max(axis=0, initial=0.0) > 0)
    if not len(held):
        return 0.1 * float(g[-1]), float(g[-1])
    return max(0.85 * float(g[held[0]]), float(g[1])), min(1.08 * float(g[held[-1]]), float(g[-1]))


def _edges(centres: FloatArray) -> FloatArray:
    if len(centres) < 2:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middles = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])


def _set_d_ticks(axes: Axes, low: float, high: float) -> None:
    taken: list[float] = []
    for d in _D_TICKS:
        place = PER_NM / d
        if low < place < high and all(abs(place - other) > 0.035 * (high - low) for other in taken):
            taken.append(place)
    axes.set_yticks(taken, [f"{PER_NM / place:g}" for place in taken])


def _name_planes(axes: Axes, series: Series, styles: Mapping[str, PhaseStyle], limits: tuple[float, float]) -> None:
    """Write the families of planes beside the picture, moved apart where they crowd, with leaders."""
    families = []
    for evolution in series.evolutions:
        d = evolution.d_angstrom[np.isfinite(evolution.d_angstrom)]
        if evolution.plane is not None and len(d):
            families.append((PER_NM / float(np.median(d)), evolution))
    families.sort(key=lambda family: family[0])
    gap = 0.035 * (limits[1] - limits[0])
    places = _apart([place for place, _ in families], gap, limits)
    for (place, evolution), written in zip(families, places, strict=True):
        colour = style_for(styles, evolution.phase).colour
        text = f"{escape_mathtext(format_formula(evolution.phase))} {{{mathtext_indices(evolution.plane or ())}}}"
        axes.annotate(
            text,
            xy=(1.0, place),
            xytext=(1.06, written),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            fontsize=SMALL,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 1.2, "shrinkA": 1.0, "shrinkB": 0.0},
        )


def _apart(places: Sequence[float], gap: float, limits: tuple[float, float]) -> list[float]:
    """Move places in rising order apart, as little as a sweep down and one up need."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    ceiling = limits[1]
    for k in range(len(moved) - 1, -1, -1):
        moved[k] = min(moved[k], ceiling)
        ceiling = moved[k] - gap
    return moved
