"""Microscope and camera: wavelength, aberrations, coherence, transfer.

Signs. The exit wave of a weak phase object is ``1 + i φ(r)``, where ``φ = σ V_projected`` is positive at atoms.
The lens multiplies the wave's Fourier coefficient at **g** by ``exp(-i χ(g))`` with::

    χ(g) = π λ C1 g² + π λ A g² cos 2(θ - θ_A) + ½ π Cs λ³ g⁴

``C1`` is the defocus, negative for underfocus, θ the argument of **g**. To first order the intensity has then the
coefficient ``2 φ_g sin χ(g)``; at Scherzer's (under)focus and positive Cs atoms are dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import constants

from fringemap.errors import SettingsError

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Microscope:
    """Lens and illumination of a transmission electron microscope."""

    voltage_kv: float = 300.0
    cs_mm: float = 1.2
    """Spherical aberration [mm]."""
    defocus_angstrom: float = -580.0
    """C1 [Å]; negative is underfocus."""
    focal_spread_angstrom: float = 35.0
    """Standard deviation of the focus during the exposure: voltage, lens current and energy width [Å]."""
    convergence_mrad: float = 0.2
    """Half-angle at which the illumination has fallen to 1/e [mrad]."""
    astigmatism_angstrom: float = 0.0
    """A [Å]: the defocus runs from C1 - A to C1 + A."""
    astigmatism_angle: float = 0.0
    """θ_A: argument of the direction whose defocus is C1 + A [rad]."""
    vibration_angstrom: float = 0.3
    """Standard deviation of the specimen's vibration along any direction [Å]."""

    def __post_init__(self) -> None:
        _require(self.voltage_kv > 0, f"the voltage is {self.voltage_kv} kV; it must be above 0")
        for name in ("focal_spread_angstrom", "convergence_mrad", "vibration_angstrom"):
            value = getattr(self, name)
            _require(value >= 0, f"{name} is {value}; it must not be negative")


@dataclass(frozen=True)
class Camera:
    """What the camera does to the electrons that reach it.

    Notes
    -----
    Signal and noise are transferred differently. ``modulation_transfer ** (1 - noise_share)`` acts on the intensity
    before electrons are counted (they scatter in the sensor), ``modulation_transfer ** noise_share`` on the counted
    image (light spreads). So the noise power of a pixel is ``electrons x MTF ** (2 noise_share)`` and the detective
    quantum efficiency ``MTF ** (2 - 2 noise_share)``: ``noise_share`` 0 is a counting camera with white noise, 1 an
    ideal scintillator.
    """

    mtf_nyquist: float = 0.4
    """Modulation transfer at the sampling limit, without the pixel's own sinc."""
    noise_share: float = 0.5
    counts_per_electron: float = 10.0
    read_noise_counts: float = 2.0
    """Standard deviation of one pixel's read-out [counts]."""

    def __post_init__(self) -> None:
        _require(0 < self.mtf_nyquist <= 1, f"mtf_nyquist is {self.mtf_nyquist}; it must be above 0 and at most 1")
        _require(0 <= self.noise_share <= 1, f"noise_share is {self.noise_share}; it must be from 0 to 1")
        _require(self.counts_per_electron > 0, f"counts_per_electron is {self.counts_per_electron}; it must be above 0")
        _require(self.read_noise_counts >= 0, f"read_noise_counts is {self.read_noise_counts}; it must not be negative")


def electron_wavelength(voltage_kv: float) -> float:
    """De Broglie wavelength of the electrons [Å], relativistic: h / sqrt(2 m e U (1 + e U / 2 m c²))."""
    energy = constants.e * voltage_kv * 1e3
    rest = constants.m_e * constants.c**2
    momentum = math.sqrt(2 * constants.m_e * energy * (1 + energy / (2 * rest)))
    return float(constants.h / momentum / constants.angstrom)


def relativistic_factor(voltage_kv: float) -> float:
    """Mass over rest mass, 1 + e U / m c²: what multiplies scattering factors tabulated for slow electrons."""
    return float(1 + constants.e * voltage_kv * 1e3 / (constants.m_e * constants.c**2))


