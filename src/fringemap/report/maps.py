"""Maps on disk: ``maps.ome.tif`` and ``masks.ome.tif``, axes frame, phase, y, x, with named channels and a pixel size.

Amplitudes are stored as they are: zlib saves 17 % of smooth float32 maps and takes longer than the whole rest of the
writing (0.17 s against 0.004 s for six maps of 512²). Masks are compressed: ten times smaller in 10 ms.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import tifffile
from scipy import ndimage

from fringemap.records import UNKNOWN
from fringemap.report.atomic import atomic_write, writing
from fringemap.report.words import NM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fringemap.records import FloatArray, FrameResult, PhaseMap

    Shifts = Callable[[], FloatArray | None]

MAPS_NAME = "maps.ome.tif"
MASKS_NAME = "masks.ome.tif"
_CLASSIC_TIFF_BYTES = 2**32 - 2**25


@dataclass(frozen=True)
class _Grid:
    """Where the pixels of a map lie: shape, pixel size and first centre, both in Å along (rows, cols)."""

    shape: tuple[int, int]
    pixel: tuple[float, float]
    origin: tuple[float, float]


@dataclass(frozen=True)
class _Entry:
    """One stored map: its frame's ordinal, its phase, and where its bytes start in the spool."""

    frame: int
    phase: str
    grid: _Grid
    offset: int


@dataclass
class _Spool:
    """Maps of all frames so far, on disk, so that a long series takes no more memory than a short one."""

    stream: IO[bytes]
    entries: dict[tuple[int, str], _Entry] = field(default_factory=dict)
    times_s: list[float | None] = field(default_factory=list)
    end: int = 0
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def append(self, result: FrameResult) -> None:
        frame = len(self.times_s)
        self.times_s.append(result.time_s)
        for phase_map in result.maps:
            self._store(frame, phase_map, result.scale.pixel_size_angstrom)

    def _store(self, frame: int, phase_map: PhaseMap, frame_pixel: tuple[float, float]) -> None:
        grid = _Grid(
            _as_pair(phase_map.amplitude.shape),
            phase_map.pixel_size_angstrom,
            (phase_map.origin_px[0] * frame_pixel[0], phase_map.origin_px[1] * frame_pixel[1]),
        )
        self.entries[frame, phase_map.phase] = _Entry(frame, phase_map.phase, grid, self.end)
        self.stream.seek(self.end)
        self.stream.write(np.ascontiguousarray(phase_map.amplitude, dtype=np.float32).data)
        mask = np.ascontiguousarray(phase_map.mask, dtype=np.uint8).data
        self.stream.write(mask)
        self.end = self.stream.tell()
        self.digest.update(f"{frame} {phase_map.phase} {phase_map.intensity}".encode())
        self.digest.update(mask)

    def phases(self) -> list[str]:
        """Give the phases in the order of their first appearance, the unknown last."""
        seen = dict.fromkeys(phase for _, phase in self.entries)
        return sorted(seen, key=lambda phase: phase == UNKNOWN)

    def finest_grid(self) -> _Grid:
        """Give the grid with the most pixels; the others are brought onto it."""
        return max((entry.grid for entry in self.entries.values()), key=lambda grid: grid.shape[0] * grid.shape[1])

    def load(self, entry: _Entry, *, mask: bool) -> NDArray[Any]:
        n = entry.grid.shape[0] * entry.grid.shape[1]
        dtype = np.dtype(np.uint8 if mask else np.float32)
        self.stream.seek(entry.offset + (4 * n if mask else 0))
        return np.frombuffer(self.stream.read(n * dtype.itemsize), dtype=dtype).reshape(entry.grid.shape)


def _as_pair(shape: tuple[int, ...]) -> tuple[int, int]:
    rows, cols = shape
    return rows, cols


