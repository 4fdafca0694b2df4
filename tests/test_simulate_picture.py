"""Frames that were saved as pictures: scale bars, grey levels, JPEG."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fringemap.errors import SettingsError
from fringemap.phases import load_structure
from fringemap.simulate import Faults, ScaleBar, Scene, SceneRanges, random_scene, simulate_frame
from fringemap.simulate.picture import burn_scale_bar, pass_through_jpeg

BAR = ScaleBar(20.0, height_px=4)


@pytest.mark.parametrize("corner", [(False, False), (False, True), (True, False), (True, True)])
def test_the_bar_has_its_length_and_lies_in_its_corner(rng, corner):
    image = rng.random((200, 300)).astype(np.float32)
    burnt = image.copy()
    burn_scale_bar(burnt, replace(BAR, corner=corner), (0.4, 0.5))
    rows, cols = np.nonzero(burnt != image)
    assert (rows.mean() > 100, cols.mean() > 150) == corner
    assert max(_longest_run(line == burnt.max()) for line in burnt) == 40
    assert burnt.max() == image.max()


def test_a_dark_boxed_bar_stands_on_bright_ground(rng):
    image = rng.random((200, 300)).astype(np.float32)
    low, high = image.min(), image.max()
    burn_scale_bar(image, replace(BAR, bright=False, boxed=True), (0.5, 0.5))
    assert (image == high).sum() > (image == low).sum() > 4 * 40


def test_a_bar_longer_than_the_frame_is_cut(rng):
    image = rng.random((40, 50)).astype(np.float32)
    burn_scale_bar(image, replace(BAR, length_angstrom=500.0, height_px=8), (0.5, 0.5))
    assert np.isfinite(image).all()


def test_jpeg_keeps_coarse_detail_and_loses_fine_noise(rng):
    y, x = np.mgrid[:256, :256]
    coarse = 40 * np.cos(2 * np.pi * (x + 2 * y) / 64)
    image = np.clip(128 + coarse + 8 * rng.standard_normal((256, 256)), 0, 255).astype(np.float32)
    packed = image.copy()
    pass_through_jpeg(packed, 30)
    power, before = (np.abs(np.fft.fft2(i - i.mean())) ** 2 for i in (packed, image))
    assert power[8, 4] == pytest.approx(before[8, 4], rel=0.05)
    assert power[100:156, 100:156].mean() < 0.3 * before[100:156, 100:156].mean()


def test_jpeg_needs_grey_levels():
    with pytest.raises(SettingsError, match="256 grey levels"):
        Faults(jpeg_quality=80)


def test_a_frame_can_be_a_jpeg_picture_with_a_bar():
    faults = Faults(grey_levels=256, jpeg_quality=85, scale_bar=BAR)
    frame, truth = simulate_frame(Scene((200, 260), (0.5, 0.5), faults=faults), rng=np.random.default_rng(1))
    assert frame.image.min() >= 0
    assert frame.image.max() <= 255
    np.testing.assert_array_equal(frame.image, np.rint(frame.image))
    assert truth.settings["grey_scale"] != 1.0


def test_shares_of_pictures_are_drawn_and_the_rest_stays_as_it_was():
    structures, plain = [load_structure("LiF")], SceneRanges()
    pictures = replace(plain, jpeg_share=0.5, scale_bar_share=0.5, grey_share=0.5)
    faults = [
        random_scene(structures, (256, 256), (0.3, 0.3), rng=np.random.default_rng(i), ranges=pictures).faults
        for i in range(60)
    ]
    assert 15 < sum(f.jpeg_quality is not None for f in faults) < 45
    assert 15 < sum(f.scale_bar is not None for f in faults) < 45
    assert any(f.grey_levels == 256 and f.jpeg_quality is None for f in faults)
    bare = [
        random_scene(structures, (256, 256), (0.3, 0.3), rng=np.random.default_rng(i), ranges=plain) for i in range(20)
    ]
    assert all(s.faults.scale_bar is None and s.faults.grey_levels is None for s in bare)


def _longest_run(marked):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))
