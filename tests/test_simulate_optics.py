from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.errors import SettingsError
from fringemap.simulate import Camera, Microscope, electron_wavelength, scherzer_defocus
from fringemap.simulate.optics import (
    aberration,
    aberration_gradient,
    coherence_envelope,
    modulation_transfer,
    motion_envelope,
    relativistic_factor,
)

G = st.floats(-0.8, 0.8)


@pytest.mark.parametrize(("voltage_kv", "wavelength"), [(100, 0.037014), (200, 0.025079), (300, 0.019687)])
def test_wavelengths_are_the_tabulated_ones(voltage_kv, wavelength):
    assert electron_wavelength(voltage_kv) == pytest.approx(wavelength, abs=1e-6)


def test_electrons_of_511_kv_have_twice_their_rest_mass():
    assert relativistic_factor(510.99895) == pytest.approx(2.0, rel=1e-6)


def test_at_scherzer_defocus_the_argument_has_its_minimum_of_minus_two_thirds_pi():
    microscope = Microscope(voltage_kv=300, cs_mm=1.2, defocus_angstrom=scherzer_defocus(300, 1.2))
    chi = aberration(microscope, np.linspace(0, 0.6, 5001), np.zeros(1))
    assert microscope.defocus_angstrom == pytest.approx(-561, abs=1)
    assert chi.min() == pytest.approx(-2 * math.pi / 3, abs=1e-5)


@given(gx=G, gy=G, defocus=st.floats(-3000, 3000), cs=st.floats(-0.01, 3), a=st.floats(0, 200), angle=st.floats(0, 3.1))
def test_aberration_is_the_stated_formula(gx, gy, defocus, cs, a, angle):
    microscope = Microscope(
        voltage_kv=200, cs_mm=cs, defocus_angstrom=defocus, astigmatism_angstrom=a, astigmatism_angle=angle
    )
    wavelength, g, theta = electron_wavelength(200), math.hypot(gx, gy), math.atan2(gy, gx)
    expected = math.pi * wavelength * g**2 * (defocus + a * math.cos(2 * (theta - angle)))
    expected += math.pi / 2 * cs * 1e7 * wavelength**3 * g**4
    assert float(aberration(microscope, np.array(gx), np.array(gy))) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(gx=G, gy=G)
def test_the_gradient_is_the_slope_of_the_aberration(gx, gy):
    microscope = Microscope(defocus_angstrom=-900, astigmatism_angstrom=70, astigmatism_angle=0.7)
    step = 1e-6

    def chi(x, y):
        return float(aberration(microscope, np.array(x), np.array(y)))

    slope_x, slope_y = aberration_gradient(microscope, np.array(gx), np.array(gy))
    assert float(slope_x) == pytest.approx((chi(gx + step, gy) - chi(gx - step, gy)) / 2 / step, rel=1e-4, abs=1e-2)
    assert float(slope_y) == pytest.approx((chi(gx, gy + step) - chi(gx, gy - step)) / 2 / step, rel=1e-4, abs=1e-2)


def test_the_envelope_of_focal_spread_is_the_mean_over_foci(rng):
    spread, gx = 40.0, np.array([0.2, 0.4, 0.5])
    foci = -800 + spread * rng.standard_normal(40_000)
    waves = [np.mean(np.exp(-1j * np.array([math.pi * electron_wavelength(300) * f * g**2 for f in foci]))) for g in gx]
    microscope = Microscope(focal_spread_angstrom=spread, convergence_mrad=0)
    np.testing.assert_allclose(coherence_envelope(microscope, gx, np.zeros(3)), np.abs(waves), atol=0.02)


def test_the_envelope_of_convergence_is_the_mean_over_directions_of_illumination(rng):
    microscope = Microscope(defocus_angstrom=-1500, focal_spread_angstrom=0, convergence_mrad=0.3)
    half_angle = 0.3e-3 / electron_wavelength(300)
    # exp(-k²/k0²) is a Gaussian of standard deviation k0 / sqrt(2) along either axis.
    kx, ky = half_angle / math.sqrt(2) * rng.standard_normal((2, 40_000))
    for g in (0.15, 0.3, 0.45):
        argument = aberration(microscope, g + kx, ky) - aberration(microscope, kx, ky)
        envelope = float(coherence_envelope(microscope, np.array(g), np.array(0.0)))
        assert abs(np.mean(np.exp(-1j * argument))) == pytest.approx(envelope, abs=0.02)


def test_drift_damps_as_the_mean_over_the_way():
    drift = (0.7, -1.1)
    way = (np.arange(20_000) + 0.5) / 20_000 - 0.5
    for gx, gy in [(0.3, 0.1), (0.0, 0.5), (0.6, -0.7)]:
        mean = np.mean(np.cos(2 * np.pi * way * (gx * drift[1] + gy * drift[0])))
        damping = motion_envelope(np.array(gx), np.array(gy), drift_angstrom=drift, vibration_angstrom=0.0)
        assert float(damping) == pytest.approx(mean, abs=1e-6)


def test_vibration_damps_as_a_debye_waller_factor():
    damping = motion_envelope(np.array(0.5), np.array(0.0), drift_angstrom=(0, 0), vibration_angstrom=0.3)
    assert float(damping) == pytest.approx(math.exp(-2 * math.pi**2 * 0.3**2 * 0.5**2))


@settings(max_examples=20)
@given(value=st.floats(0.05, 1.0))
def test_the_camera_passes_its_stated_share_at_nyquist_besides_the_pixels_sinc(value):
    transfer = modulation_transfer(Camera(mtf_nyquist=value), np.array([0.0, 0.5]), np.array([0.0, 0.0]))
    np.testing.assert_allclose(transfer, [1.0, value * 2 / math.pi], rtol=1e-12)


@pytest.mark.parametrize("wrong", [{"voltage_kv": 0.0}, {"focal_spread_angstrom": -1.0}, {"vibration_angstrom": -0.1}])
def test_an_impossible_microscope_is_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong)).split("_")[0]):
        Microscope(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"mtf_nyquist": 0.0}, {"noise_share": 1.5}, {"counts_per_electron": 0.0}, {"read_noise_counts": -1.0}]
)
def test_an_impossible_camera_is_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Camera(**wrong)
