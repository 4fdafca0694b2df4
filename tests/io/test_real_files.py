"""Real micrographs, with known shapes, pixel sizes and pixels."""

from __future__ import annotations

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

# Of the last frame: the sum of all pixels, that of the upper half, and the pixel in row 3, column 5. They were found by
# two readers, RosettaSciIO and one that shares no code with it.
PIXELS = {
    "formats/16_STOimage_1.ser": (19659051598, 9844859868, 20144),
    "formats/example_Se_implanted_MoS2.dm3": (3187697916895, 1593674415497, 3052960),
    "formats/BTO_crystal_1.dm4": (42193835938.58594, 21152025761.859375, 281904.375),
    "edge/emi_pair/64x64x5_TEM_preview_1.ser": (8579774.302154541, 4183238.576324463, 2553.64013671875),
    "edge/ncem_dmTest_3D_int16.dm3": (131040, 64512, 5),
    "edge/ncem_dmTest_nonSquare_diffPixelSize.dm4": (520192, 260096, 5),
    "edge/rsciio_STEM_image_68px.dm3": (150998555, 75560097, 33894),
    "edge/rsciio_TEM_search_1.ser": (169637782, 86546098, 12602),
    "edge/rsciio_dm_image_um_unit.dm3": (15422830, 7729580, 3316),
    "edge/rsciio_multi_signal.dm3": (949490255, 424809706, 42),
    "edge/rsciio_velox_FFTComplexEven.emd": (392673539, 198399640, 25936),
}


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


@pytest.mark.parametrize("name", sorted(PIXELS))
def test_pixels_are_where_they_belong(name, shared_data):
    with read(shared_data(name)) as series:
        image = series[-1].image
    whole, upper, pixel = PIXELS[name]
    assert image.sum(dtype=np.float64) == pytest.approx(whole, rel=1e-12)
    assert image[: len(image) // 2].sum(dtype=np.float64) == pytest.approx(upper, rel=1e-12)
    assert image[3, 5] == pixel
