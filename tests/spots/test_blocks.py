"""Bright blocks against a plain loop that looks at every one of them."""

from __future__ import annotations

import numpy as np
import pytest

from fringemap.settings import SpotSettings
from fringemap.spots.blocks import find_blocks, zone_of
from fringemap.spots.noise import threshold
from fringemap.spots.window import cut_window
from spectrum_frames import flat_diffractogram

SHAPE = (130, 110)
LEVELS = (1, 2, 4, 8)
FALSE_SPOTS = 0.5


def humps(rng):
    """Exponential noise with spots of several widths, one of them at the edge of the window."""
    rows, cols = np.fft.fftfreq(SHAPE[0], 1 / SHAPE[0])[:, None], np.arange(SHAPE[1] // 2 + 1)
    power = np.ones((SHAPE[0], SHAPE[1] // 2 + 1))
    for row, col, sigma, height in ((30, 20, 0.4, 60), (-20, 34, 2.0, 4), (10, 48, 5.0, 1.5), (-55, 2, 1.0, 20)):
        power += height * np.exp(-0.5 * ((rows - row) ** 2 + (cols - col) ** 2) / sigma**2)
    return (power * rng.exponential(size=power.shape)).astype(np.float32)


def find_plainly(window, laws):
    """Each level in turn, each block in turn; what is found is 1 from then on."""
    found, grid = np.zeros(window.whitened.shape, bool), window.whitened.astype(float)
    for law in laws:
        span, cell = (1, 1) if law.side == 1 else (2, law.side // 2)
        limits = [
            threshold(np.log(FALSE_SPOTS / law.n_tests), mean=m, shape=s)
            for m, s in zip(law.means, law.shapes, strict=True)
        ]
        bright = [
            (r, c)
            for r in range(grid.shape[0] - span + 1)
            for c in range(grid.shape[1] - span + 1)
            if grid[r : r + span, c : c + span].mean()
            > limits[zone_of(window, r * cell + (law.side - 1) / 2, c * cell + (law.side - 1) / 2)]
        ]
        for r, c in bright:
            found[r * cell : (r + span) * cell, c * cell : (c + span) * cell] = True
            grid[r : r + span, c : c + span] = 1.0
        if law.side > 1:
            rows, cols = (n // 2 for n in grid.shape)
            grid = grid[: 2 * rows, : 2 * cols].reshape(rows, 2, cols, 2).mean(axis=(1, 3))
    return found


@pytest.mark.parametrize("windowed", [False, True])
def test_the_blocks_are_those_that_a_plain_loop_finds(rng, windowed):
    diffractogram = flat_diffractogram(humps(rng), SHAPE)
    window = cut_window(diffractogram, SpotSettings(d_min_angstrom=0.9))
    found, laws = find_blocks(window, LEVELS, false_spots=FALSE_SPOTS, noise_shape=1.0, windowed=windowed)
    assert [law.side for law in laws] == list(LEVELS)
    assert found.any()
    assert (found == find_plainly(window, laws)).all()
