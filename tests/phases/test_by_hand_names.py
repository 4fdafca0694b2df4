from __future__ import annotations

import pytest

from drawn_inputs import QUICK, draw_lif
from fringemap.phases import load_references
from fringemap.phases.by_hand import name_by_hand
from fringemap.pipeline import analyze_frame
from fringemap.records import UNKNOWN, Flag
from fringemap.settings import PhaseSettings


@pytest.fixture(scope="module")
def references():
    return load_references(PhaseSettings(phases=("LiF", "NaF")), d_min_angstrom=1.0)


@pytest.fixture(scope="module")
def result(references):
    return analyze_frame(draw_lif(), references, settings=QUICK)


def test_a_spot_gets_the_plane_of_the_phase_with_the_nearest_d(result, references):
    match = name_by_hand(result.match, result.spots, {0: references[1]}, scale=result.scale)
    d = float(result.spots.d_spacing[0])
    best = match.spots[0].best
    assert best.phase == "NaF"
    assert best.d_reference_angstrom == min(references[1].d_spacing, key=lambda one: abs(one - d))
    assert best.deviation_percent == pytest.approx(100 * (d / best.d_reference_angstrom - 1))
    assert match.spots[0].flags & Flag.BY_HAND
    assert match.spots[0].rivals[0].phase == "LiF"
    assert {e.phase: set(e.spots) for e in match.phases}["NaF"] == {0}


def test_a_name_is_taken_away_and_the_other_spots_keep_theirs(result, references):
    match = name_by_hand(result.match, result.spots, {1: None}, scale=result.scale)
    assert match.spots[1].best is None
    assert match.phases[-1].phase == UNKNOWN
    assert match.phases[-1].spots == (1,)
    for row, spot in enumerate(match.spots):
        if row != 1:
            assert spot == result.match.spots[row]


def test_no_names_by_hand_change_nothing(result):
    assert name_by_hand(result.match, result.spots, {}, scale=result.scale) == result.match
