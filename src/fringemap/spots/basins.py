"""Watershed of many small landscapes at once: which summit each bin of them belongs to.

All bins lie in one flat array, so that a frame with forty groups of bins costs as few calls as one with a single group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fringemap.records import Array, Image, IntArray, Mask


@dataclass(frozen=True)
class Terrain:
    """Bins of several groups, n in all, and the heights on them and around."""

    height: Image
    """Of all places of a canvas on which no two groups touch; flat."""
    place: IntArray
    """Of each bin on the canvas; (n,)."""
    next_row: IntArray
    """From a bin to the one below it, on the canvas; (n,)."""
    group: IntArray
    """Number of the group of each bin; (n,)."""


@dataclass(frozen=True)
class Passes:
    """Highest passes between two regions each, in rising order of height; m rows."""

    one: IntArray
    other: IntArray
    height: Array

    def between(self, owner: IntArray) -> Passes:
        """What is left of them when regions are joined: ``owner`` holds the new number of each."""
        return _highest(owner[self.one], owner[self.other], self.height)


def _highest(one: IntArray, other: IntArray, height: Array) -> Passes:
    """Highest pass between each two different regions."""
    apart = one != other
    low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
    pair = low * (int(high.max(initial=0)) + 1) + high
    order = np.argsort(pair)
    first = np.flatnonzero(np.diff(pair[order], prepend=-1))
    highest = np.maximum.reduceat(height[apart][order], first) if len(first) else height[:0]
    rising = np.argsort(highest)
    kept = order[first[rising]]
    return Passes(low[kept], high[kept], highest[rising])


def climb(terrain: Terrain) -> tuple[IntArray, IntArray]:
    """Region of each bin, and the bin of the summit of each region.

    From each bin the highest of its four neighbours in the group is climbed to, as long as there is a higher one. Of
    equal heights the later bin counts as the higher one.
    """
    n = len(terrain.place)
    bins = np.arange(n)
    key = np.full(len(terrain.height), np.iinfo(np.int64).min)
    key[terrain.place] = own = _sortable(terrain.height[terrain.place]) << 32 | bins
    highest = own.copy()
    for step in (1, -1, terrain.next_row, -terrain.next_row):
        np.maximum(highest, key[terrain.place + step], out=highest)
    top = follow(highest & 0xFFFFFFFF)
    summits = np.flatnonzero(top == bins)
    number = np.empty(n, np.int64)
    number[summits] = np.arange(len(summits))
    return number[top], summits


def _sortable(height: Image) -> IntArray:
    """Whole numbers in the order of 32-bit floats."""
    bits = height.view(np.int32)
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)


def find_passes(terrain: Terrain, region: IntArray) -> Passes:
    """Highest pass between each two regions that touch along a side of their bins."""
    at = np.full(len(terrain.height), -1, np.int64)
    at[terrain.place] = region
    ones, others, heights = [], [], []
    for step in (1, terrain.next_row):
        beside = at[terrain.place + step]
        border = np.flatnonzero((beside >= 0) & (beside != region))
        here = terrain.place[border]
        there = here + (step if isinstance(step, int) else step[border])
        ones.append(region[border])
        others.append(beside[border])
        heights.append(np.minimum(terrain.height[here], terrain.height[there]))
    one, other, height = (np.concatenate(parts) for parts in (ones, others, heights))
    return _highest(one, other, height)


def flood(passes: Passes, marked: Mask) -> IntArray:
    """Marked region that each region falls to when water rises from below on all; itself if it reaches none.

    A region without a mark joins the neighbour over its highest pass, together with all that has joined it before.
    """
    owner = np.arange(len(marked))
    while True:
        best = np.full(len(marked), -1)
        one, other = owner[passes.one], owner[passes.other]
        apart = np.flatnonzero(one != other)
        for side in (one, other):
            # The passes rise: the last one written is the highest.
            highest = np.full(len(marked), -1)
            highest[side[apart]] = apart
            np.maximum(best, highest, out=best)
        moving = np.flatnonzero((best >= 0) & ~marked)
        if len(moving) == 0:
            return owner
        target = np.arange(len(marked))
        target[moving] = one[best[moving]] + other[best[moving]] - moving
        # Two that choose each other: the later one stays.
        mutual = moving[(target[target[moving]] == moving) & (moving > target[moving])]
        target[mutual] = mutual
        owner = follow(target)[owner]


def follow(target: IntArray) -> IntArray:
    """Where each ends that goes from target to target; targets form no circle."""
    while True:
        further = target[target]
        if (further == target).all():
            return target
        target = further


def join_shallow(passes: Passes, height: Array, least_depth: Array) -> IntArray:
    """Region that each falls to when no valley of the least depth parts it from a higher one.

    Regions are looked at in rising order of height; the depth is that of a region's highest pass, which may lead over
    what has been joined to it before.
    """
    owner = np.arange(len(height))
    neighbours: dict[int, dict[int, float]] = {}
    for one, other, saddle in zip(passes.one.tolist(), passes.other.tolist(), passes.height.tolist(), strict=True):
        neighbours.setdefault(one, {})[other] = saddle
        neighbours.setdefault(other, {})[one] = saddle
    for lower in sorted(neighbours, key=height.__getitem__):
        around = neighbours.pop(lower)
        if not around:
            continue
        higher = max(around, key=around.__getitem__)
        joined = height[lower] - around[higher] < least_depth[lower]
        if joined:
            owner[lower] = higher
        for region, saddle in around.items():
            del neighbours[region][lower]
            if joined and region != higher:
                saddle = max(saddle, neighbours[region].get(higher, saddle))
                neighbours[region][higher] = neighbours[higher][region] = saddle
    return follow(owner)
