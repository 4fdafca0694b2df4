"""HyperSpy's own files (.hspy): HDF5 with one group for each signal, and one for each of its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from fringemap.errors import ReadError
from fringemap.io.hdf5 import attribute, check_storage, number_attribute, text_attribute
from fringemap.io.signals import Content, Metadata, Signal, StoredSize, put, regular_times, unusable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def open_hspy(path: Path) -> Content:
    """Open an .hspy file; frames are read from disk when asked for."""
    file = h5py.File(path, "r")
    try:
        groups = file.get("Experiments")
        if not isinstance(groups, h5py.Group):
            raise ReadError(f"{path.name} is an HDF5 file, but not one of HyperSpy; give it its own format's ending")
        signals = tuple(_signal(path, name, group) for name, group in groups.items())
        return Content("HyperSpy", signals, file.close)
    except BaseException:
        file.close()
        raise


def _signal(path: Path, name: str, group: Any) -> Signal:
    data = group.get("data") if isinstance(group, h5py.Group) else None
    if not isinstance(data, h5py.Dataset) or data.dtype.hasobject or data.ndim not in (2, 3):
        return unusable(name, "holds no image and no stack of images")
    axes = [_axis(group, k) for k in range(data.ndim)]
    if any(attribute(axis, "navigate") for axis in axes[-2:]):
        return unusable(name, "is a spectrum or a spectrum image, not an image")
    check_storage(path, data)
    n_frames = int(data.shape[0]) if data.ndim == 3 else 1

    def load(i: int) -> NDArray[Any]:
        return np.asarray(data[i] if data.ndim == 3 else data[()])

    return Signal(
        title=name,
        n_frames=n_frames,
        frame_shape=(int(data.shape[-2]), int(data.shape[-1])),
        dtype=data.dtype,
        load=load,
        pixel_size=(_size(axes[-2]), _size(axes[-1])),
        times_s=_times(axes, n_frames),
        metadata=_metadata(group, name),
    )


def _axis(group: h5py.Group, k: int) -> h5py.Group | None:
    axis = group.get(f"axis-{k}")
    return axis if isinstance(axis, h5py.Group) else None


def _size(axis: h5py.Group | None) -> StoredSize:
    unit = text_attribute(axis, "units")
    # HyperSpy writes its None as a word.
    return StoredSize(number_attribute(axis, "scale"), "" if unit == "_None_" else unit)


def _times(axes: list[h5py.Group | None], n_frames: int) -> NDArray[np.float64] | None:
    step = _size(axes[0])
    return regular_times(n_frames, step.value) if len(axes) == 3 and step.unit in ("s", "sec") else None


def _metadata(group: h5py.Group, name: str) -> Metadata:
    general, scope = group.get("metadata/General"), group.get("metadata/Acquisition_instrument/TEM")
    metadata: Metadata = {}
    put(metadata, "title", text_attribute(general, "title") or name)
    put(metadata, "date", f"{text_attribute(general, 'date')} {text_attribute(general, 'time')}")
    put(metadata, "instrument", text_attribute(scope, "microscope"))
    put(metadata, "high_tension_kv", number_attribute(scope, "beam_energy"))
    put(metadata, "magnification", number_attribute(scope, "magnification"))
    return metadata
