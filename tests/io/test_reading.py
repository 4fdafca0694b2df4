"""Choosing, averaging and timing the frames of a series; colour, odd layouts, and files larger than memory."""

from __future__ import annotations

import struct
import time
import zlib

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fringemap.errors import ReadError, SettingsError
from fringemap.io import describe, read, write_mrc
from fringemap.io.reading import parse_frames
from fringemap.records import Flag
from fringemap.settings import ReadSettings
from io_samples import write_dm, write_dm_tif, write_velox

SIZE = (0.2, 0.2)


@pytest.fixture
def stack(rng):
    return rng.integers(0, 1000, (10, 33, 47)).astype(np.int16)


@pytest.fixture
def path(stack, tmp_path):
    return write_mrc(tmp_path / "movie.mrc", stack, pixel_size_angstrom=SIZE, frame_time_s=2.0)


def indices(path, **settings):
    with read(path, settings=ReadSettings(**settings)) as series:
        assert len(series) == len(list(series))
        return [frame.index for frame in series]


@given(
    n=st.integers(1, 30),
    start=st.none() | st.integers(-35, 35),
    stop=st.none() | st.integers(-35, 35),
    step=st.none() | st.integers(1, 9),
)
def test_frames_are_chosen_as_python_slices(n, start, stop, step):
    text = ":".join("" if part is None else str(part) for part in (start, stop, step))
    expected = list(range(n))[start:stop:step]
    if expected:
        assert list(parse_frames(text, n)) == expected
    else:
        with pytest.raises(SettingsError):
            parse_frames(text, n)


@pytest.mark.parametrize(("text", "expected"), [("", list(range(5))), ("3", [3]), ("-1", [4]), (":", list(range(5)))])
def test_a_single_number_is_a_single_frame_and_nothing_is_all(text, expected):
    assert list(parse_frames(text, 5)) == expected


@pytest.mark.parametrize("text", ["a", "1-3", "1:2:3:4", "::0", "::-1", "5", "-6", "3:3", "1,2", "-", "- 1", ":-"])
def test_a_range_that_makes_no_sense_is_an_error_that_names_it(text):
    with pytest.raises(SettingsError, match="frames = ") as caught:
        parse_frames(text, 5)
    assert text in str(caught.value)


def test_chosen_frames_keep_their_number_and_time(path, stack):
    with read(path, settings=ReadSettings(frames="2:9:3")) as series:
        frames = list(series)
    assert [frame.index for frame in frames] == [2, 5, 8]
    assert [frame.time_s for frame in frames] == pytest.approx([4.0, 10.0, 16.0])
    assert [frame.name for frame in frames] == ["movie_0002", "movie_0005", "movie_0008"]
    np.testing.assert_array_equal(frames[1].image, stack[5])


def test_a_single_image_is_called_by_its_file(tmp_path, stack):
    write_mrc(tmp_path / "one.mrc", stack[0], pixel_size_angstrom=SIZE)
    with read(tmp_path / "one.mrc") as series:
        assert series[0].name == series.name == "one"
        assert series[0].time_s is None


def test_averaged_frames_are_the_mean_of_their_group_at_its_mean_time(path, stack):
    with read(path, settings=ReadSettings(bin_frames=3)) as series:
        frames, warnings = list(series), series.warnings
    assert [frame.index for frame in frames] == [0, 3, 6]
    for k, frame in enumerate(frames):
        np.testing.assert_allclose(frame.image, stack[3 * k : 3 * k + 3].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose([frame.time_s for frame in frames], [2.0, 8.0, 14.0], atol=1e-6)
    assert any("left out" in warning for warning in warnings)


def test_averaging_follows_the_choice_of_frames(path, stack):
    with read(path, settings=ReadSettings(frames="::2", bin_frames=2)) as series:
        np.testing.assert_allclose(series[1].image, (stack[4] + stack[6]) / np.float32(2))
        assert len(series) == 2


def test_a_group_larger_than_the_series_averages_all(path, stack):
    with read(path, settings=ReadSettings(bin_frames=100)) as series:
        assert len(series) == 1
        np.testing.assert_allclose(series[0].image, stack.mean(axis=0), rtol=1e-6)


def test_the_users_frame_time_overrides_the_header_and_counts_stored_frames(path):
    with read(path, settings=ReadSettings(frame_time_s=0.1, frames="5:")) as series:
        assert series.times_source == "user"
        np.testing.assert_allclose(series.times_s, np.arange(5, 10) * 0.1)


def test_a_missing_file_is_named():
    with pytest.raises(ReadError, match=r"nowhere\.dm4 does not exist"):
        read("nowhere.dm4")


def test_an_unknown_ending_is_named_with_the_known_ones(tmp_path):
    (tmp_path / "notes.docx").write_text("hello")
    with pytest.raises(ReadError, match=r"\.docx.*\.dm3"):
        read(tmp_path / "notes.docx")


def test_content_counts_more_than_the_ending(tmp_path, rng):
    image = rng.integers(0, 255, (40, 40)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "really_a.png")
    (tmp_path / "really_a.png").rename(tmp_path / "looks_like.tif")
    with read(tmp_path / "looks_like.tif") as series:
        assert series.format == "PNG"
        np.testing.assert_array_equal(series[0].image, image)


@pytest.mark.parametrize("ending", [".dm3", ".dm4", ".ser", ".emd", ".hspy", ".tif", ".png", ".npy", ".mrc", ".jpg"])
def test_text_under_any_ending_is_one_clear_error(ending, tmp_path):
    path = tmp_path / f"text{ending}"
    path.write_text("These are my notes of last week. " * 100)
    with pytest.raises(ReadError, match=path.name):
        read(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "L", "I;16"])
