from __future__ import annotations

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
