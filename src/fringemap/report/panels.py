"""What is drawn into one set of axes: the frame, phases on it, the diffractogram, the profile.

Images stay in float until they are brought to the pixels of the page. Axes hold physical units: nm in the frame, 1/nm
in the diffractogram, both with y downward as the image is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import contourpy
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path as Outline
from PIL import Image as Pillow

from fringemap.records import UNKNOWN, ScaleSource
from fringemap.report.labels import Box, Label, place_labels, text_size
from fringemap.report.rendering import PagePixels
from fringemap.report.scalebar import axes_inches, draw_bar, real_bar, reciprocal_bar
from fringemap.report.style import PhaseStyle, style_for
from fringemap.report.words import NM, PER_NM, format_formula, mathtext_indices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from fringemap.records import FrameResult, Image, Mask, PhaseMap, SpotMatch

LABEL_SIZE = 7.0
_MOST_MASK_PIXELS = 1024


def frame_size_nm(result: FrameResult) -> tuple[float, float]:
    """Height and width of the frame [nm]."""
    rows, cols = result.frame_shape
    py, px = result.scale.pixel_size_angstrom
    return rows * py * NM, cols * px * NM


def contrast(image: Image, low_percent: float = 0.5, high_percent: float = 99.5) -> tuple[float, float]:
    """Choose black and white so that hot pixels do not decide; never equal."""
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return 0.0, 1.0
    # Every seventh pixel tells percentiles well enough in a seventh of the time.
    sample = finite[::7] if finite.size > 10_000 else finite
    low, high = np.percentile(sample, [low_percent, high_percent])
    return float(low), float(high) if high > low else float(low) + 1.0


def grey_pixels(
    image: Image,
    size_px: tuple[int, int],
    limits: tuple[float, float],
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Bring a float image to the pixels of the page: resampled in float, then to 256 greys.

    Parameters
    ----------
    image
        Shape (n_rows, n_cols). NaN is shown black.
    size_px
        Height and width wanted.
    limits
        Values shown black and white.
    box
        What to show: left, upper, right, lower edge [px of the image, whole numbers are edges of pixels].
    """
    clean = np.nan_to_num(np.ascontiguousarray(image, dtype=np.float32), nan=limits[0])
    rows, cols = max(size_px[0], 1), max(size_px[1], 1)
    left, upper, right, lower = box or (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
    # Lanczos keeps fringes from beating with the pixels; enlarged pixels stay what they are.
    shrinks = rows < lower - upper or cols < right - left
    kind = Pillow.Resampling.LANCZOS if shrinks else Pillow.Resampling.NEAREST
    resized = np.asarray(Pillow.fromarray(clean).resize((cols, rows), kind, box=(left, upper, right, lower)))
    scaled = (resized - limits[0]) * (255.0 / (limits[1] - limits[0]))
    grey: NDArray[np.uint8] = np.clip(scaled + 0.5, 0, 255).astype(np.uint8)
    return grey


def _size_on_page(axes: Axes) -> tuple[int, int]:
    """Height and width of the axes [px of the page]."""
    width, height = axes_inches(axes)
    return round(height * axes.figure.dpi), round(width * axes.figure.dpi)


def show_frame(axes: Axes, result: FrameResult) -> None:
    """Show the frame with its scale bar; the axes run in nm."""
    height, width = frame_size_nm(result)
    axes.set_axis_off()
    axes.set(xlim=(0.0, width), ylim=(height, 0.0))
    axes.add_artist(PagePixels(frame_pixels(result, _size_on_page(axes))))
    draw_bar(axes, real_bar(width, result.scale))


def frame_pixels(result: FrameResult, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring the whole frame to the pixels of the page, also where its last rows and columns filled no block."""
    thumbnail, limits = result.thumbnail, contrast(result.thumbnail)
    block = max(result.frame_shape) // max(thumbnail.shape)
    rows, cols = (n / block for n in result.frame_shape)
    if not (0 <= rows - thumbnail.shape[0] < 1 and 0 <= cols - thumbnail.shape[1] < 1):
        return grey_pixels(thumbnail, size_px, limits)
    padded = np.pad(thumbnail, ((0, 1), (0, 1)), mode="edge")
    return grey_pixels(padded, size_px, limits, (0.0, 0.0, cols, rows))


def show_regions(axes: Axes, result: FrameResult, styles: Mapping[str, PhaseStyle], phases: Sequence[str]) -> None:
    """Draw where each phase is significant: tinted, hatched and outlined, so that overlaps stay readable."""
    frame_pixel = result.scale.pixel_size_angstrom
    for phase_map in result.maps:
        if phase_map.phase in phases and phase_map.mask.any():
            style = style_for(styles, phase_map.phase)
            draw_region(axes, region_outline(phase_map, frame_pixel), style)


def region_outline(phase_map: PhaseMap, frame_pixel_angstrom: tuple[float, float]) -> Outline:
    """Trace the region of a phase in nm, holes included; of a very large mask only every second, third ... pixel."""
    step = -(-max(phase_map.mask.shape) // _MOST_MASK_PIXELS)
    mask = phase_map.mask[::step, ::step]
    y, x = (_centres_nm(phase_map, mask.shape[axis], step, frame_pixel_angstrom, axis) for axis in (0, 1))
    return trace_region(mask, y, x)


def trace_region(mask: Mask, y: NDArray[np.float64], x: NDArray[np.float64]) -> Outline:
    """Trace a region; ``y`` and ``x`` are the centres of its pixels, with one more at each end to close it there."""
    padded = np.pad(mask.astype(np.float32), 1)
    generator = contourpy.contour_generator(x, y, padded, name="serial", fill_type=contourpy.FillType.ChunkCombinedCode)
    points, codes = generator.filled(0.5, 2.0)[:2]
    if not points or points[0] is None:
        return Outline(np.zeros((0, 2)))
    return Outline(points[0], codes[0])


def _centres_nm(
    phase_map: PhaseMap, n: int, step: int, frame_pixel: tuple[float, float], axis: int
) -> NDArray[np.float64]:
    # The frame's first pixel is centred half a pixel inside its edge; one cell of padding closes regions at the edge.
    first = (phase_map.origin_px[axis] + 0.5) * frame_pixel[axis]
    return np.asarray(NM * (first + phase_map.pixel_size_angstrom[axis] * step * np.arange(-1, n + 1)))


def draw_region(axes: Axes, outline: Outline, style: PhaseStyle) -> None:
    """Tint, hatch and outline a region; a dark line below the coloured one keeps it readable on bright fringes."""
    axes.add_artist(PathPatch(outline, facecolor=to_rgba(style.colour, 0.28), edgecolor="none", linewidth=0, zorder=3))
    axes.add_artist(PathPatch(outline, fill=False, edgecolor=(0, 0, 0, 0.55), linewidth=2.4, zorder=4))
    axes.add_artist(
        PathPatch(
            outline,
            fill=False,
            edgecolor=style.colour,
            hatch=style.hatch or None,
            linewidth=1.2,
            linestyle=style.line,
            zorder=5,
        )
    )


def view_limits(result: FrameResult) -> tuple[float, float]:
    """Choose |gy| and |gx| at the edge of the view [1/nm]: all spots and rings, with room for labels."""
    edge = [PER_NM * g for g in result.shown_g_max]
    farthest = PER_NM * float(max([*result.spots.g, *result.rings.g], default=0.0))
    wanted = 1.3 * farthest if farthest else max(edge)
    return min(wanted, edge[0]), min(wanted, edge[1])


def show_diffractogram(axes: Axes, result: FrameResult, styles: Mapping[str, PhaseStyle]) -> None:
    """Show the centred diffractogram with spots, rings, labels and scale bar; the axes run in 1/nm.

    Axes must already have the aspect of `view_limits`. Labels that find no free place are left out and counted in the
    lower right corner.
    """
    limit_y, limit_x = view_limits(result)
    axes.set_axis_off()
    axes.set(xlim=(-limit_x, limit_x), ylim=(limit_y, -limit_y))
    axes.add_artist(PagePixels(spectrum_pixels(result, _size_on_page(axes))))
    bar = draw_bar(axes, reciprocal_bar(2 * limit_x, result.scale))
    radius = _circle_radius(axes, 2 * limit_x)
    _draw_circles(axes, result, styles, radius)
    note = Box(axes_inches(axes)[0] - 1.7, 0.0, axes_inches(axes)[0], 0.25)
    obstacles = [Box(bar.x0, bar.y0, bar.x1, bar.y1), note, *_mate_boxes(axes, result, radius)]
    placed, missing = _label_spots(axes, result, styles, radius, obstacles)
    _draw_rings(axes, result, [*obstacles, *placed, *_circle_boxes(axes, result, radius)])
    if missing:
        text = f"{missing} more in the table of spots"
        _write(axes, limit_x - 0.85 * 2 * limit_x / axes_inches(axes)[0], limit_y * 0.97, text, "#404040")


def spectrum_pixels(result: FrameResult, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring the shown part of the diffractogram to the pixels of the page, zero frequency in their middle."""
    box = []
    for axis, limit in enumerate(view_limits(result)):
        n = result.shown_spectrum.shape[axis]
        step = 2 * PER_NM * result.shown_g_max[axis] / n
        # Zero frequency is the centre of pixel n // 2; one more pixel of padding is added below.
        middle = n // 2 + 0.5 + 1.0
        box.append((middle - limit / step, middle + limit / step))
    padded = np.pad(result.shown_spectrum, 1, mode="edge")
    limits = contrast(result.shown_spectrum, 30.0, 99.98)
    return grey_pixels(padded, size_px, limits, (box[1][0], box[0][0], box[1][1], box[0][1]))


def _circle_radius(axes: Axes, span: float) -> float:
    """Radius of a spot's circle [1/nm]: 0.07 inch on the page."""
    return 0.07 * span / axes_inches(axes)[0]


def _draw_circles(axes: Axes, result: FrameResult, styles: Mapping[str, PhaseStyle], radius: float) -> None:
    spots = result.spots
    for gx, gy, match in zip(PER_NM * spots.gx, PER_NM * spots.gy, result.match.spots, strict=True):
        style = style_for(styles, phase_of(match))
        for sign, alpha in ((1, 1.0), (-1, 0.45)):
            axes.add_artist(
                Circle(
                    (sign * gx, sign * gy),
                    radius,
                    fill=False,
                    edgecolor=style.colour,
                    linewidth=1.2,
                    linestyle=style.line,
                    alpha=alpha,
                    zorder=4,
                )
            )


def phase_of(match: SpotMatch) -> str:
    """Name of the phase that a spot belongs to; ``unknown`` if none."""
    return UNKNOWN if match.best is None else match.best.phase


def _circle_boxes(axes: Axes, result: FrameResult, radius: float, sign: int = 1) -> list[Box]:
    """Give the circles of all spots, or with sign -1 of their mates, in inches."""
    r = radius * _inches_per_unit(axes)
    centres = [to_inches(axes, sign * gx, sign * gy) for gx, gy in _spots_per_nm(result)]
    return [Box(x - r, y - r, x + r, y + r) for x, y in centres]


def _mate_boxes(axes: Axes, result: FrameResult, radius: float) -> list[Box]:
    return _circle_boxes(axes, result, radius, -1)


def _spots_per_nm(result: FrameResult) -> list[tuple[float, float]]:
    return list(zip((PER_NM * result.spots.gx).tolist(), (PER_NM * result.spots.gy).tolist(), strict=True))


def _inches_per_unit(axes: Axes) -> float:
    left, right = axes.get_xlim()
    return axes_inches(axes)[0] / (right - left)


def to_inches(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Bring a point of axes with y downward to inches from their lower left corner."""
    inch, bottom = _inches_per_unit(axes), axes.get_ylim()[0]
    return (x - axes.get_xlim()[0]) * inch, (bottom - y) * inch


def _from_inches(axes: Axes, x: float, y: float) -> tuple[float, float]:
    inch, bottom = _inches_per_unit(axes), axes.get_ylim()[0]
    return x / inch + axes.get_xlim()[0], bottom - y / inch


def _draw_rings(axes: Axes, result: FrameResult, obstacles: Sequence[Box]) -> None:
    """Draw rings dashed, each with its d where the ring crosses a free place."""
    boxes: list[Box] = []
    for g in (PER_NM * result.rings.g).tolist():
        axes.add_artist(
            Circle((0, 0), g, fill=False, edgecolor="white", linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.7)
        )
        text = ring_label(result, g)
        place = _free_on_ring(axes, g, text_size(text, LABEL_SIZE), [*obstacles, *boxes])
        if place is not None:
            _write(axes, *_from_inches(axes, *place.centre), text, "#404040")
            boxes.append(place)


def _free_on_ring(axes: Axes, g: float, size: tuple[float, float], taken: Sequence[Box]) -> Box | None:
    """Find a place on a ring, or else just outside or inside it."""
    page, inch = Box(0, 0, *axes_inches(axes)), _inches_per_unit(axes)
    half_w, half_h = size[0] / 2 + 0.02, size[1] / 2 + 0.02
    for offset in (0.0, 0.12, -0.12, 0.25):
        for degrees in range(100, 460, 5):
            angle, radius = np.radians(degrees), g + offset / inch
            x, y = to_inches(axes, radius * np.cos(angle), -radius * np.sin(angle))
            box = Box(x - half_w, y - half_h, x + half_w, y + half_h)
            if box.inside(page) and not any(box.overlaps(other) for other in taken):
                return box
    return None


def ring_label(result: FrameResult, g_per_nm: float) -> str:
    """Write a ring's d-spacing; no unit but pixels where the frame is not calibrated."""
    return f"ring {format_d(result, 1.0 / (g_per_nm / PER_NM), 2)}"


def format_d(result: FrameResult, d_angstrom: float, decimals: int = 3) -> str:
    """Write a d-spacing in Å, or in pixels where the frame is not calibrated."""
    if result.scale.source is ScaleSource.NONE:
        return f"{d_angstrom / result.scale.pixel_size_angstrom[1]:.{decimals - 1}f} px"
    return f"{d_angstrom:.{decimals}f} Å"


def _write(axes: Axes, x: float, y: float, text: str, edge: str) -> None:
    axes.text(
        x,
        y,
        text,
        color="white",
        fontsize=LABEL_SIZE,
        ha="center",
        va="center",
        linespacing=1.15,
        zorder=7,
        bbox={"facecolor": (0, 0, 0, 0.62), "edgecolor": edge, "linewidth": 0.8, "pad": 1.2},
    )


def spot_label(result: FrameResult, row: int) -> str:
    """Write what a spot is, over its d: phase and plane with overbars; only d for the unknown."""
    d = format_d(result, float(result.spots.d_spacing[row]))
    best = result.match.spots[row].best
    if best is None:
        return d
    plane = f" ({mathtext_indices(best.hkl)})" if any(best.hkl) else ""
    return f"{escape_mathtext(format_formula(best.phase))}{plane}\n{d}"


def escape_mathtext(text: str) -> str:
    """Keep a name with dollar signs from being set as mathematics."""
    return text.replace("$", r"\$")


def _label_spots(
    axes: Axes, result: FrameResult, styles: Mapping[str, PhaseStyle], radius: float, obstacles: Sequence[Box]
) -> tuple[list[Box], int]:
    """Label spots in falling order of score; give the places taken and how many labels found none."""
    width, height = axes_inches(axes)
    texts = [spot_label(result, row) for row in range(len(result.spots))]
    labels = []
    for text, (gx, gy) in zip(texts, _spots_per_nm(result), strict=True):
        w, h = text_size(text, LABEL_SIZE)
        x, y = to_inches(axes, gx, gy)
        labels.append(Label(x, y, radius * _inches_per_unit(axes), w + 0.06, h + 0.06))
    page = Box(0.02, 0.02, width - 0.02, height - 0.02)
    places = place_labels(labels, page=page, centre=(width / 2, height / 2), obstacles=obstacles)
    for text, label, box, match in zip(texts, labels, places, result.match.spots, strict=True):
        if box is not None:
            colour = style_for(styles, phase_of(match)).colour
            _draw_leader(axes, label, box, colour)
            _write(axes, *_from_inches(axes, *box.centre), text, colour)
    taken = [box for box in places if box is not None]
    return taken, len(places) - len(taken)


def _draw_leader(axes: Axes, label: Label, box: Box, colour: str) -> None:
    """Join a label that stands off its circle to it."""
    # A little inside: sizes of texts are estimates from above, and the line goes below the label.
    inset_x, inset_y = 0.2 * label.width, 0.2 * label.height
    x = min(max(label.x, box.x0 + inset_x), box.x1 - inset_x)
    y = min(max(label.y, box.y0 + inset_y), box.y1 - inset_y)
    away = float(np.hypot(x - label.x, y - label.y))
    if away < 3.0 * label.radius:
        return
    share = label.radius / away
    start = _from_inches(axes, label.x + share * (x - label.x), label.y + share * (y - label.y))
    end = _from_inches(axes, x, y)
    axes.plot([start[0], end[0]], [start[1], end[1]], color=colour, linewidth=0.8, zorder=5)
