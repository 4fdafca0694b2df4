"""HyperSpy's own files (.hspy), through RosettaSciIO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from fringemap.io.signals import Content, Metadata, Signal, StoredSize, put, put_number, regular_times

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def open_hspy(path: Path) -> Content:
    """Open an .hspy file; frames are read from disk when asked for."""
    # RosettaSciIO brings Dask with it: only files that need it should pay for the import.
    from rsciio.hspy import file_reader

    with h5py.File(path, "r"):
        pass
    return Content("HyperSpy", tuple(_signal(entry) for entry in file_reader(str(path), lazy=True)))


def _signal(entry: dict[str, Any]) -> Signal:
    data, axes = entry["data"], entry["axes"]
    metadata = entry.get("metadata", {})
    title = str(metadata.get("General", {}).get("title", "")) or "image"
    images = [axis for axis in axes if not axis.get("navigate", False)]
    if data.ndim not in (2, 3) or len(images) != 2 or axes[-2:] != images:
        return _unusable(title, "is no image and no stack of images")
    n_frames = data.shape[0] if data.ndim == 3 else 1
    frame_shape = (int(data.shape[-2]), int(data.shape[-1]))

    def load(i: int) -> NDArray[Any]:
        return np.asarray(data[i] if data.ndim == 3 else data)

    return Signal(
        title=title,
        n_frames=n_frames,
        frame_shape=frame_shape,
        dtype=data.dtype,
        load=load,
        pixel_size=(_size(axes[-2]), _size(axes[-1])),
        times_s=_times(axes, n_frames),
        metadata=_metadata(metadata),
    )


def _unusable(title: str, refusal: str) -> Signal:
    nothing = np.zeros((1, 1), np.float32)
    return Signal(title, 1, (1, 1), nothing.dtype, lambda _i: nothing, refusal=refusal)


def _size(axis: dict[str, Any]) -> StoredSize:
    unit = axis.get("units")
    return StoredSize(float(axis.get("scale", float("nan"))), unit if isinstance(unit, str) else "")


def _times(axes: list[dict[str, Any]], n_frames: int) -> NDArray[np.float64] | None:
    step = _size(axes[0])
    return regular_times(n_frames, step.value) if len(axes) == 3 and step.unit in ("s", "sec") else None


def _metadata(tree: dict[str, Any]) -> Metadata:
    metadata: Metadata = {}
    general, scope = tree.get("General", {}), tree.get("Acquisition_instrument", {}).get("TEM", {})
    put(metadata, "title", general.get("title"))
    put(metadata, "date", f"{general.get('date', '')} {general.get('time', '')}")
    put(metadata, "instrument", scope.get("microscope"))
    put_number(metadata, "high_tension_kv", scope.get("beam_energy"))
    put_number(metadata, "magnification", scope.get("magnification"))
    return metadata
