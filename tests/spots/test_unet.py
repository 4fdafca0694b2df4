from __future__ import annotations

import numpy as np
import pytest

from fringemap.errors import ModelError
from fringemap.records import Flag
from fringemap.settings import SpectrumSettings, SpotSettings
from fringemap.spectrum import compute_diffractogram
from fringemap.spots import detect_spots, find_spots
from fringemap.spots.find import false_spots_at
from fringemap.spots.model import load_model
from fringemap.spots.pattern import make_pattern
from fringemap.spots.unet import compute_logit, detect_unet, find_regions
from made_model import BIAS, WEIGHTS, write_made_model
from spectrum_frames import disc_mask, wave_at, waves_frame, white_frame

SHAPE = (256, 256)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return str(write_made_model(tmp_path_factory.mktemp("made")))


def detect(frame, package, **settings):
    return detect_spots(compute_diffractogram(frame), settings=SpotSettings(detector="unet", model=package, **settings))


@pytest.mark.parametrize("shape", [(256, 256), (255, 301), (400, 240)])
def test_waves_are_found_once_each_at_their_bins(shape, package, rng):
    places = np.array([(0.11, 0.21), (-0.27, 0.13), (0.28, 0.25), (-0.05, 0.38), (0.36, 0.07)]) * shape
    waves = [wave_at(row, col, 2.5, shape=shape, argument=k) for k, (row, col) in enumerate(places)]
    found = detect(waves_frame(shape, waves, rng, sigma=10.0), package)
    assert len(found) == len(places)
    assert (np.diff(found.score) <= 0).all()
    for row, col in places:
        assert np.hypot(found.row - row, found.col - col).min() < 0.8


def test_a_large_frame_is_seen_through_fewer_pixels_and_measured_in_its_own_bins(package, rng):
    shape, pixel = (2304, 2304), (0.2, 0.2)
    waves = [wave_at(row, col, 1.0, shape=shape, pixel=pixel) for row, col in ((301.2, 199.7), (-155.0, 410.4))]
    frame = waves_frame(shape, waves, rng, sigma=10.0, pixel=pixel)
    diffractogram = compute_diffractogram(frame)
    settings = SpotSettings(detector="unet", model=package, d_min_angstrom=0.6)
    assert max(make_pattern(diffractogram, settings=settings).factor) > 1
    spots = find_spots(diffractogram, settings=settings)
    assert len(spots) == 2
    for wave in waves:
        assert np.hypot(spots.gx - wave.gx, spots.gy - wave.gy).min() < 0.5 / (2304 * 0.2)


@pytest.mark.parametrize(("row", "col"), [(60.0, 0.0), (-60.0, 0.0), (60.4, 0.0), (0.0, 60.0), (50.0, 0.6)])
def test_a_spot_beside_an_axis_is_listed_once_by_the_convention(row, col, package, rng):
    found = detect(waves_frame(SHAPE, [wave_at(row, col, 3.0, shape=SHAPE)], rng, sigma=10.0), package)
    assert len(found) == 1
    assert (found.col[0], found.row[0]) > (0, 0) or found.col[0] > -0.5
    assert np.hypot(abs(found.row[0]) - abs(row), abs(found.col[0]) - col) < 0.8


def test_a_wide_spot_is_one_spot_with_its_width(package, rng):
    mask = disc_mask(SHAPE, (128, 128), 40)
    found = detect(waves_frame(SHAPE, [wave_at(52.0, 60.0, 25.0, shape=SHAPE, mask=mask)], rng, sigma=10.0), package)
    assert len(found) == 1
    assert found.width[0] == pytest.approx(0.9 * 256 / 40, rel=0.4)


def test_a_frame_without_spots_gives_no_candidates(package, rng):
    found = detect(white_frame(SHAPE, rng), package, false_spots=1e-6)
    assert len(found) == len(found.row) == len(found.merged) == 0


