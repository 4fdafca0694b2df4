from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.errors import SettingsError, StructureError
from fringemap.phases import load_structure
from fringemap.simulate import Grain, Microscope, Scene, electron_wavelength
from fringemap.simulate.lattice import compute_fringes, compute_zone_beams, information_limit
from fringemap.simulate.optics import relativistic_factor

ANGLES = st.floats(-math.pi, math.pi)
SHARP = Microscope(focal_spread_angstrom=0.0, convergence_mrad=0.0, vibration_angstrom=0.0)


def scene_of(*grains, microscope=SHARP, **options):
    return Scene((256, 256), (0.25, 0.25), grains=grains, microscope=microscope, **options)


def amplitudes(grain, **options):
    fringes = compute_fringes(grain, scene_of(grain, **options))
    return {tuple(hkl): 2 * abs(c) for hkl, c in zip(fringes.hkl.tolist(), fringes.coefficient, strict=True)}


@pytest.mark.parametrize(("name", "extinction_nm"), [("Al", 56.3), ("Cu", 28.6), ("Au", 18.3), ("Si", 60.2)])
def test_extinction_distances_of_111_at_100_kv_are_the_textbooks(name, extinction_nm):
    # As tabled in D. B. Williams, C. B. Carter, Transmission Electron Microscopy; vibration adds a few percent here.
    beams = compute_zone_beams(load_structure(name), (1, -1, 0), 1.0)
    row = np.flatnonzero((np.abs(beams.hkl) == 1).all(axis=1))[0]
    scattering = relativistic_factor(100) * electron_wavelength(100) * abs(beams.factor[row])
    assert math.pi / scattering / 10 == pytest.approx(extinction_nm, rel=0.08)


def test_the_fringes_of_a_body_centred_lattice_have_an_even_sum_of_indices():
    hkl = compute_fringes(Grain(load_structure("Li"), (1, 0, 0)), scene_of()).hkl
    assert len(hkl) > 4
    assert np.all(hkl.sum(axis=1) % 2 == 0)
    assert np.all(hkl[:, 0] == 0)


def test_one_of_each_friedel_pair_is_listed():
    fringes = compute_fringes(Grain(load_structure("LiF"), (0, 0, 1)), scene_of())
    assert np.all((fringes.gx > 1e-9) | ((np.abs(fringes.gx) <= 1e-9) & (fringes.gy > 0)))
    both = compute_zone_beams(load_structure("LiF"), (0, 0, 1), 0.3)
    inside = (np.abs(both.gx) < 2) & (np.abs(both.gy) < 2)
    assert 2 * len(fringes.gx) == np.count_nonzero(inside)


def test_at_rotation_0_the_shortest_reflection_lies_along_x():
    fringes = compute_fringes(Grain(load_structure("Li2O"), (0, 1, 1)), scene_of())
    shortest = np.argmin(np.hypot(fringes.gx, fringes.gy))
    beams = compute_zone_beams(load_structure("Li2O"), (0, 1, 1), 0.5)
    assert beams.gx[0] == pytest.approx(math.sqrt(3) / load_structure("Li2O").cell[0])
    assert beams.gy[0] == pytest.approx(0, abs=1e-12)
    assert math.hypot(fringes.gx[shortest], fringes.gy[shortest]) == pytest.approx(beams.gx[0])


@settings(max_examples=20)
@given(angle=ANGLES)
def test_a_turned_grain_has_turned_fringes_of_equal_amplitude(angle):
    grain = Grain(load_structure("Li2CO3"), (0, 1, 0), max_contrast=99.0)
    # Nyquist is a square in reciprocal space; a circle inside it turns into itself.
    before, after = (compute_fringes(g, scene_of()) for g in (grain, replace(grain, rotation=angle)))

    def whole(f):
        g = np.concatenate([f.gx + 1j * f.gy, -f.gx - 1j * f.gy])
        a = np.concatenate([np.abs(f.coefficient)] * 2)
        return g[np.abs(g) < 1.5], a[np.abs(g) < 1.5]

    (g0, a0), (g1, a1) = whole(before), whole(after)
    assert len(g0) == len(g1)
    for g, a in zip(g0 * np.exp(1j * angle), a0, strict=True):
        nearest = np.argmin(np.abs(g1 - g))
        assert abs(g1[nearest] - g) < 1e-9
        assert a1[nearest] == pytest.approx(a, rel=1e-9)


def test_from_behind_the_zone_is_mirrored():
    monoclinic = load_structure("Li2CO3")
    front, back = (compute_zone_beams(monoclinic, uvw, 0.8) for uvw in [(0, 1, 0), (0, -1, 0)])
    place = {tuple(hkl): y for hkl, y in zip(front.hkl.tolist(), front.gy, strict=True)}
    for hkl, y in zip(back.hkl.tolist(), back.gy, strict=True):
        assert place[tuple(hkl)] == pytest.approx(-y, abs=1e-12)


