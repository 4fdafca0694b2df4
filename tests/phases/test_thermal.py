"""Cells at other temperatures, and what a user knows of the sample."""

import pytest

from fringemap.errors import StructureError
from fringemap.phases import added_phases, list_structures, load_references, load_structure
from fringemap.phases.match import match_spots
from fringemap.phases.thermal import EXPANSION, at_temperature, expansion
from fringemap.settings import PhaseSettings
from made_crystals import make_references, make_scale, make_spots, project


@pytest.mark.parametrize(
    ("name", "percent", "tolerance"),
    [("Cu", -0.28, 0.02), ("Al", -0.37, 0.04), ("Au", -0.26, 0.02), ("LiF", -0.44, 0.04), ("Na", -1.3, 0.15)],
)
def test_known_crystals_shrink_as_measured_from_room_temperature_to_100_k(name, percent, tolerance):
    assert 100 * expansion(load_structure(name), 100.0) == pytest.approx(percent, abs=tolerance)


def test_ice_has_the_cell_measured_at_250_k():
    warm = at_temperature(load_structure("ice Ih"), 250.0)
    assert warm.cell[0] == pytest.approx(4.5184, abs=0.001)
    assert warm.cell[2] == pytest.approx(7.3556, abs=0.002)


@pytest.mark.parametrize("name", ["Cu", "Li2CO3", "ice Ih"])
def test_nothing_changes_at_its_own_temperature_and_all_is_still_in_the_cold(name):
    structure = load_structure(name)
    own = structure.temperature_k or 293.0
    assert expansion(structure, own) == pytest.approx(0.0, abs=1e-12)
    assert expansion(structure, 1.0) == pytest.approx(expansion(structure, 5.0), abs=1e-6)
    cold = at_temperature(structure, 50.0)
    assert cold.cell[3:] == structure.cell[3:]
    assert cold.cell[0] / structure.cell[0] == pytest.approx(cold.cell[2] / structure.cell[2])
    assert at_temperature(cold, own).cell == pytest.approx(structure.cell, rel=1e-4)


def test_the_table_names_built_in_structures_only():
    assert set(EXPANSION) <= set(list_structures())


def test_references_are_those_of_the_temperature():
    warm = load_references(PhaseSettings(phases=("Cu",)), d_min_angstrom=1.0)[0]
    cold = load_references(PhaseSettings(phases=("Cu",), temperature_k=100.0), d_min_angstrom=1.0)[0]
    assert cold.d_spacing[0] / warm.d_spacing[0] == pytest.approx(1 - 0.0028, abs=2e-4)


def names(**settings):
    return [one.phase for one in load_references(PhaseSettings(**settings), d_min_angstrom=1.0)]


def test_ice_joins_a_list_in_the_cold_whatever_the_elements_and_says_so():
    assert names(phases=("Li",), elements=("Li",), temperature_k=100.0) == ["Li", "ice Ih", "ice Ic"]
    assert added_phases(PhaseSettings(phases=("Li",), temperature_k=100.0)) == ("ice Ih", "ice Ic")
    assert names(phases=("Li", "iceih"), temperature_k=100.0, absent=("ice Ic",)) == ["Li", "ice Ih"]


@pytest.mark.parametrize("temperature", [None, 180.0, 300.0])
def test_no_ice_joins_where_it_is_warm(temperature):
    assert names(phases=("Li",), temperature_k=temperature) == ["Li"]


def test_phases_surely_present_are_added_once_and_those_absent_left_out():
    assert names(phases=("Li", "Cu"), present=("cu", "Si")) == ["Li", "Cu", "Si"]
    assert names(phases=("Li", "Cu"), absent=("cu",)) == ["Li"]
    assert "TiO2 rutile" not in names(absent=("rutile",))
    with pytest.raises(StructureError, match="no phase is left"):
        names(phases=("Li",), absent=("Li",))
    with pytest.raises(StructureError, match="no structure is called"):
        names(absent=("nonsense",))


def test_a_phase_that_is_surely_present_gets_its_name_more_readily():
    spots = make_spots(project("Si", [(1, -1, 1), (1, -1, -1), (0, 0, 2)], rotation=0.3))
    references = make_references("Si", "Cu", "Li2CO3", "Li2O")
    named = {}
    for present in ((), ("si",)):
        settings = PhaseSettings(match="posterior", present=present)
        match = match_spots(spots, references, scale=make_scale(0.01), settings=settings)
        named[present] = [spot.probability if spot.best is None else 1 - spot.probability for spot in match.spots]
        assert all(spot.best is None or spot.best.phase == "Si" for spot in match.spots)
    assert max(named[("si",)]) < min(named[()])