@contextmanager
def write_maps(folder: Path, *, shifts: Shifts = lambda: None) -> Iterator[Callable[[FrameResult], None]]:
    """Open ``maps.ome.tif`` and ``masks.ome.tif`` in ``folder``.

    Amplitude is float32 in counts, NaN for a phase that has no map in a frame; the mask is uint8, 0 or 1. Channels
    are the phases of all frames in the order of their first appearance, the unknown last. Where maps differ in their
    pixel size, all are brought onto the finest grid: amplitudes linearly, masks by the nearest pixel. Memory
    does not grow with the number of frames. Without any map no file is written; those of an earlier run are removed.

    Parameters
    ----------
    folder
        Where the files go.
    shifts
        Asked after the last frame: where the specimen lies in each, seen from the first [Å], (n, 2). Maps are then
        shifted back by it; what comes from outside of the frame is NaN, or 0 in a mask. Frames with a shift of NaN stay
        as they are. None leaves all where they were taken.

    Yields
    ------
    function
        Appends one frame. The files appear when the block ends without an error.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    maps, masks = folder / MAPS_NAME, folder / MASKS_NAME
    with writing(maps):
        folder.mkdir(parents=True, exist_ok=True)
        # In the same folder: the system's temporary folder may be a small disk in memory.
        stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below
    try:
        spool = _Spool(stream)

        def append(result: FrameResult) -> None:
            with writing(maps):
                spool.append(result)

        yield append
        back = shifts()
        _write_stack(maps, spool, back, mask=False)
        _write_stack(masks, spool, back, mask=True)
    finally:
        stream.close()


def _write_stack(path: Path, spool: _Spool, shifts: FloatArray | None, *, mask: bool) -> None:
    if not spool.entries:
        with writing(path):
            path.unlink(missing_ok=True)
        return
    grid, phases = spool.finest_grid(), spool.phases()
    shape = (len(spool.times_s), len(phases), *grid.shape)
    dtype = np.dtype(np.uint8 if mask else np.float32)
    with atomic_write(path) as temporary:
        _check_space(temporary, int(np.prod(shape)) * (0 if mask else dtype.itemsize))
        tifffile.imwrite(
            temporary,
            data=_planes(spool, grid, phases, shifts, mask=mask),
            shape=shape,
            dtype=dtype,
            ome=True,
            photometric="minisblack",
            bigtiff=int(np.prod(shape)) * dtype.itemsize > _CLASSIC_TIFF_BYTES,
            compression="zlib" if mask else None,
            compressionargs={"level": 1} if mask else None,
            metadata=_metadata(spool, grid, phases)
            | ({} if shifts is None else {"Description": describe_shifts(shifts)}),
            software="fringemap",
        )


def _check_space(path: Path, n_bytes: int) -> None:
    # A disk that fills up half-way costs minutes on a long series.
    if shutil.disk_usage(path.parent).free < n_bytes:
        raise OSError(errno.ENOSPC, "not enough space", str(path))


def _metadata(spool: _Spool, grid: _Grid, phases: list[str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        # OME wants an identifier; one made from the content keeps files of equal runs equal.
        "UUID": str(uuid.UUID(bytes=spool.digest.digest())),
        "axes": "TCYX",
        "PhysicalSizeX": NM * grid.pixel[1],
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": NM * grid.pixel[0],
        "PhysicalSizeYUnit": "nm",
        "Channel": {"Name": phases},
    }
    times = [time for time in spool.times_s if time is not None]
    if len(times) == len(spool.times_s):
        metadata["Plane"] = {
            "DeltaT": [t for t in times for _ in phases],
            "DeltaTUnit": ["s"] * len(times) * len(phases),
        }
    return metadata


def describe_shifts(shifts: FloatArray) -> str:
    """Say which maps follow the specimen and which could not be shifted; frames are counted in the maps, from 0."""
    unknown = np.flatnonzero(np.isnan(shifts).any(axis=1)).tolist()
    said = "Shifted back by the drift: the specimen lies where it is in the first frame"
    if not unknown:
        return f"{said}."
    return f"{said}, but in frames {', '.join(map(str, unknown))}, whose drift is unknown and which were not shifted."


def _planes(
    spool: _Spool, grid: _Grid, phases: list[str], shifts: FloatArray | None, *, mask: bool
) -> Iterator[NDArray[Any]]:
    empty = np.zeros(grid.shape, np.uint8) if mask else np.full(grid.shape, np.nan, np.float32)
    for frame in range(len(spool.times_s)):
        for phase in phases:
            entry = spool.entries.get((frame, phase))
            if entry is None:
                yield empty
                continue
            plane = _on_grid(spool.load(entry, mask=mask), entry.grid, grid, mask=mask)
            yield plane if shifts is None else _shifted_back(plane, shifts[frame] / grid.pixel, mask=mask)


def _shifted_back(image: NDArray[Any], shift_px: FloatArray, *, mask: bool) -> NDArray[Any]:
    """Move a map against a shift; maps are oversampled several times, so that linear interpolation keeps amplitudes."""
    if not (np.isfinite(shift_px).all() and shift_px.any()):
        return image
    outside = 0 if mask else np.nan
    moved: NDArray[Any] = ndimage.shift(image, -shift_px, order=0 if mask else 1, mode="constant", cval=outside)
    return moved


def _on_grid(image: NDArray[Any], source: _Grid, target: _Grid, *, mask: bool) -> NDArray[Any]:
    """Bring a map onto another grid; pixel centres keep their place in the frame."""
    if source == target:
        return image
    ratio = np.divide(target.pixel, source.pixel)
    shift = np.subtract(target.origin, source.origin) / source.pixel
    moved: NDArray[Any] = ndimage.affine_transform(
        image, ratio, offset=shift, output_shape=target.shape, order=0 if mask else 1, mode="nearest"
    )
    return moved
