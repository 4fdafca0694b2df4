"""The pattern that a network sees: scores against noise, pooled and point symmetric."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.errors import SettingsError
from fringemap.settings import SpotSettings
from fringemap.spectrum import average_diffractograms, bin_size, compute_diffractogram, under_hann, whole_spectrum
from fringemap.spots.pattern import complete, make_pattern, plain_score, score_whitened
from spectrum_frames import disc_mask, flat_diffractogram, wave_at, waves_frame, white_frame

SPOTS = SpotSettings()
LIMITS = SpotSettings(d_min_angstrom=1.1, d_max_angstrom=10.0)
SHAPES = [(256, 256), (301, 416), (512, 384), (640, 1000)]


def whitened_whole(diffractogram, limits):
    """Centred whole spectrum; the mean of noise beyond the limits of d."""
    shape = diffractogram.frame_shape
    whole = whole_spectrum(diffractogram.power / diffractogram.background, shape)
    step_y, step_x = bin_size(shape, diffractogram.scale)
    gy, gx = ((np.arange(n) - n // 2) * s for n, s in zip(shape, (step_y, step_x), strict=True))
    g = np.hypot(gy[:, None], gx)
    whole[(g < 1 / limits.d_max_angstrom) | (g > 1 / limits.d_min_angstrom)] = 1.0
    return whole


def plain_pattern(diffractogram, pattern, limits):
    """Each pixel over the background by itself, from the whole spectrum, with scipy's own laws."""
    whole = whitened_whole(diffractogram, limits)
    middle = [n // 2 for n in diffractogram.frame_shape]
    sides = [f if f % 2 else f + 1 for f in pattern.factor]
    wide = [max(side, 5) for side in sides]
    out = np.zeros((2, *pattern.valid.shape))
    for row, col in np.argwhere(pattern.valid):
        at = [int(b) + m for b, m in zip(pattern.bins_of(row, col), middle, strict=True)]
        block, around = (
            whole[tuple(slice(a - s // 2, a + s // 2 + 1) for a, s in zip(at, size, strict=True))]
            for size in (sides, wide)
        )
        out[0, row, col] = scipy.stats.norm.isf(-np.expm1(block.size * np.log1p(-np.exp(-block.max()))))
        out[1, row, col] = scipy.stats.norm.ppf(
            scipy.stats.gamma.cdf(around.mean(), around.size, scale=1 / around.size)
        )
    return out


def uncompressed(score):
    return np.where(score > 1.5, 1.5 * np.exp(score / 1.5 - 1), score)


@pytest.mark.parametrize("max_shape", [(1024, 512), (90, 60), (61, 200)])
def test_each_pixel_says_how_unlikely_its_bins_are_in_noise(rng, max_shape):
    found = compute_diffractogram(white_frame((160, 211), rng))
    pattern = make_pattern(found, settings=LIMITS, max_shape=max_shape)
    expected = plain_pattern(found, pattern, LIMITS)
    usual = pattern.valid & (expected > -3.9)
    assert usual.sum() > 3000
    assert np.abs(uncompressed(pattern.image[:2]) - expected)[usual].max() < 0.03


@settings(max_examples=40)
@given(st.floats(1e-3, 1e6), st.sampled_from([1.0, 2.0, 9.0, 25.0, 400.0]), st.integers(1, 49))
def test_the_looked_up_score_is_the_computed_one(value, shape, n_bins):
    looked_up = score_whitened(np.array([value], np.float32), shape=shape, n_bins=n_bins)
    # A score has a standard deviation of 1; the table is off by 0.019 at most, for blocks of 49 bins.
    assert looked_up[0] == pytest.approx(plain_score(np.array([value]), shape=shape, n_bins=n_bins)[0], abs=0.03)


def test_a_score_never_falls_with_the_power():
    values = np.geomspace(1e-4, 1e9, 3000)
    for shape, n_bins in ((1.0, 1), (1.0, 25), (25.0, 1), (400.0, 9)):
        assert (np.diff(plain_score(values, shape=shape, n_bins=n_bins)) >= -1e-9).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("max_shape", [(1024, 512), (200, 100)])
def test_noise_has_mean_0_and_deviation_1_at_any_shape_and_factor(rng, shape, max_shape):
    pattern = make_pattern(compute_diffractogram(white_frame(shape, rng)), settings=SPOTS, max_shape=max_shape)
    values = pattern.image[:2, pattern.valid]
    assert np.abs(values.mean(axis=1)).max() < 0.1
    assert np.abs(values.std(axis=1) - 1).max() < 0.1
    assert all(n <= most for n, most in zip(pattern.image.shape[1:], max_shape, strict=True))


def test_averaged_and_windowed_spectra_have_the_same_law_of_noise(rng):
    averaged = average_diffractograms([white_frame((300, 300), rng) for _ in range(5)])
    windowed = under_hann(compute_diffractogram(white_frame((300, 300), rng)))
    for found in (averaged, windowed):
        pattern = make_pattern(found, settings=SPOTS)
        values = pattern.image[:2, pattern.valid]
        assert np.abs(values.mean(axis=1)).max() < 0.12
        assert np.abs(values.std(axis=1) - 1).max() < 0.15


@pytest.mark.parametrize("max_shape", [(1024, 512), (128, 64), (100, 40)])
@pytest.mark.parametrize("place", [(33.0, 41.0), (-57.0, 12.0), (-20.0, 0.0), (0.0, 30.0)])
def test_a_spot_of_one_bin_survives_any_factor_at_its_own_pixel(rng, max_shape, place):
    shape = (256, 200)
    frame = waves_frame(shape, [wave_at(*place, 4.0, shape=shape)], rng, sigma=10.0)
    pattern = make_pattern(compute_diffractogram(frame), settings=SPOTS, max_shape=max_shape)
    row, col = (round(float(p)) for p in pattern.pixels_of(*place))
    assert pattern.image[0, row, col] > 5
    assert np.abs(np.subtract(pattern.bins_of(row, col), place)).max() <= max(pattern.factor) / 2


def test_a_wide_faint_spot_stands_out_in_the_mean(rng):
    shape = (512, 512)
    mask = disc_mask(shape, (250, 250), 60)
    frame = waves_frame(shape, [wave_at(100, 120, 7.0, shape=shape, mask=mask)], rng, sigma=10.0)
    pattern = make_pattern(compute_diffractogram(frame), settings=SPOTS)
    row, col = (round(float(p)) for p in pattern.pixels_of(100.0, 120.0))
    around = pattern.image[:, row - 2 : row + 3, col - 2 : col + 3]
    assert around[1].max() > 4
    assert around[1].mean() > 1.5 * around[0].mean()


def test_a_strong_spot_stays_near_10():
    power = np.ones((256, 129), np.float32)
    power[40, 50] = 1e5
    pattern = make_pattern(flat_diffractogram(power, (256, 256)), settings=SPOTS)
    assert 8 < pattern.image.max() < 13


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("max_shape", [(1024, 512), (150, 90), (70, 300)])
def test_the_completed_pattern_is_point_symmetric(rng, shape, max_shape):
    pattern = make_pattern(compute_diffractogram(white_frame(shape, rng)), settings=SPOTS, max_shape=max_shape)
    margin = 12
    whole = complete(pattern.image, margin)
    assert whole.shape[2] == pattern.image.shape[2] + margin
    middle = whole[:, :, : 2 * margin + 1]
    np.testing.assert_array_equal(middle[:, :, :margin], middle[:, ::-1, : -margin - 1 : -1])
    # On the axis itself a bin and its mate have one power; their backgrounds are estimated apart.
    assert np.abs(middle[:, :, margin] - middle[:, ::-1, margin]).max() < 0.15


def test_what_lies_outside_the_limits_of_d_is_0(rng):
    pattern = make_pattern(compute_diffractogram(white_frame((400, 300), rng)), settings=SPOTS)
    gy = (np.arange(pattern.image.shape[1]) - pattern.zero_row) * pattern.step[0]
    gx = np.arange(pattern.image.shape[2]) * pattern.step[1]
    g = np.hypot(gy[:, None], gx)
    assert not pattern.image[:, g < 0.99 / SPOTS.d_max_angstrom].any()
    assert not pattern.image[:, g > 1.01 / SPOTS.d_min_angstrom].any()
    assert pattern.valid[(g > 1.01 / SPOTS.d_max_angstrom) & (g < 0.99 / SPOTS.d_min_angstrom)].all()


def test_pixels_and_bins_are_inverse(rng):
    pattern = make_pattern(compute_diffractogram(white_frame((256, 256), rng)), settings=SPOTS, max_shape=(100, 40))
    assert min(pattern.factor) > 1
    row, col = np.array([0.0, 3.5, 60.0]), np.array([0.0, 7.25, 20.0])
    np.testing.assert_allclose(pattern.pixels_of(*pattern.bins_of(row, col)), (row, col))
    assert [float(b) for b in pattern.bins_of(pattern.zero_row, 0)] == [0.0, 0.0]


def test_too_few_bins_are_an_error(rng):
    found = compute_diffractogram(white_frame((32, 32), rng))
    with pytest.raises(SettingsError, match="smaller d-spacings"):
        make_pattern(found, settings=replace(SPOTS, d_min_angstrom=20.0, d_max_angstrom=30.0))


def test_a_large_frame_takes_a_small_part_of_its_transform(rng):
    found = compute_diffractogram(white_frame((2048, 2048), rng), d_min_angstrom=1.0)
    make_pattern(found, settings=SPOTS)
    started = time.process_time()
    make_pattern(found, settings=SPOTS)
    taken = time.process_time() - started
    started = time.process_time()
    np.fft.rfft2(np.zeros((2048, 2048)))
    assert taken < 3 * (time.process_time() - started)
