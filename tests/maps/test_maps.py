"""What is said of places: regions, areas, errors, flags."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.errors import SettingsError
from fringemap.maps import compute_maps, to_full_size
from fringemap.maps.geometry import block_means, resample, smooth
from fringemap.maps.noise import median_of
from fringemap.maps.region import edge_level
from fringemap.records import UNKNOWN, Flag
from fringemap.settings import MapSettings
from map_frames import diffractogram_of, disc, draw_frame, match_of, spots_at

SHAPE, PIXEL = (1024, 1024), (0.4, 0.4)


def one_phase(grains, diameter, *, rng, shape=SHAPE, pixel=PIXEL, noise=1.0, **chosen):
    """Map of a phase whose spots are those of the grains, each (A, gx, gy, mask)."""
    frame = draw_frame(shape, pixel, grains, noise=noise, rng=rng)
    dg = diffractogram_of(frame, pixel, noise**2 * np.prod(shape))
    spots = spots_at(
        [g[1] for g in grains], [g[2] for g in grains], amplitude=[g[0] for g in grains], diameter=diameter
    )
    (found,) = compute_maps(
        dg, spots, match_of({"Li": range(len(grains))}, len(grains)), settings=MapSettings(**chosen)
    )
    return dg, found


def overlap(found, dg, truth):
    """Intersection over union on the frame's pixels."""
    mask = to_full_size(found, dg).mask
    return np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("diameter", "n_spots"), [(400.0, 5), (80.0, 5), (20.0, 1), (np.nan, 3)])
def test_noise_alone_has_no_region_where_otsu_marks_a_third(seed, diameter, n_spots):
    rng = np.random.default_rng(seed)
    dg = diffractogram_of(rng.standard_normal(SHAPE), PIXEL, np.prod(SHAPE))
    g, angle = rng.uniform(0.2, 0.8, n_spots), rng.uniform(-1.5, 1.5, n_spots)
    spots = spots_at(g * np.cos(angle), g * np.sin(angle), amplitude=0.05, diameter=diameter)
    match = match_of({"Li": range(n_spots)}, n_spots)
    (ours,) = compute_maps(dg, spots, match, settings=MapSettings())
    (otsu,) = compute_maps(dg, spots, match, settings=MapSettings(map="otsu"))
    assert ours.area_fraction < 0.01
    assert abs(ours.intensity) < 5.0 * ours.intensity_sigma
    assert otsu.area_fraction > 0.3


