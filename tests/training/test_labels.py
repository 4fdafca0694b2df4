"""Labels sit on true spots, as large and as long as their grains make them; what nobody sees is ignored."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from fringemap.records import Scale, ScaleSource, TrueSpots, Truth
from fringemap.settings import SpotSettings
from fringemap.simulate import PlaneWave, plane_wave_frame
from fringemap.spectrum import compute_diffractogram
from fringemap.spots.pattern import Pattern, make_pattern
from fringemap.training.labels import (
    Visibility,
    ellipse_pixels,
    expected_rise,
    expected_tail,
    label_pattern,
    paint_labels,
    round_forms,
    true_ellipses,
)
from fringemap.training.samples import PatternSpots

PIXEL = (0.5, 0.5)
SHAPE = (384, 320)
USUAL = Visibility()


def drawn(waves, rng, *, sigma=10.0, shape=SHAPE, max_shape=(1024, 512)):
    frame, truth = plane_wave_frame(shape, PIXEL, waves, rng=rng, noise_sigma=sigma, mean_counts=100.0)
    pattern = make_pattern(compute_diffractogram(frame), settings=SpotSettings(d_min_angstrom=1.2), max_shape=max_shape)
    return label_pattern(truth, pattern, visibility=USUAL), pattern, truth


def wave(row, col, amplitude, *, mask=None, shape=SHAPE):
    return PlaneWave(col / (shape[1] * PIXEL[1]), row / (shape[0] * PIXEL[0]), amplitude, 0.4, mask)


def ellipse_mask(diameters, angle, shape=SHAPE):
    y, x = np.mgrid[: shape[0], : shape[1]] - np.array(shape)[:, None, None] / 2
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (2 * u / diameters[0]) ** 2 + (2 * v / diameters[1]) ** 2 <= 1


@pytest.mark.parametrize("max_shape", [(1024, 512), (150, 70)])
@pytest.mark.parametrize("place", [(40.0, 60.0), (-70.3, 25.6), (55.0, 0.0), (-0.4, 80.2)])
def test_a_strong_spot_is_labelled_where_it_is(rng, place, max_shape):
    (label, weight, spots), pattern, _ = drawn([wave(*place, 8.0)], rng, max_shape=max_shape)
    assert len(spots) == 1
    assert spots.visible.all()
    listed = place if place[1] > 0 or place[0] > 0 else (-place[0], -place[1])
    np.testing.assert_allclose([spots.row[0], spots.col[0]], np.array(pattern.pixels_of(*listed), float), atol=1e-9)
    row, col = round(spots.row[0]), round(spots.col[0])
    assert label[row, col] == 1
    brightest = np.unravel_index(np.argmax(pattern.image[0]), label.shape)
    assert label[brightest] == 1
    assert (weight[label > 0] == 1).all()


def test_a_spot_on_the_axis_is_painted_twice_and_listed_once(rng):
    (label, _, spots), pattern, _ = drawn([wave(50.0, 0.0, 8.0)], rng)
    assert len(spots) == 1
    np.testing.assert_array_equal(label[:, 0], label[::-1, 0])
    assert label[pattern.zero_row + 50, 0] == label[pattern.zero_row - 50, 0] == 1


def test_the_smallest_label_is_3_by_3(rng):
    (label, _, _), _, _ = drawn([wave(40.0, 60.0, 8.0)], rng)
    rows, cols = np.nonzero(label)
    assert (np.ptp(rows), np.ptp(cols), label.sum()) == (2, 2, 9)


@pytest.mark.parametrize("angle", [0.0, 0.6, 1.5])
def test_a_narrow_grain_makes_a_long_label_across_it(rng, angle):
    mask = ellipse_mask((120, 24), angle)
    (label, _, spots), _, _ = drawn([wave(60.0, 70.0, 60.0, mask=mask)], rng)
    places = np.argwhere(label).astype(float)
    values, vectors = np.linalg.eigh(np.cov(places.T))
    long_axis = vectors[:, 1]
    # Long across the grain: along the direction in which it is narrow.
    assert abs(long_axis @ [np.cos(angle), -np.sin(angle)]) > 0.97
    assert 2 < np.sqrt(values[1] / values[0]) < 7
    assert spots.width[0] == pytest.approx(SHAPE[0] / np.sqrt(120 * 24), rel=0.25)


def test_the_label_ends_at_half_maximum(rng):
    mask = ellipse_mask((40, 40), 0.0)
    frame, truth = plane_wave_frame(SHAPE, PIXEL, [wave(60.0, 70.0, 100.0, mask=mask)], rng=rng, mean_counts=0.0)
    power = np.abs(np.fft.fft2(frame.image)[:180, :161]) ** 2
    pattern = make_pattern(compute_diffractogram(frame), settings=SpotSettings(d_min_angstrom=1.2))
    ellipses = true_ellipses(truth, pattern)
    measured = (power > power.max() / 2).sum()
    assert np.pi / 4 * ellipses.width[0] ** 2 == pytest.approx(measured, rel=0.2)


def test_spots_that_nobody_sees_are_ignored_or_left_to_the_background(rng):
    # Expected power of the three, over noise: 6, about the limit of what is ignored, and next to nothing.
    amplitudes = [np.sqrt(4 * w * 100.0 / (SHAPE[0] * SHAPE[1])) for w in (40.0, 6.0, 0.5)]
    waves = [wave(40.0, 60.0, amplitudes[0]), wave(-60.0, 50.0, amplitudes[1]), wave(80.0, 20.0, amplitudes[2])]
    (label, weight, spots), pattern, _ = drawn(waves, rng)
    assert len(spots) == 2
    np.testing.assert_array_equal(spots.visible, [True, False])
    middle = pattern.zero_row
    assert label[middle + 40, 60] == 1
    assert (label[middle - 60, 50], weight[middle - 60, 50]) == (0, 0)
    assert (label[middle + 80, 20], weight[middle + 80, 20]) == (0, 1)


def test_a_spot_that_a_picture_has_swallowed_is_ignored(rng):
    waves = [wave(40.0, 60.0, 8.0)]
    _, truth = plane_wave_frame(SHAPE, PIXEL, waves, rng=rng, noise_sigma=10.0)
    empty, _ = plane_wave_frame(SHAPE, PIXEL, [], rng=np.random.default_rng(3), noise_sigma=10.0)
    pattern = make_pattern(compute_diffractogram(empty), settings=SpotSettings(d_min_angstrom=1.2))
    pattern.image[:, pattern.zero_row + 37 : pattern.zero_row + 44, 57:64] = -1.0
    label, weight, spots = label_pattern(truth, pattern, visibility=USUAL)
    assert not spots.visible.any()
    assert not label.any()
    assert weight[pattern.zero_row + 40, 60] == 0


def test_a_wide_spot_that_is_not_there_is_ignored_though_noise_has_a_bright_pixel_at_its_place(rng):
    mask = ellipse_mask((20.0, 20.0), 0.0)
    (_, _, there), _, truth = drawn([wave(40.0, 60.0, 30.0, mask=mask)], rng)
    _, empty, _ = drawn([], rng)
    label, weight, spots = label_pattern(truth, empty, visibility=USUAL)
    row, col = round(spots.row[0]), round(spots.col[0])
    assert there.visible.all()
    assert empty.image[0, row - 5 : row + 6, col - 5 : col + 6].max() > 2.0
    assert not spots.visible.any()
    assert label[row, col] == weight[row, col] == 0


def test_a_wide_spot_needs_more_energy_than_a_narrow_one():
    snr = np.full(3, 6.0)
    tail = expected_tail(snr, np.array([1.0, 10.0, 100.0]))
    assert (np.diff(tail) > 0).all()
    assert tail[0] == pytest.approx(np.exp(-(1 + 0.5 * 18)), rel=1e-6)


def test_the_middle_of_a_spot_rises_as_high_as_its_power_does(rng):
    mask = ellipse_mask((40, 30), 0.4)
    frame, truth = plane_wave_frame(
        SHAPE, PIXEL, [wave(60.0, 70.0, 60.0, mask=mask)], rng=rng, noise_sigma=5.0, mean_counts=0.0
    )
    pattern = make_pattern(compute_diffractogram(frame), settings=SpotSettings(d_min_angstrom=1.2))
    power = np.abs(np.fft.fft2(frame.image)) ** 2 / (25.0 * SHAPE[0] * SHAPE[1])
    expected = expected_rise(truth.spots.snr, true_ellipses(truth, pattern).form)
    assert expected == pytest.approx(power.max(), rel=0.2)


def faint_and_wide(amplitude, rng, **view):
    """Label, weight and pattern of one wide spot; its middle rises to 0.01 amplitude²."""
    mask = ellipse_mask((30, 30), 0.0)
    frame, truth = plane_wave_frame(
        SHAPE, PIXEL, [wave(60.0, 70.0, amplitude, mask=mask)], rng=rng, noise_sigma=10.0, mean_counts=100.0
    )
    pattern = make_pattern(compute_diffractogram(frame), settings=SpotSettings(d_min_angstrom=1.2))
    label, weight, spots = label_pattern(truth, pattern, visibility=view.pop("visibility", USUAL), **view)
    return label, weight, expected_rise(spots.snr, true_ellipses(truth, pattern).form)


def test_pixels_that_drown_in_noise_are_not_asked_for_though_their_spot_is(rng):
    label, weight, rise = faint_and_wide(8.5, rng)
    assert rise[0] < 1
    assert label.sum() > 50
    assert not weight[label > 0].any()
    label, weight, rise = faint_and_wide(12.0, rng)
    assert 1 < rise[0] < 2
    asked = label & weight
    # A Gaussian's middle, within sqrt(log2 of its peak) half widths.
    assert asked.sum() == pytest.approx(label.sum() * np.log2(rise[0]), rel=0.1)


def test_averaging_frames_brings_faint_pixels_back(rng):
    label, weight, _ = faint_and_wide(8.5, rng, n_averaged=16)
    assert (label & weight).sum() > 0.8 * label.sum()


def test_all_beside_the_half_maximum_is_background_however_high_the_spot_still_stands_out_there(rng):
    label, weight, rise = faint_and_wide(40.0, rng)
    assert rise[0] > 10
    assert weight[label > 0].all()
    np.testing.assert_array_equal(weight, faint_and_wide(0.0, rng)[1])


def test_without_a_least_rise_all_within_the_half_maximum_is_asked_for(rng):
    label, weight, _ = faint_and_wide(8.5, rng, visibility=Visibility(least_rise=0.0))
    assert weight[label > 0].all()
    np.testing.assert_array_equal(weight, faint_and_wide(0.0, rng)[1])


def test_where_no_spot_is_looked_for_the_weight_is_0(rng):
    (label, weight, _), pattern, _ = drawn([], rng)
    np.testing.assert_array_equal(weight, pattern.valid)
    assert not label.any()


def test_a_visible_spot_wins_where_it_meets_an_ignored_one():
    valid = np.ones((41, 40), bool)
    spots = PatternSpots(
        np.array([20.0, 20.0]), np.array([20.0, 23.0]), np.array([5.0, 5.0]), np.full(2, 9.0), np.array([True, False])
    )
    label, weight = paint_labels(spots, round_forms(spots.width, (1.0, 1.0)), valid)
    assert weight[20, 22] == 1
    assert weight[20, 24] == 0
    assert (weight[label > 0] == 1).all()


def test_an_ellipse_holds_the_pixels_that_the_formula_says(rng):
    for _ in range(50):
        root = rng.normal(size=(2, 2)) * 0.2
        form = root @ root.T + 0.02 * np.eye(2)
        row, col = rng.uniform(-3, 33, 2)
        window, inside = ellipse_pixels(row, col, form, (30, 25))
        painted = np.zeros((30, 25), bool)
        painted[window] = inside
        y, x = np.mgrid[:30, :25] - np.array([row, col])[:, None, None]
        expected = form[0, 0] * y**2 + 2 * form[0, 1] * y * x + form[1, 1] * x**2 <= 1
        np.testing.assert_array_equal(painted, expected)


def test_moire_without_a_mask_gets_a_round_label():
    none = np.zeros(1)
    spots = TrueSpots(
        np.array([0.3]),
        np.array([0.2]),
        np.zeros((1, 3), int),
        ("moire",),
        np.array([-1]),
        none + 1,
        none + 0.05,
        none + 30,
    )
    truth = Truth((), np.zeros((0, 64, 64), bool), spots, Scale(PIXEL, 0.0, ScaleSource.CALIBRATED))
    pattern = Pattern(np.full((2, 81, 60), 5.0, np.float32), np.ones((81, 60), bool), (1, 1), (0.01, 0.01))
    label, _, listed = label_pattern(truth, pattern, visibility=USUAL)
    assert listed.width[0] == pytest.approx(5.0)
    assert scipy.ndimage.center_of_mass(label) == pytest.approx((60.0, 30.0), abs=0.1)
    assert label.sum() == pytest.approx(np.pi * 2.5**2, rel=0.15)
