"""One zone of one phase that explains some spots of a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.distortion import Distortion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, IntArray, Mask

UNLISTED = -1
"""In place of a reference: a lattice that no phase of the list explains as well."""

Axis = tuple[int, int, int]
"""[uvw]."""

Name = tuple[int, "Axis | None", tuple[int, ...], tuple[tuple[int, int, int], ...]]
"""Reference, zone axis, spots and hkl."""


@dataclass(frozen=True)
class Grain:
    """One zone of one phase that explains some spots."""

    reference: int
    """``UNLISTED``: none of the list."""
    zone_axis: Axis | None
    spots: tuple[int, ...]
    hkl: tuple[tuple[int, int, int], ...]
    """Of each spot, with the sign that the spot's direction demands."""
    shown: tuple[float, ...]
    """Probability of showing of each."""
    score: float
    """Log odds against its spots being unknown, all other grains given."""
    base: float
    """The same without what scale and ellipse and the number of unknown spots add: these are shared."""
    evidence: Distortion
    """What it says about scale and ellipse."""
    probabilities: FloatArray = field(default_factory=lambda: np.empty(0))
    """That each reference explains its spots; what is missing to 1 is unknown; (n_references,)."""
    zone_probability: float = math.nan
    """That it is this zone, if the phase is right."""
    rival_zones: tuple[tuple[Axis, float], ...] = ()
    """Other zones of the phase that may be it instead, with their probabilities, the likeliest first."""

    @property
    def is_listed(self) -> bool:
        """Whether a phase of the list explains it."""
        return self.reference != UNLISTED

    @property
    def name(self) -> Name:
        """What it is, whatever else is in the frame."""
        return self.reference, self.zone_axis, self.spots, self.hkl

    @property
    def probability(self) -> float:
        """That the grain is of its phase."""
        return float(self.probabilities[self.reference])


def make_unlisted(claims: Mask, score: float, n_free: int) -> Grain:
    """Make a grain of a plain lattice."""
    spots = tuple(np.flatnonzero(claims).tolist())
    nothing = Distortion(np.zeros((3, 3)), np.zeros(3))
    base = score + len(spots) * math.log(n_free)
    return Grain(UNLISTED, None, spots, ((0, 0, 0),) * len(spots), (0.0,) * len(spots), score, base, nothing)


def in_brackets(uvw: Sequence[int]) -> str:
    """Write an axis apart, ``[0 -1 1]``."""
    return f"[{' '.join(str(index) for index in uvw)}]"


def triple(indices: IntArray) -> tuple[int, int, int]:
    """Write three indices as plain numbers."""
    first, second, third = indices.tolist()
    return first, second, third
