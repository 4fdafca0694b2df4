"""Decoys: cells that exist nowhere, to learn how often a wrong cell explains a frame as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.cif import space_group

if TYPE_CHECKING:
    from fringemap.phases.lattice import Cell
    from fringemap.records import FloatArray, Structure

SMALLEST_CHANGE = 0.04
LARGEST_CHANGE = 0.12
"""Bounds on the relative change of an edge: less could be the true cell, more would look at other spots."""

ANGLE_CHANGE = 3.0
"""Largest change of an angle that the symmetry leaves free [degrees]."""

_STEPS = (0.6180339887, 0.7548776662, 0.5698402910, 0.3247179572, 0.2360679775, 0.4142135624)
"""Irrational steps, one a cell parameter: their multiples fill the unit interval evenly and need no random numbers."""

TIED_EDGES = {
    "cubic": (0, 0, 0),
    "tetragonal": (0, 0, 1),
    "hexagonal": (0, 0, 1),
    "trigonal": (0, 0, 1),
    "orthorhombic": (0, 1, 2),
    "monoclinic": (0, 1, 2),
    "triclinic": (0, 1, 2),
}
"""For each system, which of the three edges change together."""


def make_decoy_cells(structure: Structure, count: int, *, start: int = 0) -> list[Cell]:
    """Scale a cell by 4 to 12 % up or down, each free edge by its own factor, without leaving its crystal system.

    Parameters
    ----------
    structure
        Only its cell and space group matter.
    count
        How many.
    start
        Where in the even sequence of changes to begin; different structures begin at different places.

    Returns
    -------
    list of cells
        The same ones for the same arguments.
    """
    return [_change(structure, start + number) for number in range(count)]


def _change(structure: Structure, number: int) -> Cell:
    system = space_group(structure).crystal_system_str()
    fractions = np.mod((number + 1) * np.array(_STEPS), 1.0)
    edge = _factors(fractions[:3])[list(_tied(structure, system))]
    a, b, c = np.array(structure.cell[:3]) * edge
    angles = np.array(structure.cell[3:])
    turn = ANGLE_CHANGE * (2.0 * fractions[3:] - 1.0)
    # An angle of 90 or 120 degrees in these systems is demanded by symmetry.
    free = np.array({"triclinic": (1, 1, 1), "monoclinic": (0, 1, 0)}.get(system, (0, 0, 0)))
    if system == "monoclinic":
        free = (np.abs(angles - 90.0) > 1e-6).astype(int)
    alpha, beta, gamma = angles + turn * free
    return float(a), float(b), float(c), float(alpha), float(beta), float(gamma)


def _tied(structure: Structure, system: str) -> tuple[int, int, int]:
    a, _, c = structure.cell[:3]
    rhombohedral = system == "trigonal" and abs(a - c) < 1e-6 and abs(structure.cell[5] - 120.0) > 1e-6
    return (0, 0, 0) if rhombohedral else TIED_EDGES[system]


def _factors(fractions: FloatArray) -> FloatArray:
    """Map the unit interval on the allowed changes: the lower half shrinks, the upper half stretches."""
    signed = 2.0 * fractions - 1.0
    size = SMALLEST_CHANGE + (LARGEST_CHANGE - SMALLEST_CHANGE) * np.abs(signed)
    factors: FloatArray = 1.0 + np.where(signed < 0.0, -size, size)
    return factors
