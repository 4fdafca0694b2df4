"""What the readers of HDF5 files share: checks before a read, and attributes one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import ReadError

if TYPE_CHECKING:
    from pathlib import Path

    import h5py

# Deflate cannot pack more than 1032 bytes into one; a header that promises more is damaged.
_HIGHEST_COMPRESSION = 1032
_LARGEST_ATTRIBUTE = 1 << 16


def check_storage(path: Path, data: h5py.Dataset) -> None:
    """Refuse a dataset whose shape cannot come from the bytes that are stored for it.

    Raises
    ------
    ReadError
        If the shape is not that of an array in this file.
    """
    stored = data.id.get_storage_size()
    n_bytes = data.size * data.dtype.itemsize
    factor = 1 if data.chunks is None else _HIGHEST_COMPRESSION
    if stored > path.stat().st_size or n_bytes > factor * stored:
        raise ReadError(
            f"{path.name} is cut off or damaged: {data.name} announces {n_bytes:,} bytes, "
            f"{stored:,} are stored; copy the file again"
        )


def attribute(item: h5py.Group | h5py.Dataset | None, name: str) -> Any:
    """Read one attribute; None if it is not there or too large to be one.

    Attributes are read by name, never all of them: a damaged length in one that nobody needs can cost gigabytes.
    """
    if item is None or name not in item.attrs:
        return None
    if item.attrs.get_id(name).get_storage_size() > _LARGEST_ATTRIBUTE:
        return None
    return item.attrs[name]


def text_attribute(item: h5py.Group | h5py.Dataset | None, name: str) -> str:
    """Read one attribute as text, which HDF5 may hand over as bytes; empty if it is not there."""
    value = attribute(item, name)
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def number_attribute(item: h5py.Group | h5py.Dataset | None, name: str) -> float:
    """Read one attribute as a number; NaN if it is none."""
    value = attribute(item, name)
    return float(value) if isinstance(value, int | float | np.integer | np.floating) else float("nan")
