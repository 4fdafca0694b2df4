"""Phase maps from fringe amplitudes: demodulate, whiten by the local noise, combine, cut at the edges."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.maps.baseband import (
    REACH,
    Cut,
    Grid,
    fringe_power,
    make_cut,
    noise_power,
    radius_for,
    read_cut,
    under_aperture,
    weigh_cut,
)
from fringemap.maps.geometry import resample
from fringemap.maps.noise import local_noise
from fringemap.maps.region import find_region
from fringemap.maps.resolution import choose_grid, choose_resolution, distance_to_spots
from fringemap.records import (
    Array,
    ComplexImage,
    Diffractogram,
    Flag,
    FloatArray,
    Image,
    IntArray,
    Match,
    PhaseEvidence,
    PhaseMap,
    Spots,
)

if TYPE_CHECKING:
    from fringemap.settings import MapSettings

_SAME_BAND = 1.25
"""Spots whose |g| differ by less than this factor share one noise map."""
_BEYOND_REACH = 1.2 * REACH
"""Distance in aperture radii at which a spot is cut off."""
_LEAST_LEAK = 0.3
"""Leaks weaker than this share of the noise are left alone."""
_EDGE_SHARE = 0.05
"""Share of a fringe's power that its sharp edges send to spots nearby."""


@dataclass(frozen=True)
class NoiseBand:
    """Local noise of a band of |g|."""

    g_max: float
    relative: Image | None
    """Over its mean, on the maps' grid; None: taken as even."""


def map_amplitude(
    diffractogram: Diffractogram, spots: Spots, match: Match, *, settings: MapSettings, workers: int
) -> tuple[PhaseMap, ...]:
    """One map a phase; see ``compute_maps``."""
    named = [phase for phase in match.phases if len(phase.spots)]
    grid = choose_grid(diffractogram, settings)
    resolutions = [
        choose_resolution(diffractogram, spots, np.array(phase.spots), grid=grid, settings=settings) for phase in named
    ]
    members = np.array([i for phase in named for i in phase.spots], dtype=np.int64)
    bands = _noise_bands(diffractogram, spots, members, resolutions, grid)

    def draw(phase: PhaseEvidence, resolution: float) -> PhaseMap:
        return _map_phase(diffractogram, spots, phase, resolution, bands, grid, settings)

    with ThreadPoolExecutor(workers) as pool:
        return tuple(pool.map(draw, named, resolutions))


def _noise_bands(
    diffractogram: Diffractogram, spots: Spots, members: IntArray, resolutions: list[float], grid: Grid
) -> list[NoiseBand]:
    """Noise maps of the bands of |g| that hold spots, in rising order.

    Noise changes slowly over the frame: apertures of half the maps' radius are enough, and find room more easily.
    """
    if len(members) == 0:
        return []
    radius = 0.5 * radius_for(float(np.median(resolutions)))
    bands: list[NoiseBand] = []
    left = np.sort(spots.g[members])
    while len(left):
        g_max = float(left[0]) * _SAME_BAND
        inside = left <= g_max
        relative = local_noise(diffractogram, spots, g=float(left[inside].mean()), aperture_radius=radius, grid=grid)
        bands.append(NoiseBand(g_max, None if relative is None else resample(relative, grid.shape)))
        left = left[~inside]
    return bands


