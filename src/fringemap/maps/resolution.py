"""How finely a phase can be mapped: the choice of the map's grid and of the aperture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import SettingsError
from fringemap.maps.baseband import Grid, resolution_of

if TYPE_CHECKING:
    from fringemap.records import Diffractogram, FloatArray, IntArray, Spots
    from fringemap.settings import MapSettings

MAP_PIXELS = 256
"""Map pixels along the longer side of the frame, if no resolution is asked for."""
FINEST_CELL = 0.5
"""No map pixel is made smaller than this without being asked for [Å]."""
CELLS_PER_RESOLUTION = 2.0
"""A point must be at least so many map pixels wide."""
GOOD_POWER = 40.0
"""Fringe power over noise that a region's edge asks for; beyond it a finer map is worth more."""
LEAST_POWER = 12.0
"""Fringe power over noise that lets a region be seen at all among many map pixels."""
_PART_OF_G = 0.25
"""Largest aperture radius over |g|: the aperture stays clear of the zero frequency."""
_PART_TO_MATE = 1.0 / 3.0
"""Largest aperture radius over the distance to a spot of the same phase, whose fringes end at the same edge."""
_COARSEST = 1.0 / 10.0
"""Largest resolution over the frame's shorter side. The highest of all noise peaks, taken for a spot, then marks 0.3 %
of the area on average; with 1 / 8 it would be 0.7 %."""


def choose_grid(diffractogram: Diffractogram, settings: MapSettings) -> Grid:
    """Grid of the maps: the same for all phases, and for all frames of one size and scale."""
    frame, pixel = diffractogram.frame_shape, diffractogram.scale.pixel_size_angstrom
    sides = [frame[axis] * pixel[axis] for axis in (0, 1)]
    cell = max(max(sides) / MAP_PIXELS, FINEST_CELL)
    if settings.resolution_nm is not None:
        _check_resolution(settings.resolution_nm, sides, pixel)
        cell = min(cell, 10.0 * settings.resolution_nm / CELLS_PER_RESOLUTION)
    shape = tuple(_map_length(sides[axis] / cell, frame[axis]) for axis in (0, 1))
    return Grid(frame, (shape[0], shape[1]), pixel)


def _check_resolution(resolution_nm: float, sides: list[float], pixel: tuple[float, float]) -> None:
    finest = CELLS_PER_RESOLUTION * max(pixel) / 10.0
    coarsest = min(sides) / 40.0
    if not finest <= resolution_nm <= coarsest:
        raise SettingsError(
            f"resolution_nm = {resolution_nm:g} nm does not suit this frame; "
            f"choose {finest:.3g} (two pixels) to {coarsest:.3g} nm (a quarter of its side), or leave it out"
        )


