"""DigitalMicrograph files, versions 3 and 4.

The file is a tree of tags in big-endian order with values in the order that the header names. Only the tree is parsed:
a tag with many values is kept as its place in the file, so that an image is mapped to memory and one frame of a stack
costs no more than its own pixels.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fringemap.errors import ReadError
from fringemap.io.signals import (
    Content,
    Metadata,
    Signal,
    StoredSize,
    map_frames,
    put,
    put_number,
    regular_times,
    unusable,
)
from fringemap.io.units import UnitKind, unit_kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

TagTree = dict[str, Any]

_VALUE_TYPES = {2: "i2", 3: "i4", 4: "u2", 5: "u4", 6: "f4", 7: "f8", 8: "u1", 9: "i1", 10: "u1", 11: "i8", 12: "u8"}
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_GROUP_TAG, _DATA_TAG = 20, 21
_LONGEST_TEXT = 1 << 16
_DEEPEST = 64
_MOST_TAGS = 1_000_000

_PIXELS = {
    1: "i2",
    2: "f4",
    3: "c8",
    6: "u1",
    7: "i4",
    9: "i1",
    10: "u2",
    11: "u4",
    12: "f8",
    13: "c16",
    39: "i8",
    40: "u8",
}
_BOOL, _RGB = 14, (8, 23)
_PACKED_COMPLEX = (5, 27, 28)


@dataclass(frozen=True)
class _Block:
    """Many values of one kind, left in the file."""

    offset: int
    dtype: np.dtype[Any]
    length: int

    @property
    def n_bytes(self) -> int:
        return self.length * self.dtype.itemsize


def open_dm(path: Path) -> Content:
    """Open a .dm3 or .dm4 file; thumbnails are left out."""
    with path.open("rb") as file:
        version, tree = _TagReader(file, path).read()
    images = tree.get("ImageList", {})
    skip = _thumbnails(tree)
    signals = [
        signal
        for index, image in enumerate(images.values() if isinstance(images, dict) else [])
        if index not in skip and (signal := _signal(path, image)) is not None
    ]
    return Content(f"DigitalMicrograph {version}", tuple(signals))


class _TagReader:
    """Walks the tag tree of one open file; every length is checked against the size of the file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = path.stat().st_size
        self._order = "<"
        self._word = ">i"
        self._n_tags = 0
        self._version = 3

    def read(self) -> tuple[int, TagTree]:
        (self._version,) = self._unpack(">i")
        if self._version not in (3, 4):
            raise ReadError(f"{self._path.name} is no DigitalMicrograph 3 or 4 file, whatever its ending says")
        self._word = ">q" if self._version == 4 else ">i"
        self._integer()
        (little,) = self._unpack(">i")
        if little not in (0, 1):
            self._damaged("its byte order is neither 0 nor 1")
        self._order = "<" if little else ">"
        return self._version, self._group(0)

    def _damaged(self, why: str) -> None:
        raise ReadError(f"{self._path.name} is cut off or damaged: {why}; copy the file again")

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        n = struct.calcsize(layout)
        return struct.unpack(layout, self._bytes(n))

    def _bytes(self, n: int) -> bytes:
        data = self._file.read(n) if 0 <= n <= self._size else b""
        if len(data) != n:
            self._damaged("its tags go on beyond its end")
        return data

    def _integer(self) -> int:
        value: int = self._unpack(self._word)[0]
        return value

    def _group(self, depth: int) -> TagTree:
        if depth > _DEEPEST:
            self._damaged("its tags are nested without end")
        self._unpack(">bb")
        group: TagTree = {}
        for index in range(max(self._integer(), 0)):
            self._n_tags += 1
            if self._n_tags > _MOST_TAGS:
                self._damaged(f"it has more than {_MOST_TAGS:,} tags")
            kind, name_length = self._unpack(">BH")
            name = self._bytes(name_length).decode("latin-1") or str(index)
            if self._version == 4 and kind in (_GROUP_TAG, _DATA_TAG):
                self._integer()
            if kind == _GROUP_TAG:
                group[name] = self._group(depth + 1)
            elif kind == _DATA_TAG:
                group[name] = self._value(name)
            else:
                self._damaged(f"a tag is of the unknown kind {kind}")
        return group

    def _value(self, name: str) -> Any:
        if self._bytes(4) != b"%%%%":
            self._damaged("a tag does not begin with its mark")
        n_info = self._integer()
        if not 1 <= n_info <= 4096:
            self._damaged(f"a tag is described by {n_info} numbers")
        width = "q" if self._version == 4 else "i"
        info = self._unpack(f">{n_info}{width}")
        if info[0] == _ARRAY:
            return self._array(info, keep=name == "Data")
        if info[0] == _STRING and n_info > 1:
            return self._bytes(2 * info[1]).decode("utf-16" + self._ending(), "replace")
        value = np.frombuffer(self._bytes((dtype := self._dtype(info)).itemsize), dtype)[0]
        return tuple(v.item() for v in value) if info[0] == _STRUCT else value.item()

    def _ending(self) -> str:
        return "-le" if self._order == "<" else "-be"

    def _dtype(self, info: tuple[int, ...]) -> np.dtype[Any]:
        if info[0] == _STRUCT:
            kinds = info[4::2]
            if len(kinds) == 0 or any(kind not in _VALUE_TYPES for kind in kinds):
                self._damaged("a tag holds values of an unknown kind")
            return np.dtype([(f"f{i}", self._order + _VALUE_TYPES[kind]) for i, kind in enumerate(kinds)])
        if info[0] not in _VALUE_TYPES:
            self._damaged(f"a tag holds values of the unknown kind {info[0]}")
        return np.dtype(self._order + _VALUE_TYPES[info[0]])

    def _array(self, info: tuple[int, ...], *, keep: bool) -> str | _Block:
        dtype, length = self._dtype(info[1:-1]), info[-1]
        offset = self._file.tell()
        n_bytes = length * dtype.itemsize
        if length < 0 or offset + n_bytes > self._size:
            self._damaged(f"a tag announces {n_bytes:,} bytes where {max(self._size - offset, 0):,} are left")
        # Text is stored as 16-bit numbers; so are the pixels of many cameras.
        if info[1] == 4 and length <= _LONGEST_TEXT and not keep:
            return self._bytes(n_bytes).decode("utf-16" + self._ending(), "replace")
        self._file.seek(n_bytes, 1)
        return _Block(offset, dtype, length)


