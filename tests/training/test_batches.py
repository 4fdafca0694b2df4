from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from fringemap.errors import SettingsError
from fringemap.settings import NetworkSettings, TrainSettings
from fringemap.training.batches import draw_batches, make_batch, order_of, stack_sample, steps_in_epoch
from made_samples import MadeSample, MadeSamples

SAMPLES = MadeSamples(7)
NETWORK = NetworkSettings()
SETTINGS = TrainSettings(crop=48, batch=6, crops_per_sample=4, seed=3)


def batches(epoch=0, settings=SETTINGS, samples=SAMPLES, **more):
    return list(draw_batches(samples, epoch=epoch, settings=settings, network=NETWORK, stride=32, **more))


def test_the_same_seed_and_round_give_the_same_batches():
    one, other = batches(), batches()
    assert all(torch.equal(a.image, b.image) and torch.equal(a.label, b.label) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("change", [{"epoch": 1}, {"settings": TrainSettings(crop=48, batch=6, seed=4)}])
def test_another_seed_or_round_gives_others(change):
    assert not torch.equal(batches()[0].image, batches(**change)[0].image)


def test_a_round_has_the_stated_steps_and_batches_whose_sides_fit_the_network():
    drawn = batches()
    assert len(drawn) == steps_in_epoch(len(SAMPLES), SETTINGS) == 5
    assert sum(len(batch.image) for batch in drawn) == 28
    assert drawn[0].image.shape == (6, 3, 64, 64)
    assert drawn[0].label.shape == drawn[0].weight.shape == (6, 1, 64, 64)


def test_successive_rounds_show_every_sample_before_one_comes_again():
    settings = TrainSettings(samples_per_epoch=3, seed=1)
    shown = [index for epoch in range(7) for index in order_of(7, epoch, settings)]
    for start in (0, 7, 14):
        assert Counter(shown[start : start + 7]) == Counter(range(7))
    assert shown[:7] != shown[7:14]


def test_a_round_can_be_longer_than_the_set():
    assert Counter(order_of(3, 0, TrainSettings(samples_per_epoch=6))) == {0: 2, 1: 2, 2: 2}


def test_padding_has_the_weight_zero():
    batch = make_batch([np.ones((5, 10, 20), np.float32), np.ones((5, 40, 5), np.float32)], 32)
    assert batch.image.shape == (2, 3, 64, 32)
    assert batch.weight[0].sum() == 200
    assert batch.weight[1].sum() == 200


def test_the_mates_left_of_the_axis_carry_the_labels_of_their_spots():
    label = np.zeros((41, 40), np.uint8)
    label[10, 3] = 1
    stacked = stack_sample(MadeSample(np.zeros((2, 41, 40)), label, np.ones_like(label)), NETWORK)
    assert stacked.shape == (4, 41, 32 + 40)
    assert np.argwhere(stacked[2]).tolist() == [[10, 35], [30, 29]]


def test_the_full_pattern_is_point_symmetric():
    stacked = stack_sample(SAMPLES[0], NetworkSettings(half=False))
    assert stacked.shape[2] == 2 * SAMPLES[0].image.shape[2] - 1
    left = stacked[:, :, : SAMPLES[0].image.shape[2] - 1]
    np.testing.assert_array_equal(left, stacked[:, ::-1, ::-1][:, :, : left.shape[2]])


def test_labels_turn_and_mirror_with_the_picture():
    label = (np.random.default_rng(0).random((81, 60)) < 0.1).astype(np.uint8)
    image = np.stack([label * 2.0, label * 3.0]).astype(np.float32)
    sample = [MadeSample(image, label, np.ones_like(label))]
    for batch in batches(samples=sample):
        torch.testing.assert_close(batch.image[:, :1], 2 * batch.label)


def test_whole_patterns_are_shown_if_crops_are_not_wanted():
    settings = TrainSettings(crop=0, batch=2, seed=3)
    drawn = batches(settings=settings)
    assert sum(len(batch.image) for batch in drawn) == len(SAMPLES)
    heights = {SAMPLES[k].image.shape[1] for k in range(len(SAMPLES))}
    assert all(batch.image.shape[2] >= min(heights) and batch.image.shape[2] % 32 == 0 for batch in drawn)


def test_an_augmentation_sees_picture_label_and_weight_and_draws_from_the_generator():
    drawn = []

    def augment(image, label, weight, generator):
        drawn.append(float(torch.rand((), generator=generator)))
        assert image.shape[0] == 3
        assert label.shape == weight.shape == (1, *image.shape[1:])
        return image + 1, label, weight

    with_it, without = batches(augment=augment), batches()
    torch.testing.assert_close(with_it[0].image * with_it[0].weight, (without[0].image + 1) * without[0].weight)
    assert len(set(drawn)) == len(SAMPLES)


def test_a_set_without_a_sample_is_refused():
    with pytest.raises(SettingsError, match="no sample"):
        order_of(0, 0, SETTINGS)


def test_the_crops_of_a_batch_are_of_different_patterns():
    """Crops of one pattern look alike: a batch of them says little, and its mean and spread are not those of others."""
    flat = [
        MadeSample(np.full((3, 81, 40), k, np.float16), np.zeros((81, 40), np.uint8), np.ones((81, 40), np.uint8))
        for k in range(1, 15)
    ]
    drawn = batches(samples=flat, settings=replace(SETTINGS, batch=6, crops_per_sample=3))
    seen = [sorted(float(image.max()) for image in batch.image) for batch in drawn]
    assert [len(values) for values in seen] == [6] * 7
    assert all(len(set(values)) == 6 for values in seen[:6])
    assert sorted(value for values in seen for value in values) == sorted(3 * list(range(1, 15)))
