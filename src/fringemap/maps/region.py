"""Where a phase is: from whitened fringe power to a region with an honest area.

Two questions, answered one after the other. *Is there anything?* Under the null the whitened power ``t`` of each spot
is exponential with mean 1, so places are called significant at a false-discovery rate. *Where does it end?* The
aperture blurs the grain's edge, and a strong grain is significant far beyond it. At a straight edge the blurred
amplitude is half its plateau; so the region ends there, whatever its strength.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import scipy.special

from fringemap.maps.geometry import block_means, by_block_rows, smooth, spread_cols

if TYPE_CHECKING:
    from fringemap.maps.baseband import Grid
    from fringemap.records import FloatArray, Image, IntArray, Mask

_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
_BLOCK = 1.01
"""Largest side of a block, in resolutions; plateaus are worked out a block at a time."""
_PLATEAU = 1.5
"""Standard deviation of the window in which a plateau is looked for, in resolutions."""
_LARGE_PATCH = 3.0
"""Area of a significant patch that noise hardly makes, in resolutions squared."""
_LEAST_SEED = 0.3
"""Smallest significant patch, in resolutions squared."""
_PEAKS_PER_CELL = 4.0
"""Independent chances of noise to reach a high level, in each resolution squared; found by trial on noise."""
_LEAST_MEAN = 0.4
"""Windowed mean of t - 1 below which a spot has no plateau: two standard errors of that mean."""

_LEAST_EDGE = 2.0
"""Least power of an edge, in standard deviations of the noise."""
_EDGE_MODEL = 0.01
"""Standard error of taking half of the plateau for the edge, in resolutions: other spots' fringes end there too."""

# Disc of radius a blurred by a Gaussian of standard deviation s: the squared amplitude at its edge, over the plateau as
# _plateau finds it. A straight edge would be 0.28. Made by brute force; tests do it again.
_DISC_RADIUS = np.array([0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 14.0, 20.0, 28.0])
_EDGE_LEVEL = np.array(
    [1.549, 1.200, 0.896, 0.675, 0.527, 0.377, 0.316, 0.289, 0.268, 0.262, 0.263, 0.267, 0.271, 0.2745, 0.2767]
)


@dataclass(frozen=True)
class Region:
    """Where a phase is significant."""

    mask: Mask
    area_sigma: float
    """Standard error of the area [Å²]."""


@dataclass(frozen=True)
class _Plateau:
    """Local strength of the fringes, on blocks of map pixels."""

    block: int
    weight: Image
    """Of each spot; (n, block rows, block cols)."""
    power: Image
    """Of each spot, over its noise; same shape."""

    @property
    def expected(self) -> Image:
        """Weighted sum of t - 1 well inside the region."""
        total: Image = (self.weight * self.power).sum(axis=0)
        return total

    @property
    def offset(self) -> Image:
        """Weighted sum of t where there is only noise."""
        total: Image = self.weight.sum(axis=0)
        return total


def find_region(whitened: Image, *, resolution: float, grid: Grid, false_discovery_rate: float) -> Region:
    """Region of a phase, and the standard error of its area.

    Parameters
    ----------
    whitened
        Fringe power over its own local noise of each spot; (n, n_rows, n_cols).
    resolution
        Full width at half maximum of a point [Å].
    false_discovery_rate
        Share of the significant map pixels that may be false.

    Notes
    -----
    The standard error counts what noise does to the position of the edge, the map pixels' size, and the model of the
    edge. It knows nothing of grains that were not seen at all.
    """
    block = _block_size(grid, resolution)
    seeds = find_seeds(whitened, rate=false_discovery_rate, every=block, cell_px=resolution**2 / grid.cell_area)
    if not seeds.any():
        return Region(seeds, 0.0)
    plateau = _find_plateau(whitened, block, resolution, grid)
    mask = _grow_to_edges(whitened, seeds, plateau, resolution, grid)
    return Region(mask, _area_sigma(mask, plateau, resolution, grid))


def find_seeds(whitened: Image, *, rate: float, every: int, cell_px: float) -> Mask:
    """Map pixels where the noise alone would hardly reach.

    Significant at a false-discovery rate (Benjamini and Hochberg), set on one map pixel in ``every`` along each axis;
    neighbours are positively dependent, for which the procedure holds. Beside a large region the rate lets single noise
    peaks through, each far smaller than a grain: a patch is kept if it is ``_LARGE_PATCH`` resolution cells of
    ``cell_px`` map pixels large, or if even its peak alone would hardly be met in the whole frame.
    """
    total, largest = whitened.sum(axis=0), whitened.max(axis=0)
    n = len(whitened)
    sampled = total[::every, ::every], largest[::every, ::every]
    # No larger p-value can pass, so no other is worked out.
    promising = _reaches(*sampled, n, rate)
    p = _combined_p_value(sampled[0][promising], sampled[1][promising], n)
    level = _benjamini_hochberg(p, promising.size, rate)
    if level == 0.0:
        return np.zeros(total.shape, dtype=np.bool_)
    labels, n_patches = _label(_reaches(total, largest, n, level))
    area = np.bincount(labels.ravel(), minlength=n_patches + 1)
    alone = np.zeros(n_patches + 1, dtype=np.bool_)
    n_cells = total.size / cell_px
    alone[labels[_reaches(total, largest, n, min(rate / (_PEAKS_PER_CELL * n_cells), level))]] = True
    keep = (area >= _LARGE_PATCH * cell_px) | (alone & (area >= _LEAST_SEED * cell_px))
    keep[0] = False
    seeds: Mask = keep[labels]
    return seeds


