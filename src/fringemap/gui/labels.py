"""Labels of the frames of a folder: one file each, in the format that training reads, kept beside the session."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import FringemapError, OutputError, SettingsError
from fringemap.gui.answers import given_number
from fringemap.gui.frames import STAND_IN
from fringemap.report.words import PER_NM
from fringemap.settings import SpotSettings
from fringemap.spectrum import bin_size, read_block, to_bins
from fringemap.spots import find_spots
from fringemap.spots.by_hand import measure_at
from fringemap.training.circles import SUFFIX, Circles, Stroke, read_circles, write_circles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fringemap.gui.frames import Place
    from fringemap.gui.session import Session
    from fringemap.records import Diffractogram, Scale, Spots

MOST_MARKS, MOST_PLACES = 5000, 50_000
FAINT_FALSE_SPOTS = 2.0
"""Proposals go down to so many false spots a frame; those that an analysis would not list are proposed to ignore."""
_LEAST_RADIUS_BINS = 1.5
_MOST_SNAP_BINS = 64
# Pixels of both axes that differ by more are no square ones: the label format states one size.
_SQUARE = 1e-3
_NM_PER_ANGSTROM = 0.1


def file_of(folder: Path, name: str, frame: int) -> Path:
    """Where the labels of a frame are kept; a name of its own for each input, whatever folder that lies in."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    kept = "".join(c if c.isalnum() or c in "._-+" else "_" for c in name.rsplit("/", 1)[-1])[:80]
    return folder / f"{kept}-{digest}-{frame:05d}{SUFFIX}"


def load(folder: Path, name: str, frame: int) -> dict[str, Any] | None:
    """Labels of a frame as the page holds them; None if it has none.

    Raises
    ------
    ReadError
        The file is damaged.
    """
    path = file_of(folder, name, frame)
    if not path.exists():
        return None
    circles = read_circles(path)
    columns = zip(circles.gx, circles.gy, circles.radius, circles.ignored, strict=True)
    return {
        "pixel_size_nm": circles.pixel_size_nm,
        "marks": [{"gx": gx, "gy": gy, "radius": radius, "ignored": ignored} for gx, gy, radius, ignored in columns],
        "strokes": [{"gx": s.gx, "gy": s.gy, "radius": s.radius, "erases": s.erases} for s in circles.strokes],
    }


