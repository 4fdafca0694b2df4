"""MRC images and stacks (.mrc, .mrcs), with the extended headers of FEI and Thermo Fisher."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Literal

import mrcfile
import numpy as np

from fringemap.errors import ReadError
from fringemap.io.signals import NO_SIZE, OUR_LABEL, Content, Metadata, Signal, StoredSize, map_frames, put, unusable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_HEADER_BYTES = 1024
_PIXELS = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 4: "c8", 3: "c4"}


def open_mrc(path: Path) -> Content:
    """Open an MRC file; rows stay in the order of the file, as cameras write them."""
    header, order = _header(path)
    mode = int(header["mode"])
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    title = path.stem
    if mode in (3, 4):
        return Content("MRC", (unusable(title, "holds complex numbers (a Fourier transform saved as an image)"),))
    if mode not in _PIXELS:
        raise ReadError(
            f"{path.name} stores its pixels in the MRC mode {mode}, which is not known; save it as 16-bit or float"
        )
    dtype = np.dtype(_PIXELS[mode]).newbyteorder(order)
    extended = int(header["nsymbt"])
    start = _HEADER_BYTES + extended
    load = map_frames(path, offset=start, dtype=dtype, n_frames=shape[0], frame_shape=shape[1:])
    records = _extended(path, header, extended, shape[0])
    metadata, times = _from_records(records, shape[0])
    labels = [bytes(label).decode("ascii", "replace") for label in header["label"]]
    ours = any(label.startswith(OUR_LABEL) for label in labels)
    return Content(
        "MRC",
        (
            Signal(
                title=title,
                n_frames=shape[0],
                frame_shape=(shape[1], shape[2]),
                dtype=dtype,
                load=load,
                pixel_size=_pixel_size(header, records, trusted=ours),
                times_s=times,
                metadata=metadata,
                trusted=ours,
                remarks=_surplus(path, start + math.prod(shape) * dtype.itemsize),
            ),
        ),
    )


def _surplus(path: Path, expected: int) -> tuple[str, ...]:
    surplus = path.stat().st_size - expected
    if surplus <= 0:
        return ()
    return (f"the file has {surplus:,} bytes more than its header announces: it may be damaged or still growing",)


def _header(path: Path) -> tuple[Any, Literal["<", ">"]]:
    """Header record and byte order, told by the machine stamp or, where that is blank, by a plausible mode."""
    if path.stat().st_size < _HEADER_BYTES:
        raise ReadError(f"{path.name} is shorter than an MRC header ({_HEADER_BYTES} bytes); copy the file again")
    with path.open("rb") as file:
        raw = file.read(_HEADER_BYTES)
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        header = np.frombuffer(raw, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order))[0]
        plausible = 0 <= header["mode"] <= 101 and all(0 < header[n] < 1 << 24 for n in ("nx", "ny", "nz"))
        if plausible and header["nsymbt"] >= 0:
            return header, order
    raise ReadError(f"{path.name} has no MRC header that makes sense; it is damaged or something else")


def _extended(path: Path, header: Any, n_bytes: int, n_frames: int) -> NDArray[Any] | None:
    """Per-frame records of an FEI extended header, if there is one."""
    kind = bytes(header["exttyp"])
    if kind not in (b"FEI1", b"FEI2") or n_bytes <= 0:
        return None
    dtype = mrcfile.dtypes.get_ext_header_dtype(kind, header.dtype["nx"].byteorder.replace("=", "<"))
    with path.open("rb") as file:
        file.seek(_HEADER_BYTES)
        step = int(np.frombuffer(file.read(4), "<i4")[0])
        step = step if dtype.itemsize <= step <= n_bytes else dtype.itemsize
        count = min(n_bytes // step, n_frames)
        file.seek(_HEADER_BYTES)
        raw = np.frombuffer(file.read(count * step), np.uint8)
    if count == 0 or len(raw) < count * step:
        return None
    records: NDArray[Any] = raw.reshape(count, step)[:, : dtype.itemsize].copy().view(dtype)[:, 0]
    return records


def _from_records(records: NDArray[Any] | None, n_frames: int) -> tuple[Metadata, NDArray[np.float64] | None]:
    metadata: Metadata = {}
    if records is None:
        return metadata, None
    first = records[0]
    put(metadata, "high_tension_kv", first["HT"], 1e-3)
    put(metadata, "magnification", first["Magnification"])
    put(metadata, "exposure_s", first["Integration time"])
    put(metadata, "defocus_nm", first["Defocus"], 1e9)
    put(metadata, "stage_tilt_deg", first["Alpha tilt"])
    put(metadata, "dose_e_per_square_angstrom", first["Dose"], 1e-20)
    for word, name in (("instrument", "Microscope type"), ("camera", "Camera name"), ("software", "Application")):
        put(metadata, word, bytes(first[name]).decode("ascii", "ignore"))
    # The time stamp counts days, as a spreadsheet does.
    stamps = records["Timestamp"].astype(np.float64) * 86400.0
    good = len(stamps) == n_frames > 1 and np.isfinite(stamps).all() and (np.diff(stamps) > 0).all()
    return metadata, stamps - stamps[0] if good else None


def _pixel_size(header: Any, records: NDArray[Any] | None, *, trusted: bool) -> tuple[StoredSize, StoredSize]:
    """Rows, cols. The extended header holds metres; the cell, divided by its sampling, Å."""
    if records is not None:
        x, y = float(records[0]["Pixel size X"]), float(records[0]["Pixel size Y"])
        if x > 0 and y > 0:
            return StoredSize(y, "m"), StoredSize(x, "m")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        x = float(header["cella"]["x"]) / float(header["mx"]) if header["mx"] > 0 else 0.0
        y = float(header["cella"]["y"]) / float(header["my"]) if header["my"] > 0 else 0.0
    if x == y == 1.0 and not trusted:
        # Programs that know no pixel size write a cell as large as the number of pixels.
        return NO_SIZE
    return StoredSize(y, "Å"), StoredSize(x, "Å")
