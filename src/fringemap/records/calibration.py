"""What a known lattice says about the pixels of a camera."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """True pixel size and shear of frames like the one that showed a standard, and where they come from."""

    pixel_size_angstrom: tuple[float, float]
    """True, along rows (y) and columns (x) [Å/px]."""
    shear: float
    """As in ``Scale``."""
    sigma: float
    """Relative standard error of the pixel size."""
    stated_pixel_size_angstrom: tuple[float, float] | None
    """What the file, or the user, said before; None: nothing."""
    frame_shape: tuple[int, int]
    """Of the frame with the standard (rows, cols)."""
    standard: str
    """Name of the structure, or d of the ring."""
    method: str
    """How it was found: "grains" (d and angles), "spots" (d alone) or "rings"."""
    n_used: int
    """Spots or rings that lie on the standard."""
    n_found: int
    """Spots or rings that the frame has."""
    residual: float
    """Root mean square relative deviation of |g| of those used, after the correction, weighted by their errors."""
    distortion: tuple[float, float, float]
    """(s, e1, e2) against the stated size; see ``phases.distortion``. Without a stated size s is 0."""
    distortion_sigma: tuple[float, float, float]
    doubts: tuple[str, ...] = ()
    """Why it should not be trusted; empty: it can be."""
    source: str = ""
    """Name of the file with the standard."""
    source_sha256: str = ""
    date: str = ""
    """When the calibration was made, as 2026-01-31."""
    instrument: str = ""
    magnification: float | None = None
    high_tension_kv: float | None = None
