"""Peaks of a graph and how far they stand out.

Equal to ``find_peaks`` and ``peak_widths`` of scipy.signal, whose package takes a third of a second to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from fringemap.records import Array, FloatArray, IntArray


class Peaks(NamedTuple):
    """Local maxima of a graph, in their order; n rows."""

    position: IntArray
    """Of flat ones the middle, rounded down. The ends of a graph are no peaks."""
    prominence: FloatArray
    """Height above the higher of the two lowest points that part it from higher ones, or from the ends."""


def find_peaks(graph: Array) -> Peaks:
    """Find all peaks of a graph (n,)."""
    begin = np.flatnonzero(np.diff(graph, prepend=np.nan))
    end = np.append(begin[1:], len(graph)) - 1
    height = graph[begin]
    top = 1 + np.flatnonzero((height[1:-1] > height[:-2]) & (height[1:-1] > height[2:]))
    position = (begin[top] + end[top]) // 2
    if len(position) == 0:
        return Peaks(position, np.zeros(0))
    lowest = np.minimum.reduceat(graph, np.append(0, position)).tolist()
    peaks = graph[position].tolist()
    before = _lowest_before(peaks, lowest[:-1])
    after = _lowest_before(peaks[::-1], lowest[:0:-1])[::-1]
    return Peaks(position, np.array(peaks) - np.maximum(before, after))


def _lowest_before(peaks: list[float], between: list[float]) -> list[float]:
    """Lowest point between each peak and the last higher one before it, given that between neighbours."""
    lowest, higher = [], list[tuple[float, float]]()
    for peak, low in zip(peaks, between, strict=True):
        while higher and higher[-1][0] <= peak:
            low = min(low, higher.pop()[1])
        higher.append((peak, low))
        lowest.append(low)
    return lowest


def half_widths(graph: Array, position: IntArray) -> FloatArray:
    """Full width of peaks at half of their prominence, between linear interpolations."""
    found = find_peaks(graph)
    prominence = found.prominence[np.searchsorted(found.position, position)]
    level = graph[position] - 0.5 * prominence
    width = [
        _way_down(graph[k:], at) + _way_down(graph[k::-1], at)
        for k, at in zip(position.tolist(), level.tolist(), strict=True)
    ]
    return np.array(width, dtype=np.float64)


def _way_down(graph: Array, level: float) -> float:
    """Where a graph that begins above a level first falls to it."""
    k = int(np.argmax(graph <= level))
    return k - float((level - graph[k]) / (graph[k - 1] - graph[k]))
