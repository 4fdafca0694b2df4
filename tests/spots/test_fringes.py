"""Fringes of many spots at once, against plain transforms of one block at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage

from fringemap.spectrum import compute_diffractogram, read_block
from fringemap.spots import Candidates
from fringemap.spots import fringes as fringes_module
from fringemap.spots.fringes import sample_fringes
from spectrum_frames import wave_at, waves_frame

SHAPE = (256, 200)
# Row, column and width [bins]: one beside an axis, one near the Nyquist frequency, wide and narrow ones.
PLACES = [(40.3, 30.6, 1.2), (-60.0, 3.0, 2.0), (20.0, 96.0, 1.5), (-70.2, 44.4, 7.0), (60.0, 70.0, 10.0)]


@pytest.fixture
def diffractogram(rng):
    waves = [wave_at(row, col, 3.0, shape=SHAPE, argument=k) for k, (row, col, _) in enumerate(PLACES)]
    return compute_diffractogram(waves_frame(SHAPE, waves, rng, sigma=5.0))


def candidates():
    row, col, width = np.array(PLACES).T
    return Candidates(row, col, width, np.full(len(row), 5.0), *np.zeros((2, len(row)), bool))


def spectrum_of(frame, windowed):
    """Whole spectrum, plainly: under a Hann window of mean square 1 along each axis if so."""
    if windowed:
        hann = [np.sin(np.pi * np.arange(n) / n) ** 2 / math.sqrt(3 / 8) for n in frame.shape]
        frame = frame * np.outer(*hann)
    return np.fft.fft2(frame)


def fringe_plainly(spectrum, row, col, width):
    """Complex image of the whole frame at the samples that a block of bins allows."""
    half = min(max(math.ceil(3 * width), 6), (min(SHAPE) - 1) // 4)
    rows, cols = (np.arange(-half, half + 1) + round(x) for x in (row, col))
    block = spectrum[np.ix_(rows % SHAPE[0], cols % SHAPE[1])]
    return np.fft.ifft2(np.fft.ifftshift(block)) * 2 * len(rows) ** 2 / np.prod(SHAPE)


@pytest.mark.parametrize("windowed", [False, True])
def test_samples_are_those_of_a_plain_transform(rng, windowed):
    waves = [wave_at(row, col, 3.0, shape=SHAPE, argument=k) for k, (row, col, _) in enumerate(PLACES)]
    frame = waves_frame(SHAPE, waves, rng, sigma=5.0)
    spots = candidates().take(np.array([0, 2, 3, 4]))
    fringes = sample_fringes(compute_diffractogram(frame), spots, windowed=windowed)
    spectrum = spectrum_of(frame.image - frame.image.mean(dtype=float), windowed)
    for k in range(len(spots)):
        whole = fringe_plainly(spectrum, spots.row[k], spots.col[k], spots.width[k])
        kept = int(fringes.weights[k, 0].sum())
        assert kept == min(len(whole), 24)
        ours = fringes.values[k, :kept, :kept]
        first = np.argmin(
            [
                np.abs(whole[r : r + kept, c : c + kept] - ours).max()
                for r, c in np.ndindex(*(len(whole) - kept + 1,) * 2)
            ]
        )
        r, c = np.divmod(first, len(whole) - kept + 1)
        assert ours == pytest.approx(whole[r : r + kept, c : c + kept], abs=1e-4)
        assert fringes.energy[k] == pytest.approx(np.sum(np.abs(ours) ** 2))
        # The window lies around the brightest place, whose samples it must hold.
        energy = scipy.ndimage.gaussian_filter(np.abs(whole) ** 2, 1.0)
        assert np.abs(ours).max() > 0.5 * np.sqrt(energy.max())


def test_beside_an_axis_the_smooth_part_stays_away(diffractogram):
    fringes = sample_fringes(diffractogram, candidates().take(np.array([1])), windowed=False)
    block = read_block(diffractogram.spectrum, SHAPE[1], start=(-66, -3), shape=(13, 13))
    plain = np.fft.ifft2(np.fft.ifftshift(block)) * 2 * 13**2 / np.prod(SHAPE)
    assert fringes.values[0, :13, :13] == pytest.approx(plain, abs=1e-4)


def test_the_band_takes_a_wave_to_its_samples(diffractogram):
    fringes = sample_fringes(diffractogram, candidates(), windowed=False)
    for k, side in enumerate(fringes.side):
        for axis, n in enumerate(SHAPE):
            # A wave of a bin of the block that fills the frame: full at all samples, but for the ends of the fine grid.
            wave = np.exp(2j * np.pi * 2 / n * fringes.x[k, axis])
            sampled = fringes.band[k, axis] @ wave
            kept = min(int(side), 24)
            assert (sampled[kept:] == 0).all()
            assert np.abs(sampled[4 : kept - 4]) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("most_bins", [2**19, 1])
def test_many_fringes_are_those_of_one_by_one(diffractogram, most_bins, monkeypatch):
    monkeypatch.setattr(fringes_module, "_MOST_BINS", most_bins)
    together = sample_fringes(diffractogram, candidates(), windowed=False)
    for k in range(len(PLACES)):
        alone = sample_fringes(diffractogram, candidates().take(np.array([k])), windowed=False)
        for name in ("values", "weights", "x", "band", "energy", "noise", "bin_noise", "centre", "starts"):
            scale = float(np.abs(getattr(alone, name)).max())
            assert getattr(together, name)[k] == pytest.approx(getattr(alone, name)[0], abs=2e-5 * scale)
