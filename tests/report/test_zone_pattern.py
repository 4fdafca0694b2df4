"""Pictures of structures."""

import numpy as np
import pytest
from matplotlib.patches import Circle

from fringemap.errors import OutputError, StructureError
from fringemap.phases import compute_reflections, load_structure, read_d_table, zone_pattern
from fringemap.phases.tables import parse_zone
from fringemap.report.rendering import to_png, write_picture
from fringemap.report.zone_pattern import draw_structure


def pattern_of(name, uvw):
    return zone_pattern(load_structure(name), uvw, d_min_angstrom=1.0)


def test_a_pattern_has_a_circle_for_each_spot_and_open_ones_for_those_extinct():
    pattern = pattern_of("Si", (1, 1, 0))
    figure = draw_structure(compute_reflections(load_structure("Si"), d_min_angstrom=1.0), pattern)
    circles = [artist for artist in figure.axes[-1].get_children() if isinstance(artist, Circle)]
    assert len(circles) == 1 + len(pattern)
    assert sum(not circle.get_fill() for circle in circles) == int(pattern.extinct.sum()) > 0
    centres = np.array([circle.center for circle in circles[1:]])
    assert centres == pytest.approx(10.0 * pattern.g)


def test_lines_alone_are_drawn_and_files_written(tmp_path):
    lines = compute_reflections(load_structure("Li2CO3"), d_min_angstrom=1.0)
    for name in ("a.png", "b.svg"):
        write_picture(draw_structure(lines), tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    with pytest.raises(OutputError, match=r"name it .png or .svg"):
        write_picture(draw_structure(lines), tmp_path / "c.jpg")


def test_a_table_without_intensities_or_planes_is_drawn(tmp_path):
    (tmp_path / "t.csv").write_text("component,hkl,d\nX,,2.5\nX,111,1.4\n", encoding="utf-8")
    (table,) = read_d_table(tmp_path / "t.csv")
    assert to_png(draw_structure(table)).startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["1,-1,0", "[1 -1 0]", "1-10", "(1 -1 0)"])
def test_a_zone_can_be_written_in_several_ways(text):
    assert parse_zone(text) == (1, -1, 0)


@pytest.mark.parametrize("text", ["0,0,0", "", "1,2", "1 0 -1 0", "a,b,c", "10-10"])
def test_what_is_no_zone_is_refused(text):
    with pytest.raises(StructureError, match="is no zone axis"):
        parse_zone(text)
