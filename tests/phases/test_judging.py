"""From odds to probabilities: sisters, decoys, sets, and the map that makes stated shares come true."""

from dataclasses import replace

import numpy as np
import pytest

from fringemap.phases.judging import OF_GRAINS, OF_LATTICES, Odds, as_reported, judge

GRAIN = Odds(
    reference=0,
    of_list=np.array([90.0, 5.0]),
    decoys=np.array([3.0, 0.0, 0.0]),
    plain=2.0,
    of_sets=np.array([1.0, 0.0, 0.0]),
    siblings=0.0,
)


def test_a_grain_alone_shares_its_probability_with_all_that_may_explain_it():
    (found,) = judge([GRAIN], again=10.0)
    np.testing.assert_allclose(found, [0.9, 0.05])


def test_siblings_take_from_all_phases_alike():
    (found,) = judge([replace(GRAIN, siblings=0.25)], again=10.0)
    np.testing.assert_allclose(found, [0.72, 0.04])


def test_what_leads_a_set_is_weighed_by_the_sets():
    (found,) = judge([replace(GRAIN, of_sets=np.array([1.0, 0.5, 0.0]))], again=10.0)
    np.testing.assert_allclose(found, [90.0 / 140.0, 45.0 / 140.0])


def test_a_decoy_that_explains_one_grain_of_two_loses_what_one_that_explains_both_keeps():
    other_decoy = replace(GRAIN, decoys=np.array([0.0, 3.0, 0.0]))
    apart, together = (judge([GRAIN, second], again=10.0)[0][0] for second in (other_decoy, GRAIN))
    alone = judge([GRAIN], again=10.0)[0][0]
    assert apart > together > alone
    # By hand: the other grain is unlisted at odds of 3 + 2 to 90, or of the same decoy at 10 times 3 more.
    plain = 2.0 * 5.0 / 95.0
    assert apart == pytest.approx(90.0 / (95.0 + 3.0 * 5.0 / 95.0 + plain))
    assert together == pytest.approx(90.0 / (95.0 + 3.0 * 35.0 / 125.0 + plain))


def test_a_further_grain_is_no_surer_than_the_first_of_its_phase():
    first, second = judge([GRAIN, GRAIN], again=10.0)
    np.testing.assert_allclose(second, first * 90.0 / 95.0)


def test_a_plain_lattice_has_no_sisters():
    lattice = replace(GRAIN, reference=None, of_list=np.array([1.0, 1.0]), of_sets=np.array([0.0, 0.0, 1.0]))
    first, second = judge([lattice, lattice], again=10.0)
    np.testing.assert_allclose(first, second)
    np.testing.assert_allclose(first, [1.0 / 7.0, 1.0 / 7.0])


@pytest.mark.parametrize(("is_lattice", "measured"), [(False, OF_GRAINS), (True, OF_LATTICES)])
def test_for_one_phase_the_reported_log_odds_are_a_line_of_those_of_the_model(is_lattice, measured):
    stated = np.array([0.02, 0.3, 0.7, 0.99])
    reported = np.array([as_reported(np.array([one]), is_lattice=is_lattice)[0] for one in stated])
    line = measured.power * np.log(stated / (1.0 - stated)) - np.log(measured.unknown)
    np.testing.assert_allclose(np.log(reported / (1.0 - reported)), line)


def test_the_order_of_phases_is_kept_and_certainty_stays():
    raw = np.array([0.5, 0.2, 0.25])
    reported = as_reported(raw, is_lattice=False)
    assert list(np.argsort(reported)) == list(np.argsort(raw))
    assert 0.0 < 1.0 - reported.sum() < 1.0
    assert as_reported(np.array([1.0, 0.0]), is_lattice=False).tolist() == [1.0, 0.0]
    assert as_reported(np.zeros(2), is_lattice=True).tolist() == [0.0, 0.0]
