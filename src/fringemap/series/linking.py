"""Spots followed over frames in reciprocal space: assignment by the least cost, a constant-position filter a track.

A spot is a point with known errors, so its next place is gated in standard errors: of the fit, of the track's own
position, and of the motion from frame to frame, which is learned from the links made so far.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from fringemap.settings import SeriesSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fringemap.records import FloatArray, FrameSummary, IntArray, Spots

_REMEMBERED = 400
"""Links from which the motion is learned."""
_PRIOR_LINKS = 10
"""So many links count for the motion expected at first."""
_PRIOR_STEP = 0.05
"""Expected motion from frame to frame at first, in widths of the spot."""
_MOST_WIDTHS = 0.75
"""No link over more than this many widths: two spots that far apart are seen apart."""
_AMPLITUDE_SCATTER = 0.5
"""Expected change of ln(amplitude) from frame to frame."""
_MEDIAN_CHI2 = 1.386
"""Median of the chi-square law with two degrees of freedom."""


@dataclass
class _Followed:
    """State of one track: where its spot is, how well that is known, and when it was last seen."""

    number: int
    g: FloatArray
    covariance: FloatArray
    amplitude: float
    width: float
    frame: int


class SpotFollower:
    """Gives the spots of frame after frame the numbers of their tracks."""

    def __init__(self, settings: SeriesSettings | None = None) -> None:
        self._settings = settings or SeriesSettings()
        self._alive: list[_Followed] = []
        self._steps: deque[float] = deque(maxlen=_REMEMBERED)
        self._next = 0
        self._frame = -1

    def add(self, spots: Spots) -> IntArray:
        """Number of the track of each spot; a spot that continues none starts one."""
        self._frame += 1
        self._alive = [t for t in self._alive if self._frame - t.frame <= self._settings.max_gap + 1]
        numbers = np.full(len(spots), -1, dtype=np.int64)
        covariance, motion = _known_covariance(spots), self._motion()
        for row, column, side in self._assign(spots, covariance, motion):
            numbers[column] = self._alive[row].number
            self._update(self._alive[row], spots, column, side, covariance[column], motion[row])
        for new in np.flatnonzero(numbers < 0).tolist():
            numbers[new] = self._start(spots, new, covariance[new])
        return numbers

    def _assign(self, spots: Spots, covariance: FloatArray, motion: FloatArray) -> list[tuple[int, int, float]]:
        """Pairs of track and spot with the least total cost, and the sign of g on the track's half plane."""
        if not self._alive or not len(spots):
            return []
        limit = self._settings.link_sigma**2
        cost, side = self._costs(spots, covariance, motion)
        # A pair beyond the gate must never win over leaving both alone.
        rows, columns = linear_sum_assignment(np.minimum(cost, 10.0 * limit * (min(cost.shape) + 1)))
        return [
            (int(r), int(c), float(side[r, c])) for r, c in zip(rows, columns, strict=True) if np.isfinite(cost[r, c])
        ]

    def _costs(self, spots: Spots, covariance: FloatArray, motion: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Squared distance in standard errors, and how much the amplitude changed; infinite beyond the gate."""
        here = np.stack([spots.gx, spots.gy], axis=-1)
        there = np.array([track.g for track in self._alive])
        # Near gx = 0 the listed one of a Friedel pair may change from frame to frame.
        side = np.where(there @ here.T < 0, -1.0, 1.0)
        offset = side[..., None] * here[None] - there[:, None]
        spread = covariance[None] + np.array([track.covariance for track in self._alive])[:, None]
        spread = spread + motion[:, None, None, None] * np.eye(2)
        distance = np.einsum("tsi,tsij,tsj->ts", offset, np.linalg.inv(spread), offset)
        ratio = np.log(np.maximum(spots.amplitude, 1e-12) / np.array([[t.amplitude] for t in self._alive]))
        widths = np.maximum(spots.width[None], np.array([[track.width] for track in self._alive]))
        far = (distance > self._settings.link_sigma**2) | (np.linalg.norm(offset, axis=-1) > _MOST_WIDTHS * widths)
        return np.where(far, np.inf, distance + np.minimum((ratio / _AMPLITUDE_SCATTER) ** 2, 16.0)), side

    def _motion(self) -> FloatArray:
        """Variance along each axis of the motion since each track was last seen [1/Å²]."""
        gap = np.array([self._frame - track.frame for track in self._alive], dtype=np.float64)
        width = np.array([track.width for track in self._alive])
        prior = (_PRIOR_STEP * width) ** 2
        learned = float(np.median(self._steps)) / _MEDIAN_CHI2 if self._steps else 0.0
        n = len(self._steps)
        motion: FloatArray = gap * (n * max(learned, 0.0) + _PRIOR_LINKS * prior) / (n + _PRIOR_LINKS)
        return motion

    def _update(
        self, track: _Followed, spots: Spots, i: int, side: float, covariance: FloatArray, motion: float
    ) -> None:
        """Move a track to its spot by the gain of a filter whose state stays where it is but for random motion."""
        innovation = side * np.array([spots.gx[i], spots.gy[i]]) - track.g
        gap = self._frame - track.frame
        # The part of the squared step that errors of the fit do not explain; its median tells the motion.
        explained = 0.5 * _MEDIAN_CHI2 * float(np.trace(covariance + track.covariance))
        self._steps.append((float(innovation @ innovation) - explained) / gap)
        predicted = track.covariance + motion * np.eye(2)
        gain = predicted @ np.linalg.inv(predicted + covariance)
        track.g = track.g + gain @ innovation
        track.covariance = predicted - gain @ predicted
        track.amplitude, track.width = max(float(spots.amplitude[i]), 1e-12), float(spots.width[i])
        track.frame = self._frame

    def _start(self, spots: Spots, i: int, covariance: FloatArray) -> int:
        g = np.array([spots.gx[i], spots.gy[i]])
        amplitude = max(float(spots.amplitude[i]), 1e-12)
        self._alive.append(_Followed(self._next, g, covariance, amplitude, float(spots.width[i]), self._frame))
        self._next += 1
        return self._next - 1


def link_spots(
    frames: Iterable[FrameSummary], *, settings: SeriesSettings | None = None
) -> Iterator[tuple[FrameSummary, IntArray]]:
    """Follow spots over frames, one frame at a time.

    Parameters
    ----------
    frames
        In their order; read once.
    settings
        The longest gap and the gate.

    Yields
    ------
    FrameSummary, IntArray
        Each frame, and the number of the track of each of its spots.

    Notes
    -----
    The cost of a link is the squared distance in g over its expected variance (fit, track, motion over the gap) plus
    the squared change of ln(amplitude) over 0.5²; the assignment has the least total cost [1]_. The motion's variance
    comes from the median of the squared steps less what errors of the fit explain. A track that is missing for longer
    than the longest gap ends; a spot that returns later starts a new one.

    References
    ----------
    .. [1] D. F. Crouse, IEEE Trans. Aerosp. Electron. Syst. 52 (2016) 1679, DOI 10.1109/TAES.2016.140952.
    """
    follower = SpotFollower(settings)
    for frame in frames:
        yield frame, follower.add(frame.spots)


def _known_covariance(spots: Spots) -> FloatArray:
    """Covariance of the fits; where there is none, that of a place known to a quarter of the width."""
    covariance: FloatArray = spots.covariance.copy()
    missing = ~np.isfinite(covariance).all(axis=(1, 2))
    covariance[missing] = np.eye(2) * ((0.25 * spots.width[missing]) ** 2)[:, None, None]
    return covariance
