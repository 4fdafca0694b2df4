"""Reflections against known answers, two other programs and slow oracles."""

from __future__ import annotations

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.errors import StructureError
from fringemap.phases.cif import gemmi_structure, space_group
from fringemap.phases.lattice import angle_between, d_spacings, direct_basis, lattice_points
from fringemap.phases.library import list_structures, load_structure
from fringemap.phases.reflections import (
    Extinction,
    compute_reflections,
    equivalent_hkl,
    extinct_reflections,
    extinction,
    representative_hkl,
    structure_factors,
    zone_pattern,
)
from fringemap.records import Atom, Structure

# hkl, multiplicity, d of everything that is not extinct, from pymatgen 2026.10.24 (XRDCalculator), with cell and atoms
# of our structures; hexagonal indices without the third, hkl turned into the equivalent that we write.
PYMATGEN = {
    ("Li", 1.0): [
        ((1, 1, 0), 12, 2.4819), ((2, 0, 0), 6, 1.7550), ((2, 1, 1), 24, 1.4330), ((2, 2, 0), 12, 1.2410),
        ((3, 1, 0), 24, 1.1100), ((2, 2, 2), 8, 1.0132),
    ],
    ("Cu", 0.8): [
        ((1, 1, 1), 8, 2.0871), ((2, 0, 0), 6, 1.8075), ((2, 2, 0), 12, 1.2781), ((3, 1, 1), 24, 1.0900),
        ((2, 2, 2), 8, 1.0435), ((4, 0, 0), 6, 0.9037), ((3, 3, 1), 24, 0.8293), ((4, 2, 0), 24, 0.8083),
    ],
    ("Si", 0.9): [
        ((1, 1, 1), 8, 3.1357), ((2, 2, 0), 12, 1.9202), ((3, 1, 1), 24, 1.6376), ((4, 0, 0), 6, 1.3578),
        ((3, 3, 1), 24, 1.2460), ((4, 2, 2), 24, 1.1086), ((5, 1, 1), 24, 1.0452), ((3, 3, 3), 8, 1.0452),
        ((4, 4, 0), 12, 0.9601), ((5, 3, 1), 48, 0.9180),
    ],
    ("Zr", 1.2): [
        ((1, 0, 0), 6, 2.7990), ((0, 0, 2), 2, 2.5735), ((1, 0, 1), 12, 2.4589), ((1, 0, 2), 12, 1.8944),
        ((1, 1, 0), 6, 1.6160), ((1, 0, 3), 12, 1.4627), ((2, 0, 0), 6, 1.3995), ((1, 1, 2), 12, 1.3686),
        ((2, 0, 1), 12, 1.3505), ((0, 0, 4), 2, 1.2868), ((2, 0, 2), 12, 1.2295),
    ],
    ("Li2CO3", 1.8): [
        ((1, 1, 0), 4, 4.1588), ((2, 0, 0), 2, 3.7933), ((-1, 1, 1), 4, 3.7865), ((1, 1, 1), 4, 3.0274),
        ((-2, 0, 2), 2, 2.9209), ((0, 0, 2), 2, 2.8123), ((-1, 1, 2), 4, 2.6271), ((0, 2, 0), 2, 2.4863),
        ((-3, 1, 1), 4, 2.4298), ((0, 2, 1), 4, 2.2740), ((3, 1, 0), 4, 2.2541), ((-3, 1, 2), 4, 2.2078),
        ((-2, 2, 1), 4, 2.1152), ((1, 1, 2), 4, 2.1147), ((2, 2, 0), 4, 2.0794), ((-4, 0, 2), 2, 2.0122),
        ((2, 0, 2), 2, 1.9081), ((4, 0, 0), 2, 1.8966), ((-2, 2, 2), 4, 1.8933), ((-1, 1, 3), 4, 1.8789),
        ((3, 1, 1), 4, 1.8651), ((0, 2, 2), 4, 1.8627), ((2, 2, 1), 4, 1.8189), ((-3, 1, 3), 4, 1.8132),
    ],
    ("CuO", 1.3): [
        ((1, 1, 0), 4, 2.7499), ((0, 0, 2), 2, 2.5289), ((-1, 1, 1), 4, 2.5226), ((1, 1, 1), 4, 2.3217),
        ((2, 0, 0), 2, 2.3095), ((-1, 1, 2), 4, 1.9603), ((-2, 0, 2), 2, 1.8663), ((1, 1, 2), 4, 1.7762),
        ((0, 2, 0), 2, 1.7113), ((0, 2, 1), 4, 1.6210), ((2, 0, 2), 2, 1.5799), ((-1, 1, 3), 4, 1.5050),
        ((0, 2, 2), 4, 1.4173), ((-3, 1, 1), 4, 1.4089), ((3, 1, 0), 4, 1.4041), ((1, 1, 3), 4, 1.3780),
        ((2, 2, 0), 4, 1.3750), ((-2, 2, 1), 4, 1.3612), ((-3, 1, 2), 4, 1.3148), ((3, 1, 1), 4, 1.3031),
    ],
}  # fmt: skip

