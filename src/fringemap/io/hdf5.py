"""A bound on damaged HDF5 files, before RosettaSciIO reads all that they announce."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import h5py
import numpy as np

from fringemap.errors import ReadError
from fringemap.io.signals import map_array

if TYPE_CHECKING:
    from pathlib import Path

# Deflate cannot pack more than 1032 bytes into one; a header that promises more is damaged.
_HIGHEST_COMPRESSION = 1032
_SMALL_BYTES = 1 << 20
_TEXT = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])
_MOST_OBJECTS = 10_000


def check_hdf5(path: Path, file: h5py.File) -> None:
    """Walk through an open file and refuse it if anything in it cannot come from the bytes that are stored for it.

    Raises
    ------
    ReadError
        If a dataset or an attribute announces more than the file can hold, or there are more than 10,000 objects.
    """
    n_objects = 0

    def visit(_name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal n_objects
        n_objects += 1
        if n_objects > _MOST_OBJECTS:
            raise ReadError(f"{path.name} has more than {_MOST_OBJECTS:,} parts; save the image on its own")
        if isinstance(item, h5py.Dataset):
            _check_dataset(path, item)
        for name in item.attrs:
            _check(path, f"{item.name}@{name}", item.attrs.get_id(name).get_storage_size(), _SMALL_BYTES)

    visit("", file)
    file.visititems(visit)


def _check_dataset(path: Path, data: h5py.Dataset) -> None:
    stored = data.id.get_storage_size()
    factor = 1 if data.chunks is None else _HIGHEST_COMPRESSION
    _check(path, data.name, stored, path.stat().st_size)
    _check(path, data.name, data.size * data.dtype.itemsize, max(_SMALL_BYTES, factor * stored))
    _check_texts(path, data)


def _check_texts(path: Path, data: h5py.Dataset) -> None:
    """Check the lengths of texts, which are kept elsewhere: HDF5 allocates as much before it looks there."""
    kind = h5py.check_string_dtype(data.dtype)
    if kind is None or kind.length is not None or data.id.get_create_plist().get_nfilters():
        return
    if data.chunks:
        places = [data.id.get_chunk_info(k).byte_offset for k in range(data.id.get_num_chunks())]
    else:
        places = [data.id.get_offset()]
    for place in places:
        if place is not None:
            entries = map_array(path, offset=place, dtype=_TEXT, shape=(math.prod(data.chunks or data.shape),))
            _check(path, data.name, int(entries["length"].max()), path.stat().st_size)


def _check(path: Path, name: str, announced: int, possible: int) -> None:
    if announced > possible:
        raise ReadError(
            f"{path.name} is cut off or damaged: {name} announces {announced:,} bytes where {possible:,} are possible; "
            "copy the file again"
        )
