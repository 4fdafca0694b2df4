"""Detectors side by side: pictures, one page and one table."""

from __future__ import annotations

import base64
import csv
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fringemap.report.atomic import atomic_write, write_text
from fringemap.report.rendering import house_style, write_figure
from fringemap.report.style import NEUTRAL, style_of
from fringemap.report.templates import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from fringemap.records import FloatArray, IntArray

PAGE, TABLE, FIGURES = "evaluation.html", "evaluation.csv", "figures"
COLUMNS = ("set", "detector", "group", "quantity", "false_spots_per_frame", "value", "low", "high")
"""Of the table; ``low`` and ``high`` hold 95 %."""

_NORMAL = 8.0
_DPI = 150
_LEAST_SHOWN = 8
"""A class of SNR with fewer errors has no point."""


@dataclass(frozen=True)
class Figured:
    """One figure of a table: a row of the CSV without the set."""

    detector: str
    group: str
    quantity: str
    rate: float
    """False spots in a frame without crystal at which it was taken; NaN where that has no meaning."""
    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Line:
    """A line through a spot."""

    title: str
    offset: FloatArray
    """From the spot along gx [1/nm]; (n,)."""
    power: FloatArray
    """Raw."""
    background: FloatArray
    pattern_offset: FloatArray
    """[1/nm]; (m,)."""
    labelled: FloatArray
    """1 on the label; (m,)."""
    probability: Mapping[str, FloatArray]
    """Of each network; (m,)."""


@dataclass(frozen=True)
class SetShown:
    """What is shown of one set; detectors are the keys, in the order of the page."""

    name: str
    about: str
    remarks: Sequence[str]
    groups: Sequence[str]
    rates: Sequence[float]
    """Measured false spots in a frame at which detectors are compared; the first is the one of the pictures."""
    figures: Sequence[Figured]
    curves: Mapping[str, tuple[FloatArray, FloatArray]]
    """Recall and precision."""
    points: Mapping[str, tuple[float, float]]
    """Recall and precision at the stated rate."""
    reliability: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]]
    """False spots in a frame expected, counted, and the error of the count; empty without frames to count on."""
    dice: Mapping[str, FloatArray]
    """Of each frame."""
    pixels: Mapping[str, IntArray]
    """On spots and found, found only, missed, neither."""
    errors: Mapping[str, tuple[FloatArray, FloatArray]]
    """SNR, and error of d over its bound."""
    lines: Sequence[Line]

    def find(self, detector: str, group: str, quantity: str, rate: float = float("nan")) -> Figured | None:
        """One figure; None if it was not measured."""
        for one in self.figures:
            same_rate = one.rate == rate or (np.isnan(one.rate) and np.isnan(rate))
            if (one.detector, one.group, one.quantity) == (detector, group, quantity) and same_rate:
                return one
        return None


def write_evaluation(sets: Sequence[SetShown], folder: Path, *, title: str = "Detectors side by side") -> Path:
    """Write ``evaluation.html``, ``evaluation.csv`` and the pictures of each set.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    write_table(sets, folder / TABLE)
    values = [_set_values(one, folder / FIGURES) for one in sets]
    write_text(folder / PAGE, render("evaluation.html.j2", version=version("fringemap"), title=title, sets=values))
    return folder / PAGE


def write_table(sets: Sequence[SetShown], path: Path) -> None:
    """Write all figures, a row each; what was not measured is empty."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in sets:
            for f in one.figures:
                numbers = (_number(x, 6) for x in (f.rate, f.value, f.low, f.high))
                writer.writerow((one.name, f.detector, f.group, f.quantity, *numbers))


def _set_values(one: SetShown, folder: Path) -> dict[str, Any]:
    """What the template asks for."""
    pictures = {
        "Precision over recall; false spots expected and counted": draw_curves(one),
        "F1 at the same number of false spots": draw_groups(one),
        "Dice of each frame, and where pixels end": draw_pixels(one),
        "Error of d over the bound of Cramér and Rao": draw_errors(one),
        "Lines through a faint, a middle and a clear spot": draw_lines(one),
    }
    images = []
    for number, (caption, figure) in enumerate(pictures.items(), start=1):
        if figure is not None:
            png = write_figure(figure, folder / f"{one.name}-{number}")
            images.append({"caption": caption, "uri": "data:image/png;base64," + base64.b64encode(png).decode("ascii")})
    return {
        "name": one.name,
        "about": one.about,
        "remarks": one.remarks,
        "tables": [_main_table(one), *(_rate_table(one, rate) for rate in one.rates), _dice_table(one)],
        "images": images,
    }