def test_pictures_of_every_mode_become_grey(mode, tmp_path, rng):
    grey = rng.integers(0, 255, (40, 44)).astype(np.uint8)
    factor = 257 if mode == "I;16" else 1
    deep = grey.astype(np.uint16) * np.uint16(257)
    picture = Image.fromarray(deep) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    picture.save(tmp_path / "picture.png")
    with read(tmp_path / "picture.png") as series:
        np.testing.assert_allclose(series[0].image, grey.astype(np.float32) * factor, atol=0.01)


def test_dpi_is_no_pixel_size(tmp_path, rng):
    picture = Image.fromarray(rng.integers(0, 255, (40, 44)).astype(np.uint8))
    picture.save(tmp_path / "a.png", dpi=(300, 300))
    tifffile.imwrite(tmp_path / "b.tif", np.asarray(picture), resolution=(72, 72), resolutionunit="INCH")
    tifffile.imwrite(tmp_path / "c.tif", np.asarray(picture), resolution=(96, 96), resolutionunit="CENTIMETER")
    for name in ("a.png", "b.tif", "c.tif"):
        with read(tmp_path / name) as series:
            assert series.scale is None


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_colour_planes_of_a_tiff_are_one_frame_not_three(planar, compression, tmp_path, rng):
    colour = rng.integers(0, 255, (40, 44, 3)).astype(np.uint8)
    data = colour if planar == "contig" else np.moveaxis(colour, -1, 0)
    path = tmp_path / "colour.tif"
    tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar, compression=compression)
    with read(path) as series:
        assert len(series) == 1
        assert series.frame_shape == (40, 44)
        np.testing.assert_allclose(series[0].image, colour @ np.array([0.299, 0.587, 0.114]), atol=1e-3)


def test_three_grey_pages_are_a_stack_not_colour(tmp_path, rng):
    pages = rng.integers(0, 255, (3, 40, 44)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "pages.tif", pages, photometric="minisblack")
    with read(tmp_path / "pages.tif") as series:
        assert len(series) == 3
        np.testing.assert_array_equal(series[2].image, pages[2])


def test_a_thumbnail_page_is_not_taken_even_if_it_comes_first(tmp_path, rng):
    image = rng.integers(0, 60000, (80, 90)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "thumb.tif") as file:
        file.write(np.zeros((100, 100, 3), np.uint8), photometric="rgb", subfiletype=1)
        file.write(image, photometric="minisblack")
    with read(tmp_path / "thumb.tif") as series:
        np.testing.assert_array_equal(series[0].image, image)
        assert series.warnings == tuple(w for w in series.warnings if "--pixel-size" in w)


@pytest.mark.parametrize("compression", ["lzw", "packbits"])
def test_compressions_beyond_zlib_are_read_too(compression, tmp_path, rng):
    image = rng.integers(0, 60000, (80, 90)).astype(np.uint16)
    name = {"lzw": "tiff_lzw", "packbits": "packbits"}[compression]
    Image.fromarray(image).save(tmp_path / "packed.tif", compression=name)
    with read(tmp_path / "packed.tif") as series:
        np.testing.assert_array_equal(series[0].image, image)


