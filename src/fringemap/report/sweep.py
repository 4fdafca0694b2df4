"""What a sweep of the pixel size says, in words, as a table and as a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.phases.sweep import named_ranges, spot_ranges
from fringemap.report.words import NM, count, format_formula, format_probability, join_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fringemap.phases.sweep import SweepStep
    from fringemap.records import Scale

LEAST_SHOWN = 0.1
"""Phases that are never more probable than this get no row in the picture."""

MAX_ROWS = 24


def sweep_in_words(steps: Sequence[SweepStep], scale: Scale, *, spot: int | None = None) -> list[str]:
    """Say at which pixel sizes which phases are named, and whether the names hang on the calibration.

    With ``spot``, also what that spot is called where.
    """
    middle = steps[len(steps) // 2]
    here = [format_count(phase, len(evidence.spots)) for phase, evidence in middle.named.items()]
    told = [f"At the stated pixel size {join_words(here) or 'no phase'} {'are' if len(here) > 1 else 'is'} named."]
    for phase, runs in sorted(named_ranges(steps).items(), key=lambda item: item[1][0]):
        told.append(f"{phase} is named {join_words([_range(first, last) for first, last in runs])}.")
    told += _verdict(steps, scale)
    if spot is not None:
        told += [f"Spot {spot}: {name} {_range(first, last)}." for name, first, last in spot_ranges(steps, spot)]
    return told


def format_count(phase: str, n_spots: int) -> str:
    """Write ``Co3O4 (38 spots)``."""
    return f"{phase} ({count(n_spots, 'spot')})"


def _range(first: float, last: float) -> str:
    if first == last:
        return f"at {_percent(first)}"
    return f"from {_percent(first)} to {_percent(last)}"


def _percent(offset: float) -> str:
    return f"{100 * offset:+.2f} %" if abs(offset) > 1e-9 else "0 %"


def _verdict(steps: Sequence[SweepStep], scale: Scale) -> list[str]:
    """Compare the names within the error of the pixel size, two standard errors to either side."""
    within = [step for step in steps if abs(step.offset) <= 2.0 * scale.sigma + 1e-9]
    if not math.isfinite(scale.sigma) or len(within) < 2:
        wide = f"The error of the pixel size, {100 * scale.sigma:.2g} %, is smaller than a step"
        return [f"{wide}: the names do not hang on it."] if math.isfinite(scale.sigma) else []
    sets = {frozenset(step.named) for step in within}
    said = f"Within two standard errors of the pixel size, ±{200 * scale.sigma:.2g} %,"
    if len(sets) == 1:
        return [f"{said} the names stay the same."]
    seen = sorted({phase for names in sets for phase in names}) + ["none"] * (frozenset() in sets)
    return [
        f"{said} the names change between {join_words(seen)}: calibrate the "
        "pixel size (fringemap calibrate) before you rely on them."
    ]


def sweep_rows(steps: Sequence[SweepStep], scale: Scale) -> list[dict[str, Any]]:
    """Make a row for each pixel size: change, size, phases with a name, and candidates."""
    return [
        {
            "offset_percent": round(100 * step.offset, 6),
            "pixel_size_nm": NM * scale.pixel_size_angstrom[1] * (1.0 + step.offset),
            "named": {
                phase: {"n_spots": len(evidence.spots), "probability": evidence.probability}
                for phase, evidence in step.named.items()
            },
            "candidates": {
                evidence.phase: evidence.probability
                for evidence in step.match.candidates
                if evidence.phase not in step.named
            },
        }
        for step in steps
    ]


def sweep_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Write the rows as lines of text."""
    lines = [f"{'change':>8}  {'nm/px':>10}  named (spots); candidates (probability)"]
    for row in rows:
        named = ", ".join(f"{phase} ({known['n_spots']})" for phase, known in row["named"].items()) or "-"
        near = sorted(row["candidates"].items(), key=lambda item: -item[1])[:3]
        rest = ", ".join(f"{phase} {format_probability(probability)}" for phase, probability in near)
        size, change = row["pixel_size_nm"], row["offset_percent"]
        lines.append(f"{change:+7.2f}%  {size:10.6f}  {named}{f'; {rest}' if rest else ''}")
    return lines


def draw_sweep(steps: Sequence[SweepStep], scale: Scale, *, title: str = "", dpi: float = 150) -> Figure:
    """Draw a row for each phase: solid where it is named, pale where it is a candidate, as high as it is probable."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from fringemap.report.panels import escape_mathtext
    from fringemap.report.rendering import house_style
    from fringemap.report.style import assign_styles

    phases = _rows_shown(steps)
    styles = assign_styles(phases)
    offsets = 100 * np.array([step.offset for step in steps])
    width = offsets[1] - offsets[0]
    with house_style():
        figure = Figure(
            figsize=(7.0, 1.3 + 0.42 * max(len(phases), 1)), dpi=dpi, facecolor="white", layout="constrained"
        )
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.axvline(0.0, color="black", linewidth=0.8, zorder=1)
        if math.isfinite(scale.sigma):
            axes.axvspan(-100 * scale.sigma, 100 * scale.sigma, color="#E4E8EC", zorder=0)
        for row, phase in enumerate(phases):
            _draw_row(axes, steps, phase, bottom=len(phases) - 1 - row, colour=styles[phase].colour)
        names = [escape_mathtext(format_formula(phase)) for phase in reversed(phases)]
        axes.set_yticks(np.arange(len(phases)) + 0.43, names, fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(offsets[0] - width / 2, offsets[-1] + width / 2), ylim=(-0.05, max(len(phases), 1)))
        axes.set_xlabel("change of the pixel size (%)", fontsize=9)
        axes.set_title(escape_mathtext(title or "Names at other pixel sizes"), fontsize=9, loc="left")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        note = "filled: named; open: candidate; height: probability; grey: standard error of the pixel size"
        figure.supxlabel(note, fontsize=7, color="#57606A")
    return figure


def _draw_row(axes: Axes, steps: Sequence[SweepStep], phase: str, *, bottom: float, colour: str) -> None:
    known = [(step, evidence) for step in steps if (evidence := step.likeliest().get(phase)) is not None]
    # Where the way of matching gives no probability, a name is drawn at full height.
    heights = [0.86 * min(e.probability, 1.0) if math.isfinite(e.probability) else 0.86 for _, e in known]
    axes.bar(
        [100 * step.offset for step, _ in known],
        heights,
        100 * (steps[1].offset - steps[0].offset),
        bottom=bottom,
        color=[colour if phase in step.named else "white" for step, _ in known],
        edgecolor=colour,
        linewidth=0.8,
        zorder=2,
    )
    axes.axhline(bottom, color="#B0B6BC", linewidth=0.5, zorder=3)


def _rows_shown(steps: Sequence[SweepStep]) -> list[str]:
    """Choose the phases that are named or likely somewhere, by where they are likeliest."""
    best: dict[str, tuple[float, float]] = {}
    for step in steps:
        for phase, evidence in step.likeliest().items():
            probability = evidence.probability if math.isfinite(evidence.probability) else 1.0
            rank = probability + (1.0 if phase in step.named else 0.0)
            if probability >= LEAST_SHOWN and rank > best.get(phase, (0.0, 0.0))[0]:
                best[phase] = rank, step.offset
    strongest = sorted(best, key=lambda phase: -best[phase][0])[:MAX_ROWS]
    return sorted(strongest, key=lambda phase: (best[phase][1], phase))
