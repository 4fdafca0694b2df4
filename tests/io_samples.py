"""Small files of every format with known pixels and pixel sizes, built byte by byte or by the format's own library."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import tifffile
from PIL import Image

from fringemap.io import write_mrc, write_tif

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS_NM, COLS_NM = 0.021, 0.02

_DM_TYPES = {
    "int16": (2, 1),
    "uint16": (4, 10),
    "int32": (3, 7),
    "float32": (6, 2),
    "uint8": (10, 6),
    "float64": (7, 12),
}


class _DmTags:
    """Writes DigitalMicrograph tags; version 4 adds the length of each tag, which readers may ignore."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.word = ">q" if version == 4 else ">i"

    def group(self, members: list[tuple[str, bytes]]) -> bytes:
        return b"\1\0" + struct.pack(self.word, len(members)) + b"".join(body for _name, body in members)

    def tag(self, name: str, body: bytes, kind: int) -> tuple[str, bytes]:
        head = struct.pack(">BH", kind, len(name)) + name.encode("latin-1")
        return name, head + (struct.pack(">q", len(body)) if self.version == 4 else b"") + body

    def sub(self, name: str, members: list[tuple[str, bytes]]) -> tuple[str, bytes]:
        return self.tag(name, self.group(members), 20)

    def data(self, name: str, info: tuple[int, ...], raw: bytes) -> tuple[str, bytes]:
        words = struct.pack(f">{len(info) + 1}{self.word[1]}", len(info), *info)
        return self.tag(name, b"%%%%" + words + raw, 21)

    def number(self, name: str, value: float) -> tuple[str, bytes]:
        return self.data(name, (6,), struct.pack("<f", value))

    def integer(self, name: str, value: int) -> tuple[str, bytes]:
        return self.data(name, (5,), struct.pack("<I", value))

    def text(self, name: str, value: str) -> tuple[str, bytes]:
        return self.data(name, (20, 4, len(value)), value.encode("utf-16-le"))


def write_dm(
    path: Path,
    data: np.ndarray,
    *,
    version: int = 4,
    sizes: tuple[tuple[float, str], ...] = ((COLS_NM, "nm"), (ROWS_NM, "nm"), (0.5, "s")),
    thumbnail: bool = True,
    extra: list[tuple[str, Any]] | None = None,
) -> Path:
    """Write a .dm3/.dm4 with one image or stack; ``sizes`` along columns, rows, frames, as the format orders them."""
    t = _DmTags(version)

    def image(pixels: np.ndarray, kind: int, code: int) -> bytes:
        axes = [
            t.sub("", [t.number("Scale", value), t.number("Origin", 0.0), t.text("Units", unit)])
            for value, unit in sizes[: pixels.ndim]
        ]
        body = [
            t.sub("Calibrations", [t.sub("Dimension", axes)]),
            t.data("Data", (20, code, pixels.size), pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()),
            t.integer("DataType", kind),
            t.sub("Dimensions", [t.integer("", n) for n in reversed(pixels.shape)]),
        ]
        scope = [t.number("Voltage", 300000.0), t.text("Microscope", "Sample scope")]
        tags = t.sub("ImageTags", [t.sub("Microscope Info", scope)])
        return t.group([t.sub("ImageData", body), tags, t.text("Name", "a sample")])

    code, kind = _DM_TYPES[data.dtype.name]
    images = [t.tag("", image(np.zeros((8, 8), "<i4"), 23, 3), 20)] if thumbnail else []
    images.append(t.tag("", image(data, kind, code), 20))
    tree = [t.sub("ImageList", images)]
    if thumbnail:
        tree.append(t.sub("Thumbnails", [t.sub("", [t.integer("ImageIndex", 0)])]))
    body = t.group(tree)
    path.write_bytes(struct.pack(">i", version) + struct.pack(t.word, len(body)) + struct.pack(">i", 1) + body)
    return path


