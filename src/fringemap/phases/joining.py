"""Further spots on the net of a grain that is known: harmonics, weak spots, and spots beyond those the search used."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.reflections import Extinction, extinction

if TYPE_CHECKING:
    from collections.abc import Collection

    from fringemap.phases.grains import Grain
    from fringemap.phases.observed import Observed
    from fringemap.records import FloatArray, Structure

REACH = 3.0
"""How many standard errors a spot may lie from a point of the net."""

FLOOR = 0.003
"""Relative error of a point's place that no fit knows: local strain, and the sidelobes of strong spots."""

LARGEST_CHANCE = 0.1
"""No spot joins if random spots would come as near to some point more often than this."""

FEWEST = 3
"""Grains with fewer spots do not fix their net."""

ON_A_LINE = 1e-9
"""Second extent of indices over the first that is none but for rounding."""

SHOWN_JOINED = 1.0
"""Such a spot was not weighed, so nothing is said of the probability that it shows."""


def join_spots(grain: Grain, structure: Structure, observed: Observed, taken: Collection[int]) -> Grain:
    """Add the free spots that lie on the net of a grain.

    The net is fitted to the spots that the grain has, distortion included, so it needs no scale.
    """
    rows = list(grain.spots)
    is_free = np.ones(len(observed), np.bool_)
    is_free[list(taken)] = False
    free = np.flatnonzero(is_free)
    hkl = np.array(grain.hkl, dtype=np.float64).reshape(-1, 3)
    if len(rows) < FEWEST or len(free) == 0:
        return grain
    _, extent, directions = np.linalg.svd(hkl, full_matrices=False)
    if extent[1] <= ON_A_LINE * extent[0]:
        return grain
    axes = directions[:2]  # they span the zone in hkl
    to_frame = _fit(hkl @ axes.T, observed, rows)
    seen = observed.g[free] @ np.linalg.inv(to_frame) @ axes
    points = np.rint(seen).astype(np.int64)
    predicted = points @ axes.T @ to_frame
    off = observed.g[free] - predicted
    covariance = observed.covariance[free] + ((FLOOR * observed.length[free]) ** 2)[:, None, None] * np.eye(2)
    near = np.einsum("ni,nij,nj->n", off, np.linalg.inv(covariance), off) <= REACH**2
    near &= np.any(points != 0, axis=1) & (points @ np.array(grain.zone_axis) == 0)
    # The area of a cell of the net: hkl within the plane are whole numbers on a lattice of area |uvw|.
    cell = abs(float(np.linalg.det(to_frame))) * float(np.linalg.norm(np.array(grain.zone_axis)))
    near &= math.pi * REACH**2 * np.sqrt(np.linalg.det(covariance)) <= LARGEST_CHANCE * cell
    near[near] = [kind != Extinction.CENTRING for kind in extinction(structure, points[near])] if near.any() else []
    return replace(
        grain,
        spots=(*grain.spots, *(int(spot) for spot in free[near])),
        hkl=(*grain.hkl, *((int(h), int(k), int(l)) for h, k, l in points[near])),  # noqa: E741
        shown=(*grain.shown, *(SHOWN_JOINED for _ in free[near])),
    )


def _fit(plane: FloatArray, observed: Observed, rows: list[int]) -> FloatArray:
    """Matrix that maps places in the zone's plane, as rows, on the frame; least squares, weighted by the errors."""
    weight = 1.0 / np.hypot(observed.sigma[rows], FLOOR * observed.length[rows])
    solved = np.linalg.lstsq(plane * weight[:, None], observed.g[rows] * weight[:, None], rcond=None)[0]
    to_frame: FloatArray = np.asarray(solved, np.float64)
    return to_frame
