from __future__ import annotations

import csv
import dataclasses
import importlib.util
import math

import numpy as np
import pytest
from PIL import Image as Pillow

from fringemap.errors import OutputError
from fringemap.report import write_results
from fringemap.report.rendering import to_png, to_svg
from fringemap.report.series_figures import draw_evolution, draw_waterfall
from fringemap.report.series_tables import (
    DRIFT_COLUMNS,
    EVENT_COLUMNS,
    EVOLUTION_COLUMNS,
    TABLE_NAMES,
    TRACK_COLUMNS,
    write_series_tables,
)
from fringemap.report.spool import PictureSpool
from fringemap.report.style import assign_styles
from fringemap.report.video import open_mp4, pad_even
from fringemap.report.video_frame import HEIGHT, SIDE, WIDTH, VideoPainter
from fringemap.series import follow_series, summarise_frame
from fringemap.settings import ReportSettings, SeriesSettings
from report.made_results import PLANES, make_empty, make_result

SMALL = 60.0
N = 6
LATE = 3
"""The frame from which on all phases are there; before, only LiF."""


def results(n=N, shape=(80, 110), **changes):
    for i in range(n):
        planes = PLANES if i >= LATE else PLANES[3:5]
        yield make_result(shape, index=10 + i, time_s=2.5 * i, planes=planes, seed=i, **changes)


def made_series(n=N, dose_rate=100.0):
    settings = SeriesSettings(false_presence=0.001)
    return follow_series((summarise_frame(r) for r in results(n)), settings=settings, dose_rate=dose_rate)


