"""Maps and video that stay with the camera, or with the specimen while it drifts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from fringemap.records import PhaseMap
from fringemap.report import write_results
from fringemap.report.spool import PictureSpool
from fringemap.report.style import assign_styles
from fringemap.report.video_frame import _LEFT, _TOP, SIDE, VideoPainter, _moved
from fringemap.series import follow_series, summarise_frame
from fringemap.settings import ReportSettings, SeriesSettings
from report.made_results import make_result, make_scale
from series.made_series import specimen

SHAPE = (200, 240)
MAP_PIXEL = 2.0
SHIFTS = np.array([(0.0, 0.0), (1.3, -2.1), (3.0, -4.4), (4.1, -6.2), (5.7, -8.9), (7.2, -11.0)])
LOST = 3
"""The frame that shows nothing but noise."""
SPECIMEN = SeriesSettings(frame_of_reference="specimen")
TABLES = ReportSettings(figures=False)


def blob(shift):
    place = (100 + shift[0], 130 + shift[1])
    rows, cols = ((np.arange(n / MAP_PIXEL) * MAP_PIXEL + 0.5 - p) for n, p in zip(SHAPE, place, strict=True))
    amplitude = (5 * np.exp(-(rows[:, None] ** 2 + cols**2) / 2 / 12**2)).astype(np.float32)
    side = (make_scale(1.0).pixel_size_angstrom[0] * MAP_PIXEL,) * 2
    return PhaseMap("LiF", amplitude, amplitude > 2.5, side, (0.5, 0.5), 20.0, 1, 1, 0.1, 0.01, (0,))


def results(lost=LOST):
    for i, shift in enumerate(SHIFTS):
        image = specimen(SHAPE, shift)
        if i == lost:
            image = (100 + np.random.default_rng(8).standard_normal(SHAPE)).astype(np.float32)
        yield make_result(SHAPE, scale=make_scale(1.0), index=i, thumbnail=image, maps=(blob(shift),))


def stacks(folder):
    return [tifffile.imread(folder / f"{name}.ome.tif") for name in ("maps", "masks")]


def centres(stack):
    """Centre of each frame's map, seen from the first [frame px]."""
    weights = np.nan_to_num(stack)
    y, x = np.indices(stack.shape[1:])
    total = weights.sum(axis=(1, 2))
    found = MAP_PIXEL * np.stack([(weights * y).sum(axis=(1, 2)), (weights * x).sum(axis=(1, 2))], axis=1)
    return found / total[:, None] - found[0] / total[0]


def test_maps_lie_where_the_frames_were_taken_unless_asked_otherwise(tmp_path):
    write_results(results(), folder=tmp_path, settings=TABLES, provenance={})
    maps, masks = stacks(tmp_path)
    np.testing.assert_allclose(centres(maps), SHIFTS, atol=0.1)
    np.testing.assert_allclose(centres(masks), SHIFTS, atol=1.0)


def test_maps_stay_on_the_specimen_within_the_error_of_the_drift(tmp_path):
    write_results(results(None), folder=tmp_path, settings=TABLES, provenance={}, series=SPECIMEN)
    maps, masks = stacks(tmp_path)
    drift = follow_series(map(summarise_frame, results(None))).drift
    assert (np.abs(centres(maps)) <= 4 * drift.sigma_px + 0.05).all()
    assert np.abs(centres(masks)).max() < MAP_PIXEL
    assert np.nanmax(maps[-1]) == pytest.approx(np.nanmax(maps[0]), rel=0.02)
    # 7.2 rows and 11 columns came into view since the first frame: there, nothing was measured in it.
    assert np.isnan(maps[-1][-3:]).all()
    assert np.isnan(maps[-1][:, :5]).all()
    assert not masks[-1][-3:].any()


def test_a_frame_whose_drift_is_unknown_is_not_shifted_and_that_is_said(tmp_path):
    write_results(results(), folder=tmp_path, settings=TABLES, provenance={}, series=SPECIMEN)
    maps, _ = stacks(tmp_path)
    expected = np.zeros_like(SHIFTS)
    expected[LOST] = SHIFTS[LOST]
    np.testing.assert_allclose(centres(maps), expected, atol=0.3)
    with tifffile.TiffFile(tmp_path / "maps.ome.tif") as tif:
        assert "but in frames 3, whose drift is unknown and which were not shifted" in tif.ome_metadata
    warnings = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["warnings"]
    assert [w for w in warnings if "drift" in w] == [
        "the drift of 1 frame is unknown; their maps were not shifted (empty rows of drift.csv)"
    ]


def test_a_single_frame_is_as_it_was_taken(tmp_path):
    for name, series in (("camera", SeriesSettings()), ("specimen", SPECIMEN)):
        write_results([next(results())], folder=tmp_path / name, settings=TABLES, provenance={}, series=series)
    for name in ("maps.ome.tif", "masks.ome.tif"):
        assert (tmp_path / "camera" / name).read_bytes() == (tmp_path / "specimen" / name).read_bytes()


def test_the_video_holds_the_specimen_still(tmp_path):
    spool = PictureSpool(tmp_path, side=SIDE)
    for result in results(None):
        spool.add(result)
    pictures = list(spool)
    spool.close()
    series = follow_series(map(summarise_frame, results(None)))
    styles = assign_styles(["LiF"])
    first, moving, still = (
        VideoPainter(series, styles, title="made", steady=steady).paint(index, pictures[index])[
            _TOP + 60 : _TOP + 300, _LEFT + 60 : _LEFT + 380
        ]
        for steady, index in ((True, 0), (False, -1), (True, -1))
    )
    differences = [np.abs(other.astype(int) - first).mean() for other in (moving, still)]
    assert differences[1] < 0.5 * differences[0]


@pytest.mark.parametrize("shift", [(2.0, -3.0), (0.2, 0.4), (-4.0, 0.0), (9.0, 0.0), (np.nan, np.nan)])
def test_pictures_are_moved_by_whole_pixels(shift):
    picture = np.random.default_rng(0).integers(0, 190, (8, 10, 3)).astype(np.uint8)
    moved = _moved(picture, np.array(shift))
    dy, dx = np.rint(np.nan_to_num(shift)).astype(int)
    for y in range(8):
        for x in range(10):
            inside = 0 <= y - dy < 8 and 0 <= x - dx < 10
            assert (moved[y, x] == (picture[y - dy, x - dx] if inside else 200)).all()
