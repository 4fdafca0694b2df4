"""Small files with LiF along [001], quick to analyse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.io import write_mrc
from fringemap.settings import AnalysisSettings, PhaseSettings, ReportSettings
from fringemap.simulate import PlaneWave, plane_wave_frame

if TYPE_CHECKING:
    from pathlib import Path

    from fringemap.records import Frame

A_LIF = 4.027
PIXEL_ANGSTROM = 0.25
QUICK = AnalysisSettings(phases=PhaseSettings(phases=("LiF",), match="tolerance"), report=ReportSettings(figures=False))
"""Without figures, which take most of the time."""


def draw_lif(seed: int = 0, *, side: int = 256) -> Frame:
    g = 2.0 / A_LIF
    waves = [PlaneWave(gx, gy, 6.0) for gx, gy in ((g, 0.0), (0.0, g), (g, g), (g, -g))]
    pixel = (PIXEL_ANGSTROM, PIXEL_ANGSTROM)
    rng = np.random.default_rng(seed)
    return plane_wave_frame((side, side), pixel, waves, rng=rng, noise_sigma=20.0, mean_counts=500.0)[0]


def write_lif(path: Path, seed: int = 0) -> Path:
    return write_mrc(path, draw_lif(seed).image, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
