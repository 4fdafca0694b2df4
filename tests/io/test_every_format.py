"""One contract for all formats: the same stack, written in each, comes back the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fringemap.errors import ReadError
from fringemap.io import describe, find_inputs, read, sha256
from fringemap.io.formats import ENDINGS
from fringemap.records import Flag, ScaleSource
from fringemap.settings import ReadSettings
from io_samples import COLS_NM, ROWS_NM, SAMPLES, write_velox

STACK = (np.random.default_rng(7).random((5, 40, 48)) * 250).astype(np.uint8).astype(np.float32)


@pytest.fixture(params=sorted(SAMPLES))
def kind(request):
    return request.param


@pytest.fixture
def path(kind, tmp_path):
    file = tmp_path / f"sample{SAMPLES[kind].ending}"
    SAMPLES[kind].write(file, STACK)
    return file


def expected_frames(kind):
    return STACK if SAMPLES[kind].is_stack else STACK[:1]


def test_frames_come_back_pixel_for_pixel_in_float32(kind, path):
    with read(path) as series:
        frames = list(series)
    expected = expected_frames(kind)
    assert len(frames) == len(expected)
    for frame, image in zip(frames, expected, strict=True):
        assert frame.image.dtype == np.float32
        assert frame.image.flags.c_contiguous
        np.testing.assert_array_equal(frame.image, image)


def test_frames_can_be_read_in_any_order_and_from_the_end(kind, path):
    expected = expected_frames(kind)
    with read(path) as series:
        for i in (len(expected) - 1, 0, -1, len(expected) // 2):
            np.testing.assert_array_equal(series[i].image, expected[i])
        with pytest.raises(IndexError):
            series[len(expected)]


def test_a_frame_stays_valid_and_its_own_after_the_file_is_closed(kind, path):
    with read(path) as series:
        one, again = series[0], series[0]
    one.image[0, 0] = -1.0
    assert again.image[0, 0] == STACK[0, 0, 0]


def test_pixel_size_is_that_of_the_header_or_none_at_all(kind, path):
    with read(path) as series:
        if SAMPLES[kind].has_size:
            assert series.scale.pixel_size_angstrom == pytest.approx((ROWS_NM * 10, COLS_NM * 10), rel=1e-6)
            assert series.scale.source is ScaleSource.HEADER
            assert series.scale.sigma == 0.025
            assert series.flags == Flag.ANISOTROPIC_PIXELS
        else:
            assert series.scale is None
            assert series[0].scale is None
            assert series[0].flags & Flag.UNCALIBRATED
            assert any("--pixel-size" in warning for warning in series.warnings)


def test_times_are_those_of_the_header_or_none_at_all(kind, path):
    sample = SAMPLES[kind]
    with read(path) as series:
        if sample.has_times:
            np.testing.assert_allclose(series.times_s, np.arange(5) * sample.interval_s, atol=1e-6)
            assert series.times_source == "header"
            assert series[2].time_s == pytest.approx(2 * sample.interval_s)
        else:
            assert series.times_s is None
            assert series.times_source == "none"
            assert series[0].time_s is None


def test_a_given_pixel_size_overrides_the_header_along_columns_and_keeps_its_ratio(kind, path):
    with read(path, settings=ReadSettings(pixel_size_nm=0.05)) as series:
        ratio = ROWS_NM / COLS_NM if SAMPLES[kind].has_size else 1.0
        assert series.scale.pixel_size_angstrom == pytest.approx((0.5 * ratio, 0.5), rel=1e-6)
        assert series.scale.source is ScaleSource.USER
        assert series.scale.sigma == 0.01
        assert not any("--pixel-size" in warning for warning in series.warnings)


def test_a_cut_file_ends_in_one_sentence(kind, path):
    whole = path.read_bytes()
    for share in (0.0, 0.02, 0.3, 0.6):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ReadError) as caught, read(path) as series:
            list(series)
        message = str(caught.value)
        assert path.name in message
        assert "\n" not in message


def test_what_was_understood_can_be_told(kind, path):
    with read(path) as series:
        told = json.loads(json.dumps(describe(series)))
    assert told["frame_shape"] == [40, 48]
    assert told["n_frames"] == len(expected_frames(kind))
    assert (told["pixel_size_nm"] is not None) == SAMPLES[kind].has_size
    assert (told["nyquist_d_angstrom"] is not None) == SAMPLES[kind].has_size


def test_every_ending_has_a_sample():
    covered = {"." + sample.ending.rsplit(".", 1)[-1] for sample in SAMPLES.values()}
    assert covered | {".emi", ".jpg", ".jpeg"} == ENDINGS


def test_a_file_is_found_by_its_name_and_has_a_fingerprint(kind, path):
    assert find_inputs([str(path)]) == [path]
    before = sha256(path)
    path.write_bytes(path.read_bytes() + b"!")
    assert sha256(path) != before


@pytest.mark.parametrize("chunk_frames", [1, 2, 5])
def test_velox_frames_are_right_however_they_are_chunked(chunk_frames, tmp_path):
    path = write_velox(tmp_path / "chunks.emd", STACK, chunk_frames=chunk_frames, compress=True)
    with read(path) as series:
        for i in (4, 0, 3, 1, 2):
            np.testing.assert_array_equal(series[i].image, STACK[i])