# |F|² over that of the first plane, atoms at rest: pymatgen 2026.10.24 (TEMCalculator, electron factors of its own).
PYMATGEN_ELECTRON = {
    "CuO": {
        (1, 1, 1): 1.0, (-1, 1, 1): 0.4661, (0, 0, 2): 0.2407, (1, 1, 0): 0.1194, (2, 0, 0): 0.2132,
        (-2, 0, 2): 1.0247, (0, 2, 0): 0.2641, (2, 0, 2): 0.7718, (0, 0, 1): 0.0, (1, 0, 0): 0.0,
    },
    "Li2CO3": {
        (0, 0, 2): 1.0, (-2, 0, 2): 0.6752, (1, 1, 0): 0.1134, (1, 1, 1): 0.0958, (0, 2, 0): 0.2848,
        (-3, 1, 1): 0.2484, (-1, 1, 2): 0.0958, (0, 0, 1): 0.0,
    },
}  # fmt: skip


def planes(reflections):
    return [tuple(hkl) for hkl in reflections.hkl.tolist()]


@pytest.mark.parametrize(("name", "d_min"), PYMATGEN)
def test_planes_multiplicities_and_d_are_those_of_a_second_program(name, d_min):
    ours = compute_reflections(load_structure(name), d_min_angstrom=d_min, min_intensity_percent=0.0)
    expected = PYMATGEN[name, d_min]
    assert set(planes(ours)) == {hkl for hkl, _, _ in expected}
    by_plane = dict(zip(planes(ours), zip(ours.multiplicity, ours.d_spacing, strict=True), strict=True))
    for hkl, multiplicity, d in expected:
        assert by_plane[hkl][0] == multiplicity
        assert by_plane[hkl][1] == pytest.approx(d, abs=1e-4)


@pytest.mark.parametrize("name", PYMATGEN_ELECTRON)
def test_electron_intensities_are_those_of_a_second_program(name):
    structure = load_structure(name)
    at_rest = replace(structure, atoms=tuple(replace(atom, u_iso=0.0) for atom in structure.atoms))
    expected = PYMATGEN_ELECTRON[name]
    intensity = np.abs(structure_factors(at_rest, list(expected))) ** 2
    np.testing.assert_allclose(intensity / intensity[0], list(expected.values()), rtol=0.025, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["Li2CO3", "bornite high", "ice Ih", "TiO2 anatase", "LiCoO2", "Li3PO4 beta", "Li4Ti5O12"]
)
def test_structure_factors_are_those_of_gemmi_on_special_positions_too(name):
    structure = load_structure(name)
    hkl = lattice_points(structure.cell, 1.6)
    oracle = gemmi_structure(structure.cell, space_group(structure), structure.atoms)
    oracle.change_occupancies_to_crystallographic()
    calculator = gemmi.StructureFactorCalculatorE(oracle.cell)
    slow = [calculator.calculate_sf_from_small_structure(oracle, h) for h in hkl.tolist()]
    np.testing.assert_allclose(structure_factors(structure, hkl), slow, rtol=1e-5, atol=1e-4)


