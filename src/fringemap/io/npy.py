"""NumPy arrays (.npy): an image, a stack of frames, or one colour image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import ReadError
from fringemap.io.signals import Content, Signal, map_array, map_frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def open_npy(path: Path) -> Content:
    """Map an array to memory: (rows, cols), (frames, rows, cols), or (rows, cols, 3 or 4) of bytes for colour."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file, max_header_size=10_000)
        offset = file.tell()
    if dtype.hasobject or dtype.names is not None:
        raise ReadError(f"{path.name} holds Python objects or records, not numbers; save the image as a plain array")
    if len(shape) not in (2, 3):
        raise ReadError(f"{path.name} holds an array with {len(shape)} axes; an image has 2, a stack of frames 3")
    if offset + math.prod(shape) * dtype.itemsize != path.stat().st_size:
        raise ReadError(
            f"{path.name} is cut off or damaged: its header announces the shape {shape} and the type {dtype}, "
            f"which does not fit its {path.stat().st_size:,} bytes; copy the file again"
        )
    colour = len(shape) == 3 and shape[2] in (3, 4) and dtype == np.uint8
    single = len(shape) == 2 or colour
    plane, n_frames = (shape, 1) if single else (shape[1:], shape[0])
    if fortran:
        whole = map_array(path, offset=offset, dtype=dtype, shape=shape[::-1]).T
        return _content(path, n_frames, plane, dtype, lambda i: whole if single else whole[i])
    load = map_frames(path, offset=offset, dtype=dtype, n_frames=n_frames, frame_shape=plane)
    return _content(path, n_frames, plane, dtype, load)


def _content(
    path: Path, n_frames: int, plane: tuple[int, ...], dtype: np.dtype[Any], load: Callable[[int], NDArray[Any]]
) -> Content:
    return Content("NumPy array", (Signal(path.stem, n_frames, (plane[0], plane[1]), dtype, load),))
