"""The network that comes with fringemap: whole, small, quiet where nothing is, and sharper than the classical one."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import scipy.stats

from fringemap.io import read
from fringemap.settings import ReadSettings, SpotSettings
from fringemap.spectrum import average_diffractograms, compute_diffractogram
from fringemap.spots import detect_spots, find_spots
from fringemap.spots.model import SHIPPED, check_model, load_model
from spectrum_frames import disc_mask, thon_frame, wave_at, waves_frame, white_frame

UNET = SpotSettings(detector="unet")


def limit(expected):
    """Count that is exceeded once in two thousand trials where the stated rate is true."""
    return int(scipy.stats.poisson.isf(5e-4, expected))


def test_it_is_whole_computes_here_what_it_did_where_it_was_made_and_takes_less_than_ten_megabytes():
    model = load_model()
    assert model.name == SHIPPED
    assert check_model(model) < 2e-3
    assert sum(path.stat().st_size for path in model.folder.iterdir()) < 10e6
    assert model.about["licence"]
    assert all(one["licence"] for one in model.about["training"]["sets"])


@pytest.mark.parametrize(("shape", "n"), [((256, 256), 30), ((300, 200), 30), ((1000, 768), 4)])
def test_white_noise_has_no_more_false_spots_than_stated(shape, n, rng):
    found = sum(len(detect_spots(compute_diffractogram(white_frame(shape, rng)), settings=UNET)) for _ in range(n))
    assert found <= limit(n * UNET.false_spots)


def test_thon_rings_have_no_more_false_spots_than_stated(rng):
    frames = [thon_frame((512, 512), rng, defocus=-600.0) for _ in range(8)]
    assert sum(len(detect_spots(compute_diffractogram(f), settings=UNET)) for f in frames) <= limit(0.4)


def test_averaged_noise_has_no_more_false_spots_than_stated(rng):
    stacks = [average_diffractograms(white_frame((256, 200), rng) for _ in range(5)) for _ in range(10)]
    assert sum(len(detect_spots(stack, settings=UNET)) for stack in stacks) <= limit(0.5)


@pytest.mark.parametrize("shape", [(256, 256), (255, 301), (400, 240)])
def test_frame_filling_waves_are_found_once_each(shape, rng):
    places = np.array([(0.11, 0.21), (-0.27, 0.13), (0.28, 0.25), (-0.05, 0.38), (0.36, 0.07)]) * shape
    waves = [wave_at(row, col, 2.5, shape=shape, argument=k) for k, (row, col) in enumerate(places)]
    found = detect_spots(compute_diffractogram(waves_frame(shape, waves, rng, sigma=10.0)), settings=UNET)
    assert len(found) == len(places)
    for row, col in places:
        assert np.hypot(found.row - row, found.col - col).min() < 0.8


@pytest.mark.parametrize("diameter_nm", [5.0, 10.0, 20.0])
def test_grains_of_several_sizes_are_found(diameter_nm, rng):
    shape, diameter = (1024, 1024), diameter_nm * 10 / 0.4
    amplitude = 10.0 * 30.0 / np.sqrt(np.pi * (diameter / 2) ** 2 / 2)
    mask = disc_mask(shape, (500, 540), diameter)
    frame = waves_frame(shape, [wave_at(-150.0, 120.0, amplitude, shape=shape, mask=mask)], rng, sigma=10.0)
    found = detect_spots(compute_diffractogram(frame), settings=UNET)
    assert len(found) == 1
    assert np.hypot(found.row[0] + 150.0, found.col[0] - 120.0) < max(1.0, 0.45 * 1024 / diameter)


def test_the_amorphous_series_has_at_most_one_spot_in_twenty_frames(shared_data):
    path = shared_data("negative/derived_emilys_thonrings_first20_stack.tif")
    with read(path, settings=ReadSettings(pixel_size_nm=0.1354)) as series:
        found = [len(detect_spots(compute_diffractogram(f, d_min_angstrom=1.0), settings=UNET)) for f in series]
    assert len(found) == 20
    assert sum(found) <= 1


def test_more_of_the_peaks_of_co3o4_are_found_than_by_the_classical_detector(shared_data):
    with read(shared_data("hrtem/Co3O4_0pass_500k.png"), settings=ReadSettings(pixel_size_nm=0.0190527)) as series:
        diffractogram = compute_diffractogram(series[0], d_min_angstrom=1.0)
    with shared_data("hrtem/Co3O4_0pass_author_manual_peaks.csv").open() as file:
        peaks = [(float(line["gx1_1_per_nm"]), float(line["gy1_1_per_nm"])) for line in csv.DictReader(file)]
    counts = []
    for settings in (UNET, SpotSettings(detector="classical")):
        spots = find_spots(diffractogram, settings=settings)
        gx, gy = 10 * spots.gx, 10 * spots.gy
        distances = [np.minimum(np.hypot(gx - x, gy - y), np.hypot(gx + x, gy + y)).min() for x, y in peaks]
        counts.append(sum(d < 5 / (2048 * 0.0190527) for d in distances))
    assert counts[0] >= 18
    assert counts[0] > counts[1]
