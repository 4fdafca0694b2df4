from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import tifffile

from fringemap.errors import OutputError
from fringemap.records import PhaseMap
from fringemap.report import maps as module
from fringemap.report.maps import write_maps
from report.made_results import make_empty, make_result

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def write(folder, *results):
    write_all(folder, results)


def write_all(folder, results):
    with write_maps(folder) as append:
        for result in results:
            append(result)


def pixels_of(path):
    """Read the OME description as plain XML, without the library that wrote it."""
    with tifffile.TiffFile(path) as tif:
        root = ET.fromstring(tif.pages[0].description)
    return root.find(f"{OME}Image/{OME}Pixels")


def blob_map(shape, pixel, origin, centre=(0.6, 0.4), name="Au", frame_pixels=(120, 160)):
    rows = (np.arange(shape[0]) * pixel + origin - centre[0] * frame_pixels[0])[:, None]
    cols = (np.arange(shape[1]) * pixel + origin - centre[1] * frame_pixels[1])[None]
    amplitude = np.exp(-(rows**2 + cols**2) / 2 / 20**2).astype(np.float32)
    return PhaseMap(name, amplitude, amplitude > 0.5, (0.37 * pixel,) * 2, (origin, origin), 1.0, 1, 1, 0.1, 0.01, (0,))


def test_maps_come_back_as_written_with_axes_names_and_pixel_size(tmp_path):
    result = make_result((60, 80))
    write(tmp_path, result)
    with tifffile.TiffFile(tmp_path / "maps.ome.tif") as tif:
        assert tif.series[0].axes == "CYX"  # one frame: its axis of length one is left out by the reader
        stored = tif.asarray()
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, np.stack([m.amplitude for m in result.maps]))
    masks = tifffile.imread(tmp_path / "masks.ome.tif")
    assert masks.dtype == np.uint8
    np.testing.assert_array_equal(masks, np.stack([m.mask for m in result.maps]))
    for name, kind in (("maps", "float"), ("masks", "uint8")):
        pixels = pixels_of(tmp_path / f"{name}.ome.tif")
        assert pixels.get("Type") == kind
        assert [pixels.get(f"Size{axis}") for axis in "TCYX"] == ["1", "5", "15", "20"]
        assert float(pixels.get("PhysicalSizeX")) == pytest.approx(0.148)
        assert pixels.get("PhysicalSizeYUnit") == "nm"
        names = [channel.get("Name") for channel in pixels.findall(f"{OME}Channel")]
        assert names == ["Li2O", "LiF", "Li2CO3", "Li", "unknown"]


def test_a_phase_that_appears_late_keeps_one_channel_through_the_series(tmp_path):
    full = make_result((60, 80))
    by_name = {m.phase: m for m in full.maps}
    first = dataclasses.replace(full, maps=(by_name["unknown"], by_name["LiF"]), time_s=0.0)
    second = dataclasses.replace(make_empty((60, 80)), time_s=2.46)
    third = dataclasses.replace(full, maps=(by_name["Li"], by_name["LiF"]), time_s=4.92)
    write(tmp_path, first, second, third)
    pixels = pixels_of(tmp_path / "maps.ome.tif")
    assert [channel.get("Name") for channel in pixels.findall(f"{OME}Channel")] == ["LiF", "Li", "unknown"]
    assert sorted({float(plane.get("DeltaT")) for plane in pixels.findall(f"{OME}Plane")}) == [0.0, 2.46, 4.92]
    maps, masks = (tifffile.imread(tmp_path / f"{name}.ome.tif") for name in ("maps", "masks"))
    assert maps.shape == masks.shape == (3, 3, 15, 20)
    np.testing.assert_array_equal(maps[2, 0], by_name["LiF"].amplitude)
    assert np.isnan(maps[0, 1]).all()
    assert np.isnan(maps[1]).all()
    assert masks[1].sum() == 0


def test_maps_of_different_resolution_meet_on_the_finest_grid_without_a_shift(tmp_path):
    fine, coarse = blob_map((60, 80), 2.0, 0.5, name="Au"), blob_map((30, 40), 4.0, 1.5, name="Cu")
    result = make_result((120, 160), maps=(coarse, fine))
    write(tmp_path, result)
    maps = tifffile.imread(tmp_path / "maps.ome.tif")
    assert maps.shape == (2, 60, 80)
    # Half a coarse cell of shift would change the flank of the blob by 6 %.
    np.testing.assert_allclose(maps[0], maps[1], atol=0.02)


def test_without_any_map_no_file_is_written_and_an_old_one_is_gone(tmp_path):
    write(tmp_path, make_result((60, 80)))
    write(tmp_path, make_empty())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ['Li "x" <y> & z', "α-Fe", "=1"])
def test_any_name_of_a_phase_survives_in_the_description(name, tmp_path):
    write(tmp_path, make_result((60, 80), maps=(blob_map((6, 8), 2.0, 0.5, name=name),)))
    (channel,) = pixels_of(tmp_path / "maps.ome.tif").findall(f"{OME}Channel")
    assert channel.get("Name") == name


def test_equal_results_make_equal_files(tmp_path):
    for folder in ("a", "b"):
        write(tmp_path / folder, make_result((60, 80)))
    for name in ("maps.ome.tif", "masks.ome.tif"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_error_between_frames_leaves_no_file(tmp_path):
    def frames():
        yield make_result((60, 80))
        raise KeyError

    with pytest.raises(KeyError):
        write_all(tmp_path, frames())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(OutputError, match=r"maps\.ome\.tif cannot be written: the disk is full"):
        write(tmp_path, make_result((60, 80)))
    assert list(tmp_path.iterdir()) == []


def test_every_frame_of_a_series_gets_its_plane(tmp_path):
    frames = [make_result((60, 80), index=i, maps=(blob_map((6, 8), 2.0 + i, 0.5),)) for i in range(4)]
    write(tmp_path, *frames)
    assert tifffile.imread(tmp_path / "maps.ome.tif").shape == (4, 6, 8)