def save(folder: Path, place: Place, scale: Scale, name: str, asked: Mapping[str, Any]) -> None:
    """Write the labels of a frame, whole or not at all.

    Raises
    ------
    SettingsError
        A number makes no sense, there are too many, or the frame has no pixel size.
    OutputError
        They cannot be written.
    """
    size = pixel_size_nm(scale)
    marks, strokes = _list(asked, "marks"), _list(asked, "strokes")
    n_places = sum(len(one.get("gx", ())) for one in strokes)
    if len(marks) > MOST_MARKS or n_places > MOST_PLACES:
        raise SettingsError(f"{len(marks)} circles and {n_places} places of the brush are too many for one frame")
    circles = Circles(
        frame=os.path.relpath(place.path, folder),
        pixel_size_nm=size,
        gx=tuple(given_number(one, "gx") for one in marks),
        gy=tuple(given_number(one, "gy") for one in marks),
        radius=tuple(_radius(one) for one in marks),
        ignored=tuple(bool(one.get("ignored")) for one in marks),
        frame_index=place.frame,
        strokes=tuple(_stroke(one) for one in strokes),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    write_circles(file_of(folder, name, place.frame), circles)


def forget(folder: Path, name: str, frame: int) -> None:
    """Delete the labels of a frame."""
    file_of(folder, name, frame).unlink(missing_ok=True)


def overview(folder: Path) -> list[dict[str, Any]]:
    """What is labelled so far: a row a file, its circles and strokes counted."""
    rows = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            circles = read_circles(path)
        except FringemapError as error:
            rows.append({"file": path.name, "source": path.name, "frame": 0, "problem": str(error)})
            continue
        n_ignored = sum(circles.ignored)
        counts = {"spots": len(circles.gx) - n_ignored, "ignored": n_ignored, "strokes": len(circles.strokes)}
        rows.append({"file": path.name, "source": circles.source, "frame": circles.frame_index, **counts})
    return rows


def pixel_size_nm(scale: Scale) -> float:
    """Size of square pixels [nm].

    Raises
    ------
    SettingsError
        It is not known, or the pixels are not square.
    """
    if scale is STAND_IN:
        raise SettingsError("this frame has no pixel size; give it at the top, then label")
    size_y, size_x = scale.pixel_size_angstrom
    if abs(size_y / size_x - 1) > _SQUARE:
        raise SettingsError(
            f"pixels of {size_y:.4g} x {size_x:.4g} Å are not square; labels are kept for square ones only"
        )
    return float(_NM_PER_ANGSTROM * size_x)


def snap(diffractogram: Diffractogram, *, gx: float, gy: float, reach: float) -> dict[str, Any]:
    """Centre and radius [1/nm] of the spot at the brightest bin within a distance.

    Where no spot can be measured there, the bin is the centre and 1.5 bins are the radius.

    Raises
    ------
    SettingsError
        The place lies outside what is evaluated.
    """
    step_y, step_x = bin_size(diffractogram.frame_shape, diffractogram.scale)
    gx, gy = _brightest(diffractogram, gx / PER_NM, gy / PER_NM, reach / PER_NM)
    spot = measure_at(diffractogram, gx=gx, gy=gy)
    near = float(np.hypot(spot.gx[0] - gx, spot.gy[0] - gy)), float(np.hypot(spot.gx[0] + gx, spot.gy[0] + gy))
    least = _LEAST_RADIUS_BINS * max(step_x, step_y)
    radius = max(float(spot.width[0]) / 2, least)
    if min(near) > max(2 * radius, 2 * least):
        return {"gx": PER_NM * gx, "gy": PER_NM * gy, "radius": PER_NM * least}
    # The one of the pair that was pointed at.
    sign = 1.0 if near[0] <= near[1] else -1.0
    place = {"gx": sign * PER_NM * float(spot.gx[0]), "gy": sign * PER_NM * float(spot.gy[0])}
    return {**place, "radius": PER_NM * radius}


def propose(diffractogram: Diffractogram, *, model: str | None) -> list[dict[str, Any]]:
    """Circles that a detector would draw, the surest first; faint ones, which an analysis would not list, to ignore.

    Parameters
    ----------
    model
        Package that looks; None: the classical detector.

    Raises
    ------
    ModelError
        The package is damaged or does not fit.
    """
    settings = SpotSettings(detector="classical", false_spots=FAINT_FALSE_SPOTS)
    if model is not None:
        settings = replace(settings, detector="unet", model=model)
    spots = find_spots(diffractogram, settings=settings)
    usual = -np.log10(SpotSettings().false_spots)
    least = PER_NM * _LEAST_RADIUS_BINS * max(bin_size(diffractogram.frame_shape, diffractogram.scale))
    return [_proposal(spots, row, usual, least) for row in range(len(spots))]


def proposer(session: Session) -> tuple[str | None, str]:
    """Package that makes proposals, None for the classical detector; and its name in words."""
    card = session.teaching.current_card()
    if card is None:
        return None, "classical detector"
    return session.teaching.package_of(card.name), f"model {card.title}"


def _proposal(spots: Spots, row: int, usual: float, least: float) -> dict[str, Any]:
    score = float(spots.score[row])
    return {
        "gx": PER_NM * float(spots.gx[row]),
        "gy": PER_NM * float(spots.gy[row]),
        "radius": max(PER_NM * float(spots.width[row]) / 2, least),
        "score": score,
        "ignored": score < usual,
    }


def _brightest(diffractogram: Diffractogram, gx: float, gy: float, reach: float) -> tuple[float, float]:
    """Place of the brightest bin, over its background, within a distance [1/Å]."""
    step = bin_size(diffractogram.frame_shape, diffractogram.scale)
    at = to_bins(np.array([gx]), np.array([gy]), frame_shape=diffractogram.frame_shape, scale=diffractogram.scale)
    middle = round(float(at[0][0])), round(float(at[1][0]))
    half = [min(max(round(reach / one), 1), _MOST_SNAP_BINS) for one in step]
    start = middle[0] - half[0], middle[1] - half[1]
    shape = 2 * half[0] + 1, 2 * half[1] + 1
    n_cols = diffractogram.frame_shape[1]
    power, background = (
        read_block(image, n_cols, start=start, shape=shape) for image in (diffractogram.power, diffractogram.background)
    )
    rows, cols = np.indices(shape)
    far = np.hypot((rows - half[0]) / half[0], (cols - half[1]) / half[1]) > 1
    # The middle holds the mean and shading.
    far |= np.hypot(rows + start[0], cols + start[1]) < 2
    row, col = np.unravel_index(np.where(far, -np.inf, power / background).argmax(), shape)
    return float((start[1] + col) * step[1]), float((start[0] + row) * step[0])


def _list(asked: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    found = asked.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SettingsError(f"{key} are no list")
    return found


def _radius(one: Mapping[str, Any]) -> float:
    radius = given_number(one, "radius")
    if radius <= 0:
        raise SettingsError(f"a radius of {radius:g} 1/nm makes no circle")
    return radius


def _stroke(one: Mapping[str, Any]) -> Stroke:
    gx, gy = one.get("gx"), one.get("gy")
    if not isinstance(gx, list) or not isinstance(gy, list) or len(gx) != len(gy) or not gx:
        raise SettingsError("a stroke needs as many places along gx as along gy, one or more")
    places = [tuple(given_number({"place": x}, "place") for x in values) for values in (gx, gy)]
    return Stroke(places[0], places[1], _radius(one), bool(one.get("erases")))
