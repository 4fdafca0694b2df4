"""HyperSpy's own files (.hspy): HDF5 with one group for each signal, and one for each of its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from fringemap.errors import ReadError
from fringemap.io.emd import check_storage, hdf5_text
from fringemap.io.signals import Content, Metadata, Signal, StoredSize, put, put_number, regular_times, unusable

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
    if any(axis.get("navigate", False) for axis in axes[-2:]):
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


def _axis(group: h5py.Group, k: int) -> dict[str, Any]:
    axis = group.get(f"axis-{k}")
    return dict(axis.attrs) if isinstance(axis, h5py.Group) else {}


def _size(axis: dict[str, Any]) -> StoredSize:
    unit = hdf5_text(axis.get("units", ""))
    scale = axis.get("scale")
    value = float(scale) if isinstance(scale, int | float | np.integer | np.floating) else float("nan")
    # HyperSpy writes its None as a word.
    return StoredSize(value, "" if unit == "_None_" else unit)


def _times(axes: list[dict[str, Any]], n_frames: int) -> NDArray[np.float64] | None:
    step = _size(axes[0])
    return regular_times(n_frames, step.value) if len(axes) == 3 and step.unit in ("s", "sec") else None


def _metadata(group: h5py.Group, name: str) -> Metadata:
    def attributes(where: str) -> dict[str, Any]:
        found = group.get(f"metadata/{where}")
        return dict(found.attrs) if isinstance(found, h5py.Group) else {}

    metadata: Metadata = {}
    general, scope = attributes("General"), attributes("Acquisition_instrument/TEM")
    put(metadata, "title", hdf5_text(general.get("title", "")) or name)
    put(metadata, "date", f"{hdf5_text(general.get('date', ''))} {hdf5_text(general.get('time', ''))}")
    put(metadata, "instrument", hdf5_text(scope.get("microscope", "")))
    put_number(metadata, "high_tension_kv", scope.get("beam_energy"))
    put_number(metadata, "magnification", scope.get("magnification"))
    return metadata
