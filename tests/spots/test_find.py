from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fringemap.records import Flag, Spots
from fringemap.settings import SpotSettings
from fringemap.spectrum import average_diffractograms, bin_size, compute_diffractogram, to_bins
from fringemap.spots import Candidates, find_spots, measure_spots
from fringemap.spots.find import detect_spots
from spectrum_frames import PIXEL, disc_mask, frame_of, scale_of, wave_at, waves_frame, white_frame

SHAPE = (256, 256)


def spots_of(waves, rng, *, shape=SHAPE, sigma=10.0, pixel=PIXEL, **settings):
    frame = waves_frame(shape, waves, rng, sigma=sigma, pixel=pixel)
    return find_spots(compute_diffractogram(frame), settings=SpotSettings(**settings))


def bins_of(spots, *, shape=SHAPE, pixel=PIXEL):
    return to_bins(spots.gx, spots.gy, frame_shape=shape, scale=scale_of(pixel))


def nearest(spots, wave):
    return int(np.argmin(np.hypot(spots.gx - wave.gx, spots.gy - wave.gy)))


def candidates_at(row, col, width=1.0):
    row, col = np.atleast_1d(np.asarray(row, float)), np.atleast_1d(np.asarray(col, float))
    return Candidates(row, col, np.full(len(row), width), 9.0 - np.arange(len(row)), *np.zeros((2, len(row)), bool))


@pytest.mark.parametrize("shape", [(256, 256), (255, 301)])
def test_a_frame_without_spots_gives_empty_columns(shape, rng):
    spots = find_spots(compute_diffractogram(white_frame(shape, rng)), settings=SpotSettings(false_spots=1e-6))
    assert len(spots) == 0
    assert spots.covariance.shape == (0, 2, 2)
    assert spots.position.shape == spots.extent.shape == (0, 2)
    assert len(spots.d_spacing) == len(spots.d_sigma) == len(spots.flags) == len(spots.snr) == 0


def test_a_single_spot_is_measured_with_all_its_columns(rng):
    wave = wave_at(-40.3, 61.7, 2.0, shape=SHAPE)
    spots = spots_of([wave], rng)
    assert len(spots) == 1
    assert (spots.gx[0], spots.gy[0]) == pytest.approx((wave.gx, wave.gy), abs=5 * spots.g_sigma[0])
    assert spots.d_spacing[0] == pytest.approx(1 / np.hypot(wave.gx, wave.gy), abs=5 * spots.d_sigma[0])
    for name in ("amplitude", "amplitude_sigma", "snr", "width", "score", "position", "extent", "covariance"):
        assert np.isfinite(getattr(spots, name)).all(), name
    assert spots.amplitude[0] == pytest.approx(2.0, rel=0.35)
    assert spots.snr[0] == pytest.approx(2.0 / 10.0 * np.sqrt(256 * 256 / 2), rel=0.15)
    assert spots.width[0] == pytest.approx(0.886 / 102.4, rel=0.25)
    np.testing.assert_allclose(spots.position[0], [128, 128], atol=45)


def test_one_of_each_friedel_pair_is_listed_by_the_convention(rng):
    places = [(30.0, 40.0), (-50.0, 20.0), (60.0, 0.0), (-70.0, 0.0), (0.0, 80.0), (-25.4, -55.2)]
    waves = [wave_at(row, col, 2.5, shape=SHAPE, argument=k) for k, (row, col) in enumerate(places)]
    spots = spots_of(waves, rng)
    assert len(spots) == len(places)
    step = bin_size(SHAPE, scale_of())[0]
    # A spot measured on the axis may lie either side of it by its error; what is listed has gx >= 0.
    assert (spots.gx >= 0).all()
    assert ((spots.gx > 0) | (spots.gy > 0)).all()
    for wave in waves:
        distance = np.minimum(
            np.hypot(spots.gx - wave.gx, spots.gy - wave.gy), np.hypot(spots.gx + wave.gx, spots.gy + wave.gy)
        )
        assert distance.min() < 0.3 * step


def test_doubling_the_pixel_size_doubles_every_length(rng):
    frame = waves_frame(SHAPE, [wave_at(40.2, 61.7, 2.0, shape=SHAPE)], rng, sigma=10.0)
    doubled = replace(frame, scale=scale_of((0.8, 0.8)))
    one = find_spots(compute_diffractogram(frame))
    other = find_spots(compute_diffractogram(doubled))
    # The limits of d and the smallest grain are lengths, so the detector's first guess differs a little.
    assert other.d_spacing[0] == pytest.approx(2 * one.d_spacing[0], rel=1e-5)
    assert other.d_sigma[0] == pytest.approx(2 * one.d_sigma[0], rel=1e-2)
    assert other.width[0] == pytest.approx(one.width[0] / 2, rel=1e-2)
    assert other.angle[0] == pytest.approx(one.angle[0], abs=1e-5)
    assert other.snr[0] == pytest.approx(one.snr[0], rel=1e-2)


