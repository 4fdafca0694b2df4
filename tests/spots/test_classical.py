from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from fringemap.settings import SpectrumSettings, SpotSettings
from fringemap.spectrum import average_diffractograms, compute_diffractogram
from fringemap.spots import detect_spots
from fringemap.spots.classical import look_by_law
from spectrum_frames import disc_mask, frame_of, thon_frame, wave_at, waves_frame, white_frame

SETTINGS = SpotSettings(detector="classical")


def detect(frame, **settings):
    return detect_spots(compute_diffractogram(frame), settings=replace(SETTINGS, **settings))


def limit(expected):
    """Count that is exceeded once in two thousand trials where the stated rate is true."""
    return int(scipy.stats.poisson.isf(5e-4, expected))


@pytest.mark.parametrize("false_spots", [0.05, 1.0])
@pytest.mark.parametrize(("shape", "n"), [((256, 256), 30), ((300, 200), 30), ((513, 257), 12), ((1000, 768), 4)])
def test_white_noise_has_no_more_false_spots_than_stated(shape, n, false_spots, rng):
    found = sum(len(detect(white_frame(shape, rng), false_spots=false_spots)) for _ in range(n))
    assert found <= limit(n * false_spots)


@pytest.mark.parametrize(("shape", "n"), [((512, 512), 8), ((1000, 768), 4)])
def test_thon_rings_near_focus_have_no_more_false_spots_than_stated(shape, n, rng):
    found = sum(len(detect(thon_frame(shape, rng, defocus=-600.0))) for _ in range(n))
    assert found <= limit(n * SETTINGS.false_spots)


def test_averaged_noise_has_no_more_false_spots_than_stated(rng):
    stacks = [average_diffractograms(white_frame((256, 200), rng) for _ in range(5)) for _ in range(10)]
    found = sum(len(detect_spots(stack, settings=replace(SETTINGS, false_spots=1.0))) for stack in stacks)
    assert found <= limit(10.0)


@pytest.mark.parametrize("shape", [(256, 256), (255, 301), (400, 240)])
def test_frame_filling_waves_are_found_once_each(shape, rng):
    bins = [(0.11, 0.21), (-0.27, 0.13), (0.28, 0.25), (-0.05, 0.38), (0.36, 0.07)]
    places = np.array(bins) * shape
    waves = [wave_at(row, col, 2.5, shape=shape, argument=k) for k, (row, col) in enumerate(places)]
    found = detect(waves_frame(shape, waves, rng, sigma=10.0))
    assert len(found) == len(places)
    assert (found.col > 0).all()
    assert (np.diff(found.score) <= 0).all()
    for row, col in places:
        assert np.hypot(found.row - row, found.col - col).min() < 0.8


@pytest.mark.parametrize("row", [60.0, -60.0, 60.4])
def test_a_spot_on_the_vertical_axis_is_listed_once_with_gy_above_zero(row, rng):
    shape = (256, 256)
    found = detect(waves_frame(shape, [wave_at(row, 0.0, 3.0, shape=shape)], rng, sigma=10.0))
    assert len(found) == 1
    assert found.col[0] == pytest.approx(0.0, abs=0.5)
    assert np.sign(found.col[0] or found.row[0]) == 1
    assert abs(found.row[0]) == pytest.approx(60.0, abs=0.8)


def test_a_spot_on_the_horizontal_axis_is_listed_once(rng):
    shape = (256, 256)
    found = detect(waves_frame(shape, [wave_at(0.0, 60.0, 3.0, shape=shape)], rng, sigma=10.0))
    assert len(found) == 1
    assert (found.row[0], found.col[0]) == pytest.approx((0.0, 60.0), abs=0.5)


@pytest.mark.parametrize("place", [(0.0, 0.465), (0.465, 0.1), (-0.39, 0.39)])
def test_a_spot_near_the_sampling_limit_is_listed_once(place, rng):
    shape, pixel = (240, 240), (0.8, 0.8)
    row, col = (np.rint(n * p) for n, p in zip(shape, place, strict=True))
    found = detect(waves_frame(shape, [wave_at(row, col, 3.0, shape=shape, pixel=pixel)], rng, sigma=10.0, pixel=pixel))
    assert len(found) == 1
    assert (found.row[0], found.col[0]) == pytest.approx((row, col), abs=0.5)


def test_spots_of_non_square_pixels_are_found_in_bins_of_their_own_axis(rng):
    shape, pixel = (256, 300), (0.5, 0.3)
    found = detect(
        waves_frame(shape, [wave_at(30.0, 50.0, 3.0, shape=shape, pixel=pixel)], rng, sigma=10.0, pixel=pixel)
    )
    assert len(found) == 1
    assert (found.row[0], found.col[0]) == pytest.approx((30.0, 50.0), abs=0.5)


