"""The video of a series: H.264 where PyAV is installed, else an animated GIF."""

from __future__ import annotations

import importlib.util
import logging
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow

from fringemap.errors import OutputError
from fringemap.report.atomic import atomic_write
from fringemap.report.video_frame import VideoPainter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fringemap.records import Series
    from fringemap.report.spool import SpooledFrame
    from fringemap.report.style import PhaseStyle

log = logging.getLogger(__name__)

H264 = "libx264"
_MOST_GIF_FRAMES = 300
_GIF_SHRINK = 2


def write_video(
    series: Series,
    pictures: Iterable[SpooledFrame],
    path: Path,
    *,
    styles: Mapping[str, PhaseStyle],
    title: str,
    fps: float,
    steady: bool = False,
) -> None:
    """Write a video: frame with phases, diffractogram with names, curves that grow with a playhead.

    Parameters
    ----------
    series
        The whole series.
    pictures
        One for each of its frames, in their order; read one by one.
    path
        Ends in ``.mp4``, or in ``.gif`` where no encoder for H.264 is there: then pictures have half the size, and of
        long series only every second, third ... is shown, 300 in all.
    styles
        Of the phases.
    title
        What stands at the top.
    fps
        Frames a second.
    steady
        Shift each frame back by the drift, so that the specimen stays in its place.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    painter = VideoPainter(series, styles, title=title, steady=steady)
    painted = (painter.paint(index, picture) for index, picture in enumerate(pictures))
    if path.suffix == ".gif":
        _write_gif(path, painted, len(series), fps)
        return
    with open_mp4(path, fps=fps) as append:
        for picture in painted:
            append(picture)


def has_encoder() -> bool:
    """Say whether PyAV is installed, with an encoder for H.264."""
    if importlib.util.find_spec("av") is None:
        log.warning("PyAV is not installed, so the video is a GIF; for a better one: pip install 'fringemap[video]'")
        return False
    import av

    return H264 in av.codecs_available


@contextmanager
def open_mp4(path: Path, *, fps: float) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """Open an H.264 video in the pixel format that plays everywhere (yuv420p).

    Gives a function that appends one picture, shape (rows, cols, 3); all must be of one size. An odd side gets a row or
    column more, since colours are stored for two by two pixels.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import av

    # The table of contents first: players start before the file is whole.
    options = {"movflags": "+faststart"}
    try:
        with atomic_write(path) as temporary, av.open(str(temporary), "w", options=options) as container:
            stream: Any = container.add_stream(H264, rate=Fraction(fps).limit_denominator(1000))
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "20", "preset": "veryfast"}

            def append(picture: NDArray[np.uint8]) -> None:
                even = pad_even(picture)
                if not stream.codec_context.is_open:
                    stream.height, stream.width = even.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

            yield append
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise OutputError(
            f"{path} cannot be written ({error}); choose another folder, or leave the video out"
        ) from error


def pad_even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row or column where there is an odd number of them."""
    rows, cols = picture.shape[:2]
    if rows % 2 == 0 and cols % 2 == 0:
        return np.ascontiguousarray(picture)
    return np.pad(picture, ((0, rows % 2), (0, cols % 2), (0, 0)), mode="edge")


def _write_gif(path: Path, painted: Iterable[NDArray[np.uint8]], n_frames: int, fps: float) -> None:
    """Write an animated GIF; Pillow holds all its pictures, so they are few and small."""
    every = max(-(-n_frames // _MOST_GIF_FRAMES), 1)
    shrunk = [
        Pillow.fromarray(picture).reduce(_GIF_SHRINK).quantize(128, dither=Pillow.Dither.NONE)
        for index, picture in enumerate(painted)
        if index % every == 0
    ]
    # Players take 20 ms as the shortest time.
    duration = max(round(1000 * every / fps), 20)
    with atomic_write(path) as temporary:
        shrunk[0].save(temporary, format="gif", save_all=True, append_images=shrunk[1:], duration=duration, loop=0)