def test_turning_the_frame_turns_the_spots(rng):
    shape = (256, 300)
    frame = waves_frame(shape, [wave_at(40.2, 61.7, 2.0, shape=shape)], rng, sigma=10.0)
    spots = find_spots(compute_diffractogram(frame))
    turned = find_spots(compute_diffractogram(replace(frame, image=np.rot90(frame.image).copy())))
    # Against the clock as shown: (gx, gy) becomes (gy, -gx).
    assert (turned.gx[0], turned.gy[0]) == pytest.approx((spots.gy[0], -spots.gx[0]), abs=2 * spots.g_sigma[0])


def test_counts_ten_times_as_many_change_nothing_but_the_amplitude(rng):
    frame = waves_frame(SHAPE, [wave_at(40.2, 61.7, 2.0, shape=SHAPE)], rng, sigma=10.0)
    one = find_spots(compute_diffractogram(frame))
    ten = find_spots(compute_diffractogram(replace(frame, image=frame.image * 10)))
    assert ten.amplitude[0] == pytest.approx(10 * one.amplitude[0], rel=1e-3)
    assert ten.gx[0] == pytest.approx(one.gx[0], abs=0.02 * one.g_sigma[0])
    assert ten.snr[0] == pytest.approx(one.snr[0], rel=1e-3)


def test_a_harmonic_of_a_stronger_spot_is_flagged(rng):
    waves = [wave_at(20.3, 25.1, 4.0, shape=SHAPE), wave_at(40.6, 50.2, 1.0, shape=SHAPE)]
    spots = spots_of(waves, rng)
    assert spots.flags[nearest(spots, waves[1])] & Flag.HARMONIC
    assert not spots.flags[nearest(spots, waves[0])] & Flag.HARMONIC


def test_a_spot_stronger_than_its_half_order_is_no_harmonic(rng):
    waves = [wave_at(20.3, 25.1, 1.0, shape=SHAPE), wave_at(40.6, 50.2, 4.0, shape=SHAPE)]
    assert not (spots_of(waves, rng).flags & Flag.HARMONIC).any()


@pytest.mark.parametrize(("place", "flagged"), [((0.0, 60.0), True), ((60.0, 0.4), True), ((60.0, 5.0), False)])
def test_a_spot_beside_an_axis_may_belong_to_its_streak(place, flagged, rng):
    spots = spots_of([wave_at(*place, 2.0, shape=SHAPE)], rng)
    assert bool(spots.flags[0] & Flag.ON_STREAK) == flagged


@pytest.mark.parametrize(("diameter", "flagged"), [(50, True), (220, False)])
def test_a_grain_of_few_periods_is_flagged(diameter, flagged, rng):
    # |g| = 0.1 1/Å: a period of 25 px.
    mask = disc_mask(SHAPE, (128, 128), diameter)
    amplitude = 10.0 * 40.0 / np.sqrt(np.pi * (diameter / 2) ** 2 / 2)
    wave = wave_at(18.1, 18.1, amplitude, shape=SHAPE, mask=mask)
    spots = spots_of([wave], rng, d_max_angstrom=10.0)
    periods = diameter * 0.4 * np.hypot(wave.gx, wave.gy)
    assert (periods < 7) == flagged or periods > 14
    assert bool(spots.flags[nearest(spots, wave)] & Flag.FEW_PERIODS) == flagged


def test_a_spot_near_the_sampling_limit_is_flagged(rng):
    pixel = (0.8, 0.8)
    waves = [wave_at(10.0, 122.0, 2.5, shape=SHAPE, pixel=pixel), wave_at(50.0, 60.0, 2.5, shape=SHAPE, pixel=pixel)]
    spots = spots_of(waves, rng, pixel=pixel)
    assert spots.flags[nearest(spots, waves[0])] & Flag.NEAR_NYQUIST
    assert not spots.flags[nearest(spots, waves[1])] & Flag.NEAR_NYQUIST


def test_a_spot_of_a_single_bin_is_flagged(rng):
    waves = [wave_at(30.0, 40.0, 8.0, shape=SHAPE), wave_at(-50.5, 70.5, 8.0, shape=SHAPE)]
    spots = spots_of(waves, rng)
    assert spots.flags[nearest(spots, waves[0])] & Flag.SINGLE_PIXEL
    assert not spots.flags[nearest(spots, waves[1])] & Flag.SINGLE_PIXEL


