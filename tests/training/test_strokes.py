from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from drawn_inputs import A_LIF, PIXEL_ANGSTROM, write_lif
from fringemap.errors import ReadError
from fringemap.training.circles import Circles, Stroke, read_circles, write_circles
from fringemap.training.labelled import load_labelled

G = 20.0 / A_LIF
"""Of the spots of the drawn frame along both axes [1/nm]."""


def sample_of(folder, *, spots=(), strokes=(), ignored=None):
    write_lif(folder / "lif.mrc")
    gx, gy, radius = ([s[k] for s in spots] for k in range(3))
    ignored = tuple(ignored or [False] * len(spots))
    circles = Circles("lif.mrc", PIXEL_ANGSTROM / 10, tuple(gx), tuple(gy), tuple(radius), ignored, strokes=strokes)
    write_circles(folder / "lif.spots.json", circles)
    assert read_circles(folder / "lif.spots.json") == circles
    return load_labelled(folder)[0]


def stroke(*places, radius=0.4, erases=False):
    return Stroke(tuple(p[0] for p in places), tuple(p[1] for p in places), radius, erases)


def test_a_brush_makes_the_spot_that_a_circle_of_its_size_makes(tmp_path):
    circle = sample_of(tmp_path, spots=[(G, G, 0.4)])
    brush = sample_of(tmp_path, strokes=(stroke((G, G)),))
    np.testing.assert_array_equal(circle.label, brush.label)
    np.testing.assert_array_equal(circle.weight, brush.weight)
    np.testing.assert_allclose(brush.spots.row, circle.spots.row, atol=0.5)
    np.testing.assert_allclose(brush.spots.col, circle.spots.col, atol=0.5)
    np.testing.assert_allclose(brush.spots.width, circle.spots.width, rtol=0.1)


def test_a_stroke_from_the_other_half_marks_its_mate(tmp_path):
    one = sample_of(tmp_path, strokes=(stroke((G, G), (G + 1, G)),))
    mate = sample_of(tmp_path, strokes=(stroke((-G, -G), (-G - 1, -G)),))
    np.testing.assert_array_equal(one.label, mate.label)
    assert len(one.spots) == len(mate.spots) == 1


def test_a_long_stroke_is_one_region_without_gaps(tmp_path):
    sample = sample_of(tmp_path, strokes=(stroke((3, 3), (7, 3), radius=0.2),))
    assert len(sample.spots) == 1
    row = round(sample.spots.row[0])
    marked = np.flatnonzero(sample.label[row])
    assert np.array_equal(marked, np.arange(marked[0], marked[-1] + 1))


def test_an_eraser_takes_away_what_it_covers_and_its_spot(tmp_path):
    whole = sample_of(tmp_path, spots=[(G, 0, 0.4), (0, G, 0.4)])
    sample = sample_of(tmp_path, spots=[(G, 0, 0.4), (0, G, 0.4)], strokes=(stroke((G, 0), radius=0.9, erases=True),))
    assert len(whole.spots) == 2
    assert len(sample.spots) == 1
    assert sample.spots.row[0] > len(sample.label) // 2
    assert 0 < sample.label.sum() < whole.label.sum()
    assert (sample.weight == whole.weight).all()


def test_on_the_axis_a_painted_spot_is_listed_once(tmp_path):
    sample = sample_of(tmp_path, strokes=(stroke((0, -G)),))
    assert len(sample.spots) == 1
    assert sample.spots.row[0] > len(sample.label) // 2
    np.testing.assert_array_equal(sample.label[:, 0], sample.label[::-1, 0])


def test_an_erased_mark_to_look_away_is_background_again(tmp_path):
    ignored = sample_of(tmp_path, spots=[(G, G, 0.4)], ignored=[True])
    sample = sample_of(
        tmp_path, spots=[(G, G, 0.4)], ignored=[True], strokes=(stroke((G, G), radius=0.9, erases=True),)
    )
    assert (sample.weight == 0).sum() < (ignored.weight == 0).sum()
    assert not sample.label.any()


def test_a_stroke_that_is_incomplete_is_named(tmp_path):
    path = tmp_path / "a.spots.json"
    write_circles(path, Circles("a.mrc", 0.02, (), (), (), (), strokes=(stroke((1, 2)),)))
    path.write_text(path.read_text().replace('"gy_per_nm": [\n', '"gy_per_nm": [\n 3,'))
    with pytest.raises(ReadError, match="a stroke has 1 places along gx, 2 along gy"):
        read_circles(path)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "1" + 400 * "0", '"nan"'])
@pytest.mark.parametrize("place", ["pixel_size_nm", "frame_index", "spot", "radius", "stroke", "brush"])
def test_a_number_that_is_not_finite_is_refused(tmp_path, place, value):
    path = tmp_path / "a.spots.json"
    write_circles(path, Circles("a.mrc", 0.02, (1.0,), (2.0,), (0.1,), (False,), strokes=(stroke((1, 2)),)))
    content = json.loads(path.read_text())
    held, name = {
        "spot": (content["spots"][0], "gx_per_nm"),
        "radius": (content["spots"][0], "radius_per_nm"),
        "stroke": (content["strokes"][0]["gy_per_nm"], 0),
        "brush": (content["strokes"][0], "radius_per_nm"),
    }.get(place, (content, place))
    held[name] = "HERE"
    path.write_text(json.dumps(content).replace('"HERE"', value))
    with pytest.raises(ReadError, match=r"a label is incomplete or no number .*; correct or remove it"):
        read_circles(path)


def test_a_label_file_that_is_being_written_is_not_taken_for_labels(tmp_path, monkeypatch):
    take_place, seen = Path.replace, []

    def look_first(unfinished, target):
        seen.append((len(list(tmp_path.iterdir())), list(tmp_path.glob("*.spots.json"))))
        return take_place(unfinished, target)

    monkeypatch.setattr(Path, "replace", look_first)
    write_circles(tmp_path / "a.spots.json", Circles("a.mrc", 0.02, (), (), (), ()))
    assert seen == [(1, [])]
    assert [path.name for path in tmp_path.iterdir()] == ["a.spots.json"]
