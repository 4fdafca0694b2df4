"""What the adapters to RosettaSciIO share: axes, single frames of its lazy arrays, and a bound on damaged headers.

Only the adapters import this module, and only when such a file is opened: RosettaSciIO brings Dask and pint.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from rsciio import set_log_level
from rsciio.utils.file import get_file_handle

from fringemap.errors import ReadError
from fringemap.io.signals import Metadata, Signal, StoredSize, regular_times
from fringemap.io.units import seconds_per_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Axis = dict[str, Any]
"""As RosettaSciIO describes one axis of an array."""

# It logs to the standard output, where a program may be reading JSON.
set_log_level("CRITICAL")

_LARGEST_BLOCK_BYTES = 128 << 20
_LARGEST_HEADER_BYTES = 16 << 20
_LONGEST_HEADER_S = 2.0


class BoundedReader(io.BufferedReader):
    """A file for code that reads a header value by value, and would not stop at a damaged length.

    Pixels are skipped, not read; so a header of more than 16 MiB, or 2 s, is none, and nor is one that points back.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._name = path.name
        self._bytes_left = _LARGEST_HEADER_BYTES
        self._until = time.monotonic() + _LONGEST_HEADER_S

    def read(self, n: int | None = -1, /) -> bytes:
        """Read n bytes, if the bounds allow it."""
        self._bytes_left -= _LARGEST_HEADER_BYTES if n is None or n < 0 else n
        if self._bytes_left < 0 or time.monotonic() > self._until:
            self._damaged()
        return super().read(n)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move, but by no negative distance: a header that points back at itself never ends."""
        if whence == 1 and offset < 0:
            self._damaged()
        return super().seek(offset, whence)

    def _damaged(self) -> None:
        raise ReadError(f"{self._name} is damaged: its header has no end; copy the file again")


def look(tree: Any, *names: str) -> Any:
    """Follow names down a tree of dicts; None where it ends."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def stored_size(axis: Axis) -> StoredSize:
    """Scale and unit of an axis; an axis that is not uniform has none."""
    unit = axis.get("units")
    return StoredSize(float(axis.get("scale", np.nan)), unit if isinstance(unit, str) else "")


def frame_times(axes: Sequence[Axis], n_frames: int) -> NDArray[np.float64] | None:
    """Times of a stack's frames [s], if its first axis is one of time."""
    step = stored_size(axes[0])
    seconds = seconds_per_unit(step.unit)
    return regular_times(n_frames, step.value * seconds) if len(axes) == 3 and seconds else None


def lazy_signal(title: str, data: Any, axes: Sequence[Axis], metadata: Metadata) -> Signal:
    """Describe a lazy image or stack whose last two axes are rows and columns.

    Parameters
    ----------
    title
        Name of the image in its file.
    data
        Dask array, (n_rows, n_cols) or (n_frames, n_rows, n_cols).
    axes
        One for each axis of ``data``.
    metadata
        What is known of the microscope.
    """
    n_frames = data.shape[0] if data.ndim == 3 else 1
    return Signal(
        title=title,
        n_frames=n_frames,
        frame_shape=data.shape[-2:],
        dtype=data.dtype,
        load=frame_loader(data),
        pixel_size=(stored_size(axes[-2]), stored_size(axes[-1])),
        times_s=frame_times(axes, n_frames),
        metadata=metadata,
    )


def frame_loader(data: Any) -> Callable[[int], NDArray[Any]]:
    """Make a loader for single frames of a lazy image or stack in an HDF5 file.

    Frames that share a chunk of the file are fetched and kept together, since a chunk is unpacked as a whole.

    Parameters
    ----------
    data
        Dask array, (n_rows, n_cols) or (n_frames, n_rows, n_cols).
    """
    stack = data if data.ndim == 3 else data[np.newaxis]
    frame_bytes = max(1, stack.shape[1] * stack.shape[2] * stack.dtype.itemsize)
    deep = max(1, min(stack.chunks[0][0], _LARGEST_BLOCK_BYTES // frame_bytes))
    kept: dict[int, NDArray[Any]] = {}

    def load(i: int) -> NDArray[Any]:
        if deep == 1:
            return _compute(stack[i])
        start = i - i % deep
        if start not in kept:
            kept.clear()
            kept[start] = _compute(stack[start : start + deep])
        frame: NDArray[Any] = kept[start][i - start]
        return frame

    return load


def _compute(data: Any) -> NDArray[Any]:
    """Compute in this thread: the work is reading, and other processes read beside us."""
    frames: NDArray[Any] = np.asarray(data.compute(scheduler="synchronous"))
    return frames


def closer(arrays: Iterable[Any]) -> Callable[[], None]:
    """Make a function that closes the HDF5 files behind lazy arrays."""
    handles = [get_file_handle(array, warn=False) for array in arrays]

    def close() -> None:
        for handle in handles:
            if handle is not None:
                handle.close()

    return close
