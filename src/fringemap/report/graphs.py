"""Curves: the diffraction-like graph of one frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from fringemap.records import UNKNOWN, ScaleSource
from fringemap.report.panels import escape_mathtext, format_d, phase_of, view_limits
from fringemap.report.style import style_for
from fringemap.report.words import PER_NM, format_formula, mathtext_indices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from fringemap.records import FrameResult
    from fringemap.report.style import PhaseStyle

SMALL = 7.0
NORMAL = 8.0
RAW, SMOOTH, MASKED = "#404040", "#D55E00", "#0072B2"
_LABEL_PLACE = (-0.085, 0.5)
_D_TICKS = (20, 10, 6, 5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1, 0.9, 0.8, 0.7, 0.6, 0.5)


def profile_limit(result: FrameResult) -> float:
    """Largest |g| of the graph [1/nm]: that of the diffractogram's view, where the profile reaches it."""
    g = result.profile.g
    reach = PER_NM * float(g[-1]) if len(g) else PER_NM * max(result.shown_g_max)
    return min(max(view_limits(result)), reach)


def show_raw_profile(axes: Axes, result: FrameResult) -> None:
    """Draw the azimuthal mean of the power and of its background over |g|, logarithmic, with d on top."""
    profile, limit = result.profile, profile_limit(result)
    g = PER_NM * profile.g
    # The first radii hold the frame's slow shading, decades above all else.
    shown = (g <= limit) & (g > 0.03 * limit)
    if shown.any():
        axes.plot(g[shown], profile.intensity[shown], color=RAW, linewidth=0.9, label="power")
        axes.plot(g[shown], profile.background[shown], color=SMOOTH, linewidth=1.1, linestyle="--", label="background")
        _log_if_positive(axes, profile.intensity[shown])
        axes.legend(fontsize=SMALL, frameon=False, loc="upper right")
    for ring in PER_NM * result.rings.g:
        axes.axvline(ring, color="#808080", linewidth=0.7, linestyle=(0, (4, 4)), zorder=0)
    axes.set_xlim(0, limit)
    axes.set_ylabel("mean power (counts²)", fontsize=NORMAL)
    axes.yaxis.set_label_coords(*_LABEL_PLACE)
    axes.tick_params(labelsize=SMALL, labelbottom=False)
    _add_d_axis(axes, result, limit)


