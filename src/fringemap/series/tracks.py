"""Tracks get the name that most of their sightings carry: what one faint frame cannot tell, the others can."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import UNKNOWN, Track

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fringemap.records import Candidate, FloatArray, FrameSummary, IntArray

LEAST_SUPPORT = 1.0 / 3.0
"""A name needs this share of a track's sightings, and more than any other name."""
Plane = tuple[int, int, int]


def gather_tracks(frames: Sequence[FrameSummary], track_of: Sequence[IntArray]) -> tuple[Track, ...]:
    """Make a track of all spots with one number.

    Parameters
    ----------
    frames, track_of
        As ``link_spots`` yields them.

    Returns
    -------
    tuple of Track
        In the order of their numbers.

    Notes
    -----
    Each sighting votes for its phase and reference d with the probability of its name (1 where the match has none);
    sightings without a name vote for none, but count. The plane is written in one way for each family.
    """
    sightings: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for position, numbers in enumerate(track_of):
        for row, number in enumerate(numbers.tolist()):
            sightings[number].append((position, row))
    planes = family_names(frames)
    return tuple(_track(number, seen, frames, planes) for number, seen in sorted(sightings.items()))


def family_of(candidate: Candidate) -> tuple[str, float]:
    """Key of a family of planes: the phase and its d."""
    return candidate.phase, round(candidate.d_reference_angstrom, 4)


def family_names(frames: Sequence[FrameSummary]) -> dict[tuple[str, float], Plane]:
    """Choose one plane for each family: of all that were seen, the last in order, its first index not negative."""
    found: dict[tuple[str, float], Plane] = {}
    for frame in frames:
        for candidate in frame.names:
            if candidate is not None:
                key, plane = family_of(candidate), _upright(candidate.hkl)
                found[key] = max(found.get(key, plane), plane)
    return found


def _upright(hkl: Plane) -> Plane:
    first = next((index for index in hkl if index), 0)
    return (-hkl[0], -hkl[1], -hkl[2]) if first < 0 else hkl


def _track(
    number: int,
    seen: Sequence[tuple[int, int]],
    frames: Sequence[FrameSummary],
    planes: Mapping[tuple[str, float], Plane],
) -> Track:
    spots = [frames[position].spots for position, _ in seen]
    g = np.array([(s.gx[row], s.gy[row]) for s, (_, row) in zip(spots, seen, strict=True)])
    g[g @ g[0] < 0] *= -1.0
    votes: dict[tuple[str, float], float] = defaultdict(float)
    for position, row in seen:
        name = frames[position].names[row]
        if name is not None:
            votes[family_of(name)] += name.probability if np.isfinite(name.probability) else 1.0
    best = max(votes, key=votes.__getitem__, default=None)
    support = votes[best] / len(seen) if best is not None else 0.0
    named = best is not None and support >= LEAST_SUPPORT
    return Track(
        number=number,
        frames=np.array([position for position, _ in seen], dtype=np.int64),
        spots=np.array([row for _, row in seen], dtype=np.int64),
        g=g,
        g_mean=_weighted_place(g, seen, frames),
        phase=best[0] if named and best else UNKNOWN,
        plane=planes[best] if named and best else (0, 0, 0),
        d_reference_angstrom=best[1] if named and best else float("nan"),
        support=support,
    )


def _weighted_place(g: FloatArray, seen: Sequence[tuple[int, int]], frames: Sequence[FrameSummary]) -> FloatArray:
    sigma = np.array([frames[position].spots.g_sigma[row] for position, row in seen])
    weight = np.where(np.isfinite(sigma) & (sigma > 0), 1.0 / np.maximum(sigma, 1e-9) ** 2, 0.0)
    return np.average(g, axis=0, weights=weight) if weight.any() else g.mean(axis=0)
