"""From odds to probabilities: sisters, decoys, sets, and how much of it all is believed."""

from dataclasses import replace

import numpy as np
import pytest

from fringemap.phases.judging import MEASURED, Measured, Odds, Rivals, compare, probabilities

ALL = Measured(trust=1.0, plain=1.0, decoys=1.0, siblings=1.0, cubic_siblings=1.0, lattices=1.0, sisters=1.0)
"""All is believed as the model says."""

NOTHING = -np.inf
GRAIN = Odds(
    reference=0,
    of_list=np.log([90.0, 5.0]),
    decoys=np.array([np.log(3.0), NOTHING, NOTHING]),
    plain=np.log(2.0),
    of_sets=np.array([0.0, NOTHING, NOTHING]),
    distortion_of_list=np.zeros(2),
    distortion_of_sets=np.zeros(3),
    siblings=NOTHING,
    is_cubic=False,
    of_prior=0.0,
)


def rivals(*grains: Odds, again: float = 10.0) -> Rivals:
    return compare(grains, again=np.full(2, np.log(again)), again_decoys=np.log(again))


def judge(*grains: Odds, measured: Measured = ALL) -> np.ndarray:
    return probabilities(rivals(*grains), measured)


def test_a_grain_alone_shares_its_probability_with_all_that_may_explain_it():
    np.testing.assert_allclose(judge(GRAIN), [[0.9, 0.05]])


@pytest.mark.parametrize(("is_cubic", "share"), [(False, 0.25), (True, 0.5)])
def test_siblings_take_from_all_phases_alike_and_more_from_cubic_ones(is_cubic, share):
    grain = replace(GRAIN, siblings=0.0, is_cubic=is_cubic)
    found = judge(grain, measured=ALL._replace(siblings=0.25, cubic_siblings=0.5))
    np.testing.assert_allclose(found, [[90.0 / (100.0 + 95.0 * share), 5.0 / (100.0 + 95.0 * share)]])


def test_what_explains_the_spots_in_a_set_of_its_own_is_weighed_by_the_set_if_that_says_more():
    found = judge(replace(GRAIN, of_sets=np.log([1.0, 0.5, 1e-9])))
    np.testing.assert_allclose(found, [[90.0 / 140.0, 45.0 / 140.0]])


def test_another_phase_must_explain_all_grains_of_a_phase():
    both, one = judge(GRAIN, GRAIN)[0], judge(GRAIN, replace(GRAIN, of_list=np.log([90.0, 1e-9])))[0]
    # By hand: beside its sister the other phase has ten times five for it, or leaves it to what is on no list.
    apart, decoy, plain = 5.0, 3.0 * 35.0 / 125.0, 2.0 * 5.0 / 95.0
    assert both[1] / both[0] == pytest.approx(5.0 * (50.0 + apart) / (95.0 + 50.0) / 90.0)
    assert one[1] / one[0] == pytest.approx(5.0 * apart / 95.0 / 90.0)
    assert one[0] == pytest.approx(90.0 / (90.0 + 5.0 * apart / 95.0 + decoy + plain))


def test_a_decoy_that_explains_one_grain_of_two_loses_what_one_that_explains_both_keeps():
    other_decoy = replace(GRAIN, decoys=GRAIN.decoys[[1, 0, 2]])
    apart, together = (judge(GRAIN, second)[0][0] for second in (other_decoy, GRAIN))
    assert apart > together > judge(GRAIN)[0][0]


def test_a_further_grain_is_no_surer_than_the_first_of_its_phase():
    first, second = judge(GRAIN, GRAIN)
    np.testing.assert_allclose(second, first * 90.0 / 95.0)


def test_a_plain_lattice_has_no_sisters():
    of_sets = np.array([NOTHING, NOTHING, 0.0])
    lattice = replace(GRAIN, reference=None, of_list=np.zeros(2), of_sets=of_sets)
    np.testing.assert_allclose(judge(lattice, lattice), np.full((2, 2), 1.0 / 7.0))


def test_only_a_share_of_what_spots_say_is_believed_but_all_that_scale_and_ellipse_say():
    half = ALL._replace(trust=0.5, decoys=1e-30)
    np.testing.assert_allclose(judge(GRAIN, measured=half)[0][1] / judge(GRAIN, measured=half)[0][0], (5 / 90) ** 0.5)
    by_scale = replace(GRAIN, distortion_of_list=np.log([1.0, 5.0 / 90.0]))
    found = judge(by_scale, measured=half)[0]
    assert found[1] / found[0] == pytest.approx(5.0 / 90.0)
    off = replace(GRAIN, distortion_of_list=np.log([0.01, 0.01]))
    assert judge(off, measured=half)[0][0] < judge(GRAIN, measured=half)[0][0]


def test_a_short_list_makes_all_that_is_on_none_less_likely():
    long, short = (judge(replace(GRAIN, of_prior=value), measured=MEASURED)[0][0] for value in (0.0, -4.0))
    assert short > long


def test_frames_are_judged_together_as_one_by_one():
    other = replace(GRAIN, reference=1, of_sets=np.array([NOTHING, 0.0, NOTHING]))
    frames = [rivals(GRAIN), rivals(GRAIN, replace(GRAIN, plain=1.0)), rivals(other, GRAIN)]
    one_by_one = np.concatenate([probabilities(frame) for frame in frames])
    np.testing.assert_allclose(probabilities(Rivals.join(frames)), one_by_one)


def test_nothing_on_the_list_and_no_decoys_leave_all_to_the_unknown():
    lattice = replace(
        GRAIN,
        reference=None,
        of_list=np.full(2, NOTHING),
        decoys=np.empty(0),
        of_sets=np.array([NOTHING, NOTHING, 0.0]),
    )
    np.testing.assert_array_equal(judge(lattice), [[0.0, 0.0]])
