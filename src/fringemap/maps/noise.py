"""The local noise law: how strong the fringe-like noise is at each place of the frame.

The background of the diffractogram says how strong the noise is on average. Thick carbon has more of it than vacuum. What
passes apertures of the same |g| at other angles, where no spot lies, shows where it is.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
import scipy.ndimage

from fringemap.maps.baseband import REACH, Cut, Grid, fringe_power, make_cut, noise_power, read_block, resolution_of
from fringemap.maps.resolution import distance_to_spots
from fringemap.records import Diffractogram, FloatArray, Image, Spots

MOST_CONTROLS = 8
LEAST_CONTROLS = 3
_ANGLES = 48
"""Angles tried on each half circle."""
_APART = 1.6
"""Distance of control apertures from each other, in radii: their noise is then nearly independent."""
_SMOOTH = 2.0
"""Standard deviation of the smoothing, in resolutions."""


def local_noise(
    diffractogram: Diffractogram, spots: Spots, *, g: float, aperture_radius: float, grid: Grid
) -> Image | None:
    """Noise power at each place over its mean over the frame, at |g| = ``g``; None if no apertures are free.

    Returns
    -------
    Image or None
        Mean 1, on a coarse grid that tiles the frame: about two pixels a resolution, shape as the aperture allows.
        The median over the controls, so that one that catches an unlisted spot does no harm.
    """
    centres = control_positions(spots, g=g, aperture_radius=aperture_radius, grid=grid)
    if len(centres) < LEAST_CONTROLS:
        return None
    coarse = _control_grid(grid, aperture_radius)
    width = [_SMOOTH * resolution_of(aperture_radius) / size for size in coarse.pixel_size]
    maps = [_control_map(diffractogram, make_cut(coarse, centre, aperture_radius), coarse, width) for centre in centres]
    noise: Image = np.median(np.stack(maps), axis=0)
    noise = _shrink(noise, _spread_by_chance(len(centres), width, coarse, aperture_radius))
    return noise / noise.mean(dtype=np.float64).astype(np.float32)


def control_positions(
    spots: Spots, *, g: float, aperture_radius: float, grid: Grid
) -> list[tuple[float, float]]:
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
    """The coarsest grid that holds the aperture, with a size whose transform is quick."""
    shape = []
    for axis in (0, 1):
        bin_width = 1.0 / (grid.frame_shape[axis] * grid.frame_pixel[axis])
        least = 2 * math.ceil(REACH * aperture_radius / bin_width) + 1
        shape.append(min(scipy.fft.next_fast_len(least), grid.shape[axis]))
    return Grid(grid.frame_shape, (shape[0], shape[1]), grid.frame_pixel)


def _control_map(diffractogram: Diffractogram, cut: Cut, coarse: Grid, width: list[float]) -> Image:
    block = read_block(diffractogram.spectrum, coarse.frame_shape[1], cut)
    power = fringe_power(block, cut, coarse) / np.float32(noise_power(diffractogram.background, coarse, cut))
    smooth: Image = scipy.ndimage.gaussian_filter(power, width, mode="nearest", truncate=2.5)
    return smooth


def _spread_by_chance(n_controls: int, width: list[float], coarse: Grid, aperture_radius: float) -> float:
    """Variance of the smoothed median that chance alone makes in even noise."""
    kernel_area = 4.0 * math.pi * width[0] * width[1] * coarse.cell_area
    cells = kernel_area / resolution_cell_area(aperture_radius)
    return 1.5 / (cells * n_controls)


def _shrink(noise: Image, by_chance: float) -> Image:
    """Towards the mean by the share of the spread that chance explains: even noise gives an even map."""
    mean, variance = float(noise.mean()), float(noise.var())
    kept = max(1.0 - by_chance * mean**2 / variance, 0.0) if variance > 0.0 else 0.0
    return (mean + np.float32(kept) * (noise - mean)).astype(np.float32)


def resolution_cell_area(aperture_radius: float) -> float:
    """Area over which noise powers are alike: the integral of their correlation [Å²].

    The aperture exp(-ln 2 q²/r²) correlates |b|² as exp(-π² r² x² / ln 2), whose integral over the plane is ln 2 / (π r²).
    """
    return math.log(2.0) / (math.pi * aperture_radius**2)
