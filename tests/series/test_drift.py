from __future__ import annotations

import numpy as np
import pytest

from fringemap.series import estimate_drift, summarise_frame
from fringemap.series.drift import _inverse_diagonal, _Pair, solve_shifts
from report.made_results import make_result, make_scale
from series.made_series import make_spots, make_summary, specimen

PIXEL = 1.0


def summaries(shifts, *, shape=(200, 240), lattice=0.0, noise=0.2):
    for i, shift in enumerate(shifts):
        image = specimen(shape, shift, lattice=lattice, noise=noise)
        result = make_result(shape, planes=(), scale=make_scale(PIXEL), index=i, thumbnail=image)
        yield summarise_frame(result)


def walk(n, step, seed=0):
    rng = np.random.default_rng(seed)
    return np.cumsum(np.vstack([[0.0, 0.0], np.asarray(step) + rng.normal(0, 0.5, (n - 1, 2))]), axis=0)


def test_a_steady_drift_is_followed_to_a_fifth_of_a_pixel():
    shifts = walk(15, (1.7, -2.4))
    drift = estimate_drift(summaries(shifts))
    assert np.abs(drift.shift_px - shifts).max() < 0.2


def test_slow_drift_is_not_drawn_towards_zero():
    shifts = np.outer(np.arange(25), (0.11, -0.07))
    drift = estimate_drift(summaries(shifts, noise=0.5))
    assert np.abs(drift.shift_px[-1] - shifts[-1]).max() < 0.15


@pytest.mark.parametrize("strength", [3.0, 30.0])
def test_a_strong_lattice_never_makes_it_jump_by_a_cell(strength):
    # The cell along the rows is 3.2 px; a drift of 2.9 px a frame invites a jump each time.
    shifts = walk(12, (2.9, 0.4), seed=1)
    drift = estimate_drift(summaries(shifts, lattice=strength, noise=0.5))
    assert np.abs(drift.shift_px - shifts).max() < 0.5


def test_the_stated_error_holds():
    shifts = walk(20, (1.0, 0.5), seed=2)
    drift = estimate_drift(summaries(shifts, noise=2.0))
    error = (drift.shift_px - shifts)[1:] / drift.sigma_px[1:]
    assert np.sqrt((error**2).mean()) < 2.0


def test_wrong_pairs_are_left_out():
    true = np.cumsum(np.ones((10, 2)), axis=0)
    pairs = [_Pair(i, j, true[j] - true[i]) for i in range(10) for j in range(i + 1, min(i + 5, 10))]
    pairs[3] = _Pair(pairs[3].first, pairs[3].second, pairs[3].shift + 7.0)
    pairs[11] = _Pair(pairs[11].first, pairs[11].second, pairs[11].shift - [0.0, 5.0])
    shift, _, count = solve_shifts(pairs, 10)
    np.testing.assert_allclose(shift, true - true[0], atol=1e-9)
    assert count.sum() == 2 * (len(pairs) - 2)


def test_a_frame_that_joins_no_other_has_no_shift():
    pairs = [_Pair(0, 1, np.array([1.0, 2.0])), _Pair(2, 3, np.array([1.0, 2.0]))]
    shift, sigma, count = solve_shifts(pairs, 4)
    np.testing.assert_allclose(shift[1], [1.0, 2.0])
    assert np.isnan(shift[2:]).all()
    assert np.isnan(sigma[2:]).all()
    assert count.tolist() == [1, 1, 0, 0]


def test_noise_alone_joins_nothing():
    rng = np.random.default_rng(0)
    frames = [
        summarise_frame(
            make_result((160, 160), planes=(), scale=make_scale(PIXEL), thumbnail=rng.standard_normal((160, 160)) + 100)
        )
        for _ in range(6)
    ]
    drift = estimate_drift(frames)
    assert np.isnan(drift.shift_px[1:]).all()


def test_drift_can_be_left_out():
    drift = estimate_drift(summaries(walk(3, (1, 1))), window=0)
    assert np.isnan(drift.shift_px[1:]).all()


def test_a_series_without_frames_has_no_drift():
    assert estimate_drift([]).shift_px.shape == (0, 2)


def test_frames_without_an_image_have_no_drift():
    drift = estimate_drift([make_summary(i, make_spots([], [])) for i in range(3)])
    assert np.isnan(drift.shift_px[1:]).all()


def test_the_band_gives_the_same_variances_as_the_whole_inverse(rng):
    from scipy.linalg import cholesky_banded

    n, width = 12, 3
    band = np.zeros((width + 1, n))
    band[1:] = rng.uniform(-1, 0, (width, n))
    band[0] = 8.0
    full = np.diag(band[0])
    for k in range(1, width + 1):
        full += np.diag(band[k, : n - k], k) + np.diag(band[k, : n - k], -k)
    found = _inverse_diagonal(cholesky_banded(band, lower=True))
    np.testing.assert_allclose(found, np.diag(np.linalg.inv(full)), rtol=1e-10)