def _log_if_positive(axes: Axes, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    """Use a logarithmic scale with room at both ends and at most one tick in a factor of two."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if not low > 0:
        return
    axes.set_yscale("log")
    axes.set_ylim(low / 1.25, high * 1.25)
    steps = (1, 2, 5) if high < 100 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(len(powers) // 6, 1)
    ticks = [s * 10.0**p for p in powers[::every] for s in steps if low <= s * 10.0**p <= high]
    axes.set_yticks(ticks, [_power_of_ten(tick) for tick in ticks])
    axes.minorticks_off()


def _power_of_ten(value: float) -> str:
    power = math.floor(math.log10(value) + 1e-9)
    raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    lead = round(value / 10.0**power)
    return f"10{raised}" if lead == 1 else f"{lead}·10{raised}"


def _add_d_axis(axes: Axes, result: FrameResult, limit: float) -> None:
    if result.scale.source is ScaleSource.NONE:
        return
    top = axes.twiny()
    top.set_xlim(0, limit)
    places: list[float] = []
    ticks = []
    for d in _D_TICKS:
        g = PER_NM / d
        if 0.02 * limit < g < 0.985 * limit and all(abs(g - other) > 0.055 * limit for other in places):
            places.append(g)
            ticks.append(f"{d:g}")
    top.set_xticks(places, ticks)
    top.tick_params(labelsize=SMALL)
    top.set_xlabel("d (Å)", fontsize=NORMAL)


def show_peaks(axes: Axes, result: FrameResult) -> None:
    """Draw the profile of what lies inside detected spots, each peak with its d."""
    profile, limit = result.profile, profile_limit(result)
    g = PER_NM * profile.g
    axes.fill_between(g, profile.masked, color=MASKED, alpha=0.25, linewidth=0)
    axes.plot(g, profile.masked, color=MASKED, linewidth=1.0)
    highest = float(np.nanmax(profile.masked, initial=0.0))
    axes.set_xlim(0, limit)
    axes.set_ylim(0, 1.75 * highest if highest > 0 else 1.0)
    axes.set_ylabel("in spots (× noise)", fontsize=NORMAL)
    axes.yaxis.set_label_coords(*_LABEL_PLACE)
    axes.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
    axes.tick_params(labelsize=SMALL)
    _label_peaks(axes, result, limit, highest)
    if not len(profile.peaks_g):
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no peaks", transform=axes.transAxes, ha="center", va="center", fontsize=NORMAL, color=RAW)


def _label_peaks(axes: Axes, result: FrameResult, limit: float, highest: float) -> None:
    profile = result.profile
    taken: list[float] = []
    for i in np.argsort(-profile.peaks_height, kind="stable"):
        g = float(PER_NM * profile.peaks_g[i])
        if 0 < g < limit and all(abs(g - other) > 0.024 * limit for other in taken):
            taken.append(g)
            near = np.abs(PER_NM * profile.g - g) < 0.012 * limit
            height = float(np.nanmax(profile.masked[near], initial=0.0)) + 0.06 * highest
            text = format_d(result, PER_NM / g)
            axes.text(g, height, text, rotation=90, ha="center", va="bottom", fontsize=SMALL, clip_on=True)


def show_reflections(axes: Axes, result: FrameResult, styles: Mapping[str, PhaseStyle]) -> None:
    """Draw a row of ticks a phase: where the reflections that explain spots should lie."""
    rows, limit = reflection_rows(result), profile_limit(result)
    for row, (phase, planes) in enumerate(rows.items()):
        colour = style_for(styles, phase).colour
        places = sorted((PER_NM / d, hkl) for d, hkl in planes.items())
        for g, _ in places:
            axes.plot([g, g], [row - 0.32, row + 0.32], color=colour, linewidth=2.2, solid_capstyle="butt")
        for (g, hkl), following in zip(places, [*(g for g, _ in places[1:]), limit], strict=True):
            text = mathtext_indices(hkl)
            # Where the next tick would cross the indices, the table of spots still has them.
            if any(hkl) and following - g > 0.075 * limit:
                axes.text(g + 0.008 * limit, row, text, va="center", fontsize=6.5)
    axes.set_xlim(0, limit)
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [escape_mathtext(format_formula(phase)) for phase in rows], fontsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=SMALL)
    _label_g_axis(axes, result, limit)


def _label_g_axis(axes: Axes, result: FrameResult, limit: float) -> None:
    """Name the axis of |g|; without a calibration it counts in 1/px."""
    if result.scale.source is not ScaleSource.NONE:
        axes.set_xlabel("|g| (nm⁻¹)", fontsize=NORMAL)
        return
    nm_per_px = result.scale.pixel_size_angstrom[1] / PER_NM
    ticks = [tick for tick in MaxNLocator(6).tick_values(0, limit * nm_per_px) if tick <= limit * nm_per_px]
    axes.set_xticks([tick / nm_per_px for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.set_xlabel("|g| (px⁻¹)", fontsize=NORMAL)


def reflection_rows(result: FrameResult) -> dict[str, dict[float, tuple[int, int, int]]]:
    """Gather, for each phase in the order of evidence, the d-spacings its spots were matched to, one hkl each."""
    rows: dict[str, dict[float, tuple[int, int, int]]] = {
        evidence.phase: {} for evidence in result.match.phases if evidence.phase != UNKNOWN
    }
    for match in result.match.spots:
        if match.best is not None:
            planes = rows.setdefault(phase_of(match), {})
            planes.setdefault(round(match.best.d_reference_angstrom, 4), match.best.hkl)
    return rows
