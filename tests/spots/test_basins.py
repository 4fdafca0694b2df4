"""The watershed of all groups at once against that of scikit-image and plain loops, group by group."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from skimage.segmentation import watershed

from fringemap.settings import SpotSettings
from fringemap.spots.basins import Terrain, climb, find_passes, flood, join_shallow
from fringemap.spots.peaks import find_peaks
from fringemap.spots.window import cut_window
from spectrum_frames import flat_diffractogram


def rough(shape, rng):
    return scipy.ndimage.gaussian_filter(rng.standard_normal(shape), 1.2).astype(np.float32)


def terrain_of(heights, masks):
    """Several small images, each in a frame of its own, on one canvas."""
    framed = [np.pad(h, 1, constant_values=-np.inf) for h in heights]
    first = np.cumsum([0] + [f.size for f in framed])
    places = [o + np.flatnonzero(np.pad(m, 1)) for o, m in zip(first, masks, strict=False)]
    widths = [np.full(len(p), f.shape[1]) for p, f in zip(places, framed, strict=True)]
    groups = [np.full(len(p), k) for k, p in enumerate(places)]
    flat = np.concatenate([f.ravel() for f in framed])
    return Terrain(flat, *(np.concatenate(parts) for parts in (places, widths, groups)))


@pytest.fixture
def landscapes(rng):
    heights = [rough(shape, rng) for shape in ((30, 40), (25, 25), (8, 60))]
    # Masks with holes and islands.
    masks = [rough(h.shape, rng) > -0.1 for h in heights]
    return heights, masks


def parts_of(values, masks):
    """Values of the bins, as images."""
    images, start = [], 0
    for mask in masks:
        image = np.full(mask.shape, -1)
        image[mask] = values[start : start + mask.sum()]
        images.append(image)
        start += mask.sum()
    return images


def saddles_of(region, height, n):
    """Highest pass between each two regions of one image, bin by bin."""
    saddles = np.full((n, n), -np.inf)
    for r, c in np.ndindex(region.shape):
        for other in ((r + 1, c), (r, c + 1)):
            if other[0] == region.shape[0] or other[1] == region.shape[1]:
                continue
            a, b = region[r, c], region[other]
            if a != b and min(a, b) >= 0:
                saddles[a, b] = saddles[b, a] = max(saddles[a, b], min(height[r, c], height[other]))
    return saddles


def flood_plainly(passes, marked):
    """The highest pass between any two parts opens first, unless both have a mark already."""
    owner = np.arange(len(marked))
    for one, other in zip(passes.one[::-1], passes.other[::-1], strict=True):
        a, b = owner[one], owner[other]
        if a != b and not (marked[a] and marked[b]):
            owner[(owner == a) | (owner == b)] = b if marked[b] else a
    return owner


def test_passes_are_the_highest_between_any_two_regions(landscapes):
    heights, masks = landscapes
    terrain = terrain_of(heights, masks)
    region, summit = climb(terrain)
    passes = find_passes(terrain, region)
    images = zip(parts_of(region, masks), heights, strict=True)
    expected = np.maximum.reduce([saddles_of(image, height, len(summit)) for image, height in images])
    assert (passes.height == expected[passes.one, passes.other]).all()
    assert len(passes.height) == np.count_nonzero(np.isfinite(expected)) / 2
    assert (np.diff(passes.height) >= 0).all()


def test_regions_without_a_mark_go_to_the_mark_that_a_plain_loop_gives_them(landscapes, rng):
    terrain = terrain_of(*landscapes)
    region, summit = climb(terrain)
    passes, marked = find_passes(terrain, region), rng.random(len(summit)) < 0.4
    owner, expected = flood(passes, marked), flood_plainly(passes, marked)
    assert (owner == expected)[marked[expected]].all()
    assert not marked[owner[~marked[expected]]].any()


def test_the_basins_are_those_of_scikit_image_but_for_their_borders(landscapes, rng):
    heights, masks = landscapes
    terrain = terrain_of(heights, masks)
    region, summit = climb(terrain)
    marked = rng.random(len(summit)) < 0.4
    owner = flood(find_passes(terrain, region), marked)[region]
    owner = np.where(marked[owner], owner, -1)
    markers = np.full(len(region), -1)
    markers[summit[marked]] = np.flatnonzero(marked)
    images = (parts_of(values, masks) for values in (owner, markers))
    for height, mask, ours, seeds in zip(heights, masks, *images, strict=True):
        assert (ours == watershed(-height, seeds + 1, mask=mask) - 1).mean() > 0.95


def test_every_summit_is_higher_than_its_four_neighbours(landscapes):
    heights, masks = landscapes
    _, summit = climb(terrain_of(heights, masks))
    expected = sum(
        np.count_nonzero(
            (scipy.ndimage.maximum_filter(inside, footprint=scipy.ndimage.generate_binary_structure(2, 1)) == inside)
            & mask
        )
        for inside, mask in ((np.where(m, h, -np.inf), m) for h, m in zip(heights, masks, strict=True))
    )
    assert len(summit) == expected


def join_plainly(saddles, height, least_depth):
    owner, saddles = np.arange(len(height)), saddles.copy()
    for lower in np.argsort(height):
        higher = int(saddles[lower].argmax())
        if height[lower] - saddles[lower, higher] < least_depth[lower]:
            owner[owner == lower] = higher
            saddles[higher] = saddles[:, higher] = np.maximum(saddles[lower], saddles[higher])
            saddles[higher, higher] = -np.inf
        saddles[lower] = saddles[:, lower] = -np.inf
    return owner


def test_shallow_basins_join_as_in_a_plain_loop(rng):
    height = rough((40, 40), rng)
    terrain = terrain_of([height], [np.ones(height.shape, bool)])
    region, summit = climb(terrain)
    tops = height.ravel()[summit]
    least = 0.2 + 0.3 * np.abs(tops)
    owner = join_shallow(find_passes(terrain, region), tops, least)
    expected = join_plainly(saddles_of(region.reshape(height.shape), height, len(summit)), tops, least)
    assert 1 < len(np.unique(owner)) < len(summit)
    assert (owner == expected).all()


def test_no_bin_found_means_no_peak(rng):
    window = cut_window(flat_diffractogram(np.ones((64, 33)), (64, 64)), SpotSettings(d_min_angstrom=1.2))
    assert find_peaks(window, np.zeros(window.whitened.shape, bool)) == []


def test_an_even_group_is_one_peak():
    window = cut_window(flat_diffractogram(np.ones((64, 33)), (64, 64)), SpotSettings(d_min_angstrom=1.2))
    found = np.zeros(window.whitened.shape, bool)
    found[10:16, 12:20] = True
    assert len(find_peaks(window, found)) == 1


def test_two_humps_that_touch_are_two_merged_peaks():
    rows, cols = np.fft.fftfreq(128, 1 / 128)[:, None], np.arange(65)
    power = 1.0 + sum(50 * np.exp(-((rows - 20) ** 2 + (cols - c) ** 2) / 8) for c in (20, 32))
    window = cut_window(flat_diffractogram(power, (128, 128)), SpotSettings(d_min_angstrom=1.2))
    peaks = sorted(find_peaks(window, window.whitened > 3), key=lambda p: p.col)
    assert [p.merged for p in peaks] == [True, True]
    assert [(p.row, p.col) for p in peaks] == [pytest.approx((20, c), abs=0.3) for c in (20, 32)]
    # Full width at half maximum of a Gaussian of standard deviation 2, less what lies below the found bins.
    assert all(p.width == pytest.approx(4.7, rel=0.15) for p in peaks)
