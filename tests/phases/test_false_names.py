"""Expected shares of false names, in a frame and in a batch."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fringemap.phases.false_names import batch_q, expected_false_shares
from fringemap.phases.match import match_spots
from fringemap.records import UNKNOWN
from fringemap.settings import PhaseSettings
from made_crystals import make_references, make_scale, make_spots, project

LI_011 = [(0, 1, -1), (2, 0, 0), (2, 1, -1), (-2, 1, -1)]
ERRORS = st.lists(st.floats(0.0, 1.0), max_size=12)


@given(ERRORS)
def test_a_q_value_is_the_mean_error_of_all_names_at_least_as_sure(errors):
    expected = [float(np.mean([other for other in errors if other <= error])) for error in errors]
    assert expected_false_shares(errors) == pytest.approx(expected, abs=1e-12)


def test_many_frames_each_with_one_name_of_four_percent_have_four_percent_false_names():
    assert batch_q([[0.96]] * 200) == pytest.approx([0.04] * 200)


def test_a_doubtful_name_is_judged_among_all_names_of_the_run_that_are_at_least_as_sure():
    q = batch_q([[0.999, 0.9], [], [0.98]])
    assert q[0] == pytest.approx((0.001 + 0.1 + 0.02) / 3)
    assert math.isnan(q[1])
    assert q[2] == pytest.approx((0.001 + 0.02) / 2)


def test_what_the_user_said_makes_no_room_in_a_batch():
    assert batch_q([[1.0, 0.9], [1.0]]) == pytest.approx([0.1, 0.0])


def test_a_phase_that_is_surely_present_makes_no_room_for_doubtful_names(rng):
    g = np.concatenate([project("Li", LI_011, rotation=0.3), project("LiF", [(1, 1, 1), (0, 0, 2)], rotation=2.0)])
    spots = make_spots(g + rng.normal(0.0, 3e-4, g.shape), sigma=3e-4)
    references = make_references("Li", "LiF", "Cu", "Si", "Li2O")
    settings = PhaseSettings(false_names=1.0)
    sure = PhaseSettings(false_names=1.0, present=("Li",))
    plain, told = (match_spots(spots, references, scale=make_scale(), settings=s) for s in (settings, sure))
    errors = {evidence.phase: 1.0 - evidence.probability for evidence in told.phases if evidence.phase != UNKNOWN}
    q = {evidence.phase: evidence.q_value for evidence in told.phases}
    assert {"Li", "LiF"} <= set(errors)
    assert q["Li"] == 0.0
    assert q["LiF"] == pytest.approx(errors["LiF"])
    alone = {evidence.phase: evidence.q_value for evidence in plain.phases}
    assert alone["LiF"] < q["LiF"]
