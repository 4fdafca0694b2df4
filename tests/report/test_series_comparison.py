from __future__ import annotations

import json

import numpy as np
import pytest

from fringemap.errors import ReadError
from fringemap.records import EventKind
from fringemap.report.rendering import to_png
from fringemap.report.series_comparison import QUANTITIES, draw_comparison, find_courses, read_course
from fringemap.report.series_tables import write_series_tables
from fringemap.series import follow_series, summarise_frame
from fringemap.settings import SeriesSettings
from report.made_results import PLANES, make_empty, make_result

SMALL = 60.0
N, LATE = 6, 3


def write_series(folder, *, dose_rate=100.0, times=True, empty=False):
    """Tables of a series in which LiF is there from the start and all else from the third frame on."""
    frames = (
        make_empty(index=i)
        if empty
        else make_result(
            (80, 110),
            index=10 + i,
            time_s=2.5 * (i + 4) if times else None,
            planes=PLANES if i >= LATE else PLANES[3:5],
            seed=i,
        )
        for i in range(N)
    )
    series = follow_series(
        map(summarise_frame, frames), settings=SeriesSettings(false_presence=0.001), dose_rate=dose_rate
    )
    folder.mkdir(parents=True)
    write_series_tables(series, folder)
    return series


def test_what_comes_back_is_what_the_series_held(tmp_path):
    series = write_series(tmp_path / "a")
    course = read_course(tmp_path / "a" / "evolution.csv")
    whole = {e.phase: e for e in series.evolutions if e.plane is None}
    assert list(course.phases) == list(whole)
    np.testing.assert_allclose(course.axes["time_s"], 2.5 * np.arange(N))
    np.testing.assert_allclose(course.axes["dose_e_per_angstrom2"], 250.0 * np.arange(N))
    for phase, evolution in whole.items():
        np.testing.assert_allclose(course.phases[phase]["area_fraction"], evolution.area_fraction, rtol=1e-8)
        np.testing.assert_allclose(course.phases[phase]["fringe_power_ppm"], 1e6 * evolution.fringe_power, rtol=1e-8)
    assert any(event.kind is EventKind.ONSET for event in series.events)


def test_each_phase_has_a_panel_and_each_series_a_line(tmp_path):
    for name, rate in (("high", 100.0), ("low", 50.0)):
        write_series(tmp_path / name, dose_rate=rate)
    figure = draw_comparison(find_courses([tmp_path]), dpi=SMALL)
    assert [axes.get_title(loc="left") for axes in figure.axes][:1] == ["LiF"]
    assert len(figure.axes) == 4
    assert {axes.get_xlabel() for axes in figure.axes} == {"dose (e/Å²)"}
    drawn = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == N]
    assert [line.get_xdata()[-1] for line in drawn] == [1250.0, 625.0]


@pytest.mark.parametrize(
    ("others", "axis"), [({"dose_rate": None}, "time (s)"), ({"dose_rate": None, "times": False}, "frame")]
)
def test_the_axis_is_one_that_all_series_have(tmp_path, others, axis):
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", **others)
    figure = draw_comparison(find_courses([tmp_path / "a", tmp_path / "b"]), dpi=SMALL)
    assert {axes.get_xlabel() for axes in figure.axes} == {axis}


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_quantity_can_be_drawn(tmp_path, quantity):
    write_series(tmp_path / "a")
    figure = draw_comparison(find_courses([tmp_path / "a"]), quantity=quantity, dpi=SMALL)
    assert figure.axes[0].get_ylabel() == QUANTITIES[quantity][3]
    assert np.nanmax(figure.axes[0].get_lines()[0].get_ydata()) > 0


def test_series_without_phases_take_no_part(tmp_path):
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", empty=True)
    assert len(draw_comparison(find_courses([tmp_path]), dpi=SMALL).axes) == 4
    assert len(to_png(draw_comparison(find_courses([tmp_path / "b"]), dpi=SMALL))) > 1000


def test_names_say_the_dose_rate_and_differ(tmp_path):
    for run in ("one", "two"):
        write_series(tmp_path / run / "stack")
    write_series(tmp_path / "one" / "other")
    record = {"settings": {"read": {"dose_rate": 250.0}}}
    (tmp_path / "one" / "other" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    names = list(find_courses([tmp_path / "one", tmp_path / "two" / "stack" / "evolution.csv"]))
    assert names == ["one/other, 250 e/Å²/s", "one/stack", "two/stack"]
    assert list(find_courses([tmp_path / "one" / "other"])) == ["other, 250 e/Å²/s"]


def test_what_is_no_series_is_named(tmp_path):
    (tmp_path / "evolution.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ReadError, match="is no table of an evolution"):
        find_courses([tmp_path])
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(ReadError, match=r"holds no evolution\.csv"):
            find_courses([place])
