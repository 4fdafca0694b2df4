import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fringemap.io.pixels import as_frame_image
from fringemap.records import Flag

REAL_TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">i2", ">u2", ">f4", ">f8"]


@pytest.mark.parametrize("dtype", REAL_TYPES)
def test_every_real_type_becomes_float32_of_the_same_values(dtype, rng):
    raw = rng.integers(0, 100, (37, 53)).astype(dtype)
    image, flags = as_frame_image(raw)
    np.testing.assert_array_equal(image, raw.astype(np.float32))
    assert image.dtype == np.float32
    assert not flags & Flag.NOT_FINITE


def test_the_image_is_a_copy_even_if_nothing_had_to_be_converted(rng):
    raw = rng.random((40, 40), dtype=np.float32)
    image, _flags = as_frame_image(raw)
    assert not np.shares_memory(image, raw)


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 3000)),
    levels=st.integers(1, 5000),
    seed=st.integers(0, 2**31),
    workers=st.integers(1, 4),
)
def test_saturation_found_by_blocks_and_threads_is_that_of_the_whole_frame(shape, levels, seed, workers):
    raw = np.random.default_rng(seed).integers(0, levels, shape).astype(np.uint16)
    image, flags = as_frame_image(raw, workers=workers)
    share = np.mean(raw == raw.max())
    np.testing.assert_array_equal(image, raw)
    assert bool(flags & Flag.SATURATED) == (share > 1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("dtype", "workers"), [("f4", 1), ("f8", 1), (">f4", 1), ("f4", 3)])
def test_pixels_that_are_not_finite_become_the_median_of_the_others(bad, dtype, workers, rng):
    raw = rng.normal(100, 5, (64, 65)).astype(dtype)
    raw[3, 4] = raw[60, 2] = bad
    image, flags = as_frame_image(raw, workers=workers)
    good = np.isfinite(raw)
    np.testing.assert_array_equal(image[good], raw[good].astype(np.float32))
    assert image[3, 4] == image[60, 2] == pytest.approx(np.median(raw[good]), rel=1e-6)
    assert flags == Flag.NOT_FINITE


def test_a_frame_without_any_finite_pixel_becomes_zero_and_says_so():
    image, flags = as_frame_image(np.full((40, 40), np.nan))
    assert (image == 0).all()
    assert flags & Flag.NOT_FINITE


def test_numbers_too_large_for_float32_count_as_not_finite(rng):
    raw = rng.random((40, 40))
    raw[0, 0] = 1e300
    image, flags = as_frame_image(raw)
    assert flags & Flag.NOT_FINITE
    assert image[0, 0] < 1.0


def test_saturation_is_also_found_beside_pixels_that_are_not_finite(rng):
    raw = np.minimum(rng.random((100, 100)), 0.9).astype(np.float32)
    raw[0, 0] = np.nan
    _image, flags = as_frame_image(raw)
    assert flags == Flag.NOT_FINITE | Flag.SATURATED


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colour_becomes_grey_and_transparency_is_left_out(dtype, rng):
    grey = rng.integers(0, 255, (40, 41)).astype(dtype)
    alpha = rng.integers(0, 255, (40, 41)).astype(dtype)
    image, _flags = as_frame_image(np.stack([grey, grey, grey, alpha], axis=-1))
    np.testing.assert_allclose(image, grey, rtol=1e-6, atol=1e-4)


def test_green_counts_most_in_grey():
    def brightness(channel):
        raw = np.zeros((33, 33, 3), np.uint8)
        raw[..., channel] = 100
        return as_frame_image(raw)[0][0, 0]

    red, green, blue = brightness(0), brightness(1), brightness(2)
    assert blue < red < green
    assert red + green + blue == pytest.approx(100.0, rel=1e-6)
