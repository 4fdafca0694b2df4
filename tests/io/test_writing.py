import mrcfile
import numpy as np
import pytest
import tifffile

from fringemap.errors import OutputError
from fringemap.io import read, write_mrc, write_tif


@pytest.fixture(params=[write_mrc, write_tif], ids=["mrc", "tif"])
def write(request):
    return request.param


def ending(write):
    return ".mrc" if write is write_mrc else ".tif"


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64", "uint8"])
def test_what_is_written_is_read_back_the_same(write, dtype, tmp_path, rng):
    stack = rng.integers(0, 250, (4, 35, 48)).astype(dtype)
    path = write(tmp_path / f"a{ending(write)}", stack, pixel_size_angstrom=(0.371, 0.373), frame_time_s=0.25)
    with read(path) as series:
        for frame in series:
            np.testing.assert_array_equal(frame.image, stack[frame.index])
        assert series.scale.pixel_size_angstrom == pytest.approx((0.371, 0.373), rel=1e-8)
        np.testing.assert_allclose(series.times_s, np.arange(4) * 0.25, atol=1e-9)


def test_a_single_image_is_a_stack_of_one(write, tmp_path, rng):
    image = rng.random((35, 48), dtype=np.float32)
    with read(write(tmp_path / f"a{ending(write)}", image, pixel_size_angstrom=(0.4, 0.4))) as series:
        assert len(series) == 1
        np.testing.assert_array_equal(series[0].image, image)
        assert series.times_s is None


def test_a_failed_write_leaves_the_old_file_and_nothing_else(write, tmp_path, rng):
    path = tmp_path / f"a{ending(write)}"
    write(path, rng.random((40, 40)), pixel_size_angstrom=(0.4, 0.4))
    before = path.read_bytes()

    class Breaks:
        dtype, shape, ndim = np.dtype("f4"), (40, 40), 2

        def __array__(self, *_args, **_kwargs):
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        write(path, [Breaks(), Breaks()], pixel_size_angstrom=(0.4, 0.4))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_place_that_cannot_be_written_is_an_output_error(write, tmp_path, rng):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file" / f"a{ending(write)}", rng.random((40, 40)), pixel_size_angstrom=(0.4, 0.4))


def test_frames_of_different_shapes_are_no_stack(write, tmp_path):
    with pytest.raises(OutputError, match="one shape"):
        write(tmp_path / "a", [np.zeros((40, 40)), np.zeros((40, 41))], pixel_size_angstrom=(0.4, 0.4))


def test_other_programs_find_the_pixel_size_of_an_mrc_in_its_cell(tmp_path, rng):
    path = write_mrc(tmp_path / "a.mrc", rng.random((3, 40, 50)), pixel_size_angstrom=(0.3, 0.4), high_tension_kv=300)
    with mrcfile.open(path) as file:
        assert (float(file.voxel_size.y), float(file.voxel_size.x)) == pytest.approx((0.3, 0.4), rel=1e-6)
        assert file.is_image_stack()
        assert file.data.dtype == np.float32
        assert file.indexed_extended_header["HT"][0] == 300_000
    assert mrcfile.validate(path)


def test_other_programs_find_the_pixel_size_of_a_tiff_in_nanometres(tmp_path, rng):
    path = write_tif(tmp_path / "a.tif", rng.random((3, 40, 50)), pixel_size_angstrom=(0.3, 0.4), frame_time_s=2.0)
    with tifffile.TiffFile(path) as file:
        assert file.imagej_metadata["unit"] == "nm"
        assert file.imagej_metadata["frames"] == 3
        assert file.imagej_metadata["finterval"] == 2.0
        num, den = file.pages[0].tags["XResolution"].value
        assert num / den == pytest.approx(1 / 0.04, rel=1e-6)