def _main_table(one: SetShown) -> dict[str, Any]:
    wanted = (
        ("Dice", "Dice", 3),
        ("Dice of spots that stand out", "Dice of spots that stand out of the whole pattern", 3),
        ("median Dice of a frame", "median Dice of a frame", 3),
        ("recall, stated rate", "recall at the stated rate", 3),
        ("precision, stated rate", "precision at the stated rate", 3),
        ("F1, stated rate", "F1 at the stated rate", 3),
        ("false spots in a frame without crystal, stated", "false spots in a frame without crystal, stated", 3),
        ("false spots in a frame without crystal, counted", "false spots in a frame without crystal, counted", 3),
        ("robust error of d over the bound", "error of d / bound", 2),
        ("robust error of the angle over the bound", "error of the angle / bound", 2),
    )
    detectors = list(one.pixels)
    rows = []
    for name, label, digits in wanted:
        cells = [one.find(detector, "all", name) for detector in detectors]
        if any(cell is not None for cell in cells):
            rows.append([label, *(_shown(cell, digits) for cell in cells)])
    return {"title": "In short", "columns": ["", *detectors], "rows": rows}


def _rate_table(one: SetShown, rate: float) -> dict[str, Any]:
    detectors = list(one.pixels)
    columns = ["of", "frames", "spots", *(f"{name}: recall / precision / F1" for name in detectors)]
    columns += [f"{name}: F1 above {detectors[0]}" for name in detectors[1:]]
    rows = []
    for group in one.groups:
        counts = [_shown(one.find("", group, what), 0) for what in ("frames", "spots to be found")]
        cells = [_three(one, name, group, rate) for name in detectors]
        gains = [_shown(one.find(name, group, "F1 gain", rate), 3, sign="+") for name in detectors[1:]]
        rows.append([group, *counts, *cells, *gains])
    return {"title": f"At {rate:g} false spots, counted, in a frame without crystal", "columns": columns, "rows": rows}


def _three(one: SetShown, detector: str, group: str, rate: float) -> str:
    parts = [one.find(detector, group, what, rate) for what in ("recall", "precision", "F1")]
    return " / ".join(_shown_alone(part) for part in parts)


def _dice_table(one: SetShown) -> dict[str, Any]:
    detectors = list(one.pixels)
    rows = []
    for group in one.groups:
        cells = [one.find(name, group, "Dice") for name in detectors]
        if any(cell is not None for cell in cells):
            rows.append([group, *(_shown(cell, 3) for cell in cells)])
    return {"title": "Dice of the pixels", "columns": ["of", *detectors], "rows": rows}


def _shown(figured: Figured | None, digits: int, *, sign: str = "") -> str:
    if figured is None or not np.isfinite(figured.value):
        return "–"
    text = f"{figured.value:{sign}.{digits}f}"
    if np.isfinite(figured.low) and np.isfinite(figured.high):
        return f"{text} ({figured.low:{sign}.{digits}f} to {figured.high:{sign}.{digits}f})"
    return text


def _shown_alone(figured: Figured | None) -> str:
    return f"{figured.value:.2f}" if figured is not None and np.isfinite(figured.value) else "–"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}g}" if np.isfinite(value) else ""


# --- pictures --------------------------------------------------------------------------------------------------------


