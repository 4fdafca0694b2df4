"""Real micrographs with known content; origin and licence of each are in the README of the test data."""

from __future__ import annotations

import csv
from functools import lru_cache

import numpy as np
import pytest

from fringemap.io import read
from fringemap.records import Flag
from fringemap.settings import ReadSettings, SpotSettings
from fringemap.spectrum import compute_diffractogram, compute_profile
from fringemap.spots import detect_spots, find_rings, find_spots, spot_bins


@lru_cache(maxsize=4)
def analyse(path, pixel_size_nm):
    """Frame, spots and rings of the first frame of a file."""
    with read(path, settings=ReadSettings(pixel_size_nm=pixel_size_nm)) as series:
        frame = series[0]
    diffractogram = compute_diffractogram(frame, d_min_angstrom=SpotSettings().d_min_angstrom)
    spots = find_spots(diffractogram)
    profile = compute_profile(diffractogram, inside=spot_bins(diffractogram, spots))
    return frame, spots, find_rings(profile, spots, settings=SpotSettings())


def distance_per_nm(spots, gx_per_nm, gy_per_nm):
    """From each spot to a place or its mate, whichever is nearer."""
    gx, gy = 10 * spots.gx, 10 * spots.gy
    return np.minimum(np.hypot(gx - gx_per_nm, gy - gy_per_nm), np.hypot(gx + gx_per_nm, gy + gy_per_nm))


@pytest.fixture
def spinel(shared_data):
    return analyse(shared_data("hrtem/Co3O4_0pass_500k.png"), 0.0190527)


@pytest.mark.parametrize("d", [2.507, 2.502, 2.787, 2.355, 2.005, 4.645, 1.415, 1.562])
def test_the_known_spacings_of_co3o4_are_reproduced(spinel, d):
    _, spots, _ = spinel
    strong = spots.d_spacing[spots.snr > 30]
    assert np.abs(100 * (strong / d - 1)).min() < 0.3


def peak_over_surroundings(power, row, col):
    """Largest power within 4 bins of a place over the median 6 to 12 bins away."""
    block = power[row - 12 : row + 13, col - 12 : col + 13]
    distance = np.hypot(*np.mgrid[-12:13, -12:13])
    return block[distance <= 4].max() / np.median(block[(distance > 6) & (distance <= 12)])


def test_the_strong_peaks_that_its_authors_picked_by_hand_are_found(spinel, shared_data):
    frame, spots, _ = spinel
    n = frame.image.shape[0]
    window = np.outer(np.hanning(n), np.hanning(n))
    power = np.fft.fftshift(np.abs(np.fft.fft2((frame.image - frame.image.mean()) * window)) ** 2)
    step = 1 / (n * 0.0190527)
    strong, found = 0, 0
    with shared_data("hrtem/Co3O4_0pass_author_manual_peaks.csv").open() as file:
        for line in csv.DictReader(file):
            gx, gy = float(line["gx1_1_per_nm"]), float(line["gy1_1_per_nm"])
            if peak_over_surroundings(power, n // 2 + round(gy / step), n // 2 + round(gx / step)) < 12:
                continue
            strong += 1
            found += distance_per_nm(spots, gx, gy).min() < 5 * step
    assert strong == 14
    assert found >= 13


def test_the_net_of_rutile_along_its_axis_is_found(shared_data):
    _, spots, _ = analyse(shared_data("hrtem/TiO2_0eV.tif"), 0.0614634)
    # The two {100} spots, doubly diffracted, span the net; hk0 up to 0.75 1/Å.
    a, b = np.array([1.813, 1.241]), np.array([1.202, -1.849])
    net = [h * a + k * b for h in range(-3, 4) for k in range(-3, 4) if (h, k) > (0, 0)]
    net = [g for g in net if np.hypot(*g) < 7.5]
    assert len(net) == 18
    found = sum(distance_per_nm(spots, *g).min() < 0.08 for g in net)
    assert found >= 16
    for d in (4.54, 3.17, 3.27, 2.27, 2.05, 1.45):
        assert np.abs(spots.d_spacing / d - 1).min() < 0.006


def test_the_two_grains_of_the_graphene_flower_are_told_apart_by_angle(shared_data):
    _, spots, _ = analyse(shared_data("hrtem/graphene_flower_raw.tif"), 0.0218)
    first_order = np.abs(spots.d_spacing / 2.13 - 1) < 0.07
    # Six-fold: angles modulo 60 degrees, about -15 .. 45.
    folded = (np.degrees(spots.angle[first_order]) + 15) % 60 - 15
    one, other = folded[np.abs(folded - 30) < 8], folded[np.abs(folded) < 8]
    assert len(one) == 3
    # The second grain covers a tenth of the frame: the third of its spots is too faint.
    assert len(other) >= 2
    assert one.mean() - other.mean() == pytest.approx(30, abs=3)
    assert len(one) + len(other) == np.count_nonzero(first_order)


def test_bornite_along_011_has_its_ratio_and_angle(shared_data):
    _, spots, _ = analyse(shared_data("hrtem/SL_Bornite_011.png"), 2 / 23)
    strong = np.argsort(-spots.snr)
    near_111 = [i for i in strong if abs(spots.d_spacing[i] / 3.25 - 1) < 0.02][:2]
    near_200 = next(i for i in strong if abs(spots.d_spacing[i] / 2.79 - 1) < 0.02)
    assert spots.d_spacing[near_111].mean() / spots.d_spacing[near_200] == pytest.approx(1.155, rel=0.02)
    angle = abs(np.degrees(spots.angle[near_111[0]] - spots.angle[near_111[1]]))
    assert min(angle, 180 - angle) == pytest.approx(70.5, abs=1.5)


def test_soot_has_a_ring_and_no_trusted_spot(shared_data):
    _, spots, rings = analyse(shared_data("hrtem/soot_ucam_ExampleImage.tif"), 5 / 89)
    assert len(spots) <= 1
    assert (spots.flags != Flag.NONE).all()
    assert np.abs(1 / rings.g - 3.57).min() < 0.1


def test_the_amorphous_series_has_no_spot_in_twenty_frames(shared_data):
    path = shared_data("negative/derived_emilys_thonrings_first20_stack.tif")
    found = []
    with read(path, settings=ReadSettings(pixel_size_nm=0.1354)) as series:
        for frame in series:
            diffractogram = compute_diffractogram(frame, d_min_angstrom=SpotSettings().d_min_angstrom)
            found.append(len(detect_spots(diffractogram, settings=SpotSettings())))
    assert len(found) == 20
    assert sum(found) == 0
