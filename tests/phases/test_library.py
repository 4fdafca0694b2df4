"""The built-in structures: are they right? And what users name: is it found?"""

from __future__ import annotations

import re
from pathlib import Path

import gemmi
import numpy as np
import pytest

from fringemap.errors import SettingsError, StructureError
from fringemap.phases.cif import gemmi_structure, read_tags, space_group, write_cif
from fringemap.phases.lattice import cell_volume, direct_basis
from fringemap.phases.library import (
    find_present,
    find_standard,
    list_structures,
    load_folder,
    load_references,
    load_structure,
    structure_path,
)
from fringemap.phases.provenance import structures_page
from fringemap.phases.reflections import compute_reflections
from fringemap.settings import PhaseSettings

NAMES = list_structures()
DALTON = 1.66053907  # g/cm³ for one dalton in a cubic ångström

# g/cm³ at room temperature, from the handbooks of chemistry and mineralogy; they owe nothing to our cells. Left out is
# what the handbooks lack, or give from impure samples (Li2C2, Na2O, Na2O2, CuO, Li15Si4, LiC6 and a few more).
DENSITIES = {
    "Ag": 10.5, "Al": 2.70, "Al2O3": 3.98, "Au": 19.3, "BaTiO3": 6.02, "bornite": 5.08, "CeO2": 7.2, "Co3O4": 6.11,
    "CoO": 6.44, "Cu": 8.96, "Cu2O": 6.0, "Fe3O4": 5.17, "graphite": 2.25, "ice Ic": 0.93, "ice Ih": 0.93,
    "Li": 0.534, "Li2CO3": 2.11, "Li2O": 2.013, "Li2O2": 2.31, "Li2S": 1.64, "Li2SiO3": 2.52, "Li3N": 1.27,
    "Li3PO4 beta": 2.46, "Li3PO4 gamma": 2.46, "LiBr": 3.464, "LiCl": 2.07, "LiF": 2.64,
    "LiH": 0.78, "LiI": 4.06, "LiNO3": 2.38, "LiOH": 1.45, "LiOH.H2O": 1.51, "MgO": 3.6, "MoS2": 5.06,
    "Na": 0.97, "Na2CO3": 2.54, "Na2S": 1.856, "NaCl": 2.17, "NaF": 2.78, "NaH": 1.39, "Ni": 8.90, "NiO": 6.72,
    "Pt": 21.5, "Si": 2.3296, "SiO2 quartz": 2.648, "SrTiO3": 5.1, "TiO2 anatase": 3.9, "TiO2 brookite": 4.12,
    "TiO2 rutile": 4.23, "ZnO": 5.6, "Zr": 6.52, "ZrO2": 5.68,
}  # fmt: skip

