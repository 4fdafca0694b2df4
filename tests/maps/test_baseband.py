"""Demodulation against a slow oracle, and its geometry, counts, noise and resolution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.errors import SettingsError
from fringemap.maps import demodulate
from fringemap.maps.baseband import REACH, Grid, make_cut, noise_power, resolution_of
from fringemap.spectrum import read_block
from map_frames import diffractogram_of, disc, draw_frame

FRAMES = [
    ((128, 128), (0.5, 0.5)),
    ((97, 128), (0.5, 0.5)),
    ((128, 97), (0.3, 0.3)),
    ((75, 131), (0.4, 0.55)),
]
PLACES = {  # shares of the sampling limit along (columns, rows)
    "in the open": (0.5, 0.4),
    "above the row axis": (0.45, -0.55),
    "on the row axis": (0.6, 0.0),
    "on the column axis": (0.0, 0.6),
    "beside the column axis": (0.03, 0.5),
    "at the sampling limit of columns": (0.99, 0.3),
    "at the sampling limit of rows": (0.4, -0.99),
    "in the corner": (0.98, 0.97),
    "the mate of a listed spot": (-0.5, -0.4),
}


def demodulate_slowly(frame, pixel, g, radius, shape):
    """The whole spectrum times the aperture, summed wave by wave at each map pixel."""
    n_rows, n_cols = frame.shape
    spectrum = np.fft.fft2(frame - frame.mean())
    at = [(np.arange(m) + 0.5) * n / m - 0.5 for m, n in zip(shape, frame.shape, strict=True)]
    waves, apertures = [], []
    for n, p, centre, x in zip((n_rows, n_cols), pixel, (g[1], g[0]), at, strict=True):
        bin_width = 1.0 / (n * p)
        nearest = round(centre / bin_width)
        reach = min(int(np.ceil(REACH * radius / bin_width)), (len(x) - 1) // 2)
        k = np.arange(nearest - reach, nearest + reach + 1)
        apertures.append(np.exp(-np.log(2) * ((k / (n * p) - centre) / radius) ** 2))
        waves.append((k % n, np.exp(2j * np.pi * np.outer(x, k / n - centre * p))))
    (rows, wave_rows), (cols, wave_cols) = waves
    block = spectrum[np.ix_(rows, cols)] * np.outer(*apertures)
    return 2.0 / (n_rows * n_cols) * wave_rows @ block @ wave_cols.T


@pytest.mark.parametrize(("shape", "pixel"), FRAMES)
@pytest.mark.parametrize("place", PLACES)
def test_demodulation_equals_the_slow_oracle(shape, pixel, place, rng):
    frame = rng.standard_normal(shape).astype(np.float32)
    g = (PLACES[place][0] * 0.5 / pixel[1], PLACES[place][1] * 0.5 / pixel[0])
    fast = demodulate(diffractogram_of(frame, pixel, 1.0), g, aperture_radius=0.15, shape=(48, 40))
    slow = demodulate_slowly(frame, pixel, g, 0.15, (48, 40))
    np.testing.assert_allclose(fast, slow, atol=2e-6 * np.abs(slow).max() * np.sqrt(fast.size) / 10)


@given(
    shape=st.tuples(st.integers(40, 90), st.integers(40, 90)),
    pixel=st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8)),
    share=st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0)),
)
@settings(max_examples=25)
def test_demodulation_equals_the_slow_oracle_anywhere(shape, pixel, share):
    frame = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    g = (share[0] * 0.5 / pixel[1], share[1] * 0.5 / pixel[0])
    radius = 0.25 / (2.3 * max(pixel))
    fast = demodulate(diffractogram_of(frame, pixel, 1.0), g, aperture_radius=radius, shape=shape)
    np.testing.assert_allclose(fast, demodulate_slowly(frame, pixel, g, radius, shape), atol=1e-5)


@pytest.mark.parametrize(("shape", "pixel"), FRAMES)
def test_a_fringe_gives_its_amplitude_and_argument(shape, pixel):
    y, x = np.arange(shape[0])[:, None] * pixel[0], np.arange(shape[1])[None, :] * pixel[1]
    g = (20 / (shape[1] * pixel[1]), -13 / (shape[0] * pixel[0]))
    frame = 3.5 * np.cos(2 * np.pi * (g[0] * x + g[1] * y) + 0.7)
    b = demodulate(diffractogram_of(frame, pixel, 1.0), g, aperture_radius=0.1, shape=(32, 32))
    np.testing.assert_allclose(b, 3.5 * np.exp(0.7j), atol=1e-4)


def test_map_pixels_tile_the_frame_and_a_region_stays_where_it_is():
    shape, pixel, centre = (300, 411), (0.5, 0.4), (101.3, 267.8)
    frame = draw_frame(
        shape, pixel, [(1.0, 0.4, 0.3, disc(shape, pixel, centre, 40.0))], noise=0.0, rng=np.random.default_rng(0)
    )
    grid = Grid(shape, (72, 96), pixel)
    b = demodulate(diffractogram_of(frame, pixel, 1.0), (0.4, 0.3), aperture_radius=0.09, shape=grid.shape)
    power = np.abs(b) ** 2
    for axis in (0, 1):
        places = grid.origin_px[axis] + np.arange(grid.shape[axis]) * grid.step_px[axis]
        assert places[0] - grid.step_px[axis] / 2 == pytest.approx(-0.5)
        assert places[-1] + grid.step_px[axis] / 2 == pytest.approx(shape[axis] - 0.5)
        assert np.average(places, weights=power.sum(axis=1 - axis)) == pytest.approx(centre[axis], abs=0.1)


def test_a_point_becomes_as_wide_as_the_stated_resolution():
    shape, pixel, radius = (256, 256), (0.5, 0.5), 0.08
    point = disc(shape, pixel, (128.0, 128.0), 1.5)
    frame = draw_frame(shape, pixel, [(1.0, 0.5, 0.0, point)], noise=0.0, rng=np.random.default_rng(0))
    b = np.abs(demodulate(diffractogram_of(frame, pixel, 1.0), (0.5, 0.0), aperture_radius=radius, shape=shape))
    for profile in (b[128], b[:, 128]):
        above = np.flatnonzero(profile >= profile.max() / 2)
        low, high = above[0], above[-1]
        left = low - (profile[low] - profile.max() / 2) / (profile[low] - profile[low - 1])
        right = high + (profile[high] - profile.max() / 2) / (profile[high] - profile[high + 1])
        assert (right - left) * pixel[0] == pytest.approx(resolution_of(radius), rel=0.05)


def test_noise_alone_has_the_expected_power(rng):
    shape, pixel = (400, 320), (0.5, 0.5)
    grid = Grid(shape, (80, 80), pixel)
    cut = make_cut(grid, (0.45, -0.3), 0.07)
    dg = diffractogram_of(2.0 * rng.standard_normal(shape), pixel, 4.0 * shape[0] * shape[1])
    expected = noise_power(read_block(dg.background, shape[1], start=cut.start, shape=cut.shape), cut, grid)
    b = demodulate(dg, (0.45, -0.3), aperture_radius=0.07, shape=grid.shape)
    # some 700 independent places: 4 % standard error
    assert np.mean(np.abs(b) ** 2) == pytest.approx(expected, rel=0.12)


def test_a_grid_too_coarse_for_the_aperture_is_refused():
    dg = diffractogram_of(np.zeros((256, 256)), (0.5, 0.5), 1.0)
    with pytest.raises(SettingsError, match="16 pixels"):
        demodulate(dg, (0.4, 0.0), aperture_radius=0.1, shape=(16, 16))
