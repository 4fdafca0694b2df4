"""From a figure to PNG and SVG, without resampling pictures that already have the pixels of the page.

matplotlib resamples every image again for each format and packs those in SVG at zlib's slow default: together
two thirds of the time that a frame's figures took.
"""

from __future__ import annotations

import base64
import io
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist, allow_rasterization
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import RendererSVG
from PIL import Image as Pillow

from fringemap.errors import OutputError
from fringemap.report.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "hatch.linewidth": 0.7,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "svg.hashsalt": "fringemap",
    "svg.fonttype": "path",
    "text.usetex": False,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with the fonts and line widths of this package, whatever the user's own matplotlib settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


class PagePixels(Artist):
    """An image that fills its axes, pixel for pixel of the page."""

    def __init__(self, grey: NDArray[np.uint8]) -> None:
        super().__init__()
        self.set_zorder(0)
        opaque = np.full(grey.shape, 255, dtype=np.uint8)
        # Renderers count rows from the bottom.
        self._rgba = np.ascontiguousarray(np.dstack([grey, grey, grey, opaque])[::-1])

    @allow_rasterization  # type: ignore[untyped-decorator]
    def draw(self, renderer: Any) -> None:
        """Paint the pixels into the lower left corner of the axes."""
        if self.axes is None:
            return
        context = renderer.new_gc()
        box = self.axes.bbox
        renderer.draw_image(context, round(box.x0, 6), round(box.y0, 6), self._rgba)
        context.restore()


class _QuickSVG(RendererSVG):
    """The SVG renderer, with images packed once and at zlib's quick level."""

    def draw_image(self, gc: Any, x: float, y: float, im: Any, transform: Any = None) -> None:
        this: Any = self
        if transform is not None:
            base: Any = super()
            base.draw_image(gc, x, y, im, transform)
            return
        rows, cols = im.shape[:2]
        width, height = 72.0 * cols / this.image_dpi, 72.0 * rows / this.image_dpi
        upright = np.ascontiguousarray(im[::-1, :, :3])
        this.writer.element(
            "image",
            attrib={
                "x": f"{x:.4f}",
                "y": f"{this.height - y - height:.4f}",
                "width": f"{width:.4f}",
                "height": f"{height:.4f}",
                "xlink:href": _data_uri(upright.tobytes(), cols, rows),
            },
        )


@lru_cache(maxsize=2)
def _data_uri(rgb: bytes, cols: int, rows: int) -> str:
    # The frame is the same below every overlay: it is packed once.
    png = pack_png(Pillow.frombytes("RGB", (cols, rows), rgb))
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def pack_png(image: Pillow.Image, dpi: float | None = None) -> bytes:
    """Compress an image as PNG at the level that noise deserves: more effort makes noisy pictures no smaller."""
    stream = io.BytesIO()
    resolution = {} if dpi is None else {"dpi": (dpi, dpi)}
    image.save(stream, format="png", compress_level=1, **resolution)
    return stream.getvalue()


def as_jpeg(png: bytes, *, longest_px: int | None = None) -> bytes:
    """Make a PNG into a JPEG, a fifth of its size on noisy frames, without softening coloured lines."""
    with Pillow.open(io.BytesIO(png)) as opened:
        image = opened.convert("RGB")
    if longest_px is not None:
        image.thumbnail((longest_px, longest_px))
    stream = io.BytesIO()
    image.save(stream, format="jpeg", quality=88, subsampling=0)
    return stream.getvalue()


def to_png(figure: Figure) -> bytes:
    """Render a figure at its own resolution, without an alpha channel."""
    with house_style():
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        size = canvas.get_width_height()
        image = Pillow.frombuffer("RGBA", size, canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")
    return pack_png(image, figure.dpi)


def to_svg(figure: Figure) -> bytes:
    """Render a figure as SVG: text as outlines, images at the figure's own resolution, no date."""
    stream = io.StringIO()
    dpi = figure.dpi
    width, height = (72.0 * inches for inches in figure.get_size_inches())
    with house_style():
        make: Any = _QuickSVG
        renderer = make(width, height, stream, image_dpi=dpi, metadata={"Date": None})
        figure.set_dpi(72)
        try:
            figure.draw(renderer)
        finally:
            figure.set_dpi(dpi)
        renderer.finalize()
    return stream.getvalue().encode("utf-8")


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure to the one file that the user named: PNG or SVG, by its ending.

    Raises
    ------
    OutputError
        The ending is another, or the file cannot be written.
    """
    check_picture_name(path)
    with atomic_write(path) as temporary:
        temporary.write_bytes(to_svg(figure) if path.suffix.lower() == ".svg" else to_png(figure))


def check_picture_name(path: Path) -> None:
    """Refuse a picture that is to be neither PNG nor SVG; see ``write_picture``."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise OutputError(f"{path} has no ending of a picture; name it .png or .svg")


def write_figure(figure: Figure, stem: Path) -> bytes:
    """Write a figure as ``stem.png`` and ``stem.svg``.

    Returns
    -------
    bytes
        The PNG, for a page to embed.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    png = to_png(figure)
    for suffix, content in ((".png", png), (".svg", to_svg(figure))):
        with atomic_write(stem.with_name(stem.name + suffix)) as temporary:
            temporary.write_bytes(content)
    return png
