"""Write frames in formats that every microscopist's program opens; whole files or none."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import OutputError
from fringemap.io.signals import OUR_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_MRC_MODES = {"int8": 0, "int16": 1, "float32": 2, "uint16": 6}
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")


def write_mrc(
    path: str | Path,
    frames: NDArray[Any] | Sequence[NDArray[Any]],
    *,
    pixel_size_angstrom: tuple[float, float],
    frame_time_s: float | None = None,
    high_tension_kv: float = 0.0,
) -> Path:
    """Write an MRC image or stack.

    Parameters
    ----------
    path
        Replaced if it is there.
    frames
        One image (n_rows, n_cols), or a stack of them; int8, int16, uint16 and float32 stay, others become float32.
    pixel_size_angstrom
        Along (rows, cols) [Å]. Written into the cell and, in double precision, into an extended header as FEI's
        microscopes write it.
    frame_time_s
        From one frame to the next [s]; written as time stamps.
    high_tension_kv
        0: not written.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    OutputError
        If the frames differ in shape, or the file cannot be written.
    """
    import mrcfile

    stack = _as_stack(frames)
    dtype = stack[0].dtype if stack[0].dtype.name in _MRC_MODES else np.dtype(np.float32)
    n_rows, n_cols = stack[0].shape
    records = _fei_records(len(stack), pixel_size_angstrom, frame_time_s, high_tension_kv)
    with (
        _whole(Path(path)) as temporary,
        mrcfile.new_mmap(
            temporary,
            (len(stack), n_rows, n_cols),
            mrc_mode=_MRC_MODES[dtype.name],
            overwrite=True,
            extended_header=records,
            exttyp="FEI1",
        ) as file,
    ):
        file.set_image_stack()
        file.voxel_size = (pixel_size_angstrom[1], pixel_size_angstrom[0], pixel_size_angstrom[1])
        file.header.label[0] = f"{OUR_LABEL}: the pixel size is meant"
        for k, frame in enumerate(stack):
            file.data[k] = frame
    return Path(path)


def write_tif(
    path: str | Path,
    frames: NDArray[Any] | Sequence[NDArray[Any]],
    *,
    pixel_size_angstrom: tuple[float, float] | None,
    frame_time_s: float | None = None,
) -> Path:
    """Write a TIFF image or stack as ImageJ does, its pixel size in nm; see ``write_mrc`` for the parameters.

    uint8, uint16 and float32 stay, other types become float32. A pixel size of None is not known, and not written.
    """
    import tifffile

    stack = _as_stack(frames)
    dtype = stack[0].dtype if stack[0].dtype.name in _IMAGEJ_TYPES else np.dtype(np.float32)
    details: dict[str, Any] = {"axes": "TYX"}
    resolution = None
    if pixel_size_angstrom is not None:
        rows, cols = (size / 10.0 for size in pixel_size_angstrom)
        details["unit"], resolution = "nm", (1.0 / cols, 1.0 / rows)
    if frame_time_s is not None:
        details["finterval"] = frame_time_s
    with _whole(Path(path)) as temporary:
        tifffile.imwrite(
            temporary,
            (np.asarray(frame, dtype) for frame in stack),
            shape=(len(stack), *stack[0].shape),
            dtype=dtype,
            imagej=True,
            resolution=resolution,
            metadata=details,
        )
    return Path(path)


def _as_stack(frames: NDArray[Any] | Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
    stack = [frames] if isinstance(frames, np.ndarray) and frames.ndim == 2 else list(frames)
    shapes = {np.shape(frame) for frame in stack}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise OutputError(
            f"the frames have the shapes {sorted(shapes)}; a stack needs images of one shape (rows, cols)"
        )
    return stack


def _fei_records(
    n_frames: int, pixel_size_angstrom: tuple[float, float], frame_time_s: float | None, high_tension_kv: float
) -> NDArray[Any]:
    """Make an extended header: one record a frame, sizes in m, times in days."""
    import mrcfile

    dtype = mrcfile.dtypes.get_ext_header_dtype(b"FEI1")
    records = np.zeros(n_frames, dtype)
    records["Metadata size"] = dtype.itemsize
    records["Pixel size Y"], records["Pixel size X"] = (size * 1e-10 for size in pixel_size_angstrom)
    records["HT"] = high_tension_kv * 1e3
    if frame_time_s is not None:
        records["Timestamp"] = np.arange(n_frames) * (frame_time_s / 86400.0)
        records["Integration time"] = frame_time_s
    return records


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside the file; it takes the file's place only if all went well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); check the folder and the disk"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
