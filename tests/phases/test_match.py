"""Names within the errors, and the paper's nearest entry."""

import numpy as np
import pytest

from fringemap.phases.match import match_spots
from fringemap.records import UNKNOWN, Flag, Reflections, ScaleSource
from fringemap.settings import PhaseSettings
from made_crystals import make_references, make_scale, make_spots, project

TOLERANCE = PhaseSettings(match="tolerance")
NEAREST = PhaseSettings(match="nearest")


def at_d(*d: float, angle: float = 0.3) -> np.ndarray:
    return np.array([[np.cos(angle + 0.7 * i), np.sin(angle + 0.7 * i)] / np.float64(x) for i, x in enumerate(d)])


def names(match) -> list[str | None]:
    return [spot.best.phase if spot.best else None for spot in match.spots]


@pytest.mark.parametrize("settings", [TOLERANCE, NEAREST])
def test_no_spots_give_an_empty_match(settings):
    match = match_spots(make_spots([]), make_references("Li"), scale=make_scale(), settings=settings)
    assert match.spots == ()
    assert match.phases == ()


@pytest.mark.parametrize("settings", [TOLERANCE, NEAREST])
def test_without_references_every_spot_is_unknown(settings):
    match = match_spots(make_spots(at_d(2.0, 2.5)), (), scale=make_scale(), settings=settings)
    assert names(match) == [None, None]
    assert [evidence.phase for evidence in match.phases] == [UNKNOWN]
    assert match.phases[0].spots == (0, 1)


@pytest.mark.parametrize("settings", [TOLERANCE, NEAREST])
def test_without_a_pixel_size_nothing_is_named(settings):
    scale = make_scale(np.inf, ScaleSource.NONE)
    match = match_spots(make_spots(at_d(2.482)), make_references("Li"), scale=scale, settings=settings)
    assert names(match) == [None]
    assert match.spots[0].flags & Flag.UNCALIBRATED


def test_a_spot_beyond_the_tolerance_is_unknown_but_the_nearest_rule_names_it():
    spots, references = make_spots(at_d(2.9)), make_references("Li", "LiF")
    assert names(match_spots(spots, references, scale=make_scale(), settings=TOLERANCE)) == [None]
    match = match_spots(spots, references, scale=make_scale(), settings=NEAREST)
    assert names(match) == ["Li"]
    assert match.phases[0].match_percent == pytest.approx(100 * (1 - (2.9 / 2.48195 - 1)), abs=0.01)


def test_the_deviation_is_measured_minus_reference_in_percent_and_in_standard_errors():
    sigma, d = 4e-4, 2.5
    spots = make_spots(at_d(d), sigma=sigma)
    match = match_spots(spots, make_references("Li"), scale=make_scale(0.01), settings=TOLERANCE)
    deviation = d / (3.51 / np.sqrt(2)) - 1
    assert match.spots[0].best.deviation_percent == pytest.approx(100 * deviation)
    error = np.sqrt((sigma * d) ** 2 + 0.01**2 + 0.002**2)
    assert match.spots[0].best.deviation_sigma == pytest.approx(deviation / error)


@pytest.mark.parametrize(
    ("d", "pair"),
    [(2.484, {"Li", "Li2CO3"}), (2.666, {"Li2O", "ice Ih"}), (2.3235, {"LiF", "CuO"}), (2.356, {"LiH", "Au"})],
)
def test_degenerate_pairs_stay_ambiguous_on_d_alone(d, pair):
    references = make_references("Li", "Li2CO3", "Li2O", "ice Ih", "LiF", "CuO", "LiH", "Au")
    match = match_spots(make_spots(at_d(d)), references, scale=make_scale(), settings=TOLERANCE)
    spot = match.spots[0]
    assert spot.flags & Flag.AMBIGUOUS
    assert spot.flags & Flag.SINGLE_SPOT
    assert pair <= {spot.best.phase} | {rival.phase for rival in spot.rivals}


