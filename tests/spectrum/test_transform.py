from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.records import Flag
from fringemap.settings import SpectrumSettings
from fringemap.simulate import PlaneWave
from fringemap.spectrum import compute_diffractogram
from fringemap.spectrum.transform import replace_hot_pixels
from spectrum_frames import frame_of, waves_frame, white_frame

shapes = st.tuples(st.integers(32, 90), st.integers(32, 90))


def transform(image, *, edges):
    """Spectrum of an image as it is, hot pixels and all."""
    settings = SpectrumSettings(edges=edges, hot_pixel_sigma=0.0)
    return compute_diffractogram(frame_of(image), settings=settings).spectrum


def power_of(image, *, edges):
    settings = SpectrumSettings(edges=edges, hot_pixel_sigma=0.0)
    return compute_diffractogram(frame_of(image), settings=settings).power


def periodic_by_definition(image):
    """Image less the smooth part: the Poisson equation for the jumps at the edges, by whole transforms [Moisan]."""
    image = image.astype(np.float64)
    jumps = np.zeros_like(image)
    jumps[0] += image[-1] - image[0]
    jumps[-1] -= image[-1] - image[0]
    jumps[:, 0] += image[:, -1] - image[:, 0]
    jumps[:, -1] -= image[:, -1] - image[:, 0]
    rows, cols = (np.arange(n) / n for n in image.shape)
    laplacian = 2 * np.cos(2 * np.pi * rows)[:, None] + 2 * np.cos(2 * np.pi * cols) - 4
    laplacian[0, 0] = 1.0
    smooth = np.fft.fft2(jumps) / laplacian
    smooth[0, 0] = 0.0
    return np.fft.fft2(image) - smooth


def random_image(shape, seed):
    rng = np.random.default_rng(seed)
    y, x = (np.linspace(0, 1, n) for n in shape)
    return (rng.standard_normal(shape) + 20 * y[:, None] ** 2 + 9 * x).astype(np.float32)