def _reaches(total: Image, largest: Image, n: int, p_value: float) -> Mask:
    """Where either statistic reaches the combined p-value."""
    if n == 1:
        return total >= np.float32(-math.log(p_value))
    by_sum = scipy.special.gammainccinv(n, p_value / 2.0)
    by_largest = -math.log(-math.expm1(math.log1p(-p_value / 2.0) / n))
    found: Mask = (total >= np.float32(by_sum)) | (largest >= np.float32(by_largest))
    return found


def _combined_p_value(total: Image, largest: Image, n: int) -> FloatArray:
    """Two statistics that share the level evenly.

    The sum over the spots (Fisher's combination) is best for a grain that shows all of them, the largest for a grain
    that shows one.
    """
    by_sum = scipy.special.gammaincc(n, total.astype(np.float64))
    if n == 1:
        return np.asarray(by_sum, dtype=np.float64)
    by_largest = -np.expm1(n * np.log1p(-np.exp(-np.maximum(largest.astype(np.float64), 1e-12))))
    combined: FloatArray = np.minimum(2.0 * np.minimum(by_sum, by_largest), 1.0)
    return combined


def _benjamini_hochberg(smallest: FloatArray, n: int, rate: float) -> float:
    """Largest p-value that is rejected, 0 if none, given all of ``n`` p-values that are at most ``rate``."""
    ordered = np.sort(smallest)
    passed = np.flatnonzero(ordered <= rate * np.arange(1, len(ordered) + 1) / n)
    return float(max(ordered[passed[-1]], 1e-300)) if len(passed) else 0.0


def _block_size(grid: Grid, resolution: float) -> int:
    """Side of a block [map px]: a divisor of the map's sides, small against the resolution."""
    fits = [k for k in (4, 2) if k * max(grid.pixel_size) <= _BLOCK * resolution]
    return next((k for k in fits if grid.shape[0] % k == 0 and grid.shape[1] % k == 0), 1)


def _label(mask: Mask) -> tuple[IntArray, int]:
    """Number the connected patches from 1; the type is the one that numpy counts and picks with at once."""
    labels, n = scipy.ndimage.label(mask, output=np.int64)
    return labels, n


def _drop_small(mask: Mask, least: float) -> Mask:
    """Connected patches of at least so many map pixels."""
    labels, n = _label(mask)
    keep = np.bincount(labels.ravel(), minlength=n + 1) >= least
    keep[0] = False
    kept: Mask = keep[labels]
    return kept


def _find_plateau(whitened: Image, block: int, resolution: float, grid: Grid) -> _Plateau:
    """Power of each spot's fringes well inside its grain, near each place, and how much the spot counts there."""
    width = (_PLATEAU * resolution / (grid.pixel_size[0] * block), _PLATEAU * resolution / (grid.pixel_size[1] * block))
    power = _plateau_power(whitened, block, width)
    # An edge of slope ~ power shows above noise of variance 1 + power / 2: the best weight is their ratio.
    return _Plateau(block, power / (1.0 + 0.5 * power), power)


def _plateau_power(whitened: Image, block: int, width: tuple[float, float]) -> Image:
    """Mean of t - 1 of each spot in a window, weighted with itself and freed from what noise adds.

    Fringes of power S have the means E[t] = S + 1 and E[t²] = S² + 4 S + 2.
    """
    # Map after map, so that each stays in the cache of the core.
    mean = np.stack([block_means(t, block) for t in whitened])
    square = np.stack([block_means(t * t, block) for t in whitened])
    mean -= np.float32(1.0)
    square -= np.float32(4.0) * mean + np.float32(2.0)
    # The transform is periodic, and so is what leaks over the frame's edge.
    smooth_mean, smooth_square = (smooth(images, width, periodic=True) for images in (mean, square))
    power: Image = np.maximum(smooth_square, np.float32(0.0))
    power /= np.maximum(smooth_mean, np.float32(_LEAST_MEAN))
    power[smooth_mean <= _LEAST_MEAN] = 0.0
    return power


