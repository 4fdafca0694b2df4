"""Figures from verdicts: thresholds at the same number of false spots, F1, Dice, curves, intervals."""

from __future__ import annotations

import numpy as np
import pytest

from fringemap.training.evaluate import Facts, Found
from fringemap.training.judging import ERROR_ROW
from fringemap.training.scores import (
    Group,
    count_spots,
    dice_of_frames,
    dice_of_pixels,
    estimate,
    estimate_gain,
    f1_of,
    make_curve,
    make_groups,
    make_reliability,
    score_at_rate,
)


def facts(*snr, empty=False, extra=False, regime=""):
    return Facts("frame", regime, empty, extra, np.array(snr, float))


def found(*spots, pixels=(0, 0, 0, 10)):
    """Spots as (score, verdict, target), in falling order of score."""
    score, verdict, target = (np.array(column, float) for column in zip(*spots, strict=True)) if spots else ([], [], [])
    return Found(
        np.array(pixels, np.int64),
        np.zeros(4, np.int64),
        np.asarray(score, float),
        np.asarray(verdict, np.int64),
        np.full(len(score), 6.0),
        np.asarray(target, np.int64),
        np.zeros(0, ERROR_ROW),
    )


def everything(n):
    return Group("all", np.ones(n, bool))


EMPTY = [facts(empty=True) for _ in range(10)]
FALSE = [found((5.0 - k, -1, -1)) if k < 4 else found() for k in range(10)]


@pytest.mark.parametrize(("rate", "n_false"), [(0.0, 0), (0.1, 1), (0.2, 2), (0.3, 3)])
def test_the_score_at_a_rate_lets_through_that_many_false_spots(rate, n_false):
    score, counted = score_at_rate(FALSE, EMPTY, rate)
    assert sum(np.count_nonzero(of.score >= score) for of in FALSE) == n_false
    assert counted == pytest.approx(rate)


def test_a_detector_that_lists_too_few_false_spots_is_taken_whole():
    assert score_at_rate(FALSE, EMPTY, 1.0) == (-np.inf, 0.4)


def test_false_spots_of_frames_with_crystals_do_not_count_for_the_rate():
    score, _ = score_at_rate([found((9.0, -1, -1)), *FALSE], [facts(8.0), *EMPTY], 0.1)
    assert 4.0 < score < 5.0


def test_f1_counts_right_false_and_missed_and_leaves_out_what_need_not_be_found():
    spots = found((9.0, 1, 0), (8.0, 0, -1), (7.0, -1, -1), (2.0, 1, 1))
    counts = count_spots([spots], [facts(20.0, 9.0, 8.0)], everything(1), 3.0)
    np.testing.assert_array_equal(counts, [[1, 1, 2]])
    assert f1_of(counts.sum(axis=0)) == pytest.approx(2 / (2 + 1 + 2))


def test_a_class_of_snr_counts_its_own_true_and_false_spots():
    spots = found((9.0, 1, 0), (7.0, -1, -1), (2.0, 1, 1))
    faint = Group("faint", np.ones(1, bool), -np.inf, 10.0)
    clear = Group("clear", np.ones(1, bool), 10.0, np.inf)
    truth = [facts(20.0, 9.0, 8.0)]
    np.testing.assert_array_equal(count_spots([spots], truth, faint, 1.0), [[1, 1, 1]])
    np.testing.assert_array_equal(count_spots([spots], truth, clear, 1.0), [[1, 0, 0]])


def test_the_curve_ends_at_the_counts_of_the_whole_list():
    spots = found((9.0, 1, 0), (8.0, 0, -1), (7.0, -1, -1), (2.0, 1, 1))
    curve = make_curve([spots], [facts(20.0, 9.0, 8.0)], everything(1))
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])


def test_a_score_that_is_right_is_reliable(rng):
    # 10^-score false spots a frame above each score, as a score should say: exponential above one in a frame.
    n = 400
    frames = [
        found(*((s, -1, -1) for s in sorted(rng.exponential(1 / np.log(10), rng.poisson(1)))[::-1])) for _ in range(n)
    ]
    reliable = make_reliability(frames, [facts(empty=True)] * n, np.array([1.0, 0.3, 0.1]))
    assert (np.abs(reliable.counted - reliable.expected) < 4 * reliable.sigma).all()
    assert reliable.n_frames == n


def test_groups_are_thirds_and_leave_out_frames_drawn_for_counting():
    truth = [facts(*([snr] * n)) for snr, n in ((5, 1), (6, 1), (10, 2), (11, 2), (30, 8), (40, 9))]
    truth += [facts(empty=True), facts(empty=True, extra=True)]
    groups = {group.name: group for group in make_groups(truth)}
    np.testing.assert_array_equal(groups["all"].frames, [True] * 7 + [False])
    np.testing.assert_array_equal(np.flatnonzero(groups["crowded frames"].frames), [4, 5])
    np.testing.assert_array_equal(np.flatnonzero(groups["faint frames"].frames), [0, 1])
    assert groups["faint spots"].high == groups["middle spots"].low


def test_without_known_snr_there_are_no_classes_of_it():
    groups = [group.name for group in make_groups([facts(np.nan, np.nan), facts(np.nan)])]
    assert groups == ["all", "crowded frames", "other frames with crystals"]


def test_dice_of_pixels_is_the_textbook_one_and_frames_without_label_have_none():
    assert dice_of_pixels(np.array([3, 1, 2, 100])) == pytest.approx(6 / 9)
    frames = [found(pixels=(3, 1, 2, 9)), found(pixels=(0, 5, 0, 9)), found(pixels=(0, 0, 4, 9))]
    np.testing.assert_allclose(dice_of_frames(frames, np.ones(3, bool)), [6 / 9, 0.0])


def test_an_interval_holds_the_value_and_narrows_with_frames(rng):
    def counts(n):
        return np.stack([rng.integers(0, 9, n), rng.integers(0, 3, n), rng.integers(0, 3, n)], axis=1).astype(float)

    few, many = (estimate(f1_of, counts(n), np.ones(n, bool), rng=rng) for n in (10, 1000))
    for one in (few, many):
        assert one.low <= one.value <= one.high
    assert many.high - many.low < (few.high - few.low) / 3


def test_the_gain_over_itself_is_nothing_and_over_a_worse_one_sure(rng):
    good = np.tile([8.0, 1.0, 1.0], (30, 1))
    poor = np.tile([4.0, 1.0, 5.0], (30, 1))
    frames = np.ones(30, bool)
    same = estimate_gain(f1_of, good, good, frames, rng=rng)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert estimate_gain(f1_of, good, poor, frames, rng=rng).low > 0.2
