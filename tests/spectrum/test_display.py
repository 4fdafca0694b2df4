from __future__ import annotations

import numpy as np
import pytest

from fringemap.spectrum import (
    compute_diffractogram,
    half_shape,
    paper_view,
    reduce_frame,
    shown_block,
    shown_limits,
    shown_spectrum,
)
from fringemap.spectrum.display import _MOST_PIXELS
from spectrum_frames import PIXEL, flat_diffractogram, frame_of, wave_at, waves_frame

SHAPES = [(256, 256), (255, 301), (1000, 768), (2048, 512)]


def empty_diffractogram(shape, pixel=PIXEL):
    return flat_diffractogram(np.ones(half_shape(shape)), shape, pixel=pixel)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("d_min", [0.8, 1.0, 3.0])
def test_the_zero_frequency_is_the_middle_pixel(shape, d_min):
    power = np.ones(half_shape(shape), np.float32)
    power[0, 0] = 1e4
    picture, _ = shown_spectrum(flat_diffractogram(power, shape), d_min_angstrom=d_min)
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 1
    assert max(picture.shape) <= _MOST_PIXELS
    middle = (picture.shape[0] // 2, picture.shape[1] // 2)
    assert np.unravel_index(np.argmax(picture), picture.shape) == middle
    assert picture[middle] == pytest.approx(4.0)


@pytest.mark.parametrize("shape", [*SHAPES, (3000, 2500)])
@pytest.mark.parametrize("pixel", [PIXEL, (0.4, 0.5)])
def test_a_spot_of_a_single_bin_survives_at_its_g_with_its_mate(shape, pixel):
    row, col = -round(0.31 * shape[0] * pixel[0]), round(0.43 * shape[1] * pixel[1])
    power = np.ones(half_shape(shape), np.float32)
    power[row, col] = 1e6
    picture, (edge_y, edge_x) = shown_spectrum(flat_diffractogram(power, shape, pixel=pixel), d_min_angstrom=1.0)
    bright = np.argwhere(picture > 3)
    assert len(bright) == 2
    for spot, sign in zip(bright, (1, -1), strict=True):
        # Pixel centres, in shares of the half picture from the middle.
        share = (spot + 0.5) / np.array(picture.shape) * 2 - 1
        size = 2 * np.array([edge_y, edge_x]) / picture.shape
        assert share[0] * edge_y == pytest.approx(sign * row / (shape[0] * pixel[0]), abs=0.51 * size[0])
        assert share[1] * edge_x == pytest.approx(sign * col / (shape[1] * pixel[1]), abs=0.51 * size[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_picture_ends_at_the_smallest_d_or_at_nyquist(shape):
    _, edge = shown_spectrum(empty_diffractogram(shape), d_min_angstrom=2.0)
    for value, n in zip(edge, shape, strict=True):
        factor = -(-n // _MOST_PIXELS) + 2
        assert value == pytest.approx(0.5, abs=factor * 1.5 / (n * 0.4))
    _, edge = shown_spectrum(empty_diffractogram(shape), d_min_angstrom=0.1)
    for value, n in zip(edge, shape, strict=True):
        factor = -(-n // _MOST_PIXELS) + 2
        assert 1.25 - factor * 1.5 / (n * 0.4) < value <= 1.25 + 1e-9


@pytest.mark.parametrize("shape", [(1000, 768), (1500, 1100), (2049, 300), (4096, 64)])
def test_a_reduced_frame_keeps_its_mean(shape, rng):
    image = (rng.standard_normal(shape) + 50).astype(np.float32)
    reduced = reduce_frame(image)
    factor = -(-max(shape) // _MOST_PIXELS)
    assert reduced.shape == (shape[0] // factor, shape[1] // factor)
    kept = image[: reduced.shape[0] * factor, : reduced.shape[1] * factor]
    assert reduced.mean(dtype=np.float64) == pytest.approx(kept.mean(dtype=np.float64), rel=1e-5)
    assert reduced[3, 5] == pytest.approx(image[3 * factor : 4 * factor, 5 * factor : 6 * factor].mean(), rel=1e-5)


def test_a_small_frame_is_not_reduced(rng):
    image = rng.standard_normal((100, 80)).astype(np.float32)
    np.testing.assert_array_equal(reduce_frame(image), image)


@pytest.mark.parametrize("shape", [(64, 64), (65, 40), (2100, 40)])
def test_the_papers_view_runs_from_black_to_white_with_its_cross(shape, rng):
    ramp = np.add.outer(np.arange(shape[0]), 2.0 * np.arange(shape[1])) + rng.standard_normal(shape)
    view = paper_view(frame_of(ramp))
    assert view.shape == (min(shape[0], 2048), min(shape[1], 2048))
    assert view.min() >= 0.0
    assert view.max() <= 1.0
    row, col = view.shape[0] // 2, view.shape[1] // 2
    assert view[row, :].mean() > 1.5 * view.mean()
    assert view[:, col].mean() > 1.5 * view.mean()


def test_the_papers_view_shows_a_spot_and_its_mate(rng):
    shape = (128, 100)
    view = paper_view(waves_frame(shape, [wave_at(20, 30, 9.0, shape=shape)], rng, sigma=1.0))
    assert view[64 + 20, 50 + 30] == view[64 - 20, 50 - 30] == 1.0


def test_pictures_of_a_real_diffractogram_are_finite(rng):
    diffractogram = compute_diffractogram(waves_frame((64, 64), [], rng, sigma=1.0))
    assert np.isfinite(shown_spectrum(diffractogram, d_min_angstrom=1.0)[0]).all()


@pytest.mark.parametrize("shape", [(256, 256), (255, 301)])
def test_a_block_shows_a_spot_and_its_mate_at_their_signed_bins(shape):
    power = np.ones(half_shape(shape), np.float32)
    power[-20, 31] = 1e4
    diffractogram = flat_diffractogram(power, shape)
    near = shown_block(diffractogram, first=(-25, 25), shape=(11, 13))
    assert np.argwhere(near > 3).tolist() == [[5, 6]]
    mate = shown_block(diffractogram, first=(15, -40), shape=(11, 13))
    assert np.argwhere(mate > 3).tolist() == [[5, 9]]
    pooled = shown_block(diffractogram, first=(-25, 25), shape=(11, 13), factor=3)
    assert pooled.shape == (3, 4)
    assert np.argwhere(pooled > 3).tolist() == [[1, 2]]


def test_the_limits_of_what_is_shown_are_those_of_d_min_or_of_nyquist():
    frame = frame_of(np.random.default_rng(1).normal(size=(256, 200)))
    step = 1 / (256 * PIXEL[0])
    near = shown_limits(compute_diffractogram(frame, d_min_angstrom=2.0))
    assert near[0] == int(0.5 / step)
    assert shown_limits(compute_diffractogram(frame)) == (127, 99)
