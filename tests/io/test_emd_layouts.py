"""Berkeley and Velox EMD files beyond the plain case."""

from __future__ import annotations

import json
from importlib.util import find_spec

import h5py
import numpy as np
import pytest

from fringemap.errors import ReadError
from fringemap.io import read
from io_samples import write_velox


def write_berkeley(path, data, axes):
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/image")
        group.attrs["emd_group_type"] = 1
        group["data"] = data
        for k, (step, unit) in enumerate(axes):
            group[f"dim{k + 1}"] = np.arange(data.shape[k]) * step
            group[f"dim{k + 1}"].attrs["units"] = np.bytes_(unit)
    return path


def test_the_axes_with_a_length_are_the_image_wherever_they_stand(tmp_path, rng):
    cube = rng.random((40, 44, 3)).astype(np.float32)
    axes = ((0.02, "[n_m]"), (0.03, "[n_m]"), (1.0, "[mrad]"))
    with read(write_berkeley(tmp_path / "a.emd", cube, axes)) as series:
        assert (len(series), series.frame_shape) == (3, (40, 44))
        assert series.scale.pixel_size_angstrom == pytest.approx((0.2, 0.3))
        np.testing.assert_array_equal(series[2].image, cube[:, :, 2])


def test_axes_of_length_one_are_left_out(tmp_path, rng):
    image = rng.random((1, 40, 44)).astype(np.float32)
    axes = ((1.0, ""), (0.02, "nm"), (0.02, "nm"))
    with read(write_berkeley(tmp_path / "a.emd", image, axes)) as series:
        assert (len(series), series.frame_shape) == (1, (40, 44))
        np.testing.assert_array_equal(series[0].image, image[0])


@pytest.mark.parametrize("unit", ["[n_m^-1]", "1/nm", "mrad"])
def test_a_berkeley_diffraction_pattern_is_refused(unit, tmp_path, rng):
    path = write_berkeley(tmp_path / "a.emd", rng.random((40, 44)), ((0.1, unit), (0.1, unit)))
    with pytest.raises(ReadError, match="diffraction pattern"):
        read(path)


def test_an_hdf5_file_without_images_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file["something"] = np.zeros(10)
    with pytest.raises(ReadError, match=r"a\.emd is an HDF5 file without any image"):
        read(tmp_path / "a.emd")


def test_a_velox_file_of_spectra_only_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file.create_group("Data/Spectrum")
        file["Version"] = [json.dumps({"format": "Velox", "version": "10"})]
    with pytest.raises(ReadError, match="holds spectra only"):
        read(tmp_path / "a.emd")


@pytest.mark.skipif(find_spec("sparse") is not None, reason="with the package 'sparse' such files can be read")
def test_a_velox_file_with_a_spectrum_image_says_what_is_missing(tmp_path, rng):
    path = write_velox(tmp_path / "a.emd", rng.integers(0, 9, (1, 40, 44)).astype(np.uint16))
    with h5py.File(path, "r+") as file:
        file.create_group("Data/SpectrumImage")
        file["Displays/ImageDisplay/0"] = [json.dumps({"id": "HAADF"})]
        file["Presentation/Displays/ImageDisplay/0"] = [json.dumps({"dataPath": "x/y", "display": {"label": "HAADF"}})]
    with pytest.raises(ReadError, match="spectrum image"):
        read(path)


def set_start_times(path, starts):
    with h5py.File(path, "r+") as file:
        stored = file["Data/Image/0123456789abcdef/Metadata"]
        columns = []
        for k, start in enumerate(starts):
            details = json.loads(stored[:, k].tobytes().split(b"\0", 1)[0])
            details["Acquisition"] = {"AcquisitionStartDatetime": {"DateTime": str(start)}}
            columns.append(np.frombuffer(json.dumps(details).encode().ljust(len(stored), b"\0"), np.uint8))
        stored[...] = np.stack(columns, axis=1)


@pytest.mark.parametrize(
    ("starts", "interval_s"),
    [((1000, 1000, 1001, 1001, 1002), 0.5), ((1000, 1010, 1020, 1030, 1040), 10.0)],
    ids=["the clock confirms the frame time", "frames were left out, the clock knows"],
)
def test_velox_times_are_the_frame_time_unless_the_clock_disagrees(starts, interval_s, tmp_path, rng):
    path = write_velox(tmp_path / "a.emd", rng.integers(0, 9, (5, 40, 44)).astype(np.uint16))
    set_start_times(path, starts)
    with read(path) as series:
        np.testing.assert_allclose(series.times_s, np.arange(5) * interval_s)
        assert series.metadata["date"].startswith("1970-01-01 00:16:40")


def test_velox_metadata_that_cannot_be_read_are_one_clear_error(tmp_path, rng):
    path = write_velox(tmp_path / "a.emd", rng.integers(0, 9, (2, 40, 44)).astype(np.uint16))
    with h5py.File(path, "r+") as file:
        file["Data/Image/0123456789abcdef/Metadata"][...] = 7
    with pytest.raises(ReadError, match=r"a\.emd cannot be read"):
        read(path)
