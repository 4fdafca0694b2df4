"""Scale bars of a round length, in real and in reciprocal space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.patches import Rectangle

from fringemap.records import ScaleSource

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fringemap.records import Scale


@dataclass(frozen=True)
class Bar:
    """A scale bar: its length in the axes' own unit and what is written on it."""

    length: float
    label: str


def round_length(longest: float) -> float:
    """Give the largest of 1, 2, 5 times a power of ten that is not above ``longest``."""
    power = 10.0 ** math.floor(math.log10(longest))
    # A hair of tolerance: 0.5 / 0.1 is not exactly five.
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= longest * (1 + 1e-9))


def real_bar(width_nm: float, scale: Scale, share: float = 0.25) -> Bar:
    """Choose the bar for a frame ``width_nm`` wide; in pixels if the frame is not calibrated."""
    if scale.source is ScaleSource.NONE:
        nm_per_px = scale.pixel_size_angstrom[1] / 10.0
        n = max(round_length(share * width_nm / nm_per_px), 1.0)
        return Bar(n * nm_per_px, f"{n:g} px")
    length = round_length(share * width_nm)
    return Bar(length, f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm")


def reciprocal_bar(width_per_nm: float, scale: Scale, share: float = 0.25) -> Bar:
    """Choose the bar for a diffractogram ``width_per_nm`` wide; in 1/px if the frame is not calibrated."""
    if scale.source is ScaleSource.NONE:
        nm_per_px = scale.pixel_size_angstrom[1] / 10.0
        n = round_length(share * width_per_nm * nm_per_px)
        return Bar(n / nm_per_px, f"{n:g} px⁻¹")
    length = round_length(share * width_per_nm)
    return Bar(length, f"{length:g} nm⁻¹")


@dataclass(frozen=True)
class BarBox:
    """Where a bar was drawn, in inches from the lower left of the axes: what labels must keep clear of."""

    x0: float
    y0: float
    x1: float
    y1: float


def draw_bar(axes: Axes, bar: Bar, *, font_size: float = 9.0) -> BarBox:
    """Draw a bar with its label into the lower left corner, white on a dark plate.

    The axes must hold their final limits and be as large on the page as they will be.

    Returns
    -------
    BarBox
        The plate, in inches from the lower left corner of the axes.
    """
    width, height = axes_inches(axes)
    span = abs(axes.get_xlim()[1] - axes.get_xlim()[0])
    length = bar.length / span * width
    text_width, line = 0.0085 * font_size * len(bar.label), font_size / 72.0
    margin, pad, thick = 0.08, 0.05, 0.045
    box_width = max(length, text_width) + 2 * pad
    box_height = line + thick + 3 * pad
    box = BarBox(margin, margin, margin + box_width, margin + box_height)

    def place(x: float, y: float, w: float, h: float, colour: str, alpha: float) -> None:
        patch = Rectangle(
            (x / width, y / height),
            w / width,
            h / height,
            transform=axes.transAxes,
            linewidth=0,
            zorder=8,
            facecolor=colour,
            alpha=alpha,
            clip_on=False,
        )
        axes.add_artist(patch)

    place(box.x0, box.y0, box_width, box_height, "black", 0.6)
    place(box.x0 + (box_width - length) / 2, box.y0 + pad, length, thick, "white", 1.0)
    axes.text(
        (box.x0 + box_width / 2) / width,
        (box.y0 + 1.8 * pad + thick) / height,
        bar.label,
        transform=axes.transAxes,
        color="white",
        fontsize=font_size,
        ha="center",
        va="bottom",
        zorder=9,
    )
    return box


def axes_inches(axes: Axes) -> tuple[float, float]:
    """Give width and height of axes on the page [inch]."""
    figure = axes.get_figure(root=True)
    if figure is None:
        message = "axes without a figure have no size"
        raise ValueError(message)
    share = axes.get_position()
    width, height = figure.get_size_inches()
    return float(share.width * width), float(share.height * height)
