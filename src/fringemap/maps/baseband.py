"""Back from a spot to the frame: the complex amplitude of one lattice fringe, on a coarse grid.

A fringe of slowly varying amplitude is ``Re[b(x) exp(2πi g·x)]``. Its complex amplitude ``b`` needs only the few bins
of the spectrum around **g**: they are cut out, weighted with a Gaussian aperture and transformed back at the size that
the aperture passes. No full-size inverse transform is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.fft

from fringemap.errors import SettingsError
from fringemap.spectrum import read_block

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fringemap.records import Array, ComplexImage, Diffractogram, FloatArray, Image


REACH = 2.2
"""Half side of the cut, in aperture radii; the Gaussian has fallen to 3.5 % there."""
LEAST_REACH = 1.7
"""The same where the asked grid leaves less room; the Gaussian has fallen to 13 %."""
_WIDTHS_PRODUCT = 2.0 * math.log(2.0) / math.pi
"""Full width at half maximum of a Gaussian times the half width at half maximum of its transform."""


def resolution_of(aperture_radius: float) -> float:
    """Full width at half maximum of a point [Å], for an aperture that falls to half at this radius [1/Å]."""
    return _WIDTHS_PRODUCT / aperture_radius


def radius_for(resolution: float) -> float:
    """Radius where the aperture falls to half [1/Å], for this full width at half maximum of a point [Å]."""
    return _WIDTHS_PRODUCT / resolution


@dataclass(frozen=True)
class Grid:
    """Map pixels that tile a frame exactly."""

    frame_shape: tuple[int, int]
    shape: tuple[int, int]
    frame_pixel: tuple[float, float]
    """Pixel size of the frame along (rows, cols) [Å]."""

    @property
    def step_px(self) -> tuple[float, float]:
        """Distance of map pixels along (rows, cols) [frame px]."""
        return self.frame_shape[0] / self.shape[0], self.frame_shape[1] / self.shape[1]

    @property
    def origin_px(self) -> tuple[float, float]:
        """Centre of map pixel [0, 0] in the frame (row, col) [frame px]."""
        return (self.step_px[0] - 1.0) / 2.0, (self.step_px[1] - 1.0) / 2.0

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Of the map, along (rows, cols) [Å]."""
        return self.step_px[0] * self.frame_pixel[0], self.step_px[1] * self.frame_pixel[1]

    @property
    def cell_area(self) -> float:
        """Area of one map pixel [Å²]."""
        return self.pixel_size[0] * self.pixel_size[1]

    @property
    def frame_area(self) -> float:
        """Area of the frame [Å²]."""
        return self.cell_area * self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Cut:
    """A rectangle of the full spectrum around one spot, with the aperture along each axis."""

    start: tuple[int, int]
    """Row and column of its first bin in the full spectrum, which is periodic: may be negative or beyond the end."""
    rows: FloatArray
    """Aperture along the rows; the aperture is the product of both."""
    cols: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """Bins along (rows, cols)."""
        return len(self.rows), len(self.cols)


def demodulate(
    diffractogram: Diffractogram, g: tuple[float, float], *, aperture_radius: float, shape: tuple[int, int]
) -> ComplexImage:
    """Complex amplitude of the lattice fringe at **g**, sampled on a grid of map pixels that tiles the frame.

    Parameters
    ----------
    diffractogram
        Half spectrum of a frame of R x C pixels, any size.
    g
        (gx, gy) of the spot, along columns and rows [1/Å]; either of the Friedel pair.
    aperture_radius
        Where the Gaussian aperture falls to half [1/Å].
    shape
        Number of map pixels (n_rows, n_cols).

    Returns
    -------
    ComplexImage
        ``b`` [counts], shape ``shape``, such that the fringe is ``Re[b(x) exp(2πi (gx x + gy y))]`` with x, y counted
        from the centre of the frame's first pixel. ``|b|`` is A for a fringe ``A cos(...)``. Map pixel [i, j] lies at
        frame pixel ``(i + 1/2) R / n_rows - 1/2``, and so along columns.

    Raises
    ------
    SettingsError
        If the grid is too coarse for what the aperture passes.

    Notes
    -----
    Equals the full-size inverse transform of the spectrum multiplied by twice the aperture around the spot (and zero
    elsewhere), demodulated by exp(-2πi g·x), at the map pixels.
    """
    grid = Grid(diffractogram.frame_shape, shape, diffractogram.scale.pixel_size_angstrom)
    cut = make_cut(grid, g, aperture_radius)
    block = read_block(diffractogram.spectrum, grid.frame_shape[1], start=cut.start, shape=cut.shape)
    small = transform_back(weigh_cut(block, cut, grid), grid)
    ramps = [
        np.exp(2j * np.pi * (cut.start[axis] / grid.frame_shape[axis] - per_pixel) * _sample_px(grid, axis))
        for axis, per_pixel in enumerate((g[1] * grid.frame_pixel[0], g[0] * grid.frame_pixel[1]))
    ]
    b: ComplexImage = (small * ramps[0].astype(np.complex64)[:, None]) * ramps[1].astype(np.complex64)
    return b


