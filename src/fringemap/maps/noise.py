"""The local noise law: how strong the fringe-like noise is at each place of the frame.

The background of the diffractogram says how strong the noise is on average. Thick carbon has more of it than vacuum.
What passes apertures of the same |g| at other angles, where no spot lies, shows where it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from fringemap.maps.baseband import (
    REACH,
    Grid,
    fringe_power,
    make_cut,
    noise_power,
    read_cut,
    resolution_of,
    weigh_cut,
)
from fringemap.maps.geometry import block_means, smooth
from fringemap.maps.resolution import distance_to_spots

if TYPE_CHECKING:
    from fringemap.records import Diffractogram, FloatArray, Image, Spots

MOST_CONTROLS = 6
LEAST_CONTROLS = 3
_ANGLES = 48
"""Angles tried on each half circle."""
_APART = 1.6
"""Distance of control apertures from each other, in radii: their noise is then nearly independent."""
_SMOOTH = 1.5
"""Standard deviation of the smoothing, in resolutions of the control apertures."""


def local_noise(
    diffractogram: Diffractogram, spots: Spots, *, g: float, aperture_radius: float, grid: Grid
) -> Image | None:
    """Noise power at each place over its mean over the frame, at |g| = ``g``; None if no apertures are free.

    Returns
    -------
    Image or None
        Mean 1, on a coarse grid that tiles the frame: about one pixel a resolution, shape as the aperture allows.
        The median over the controls, so that one that catches an unlisted spot does no harm.
    """
    centres = control_positions(spots, g=g, aperture_radius=aperture_radius, grid=grid)
    if len(centres) < LEAST_CONTROLS:
        return None
    coarse = _control_grid(grid, aperture_radius)
    width = _SMOOTH * resolution_of(aperture_radius)
    power = _control_power(diffractogram, centres, aperture_radius, coarse)
    maps = smooth(block_means(power, 2), (0.5 * width / coarse.pixel_size[0], 0.5 * width / coarse.pixel_size[1]))
    noise = _shrink(median_of(maps), _spread_by_chance(len(centres), width, aperture_radius))
    return noise / np.float32(noise.mean())


def control_positions(spots: Spots, *, g: float, aperture_radius: float, grid: Grid) -> list[tuple[float, float]]:
    """Centres (gx, gy) of free apertures at |g|: away from spots, axes, the sampling limit and each other [1/Å]."""
    nyquist = [0.5 / pixel for pixel in grid.frame_pixel]
    angles = (np.arange(_ANGLES) + 0.5) * math.pi / _ANGLES - math.pi / 2.0
    free: list[tuple[float, float]] = []
    for angle in _spread_out(angles):
        gx, gy = g * math.cos(angle), g * math.sin(angle)
        off_axes = min(abs(gx), abs(gy)) > aperture_radius
        inside = gx + aperture_radius < nyquist[1] and abs(gy) + aperture_radius < nyquist[0]
        if not (off_axes and inside):
            continue
        if np.any(distance_to_spots(gx, gy, spots.gx, spots.gy) < REACH * aperture_radius):
            continue
        taken = np.array(free).reshape(-1, 2)
        if np.any(distance_to_spots(gx, gy, taken[:, 0], taken[:, 1]) < _APART * aperture_radius):
            continue
        free.append((gx, gy))
        if len(free) == MOST_CONTROLS:
            break
    return free


def _spread_out(angles: FloatArray) -> list[float]:
    """The same angles in an order that soon reaches everywhere: by the golden section."""
    order = np.argsort((np.arange(len(angles)) * 0.6180339887498949) % 1.0)
    return [float(angles[i]) for i in order]


def _control_grid(grid: Grid, aperture_radius: float) -> Grid:
    """The coarsest grid that holds the aperture, with an even size whose transform is quick."""
    shape = []
    for axis in (0, 1):
        bin_width = 1.0 / (grid.frame_shape[axis] * grid.frame_pixel[axis])
        least = 2 * math.ceil(REACH * aperture_radius / bin_width) + 1
        shape.append(min(2 * scipy.fft.next_fast_len((least + 1) // 2), grid.shape[axis]))
    return Grid(grid.frame_shape, (shape[0], shape[1]), grid.frame_pixel)


def _control_power(
    diffractogram: Diffractogram, centres: list[tuple[float, float]], aperture_radius: float, coarse: Grid
) -> Image:
    """Fringe power in each control aperture over its expectation; (n, rows, cols)."""
    cuts = [make_cut(coarse, centre, aperture_radius) for centre in centres]
    blocks = [read_cut(diffractogram, cut) for cut in cuts]
    weighted = np.stack([weigh_cut(block, cut, coarse) for (block, _), cut in zip(blocks, cuts, strict=True)])
    expected = [noise_power(background, cut, coarse) for (_, background), cut in zip(blocks, cuts, strict=True)]
    power = fringe_power(weighted, coarse)
    power /= np.array(expected, dtype=np.float32)[:, None, None]
    return power


def median_of(maps: Image) -> Image:
    """Of several maps at each place; sorting these few is quicker than numpy's selection."""
    ordered = np.sort(maps, axis=0)
    n = len(ordered)
    median: Image = (ordered[(n - 1) // 2] + ordered[n // 2]) * np.float32(0.5)
    return median


def _spread_by_chance(n_controls: int, width: float, aperture_radius: float) -> float:
    """Variance of the smoothed median that chance alone makes in even noise."""
    cells = 4.0 * math.pi * width**2 / resolution_cell_area(aperture_radius)
    # The median of many normal numbers has pi / 2 times the variance of their mean, that of few a little less.
    return 1.5 / (cells * n_controls)


def _shrink(noise: Image, by_chance: float) -> Image:
    """Towards the mean by the share of the spread that chance explains: even noise gives an even map."""
    mean, variance = float(noise.mean()), float(noise.var())
    kept = max(1.0 - by_chance * mean**2 / variance, 0.0) if variance > 0.0 else 0.0
    return (mean + np.float32(kept) * (noise - mean)).astype(np.float32)


def resolution_cell_area(aperture_radius: float) -> float:
    """Area over which noise powers are alike: the integral of their correlation [Å²].

    The aperture exp(-ln 2 q²/r²) correlates |b|² as exp(-π² r² x² / ln 2), whose integral is ln 2 / (π r²).
    """
    return math.log(2.0) / (math.pi * aperture_radius**2)
