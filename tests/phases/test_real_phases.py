"""Names on real micrographs whose answer is known; see the README of the test data."""

import warnings
from functools import lru_cache

import numpy as np
import pytest

from fringemap.io import read
from fringemap.phases import list_structures, load_references, match_spots
from fringemap.records import UNKNOWN
from fringemap.settings import AnalysisSettings, PhaseSettings, ReadSettings
from fringemap.spectrum import compute_diffractogram
from fringemap.spots import find_spots


@lru_cache(maxsize=2)
def spots_of(path, pixel_size_nm):
    settings = AnalysisSettings(read=ReadSettings(pixel_size_nm=pixel_size_nm))
    with read(path, settings=settings.read) as series:
        diffractogram = compute_diffractogram(
            series[0], settings=settings.spectrum, d_min_angstrom=settings.spots.d_min_angstrom
        )
    return find_spots(diffractogram, settings=settings.spots), diffractogram.scale


def match(path, pixel_size_nm, *phases: str):
    spots, scale = spots_of(path, pixel_size_nm)
    settings = PhaseSettings(phases=phases)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        return match_spots(spots, load_references(settings, d_min_angstrom=1.0), scale=scale, settings=settings)


def families(found) -> set[tuple[int, ...]]:
    return {tuple(sorted(map(abs, spot.best.hkl))) for spot in found.spots if spot.best}


COBALT_OXIDE, COBALT_SCALE = "hrtem/Co3O4_0pass_500k.png", 0.0190527


def test_cobalt_oxide_is_named_plane_by_plane_on_a_frame_that_is_distorted_by_five_percent(shared_data):
    found = match(shared_data(COBALT_OXIDE), COBALT_SCALE, "Co3O4")
    assert found.phases[0].phase == "Co3O4"
    assert found.phases[0].q_value <= 0.05
    assert {(1, 1, 1), (0, 2, 2), (1, 1, 3), (2, 2, 2), (0, 0, 4)} <= families(found)


def test_cobalt_oxide_leads_the_whole_library_and_is_not_named_for_other_spinels_may_be_it(shared_data):
    found = match(shared_data(COBALT_OXIDE), COBALT_SCALE)
    assert {evidence.phase for evidence in found.phases} == {UNKNOWN}
    first = found.candidates[0]
    assert (first.phase, first.zone_axis) == ("Co3O4", (1, 1, 4))
    assert first.probability > 0.5


def test_without_cobalt_oxide_in_the_list_its_frame_stays_unknown(shared_data):
    others = [name for name in list_structures() if name != "Co3O4"]
    found = match(shared_data(COBALT_OXIDE), COBALT_SCALE, *others)
    assert [evidence.phase for evidence in found.phases] == [UNKNOWN]


RUTILE, RUTILE_SCALE = "hrtem/TiO2_0eV.tif", 0.0614634


def test_rutile_is_named_along_its_axis_among_the_forms_of_titania(shared_data):
    found = match(shared_data(RUTILE), RUTILE_SCALE, "TiO2 rutile", "TiO2 anatase", "TiO2 brookite")
    assert [evidence.phase for evidence in found.phases] == ["TiO2 rutile", UNKNOWN]
    assert found.phases[0].zone_axis == (0, 0, 1)
    assert {(0, 0, 1), (0, 1, 1), (0, 0, 2), (0, 1, 2), (0, 2, 2), (0, 1, 3)} <= families(found)


def test_rutile_is_the_only_likely_phase_of_the_whole_library(shared_data):
    found = match(shared_data(RUTILE), RUTILE_SCALE)
    likely = [one for one in (*found.phases, *found.candidates) if one.phase != UNKNOWN and one.probability > 0.1]
    assert [one.phase for one in likely] == ["TiO2 rutile"]
    assert likely[0].zone_axis == (0, 0, 1)
    assert likely[0].probability > 0.8


def test_the_scale_error_of_a_strontium_titanate_frame_is_found(shared_data):
    found = match(shared_data("formats/16_STOimage_1.ser"), None, "SrTiO3")
    assert found.phases[0].phase == "SrTiO3"
    assert found.phases[0].zone_axis == (0, 0, 1)
    assert -0.045 <= found.phases[0].scale - 1.0 <= -0.02


def test_of_two_twins_neither_is_named_but_one_of_them_is_said_to_be_there(shared_data):
    found = match(shared_data("formats/16_STOimage_1.ser"), None, "SrTiO3", "BaTiO3")
    assert [evidence.phase for evidence in found.phases] == [UNKNOWN]
    assert {evidence.phase for evidence in found.candidates} == {"SrTiO3", "BaTiO3"}
    remarks = {spot.remark for row in found.candidates[0].spots if (spot := found.spots[row]).rivals}
    assert any("but one of these 2 phases, probability 1.00" in remark for remark in remarks)


MOLYBDENUM_DISULPHIDE = "formats/example_Se_implanted_MoS2.dm3"


def test_molybdenum_disulphide_is_named_across_its_layers_in_spite_of_scale_and_shear(shared_data):
    found = match(shared_data(MOLYBDENUM_DISULPHIDE), None, "MoS2").phases[0]
    assert (found.phase, found.zone_axis) == ("MoS2", (0, 0, 1))
    assert 0.03 <= found.scale - 1.0 <= 0.08
    assert found.probability > 0.8


def test_a_scale_that_is_far_off_leaves_the_zone_of_molybdenum_disulphide_open(shared_data):
    found = match(shared_data(MOLYBDENUM_DISULPHIDE), None, "MoS2").phases[0]
    assert found.zone_probability < 0.5
    assert (0, 2, 1) in found.rival_zones


def test_bornite_is_said_to_be_there_along_011_in_one_of_its_two_forms_and_no_copper(shared_data):
    found = match(shared_data("hrtem/SL_Bornite_011.png"), 0.087, "bornite", "bornite high", "Cu", "Cu2O")
    assert [one.phase for one in found.candidates] == ["bornite high", "bornite"]
    assert found.candidates[0].zone_axis == (0, 1, 1)
    assert any("but one of these 2 phases" in spot.remark for spot in found.spots)


@pytest.mark.parametrize(
    ("name", "pixel_size_nm"),
    [("hrtem/soot_ucam_ExampleImage.tif", 5 / 89), ("negative/derived_emilys_thonrings_first20_stack.tif", 0.1354)],
)
def test_amorphous_frames_show_no_phase(shared_data, name, pixel_size_nm):
    found = match(shared_data(name), pixel_size_nm)
    assert {evidence.phase for evidence in found.phases} <= {UNKNOWN}
    assert not found.candidates


def test_the_angles_of_barium_titanate_show_how_oblong_the_pixels_are(shared_data):
    spots, _ = spots_of(shared_data("formats/BTO_crystal_1.dm4"), None)
    found = match(shared_data("formats/BTO_crystal_1.dm4"), None, "BaTiO3")
    assert found.phases[0].phase == "BaTiO3"
    along = {0: [], 1: []}
    for row in found.phases[0].spots:
        if sorted(map(abs, found.spots[row].best.hkl))[:2] == [0, 0]:
            along[int(abs(spots.gy[row]) > abs(spots.gx[row]))].append(found.spots[row].best.deviation_percent)
    assert np.mean(along[0]) - np.mean(along[1]) == pytest.approx(5.0, abs=1.0)
