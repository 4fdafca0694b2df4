"""CIFs of all kinds, good and bad."""

from __future__ import annotations

import gemmi
import pytest

from fringemap.errors import StructureError
from fringemap.phases.cif import DEFAULT_U_ISO, read_cif, read_tags, write_cif
from fringemap.phases.library import list_structures, load_structure
from fringemap.records import Atom, Structure

CELL = """data_x
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
"""
ATOMS = """loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cu1 0 0 0
"""
FCC = "_symmetry_space_group_name_H-M 'F m -3 m'\n"
NICKEL_OXIDE = CELL + FCC + ATOMS.replace("Cu1 0 0 0", "Ni1 0 0 0\nO1 0.5 0.5 0.5")


def operators(symbol: str) -> str:
    rows = "\n".join(f"'{op.triplet()}'" for op in gemmi.SpaceGroup(symbol).operations())
    return f"loop_\n_symmetry_equiv_pos_as_xyz\n{rows}\n"


def read(tmp_path, text, name="sample.cif"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_cif(path)


def test_a_small_file_is_read_whole(tmp_path):
    s = read(tmp_path, NICKEL_OXIDE)
    assert (s.name, s.formula, s.space_group, s.cell[0]) == ("sample", "Ni1 O1", "F m -3 m", 4.0)
    assert s.elements == {"Ni", "O"}
    assert s.temperature_k is None
    assert s.atoms[1] == Atom("O", (0.5, 0.5, 0.5), 1.0, DEFAULT_U_ISO)


@pytest.mark.parametrize("symbol", ["F m -3 m", "P 1 21/c 1", "P m n b", "F d -3 m:1", "F d -3 m:2", "R -3 c:H", "P 1"])
def test_a_file_that_lists_only_operators_gets_their_space_group(tmp_path, symbol):
    assert read(tmp_path, CELL + operators(symbol) + ATOMS).space_group == symbol


def test_operators_count_more_than_a_symbol_that_contradicts_them(tmp_path):
    assert read(tmp_path, CELL + FCC + operators("P m -3 m") + ATOMS).space_group == "P m -3 m"


def test_generators_are_completed_to_the_group(tmp_path):
    text = CELL + "loop_\n_space_group_symop_operation_xyz\n'x,y,z'\n'-x,-y,-z'\n'-x,y,-z+1/2'\n" + ATOMS
    assert read(tmp_path, text).space_group == "P 1 2/c 1"


def test_a_hall_symbol_tells_the_origin(tmp_path):
    text = CELL + "_symmetry_space_group_name_Hall 'F 4d 2 3 -1d'\n_symmetry_space_group_name_H-M 'F d -3 m'\n" + ATOMS
    assert read(tmp_path, text).space_group == "F d -3 m:1"


def test_a_symbol_that_leaves_the_origin_open_is_not_guessed(tmp_path):
    with pytest.raises(StructureError, match="two origins"):
        read(tmp_path, CELL + FCC.replace("F m -3 m", "F d -3 m") + ATOMS)


def test_a_rhombohedral_symbol_follows_the_angles(tmp_path):
    rhombohedral = FCC.replace("F m -3 m", "R -3 m")
    assert read(tmp_path, CELL + rhombohedral + ATOMS).space_group == "R -3 m:R"
    hexagonal = CELL.replace("gamma 90", "gamma 120")
    assert read(tmp_path, hexagonal + rhombohedral + ATOMS).space_group == "R -3 m:H"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no complete unit cell"),
        ("this is no CIF", "not a valid CIF"),
        ("data_x\n" + FCC + ATOMS, "no complete unit cell"),
        (CELL.replace("_cell_length_b 4.0", "_cell_length_b ?") + FCC + ATOMS, "cannot exist"),
        (CELL.replace("_cell_length_b 4.0", "_cell_length_b -4") + FCC + ATOMS, "cannot exist"),
        (CELL + FCC, "no atoms"),
        (CELL + ATOMS, "no symmetry"),
        (CELL + FCC.replace("F m -3 m", "F x y z") + ATOMS, "unknown"),
        (CELL + "loop_\n_space_group_symop_operation_xyz\n'x,y,q'\n" + ATOMS, "operator"),
        (CELL + "loop_\n_space_group_symop_operation_xyz\n'x,y,z'\n'x+1/3,y,z'\n" + ATOMS, "no known setting"),
        (CELL + FCC + ATOMS.replace("Cu1", "Qq1"), "known element"),
        (CELL + FCC + ATOMS.replace("Cu1 0 0 0", "Cu1 0 ? 0"), "no complete position"),
        (
            CELL + FCC + ATOMS.replace("_fract_z\nCu1 0 0 0", "_fract_z\n_atom_site_occupancy\nCu1 0 0 0 1.5"),
            "occupancy 1.5",
        ),
    ],
)
def test_an_unusable_file_ends_in_one_sentence_that_names_it(tmp_path, text, problem):
    with pytest.raises(StructureError, match=problem) as error:
        read(tmp_path, text)
    assert "sample.cif" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StructureError, match=r"none\.cif cannot be read"):
        read_cif(tmp_path / "none.cif")


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "image.cif").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(StructureError, match=r"image\.cif"):
        read_cif(tmp_path / "image.cif")


