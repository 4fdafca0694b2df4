"""The paper's rule, for comparison: every spot is the entry whose d lies nearest, whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.candidates import compute_deviation, compute_relative_sigma, make_candidate
from fringemap.records import SpotMatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Candidate, Reflections, Scale, Spots


def match_nearest(spots: Spots, references: Sequence[Reflections], *, scale: Scale) -> list[SpotMatch]:
    """Give each spot the name of the reflection nearest in d, without tolerance, rivals or unknown.

    Only an empty list of references leaves spots without a name.
    """
    sigma = np.hypot(compute_relative_sigma(spots), scale.sigma)
    nearest: list[list[Candidate]] = [[] for _ in range(len(spots))]
    for reflections in references:
        if len(reflections) == 0:
            continue
        distance = np.abs(spots.d_spacing[:, None] - reflections.d_spacing[None, :])
        deviation = compute_deviation(spots, reflections)
        for spot, row in enumerate(distance.argmin(axis=1)):
            off = deviation[spot, row]
            nearest[spot].append(make_candidate(reflections, int(row), off, off / sigma[spot]))
    return [_name(candidates, d) for candidates, d in zip(nearest, spots.d_spacing, strict=True)]


def _name(candidates: list[Candidate], d_spacing: float) -> SpotMatch:
    if not candidates:
        return SpotMatch(None, remark="no reflection to compare with")
    best = min(candidates, key=lambda candidate: abs(candidate.d_reference_angstrom - d_spacing))
    return SpotMatch(best, remark="nearest entry, whatever its distance")
