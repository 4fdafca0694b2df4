"""The ellipse of a ring, against rings that were drawn."""

import numpy as np
import pytest

from fringemap.records import Diffractogram, Scale, ScaleSource
from fringemap.spectrum import frequency_axes
from fringemap.spots import measure_ring

SHAPE = (512, 512)
SCALE = Scale((0.5, 0.5), 0.01, ScaleSource.USER)


def ring_diffractogram(rng, e1, e2, *, height=3.0, width=0.03):
    gy, gx = frequency_axes(SHAPE, SCALE)
    g = np.maximum(np.hypot(gy[:, None], gx), 1e-6)
    turn = np.arctan2(gy[:, None], gx)
    off = np.log(g / 0.3) - e1 * np.cos(2 * turn) - e2 * np.sin(2 * turn)
    power = g**-2.0 * (1 + height * np.exp(-0.5 * (off / width) ** 2)) * rng.exponential(1.0, g.shape)
    return Diffractogram(
        spectrum=np.zeros(g.shape, np.complex64),
        power=power.astype(np.float32),
        background=np.ones(g.shape, np.float32),
        noise_shape=1.0,
        frame_shape=SHAPE,
        scale=SCALE,
    )


@pytest.mark.parametrize(("e1", "e2"), [(0.0, 0.0), (0.02, -0.01), (-0.015, 0.03)])
def test_radius_and_ellipse_are_found_within_their_errors(rng, e1, e2):
    diffractogram = ring_diffractogram(rng, e1, e2)
    found = measure_ring(diffractogram, g=0.3, width=0.02, mask=np.zeros(diffractogram.power.shape, bool))
    error = np.sqrt(np.diag(found.covariance))
    assert np.all(error < 0.012)
    assert np.all(np.abs(np.array(found[:3]) - (np.log(0.3), e1, e2)) < 4 * error)


def test_spots_on_the_ring_are_left_out(rng):
    diffractogram = ring_diffractogram(rng, 0.0, 0.0)
    mask = np.zeros(diffractogram.power.shape, bool)
    mask[70:84, :20] = True
    diffractogram.power[mask] = 1e6
    found = measure_ring(diffractogram, g=0.3, width=0.02, mask=mask)
    assert found.log_g == pytest.approx(np.log(0.3), abs=0.004)