def test_units_that_a_japanese_computer_garbled_are_understood(tmp_path, rng):
    stack = rng.integers(0, 60000, (1, 80, 90)).astype(np.uint16)
    write_dm_tif(tmp_path / "sjis.tif", stack, unit=b"\x83\xcam")
    with read(tmp_path / "sjis.tif") as series:
        assert series.scale.pixel_size_angstrom == pytest.approx((210.0, 200.0))


@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_arrays_of_either_order_are_the_same(order, tmp_path, rng):
    stack = np.asarray(rng.random((3, 40, 50)), order=order)
    np.save(tmp_path / "stack.npy", stack)
    np.save(tmp_path / "image.npy", np.asarray(stack[1], order=order))
    with read(tmp_path / "stack.npy") as series:
        np.testing.assert_array_equal(series[2].image, stack[2].astype(np.float32))
    with read(tmp_path / "image.npy") as series:
        np.testing.assert_array_equal(series[0].image, stack[1].astype(np.float32))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(100),
        np.zeros((2, 2, 40, 40)),
        np.array([{"a": 1}]),
        np.zeros((40, 40), complex),
        np.zeros((40, 40), bool),
    ],
)
def test_arrays_that_are_no_images_are_refused(array, tmp_path):
    np.save(tmp_path / "array.npy", array, allow_pickle=True)
    with pytest.raises(ReadError, match=r"array\.npy"):
        read(tmp_path / "array.npy")


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "float32", "uint8", "float64"])
def test_digitalmicrograph_pixels_of_every_type(dtype, tmp_path, rng):
    image = rng.integers(0, 100, (40, 41)).astype(dtype)
    write_dm(tmp_path / "image.dm4", image)
    with read(tmp_path / "image.dm4") as series:
        assert series.dtype == np.dtype(dtype)
        assert series.metadata["high_tension_kv"] == 300.0
        np.testing.assert_array_equal(series[0].image, image)


@pytest.mark.parametrize(("unit", "expected"), [("µm", True), ("nm", True), ("", False), ("eV", None), ("1/nm", None)])
def test_digitalmicrograph_units_decide_what_an_image_is(unit, expected, tmp_path):
    write_dm(tmp_path / "image.dm3", np.zeros((40, 40), np.int16), version=3, sizes=((0.02, unit), (0.02, unit)))
    if expected is None:
        with pytest.raises(ReadError):
            read(tmp_path / "image.dm3")
        return
    with read(tmp_path / "image.dm3") as series:
        assert (series.scale is not None) == expected


def test_a_digitalmicrograph_file_of_four_axes_is_refused(tmp_path):
    write_dm(tmp_path / "cube.dm4", np.zeros((2, 3, 40, 40), np.int16))
    with pytest.raises(ReadError, match="has 4 axes"):
        read(tmp_path / "cube.dm4")


def test_one_angstrom_in_an_mrc_cell_is_a_default_not_a_measurement(tmp_path, rng):
    with mrcfile.new(tmp_path / "default.mrc") as file:
        file.set_data(rng.random((40, 41), dtype=np.float32))
        file.voxel_size = 1.0
    with read(tmp_path / "default.mrc") as series:
        assert series.scale is None
    write_mrc(tmp_path / "meant.mrc", rng.random((40, 41)), pixel_size_angstrom=(1.0, 1.0))
    with read(tmp_path / "meant.mrc") as series:
        assert series.scale.pixel_size_angstrom == pytest.approx((1.0, 1.0))


def test_a_plain_mrc_cell_gives_the_pixel_size_of_each_axis(tmp_path, rng):
    with mrcfile.new(tmp_path / "plain.mrc") as file:
        file.set_data(rng.random((40, 50), dtype=np.float32))
        file.voxel_size = (0.3, 0.4, 1.0)
    with read(tmp_path / "plain.mrc") as series:
        assert series.scale.pixel_size_angstrom == pytest.approx((0.4, 0.3), rel=1e-6)


def test_an_mrc_file_that_is_longer_than_it_says_is_read_with_a_warning(tmp_path, stack):
    path = write_mrc(tmp_path / "long.mrc", stack, pixel_size_angstrom=SIZE)
    path.write_bytes(path.read_bytes() + bytes(100))
    with read(path) as series:
        assert any("100 bytes more" in warning for warning in series.warnings)
        np.testing.assert_array_equal(series[9].image, stack[9])