def draw_curves(one: SetShown) -> Figure | None:
    """Draw precision over recall with a mark at the stated rate, and the reliability of the score beside it."""
    with house_style():
        figure = Figure(figsize=(7.0, 3.1), dpi=_DPI, layout="constrained")
        left, right = figure.subplots(1, 2)
        for order, name in enumerate(one.pixels):
            style = style_of(order)
            recall, precision = one.curves[name]
            left.plot(recall, precision, color=style.colour, linestyle=style.line, label=name)
            left.plot(*([x] for x in one.points[name]), style.marker, color=style.colour, markeredgecolor="black")
            if name in one.reliability:
                expected, counted, sigma = one.reliability[name]
                right.errorbar(
                    expected, counted, sigma, color=style.colour, marker=style.marker, markersize=3, linewidth=1
                )
        left.set(xlim=(0, 1.01), ylim=(0, 1.02))
        left.legend(fontsize=_NORMAL, frameon=False, loc="lower left")
        _finish(left, "recall", "precision")
        if one.reliability:
            ends = [min(x[0][0] for x in one.reliability.values()), max(x[0][-1] for x in one.reliability.values())]
            right.plot(ends, ends, color="black", linewidth=0.7)
            right.set(xscale="log", yscale="symlog")
            right.set_yscale("symlog", linthresh=ends[0])
            right.set_ylim(bottom=0)
            _finish(right, "false spots in a frame, expected from the score", "counted in frames without crystal")
        else:
            right.set_axis_off()
    return figure


def draw_groups(one: SetShown) -> Figure | None:
    """Draw F1 of each group at the first of the rates; bars hold 95 %."""
    rate = one.rates[0] if one.rates else float("nan")
    with house_style():
        figure = Figure(figsize=(7.0, 0.9 + 0.32 * len(one.groups)), dpi=_DPI, layout="constrained")
        axes = figure.subplots()
        for order, name in enumerate(one.pixels):
            style = style_of(order)
            for row, group in enumerate(one.groups):
                f1 = one.find(name, group, "F1", rate) or one.find(name, group, "F1, stated rate")
                if f1 is None or not np.isfinite(f1.value):
                    continue
                at = row + 0.16 * (order - (len(one.pixels) - 1) / 2)
                axes.plot([f1.low, f1.high], [at, at], color=style.colour, linewidth=1)
                axes.plot(
                    [f1.value],
                    [at],
                    style.marker,
                    color=style.colour,
                    markersize=4,
                    label=name if row == 0 else None,
                )
        axes.set_yticks(range(len(one.groups)), list(one.groups))
        axes.invert_yaxis()
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=_NORMAL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        at_rate = f"at {rate:g} false spots in a frame without crystal" if one.rates else "at the stated rate"
        _finish(axes, f"F1 {at_rate}", "")
    return figure


