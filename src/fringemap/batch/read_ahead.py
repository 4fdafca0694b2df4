"""The disk works ahead of the analysis: frames that come next are brought into the memory of the system meanwhile.

The kernel does it, without a thread or a copy in this process, and drops what is not wanted; so at most as many frames
are on their way as there are workers. Where nothing is gained, from a file that is in memory, it costs less than a
millisecond a frame. Where the system knows no such hint (Windows, macOS), frames are read when they are needed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from fringemap.io.inputs import readable_files
from fringemap.io.reading import parse_frames

if TYPE_CHECKING:
    from pathlib import Path

    from fringemap.io import FrameSeries
    from fringemap.settings import ReadSettings


def read_ahead(series: FrameSeries, position: int, settings: ReadSettings) -> None:
    """Ask the system to bring a frame of a series into memory; nothing happens if there is no such frame.

    Parameters
    ----------
    series
        Open.
    position
        Of the frame in the series.
    settings
        With which it was opened.

    Notes
    -----
    Where a frame lies in a file is estimated by equal shares of its length: right but for the header where frames are
    stored one after the other, as all large stacks are. A wrong guess only brings other bytes.
    """
    if not (hasattr(os, "posix_fadvise") and 0 <= position < len(series)):
        return
    n = settings.bin_frames
    stored = parse_frames(settings.frames, series.n_frames_stored)[position * n : (position + 1) * n]
    # It is a hint: what goes wrong here is said when the frame is read.
    with suppress(OSError, IndexError):
        for index in stored:
            _hint(series.path, index, series.n_frames_stored)


def _hint(path: Path, index: int, n_frames: int) -> None:
    if path.is_dir():
        path, index, n_frames = _files(path, path.stat().st_mtime_ns)[index], 0, 1
    share = path.stat().st_size / n_frames
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, int(index * share), int(share) + 1, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=2)
def _files(folder: Path, changed_ns: int) -> list[Path]:  # noqa: ARG001 - a changed folder is listed anew
    return readable_files(folder)
