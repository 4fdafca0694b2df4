"""TIFF images and stacks: plain, DigitalMicrograph, ImageJ, OME, FEI, TVIPS, Olympus and JEOL dialects."""

from __future__ import annotations

import logging
import math
import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from fringemap.errors import ReadError
from fringemap.io.picture import decode
from fringemap.io.signals import (
    NO_SIZE,
    Content,
    Metadata,
    Signal,
    StoredSize,
    map_frames,
    put,
    put_number,
    regular_times,
)
from fringemap.io.units import UnitKind, unit_kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

# Its complaints about single tags of other people's files would confuse; what matters is raised or checked here.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_DM_UNITS, _DM_SIZES, _DM_UNIT_NAMES = (65003, 65004, 65005), (65009, 65010, 65011), (65012, 65013, 65014)
# The best that deflate or LZW can do with a flat image.
_HIGHEST_COMPRESSION = 1600


def open_tif(path: Path) -> Content:
    """Open a TIFF file; each series of equal pages is one signal, thumbnails are left out."""
    file = tifffile.TiffFile(path)
    try:
        _check_chain(path, file)
        series = [s for s in file.series if not _is_thumbnail(s)]
        titles = [path.stem if len(series) == 1 else f"image {k + 1}" for k in range(len(series))]
        signals = tuple(_signal(path, file, s, title) for s, title in zip(series, titles, strict=True))
        return Content(_dialect(file), signals, file.close)
    except BaseException:
        file.close()
        raise


def _check_chain(path: Path, file: Any) -> None:
    """Follow the chain of pages to its end: a file that was cut off would otherwise pass as a shorter stack."""
    layout, size = file.tiff, path.stat().st_size
    seen: set[int] = set()
    with path.open("rb") as stream:

        def number(at: int, form: str, length: int) -> int:
            stream.seek(at)
            raw = stream.read(length)
            if len(raw) < length:
                raise ReadError(f"{path.name} is cut off: its chain of pages leads beyond its end; copy the file again")
            value: int = struct.unpack(form, raw)[0]
            return value

        offset = number(8 if layout.is_bigtiff else 4, layout.offsetformat, layout.offsetsize)
        while offset:
            if offset in seen or offset >= size:
                raise ReadError(f"{path.name} is cut off or damaged: its chain of pages is broken; copy the file again")
            seen.add(offset)
            n_tags = number(offset, layout.tagnoformat, layout.tagnosize)
            offset = number(offset + layout.tagnosize + n_tags * layout.tagsize, layout.offsetformat, layout.offsetsize)


def _is_thumbnail(series: Any) -> bool:
    page = series.keyframe
    return bool(page.is_reduced or page.is_mask)


def _signal(path: Path, file: Any, series: Any, title: str) -> Signal:
    page = series.keyframe
    _check_sizes(path, series)
    axes, shape = series.axes, tuple(int(n) for n in series.shape)
    if "Y" not in axes or "X" not in axes:
        axes = ("I" * len(shape) + "YX")[-len(shape) :]
    planes = _Planes(path, series, axes, shape)
    sizes, times = _calibration(file, page, planes.n_frames)
    n_channels = dict(zip(axes, shape, strict=False)).get("C", 1)
    remarks = (f"its {n_channels} channels are read as frames",) if n_channels > 1 else ()
    return Signal(
        title=title,
        n_frames=planes.n_frames,
        frame_shape=planes.frame_shape,
        dtype=np.dtype(series.dtype),
        load=planes.loader(),
        pixel_size=sizes,
        times_s=times,
        metadata=_metadata(file, page),
        remarks=remarks,
    )


