"""Pixel size, ellipse and shear from grains, spots or rings of a standard."""

import math

import numpy as np
import pytest

from fringemap.errors import CalibrationError
from fringemap.phases.distortion import prior_distortion
from fringemap.phases.standards import Ring, corrected_scale, find_scale, fit_rings, fit_standard
from fringemap.records import Scale, ScaleSource
from fringemap.spots import straighten_spots
from made_crystals import make_references, make_scale, make_spots, project

SI_110 = [(1, -1, 1), (1, -1, -1), (0, 0, 2), (2, -2, 0), (1, -1, 3), (2, -2, 2)]
SI_LINES = make_references("Si")[0].d_spacing


def distort(g, scale, e1, e2):
    return g @ ((1 + scale) * np.eye(2) + np.array([[e1, e2], [e2, -e1]]))


def exactly(scale, e1, e2):
    """A distribution so narrow that it is a point."""
    prior = prior_distortion(1e-4, ellipse_sigma=1e-4)
    return type(prior)(prior.precision, prior.precision @ np.array([scale, e1, e2]))


@pytest.mark.parametrize("distortion", [(0.0, 0.0, 0.0), (0.03, 0.02, -0.015), (-0.04, -0.01, 0.03)])
def test_corrected_spots_have_the_lengths_and_angles_of_the_crystal(distortion):
    true = project("Si", SI_110, rotation=0.4)
    seen = make_spots(distort(true, *distortion))
    before = Scale((0.4, 0.4), 0.025, ScaleSource.HEADER)
    after = corrected_scale(before, exactly(*distortion))
    sizes = [b / a for a, b in zip(after.pixel_size_angstrom, before.pixel_size_angstrom, strict=True)]
    again = make_spots(np.stack([sizes[1] * seen.gx, sizes[0] * seen.gy], axis=1))
    found, expected = straighten_spots(again, after), make_spots(true)
    assert found.g == pytest.approx(expected.g, rel=1e-9)
    turned = np.mod(found.angle - expected.angle + 0.5 * math.pi, math.pi)
    assert np.ptp(turned) < 1e-9
    assert after.source is ScaleSource.CALIBRATED


def test_a_frame_without_shear_is_left_alone():
    spots = make_spots([[0.3, 0.1]])
    assert straighten_spots(spots, make_scale()) is spots


def test_a_spot_that_shear_carries_over_the_axis_gets_its_mate():
    spots = make_spots([[0.001, 0.3]])
    found = straighten_spots(spots, Scale((0.4, 0.4), 0.01, ScaleSource.CALIBRATED, shear=-0.02))
    assert (found.gx[0], found.gy[0]) == pytest.approx((0.005, -0.29998))


@pytest.mark.parametrize(("scale", "e1", "e2"), [(0.0, 0.0, 0.0), (0.03, 0.015, -0.01), (-0.04, 0.0, 0.02)])
def test_a_single_grain_gives_scale_and_ellipse_within_the_strain_that_it_may_have(rng, scale, e1, e2):
    g = distort(project("Si", SI_110, rotation=0.3), scale, e1, e2) + rng.normal(0.0, 2e-4, (6, 2))
    fit = fit_standard(make_spots(g), make_references("Si")[0], scale_sigma=0.025)
    error = np.sqrt(np.diag(fit.distortion.covariance))
    assert fit.method == "grains"
    assert fit.zones == ((0, 1, 1),) or len(fit.zones) == 1
    assert fit.used == tuple(range(6))
    assert fit.residual < 0.003
    assert np.all(np.abs(fit.distortion.mean - (scale, e1, e2)) < 3 * error)
    assert np.all((error > 0.002) & (error < 0.005))


def test_another_phase_is_refused(rng):
    g = project("Li2CO3", [(1, 1, 0), (0, 2, 0), (2, 0, 0), (1, 3, 0), (3, 1, 0), (2, 2, 0)], rotation=0.2)
    with pytest.raises(CalibrationError, match=r"lattice that Cu does not have|hardly better than random"):
        fit_standard(make_spots(g + rng.normal(0.0, 1e-4, g.shape)), make_references("Cu")[0], scale_sigma=0.01)


def test_two_spots_are_too_few():
    with pytest.raises(CalibrationError, match="2 spots are too few"):
        fit_standard(make_spots([[0.3, 0.0], [0.0, 0.3]]), make_references("Si")[0], scale_sigma=0.025)


@pytest.mark.parametrize("factor", [0.5, 1.3, 2.6])
def test_a_pixel_size_that_nobody_states_is_found_from_ratios_and_angles(rng, factor):
    g = (project("Si", SI_110, rotation=0.3) + rng.normal(0.0, 1e-4, (6, 2))) * factor
    found = find_scale(make_spots(g), make_references("Si")[0], smallest=0.3, largest=3.0)
    assert found == pytest.approx(factor, rel=0.02)


def test_a_square_of_three_spots_that_fits_at_two_pixel_sizes_is_refused():
    square = project("LiOH", [(1, 1, 0), (1, -1, 0), (2, 0, 0)])
    with pytest.raises(CalibrationError, match="3 spots are too few"):
        find_scale(make_spots(square), make_references("LiOH")[0], smallest=0.3, largest=3.0)


def test_a_square_of_four_spots_is_not_taken_for_one_that_is_larger_by_the_root_of_two():
    square = project("LiOH", [(1, 1, 0), (1, -1, 0), (2, 0, 0), (0, 2, 0)])
    found = find_scale(make_spots(square), make_references("LiOH")[0], smallest=0.3, largest=3.0)
    assert found == pytest.approx(1.0, rel=0.02)


def make_rings(d_spacings, scale, e1, e2, sigma=0.001):
    return [Ring(-math.log(d) + scale, e1, e2, np.eye(3) * sigma**2) for d in d_spacings]


@pytest.mark.parametrize("scale_sigma", [0.025, math.inf])
def test_rings_of_a_powder_give_scale_and_ellipse(scale_sigma):
    rings = make_rings(SI_LINES[[0, 1, 2, 3]], 0.03, 0.01, -0.005)
    fit, d = fit_rings(rings, SI_LINES, scale_sigma=scale_sigma, name="Si")
    assert fit.used == (0, 1, 2, 3)
    assert d == pytest.approx(SI_LINES[:4])
    assert fit.distortion.mean == pytest.approx((0.03, 0.01, -0.005), abs=1e-6)


def test_one_ring_that_may_be_any_line_is_refused():
    with pytest.raises(CalibrationError, match="stays open"):
        fit_rings(make_rings([2.0], 0.0, 0.0, 0.0), SI_LINES, scale_sigma=math.inf, name="Si")


def test_a_ring_far_from_every_line_is_refused():
    with pytest.raises(CalibrationError, match="no ring lies near a line of Si"):
        fit_rings(make_rings([2.5], 0.0, 0.0, 0.0), SI_LINES, scale_sigma=0.01, name="Si")
