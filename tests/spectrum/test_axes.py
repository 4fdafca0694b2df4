from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fringemap.spectrum import (
    bin_size,
    do_each,
    frequency_axes,
    half_shape,
    nyquist,
    read_block,
    read_blocks,
    to_bins,
    whole_spectrum,
)
from spectrum_frames import PIXEL, scale_of

shapes = st.tuples(st.integers(2, 13), st.integers(2, 13))


def half_power(shape, seed):
    image = np.random.default_rng(seed).standard_normal(shape)
    return np.abs(np.fft.rfft2(image)) ** 2, np.abs(np.fft.fft2(image)) ** 2


def read_block_slowly(half, n_cols, start, shape):
    """Each bin by itself: a stored one, or the conjugate of its mate."""
    n_rows, block = len(half), np.empty(shape, half.dtype)
    for i in range(shape[0]):
        for j in range(shape[1]):
            row, col = (start[0] + i) % n_rows, (start[1] + j) % n_cols
            stored = col < half.shape[1]
            block[i, j] = half[row, col] if stored else np.conj(half[-row % n_rows, n_cols - col])
    return block


@given(shapes, st.integers(0, 1000))
def test_a_half_becomes_the_whole_centred_spectrum(shape, seed):
    half, whole = half_power(shape, seed)
    assert half.shape == half_shape(shape)
    np.testing.assert_allclose(whole_spectrum(half, shape), np.fft.fftshift(whole), atol=1e-9)


@given(shapes, st.integers(0, 1000))
def test_the_zero_frequency_is_shown_where_the_conventions_say(shape, seed):
    half, _ = half_power(shape, seed)
    half[0, 0] = 1e6
    assert whole_spectrum(half, shape)[shape[0] // 2, shape[1] // 2] == 1e6


@given(
    shapes,
    st.tuples(st.integers(-40, 40), st.integers(-40, 40)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.booleans(),
)
@settings(max_examples=300)
def test_a_block_is_read_anywhere_in_the_periodic_spectrum(shape, start, block_shape, complex_valued):
    image = np.random.default_rng(5).standard_normal(shape)
    half, whole = np.fft.rfft2(image), np.fft.fft2(image)
    if not complex_valued:
        half, whole = np.abs(half) ** 2, np.abs(whole) ** 2
    rows, cols = ((s + np.arange(n)) % size for s, n, size in zip(start, block_shape, shape, strict=True))
    block = read_block(half, shape[1], start=start, shape=block_shape)
    np.testing.assert_allclose(block, whole[np.ix_(rows, cols)], atol=1e-9)
    np.testing.assert_array_equal(block, read_block_slowly(half, shape[1], start, block_shape))


@given(shapes, st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), max_size=4), st.integers(0, 99))
@settings(max_examples=25)
def test_many_blocks_are_read_as_one_by_one(shape, starts, seed):
    half = np.fft.rfft2(np.random.default_rng(seed).standard_normal(shape)).astype(np.complex64)
    blocks = read_blocks(half, shape[1], start=np.array(starts, int).reshape(-1, 2), shape=(3, 4))
    assert blocks.shape == (len(starts), 3, 4)
    for block, start in zip(blocks, starts, strict=True):
        np.testing.assert_array_equal(block, read_block(half, shape[1], start=start, shape=(3, 4)))


@pytest.mark.parametrize("shape", [(8, 6), (9, 7), (8, 7), (5, 12)])
def test_frequencies_follow_the_formula_of_the_conventions(shape):
    pixel = (0.5, 0.3)
    gy, gx = frequency_axes(shape, scale_of(pixel))
    signed = [k if k < (shape[0] + 1) // 2 else k - shape[0] for k in range(shape[0])]
    np.testing.assert_allclose(gy, [k / (shape[0] * 0.5) for k in signed])
    np.testing.assert_allclose(gx, [k / (shape[1] * 0.3) for k in range(shape[1] // 2 + 1)])
    assert np.abs(gy).max() <= nyquist(scale_of(pixel))[0] + 1e-12
    assert gx.max() <= nyquist(scale_of(pixel))[1] + 1e-12


def test_bins_and_frequencies_convert_both_ways():
    shape, scale = (100, 60), scale_of((0.5, 0.3))
    row, col = to_bins(np.array([0.25]), np.array([-0.1]), frame_shape=shape, scale=scale)
    step_y, step_x = bin_size(shape, scale)
    assert row[0] * step_y == pytest.approx(-0.1)
    assert col[0] * step_x == pytest.approx(0.25)
    assert row[0] == pytest.approx(-0.1 * 100 * 0.5)


def test_a_wave_of_the_conventions_lies_right_of_and_below_the_middle():
    y, x = np.mgrid[:32, :40]
    fringe = np.cos(2 * np.pi * (5 / 40 * x + 3 / 32 * y))
    whole = whole_spectrum(np.abs(np.fft.rfft2(fringe)), fringe.shape)
    peaks = {tuple(map(int, p)) for p in np.argwhere(whole > whole.max() / 2)}
    assert peaks == {(16 + 3, 20 + 5), (16 - 3, 20 - 5)}


def test_nyquist_is_half_the_sampling_frequency():
    assert nyquist(scale_of(PIXEL)) == (1.25, 1.25)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_piece_is_done_once(workers):
    done = []
    do_each(done.append, (k * k for k in range(50)), workers=workers)
    assert sorted(done) == [k * k for k in range(50)]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_goes_wrong_with_a_piece_is_raised_in_whichever_thread(workers):
    everyone_is_there = threading.Barrier(workers)

    def fail(piece):
        # Each thread takes one of the pieces; the second one fails.
        everyone_is_there.wait(timeout=10)
        if piece == workers - 1:
            raise ValueError("no such piece")

    with pytest.raises(ValueError, match="no such piece"):
        do_each(fail, range(workers), workers=workers)