def scherzer_defocus(voltage_kv: float, cs_mm: float) -> float:
    """Compute the extended Scherzer defocus, -sqrt(4/3 Cs λ) [Å]: the widest pass band, where χ stays above -2π/3.

    References
    ----------
    .. [1] O. Scherzer, J. Appl. Phys. 20 (1949) 20.
    """
    return -math.sqrt(4 / 3 * cs_mm * 1e7 * electron_wavelength(voltage_kv))


def aberration(microscope: Microscope, gx: Array, gy: Array) -> Array:
    """χ(g), the argument that the lens takes from a wave [rad], of the broadcast shape of ``gx`` and ``gy`` [1/Å]."""
    wavelength = electron_wavelength(microscope.voltage_kv)
    g2 = gx * gx + gy * gy
    cos_2a, sin_2a = _astigmatism(microscope)
    chi = g2 * (np.pi * wavelength * microscope.defocus_angstrom)
    if microscope.astigmatism_angstrom:
        chi += np.pi * wavelength * (cos_2a * (gx * gx - gy * gy) + 2 * sin_2a * gx * gy)
    chi += 0.5 * np.pi * microscope.cs_mm * 1e7 * wavelength**3 * g2 * g2
    return chi


def aberration_gradient(microscope: Microscope, gx: Array, gy: Array) -> tuple[Array, Array]:
    """∂χ/∂gx and ∂χ/∂gy [rad Å]; over 2π, how far the lens displaces the beam g in the image."""
    wavelength = electron_wavelength(microscope.voltage_kv)
    cos_2a, sin_2a = _astigmatism(microscope)
    turn = 2 * np.pi * wavelength
    radial = turn * (microscope.defocus_angstrom + microscope.cs_mm * 1e7 * wavelength**2 * (gx * gx + gy * gy))
    return radial * gx + turn * (cos_2a * gx + sin_2a * gy), radial * gy + turn * (sin_2a * gx - cos_2a * gy)


def coherence_envelope(microscope: Microscope, gx: Array, gy: Array) -> Array:
    """Damping of the linear image by focal spread and convergence, 0 to 1.

    Notes
    -----
    ``exp(-½ (π λ Δ g²)²) · exp(-(α / 2λ)² |∇χ|²)`` with the focal spread Δ (standard deviation) and the half-angle α
    at 1/e.

    References
    ----------
    .. [1] J. Frank, Optik 38 (1973) 519.
    .. [2] R. H. Wade, J. Frank, Optik 49 (1977) 81.
    """
    wavelength = electron_wavelength(microscope.voltage_kv)
    g2 = gx * gx + gy * gy
    exponent = -0.5 * (np.pi * wavelength * microscope.focal_spread_angstrom) ** 2 * g2 * g2
    if microscope.convergence_mrad:
        slope_x, slope_y = aberration_gradient(microscope, gx, gy)
        spread = microscope.convergence_mrad * 1e-3 / (2 * wavelength)
        exponent -= spread**2 * (slope_x * slope_x + slope_y * slope_y)
    envelope: Array = np.exp(exponent)
    return envelope


def motion_envelope(gx: Array, gy: Array, *, drift_angstrom: tuple[float, float], vibration_angstrom: float) -> Array:
    """Damping by a steady drift (along y, x) during the exposure and by vibration, -0.22 to 1."""
    drift_y, drift_x = drift_angstrom
    envelope: Array = np.exp(-2 * (np.pi * vibration_angstrom) ** 2 * (gx * gx + gy * gy))
    if drift_y or drift_x:
        envelope = envelope * np.sinc(gx * drift_x + gy * drift_y)
    return envelope


def modulation_transfer(camera: Camera, fx: Array, fy: Array) -> Array:
    """Transfer of the frequency (fx, fy) [1/px]: a Lorentzian through ``mtf_nyquist`` times the pixel's sinc."""
    fall = 4 * (1 / camera.mtf_nyquist - 1)
    transfer: Array = np.sinc(fx) * np.sinc(fy) / (1 + fall * (fx * fx + fy * fy))
    return transfer


def _astigmatism(microscope: Microscope) -> tuple[float, float]:
    angle = 2 * microscope.astigmatism_angle
    return microscope.astigmatism_angstrom * math.cos(angle), microscope.astigmatism_angstrom * math.sin(angle)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SettingsError(f"{message}.")
