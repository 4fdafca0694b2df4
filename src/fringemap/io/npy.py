"""NumPy arrays (.npy): an image, a stack of frames, or one colour image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import ReadError
from fringemap.io.signals import Content, Signal, map_array

if TYPE_CHECKING:
    from pathlib import Path


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
    data = map_array(path, offset=offset, dtype=dtype, shape=shape[::-1] if fortran else shape)
    data = data.T if fortran else data
    colour = len(shape) == 3 and shape[2] in (3, 4) and dtype == np.uint8
    if len(shape) == 2 or colour:
        data = data[None]
    return Content(
        "NumPy array",
        (Signal(path.stem, data.shape[0], (data.shape[1], data.shape[2]), dtype, lambda i: data[i]),),
    )