def test_grains_of_nearly_the_same_g_are_flagged_as_several(rng):
    centres = [(70, 70), (70, 190), (190, 70), (190, 190)]
    waves = [
        wave_at(50.0 + d, 60.0 - d, 20.0, shape=SHAPE, mask=disc_mask(SHAPE, c, 70), argument=2.0 * d)
        for d, c in zip((-1.0, 0.0, 0.6, 1.2), centres, strict=True)
    ]
    spots = spots_of(waves, rng)
    assert spots.flags[0] & Flag.SEVERAL_GRAINS
    row, col = bins_of(spots)
    assert np.hypot(row[0] - 50.2, col[0] - 59.8) < 3.0


def test_one_grain_is_not_flagged_as_several(rng):
    for k in range(8):
        mask = disc_mask(SHAPE, (100 + 8 * k, 150 - 6 * k), 90)
        spots = spots_of([wave_at(50.0 + k / 7, 60.0, 3.0, shape=SHAPE, mask=mask, argument=k)], rng)
        assert len(spots) == 1
        assert not spots.flags[0] & Flag.SEVERAL_GRAINS


def test_candidates_on_one_spot_or_its_mate_are_joined(rng):
    frame = waves_frame(SHAPE, [wave_at(-40.3, 61.7, 3.0, shape=SHAPE)], rng, sigma=10.0)
    candidates = candidates_at([-40.0, -40.4, 40.3], [62.0, 61.3, -61.7])
    assert len(measure_spots(compute_diffractogram(frame), candidates)) == 1


def test_a_candidate_on_nothing_keeps_its_place_and_says_so(rng):
    diffractogram = compute_diffractogram(white_frame(SHAPE, rng))
    lost = 0
    for k in range(20):
        spots = measure_spots(diffractogram, candidates_at(-30.0 - k, 40.0 + 2 * k))
        if spots.flags[0] & Flag.NOT_REFINED:
            lost += 1
            row, col = bins_of(spots)
            assert (row[0], col[0]) == pytest.approx((-30.0 - k, 40.0 + 2 * k))
            assert np.isnan(spots.covariance).all()
    assert len(spots) == 1
    assert lost < 20


def test_a_saturated_frame_is_measured_without_nan(rng):
    image = waves_frame(SHAPE, [wave_at(30.2, 40.4, 10.0, shape=SHAPE)], rng, sigma=10.0).image
    spots = find_spots(compute_diffractogram(frame_of(np.clip(image, 90.0, 110.0))))
    row, col = bins_of(spots)
    assert (row[0], col[0]) == pytest.approx((30.2, 40.4), abs=0.3)
    refined = (spots.flags & Flag.NOT_REFINED) == 0
    for name in ("gx", "gy", "amplitude", "amplitude_sigma", "snr", "width", "score"):
        assert np.isfinite(getattr(spots, name)).all(), name
    assert np.isfinite(spots.covariance[refined]).all()


def test_no_candidates_make_an_empty_table(rng):
    spots = measure_spots(compute_diffractogram(white_frame((64, 64), rng)), candidates_at([], []))
    assert isinstance(spots, Spots)
    assert len(spots) == 0


def test_an_averaged_diffractogram_shows_fainter_spots(rng):
    wave = wave_at(40.0, 61.0, 0.2, shape=SHAPE)
    frames = [waves_frame(SHAPE, [wave], rng, sigma=10.0) for _ in range(12)]
    settings = SpotSettings(false_spots=1e-3)
    single = [len(find_spots(compute_diffractogram(frame), settings=settings)) for frame in frames]
    averaged = find_spots(average_diffractograms(frames), settings=settings)
    assert sum(single) <= 3
    assert np.hypot(averaged.gx - wave.gx, averaged.gy - wave.gy).min() < 1.5 / 102.4


def test_a_fringe_that_was_drawn_without_any_noise_is_found(rng):
    frame = frame_of(100.0 + 20.0 * np.cos(2.0 * np.pi * 30.0 * np.arange(300) / 300)[None] * np.ones((300, 1)))
    for detector in ("unet", "classical"):
        spots = find_spots(compute_diffractogram(frame), settings=SpotSettings(detector=detector))
        strongest = int(np.argmax(spots.amplitude))
        step = bin_size((300, 300), frame.scale)[1]
        assert spots.gx[strongest] == pytest.approx(30.0 * step, abs=0.1 * step)


def test_a_picture_that_repeats_itself_exactly_has_no_more_peaks_than_are_looked_at(rng):
    tile = rng.normal(100.0, 10.0, (64, 64))
    diffractogram = compute_diffractogram(frame_of(np.tile(tile, (8, 8))))
    listed = detect_spots(diffractogram, settings=SpotSettings(detector="classical", false_spots=5.0))
    assert len(listed) <= 1000
