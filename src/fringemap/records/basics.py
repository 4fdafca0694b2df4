"""Array types, flags and scale: what every other record is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping


FloatArray = NDArray[np.float64]
Array = NDArray[Any]
"""Inside a routine, where precision follows from the input."""
Image = NDArray[np.float32]
ComplexImage = NDArray[np.complex64]
Mask = NDArray[np.bool_]
IntArray = NDArray[np.int64]


class Flag(enum.IntFlag):
    """What is doubtful about a frame, spot, ring, match or map: the one registry; ``FLAG_MEANING`` says it in words."""

    NONE = 0
    # frames
    UNCALIBRATED = 1 << 0
    COARSE_SAMPLING = 1 << 1
    ANISOTROPIC_PIXELS = 1 << 2
    HOT_PIXELS = 1 << 3
    SATURATED = 1 << 4
    NOT_FINITE = 1 << 5
    # spots
    NOT_REFINED = 1 << 8
    HARMONIC = 1 << 9
    ON_STREAK = 1 << 10
    MERGED = 1 << 11
    FEW_PERIODS = 1 << 12
    NEAR_NYQUIST = 1 << 13
    SINGLE_PIXEL = 1 << 14
    ON_RING = 1 << 15
    SEVERAL_GRAINS = 1 << 26
    COMBINATION = 1 << 28
    UNCONFIRMED = 1 << 29
    # matches
    AMBIGUOUS = 1 << 16
    FORBIDDEN = 1 << 17
    SINGLE_SPOT = 1 << 18
    SCALE_SUSPECT = 1 << 19
    # maps
    NOTHING_SIGNIFICANT = 1 << 24
    OVERLAPS = 1 << 25
    # what a person did
    BY_HAND = 1 << 27


FLAG_MEANING: Mapping[Flag, str] = {
    Flag.UNCALIBRATED: "no trustworthy pixel size",
    Flag.COARSE_SAMPLING: "the pixels are too coarse to resolve any lattice",
    Flag.ANISOTROPIC_PIXELS: "the pixel size differs between rows and columns",
    Flag.HOT_PIXELS: "hot pixels were replaced by their neighbours",
    Flag.SATURATED: "many pixels sit at the largest value",
    Flag.NOT_FINITE: "pixels that were not finite were replaced",
    Flag.NOT_REFINED: "the fit did not converge; the position is the detector's",
    Flag.HARMONIC: "lies at a multiple of a stronger spot and may be its second-order image",
    Flag.ON_STREAK: "lies on the streak along an axis",
    Flag.MERGED: "touches another spot",
    Flag.FEW_PERIODS: "fewer than 7 fringe periods: lattice-like, hardly identifiable",
    Flag.NEAR_NYQUIST: "lies near the sampling limit",
    Flag.SINGLE_PIXEL: "a single bin of the diffractogram: may be a disturbance of the camera",
    Flag.ON_RING: "part of a ring",
    Flag.SEVERAL_GRAINS: "several grains of nearly the same lattice, or a bent one, share the spot",
    Flag.COMBINATION: "the sum or difference of two stronger spots: moiré or double diffraction may make it",
    Flag.UNCONFIRMED: "a network found it; to the law of noise it is nothing",
    Flag.AMBIGUOUS: "other phases explain it as well",
    Flag.FORBIDDEN: "extinct by symmetry; double diffraction can show it",
    Flag.SINGLE_SPOT: "rests on a single d-spacing",
    Flag.SCALE_SUSPECT: "fits only with another pixel size",
    Flag.NOTHING_SIGNIFICANT: "no region exceeds the noise",
    Flag.OVERLAPS: "overlaps another phase",
    Flag.BY_HAND: "added, moved or named by hand",
}


@lru_cache(maxsize=1024)
def flag_names(flags: int) -> str:
    """Names of the flags that are set, lower case, joined by a semicolon; empty if none."""
    return ";".join(name.lower() for name, flag in Flag.__members__.items() if flag and flags & flag)


class ScaleSource(enum.StrEnum):
    """Where a pixel size comes from."""

    NONE = "none"
    HEADER = "header"
    USER = "user"
    CALIBRATED = "calibrated"
    RATIOS = "ratios"
    """Nobody states one: the ratios and angles of the spots fit phases that the user named at this one."""


@dataclass(frozen=True)
class Scale:
    """Pixel size of a frame and how far it can be trusted."""

    pixel_size_angstrom: tuple[float, float]
    """Along rows (y) and columns (x) [Å/px]."""
    sigma: float
    """Relative standard error, common to all d-spacings of the frame (0.01 is 1 %)."""
    source: ScaleSource
    shear: float = 0.0
    """How far rows and columns are from a right angle: the true g is (gx + shear gy, gy + shear gx) of what the pixel
    sizes alone give. Spots, d-spacings, angles and the profile are corrected for it; images and maps are not."""
    probability: float = 1.0
    """That it is right at all, apart from its error: below 1 if ratios and angles gave it."""
