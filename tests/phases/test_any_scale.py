"""The pixel size from ratios and angles alone."""

import numpy as np
import pytest

from fringemap.errors import CalibrationError
from fringemap.phases.any_scale import FOUND_SIGMA, MOST_PHASES, may_seek_scale, search_scale
from fringemap.phases.match import match_spots
from fringemap.phases.sweep import rescaled
from fringemap.records import UNKNOWN, Flag, Scale, ScaleSource
from fringemap.settings import PhaseSettings
from made_crystals import make_references, make_spots, project

CARBONATE = [(1, 1, 0), (0, 0, 2), (1, 1, 2), (1, 1, -2), (2, 2, 0), (1, 1, 4), (2, 2, 2)]
LI_011 = [(0, 1, -1), (2, 0, 0), (2, 1, -1), (-2, 1, -1)]
LI_001 = [(1, 1, 0), (1, -1, 0), (2, 0, 0)]
SI_110 = [(1, -1, 1), (1, -1, -1), (0, 0, 2), (2, -2, 0), (1, -1, 3)]
RANGE = {"smallest": 0.3, "largest": 3.0}


def noisy(g, rng, sigma=3e-4):
    return make_spots(g + rng.normal(0.0, sigma, g.shape), sigma=sigma)


@pytest.mark.parametrize("factor", [0.5, 1.7])
def test_the_pixel_size_comes_from_the_ratios_and_angles_of_two_grains(factor, rng):
    g = np.concatenate([project("Li", LI_011, rotation=0.4), project("Li", LI_001, rotation=1.3)])
    found = search_scale(rescaled(noisy(g, rng), factor), make_references("Li", "LiOH"), **RANGE)
    assert found.factor == pytest.approx(factor, rel=0.01)
    assert found.probability > 0.9


def test_a_single_zone_of_four_spots_leaves_the_pixel_size_open(rng):
    spots = noisy(project("Li", LI_011, rotation=0.4), rng)
    with pytest.raises(CalibrationError, match="do not tell at which pixel size"):
        search_scale(spots, make_references("Li", "Li2CO3", "LiOH"), **RANGE)


def test_two_phases_of_one_kind_of_lattice_are_not_told_apart_by_ratios_and_angles(rng):
    spots = noisy(project("Au", [(1, -1, 1), (1, -1, -1), (0, 0, 2), (2, -2, 0)], rotation=0.4), rng)
    with pytest.raises(CalibrationError, match="do not tell at which pixel size"):
        search_scale(spots, make_references("Au", "Cu"), **RANGE)


def test_random_spots_give_no_pixel_size(rng):
    for _ in range(3):
        g, angle = rng.uniform(0.2, 0.8, 7), rng.uniform(-1.5, 1.5, 7)
        spots = make_spots(np.stack([g * np.cos(angle), g * np.sin(angle)], axis=1), sigma=3e-4)
        with pytest.raises(CalibrationError):
            search_scale(spots, make_references("Cu", "Si"), **RANGE)


def test_too_few_spots_too_many_phases_and_phases_without_a_cell_are_refused(rng):
    spots = noisy(project("Si", SI_110), rng)
    with pytest.raises(CalibrationError, match="3 spots are too few"):
        search_scale(noisy(project("Si", SI_110[:3]), rng), make_references("Si"), **RANGE)
    with pytest.raises(CalibrationError, match=f"{MOST_PHASES} at most"):
        search_scale(spots, make_references("Si") * (MOST_PHASES + 1), **RANGE)
    with pytest.raises(CalibrationError, match="no angles"):
        search_scale(spots, (), **RANGE)


def test_a_scale_is_sought_only_for_phases_that_the_user_has_named():
    assert not may_seek_scale(PhaseSettings())
    assert may_seek_scale(PhaseSettings(phases=("Si",)))
    assert not may_seek_scale(PhaseSettings(phases=("Si",), match="tolerance"))
    assert may_seek_scale(PhaseSettings(internal_standard="Cu"))


def test_names_at_a_scale_that_may_be_wrong_are_less_probable_by_as_much_and_flagged(rng):
    spots = noisy(project("Li2CO3", CARBONATE, rotation=0.4), rng)
    settings = PhaseSettings(phases=("Li2CO3", "Cu"))
    sure, half = (
        match_spots(
            spots,
            make_references("Li2CO3", "Cu"),
            scale=Scale((0.4, 0.4), FOUND_SIGMA, ScaleSource.RATIOS, probability=probability),
            settings=settings,
        )
        for probability in (1.0, 0.5)
    )
    assert sure.phases[0].phase == "Li2CO3"
    assert sure.phases[0].flags & Flag.UNCALIBRATED
    assert all(spot.flags & Flag.UNCALIBRATED for spot in sure.spots if spot.best)
    assert [evidence.phase for evidence in half.phases] == [UNKNOWN]
    assert half.candidates[0].probability == pytest.approx(0.5 * sure.phases[0].probability)
    assert half.candidates[0].flags & Flag.UNCALIBRATED