def test_the_score_is_that_of_the_table(package, rng):
    frame = waves_frame(SHAPE, [wave_at(40.0, 61.0, 0.7, shape=SHAPE)], rng, sigma=10.0)
    diffractogram = compute_diffractogram(frame)
    found = detect(frame, package)
    model = load_model(package)
    pattern = make_pattern(diffractogram, settings=SpotSettings())
    logit = compute_logit(model, pattern.image).max()
    wanted = model.calibration.score(np.array([logit]), int(pattern.valid.sum()))
    assert found.score[0] == pytest.approx(wanted[0])


def test_higher_rates_and_sensitivities_list_no_fewer_spots(package, rng):
    waves = [wave_at(40.0 + 6 * k, 60.0, 0.3 * k, shape=SHAPE) for k in range(8)]
    frame = waves_frame(SHAPE, waves, rng, sigma=10.0)
    by_rate = [len(detect(frame, package, false_spots=rate)) for rate in (1e-6, 0.05, 10.0)]
    by_sensitivity = [len(detect(frame, package, sensitivity=s)) for s in (0, 25, 50, 75, 100)]
    assert by_rate == sorted(by_rate)
    assert by_sensitivity == sorted(by_sensitivity)
    assert by_rate[0] < by_rate[2]


@pytest.mark.parametrize("detector", ["classical", "unet"])
def test_sensitivity_50_is_the_usual_rate_for_both_detectors(detector, package, rng):
    waves = [wave_at(40.0 + 6 * k, 60.0, 0.3 * k, shape=SHAPE) for k in range(8)]
    diffractogram = compute_diffractogram(waves_frame(SHAPE, waves, rng, sigma=10.0))
    plain = detect_spots(diffractogram, settings=SpotSettings(detector=detector, model=package))
    half = detect_spots(diffractogram, settings=SpotSettings(detector=detector, model=package, sensitivity=50.0))
    np.testing.assert_array_equal(plain.row, half.row)
    assert false_spots_at(50.0) == SpotSettings().false_spots
    assert false_spots_at(75.0) == pytest.approx(0.5)


def test_each_pixel_and_its_mate_get_the_logit_of_the_network(package, rng):
    pattern = make_pattern(compute_diffractogram(white_frame((300, 200), rng)), settings=SpotSettings())
    logit = compute_logit(load_model(package), pattern.image)
    half = WEIGHTS[0] * pattern.image[0] + WEIGHTS[1] * pattern.image[1] + BIAS
    np.testing.assert_allclose(logit[:, 32:], half, atol=1e-5)
    np.testing.assert_allclose(logit[:, :32], half[::-1, 32:0:-1], atol=1e-5)


def test_a_pattern_narrower_than_the_margin_is_completed_as_far_as_it_goes(package, rng):
    frame = waves_frame((64, 40), [wave_at(12.0, 9.0, 12.0, shape=(64, 40))], rng, sigma=10.0)
    found = detect(frame, package)
    assert np.hypot(found.row - 12.0, found.col - 9.0).min() < 0.8


def test_regions_are_listed_by_their_highest_logit_one_of_each_pair():
    logit = np.full((21, 15), -5.0, np.float32)
    logit[3, 4:7] = (1.0, 3.0, 2.0)
    logit[15, 9] = 4.0
    # On the axis, with its mate.
    logit[14, 0] = logit[6, 0] = 2.0
    regions = find_regions(logit, np.ones(logit.shape, bool), level=0.0)
    assert regions.logit.tolist() == [4.0, 3.0, 2.0]
    assert list(zip(regions.row, regions.col, strict=True)) == [(15, 9), (3, 5), (14, 0)]
    assert regions.size.tolist() == [1, 3, 1]
    assert len(find_regions(logit, np.zeros(logit.shape, bool), level=0.0)) == 0


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    """A network that sees nothing at all."""
    return str(write_made_model(tmp_path_factory.mktemp("blind"), bias=-60.0))


@pytest.fixture(scope="module")
def credulous(tmp_path_factory):
    """A network that takes the brightest bins of noise for spots."""
    return str(write_made_model(tmp_path_factory.mktemp("credulous"), bias=-5.0))


