"""A folder of numbered frames, opened as one stack."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fringemap.errors import ReadError
from fringemap.io.choice import choose_signal
from fringemap.io.formats import foreign_code, open_file
from fringemap.io.inputs import is_numbered, readable_files
from fringemap.io.signals import Content

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def open_folder(folder: Path) -> Content:
    """Open the numbered files of a folder as the frames of one series; only the first is looked at now.

    Raises
    ------
    ReadError
        If the folder is no numbered series, or its files hold stacks.
    """
    files = readable_files(folder)
    if not is_numbered(files):
        raise ReadError(
            f"the folder {folder.name} is no series of numbered frames (one name, one running number, one ending); "
            "name its files one by one"
        )
    first = open_file(files[0])
    try:
        signal, _remarks = choose_signal(files[0], first)
    finally:
        first.close()
    if signal.n_frames > 1:
        raise ReadError(f"{files[0].name} is a stack itself; name the files one by one instead of their folder")

    def load(i: int) -> NDArray[Any]:
        content = open_file(files[i])
        try:
            frame, _ = choose_signal(files[i], content)
            if frame.frame_shape != signal.frame_shape or (
                frame.pixel_size != signal.pixel_size and _calibrated(frame)
            ):
                raise ReadError(
                    f"{files[i].name} has another shape or pixel size than {files[0].name}: they are not one series; "
                    "name the files one by one instead of their folder"
                )
            with foreign_code(files[i]):
                return frame.load(0).copy()
        finally:
            content.close()

    series = replace(
        signal, n_frames=len(files), load=load, times_s=None, names=lambda i: files[i].stem, title=folder.name
    )
    return Content(f"folder of {len(files)} files, {first.format}", (series,))


def _calibrated(signal: Any) -> bool:
    return any(size.value == size.value for size in signal.pixel_size)
