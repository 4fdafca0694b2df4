"""Spots of second-order origin: sums and differences g_a ± g_b of two stronger spots that grains explain.

Where grains lie on top of each other, moiré and double diffraction make them, and where the image is not linear in the
wave, a single grain does. Such a spot is no evidence for another phase. With many spots nearly any place is the sum or
difference of some two, so that only a coincidence counts that chance would hardly bring about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fringemap.phases.observed import observe
from fringemap.records import Flag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fringemap.phases.grains import Grain
    from fringemap.phases.observed import Observed
    from fringemap.records import FloatArray, IntArray, Mask, Spots

REACH = 3.0
"""How many standard errors a spot may lie from a sum or difference."""

LARGEST_CHANCE = 0.05
"""Sums and differences that a spot with its errors would meet by chance, expected at most."""


class Combination(NamedTuple):
    """Two spots that make a third."""

    first: int
    second: int
    sign: int
    """1: sum, -1: difference, of g as listed."""

    def in_words(self) -> str:
        """Say it: "sum of spots 3 and 7"."""
        return f"{'sum' if self.sign > 0 else 'difference'} of spots {self.first} and {self.second}"


def find_combinations(spots: Spots, grains: Sequence[Grain]) -> dict[int, Combination]:
    """Find spots that are the sum or difference of two stronger spots of known grains.

    Parameters
    ----------
    spots
        n spots of one frame.
    grains
        Of the frame; those of lattices that no phase explains count as well.

    Returns
    -------
    dict
        Row of each such spot, and the two that explain it best. A spot that belongs to a grain itself is never
        explained by spots of this grain: they all lie on one net.

    Notes
    -----
    The two must both have the larger amplitude. The number of chance coincidences is the area of the ellipses of
    ``REACH`` standard errors about all sums and differences, times the density of spots that nothing made, uniform in
    |g| and angle; where it is above ``LARGEST_CHANCE``, a coincidence says nothing.
    """
    owner = _owners(len(spots), grains)
    sources = np.flatnonzero(owner >= 0)
    if len(sources) < 2:
        return {}
    observed = observe(spots)
    made = _Made.of(observed, sources)
    possible = np.minimum(spots.amplitude[made.first], spots.amplitude[made.second]) > spots.amplitude[:, None]
    own = owner[:, None] >= 0
    possible &= ~(own & ((owner[made.first] == owner[:, None]) | (owner[made.second] == owner[:, None])))
    near = possible & made.close_to(observed)
    found = {}
    for row in np.flatnonzero(near.any(axis=1)).tolist():
        best = made.nearest(observed, row, np.flatnonzero(possible[row]), np.flatnonzero(near[row]))
        if best is not None:
            found[row] = Combination(int(made.first[best]), int(made.second[best]), int(made.sign[best]))
    return found


def flag_combinations(spots: Spots, rows: Iterable[int]) -> Spots:
    """Return the spots with ``Flag.COMBINATION`` at these rows."""
    flags = spots.flags.copy()
    flags[list(rows)] |= int(Flag.COMBINATION)
    return replace(spots, flags=flags)


def claimed(grains: Sequence[Grain], combinations: Mapping[int, Combination]) -> bool:
    """Tell whether some grain rests on a spot that is a sum or difference."""
    return any(spot in combinations for grain in grains for spot in grain.spots)


def _owners(n_spots: int, grains: Sequence[Grain]) -> IntArray:
    """Number of the grain that each spot belongs to, -1 if none."""
    owner = np.full(n_spots, -1, np.int64)
    for number, grain in enumerate(grains):
        owner[list(grain.spots)] = number
    return owner


@dataclass(frozen=True)
class _Made:
    """All sums and differences of pairs of spots; n rows."""

    first: IntArray
    second: IntArray
    sign: IntArray
    g: FloatArray
    """[1/Å]; (n, 2)."""
    covariance: FloatArray
    """Of g [1/Å²]; (n, 2, 2)."""

    @classmethod
    def of(cls, observed: Observed, sources: IntArray) -> _Made:
        first, second = (np.tile(sources[rows], 2) for rows in np.triu_indices(len(sources), 1))
        sign = np.repeat([1, -1], len(first) // 2)
        g = observed.g[first] + sign[:, None] * observed.g[second]
        return cls(first, second, sign, g, observed.covariance[first] + observed.covariance[second])

    def close_to(self, observed: Observed) -> Mask:
        """Tell which may lie within reach of each spot or of its Friedel mate; quick, and none is missed."""
        distance2 = self._length2 + observed.length[:, None] ** 2 - 2.0 * np.abs(observed.g @ self.g.T)
        # No standard error in any direction is larger than the root of the trace.
        own = np.trace(observed.covariance, axis1=1, axis2=2)
        spread = np.trace(self.covariance, axis1=1, axis2=2)
        close: Mask = distance2 <= REACH**2 * (1.0 + 1e-6) * (spread + own[:, None])
        return close

    def nearest(self, observed: Observed, row: int, possible: IntArray, close: IntArray) -> int | None:
        """Find which of the close ones is nearest, if it is near and chance would hardly bring one of the possible."""
        span = 1.05 * observed.length.max()
        if self._expected_by_chance(observed.covariance[row], possible, span) > LARGEST_CHANCE:
            return None
        made = self.g[close]
        off = observed.g[row] - np.where(made @ observed.g[row] < 0.0, -1.0, 1.0)[:, None] * made
        precision = np.linalg.inv(self.covariance[close] + observed.covariance[row])
        distance2 = np.einsum("ni,nij,nj->n", off, precision, off)
        near: Mask = distance2 <= REACH**2
        return int(close[np.argmin(distance2)]) if near.any() else None

    def _expected_by_chance(self, own: FloatArray, rows: IntArray, span: float) -> float:
        """Expected number of sums and differences that a spot anywhere in the frame would meet."""
        (xx, xy), (_, yy) = (self.covariance[rows] + own).transpose(1, 2, 0)
        area = math.pi * REACH**2 * np.sqrt(xx * yy - xy**2)
        length = np.sqrt(self._length2[rows])
        # Nothing is seen at the centre, where the density would grow without bound.
        density = 1.0 / (math.pi * span * np.maximum(length, 0.1 * span))
        return float((area * density)[length <= span].sum())

    @cached_property
    def _length2(self) -> FloatArray:
        length2: FloatArray = np.sum(self.g**2, axis=1)
        return length2
