"""Phases that users import."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import pytest

from fringemap.errors import OutputError, StructureError
from fringemap.phases import list_imported, list_structures, load_references, load_structure, write_cif
from fringemap.phases.userlibrary import find_sources, import_phases, remove_phase, user_folder, user_phases
from fringemap.records import Atom
from fringemap.settings import PhaseSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FRINGEMAP_PHASES", str(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture
def cif(tmp_path: Path) -> Path:
    write_cif(dataclasses.replace(load_structure("Cu2O"), name="My oxide", temperature_k=300.0), tmp_path / "a.cif")
    return tmp_path / "a.cif"


def changed(tmp_path: Path, **changes: object) -> Path:
    made = dataclasses.replace(load_structure("Cu2O"), name="odd", temperature_k=300.0)
    write_cif(dataclasses.replace(made, **changes), tmp_path / "odd.cif")  # type: ignore[arg-type]
    return tmp_path / "odd.cif"


def test_an_imported_structure_is_known_by_name_and_is_the_same(cif: Path, folder: Path) -> None:
    (one,) = import_phases(cif)
    assert one.name == "My oxide"
    assert one.path.parent == folder
    assert "6.11 g/cm³" in one.facts
    assert one.remarks == ()
    found, source = load_structure("myoxide"), load_structure("Cu2O")
    assert (found.cell, found.space_group, found.elements) == (source.cell, source.space_group, source.elements)
    (reference,) = load_references(PhaseSettings(phases=("my-oxide",)), d_min_angstrom=1.0)
    assert reference.phase == "My oxide"


def test_the_whole_library_holds_imported_phases_too_but_no_name_twice(cif: Path) -> None:
    n = len(list_structures())
    import_phases(cif)
    references = load_references(PhaseSettings(), d_min_angstrom=1.0)
    assert len(references) == n + 1
    assert len(list_structures()) == n


def test_a_table_becomes_one_phase_for_each_component(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("component,hkl,d\nA,1 -1 10,2.3\nA,,2.0\nB,200,3.1\n", encoding="utf-8")
    assert [one.name for one in import_phases(table)] == ["A", "B"]
    (a,) = load_references(PhaseSettings(phases=("a",)), d_min_angstrom=1.0)
    assert a.d_spacing.tolist() == [2.3, 2.0]
    assert a.hkl.tolist() == [[1, -1, 10], [0, 0, 0]]
    with pytest.raises(StructureError, match="table of d-spacings without a cell"):
        load_structure("A")
    with pytest.raises(StructureError, match="one name does not do"):
        import_phases(table, name="C")


def test_a_name_is_taken_once_unless_replaced(cif: Path, tmp_path: Path) -> None:
    import_phases(cif)
    with pytest.raises(StructureError, match="was imported before"):
        import_phases(cif, name="MY OXIDE")
    (one,) = import_phases(changed(tmp_path, cell=(4.3, 4.3, 4.3, 90.0, 90.0, 90.0)), name="my oxide", replace_old=True)
    assert [phase.name for phase in list_imported()] == ["my oxide"]  # type: ignore[union-attr]
    assert load_structure("My oxide").cell[0] == pytest.approx(4.3)
    assert list(one.path.parent.iterdir()) == [one.path]


def test_a_built_in_name_cannot_be_taken_even_by_replacing(cif: Path) -> None:
    with pytest.raises(StructureError, match="is a built-in structure"):
        import_phases(cif, name="si", replace_old=True, reserved=list_structures())


@pytest.mark.parametrize("name", ["a,b", "1:2:3", "../up", "...", " x"])
def test_a_name_that_no_list_could_hold_is_refused(cif: Path, name: str) -> None:
    with pytest.raises(StructureError, match="cannot be the name of a phase"):
        import_phases(cif, name=name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cell": (2.0, 2.0, 2.0, 90.0, 90.0, 90.0)}, "density would be"),
        ({"cell": (14.0, 14.0, 14.0, 90.0, 90.0, 90.0)}, "density would be"),
        ({"atoms": (Atom("Cu", (0.25, 0.25, 0.25), occupancy=1.5),)}, "occupancy 1.5"),
        ({"atoms": (Atom("Cu", (0.25, 0.25, 0.25)), Atom("O", (0.25, 0.25, 0.3)))}, "two atoms .* apart"),
    ],
)
def test_a_crystal_that_cannot_be_is_refused_and_nothing_stored(
    tmp_path: Path, folder: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(StructureError, match=said):
        import_phases(changed(tmp_path, **changes))
    assert not folder.exists()


def test_atoms_that_share_a_place_may_lie_on_each_other(tmp_path: Path) -> None:
    half = tuple(Atom(element, (0.25, 0.25, 0.25), occupancy=0.5) for element in ("Cu", "Ag"))
    (one,) = import_phases(changed(tmp_path, atoms=(*half, Atom("O", (0.0, 0.0, 0.0))), formula="Cu Ag O"))
    assert one.remarks == ()


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    (one,) = import_phases(changed(tmp_path, formula="Cu2 O H", temperature_k=None))
    assert "formula and list of atoms differ in H" in one.remarks[0]
    assert "states no temperature" in one.remarks[1]


def test_a_removed_phase_is_unknown(cif: Path) -> None:
    import_phases(cif)
    assert not remove_phase("my oxide").exists()
    with pytest.raises(StructureError, match="no imported phase is called"):
        remove_phase("my oxide")
    with pytest.raises(StructureError, match="no structure is called"):
        load_structure("my oxide")


def test_a_damaged_file_among_the_imported_is_left_out_with_a_warning(
    cif: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import_phases(cif)
    (folder / "broken.cif").write_text("data_x\n_cell_length_a 3\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert list(user_phases()) == ["myoxide"]
    assert "an imported phase is left out" in caplog.text


def test_sources_are_a_file_or_those_of_a_folder(tmp_path: Path, cif: Path) -> None:
    assert find_sources(cif) == [cif]
    assert find_sources(tmp_path) == [cif]
    (tmp_path / "empty").mkdir()
    with pytest.raises(StructureError, match="holds no"):
        find_sources(tmp_path / "empty")
    with pytest.raises(StructureError, match="does not exist"):
        find_sources(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_made_is_an_error(cif: Path, folder: Path) -> None:
    folder.write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError, match="FRINGEMAP_PHASES"):
        import_phases(cif)


@pytest.mark.parametrize(
    ("platform", "variable", "end"),
    [
        ("linux", "XDG_DATA_HOME", "fringemap/phases"),
        ("win32", "APPDATA", "fringemap/phases"),
        ("darwin", "", "Application Support/fringemap/phases"),
    ],
)
def test_each_platform_has_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, variable: str, end: str
) -> None:
    monkeypatch.delenv("FRINGEMAP_PHASES")
    monkeypatch.setattr("sys.platform", platform)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
        assert user_folder() == tmp_path / "fringemap" / "phases"
    assert user_folder().as_posix().endswith(end)