def draw_pixels(one: SetShown) -> Figure | None:
    """Draw the distribution of Dice over frames, and a confusion matrix of pixels for each detector."""
    if not any(len(dice) for dice in one.dice.values()):
        return None
    n = len(one.pixels)
    with house_style():
        figure = Figure(figsize=(7.0, 2.5 + 1.9 * -(-n // 4)), dpi=_DPI, layout="constrained")
        grid = figure.add_gridspec(1 + -(-n // 4), 4, height_ratios=[2.4] + [1.8] * -(-n // 4))
        axes = figure.add_subplot(grid[0, :])
        edges = np.linspace(0, 1, 21)
        for order, (name, dice) in enumerate(one.dice.items()):
            style = style_of(order)
            axes.hist(
                list(dice),
                list(edges),
                histtype="step",
                color=style.colour,
                linestyle=style.line,
                linewidth=1.3,
                label=name,
            )
            if len(dice):
                axes.axvline(float(np.median(dice)), color=style.colour, linestyle=":", linewidth=1)
        axes.legend(fontsize=_NORMAL, frameon=False, loc="upper left")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(axes, "Dice of a frame (dotted: median)", "frames")
        for order, (name, pixels) in enumerate(one.pixels.items()):
            _draw_confusion(figure.add_subplot(grid[1 + order // 4, order % 4]), name, pixels)
    return figure


def _draw_confusion(axes: Axes, name: str, pixels: IntArray) -> None:
    both, only_found, missed, neither = (int(n) for n in pixels)
    counts = np.array([[both, missed], [only_found, neither]], float)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    axes.imshow(share, cmap="Greys", vmin=0, vmax=1.6)
    for row in range(2):
        for col in range(2):
            axes.text(
                col,
                row,
                f"{int(counts[row, col]):,}\n{100 * share[row, col]:.2f} %",
                ha="center",
                va="center",
                fontsize=_NORMAL - 1.5,
            )
    axes.set_xticks([0, 1], ["found", "not"], fontsize=_NORMAL - 1)
    axes.set_yticks([0, 1], ["spot", "none"], fontsize=_NORMAL - 1)
    axes.tick_params(length=0)
    axes.set_title(name, fontsize=_NORMAL)


def draw_errors(one: SetShown) -> Figure | None:
    """Draw the robust error of d over its bound, in classes of SNR."""
    if not any(len(snr) >= _LEAST_SHOWN for snr, _ in one.errors.values()):
        return None
    with house_style():
        figure = Figure(figsize=(7.0, 2.6), dpi=_DPI, layout="constrained")
        axes = figure.subplots()
        for order, (name, (snr, ratio)) in enumerate(one.errors.items()):
            style = style_of(order)
            places, spread, sigma = _by_snr(snr, ratio)
            axes.errorbar(
                places * 1.03**order, spread, sigma, color=style.colour, marker=style.marker, markersize=3, label=name
            )
        axes.axhline(1.0, color="black", linewidth=0.7)
        axes.set(xscale="log")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=_NORMAL, frameon=False)
        _finish(axes, "SNR of the true spot", "robust error of d / bound")
    return figure


def _by_snr(snr: FloatArray, ratio: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Middle SNR, robust spread and its error in classes of equal size."""
    order = np.argsort(snr)
    parts = [part for part in np.array_split(order, max(len(order) // 40, 1)) if len(part) >= _LEAST_SHOWN]
    places = np.array([np.median(snr[part]) for part in parts])
    spread = np.array([1.4826 * np.median(np.abs(ratio[part])) for part in parts])
    # Of a median of absolute values of normal numbers: 1.17 sigma / sqrt(n).
    sigma = spread * np.array([1.17 / np.sqrt(len(part)) for part in parts])
    return places, spread, sigma


def draw_lines(one: SetShown) -> Figure | None:
    """Draw raw power, power over background and the networks' probability along a line through each of some spots."""
    if not one.lines:
        return None
    with house_style():
        figure = Figure(figsize=(7.0, 5.0), dpi=_DPI, layout="constrained")
        panels = figure.subplots(3, len(one.lines), squeeze=False, sharex="col")
        for column, line in zip(panels.T, one.lines, strict=True):
            _draw_line(column, line, list(one.pixels))
        for axes, label in zip(panels[:, 0], ("power", "power / background", "probability"), strict=True):
            axes.set_ylabel(label, fontsize=_NORMAL)
        handles, labels = panels[2, 0].get_legend_handles_labels()
        figure.legend(handles, labels, fontsize=_NORMAL, frameon=False, loc="outside lower center", ncols=4)
    return figure


def _draw_line(column: Sequence[Axes], line: Line, detectors: Sequence[str]) -> None:
    raw, whitened, probability = column
    raw.semilogy(line.offset, np.maximum(line.power, 1e-30), color="black", linewidth=0.8)
    raw.semilogy(line.offset, line.background, color=NEUTRAL, linewidth=0.8)
    raw.set_title(line.title, fontsize=_NORMAL)
    low = float(np.percentile(line.power, 2))
    raw.set_ylim(max(low, 1e-30) / 3, float(line.power.max()) * 3)
    whitened.plot(line.offset, line.power / line.background, color="black", linewidth=0.8)
    probability.fill_between(
        line.pattern_offset, line.labelled, step="mid", color=NEUTRAL, alpha=0.5, linewidth=0, label="label"
    )
    for name, values in line.probability.items():
        style = style_of(detectors.index(name))
        probability.plot(
            line.pattern_offset, values, color=style.colour, linestyle=style.line, linewidth=1.2, label=name
        )
    probability.set_ylim(0, 1.03)
    for axes in column:
        axes.tick_params(labelsize=_NORMAL - 1)
        axes.grid(color=NEUTRAL, linewidth=0.3)
    probability.set_xlabel("from the spot along gx (1/nm)", fontsize=_NORMAL)


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=_NORMAL)
    axes.set_ylabel(y, fontsize=_NORMAL)
    axes.tick_params(labelsize=_NORMAL - 1)
    axes.grid(color=NEUTRAL, linewidth=0.3)
