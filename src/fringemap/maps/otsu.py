"""The paper's map: masked inverse transform of the whole frame, Otsu's threshold, morphology. Kept for comparison.

It marks a third of any frame, also where there is nothing, and says nothing of its error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.ndimage
import skimage.filters

from fringemap.maps.amplitude import fringe_intensity
from fringemap.maps.baseband import Cut, Grid, make_cut, radius_for, read_cut
from fringemap.maps.resolution import choose_grid, choose_resolution
from fringemap.records import ComplexImage, Diffractogram, Flag, Image, Mask, Match, PhaseEvidence, PhaseMap, Spots

if TYPE_CHECKING:
    from fringemap.settings import MapSettings

_OPENING_PX = 7
"""Side of the paper's structuring element [frame px]."""
_DISC_WIDTHS_PRODUCT = 2.0 * 2.2150894 / (2.0 * math.pi)
"""Full width at half maximum of a point times the radius of a sharp disc: from 2 J1(x) / x = 1/2 at x = 2.215."""


def map_otsu(
    diffractogram: Diffractogram, spots: Spots, match: Match, *, settings: MapSettings
) -> tuple[PhaseMap, ...]:
    """One map a phase, of the frame's size, the paper's way; see ``compute_maps``."""
    grid = choose_grid(diffractogram, settings)
    return tuple(_map_phase(diffractogram, spots, phase, grid, settings) for phase in match.phases if len(phase.spots))


def _map_phase(
    diffractogram: Diffractogram, spots: Spots, phase: PhaseEvidence, grid: Grid, settings: MapSettings
) -> PhaseMap:
    resolution = choose_resolution(diffractogram, spots, np.array(phase.spots), grid=grid, settings=settings)
    radius = radius_for(resolution)
    fringes = np.abs(filter_fringes(diffractogram, spots, phase.spots, radius=radius))
    mask = otsu_mask(fringes, period_px=_longest_period(diffractogram, spots, phase.spots))
    centres = [(float(spots.gx[i]), float(spots.gy[i])) for i in phase.spots]
    cuts = [make_cut(grid, g, radius) for g in centres]
    parts = [fringe_intensity(*read_cut(diffractogram, cut), cut) for cut in cuts]
    return PhaseMap(
        phase=phase.phase,
        amplitude=fringes,
        mask=mask,
        pixel_size_angstrom=diffractogram.scale.pixel_size_angstrom,
        origin_px=(0.0, 0.0),
        resolution_angstrom=_DISC_WIDTHS_PRODUCT / radius,
        intensity=sum(part[0] for part in parts),
        intensity_sigma=math.sqrt(sum(part[1] for part in parts)),
        area_fraction=float(mask.mean()),
        area_sigma=float("nan"),
        spots=phase.spots,
        flags=Flag.NONE if mask.any() else Flag.NOTHING_SIGNIFICANT,
    )


def filter_fringes(diffractogram: Diffractogram, spots: Spots, members: tuple[int, ...], *, radius: float) -> Image:
    """Frame with only what lies within ``radius`` [1/Å] of the spots: the fringes themselves [counts]."""
    kept = np.zeros_like(diffractogram.spectrum)
    grid = Grid(diffractogram.frame_shape, diffractogram.frame_shape, diffractogram.scale.pixel_size_angstrom)
    for i in members:
        for sign in (1.0, -1.0):
            gx, gy = sign * float(spots.gx[i]), sign * float(spots.gy[i])
            _copy_disc(diffractogram, kept, make_cut(grid, (gx, gy), radius), (gx, gy), grid, radius)
    fringes: Image = scipy.fft.irfft2(kept, s=diffractogram.frame_shape, overwrite_x=True)
    return fringes


def _copy_disc(
    diffractogram: Diffractogram, kept: ComplexImage, cut: Cut, g: tuple[float, float], grid: Grid, radius: float
) -> None:
    """Copy the stored half of one disc; its mate's call copies the other."""
    n_rows, n_cols = grid.frame_shape
    rows = cut.start[0] + np.arange(cut.shape[0])
    cols = cut.start[1] + np.arange(cut.shape[1])
    qy = rows / (n_rows * grid.frame_pixel[0]) - g[1]
    qx = cols / (n_cols * grid.frame_pixel[1]) - g[0]
    inside = np.hypot(qy[:, None], qx) <= radius
    stored = cols % n_cols <= n_cols // 2
    place = np.ix_(rows % n_rows, (cols % n_cols)[stored])
    kept[place] = np.where(inside[:, stored], diffractogram.spectrum[place], kept[place])


def _longest_period(diffractogram: Diffractogram, spots: Spots, members: tuple[int, ...]) -> float:
    """In frame pixels."""
    return float(np.max(spots.d_spacing[list(members)])) / min(diffractogram.scale.pixel_size_angstrom)


def otsu_mask(fringes: Image, *, period_px: float) -> Mask:
    """Otsu's threshold of |fringes|, closed over the fringes' period, then opened.

    The order matters: |fringes| are stripes, and an opening first would wipe them out.
    """
    level = float(skimage.filters.threshold_otsu(fringes))  # type: ignore[no-untyped-call]
    bright = (fringes > level).astype(np.uint8)
    # |fringes| repeat every half period, and so are the dark gaps at most that wide.
    closing = 2 * math.ceil(period_px / 4.0) + 1
    closed = scipy.ndimage.grey_closing(bright, size=(closing, closing))
    opened: Mask = scipy.ndimage.grey_opening(closed, size=(_OPENING_PX, _OPENING_PX)).astype(np.bool_)
    return opened