def slow_structure_factor(structure, hkl):
    """The textbook sum, atom by atom over all operators, each position once."""
    s2 = 0.25 / d_spacings(structure.cell, hkl) ** 2
    total = 0j
    for atom in structure.atoms:
        coefficients = gemmi.Element(atom.element).c4322
        factor = sum(a * np.exp(-b * s2) for a, b in zip(coefficients.a, coefficients.b, strict=True))
        factor *= atom.occupancy * np.exp(-8 * np.pi**2 * atom.u_iso * s2)
        images = {
            tuple(round(x % 1.0, 4) % 1.0 for x in op.apply_to_xyz(list(atom.fract)))
            for op in space_group(structure).operations()
        }
        total += factor * sum(np.exp(2j * np.pi * np.dot(hkl, r)) for r in images)
    return total


@pytest.mark.parametrize("name", ["CuO", "Co3O4", "LiFePO4"])
def test_structure_factors_are_those_of_a_plain_loop(name):
    structure = load_structure(name)
    hkl = lattice_points(structure.cell, 2.2)
    slow = [slow_structure_factor(structure, h) for h in hkl]
    np.testing.assert_allclose(structure_factors(structure, hkl), slow, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize(
    "name", ["Li", "Zr", "Li2CO3", "LiCoO2", "SiO2 quartz", "TiO2 anatase", "Li3PO4 gamma", "bornite high"]
)
def test_families_are_those_that_a_search_of_all_planes_finds(name):
    structure = load_structure(name)
    ours = compute_reflections(structure, d_min_angstrom=1.5, min_intensity_percent=0.0)
    everything = lattice_points(structure.cell, 1.5)
    allowed = everything[extinction(structure, everything) == Extinction.ALLOWED]
    members = [tuple(hkl) for plane in planes(ours) for hkl in equivalent_hkl(structure, plane).tolist()]
    assert sorted(members) == sorted(tuple(hkl) for hkl in allowed.tolist())
    assert ours.multiplicity.tolist() == [len(equivalent_hkl(structure, plane)) for plane in planes(ours)]


@pytest.mark.parametrize("name", list_structures())
def test_every_structure_gives_ordered_lines_with_the_strongest_at_100(name):
    structure = load_structure(name)
    ours = compute_reflections(structure, d_min_angstrom=1.0)
    assert len(ours) > 0
    assert np.all(np.diff(ours.d_spacing) <= 1e-8)
    assert ours.intensity.max() == pytest.approx(100.0)
    assert ours.intensity.min() >= 1.0
    np.testing.assert_allclose(ours.d_spacing, d_spacings(structure.cell, ours.hkl))
    assert len(set(planes(ours))) == len(ours)
    assert ours.structure is structure


@pytest.mark.parametrize(
    ("name", "hkl", "written"),
    [
        ("Cu", (-1, -1, -1), (1, 1, 1)),
        ("Cu", (1, -3, 1), (3, 1, 1)),
        ("Li", (0, 1, 1), (1, 1, 0)),
        ("Li2CO3", (2, 0, -2), (-2, 0, 2)),
        ("Li2CO3", (3, 1, -1), (-3, 1, 1)),
        ("Li2CO3", (0, -2, 0), (0, 2, 0)),
        ("Al2O3", (1, -1, 2), (0, 1, 2)),
        ("Al2O3", (-1, 0, -4), (1, 0, 4)),
        ("Zr", (-1, 2, 0), (1, 1, 0)),
        ("TiO2 rutile", (0, 1, 1), (1, 0, 1)),
    ],
)
def test_families_are_named_as_people_write_them(name, hkl, written):
    structure = load_structure(name)
    assert tuple(representative_hkl(structure, [hkl])[0]) == written
    assert list(hkl) in equivalent_hkl(structure, written).tolist()


def test_a_family_holds_both_mates_of_each_friedel_pair():
    family = equivalent_hkl(load_structure("Li2SiO3"), (1, 1, 1))  # a group without inversion
    assert sorted(map(tuple, family.tolist())) == sorted(map(tuple, (-family).tolist()))
    assert len(family) == 8


def test_different_families_with_the_same_d_keep_their_own_lines():
    silicon = compute_reflections(load_structure("Si"), d_min_angstrom=1.0)
    at = dict(zip(planes(silicon), silicon.d_spacing, strict=True))
    assert at[5, 1, 1] == pytest.approx(at[3, 3, 3])
    quartz = planes(compute_reflections(load_structure("SiO2 quartz"), d_min_angstrom=3.0, min_intensity_percent=0))
    assert {(1, 0, 1), (0, 1, 1)} <= set(quartz)


def test_weak_lines_are_left_out_on_request_only():
    cobalt = load_structure("Co3O4")
    everything = compute_reflections(cobalt, d_min_angstrom=1.0, min_intensity_percent=0.0)
    strong = compute_reflections(cobalt, d_min_angstrom=1.0, min_intensity_percent=10.0)
    assert len(strong) < len(compute_reflections(cobalt, d_min_angstrom=1.0)) <= len(everything)
    assert strong.intensity.min() >= 10.0
    assert everything.intensity.min() > 0.0


def test_a_plane_with_exactly_the_smallest_d_is_listed():
    copper = load_structure("Cu")
    assert planes(compute_reflections(copper, d_min_angstrom=copper.cell[0] / 2))[-1] == (2, 0, 0)


def test_no_plane_above_the_limit_gives_an_empty_list():
    lines = compute_reflections(load_structure("Cu"), d_min_angstrom=3.0)
    assert len(lines) == 0
    assert lines.hkl.shape == (0, 3)


def test_results_do_not_share_memory_with_the_cache():
    copper = load_structure("Cu")
    compute_reflections(copper, d_min_angstrom=1.0).intensity[:] = 0.0
    assert compute_reflections(copper, d_min_angstrom=1.0).intensity.max() == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("name", "hkl", "reason"),
    [
        ("Li", (1, 0, 0), Extinction.CENTRING),
        ("Li", (1, 1, 0), Extinction.ALLOWED),
        ("Cu", (1, 1, 0), Extinction.CENTRING),
        ("Si", (2, 0, 0), Extinction.SCREW_OR_GLIDE),
        ("Si", (2, 2, 2), Extinction.ATOMS),
        ("Si", (1, 1, 0), Extinction.CENTRING),
        ("Zr", (0, 0, 1), Extinction.SCREW_OR_GLIDE),
        ("Zr", (1, 1, 1), Extinction.SCREW_OR_GLIDE),
        ("Li2CO3", (0, 0, 1), Extinction.SCREW_OR_GLIDE),
        ("Li2CO3", (1, 0, 0), Extinction.CENTRING),
        ("Al2O3", (0, 0, 3), Extinction.SCREW_OR_GLIDE),
        ("Al2O3", (1, 0, 0), Extinction.CENTRING),
        ("TiO2 rutile", (1, 0, 0), Extinction.SCREW_OR_GLIDE),
        ("Co3O4", (2, 0, 0), Extinction.SCREW_OR_GLIDE),
    ],
)
def test_the_reason_of_an_extinction_is_told(name, hkl, reason):
    assert extinction(load_structure(name), [hkl])[0] == reason