def _map_phase(
    diffractogram: Diffractogram,
    spots: Spots,
    phase: PhaseEvidence,
    resolution: float,
    bands: list[NoiseBand],
    grid: Grid,
    settings: MapSettings,
) -> PhaseMap:
    radius = radius_for(resolution)
    whitened = np.empty((len(phase.spots), *grid.shape), dtype=np.float32)
    energy = np.zeros(grid.shape, dtype=np.float32)
    intensity = variance = 0.0
    shares = shares_leaked(spots, phase.spots, radius)
    for t, i, share in zip(whitened, phase.spots, shares, strict=True):
        cut = make_cut(grid, (float(spots.gx[i]), float(spots.gy[i])), radius)
        block, background = read_cut(diffractogram, cut)
        power = fringe_power(weigh_cut(block, cut, grid), grid)
        energy += power
        noise = noise_power(background, cut, grid)
        np.multiply(power, np.float32(1.0 / noise), out=t)
        relative = next(band.relative for band in bands if spots.g[i] <= band.g_max)
        if relative is not None:
            t /= relative
        leaks = find_leaks(spots, i, share, radius=radius, noise=noise)
        if leaks:
            t /= 1.0 + leaked_power(diffractogram, leaks, power, grid) / np.float32(noise)
        excess, excess_variance = fringe_intensity(block, background, cut)
        intensity, variance = intensity + excess, variance + excess_variance
    region = find_region(whitened, resolution=resolution, grid=grid, false_discovery_rate=settings.false_discovery_rate)
    return PhaseMap(
        phase=phase.phase,
        amplitude=np.sqrt(energy),
        mask=region.mask,
        pixel_size_angstrom=grid.pixel_size,
        origin_px=grid.origin_px,
        resolution_angstrom=resolution,
        intensity=intensity,
        intensity_sigma=math.sqrt(variance),
        area_fraction=float(region.mask.mean()),
        area_sigma=region.area_sigma / grid.frame_area,
        spots=phase.spots,
        flags=Flag.NONE if region.mask.any() else Flag.NOTHING_SIGNIFICANT,
    )


@dataclass(frozen=True)
class Leak:
    """What a strong spot of another phase leaks through an aperture."""

    g: tuple[float, float]
    share: float
    """Of its fringe power."""
    aperture_radius: float
    """Of an aperture around the strong spot that leaves the weak one out [1/Å]."""


def shares_leaked(spots: Spots, members: tuple[int, ...], radius: float) -> FloatArray:
    """Share of its fringe power that each spot leaks through the apertures of a phase; (n members, n spots).

    A spot at a distance δ leaks the share exp(-2 ln 2 δ² / r²) of its power, at the place of its own grain. Those of
    the phase itself are left out.
    """
    own = list(members)
    distance = distance_to_spots(spots.gx[own, None], spots.gy[own, None], spots.gx, spots.gy)
    share = np.exp(-2.0 * math.log(2.0) * (distance / radius) ** 2)
    share[(distance > _BEYOND_REACH * radius) | (distance == 0.0)] = 0.0
    share[:, own] = 0.0
    return share


def find_leaks(spots: Spots, i: int, share: FloatArray, *, radius: float, noise: float) -> list[Leak]:
    """Spots that are felt through the aperture of spot ``i``, whose noise power is ``noise``, by what they leak."""
    felt = np.flatnonzero(share * np.nan_to_num(spots.amplitude) ** 2 > _LEAST_LEAK * noise)
    distance = distance_to_spots(float(spots.gx[i]), float(spots.gy[i]), spots.gx[felt], spots.gy[felt])
    return [
        Leak((float(spots.gx[n]), float(spots.gy[n])), float(share[n]), min(radius, float(d) / 3.0))
        for n, d in zip(felt, distance, strict=True)
    ]


def leaked_power(diffractogram: Diffractogram, leaks: list[Leak], power: Image, grid: Grid) -> Image:
    """Sum of what the spots leak, at each place [counts²], into a spot of this fringe power.

    A sharp edge of the spot's own grain is felt at the other spots as well; so much of their power is not theirs.
    """
    total = np.zeros(grid.shape, dtype=np.float32)
    for leak in leaks:
        cut = make_cut(grid, leak.g, leak.aperture_radius)
        weighted = weigh_cut(read_cut(diffractogram, cut)[0], cut, grid)
        theirs = fringe_power(weighted, grid) - np.float32(_EDGE_SHARE) * power
        total += np.float32(leak.share) * np.maximum(theirs, np.float32(0.0))
    return total


def fringe_intensity(block: ComplexImage, background: Array, cut: Cut) -> tuple[float, float]:
    """Fringe energy in an aperture over the noise's, minus one, and its variance; spectrum and noise read in the cut.

    By Parseval's theorem this is the mean over the frame of |b|² / noise - 1. A bin of power F² over a background B
    has the variance B² + 2 B (F² - B).
    """
    # In units of the noise that is passed: powers of a few 10^20, squared, are beyond single precision.
    unit = np.float32(1.0 / under_aperture(background, cut))
    noise = background * unit
    power = block.real**2
    power += block.imag**2
    power *= unit
    excess = under_aperture(power, cut) - 1.0
    power *= noise
    noise *= noise
    even = under_aperture(noise, cut, 4)
    return excess, max(2.0 * under_aperture(power, cut, 4) - even, even)
