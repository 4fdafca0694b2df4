"""TIA files: .ser with its pixels, .emi beside it with what the microscope said, through RosettaSciIO.

RosettaSciIO reads all frames of a .ser file whenever it is opened, even lazily. So its own functions understand the
headers here (the file's, each element's, the .emi file's), and the frames are mapped to memory one by one.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rsciio.tia import _api as tia

from fringemap.errors import ReadError
from fringemap.io.pairs import emi_file, ser_files
from fringemap.io.rosetta import BoundedReader, look
from fringemap.io.signals import NO_SIZE, Content, Metadata, Signal, StoredSize, map_array, put, put_number, unusable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

_PROFILES, _IMAGES = 0x4120, 0x4122
# No pixel is a metre wide: such a step is one of reciprocal space.
_LARGEST_STEP_M = 1.0


@dataclass(frozen=True)
class _Emi:
    """What an .emi file says of one series."""

    words: dict[str, Any]
    reciprocal: bool = False
    """The pixels are those of a diffraction pattern."""
    remarks: tuple[str, ...] = ()


def open_tia(path: Path) -> Content:
    """Open a .ser file, or all series that belong to an .emi file."""
    if path.suffix.lower() != ".emi":
        return Content("TIA series", (_read_ser(path, emi_file(path)),))
    series = ser_files(path)
    if not series:
        raise ReadError(
            f"{path.name} needs {path.stem}_1.ser beside it, where its pixels are; copy both files together"
        )
    return Content("TIA series", tuple(_read_ser(ser, path) for ser in series))


def _read_ser(path: Path, emi: Path | None) -> Signal:
    header = _read_header(path)
    about = _read_emi(path, emi, header) if emi is not None else _Emi({})
    metadata = _metadata(about.words)
    if header["DataTypeID"][0] == _PROFILES:
        return unusable(path.stem, "is a spectrum or a spectrum image, not an image", metadata)
    offsets, tag_offsets = _read_index(path, header)
    with BoundedReader(path) as file:
        layout, (n_cols, n_rows) = tia.get_data_dtype_list(file, int(offsets[0]), "image")
    element = np.dtype(layout)
    first = map_array(path, offset=int(offsets[0]), dtype=element, shape=(1,))[0]
    expected = first["DataType"], n_cols, n_rows

    def load(i: int) -> NDArray[Any]:
        found = map_array(path, offset=int(offsets[i]), dtype=element, shape=(1,))[0]
        if (found["DataType"], found["ArraySizeX"], found["ArraySizeY"]) != expected:
            raise ReadError(f"{path.name} is damaged: its frame {i} differs in size or type from the first")
        # TIA counts rows from the bottom of the image.
        return np.asarray(found["Array"]).reshape(n_rows, n_cols)[::-1]

    times, date = _times(path, tag_offsets, int(header["TagTypeID"][0]))
    if date:
        metadata.setdefault("date", date)
    return Signal(
        title=path.stem,
        n_frames=len(offsets),
        frame_shape=(n_rows, n_cols),
        dtype=element["Array"].base,
        load=load,
        pixel_size=_pixel_size(first, reciprocal=about.reciprocal),
        times_s=times,
        metadata=metadata,
        remarks=about.remarks,
    )


def _read_header(path: Path) -> NDArray[Any]:
    with BoundedReader(path) as file:
        header = np.fromfile(file, np.dtype(tia.get_header_dtype_list(file)), count=1)
    if len(header) == 0 or header["SeriesID"][0] != 0x0197 or header["DataTypeID"][0] not in (_PROFILES, _IMAGES):
        raise ReadError(f"{path.name} is no TIA series (.ser), whatever its ending says")
    return header


def _read_index(path: Path, header: NDArray[Any]) -> NDArray[Any]:
    """Where the elements lie, and their tags: (2, n_frames)."""
    n_total, n_valid = int(header["TotalNumberElements"][0]), int(header["ValidNumberElements"][0])
    if not 0 < n_valid <= n_total:
        raise ReadError(
            f"{path.name} holds {n_valid} of {n_total} frames: the recording was stopped or the file is damaged"
        )
    place = header["OffsetArrayOffset"]
    return map_array(path, offset=int(place[0]), dtype=place.dtype, shape=(2, n_total))[:, :n_valid].copy()


def _pixel_size(element: Any, *, reciprocal: bool) -> tuple[StoredSize, StoredSize]:
    x, y = float(element["CalibrationDeltaX"]), float(element["CalibrationDeltaY"])
    if not (np.isfinite(x) and np.isfinite(y)):
        return NO_SIZE
    unit = "1/m" if reciprocal or max(abs(x), abs(y)) > _LARGEST_STEP_M else "m"
    return StoredSize(y, unit), StoredSize(x, unit)


def _times(path: Path, offsets: NDArray[Any], kind: int) -> tuple[NDArray[np.float64] | None, str]:
    """Seconds since the first frame, where the tags (whole seconds since 1970) grow; and the date of the first."""
    tag = np.dtype(tia.get_data_tag_dtype_list(kind))
    if int(offsets.max()) + tag.itemsize > path.stat().st_size:
        return None, ""
    with path.open("rb") as file:
        stamps = np.array([_stamp(file, int(offset), tag) for offset in offsets])
    if stamps[0] <= 0:
        return None, ""
    date = dt.datetime.fromtimestamp(stamps[0], dt.UTC).isoformat(sep=" ", timespec="seconds")
    grows = len(stamps) > 1 and (np.diff(stamps) >= 0).all() and stamps[-1] > stamps[0]
    return (stamps - stamps[0] if grows else None), date


def _stamp(file: Any, offset: int, tag: np.dtype[Any]) -> float:
    file.seek(offset)
    return float(np.fromfile(file, tag, count=1)["Time"][0])


def _read_emi(ser: Path, emi: Path, header: NDArray[Any]) -> _Emi:
    """Read what an .emi file says of one of its series; the image is of use without it, so a bad one is remarked."""
    try:
        objects = tia.get_xml_info_from_emi(str(emi))
        number = int(ser.stem.rsplit("_", 1)[-1])
        about = tia.convert_xml_to_dict(objects[min(number, len(objects)) - 1])
        return _Emi(about.to_dict()["ObjectInfo"], tia._guess_units_from_mode(about, header) == "1/meters")
    except Exception as error:
        _log.debug("%s: %s", emi.name, error)
        return _Emi({}, remarks=(f"{emi.name} cannot be read, so what it says of the microscope is missing",))


def _metadata(about: Any) -> Metadata:
    metadata: Metadata = {}
    scope, taken = look(about, "ExperimentalDescription"), look(about, "AcquireInfo")
    put(metadata, "instrument", look(scope, "Microscope"))
    put(metadata, "camera", look(taken, "CameraNamePath"))
    put_number(
        metadata,
        "high_tension_kv",
        look(about, "ExperimentalConditions", "MicroscopeConditions", "AcceleratingVoltage"),
        1e-3,
    )
    put_number(metadata, "high_tension_kv", look(scope, "High tension_kV"))
    put_number(metadata, "magnification", look(scope, "Magnification_x"))
    put_number(metadata, "defocus_nm", look(scope, "Defocus_um"), 1e3)
    put_number(metadata, "stage_tilt_deg", look(scope, "Stage A_deg"))
    put_number(metadata, "exposure_s", look(taken, "IntegrationTime"))
    put_number(metadata, "dwell_time_s", look(taken, "DwellTimePath"))
    put(metadata, "date", look(about, "AcquireDate"))
    return metadata
