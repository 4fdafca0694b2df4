"""Figures that a paper could print, as PNG and SVG, and the sheet that shows all of a frame at once.

Everything is drawn through matplotlib's objects, never through pyplot: no state is left behind between figures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fringemap.records import UNKNOWN
from fringemap.report.atomic import atomic_write
from fringemap.report.graphs import (
    reflection_rows,
    show_peaks,
    show_raw_profile,
    show_reflections,
)
from fringemap.report.labels import text_size
from fringemap.report.panels import (
    escape_mathtext,
    frame_size_nm,
    show_diffractogram,
    show_frame,
    show_regions,
    view_limits,
)
from fringemap.report.rendering import house_style, to_png, write_figure
from fringemap.report.style import assign_styles, file_names, style_for
from fringemap.report.words import format_area, format_formula, format_pixel_size, named_phases

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from fringemap.records import FrameResult
from fringemap.report.style import PhaseStyle

LONG_SIDE = 5.0
"""Of a picture on the page [inch]."""
LEGEND_SIZE = 8.0
_ROW = 0.2


def picture_inches(height: float, width: float) -> tuple[float, float]:
    """Scale a picture of any aspect so that its long side has `LONG_SIDE`; gives (height, width) [inch]."""
    scale = LONG_SIDE / max(height, width)
    return max(height * scale, 0.05), max(width * scale, 0.05)


class Sheet:
    """A figure whose axes are placed in inches from the upper left corner."""

    def __init__(self, width: float, height: float, dpi: float) -> None:
        self.figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
        FigureCanvasAgg(self.figure)
        self.width, self.height = width, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes of this size."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, left: float, top: float, text: str, *, size: float = 9.0) -> None:
        """Write a text whose left end and baseline lie here; lines above it for line breaks."""
        x, y = left / self.width, 1 - top / self.height
        self.figure.text(x, y, escape_mathtext(text), fontsize=size, va="baseline", linespacing=1.1)

    def legend(self, handles: Sequence[Artist], left: float, top: float, width: float, columns: int) -> None:
        """Add a legend that hangs from here."""
        self.figure.legend(
            handles=list(handles),
            loc="upper left",
            bbox_to_anchor=(left / self.width, 1 - top / self.height, width / self.width, 0),
            ncols=columns,
            frameon=False,
            fontsize=LEGEND_SIZE,
            borderaxespad=0.0,
            borderpad=0.1,
            handlelength=2.2,
            handleheight=1.0,
            columnspacing=1.4,
        )


def _picture_sheet(height: float, width: float, handles: Sequence[Artist], dpi: float) -> tuple[Sheet, Axes]:
    """Make a sheet for one picture with its legend below, wide enough for both."""
    page = max(width, _legend_width(handles))
    columns, legend = legend_shape(handles, page)
    sheet = Sheet(page, height + legend, dpi)
    axes = sheet.axes((page - width) / 2, 0, width, height)
    sheet.legend(handles, 0.0, height + 0.06, page, columns)
    return sheet, axes


def draw_frame(result: FrameResult, *, dpi: float = 150) -> Figure:
    """Draw the frame with its scale bar."""
    height, width = picture_inches(*frame_size_nm(result))
    with house_style():
        sheet = Sheet(width, height, dpi)
        show_frame(sheet.axes(0, 0, width, height), result)
    return sheet.figure


def draw_diffractogram(
    result: FrameResult, styles: Mapping[str, PhaseStyle] | None = None, *, dpi: float = 150
) -> Figure:
    """Draw the diffractogram with circled, labelled spots, dashed rings, a scale bar and a legend."""
    styles = styles_of(result) if styles is None else styles
    height, width = picture_inches(*view_limits(result))
    with house_style():
        sheet, axes = _picture_sheet(height, width, circle_handles(result, styles), dpi)
        show_diffractogram(axes, result, styles)
    return sheet.figure


def draw_overlay(
    result: FrameResult,
    phases: Sequence[str] | None = None,
    styles: Mapping[str, PhaseStyle] | None = None,
    *,
    dpi: float = 150,
) -> Figure:
    """Draw the regions of some phases (all if None) on the frame, with a legend of areas and their errors."""
    styles = styles_of(result) if styles is None else styles
    shown = [m.phase for m in result.maps] if phases is None else list(phases)
    height, width = picture_inches(*frame_size_nm(result))
    with house_style():
        sheet, axes = _picture_sheet(height, width, region_handles(result, styles, shown), dpi)
        show_frame(axes, result)
        show_regions(axes, result, styles, shown)
    return sheet.figure


def draw_profile(result: FrameResult, styles: Mapping[str, PhaseStyle] | None = None, *, dpi: float = 150) -> Figure:
    """Draw the diffraction-like graph: raw power, what lies in spots, and the reflections of the named phases."""
    styles = styles_of(result) if styles is None else styles
    height = profile_height(result)
    with house_style():
        sheet = Sheet(7.0, height + 1.0, dpi)
        _draw_profile_at(sheet, result, styles, left=0.85, top=0.5, width=5.95, height=height)
    return sheet.figure


def profile_height(result: FrameResult) -> float:
    """Height of the graph without its margins [inch]: grows with the number of named phases."""
    return 3.1 + _reflections_height(result)


def _reflections_height(result: FrameResult) -> float:
    n = max(len(reflection_rows(result)), 1)
    return n * (0.25 if n < 8 else 0.16)


def _draw_profile_at(
    sheet: Sheet,
    result: FrameResult,
    styles: Mapping[str, PhaseStyle],
    *,
    left: float,
    top: float,
    width: float,
    height: float,
) -> None:
    rows = _reflections_height(result)
    each = (height - rows) / 2
    show_raw_profile(sheet.axes(left, top, width, each), result)
    peaks = sheet.axes(left, top + each, width, each)
    show_peaks(peaks, result)
    peaks.tick_params(labelbottom=False)
    show_reflections(sheet.axes(left, top + 2 * each, width, rows), result, styles)


def draw_overview(result: FrameResult, styles: Mapping[str, PhaseStyle] | None = None, *, dpi: float = 150) -> Figure:
    """Draw frame, phases, diffractogram and profile of one frame on a sheet."""
    styles = styles_of(result) if styles is None else styles
    side, gap, head = 5.2, 0.25, 0.45
    with house_style():
        frame_h, frame_w = (s * side / LONG_SIDE for s in picture_inches(*frame_size_nm(result)))
        gram_h, gram_w = (s * side / LONG_SIDE for s in picture_inches(*view_limits(result)))
        handles = region_handles(result, styles, [m.phase for m in result.maps]) or circle_handles(result, styles)
        columns, legend = legend_shape(handles, side)
        second = head + frame_h + max(legend, 0.1) + 0.15
        lower = max(gram_h, profile_height(result) + 0.9)
        sheet = Sheet(2 * side + 3 * gap, second + lower + gap, dpi)
        _write_head(sheet, result, gap)
        left, right = gap, 2 * gap + side
        show_frame(sheet.axes(left + (side - frame_w) / 2, head, frame_w, frame_h), result)
        overlay = sheet.axes(right + (side - frame_w) / 2, head, frame_w, frame_h)
        show_frame(overlay, result)
        show_regions(overlay, result, styles, [m.phase for m in result.maps])
        sheet.legend(handles, right, head + frame_h + 0.06, side, columns)
        gram = sheet.axes(left + (side - gram_w) / 2, second + (lower - gram_h) / 2, gram_w, gram_h)
        show_diffractogram(gram, result, styles)
        _draw_profile_at(
            sheet, result, styles, left=right + 0.7, top=second + 0.45, width=side - 0.75, height=lower - 0.9
        )
    return sheet.figure


def _write_head(sheet: Sheet, result: FrameResult, left: float) -> None:
    y = 1 - 0.22 / sheet.height
    name = result.name if len(result.name) < 70 else result.name[:34] + "…" + result.name[-34:]
    sheet.figure.text(left / sheet.width, y, escape_mathtext(name), fontsize=11, weight="bold", va="center")
    rows, cols = result.frame_shape
    said = f"{cols} × {rows} px, {format_pixel_size(result.scale)}"
    if result.time_s is not None:
        said += f", {result.time_s:g} s"
    sheet.figure.text(1 - left / sheet.width, y, said, fontsize=9, ha="right", va="center")


def styles_of(result: FrameResult) -> dict[str, PhaseStyle]:
    """Give each phase of a frame its style, in the order of evidence."""
    return assign_styles([e.phase for e in named_phases(result)] + [m.phase for m in result.maps])


def region_handles(result: FrameResult, styles: Mapping[str, PhaseStyle], phases: Sequence[str]) -> list[Artist]:
    """Make the legend of an overlay: a patch like the region, the phase, its area with error."""
    handles: list[Artist] = []
    for phase_map in result.maps:
        if phase_map.phase in phases:
            area = format_area(phase_map) if phase_map.mask.any() else "not significant"
            handles.append(region_handle(phase_map.phase, area, styles))
    return handles


def region_handle(phase: str, said: str, styles: Mapping[str, PhaseStyle]) -> Artist:
    """Make one entry of a legend: a patch like the region, the phase, and what is said of it."""
    style = style_for(styles, phase)
    return Patch(
        facecolor=(*mpl.colors.to_rgb(style.colour), 0.3),
        edgecolor=style.colour,
        hatch=style.hatch or None,
        linestyle=style.line,
        label=f"{_phase_text(phase)} {said}",
    )


def circle_handles(result: FrameResult, styles: Mapping[str, PhaseStyle]) -> list[Artist]:
    """Make the legend of a diffractogram: a circle for each phase with its number of spots."""
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=8,
            markerfacecolor="none",
            markeredgecolor=style_for(styles, e.phase).colour,
            markeredgewidth=1.6,
            label=f"{_phase_text(e.phase)} ({len(e.spots)})",
        )
        for e in result.match.phases
    ]


def line_handle(phase: str, styles: Mapping[str, PhaseStyle]) -> Artist:
    """Make one entry of a legend of curves."""
    style = style_for(styles, phase)
    return Line2D(
        [], [], color=style.colour, linestyle=style.line, marker=style.marker, markersize=4, label=_phase_text(phase)
    )


def _phase_text(phase: str) -> str:
    return "no name" if phase == UNKNOWN else escape_mathtext(format_formula(phase))


def _legend_width(handles: Sequence[Artist]) -> float:
    """Width of the widest entry of a legend [inch]."""
    return max((text_size(str(handle.get_label()), LEGEND_SIZE)[0] + 0.55 for handle in handles), default=0.0)


def legend_shape(handles: Sequence[Artist], width: float) -> tuple[int, float]:
    """Choose the number of columns that fit, and the height of the legend [inch]."""
    if not handles:
        return 1, 0.0
    columns = min(max(int(width / _legend_width(handles)), 1), len(handles))
    return columns, _ROW * math.ceil(len(handles) / columns) + 0.1


def write_frame_figures(
    result: FrameResult, folder: Path, styles: Mapping[str, PhaseStyle] | None = None, *, dpi: float = 150
) -> dict[str, bytes]:
    """Write all figures of one frame into a folder, each as PNG and SVG; the overview as PNG only.

    Returns
    -------
    dict
        PNG of each figure by its name: overview, frame, diffractogram, profile, overlay, and one
        ``overlay_<phase>`` for each map.
    """
    styles = styles_of(result) if styles is None else styles
    figures = {
        "frame": draw_frame(result, dpi=dpi),
        "diffractogram": draw_diffractogram(result, styles, dpi=dpi),
        "profile": draw_profile(result, styles, dpi=dpi),
    }
    if result.maps:
        figures["overlay"] = draw_overlay(result, None, styles, dpi=dpi)
    for phase, name in file_names(m.phase for m in result.maps).items():
        figures[f"overlay_{name}"] = draw_overlay(result, [phase], styles, dpi=dpi)
    written = {"overview": write_overview(result, folder, styles, dpi=dpi)}
    return written | {name: write_figure(figure, folder / name) for name, figure in figures.items()}


def write_overview(
    result: FrameResult, folder: Path, styles: Mapping[str, PhaseStyle] | None = None, *, dpi: float = 150
) -> bytes:
    """Write ``overview.png`` and return it. Its parts are there as SVG in the other figures."""
    png = to_png(draw_overview(result, styles, dpi=dpi))
    with atomic_write(folder / "overview.png") as temporary:
        temporary.write_bytes(png)
    return png