def test_what_double_diffraction_can_show_is_listed_without_what_the_centring_forbids():
    silicon = extinct_reflections(load_structure("Si"), d_min_angstrom=1.5)
    assert planes(silicon) == [(2, 0, 0), (2, 2, 2)]
    assert silicon.multiplicity.tolist() == [6, 8]
    assert silicon.intensity.tolist() == [0.0, 0.0]
    assert len(extinct_reflections(load_structure("Cu"), d_min_angstrom=0.8)) == 0


def test_sodium_fluoride_nearly_loses_its_111_but_not_quite():
    lines = compute_reflections(load_structure("NaF"), d_min_angstrom=1.0, min_intensity_percent=0.0)
    weak = lines.intensity[planes(lines).index((1, 1, 1))]
    assert 0.0 < weak < 2.0


def test_vibration_weakens_distant_lines_more():
    still = Structure("still", "Cu", (3.6, 3.6, 3.6, 90, 90, 90), "F m -3 m", (Atom("Cu", (0, 0, 0), u_iso=0.0),))
    warm = replace(still, name="warm", atoms=(Atom("Cu", (0, 0, 0), u_iso=0.02),))
    hkl = [(1, 1, 1), (4, 0, 0)]
    near, far = np.abs(structure_factors(warm, hkl)) / np.abs(structure_factors(still, hkl))
    s2 = 0.25 / d_spacings(still.cell, hkl) ** 2
    np.testing.assert_allclose([near, far], np.exp(-8 * np.pi**2 * 0.02 * s2))


