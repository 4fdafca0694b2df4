"""Geometry of lattices: known angles, gemmi's orthogonalisation as the oracle, round trips, zones."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fringemap.errors import StructureError
from fringemap.phases.lattice import (
    angle_between,
    cell_volume,
    d_spacings,
    direct_basis,
    g_vectors,
    hkl_of_g,
    lattice_points,
    reciprocal_basis,
    zone_axis,
    zone_frame,
    zone_points,
)
from fringemap.records import Structure

CUBIC = (4.0, 4.0, 4.0, 90.0, 90.0, 90.0)
LI2CO3 = (8.3593, 4.9725, 6.1975, 90.0, 114.83, 90.0)
TRICLINIC = (5.1, 6.7, 7.9, 83.0, 101.0, 112.0)

edges = st.floats(2.0, 20.0)
monoclinic = st.tuples(edges, edges, edges, st.just(90.0), st.floats(60.0, 140.0), st.just(90.0))
triclinic = st.tuples(edges, edges, edges, *[st.floats(65.0, 115.0)] * 3)
planes = st.tuples(*[st.integers(-6, 6)] * 3).filter(any)


def structure(cell: tuple[float, ...]) -> Structure:
    return Structure("test", "Li", cell, "P 1", ())  # type: ignore[arg-type]


def exists(cell: tuple[float, ...]) -> bool:
    alpha, beta, gamma = np.cos(np.radians(cell[3:]))
    return bool(1 - alpha**2 - beta**2 - gamma**2 + 2 * alpha * beta * gamma > 0.05)


@given(cell=monoclinic | triclinic)
def test_the_bases_are_those_of_gemmi(cell):
    assume(exists(cell))
    oracle = gemmi.UnitCell(*cell)
    np.testing.assert_allclose(direct_basis(cell), np.array(oracle.orth.mat.tolist()), atol=1e-9)
    np.testing.assert_allclose(reciprocal_basis(cell).T, np.array(oracle.frac.mat.tolist()), atol=1e-9)
    assert cell_volume(cell) == pytest.approx(oracle.volume)


@given(cell=monoclinic | triclinic, first=planes, second=planes)
def test_angles_between_planes_follow_from_gemmis_orthogonalisation_matrix(cell, first, second):
    assume(exists(cell))
    to_fractional = np.array(gemmi.UnitCell(*cell).frac.mat.tolist())
    g1, g2 = np.array(first) @ to_fractional, np.array(second) @ to_fractional
    cosine = np.clip(g1 @ g2 / np.linalg.norm(g1) / np.linalg.norm(g2), -1.0, 1.0)
    # Compared as cosines: near 0 and pi the oracle's arc cosine has lost half its digits.
    assert np.cos(angle_between(structure(cell), first, second)) == pytest.approx(cosine, abs=1e-9)


@given(cell=monoclinic | triclinic, plane=planes)
def test_d_spacings_are_those_of_gemmi(cell, plane):
    assume(exists(cell))
    assert d_spacings(cell, plane) == pytest.approx(gemmi.UnitCell(*cell).calculate_d(plane), rel=1e-9)


@given(cell=monoclinic | triclinic, plane=planes)
def test_hkl_returns_from_g(cell, plane):
    assume(exists(cell))
    np.testing.assert_allclose(hkl_of_g(cell, g_vectors(cell, plane)), plane, atol=1e-8)


def test_a_known_angle_of_monoclinic_lithium_carbonate():
    # (100) and (001) of a monoclinic cell enclose 180 degrees - beta.
    angle = angle_between(structure(LI2CO3), (1, 0, 0), (0, 0, 1))
    assert np.degrees(angle) == pytest.approx(180.0 - 114.83)
    assert np.degrees(angle_between(structure(LI2CO3), (0, 0, 2), (0, 1, 0))) == pytest.approx(90.0)


def test_known_angles_of_a_cubic_cell():
    cubic = structure(CUBIC)
    assert np.degrees(angle_between(cubic, (1, 1, 1), (1, 1, -1))) == pytest.approx(70.528779)
    assert np.degrees(angle_between(cubic, (1, 0, 0), (1, 1, 0))) == pytest.approx(45.0)


def test_the_angle_of_a_plane_with_itself_is_zero_and_with_its_mate_pi():
    assert angle_between(structure(TRICLINIC), (1, 2, 3), (1, 2, 3)) == 0.0
    assert angle_between(structure(TRICLINIC), (1, 2, 3), (-1, -2, -3)) == pytest.approx(np.pi)


def test_angles_are_computed_for_many_planes_at_once():
    angles = angle_between(structure(CUBIC), [(1, 0, 0), (1, 1, 0)], (0, 1, 0))
    np.testing.assert_allclose(np.degrees(angles), [90.0, 45.0])


@given(first=planes, second=planes)
def test_both_planes_belong_to_their_zone(first, second):
    assume(np.any(np.cross(first, second)))
    axis = zone_axis(first, second)
    assert np.dot(axis, first) == np.dot(axis, second) == 0
    assert np.gcd.reduce(axis) == 1
    assert tuple(-x for x in zone_axis(second, first)) == axis


def test_the_zone_axis_is_sensed_by_the_order_of_its_planes():
    assert zone_axis((2, 0, 0), (0, 2, 0)) == (0, 0, 1)
    assert zone_axis((0, 2, 0), (2, 0, 0)) == (0, 0, -1)


def test_parallel_planes_have_no_zone():
    with pytest.raises(StructureError, match="parallel"):
        zone_axis((1, 1, 0), (-2, -2, 0))


@given(cell=triclinic, d_min=st.floats(1.5, 4.0))
def test_no_lattice_point_is_missed_and_none_is_too_far(cell, d_min):
    assume(exists(cell))
    found = {tuple(point) for point in lattice_points(cell, d_min).tolist()}
    box = np.stack(np.meshgrid(*[np.arange(-14, 15)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    expected = {tuple(p) for p in box[d_spacings(cell, box) >= d_min].tolist()} - {(0, 0, 0)}
    assert found == expected


@given(cell=monoclinic | triclinic, axis=planes, d_min=st.floats(0.9, 3.0))
def test_the_points_of_a_zone_are_those_that_a_search_of_all_points_finds(cell, axis, d_min):
    assume(exists(cell))
    assume(max(cell[:3]) / d_min < 12)
    everywhere = lattice_points(cell, d_min)
    expected = {tuple(p) for p in everywhere[everywhere @ np.array(axis) == 0].tolist()}
    found = zone_points(cell, axis, d_min)
    assert {tuple(p) for p in found.tolist()} == expected
    assert len(found) == len(expected)
    assert np.all(np.diff(d_spacings(cell, found)) <= 1e-8)


def test_the_frame_of_a_zone_is_right_handed_with_the_beam():
    x, y = zone_frame(TRICLINIC, (1, 2, 3), (2, -1, 0))
    beam = direct_basis(TRICLINIC) @ [1, 2, 3]
    np.testing.assert_allclose(np.cross(x, y), beam / np.linalg.norm(beam), atol=1e-12)
    np.testing.assert_allclose(x @ g_vectors(TRICLINIC, (2, -1, 0)), 1 / d_spacings(TRICLINIC, (2, -1, 0)))


@pytest.mark.parametrize(
    "cell",
    [
        (0.0, 4.0, 4.0, 90.0, 90.0, 90.0),
        (4.0, -4.0, 4.0, 90.0, 90.0, 90.0),
        (4.0, 4.0, 4.0, 150.0, 150.0, 90.0),
        (4.0, 4.0, 4.0, 60.0, 60.0, 120.0),
        (float("nan"), 4.0, 4.0, 90.0, 90.0, 90.0),
    ],
)
def test_a_cell_that_cannot_exist_is_refused(cell):
    with pytest.raises(StructureError, match="cannot exist"):
        reciprocal_basis(cell)


@pytest.mark.parametrize("d_min", [0.0, -1.0, 0.01, float("nan"), float("inf")])
def test_a_limit_that_would_give_endless_planes_is_refused(d_min):
    with pytest.raises(StructureError, match="smallest d-spacing"):
        lattice_points(CUBIC, d_min)


def test_000_is_no_zone_axis():
    with pytest.raises(StructureError, match=r"\[000\]"):
        zone_points(CUBIC, (0, 0, 0), 1.0)