def test_a_single_d_with_one_phase_in_bound_is_named_and_says_what_it_rests_on():
    match = match_spots(make_spots(at_d(1.755)), make_references("Li"), scale=make_scale(), settings=TOLERANCE)
    assert names(match) == ["Li"]
    assert match.spots[0].flags == Flag.SINGLE_SPOT
    assert match.phases[0].flags & Flag.SINGLE_SPOT


def test_spots_with_the_right_angles_outweigh_a_nearer_d():
    g = project("Li", [(1, 1, 0), (0, 0, 2), (1, 1, 2)], rotation=0.4, scale_error=-0.0015)
    references = make_references("Li2CO3", "Li", "Cu2O")
    match = match_spots(make_spots(g), references, scale=make_scale(0.004), settings=TOLERANCE)
    assert names(match) == ["Li"] * 3
    assert [spot.best.hkl for spot in match.spots][1] in {(0, 0, 2), (2, 0, 0), (0, 2, 0)}


def test_a_wrong_angle_leaves_no_group():
    d = 3.51 / np.sqrt(2)
    g = np.array([[1 / d, 0.0], [np.cos(np.radians(75)) / d, np.sin(np.radians(75)) / d]])
    match = match_spots(make_spots(g), make_references("Li"), scale=make_scale(), settings=TOLERANCE)
    assert all(spot.flags & Flag.SINGLE_SPOT for spot in match.spots)


@pytest.mark.parametrize("name", ["Li2CO3", "triclinic"])
def test_angles_of_oblique_cells_are_right(name):
    hkls = {"Li2CO3": [(1, 1, 0), (0, 0, 2), (1, 1, 2)], "triclinic": [(1, 0, 0), (0, 1, 1), (1, 1, 1)]}[name]
    g = project(name, hkls, rotation=1.1)
    match = match_spots(make_spots(g), make_references(name), scale=make_scale(), settings=TOLERANCE)
    assert names(match) == [name] * 3
    assert not any(spot.flags & Flag.SINGLE_SPOT for spot in match.spots)


def test_the_scale_of_a_phase_is_the_true_pixel_size_over_the_stated_one():
    g = project("Si", [(1, 1, 1), (0, 2, -2)], scale_error=0.02)
    match = match_spots(make_spots(g), make_references("Si"), scale=make_scale(0.025), settings=TOLERANCE)
    evidence = match.phases[0]
    assert evidence.scale == pytest.approx(1.02, abs=0.001)
    assert 0 < evidence.scale_sigma < 0.01


@pytest.mark.parametrize("flag", [Flag.HARMONIC, Flag.ON_STREAK, Flag.FEW_PERIODS, Flag.SINGLE_PIXEL])
def test_a_doubtful_spot_gets_no_name_on_its_d_alone_but_keeps_its_candidates(flag):
    spots = make_spots(at_d(1.755), flags=int(flag))
    match = match_spots(spots, make_references("Li"), scale=make_scale(), settings=TOLERANCE)
    assert names(match) == [None]
    assert [rival.phase for rival in match.spots[0].rivals] == ["Li"]
    assert "not named" in match.spots[0].remark


def test_a_table_of_d_spacings_is_compared_by_d_alone():
    table = Reflections("carbon", np.zeros((1, 3), int), np.array([3.4]), np.ones(1, int), np.full(1, np.nan))
    match = match_spots(make_spots(at_d(3.41, 3.39)), (table,), scale=make_scale(), settings=TOLERANCE)
    assert names(match) == ["carbon", "carbon"]
    assert all(spot.flags & Flag.SINGLE_SPOT for spot in match.spots)
    assert match.spots[0].best.hkl == (0, 0, 0)


def test_an_unrefined_spot_is_judged_by_the_width_of_its_peak():
    spots = make_spots(at_d(2.482))
    spots.covariance[:] = np.nan
    match = match_spots(spots, make_references("Li"), scale=make_scale(), settings=TOLERANCE)
    assert names(match) == ["Li"]
    assert np.isfinite(match.spots[0].best.deviation_sigma)