def test_the_highest_peak_of_the_noise_has_no_region(rng):
    areas = []
    for _ in range(4):
        dg = diffractogram_of(rng.standard_normal(SHAPE), PIXEL, np.prod(SHAPE))
        row, col = np.unravel_index(np.argmax(dg.power[:, 10:-10]), dg.power[:, 10:-10].shape)
        gy = (row if row < SHAPE[0] // 2 else row - SHAPE[0]) / (SHAPE[0] * PIXEL[0])
        amplitude = 2.0 * np.sqrt(dg.power[row, col + 10]) / np.prod(SHAPE)
        spots = spots_at([(col + 10) / (SHAPE[1] * PIXEL[1])], [gy], amplitude=amplitude, diameter=0.9 * 409.6)
        (found,) = compute_maps(dg, spots, match_of({UNKNOWN: [0]}, 1), settings=MapSettings())
        areas.append(found.area_fraction)
        assert (found.area_fraction == 0.0) == bool(found.flags & Flag.NOTHING_SIGNIFICANT)
    assert np.mean(areas) < 0.01


@pytest.mark.parametrize(("diameter", "amplitude"), [(60.0, 0.6), (120.0, 0.4), (120.0, 2.0), (250.0, 0.2)])
def test_area_and_place_of_a_grain_come_back(diameter, amplitude, rng):
    truth = disc(SHAPE, PIXEL, (471.3, 560.8), diameter)
    dg, found = one_phase([(amplitude, 0.4, -0.2, truth)], diameter, rng=rng)
    area = truth.mean()
    assert found.area_fraction == pytest.approx(area, rel=0.05)
    assert abs(found.area_fraction - area) < 4.0 * found.area_sigma + 0.01 * area
    assert overlap(found, dg, truth > 0.5) > 0.9
    assert scipy.ndimage.center_of_mass(to_full_size(found, dg).mask) == pytest.approx((471.3, 560.8), abs=2.0)
    inside = to_full_size(found, dg).amplitude[scipy.ndimage.binary_erosion(truth > 0.5, iterations=20)]
    assert np.sqrt(np.mean(inside**2)) == pytest.approx(amplitude, rel=0.1)


def test_a_grain_that_shows_one_of_five_spots_is_not_lost(rng):
    here, there = disc(SHAPE, PIXEL, (300.0, 300.0), 90.0), disc(SHAPE, PIXEL, (700.0, 650.0), 90.0)
    g = [(0.4, 0.1), (0.38, -0.3), (0.1, 0.45), (0.6, 0.2), (0.2, -0.6)]
    grains = [(0.5, *g[0], here)] + [(0.5, *each, there) for each in g]
    frame = draw_frame(SHAPE, PIXEL, grains[1:], noise=1.0, rng=rng)
    frame += draw_frame(SHAPE, PIXEL, grains[:1], noise=0.0, rng=rng)
    dg = diffractogram_of(frame, PIXEL, np.prod(SHAPE))
    spots = spots_at([each[0] for each in g], [each[1] for each in g], amplitude=0.5, diameter=90.0)
    (found,) = compute_maps(dg, spots, match_of({"Li": range(5)}, 5), settings=MapSettings())
    assert found.area_fraction == pytest.approx(here.mean() + there.mean(), rel=0.05)
    assert overlap(found, dg, (here + there) > 0.5) > 0.9


def test_a_weak_grain_beside_a_strong_one_has_its_own_edges(rng):
    strong, weak = disc(SHAPE, PIXEL, (300.0, 300.0), 120.0), disc(SHAPE, PIXEL, (700.0, 700.0), 120.0)
    dg, found = one_phase([(3.0, 0.4, 0.2, strong), (0.4, 0.35, -0.3, weak)], 120.0, rng=rng, resolution_nm=1.2)
    assert overlap(found, dg, (strong + weak) > 0.5) > 0.93


def test_a_grain_at_the_frames_edge_does_not_show_at_the_other_side(rng):
    truth = disc(SHAPE, PIXEL, (500.0, 0.0), 200.0)
    dg, found = one_phase([(1.0, 0.4, 0.2, truth)], 150.0, rng=rng, resolution_nm=1.5)
    mask = to_full_size(found, dg).mask
    assert np.count_nonzero(mask[:, 512:]) < 0.02 * np.count_nonzero(mask)
    assert found.area_fraction == pytest.approx(truth.mean(), rel=0.05)


def test_noise_that_is_stronger_in_one_half_is_not_taken_for_a_phase(rng):
    thickness = np.where(np.arange(SHAPE[1]) < SHAPE[1] // 2, 0.5, 2.0)
    dg = diffractogram_of(thickness * rng.standard_normal(SHAPE), PIXEL, np.mean(thickness**2) * np.prod(SHAPE))
    g = np.array([0.4, 0.42, 0.45])
    spots = spots_at(g, [0.2, -0.3, 0.1], amplitude=0.1, diameter=80.0)
    (found,) = compute_maps(dg, spots, match_of({"Li": range(3)}, 3), settings=MapSettings())
    assert found.area_fraction < 0.01


def test_a_strong_spot_of_another_phase_beside_a_weak_one_is_not_mapped_as_the_weak_one(rng):
    weak, strong = disc(SHAPE, PIXEL, (300.0, 300.0), 130.0), disc(SHAPE, PIXEL, (700.0, 700.0), 150.0)
    grains = [(0.6, 0.40, 0.20, weak), (8.0, 0.44, 0.21, strong)]
    frame = draw_frame(SHAPE, PIXEL, grains, noise=1.0, rng=rng)
    dg = diffractogram_of(frame, PIXEL, np.prod(SHAPE))
    spots = spots_at([0.40, 0.44], [0.20, 0.21], amplitude=[0.6, 8.0], diameter=140.0)
    maps = compute_maps(dg, spots, match_of({"weak": [0], "strong": [1]}, 2), settings=MapSettings(resolution_nm=1.1))
    assert overlap(maps[0], dg, weak > 0.5) > 0.85
    assert overlap(maps[1], dg, strong > 0.5) > 0.95


def test_flags_say_overlap_and_nothing(rng):
    left, right = disc(SHAPE, PIXEL, (500.0, 420.0), 150.0), disc(SHAPE, PIXEL, (500.0, 600.0), 150.0)
    grains = [(1.0, 0.4, 0.2, left), (1.0, 0.3, -0.4, right)]
    frame = draw_frame(SHAPE, PIXEL, grains, noise=1.0, rng=rng)
    spots = spots_at([0.4, 0.3, 0.7], [0.2, -0.4, 0.1], amplitude=[1.0, 1.0, 0.05], diameter=150.0)
    maps = compute_maps(
        diffractogram_of(frame, PIXEL, np.prod(SHAPE)),
        spots,
        match_of({"Li": [0], "Cu": [1], "empty": [], UNKNOWN: [2]}, 3),
        settings=MapSettings(),
    )
    assert [m.phase for m in maps] == ["Li", "Cu", UNKNOWN]
    assert [m.flags for m in maps] == [Flag.OVERLAPS, Flag.OVERLAPS, Flag.NOTHING_SIGNIFICANT]
    assert {m.amplitude.shape for m in maps} == {maps[0].mask.shape}


def test_no_spots_give_no_maps(rng):
    dg = diffractogram_of(rng.standard_normal((64, 64)), PIXEL, 64 * 64)
    assert compute_maps(dg, spots_at([], []), match_of({}, 0), settings=MapSettings()) == ()


@pytest.mark.parametrize("shape", [(1000, 1000), (1024, 768), (255, 301), (64, 2000)])
def test_any_frame_and_pixel_shape_has_maps(shape, rng):
    pixel = (0.5, 0.3)
    truth = disc(shape, pixel, (shape[0] / 2, shape[1] / 2), 0.6 * shape[0] * pixel[0])
    dg, found = one_phase([(3.0, 0.4, 0.2, truth)], 0.6 * shape[0] * pixel[0], shape=shape, pixel=pixel, rng=rng)
    assert overlap(found, dg, truth > 0.5) > 0.85
    covered = [n * p for n, p in zip(found.mask.shape, found.pixel_size_angstrom, strict=True)]
    assert covered == pytest.approx([shape[0] * pixel[0], shape[1] * pixel[1]])


def test_intensity_is_the_fringe_energy_over_the_noise(rng):
    truth = disc(SHAPE, PIXEL, (500.0, 500.0), 200.0)
    amplitude = 0.5
    frames = [one_phase([(amplitude, 0.4, 0.2, truth)], 200.0, rng=rng, resolution_nm=2.0)[1] for _ in range(12)]
    # noise of |b|²: 4 sigma² / (R C) bins under the squared Gaussian, pi r² / (2 ln 2) x frame area of them
    radius = 2.0 * np.log(2.0) / np.pi / 20.0
    bins = np.pi * radius**2 / (2.0 * np.log(2.0)) * np.prod(SHAPE) * np.prod(PIXEL)
    expected = amplitude**2 * truth.mean() / (4.0 * bins / np.prod(SHAPE))
    measured = np.array([f.intensity for f in frames])
    assert measured.mean() == pytest.approx(expected, rel=0.1)
    assert measured.std(ddof=1) == pytest.approx(frames[0].intensity_sigma, rel=0.6)


def test_a_resolution_asked_for_is_kept_and_a_senseless_one_refused(rng):
    truth = disc(SHAPE, PIXEL, (500.0, 500.0), 200.0)
    _, found = one_phase([(1.0, 0.4, 0.2, truth)], 200.0, rng=rng, resolution_nm=0.9)
    assert found.resolution_angstrom == pytest.approx(9.0)
    for senseless in (10.5, 50.0):
        with pytest.raises(SettingsError, match="resolution_nm"):
            one_phase([(1.0, 0.4, 0.2, truth)], 200.0, rng=rng, resolution_nm=senseless)


def test_full_size_maps_lie_on_the_frames_own_pixels(rng):
    truth = disc(SHAPE, PIXEL, (333.0, 666.0), 150.0)
    _, found = one_phase([(2.0, 0.4, 0.2, truth)], 150.0, rng=rng, full_size=True)
    assert found.mask.shape == found.amplitude.shape == SHAPE
    assert found.origin_px == (0.0, 0.0)
    assert found.pixel_size_angstrom == PIXEL
    assert scipy.ndimage.center_of_mass(found.mask) == pytest.approx((333.0, 666.0), abs=1.0)


@given(st.floats(1e-3, 1e4))
@settings(max_examples=8)
def test_counts_in_other_units_change_the_amplitude_alone(factor):
    shape, pixel = (256, 256), (0.4, 0.4)
    truth = disc(shape, pixel, (120.0, 130.0), 50.0)
    _, plain = one_phase([(1.0, 0.4, 0.2, truth)], 50.0, shape=shape, pixel=pixel, rng=np.random.default_rng(5))
    _, scaled = one_phase(
        [(factor, 0.4, 0.2, truth)], 50.0, shape=shape, pixel=pixel, noise=factor, rng=np.random.default_rng(5)
    )
    np.testing.assert_allclose(scaled.amplitude, factor * plain.amplitude, rtol=1e-3)
    assert np.count_nonzero(scaled.mask != plain.mask) <= 2
    assert scaled.area_sigma == pytest.approx(plain.area_sigma, rel=0.02)


def test_a_frame_moved_in_a_circle_moves_its_map(rng):
    truth = disc(SHAPE, PIXEL, (400.0, 500.0), 150.0)
    frame = draw_frame(SHAPE, PIXEL, [(1.0, 0.4, 0.2, truth)], noise=1.0, rng=rng)
    spots, match = spots_at([0.4], [0.2], amplitude=1.0, diameter=150.0), match_of({"Li": [0]}, 1)
    first, moved = (
        compute_maps(diffractogram_of(f, PIXEL, np.prod(SHAPE)), spots, match, settings=MapSettings())[0]
        for f in (frame, np.roll(frame, (64, -128), axis=(0, 1)))
    )
    assert first.mask.shape == (256, 256)
    np.testing.assert_allclose(np.roll(first.amplitude, (16, -32), axis=(0, 1)), moved.amplitude, atol=1e-3)
    assert np.count_nonzero(np.roll(first.mask, (16, -32), axis=(0, 1)) != moved.mask) < 0.02 * first.mask.sum()


def test_the_table_of_edge_levels_follows_from_a_blurred_disc():
    for radius in (1.0, 2.0, 4.0, 7.0):
        step = 0.1
        half = round((radius + 12.0) / step)
        y, x = np.ogrid[-half : half + 1, -half : half + 1]
        drawn = np.clip((radius - step * np.hypot(y, x)) / step + 0.5, 0.0, 1.0)
        power = scipy.ndimage.gaussian_filter(drawn, 1.0 / step) ** 2
        window = 1.5 * 2.3548 / step
        plateau = scipy.ndimage.gaussian_filter(power**2, window) / scipy.ndimage.gaussian_filter(power, window)
        at_edge = (half, half + round(radius / step))
        level = edge_level(np.array([radius]), 2.3548)[0]
        assert level == pytest.approx(power[at_edge] / plateau[at_edge], rel=0.03)


@given(st.integers(3, 40), st.integers(3, 40))
@settings(max_examples=20)
def test_resampling_keeps_places(n_in, n_out):
    ramp = ((np.arange(n_in) + 0.5) / n_in).astype(np.float32)
    there = resample(np.add.outer(ramp, 2.0 * ramp), (n_out, n_out))
    place = np.clip((np.arange(n_out) + 0.5) / n_out, 0.5 / n_in, 1.0 - 0.5 / n_in)
    np.testing.assert_allclose(there, np.add.outer(place, 2.0 * place), atol=1e-5)


def test_smoothing_equals_the_running_sum(rng):
    image = rng.standard_normal((60, 44)).astype(np.float32)
    slow = scipy.ndimage.gaussian_filter(image.astype(float), (3.0, 2.0), mode="wrap", truncate=6.0)
    np.testing.assert_allclose(smooth(image, (3.0, 2.0), periodic=True), slow, atol=1e-4)
    np.testing.assert_allclose(smooth(np.ones((30, 20), np.float32), (3.0, 2.0)), 1.0, rtol=1e-5)
    np.testing.assert_allclose(block_means(image, 4), image.reshape(15, 4, 11, 4).mean(axis=(1, 3)), atol=1e-6)


def test_several_images_are_smoothed_as_each_alone(rng):
    images = rng.standard_normal((3, 24, 36)).astype(np.float32)
    np.testing.assert_allclose(smooth(images, (2.0, 1.5)), [smooth(i, (2.0, 1.5)) for i in images], atol=1e-6)
    np.testing.assert_array_equal(block_means(images, 2), [block_means(i, 2) for i in images])


def test_resampling_interpolates_linearly_between_the_nearest_centres(rng):
    image = rng.standard_normal((7, 11)).astype(np.float32)
    slow = scipy.ndimage.map_coordinates(
        image.astype(float),
        np.meshgrid((np.arange(21) + 0.5) / 3.0 - 0.5, (np.arange(5) + 0.5) * 11 / 5 - 0.5, indexing="ij"),
        order=1,
        mode="nearest",
    )
    np.testing.assert_allclose(resample(image, (21, 5)), slow, atol=1e-5)


@pytest.mark.parametrize("n", [3, 4, 6])
def test_the_noise_of_several_controls_is_their_median(rng, n):
    maps = rng.standard_exponential((n, 5, 8)).astype(np.float32)
    np.testing.assert_allclose(median_of(maps), np.median(maps, axis=0), rtol=1e-6)