def _check_sizes(path: Path, series: Any) -> None:
    """Compare what the first page announces with the bytes that it has."""
    page, size = series.keyframe, path.stat().st_size
    stored = sum(int(n) for n in page.databytecounts)
    ends = [int(o) + int(n) for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
    factor = 1 if page.compression == 1 else _HIGHEST_COMPRESSION
    if not ends or max(ends) > size or int(page.nbytes) > factor * max(stored, 1):
        raise ReadError(
            f"{path.name} is cut off or damaged: its first page announces {int(page.nbytes):,} bytes, "
            f"{stored:,} are stored in a file of {size:,}; copy the file again"
        )


class _Planes:
    """How the axes of a series become frames."""

    def __init__(self, path: Path, series: Any, axes: str, shape: tuple[int, ...]) -> None:
        self._path, self._series = path, series
        n_of = dict(zip(axes, shape, strict=False))
        self.frame_shape = (n_of["Y"], n_of["X"])
        self._samples = n_of.get("S", 1)
        self._planar = "S" in axes and axes.index("S") < axes.index("Y")
        self.n_frames = math.prod(shape) // max(1, math.prod(self.frame_shape) * self._samples)

    def loader(self) -> Callable[[int], NDArray[Any]]:
        page = self._series.keyframe
        if self._series.dataoffset is not None and page.compression == 1:
            return self._mapped()
        if len(self._series.pages) == self.n_frames:
            return self._paged
        whole = self._whole_shape()
        return lambda i: self._in_order(self._decoded(None).reshape(whole)[i])

    def _mapped(self) -> Callable[[int], NDArray[Any]]:
        dtype = np.dtype(self._series.dtype).newbyteorder(self._series.parent.byteorder)
        load = map_frames(
            self._path,
            offset=self._series.dataoffset,
            dtype=dtype,
            n_frames=self.n_frames,
            frame_shape=self._whole_shape()[1:],
        )
        return lambda i: self._in_order(load(i))

    def _whole_shape(self) -> tuple[int, ...]:
        if self._samples == 1:
            return (self.n_frames, *self.frame_shape)
        if self._planar:
            return (self.n_frames, self._samples, *self.frame_shape)
        return (self.n_frames, *self.frame_shape, self._samples)

    def _paged(self, i: int) -> NDArray[Any]:
        return self._in_order(np.asarray(self._decoded(i)).reshape(self._whole_shape()[1:]))

    def _decoded(self, i: int | None) -> NDArray[Any]:
        """Pixels of one page, or of all; Pillow knows the compressions that tifffile has to leave to a large extra."""
        try:
            return np.asarray(self._series.asarray() if i is None else self._series.pages[i].asarray())
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return decode(self._path, self._series.pages[i or 0].index)

    def _in_order(self, plane: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(plane, 0, -1) if self._planar and plane.ndim == 3 else plane


def _dialect(file: Any) -> str:
    for flag, name in (("ome", "OME-TIFF"), ("imagej", "ImageJ TIFF"), ("fei", "FEI TIFF"), ("tvips", "TVIPS TIFF")):
        if getattr(file, f"is_{flag}"):
            return name
    return "DigitalMicrograph TIFF" if _DM_SIZES[0] in file.pages[0].tags else "TIFF"


Calibration = tuple[tuple[StoredSize, StoredSize], "NDArray[np.float64] | None"]


def _calibration(file: Any, page: Any, n_frames: int) -> Calibration:
    """Pixel size (rows, cols) and times, from the first dialect that says something."""
    if _DM_SIZES[0] in page.tags:
        return _from_dm(page, n_frames)
    if file.is_ome:
        return _from_ome(file, n_frames)
    if file.is_imagej:
        return _from_imagej(file, page, n_frames)
    if file.is_fei:
        return _from_fei(file), None
    if file.is_tvips:
        return _from_tvips(file), None
    if page.is_sis:
        return _from_olympus(page), None
    if str(_tag(page, 271)).startswith("JEOL"):
        return _from_jeol(page), None
    return NO_SIZE, None


def _tag(page: Any, code: int) -> Any:
    tag = page.tags.get(code)
    return None if tag is None else tag.value


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _from_dm(page: Any, n_frames: int) -> Calibration:
    def axis(k: int) -> StoredSize:
        unit, name = str(_tag(page, _DM_UNITS[k]) or ""), str(_tag(page, _DM_UNIT_NAMES[k]) or "")
        # The short unit is in the code page of the computer that wrote it; the long name is plain.
        readable = unit_kind(unit) in (UnitKind.LENGTH, UnitKind.RECIPROCAL, UnitKind.ENERGY)
        return StoredSize(_number(_tag(page, _DM_SIZES[k])), unit if readable or not name else name)

    third = axis(2)
    interval = third.value if third.unit.casefold() in ("s", "second", "seconds") else float("nan")
    return (axis(1), axis(0)), regular_times(n_frames, interval)


def _from_ome(file: Any, n_frames: int) -> Calibration:
    text = file.ome_metadata or ""
    found = re.search(r"<(?:\w+:)?Pixels\b([^>]*)>", text)
    attributes = dict(re.findall(r'(\w+)="([^"]*)"', found.group(1))) if found else {}

    def axis(name: str) -> StoredSize:
        return StoredSize(
            _number(attributes.get(f"PhysicalSize{name}")), attributes.get(f"PhysicalSize{name}Unit", "µm")
        )

    factor = {"s": 1.0, "ms": 1e-3, "min": 60.0}.get(attributes.get("TimeIncrementUnit", "s"), float("nan"))
    times = regular_times(n_frames, _number(attributes.get("TimeIncrement")) * factor)
    return (axis("Y"), axis("X")), times


def _from_imagej(file: Any, page: Any, n_frames: int) -> Calibration:
    details = file.imagej_metadata or {}
    unit = str(details.get("unit", ""))
    y_unit = str(details.get("yunit", unit))
    sizes = (StoredSize(_per_pixel(page, 283), y_unit), StoredSize(_per_pixel(page, 282), unit))
    interval = _number(details.get("finterval"))
    if math.isnan(interval) and _number(details.get("fps")) > 0:
        interval = 1.0 / _number(details.get("fps"))
    return (sizes if unit else NO_SIZE), regular_times(n_frames, interval)


def _per_pixel(page: Any, code: int) -> float:
    value = _tag(page, code)
    if isinstance(value, tuple) and len(value) == 2 and value[0]:
        return _number(value[1]) / _number(value[0])
    return float("nan")


def _from_fei(file: Any) -> tuple[StoredSize, StoredSize]:
    scan = (file.fei_metadata or {}).get("Scan", {})
    return StoredSize(_number(scan.get("PixelHeight")), "m"), StoredSize(_number(scan.get("PixelWidth")), "m")


def _from_tvips(file: Any) -> tuple[StoredSize, StoredSize]:
    details = file.tvips_metadata or {}
    return StoredSize(_number(details.get("PixelSizeY")), "nm"), StoredSize(_number(details.get("PixelSizeX")), "nm")


def _from_olympus(page: Any) -> tuple[StoredSize, StoredSize]:
    details: dict[str, Any] = {}
    for code in (33471, 33560):
        value = _tag(page, code)
        details.update(value if isinstance(value, dict) else {})
    return StoredSize(_number(details.get("pixelsizey")), "m"), StoredSize(_number(details.get("pixelsizex")), "m")


def _from_jeol(page: Any) -> tuple[StoredSize, StoredSize]:
    """JEOL's reporter gives the pixel of the camera as a resolution, and the magnification in front of it."""
    text = str(_tag(page, 270) or "")
    mode, selected = _element(text, "ModeString"), _number(_element(text, "SelectorValue"))
    if mode.upper() == "DIFF":
        return StoredSize(float("nan"), "1/nm"), StoredSize(float("nan"), "1/nm")
    if mode.upper() != "MAG" or not selected > 0:
        return NO_SIZE
    metre = 0.0254 if _tag(page, 296) == 2 else 0.01
    return (
        StoredSize(_per_pixel(page, 283) * metre / selected, "m"),
        StoredSize(_per_pixel(page, 282) * metre / selected, "m"),
    )


def _element(xml: str, name: str) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>", xml)
    return found.group(1).strip() if found else ""


def _metadata(file: Any, page: Any) -> Metadata:
    metadata: Metadata = {}
    put(metadata, "instrument", str(_tag(page, 272) or ""))
    put(metadata, "software", str(_tag(page, 305) or ""))
    put(metadata, "date", str(_tag(page, 306) or ""))
    if file.is_fei:
        beam = (file.fei_metadata or {}).get("Beam", {})
        put_number(metadata, "high_tension_kv", beam.get("HV"), 1e-3)
    if file.is_tvips:
        details = file.tvips_metadata or {}
        put_number(metadata, "high_tension_kv", details.get("TemHighTension"), 1e-3)
        put_number(metadata, "exposure_s", details.get("ExposureTime"), 1e-3)
    return metadata
