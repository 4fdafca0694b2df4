"""Augmentation keeps labels on their spots, the law of noise, and every bright pixel; the same seed does the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fringemap.errors import SettingsError  # noqa: E402 - torch may be missing
from fringemap.spots.model import MARGIN  # noqa: E402
from fringemap.training.augment import (  # noqa: E402
    Paper,
    Physical,
    augment_as_paper,
    augment_physically,
    make_augmentation,
    prepare_as_paper,
    turn,
    whole_of,
)

STILL = Physical(turned_share=0.0, contrast=0.0, offset=0.0, noise=0.0)
UNMOVED = Paper(0.0, 0.0, 0.0, 0.0)


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def noisy_half(rows=161, cols=90, seed=0):
    """Half pattern of noise in a ring, its means smooth; (3, rows, cols), and where it is valid."""
    generator = seeded(seed)
    y, x = torch.arange(rows)[:, None] - rows // 2, torch.arange(cols)
    g = torch.hypot(y.float(), x.float().expand(rows, cols))
    valid = ((g > 5) & (g < min(rows // 2, cols - 1))).float()
    scores = torch.randn((3, rows, cols), generator=generator)
    scores[1:] = torch.nn.functional.avg_pool2d(scores[1:], 5, stride=1, padding=2) * 5
    scores[:, : rows // 2, 0] = scores[:, rows // 2 + 1 :, 0].flip(1)
    return scores * valid, valid


def with_spots(half, valid, places):
    """Put one bright pixel at each place (row from the middle, column), labelled 3 x 3."""
    label = torch.zeros_like(valid)
    middle = half.shape[1] // 2
    for row, col in places:
        half[0, middle + row, col] = 8.0
        half[1:, middle + row - 2 : middle + row + 3, col - 2 : col + 3] = 6.0
        label[middle + row - 1 : middle + row + 2, col - 1 : col + 2] = 1
    return half, label[None], valid[None].clone()


def with_mates(half, margin):
    return whole_of(half)[:, :, half.shape[2] - 1 - margin :]


def prepared(places, margin=MARGIN, **shape):
    half, valid = noisy_half(**shape)
    parts = with_spots(half, valid, places)
    return [with_mates(part, margin) for part in parts]


PLACES = [(40, 30), (-25, 50), (10, 20), (-50, 40)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("how", [STILL, Physical(turned_share=1.0)])
def test_labels_stay_on_their_spots(seed, how):
    image, label, weight = augment_physically(*prepared(PLACES), seeded(seed), margin=MARGIN, how=how)
    assert image.shape[1:] == label.shape[1:] == weight.shape[1:]
    on = (label[0] > 0) & (weight[0] > 0)
    bright = image[0] > 5.5
    assert on.sum() > 0
    assert (on & bright).sum() >= 0.99 * (bright & (weight[0] > 0)).sum()
    assert image[1][on].mean() > 4


@pytest.mark.parametrize("seed", range(4))
def test_the_result_is_point_symmetric_about_the_axis(seed):
    how = Physical(turned_share=1.0)
    for channel in augment_physically(*prepared(PLACES), seeded(seed), margin=MARGIN, how=how):
        left, right = channel[:, :, :MARGIN], channel[:, :, MARGIN + 1 : 2 * MARGIN + 1]
        torch.testing.assert_close(left, right.flip(1, 2), atol=1e-3, rtol=1e-3)


def test_mirrors_and_quarter_turns_only_move_pixels():
    parts = prepared(PLACES, margin=0)
    before = torch.sort(whole_of(parts[0])[0].flatten()).values
    seen = set()
    for seed in range(16):
        image, _, _ = augment_physically(*parts, seeded(seed), margin=0, how=STILL)
        torch.testing.assert_close(torch.sort(whole_of(image)[0].flatten()).values, before)
        seen.add((image.shape[1], float(image[0, 20, 20])))
    assert len(seen) == 4


@pytest.mark.parametrize("angle", [0.1, 0.7, 1.6, 3.0])
@pytest.mark.parametrize("scale", [1.0, 1.12])
def test_no_bright_pixel_is_lost_or_doubled_by_a_turn(angle, scale):
    half, valid = noisy_half(rows=181, cols=91)
    half[0] = half[0].clamp(max=3.0)
    joined = whole_of(torch.cat(with_spots(half, valid, PLACES)))
    turned = turn(joined, angle=angle, scale=scale)
    assert (turned[0] > 5).sum() == 2 * len(PLACES)
    middle = np.array(turned.shape[1:]) // 2
    for row, col in PLACES:
        new = scale * np.array(
            [
                row * math.cos(angle) + col * math.sin(angle),
                col * math.cos(angle) - row * math.sin(angle),
            ]
        )
        at = np.rint(new + middle).astype(int)
        assert turned[0, at[0], at[1]] == 8.0
        assert turned[-2, at[0], at[1]] == 1.0
        assert turned[1, at[0], at[1]] > 5.0


def test_a_turn_by_nothing_changes_nothing():
    half, valid = noisy_half()
    joined = whole_of(torch.cat(with_spots(half, valid, PLACES)))
    torch.testing.assert_close(turn(joined, angle=0.0, scale=1.0), joined, atol=1e-4, rtol=1e-4)


def test_noise_keeps_its_law():
    how = Physical(turned_share=1.0, contrast=0.0, offset=0.0)
    for seed in range(5):
        image, _, weight = augment_physically(*prepared([], rows=241, cols=121), seeded(seed), margin=MARGIN, how=how)
        noise = image[:, weight[0] > 0]
        assert noise.mean(dim=1).abs().max() < 0.15
        assert (noise.std(dim=1) - 1).abs().max() < 0.12


def test_contrast_and_background_leave_what_is_not_looked_at_alone():
    how = Physical(turned_share=0.0)
    image, _, weight = augment_physically(*prepared(PLACES), seeded(), margin=MARGIN, how=how)
    assert not image[:, weight[0] == 0].any()
    assert image[0].max() != 8.0


@pytest.mark.parametrize("name", ["physical", "paper"])
def test_the_same_generator_does_the_same_and_another_does_not(name):
    augment = make_augmentation(name)
    one, again, other = (augment(*prepared(PLACES), seeded(seed))[0] for seed in (3, 3, 4))
    torch.testing.assert_close(one, again)
    assert one.shape != other.shape or not torch.equal(one, other)


@pytest.mark.parametrize(("cols", "margin", "half"), [(90, MARGIN, True), (20, 19, True), (90, 89, False)])
def test_the_axis_is_found_however_many_mates_there_are(cols, margin, half):
    parts = prepared([(12, 10)], margin=margin, rows=61, cols=cols)
    for seed in range(6):
        image, label, weight = make_augmentation("physical", half=half)(*parts, seeded(seed))
        assert ((label[0] > 0) & (weight[0] > 0) & (image[0] > 5)).sum() >= 1
        extra = image.shape[2] - 2 * margin - 1
        whole = image if extra == 0 else image[:, :, : 2 * margin + 1]
        torch.testing.assert_close(whole, whole.flip(1, 2), atol=1e-3, rtol=1e-3)


def test_a_network_that_sees_the_brightest_bin_only_has_its_patterns_augmented_alike():
    image, label, weight = prepared(PLACES)
    augment = make_augmentation("physical")
    for seed in range(4):
        of_all = augment(image, label, weight, seeded(seed))
        of_one = augment(image[:1], label, weight, seeded(seed))
        assert [part.shape for part in of_one] == [(1, *part.shape[1:]) for part in of_all]
        torch.testing.assert_close(of_one[1:], of_all[1:])
        on = (of_one[1] > 0) & (of_one[2] > 0)
        assert of_one[0][on].max() > 5


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(SettingsError, match="physical, paper or none"):
        make_augmentation("other")


def test_the_papers_recipe_without_change_changes_nothing():
    parts = prepared(PLACES)
    for before, after in zip(parts, augment_as_paper(*parts, seeded(), how=UNMOVED), strict=True):
        torch.testing.assert_close(before, after, atol=1e-3, rtol=1e-3)


def test_the_papers_shift_moves_image_and_label_together_by_up_to_5_percent():
    parts = prepared([(20, 45)])
    moves = []
    for seed in range(8):
        _, label, _ = augment_as_paper(*parts, seeded(seed), how=Paper())
        before, after = (torch.nonzero(part[0]).double().mean(dim=0) for part in (parts[1], label))
        moves.append((after - before).tolist())
    moves = np.abs(moves)
    assert (moves.max(axis=0) < [0.05 * 161 + 4.5, 0.05 * 122 + 4.5]).all()
    assert moves.max() > 2


def test_the_papers_angle_is_an_angle_in_wide_pictures_too():
    image = torch.zeros(1, 101, 201)
    image[0, 50, 180] = image[0, 50, 20] = 1.0
    turned, _, _ = augment_as_paper(image, image, image, seeded(2), how=Paper(30.0, 0.0, 0.0, 0.0))
    places = torch.nonzero(turned[0] > 0.1).double() - torch.tensor([50.0, 100.0])
    assert torch.hypot(*places.T) == pytest.approx(80.0, abs=1.5)


def test_the_papers_preparation_blurs_resizes_and_keeps_the_left_half():
    whole = torch.zeros(1, 200, 200)
    whole[0, 100, 60] = 1.0
    full = prepare_as_paper(whole, side=100, half=False)
    left = prepare_as_paper(whole, side=100)
    assert left.shape == (1, 100, 50)
    torch.testing.assert_close(left, full[:, :, :50])
    # The sum over all pixels falls by the factor of the areas; the spot is as wide as its blur.
    assert float(full.sum()) == pytest.approx(0.25, rel=0.02)
    y, x = torch.meshgrid(torch.arange(100.0), torch.arange(100.0), indexing="ij")
    spread = torch.sqrt((full[0] * (x - (full[0] * x).sum() / full.sum()) ** 2).sum() / full.sum())
    assert float(spread) == pytest.approx(1.5, rel=0.1)
    assert float(full.max()) == pytest.approx(1 / (2 * math.pi * 9), rel=0.1)
    assert y.shape == full[0].shape
