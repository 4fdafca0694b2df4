"""Electron Microscopy Datasets (.emd): Velox and the Berkeley (NCEM) layout, both HDF5."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from fringemap.errors import ReadError
from fringemap.io.hdf5 import attribute, check_storage, text_attribute
from fringemap.io.signals import Content, Metadata, Signal, StoredSize, put, put_number, regular_times, unusable
from fringemap.io.units import UnitKind, unit_kind

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MOST_GROUPS = 10_000


def open_emd(path: Path) -> Content:
    """Open an .emd file of either layout."""
    file = h5py.File(path, "r")
    try:
        if "Data/Image" in file:
            return Content("Velox EMD", tuple(_velox(path, file)), file.close)
        if "Data" in file and "Version" in file:
            raise ReadError(f"{path.name} holds spectra only, no image; export the image from Velox")
        signals = tuple(_ncem(path, file))
        if not signals:
            raise ReadError(f"{path.name} is an HDF5 file without any image that is known to Velox or to Berkeley EMD")
        return Content("Berkeley EMD", signals, file.close)
    except BaseException:
        file.close()
        raise


def _velox(path: Path, file: h5py.File) -> list[Signal]:
    return [_velox_image(path, name, group) for name, group in file["Data/Image"].items() if "Data" in group]


def _velox_image(path: Path, name: str, group: h5py.Group) -> Signal:
    """One image: (rows, cols, frames), with a column of JSON for each frame."""
    data = group["Data"]
    details = _velox_json(group)
    title = _text(details, "BinaryResult", "Detector") or name[:8]
    if data.ndim != 3 or data.dtype.names is not None or data.dtype.kind == "c":
        return unusable(title, "holds complex numbers (a Fourier transform saved as an image)")
    check_storage(path, data)
    n_rows, n_cols, n_frames = data.shape
    metadata, interval = _velox_metadata(details)
    return Signal(
        title=title,
        n_frames=n_frames,
        frame_shape=(n_rows, n_cols),
        dtype=data.dtype,
        load=_FrameCache(data).load,
        pixel_size=_velox_pixel_size(details),
        times_s=_velox_times(group, n_frames, interval),
        metadata=metadata,
    )


class _FrameCache:
    """Loads frames along the last axis, a chunk of them at a time.

    Velox may keep several frames in one chunk; each is unpacked once, not once for each of its frames.
    """

    _LARGEST_BYTES = 256 << 20

    def __init__(self, data: h5py.Dataset) -> None:
        n_rows, n_cols, n_frames = data.shape
        # Without chunks the frames are interleaved pixel by pixel: fetch as many at once as may be held.
        deep = data.chunks[2] if data.chunks else n_frames
        most = max(1, self._LARGEST_BYTES // max(1, n_rows * n_cols * data.dtype.itemsize))
        self._data = data
        self._depth = max(1, min(deep, most, n_frames))
        self._start = -1
        self._frames: NDArray[Any] = np.empty((0, 0, 0))

    def load(self, i: int) -> NDArray[Any]:
        start = i - i % self._depth
        if start != self._start:
            self._frames = self._data[:, :, start : start + self._depth]
            self._start = start
        return self._frames[:, :, i - start]


def _velox_json(group: h5py.Group, frame: int = 0) -> Any:
    """Metadata of one frame; an empty mapping if there is none that can be read."""
    if "Metadata" not in group:
        return {}
    stored = group["Metadata"]
    if stored.ndim != 2 or stored.shape[0] > 1 << 24 or frame >= stored.shape[1]:
        return {}
    try:
        return json.loads(stored[:, frame].tobytes().split(b"\0", 1)[0].decode("utf-8", "replace"))
    except ValueError:
        return {}


def _get(tree: Any, *names: str) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _text(tree: Any, *names: str) -> str:
    value = _get(tree, *names)
    return value if isinstance(value, str) else ""


def _number(tree: Any, *names: str) -> float:
    value = _get(tree, *names)
    try:
        return float(value) if isinstance(value, str | int | float) else float("nan")
    except ValueError:
        return float("nan")


def _velox_pixel_size(details: Any) -> tuple[StoredSize, StoredSize]:
    result = ("BinaryResult",)
    return (
        StoredSize(_number(details, *result, "PixelSize", "height"), _text(details, *result, "PixelUnitY")),
        StoredSize(_number(details, *result, "PixelSize", "width"), _text(details, *result, "PixelUnitX")),
    )


def _velox_metadata(details: Any) -> tuple[Metadata, float]:
    metadata: Metadata = {}
    put(metadata, "title", _text(details, "BinaryResult", "Detector"))
    put(metadata, "camera", _text(details, "BinaryResult", "Detector"))
    put(
        metadata,
        "instrument",
        _text(details, "Instrument", "InstrumentModel") or _text(details, "Instrument", "InstrumentClass"),
    )
    put_number(metadata, "high_tension_kv", _number(details, "Optics", "AccelerationVoltage"), 1e-3)
    put_number(metadata, "magnification", _number(details, "Optics", "NominalMagnification"))
    put_number(metadata, "defocus_nm", _number(details, "Optics", "Defocus"), 1e9)
    put_number(metadata, "stage_tilt_deg", _number(details, "Stage", "AlphaTilt"), 180 / np.pi)
    put_number(metadata, "dwell_time_s", _number(details, "Scan", "DwellTime"))
    put_number(metadata, "exposure_s", _number(details, "Acquisition", "ExposureTime"))
    start = _number(details, "Acquisition", "AcquisitionStartDatetime", "DateTime")
    if np.isfinite(start) and 0 < start < 4e9:
        put(metadata, "date", str(np.datetime64(int(start), "s")).replace("T", " ") + " UTC")
    interval = _number(details, "Scan", "FrameTime")
    return metadata, interval if np.isfinite(interval) else _number(details, "Acquisition", "ExposureTime")


def _velox_times(group: h5py.Group, n_frames: int, interval_s: float) -> NDArray[np.float64] | None:
    """Regular times from the frame time; where that misses the clock (whole seconds) of the last frame, the clock's."""
    if n_frames < 2:
        return None
    starts = ("Acquisition", "AcquisitionStartDatetime", "DateTime")
    first, last = (_number(_velox_json(group, i), *starts) for i in (0, n_frames - 1))
    span = last - first
    if np.isfinite(span) and span > 0 and not abs(interval_s * (n_frames - 1) - span) <= 1.0 + 0.05 * span:
        return np.linspace(0.0, span, n_frames)
    return regular_times(n_frames, interval_s)


