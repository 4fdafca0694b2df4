"""What every format's reader returns: the signals in a file, their frames loaded one by one.

A reader is a function ``open_<format>(path) -> Content``. It looks at headers only (most of them through a library),
holds every size in them against that of the file before pixels are loaded, and leaves judging (is this a lattice image?
can its pixel size be trusted?) to :mod:`fringemap.io.choice` and :mod:`fringemap.io.calibration`, which do so for all
formats alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

Metadata = dict[str, str | float]
"""Our words, with units in the names; see ``METADATA_WORDS``."""

METADATA_WORDS = (
    "title",
    "instrument",
    "camera",
    "date",
    "high_tension_kv",
    "magnification",
    "exposure_s",
    "frame_interval_s",
    "dwell_time_s",
    "defocus_nm",
    "spherical_aberration_mm",
    "dose_e_per_square_angstrom",
    "stage_tilt_deg",
    "software",
)
"""The keys that a series' metadata can have."""


OUR_LABEL = "fringemap"
"""Begins the label of MRC files that fringemap wrote: their pixel size is meant, even if it is 1 Å."""


@dataclass(frozen=True)
class StoredSize:
    """Pixel size along one axis exactly as the file says it."""

    value: float = float("nan")
    unit: str = ""


NO_SIZE = (StoredSize(), StoredSize())


@dataclass(frozen=True)
class Signal:
    """One image or stack inside a file."""

    title: str
    n_frames: int
    frame_shape: tuple[int, int]
    """(n_rows, n_cols)."""
    dtype: np.dtype[Any]
    """Of the stored pixels."""
    load: Callable[[int], NDArray[Any]]
    """Frame i as stored: (n_rows, n_cols), or (n_rows, n_cols, n_channels) if in colour. A view is allowed."""
    pixel_size: tuple[StoredSize, StoredSize] = NO_SIZE
    """Along (rows, cols)."""
    times_s: NDArray[np.float64] | None = None
    """One for each frame, from the first."""
    metadata: Metadata = field(default_factory=dict)
    refusal: str = ""
    """Why this is no image at all ("a spectrum"), where only the reader can know."""
    trusted: bool = False
    """The pixel size is known to be meant, even where it looks like a default."""
    remarks: tuple[str, ...] = ()
    """What the user should know about how this was understood."""
    names: Callable[[int], str] | None = None
    """Name of frame i, where the frames have names of their own."""


def unusable(title: str, refusal: str, metadata: Metadata | None = None) -> Signal:
    """Stand in for something in a file that is no image, and say why it is none."""
    nothing = np.zeros((1, 1), np.float32)
    return Signal(title, 1, (1, 1), nothing.dtype, lambda _i: nothing, refusal=refusal, metadata=metadata or {})


@dataclass(frozen=True)
class Content:
    """All signals of one file, open until ``close`` is called."""

    format: str
    """What a user calls it: "DigitalMicrograph 4"."""
    signals: tuple[Signal, ...]
    close: Callable[[], None] = lambda: None


def map_frames(
    path: Path, *, offset: int, dtype: np.dtype[Any], n_frames: int, frame_shape: tuple[int, ...]
) -> Callable[[int], NDArray[Any]]:
    """Make a loader for frames that lie one behind the other in a file.

    Each frame is mapped to memory on its own, so that what was read before does not count against the process.

    Raises
    ------
    ReadError
        If the file ends before the last frame does.
    """
    check_extent(path, offset=offset, dtype=dtype, shape=(n_frames, *frame_shape))
    n_bytes = math.prod(frame_shape) * dtype.itemsize

    def load(i: int) -> NDArray[Any]:
        return map_array(path, offset=offset + i * n_bytes, dtype=dtype, shape=frame_shape)

    return load


def map_array(path: Path, *, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map an array in a file to memory, after ``check_extent``."""
    check_extent(path, offset=offset, dtype=dtype, shape=shape)
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)


def check_extent(path: Path, *, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Check that a file is long enough for an array in it.

    Raises
    ------
    ReadError
        If any dimension is not positive or the file ends before the array does.
    """
    size = path.stat().st_size
    if any(n <= 0 for n in shape):
        raise ReadError(f"{path.name} is damaged: its header announces a shape of {_by(shape)}; copy the file again")
    needed = offset + math.prod(shape) * dtype.itemsize
    if offset < 0 or needed > size:
        raise ReadError(
            f"{path.name} is cut off or damaged: its header announces {needed:,} bytes for {_by(shape)} values, "
            f"but the file has {size:,}; copy the file again"
        )


def put(metadata: Metadata, word: str, value: object, factor: float = 1.0) -> None:
    """Store a value under one of our words if it says anything: finite numbers other than 0, text other than blank."""
    if isinstance(value, str):
        text = value.strip().strip("\0").strip()
        if text:
            metadata[word] = text
    elif isinstance(value, int | float | np.integer | np.floating):
        number = float(value) * factor
        if np.isfinite(number) and number != 0.0:
            metadata[word] = number


def put_number(metadata: Metadata, word: str, value: object, factor: float = 1.0) -> None:
    """Store a number that the file may keep as text ("300000", "0,5"); what is no number is left out."""
    if isinstance(value, str):
        try:
            value = float(value.strip().replace(",", "."))
        except ValueError:
            return
    if not isinstance(value, str):
        put(metadata, word, value, factor)


def regular_times(n_frames: int, interval_s: float) -> NDArray[np.float64] | None:
    """Compute the times of equally spaced frames from 0 [s]; None if the interval says nothing."""
    if not (np.isfinite(interval_s) and interval_s > 0):
        return None
    return np.arange(n_frames, dtype=np.float64) * interval_s


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