# What the field expects of its phases: d in Å, and the ring intensity (multiplicity x |F|² x d) where it was known,
# the strongest of the listed ones being 100.
KNOWN_LINES = {
    "Li": {(1, 1, 0): (2.482, 100), (2, 0, 0): (1.755, None), (2, 1, 1): (1.433, None)},
    "LiF": {(1, 1, 1): (2.325, 21), (2, 0, 0): (2.014, 100), (2, 2, 0): (1.424, 69)},
    "Li2O": {(1, 1, 1): (2.664, 74), (2, 2, 0): (1.631, 100), (3, 1, 1): (1.391, 39)},
    "Li2CO3": {
        (1, 1, 0): (4.159, 33), (-2, 0, 2): (2.921, 70), (0, 0, 2): (2.812, 100), (0, 2, 0): (2.486, 25),
        (-3, 1, 1): (2.430, 43),
    },
    "LiOH": {(0, 0, 1): (4.334, 55), (1, 0, 1): (2.746, 100), (1, 1, 0): (2.510, 17), (2, 0, 0): (1.774, 40)},
    "LiH": {(1, 1, 1): (2.358, 37), (2, 0, 0): (2.042, 100), (2, 2, 0): (1.444, 52)},
    "Li2O2": {(1, 0, 1): (2.564, 81), (1, 0, 2): (2.217, 69), (1, 0, 3): (1.861, 37), (1, 1, 0): (1.571, 100)},
    "Li2S": {(1, 1, 1): (3.298, 100), (2, 2, 0): (2.019, 82), (3, 1, 1): (1.722, 45)},
    "Li3N": {(0, 0, 1): (3.875, 100), (1, 0, 0): (3.159, 65), (1, 1, 0): (1.824, 82), (1, 1, 1): (1.650, 46)},
    "LiCl": {(1, 1, 1): (2.962, 60), (2, 0, 0): (2.565, 100), (2, 2, 0): (1.814, 67)},
    "Li2C2": {(0, 1, 1): (3.610, 99), (1, 0, 1): (3.031, 100), (1, 1, 2): (1.987, 92)},
    "ice Ih": {(1, 0, 0): (3.895, None), (0, 0, 2): (3.662, None), (1, 0, 1): (3.439, None), (1, 0, 2): (2.668, None)},
    "ice Ic": {(1, 1, 1): (3.671, None), (2, 2, 0): (2.248, None), (3, 1, 1): (1.917, None)},
    "Cu": {(1, 1, 1): (2.087, 100), (2, 0, 0): (1.807, None), (2, 2, 0): (1.278, None)},
    "Cu2O": {(1, 1, 1): (2.465, 100), (2, 0, 0): (2.135, None)},
    "CuO": {(-1, 1, 1): (2.523, 51), (1, 1, 1): (2.322, 100)},
    "Au": {(1, 1, 1): (2.355, 100), (2, 0, 0): (2.039, None), (2, 2, 0): (1.442, None)},
    "graphite": {(0, 0, 2): (3.356, 100), (1, 0, 1): (2.034, 30), (1, 1, 0): (1.232, None)},
    "LiC6": {(0, 0, 1): (3.706, None)},
    "Na": {(1, 1, 0): (3.034, 100), (2, 0, 0): (2.145, None), (2, 1, 1): (1.752, None)},
    "NaF": {(2, 0, 0): (2.317, 100), (2, 2, 0): (1.638, 80)},
    "Na2O": {(1, 1, 1): (3.204, 20), (2, 0, 0): (2.775, 21), (2, 2, 0): (1.962, 100)},
    "NaH": {(1, 1, 1): (2.817, 93), (2, 0, 0): (2.440, 100), (2, 2, 0): (1.725, 73)},
    "NaCl": {(2, 0, 0): (2.820, 100), (2, 2, 0): (1.994, 76)},
    "Si": {(1, 1, 1): (3.135, 100), (2, 2, 0): (1.920, 60), (3, 1, 1): (1.637, 33)},
}  # fmt: skip

# Pairs of lines that no d-spacing alone tells apart, and how far apart they lie at most [%].
DEGENERATE = [
    ("Li", (1, 1, 0), "Li2CO3", (0, 2, 0), 0.3),
    ("Li", (1, 1, 0), "Cu2O", (1, 1, 1), 0.8),
    ("LiF", (1, 1, 1), "CuO", (1, 1, 1), 0.2),
    ("LiF", (2, 0, 0), "Li2S", (2, 2, 0), 0.3),
    ("Li2O", (1, 1, 1), "ice Ih", (1, 0, 2), 0.2),
    ("Li2O2", (1, 0, 1), "LiCl", (2, 0, 0), 0.1),
    ("LiH", (1, 1, 1), "Au", (1, 1, 1), 0.2),
    ("LiH", (2, 0, 0), "Au", (2, 0, 0), 0.2),
    ("Li2CO3", (1, 1, 1), "Li2C2", (1, 0, 1), 0.2),
    ("ice Ih", (1, 1, 0), "ice Ic", (2, 2, 0), 0.1),
]


def sites(structure):
    return gemmi_structure(structure.cell, space_group(structure), structure.atoms).get_all_unit_cell_sites()


def content(structure):
    """How many of each element the cell holds."""
    found: dict[str, float] = {}
    for site in sites(structure):
        found[site.element.name] = found.get(site.element.name, 0.0) + site.occ
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_atoms_add_up_to_the_declared_formula_and_number_of_formula_units(name):
    structure = load_structure(name)
    declared = {}
    for word in structure.formula.split():
        element, number = re.fullmatch(r"([A-Z][a-z]?)([\d.]*)", word).groups()
        declared[element] = float(number or 1)
    found = content(structure)
    assert found.keys() == declared.keys() == structure.elements
    units = [found[element] / declared[element] for element in declared]
    np.testing.assert_allclose(units, units[0], rtol=1e-3)
    stated = read_tags(structure_path(name)).get("_cell_formula_units_z")
    assert stated is None or units[0] == pytest.approx(float(stated), rel=1e-3)


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_are_those_of_the_handbooks(name):
    structure = load_structure(name)
    mass = sum(gemmi.Element(element).weight * number for element, number in content(structure).items())
    assert mass * DALTON / cell_volume(structure.cell) == pytest.approx(DENSITIES[name], rel=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_atoms_come_too_close(name):
    structure = load_structure(name)
    atoms = sites(structure)
    fract = np.array([site.fract.tolist() for site in atoms])
    hydrogen = np.array([site.element.name == "H" for site in atoms])
    cells = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3)
    for i, position in enumerate(fract):
        distance = np.linalg.norm(((fract - position)[:, None] + cells) @ direct_basis(structure.cell).T, axis=-1)
        # The same place is the atom itself, or another element that shares a disordered site.
        nearest = np.where(distance > 1e-3, distance, np.inf).min(axis=1)
        assert np.all(nearest > np.where(hydrogen | hydrogen[i], 0.7, 1.0))


