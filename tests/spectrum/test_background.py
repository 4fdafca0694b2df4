from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fringemap.simulate import Amorphous, Microscope, Scene, expected_noise_power
from fringemap.spectrum import compute_diffractogram, frequency_axes, whiten
from fringemap.spectrum.axes import part_within
from fringemap.spectrum.background import _count_levels, _course, _sample_of, estimate_background, polar_grid
from spectrum_frames import PIXEL, disc_mask, frame_of, scale_of, thon_frame, wave_at, waves_frame, white_frame

SHAPES = [(256, 256), (1000, 768), (2048, 512), (513, 257), (255, 301)]


def whitened_zones(diffractogram, edges=(0.083, 0.2, 0.4, 0.6, 0.8, 1.0)):
    """Whitened power of the bins between successive |g| [1/Å]."""
    gy, gx = frequency_axes(diffractogram.frame_shape, diffractogram.scale)
    g = np.hypot(gy[:, None], gx)
    whitened = whiten(diffractogram)
    return [whitened[(g >= low) & (g < high)] for low, high in pairwise(edges)]


def background_of(power, shape, *, noise_shape=1.0):
    part = part_within(shape, scale_of(), d_min_angstrom=None)
    return estimate_background(power, frame_shape=shape, scale=scale_of(), part=part, noise_shape=noise_shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_white_noise_is_whitened_to_one_at_every_g(shape, rng):
    for values in whitened_zones(compute_diffractogram(white_frame(shape, rng))):
        # Five standard errors of the mean of exponential numbers, and one percent for the medians' interpolation.
        assert values.mean() == pytest.approx(1.0, abs=0.01 + 5 / len(values) ** 0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_tail_of_whitened_white_noise_is_exponential(shape, rng):
    values = np.concatenate(whitened_zones(compute_diffractogram(white_frame(shape, rng))))
    for level in (2.0, 4.0, 6.0):
        expected = len(values) * np.exp(-level)
        assert np.count_nonzero(values > level) == pytest.approx(expected, abs=5 * expected**0.5 + 0.05 * expected)


@pytest.mark.parametrize("shape", [(512, 512), (1000, 768), (513, 1025)])
def test_thon_rings_near_focus_are_whitened_to_one(shape, rng):
    frame = thon_frame(shape, rng, defocus=-600.0)
    for values in whitened_zones(compute_diffractogram(frame)):
        assert values.mean() == pytest.approx(1.0, abs=0.05 + 5 / len(values) ** 0.5)


def test_the_background_follows_the_expected_noise_of_the_simulated_lens(rng):
    shape = (1000, 768)
    lens = Microscope(defocus_angstrom=-600.0)
    scene = Scene(shape, PIXEL, amorphous=Amorphous(100.0), microscope=lens, dose_per_angstrom2=2000.0)
    frame = thon_frame(shape, rng, defocus=-600.0)
    diffractogram = compute_diffractogram(frame)
    gy, gx = frequency_axes(shape, diffractogram.scale)
    g = np.hypot(gy[:, None], gx)
    wanted = (g > 0.1) & (g < 1.0)
    ratio = (diffractogram.background / expected_noise_power(scene, gx[None, :], gy[:, None]))[wanted]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)
    assert np.std(np.log(ratio)) < 0.1


@pytest.mark.parametrize("shape", [(256, 256), (1000, 768), (513, 257)])
def test_many_spots_hardly_lift_the_background(shape, rng):
    lifts = []
    for _ in range(3):
        mask = disc_mask(shape, (shape[0] / 2, shape[1] / 2), 0.6 * min(shape))
        bins = rng.uniform(0.12, 0.45, (40, 2)) * np.array(shape) * rng.choice([-1, 1], (40, 2))
        waves = [wave_at(row, col, 3.0, shape=shape, argument=k, mask=mask) for k, (row, col) in enumerate(bins)]
        crowded = compute_diffractogram(waves_frame(shape, waves, rng, sigma=10.0))
        assert crowded.power.max() > 100 * np.median(crowded.power)
        gy, gx = frequency_axes(shape, crowded.scale)
        ratio = crowded.background / np.float32(100.0 * shape[0] * shape[1])
        lifts.append(ratio[np.hypot(gy[:, None], gx) > 0.083])
    assert np.median(lifts) == pytest.approx(1.0, abs=0.1)
    assert np.mean(np.quantile(lifts, 0.999, axis=1)) < 1.55


@pytest.mark.parametrize("n", [2, 5])
def test_the_law_of_averaged_frames_gives_the_same_mean(n, rng):
    shape = (200, 160)
    power = rng.gamma(n, 7.0 / n, (200, 81)).astype(np.float32)
    background = background_of(power, shape, noise_shape=float(n))
    assert np.median(background) == pytest.approx(7.0, rel=0.02)


def test_a_slope_along_the_azimuth_is_followed(rng):
    shape = (1024, 1024)
    gy, gx = frequency_axes(shape, scale_of())
    expected = 1 + 0.6 * np.cos(2 * np.arctan2(gy[:, None], gx))
    power = (expected * rng.exponential(size=expected.shape)).astype(np.float32)
    background = background_of(power, shape)
    far = np.hypot(gy[:, None], gx) > 0.5
    assert np.std(np.log(background / expected)[far]) < 0.12


def test_an_isotropic_spectrum_gets_an_isotropic_background(rng):
    diffractogram = compute_diffractogram(white_frame((512, 512), rng))
    gy, gx = frequency_axes((512, 512), diffractogram.scale)
    far = np.hypot(gy[:, None], gx) > 0.3
    assert np.std(diffractogram.background[far]) / np.mean(diffractogram.background[far]) < 0.04


@pytest.mark.parametrize("axis", [0, 1])
def test_streaks_of_gain_lines_are_lifted(axis, rng):
    shape = (512, 400)
    gain = 1 + 0.02 * rng.standard_normal(shape[axis])
    lines = np.expand_dims(gain, 1 - axis)
    image = 100.0 * lines + 5.0 * rng.standard_normal(shape)
    diffractogram = compute_diffractogram(frame_of(image))
    whitened = whiten(diffractogram)
    streak = whitened[16:-16, 0] if axis == 0 else whitened[0, 16:-8]
    power = diffractogram.power[16:-16, 0] if axis == 0 else diffractogram.power[0, 16:-8]
    assert power.mean() > 20 * np.median(diffractogram.power)
    assert streak.mean() < 1.6
    assert np.count_nonzero(streak > 15) <= 1


def test_a_streak_of_stripes_does_not_hide_a_spot_on_it(rng):
    shape = (512, 512)
    image = waves_frame(shape, [wave_at(0, 100, 3.0, shape=shape)], rng, sigma=5.0).image
    image = image * (1 + 0.02 * rng.standard_normal(512))
    whitened = whiten(compute_diffractogram(frame_of(image)))
    assert whitened[0, 100] > 25


def test_a_ring_gathers_the_bins_within_half_a_bin_of_its_radius():
    shape, pixel = (60, 40), (0.5, 0.3)
    grid = polar_grid(shape, scale_of(pixel), part_within(shape, scale_of(pixel), d_min_angstrom=None))
    gy, gx = frequency_axes(shape, scale_of(pixel))
    assert grid.ring_width == pytest.approx(1 / 12.0)
    for row in (0, 7, 30, 45, 59):
        for col in (0, 3, 20):
            g = np.hypot(gy[row], gx[col])
            assert grid.ring(np.array(row), np.array(col)) == int(g / grid.ring_width + 0.5)


@pytest.mark.parametrize("shape", [(32, 32), (33, 32), (32, 700), (2048, 48), (31, 257)])
def test_frames_of_odd_proportions_get_a_finite_positive_background(shape, rng):
    diffractogram = compute_diffractogram(white_frame(shape, rng))
    assert np.isfinite(diffractogram.background).all()
    assert (diffractogram.background > 0).all()
    assert np.isfinite(whiten(diffractogram)).all()


@pytest.mark.parametrize(("shape", "group"), [((64, 50), 1), ((1030, 1030), 2)])
def test_levels_are_counted_as_one_by_one(shape, group, rng):
    power = rng.exponential(size=(shape[0], shape[1] // 2 + 1)).astype(np.float32)
    part = part_within(shape, scale_of(), d_min_angstrom=None)
    grid, sample = polar_grid(shape, scale_of(), part), _sample_of(shape, scale_of(), part)
    counts = _count_levels(power, sample, np.zeros(grid.n_rings), workers=2)
    sampled = sample.rows
    ring, sector = np.divmod(grid.cell[sampled], 30)
    level = np.clip(3 * np.log(power[sampled]) + 12, 0, 25).astype(int)
    rings, sectors = np.zeros_like(counts.rings), np.zeros_like(counts.sectors)
    np.add.at(rings, (ring, level), 1)
    np.add.at(sectors, (ring // group, sector, level), 1)
    # A logarithm on the edge of a step may fall to either side.
    assert np.abs(counts.rings - rings).sum() <= 4
    assert np.abs(counts.sectors - sectors).sum() <= 4


def test_an_error_of_the_first_guess_is_no_error_of_a_ring(rng):
    shape = (700, 600)
    power = rng.exponential(size=(700, 301)).astype(np.float32)
    sample = _sample_of(shape, scale_of(), part_within(shape, scale_of(), d_min_angstrom=None))
    guesses = np.zeros(sample.n_rings), rng.normal(0.0, 0.5, sample.n_rings)
    right, wrong = (_course(_count_levels(power, sample, guess), guess)[20:] for guess in guesses)
    assert np.median(right) == pytest.approx(np.log(np.log(2)), abs=0.02)
    assert np.std(wrong - right) < 0.02


def test_threads_do_not_change_the_background(rng):
    frame = white_frame((700, 300), rng)
    alone, shared = (compute_diffractogram(frame, workers=n).background for n in (1, 2))
    np.testing.assert_array_equal(alone, shared)
