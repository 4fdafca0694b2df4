"""Found beside true: for simulated frames, whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from fringemap.records import UNKNOWN
from fringemap.report.figures import (
    LONG_SIDE,
    Sheet,
    legend_shape,
    picture_inches,
    region_handle,
    region_handles,
    styles_of,
)
from fringemap.report.panels import (
    draw_region,
    frame_size_nm,
    phase_of,
    show_diffractogram,
    show_frame,
    show_regions,
    trace_region,
    view_limits,
)
from fringemap.report.rendering import house_style
from fringemap.report.style import assign_styles, style_for
from fringemap.report.words import NM, PER_NM, format_formula

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fringemap.records import FrameResult, Mask, PhaseMap, Truth
    from fringemap.report.style import PhaseStyle

VISIBLE_SNR = 8.0
"""True spots below this are not counted as missed."""


@dataclass(frozen=True)
class TruthLine:
    """One phase, found beside true."""

    phase: str
    named: bool
    """Whether the analysis names the phase."""
    true_area: float
    """Share of the frame."""
    found_area: float
    """NaN without a map."""
    overlap: float
    """Intersection over union of the found and the true region; NaN without a map."""
    n_true_spots: int
    """With an SNR of at least `VISIBLE_SNR`."""
    n_found_spots: int
    """Of these: found at all."""
    n_named_spots: int
    """Of these: called by the right phase."""


def compare_with_truth(result: FrameResult, truth: Truth) -> list[TruthLine]:
    """Compare regions and spots of each phase, the true ones first, then those that are named without being there."""
    named = {evidence.phase for evidence in result.match.phases if evidence.phase != UNKNOWN}
    phases = [*dict.fromkeys(truth.phases), *sorted(named - set(truth.phases))]
    return [_compare_phase(result, truth, phase, phase in named) for phase in phases]


def _compare_phase(result: FrameResult, truth: Truth, phase: str, named: bool) -> TruthLine:
    mask = true_mask(truth, phase)
    found = next((m for m in result.maps if m.phase == phase), None)
    counts = _count_spots(result, truth, phase)
    area, overlap = float("nan"), float("nan")
    if found is not None:
        area, overlap = found.area_fraction, _intersection_over_union(found, mask)
    return TruthLine(phase, named, float(mask.mean()), area, overlap, *counts)


def true_mask(truth: Truth, phase: str) -> Mask:
    """Join the regions of all grains of a phase; shape of the frame."""
    grains = [mask for mask, name in zip(truth.masks, truth.phases, strict=True) if name == phase]
    joined: Mask = np.any(grains, axis=0) if grains else np.zeros(truth.masks.shape[1:], dtype=bool)
    return joined


def _intersection_over_union(found: PhaseMap, mask: Mask) -> float:
    """Compare at the centres of the map's pixels."""
    rows, cols = (_nearest_pixels(found, mask, axis) for axis in (0, 1))
    true = mask[np.ix_(rows, cols)]
    union = int((true | found.mask).sum())
    return float((true & found.mask).sum() / union) if union else float("nan")


def _nearest_pixels(found: PhaseMap, mask: Mask, axis: int) -> NDArray[np.int64]:
    n_map, n_frame = found.mask.shape[axis], mask.shape[axis]
    # Maps cover the frame, whatever their own number of pixels.
    step = n_frame / n_map if n_map else 1.0
    centres = found.origin_px[axis] + step * np.arange(n_map)
    pixels: NDArray[np.int64] = np.clip(np.rint(centres), 0, n_frame - 1).astype(np.int64)
    return pixels


def _count_spots(result: FrameResult, truth: Truth, phase: str) -> tuple[int, int, int]:
    nearest = match_true_spots(result, truth)
    visible = (truth.spots.snr >= VISIBLE_SNR) & (np.array(truth.spots.phase, dtype=object) == phase)
    rows = nearest[visible]
    found = rows[rows >= 0]
    right = sum(phase_of(result.match.spots[row]) == phase for row in found.tolist())
    return int(visible.sum()), len(found), right


def match_true_spots(result: FrameResult, truth: Truth) -> NDArray[np.int64]:
    """Give, for each true spot, the row of the found spot at its place; -1 if there is none.

    A place is the same within half the true spot's width or one and a half bins of the diffractogram, up to the sign
    of g.
    """
    true = np.stack([truth.spots.gx, truth.spots.gy], axis=1)
    found = np.stack([result.spots.gx, result.spots.gy], axis=1)
    if not len(found) or not len(true):
        return np.full(len(true), -1, dtype=np.int64)
    distance = np.minimum(
        np.linalg.norm(true[:, None] - found[None], axis=2), np.linalg.norm(true[:, None] + found[None], axis=2)
    )
    bins = [1.0 / (n * p) for n, p in zip(result.frame_shape, result.scale.pixel_size_angstrom, strict=True)]
    reach = np.maximum(0.5 * truth.spots.width, 1.5 * max(bins))
    nearest = distance.argmin(axis=1)
    near = distance[np.arange(len(true)), nearest] <= reach
    return np.where(near, nearest, -1).astype(np.int64)


