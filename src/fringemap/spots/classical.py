"""Find spots in the whitened power at a stated rate of false alarms, with no training and no structure.

A spot of a large grain is one bin wide, that of a 2 nm grain tens of bins. Blocks of 1, 2, 4, ... bins are therefore
compared with what noise alone makes of them, from fine to coarse; what has been found at one size is taken out before
the next. Blocks that touch form a component; a watershed splits it into spots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
from skimage.segmentation import watershed

from fringemap.spectrum import bin_size
from fringemap.spots.candidates import Candidates
from fringemap.spots.noise import log_tail, measure_noise_law, threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Array, Diffractogram, Image, Mask
    from fringemap.settings import SpotSettings

# The noise law is measured in this many rings of equal width, each from some of its blocks.
_N_ZONES = 8
_SAMPLE = 20_000
_BLOCK_ROWS = 64
# Found bins are grouped on cells of this side: what lies nearer is looked at together.
_CELL = 4
_OWN_LAW_BINS = 2_000
# Two maxima of a component are two spots if the valley between them is this deep, in heights of the lower one ...
_VALLEY = 0.6
# ... and deeper than this many standard deviations of the noise on such a height.
_VALLEY_SIGMA = 4.0
# The local background of a spot is the median within this many bins of it, or this many of its widths.
_LOCAL_REACH = 24
_LOCAL_WIDTHS = 6.0
# A sharp edge of the frame or of a grain leaves lobes beside a spot: power (width / distance)² along the axes of the
# frame, steeper elsewhere. Fainter maxima than this multiple of it are lobes.
_LOBE_MARGIN = 2.0


@dataclass(frozen=True)
class _Window:
    """The part of a diffractogram in which spots are looked for, centred, with a margin across the column axis.

    Bins outside the limits of d hold 1, the mean of noise.
    """

    whitened: Image
    gy: Array
    """Of each row [1/Å]."""
    gx: Array
    """Of each column."""
    first_row: int
    first_col: int
    g_low: float
    g_high: float

    def g_at(self, row: Array | int, col: Array | int) -> Array:
        """|g| of bins counted from the corner of the window [1/Å]."""
        g: Array = np.hypot(self.gy[0] + row * (self.gy[1] - self.gy[0]), self.gx[0] + col * (self.gx[1] - self.gx[0]))
        return g

    def zone_at(self, row: Array | int, col: Array | int) -> Array:
        """Ring of equal width, numbered from the centre."""
        zone: Array = np.minimum(self.g_at(row, col) * (_N_ZONES / self.g_high), _N_ZONES - 1).astype(int)
        return zone


def detect_classical(diffractogram: Diffractogram, *, settings: SpotSettings) -> Candidates:
    """Spots whose blocks are brighter than noise makes them at the stated number of false spots a frame.

    Parameters
    ----------
    diffractogram
        With its background; any shape.
    settings
        ``false_spots``, the limits of d, and the smallest grain.

    Returns
    -------
    Candidates
        One of each Friedel pair; empty if nothing stands out.
    """
    levels = _levels(diffractogram, settings)
    window = _cut_window(diffractogram, settings, margin=2 * levels[-1])
    found, laws = _find_blocks(window, levels, settings.false_spots, diffractogram.noise_shape)
    peaks = [peak for box, component in _components(found) for peak in _split_component(window, box, component)]
    peaks = _keep_real_half(peaks)
    peaks = _drop_lobes(peaks)
    return _scored(peaks, window, found, laws, settings.false_spots)


def _levels(diffractogram: Diffractogram, settings: SpotSettings) -> tuple[int, ...]:
    """Sides of the blocks [bins]: 1, 2, 4, ... up to twice the width of the spots of the smallest grain."""
    smallest_grain = settings.min_grain_nm * 10.0
    width = 1.0 / smallest_grain / min(bin_size(diffractogram.frame_shape, diffractogram.scale))
    largest = min(2 * width, min(diffractogram.frame_shape) / 16)
    return tuple(2**level for level in range(int(np.log2(max(largest, 2.0))) + 1))


def _cut_window(diffractogram: Diffractogram, settings: SpotSettings, *, margin: int) -> _Window:
    (rows, cols), scale = diffractogram.frame_shape, diffractogram.scale
    step_y, step_x = bin_size(diffractogram.frame_shape, scale)
    g_low, g_high = 1.0 / settings.d_max_angstrom, 1.0 / settings.d_min_angstrom
    last_row = min(int(g_high / step_y), (rows - 1) // 2)
    last_col = min(int(g_high / step_x), (cols - 1) // 2)
    margin = min(margin, last_col)
    row = np.arange(-last_row, last_row + 1)
    whitened = np.empty((len(row), last_col + 1 + margin), np.float32)
    inner = slice(margin, None)
    for here, there in ((slice(last_row, None), slice(last_row + 1)), (slice(last_row), slice(rows - last_row, rows))):
        power, background = (half[there, : last_col + 1] for half in (diffractogram.power, diffractogram.background))
        np.divide(power, background, out=whitened[here, inner])
    whitened[:, :margin] = whitened[::-1, 2 * margin : margin : -1]
    gy, gx = row * step_y, np.arange(-margin, last_col + 1) * step_x
    _blank(whitened, gy, gx, g_low, g_high)
    g_corner = float(np.hypot(gy[-1], gx[-1]))
    return _Window(whitened, gy, gx, -last_row, -margin, g_low, min(g_high, g_corner))


def _blank(whitened: Image, gy: Array, gx: Array, g_low: float, g_high: float) -> None:
    """Put the mean of noise outside a ring, in place."""
    reach, hole = (np.sqrt(np.maximum(limit**2 - gy**2, 0.0)) for limit in (g_high, g_low))
    outer = zip(np.searchsorted(gx, -reach), np.searchsorted(gx, reach, side="right"), strict=True)
    for line, (first, last) in zip(whitened, outer, strict=True):
        line[:first] = 1.0
        line[last:] = 1.0
    for row in np.flatnonzero(np.abs(gy) < g_low):
        first, last = np.searchsorted(gx, -hole[row]), np.searchsorted(gx, hole[row], side="right")
        whitened[row, first:last] = 1.0


@dataclass(frozen=True)
class _Law:
    """Noise law of the block means of one side length, by zone."""

    side: int
    means: Array
    shapes: Array
    n_tests: int


def _find_blocks(
    window: _Window, levels: Sequence[int], false_spots: float, noise_shape: float
) -> tuple[Mask, list[_Law]]:
    """Bins of all blocks that exceed their threshold, and the laws that these came from.

    ``grid`` holds the means of blocks that do not overlap; the tested blocks, four cells each, overlap by half.
    """
    found = np.zeros(window.whitened.shape, bool)
    grid = window.whitened
    laws = []
    for side in levels:
        cell = max(side // 2, 1)
        means = grid if side == 1 else _mean_of_four(grid, 1)
        law = _measure_law(means, window, side, noise_shape)
        rows, cols = _bright_blocks(means, window, law, false_spots / len(levels))
        if side > 1:
            rows, cols = _cells_of_blocks(rows, cols)
        if len(rows):
            grid = grid.copy()
            grid[rows, cols] = 1.0
            _mark(found, rows, cols, cell)
        if side > 1:
            grid = _mean_of_four(grid, 2)
        laws.append(law)
    return found, laws


def _mean_of_four(grid: Image, step: int) -> Image:
    """Mean of each 2 x 2 cells, at every place or at every other one."""
    rows, cols = (n - 1 for n in grid.shape)
    mean = np.empty((-(-rows // step), -(-cols // step)), np.float32)
    for start in range(0, len(mean), _BLOCK_ROWS):
        first, end = start * step, min((start + _BLOCK_ROWS) * step, rows)
        block = grid[first:end:step] + grid[first + 1 : end + 1 : step]
        out = mean[start : start + len(block)]
        np.add(block[:, :cols:step], block[:, 1 : cols + 1 : step], out=out)
        out *= np.float32(0.25)
    return mean


def _cells_of_blocks(rows: Array, cols: Array) -> tuple[Array, Array]:
    """The four cells of each block, each cell once."""
    cells = {(int(r) + dr, int(c) + dc) for r, c in zip(rows, cols, strict=True) for dr in (0, 1) for dc in (0, 1)}
    unique = np.array(sorted(cells), int).reshape(-1, 2)
    return unique[:, 0], unique[:, 1]


def _mark(found: Mask, rows: Array, cols: Array, cell: int) -> None:
    """Mark the bins of cells, in place."""
    if cell == 1:
        found[rows, cols] = True
        return
    for r, c in zip(rows * cell, cols * cell, strict=True):
        found[r : r + cell, c : c + cell] = True


def _bright_blocks(means: Image, window: _Window, law: _Law, false_spots: float) -> tuple[Array, Array]:
    """Blocks above the threshold of their zone, as indices into ``means``."""
    per_test = np.log(false_spots / law.n_tests)
    limits = np.array([threshold(per_test, mean=m, shape=s) for m, s in zip(law.means, law.shapes, strict=True)])
    rows, cols = np.nonzero(means > np.float32(limits.min()))
    bright = means[rows, cols] > limits[window.zone_at(*_middle(rows, cols, law.side))]
    return rows[bright], cols[bright]


def _middle(rows: Array, cols: Array, side: int) -> tuple[Array, Array]:
    """Bins, counted from the corner of the window, at the middle of tested blocks."""
    cell = max(side // 2, 1)
    return rows * cell + (side - 1) / 2, cols * cell + (side - 1) / 2


def _measure_law(means: Image, window: _Window, side: int, noise_shape: float) -> _Law:
    """Noise law of one level in each zone, from a sample of its blocks."""
    step = max(1, int((means.size / (_SAMPLE * _N_ZONES)) ** 0.5))
    sample = means[::step, ::step]
    rows, cols = (np.arange(n) * step for n in sample.shape)
    row, col = _middle(rows[:, None], cols, side)
    g = window.g_at(row, col)
    reach = side * max(window.gy[1] - window.gy[0], window.gx[1] - window.gx[0])
    inside = (g > window.g_low + reach) & (g < window.g_high - reach)
    n_tests = max(int(np.count_nonzero(inside)) * step**2, 1)
    values, zones = sample[inside], window.zone_at(row, col)[inside]
    groups = [values[zones == number] for number in range(_N_ZONES)]
    laws = np.array([measure_noise_law(group, independent_shape=side * side * noise_shape) for group in groups])
    # A zone with few bins can be crowded with spots; it follows the others.
    weight = np.array([len(group) for group in groups]) * step**2 / _OWN_LAW_BINS
    shapes = (weight * laws[:, 1] + np.median(laws[:, 1])) / (weight + 1)
    return _Law(side, laws[:, 0], shapes, n_tests)


@dataclass(frozen=True)
class _Peak:
    """One maximum, in bins of the half spectrum (row signed)."""

    row: float
    col: float
    width: float
    height: float
    """Smoothed whitened power over the background's."""
    merged: bool


