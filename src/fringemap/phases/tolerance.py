"""Names within the errors: d of each spot, and the angles between the spots of one grain.

A phase can show a group of spots if each pair of them has, within the errors, the angle and the ratio of d that two of
its planes have. A group counts for more than any single d; without a group a name rests on one d and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from fringemap.phases.candidates import (
    LATTICE_SIGMA,
    compute_deviation,
    compute_relative_sigma,
    find_candidates,
    make_candidate,
)
from fringemap.records import Candidate, Flag, SpotMatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, IntArray, Mask, Reflections, Scale, Spots, Structure

DOUBTFUL = Flag.HARMONIC | Flag.ON_STREAK | Flag.FEW_PERIODS | Flag.SINGLE_PIXEL
"""Spots with one of these get no name on their d alone."""

DOUBT_IN_WORDS = {
    Flag.HARMONIC: "may be the second-order image of a stronger spot",
    Flag.ON_STREAK: "lies on the streak along an axis",
    Flag.FEW_PERIODS: "has too few fringe periods",
    Flag.SINGLE_PIXEL: "is a single bin of the diffractogram",
}

DISTORTION_SIGMA = 0.01
"""Ellipse and shear of an image whose distortion nobody measured; ratios and angles [rad] change by about this."""


@dataclass(frozen=True)
class Group:
    """Spots that one grain of one phase can show together."""

    reference: int
    """Which of the references."""
    rows: dict[int, int]
    """From spot to row in the reference."""
    strength: float
    """How improbable it is that random spots would do the same; natural logarithm."""


def match_within_tolerance(
    spots: Spots, references: Sequence[Reflections], *, scale: Scale, tolerance_sigma: float
) -> list[SpotMatch]:
    """Name each spot by the references within the bound; groups with right angles first, then single d-spacings."""
    candidates = find_candidates(spots, references, scale=scale, tolerance_sigma=tolerance_sigma)
    groups = [
        group
        for number, reflections in enumerate(references)
        for group in _find_groups(number, reflections, spots, scale=scale, tolerance_sigma=tolerance_sigma)
    ]
    named: list[SpotMatch | None] = [None] * len(spots)
    supported: set[str] = set()
    while groups:
        groups.sort(key=lambda group: -group.strength)
        best, groups = groups[0], groups[1:]
        rivals = [group for group in groups if _is_rival(group, best)]
        _name_group(best, rivals, named, candidates, spots, references, scale)
        supported.add(references[best.reference].phase)
        groups = [cut for group in groups if (cut := _without(group, best.rows)) is not None]
    return [
        match or _name_single(candidates[row], Flag(int(spots.flags[row])), supported)
        for row, match in enumerate(named)
    ]


def _is_rival(group: Group, best: Group) -> bool:
    return set(group.rows) >= set(best.rows) and group.reference != best.reference


def _without(group: Group, taken: dict[int, int]) -> Group | None:
    left = {spot: row for spot, row in group.rows.items() if spot not in taken}
    if len(left) < 2:
        return None
    return Group(group.reference, left, group.strength * (len(left) - 1) / (len(group.rows) - 1))


def _name_group(
    best: Group,
    rivals: Sequence[Group],
    named: list[SpotMatch | None],
    candidates: Sequence[Sequence[Candidate]],
    spots: Spots,
    references: Sequence[Reflections],
    scale: Scale,
) -> None:
    sigma = np.hypot(compute_relative_sigma(spots), scale.sigma)
    phase = references[best.reference].phase
    others = sorted({references[group.reference].phase for group in rivals})
    for spot, row in best.rows.items():
        deviation = compute_deviation(spots, references[best.reference])[spot, row]
        chosen = make_candidate(references[best.reference], row, deviation, deviation / sigma[spot])
        remark = f"one of {len(best.rows)} spots whose d-spacings and angles fit {phase} together"
        if others:
            remark += f", and {' and '.join(others)} as well"
        flags = Flag.AMBIGUOUS if others else Flag.NONE
        named[spot] = SpotMatch(chosen, _others(candidates[spot], chosen), flags=flags, remark=remark)


def _name_single(candidates: Sequence[Candidate], flags: Flag, supported: set[str]) -> SpotMatch:
    if not candidates:
        return SpotMatch(None, remark="no reflection within the errors")
    doubts = [text for flag, text in DOUBT_IN_WORDS.items() if flags & flag]
    if doubts:
        return SpotMatch(None, tuple(candidates), remark=f"not named on its d alone: it {' and '.join(doubts)}")
    best = next((candidate for candidate in candidates if candidate.phase in supported), candidates[0])
    phases = sorted({candidate.phase for candidate in candidates} - {best.phase})
    if not phases:
        remark = f"the only phase within the errors is {best.phase}; rests on one d-spacing"
        return SpotMatch(best, _others(candidates, best), flags=Flag.SINGLE_SPOT, remark=remark)
    why = "seen elsewhere in the frame" if best.phase in supported else "the nearest"
    remark = f"on d alone also {', '.join(phases)}; {best.phase} is {why}"
    return SpotMatch(best, _others(candidates, best), flags=Flag.SINGLE_SPOT | Flag.AMBIGUOUS, remark=remark)


def _others(candidates: Sequence[Candidate], chosen: Candidate) -> tuple[Candidate, ...]:
    return tuple(c for c in candidates if (c.phase, c.hkl) != (chosen.phase, chosen.hkl))


def _find_groups(
    number: int, reflections: Reflections, spots: Spots, *, scale: Scale, tolerance_sigma: float
) -> list[Group]:
    """Find groups of two and more spots, the largest first, no spot in two of them."""
    if reflections.structure is None or len(reflections) == 0:
        return []
    sigma = compute_relative_sigma(spots)
    bound = tolerance_sigma * np.hypot(sigma, scale.sigma)
    deviation = compute_deviation(spots, reflections)
    nodes = np.argwhere(np.abs(deviation) <= bound[:, None])
    if len(nodes) < 2:
        return []
    agree = _pairs_agree(nodes, deviation, spots, sigma, reflections, tolerance_sigma)
    log_chance = math.log(max(1e-6, min(0.999, _covered(reflections, spots, bound))))
    groups: list[Group] = []
    free = np.ones(len(nodes), bool)
    while True:
        clique = _grow_clique(agree & free[:, None] & free[None, :], np.abs(deviation[nodes[:, 0], nodes[:, 1]]))
        if len(clique) < 2:
            return groups
        rows = {int(nodes[node, 0]): int(nodes[node, 1]) for node in clique}
        groups.append(Group(number, rows, -log_chance * len(rows)))
        free &= ~np.isin(nodes[:, 0], list(rows))


def _covered(reflections: Reflections, spots: Spots, bound: FloatArray) -> float:
    """Share of random d-spacings, uniform in log d over the span of the spots, that find a reflection in bound."""
    grid = np.geomspace(spots.d_spacing.min() * 0.9, spots.d_spacing.max() * 1.1, 200)
    near = np.abs(grid[:, None] / reflections.d_spacing[None, :] - 1.0) <= float(np.median(bound))
    return float(near.any(axis=1).mean())


def _pairs_agree(
    nodes: IntArray,
    deviation: FloatArray,
    spots: Spots,
    sigma: FloatArray,
    reflections: Reflections,
    tolerance_sigma: float,
) -> Mask:
    """Which pairs of (spot, reflection) one grain can show: right angle, same scale; (n_nodes, n_nodes)."""
    spot, row = nodes[:, 0], nodes[:, 1]
    node_sigma = sigma[spot]
    pair_sigma = np.sqrt(node_sigma[:, None] ** 2 + node_sigma[None, :] ** 2 + DISTORTION_SIGMA**2)
    off = deviation[spot, row]
    same_scale = np.abs(off[:, None] - off[None, :]) <= tolerance_sigma * pair_sigma
    possible = same_scale & (spot[:, None] != spot[None, :])
    turn = np.where(np.isfinite(spots.angle_sigma), spots.angle_sigma, sigma)[spot]
    turn_sigma = np.sqrt(turn[:, None] ** 2 + turn[None, :] ** 2 + DISTORTION_SIGMA**2 + LATTICE_SIGMA**2)
    measured = np.abs(np.cos(spots.angle[spot][:, None] - spots.angle[spot][None, :]))
    measured = np.arccos(np.minimum(measured, 1.0))
    angles = _AngleTable(reflections)
    for first, second in np.argwhere(np.triu(possible)):
        allowed = angles.between(int(row[first]), int(row[second]))
        fits = np.abs(allowed - measured[first, second]).min() <= tolerance_sigma * turn_sigma[first, second]
        possible[first, second] = possible[second, first] = fits
    agree: Mask = possible
    return agree


class _AngleTable:
    """Angles between the planes of two families, 0 to 90 degrees, computed when first asked for."""

    def __init__(self, reflections: Reflections) -> None:
        structure = reflections.structure
        assert structure is not None  # groups are only looked for where there is a structure
        self._basis = np.array(gemmi.UnitCell(*structure.cell).frac.mat.tolist())
        self._families = [_equivalents(hkl, structure) for hkl in reflections.hkl]
        self._known: dict[tuple[int, int], FloatArray] = {}

    def between(self, first: int, second: int) -> FloatArray:
        key = (first, second)
        if key not in self._known:
            a = self._families[first][0] @ self._basis
            b = self._families[second] @ self._basis
            cosine = np.abs(b @ a) / (np.linalg.norm(a) * np.linalg.norm(b, axis=1))
            self._known[key] = np.unique(np.arccos(np.minimum(cosine, 1.0)).round(6))
        return self._known[key]


def _equivalents(hkl: IntArray, structure: Structure) -> IntArray:
    operations = gemmi.find_spacegroup_by_name(structure.space_group).operations()
    index = [int(i) for i in hkl]
    return np.unique([operation.apply_to_hkl(index) for operation in operations.sym_ops], axis=0)


def _grow_clique(agree: Mask, deviation: FloatArray) -> list[int]:
    """Grow a group from each node in turn, best connected first, and return the largest (the nearest among equals)."""
    best: list[int] = []
    degree = agree.sum(axis=1)
    for seed in np.argsort(-degree, kind="stable")[:40]:
        clique, common = [int(seed)], agree[seed].copy()
        while common.any():
            inside = np.flatnonzero(common)
            links = agree[np.ix_(inside, inside)].sum(axis=1)
            chosen = int(inside[np.lexsort((deviation[inside], -links))[0]])
            clique.append(chosen)
            common &= agree[chosen]
        better = len(clique) > len(best)
        tie = len(clique) == len(best) and deviation[clique].sum() < deviation[best].sum()
        if better or tie:
            best = clique
    return best
