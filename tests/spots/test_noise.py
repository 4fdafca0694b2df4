from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from fringemap.spots.noise import log_tail, measure_noise_law, threshold


@pytest.mark.parametrize("shape", [0.5, 1.0, 4.0, 64.0])
@pytest.mark.parametrize("background_shape", [10.0, 200.0])
def test_the_tail_is_that_of_the_ratio_of_two_gamma_numbers(shape, background_shape):
    ratio = np.array([0.3, 1.0, 2.0, 5.0, 12.0])
    expected = scipy.stats.f.logsf(ratio, 2 * shape, 2 * background_shape)
    tail = log_tail(ratio, shape=np.full(5, shape), background_shape=background_shape)
    np.testing.assert_allclose(tail, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("shape", [1.0, 4.0])
def test_the_tail_agrees_with_drawn_numbers(shape, rng):
    drawn = rng.gamma(shape, 1 / shape, 200_000) / rng.gamma(20.0, 1 / 20.0, 200_000)
    for ratio in (0.5, 1.5, 3.0):
        expected = np.mean(drawn > ratio)
        tail = float(np.exp(log_tail(np.array(ratio), shape=np.array(shape), background_shape=20.0)))
        assert tail == pytest.approx(expected, abs=4 * (expected / 200_000) ** 0.5)


def test_a_well_known_background_gives_the_exponential_tail():
    tail = log_tail(np.array([2.0, 17.5]), shape=np.ones(2), background_shape=1e9)
    np.testing.assert_allclose(tail, [-2.0, -17.5], rtol=1e-5)


def test_the_tail_falls_without_a_step_beyond_the_smallest_number():
    ratio = np.geomspace(1.0, 1e4, 400)
    tail = log_tail(ratio, shape=np.full(400, 16.0), background_shape=300.0)
    assert np.isfinite(tail).all()
    assert (np.diff(tail) < 0).all()
    steps = np.diff(tail) / np.diff(np.log(ratio))
    assert np.abs(np.diff(steps)).max() < 40.0
    assert tail[-1] < -1500


@pytest.mark.parametrize("shape", [0.6, 1.0, 3.0, 16.0])
@pytest.mark.parametrize("mean", [0.8, 1.0, 1.7])
def test_the_noise_law_is_recovered_from_blocks(shape, mean, rng):
    values = rng.gamma(shape, mean / shape, 20_000)
    found_mean, found_shape = measure_noise_law(values, independent_shape=64.0)
    assert found_mean == pytest.approx(mean, rel=0.03)
    assert found_shape == pytest.approx(shape, rel=0.08)


def test_the_measured_shape_never_exceeds_that_of_independent_bins(rng):
    values = rng.gamma(50.0, 1 / 50.0, 5_000)
    assert measure_noise_law(values, independent_shape=16.0)[1] == 16.0


def test_bright_spots_among_the_blocks_hardly_change_the_law(rng):
    values = rng.gamma(4.0, 0.25, 20_000)
    values[::50] += 500.0
    mean, shape = measure_noise_law(values, independent_shape=4.0)
    assert mean == pytest.approx(1.0, rel=0.04)
    assert shape == pytest.approx(4.0, rel=0.08)


@pytest.mark.parametrize("values", [np.zeros(0), np.ones(20), np.zeros(500)])
def test_too_few_or_empty_blocks_get_the_assumed_law(values):
    assert measure_noise_law(values, independent_shape=4.0) == (1.0, 4.0)


@pytest.mark.parametrize("shape", [1.0, 4.0, 250.0])
def test_the_threshold_is_exceeded_with_the_probability_asked_for(shape):
    value = threshold(np.log(1e-6), mean=1.3, shape=shape)
    assert scipy.stats.gamma.sf(value, shape, scale=1.3 / shape) == pytest.approx(1e-6, rel=1e-6)