@pytest.mark.parametrize("diameter_nm", [3.0, 5.0, 10.0, 20.0, 40.0])
def test_grains_from_3_to_40_nm_are_found(diameter_nm, rng):
    shape = (1024, 1024)
    diameter = diameter_nm * 10 / 0.4
    # The same total SNR of 30 whatever the size.
    amplitude = 10.0 * 30.0 / np.sqrt(np.pi * (diameter / 2) ** 2 / 2)
    mask = disc_mask(shape, (500, 540), diameter)
    found = detect(waves_frame(shape, [wave_at(-150.0, 120.0, amplitude, shape=shape, mask=mask)], rng, sigma=10.0))
    width = 0.9 * 1024 / diameter
    assert len(found) == 1
    assert np.hypot(found.row[0] + 150.0, found.col[0] - 120.0) < max(1.0, 0.5 * width)


def test_two_touching_spots_are_told_apart(rng):
    shape = (256, 256)
    mask = disc_mask(shape, (128, 128), 40)
    waves = [wave_at(50.0, col, 12.0, shape=shape, mask=mask) for col in (60.0, 74.0)]
    found = detect(waves_frame(shape, waves, rng, sigma=10.0))
    assert len(found) == 2
    assert sorted(found.col) == pytest.approx([60.0, 74.0], abs=1.5)


@pytest.mark.parametrize("diameter", [40, 60])
def test_one_wide_spot_is_not_split(diameter, rng):
    shape = (256, 256)
    counts = []
    for k in range(12):
        mask = disc_mask(shape, (100 + 5 * k, 150 - 4 * k), diameter)
        amplitude = 10.0 * 25.0 / np.sqrt(np.pi * (diameter / 2) ** 2 / 2)
        wave = wave_at(52.0 + k / 7, 60.0 - k / 5, amplitude, shape=shape, mask=mask, argument=k)
        counts.append(len(detect(waves_frame(shape, [wave], rng, sigma=10.0))))
    assert min(counts) == 1
    assert sum(counts) <= 13


def test_nothing_is_listed_beyond_the_limits_of_d(rng):
    shape = (256, 256)
    waves = [wave_at(0.0, col, 5.0, shape=shape) for col in (20.0, 50.0, 80.0)]
    frame = waves_frame(shape, waves, rng, sigma=10.0)
    found = detect(frame, d_min_angstrom=102.4 / 65, d_max_angstrom=102.4 / 35)
    assert found.col == pytest.approx([50.0], abs=0.5)


def test_a_lower_rate_of_false_spots_lists_no_more_spots(rng):
    shape = (256, 256)
    waves = [wave_at(40.0 + 6 * k, 60.0, 0.3 * k, shape=shape) for k in range(8)]
    frame = waves_frame(shape, waves, rng, sigma=10.0)
    counts = [len(detect(frame, false_spots=rate)) for rate in (1e-6, 0.05, 10.0)]
    assert counts[0] < counts[2]
    assert sorted(counts) == counts


@pytest.mark.parametrize("shape", [(32, 32), (33, 40), (64, 400)])
def test_small_and_long_frames_are_searched(shape, rng):
    row, col = round(0.15 * shape[0]), round(0.3 * shape[1])
    assert len(detect(white_frame(shape, rng))) <= 1
    found = detect(waves_frame(shape, [wave_at(row, col, 12.0, shape=shape)], rng, sigma=10.0))
    assert np.hypot(found.row - row, found.col - col).min() < 0.8


def test_a_saturated_frame_gives_its_spot_and_harmonics_only(rng):
    shape = (256, 256)
    image = waves_frame(shape, [wave_at(30.0, 40.0, 20.0, shape=shape)], rng, sigma=10.0).image
    found = detect(frame_of(np.minimum(image, 105.0)))
    assert np.hypot(found.row[0] - 30.0, found.col[0] - 40.0) < 0.8
    for row, col in zip(found.row, found.col, strict=True):
        assert min(np.hypot(row - k * 30.0, col - k * 40.0) for k in (1, 2, 3)) < 2.0


def test_the_same_diffractogram_gives_the_same_spots(rng):
    diffractogram = compute_diffractogram(white_frame((128, 128), rng))
    one, other = (detect_spots(diffractogram, settings=replace(SETTINGS, false_spots=20.0)) for _ in range(2))
    assert len(one) > 0
    np.testing.assert_array_equal(one.row, other.row)
    np.testing.assert_array_equal(one.score, other.score)


def test_a_frame_that_has_a_window_gets_no_second_one(rng):
    frame = waves_frame((256, 256), [wave_at(30.0, 40.0, 20.0, shape=(256, 256))], rng, sigma=10.0)
    once = compute_diffractogram(frame, settings=SpectrumSettings(edges="hann"))
    assert look_by_law(once, SETTINGS)[1] is once
    assert look_by_law(compute_diffractogram(frame), SETTINGS)[1].windowed
