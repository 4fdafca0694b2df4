"""The measurement against the Cramér-Rao bound, on spots that the detector itself has found."""

from __future__ import annotations

import numpy as np
import pytest

from fringemap.settings import SpotSettings
from fringemap.spectrum import bin_size, compute_diffractogram
from fringemap.spots import detect_spots, find_spots
from fringemap.spots.wave_fit import FittedEarly, fit_other_waves, fit_waves
from spectrum_frames import PIXEL, disc_mask, frame_of, scale_of, wave_at, waves_frame

SIGMA = 10.0


def bound_of_frame(shape, ratio):
    """Standard error of either axis, in bins, of a wave of A / sigma = ``ratio`` that fills the frame."""
    return np.sqrt(24) / (2 * np.pi) / (ratio * np.sqrt(shape[0] * shape[1]))


def bound_of_disc(n, ratio, diameter):
    """The same for a disc: sqrt(2) sigma / (2 pi A sqrt(sum of x²)), and x² has the mean D² / 16; bins of n pixels."""
    n_pixels = np.pi * diameter**2 / 4
    return n * np.sqrt(2) / (2 * np.pi * ratio * np.sqrt(n_pixels) * diameter / 4)


def measure(shape, ratio, n_draws, seed, diameter=None):
    """Errors of the detected spots in bins, their stated ones, and deviations of |g| over its stated error."""
    rng = np.random.default_rng(seed)
    errors, stated, pulls = [], [], []
    step = np.array(bin_size(shape, scale_of()))
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])
    for _ in range(n_draws):
        angle, g = rng.uniform(-1.4, 1.4), rng.uniform(0.3, 0.55)
        place = np.array([g * np.sin(angle), g * np.cos(angle)]) / step
        wave = np.cos(2 * np.pi * (place[0] * y / shape[0] + place[1] * x / shape[1]) + rng.uniform(0, 2 * np.pi))
        if diameter is not None:
            wave = wave * disc_mask(shape, rng.uniform(0.4, 0.6, 2) * shape, diameter)
        spots = find_spots(
            compute_diffractogram(frame_of(100 + SIGMA * (ratio * wave + rng.standard_normal(shape)), PIXEL)),
            settings=SpotSettings(detector="classical"),
        )
        offset = np.stack([spots.gy, spots.gx], axis=1) / step - place
        if len(spots) == 0 or np.hypot(*offset.T).min() > max(2.0, shape[0] / (diameter or np.inf)):
            continue
        k = int(np.hypot(*offset.T).argmin())
        errors.append(offset[k])
        stated.append(np.sqrt([spots.covariance[k, 1, 1], spots.covariance[k, 0, 0]]) / step)
        pulls.append((spots.g[k] - g) / spots.g_sigma[k])
    return np.array(errors), np.array(stated), np.array(pulls)


@pytest.mark.parametrize(
    ("shape", "ratio"), [((128, 128), 0.1), ((128, 128), 0.2), ((200, 120), 0.2), ((256, 256), 0.1)]
)
def test_waves_that_fill_the_frame_are_measured_near_the_bound(shape, ratio):
    errors, stated, pulls = measure(shape, ratio, 80, seed=3)
    bound = bound_of_frame(shape, ratio)
    assert len(errors) >= 70
    # From the median, since one of the faintest in a hundred is a spot of noise.
    assert 1.4826 * np.median(np.abs(errors)) < 1.6 * bound
    assert np.mean(np.abs(errors) > 5 * bound) <= 0.02
    assert np.abs(np.median(errors, axis=0)).max() < 0.5 * bound
    # 160 numbers of the two axes: the standard deviation of the share is 0.037.
    assert 0.53 < np.mean(np.abs(errors / stated) < 1) < 0.82
    assert np.mean(np.abs(pulls) < 3) > 0.95


@pytest.mark.parametrize(("ratio", "diameter"), [(0.5, 50), (0.5, 80), (0.2, 100), (0.1, 160)])
def test_discs_are_measured_near_the_bound(ratio, diameter):
    errors, stated, pulls = measure((256, 256), ratio, 60, seed=5, diameter=diameter)
    bound = bound_of_disc(256, ratio, diameter)
    assert len(errors) >= 50
    assert np.sqrt(np.mean(errors**2)) < 1.6 * bound
    assert np.abs(errors.mean(axis=0)).max() < 0.6 * bound
    # Never too sure of itself; a disc is no Gaussian, which the stated errors pay for at high SNR.
    assert np.mean(np.abs(errors / stated) < 1) > 0.58
    assert np.sqrt(np.mean(pulls**2)) < 1.4
    assert np.median(stated) < 2.5 * bound


def test_what_was_fitted_early_is_not_fitted_again(rng):
    shape = (200, 260)
    waves = [wave_at(30.0, 41.0, 3.0, shape=shape), wave_at(-52.4, 20.0, 2.0, shape=shape)]
    waves += [wave_at(12.0, 70.3, 2.5, shape=shape), wave_at(-40.0, 50.0, 1.5, shape=shape)]
    diffractogram = compute_diffractogram(waves_frame(shape, waves, rng, sigma=10.0))
    candidates = detect_spots(diffractogram, settings=SpotSettings(detector="classical"))
    assert len(candidates) == 4
    whole = fit_waves(diffractogram, candidates)
    # Another order, and one that is not asked for in the end.
    early = candidates.take(np.array([3, 0, 1]))
    marked = fit_waves(diffractogram, early)
    marked.energy[:] = [1.0, 2.0, 3.0]
    found = fit_other_waves(diffractogram, candidates.take(np.array([0, 2, 3])), [FittedEarly(early, marked)])
    np.testing.assert_array_equal(found.energy[[0, 2]], [2.0, 1.0])
    np.testing.assert_allclose(found.energy[1], whole.energy[2], rtol=1e-5)
    for name in ("row", "col", "covariance", "amplitude", "width", "ok"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name)[[0, 2, 3]], rtol=1e-5, atol=1e-9)
