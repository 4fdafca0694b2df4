"""Lattice waves of a grain: which reflections of its zone reach the image, and how strongly.

Kinematic scattering in the projected-potential, weak-phase approximation. A grain of thickness t gives the exit wave
the beams ``i φ_g S_g`` with ``φ_g = γ λ t F_g / Ω`` (structure factor F for slow electrons [Å], cell volume Ω,
relativistic γ), and ``S_g = sinc(s_g t)``, where the excitation error ``s_g = g·tilt - λ g² / 2`` holds the tilt and
the curvature of Ewald's sphere. Counted from the grain's middle, the image's coefficient at **g** is::

    c_g = φ_g [(S_g + S_-g) sin χ(g) + i (S_g - S_-g) cos χ(g)] x envelopes

which is ``2 φ_g sin χ`` for a thin grain on its axis. The fringe is ``2 Re(c_g exp(2πi g·r))``; its amplitude is
2 |c_g|.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fringemap.phases.lattice import cell_volume, zone_points
from fringemap.phases.reflections import Extinction, extinction, structure_factors, zone_pattern
from fringemap.simulate.optics import (
    Microscope,
    aberration,
    coherence_envelope,
    electron_wavelength,
    motion_envelope,
    relativistic_factor,
)

if TYPE_CHECKING:
    from fringemap.records import FloatArray, IntArray, Structure
    from fringemap.simulate.scene import Grain, Scene

ComplexArray = NDArray[np.complex128]

_SMALLEST_D = 0.3
"""Finest plane drawn [Å]; no microscope shows finer ones, and tables of scattering factors end near it."""


@dataclass(frozen=True)
class ZoneBeams:
    """Reflections of one zone, both of each Friedel pair; n rows, |g| rising."""

    hkl: IntArray
    gx: FloatArray
    """At rotation 0 [1/Å]; (n,)."""
    gy: FloatArray
    factor: ComplexArray
    """F / Ω: Fourier coefficient of the potential at exp(2πi g·r), in units of scattering length per volume [1/Å²]."""


@dataclass(frozen=True)
class Fringes:
    """Lattice waves of one grain, one of each Friedel pair; n rows."""

    gx: FloatArray
    gy: FloatArray
    hkl: IntArray
    coefficient: ComplexArray
    """c_g of the image over the incident intensity, before the camera, at the lattice's origin; (n,)."""
    beams: ComplexArray
    """Of the wave behind the lens, at +g and -g; (n, 2)."""


@functools.lru_cache(maxsize=512)
def compute_zone_beams(structure: Structure, zone_axis: tuple[int, int, int], d_min_angstrom: float) -> ZoneBeams:
    """All reflections of a zone down to ``d_min_angstrom`` that have a structure factor; none is an empty answer.

    Directions are those of ``phases.zone_pattern``: at rotation 0 its first reflection points along +x.
    """
    points = zone_points(structure.cell, zone_axis, d_min_angstrom)
    if not len(points) or np.all(extinction(structure, points) == Extinction.CENTRING):
        return ZoneBeams(np.zeros((0, 3), np.int64), np.zeros(0), np.zeros(0), np.zeros(0, np.complex128))
    pattern = zone_pattern(structure, zone_axis, d_min_angstrom=d_min_angstrom)
    hkl, g = pattern.hkl[~pattern.extinct], pattern.g[~pattern.extinct]
    # The potential's coefficient at exp(+2πi g·r) is that of -g in the convention of structure factors.
    factor = structure_factors(structure, hkl).conj() / cell_volume(structure.cell)
    return ZoneBeams(hkl, g[:, 0], g[:, 1], factor)


def compute_fringes(grain: Grain, scene: Scene) -> Fringes:
    """Compute the fringes of a grain that the frame's sampling can show.

    Reflections beyond Nyquist are left out: the camera's aliasing is not drawn.
    """
    pixel_y, pixel_x = scene.pixel_size_angstrom
    g_max = math.hypot(0.5 / pixel_y, 0.5 / pixel_x)
    microscope = replace(scene.microscope, defocus_angstrom=scene.microscope.defocus_angstrom + grain.height_angstrom)
    d_min = max(1 / min(g_max, information_limit(microscope)), _SMALLEST_D)
    beams = compute_zone_beams(grain.structure, grain.zone_axis, d_min)
    cos_r, sin_r = math.cos(grain.rotation), math.sin(grain.rotation)
    gx, gy = beams.gx * cos_r - beams.gy * sin_r, beams.gx * sin_r + beams.gy * cos_r
    listed = is_listed(gx, gy) & is_sampled(gx, gy, scene)
    gx, gy = gx[listed], gy[listed]
    waves = _lens_waves(grain, microscope, gx, gy, beams.factor[listed])
    waves *= motion_envelope(
        gx, gy, drift_angstrom=scene.drift_angstrom, vibration_angstrom=microscope.vibration_angstrom
    )[:, None]
    coefficient = waves[:, 0] + np.conj(waves[:, 1])
    weakening = min(1.0, grain.max_contrast / max(2 * np.abs(coefficient).sum(), 1e-30))
    return Fringes(gx, gy, beams.hkl[listed], coefficient * weakening, waves * weakening)


def is_listed(gx: FloatArray, gy: FloatArray) -> NDArray[np.bool_]:
    """Whether this one of a Friedel pair is listed: gx > 0, or gx = 0 and gy > 0 (to rounding)."""
    tiny = 1e-9
    return (gx > tiny) | ((np.abs(gx) <= tiny) & (gy > 0))


def is_sampled(gx: FloatArray, gy: FloatArray, scene: Scene) -> NDArray[np.bool_]:
    """Whether the frame's pixels are fine enough, on either axis."""
    pixel_y, pixel_x = scene.pixel_size_angstrom
    return (np.abs(gx) * pixel_x < 0.5) & (np.abs(gy) * pixel_y < 0.5)


def information_limit(microscope: Microscope, *, damping: float = 1e-3) -> float:
    """Largest |g| [1/Å] at which the focal spread and the vibration leave more than ``damping`` of the amplitude."""
    wavelength = electron_wavelength(microscope.voltage_kv)
    quartic = 0.5 * (np.pi * wavelength * microscope.focal_spread_angstrom) ** 2
    quadratic = 2 * (np.pi * microscope.vibration_angstrom) ** 2
    wanted = -math.log(damping)
    if quartic == 0:
        return math.sqrt(wanted / quadratic) if quadratic else math.inf
    return math.sqrt((math.sqrt(quadratic**2 + 4 * quartic * wanted) - quadratic) / (2 * quartic))


def _lens_waves(
    grain: Grain, microscope: Microscope, gx: FloatArray, gy: FloatArray, factor: ComplexArray
) -> ComplexArray:
    """Beams +g and -g behind the lens; (n, 2)."""
    wavelength = electron_wavelength(microscope.voltage_kv)
    scattering = relativistic_factor(microscope.voltage_kv) * wavelength * grain.thickness_angstrom * grain.strength
    leaning = gx * grain.tilt[1] + gy * grain.tilt[0]
    curvature = -wavelength * (gx**2 + gy**2) / 2
    shape = np.sinc(np.stack([curvature + leaning, curvature - leaning], axis=1) * grain.thickness_angstrom)
    lens = np.exp(-1j * aberration(microscope, gx, gy)) * coherence_envelope(microscope, gx, gy)
    pair = np.stack([factor, np.conj(factor)], axis=1)
    waves: ComplexArray = 1j * scattering * pair * shape * lens[:, None]
    return waves