def draw_truth_comparison(
    result: FrameResult, truth: Truth, styles: Mapping[str, PhaseStyle] | None = None, *, dpi: float = 150
) -> Figure:
    """Draw true regions beside found ones, and true spots as crosses over the found circles, with a table of scores."""
    styles = assign_styles([*styles_of(result), *truth.phases]) if styles is None else styles
    side, gap, head = LONG_SIDE, 0.25, 0.4
    lines = compare_with_truth(result, truth)
    with house_style():
        frame_h, frame_w = picture_inches(*frame_size_nm(result))
        gram_h, gram_w = picture_inches(*view_limits(result))
        handles = region_handles(result, styles, [m.phase for m in result.maps])
        true = [region_handle(line.phase, _percent(line.true_area), styles) for line in lines if line.true_area > 0]
        columns, legend = legend_shape(handles, side)
        true_columns, true_legend = legend_shape(true, side)
        second = head + frame_h + max(legend, true_legend, 0.1) + 0.4
        sheet = Sheet(2 * side + 3 * gap, second + max(gram_h, 0.24 * len(lines) + 0.6) + gap, dpi)
        left, right = gap, 2 * gap + side
        for x, title in ((left, "true regions"), (right, "found regions")):
            sheet.text(x, 0.27, title)
        true_axes = sheet.axes(left + (side - frame_w) / 2, head, frame_w, frame_h)
        show_frame(true_axes, result)
        _show_true_regions(true_axes, result, truth, styles)
        found_axes = sheet.axes(right + (side - frame_w) / 2, head, frame_w, frame_h)
        show_frame(found_axes, result)
        show_regions(found_axes, result, styles, [m.phase for m in result.maps])
        sheet.legend(true, left, head + frame_h + 0.06, side, true_columns)
        sheet.legend(handles, right, head + frame_h + 0.06, side, columns)
        sheet.text(left, second - 0.13, "spots: found (circles) and true (crosses, faint below the noise)")
        gram = sheet.axes(left + (side - gram_w) / 2, second, gram_w, gram_h)
        show_diffractogram(gram, result, styles)
        _cross_true_spots(gram, truth, styles)
        _write_scores(sheet, lines, right, second)
    return sheet.figure


def _show_true_regions(axes: Axes, result: FrameResult, truth: Truth, styles: Mapping[str, PhaseStyle]) -> None:
    # A few hundred points a side trace any grain well enough for the eye.
    step = max(max(truth.masks.shape[1:]) // 512, 1)
    for phase in dict.fromkeys(truth.phases):
        mask = true_mask(truth, phase)[::step, ::step]
        if mask.any():
            y, x = (
                NM * pixel * (0.5 + step * np.arange(-1, n + 1))
                for pixel, n in zip(result.scale.pixel_size_angstrom, mask.shape, strict=True)
            )
            draw_region(axes, trace_region(mask, y, x), style_for(styles, phase))


def _cross_true_spots(axes: Axes, truth: Truth, styles: Mapping[str, PhaseStyle]) -> None:
    spots = truth.spots
    x_limit, y_limit = axes.get_xlim()[1], axes.get_ylim()[0]
    for gx, gy, phase, snr in zip(PER_NM * spots.gx, PER_NM * spots.gy, spots.phase, spots.snr, strict=True):
        if abs(gx) < x_limit and abs(gy) < y_limit:
            alpha = 1.0 if snr >= VISIBLE_SNR else 0.35
            colour = style_for(styles, phase).colour
            line = Line2D([gx, -gx], [gy, -gy], linestyle="none", marker="x", markersize=4.5, color=colour, alpha=alpha)
            line.set_zorder(6)
            axes.add_line(line)


_COLUMNS = (0.0, 1.15, 1.85, 2.65, 3.4, 4.15)


def _write_scores(sheet: Sheet, lines: list[TruthLine], left: float, top: float) -> None:
    titles = ("phase", "named", "true\narea", "found\narea", "overlap", "spots named\n/ found / true")
    for x, title in zip(_COLUMNS, titles, strict=True):
        sheet.text(left + x, top + 0.25, title, size=7.5)
    for row, line in enumerate(lines):
        y = top + 0.55 + 0.24 * row
        spots = f"{line.n_named_spots} / {line.n_found_spots} / {line.n_true_spots}"
        cells = ("yes" if line.named else "no", _percent(line.true_area), _percent(line.found_area))
        overlap = "–" if np.isnan(line.overlap) else f"{line.overlap:.2f}"
        texts = (format_formula(line.phase), *cells, overlap, spots)
        for x, text in zip(_COLUMNS, texts, strict=True):
            sheet.text(left + x, y, text, size=8.5)
    sheet.text(left, top + 0.62 + 0.24 * len(lines), "overlap: intersection over union of the regions;", size=7)
    sheet.text(left, top + 0.78 + 0.24 * len(lines), f"spots: those with a true SNR of {VISIBLE_SNR:g} or more", size=7)


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.1f} %"
