"""What happens to a frame on its way into a picture: a scale bar is burned in, JPEG drops what the eye hardly sees."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

if TYPE_CHECKING:
    from fringemap.records import Image, Mask
    from fringemap.simulate.scene import ScaleBar

_LETTERS = 3
"""Height of letters over that of the bar."""


def burn_scale_bar(image: Image, bar: ScaleBar, pixel_size_angstrom: tuple[float, float]) -> None:
    """Paint a bar and its length with the darkest and brightest value of the frame, in place."""
    ink, ground = (image.max(), image.min()) if bar.bright else (image.min(), image.max())
    painted = _paint(bar, pixel_size_angstrom[1])[: image.shape[0], : image.shape[1]]
    margin = min(bar.height_px, *(n - m for n, m in zip(image.shape, painted.shape, strict=True)))
    bottom, right = bar.corner
    top = image.shape[0] - painted.shape[0] - margin if bottom else margin
    left = image.shape[1] - painted.shape[1] - margin if right else margin
    place = image[top : top + painted.shape[0], left : left + painted.shape[1]]
    if bar.boxed:
        place[...] = ground
    place[painted] = ink


def pass_through_jpeg(image: Image, quality: int) -> None:
    """Pack an image of grey levels 0 to 255 as JPEG and unpack it, in place."""
    packed = io.BytesIO()
    Pictures.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8)).save(packed, "JPEG", quality=quality)
    image[...] = np.asarray(Pictures.open(packed), np.float32)


def _paint(bar: ScaleBar, pixel_angstrom: float) -> Mask:
    """Where ink is: letters above the bar."""
    length, height = max(round(bar.length_angstrom / pixel_angstrom), 1), bar.height_px
    text, font = f"{bar.length_angstrom / 10:g} nm", ImageFont.load_default(_LETTERS * height)
    width = max(length, int(np.ceil(font.getlength(text)))) + 2 * height
    picture = Pictures.new("1", (width, (_LETTERS + 4) * height))
    draw = ImageDraw.Draw(picture)
    draw.text((height, height // 2), text, fill=1, font=font)
    first = (_LETTERS + 2) * height
    draw.rectangle((height, first, height + length - 1, first + height - 1), fill=1)
    return np.array(picture, bool)
