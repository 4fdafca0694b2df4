from __future__ import annotations

import numpy as np
import pytest

from fringemap.spectrum import frequency_axes, half_shape
from fringemap.spots import spot_mask
from map_frames import spots_at
from spectrum_frames import flat_diffractogram


def mask_slowly(diffractogram, gx, gy, radius):
    """Bins within the radius of a spot or of its mate, one by one."""
    frame_shape, size_y = diffractogram.frame_shape, diffractogram.scale.pixel_size_angstrom[0]
    axis_y, axis_x = frequency_axes(frame_shape, diffractogram.scale)
    mask = np.zeros(half_shape(frame_shape), bool)
    for row, y in enumerate(axis_y):
        for col, x in enumerate(axis_x):
            for sign in (1, -1):
                for alias in (-1 / size_y, 0, 1 / size_y):
                    mask[row, col] |= np.hypot(y + alias - sign * gy, x - sign * gx) <= radius * (1 + 1e-9)
    return mask


@pytest.mark.parametrize("place", [(0.41, 0.23), (0.3, -0.51), (0.005, 0.5), (0.0, 0.4), (0.35, 1.24)])
@pytest.mark.parametrize("frame", [((60, 60), (0.4, 0.4)), ((61, 50), (0.4, 0.3))])
def test_the_mask_holds_the_discs_of_spots_and_mates(place, frame):
    shape, pixel = frame
    diffractogram = flat_diffractogram(np.ones(half_shape(shape)), shape, pixel=pixel)
    spots = spots_at([place[0]], [place[1]], diameter=np.array([6.03]))
    mask = spot_mask(diffractogram, spots, radius_widths=1.0)
    expected = mask_slowly(diffractogram, *place, 0.9 / 6.03)
    assert np.count_nonzero(expected) > 10
    np.testing.assert_array_equal(mask, expected)


def test_a_sharp_spot_has_a_disc_of_one_and_a_half_bins():
    shape = (64, 64)
    diffractogram = flat_diffractogram(np.ones(half_shape(shape)), shape)
    spots = spots_at([10 / 25.6], [7 / 25.6], diameter=np.array([1e4]))
    assert np.count_nonzero(spot_mask(diffractogram, spots)) == 9


def test_no_spots_leave_the_mask_empty():
    shape = (64, 64)
    diffractogram = flat_diffractogram(np.ones(half_shape(shape)), shape)
    assert not spot_mask(diffractogram, spots_at([], [], diameter=np.zeros(0))).any()
