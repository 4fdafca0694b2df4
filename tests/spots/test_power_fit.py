from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from fringemap.spectrum import half_shape, read_block
from fringemap.spots import Candidates
from fringemap.spots.power_fit import fit_humps
from spectrum_frames import flat_diffractogram

SHAPE = (256, 256)


def candidates_at(*places):
    """Candidates at (row, col, width)."""
    row, col, width = np.array(places, float).T
    return Candidates(row, col, width, np.full(len(row), 5.0), *np.zeros((2, len(row)), bool))


def fit_one(power, *place):
    humps = fit_humps(flat_diffractogram(power, SHAPE), candidates_at(place), np.array([0]))
    assert humps.ok.all()
    return humps


def hump_power(row, col, sigma, height, rng):
    rows, cols = np.fft.fftfreq(SHAPE[0], 1 / SHAPE[0])[:, None], np.arange(SHAPE[1] // 2 + 1)
    u, v = (rows - row) / sigma[0], (cols - col) / sigma[1]
    return (1 + height * np.exp(-0.5 * (u**2 + v**2))) * rng.exponential(size=half_shape(SHAPE))


def fit_plainly(power, start, half):
    """Least Whittle loss over a square of bins, by a simplex."""
    corner = (round(start[1]) - half, round(start[2]) - half)
    block = read_block(power, SHAPE[1], start=corner, shape=(2 * half + 1, 2 * half + 1)).astype(float)
    rows, cols = np.arange(2 * half + 1)[:, None] + corner[0], np.arange(2 * half + 1) + corner[1]

    def loss(p):
        u, v = (rows - p[1]) / np.exp(p[3]), (cols - p[2]) / np.exp(p[4])
        expected = 1 + np.exp(p[0]) * np.exp(-0.5 * (u**2 + v**2))
        return float(np.sum(np.log(expected) + block / expected))

    x0 = [np.log(start[0]), start[1], start[2], np.log(start[3]), np.log(start[4])]
    options = {"maxiter": 5000, "maxfev": 5000, "xatol": 1e-6, "fatol": 1e-8}
    return scipy.optimize.minimize(loss, x0, method="Nelder-Mead", options=options).x


@pytest.mark.parametrize(("row", "col"), [(40.3, 61.8), (-55.6, 30.2), (50.2, 2.4)])
def test_the_hump_is_the_likeliest_one(row, col, rng):
    power = hump_power(row, col, (3.0, 2.2), 30.0, rng).astype(np.float32)
    width = 2.355 * 2.6
    hump = fit_one(power, row, col, width)
    expected = fit_plainly(power, (30.0, row, col, 3.0, 2.2), half=8)
    found = (hump.row[0], hump.col[0], *hump.width[0])
    plain = (expected[1], expected[2], 2.355 * np.exp(expected[3]), 2.355 * np.exp(expected[4]))
    assert found == pytest.approx(plain, abs=0.03)
    assert hump.energy[0] == pytest.approx(2 * np.pi * np.exp(expected[0] + expected[3] + expected[4]), rel=0.02)


@pytest.mark.parametrize("height", [5.0, 200.0])
def test_a_hump_lies_within_its_errors(height, rng):
    deviations = []
    for _ in range(80):
        power = hump_power(-50.0, 60.0, (4.0, 4.0), height, rng)
        hump = fit_one(power, -50.0, 60.0, 9.4)
        deviations.append(np.array([hump.row[0] + 50.0, hump.col[0] - 60.0]) / np.sqrt(np.diag(hump.covariance[0])))
    inside = np.mean(np.abs(deviations) < 1)
    # 160 numbers: the standard deviation of the share is 0.037.
    assert 0.56 < inside < 0.80
    assert np.abs(np.mean(deviations, axis=0)).max() < 0.4


def test_a_wide_hump_is_measured_on_cells_of_several_bins(rng):
    power = hump_power(-60.0, 64.0, (14.0, 14.0), 8.0, rng)
    hump = fit_one(power, -60.0, 64.0, 33.0)
    assert (hump.row[0], hump.col[0]) == pytest.approx((-60.0, 64.0), abs=5 * np.sqrt(hump.covariance[0, 0, 0]))
    assert hump.width[0, 0] == pytest.approx(33.0, rel=0.15)


def test_many_humps_are_fitted_as_one_by_one(rng):
    places = [(40.3, 61.8, 7.0), (-55.6, 30.2, 5.0), (44.0, 70.0, 9.0), (-90.0, 80.0, 33.0)]
    power = sum(hump_power(row, col, (0.425 * width,) * 2, 30.0, rng) for row, col, width in places)
    diffractogram, candidates = flat_diffractogram(power, SHAPE), candidates_at(*places)
    together = fit_humps(diffractogram, candidates, np.array([3, 0, 2]))
    assert together.ok.all()
    for k, i in enumerate((3, 0, 2)):
        alone = fit_humps(diffractogram, candidates, np.array([i]))
        for name in ("row", "col", "covariance", "width", "energy"):
            assert getattr(together, name)[k] == pytest.approx(getattr(alone, name)[0], rel=1e-6)


def test_no_candidate_has_no_hump(rng):
    diffractogram = flat_diffractogram(rng.exponential(size=half_shape(SHAPE)), SHAPE)
    assert len(fit_humps(diffractogram, candidates_at((40.0, 50.0, 3.0)), np.zeros(0, int)).row) == 0


def test_a_spot_hemmed_in_by_others_is_not_fitted(rng):
    diffractogram = flat_diffractogram(hump_power(40.0, 60.0, (2.0, 2.0), 30.0, rng), SHAPE)
    around = [(40.0 + r, 60.0 + c, 4.0) for r in (-1.5, 0.0, 1.5) for c in (-1.5, 0.0, 1.5)]
    assert not fit_humps(diffractogram, candidates_at(*around), np.array([4])).ok[0]
