"""Noise in a ring is told by its darkest tenth, whatever covers the rest."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from fringemap.settings import SpotSettings
from fringemap.spectrum import compute_diffractogram
from fringemap.spots.calm import find_calm
from fringemap.spots.pattern import make_pattern
from spectrum_frames import disc_mask, thon_frame, wave_at, waves_frame, white_frame

SHAPE = (401, 201)
SIDE = 5


def places(shape, step=(1.0, 1.0)):
    gy = (np.arange(shape[0]) - shape[0] // 2)[:, None] * step[0]
    gx = np.arange(shape[1])[None, :] * step[1]
    return gy, gx


def means_of_noise(rng, shape=SHAPE, *, n_bins=SIDE**2):
    """Means of so many bins of noise; neighbours do not share bins here."""
    return rng.gamma(n_bins, 1 / n_bins, size=shape).astype(np.float32)


@pytest.mark.parametrize("step", [(1.0, 1.0), (0.5, 0.4), (0.01, 0.025)])
def test_the_level_of_noise_alone_is_its_expectation(rng, step):
    gy, gx = places(SHAPE, step)
    g = np.hypot(gy, gx) / max(step)
    expected = 1e7 * np.exp(-g / 60) * (1.3 + np.sin(g / 12))
    calm = find_calm((expected * means_of_noise(rng)).astype(np.float32), g > 15, step=step, shape=SIDE**2)
    whole_rings = (g > 25) & (g < 0.9 * min(g[0].min(), g[:, -1].min()))
    error = np.log(calm.at(slice(None)) / expected)[whole_rings]
    assert abs(error.mean()) < 0.02
    assert error.std() < 0.12


def test_it_stays_where_most_of_a_ring_is_covered(rng):
    gy, gx = places(SHAPE)
    covered = np.arctan2(gy, gx) > -0.7
    power = means_of_noise(rng) * np.where(covered, 20.0, 1.0).astype(np.float32)
    g = np.hypot(gy, gx)
    calm = find_calm(power, g > 15, step=(1.0, 1.0), shape=SIDE**2).at(slice(None))
    assert 1.0 < np.median(calm[(g > 40) & (g < 180)]) < 1.3


def test_pixels_that_are_not_looked_at_say_nothing(rng):
    power, (gy, gx) = means_of_noise(rng), places(SHAPE)
    valid = (np.hypot(gy, gx) > 20) & (gx > 30)
    calm = find_calm(np.where(valid, power, 1e-6).astype(np.float32), valid, step=(1.0, 1.0), shape=SIDE**2)
    assert calm.at(slice(None))[valid].min() > 0.7


def test_nothing_at_all_is_looked_at():
    calm = find_calm(np.ones((21, 11), np.float32), np.zeros((21, 11), bool), step=(1.0, 1.0), shape=SIDE**2)
    assert np.isfinite(calm.level).all()


def test_the_unit_of_power_does_not_matter(rng):
    power, (gy, gx) = means_of_noise(rng), places(SHAPE)
    levels = [find_calm(f * power, np.hypot(gy, gx) > 10, step=(1.0, 1.0), shape=SIDE**2).level for f in (1, 1e12)]
    np.testing.assert_allclose(levels[1], 1e12 * levels[0], rtol=1e-4)


def test_a_wide_spot_stands_higher_over_the_calm_than_over_the_background(rng):
    shape = (768, 768)
    # 26 px of the frame make a spot of 30 bins.
    wave = wave_at(45, 62, 60.0, shape=shape, mask=disc_mask(shape, (384, 384), 26))
    frame = waves_frame(shape, [wave], rng, sigma=10.0)
    pattern = make_pattern(compute_diffractogram(frame), settings=SpotSettings())
    row, col = (round(float(at)) for at in pattern.pixels_of(np.array(45.0), np.array(62.0)))
    spot = (slice(row - 8, row + 9), slice(col - 8, col + 9))
    _, over_background, over_calm = (uncompressed(channel[spot]).mean() for channel in pattern.image)
    assert over_calm > over_background + 1.0


def test_noise_alone_is_nearly_the_same_over_both(rng):
    pattern = make_pattern(compute_diffractogram(white_frame((512, 512), rng)), settings=SpotSettings())
    _, over_background, over_calm = pattern.image[:, pattern.valid]
    assert abs(over_calm.mean()) < 0.1
    assert abs(over_calm.std() - 1) < 0.1
    assert np.corrcoef(over_calm, over_background)[0, 1] > 0.9


@pytest.mark.parametrize("max_shape", [(1024, 512), (90, 60)])
def test_the_third_channel_is_the_mean_over_the_calm(rng, max_shape):
    """Each pixel by itself: the mean over the background, its bin's background, the calm of its ring."""
    found = compute_diffractogram(thon_frame((200, 260), rng, astigmatism=400.0))
    pattern = make_pattern(found, settings=SpotSettings(), max_shape=max_shape)
    law = scipy.stats.gamma(a := max(SIDE, *(f + 1 - f % 2 for f in pattern.factor)) ** 2, scale=1 / a)
    background = np.empty(pattern.valid.shape)
    for row, col in np.ndindex(background.shape):
        at_row, at_col = (round(float(at)) for at in pattern.bins_of(np.array(float(row)), np.array(float(col))))
        background[row, col] = found.background[at_row, at_col]
    mean = background * law.ppf(scipy.stats.norm.cdf(uncompressed(pattern.image[1])))
    calm = find_calm(mean.astype(np.float32), pattern.valid, step=pattern.step, shape=float(a)).at(slice(None))
    expected = scipy.stats.norm.ppf(law.cdf(mean / calm))
    usual = pattern.valid & (np.abs(expected) < 3)
    assert usual.sum() > 0.5 * pattern.valid.sum()
    assert np.abs(uncompressed(pattern.image[2]) - expected)[usual].max() < 0.05


def uncompressed(score):
    return np.where(score > 1.5, 1.5 * np.exp(score / 1.5 - 1), score)
