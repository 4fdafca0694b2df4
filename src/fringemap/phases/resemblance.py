"""How common a pair of spots is among crystals: what a phase that is on no list is likely to show.

Crystals that nobody listed resemble those that are: they have axes of some ångströms, right angles, and zones that show
few reflections or many. So the zones of the listed structures and of their decoys, smeared in size and shape, tell how
often some crystal shows two spots with these lengths and this angle and nothing where it shows nothing. It is the
limit of very many decoys, without a search among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.strength import OFFSETS
from fringemap.phases.zones import MISS_BIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fringemap.phases.seeds import SeedIndex
    from fringemap.records import FloatArray, IntArray

LOWEST = np.array([-2.8, -0.08, math.radians(8.0)])
HIGHEST = np.array([0.2, 1.6, math.radians(95.0)])
STEP = np.array([0.06, 0.025, math.radians(1.5)])
"""Grid of mean log |g|, |g| in 1/Å, of the log ratio and of the angle of a pair."""

SMEAR = (0.06, 0.01, math.radians(0.6))
"""Standard deviations that seeds are smeared by: sizes differ freely, but symmetry keeps ratios and angles."""

VISIBLE = np.array([0.4, 0.55, 0.7, 0.85, 1.0])
"""Tables are made for frames that show spots up to such |g| [1/Å]."""

DIVISORS = 4
"""Kinds of lattices on a pair: the pair spans it, or every other point of it in one of three ways."""


@dataclass(frozen=True)
class Resemblance:
    """Density of pairs over (mean log |g|, log ratio, angle), with the probability that nothing else is seen."""

    density: FloatArray
    """(n_visible, n_kinds, DIVISORS, *grid)."""

    def log_density(self, features: FloatArray, g_shown: FloatArray) -> FloatArray:
        """Log of the density of pairs; (n_kinds, DIVISORS, n) for features (n, 3) and the visibility in bins of |g|."""
        at = np.rint((features - LOWEST) / STEP).astype(np.int64)
        inside = np.all((at >= 0) & (at < self.density.shape[3:]), axis=1)
        at = np.clip(at, 0, np.array(self.density.shape[3:]) - 1)
        seen = float(g_shown.sum()) * MISS_BIN
        table = self.density[int(np.argmin(np.abs(VISIBLE - seen)))]
        with np.errstate(divide="ignore"):
            log_density: FloatArray = np.log(np.where(inside, table[:, :, at[:, 0], at[:, 1], at[:, 2]], 0.0))
        return log_density


def measure_resemblance(indices: Sequence[SeedIndex]) -> Resemblance:
    """Count the seeds of structures and decoys on a grid, and smear them."""
    shape = tuple(np.ceil((HIGHEST - LOWEST) / STEP).astype(int) + 1)
    density = np.zeros((len(VISIBLE), len(OFFSETS), DIVISORS, *shape), np.float32)
    for index in indices:
        row, place = _places(index, shape)
        for number, g_max in enumerate(VISIBLE):
            for kind, misses in enumerate(index.miss[:, :, : round(g_max / MISS_BIN)].sum(axis=2)):
                weight = np.exp(index.constant[row] + misses[index.zone[row]])
                density[number, kind] += np.bincount(place, weight, density[0, 0].size).reshape(density.shape[2:])
    density /= np.float32(max(1, sum(len(index) for index in indices)) * np.prod(STEP))
    spreads = [spread(n, sigma / step) for n, sigma, step in zip(shape, SMEAR, STEP, strict=True)]
    # Table by table: all at once would need three times their memory.
    for table in density:
        table[...] = smear(table, spreads)
    return Resemblance(density)


def _places(index: SeedIndex, shape: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """Rows of the seeds on the grid, and the place of each by kind and cell."""
    features = np.stack([index.log_g, index.log_ratio, index.angle], axis=1)
    at = np.rint((features - LOWEST) / STEP).astype(np.int64)
    row = np.flatnonzero(np.all((at >= 0) & (at < shape), axis=1))
    place: IntArray = np.ravel_multi_index((_kind(index.points[row]), *at[row].T), (DIVISORS, *shape))
    return row, place


def _kind(points: FloatArray) -> IntArray:
    """Which division of the pair's lattice a zone has, as in ``unlisted.DIVISIONS``; finer ones count as none: 0."""
    (a, b), (c, d) = points.transpose(1, 2, 0)
    index = np.abs(np.rint(a * d - b * c))
    even_first, even_second = (a % 2 == 0) & (b % 2 == 0), (c % 2 == 0) & (d % 2 == 0)
    halved = np.where(even_second, 1, np.where(even_first, 2, 3))
    kind: IntArray = np.where(index == 2, halved, 0)
    return kind


def spread(n: int, sigma: float) -> NDArray[np.float32]:
    """Matrix that convolves n values with a Gaussian, cut off at three standard deviations."""
    reach = math.ceil(3.0 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    matrix = np.zeros((n, n), np.float32)
    for off, weight in zip(range(-reach, reach + 1), kernel / kernel.sum(), strict=True):
        matrix += np.float32(weight) * np.eye(n, k=off, dtype=np.float32)
    return matrix


def smear(density: NDArray[np.float32], spreads: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Convolve along the last three axes: products of matrices, a third of the time of as many shifted sums."""
    sizes, ratios, angles = spreads
    across: NDArray[np.float32] = np.matmul(ratios, density @ angles.T)
    whole: NDArray[np.float32] = np.matmul(sizes, across.reshape(*across.shape[:-2], -1))
    return whole.reshape(density.shape)
