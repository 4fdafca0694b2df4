"""Ordinary pictures (.png, .jpg, .bmp): no pixel size that can be trusted is ever in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fringemap.errors import ReadError
from fringemap.io.choice import LARGEST_FRAME_PX
from fringemap.io.signals import Content, Metadata, Signal, put

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Deflate cannot pack more than 1032 bytes into one; JPEG of a flat field reaches about the same per pixel.
_MOST_PIXELS_PER_BYTE = 8 * 1032
# Pillow's own limit refuses large micrographs as damaged; how many pixels a file may hold is looked at here.
Image.MAX_IMAGE_PIXELS = LARGEST_FRAME_PX
_DTYPES = {"1": "?", "I": "i4", "F": "f4", "I;16": "u2", "I;16B": "u2", "I;16L": "u2", "I;16N": "u2"}


def open_picture(path: Path) -> Content:
    """Open a picture; its pixels are decoded when the frame is asked for. Resolutions in dpi are ignored."""
    with Image.open(path) as picture:
        n_cols, n_rows = picture.size
        mode, kind = picture.mode, picture.format or "picture"
        n_frames = int(getattr(picture, "n_frames", 1))
        metadata: Metadata = {}
        put(metadata, "software", str(picture.info.get("Software", "")))
    if n_rows * n_cols > _MOST_PIXELS_PER_BYTE * path.stat().st_size:
        raise ReadError(
            f"{path.name} is cut off or damaged: it announces {n_rows} x {n_cols} pixels in "
            f"{path.stat().st_size:,} bytes; copy the file again"
        )
    remarks = ("only the first picture of this animation is read",) if n_frames > 1 else ()
    return Content(
        kind,
        (
            Signal(
                title=path.stem,
                n_frames=1,
                frame_shape=(n_rows, n_cols),
                dtype=np.dtype(_DTYPES.get(mode, "u1")),
                load=lambda _i: decode(path),
                metadata=metadata,
                remarks=remarks,
            ),
        ),
    )


def decode(path: Path, page: int = 0) -> NDArray[Any]:
    """Pixels of a picture: (rows, cols), or (rows, cols, 3) if in colour; transparency is left out."""
    with Image.open(path) as picture:
        if page:
            picture.seek(page)
        if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBA", "RGBX", "RGBa"):
            return np.asarray(picture.convert("RGB"))
        if picture.mode in ("LA", "La"):
            return np.asarray(picture.convert("L"))
        return np.asarray(picture)
