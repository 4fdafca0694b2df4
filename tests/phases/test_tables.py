"""Users' tables of d-spacings and ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fringemap.errors import StructureError
from fringemap.phases.tables import is_d_range, parse_d_range, parse_hkl, read_d_table

PAPER = """component,hkl,d
Li,(011),2.45
Li,(112),1.43
Li,(002),1.76
LiF,(002),2.07
Li2CO3,(20-2),3.0
"""


def table(tmp_path, text):
    path = tmp_path / "database.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_of_the_paper_gives_one_phase_a_component_in_falling_order_of_d(tmp_path):
    li, lif, carbonate = read_d_table(table(tmp_path, PAPER))
    assert (li.phase, lif.phase, carbonate.phase) == ("Li", "LiF", "Li2CO3")
    np.testing.assert_allclose(li.d_spacing, [2.45, 1.76, 1.43])
    assert li.hkl.tolist() == [[0, 1, 1], [0, 0, 2], [1, 1, 2]]
    assert carbonate.hkl.tolist() == [[2, 0, -2]]
    assert np.all(np.isnan(li.intensity))
    assert li.structure is None


@pytest.mark.parametrize(
    "text",
    [
        PAPER.partition("\n")[2],
        PAPER.replace(",", ";"),
        PAPER.replace(",", "\t"),
        "\ufeff" + PAPER,
        "# made by hand\n\n" + PAPER,
        PAPER.replace("\n", "\r\n"),
        PAPER.replace("component,hkl,d", "Compound , Plane, d (Å)"),
        PAPER.replace("component,hkl,d", "component,phase,d_angstrom"),
    ],
)
def test_titles_separators_comments_and_line_ends_do_not_matter(tmp_path, text):
    phases = read_d_table(table(tmp_path, text))
    assert [p.phase for p in phases] == ["Li", "LiF", "Li2CO3"]
    assert phases[0].hkl.tolist() == [[0, 1, 1], [0, 0, 2], [1, 1, 2]]


def test_titles_may_stand_in_any_order_and_more_columns_may_follow(tmp_path):
    (phase,) = read_d_table(table(tmp_path, "d,ranking,component,phase\n2.1,1,LiF,(002)\n"))
    assert (phase.phase, phase.hkl.tolist(), phase.d_spacing.tolist()) == ("LiF", [[0, 0, 2]], [2.1])


def test_a_table_without_planes_has_zeros_for_hkl(tmp_path):
    (phase,) = read_d_table(table(tmp_path, "name,d\nX,2.1\nX,3.1\n"))
    assert phase.hkl.tolist() == [[0, 0, 0], [0, 0, 0]]
    (phase,) = read_d_table(table(tmp_path, "X,,2.1\n"))
    assert phase.hkl.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no d-spacings"),
        ("# nothing\n", "no d-spacings"),
        ("component,hkl,d\nLi,(011),two\n", "line 2.*no d-spacing"),
        ("component,hkl,d\nLi,(011),0.245\n", "line 2.*out of range"),
        ("component,hkl,d\nLi,(011),nan\n", "line 2.*out of range"),
        ("component,hkl,d\nLi,(01),2.45\n", "line 2.*not a plane"),
        ("component,hkl,d\nLi,2.45\n", "line 2.*cells"),
        ("Li,011,2.45\n,011,2.45\n", "line 2.*no name"),
        ("hkl,d\n011,2.45\n", "component"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path, text, problem):
    with pytest.raises(StructureError, match=problem) as error:
        read_d_table(table(tmp_path, text))
    assert "database.csv" in str(error.value)


def test_a_missing_or_binary_table_is_refused(tmp_path):
    with pytest.raises(StructureError, match="cannot be read"):
        read_d_table(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(bytes(range(256)))
    with pytest.raises(StructureError, match="cannot be read"):
        read_d_table(tmp_path / "image.csv")


@pytest.mark.parametrize(
    ("text", "hkl"),
    [
        ("(20-2)", (2, 0, -2)),
        ("011", (0, 1, 1)),
        ("1 1 1", (1, 1, 1)),
        ("{-1 0 12}", (-1, 0, 12)),
        ("1,0,-2", (1, 0, -2)),
        ("(−111)", (-1, 1, 1)),
        ("(10-10)", (1, 0, 0)),
        ("1 0 -1 4", (1, 0, 4)),
        ("[ 0 0 2 ]", (0, 0, 2)),
    ],
)
def test_planes_are_read_as_people_write_them(text, hkl):
    assert parse_hkl(text) == hkl


@pytest.mark.parametrize("text", ["", "()", "11", "1111", "hkl", "1.5 0 0", "1 2", "1 1 1 1", "1-"])
def test_what_is_no_plane_is_refused(text):
    with pytest.raises(StructureError, match="not a plane"):
        parse_hkl(text)


@given(hkl=st.tuples(*[st.integers(-9, 9)] * 3))
def test_every_plane_with_single_digits_returns_from_its_short_form(hkl):
    assert parse_hkl("({}{}{})".format(*hkl)) == hkl


@given(hkl=st.tuples(*[st.integers(-99, 99)] * 3))
def test_every_plane_returns_from_its_spaced_form(hkl):
    assert parse_hkl("{} {} {}".format(*hkl)) == hkl


def test_a_range_includes_both_ends_and_makes_a_phase_of_each_value():
    phases = parse_d_range("1:5:0.1")
    assert len(phases) == 41
    np.testing.assert_allclose([p.d_spacing[0] for p in phases], np.linspace(1, 5, 41))
    assert phases[3].phase == "d=1.30"
    assert len({p.phase for p in phases}) == 41


def test_the_names_of_a_fine_range_stay_distinct():
    assert [p.phase for p in parse_d_range("2:2.002:0.001")] == ["d=2.000", "d=2.001", "d=2.002"]


def test_a_range_of_one_value_is_allowed():
    assert len(parse_d_range("2.4:2.4:1")) == 1


@pytest.mark.parametrize("text", ["5:1:0.1", "1:5:0", "0:5:0.1", "1:5", "a:b:c", "1:500:1", "1..2:3:1", "C:folder:x"])
def test_a_range_that_makes_no_sense_is_refused(text):
    with pytest.raises(StructureError, match="range"):
        parse_d_range(text)


def test_a_range_of_too_many_values_is_refused():
    with pytest.raises(StructureError, match="at most 1000"):
        parse_d_range("1:5:0.001")


def test_only_three_numbers_look_like_a_range():
    assert is_d_range("1:5:0.1")
    assert not is_d_range("C:/data/Li.cif")
    assert not is_d_range("Li")