def _grow_to_edges(whitened: Image, seeds: Mask, plateau: _Plateau, resolution: float, grid: Grid) -> Mask:
    """Connected patches that hold a seed and end where the amplitude is half its plateau."""
    k = plateau.block
    weighted = np.zeros(seeds.shape, dtype=np.float32)
    by_rows = by_block_rows(weighted, k)
    for t, weight in zip(whitened, plateau.weight, strict=True):
        by_rows += spread_cols(weight, k) * by_block_rows(t, k)
    near = _near(seeds, k, resolution, grid)
    by_rows -= spread_cols(plateau.offset, k)
    # Where the plateau is hardly above the noise, half of it would be noise.
    least = _LEAST_EDGE / _EDGE_LEVEL.min() * np.sqrt((plateau.weight**2).sum(axis=0)) + 1e-6
    scale = near / np.maximum(plateau.expected, least)
    by_rows *= spread_cols(scale.astype(np.float32, copy=False), k)
    labels = _seeded_labels(weighted >= _EDGE_LEVEL.min(), seeds)
    mask = _settle_levels(weighted, labels, resolution, grid)
    return _fill_small_holes(mask, resolution**2 / grid.cell_area)


def _near(seeds: Mask, block: int, resolution: float, grid: Grid) -> Mask:
    """Blocks within about one resolution of a seed."""
    reach = [math.ceil(resolution / (size * block)) for size in grid.pixel_size]
    coarse = block_means(seeds.astype(np.float32), block) > 0.0
    near: Mask = scipy.ndimage.maximum_filter(coarse, size=[2 * r + 1 for r in reach], mode="constant")
    return near


def _seeded_labels(mask: Mask, seeds: Mask) -> IntArray:
    labels, n = _label(mask)
    keep = np.zeros(n + 1, dtype=np.bool_)
    keep[labels[seeds]] = True
    keep[0] = False
    seeded: IntArray = np.where(keep[labels], labels, 0)
    return seeded


def _settle_levels(relative: Image, labels: IntArray, resolution: float, grid: Grid, rounds: int = 3) -> Mask:
    """Raise the level of small patches: the smaller the disc, the nearer to its top is its edge."""
    inside = np.flatnonzero(labels)
    label, value = labels.ravel()[inside], relative.ravel()[inside]
    kept = np.ones(len(inside), dtype=np.bool_)
    for _ in range(rounds):
        area = np.bincount(label[kept], minlength=label.max(initial=0) + 1) * grid.cell_area
        kept = value >= edge_level(np.sqrt(area / math.pi), resolution).astype(np.float32)[label]
    mask = np.zeros(labels.shape, dtype=np.bool_)
    mask.ravel()[inside[kept]] = True
    return mask


def edge_level(radius: FloatArray, resolution: float) -> FloatArray:
    """Power at the edge of a disc of this radius [Å], over its plateau."""
    level: FloatArray = np.interp(radius / (resolution / _FWHM), _DISC_RADIUS, _EDGE_LEVEL)
    return level


def _fill_small_holes(mask: Mask, largest: float) -> Mask:
    """Holes of less than a resolution cell are noise in the fringes, not vacuum."""
    holes = ~mask
    filled: Mask = ~(_drop_small(holes, largest))
    return filled


def _area_sigma(mask: Mask, plateau: _Plateau, resolution: float, grid: Grid) -> float:
    """Standard error of the area [Å²].

    Each piece of edge, as long as noise is alike, moves on its own; so does each map pixel on the edge, by its size;
    and all edges together by what half of the plateau is off. At the edge the weighted sum has the slope 0.4 P / s,
    with P its plateau and s the standard deviation of the blur, and the noise sum(w² (1 + P / 2)).
    """
    blur = resolution / _FWHM
    variance = (plateau.weight**2 * (1.0 + 0.5 * plateau.power)).sum(axis=0)
    slope = plateau.expected / (math.sqrt(2.0 * math.pi) * blur)
    shift_squared = np.minimum(variance / np.maximum(slope, 1e-6) ** 2, resolution**2)
    length = _edge_length(mask, grid)
    alike = 2.0 * math.sqrt(math.pi) * blur
    k = plateau.block
    by_noise = k * k * float((shift_squared * block_means(length, k)).sum(dtype=np.float64)) * alike
    by_pixels = float(np.count_nonzero(length)) * grid.cell_area**2 / 12.0
    by_model = (_EDGE_MODEL * resolution * float(length.sum(dtype=np.float64))) ** 2
    return math.sqrt(by_noise + by_pixels + by_model)


def _edge_length(mask: Mask, grid: Grid) -> Image:
    """Length of the region's outline at each map pixel [Å]; the frame's own edges do not count.

    Outlines that follow the pixels are 4 / π times too long on average over their directions.
    """
    length = np.zeros(mask.shape, dtype=np.float32)
    length[1:] += (mask[1:] != mask[:-1]) * np.float32(grid.pixel_size[1])
    length[:, 1:] += (mask[:, 1:] != mask[:, :-1]) * np.float32(grid.pixel_size[0])
    return length * np.float32(math.pi / 4.0)
