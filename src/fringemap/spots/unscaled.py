"""How spots are looked for while no pixel size is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fringemap.records import Scale, ScaleSource

if TYPE_CHECKING:
    from fringemap.settings import SpotSettings

PROVISIONAL_ANGSTROM = 0.5
"""Pixel size while none is known: spots are looked for as if it were this."""

SMALLEST_ANGSTROM, LARGEST_ANGSTROM = 0.05, 1.6
"""Where no pixel size is known, it is sought between these: finer ones show no lattice in a frame of usual size, and
coarser ones cannot resolve one."""

NO_SIGMA = 10.0
"""Relative standard error of the provisional scale: none at all is known."""


def provisional_scale() -> Scale:
    """Scale of a frame that has none."""
    return Scale((PROVISIONAL_ANGSTROM, PROVISIONAL_ANGSTROM), NO_SIGMA, ScaleSource.USER)


def provisional_settings(settings: SpotSettings, shape: tuple[int, int]) -> SpotSettings:
    """Widen the search for spots to all that a frame of this shape can show at the provisional scale."""
    side = PROVISIONAL_ANGSTROM * min(shape)
    return replace(
        settings,
        d_min_angstrom=2.1 * PROVISIONAL_ANGSTROM,
        d_max_angstrom=side / 6.0,
        min_grain_nm=0.1 * max(24.0 * PROVISIONAL_ANGSTROM, side / 40.0),
    )