def test_what_the_network_alone_lists_is_marked(credulous, rng):
    frame = waves_frame(SHAPE, [wave_at(40.0, 61.0, 0.6, shape=SHAPE)], rng, sigma=10.0)
    spots = find_spots(compute_diffractogram(frame), settings=SpotSettings(detector="unet", model=credulous))
    marked = (spots.flags & Flag.UNCONFIRMED) != 0
    wave = np.hypot(spots.gx - 61.0 / 102.4, spots.gy - 40.0 / 102.4) < 1.5 / 102.4
    assert wave.sum() == 1
    assert marked.sum() >= 3
    np.testing.assert_array_equal(marked, ~wave)


def test_what_the_law_lists_is_told_before_the_network_has_its_say(credulous, rng):
    frame = waves_frame(SHAPE, [wave_at(40.0, 61.0, 0.6, shape=SHAPE)], rng, sigma=10.0)
    diffractogram = compute_diffractogram(frame)
    told = []
    detect_unet(diffractogram, settings=SpotSettings(detector="unet", model=credulous), meanwhile=told.append)
    by_law = detect_spots(diffractogram, settings=SpotSettings(detector="classical"))
    np.testing.assert_array_equal(np.concatenate([found.row for found in told]), by_law.row)
    np.testing.assert_array_equal(np.concatenate([found.width for found in told]), by_law.width)


def test_threads_change_nothing_that_the_network_sees(package, rng):
    frame = waves_frame(SHAPE, [wave_at(40.0, 61.0, 0.6, shape=SHAPE)], rng, sigma=10.0)
    diffractogram, settings = compute_diffractogram(frame), SpotSettings(detector="unet", model=package)
    one, three = (make_pattern(diffractogram, settings=settings, workers=n) for n in (1, 3))
    np.testing.assert_array_equal(one.image, three.image)
    one, three = (detect_unet(diffractogram, settings=settings, workers=n) for n in (1, 3))
    np.testing.assert_array_equal(one.score, three.score)


def test_a_sharp_wave_needs_no_network_but_a_wide_spot_does(blind, rng):
    sharp = detect(waves_frame(SHAPE, [wave_at(40.0, 61.0, 0.6, shape=SHAPE)], rng, sigma=10.0), blind)
    assert (len(sharp), sharp.unconfirmed.any()) == (1, False)
    assert np.hypot(sharp.row[0] - 40.0, sharp.col[0] - 61.0) < 0.8
    mask = disc_mask(SHAPE, (128, 128), 40)
    assert (
        len(detect(waves_frame(SHAPE, [wave_at(52.0, 60.0, 25.0, shape=SHAPE, mask=mask)], rng, sigma=10.0), blind))
        == 0
    )


def test_where_a_window_is_needed_a_spot_is_on_both_lists_or_marked(package, blind, credulous, rng):
    waves = [wave_at(40.0, 61.0, 8.0, shape=SHAPE), wave_at(-70.0, 40.0, 5.0, shape=SHAPE)]
    frame = waves_frame(SHAPE, waves, rng, sigma=10.0)
    lists = [detect(frame, model) for model in (package, blind, credulous)]
    assert [int((~found.unconfirmed).sum()) for found in lists] == [2, 0, 2]
    assert len(lists[1]) == 0
    by_law = detect_spots(compute_diffractogram(frame), settings=SpotSettings(detector="classical"))
    assert lists[0].score[~lists[0].unconfirmed].max() <= by_law.score.max()


def test_under_a_window_that_was_asked_for_a_spot_has_to_be_on_both_lists(credulous, rng):
    waves = [wave_at(40.0, 61.0, 8.0, shape=SHAPE), wave_at(-70.0, 40.0, 5.0, shape=SHAPE)]
    frame = waves_frame(SHAPE, waves, rng, sigma=10.0)
    diffractogram = compute_diffractogram(frame, settings=SpectrumSettings(edges="hann"))
    found = detect_spots(diffractogram, settings=SpotSettings(detector="unet", model=credulous))
    assert len(found) == 2
    assert not found.unconfirmed.any()


def test_a_missing_model_is_an_error_and_no_other_detector(rng):
    with pytest.raises(ModelError, match="--detector classical"):
        detect(white_frame((64, 64), rng), "/no/such/folder")
