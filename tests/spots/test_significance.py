"""Scores of all peaks of a frame at once, against a plain loop over one peak and one size of blocks at a time."""

from __future__ import annotations

import numpy as np
import pytest

from fringemap.settings import SpotSettings
from fringemap.spots import significance
from fringemap.spots.blocks import Law, zone_of
from fringemap.spots.noise import log_tail, measure_upper_laws
from fringemap.spots.peaks import Peak
from fringemap.spots.significance import score_peaks
from fringemap.spots.window import cut_window
from spectrum_frames import flat_diffractogram

SHAPE = (300, 280)
LAWS = [Law(side, np.linspace(0.95, 1.02, 8), np.linspace(0.8, 1.0, 8) * side**2, 20000) for side in (1, 2, 4, 8)]
PEAKS = [
    Peak(40.2, 30.7, 2.0, 9.0, 40.0, False),
    Peak(43.9, 33.1, 3.0, 5.0, 40.0, True),
    Peak(-60.4, 50.0, 6.5, 2.0, 80.0, False),
    Peak(-20.0, 5.2, 1.0, 20.0, 20.0, False),
    # At the edge of what is looked at, so that few blocks of its ring are whole.
    Peak(0.3, 101.0, 4.0, 3.0, 30.0, False),
]


@pytest.fixture
def window(rng):
    rows, cols = np.fft.fftfreq(SHAPE[0], 1 / SHAPE[0])[:, None], np.arange(SHAPE[1] // 2 + 1)
    power = np.ones((SHAPE[0], SHAPE[1] // 2 + 1))
    for p in PEAKS:
        power += p.height * np.exp(-0.5 * ((rows - p.row) ** 2 + (cols - p.col) ** 2) / (p.width / 2.355) ** 2)
    diffractogram = flat_diffractogram(power * rng.exponential(size=power.shape), SHAPE)
    return cut_window(diffractogram, SpotSettings(d_min_angstrom=1.05))


def brightest_plainly(peak, window, side):
    """A bin belongs to the peak that is nearest to it, in its widths."""
    r0, c0 = (
        round(x) - first for x, first in ((peak.row, window.layout.first_row), (peak.col, window.layout.first_col))
    )
    best = -np.inf
    for top in (0,) if side == 1 else (0, 1):
        for left in (0,) if side == 1 else (0, 1):
            total = 0.0
            for r in np.clip(r0 - side // 2 + top + np.arange(side), 0, window.whitened.shape[0] - 1):
                for c in np.clip(c0 - side // 2 + left + np.arange(side), 0, window.whitened.shape[1] - 1):
                    row, col = r + window.layout.first_row, c + window.layout.first_col
                    distance = {p: np.hypot(row - p.row, col - p.col) / p.width for p in PEAKS}
                    total += window.whitened[r, c] if distance[peak] <= min(distance.values()) else 1.0
            best = max(best, total / side**2)
    return best


def nearby_plainly(peak, window):
    reach = round(max(12, 3.0 * peak.width))
    values = []
    for row in range(round(peak.row) - reach, round(peak.row) + reach + 1):
        for col in range(round(peak.col) - reach, round(peak.col) + reach + 1):
            r, c = row - window.layout.first_row, col - window.layout.first_col
            if not (0 <= r < window.whitened.shape[0] and 0 <= c < window.whitened.shape[1]):
                continue
            inside = window.layout.g_low < window.layout.g_at(r, c) < window.layout.g_high
            if inside and all(np.hypot(row - p.row, col - p.col) > 1.5 * p.width for p in PEAKS):
                values.append(window.whitened[r, c])
    return np.median(values) / np.log(2) if len(values) >= 20 else 0.0


def ring_plainly(peak, window, side):
    step = window.layout.step_y, window.layout.step_x
    g = np.hypot(peak.row * step[0], peak.col * step[1])
    around = int(np.clip(np.pi * g / window.layout.step / max(side, 2), 12, 80))
    means = []
    for offset in (-1, 0, 1):
        radius = g + offset * max(side / 2, 1.0) * window.layout.step
        for k in range(around):
            angle = np.pi * (k / around - 0.5)
            row, col = round(radius * np.sin(angle) / step[0]), round(radius * np.cos(angle) / step[1])
            clear = all(
                np.hypot(row - sign * p.row, col - sign * p.col) > side / 2 + 1.5 * p.width
                for p in PEAKS
                for sign in (1, -1)
            )
            r, c = row - window.layout.first_row - side // 2, col - window.layout.first_col - side // 2
            whole = min(r, c) >= 0 and r + side <= window.whitened.shape[0] and c + side <= window.whitened.shape[1]
            if clear and whole:
                means.append(window.whitened[r : r + side, c : c + side].mean(dtype=float))
    return means


def score_plainly(peak, window, few):
    best = -np.inf
    for law in LAWS:
        if not peak.width / 3 <= law.side <= 3 * peak.width:
            continue
        reference = ring_plainly(peak, window, law.side)
        if len(reference) < few:
            zone = zone_of(window, round(peak.row) - window.layout.first_row, round(peak.col) - window.layout.first_col)
            mean, shape, n = law.means[zone], law.shapes[zone], few
        else:
            laws = measure_upper_laws(
                np.sort(reference)[None], np.array([len(reference)]), largest_shape=law.shapes.max()
            )
            mean, shape, n = max(laws[0][0], nearby_plainly(peak, window)), laws[1][0], len(reference)
        shape = shape * 0.8 if law.side > 1 else shape
        ratio = np.array(brightest_plainly(peak, window, law.side) / mean)
        tail = log_tail(ratio, shape=np.array(shape), background_shape=n * max(shape, 1.0) / 2)
        best = max(best, -float(tail) - np.log(2.0 * law.n_tests))
    return best / np.log(10)


@pytest.mark.parametrize(("crowded", "few"), [(False, 20), (True, 48)])
def test_peaks_score_as_one_by_one(window, crowded, few):
    scores = score_peaks(PEAKS, window, LAWS, crowded=crowded)
    assert scores == pytest.approx([score_plainly(p, window, few) for p in PEAKS], rel=1e-4)


def test_peaks_score_the_same_few_at_a_time(window, monkeypatch):
    whole = score_peaks(PEAKS, window, LAWS, crowded=False)
    monkeypatch.setattr(significance, "_AT_ONCE", 2)
    np.testing.assert_array_equal(score_peaks(PEAKS, window, LAWS, crowded=False), whole)


def test_a_ring_without_a_free_block_has_no_law():
    mean, shape = measure_upper_laws(np.full((1, 5), np.inf), np.array([0]), largest_shape=9.0)
    assert np.isnan([mean[0], shape[0]]).all()


def test_no_peak_has_no_score(window):
    assert score_peaks([], window, LAWS, crowded=False).shape == (0,)


def test_the_upper_law_of_a_ring_is_that_of_its_median_and_upper_tenth(rng):
    values = rng.gamma(6.0, 1.2 / 6.0, size=(2, 20000))
    n = np.array([20000, 300])
    values[1, 300:] = np.inf
    mean, shape = measure_upper_laws(np.sort(values, axis=1), n, largest_shape=100.0)
    assert mean == pytest.approx([1.2, 1.2], rel=0.05)
    assert shape[0] == pytest.approx(6.0, rel=0.05)
    for k in (0, 1):
        middle, upper = np.quantile(values[k, : n[k]], [0.5, 0.9])
        alone = measure_upper_laws(np.sort(values[k : k + 1, : n[k]]), n[k : k + 1], largest_shape=100.0)
        assert (mean[k], shape[k]) == pytest.approx((alone[0][0], alone[1][0]))
        assert middle < mean[k] < upper
