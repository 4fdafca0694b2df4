from __future__ import annotations

import numpy as np
import pytest

from drawn_inputs import A_LIF, draw_lif
from fringemap.errors import SettingsError
from fringemap.records import Flag, Spots
from fringemap.spectrum import compute_diffractogram
from fringemap.spots import find_spots
from fringemap.spots.by_hand import join_spots, measure_at, nearest_spot, take_spots

G = 2.0 / A_LIF


@pytest.fixture(scope="module")
def diffractogram():
    return compute_diffractogram(draw_lif(), d_min_angstrom=1.0)


@pytest.mark.parametrize(("gx", "gy"), [(G, 0.002), (-G, -0.002), (G, G), (-G, G), (0.001, -G)])
def test_a_spot_is_measured_where_a_person_points_or_at_its_mate(diffractogram, gx, gy):
    spot = measure_at(diffractogram, gx=gx, gy=gy)
    assert len(spot) == 1
    assert spot.g[0] == pytest.approx(np.hypot(round(gx / G), round(gy / G)) * G, rel=2e-3)
    assert spot.gx[0] > 0 or (spot.gx[0] == 0 and spot.gy[0] > 0) or spot.gx[0] == pytest.approx(0, abs=2e-3)
    assert spot.flags[0] & Flag.BY_HAND
    assert np.isnan(spot.score[0])


def test_it_measures_what_the_detector_measures(diffractogram):
    found = find_spots(diffractogram)
    pointed = measure_at(diffractogram, gx=float(found.gx[0]) + 1e-3, gy=float(found.gy[0]) - 1e-3)
    assert pointed.d_spacing[0] == pytest.approx(found.d_spacing[0], abs=3 * float(found.d_sigma[0]))


@pytest.mark.parametrize(("gx", "gy"), [(0.0, 0.0), (0.002, 0.001), (1.2, 0.0), (0.0, -1.9), (5.0, 5.0)])
def test_no_spot_is_measured_in_the_middle_or_beyond_what_is_evaluated(diffractogram, gx, gy):
    with pytest.raises(SettingsError):
        measure_at(diffractogram, gx=gx, gy=gy)


def test_rows_are_joined_taken_and_found_again(diffractogram):
    found = find_spots(diffractogram)
    one = measure_at(diffractogram, gx=G, gy=0.0)
    joined = join_spots(found, one)
    assert len(joined) == len(found) + 1
    last = take_spots(joined, np.array([len(found)]))
    assert last.gx[0] == one.gx[0]
    for row in range(len(found)):
        assert nearest_spot(found, gx=-float(found.gx[row]), gy=-float(found.gy[row])) == row
    assert nearest_spot(found, gx=0.9, gy=0.13) is None
    nothing: Spots = take_spots(found, np.array([], dtype=np.int64))
    assert nearest_spot(nothing, gx=G, gy=0.0) is None
