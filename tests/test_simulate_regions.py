from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.errors import SettingsError
from fringemap.simulate import Ellipse, HalfPlane, Polygon, Scene, disc, voronoi_cells
from fringemap.simulate.regions import cover

SQUARE = ((10.0, 10.0), (10.0, 30.0), (30.0, 30.0), (30.0, 10.0))


def draw(region, scene):
    covered = cover(region, scene)
    image = np.zeros(scene.frame_shape)
    image[covered.rows, covered.cols] = covered.share
    return image


def sampled_ellipse(region, scene, per_pixel=8):
    """Slow oracle: the share of a pixel's sub-pixels that lie inside."""
    offsets = (np.arange(per_pixel) + 0.5) / per_pixel - 0.5
    image = np.zeros(scene.frame_shape)
    for row, col in np.ndindex(scene.frame_shape):
        y = (row + offsets[:, None]) * scene.pixel_size_angstrom[0] - scene.shift_angstrom[0] - region.centre[0]
        x = (col + offsets[None, :]) * scene.pixel_size_angstrom[1] - scene.shift_angstrom[1] - region.centre[1]
        u = x * math.cos(region.angle) + y * math.sin(region.angle)
        v = y * math.cos(region.angle) - x * math.sin(region.angle)
        image[row, col] = np.mean((2 * u / region.diameters[0]) ** 2 + (2 * v / region.diameters[1]) ** 2 <= 1)
    return image


@settings(max_examples=12)
@given(
    place=st.tuples(st.floats(-5, 25), st.floats(-5, 25)),
    diameters=st.tuples(st.floats(6, 30), st.floats(6, 30)),
    angle=st.floats(0, 3),
    shift=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
)
def test_an_ellipse_covers_what_sub_pixels_say(place, diameters, angle, shift):
    scene = Scene((41, 52), (0.5, 0.4), shift_angstrom=shift)
    region = Ellipse(place, diameters, angle)
    difference = draw(region, scene) - sampled_ellipse(region, scene)
    assert np.abs(difference).max() < 0.3
    assert abs(difference.sum()) < 0.02 * np.pi / 4 * diameters[0] * diameters[1] / 0.2 + 1


def test_a_disc_has_its_area():
    scene = Scene((300, 400), (0.4, 0.3))
    area = draw(disc((60.0, 60.0), 80.0), scene).sum() * 0.12
    assert area == pytest.approx(math.pi * 40**2, rel=1e-3)


@pytest.mark.parametrize("corners", [SQUARE, SQUARE[::-1]])
def test_a_polygon_covers_its_area_whichever_way_round_it_is_given(corners):
    image = draw(Polygon(corners), Scene((80, 100), (0.5, 0.5)))
    assert image.sum() * 0.25 == pytest.approx(400, rel=1e-3)
    assert image[40, 40] == 1
    assert image[10, 40] == 0


def test_a_half_plane_ends_at_its_edge():
    image = draw(HalfPlane((0.0, 20.0), 0.0), Scene((4, 100), (0.5, 0.5)))
    np.testing.assert_array_equal(image[0, [39, 40, 41]], [1.0, 0.5, 0.0])


def test_no_region_is_the_whole_frame():
    assert draw(None, Scene((5, 7), (1.0, 1.0))).sum() == 35


def test_a_region_outside_the_frame_covers_nothing():
    assert draw(disc((-50.0, 10.0), 20.0), Scene((64, 64), (0.5, 0.5))).sum() == 0


def test_voronoi_cells_share_the_frame_without_gap_or_overlap(rng):
    scene = Scene((120, 90), (0.5, 0.6))
    cells = voronoi_cells(rng.uniform(0, 1, (7, 2)) * scene.size_angstrom, scene.size_angstrom)
    total = sum(draw(cell, scene) for cell in cells)
    assert total.sum() == pytest.approx(120 * 90, rel=0.02)
    np.testing.assert_allclose(np.median(total), 1.0, atol=1e-6)
    assert total.max() < 1.6


def test_a_concave_polygon_is_refused():
    with pytest.raises(SettingsError, match="convex"):
        Polygon(((0.0, 0.0), (0.0, 9.0), (3.0, 3.0), (9.0, 0.0)))


def test_an_ellipse_without_extent_is_refused():
    with pytest.raises(SettingsError, match="above 0"):
        disc((0.0, 0.0), 0.0)


@pytest.mark.parametrize(
    "wrong",
    [{"frame_shape": (1, 5)}, {"pixel_size_angstrom": (0.3, 0.0)}, {"dose_per_angstrom2": 0.0}],
)
def test_an_impossible_scene_is_refused(wrong):
    with pytest.raises(SettingsError):
        Scene(**({"frame_shape": (8, 8), "pixel_size_angstrom": (0.3, 0.3)} | wrong))