def _map_length(wanted: float, frame_length: int) -> int:
    """Next multiple of four whose transform is quick, unless the frame itself is smaller."""
    quarter = math.ceil(wanted / 4.0)
    while not _is_smooth(quarter):
        quarter += 1
    return min(4 * quarter, max(frame_length // 4, 1) * 4)


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def choose_resolution(
    diffractogram: Diffractogram, spots: Spots, members: IntArray, *, grid: Grid, settings: MapSettings
) -> float:
    """Spatial resolution for the map of the spots ``members`` [Å].

    The user's, if given. Else the median over the spots of: fine enough for the grain (a quarter of its diameter),
    coarse enough for a fringe power of ``GOOD_POWER`` times the noise, and for an aperture that leaves out the zero
    frequency and the spots of other phases; half the grain's diameter where nothing better can be had.
    """
    if settings.resolution_nm is not None:
        return 10.0 * settings.resolution_nm
    others = np.setdiff1d(np.arange(len(spots)), members)
    wanted = [_resolution_for_spot(diffractogram, spots, int(i), members, others, grid) for i in members]
    finest = CELLS_PER_RESOLUTION * max(grid.pixel_size)
    coarsest = _COARSEST * min(n * p for n, p in zip(grid.shape, grid.pixel_size, strict=True))
    return float(max(min(np.median(wanted), coarsest), finest))


def _resolution_for_spot(
    diffractogram: Diffractogram, spots: Spots, i: int, members: IntArray, others: IntArray, grid: Grid
) -> float:
    diameter = _grain_diameter(spots, i, grid)
    good, least = (_resolution_for_power(diffractogram, spots, i, power, grid) for power in (GOOD_POWER, LEAST_POWER))
    wanted = min(good, max(diameter / 4.0, min(least, diameter / 2.0)))
    clear = max(
        resolution_of(_PART_OF_G * float(spots.g[i])),
        _resolution_beside_mates(spots, i, members),
        _resolution_beside_others(spots, i, others),
    )
    return max(wanted, min(clear, diameter / 2.0))


def _grain_diameter(spots: Spots, i: int, grid: Grid) -> float:
    """From the width of the spot: 0.9 / diameter for a round grain; at most the frame [Å]."""
    side = min(n * p for n, p in zip(grid.shape, grid.pixel_size, strict=True))
    width = float(spots.width[i])
    return min(0.9 / width, side) if width > 0.0 else side


def _resolution_for_power(diffractogram: Diffractogram, spots: Spots, i: int, power: float, grid: Grid) -> float:
    """Resolution at which the noise of the fringe amplitude is the spot's amplitude² / ``power`` [Å]."""
    amplitude = float(spots.amplitude[i])
    if not amplitude > 0.0:
        return math.inf
    n_pixels = grid.frame_shape[0] * grid.frame_shape[1]
    noise_per_area = 4.0 * _background_at(diffractogram, spots, i, grid) * grid.frame_area / n_pixels**2
    radius_squared = amplitude**2 / power / noise_per_area * 2.0 * math.log(2.0) / math.pi
    return resolution_of(math.sqrt(radius_squared)) if radius_squared > 0.0 else math.inf


def _background_at(diffractogram: Diffractogram, spots: Spots, i: int, grid: Grid) -> float:
    n_rows, n_cols = diffractogram.background.shape
    row = round(float(spots.gy[i]) * grid.frame_shape[0] * grid.frame_pixel[0]) % n_rows
    col = min(round(float(spots.gx[i]) * grid.frame_shape[1] * grid.frame_pixel[1]), n_cols - 1)
    return float(diffractogram.background[row, col])


def _resolution_beside_mates(spots: Spots, i: int, members: IntArray) -> float:
    """Resolution at which the aperture leaves out the phase's other spots [Å]."""
    mates = members[members != i]
    if len(mates) == 0:
        return 0.0
    distance = distance_to_spots(spots.gx[i], spots.gy[i], spots.gx[mates], spots.gy[mates])
    return resolution_of(max(_PART_TO_MATE * float(distance.min()), 1e-9))


def _resolution_beside_others(spots: Spots, i: int, others: IntArray) -> float:
    """Resolution at which the spots of other phases fall to the noise in this spot's aperture [Å]."""
    if len(others) == 0:
        return 0.0
    distance = distance_to_spots(spots.gx[i], spots.gy[i], spots.gx[others], spots.gy[others])
    ratio = np.nan_to_num(spots.amplitude[others] / spots.amplitude[i], nan=1.0, posinf=1e3)
    e_folds = np.log(np.maximum(ratio * math.sqrt(GOOD_POWER), 2.0))
    return resolution_of(max(float(np.min(distance * np.sqrt(math.log(2.0) / e_folds))), 1e-9))


def distance_to_spots(
    gx: float | FloatArray, gy: float | FloatArray, others_x: FloatArray, others_y: FloatArray
) -> FloatArray:
    """Distance of (gx, gy) to the nearer of each Friedel pair [1/Å]."""
    plus = np.hypot(others_x - gx, others_y - gy)
    minus = np.hypot(others_x + gx, others_y + gy)
    nearer: FloatArray = np.minimum(plus, minus)
    return nearer