def read_table(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_tables_have_their_columns_and_a_row_for_each_frame_and_phase(tmp_path):
    series = made_series()
    write_series_tables(series, tmp_path)
    expected = dict(zip(TABLE_NAMES, (EVOLUTION_COLUMNS, EVENT_COLUMNS, TRACK_COLUMNS, DRIFT_COLUMNS), strict=True))
    for name, columns in expected.items():
        assert (tmp_path / name).read_text().splitlines()[0] == ",".join(columns)
    rows = read_table(tmp_path / "evolution.csv")
    assert len(rows) == N * len(series.evolutions)
    assert {row["frame"] for row in rows} == {str(10 + i) for i in range(N)}
    assert rows[-1]["dose_e_per_angstrom2"] == "1250"


def test_a_phase_that_is_not_there_yet_has_empty_cells(tmp_path):
    write_series_tables(made_series(), tmp_path)
    rows = [r for r in read_table(tmp_path / "evolution.csv") if r["phase"] == "Li2O" and not r["plane"]]
    early, late = rows[0], rows[-1]
    assert (early["n_spots"], early["fringe_power_ppm"], early["area_fraction"]) == ("0", "", "")
    assert float(late["fringe_power_ppm"]) > 0
    assert float(late["area_fraction"]) > 0


def test_events_name_frames_as_the_file_does(tmp_path):
    write_series_tables(made_series(20), tmp_path)
    onsets = [r for r in read_table(tmp_path / "events.csv") if r["kind"] == "onset" and r["phase"] == "Li2O"]
    assert {row["frame"] for row in onsets} == {str(10 + LATE)}
    assert {row["time_s"] for row in onsets} == {"7.5"}


def test_a_series_without_phases_keeps_its_columns(tmp_path):
    series = follow_series(summarise_frame(make_empty(index=i)) for i in range(4))
    write_series_tables(series, tmp_path)
    assert read_table(tmp_path / "evolution.csv") == read_table(tmp_path / "events.csv") == []
    assert len(read_table(tmp_path / "drift.csv")) == 4
    for draw in (draw_evolution, draw_waterfall):
        assert len(to_png(draw(series, dpi=SMALL))) > 1000


def test_evolution_leaves_gaps_where_a_phase_is_not_seen():
    figure = draw_evolution(made_series(), dpi=SMALL)
    curves = [line for line in figure.axes[1].get_lines() if len(line.get_xdata()) == N]
    assert sorted({int(np.isnan(line.get_ydata()).sum()) for line in curves}) == [0, LATE]
    assert figure.axes[3].get_xlabel() == "time (s)"
    assert any("dose" in axes.get_xlabel() for axes in figure.axes)


@pytest.mark.parametrize("late_s", [2.5, 9.0])
def test_the_waterfall_is_one_image_in_an_svg_at_even_and_uneven_times(late_s):
    series = made_series()
    late = dataclasses.replace(series.frames[-1], time_s=series.frames[-2].time_s + late_s)
    svg = to_svg(draw_waterfall(dataclasses.replace(series, frames=(*series.frames[:-1], late)), dpi=SMALL))
    assert svg.count(b"<image") == 1
    assert svg.count(b"<path") < 200


def test_waterfall_names_planes_with_overbars():
    texts = [text.get_text() for text in draw_waterfall(made_series(), dpi=SMALL).axes[0].texts]
    assert any("Li₂CO₃" in text and "\\bar{1}" in text for text in texts)


def test_pictures_come_back_as_they_were_put_down(tmp_path):
    spool = PictureSpool(tmp_path, side=100)
    given = list(results(3, shape=(80, 100)))
    for result in given:
        spool.add(result)
    back = list(spool)
    spool.close()
    assert [b.frame.shape for b in back] == [(80, 100)] * 3
    for result, picture in zip(given, back, strict=True):
        for phase_map, spooled in zip(result.maps, picture.maps, strict=True):
            np.testing.assert_array_equal(phase_map.mask, spooled.mask)
            assert spooled.pixel_px == (4.0, 4.0)
    assert list(tmp_path.iterdir()) == []


def painted(tmp_path, n=N, index=-1):
    series, spool = made_series(n), PictureSpool(tmp_path, side=SIDE)
    for result in results(n):
        spool.add(result)
    painter = VideoPainter(series, assign_styles(e.phase for e in series.evolutions), title="made")
    pictures = list(spool)
    spool.close()
    return painter.paint(index % n, pictures[index])


def test_a_picture_of_the_video_shows_the_phases_of_its_frame(tmp_path):
    late, early = painted(tmp_path, index=-1), painted(tmp_path, index=0)
    assert late.shape == (HEIGHT, WIDTH, 3)
    coloured = [int((np.ptp(p[48:496, 16:464].astype(int), axis=2) > 20).sum()) for p in (early, late)]
    assert 0 < coloured[0] < coloured[1]


def test_curves_grow_with_the_playhead(tmp_path):
    first, last = (painted(tmp_path, index=i)[504:] for i in (0, -1))
    ink = [int((np.ptp(p.astype(int), axis=2) > 120).sum()) for p in (first, last)]
    assert ink[1] > 5 * max(ink[0], 20)


def test_the_video_is_h264_that_plays_everywhere(tmp_path):
    av = pytest.importorskip("av", reason="needs PyAV, the extra [video]")
    write_results(
        results(),
        folder=tmp_path,
        settings=ReportSettings(dpi=40),
        provenance={"input": "made"},
        series=SeriesSettings(fps=24.0),
        dose_rate=100.0,
    )
    with av.open(str(tmp_path / "evolution.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, float(stream.average_rate)) == (WIDTH, HEIGHT, 24.0)
        assert sum(1 for _ in container.decode(video=0)) == N
    assert 'href="evolution.mp4"' in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_odd_sizes_are_padded(tmp_path):
    av = pytest.importorskip("av", reason="needs PyAV, the extra [video]")
    assert pad_even(np.zeros((33, 51, 3), dtype=np.uint8)).shape == (34, 52, 3)
    with open_mp4(tmp_path / "odd.mp4", fps=12.5) as append:
        for i in range(4):
            append(np.full((33, 51, 3), 60 * i, dtype=np.uint8))
    with av.open(str(tmp_path / "odd.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (52, 34)


def test_a_video_that_cannot_be_written_is_said(tmp_path):
    pytest.importorskip("av", reason="needs PyAV, the extra [video]")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError), open_mp4(tmp_path / "file" / "x.mp4", fps=10) as append:
        append(np.zeros((32, 32, 3), dtype=np.uint8))


def test_without_an_encoder_the_video_is_a_gif(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "av" else found(name))
    write_results(results(), folder=tmp_path, settings=ReportSettings(dpi=40), provenance={})
    assert not (tmp_path / "evolution.mp4").exists()
    with Pillow.open(tmp_path / "evolution.gif") as image:
        assert image.size == (WIDTH // 2, HEIGHT // 2)
        assert image.n_frames == N


def test_the_video_can_be_left_out_and_goes_with_a_new_run(tmp_path):
    (tmp_path / "evolution.mp4").write_bytes(b"old")
    quiet = ReportSettings(dpi=40)
    write_results(results(), folder=tmp_path, settings=quiet, provenance={}, series=SeriesSettings(video=False))
    assert not (tmp_path / "evolution.mp4").exists()
    assert (tmp_path / "evolution.csv").exists()


def test_a_single_frame_is_no_series(tmp_path):
    (tmp_path / "evolution.csv").write_text("old")
    written = write_results([make_result((60, 80))], folder=tmp_path, settings=ReportSettings(dpi=40), provenance={})
    assert not {*TABLE_NAMES, "evolution.mp4"} & {path.name for path in tmp_path.iterdir()}
    assert "Phases over the series" not in written.page.read_text(encoding="utf-8")


def test_a_dose_rate_of_nothing_leaves_the_dose_empty(tmp_path):
    write_series_tables(made_series(dose_rate=None), tmp_path)
    assert {row["dose_e_per_angstrom2"] for row in read_table(tmp_path / "evolution.csv")} == {""}


def test_frames_without_counts_have_no_fringe_power():
    summary = summarise_frame(make_result((60, 80), mean_counts=-3.0))
    assert np.isnan(summary.fringe_power).all()


def test_fringe_power_is_the_mean_square_of_the_fringe():
    from fringemap.records import Frame
    from fringemap.spectrum import compute_diffractogram, compute_profile
    from fringemap.spots import find_spots, spot_bins

    rng, scale = np.random.default_rng(4), make_result((8, 8)).scale
    y, x = np.indices((256, 256))
    contrast = 0.05
    image = 1000 * (1 + contrast * np.cos(2 * np.pi * (0.13 * x + 0.07 * y))) + 30 * rng.standard_normal((256, 256))
    diffractogram = compute_diffractogram(Frame(image.astype(np.float32), scale, "wave"))
    spots = find_spots(diffractogram)
    profile = compute_profile(diffractogram, inside=spot_bins(diffractogram, spots))
    result = make_result((256, 256), planes=(), spots=spots, profile=profile, mean_counts=1000.0)
    power = summarise_frame(dataclasses.replace(result, maps=())).fringe_power
    # Some of the energy of a wave between two bins lies under the background.
    assert math.isclose(power.max(), contrast**2 / 2, rel_tol=0.2)