def test_bad_pixels_are_replaced_and_flagged_in_their_own_frame_only(tmp_path, rng):
    stack = rng.normal(100, 5, (3, 40, 50)).astype(np.float32)
    stack[1, 5, 5] = np.nan
    np.save(tmp_path / "nan.npy", stack)
    with read(tmp_path / "nan.npy") as series:
        flags = [frame.flags & Flag.NOT_FINITE for frame in series]
        assert np.isfinite(series[1].image).all()
    assert flags == [Flag.NONE, Flag.NOT_FINITE, Flag.NONE]


@pytest.mark.parametrize("kind", ["mrc", "npy", "tif", "bigtiff pages"])
def test_a_ten_gigabyte_stack_opens_at_once_and_gives_its_last_frame(kind, tmp_path):
    n, shape = 320, (4096, 4096)
    path = tmp_path / f"big.{kind.split()[0].replace('bigtiff', 'tif')}"
    n_bytes = n * shape[0] * shape[1] * 2
    if kind == "mrc":
        write_mrc(path, np.zeros((1, 64, 64), np.int16), pixel_size_angstrom=SIZE)
        with mrcfile.open(path, header_only=True) as file:
            header = file.header.copy()
        header.nx, header.ny, header.nz, header.nsymbt = shape[1], shape[0], n, 0
        path.write_bytes(header.tobytes())
        with path.open("r+b") as stream:
            stream.truncate(1024 + n_bytes)
    elif kind == "npy":
        with path.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, {"descr": "<i2", "fortran_order": False, "shape": (n, *shape)})
            stream.truncate(stream.tell() + n_bytes)
    elif kind == "tif":
        tifffile.imwrite(path, None, shape=(n, *shape), dtype="uint16", bigtiff=True, photometric="minisblack")
    else:
        with tifffile.TiffWriter(path, bigtiff=True) as file:
            for _ in range(n):
                file.write(None, shape=shape, dtype="uint16", photometric="minisblack", contiguous=False, metadata=None)
    assert path.stat().st_size > 10e9
    start = time.perf_counter()
    with read(path) as series:
        opened = time.perf_counter() - start
        assert len(series) == n
        frame = series[-1]
    assert frame.image.shape == shape
    assert frame.index == n - 1
    assert opened < 2.0


def test_a_long_velox_stack_does_not_unpack_a_chunk_for_each_of_its_frames(tmp_path, rng, monkeypatch):
    import h5py

    stack = rng.integers(0, 100, (12, 40, 40)).astype(np.uint16)
    write_velox(tmp_path / "long.emd", stack, chunk_frames=6, compress=True)
    reads = []
    original = h5py.Dataset.__getitem__

    def counting(self, args, new_dtype=None):
        if self.name.endswith("/Data"):
            reads.append(args)
        return original(self, args, new_dtype)

    with read(tmp_path / "long.emd") as series:
        monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
        for k, frame in enumerate(series):
            np.testing.assert_array_equal(frame.image, stack[k])
    assert len(reads) == 2


def test_the_description_names_what_a_user_asks_for(path):
    with read(path, settings=ReadSettings(pixel_size_nm=0.02)) as series:
        told = describe(series)
    assert told["pixel_size_nm"] == pytest.approx([0.02, 0.02])
    assert told["pixel_size_source"] == "user"
    assert told["nyquist_d_angstrom"] == pytest.approx(0.4)
    assert told["scale_sigma_percent"] == pytest.approx(1.0)
    assert told["times_source"] == "header"
    assert told["last_time_s"] == pytest.approx(18.0)
    assert told["format"] == "MRC"


def write_header_of_png(path, side, *, n_bytes):
    """A picture of this side as far as its first pixels; what follows is left out, or is too much."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0"))
    path.write_bytes((b"\x89PNG\r\n\x1a\n" + head).ljust(n_bytes, b"\0"))
    return path


@pytest.mark.parametrize("side", [13_500, 32_768])
def test_a_picture_may_be_as_large_as_any_other_frame(tmp_path, side):
    with read(write_header_of_png(tmp_path / "large.png", side, n_bytes=150_000)) as series:
        assert series.frame_shape == (side, side)


@pytest.mark.parametrize(("side", "n_bytes"), [(13_500, 10_000), (33_000, 150_000), (100_000, 1_300_000)])
def test_a_picture_that_announces_more_than_it_can_hold_is_refused(tmp_path, side, n_bytes):
    with pytest.raises(ReadError, match=r"cut off or damaged|makes no sense|cut off, damaged"):
        read(write_header_of_png(tmp_path / "bomb.png", side, n_bytes=n_bytes))
