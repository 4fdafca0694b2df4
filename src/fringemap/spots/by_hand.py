"""Spots that a person adds, moves or removes."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import SettingsError
from fringemap.records import Flag, Spots
from fringemap.spectrum import nyquist, to_bins
from fringemap.spots.candidates import Candidates
from fringemap.spots.find import measure_spots

if TYPE_CHECKING:
    from fringemap.records import Diffractogram, IntArray

_FIRST_WIDTH_BINS = 2.0


def measure_at(diffractogram: Diffractogram, *, gx: float, gy: float) -> Spots:
    """Measure one spot where a person points.

    Parameters
    ----------
    gx, gy
        [1/Å]; of a Friedel pair either.

    Returns
    -------
    Spots
        One row, with ``Flag.BY_HAND``. Its score is NaN: no detector judged it. Where nothing can be fitted, the place
        is the one given and ``Flag.NOT_REFINED`` is set.

    Raises
    ------
    SettingsError
        The place lies beyond what the frame's pixels, or the smallest d-spacing looked for, allow; or in the middle.
    """
    limit_y, limit_x = nyquist(diffractogram.scale)
    reach = 1.0 / (diffractogram.d_min_angstrom or 1e-9)
    if abs(gx) >= min(limit_x, reach) or abs(gy) >= min(limit_y, reach):
        raise SettingsError(f"g = ({10 * gx:.3f}, {10 * gy:.3f}) 1/nm lies beyond what is evaluated; point further in")
    row, col = to_bins(np.array([gx]), np.array([gy]), frame_shape=diffractogram.frame_shape, scale=diffractogram.scale)
    if np.hypot(row, col)[0] < 2:
        raise SettingsError("the middle of a diffractogram holds the frame's mean and shading, no spot")
    turn = -1.0 if col[0] < 0 or (col[0] == 0 and row[0] < 0) else 1.0
    one = Candidates(turn * row, turn * col, np.array([_FIRST_WIDTH_BINS]), np.array([np.nan]), *np.zeros((2, 1), bool))
    measured = measure_spots(diffractogram, one)
    return replace(measured, flags=measured.flags | int(Flag.BY_HAND))


def join_spots(first: Spots, second: Spots) -> Spots:
    """Put the rows of two together, those of the first before those of the second."""
    joined = {f.name: np.concatenate([getattr(first, f.name), getattr(second, f.name)]) for f in fields(Spots)}
    return Spots(**joined)


def take_spots(spots: Spots, rows: IntArray) -> Spots:
    """Some of the rows, in the order given."""
    return Spots(**{f.name: getattr(spots, f.name)[rows] for f in fields(Spots)})


def nearest_spot(spots: Spots, *, gx: float, gy: float) -> int | None:
    """Row of the spot, or mate, whose place is nearest and no further than its own width; None if there is none."""
    if not len(spots):
        return None
    distance = np.minimum(np.hypot(spots.gx - gx, spots.gy - gy), np.hypot(spots.gx + gx, spots.gy + gy))
    row = int(distance.argmin())
    return row if distance[row] <= max(float(spots.width[row]), 1e-9) else None
