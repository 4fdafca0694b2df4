"""Our own labels: circles over the diffractogram of a frame, in a JSON file beside it.

::

    {
      "format": "fringemap spot labels", "version": 1,
      "frame": "grains.dm4", "frame_index": 0, "pixel_size_nm": 0.037,
      "licence": "CC-BY-4.0", "author": "",
      "spots": [{"gx_per_nm": 4.12, "gy_per_nm": -0.35, "radius_per_nm": 0.05, "ignored": false}]
    }

``frame`` is a path from the folder of the label file. Either one of a Friedel pair may be given. An ignored spot is
neither wanted nor counted as false. ``strokes``, which may be missing, are those of a brush and an eraser, drawn over
the circles one after another: ``{"erases": false, "radius_per_nm": 0.05, "gx_per_nm": [..], "gy_per_nm": [..]}``.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fringemap.errors import ReadError
from fringemap.report.atomic import temporary_name, writing

FORMAT = "fringemap spot labels"
VERSION = 1
SUFFIX = ".spots.json"


@dataclass(frozen=True)
class Stroke:
    """One stroke of a round brush, or of an eraser, and of its mate."""

    gx: tuple[float, ...]
    """Places that the middle of the brush passed [1/nm]."""
    gy: tuple[float, ...]
    radius: float
    """Of the brush [1/nm]."""
    erases: bool = False


@dataclass(frozen=True)
class Circles:
    """What somebody marked in the diffractogram of one frame."""

    frame: str
    """File of the frame, as a path from the folder of the label file."""
    pixel_size_nm: float
    """That the circles were drawn at [nm/px]."""
    gx: tuple[float, ...]
    """Centres [1/nm]."""
    gy: tuple[float, ...]
    radius: tuple[float, ...]
    """[1/nm]"""
    ignored: tuple[bool, ...]
    frame_index: int = 0
    licence: str = ""
    author: str = ""
    strokes: tuple[Stroke, ...] = ()
    """Drawn over the circles, in this order."""

    @property
    def source(self) -> str:
        """Name of the frame's file: all frames of a series are on one side of a split."""
        return Path(self.frame).name


def read_circles(path: str | Path) -> Circles:
    """Read a label file.

    Raises
    ------
    ReadError
        It is missing, no label file, of a later version, or a value makes no sense.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReadError(f"{path} cannot be read as labels: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise ReadError(f"{path} holds no labels of version {VERSION}; write them with write_circles or in the browser")
    try:
        circles = _circles(content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ReadError(f"{path}: a label is incomplete or no number ({error}); correct or remove it") from error
    radii = (*circles.radius, *(stroke.radius for stroke in circles.strokes))
    if circles.pixel_size_nm <= 0 or circles.frame_index < 0 or any(r <= 0 for r in radii):
        raise ReadError(f"{path}: pixel size and radii must be above 0, the frame's index 0 or more; correct them")
    return circles


def write_circles(path: str | Path, circles: Circles) -> None:
    """Write a label file; its name should end in ``.spots.json``.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    columns = zip(circles.gx, circles.gy, circles.radius, circles.ignored, strict=True)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "frame": circles.frame,
        "frame_index": circles.frame_index,
        "pixel_size_nm": circles.pixel_size_nm,
        "licence": circles.licence,
        "author": circles.author,
        "spots": [
            {"gx_per_nm": gx, "gy_per_nm": gy, "radius_per_nm": radius, "ignored": ignored}
            for gx, gy, radius, ignored in columns
        ],
    }
    if circles.strokes:
        content["strokes"] = [
            {"erases": s.erases, "radius_per_nm": s.radius, "gx_per_nm": s.gx, "gy_per_nm": s.gy}
            for s in circles.strokes
        ]
    path = Path(path)
    # Its ending is another, so that nobody who looks for labels meanwhile takes it for some.
    unfinished = temporary_name(path).with_suffix(".part")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        with writing(path):
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _circles(content: dict[str, Any]) -> Circles:
    spots = content["spots"]
    columns = (tuple(_number(s[name]) for s in spots) for name in ("gx_per_nm", "gy_per_nm", "radius_per_nm"))
    gx, gy, radius = columns
    return Circles(
        frame=str(content["frame"]),
        pixel_size_nm=_number(content["pixel_size_nm"]),
        gx=gx,
        gy=gy,
        radius=radius,
        ignored=tuple(bool(s.get("ignored", False)) for s in spots),
        frame_index=int(_number(content.get("frame_index", 0))),
        licence=str(content.get("licence", "")),
        author=str(content.get("author", "")),
        strokes=tuple(_stroke(one) for one in content.get("strokes", ())),
    )


def _stroke(content: dict[str, Any]) -> Stroke:
    gx, gy = (tuple(_number(x) for x in content[name]) for name in ("gx_per_nm", "gy_per_nm"))
    if len(gx) != len(gy):
        raise ValueError(f"a stroke has {len(gx)} places along gx, {len(gy)} along gy")
    return Stroke(gx, gy, _number(content["radius_per_nm"]), bool(content.get("erases", False)))


def _number(value: Any) -> float:
    """A finite number; Python's JSON knows NaN and Infinity too."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not finite")
    return number
