from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fringemap.records import Profile
from fringemap.settings import SpotSettings
from fringemap.spectrum import compute_diffractogram, compute_profile
from fringemap.spots import find_rings, find_spots, spot_bins
from map_frames import spots_at
from spectrum_frames import disc_mask, thon_frame, wave_at, waves_frame, white_frame

SETTINGS = SpotSettings()


def rings_of(frame):
    diffractogram = compute_diffractogram(frame)
    spots = find_spots(diffractogram)
    return find_rings(
        compute_profile(diffractogram, inside=spot_bins(diffractogram, spots)), spots, settings=SETTINGS
    ), spots


def smooth_profile(rings, *, step=0.004, n=320):
    """Circular integration without noise: a falling course with rings of (g, FWHM, contrast) on it."""
    g = np.arange(n) * step
    course = 1e6 * np.exp(-1.5 * g)
    for centre, fwhm, contrast in rings:
        course = course * (1 + contrast * np.exp(-4 * np.log(2) * ((g - centre) / fwhm) ** 2))
    nothing = np.zeros(n)
    return Profile(g, course, course, nothing, np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("contrast", [0.6, 2.0, 5.0])
@pytest.mark.parametrize("g", [0.28, 0.48, 0.7])
def test_a_diffuse_ring_is_found_at_its_crest(g, contrast):
    rings = find_rings(smooth_profile([(g, 0.05, contrast)]), spots_at([], []), settings=SETTINGS)
    assert len(rings) == 1
    assert rings.g[0] == pytest.approx(g, abs=0.004)
    assert rings.contrast[0] == pytest.approx(contrast, rel=0.25)
    assert 0.04 < rings.width[0] < 0.1
    assert 0 < rings.g_sigma[0] < 0.01
    assert rings.significance[0] > 8


def test_two_rings_come_in_rising_order():
    rings = find_rings(smooth_profile([(0.55, 0.05, 3.0), (0.3, 0.05, 1.0)]), spots_at([], []), settings=SETTINGS)
    assert list(rings.g) == pytest.approx([0.3, 0.55], abs=0.005)


def test_a_smooth_course_has_no_ring():
    assert len(find_rings(smooth_profile([]), spots_at([], []), settings=SETTINGS)) == 0


def test_a_hump_as_wide_as_its_radius_is_the_transfer_of_the_microscope():
    assert len(find_rings(smooth_profile([(0.4, 0.5, 2.0)]), spots_at([], []), settings=SETTINGS)) == 0


def test_rings_are_looked_for_between_the_limits_of_d_only():
    profile = smooth_profile([(0.15, 0.03, 2.0), (0.45, 0.05, 2.0)])
    rings = find_rings(profile, spots_at([], []), settings=SpotSettings(d_max_angstrom=4.0))
    assert list(rings.g) == pytest.approx([0.45], abs=0.005)


def test_zeros_at_equal_steps_of_g_squared_are_those_of_the_lens():
    profile = smooth_profile([])
    lens = np.sin(np.pi * 0.0197 * 2500.0 * profile.g**2) ** 2 + 0.3
    thon = replace(profile, background=profile.background * lens, intensity=profile.intensity * lens)
    assert len(find_rings(thon, spots_at([], []), settings=SETTINGS)) == 0


@pytest.mark.parametrize("shape", [(256, 256), (512, 512), (600, 400)])
def test_white_noise_has_no_ring(shape, rng):
    assert len(rings_of(white_frame(shape, rng))[0]) == 0


@pytest.mark.parametrize("defocus", [-1500.0, -3000.0, -6000.0, -9000.0])
def test_thon_rings_are_no_rings(defocus, rng):
    assert len(rings_of(thon_frame((512, 512), rng, defocus=defocus))[0]) == 0


def test_the_skirts_of_spots_are_no_rings(rng):
    shape = (512, 512)
    mask = disc_mask(shape, (256, 256), 120)
    waves = [
        wave_at(100 * np.sin(a), 100 * np.cos(a), 15.0, shape=shape, mask=mask, argument=k)
        for k, a in enumerate(np.radians([-60, 0.5, 61]))
    ]
    rings, spots = rings_of(waves_frame(shape, waves, rng, sigma=10.0))
    assert len(spots) >= 3
    assert len(rings) == 0
