"""Electron Microscopy Datasets (.emd), Velox and Berkeley (NCEM), through RosettaSciIO."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from rsciio.emd import file_reader

from fringemap.errors import ReadError
from fringemap.io.hdf5 import check_hdf5
from fringemap.io.rosetta import Axis, closer, lazy_signal, look, stored_size
from fringemap.io.signals import Content, Metadata, Signal, put, put_number, regular_times, unusable
from fringemap.io.units import UnitKind, unit_kind

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def open_emd(path: Path) -> Content:
    """Open an .emd file of either layout; frames are read from disk when asked for."""
    with h5py.File(path, "r") as file:
        check_hdf5(path, file)
        if "Data" in file and "Version" in file:
            return _open_velox(path, file)
        return _open_berkeley(path, file)


def _open_velox(path: Path, file: h5py.File) -> Content:
    try:
        images = file_reader(str(path), lazy=True, select_type="images")
    except ModuleNotFoundError as error:
        raise ReadError(
            f"{path.name} holds a spectrum image beside its images, for which the package 'sparse' must be installed; "
            "install it, or save the image on its own"
        ) from error
    if not images:
        raise ReadError(f"{path.name} holds spectra only, no image; export the image from Velox")
    # RosettaSciIO lists the images in the order of their groups.
    groups = file["Data/Image"].values()
    signals = tuple(_velox_image(image, group) for image, group in zip(images, groups, strict=True))
    return Content("Velox EMD", signals, closer(image["data"] for image in images))


def _velox_image(image: dict[str, Any], group: h5py.Group) -> Signal:
    data, axes, details = image["data"], image["axes"], image["original_metadata"]
    metadata = _velox_metadata(details, image["metadata"]["General"])
    signal = lazy_signal(str(metadata.get("title", "image")), data, axes, metadata)
    return replace(signal, times_s=_velox_times(group, signal))


def _velox_metadata(details: Any, general: Any) -> Metadata:
    metadata: Metadata = {}
    put(metadata, "title", look(general, "title"))
    put(metadata, "camera", look(details, "BinaryResult", "Detector"))
    put(
        metadata,
        "instrument",
        look(details, "Instrument", "InstrumentModel") or look(details, "Instrument", "InstrumentClass"),
    )
    put_number(metadata, "high_tension_kv", look(details, "Optics", "AccelerationVoltage"), 1e-3)
    put_number(metadata, "magnification", look(details, "Optics", "NominalMagnification"))
    put_number(metadata, "defocus_nm", look(details, "Optics", "Defocus"), 1e9)
    put_number(metadata, "stage_tilt_deg", look(details, "Stage", "AlphaTilt"), 180 / np.pi)
    put_number(metadata, "dwell_time_s", look(details, "Scan", "DwellTime"))
    put_number(metadata, "exposure_s", look(details, "Acquisition", "ExposureTime"))
    put(metadata, "date", " ".join(str(look(general, word) or "") for word in ("date", "time", "time_zone")))
    return metadata


def _velox_times(group: h5py.Group, image: Signal) -> NDArray[np.float64] | None:
    """Regular times from the frame time; where that misses the clock (whole seconds) of the last frame, the clock's.

    RosettaSciIO reads what the first frame says, and that alone.
    """
    times, n_frames = image.times_s, image.n_frames
    if n_frames < 2:
        return times
    span = _velox_start(group, n_frames - 1) - _velox_start(group, 0)
    if span > 0 and (times is None or abs(times[-1] - span) > 1.0 + 0.05 * span):
        return regular_times(n_frames, span / (n_frames - 1))
    return times


def _velox_start(group: h5py.Group, frame: int) -> float:
    """When a frame was begun [s since 1970]; NaN if it does not say so."""
    try:
        details = json.loads(group["Metadata"][:, frame].tobytes().split(b"\0", 1)[0])
        return float(look(details, "Acquisition", "AcquisitionStartDatetime", "DateTime"))
    except (ValueError, TypeError):
        return float("nan")


def _open_berkeley(path: Path, file: h5py.File) -> Content:
    arrays = _berkeley_arrays(file)
    if not arrays:
        raise ReadError(f"{path.name} is an HDF5 file without any image that is known to Velox or to Berkeley EMD")
    signals, lazy = [], []
    for array in arrays:
        if array.dtype.hasobject:
            signals.append(unusable(array.name, "holds Python objects or text, not numbers"))
            continue
        (found,) = file_reader(str(path), lazy=True, dataset_path=array.name)
        lazy.append(found["data"])
        # RosettaSciIO turns arrays whose axes are counted from 1 over their diagonal, cubes of diffraction apart.
        turned = "dim0" not in array.parent and not array.name.endswith("/datacube")
        signals.append(_berkeley_image(found, turned=turned))
    return Content("Berkeley EMD", tuple(signals), closer(lazy))


def _berkeley_arrays(file: h5py.File) -> list[h5py.Dataset]:
    """All arrays that have their axes beside them: dim1, dim2, ... or, in newer files, dim0, dim1, ..."""
    found: list[h5py.Dataset] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.rsplit("/", 1)[-1].startswith("dim"):
            first = 0 if "dim0" in item.parent else 1
            if item.ndim > 0 and all(f"dim{k + first}" in item.parent for k in range(item.ndim)):
                found.append(item)

    file.visititems(visit)
    return found


def _berkeley_image(found: dict[str, Any], *, turned: bool) -> Signal:
    """One array, in the order in which it is stored."""
    data, axes = found["data"], found["axes"]
    if turned:
        data, axes = data.T, axes[::-1]
    title, metadata = str(found["metadata"]["General"]["title"]), _berkeley_metadata(found["original_metadata"])
    long = [k for k, n in enumerate(data.shape) if n > 1]
    if len(long) not in (2, 3):
        return unusable(title, f"has {len(long)} axes, not the 2 of an image or the 3 of a stack", metadata)
    rows, cols = _image_axes({k: axes[k] for k in long})
    order = [*(k for k in long if k not in (rows, cols)), rows, cols]
    data = data.squeeze().transpose([long.index(k) for k in order])
    return lazy_signal(title, data, [axes[k] for k in order], metadata)


def _image_axes(axes: dict[int, Axis]) -> tuple[int, int]:
    """Axes of the rows and columns: the two that have a length, else the last two."""
    lengths = [k for k, axis in axes.items() if unit_kind(stored_size(axis).unit) is UnitKind.LENGTH]
    rows, cols = lengths if len(lengths) == 2 else list(axes)[-2:]
    return rows, cols


def _berkeley_metadata(details: Any) -> Metadata:
    metadata: Metadata = {}
    scope = look(details, "microscope")
    put(metadata, "instrument", _text(look(scope, "microscope name") or look(scope, "name")))
    put_number(metadata, "high_tension_kv", _text(look(scope, "voltage")), 1e-3)
    put_number(metadata, "magnification", _text(look(scope, "magnification")))
    return metadata


def _text(value: Any) -> Any:
    """HDF5 may hand over text as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
