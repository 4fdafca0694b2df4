"""Real micrographs, and RosettaSciIO as a second opinion on them."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest

from fringemap.io import read
from fringemap.records import Flag, ScaleSource
from fringemap.settings import ReadSettings

CALIBRATED = {
    "formats/16_STOimage.emi": ((1024, 1024), 0.010012704),
    "formats/16_STOimage_1.ser": ((1024, 1024), 0.010012704),
    "formats/example_Se_implanted_MoS2.dm3": ((1024, 1024), 0.0126953125),
    "formats/BTO_crystal_1.dm4": ((413, 469), 0.0296599306),
}

UNCALIBRATED = {
    "hrtem/Co3O4_0pass_500k.png": (2048, 2048),
    "hrtem/SL_Bornite_011.png": (310, 308),
    "hrtem/TiO2_0eV.tif": (256, 256),
    "hrtem/graphene_flower_raw.tif": (256, 256),
    "hrtem/soot_ucam_ExampleImage.tif": (512, 512),
}

PLUGINS = {".dm3": "digitalmicrograph", ".dm4": "digitalmicrograph", ".ser": "tia", ".mrc": "mrc", ".emd": "emd"}
PLUGINS |= {".tif": "tiff", ".emi": "tia"}

ALSO_READ_BY_ROSETTASCIIO = [
    *CALIBRATED,
    "hrtem/graphene_flower_raw.tif",
    "negative/derived_emilys_thonrings_first20_stack.tif",
    "edge/emi_pair/64x64x5_TEM_preview_1.ser",
    "edge/ncem_dmTest_3D_int16.dm3",
    "edge/ncem_dmTest_nonSquare_diffPixelSize.dm4",
    "edge/ncem_temp.mrc",
    "edge/rsciio_DM_tif_stack_nonsquare_px.tif",
    "edge/rsciio_JEOL_SightX.tif",
    "edge/rsciio_STEM_image_68px.dm3",
    "edge/rsciio_TEM_search_1.ser",
    "edge/rsciio_dm_image_um_unit.dm3",
    "edge/rsciio_imageJ_stack.tif",
    "edge/rsciio_multi_signal.dm3",
    "edge/rsciio_velox_FFTComplexEven.emd",
]

ANGSTROM = {"pm": 0.01, "A": 1.0, "nm": 10.0, "µm": 1e4, "m": 1e10}


def second_opinion(path, shape):
    """Frames and pixel size [Å] as RosettaSciIO sees the signal of this shape."""
    module = importlib.import_module(f"rsciio.{PLUGINS[path.suffix]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signals = module.file_reader(str(path))
    (signal, *_) = [s for s in signals if s["data"].shape[-2:] == shape and s["data"].dtype.kind in "iuf"]
    sizes = [axis["scale"] * ANGSTROM.get(axis["units"], np.nan) for axis in signal["axes"][-2:]]
    return signal["data"].reshape(-1, *shape), sizes


@pytest.mark.parametrize("name", sorted(CALIBRATED))
def test_calibrated_files_give_their_pixel_size(name, shared_data):
    shape, size_nm = CALIBRATED[name]
    with read(shared_data(name)) as series:
        assert series.frame_shape == shape
        assert series.scale.pixel_size_angstrom == pytest.approx((size_nm * 10, size_nm * 10), rel=1e-6)
        assert series.scale.source is ScaleSource.HEADER
        assert series.warnings == ()
        assert len(series) == 1


@pytest.mark.parametrize("name", sorted(UNCALIBRATED))
def test_pictures_without_a_pixel_size_ask_for_one_and_take_it(name, shared_data):
    path = shared_data(name)
    with read(path) as series:
        assert series.frame_shape == UNCALIBRATED[name]
        assert series.scale is None
        assert "--pixel-size" in " ".join(series.warnings)
    with read(path, settings=ReadSettings(pixel_size_nm=0.0190527, scale_sigma_percent=0.5)) as series:
        frame = series[0]
    assert frame.scale.pixel_size_angstrom == pytest.approx((0.190527, 0.190527))
    assert frame.scale.sigma == 0.005
    assert not frame.flags & Flag.UNCALIBRATED
    assert frame.image.shape == UNCALIBRATED[name]
    assert frame.image.std() > 0


def test_the_real_series_has_twenty_frames_and_a_clock(shared_data):
    with read(shared_data("negative/derived_emilys_thonrings_first20_stack.tif")) as series:
        assert len(series) == 20
        assert series.frame_shape == (512, 512)
        assert series.scale.pixel_size_angstrom == pytest.approx((1.35355, 1.35355))
        np.testing.assert_allclose(series.times_s, np.arange(20) * 1.99)


@pytest.mark.parametrize("name", ALSO_READ_BY_ROSETTASCIIO)
def test_pixels_and_sizes_agree_with_rosettasciio(name, shared_data):
    path = shared_data(name)
    with read(path) as series:
        frames, sizes = second_opinion(path, series.frame_shape)
        assert len(frames) == len(series)
        for i in {0, len(series) // 2, len(series) - 1}:
            np.testing.assert_array_equal(series[i].image, frames[i].astype(np.float32))
        if series.scale is not None and np.isfinite(sizes).all():
            assert series.scale.pixel_size_angstrom == pytest.approx(tuple(sizes), rel=1e-6)
