"""The expected power of everything that is not a spot: Thon rings, envelope, camera, streaks on the axes.

Noise and amorphous material make every bin an independent gamma-distributed number around its expectation (exponential
for a single frame). The expectation varies slowly along the azimuth and may oscillate along the radius, so it is read
from the medians of a polar grid: a spot fills a small part of its cell and lifts a median by little.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import scipy.special

from fringemap.records import lend_array
from fringemap.spectrum.axes import bin_size, do_each, frequency_axes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fringemap.records import Array, Image, IntArray, Scale
    from fringemap.spectrum.axes import Part

# Sectors of the half plane: six degrees follow astigmatic Thon rings, and hold enough bins beyond the first few rings.
_N_SECTORS = 30
# Log power is counted in steps of 1/3 e-fold around a first guess for its ring; medians are interpolated within a step.
_STEPS_PER_E = 3
_LEVELS_BELOW = 12
_N_LEVELS = 26
# Rows of bins whose levels are counted: all of those near the centre, and about so many over the whole height.
_ROWS_NEAR = 128
_ROWS_ENOUGH = 500
# The first guess comes from these rows next to the centre and from about so many others.
_GUESS_NEAR, _GUESS_ROWS = 32, 64
# Rows that are counted at a time: their levels stay in the processor's cache.
_COUNTED_ROWS = 128
# Cells are pooled over three rings, and over as few sectors as hold enough bins for a trustworthy median that a
# spot cannot lift; a ring with too few bins even so is taken as isotropic.
_POOLED_SECTORS = (3, 7, 13)
_ENOUGH_BINS = 200
_OWN_RING_BINS = 1000
# The spread of sectors is compared over this many rings.
_COMPARED_RINGS = 17
# Of a large spectrum, sectors are compared on groups of rings: so many groups at most.
_MOST_GROUPS = 512
# Variance of the log of the median of n exponential numbers is about this over n: 1 / (n ln²2).
_MEDIAN_VARIANCE = 2.08
# Streaks are looked for within this share of the frequencies from each axis, in pieces of this share of their length.
_STREAK_BAND = 0.05
_STREAK_PIECES = 12
_STREAK_RATIO = 1.5
_TINY = np.float32(1e-30)
# The background is never less than this share of the largest power: a fringe that was drawn without any noise leaves
# what float32 rounds off, some 1e-15 of it, and its power over that must stay finite.
_LEAST_SHARE = 1e-18


@dataclass(frozen=True)
class PolarGrid:
    """Which ring and which sector of the half plane each bin of a half spectrum lies in."""

    cell: NDArray[np.int32]
    """ring x number of sectors + sector; half-spectrum shape."""
    n_rings: int
    ring_width: float
    """[1/Å]; a ring is as wide as a bin of the coarser axis."""

    def ring(self, rows: IntArray, cols: IntArray | slice) -> NDArray[np.int32]:
        """Rings of some bins."""
        ring: NDArray[np.int32] = self.cell[rows, cols] // np.int32(_N_SECTORS)
        return ring


@lru_cache(maxsize=2)
def polar_grid(frame_shape: tuple[int, int], scale: Scale, part: Part) -> PolarGrid:
    """Rings and sectors of a half spectrum; ring r gathers |g| within half a width of r x ``ring_width``.

    Outside the part everything is 0.
    """
    gy, gx = (axis.astype(np.float32) for axis in frequency_axes(frame_shape, scale))
    width = max(bin_size(frame_shape, scale))
    shape = (len(gy), len(gx))
    cell = np.zeros(shape, np.int32)
    for rows, cols in part.blocks():
        y, x = _true(gy[rows, None], gx[cols], scale.shear)
        ring = (np.sqrt(y * y + x * x) * np.float32(1 / width) + np.float32(0.5)).astype(np.int32)
        fraction = np.arctan2(y, x) * np.float32(_N_SECTORS / np.pi) + np.float32(_N_SECTORS / 2)
        cell[rows, cols] = ring * _N_SECTORS + np.minimum(fraction, _N_SECTORS - 1).astype(np.int32)
    corner = np.hypot(*_true(abs(gy[part.last_row]), gx[part.n_cols - 1], abs(scale.shear)))
    return PolarGrid(cell, int(corner / width + 1.5), width)


def _true(y: Array, x: Array, shear: float) -> tuple[Array, Array]:
    """Frequencies of a frame whose rows and columns are not at a right angle; see ``Scale.shear``."""
    return (y, x) if shear == 0.0 else (y + np.float32(shear) * x, x + np.float32(shear) * y)


def estimate_background(
    power: Image, *, frame_shape: tuple[int, int], scale: Scale, part: Part, noise_shape: float, workers: int = 1
) -> Image:
    """Expected power of noise and amorphous material in every bin.

    Parameters
    ----------
    power
        Half spectrum of power, shape (n_rows, n_cols // 2 + 1) [counts²].
    part
        Bins that are evaluated.
    noise_shape
        Shape k of the gamma law of one bin: the number of frames averaged.
    workers
        Threads.

    Returns
    -------
    Image
        Same shape, positive; 1 outside the part.

    Notes
    -----
    Each ring has a median; each cell of a ring departs from it as far as the spread among the ring's sectors exceeds
    what chance makes (empirical Bayes), so that an isotropic spectrum gets an isotropic background with little error of
    its own. The median of the gamma law turns medians into means.
    """
    grid, sample = polar_grid(frame_shape, scale, part), _sample_of(frame_shape, scale, part)
    guess = _guess_rings(power, sample)
    counts = _count_levels(power, sample, guess, workers)
    cells = _median_of_cells(counts, guess, noise_shape)
    median_of_law = float(scipy.special.gammaincinv(noise_shape, 0.5)) / noise_shape
    table = np.exp(cells - np.log(median_of_law)).astype(np.float32)
    background = lend_array((power.shape[0], power.shape[1]), np.float32)
    part.fill_outside(background, 1.0, workers=workers)
    table[0] = table[1]
    largest = max(float(power[block].max()) for block in part.blocks())
    flat = np.maximum(table, np.float32(max(float(_TINY), _LEAST_SHARE * largest))).ravel()

    def look_up(piece: tuple[slice, slice]) -> None:
        background[piece] = flat.take(grid.cell[piece], mode="clip")

    # Places are widened on the way: small pieces, so that the wide ones stay in the processor's cache.
    do_each(look_up, part.blocks(), workers=workers)
    _lift_streaks(background, power, part, noise_shape=noise_shape)
    return background


@dataclass(frozen=True)
class _Sample:
    """Bins whose levels are counted: all in the columns of the part, of some rows."""

    rows: NDArray[np.int64]
    """All rows near the centre, where rings hold few bins, and every few of the others where there are very many."""
    n_rings: int
    group: int
    """So many rings have the counters of their sectors in common."""
    first_of_ring: NDArray[np.int32]
    """Where the counters of each bin's ring begin; (n_rows, n_cols)."""
    first_of_sector: NDArray[np.int32]
    """Where those of its sector begin."""

    def cut(self, power: Image, some: slice | IntArray) -> Image:
        """Power of some of the sampled rows, a copy."""
        return power[self.rows[some], : self.first_of_ring.shape[1]]

    @cached_property
    def guessed(self) -> IntArray:
        """Which of the sampled rows give the first guess."""
        step = max(1, len(self.rows) // _GUESS_ROWS)
        row = np.arange(len(self.rows))
        return np.flatnonzero((np.minimum(row, row[::-1]) < _GUESS_NEAR) | (row % step == 0))

    @cached_property
    def guessed_ring(self) -> NDArray[np.int32]:
        """Ring of each bin in these rows, flat."""
        ring: NDArray[np.int32] = self.first_of_ring[self.guessed].ravel() // np.int32(_N_LEVELS)
        return ring

    @cached_property
    def n_guessed(self) -> IntArray:
        """Bins of each ring in these rows; (n_rings,)."""
        return np.bincount(self.guessed_ring, minlength=self.n_rings)


# The same for all frames of a series.
@lru_cache(maxsize=2)
def _sample_of(frame_shape: tuple[int, int], scale: Scale, part: Part) -> _Sample:
    grid, row = polar_grid(frame_shape, scale, part), part.rows()
    step = max(1, round(len(row) / _ROWS_ENOUGH))
    near = np.minimum(row, part.n_rows - row) < _ROWS_NEAR
    rows = row[near | (row % step == 0)]
    group = -(-grid.n_rings // _MOST_GROUPS)
    ring, sector = np.divmod(grid.cell[rows, : part.n_cols], np.int32(_N_SECTORS))
    return _Sample(rows, grid.n_rings, group, ring * _N_LEVELS, (ring // group * _N_SECTORS + sector) * _N_LEVELS)


def _guess_rings(power: Image, sample: _Sample) -> Array:
    """Mean log power of each ring, from some of the sample: good to a factor of two; (n_rings,)."""
    log_power = np.log(np.maximum(sample.cut(power, sample.guessed), _TINY)).ravel()
    n, total = sample.n_guessed, np.bincount(sample.guessed_ring, log_power, sample.n_rings)
    # The zero frequency is empty; its ring follows the next.
    known = np.flatnonzero(n)[1:]
    guess = np.interp(np.arange(sample.n_rings), known, total[known] / n[known])
    smooth: Array = scipy.ndimage.median_filter(guess, size=5, mode="nearest")
    return smooth


@dataclass(frozen=True)
class _Counts:
    """How many sampled bins lie in each step of log power around the guess for their ring."""

    rings: Array
    """(n_rings, n_levels)."""
    sectors: Array
    """Of the sectors of groups of rings: (n_groups, n_sectors, n_levels)."""
    group: int
    """Rings in a group."""


def _count_levels(power: Image, sample: _Sample, guess: Array, workers: int = 1) -> _Counts:
    """Count the levels in rings and in sectors apart: a table of both would be longer than the list of bins."""
    n_rings, n_sectors = sample.n_rings * _N_LEVELS, -(-sample.n_rings // sample.group) * _N_SECTORS * _N_LEVELS
    offset = np.repeat((guess * _STEPS_PER_E - _LEVELS_BELOW).astype(np.float32), _N_LEVELS)
    rings, sectors = np.zeros(n_rings, np.int64), np.zeros(n_sectors, np.int64)
    adding = Lock()

    def count(start: int) -> None:
        some = slice(start, start + _COUNTED_ROWS)
        first = sample.first_of_ring[some]
        level = _levels(sample.cut(power, some), offset.take(first, mode="clip"))
        in_rings = np.bincount((level + first).ravel(), None, n_rings)
        level += sample.first_of_sector[some]
        in_sectors = np.bincount(level.ravel(), None, n_sectors)
        with adding:
            np.add(rings, in_rings, out=rings)
            np.add(sectors, in_sectors, out=sectors)

    do_each(count, range(0, len(sample.rows), _COUNTED_ROWS), workers=workers)
    rings, sectors = rings.astype(np.float32), sectors.astype(np.float32)
    return _Counts(rings.reshape(-1, _N_LEVELS), sectors.reshape(-1, _N_SECTORS, _N_LEVELS), sample.group)


def _levels(power: Image, offset: Image) -> NDArray[np.int32]:
    """Step of log power that each bin lies in, counted from its offset; ``power`` is written over."""
    with np.errstate(divide="ignore"):
        level = np.log(power, out=power)
    level *= np.float32(_STEPS_PER_E)
    level -= offset
    return np.clip(level, 0, _N_LEVELS - 1, out=level).astype(np.int32)


def _median_of_cells(counts: _Counts, guess: Array, noise_shape: float) -> Array:
    """Median log power of each cell, drawn towards its ring's; (n_rings, n_sectors)."""
    departure = _shrunk_departure(_pool_rings(counts.sectors), noise_shape)
    median: Array = _course(counts, guess)[:, None] + np.repeat(departure, counts.group, axis=0)[: len(guess)]
    return median


def _course(counts: _Counts, guess: Array) -> Array:
    """Median log power of each ring, together with its neighbours' where it has few bins; (n_rings,).

    Medians are averaged, not pooled: what is wrong with the guess for a ring would else be that ring's.
    """
    median, n = _median_of_levels(counts.rings)
    # The zero frequency is empty.
    n[0] = 0
    median += guess
    near = _pool_rings(n)
    mean = np.where(near > 0, _pool_rings(n * median) / np.maximum(near, 1), guess)
    # Thon rings can be as fine as a few bins: a ring with enough bins speaks for itself.
    return np.where(n > _OWN_RING_BINS, median, mean)


def _pool_rings(counts: Array) -> Array:
    """Each ring together with the one before it and the one after it."""
    wide = np.concatenate([counts[:1], counts, counts[-1:]])
    pooled: Array = wide[:-2] + wide[1:-1] + wide[2:]
    return pooled


def _pool_sectors(counts: Array, width: int) -> Array:
    """Each sector together with those around it; the half plane closes on itself: -90 and +90 degrees are one line."""
    sector = np.arange(_N_SECTORS)
    away = np.abs(sector[:, None] - sector)
    together = np.minimum(away, _N_SECTORS - away) <= width // 2
    pooled: Array = together.astype(np.float32) @ counts
    return pooled


def _shrunk_departure(counts: Array, noise_shape: float) -> Array:
    """How far the median of each sector lies from that of its rings, as far as chance does not make it."""
    departure, n = _departures(counts)
    chance = _MEDIAN_VARIANCE / np.maximum(n * noise_shape, 1.0)
    spread = scipy.ndimage.median_filter(np.median(np.abs(departure), axis=1), _COMPARED_RINGS, mode="nearest")
    excess = np.maximum((1.4826 * spread[:, None]) ** 2 - np.median(chance, axis=1)[:, None], 0.0)
    smooth = scipy.ndimage.uniform_filter1d(departure, 3, axis=0, mode="nearest")
    shrunk: Array = smooth * excess / (excess + chance)
    return shrunk


def _departures(counts: Array) -> tuple[Array, Array]:
    """How far each sector lies from its rings, and how many bins tell so; zero where too few."""
    whole, _ = _median_of_levels(counts.sum(axis=1))
    departure, n = np.zeros(counts.shape[:2]), np.ones(counts.shape[:2])
    per_sector = counts.sum(axis=(1, 2)) / _N_SECTORS
    open_rings = np.ones(len(counts), bool)
    for width in _POOLED_SECTORS:
        rings = np.flatnonzero(open_rings & (per_sector * width >= _ENOUGH_BINS))
        open_rings[rings] = False
        median, n[rings] = _median_of_levels(_pool_sectors(counts[rings], width))
        departure[rings] = np.where(n[rings] > 0, median - whole[rings, None], 0.0)
    return departure, n


def _median_of_levels(counts: Array) -> tuple[Array, Array]:
    """Median of counted levels [e-folds over the guess], and the number counted; over the last axis."""
    # Levels first, and added one by one: numpy would sum each cell in a loop of its own.
    inside = np.ascontiguousarray(np.moveaxis(counts, -1, 0))
    below = inside.copy()
    for lower, upper in itertools.pairwise(below):
        upper += lower
    total = below[-1]
    half = total / 2
    level: IntArray = (below < half).sum(axis=0, dtype=np.int8).astype(np.int64)
    above, inside = (np.take_along_axis(numbers, level[None], axis=0)[0] for numbers in (below, inside))
    within = 1.0 - (above - half) / np.maximum(inside, 1e-9)
    median = (level + within - _LEVELS_BELOW) / _STEPS_PER_E
    return np.where(total > 0, median, 0.0), total


def _lift_streaks(background: Image, power: Image, part: Part, *, noise_shape: float) -> None:
    """Raise the background, in place, along lines beside the axes that are bright over a long piece.

    A jump between opposite edges, scan noise, gain stripes or a burned-in scale bar brighten lines along an axis; a
    spot is too short to lift the median of a piece of such a line.
    """
    n_rows, n_cols = power.shape
    beside_rows = min(max(4, round(_STREAK_BAND * n_rows / 2)), part.last_row)
    beside_cols = min(max(4, round(_STREAK_BAND * n_cols)), part.n_cols)
    lines = np.arange(-beside_rows + 1, beside_rows) % n_rows
    for i, lift in _lifts(power[lines, : part.n_cols] / background[lines, : part.n_cols], 2 * n_cols, noise_shape):
        background[lines[i], : part.n_cols] *= lift
    rows = part.rows()
    for i, lift in _lifts((power[rows, :beside_cols] / background[rows, :beside_cols]).T, n_rows, noise_shape):
        background[rows, i] *= lift


def _lifts(ratio: Image, whole_length: int, noise_shape: float) -> Iterator[tuple[int, Array]]:
    """Yield the lines that are bright somewhere, and by what factor at each of their bins, from medians of pieces."""
    n = ratio.shape[1]
    n_pieces = max(1, n // max(whole_length // _STREAK_PIECES, 8))
    size = n // n_pieces
    pieces = ratio[:, : n_pieces * size].reshape(len(ratio), n_pieces, size)
    median_of_law = scipy.special.gammaincinv(noise_shape, 0.5) / noise_shape
    least = _STREAK_RATIO + 3 * (_MEDIAN_VARIANCE / (size * noise_shape)) ** 0.5
    # Where less than half of a piece is above the least, its median is not: few lines are left to be sorted.
    half = 2 * np.count_nonzero(pieces > np.float32(0.999 * least * median_of_law), axis=2) >= size
    middles = (np.arange(n_pieces) + 0.5) * size - 0.5
    for line in np.flatnonzero(half.any(axis=1)).tolist():
        medians = np.median(pieces[line], axis=1) / median_of_law
        course = np.interp(np.arange(n), middles, medians)
        if (course > least).any():
            yield line, np.where(course > least, course, 1.0).astype(np.float32)