def _components(found: Mask) -> list[tuple[tuple[slice, slice], Mask]]:
    """Groups of found bins that touch on a grid of coarse cells, each as a box with a margin and a mask in it."""
    shape = tuple(-(-n // _CELL) * _CELL for n in found.shape)
    padded = np.zeros(shape, bool)
    padded[: found.shape[0], : found.shape[1]] = found
    coarse = padded.reshape(shape[0] // _CELL, _CELL, shape[1] // _CELL, _CELL).any(axis=(1, 3))
    labels, _ = scipy.ndimage.label(coarse, np.ones((3, 3)))
    groups = []
    for label, cells in enumerate(scipy.ndimage.find_objects(labels), start=1):
        inner = tuple(slice(side.start * _CELL, side.stop * _CELL) for side in cells)
        own = np.kron(labels[cells] == label, np.ones((_CELL, _CELL), bool)).astype(bool)
        # A margin of one cell, so that smoothing sees what lies around.
        top, left = (max(side.start - _CELL, 0) for side in inner)
        box = (
            slice(top, min(inner[0].stop + _CELL, found.shape[0])),
            slice(left, min(inner[1].stop + _CELL, found.shape[1])),
        )
        component = np.zeros(found[box].shape, bool)
        part = component[inner[0].start - top : inner[0].stop - top, inner[1].start - left : inner[1].stop - left]
        part |= (own & padded[inner])[: part.shape[0], : part.shape[1]]
        groups.append((box, component))
    return groups


def _split_component(window: _Window, box: tuple[slice, slice], component: Mask) -> list[_Peak]:
    """Spots of one connected component: basins of a watershed whose valleys are deep enough."""
    excess = np.where(component, np.maximum(window.whitened[box] - 1.0, 0.0), 0.0).astype(np.float64)
    sigma = max(0.7, 0.2 * _effective_area(excess) ** 0.5)
    smooth = scipy.ndimage.gaussian_filter(window.whitened[box].astype(np.float64) - 1.0, sigma, mode="nearest")
    basins = _merge_shallow(_basins(smooth, component), smooth, n_smoothed=4 * np.pi * sigma**2)
    numbers = np.unique(basins[component])
    origin_row, origin_col = box[0].start + window.first_row, box[1].start + window.first_col
    peaks = []
    for number in numbers[numbers > 0]:
        own = np.where(basins == number, excess, 0.0)
        row, col = np.unravel_index(int(np.argmax(np.where(basins == number, smooth, -np.inf))), smooth.shape)
        centre_row, centre_col = _centroid(own, int(row), int(col), reach=max(1, round(2 * sigma)))
        width = 2.355 * (_effective_area(own) / (4 * np.pi)) ** 0.5
        height = float(smooth[row, col])
        peaks.append(_Peak(centre_row + origin_row, centre_col + origin_col, max(width, 1.0), height, len(numbers) > 1))
    return peaks


def _effective_area(excess: Array) -> float:
    """Bins over which the energy is spread: (sum E)² / sum E²; 4 pi s² for a Gaussian of standard deviation s."""
    squares = float(np.sum(excess**2))
    return float(np.sum(excess)) ** 2 / squares if squares > 0 else 1.0


def _centroid(excess: Array, row: int, col: int, *, reach: int) -> tuple[float, float]:
    rows = slice(max(row - reach, 0), row + reach + 1)
    cols = slice(max(col - reach, 0), col + reach + 1)
    part = excess[rows, cols]
    total = part.sum()
    if total <= 0:
        return float(row), float(col)
    r = np.arange(rows.start, rows.start + part.shape[0])
    c = np.arange(cols.start, cols.start + part.shape[1])
    return float(part.sum(axis=1) @ r / total), float(part.sum(axis=0) @ c / total)


def _basins(smooth: Array, component: Mask) -> Array:
    """Watershed of the component from each local maximum; 0 outside."""
    maxima = (scipy.ndimage.maximum_filter(smooth, 3, mode="nearest") == smooth) & component
    markers, _ = scipy.ndimage.label(maxima, np.ones((3, 3)))
    basins: Array = watershed(-smooth, markers, mask=component)  # type: ignore[no-untyped-call]
    return basins


def _merge_shallow(basins: Array, smooth: Array, *, n_smoothed: float) -> Array:
    """Join each basin to the higher neighbour from which no deep valley parts it.

    A height A over noise of mean 1 has a standard deviation of about sqrt(2 A + 1) in one bin, less by the square root
    of the number of bins that the smoothing averages.
    """
    n = int(basins.max())
    if n < 2:
        return basins
    basins = basins.copy()
    heights = np.full(n + 1, -np.inf)
    np.maximum.at(heights, basins.ravel(), smooth.ravel())
    saddles = _saddles(basins, smooth, n)
    for lower in np.argsort(heights[1:]) + 1:
        higher = int(np.argmax(saddles[lower]))
        saddle = saddles[lower, higher]
        if not np.isfinite(saddle):
            continue
        noise = (max(2 * heights[lower] + 1, 1.0) / n_smoothed) ** 0.5
        depth = heights[lower] - saddle
        if depth < max(_VALLEY * heights[lower], _VALLEY_SIGMA * noise):
            basins[basins == lower] = higher
            joined = np.maximum(saddles[lower], saddles[higher])
            saddles[higher], saddles[:, higher] = joined, joined
            heights[higher] = max(heights[higher], heights[lower])
        saddles[lower], saddles[:, lower] = -np.inf, -np.inf
        np.fill_diagonal(saddles, -np.inf)
    return basins


def _saddles(basins: Array, smooth: Array, n: int) -> Array:
    """Highest pass between each two basins; -inf where they do not touch; (n + 1, n + 1)."""
    saddles = np.full((n + 1, n + 1), -np.inf)
    for axis in (0, 1):
        one, other = (np.take(basins, range(k, basins.shape[axis] - 1 + k), axis) for k in (0, 1))
        pass_height = np.minimum(*(np.take(smooth, range(k, basins.shape[axis] - 1 + k), axis) for k in (0, 1)))
        border = (one != other) & (one > 0) & (other > 0)
        for a, b in ((one, other), (other, one)):
            np.maximum.at(saddles, (a[border], b[border]), pass_height[border])
    return saddles


def _keep_real_half(peaks: list[_Peak]) -> list[_Peak]:
    """One of each Friedel pair, with col > 0, or col == 0 and row > 0; in falling order of height."""
    kept: list[_Peak] = []
    for peak in sorted(peaks, key=lambda p: -p.height):
        sign = 1 if (peak.col, peak.row) > (0, 0) else -1
        row, col = sign * peak.row, sign * peak.col
        reach = max(1.5, 0.5 * peak.width)
        if any(min(np.hypot(row - k.row, col - k.col), np.hypot(row + k.row, col + k.col)) < reach for k in kept):
            continue
        kept.append(_Peak(row, col, peak.width, peak.height, peak.merged))
    return kept


def _drop_lobes(peaks: list[_Peak]) -> list[_Peak]:
    """Leave out maxima that the sharp edges of the frame or of a grain make beside a stronger spot."""
    kept: list[_Peak] = []
    for peak in peaks:
        if not any(peak.height < _LOBE_MARGIN * _lobe_height(strong, peak) for strong in kept):
            kept.append(peak)
    return kept


def _lobe_height(strong: _Peak, at: _Peak) -> float:
    """Upper envelope of the side lobes of a spot at the place of another; of the mate's lobes, if that is nearer."""
    offsets = [(at.row - sign * strong.row, at.col - sign * strong.col) for sign in (1, -1)]
    dr, dc = min(offsets, key=lambda o: abs(o[0]) + abs(o[1]))
    distance = max(float(np.hypot(dr, dc)) / strong.width, 1e-9)
    on_axis = min(abs(dr), abs(dc)) <= 1.0 + strong.width / 2
    power = 2.0 if on_axis else 3.0
    return strong.height * float(min(1.0, (np.pi * distance) ** -power))


def _scored(
    peaks: Sequence[_Peak], window: _Window, found: Mask, laws: Sequence[_Law], false_spots: float
) -> Candidates:
    """Significance of each peak against the background around it; those below the stated rate are left out."""
    scores = np.array([_score(peak, window, found, laws) for peak in peaks])
    order = np.argsort(-scores, kind="stable") if len(peaks) else np.zeros(0, int)
    order = order[scores[order] >= -np.log10(false_spots)]
    ranked = [peaks[i] for i in order]
    return Candidates(
        row=np.array([p.row for p in ranked], float),
        col=np.array([p.col for p in ranked], float),
        width=np.array([p.width for p in ranked], float),
        score=scores[order],
        merged=np.array([p.merged for p in ranked], bool),
    )


def _score(peak: _Peak, window: _Window, found: Mask, laws: Sequence[_Law]) -> float:
    """-log10 of the number of blocks as bright as the best one on this peak that noise would make."""
    row, col = round(peak.row) - window.first_row, round(peak.col) - window.first_col
    zone = int(window.zone_at(row, col))
    local, n_local = _local_background(peak, window, found)
    best = -np.inf
    for law in laws:
        mean = _brightest_block(window.whitened, row, col, law.side)
        ratio = mean / max(local, law.means[zone])
        tail = log_tail(ratio, shape=law.shapes[zone], background_shape=max(n_local / 2, 10.0))
        best = max(best, -float(tail) - np.log(law.n_tests * len(laws)))
    return float(best / np.log(10))


def _brightest_block(whitened: Image, row: int, col: int, side: int) -> float:
    """Largest mean of the blocks of this side that hold the bin near their middle."""
    low = (side - 1) // 2
    shifts = (0,) if side % 2 else (0, 1)
    blocks = (
        whitened[max(row - low - dr, 0) : row - low - dr + side, max(col - low - dc, 0) : col - low - dc + side]
        for dr in shifts
        for dc in shifts
    )
    return max(float(block.mean()) for block in blocks)


def _local_background(peak: _Peak, window: _Window, found: Mask) -> tuple[float, int]:
    """Median of the whitened power around a peak, at its own |g|, as a mean; and the number of bins that told it."""
    row, col = round(peak.row) - window.first_row, round(peak.col) - window.first_col
    reach = round(max(_LOCAL_REACH, _LOCAL_WIDTHS * peak.width))
    top, left = max(row - reach, 0), max(col - reach, 0)
    box = (slice(top, row + reach + 1), slice(left, col + reach + 1))
    around = window.whitened[box]
    g = window.g_at(*np.ogrid[top : top + around.shape[0], left : left + around.shape[1]])
    step = max(window.gy[1] - window.gy[0], window.gx[1] - window.gx[0])
    ring = np.abs(g - window.g_at(row, col)) < max(2 * peak.width, 6.0) * step
    inside = (g >= window.g_low) & (g <= window.g_high)
    values = around[ring & inside & ~found[box]]
    if len(values) < 20:
        return 0.0, 20
    return float(np.median(values)) / np.log(2), len(values)
