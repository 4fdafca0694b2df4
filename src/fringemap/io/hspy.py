"""HyperSpy's own files (.hspy), through RosettaSciIO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
from rsciio.hspy import file_reader

from fringemap.io.hdf5 import check_hdf5
from fringemap.io.rosetta import closer, lazy_signal, look
from fringemap.io.signals import Content, Metadata, Signal, put, put_number, unusable

if TYPE_CHECKING:
    from pathlib import Path


def open_hspy(path: Path) -> Content:
    """Open an .hspy file; frames are read from disk when asked for."""
    with h5py.File(path, "r") as file:
        check_hdf5(path, file)
    # Models of a fit come as entries without data.
    found = [entry for entry in file_reader(str(path), lazy=True) if "data" in entry]
    signals = tuple(_signal(path, entry) for entry in found)
    return Content("HyperSpy", signals, closer(entry["data"] for entry in found))


def _signal(path: Path, found: dict[str, Any]) -> Signal:
    data, axes = found["data"], found["axes"]
    metadata = _metadata(found["metadata"])
    title = str(metadata.get("title", path.stem))
    if data.dtype.hasobject or data.ndim not in (2, 3):
        return unusable(title, "holds no image and no stack of images", metadata)
    if any(axis.get("navigate") for axis in axes[-2:]):
        return unusable(title, "is a spectrum or a spectrum image, not an image", metadata)
    return lazy_signal(title, data, axes, metadata)


def _metadata(found: Any) -> Metadata:
    metadata: Metadata = {}
    general, scope = look(found, "General"), look(found, "Acquisition_instrument", "TEM")
    put(metadata, "title", look(general, "title"))
    put(metadata, "date", f"{look(general, 'date') or ''} {look(general, 'time') or ''}")
    put(metadata, "instrument", look(scope, "microscope"))
    put_number(metadata, "high_tension_kv", look(scope, "beam_energy"))
    put_number(metadata, "magnification", look(scope, "magnification"))
    return metadata
