"""TIA files: .ser with its pixels, .emi beside it with what the microscope said.

Both are little-endian. A .ser file lists where its elements lie; each is an image with its own calibration in metres
(1/m for diffraction). The .emi file wraps an XML text, of which only the pairs of label and value are read.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import ReadError
from fringemap.io.signals import NO_SIZE, Content, Metadata, Signal, StoredSize, map_array, put, put_number, unusable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PIXELS = {1: "u1", 2: "<u2", 3: "<u4", 4: "i1", 5: "<i2", 6: "<i4", 7: "<f4", 8: "<f8", 9: "<c8", 10: "<c16"}
_PROFILES, _IMAGES = 0x4120, 0x4122
_ELEMENT = np.dtype(
    [
        ("x_offset", "<f8"),
        ("x_step", "<f8"),
        ("x_element", "<i4"),
        ("y_offset", "<f8"),
        ("y_step", "<f8"),
        ("y_element", "<i4"),
        ("kind", "<i2"),
        ("n_cols", "<i4"),
        ("n_rows", "<i4"),
    ]
)
# No pixel is a metre wide: such a step is one of reciprocal space.
_LARGEST_STEP_M = 1.0


def open_tia(path: Path) -> Content:
    """Open a .ser file, or the first series that belongs to an .emi file."""
    if path.suffix.lower() == ".emi":
        return _open_emi(path)
    return Content("TIA series", (_read_ser(path, _find_emi(path)),))


def ser_files(emi: Path) -> list[Path]:
    """Find the .ser files that belong to an .emi file by their names: name_1.ser, name_2.ser, ..."""
    pattern = re.compile(re.escape(emi.stem) + r"_(\d+)\.ser", re.IGNORECASE)
    found = [(int(m.group(1)), p) for p in emi.parent.iterdir() if (m := pattern.fullmatch(p.name))]
    return [p for _number, p in sorted(found)]


def _open_emi(path: Path) -> Content:
    series = ser_files(path)
    if not series:
        raise ReadError(
            f"{path.name} needs {path.stem}_1.ser beside it, where its pixels are; copy both files together"
        )
    return Content("TIA series", tuple(_read_ser(ser, path) for ser in series))


def _find_emi(ser: Path) -> Path | None:
    match = re.fullmatch(r"(.+)_\d+", ser.stem)
    for ending in (".emi", ".EMI"):
        if match and (emi := ser.with_name(match.group(1) + ending)).is_file():
            return emi
    return None


@dataclass(frozen=True)
class _Index:
    """Where the elements of a .ser file and their tags lie."""

    kind: int
    elements: NDArray[np.int64]
    tags: NDArray[np.int64]


def _read_ser(path: Path, emi: Path | None) -> Signal:
    raw = np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.empty(0, np.uint8)
    index = _read_index(path, raw)
    metadata = _emi_metadata(emi) if emi is not None else {}
    if index.kind == _PROFILES:
        return unusable(path.stem, "is a spectrum or a spectrum image, not an image", metadata)
    header = _record(path, raw, int(index.elements[0]), _ELEMENT)
    kind, shape = int(header["kind"]), (int(header["n_rows"]), int(header["n_cols"]))
    if kind not in _PIXELS:
        raise ReadError(f"{path.name} is damaged: it stores pixels of the unknown kind {kind}; copy the file again")
    dtype = np.dtype(_PIXELS[kind])
    expected = header[["kind", "n_cols", "n_rows"]]

    def load(i: int) -> NDArray[Any]:
        offset = int(index.elements[i])
        if _record(path, raw, offset, _ELEMENT)[["kind", "n_cols", "n_rows"]] != expected:
            raise ReadError(f"{path.name} is damaged: its frame {i} differs in size or type from the first")
        # TIA counts rows from the bottom of the image.
        return map_array(path, offset=offset + _ELEMENT.itemsize, dtype=dtype, shape=shape)[::-1]

    load(0)
    times, date = _times(path, raw, index)
    if date:
        metadata.setdefault("date", date)
    return Signal(
        title=path.stem,
        n_frames=len(index.elements),
        frame_shape=shape,
        dtype=dtype,
        load=load,
        pixel_size=_pixel_size(header),
        times_s=times,
        metadata=metadata,
    )


def _read_index(path: Path, raw: NDArray[np.uint8]) -> _Index:
    layout = [("order", "<u2"), ("series", "<u2"), ("version", "<u2"), ("kind", "<i4"), ("tag_kind", "<i4")]
    head = _record(path, raw, 0, np.dtype([*layout, ("n_total", "<i4"), ("n_valid", "<i4")]))
    if head["order"] != 0x4949 or head["series"] != 0x0197 or head["kind"] not in (_PROFILES, _IMAGES):
        raise ReadError(f"{path.name} is no TIA series (.ser), whatever its ending says")
    word = np.dtype("<i8" if head["version"] >= 0x0220 else "<i4")
    start = int(_record(path, raw, 22, np.dtype([("start", word)]))["start"])
    n_total, n_valid = int(head["n_total"]), int(head["n_valid"])
    if not 0 < n_valid <= n_total:
        raise ReadError(
            f"{path.name} holds {n_valid} of {n_total} frames: the recording was stopped or the file is damaged"
        )
    table = map_array(path, offset=start, dtype=word, shape=(2, n_total))
    return _Index(int(head["kind"]), table[0, :n_valid].astype(np.int64), table[1, :n_valid].astype(np.int64))


def _record(path: Path, raw: NDArray[np.uint8], offset: int, dtype: np.dtype[Any]) -> Any:
    if not 0 <= offset <= len(raw) - dtype.itemsize:
        raise ReadError(f"{path.name} is cut off or damaged: it points beyond its own end; copy the file again")
    return np.frombuffer(raw[offset : offset + dtype.itemsize].tobytes(), dtype)[0]


def _pixel_size(header: Any) -> tuple[StoredSize, StoredSize]:
    x, y = float(header["x_step"]), float(header["y_step"])
    if not (np.isfinite(x) and np.isfinite(y)):
        return NO_SIZE
    unit = "1/m" if max(abs(x), abs(y)) > _LARGEST_STEP_M else "m"
    return StoredSize(y, unit), StoredSize(x, unit)


def _times(path: Path, raw: NDArray[np.uint8], index: _Index) -> tuple[NDArray[np.float64] | None, str]:
    """Seconds since the first frame, where the tags (whole seconds since 1970) grow; and the date of the first."""
    tag = np.dtype([("kind", "<u2"), ("gap", "<u2"), ("time", "<i4")])
    if not all(0 <= offset <= len(raw) - tag.itemsize for offset in index.tags):
        return None, ""
    stamps = np.array([_record(path, raw, int(o), tag)["time"] for o in index.tags], dtype=np.float64)
    if stamps[0] <= 0:
        return None, ""
    date = dt.datetime.fromtimestamp(stamps[0], dt.UTC).isoformat(sep=" ", timespec="seconds")
    grows = len(stamps) > 1 and (np.diff(stamps) >= 0).all() and stamps[-1] > stamps[0]
    return (stamps - stamps[0] if grows else None), date


def _emi_metadata(path: Path) -> Metadata:
    """Labelled values of the XML inside an .emi file; nothing if there is none."""
    metadata: Metadata = {}
    text = path.read_bytes()
    start, end = text.find(b"<ObjectInfo>"), text.find(b"</ObjectInfo>")
    if not 0 <= start < end:
        return metadata
    xml = text[start:end].decode("utf-8", "replace")
    pairs = dict(re.findall(r"<Label>([^<]{1,80})</Label>\s*<Value>([^<]{1,200})</Value>", xml))
    put(metadata, "instrument", pairs.get("Microscope", ""))
    put(metadata, "camera", pairs.get("Camera name", "") or pairs.get("Camera Name", ""))
    put_number(metadata, "high_tension_kv", _first(r"<AccelerationVoltage>([^<]+)<", xml), 1e-3)
    put_number(metadata, "high_tension_kv", pairs.get("High tension", "").removesuffix("kV"))
    put_number(metadata, "magnification", pairs.get("Magnification", "").removesuffix("x"))
    put_number(metadata, "exposure_s", _first(r"<(?:Exposure|Integration)Time>([^<]+)<", xml))
    put_number(metadata, "dwell_time_s", _first(r"<DwellTimePath>([^<]+)<|<DwellTime>([^<]+)<", xml))
    put(metadata, "date", _first(r"<AcquireDate>([^<]+)<", xml))
    return metadata


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return next((group for group in match.groups() if group), "") if match else ""