def _ncem(path: Path, file: h5py.File) -> list[Signal]:
    """Every group that is marked as an EMD group and holds an array with its axes ``dim1``, ``dim2``, ..."""
    found: list[tuple[h5py.Group, h5py.Dataset]] = []
    seen = 0

    def visit(_name: str, item: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if isinstance(item, h5py.Group) and (attribute(item, "emd_group_type") == 1 or "dim1" in item):
            found.extend((item, data) for data in item.values() if _is_array(data))
        return True if seen > _MOST_GROUPS else None

    file.visititems(visit)
    return [_ncem_image(path, group, data, file) for group, data in found]


def _is_array(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and not str(item.name).rsplit("/", 1)[-1].startswith("dim")


def _ncem_image(path: Path, group: h5py.Group, data: h5py.Dataset, file: h5py.File) -> Signal:
    title = str(group.name).rsplit("/", 1)[-1]
    if data.dtype.hasobject or data.dtype.names is not None:
        return unusable(title, "holds Python objects or records, not numbers")
    long = [k for k in range(data.ndim) if data.shape[k] > 1]
    if len(long) not in (2, 3) or min(data.shape) < 1:
        return unusable(title, f"has {len(long)} axes, not the 2 of an image or the 3 of a stack")
    check_storage(path, data)
    axes = {k: _ncem_axis(group, k + 1, data.shape[k]) for k in long}
    rows, cols = _image_axes(axes)
    along = next((k for k in long if k not in (rows, cols)), None)
    n_frames = 1 if along is None else int(data.shape[along])
    in_seconds = along is not None and axes[along].unit.strip("[]") in ("s", "sec")

    def load(i: int) -> NDArray[Any]:
        index = tuple(slice(None) if k in (rows, cols) else i if k == along else 0 for k in range(data.ndim))
        return np.asarray(data[index])

    return Signal(
        title=title,
        n_frames=n_frames,
        frame_shape=(int(data.shape[rows]), int(data.shape[cols])),
        dtype=data.dtype,
        load=load,
        pixel_size=(axes[rows], axes[cols]),
        times_s=regular_times(n_frames, axes[along].value) if along is not None and in_seconds else None,
        metadata=_ncem_metadata(file),
    )


def _image_axes(axes: dict[int, StoredSize]) -> tuple[int, int]:
    """Axes of the rows and columns: the two that have a length, else the last two."""
    lengths = [k for k, axis in axes.items() if unit_kind(axis.unit) is UnitKind.LENGTH]
    rows, cols = lengths if len(lengths) == 2 else list(axes)[-2:]
    return rows, cols


def _ncem_axis(group: h5py.Group, number: int, n: int) -> StoredSize:
    axis = group.get(f"dim{number}")
    if not isinstance(axis, h5py.Dataset) or axis.dtype.kind not in "iuf" or axis.ndim != 1 or axis.shape[0] < 2:
        return StoredSize()
    last = min(n, axis.shape[0]) - 1
    values = np.asarray([axis[0], axis[last]], dtype=np.float64) if last > 0 else np.zeros(2)
    return StoredSize(float(values[1] - values[0]) / max(last, 1), text_attribute(axis, "units"))


def _ncem_metadata(file: h5py.File) -> Metadata:
    metadata: Metadata = {}
    scope = file.get("microscope")
    if isinstance(scope, h5py.Group):
        put(metadata, "instrument", text_attribute(scope, "microscope name") or text_attribute(scope, "name"))
        put_number(metadata, "high_tension_kv", text_attribute(scope, "voltage"), 1e-3)
        put_number(metadata, "magnification", text_attribute(scope, "magnification"))
    return metadata