def test_the_amplitude_of_a_thin_grain_is_four_phi_sine_chi():
    grain = Grain(load_structure("LiF"), (0, 0, 1), thickness_angstrom=1.0)
    microscope = replace(SHARP, voltage_kv=200, cs_mm=0.0, defocus_angstrom=-150.0)
    a = load_structure("LiF").cell[0]
    beams = compute_zone_beams(load_structure("LiF"), (0, 0, 1), 0.5)
    factor = abs(beams.factor[beams.hkl.tolist().index([2, 0, 0])])
    chi = -math.pi * electron_wavelength(200) * 150 * (2 / a) ** 2
    expected = 4 * relativistic_factor(200) * electron_wavelength(200) * factor * abs(math.sin(chi))
    assert amplitudes(grain, microscope=microscope)[2, 0, 0] == pytest.approx(expected, rel=1e-4)


@settings(max_examples=25)
@given(tilt=st.tuples(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02)), thickness=st.floats(20, 300))
def test_a_tilted_grain_scatters_as_the_sum_over_its_depth(tilt, thickness):
    grain = Grain(
        load_structure("Li"), (1, 0, 0), rotation=0.4, tilt=tilt, thickness_angstrom=thickness, max_contrast=99.0
    )
    scene = scene_of(grain)
    fringes = compute_fringes(grain, scene)
    depth = ((np.arange(4000) + 0.5) / 4000 - 0.5) * thickness
    wavelength = electron_wavelength(300)
    beams = compute_zone_beams(load_structure("Li"), (1, 0, 0), 0.3)
    row = int(np.argmax(np.abs(fringes.coefficient)))
    factor = beams.factor[beams.hkl.tolist().index(fringes.hkl[row].tolist())]
    g2 = fringes.gx[row] ** 2 + fringes.gy[row] ** 2
    chi = math.pi * wavelength * g2 * -580 + math.pi / 2 * 1.2e7 * wavelength**3 * g2**2
    lean = fringes.gx[row] * tilt[1] + fringes.gy[row] * tilt[0]
    waves = []
    for sign, f in ((1, factor), (-1, np.conj(factor))):
        path = np.mean(np.exp(2j * np.pi * (-wavelength * g2 / 2 + sign * lean) * depth))
        waves.append(1j * relativistic_factor(300) * wavelength * thickness * f * path * np.exp(-1j * chi))
    assert abs(fringes.coefficient[row] - (waves[0] + np.conj(waves[1]))) < 1e-4 * abs(fringes.coefficient[row]) + 1e-8


def test_strength_scales_and_the_contrast_limit_caps():
    grain = Grain(load_structure("Li"), (1, 0, 0), thickness_angstrom=20.0)
    weak, strong = amplitudes(replace(grain, strength=0.1)), amplitudes(grain)
    assert weak[0, 1, 1] == pytest.approx(0.1 * strong[0, 1, 1])
    thick = amplitudes(replace(grain, thickness_angstrom=2000.0, max_contrast=0.5))
    assert sum(thick.values()) == pytest.approx(0.5)


def test_height_is_defocus():
    grain = Grain(load_structure("Li"), (1, 0, 0), thickness_angstrom=20.0)
    raised = amplitudes(replace(grain, height_angstrom=100.0))
    refocused = amplitudes(grain, microscope=replace(SHARP, defocus_angstrom=SHARP.defocus_angstrom + 100))
    assert raised == pytest.approx(refocused)


def test_a_zone_without_visible_planes_gives_no_fringes():
    grain = Grain(load_structure("LiF"), (11, 7, 5))
    assert len(compute_fringes(grain, Scene((64, 64), (1.2, 1.2))).gx) == 0


def test_fringes_stay_below_nyquist_of_their_own_axis():
    grain = Grain(load_structure("LiF"), (0, 0, 1), rotation=0.3)
    fringes = compute_fringes(grain, Scene((100, 100), (0.9, 0.3), microscope=SHARP))
    assert len(fringes.gx) > 0
    assert np.all(np.abs(fringes.gy) < 0.5 / 0.9)
    assert np.all(np.abs(fringes.gx) < 0.5 / 0.3)
    assert np.any(np.abs(fringes.gx) > 0.5 / 0.9)


def test_beyond_the_information_limit_less_than_a_thousandth_is_left():
    microscope = Microscope(focal_spread_angstrom=50.0, vibration_angstrom=0.4, convergence_mrad=0.0)
    g = information_limit(microscope)
    focal = math.exp(-0.5 * (math.pi * electron_wavelength(300) * 50) ** 2 * g**4)
    assert focal * math.exp(-2 * (math.pi * 0.4 * g) ** 2) == pytest.approx(1e-3)
    assert information_limit(SHARP) == math.inf
    assert information_limit(replace(SHARP, vibration_angstrom=0.4)) < math.inf


def test_a_grain_needs_a_zone_axis_and_a_thickness():
    with pytest.raises(SettingsError, match="zone axis"):
        Grain(load_structure("Li"), (0, 0, 0))
    with pytest.raises(SettingsError, match="thick"):
        Grain(load_structure("Li"), (1, 0, 0), thickness_angstrom=0.0)


def test_an_unknown_space_group_is_refused():
    wrong = replace(load_structure("Li"), space_group="Q 17")
    with pytest.raises(StructureError):
        compute_fringes(Grain(wrong, (1, 0, 0)), scene_of())
