"""Spots of second-order origin: sums and differences g_a ± g_b of two stronger spots that grains explain.

Where grains lie on top of each other, moiré and double diffraction make them, and where the image is not linear in the
wave, a single grain does. Such a spot is no evidence for another phase. With many spots nearly any place is the sum or
difference of some two, so that only a coincidence counts that chance would hardly bring about.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fringemap.phases.hypotheses import observe
from fringemap.records import Flag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fringemap.phases.hypotheses import Observed
    from fringemap.phases.posterior import Explanation
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


def find_combinations(spots: Spots, explanation: Explanation) -> dict[int, Combination]:
    """Find spots that are the sum or difference of two stronger spots of known grains.

    Parameters
    ----------
    spots
        n spots of one frame.
    explanation
        Its grains; those of lattices that no phase explains count as well.

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
    owner = _owners(len(spots), explanation)
    sources = np.flatnonzero(owner >= 0)
    if len(sources) < 2:
        return {}
    observed = observe(spots)
    first, second = (sources[rows] for rows in np.triu_indices(len(sources), 1))
    first, second = np.tile(first, 2), np.tile(second, 2)
    sign = np.repeat([1, -1], len(first) // 2)
    found = {}
    for row in range(len(spots)):
        stronger = np.minimum(spots.amplitude[first], spots.amplitude[second]) > spots.amplitude[row]
        if owner[row] >= 0:
            stronger &= (owner[first] != owner[row]) & (owner[second] != owner[row])
        kept = np.flatnonzero(stronger)
        best = _nearest(observed, row, first[kept], second[kept], sign[kept])
        if best is not None:
            at = kept[best]
            found[row] = Combination(int(first[at]), int(second[at]), int(sign[at]))
    return found


def flag_combinations(spots: Spots, rows: Iterable[int]) -> Spots:
    """Return the spots with ``Flag.COMBINATION`` at these rows."""
    flags = spots.flags.copy()
    flags[list(rows)] |= int(Flag.COMBINATION)
    return replace(spots, flags=flags)


def claimed(explanation: Explanation, combinations: Mapping[int, Combination]) -> bool:
    """Tell whether some grain rests on a spot that is a sum or difference."""
    return any(spot in combinations for grain in explanation.grains for spot in grain.spots)


def _owners(n_spots: int, explanation: Explanation) -> IntArray:
    """Number of the grain that each spot belongs to, -1 if none."""
    owner = np.full(n_spots, -1, np.int64)
    for number, grain in enumerate(explanation.grains):
        owner[list(grain.spots)] = number
    return owner


def _nearest(observed: Observed, row: int, first: IntArray, second: IntArray, sign: IntArray) -> int | None:
    """Find which of the sums and differences lies nearest, if any is near and chance would hardly bring that about."""
    made = observed.g[first] + sign[:, None] * observed.g[second]
    covariance = observed.covariance[first] + observed.covariance[second] + observed.covariance[row]
    span = 1.05 * observed.length.max()
    length = np.hypot(made[:, 0], made[:, 1])
    if _expected_by_chance(covariance, length, span) > LARGEST_CHANCE:
        return None
    off = observed.g[row] - np.where(made @ observed.g[row] < 0.0, -1.0, 1.0)[:, None] * made
    distance2 = np.einsum("ni,nij,nj->n", off, np.linalg.inv(covariance), off)
    near: Mask = distance2 <= REACH**2
    return int(np.argmin(distance2)) if near.any() else None


def _expected_by_chance(covariance: FloatArray, length: FloatArray, span: float) -> float:
    """Expected number of sums and differences that a spot anywhere in the frame would meet."""
    area = math.pi * REACH**2 * np.sqrt(np.linalg.det(covariance))
    # Nothing is seen at the centre, where the density would grow without bound.
    density = 1.0 / (math.pi * span * np.maximum(length, 0.1 * span))
    return float((area * density)[length <= span].sum())
