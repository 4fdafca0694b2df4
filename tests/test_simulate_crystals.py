"""Made-up crystals are crystals: cells of their system, sites of their group, spacings like those of real matter."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from fringemap.phases import compute_reflections
from fringemap.phases.cif import read_cif, write_cif
from fringemap.simulate import random_structure
from fringemap.simulate.crystals import CELL_ANGSTROM, CRYSTAL_SYSTEMS, ELEMENTS


@pytest.fixture(scope="module")
def structures():
    rng = np.random.default_rng(4)
    return [random_structure(rng) for _ in range(150)]


def test_all_crystal_systems_and_many_groups_are_drawn(structures):
    groups = [gemmi.SpaceGroup(s.space_group) for s in structures]
    assert {g.crystal_system_str() for g in groups} == set(CRYSTAL_SYSTEMS)
    assert len({g.number for g in groups}) > 60
    assert {len(s.atoms) for s in structures} == {1, 2, 3, 4, 5, 6}
    assert all(CELL_ANGSTROM[0] <= edge <= CELL_ANGSTROM[1] for s in structures for edge in s.cell[:3])


def test_elements_run_from_light_to_heavy_without_gases(structures):
    drawn = {atom.element for s in structures for atom in s.atoms}
    assert drawn <= set(ELEMENTS)
    assert "Li" in ELEMENTS
    assert "Bi" in ELEMENTS
    assert not drawn & {"He", "Ne", "Ar", "Tc"}
    assert min(gemmi.Element(e).atomic_number for e in drawn) < 9
    assert max(gemmi.Element(e).atomic_number for e in drawn) > 70


def test_cells_obey_their_crystal_system(structures):
    for structure in structures:
        a, b, c, alpha, beta, gamma = structure.cell
        match gemmi.SpaceGroup(structure.space_group).crystal_system_str():
            case "cubic":
                assert a == b == c
            case "tetragonal":
                assert a == b
            case "hexagonal" | "trigonal":
                assert (a, alpha, beta, gamma) == (b, 90.0, 90.0, 120.0)
            case "orthorhombic":
                assert (alpha, beta, gamma) == (90.0, 90.0, 90.0)


def test_an_atom_takes_as_much_room_as_in_real_matter(structures):
    for structure in structures:
        group = gemmi.SpaceGroup(structure.space_group)
        n = sum(len(_orbit(group, atom.fract)) for atom in structure.atoms)
        assert 7.5 < gemmi.UnitCell(*structure.cell).volume / n < 27


def test_planes_of_many_spacings_are_seen(structures):
    families = [compute_reflections(s, d_min_angstrom=1.0, min_intensity_percent=1.0) for s in structures]
    largest = [family.d_spacing.max() for family in families]
    assert np.percentile(largest, 10) < 4.5
    assert np.percentile(largest, 90) > 6


def test_a_made_up_crystal_survives_a_cif(tmp_path, structures):
    for number, structure in enumerate(structures[:20]):
        path = tmp_path / f"{number}.cif"
        write_cif(structure, path)
        again = read_cif(path)
        assert gemmi.SpaceGroup(again.space_group).number == gemmi.SpaceGroup(structure.space_group).number
        np.testing.assert_allclose(again.cell, structure.cell, rtol=1e-4)


def test_the_same_generator_makes_the_same_crystal():
    assert random_structure(np.random.default_rng(7)) == random_structure(np.random.default_rng(7))


def _orbit(group, fract):
    return {tuple(np.round(np.mod(op.apply_to_xyz(list(fract)), 1.0) + 1e-9, 3) % 1.0) for op in group.operations()}
