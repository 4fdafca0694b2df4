"""Series made by hand: spots, names and maps of many frames without drawing one."""

from __future__ import annotations

import numpy as np

from fringemap.records import Candidate, FrameSummary, MapSummary, Scale, ScaleSource, Spots

SIGMA = 2e-4
"""Standard error of gx and gy [1/Å]."""


def make_spots(gx, gy, *, amplitude=None, sigma=SIGMA, snr=20.0) -> Spots:
    n = len(gx)
    amplitude = np.full(n, 10.0) if amplitude is None else np.asarray(amplitude, dtype=float)
    return Spots(
        gx=np.asarray(gx, dtype=float),
        gy=np.asarray(gy, dtype=float),
        covariance=np.tile(sigma**2 * np.eye(2), (n, 1, 1)),
        amplitude=amplitude,
        amplitude_sigma=np.full(n, 0.5),
        snr=np.full(n, snr),
        width=np.full(n, 0.01),
        score=np.full(n, 20.0),
        position=np.tile([100.0, 100.0], (n, 1)),
        extent=np.tile([50.0, 50.0], (n, 1)),
        flags=np.zeros(n, dtype=np.int64),
    )


def make_summary(index, spots, names=None, *, maps=(), time_s=None, power=None, image=None) -> FrameSummary:
    n = len(spots)
    names = (None,) * n if names is None else names
    power = np.full(n, 1e-4) if power is None else np.asarray(power, dtype=float)
    return FrameSummary(
        name=f"made_{index:04d}",
        index=index,
        time_s=time_s,
        frame_shape=(256, 256),
        scale=Scale((0.4, 0.4), 0.01, ScaleSource.USER),
        mean_counts=1000.0,
        spots=spots,
        names=tuple(named(*name) if isinstance(name, tuple) else name for name in names),
        fringe_power=power,
        fringe_power_sigma=0.02 * power,
        maps=tuple(maps),
        profile_g=np.linspace(0.0, 1.0, 50),
        profile=np.zeros(50),
        drift_image=np.zeros((0, 0), dtype=np.float32) if image is None else image,
        drift_pixel_px=(2.0, 2.0),
    )


def named(phase, d, hkl=(1, 1, 1), probability=0.99) -> Candidate:
    return Candidate(phase, hkl, d, 0.1, 0.1, probability)


def make_map(phase, spots, area=0.1) -> MapSummary:
    return MapSummary(phase, 50.0, 1.0, area, 0.002, tuple(spots))


def specimen(shape, shift=(0.0, 0.0), *, seed=0, noise=0.2, lattice=0.0):
    """Draw a smooth random specimen, moved by a part of a pixel, with a lattice that fills it and fresh noise.

    Waves are finer than 12 pixels only in the lattice; shift in pixels, along (rows, cols).
    """
    rng = np.random.default_rng(seed)
    rows, cols = shape
    ky, kx = rng.uniform(-1 / 13, 1 / 13, 400), rng.uniform(-1 / 13, 1 / 13, 400)
    phase = rng.uniform(0, 2 * np.pi, 400)
    y, x = np.arange(rows) - shift[0], np.arange(cols) - shift[1]
    down = np.exp(2j * np.pi * np.outer(y, ky)) * np.exp(1j * phase)
    smooth = (down @ np.exp(2j * np.pi * np.outer(kx, x))).real / np.sqrt(200)
    fringes = lattice * np.cos(2 * np.pi * (y[:, None] * 0.31 + x * 0.17))
    fresh = np.random.default_rng(abs(hash((seed, *shift))) % 2**32).standard_normal(shape)
    return (100 + smooth + fringes + noise * fresh).astype(np.float32)