def write_ser(path: Path, stack: np.ndarray, *, step_m: tuple[float, float] = (ROWS_NM * 1e-9, COLS_NM * 1e-9)) -> Path:
    """Write a .ser of float32 frames, one second apart, rows from the bottom as TIA keeps them."""
    n, rows, cols = stack.shape
    dimension = struct.pack("<iddii6si", n, 0.0, 1.0, 0, 6, b"Number", 0)
    head = 34 + len(dimension)
    element = 50 + rows * cols * 4
    first = head + 16 * n
    tags = first + n * element
    raw = struct.pack("<HHHiiii", 0x4949, 0x0197, 0x0220, 0x4122, 0x4152, n, n)
    raw += struct.pack("<qi", head, 1) + dimension
    raw += struct.pack(f"<{n}q", *(first + k * element for k in range(n)))
    raw += struct.pack(f"<{n}q", *(tags + 8 * k for k in range(n)))
    for frame in stack:
        raw += struct.pack("<ddiddihii", 0.0, step_m[1], 0, 0.0, step_m[0], 0, 7, cols, rows)
        raw += frame[::-1].astype("<f4").tobytes()
    raw += b"".join(struct.pack("<HHi", 0x4152, 0, 1_500_000_000 + k) for k in range(n))
    path.write_bytes(raw)
    return path


def write_emi(path: Path, *, mode: str = "TEM uP SA Zoom Image") -> Path:
    """Write what an .emi file says of its first series, between bytes of its own."""
    said = (("High tension", "300", "kV"), ("Magnification", "500000", "x"), ("Mode", mode, ""))
    data = "".join(f"<Data><Label>{k}</Label><Value>{v}</Value><Unit>{u}</Unit></Data>" for k, v, u in said)
    about = f"<ExperimentalDescription><Root>{data}</Root></ExperimentalDescription>"
    taken = "<AcquireDate>Sun Feb 21 17:49:06 2016</AcquireDate><AcquireInfo><Binning>1</Binning></AcquireInfo>"
    path.write_bytes(f"xx<ObjectInfo>{about}{taken}</ObjectInfo>yy".encode())
    return path


def write_velox(path: Path, stack: np.ndarray, *, chunk_frames: int = 1, compress: bool = False) -> Path:
    """Write a Velox .emd: frames along the last axis, a column of JSON for each."""
    details = {
        "BinaryResult": {
            "PixelSize": {"width": str(COLS_NM * 1e-9), "height": str(ROWS_NM * 1e-9)},
            "PixelUnitX": "m",
            "PixelUnitY": "m",
            "Detector": "Ceta",
            "DetectorIndex": "0",
        },
        "Acquisition": {},
        "CustomProperties": {},
        "Detectors": {"Detector-0": {"DetectorName": "Ceta"}},
        "Optics": {"AccelerationVoltage": "300000"},
        "Scan": {"FrameTime": "0.5"},
    }
    text = np.frombuffer(json.dumps(details).encode().ljust(2048, b"\0"), np.uint8)
    data = np.moveaxis(stack, 0, -1)
    with h5py.File(path, "w") as file:
        file["Version"] = [json.dumps({"format": "Velox", "version": "10"})]
        file["Operations/CameraInputOperation/0"] = [
            json.dumps({"dataPath": "/Data/Image/0123456789abcdef", "cameraName": "Ceta"})
        ]
        group = file.create_group("Data/Image/0123456789abcdef")
        chunks = (*data.shape[:2], chunk_frames)
        group.create_dataset("Data", data=data, chunks=chunks, compression="gzip" if compress else None)
        group.create_dataset("Metadata", data=np.repeat(text[:, None], len(stack), axis=1))
    return path


def write_ncem(path: Path, stack: np.ndarray) -> Path:
    """Write a Berkeley .emd: frames first, an array of positions for each axis."""
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/image")
        group.attrs["emd_group_type"] = 1
        group["data"] = stack
        steps = ((0.5, "[s]"), (ROWS_NM, "[n_m]"), (COLS_NM, "[n_m]"))
        for k, (step, unit) in enumerate(steps):
            group[f"dim{k + 1}"] = np.arange(stack.shape[k]) * step
            group[f"dim{k + 1}"].attrs["units"] = unit
    return path


