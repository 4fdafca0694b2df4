"""TIFF as the makers of microscopes write it: where each keeps its pixel size."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from fringemap.errors import ReadError
from fringemap.io import read

IMAGE = np.random.default_rng(3).integers(0, 60000, (64, 80)).astype(np.uint16)


def write(path, *tags, resolution=(96, 96), resolutionunit="INCH"):
    tifffile.imwrite(
        path,
        IMAGE,
        photometric="minisblack",
        metadata=None,
        resolution=resolution,
        resolutionunit=resolutionunit,
        extratags=list(tags),
    )
    return path


def tvips_header(size_nm):
    first = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V1))
    second = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V2))
    first["Version"], second["Magic"] = 2, 0xAAAAAAAA
    second["PixelSizeY"], second["PixelSizeX"] = size_nm
    second["TemHighTension"], second["ExposureTime"] = 200_000.0, 500.0
    return first.tobytes() + second.tobytes()


def jeol_report(mode):
    return (
        '<?xml version="1.0"?><TemReporter><ImageFormingSystem>'
        f"<ModeString>{mode}</ModeString><SelectorValue>500000</SelectorValue>"
        "</ImageFormingSystem></TemReporter>"
    ).encode()


def test_fei_keeps_metres_in_its_scan_section(tmp_path):
    text = b"[Beam]\r\nHV=300000\r\n[Scan]\r\nPixelWidth=2.5e-011\r\nPixelHeight=2.6e-011\r\n"
    with read(write(tmp_path / "fei.tif", (34682, 2, 0, text, True))) as series:
        assert series.scale.pixel_size_angstrom == pytest.approx((0.26, 0.25))
        assert series.metadata["high_tension_kv"] == 300.0
        assert series.format == "FEI TIFF"


def test_fei_without_a_scan_section_is_uncalibrated(tmp_path):
    with read(write(tmp_path / "fei.tif", (34682, 2, 0, b"[Beam]\r\nHV=300000\r\n", True))) as series:
        assert series.scale is None


def test_tvips_keeps_nanometres_in_a_binary_header(tmp_path):
    header = tvips_header((0.026, 0.025))
    with read(write(tmp_path / "tvips.tif", (37706, 7, len(header), header, True))) as series:
        assert series.scale.pixel_size_angstrom == pytest.approx((0.26, 0.25), rel=1e-6)
        assert series.metadata["high_tension_kv"] == 200.0
        assert series.metadata["exposure_s"] == 0.5


def test_jeol_gives_the_camera_pixel_and_the_magnification(tmp_path):
    tags = ((271, 2, 0, b"JEOL Ltd.", True), (270, 2, 0, jeol_report("MAG"), True))
    with read(write(tmp_path / "jeol.tif", *tags, resolution=(1000, 2000))) as series:
        camera_um = (25400 / 2000, 25400 / 1000)
        assert series.scale.pixel_size_angstrom == pytest.approx([1e4 * p / 500_000 for p in camera_um])


def test_a_jeol_diffraction_pattern_is_refused(tmp_path):
    tags = ((271, 2, 0, b"JEOL Ltd.", True), (270, 2, 0, jeol_report("DIFF"), True))
    with pytest.raises(ReadError, match="diffraction pattern"):
        read(write(tmp_path / "jeol.tif", *tags))


@pytest.mark.parametrize(("unit", "angstrom"), [("nm", 0.2), ("micron", 200.0), ("\\u00B5m", 200.0), ("pm", 2e-4)])
def test_imagej_units_are_those_of_its_description(unit, angstrom, tmp_path):
    description = f"ImageJ=1.53\nunit={unit}\n"
    size = {"nm": 0.02, "micron": 0.02, "\\u00B5m": 0.02, "pm": 0.02}[unit]
    tifffile.imwrite(
        tmp_path / "ij.tif",
        IMAGE,
        byteorder=">",
        description=description,
        metadata=None,
        resolution=(1 / size, 1 / size),
        resolutionunit="NONE",
    )
    with read(tmp_path / "ij.tif") as series:
        if angstrom < 1e-3:
            assert series.scale is None
        else:
            assert series.scale.pixel_size_angstrom == pytest.approx((angstrom, angstrom), rel=1e-6)
        np.testing.assert_array_equal(series[0].image, IMAGE)


@pytest.mark.parametrize("unit", ["inch", "pixel", ""])
def test_imagej_without_a_unit_of_length_is_uncalibrated(unit, tmp_path):
    tifffile.imwrite(tmp_path / "ij.tif", IMAGE, imagej=True, resolution=(72, 72), metadata={"unit": unit})
    with read(tmp_path / "ij.tif") as series:
        assert series.scale is None


def test_channels_are_read_as_frames_and_the_user_is_told(tmp_path):
    stack = np.stack([IMAGE, IMAGE[::-1]])
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, metadata={"axes": "CYX"})
    with read(tmp_path / "ij.tif") as series:
        assert len(series) == 2
        assert any("2 channels" in warning for warning in series.warnings)
        np.testing.assert_array_equal(series[1].image, IMAGE[::-1])


def test_frames_per_second_become_times(tmp_path):
    stack = np.stack([IMAGE] * 3)
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, metadata={"axes": "TYX", "fps": 4.0})
    with read(tmp_path / "ij.tif") as series:
        np.testing.assert_allclose(series.times_s, [0.0, 0.25, 0.5])