def _get(tree: Any, *names: str) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _thumbnails(tree: TagTree) -> set[int]:
    listed = _get(tree, "Thumbnails")
    found = {_get(t, "ImageIndex") for t in listed.values()} if isinstance(listed, dict) else set()
    if found:
        return {index for index in found if isinstance(index, int)}
    images = _get(tree, "ImageList")
    if isinstance(images, dict) and len(images) > 1:
        first = next(iter(images.values()))
        return {0} if _get(first, "ImageData", "DataType") in _RGB else set()
    return set()


def _signal(path: Path, image: Any) -> Signal | None:
    data = _get(image, "ImageData")
    block = _get(data, "Data")
    dimensions = _get(data, "Dimensions")
    if not isinstance(block, _Block) or not isinstance(dimensions, dict):
        return None
    shape = tuple(n for n in reversed(list(dimensions.values())) if isinstance(n, int))
    title = str(_get(image, "Name") or path.stem)
    tags = _get(image, "ImageTags")
    metadata = _metadata(tags, title)
    calibrations = _calibrations(data, len(shape))
    refusal = _refusal(tags, shape, calibrations)
    if refusal:
        return unusable(title, refusal, metadata)
    kind = _get(data, "DataType")
    dtype, channels = _pixel_type(kind, block)
    if dtype is None:
        return unusable(title, "holds complex numbers (a Fourier transform saved as an image)", metadata)
    n_frames, frame_shape = math.prod(shape[:-2]), (shape[-2], shape[-1])
    if math.prod((*shape, *channels)) * dtype.itemsize != block.n_bytes:
        pixels = " x ".join(str(n) for n in shape)
        why = f"is damaged: {pixels} pixels of the type {dtype} do not make the {block.n_bytes:,} bytes that are stored"
        return unusable(title, why, metadata)
    load = map_frames(path, offset=block.offset, dtype=dtype, n_frames=n_frames, frame_shape=(*frame_shape, *channels))
    return Signal(
        title=title,
        n_frames=n_frames,
        frame_shape=frame_shape,
        dtype=np.dtype(bool) if kind == _BOOL else dtype,
        load=_red_first(load) if channels else load,
        pixel_size=(calibrations[-2], calibrations[-1]),
        times_s=_times(n_frames, calibrations),
        metadata=metadata,
    )