def write_hspy(path: Path, stack: np.ndarray) -> Path:
    """Write an .hspy through RosettaSciIO."""
    from rsciio.hspy import file_writer

    steps = (("time", 0.5, "s", True), ("y", ROWS_NM, "nm", False), ("x", COLS_NM, "nm", False))
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": name,
            "scale": scale,
            "offset": 0.0,
            "size": stack.shape[k],
            "units": units,
            "navigate": navigate,
            "index_in_array": k,
        }
        for k, (name, scale, units, navigate) in enumerate(steps)
    ]
    signal = {
        "data": stack,
        "axes": axes,
        "metadata": {"General": {"title": "a sample"}, "Signal": {"signal_type": ""}},
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "fringemap tests", "package_version": "0"},
        "learning_results": {},
        "models": None,
        "tmp_parameters": {},
    }
    file_writer(str(path), signal)
    return path


def write_dm_tif(path: Path, stack: np.ndarray, *, unit: bytes = b"nm") -> Path:
    """Write a TIFF with DigitalMicrograph's private tags."""
    values = ((65009, COLS_NM), (65010, ROWS_NM), (65011, 0.5))
    texts = ((65003, unit), (65004, unit), (65005, b"s"))
    tags = [(code, 12, 1, value, True) for code, value in values] + [(code, 2, 0, text, True) for code, text in texts]
    tifffile.imwrite(path, stack, photometric="minisblack", metadata=None, extratags=tags, resolution=(72, 72))
    return path


def write_ome_tif(path: Path, stack: np.ndarray) -> Path:
    details = {
        "axes": "TYX",
        "PhysicalSizeX": COLS_NM,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": ROWS_NM * 1e-3,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": 500.0,
        "TimeIncrementUnit": "ms",
    }
    tifffile.imwrite(path, stack, ome=True, metadata=details)
    return path


def write_png(path: Path, stack: np.ndarray) -> Path:
    Image.fromarray(stack[0].astype(np.uint8)).save(path)
    return path


@dataclass(frozen=True)
class Sample:
    """One format: how to write it, and what can be expected back."""

    ending: str
    write: Callable[[Path, np.ndarray], Any]
    has_size: bool = True
    has_times: bool = True
    is_stack: bool = True
    interval_s: float = 0.5


_SIZE = (ROWS_NM * 10, COLS_NM * 10)

SAMPLES = {
    "dm3": Sample(".dm3", lambda path, stack: write_dm(path, stack, version=3)),
    "dm4": Sample(".dm4", lambda path, stack: write_dm(path, stack, version=4)),
    "mrc": Sample(".mrc", lambda p, s: write_mrc(p, s, pixel_size_angstrom=_SIZE, frame_time_s=0.5)),
    "mrcs": Sample(".mrcs", lambda p, s: write_mrc(p, s, pixel_size_angstrom=_SIZE, frame_time_s=0.5)),
    "ser": Sample("_1.ser", write_ser, interval_s=1.0),
    "velox": Sample(".emd", write_velox),
    "ncem": Sample(".emd", write_ncem),
    "hspy": Sample(".hspy", write_hspy),
    "imagej": Sample(".tif", lambda p, s: write_tif(p, s, pixel_size_angstrom=_SIZE, frame_time_s=0.5)),
    "dm_tif": Sample(".tif", write_dm_tif),
    "ome_tif": Sample(".ome.tif", write_ome_tif),
    "plain_tif": Sample(
        ".tiff", lambda p, s: tifffile.imwrite(p, s, photometric="minisblack"), has_size=False, has_times=False
    ),
    "zlib_tif": Sample(
        ".tif",
        lambda p, s: tifffile.imwrite(p, s, photometric="minisblack", compression="zlib"),
        has_size=False,
        has_times=False,
    ),
    "npy": Sample(".npy", np.save, has_size=False, has_times=False),
    "png": Sample(".png", write_png, has_size=False, has_times=False, is_stack=False),
    "bmp": Sample(".bmp", write_png, has_size=False, has_times=False, is_stack=False),
}