def make_cut(grid: Grid, g: tuple[float, float], aperture_radius: float) -> Cut:
    """Rectangle of bins around **g** = (gx, gy) [1/Å] and the Gaussian aperture on it."""
    start_row, rows = _aperture_along(grid, 0, g[1], aperture_radius)
    start_col, cols = _aperture_along(grid, 1, g[0], aperture_radius)
    return Cut((start_row, start_col), rows, cols)


def _aperture_along(grid: Grid, axis: int, g: float, radius: float) -> tuple[int, FloatArray]:
    bin_width = 1.0 / (grid.frame_shape[axis] * grid.frame_pixel[axis])
    room = (grid.shape[axis] - 1) // 2
    reach = min(math.ceil(REACH * radius / bin_width), room)
    if reach * bin_width < LEAST_REACH * radius:
        raise SettingsError(
            f"a map of {grid.shape[axis]} pixels along axis {axis} cannot hold a resolution of "
            f"{resolution_of(radius) / 10.0:.3g} nm on this frame; ask for a coarser resolution or more map pixels"
        )
    start = round(g / bin_width) - reach
    q = (start + np.arange(2 * reach + 1)) * bin_width - g
    return start, np.exp(-math.log(2.0) * (q / radius) ** 2)


def read_cut(diffractogram: Diffractogram, cut: Cut) -> tuple[ComplexImage, Image]:
    """Spectrum and background in a cut."""
    n_cols = diffractogram.frame_shape[1]
    return (
        read_block(diffractogram.spectrum, n_cols, start=cut.start, shape=cut.shape),
        read_block(diffractogram.background, n_cols, start=cut.start, shape=cut.shape),
    )


def weigh_cut(block: ComplexImage, cut: Cut, grid: Grid) -> ComplexImage:
    """Put a cut under its aperture, ready for ``transform_back`` on this grid."""
    rows, cols = (
        (_first_sample(cut.shape[axis], grid, axis) * aperture).astype(np.complex64)
        for axis, aperture in enumerate((cut.rows, cut.cols))
    )
    weighted = block * rows[:, None]
    weighted *= cols
    return weighted


def transform_back(weighted: ComplexImage, grid: Grid) -> ComplexImage:
    """Inverse transform of weighted cuts (..., rows, cols) at the map pixels, but for factors of modulus one.

    The cuts are overwritten.
    """
    along_cols = scipy.fft.ifft(weighted, n=grid.shape[1], axis=-1, overwrite_x=True)
    b: ComplexImage = scipy.fft.ifft(along_cols, n=grid.shape[0], axis=-2, overwrite_x=True)
    return b


@lru_cache(maxsize=32)
def _first_sample(n_bins: int, grid: Grid, axis: int) -> NDArray[np.complex128]:
    """Factors of the bins along an axis that put the first sample on the first map pixel's centre, inside the frame.

    They hold the scale of the transform as well: both Friedel mates of a fringe, and fewer samples than pixels.
    """
    turn = np.arange(n_bins) * grid.origin_px[axis] / grid.frame_shape[axis]
    ramp: NDArray[np.complex128] = math.sqrt(2.0) / grid.step_px[axis] * np.exp(2j * np.pi * turn)
    return ramp


def _sample_px(grid: Grid, axis: int) -> FloatArray:
    samples: FloatArray = grid.origin_px[axis] + grid.step_px[axis] * np.arange(grid.shape[axis], dtype=np.float64)
    return samples


def fringe_power(weighted: ComplexImage, grid: Grid) -> Image:
    """|b|² of weighted cuts (..., rows, cols) at the map pixels [counts²]; the cuts are overwritten."""
    b = transform_back(weighted, grid)
    power: Image = b.real**2
    power += b.imag**2
    return power


def noise_power(background: Image, cut: Cut, grid: Grid) -> float:
    """Expected |b|² where there is no fringe [counts²], from the background read in this cut."""
    return 4.0 * under_aperture(background, cut) / (grid.frame_shape[0] * grid.frame_shape[1]) ** 2


def under_aperture(power: Array, cut: Cut, exponent: Literal[2, 4] = 2) -> float:
    """Sum of a power read in this cut, weighted with a power of the aperture."""
    rows, cols = cut.rows * cut.rows, cut.cols * cut.cols
    if exponent == 4:
        rows, cols = rows * rows, cols * cols
    return float(rows.astype(np.float32) @ power @ cols.astype(np.float32))