@given(shapes, st.integers(0, 1000))
@settings(max_examples=60)
def test_the_periodic_part_is_that_of_its_definition(shape, seed):
    image = random_image(shape, seed)
    expected = periodic_by_definition(image)[:, : shape[1] // 2 + 1]
    expected[0, 0] = 0.0
    np.testing.assert_allclose(
        transform(image, edges="periodic"), expected, atol=3e-5 * np.abs(np.fft.fft2(image)).max()
    )


@pytest.mark.parametrize("edges", ["periodic", "hann", "none"])
def test_the_zero_frequency_is_taken_away(edges):
    assert transform(random_image((30, 21), 1), edges=edges)[0, 0] == 0


def test_without_treatment_of_edges_it_is_the_plain_transform():
    image = random_image((30, 21), 2)
    expected = np.fft.rfft2(image)
    expected[0, 0] = 0
    np.testing.assert_allclose(transform(image, edges="none"), expected, atol=1e-3)


def test_the_streak_of_a_linear_ramp_is_gone(rng):
    ramp = np.add.outer(3.0 * np.arange(96), -2.0 * np.arange(128)) + 0.1 * rng.standard_normal((96, 128))
    crossed, clean = (power_of(ramp, edges=edges) for edges in ("none", "periodic"))
    # Beyond the first few frequencies of each axis nothing of the cross is left.
    assert clean[8:-8, 0].max() < 0.01 * crossed[8:-8, 0].min()
    assert clean[0, 8:].max() < 0.01 * crossed[0, 8:].min()


@pytest.mark.parametrize("shape", [(64, 48), (63, 47), (40, 41)])
def test_power_obeys_parseval(shape, rng):
    image = rng.standard_normal(shape).astype(np.float32)
    power = power_of(image, edges="none").astype(np.float64)
    doubled = np.full(power.shape[1], 2.0)
    doubled[0] = 1.0
    if shape[1] % 2 == 0:
        doubled[-1] = 1.0
    expected = np.sum((image - image.mean()).astype(np.float64) ** 2) * image.size
    assert float((power * doubled).sum()) == pytest.approx(expected, rel=1e-5)


def test_power_is_the_square_of_the_modulus(rng):
    image = rng.standard_normal((150, 65)).astype(np.float32)
    expected = np.abs(transform(image, edges="none").astype(np.complex128)) ** 2
    np.testing.assert_allclose(power_of(image, edges="none"), expected, rtol=1e-5)


@pytest.mark.parametrize("edges", ["periodic", "hann", "none"])
def test_noise_keeps_its_power(edges, rng):
    frame = white_frame((400, 300), rng, sigma=3.0)
    power = power_of(frame.image, edges=edges)
    assert power[3:-3, 3:-3].mean() == pytest.approx(9.0 * frame.image.size, rel=0.02)


def test_a_circular_shift_leaves_the_power_alone(rng):
    image = rng.standard_normal((48, 60)).astype(np.float32)
    plain, shifted = (power_of(i, edges="none") for i in (image, np.roll(image, (11, -7), (0, 1))))
    np.testing.assert_allclose(shifted, plain, atol=1e-5 * plain.max())


def test_a_frame_turned_by_a_right_angle_has_its_spectrum_turned(rng):
    image = random_image((50, 36), 3)
    power, turned = (power_of(np.ascontiguousarray(i), edges="periodic") for i in (image, np.rot90(image)))
    # A quarter turn against the clock takes (gx, gy) to (gy, -gx): the new row -k holds the old column k.
    for row, col in [(3, 7), (11, 2), (-5, 9), (-20, 17)]:
        expected = power[row, col]
        new_row, new_col = (-col, row) if row >= 0 else (col, -row)
        assert turned[new_row, new_col] == pytest.approx(expected, rel=1e-3)


def spoil(image, places, height):
    spoiled = image.copy()
    for row, col in places:
        spoiled[row, col] += height
    return spoiled


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("height", [3000.0, -3000.0])
def test_single_spikes_get_the_median_of_their_neighbours(height, workers, rng):
    clean = white_frame((300, 400), rng).image
    places = [(0, 0), (299, 399), (0, 200), (150, 0), (7, 399), (100, 100), (200, 300)]
    spoiled = spoil(clean, places, height)
    mended, n = replace_hot_pixels(spoiled, sigma=12.0, workers=workers)
    assert n == len(places)
    expected = clean.copy()
    for row, col in places:
        around = np.pad(spoiled, 2, mode="reflect")[row : row + 5, col : col + 5].ravel()
        expected[row, col] = np.median(np.delete(around, 12))
    np.testing.assert_array_equal(mended, expected)


def test_the_input_with_hot_pixels_stays_as_it_was(rng):
    spoiled = spoil(white_frame((300, 400), rng).image, [(3, 5), (70, 80)], 5000.0)
    before = spoiled.copy()
    replace_hot_pixels(spoiled, sigma=12.0)
    np.testing.assert_array_equal(spoiled, before)


def test_the_setting_of_hot_pixels_is_obeyed_and_flagged(rng):
    spoiled = spoil(white_frame((300, 400), rng).image, [(3, 5), (70, 80)], 5000.0)
    mended = compute_diffractogram(frame_of(spoiled))
    kept = compute_diffractogram(frame_of(spoiled), settings=SpectrumSettings(hot_pixel_sigma=0.0))
    assert mended.flags & Flag.HOT_PIXELS
    assert not kept.flags & Flag.HOT_PIXELS
    # Two spikes of 5000 put a power of up to (2 x 5000)² into every bin.
    assert np.median(kept.power) > 2 * np.median(mended.power)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 1.0])
def test_counted_electrons_are_no_hot_pixels(rate, rng):
    counts = rng.poisson(rate, (300, 400)).astype(np.float32)
    same, n = replace_hot_pixels(counts, sigma=12.0)
    assert n == 0
    assert same is counts


def test_clean_noise_is_left_alone(rng):
    noise = white_frame((300, 400), rng).image
    same, n = replace_hot_pixels(noise, sigma=12.0)
    assert n == 0
    assert same is noise


def test_strong_lattice_fringes_are_left_alone(rng):
    waves = [PlaneWave(0.62, 0.71, 80.0), PlaneWave(-0.5, 0.6, 80.0), PlaneWave(1.1, -0.1, 60.0)]
    image = waves_frame((200, 200), waves, rng, sigma=5.0, mean=500.0).image
    assert replace_hot_pixels(image, sigma=12.0)[1] == 0


def test_a_small_crystal_on_an_empty_support_is_no_group_of_hot_pixels(rng):
    rows, cols = np.mgrid[:400, :400]
    crystal = 200.0 * np.exp(-((rows - 200) ** 2 + (cols - 200) ** 2) / 200.0) * (1 + np.cos(2.2 * cols))
    image = (crystal + 3.0 * rng.standard_normal((400, 400))).astype(np.float32)
    assert replace_hot_pixels(image, sigma=12.0)[1] == 0
