"""Crystals that nobody has made: for training a detector that must not know any material.

A space group, a few elements and their sites are drawn first, the cell last, from the number of atoms and a volume that
an atom usually takes. Cells, spacings and relative intensities are then those of real matter, the structures are not.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from fringemap.records import Atom, Structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
_GASES_AND_SHORT_LIVED = (10, 18, 36, 43, 54, 61)
ELEMENTS = tuple(gemmi.Element(z).name for z in range(3, 84) if z not in _GASES_AND_SHORT_LIVED)
"""Light to heavy; hydrogen is left out, since electrons hardly see it beside others."""

CELL_ANGSTROM = (2.5, 15.0)
"""Shortest and longest edge of a cell [Å]."""
_ATOM_VOLUME = (8.0, 26.0)
"""Volume an atom takes [Å³]: from metals and oxides to loosely packed salts."""
_MOST_ATOMS = 96
_MOST_SITES = 6
_SPECIAL = (0.0, 0.0, 0.5, 0.25, 0.75, 1 / 3, 2 / 3, 0.125)
_SPECIAL_SHARE = 0.75
_U_ISO = (0.003, 0.03)


def random_structure(rng: np.random.Generator, *, name: str = "made up") -> Structure:
    """Draw a crystal: any crystal system and space group, 1 to 6 sites, edges from 2.5 to 15 Å.

    Notes
    -----
    All crystal systems have equal chances, and within one all space groups (in their reference setting). Coordinates
    lie on simple fractions three times out of four, which makes high symmetry affordable. Drawn again until the edges
    keep their limits and no two sites fall together.
    """
    while True:
        system = CRYSTAL_SYSTEMS[int(rng.integers(len(CRYSTAL_SYSTEMS)))]
        groups = _space_groups(system)
        group = gemmi.SpaceGroup(groups[int(rng.integers(len(groups)))])
        sites, n_atoms = _draw_sites(group, rng)
        shape = _draw_cell_shape(system, rng)
        volume = n_atoms * float(rng.uniform(*_ATOM_VOLUME))
        edge = (volume / _unit_volume(shape)) ** (1 / 3)
        edges = [edge * ratio for ratio in shape[:3]]
        if sites and min(edges) >= CELL_ANGSTROM[0] and max(edges) <= CELL_ANGSTROM[1]:
            cell = (edges[0], edges[1], edges[2], *shape[3:])
            return Structure(
                name,
                _formula(sites),
                cell,
                group.xhm(),
                tuple(sites),
                source="made up",
                elements=frozenset(atom.element for atom in sites),
            )


@lru_cache(maxsize=len(CRYSTAL_SYSTEMS))
def _space_groups(system: str) -> tuple[str, ...]:
    return tuple(
        group.xhm()
        for group in gemmi.spacegroup_table()
        if group.is_reference_setting() and group.crystal_system_str() == system
    )


def _draw_sites(group: gemmi.SpaceGroup, rng: np.random.Generator) -> tuple[list[Atom], int]:
    """Atoms of the asymmetric unit, and how many they make in the cell; a site that makes too many is left out."""
    operations = list(group.operations())
    kinds = rng.choice(ELEMENTS, size=int(rng.integers(1, 5)), replace=False)
    sites: list[Atom] = []
    taken = np.zeros((0, 3))
    for _ in range(int(rng.integers(1, _MOST_SITES + 1))):
        orbit = _orbit(operations, _draw_place(rng))
        if len(taken) + len(orbit) <= _MOST_ATOMS and not _touch(taken, orbit):
            taken = np.concatenate([taken, orbit])
            place = (float(orbit[0, 0]), float(orbit[0, 1]), float(orbit[0, 2]))
            sites.append(Atom(str(rng.choice(kinds)), place, u_iso=float(rng.uniform(*_U_ISO))))
    return sites, len(taken)


def _draw_place(rng: np.random.Generator) -> NDArray[np.float64]:
    special = rng.random(3) < _SPECIAL_SHARE
    place: NDArray[np.float64] = np.where(special, rng.choice(_SPECIAL, size=3), rng.random(3))
    return place


def _orbit(operations: Sequence[gemmi.Op], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """All places that symmetry makes of one, each once; (n, 3) within the cell, the place itself first."""
    images = np.array([op.apply_to_xyz(place.tolist()) for op in operations])
    images -= np.floor(images + 1e-6)
    _, first = np.unique(np.round(images, 4), axis=0, return_index=True)
    orbit: NDArray[np.float64] = images[np.sort(first)]
    return orbit


def _touch(taken: NDArray[np.float64], orbit: NDArray[np.float64]) -> bool:
    """Whether two places lie within a tenth of the cell of each other along all axes."""
    apart = np.abs(taken[:, None] - orbit[None])
    return bool((np.minimum(apart, 1 - apart).max(axis=2) < 0.1).any()) if len(taken) else False


def _draw_cell_shape(system: str, rng: np.random.Generator) -> tuple[float, ...]:
    """Edges relative to each other, and angles [degrees]."""
    b, c = (float(2.0**x) for x in rng.uniform(-0.8, 0.8, 2))
    alpha, beta, gamma = (float(x) for x in rng.uniform(75.0, 105.0, 3))
    match system:
        case "triclinic":
            return 1.0, b, c, alpha, beta, gamma
        case "monoclinic":
            return 1.0, b, c, 90.0, 90.0 + 1.5 * abs(beta - 90.0), 90.0
        case "orthorhombic":
            return 1.0, b, c, 90.0, 90.0, 90.0
        case "tetragonal":
            return 1.0, 1.0, c, 90.0, 90.0, 90.0
        case "cubic":
            return 1.0, 1.0, 1.0, 90.0, 90.0, 90.0
        case _:
            return 1.0, 1.0, c, 90.0, 90.0, 120.0


def _unit_volume(shape: Sequence[float]) -> float:
    return float(gemmi.UnitCell(*shape).volume)


def _formula(sites: Sequence[Atom]) -> str:
    counts = Counter(atom.element for atom in sites)
    return "".join(f"{element}{n if n > 1 else ''}" for element, n in sorted(counts.items()))