def test_numbers_with_their_errors_in_brackets_are_read(tmp_path):
    s = read(tmp_path, NICKEL_OXIDE.replace("_a 4.0", "_a 4.1769(2)"))
    assert s.cell[0] == pytest.approx(4.1769)


def test_the_first_block_with_a_cell_is_taken(tmp_path):
    assert read(tmp_path, "data_global\n_journal_year 1999\n" + NICKEL_OXIDE).formula == "Ni1 O1"


def test_name_temperature_and_source_are_read(tmp_path):
    text = NICKEL_OXIDE + (
        "_chemical_name_mineral Bunsenite\n_diffrn_ambient_temperature 293(2)\n_journal_name_full 'J. Test'\n"
        "_journal_volume 7\n_journal_year 1999\n_journal_page_first 12\n_cod_database_code 1234567\n"
        "loop_\n_publ_author_name\n'Doe, J.'\n'Roe, R.'\n"
    )
    s = read(tmp_path, text)
    assert (s.name, s.temperature_k) == ("Bunsenite", 293.0)
    assert s.source == "Doe, J.; Roe, R., J. Test 7 (1999) 12, COD 1234567"


def test_displacements_are_read_as_u_b_or_the_mean_of_a_tensor(tmp_path):
    head = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    u = read(tmp_path, CELL + FCC + head + "_atom_site_U_iso_or_equiv\nCu1 0 0 0 0.02\n")
    b = read(tmp_path, CELL + FCC + head + "_atom_site_B_iso_or_equiv\nCu1 0 0 0 1.5791367\n")
    columns = "".join(f"_atom_site_aniso_U_{ij}\n" for ij in (11, 22, 33, 12, 13, 23))
    tensor = f"loop_\n_atom_site_aniso_label\n{columns}Cu1 0.01 0.02 0.03 0 0 0\n"
    aniso = read(tmp_path, CELL + FCC + head + "Cu1 0 0 0\n" + tensor)
    assert u.atoms[0].u_iso == pytest.approx(0.02)
    assert b.atoms[0].u_iso == pytest.approx(0.02)
    assert aniso.atoms[0].u_iso == pytest.approx(0.02)


def test_the_formula_counts_special_positions_once_and_partial_ones_in_part(tmp_path):
    head = ATOMS.replace("Cu1 0 0 0\n", "_atom_site_occupancy\n")
    s = read(tmp_path, CELL + FCC + head + "S1 0 0 0 1\nCu1 .25 .25 .25 0.625\nFe1 .25 .25 .25 0.125\n")
    assert s.formula == "Cu5 Fe1 S4"
    assert [atom.occupancy for atom in s.atoms] == pytest.approx([1.0, 0.625, 0.125])


def test_deuterium_counts_as_a_known_element(tmp_path):
    s = read(tmp_path, CELL + FCC + ATOMS.replace("Cu1 0 0 0", "D1 0 0 0\nLi1 .5 .5 .5"))
    assert s.elements == {"D", "Li"}


@pytest.mark.parametrize("name", list_structures())
def test_a_written_structure_returns(tmp_path, name):
    original = load_structure(name)
    write_cif(original, tmp_path / "again.cif")
    again = read_cif(tmp_path / "again.cif")
    assert again == original


def test_tags_are_read_on_one_line(tmp_path):
    path = tmp_path / "x.cif"
    path.write_text(NICKEL_OXIDE + "_my_Text\n;\n two\n lines\n;\n", encoding="utf-8")
    assert read_tags(path)["_my_text"] == "two lines"


def test_an_unknown_space_group_cannot_be_written(tmp_path):
    with pytest.raises(StructureError, match="unknown"):
        write_cif(Structure("x", "Cu", (4, 4, 4, 90, 90, 90), "X 1", ()), tmp_path / "x.cif")
