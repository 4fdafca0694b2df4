from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from fringemap.errors import CalibrationError, ReadError
from fringemap.records import Flag
from fringemap.settings import SpectrumSettings
from fringemap.spectrum import average_diffractograms, compute_diffractogram, frequency_axes, whiten
from spectrum_frames import PIXEL, frame_of, scale_of, thon_frame, wave_at, waves_frame, white_frame


def brightest(diffractogram):
    """(gx, gy) of the brightest bin."""
    gy, gx = frequency_axes(diffractogram.frame_shape, diffractogram.scale)
    row, col = np.unravel_index(np.argmax(diffractogram.power), diffractogram.power.shape)
    return gx[col], gy[row]


def test_a_wave_appears_at_its_g_with_the_power_of_the_conventions(rng):
    shape, pixel = (90, 128), (0.5, 0.3)
    frame = waves_frame(shape, [wave_at(-9, 20, 4.0, shape=shape, pixel=pixel)], rng, pixel=pixel)
    diffractogram = compute_diffractogram(frame, settings=SpectrumSettings(edges="none"))
    assert brightest(diffractogram) == pytest.approx((20 / (128 * 0.3), -9 / (90 * 0.5)))
    assert diffractogram.power.max() == pytest.approx((4.0 * 90 * 128 / 2) ** 2, rel=1e-4)


def test_doubling_the_pixel_size_doubles_d(rng):
    shape = (64, 80)
    frame = waves_frame(shape, [wave_at(5, 11, 4.0, shape=shape)], rng, sigma=1.0)
    doubled = replace(frame, scale=scale_of((2 * PIXEL[0], 2 * PIXEL[1])))
    d, d_doubled = (1 / np.hypot(*brightest(compute_diffractogram(f))) for f in (frame, doubled))
    assert d_doubled == pytest.approx(2 * d)


def test_a_turned_frame_has_its_g_turned(rng):
    shape = (64, 80)
    frame = waves_frame(shape, [wave_at(5, 11, 4.0, shape=shape)], rng, sigma=1.0)
    gx, gy = brightest(compute_diffractogram(frame))
    turned_x, turned_y = brightest(compute_diffractogram(replace(frame, image=np.rot90(frame.image).copy())))
    # np.rot90 turns against the clock; y points down, so (gx, gy) becomes (gy, -gx), or its mate.
    sign = np.sign(turned_x)
    assert (turned_x, turned_y) == pytest.approx((sign * gy, -sign * gx))


def test_a_frame_without_pixel_size_is_refused(rng):
    with pytest.raises(CalibrationError, match="--pixel-size"):
        compute_diffractogram(replace(white_frame((32, 32), rng), scale=None))


@pytest.mark.parametrize("value", [0.0, 7.5, 65535.0])
def test_a_constant_frame_is_refused(value):
    with pytest.raises(ReadError, match="holds no image"):
        compute_diffractogram(frame_of(np.full((48, 32), value)))


def test_no_frame_at_all_is_refused():
    with pytest.raises(ReadError, match="no frame"):
        average_diffractograms([])


def test_frames_that_differ_in_shape_or_scale_are_not_averaged(rng):
    frame = white_frame((40, 40), rng)
    with pytest.raises(CalibrationError, match="differs"):
        average_diffractograms([frame, white_frame((40, 41), rng)])
    with pytest.raises(CalibrationError, match="differs"):
        average_diffractograms([frame, white_frame((40, 40), rng, pixel=(0.4, 0.5))])


def test_the_average_is_that_of_the_powers_with_the_flags_of_all(rng):
    frames = [white_frame((64, 50), rng, mean=mean) for mean in (90.0, 120.0)]
    frames[1] = replace(frames[1], flags=Flag.SATURATED)
    one, other = (compute_diffractogram(frame) for frame in frames)
    both = average_diffractograms(iter(frames))
    np.testing.assert_allclose(both.power, (one.power + other.power) / 2, rtol=1e-5)
    np.testing.assert_array_equal(both.spectrum, other.spectrum)
    assert both.n_averaged == 2
    assert both.noise_shape == 2.0
    assert both.mean_counts == pytest.approx(105.0, abs=1.0)
    assert both.flags & Flag.SATURATED


@pytest.mark.parametrize("n", [1, 4])
def test_averaging_n_frames_makes_the_gamma_law_of_shape_n(n, rng):
    diffractogram = average_diffractograms(white_frame((256, 256), rng) for _ in range(n))
    whitened = whiten(diffractogram)[20:-20, 20:-1].ravel()[::7]
    law = scipy.stats.gamma(n, scale=1 / n)
    assert diffractogram.noise_shape == n
    assert scipy.stats.kstest(whitened, law.cdf).pvalue > 0.001


def test_images_are_single_precision_and_the_frame_is_left_alone(rng):
    frame = white_frame((40, 36), rng)
    before = frame.image.copy()
    diffractogram = compute_diffractogram(frame)
    assert diffractogram.spectrum.dtype == np.complex64
    assert diffractogram.power.dtype == diffractogram.background.dtype == np.float32
    np.testing.assert_array_equal(frame.image, before)


def test_a_frame_saturated_over_half_its_pixels_stays_finite(rng):
    image = np.minimum(white_frame((128, 100), rng).image, 100.0)
    diffractogram = compute_diffractogram(frame_of(image))
    assert np.isfinite(diffractogram.spectrum).all()
    assert np.isfinite(whiten(diffractogram)).all()
    assert (diffractogram.background > 0).all()


@pytest.mark.parametrize("edges", ["periodic", "hann", "none"])
@pytest.mark.parametrize("shape", [(200, 160), (201, 333)])
def test_leaving_out_high_frequencies_changes_nothing_within_the_limit(shape, edges, rng):
    frame = thon_frame(shape, rng, pixel=(0.2, 0.25), defocus=-600.0)
    settings = SpectrumSettings(edges=edges)
    whole = compute_diffractogram(frame, settings=settings)
    part = compute_diffractogram(frame, settings=settings, d_min_angstrom=1.2)
    gy, gx = frequency_axes(shape, frame.scale)
    within = (np.abs(gy)[:, None] <= 1 / 1.2) & (gx <= 1 / 1.2)
    np.testing.assert_array_equal(part.spectrum[within], whole.spectrum[within])
    np.testing.assert_array_equal(part.power[within], whole.power[within])
    # The course of the background is pooled over neighbours, which end with the part.
    inner = np.hypot(gy[:, None], gx) < 0.9 / 1.2
    np.testing.assert_allclose(part.background[inner], whole.background[inner], rtol=0.25)
    assert np.median(np.abs(np.log(part.background[inner] / whole.background[inner]))) < 0.01
    assert np.isfinite(part.power / part.background).all()


def test_several_threads_give_the_same_as_one(rng):
    frame = white_frame((300, 260), rng)
    one, two = (compute_diffractogram(frame, workers=workers) for workers in (1, 2))
    np.testing.assert_array_equal(one.power, two.power)
    np.testing.assert_array_equal(one.background, two.background)
