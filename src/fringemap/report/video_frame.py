"""One picture of the video: frame with phases, diffractogram with names, and curves up to the playhead.

What is the same in all pictures - curves, axes, labels, scale bars - is drawn once; a picture is put together from
arrays. A figure of matplotlib for each would take ten times as long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from fringemap.records import UNKNOWN
from fringemap.report.labels import Box, Label, place_labels
from fringemap.report.rendering import house_style
from fringemap.report.scalebar import real_bar, reciprocal_bar
from fringemap.report.series_figures import phase_evolutions, series_axis, show_curves
from fringemap.report.spool import fitted
from fringemap.report.style import style_for
from fringemap.report.words import NM, PER_NM, count, format_error, format_formula, overlined_indices
from fringemap.series import name_maps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from fringemap.records import Mask, Series, Track
    from fringemap.report.scalebar import Bar
    from fringemap.report.spool import SpooledFrame, SpooledMap
    from fringemap.report.style import PhaseStyle

    RGB = NDArray[np.uint8]

WIDTH, HEIGHT = 1280, 720
SIDE = 448
"""Of the squares that frame and diffractogram are fitted into [px]."""
_TOP, _LEFT, _SECOND, _LIST = 48, 16, 480, 948
_CHARTS_TOP, _CHARTS_HEIGHT = 504, 216
_PER_INCH = 100.0
_RADIUS = 8
_TINT = 0.35
_OUTSIDE = 200
"""Grey of what lies outside of a shifted frame."""
_BACKGROUND = (255, 255, 255)
_TEXT = (20, 20, 20)


@lru_cache(maxsize=8)
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)


@dataclass(frozen=True)
class _Charts:
    """Both charts, with curves in full and faint, and where each frame lies."""

    full: RGB
    faint: RGB
    columns: tuple[NDArray[np.int64], ...]
    """Of each chart, the column of each frame."""
    lefts: tuple[int, ...]
    """Of each chart, the first column inside its axes."""
    rows: tuple[int, int]
    """First row inside the axes, and the one below the last."""


@dataclass(frozen=True)
class _SpotLabel:
    """A name beside a spot, drawn once, shown wherever its track is seen."""

    picture: Pillow.Image
    place: tuple[int, int]
    """Upper left corner in the picture."""


class VideoPainter:
    """Paints the pictures of one series.

    Parameters
    ----------
    series
        The whole series.
    styles
        Of its phases.
    title
        What stands at the top.
    steady
        Shift frames back by the drift, so that the specimen stays in its place; one without a known drift is not
        shifted, and says so.
    """

    def __init__(self, series: Series, styles: Mapping[str, PhaseStyle], *, title: str, steady: bool = False) -> None:
        self._series = series
        self._steady = steady
        self._styles = styles
        self._phases = [evolution.phase for evolution in phase_evolutions(series)]
        self._limits = _view_limits(series)
        self._spectrum_shape = fitted((1, 1), SIDE, self._limits)
        self._labels = _label_tracks(series, self._phases, styles, self._limits, self._spectrum_shape)
        self._charts = _draw_charts(series, styles)
        self._blank = _blank(title, self._charts)

    def paint(self, index: int, pictures: SpooledFrame) -> RGB:
        """Paint the picture of one frame, shape (720, 1280, 3)."""
        page = self._blank.copy()
        self._paint_frame(page, index, pictures)
        self._paint_spectrum(page, pictures)
        self._paint_charts(page, index)
        image = Pillow.fromarray(page)
        draw = ImageDraw.Draw(image)
        self._mark_spots(image, draw, index)
        self._write_bars(draw, index, pictures)
        self._write_list(draw, index)
        if self._steady and np.isnan(self._series.drift.shift_px[index]).any():
            draw.text(
                (_LEFT + 8, _TOP + 6),
                "drift unknown, not shifted",
                (255, 255, 255),
                _font(13),
                stroke_width=2,
                stroke_fill=_TEXT,
            )
        _write_stamp(draw, self._series, index)
        return np.asarray(image)

    def _paint_frame(self, page: RGB, index: int, pictures: SpooledFrame) -> None:
        rows, cols = pictures.frame.shape
        shown = np.repeat(pictures.frame[..., None], 3, axis=2)
        names = name_maps(self._series.frames[index], self._series.track_of[index], self._series.tracks)
        for spooled, phase in zip(pictures.maps, names, strict=True):
            if phase in self._phases:
                mask = _mask_on_page(spooled, pictures.frame_shape, (rows, cols))
                _tint(shown, mask, mpl.colors.to_rgb(style_for(self._styles, phase).colour))
        if self._steady:
            shift = self._series.drift.shift_px[index] * (rows, cols) / pictures.frame_shape
            shown = _moved(shown, -shift)
        page[_TOP : _TOP + rows, _LEFT : _LEFT + cols] = shown

    def _paint_spectrum(self, page: RGB, pictures: SpooledFrame) -> None:
        rows, cols = self._spectrum_shape
        box = []
        for axis in (0, 1):
            half = 0.5 * pictures.spectrum.shape[axis]
            reach = half * self._limits[axis] / pictures.g_max[axis]
            box.append((half - reach, half + reach))
        (upper, lower), (left, right) = box
        resized = Pillow.fromarray(pictures.spectrum).transform(
            (cols, rows), Pillow.Transform.EXTENT, (left, upper, right, lower), Pillow.Resampling.BILINEAR
        )
        page[_TOP : _TOP + rows, _SECOND : _SECOND + cols] = np.asarray(resized)[..., None]

    def _paint_charts(self, page: RGB, index: int) -> None:
        charts = self._charts
        inside = page[_CHARTS_TOP + charts.rows[0] : _CHARTS_TOP + charts.rows[1]]
        for columns, left in zip(charts.columns, charts.lefts, strict=True):
            at = int(columns[index])
            inside[:, left : at + 1] = charts.full[charts.rows[0] : charts.rows[1], left : at + 1]
            inside[:, at : at + 2] = (90, 90, 90)

    def _mark_spots(self, image: Pillow.Image, draw: ImageDraw.ImageDraw, index: int) -> None:
        frame, numbers = self._series.frames[index], self._series.track_of[index]
        for row, number in enumerate(numbers.tolist()):
            track = self._series.tracks[number]
            named = track.phase in self._phases
            colour = style_for(self._styles, track.phase if named else UNKNOWN).colour
            g = PER_NM * np.array([frame.spots.gy[row], frame.spots.gx[row]])
            for sign, width in ((1, 2), (-1, 1)):
                y, x = self._on_page(sign * g)
                if self._inside(y, x):
                    draw.ellipse((x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS), outline=colour, width=width)
            label = self._labels.get(number)
            if label is not None:
                image.paste(label.picture, label.place)

    def _on_page(self, g: NDArray[np.float64]) -> tuple[float, float]:
        rows, cols = self._spectrum_shape
        y = _TOP + 0.5 * rows * (1 + float(g[0]) / self._limits[0])
        return y, _SECOND + 0.5 * cols * (1 + float(g[1]) / self._limits[1])

    def _inside(self, y: float, x: float) -> bool:
        rows, cols = self._spectrum_shape
        return _TOP + _RADIUS <= y < _TOP + rows - _RADIUS and _SECOND + _RADIUS <= x < _SECOND + cols - _RADIUS

    def _write_bars(self, draw: ImageDraw.ImageDraw, index: int, pictures: SpooledFrame) -> None:
        scale = self._series.frames[index].scale
        rows, cols = pictures.frame.shape
        width = pictures.frame_shape[1] * scale.pixel_size_angstrom[1] * NM
        _draw_bar(draw, real_bar(width, scale), cols / width, (_LEFT, _TOP + rows))
        bar = reciprocal_bar(2 * self._limits[1], scale)
        rows, cols = self._spectrum_shape
        _draw_bar(draw, bar, cols / (2 * self._limits[1]), (_SECOND, _TOP + rows))

    def _write_list(self, draw: ImageDraw.ImageDraw, index: int) -> None:
        """List the phases with their area and number of spots in this frame."""
        y = _TOP
        most = (SIDE - 30) // 44
        for evolution in phase_evolutions(self._series)[:most]:
            colour = style_for(self._styles, evolution.phase).colour
            n = int(evolution.n_spots[index])
            area, sigma = float(evolution.area_fraction[index]), float(evolution.area_sigma[index])
            said = (
                format_error(100 * area, 100 * sigma, unit="% of the area")
                if math.isfinite(area)
                else "area not measured"
            )
            draw.rectangle((_LIST, y + 4, _LIST + 18, y + 34), fill=colour if n else None, outline=colour, width=2)
            ink = _TEXT if n else (150, 150, 150)
            draw.text((_LIST + 28, y), _cut(format_formula(evolution.phase), 30), ink, _font(16, bold=True))
            draw.text((_LIST + 28, y + 22), f"{said}, {count(n, 'spot')}" if n else "not seen", ink, _font(13))
            y += 44
        left = len(self._phases) - most
        if left > 0:
            draw.text((_LIST, y), f"and {left} more in the tables", _TEXT, _font(13))
        elif not self._phases:
            draw.text((_LIST, y), "no phase is named", _TEXT, _font(16))


def _view_limits(series: Series) -> tuple[float, float]:
    """|gy| and |gx| at the edge of the view [1/nm], the same for all frames: all named spots with room for labels."""
    named = [PER_NM * np.abs(track.g_mean) for track in series.tracks if track.phase != UNKNOWN]
    every = [PER_NM * float(frame.spots.g.max()) for frame in series.frames if len(frame.spots)]
    farthest = float(np.max(named)) if named else max(every, default=0.0)
    edge = min(PER_NM * 0.5 / max(frame.scale.pixel_size_angstrom) for frame in series.frames)
    side = min(1.25 * farthest, edge) if farthest else edge
    return side, side


def _mask_on_page(spooled: SpooledMap, frame_shape: tuple[int, int], shape: tuple[int, int]) -> Mask:
    """Bring a mask to the pixels of the picture: each takes the map pixel that covers its centre."""
    picked = []
    for axis in (0, 1):
        place = (np.arange(shape[axis]) + 0.5) * frame_shape[axis] / shape[axis] - 0.5
        index = np.rint((place - spooled.origin_px[axis]) / spooled.pixel_px[axis]).astype(np.int64)
        picked.append(np.clip(index, 0, spooled.mask.shape[axis] - 1))
    return spooled.mask[np.ix_(*picked)]


def _tint(shown: RGB, mask: Mask, colour: tuple[float, float, float]) -> None:
    """Colour a region and outline it, in place."""
    ink = 255.0 * np.array(colour)
    shown[mask] = ((1 - _TINT) * shown[mask] + _TINT * ink).astype(np.uint8)
    core = mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            core &= np.roll(mask, step, axis)
    shown[mask & ~core] = ink.astype(np.uint8)


def _moved(picture: RGB, shift: NDArray[np.float64]) -> RGB:
    """Shift a picture by whole pixels; grey where nothing was taken. One with an unknown shift stays."""
    if not np.isfinite(shift).all():
        return picture
    moved = np.full_like(picture, _OUTSIDE)
    step = np.clip(np.rint(shift).astype(np.int64), [-n for n in picture.shape[:2]], picture.shape[:2])
    there = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(step.tolist(), picture.shape, strict=False))
    here = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(step.tolist(), picture.shape, strict=False))
    moved[there] = picture[here]
    return moved


def _label_tracks(
    series: Series,
    phases: Sequence[str],
    styles: Mapping[str, PhaseStyle],
    limits: tuple[float, float],
    shape: tuple[int, int],
) -> dict[int, _SpotLabel]:
    """Place the names of tracks once for the whole series, the longest tracks first, so that they never jump."""
    rows, cols = shape
    least = max(2, len(series) // 50)
    tracks = sorted((t for t in series.tracks if t.phase in phases and len(t) >= least), key=len, reverse=True)
    pictures = [_label_picture(track, style_for(styles, track.phase).colour) for track in tracks]
    labels = []
    for track, picture in zip(tracks, pictures, strict=True):
        gx, gy = PER_NM * track.g_mean
        x, y = 0.5 * cols * (1 + gx / limits[1]), 0.5 * rows * (1 - gy / limits[0])
        size = [(s + 2) / _PER_INCH for s in picture.size]
        labels.append(Label(x / _PER_INCH, y / _PER_INCH, _RADIUS / _PER_INCH, *size))
    page = Box(0.02, 0.02, cols / _PER_INCH - 0.02, rows / _PER_INCH - 0.02)
    bar = Box(0.0, 0.0, 1.3, 0.42)
    mates = [
        Box(w - la.x - la.radius, h - la.y - la.radius, w - la.x + la.radius, h - la.y + la.radius)
        for la in labels
        for w, h in [(cols / _PER_INCH, rows / _PER_INCH)]
    ]
    places = place_labels(labels, page=page, centre=page.centre, obstacles=[bar, *mates])
    return {
        track.number: _SpotLabel(
            picture, (_SECOND + round(box.x0 * _PER_INCH) + 1, _TOP + rows - round(box.y1 * _PER_INCH) + 1)
        )
        for track, picture, box in zip(tracks, pictures, places, strict=True)
        if box is not None
    }


def _label_picture(track: Track, colour: str) -> Pillow.Image:
    plane = f" {overlined_indices(track.plane)}" if any(track.plane) else ""
    d = 1.0 / float(np.hypot(*track.g_mean))
    text = f"{format_formula(track.phase)}{plane}\n{d:.3f} Å"
    font = _font(11)
    probe = ImageDraw.Draw(Pillow.new("RGB", (1, 1)))
    _, _, right, lower = probe.multiline_textbbox((0, 0), text, font=font, spacing=1)
    picture = Pillow.new("RGB", (math.ceil(right) + 6, math.ceil(lower) + 6), (25, 25, 25))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=colour)
    draw.multiline_text((3, 2), text, (255, 255, 255), font, spacing=1, align="center")
    return picture


def _draw_charts(series: Series, styles: Mapping[str, PhaseStyle]) -> _Charts:
    full, axes = _chart_picture(series, styles)
    faint, (x, _) = full.copy(), series_axis(series)
    columns, lefts, rows = [], [], (0, _CHARTS_HEIGHT)
    for one in axes:
        places = one.transData.transform(np.stack([x, np.zeros(len(x))], axis=1))
        columns.append(places[:, 0].round().astype(np.int64))
        # Only the inside is faint: the frame of the axes and their numbers stay.
        box = one.get_window_extent()
        left, right = math.ceil(box.x0) + 1, math.floor(box.x1) - 1
        rows = math.ceil(_CHARTS_HEIGHT - box.y1) + 1, math.floor(_CHARTS_HEIGHT - box.y0) - 1
        inside = faint[rows[0] : rows[1], left:right]
        inside[:] = (0.18 * inside + 0.82 * 255).astype(np.uint8)
        lefts.append(left)
    return _Charts(full, faint, tuple(columns), tuple(lefts), rows)


def _chart_picture(series: Series, styles: Mapping[str, PhaseStyle]) -> tuple[RGB, list[Axes]]:
    """Draw fringe power and area of all phases over the whole series side by side."""
    figure = Figure(figsize=(WIDTH / _PER_INCH, _CHARTS_HEIGHT / _PER_INCH), dpi=_PER_INCH, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    x, name = series_axis(series)
    with house_style():
        axes = [figure.add_axes((left, 0.22, 0.435, 0.72)) for left in (0.055, 0.555)]
        for one, quantity, factor, label in (
            (axes[0], "fringe_power", 1e6, "fringe power (10⁻⁶)"),
            (axes[1], "area_fraction", 100.0, "area (%)"),
        ):
            show_curves(one, series, styles, quantity, factor=factor, width=1.6)
            margin = 0.01 * max(float(np.ptp(x)), 1e-9)
            one.set_xlim(float(x.min()) - margin, float(x.max()) + margin)
            one.set_ylabel(label, fontsize=9)
            one.set_xlabel(name, fontsize=9)
            one.tick_params(labelsize=8)
        canvas.draw()
    picture: RGB = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return picture, axes


def _blank(title: str, charts: _Charts) -> RGB:
    image = Pillow.new("RGB", (WIDTH, HEIGHT), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.text((_LEFT, 12), _cut(title, 60), _TEXT, _font(20, bold=True))
    page: RGB = np.asarray(image).copy()
    page[_CHARTS_TOP : _CHARTS_TOP + _CHARTS_HEIGHT] = charts.faint
    return page


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most // 2] + "…" + text[-(most // 2) :]


def _write_stamp(draw: ImageDraw.ImageDraw, series: Series, index: int) -> None:
    frame, doses = series.frames[index], series.doses
    parts = [f"frame {frame.index}"]
    if frame.time_s is not None:
        parts.append(f"{frame.time_s:.2f} s")
    if doses is not None:
        parts.append(f"{doses[index]:,.0f} e/Å²".replace(",", "\u202f"))
    draw.text((WIDTH - _LEFT, 14), "   ".join(parts), _TEXT, _font(18), anchor="ra")


def _draw_bar(draw: ImageDraw.ImageDraw, bar: Bar, px_per_unit: float, corner: tuple[int, int]) -> None:
    """Draw a scale bar into the lower left corner of a picture."""
    length = bar.length * px_per_unit
    width = max(length, draw.textlength(bar.label, font=_font(13))) + 14
    x, y = corner[0] + 8, corner[1] - 42
    draw.rectangle((x, y, x + width, y + 34), fill=(40, 40, 40))
    draw.text((x + width / 2, y + 3), bar.label, (255, 255, 255), _font(13), anchor="ma")
    middle = x + width / 2
    draw.rectangle((middle - length / 2, y + 25, middle + length / 2, y + 29), fill=(255, 255, 255))