@pytest.mark.parametrize("name", KNOWN_LINES)
def test_the_lines_are_those_that_the_field_knows(name):
    lines = compute_reflections(load_structure(name), d_min_angstrom=1.0, min_intensity_percent=0.0)
    rows = {tuple(hkl): i for i, hkl in enumerate(lines.hkl.tolist())}
    ring = {hkl: float(lines.intensity[rows[hkl]] * lines.d_spacing[rows[hkl]]) for hkl in KNOWN_LINES[name]}
    for hkl, (d, intensity) in KNOWN_LINES[name].items():
        assert lines.d_spacing[rows[hkl]] == pytest.approx(d, rel=2e-3)
        if intensity is not None:
            assert 100.0 * ring[hkl] / max(ring.values()) == pytest.approx(intensity, abs=9)


@pytest.mark.parametrize(("first", "hkl1", "second", "hkl2", "percent"), DEGENERATE)
def test_the_pairs_that_d_alone_cannot_tell_apart_are_in_the_library(first, hkl1, second, hkl2, percent):
    d = []
    for name, hkl in ((first, hkl1), (second, hkl2)):
        lines = compute_reflections(load_structure(name), d_min_angstrom=1.0)
        d.append(lines.d_spacing[lines.hkl.tolist().index(list(hkl))])
    assert abs(d[0] / d[1] - 1.0) * 100.0 < percent


@pytest.mark.parametrize("name", NAMES)
def test_every_structure_names_its_source_and_its_check(name):
    tags = read_tags(structure_path(name))
    structure = load_structure(name)
    assert len(tags["_fringemap_check"]) > 30
    assert structure.source
    assert tags["_journal_year"].isdigit()
    assert structure.elements


def test_the_cobalt_oxide_of_the_acceptance_test_is_there():
    cobalt = load_structure("Co3O4")
    assert cobalt.cell[0] == pytest.approx(8.08, abs=0.005)
    assert cobalt.space_group == "F d -3 m:2"


def test_the_docs_page_is_made_from_the_files():
    page = Path(__file__).resolve().parents[2] / "docs" / "structures.md"
    assert page.read_text(encoding="utf-8") == structures_page(), "run python -m fringemap.phases.provenance"


@pytest.mark.parametrize("name", ["ice Ih", "ICE IH", "iceih", " ice-ih ", "ice_Ih"])
def test_case_spaces_and_hyphens_of_a_name_do_not_matter(name):
    assert load_structure(name).name == "ice Ih"


def test_one_word_of_a_name_is_enough_where_it_is_the_only_one():
    assert load_structure("rutile").name == "TiO2 rutile"
    assert load_structure("bornite").name == "bornite"
    with pytest.raises(StructureError, match="TiO2 anatase or TiO2 brookite or TiO2 rutile"):
        load_structure("TiO2")


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(StructureError, match="did you mean Li2CO3"):
        load_structure("Li2C03")
    with pytest.raises(StructureError, match="phases list"):
        load_structure("unobtainium")


def test_names_are_listed_in_alphabetical_order_and_are_distinct():
    assert list(NAMES) == sorted(NAMES, key=str.casefold)
    assert len(set(NAMES)) == len(NAMES) >= 50


def test_a_cif_is_loaded_by_its_path(tmp_path):
    write_cif(load_structure("Cu"), tmp_path / "mine.CIF")
    assert load_structure(tmp_path / "mine.CIF") == load_structure("Cu")
    assert load_structure(str(tmp_path / "mine.CIF")).name == "Cu"


def test_a_folder_is_loaded_in_the_order_of_its_file_names(tmp_path):
    for file, name in (("b.cif", "Cu"), ("a.cif", "Li")):
        write_cif(load_structure(name), tmp_path / file)
    (tmp_path / "notes.txt").write_text("no structure")
    assert [s.name for s in load_folder(tmp_path)] == ["Li", "Cu"]


