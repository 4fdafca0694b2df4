from __future__ import annotations

import numpy as np
import pytest

from fringemap.errors import SettingsError
from fringemap.simulate import PlaneWave, plane_wave_frame


def test_a_wave_follows_its_formula_on_either_axis(rng):
    wave = PlaneWave(gx=0.2, gy=-0.1, amplitude=3.0, argument=0.7)
    frame, _ = plane_wave_frame((20, 30), (0.5, 0.4), [wave], rng=rng, mean_counts=10.0)
    expected = 10 + 3 * np.cos(2 * np.pi * (0.2 * 7 * 0.4 - 0.1 * 5 * 0.5) + 0.7)
    assert frame.image[5, 7] == pytest.approx(expected, rel=1e-6)
    assert frame.image.dtype == np.float32


def test_a_frame_filling_wave_puts_half_its_amplitude_times_the_pixels_into_its_bin(rng):
    wave = PlaneWave(gx=5 / (64 * 0.4), gy=3 / (48 * 0.5), amplitude=2.0)
    frame, _ = plane_wave_frame((48, 64), (0.5, 0.4), [wave], rng=rng)
    assert abs(np.fft.rfft2(frame.image)[3, 5]) == pytest.approx(2.0 * 48 * 64 / 2, rel=1e-6)


def test_noise_has_its_standard_deviation_and_the_spot_its_snr(rng):
    mask = np.zeros((200, 100), bool)
    mask[:50] = True
    wave = PlaneWave(0.3, 0.2, amplitude=2.0, mask=mask)
    frame, truth = plane_wave_frame((200, 100), (0.5, 0.5), [wave], rng=rng, noise_sigma=4.0)
    assert frame.image[50:].std() == pytest.approx(4.0, rel=0.03)
    assert truth.spots.snr[0] == pytest.approx(2.0 / 4.0 * np.sqrt(5000 / 2))
    assert truth.spots.width[0] == pytest.approx(0.886 / np.sqrt(5000 * 0.25))
    np.testing.assert_array_equal(truth.masks[0], mask)


def test_without_noise_the_snr_is_infinite_and_without_waves_there_are_no_spots(rng):
    _, truth = plane_wave_frame((16, 16), (0.5, 0.5), [PlaneWave(0.3, 0.2, 1.0)], rng=rng)
    assert np.isinf(truth.spots.snr[0])
    _, truth = plane_wave_frame((16, 16), (0.5, 0.5), [], rng=rng)
    assert len(truth.spots) == 0


def test_a_mask_of_another_shape_is_refused(rng):
    wave = PlaneWave(0.3, 0.2, 1.0, mask=np.ones((8, 8), bool))
    with pytest.raises(SettingsError, match="shape"):
        plane_wave_frame((16, 16), (0.5, 0.5), [wave], rng=rng)
