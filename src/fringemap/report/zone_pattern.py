"""Pictures of a structure: its lines over |g|, and the pattern of a zone as a camera would see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from fringemap.report.panels import escape_mathtext
from fringemap.report.rendering import house_style
from fringemap.report.scalebar import Bar, draw_bar, round_length
from fringemap.report.words import PER_NM, format_formula, mathtext_indices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fringemap.records import Reflections, ZonePattern

_SIDE = 5.2
_LINES_WIDTH = 6.2
_LABEL = 7.5
# Radius of the strongest spot, as a share of the distance of the nearest two spots, and of that of the weakest.
_LARGEST, _SMALLEST = 0.28, 0.07
_MOST_LABELS = 60
_MOST_LINE_LABELS = 26
_LINE_LABEL_HEIGHT = 0.85
"""Room for a label above the highest line [inch]."""
_LINE_LABEL_SPACE = 0.022
"""Labels of lines closer than this share of the axis would cover each other."""


def draw_structure(reflections: Reflections, pattern: ZonePattern | None = None, *, dpi: float = 150) -> Figure:
    """Draw the lines of a phase, and beside them the pattern of one of its zones.

    Parameters
    ----------
    reflections
        Families of planes with their intensities; a table without intensities gets lines of one height.
    pattern
        From ``zone_pattern``; None: lines alone.
    """
    with house_style():
        width = _LINES_WIDTH + (_SIDE + 0.2 if pattern is not None else 0.0)
        height = _SIDE if pattern is not None else 3.6
        figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
        FigureCanvasAgg(figure)
        inner = height - 1.4
        axes = figure.add_axes((0.62 / width, 0.5 / height, (_LINES_WIDTH - 0.85) / width, inner / height))
        _draw_lines(axes, reflections, top=100.0 * inner / (inner - _LINE_LABEL_HEIGHT))
        title = escape_mathtext(format_formula(reflections.phase))
        figure.text(0.62 / width, 1 - 0.1 / height, title, fontsize=11, va="top")
        if pattern is not None:
            left = _LINES_WIDTH + 0.1
            _draw_pattern(figure.add_axes((left / width, 0.02, _SIDE / width, 0.96)), pattern)
    return figure


def _draw_lines(axes: Axes, reflections: Reflections, *, top: float) -> None:
    """Sticks over |g|, the strongest labelled with their planes; d on top, where the axis ends at this height."""
    g = PER_NM / reflections.d_spacing
    height = np.where(np.isfinite(reflections.intensity), reflections.intensity, 100.0)
    axes.vlines(g, 0, height, color="#0072B2", linewidth=1.3)
    limit = 1.05 * float(g.max(initial=1.0))
    axes.set(xlim=(0, limit), ylim=(0, top))
    axes.set_yticks(np.arange(0, 101, 20))
    labelled: list[float] = []
    for row in np.argsort(-height, kind="stable")[:_MOST_LINE_LABELS]:
        near = any(abs(g[row] - other) < _LINE_LABEL_SPACE * limit for other in labelled)
        if near or not reflections.hkl[row].any():
            continue
        labelled.append(float(g[row]))
        text = f"{mathtext_indices(reflections.hkl[row])}  {reflections.d_spacing[row]:.3f} Å"
        axes.text(g[row], height[row] + 2, text, rotation=90, fontsize=6.5, ha="center", va="bottom")
    axes.set_xlabel("|g| (nm⁻¹)", fontsize=9)
    axes.set_ylabel("multiplicity × |F|², strongest 100", fontsize=9)
    axes.tick_params(labelsize=8)
    _add_d_axis(axes, limit)
    axes.spines["right"].set_visible(False)


def _add_d_axis(axes: Axes, limit: float) -> None:
    top = axes.twiny()
    ticks = [d for d in (10.0, 5.0, 3.0, 2.0, 1.5, 1.2, 1.0, 0.8, 0.6, 0.5) if PER_NM / d <= limit]
    top.set(xlim=(0, limit))
    top.set_xticks([PER_NM / d for d in ticks], [f"{d:g}" for d in ticks], fontsize=8)
    top.set_xlabel("d (Å)", fontsize=9)
    top.spines["right"].set_visible(False)


def _draw_pattern(axes: Axes, pattern: ZonePattern) -> None:
    """Bright spots on black, sized by |F|; extinct ones open; planes, scale bar, zone."""
    g = PER_NM * pattern.g
    limit = 1.14 * float(np.abs(g).max())
    axes.set(xlim=(-limit, limit), ylim=(limit, -limit), facecolor="black", xticks=[], yticks=[])
    axes.set_aspect("equal")
    gap = _smallest_distance(g)
    axes.add_artist(Circle((0, 0), _LARGEST * gap * 0.9, color="white"))
    # |F| runs over less than |F|² does, much as a camera with a logarithmic display shows it.
    share = np.sqrt(np.maximum(pattern.intensity, 0.0) / 100.0)
    radius = gap * (_SMALLEST + (_LARGEST - _SMALLEST) * share)
    for row, (x, y) in enumerate(g.tolist()):
        if pattern.extinct[row]:
            axes.add_artist(Circle((x, y), 1.3 * _SMALLEST * gap, fill=False, edgecolor="#56B4E9", linewidth=1.0))
        else:
            axes.add_artist(Circle((x, y), radius[row], color=str(0.35 + 0.65 * share[row])))
    _label_planes(axes, pattern, g, radius, gap, limit)
    bar = round_length(0.25 * 2 * limit)
    draw_bar(axes, Bar(bar, f"{bar:g} nm⁻¹"))
    text = f"{escape_mathtext(format_formula(pattern.phase))} [{mathtext_indices(pattern.uvw)}]"
    note = "open: extinct; double diffraction may show it" if pattern.extinct.any() else ""
    axes.text(0.02, 0.985, text, transform=axes.transAxes, color="white", fontsize=11, va="top")
    axes.text(0.98, 0.015, note, transform=axes.transAxes, color="#56B4E9", fontsize=7, ha="right", va="bottom")


def _smallest_distance(g: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    points = np.vstack([np.zeros((1, 2)), g])
    apart = np.hypot(*(points[:, None, :] - points[None, :, :]).transpose(2, 0, 1))
    return float(apart[apart > 0].min())


def _label_planes(
    axes: Axes,
    pattern: ZonePattern,
    g: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    radius: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    gap: float,
    limit: float,
) -> None:
    """Write planes below their spots; of very many only the first, so that they stay legible."""
    inches = gap / (2 * limit) * _SIDE
    size = min(_LABEL, max(4.5, 72 * inches / 4.2))
    for row in range(min(len(g), _MOST_LABELS if inches > 0.3 else _MOST_LABELS // 4)):
        x, y = g[row].tolist()
        colour = "#56B4E9" if pattern.extinct[row] else "#E6E9ED"
        axes.text(
            x,
            y + max(radius[row], 1.3 * _SMALLEST * gap) + 0.02 * gap,
            mathtext_indices(pattern.hkl[row]),
            color=colour,
            fontsize=size,
            ha="center",
            va="top",
            clip_on=True,
        )