@settings(max_examples=30)
@given(name=st.sampled_from(["Li2CO3", "LiCoO2", "Li3PO4 beta", "TiO2 anatase", "Co3O4"]), data=st.data())
def test_all_planes_of_a_family_have_the_same_d_and_intensity(name, data):
    structure = load_structure(name)
    plane = data.draw(st.tuples(*[st.integers(-5, 5)] * 3).filter(any))
    family = equivalent_hkl(structure, plane)
    d, power = d_spacings(structure.cell, family), np.abs(structure_factors(structure, family)) ** 2
    np.testing.assert_allclose(d, d[0])
    np.testing.assert_allclose(power, power[0], rtol=1e-6, atol=1e-6)


def test_the_silicon_110_pattern_is_the_known_one():
    pattern = zone_pattern(load_structure("Si"), (1, 1, 0), d_min_angstrom=1.9)
    allowed = {tuple(hkl) for hkl, out in zip(pattern.hkl.tolist(), pattern.extinct, strict=True) if not out}
    forbidden = {tuple(hkl) for hkl, out in zip(pattern.hkl.tolist(), pattern.extinct, strict=True) if out}
    assert allowed == {(1, -1, 1), (1, -1, -1), (-1, 1, 1), (-1, 1, -1), (2, -2, 0), (-2, 2, 0)}
    assert forbidden == {(0, 0, 2), (0, 0, -2)}
    assert np.all(pattern.intensity[pattern.extinct] == 0.0)
    assert pattern.intensity.max() == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("name", "uvw"),
    [("Si", (1, 1, 0)), ("Li2CO3", (0, 1, 0)), ("CuO", (1, 2, -1)), ("Zr", (2, 1, 0)), ("LiFePO4", (0, 0, -1))],
)
def test_a_zone_pattern_keeps_lengths_and_angles_and_is_seen_along_the_beam(name, uvw):
    structure = load_structure(name)
    pattern = zone_pattern(structure, uvw, d_min_angstrom=1.2)
    np.testing.assert_allclose(np.hypot(*pattern.g.T), 1 / d_spacings(structure.cell, pattern.hkl))
    np.testing.assert_allclose(pattern.hkl @ uvw, 0)
    assert pattern.g[0, 1] == pytest.approx(0.0, abs=1e-12)
    assert pattern.g[0, 0] > 0
    turn = np.arctan2(pattern.g[:, 1], pattern.g[:, 0])
    np.testing.assert_allclose(np.cos(turn), np.cos(angle_between(structure, pattern.hkl[0], pattern.hkl)), atol=1e-9)
    # x to the right, y down, beam into the screen: g_a x g_b points along the beam where the turn is positive.
    basis = np.linalg.inv(direct_basis(structure.cell)).T
    normal = np.cross(basis @ pattern.hkl[0], (basis @ pattern.hkl.T).T)
    beam = direct_basis(structure.cell) @ np.array(uvw)
    inclined = np.abs(np.sin(turn)) > 1e-6
    assert np.all(np.sign(normal @ beam)[inclined] == np.sign(np.sin(turn))[inclined])


def test_a_zone_without_any_plane_says_so():
    with pytest.raises(StructureError, match=r"zone \[7, 5, 3\]"):
        zone_pattern(load_structure("Cu"), (7, 5, 3), d_min_angstrom=1.5)


def test_an_unknown_space_group_is_named():
    odd = Structure("odd", "Cu", (3.6, 3.6, 3.6, 90, 90, 90), "F x y z", (Atom("Cu", (0, 0, 0)),))
    with pytest.raises(StructureError, match='"F x y z"'):
        compute_reflections(odd, d_min_angstrom=1.0)


@pytest.mark.parametrize("d_min", [0.0, -1.0, float("nan")])
def test_a_limit_that_makes_no_sense_is_refused(d_min):
    with pytest.raises(StructureError, match="smallest d-spacing"):
        compute_reflections(load_structure("Cu"), d_min_angstrom=d_min)
