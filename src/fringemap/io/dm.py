"""DigitalMicrograph files, versions 3 and 4, through RosettaSciIO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rsciio.digitalmicrograph import file_reader
from rsciio.digitalmicrograph._api import DigitalMicrographReader

from fringemap.errors import ReadError
from fringemap.io.rosetta import Axis, BoundedReader, frame_times, look, stored_size
from fringemap.io.signals import Content, Metadata, Signal, map_frames, put, put_number, unusable
from fringemap.io.units import UnitKind, unit_kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_LARGEST_EAGER_BYTES = 1 << 30


def open_dm(path: Path) -> Content:
    """Open a .dm3 or .dm4 file; thumbnails are left out."""
    with BoundedReader(path) as file:
        # A trial run: on a damaged length the library would go on reading, value by value, to the end of the file.
        tags = DigitalMicrographReader(file)
        tags.parse_file()
    return Content(f"DigitalMicrograph {tags.dm_version}", tuple(_signal(path, found) for found in _read(path)))


def _read(path: Path) -> list[dict[str, Any]]:
    """Let RosettaSciIO read all but the pixels; one chunk, since planning many costs as much as the header says."""
    try:
        return list(file_reader(str(path), lazy=True, chunks=-1))
    except ValueError:
        # Colour and packed Fourier transforms can only be loaded.
        if path.stat().st_size > _LARGEST_EAGER_BYTES:
            raise ReadError(
                f"{path.name} holds a stack in colour, or Fourier transforms, and is too large to load; "
                "save the image on its own"
            ) from None
        return list(file_reader(str(path)))


def _signal(path: Path, found: dict[str, Any]) -> Signal:
    data, axes = found["data"], found["axes"]
    image = look(found, "original_metadata", "ImageList", "TagGroup0")
    tags, stored = look(image, "ImageTags"), look(image, "ImageData", "Data")
    title = str(found["metadata"]["General"]["title"] or path.stem)
    metadata = _metadata(tags, title)
    refusal = _refusal(tags, axes)
    if refusal or data.dtype.kind == "c":
        why = refusal or "holds complex numbers (a Fourier transform saved as an image)"
        return unusable(title, why, metadata)
    if data.nbytes != stored["size_bytes"]:
        pixels = " x ".join(str(n) for n in data.shape)
        why = f"is damaged: {pixels} pixels of the type {data.dtype} are not the {stored['size_bytes']:,} bytes stored"
        return unusable(title, why, metadata)
    n_frames = data.shape[0] if data.ndim == 3 else 1
    return Signal(
        title=title,
        n_frames=n_frames,
        frame_shape=data.shape[-2:],
        dtype=data.dtype if data.dtype.names is None else np.dtype(np.uint8),
        load=_loader(path, data, stored),
        pixel_size=(stored_size(axes[-2]), stored_size(axes[-1])),
        times_s=frame_times(axes, n_frames),
        metadata=metadata,
    )


def _loader(path: Path, data: Any, stored: dict[str, Any]) -> Callable[[int], NDArray[Any]]:
    if isinstance(data, np.ndarray):
        colours = data.view(np.uint8).reshape(-1, *data.shape[-2:], 4)
        return lambda i: colours[i, ..., :3]
    # RosettaSciIO heeds the order of bytes in the tags, but not in the pixels.
    dtype = data.dtype.newbyteorder(">" if stored["endian"] == "big" else "<")
    n_frames = data.shape[0] if data.ndim == 3 else 1
    return map_frames(path, offset=stored["offset"], dtype=dtype, n_frames=n_frames, frame_shape=data.shape[-2:])


def _refusal(tags: Any, axes: list[Axis]) -> str:
    stored_as = str(look(tags, "Meta Data", "Format") or "").casefold()
    if stored_as.startswith("spectrum image") or any(unit_kind(stored_size(a).unit) is UnitKind.ENERGY for a in axes):
        return "is a spectrum or a spectrum image, not an image"
    if len(axes) < 2:
        return "is a spectrum or a profile, not an image"
    if stored_as.startswith("diffraction"):
        return "is a diffraction pattern"
    if len(axes) > 3:
        return f"has {len(axes)} axes (4D-STEM?), not the 2 of an image or the 3 of a stack"
    return ""


def _metadata(tags: Any, title: str) -> Metadata:
    metadata: Metadata = {}
    put(metadata, "title", title)
    scope = look(tags, "Microscope Info")
    put(metadata, "instrument", look(scope, "Microscope") or look(scope, "Name"))
    put_number(metadata, "high_tension_kv", look(scope, "Voltage"), 1e-3)
    put_number(metadata, "magnification", look(scope, "Indicated Magnification"))
    put_number(metadata, "spherical_aberration_mm", look(scope, "Cs(mm)"))
    put_number(metadata, "stage_tilt_deg", look(scope, "Stage Position", "Stage Alpha"))
    bar = look(tags, "DataBar")
    put(metadata, "camera", look(bar, "Device Name") or look(tags, "Acquisition", "Device", "Name"))
    put_number(metadata, "exposure_s", look(bar, "Exposure Time (s)"))
    put(metadata, "date", f"{look(bar, 'Acquisition Date') or ''} {look(bar, 'Acquisition Time') or ''}")
    put_number(metadata, "dwell_time_s", look(tags, "DigiScan", "Sample Time"), 1e-6)
    return metadata