def _red_first(load: Callable[[int], NDArray[Any]]) -> Callable[[int], NDArray[Any]]:
    """DigitalMicrograph keeps colours as blue, green, red, transparency."""
    return lambda i: load(i)[..., 2::-1]


def _pixel_type(kind: Any, block: _Block) -> tuple[np.dtype[Any] | None, tuple[int, ...]]:
    if kind in _RGB:
        return np.dtype("u1"), (4,)
    if kind in _PACKED_COMPLEX:
        return None, ()
    order = block.dtype.byteorder if block.dtype.names is None else "<"
    if kind in _PIXELS:
        return np.dtype(_PIXELS[kind]).newbyteorder(order if order in "<>" else "="), ()
    return block.dtype, ()


def _calibrations(data: TagTree, n_axes: int) -> list[StoredSize]:
    found = _get(data, "Calibrations", "Dimension")
    axes = list(found.values()) if isinstance(found, dict) else []
    sizes = [_stored_size(axis) for axis in axes[:n_axes]]
    return [*reversed(sizes + [StoredSize()] * (n_axes - len(sizes)))]


def _stored_size(axis: Any) -> StoredSize:
    value, unit = _get(axis, "Scale"), _get(axis, "Units")
    return StoredSize(
        float(value) if isinstance(value, int | float) else float("nan"), unit if isinstance(unit, str) else ""
    )


def _refusal(tags: Any, shape: tuple[int, ...], calibrations: list[StoredSize]) -> str:
    stored_as = str(_get(tags, "Meta Data", "Format") or "").casefold()
    if stored_as.startswith("spectrum image") or any(unit_kind(c.unit) is UnitKind.ENERGY for c in calibrations):
        return "is a spectrum or a spectrum image, not an image"
    if len(shape) < 2:
        return "is a spectrum or a profile, not an image"
    if stored_as.startswith("diffraction"):
        return "is a diffraction pattern"
    if len(shape) > 3:
        return f"has {len(shape)} axes (4D-STEM?), not the 2 of an image or the 3 of a stack"
    return ""


def _times(n_frames: int, calibrations: list[StoredSize]) -> NDArray[np.float64] | None:
    if len(calibrations) == 3 and calibrations[0].unit.strip().casefold() in ("s", "sec", "second", "seconds"):
        return regular_times(n_frames, calibrations[0].value)
    if len(calibrations) == 3 and calibrations[0].unit.strip().casefold() == "ms":
        return regular_times(n_frames, calibrations[0].value / 1e3)
    return None


def _metadata(tags: Any, title: str) -> Metadata:
    metadata: Metadata = {}
    put(metadata, "title", title)
    scope = _get(tags, "Microscope Info")
    put(metadata, "instrument", _get(scope, "Microscope") or _get(scope, "Name"))
    put_number(metadata, "high_tension_kv", _get(scope, "Voltage"), 1e-3)
    put_number(metadata, "magnification", _get(scope, "Indicated Magnification"))
    put_number(metadata, "spherical_aberration_mm", _get(scope, "Cs(mm)"))
    put_number(metadata, "stage_tilt_deg", _get(scope, "Stage Position", "Stage Alpha"))
    bar = _get(tags, "DataBar")
    put(metadata, "camera", _get(bar, "Device Name") or _get(tags, "Acquisition", "Device", "Name"))
    put_number(metadata, "exposure_s", _get(bar, "Exposure Time (s)"))
    put(metadata, "date", f"{_get(bar, 'Acquisition Date') or ''} {_get(bar, 'Acquisition Time') or ''}")
    put_number(metadata, "dwell_time_s", _get(tags, "DigiScan", "Sample Time"), 1e-6)
    return metadata
