"""A spot explained in words."""

import pytest

from fringemap.errors import SettingsError
from fringemap.phases import explain_spot, match_spots
from fringemap.records import Flag
from fringemap.settings import PhaseSettings
from made_crystals import make_references, make_scale, make_spots, project

SETTINGS = PhaseSettings(match="posterior")
REFERENCES = make_references("Li", "Li2CO3", "Si")


def explain(spots, row: int) -> str:
    match = match_spots(spots, REFERENCES, scale=make_scale(0.01), settings=SETTINGS)
    return explain_spot(row, match, spots, REFERENCES)


def test_a_named_spot_tells_its_plane_zone_and_certainty():
    text = explain(make_spots(project("Si", [(1, -1, 1), (1, -1, -1), (0, 0, 2), (2, -2, 0)])), 3)
    for part in ("d = 1.92", "Si (", "zone [", "probability", "share of false names", "pixel size off by"):
        assert part in text


def test_a_refused_name_comes_with_the_reason_and_the_candidates():
    text = explain(make_spots([[1 / 2.484, 0.0]], flags=int(Flag.FEW_PERIODS)), 0)
    assert "Unknown" in text
    assert "a single d" in text
    assert "Li (1 1 0)" in text
    assert "Li2CO3 (0 2 0)" in text
    assert "fewer than 7 fringe periods" in text


def test_a_spot_that_nothing_comes_near_says_so():
    assert "Nothing else comes near" in explain(make_spots([[0.05, 0.0]]), 0)


def test_a_row_that_does_not_exist_is_refused():
    with pytest.raises(SettingsError, match="spot 7 does not exist; the frame has 1 spots"):
        explain(make_spots([[0.3, 0.0]]), 7)