def test_a_folder_without_cifs_is_refused(tmp_path):
    with pytest.raises(StructureError, match=r"no \.cif file"):
        load_folder(tmp_path)
    with pytest.raises(StructureError, match="no folder"):
        load_folder(tmp_path / "none")


def references(*phases, d_min_angstrom=1.0, **settings):
    return load_references(PhaseSettings(phases=phases, **settings), d_min_angstrom=d_min_angstrom)


def test_the_whole_library_is_taken_if_nothing_is_named():
    assert [r.phase for r in references()] == list(NAMES)


def test_names_files_folders_tables_and_ranges_may_be_mixed(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    write_cif(load_structure("Cu"), folder / "a.cif")
    write_cif(load_structure("Au"), tmp_path / "gold.cif")
    (tmp_path / "table.csv").write_text("X,(111),2.2\nY,(111),2.3\n")
    found = references("lif", str(folder), str(tmp_path / "gold.cif"), str(tmp_path / "table.csv"), "2:2.2:0.1")
    assert [r.phase for r in found] == ["LiF", "Cu", "Au", "X", "Y", "d=2.00", "d=2.10", "d=2.20"]


def test_phases_with_other_elements_are_left_out_but_tables_stay(tmp_path):
    (tmp_path / "table.csv").write_text("X,(111),2.2\n")
    found = references("Cu", "LiF", "Li", str(tmp_path / "table.csv"), elements=("Li", "f"))
    assert [r.phase for r in found] == ["LiF", "Li", "X"]
    assert {"Li", "Li2CO3", "Li2O", "graphite", "LiC6"} <= {r.phase for r in references(elements=("Li", "C", "O"))}


def test_nothing_left_to_compare_with_is_an_error():
    with pytest.raises(StructureError, match="no phase consists of C alone"):
        references("Cu", elements=("C",))


def test_an_element_that_does_not_exist_is_named():
    with pytest.raises(StructureError, match='"Lx" is no element'):
        references(elements=("Li", "Lx"))


def test_the_same_name_twice_is_told_apart(tmp_path):
    write_cif(load_structure("Cu"), tmp_path / "Cu.cif")
    assert [r.phase for r in references("Cu", str(tmp_path / "Cu.cif"))] == ["Cu", "Cu (2)"]


def test_a_phase_that_is_named_twice_is_there_once():
    assert [r.phase for r in references("rutile", "Cu", "TiO2 rutile", "cu")] == ["TiO2 rutile", "Cu"]


def test_the_internal_standard_is_found_by_one_word_of_its_name_or_refused_before_any_frame():
    known = references("Cu", "rutile", "anatase")
    assert find_standard(known, "") == ()
    assert find_standard(known, "tio2-Rutile") == find_standard(known, "rutile") == (1,)
    for name in ("Au", "TiO2"):
        with pytest.raises(SettingsError, match=f"the internal standard {name} is not among"):
            load_references(
                PhaseSettings(phases=("Cu", "rutile", "anatase"), internal_standard=name), d_min_angstrom=1.0
            )


def test_what_is_surely_there_is_found_by_a_word_of_its_name_or_in_a_file(tmp_path):
    known = references("Cu", "rutile", "anatase")
    write_cif(load_structure("anatase"), tmp_path / "mine.cif")
    assert find_present(known, ()) == ()
    assert find_present(known, ("rutile",)) == find_present(known, ("tio2-Rutile",)) == (1,)
    assert find_present(known, (str(tmp_path / "mine.cif"), "Cu")) == (0, 2)
    with pytest.raises(StructureError, match="no structure is called"):
        find_present(known, ("nonsense",))


def test_lines_of_tables_below_the_limit_are_left_out(tmp_path):
    (tmp_path / "table.csv").write_text("X,(111),2.2\nX,(333),0.73\n")
    (table,) = references(str(tmp_path / "table.csv"))
    assert table.d_spacing.tolist() == [2.2]
    assert table.hkl.shape == (1, 3)


def test_weak_lines_follow_the_setting():
    (all_lines,) = references("Li2CO3", min_intensity_percent=0.0)
    (strong,) = references("Li2CO3", min_intensity_percent=20.0)
    assert len(strong) < len(all_lines) / 3


@pytest.mark.parametrize("name", ["none.cif", "none.csv", "nonsense"])
def test_what_cannot_be_loaded_is_named(name):
    with pytest.raises(StructureError, match=name.replace(".", r"\.")):
        references(name)
