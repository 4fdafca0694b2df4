from __future__ import annotations

import math

import pytest
import torch

from fringemap.settings import TrainSettings
from fringemap.training.losses import compute_loss, count_overlap, cross_entropy, dice_of, soft_dice_loss

LABEL = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
ONES = torch.ones_like(LABEL)
SURE = 40.0 * (2 * LABEL - 1)


def test_a_network_that_is_right_and_sure_has_no_loss():
    for loss in ("entropy", "dice", "both"):
        assert compute_loss(SURE, LABEL, ONES, settings=TrainSettings(loss=loss)) == pytest.approx(0.0, abs=1e-6)


def test_a_network_that_knows_nothing_loses_ln_2():
    assert cross_entropy(0 * LABEL, LABEL, ONES) == pytest.approx(math.log(2))


def test_soft_dice_counts_probabilities():
    # Probability 1/2 everywhere: shared 1, sums 2 + 2.
    assert soft_dice_loss(0 * LABEL, LABEL, ONES) == pytest.approx(1 - (2 * 1 + 1) / (4 + 1))


def test_both_is_the_sum_of_its_parts():
    logit = torch.tensor([[[[1.0, -0.5, 0.3, -2.0]]]])
    parts = [compute_loss(logit, LABEL, ONES, settings=TrainSettings(loss=loss)) for loss in ("entropy", "dice")]
    assert compute_loss(logit, LABEL, ONES, settings=TrainSettings()) == pytest.approx(float(sum(parts)))


def test_pixels_of_weight_zero_count_for_nothing():
    weight = torch.tensor([[[[1.0, 0.0, 1.0, 0.0]]]])
    wrong = torch.tensor([[[[40.0, -40.0, -40.0, 40.0]]]])
    for loss in ("entropy", "dice", "both"):
        assert compute_loss(wrong, LABEL, weight, settings=TrainSettings(loss=loss)) == pytest.approx(0.0, abs=1e-6)
    assert count_overlap(wrong, LABEL, weight).tolist() == [1, 1, 1]


def test_missed_spots_cost_more_with_a_positive_weight():
    missed, invented = -5.0 * ONES, 5.0 * ONES
    plain, heavy = (cross_entropy(missed, LABEL, ONES, positive_weight=w) for w in (1.0, 3.0))
    assert heavy == pytest.approx(3 * float(plain), rel=0.01)
    half = [cross_entropy(invented, 0 * LABEL, ONES, positive_weight=w) for w in (1.0, 3.0)]
    assert half[0] == half[1]


def test_a_batch_that_counts_for_nothing_has_a_finite_loss():
    assert torch.isfinite(compute_loss(0 * LABEL, LABEL, 0 * LABEL, settings=TrainSettings()))


def test_dice_is_twice_the_shared_over_the_sum():
    logit = torch.tensor([[[[1.0, -1.0, 1.0, -1.0]]]])
    assert dice_of(count_overlap(logit, LABEL, ONES)) == 0.5
    assert dice_of(count_overlap(-ONES, 0 * LABEL, ONES)) == 1.0
    assert dice_of(count_overlap(ONES, 0 * LABEL, ONES)) == 0.0
