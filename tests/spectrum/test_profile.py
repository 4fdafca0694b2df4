from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fringemap.spectrum import compute_diffractogram, compute_profile, frequency_axes, half_shape, sum_rings
from spectrum_frames import PIXEL, flat_diffractogram, wave_at, waves_frame


def rings_slowly(diffractogram, image):
    """Mean of a half-spectrum image over each ring of one bin's width, bin by bin."""
    gy, gx = frequency_axes(diffractogram.frame_shape, diffractogram.scale)
    step = max(gy[1], gx[1])
    total, count = {}, {}
    for row, y in enumerate(gy.astype(np.float32)):
        for col, x in enumerate(gx.astype(np.float32)):
            ring = int(np.sqrt(y * y + x * x) / np.float32(step) + np.float32(0.5))
            total[ring] = total.get(ring, 0.0) + float(image[row, col])
            count[ring] = count.get(ring, 0) + 1
    return step, {ring: total[ring] / count[ring] for ring in total}


@pytest.mark.parametrize("shape", [(64, 64), (61, 83), (90, 47)])
def test_without_spots_the_intensity_is_the_plain_mean_over_each_ring(shape, rng):
    power = rng.exponential(size=half_shape(shape)) + 1.0
    diffractogram = flat_diffractogram(power, shape)
    profile = compute_profile(diffractogram, inside=np.zeros(0, int))
    step, expected = rings_slowly(diffractogram, diffractogram.power)
    np.testing.assert_allclose(profile.g, np.arange(len(profile.g)) * step)
    np.testing.assert_allclose(profile.intensity, [expected.get(r, 0.0) for r in range(len(profile.g))], rtol=2e-3)
    np.testing.assert_allclose(profile.background[sorted(expected)], 1.0, rtol=1e-5)


def test_masked_bins_count_in_the_mean_too(rng):
    shape = (256, 256)
    power = rng.exponential(size=half_shape(shape)) + 1.0
    mask = np.zeros(power.shape, bool)
    mask[28:35, 38:45] = True
    power[mask] += 500.0
    diffractogram = flat_diffractogram(power, shape)
    profile = compute_profile(diffractogram, inside=np.flatnonzero(mask))
    _, expected = rings_slowly(diffractogram, diffractogram.power)
    rings = np.arange(44, 57)
    np.testing.assert_allclose(profile.intensity[rings], [expected[r] for r in rings], rtol=0.08)


@pytest.mark.parametrize("shape", [(256, 256), (1200, 96)])
def test_the_background_is_that_of_unmasked_bins_and_sums_may_be_made_beforehand(shape, rng):
    diffractogram = flat_diffractogram(rng.exponential(size=half_shape(shape)) + 1.0, shape)
    background = np.where(rng.random(half_shape(shape)) < 0.3, np.float32(1e6), np.float32(2.0))
    diffractogram = replace(diffractogram, background=background)
    profile = compute_profile(diffractogram, inside=np.flatnonzero(background > 2.0))
    np.testing.assert_allclose(profile.background[2 : len(profile.g) // 2], 2.0, rtol=1e-6)
    again = compute_profile(diffractogram, inside=np.flatnonzero(background > 2.0), sums=sum_rings(diffractogram))
    np.testing.assert_array_equal(again.intensity, profile.intensity)


@pytest.mark.parametrize("shape", [(128, 128), (200, 150), (129, 131)])
def test_the_peak_of_a_plane_wave_lies_at_its_g(shape, rng):
    wave = wave_at(-21.0, 30.0, 5.0, shape=shape)
    diffractogram = compute_diffractogram(waves_frame(shape, [wave], rng, sigma=2.0))
    mask = np.zeros(diffractogram.power.shape, bool)
    mask[shape[0] - 24 : shape[0] - 17, 27:34] = True
    profile = compute_profile(diffractogram, inside=np.flatnonzero(mask))
    g = np.hypot(wave.gx, wave.gy)
    step = profile.g[1]
    assert profile.g[np.argmax(profile.intensity)] == pytest.approx(g, abs=0.6 * step)
    assert profile.peaks_g[np.argmax(profile.peaks_height)] == pytest.approx(g, abs=0.7 * step)
    assert profile.masked[0] == 0.0


def test_an_empty_mask_has_no_peaks(rng):
    shape = (64, 64)
    diffractogram = flat_diffractogram(rng.exponential(size=half_shape(shape)), shape)
    profile = compute_profile(diffractogram, inside=np.zeros(0, int))
    assert len(profile.peaks_g) == len(profile.peaks_height) == 0
    assert not profile.masked.any()


def test_two_families_of_spots_make_two_peaks(rng):
    shape = (256, 256)
    waves = [wave_at(40.0, 10.0, 5.0, shape=shape), wave_at(-20.0, 70.0, 5.0, shape=shape)]
    diffractogram = compute_diffractogram(waves_frame(shape, waves, rng, sigma=2.0))
    mask = diffractogram.power > 100 * diffractogram.background
    profile = compute_profile(diffractogram, inside=np.flatnonzero(mask))
    expected = sorted(np.hypot(w.gx, w.gy) for w in waves)
    np.testing.assert_allclose(np.sort(profile.peaks_g), expected, atol=0.7 * profile.g[1])


def test_profiles_of_non_square_pixels_measure_g_in_reciprocal_length(rng):
    shape, pixel = (200, 200), (PIXEL[0], 2 * PIXEL[1])
    wave = wave_at(0.0, 40.0, 5.0, shape=shape, pixel=pixel)
    diffractogram = compute_diffractogram(waves_frame(shape, [wave], rng, sigma=1.0, pixel=pixel))
    profile = compute_profile(diffractogram, inside=np.zeros(0, int))
    assert profile.g[np.argmax(profile.intensity)] == pytest.approx(wave.gx, abs=profile.g[1])
