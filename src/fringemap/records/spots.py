"""What is found in a diffractogram: spots, rings, and the graph over |g|; and the truth of a drawn frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fringemap.records.basics import FloatArray, IntArray, Mask, Scale


@dataclass(frozen=True)
class Spots:
    """Spots of one diffractogram, one of each Friedel pair, n rows in falling order of score."""

    gx: FloatArray
    """Along columns, to the right [1/Å]; (n,)."""
    gy: FloatArray
    """Along rows, downward [1/Å]; (n,)."""
    covariance: FloatArray
    """Of (gx, gy), from the fit alone [1/Å²]; (n, 2, 2). NaN where not refined."""
    amplitude: FloatArray
    """Of the lattice fringe at its strongest, half peak to valley [counts]; (n,)."""
    amplitude_sigma: FloatArray
    snr: FloatArray
    """Power of the whole spot over the background's, as an amplitude: sqrt(2 excess energy / noise power of a bin)."""
    width: FloatArray
    """Full width at half maximum of the power [1/Å]; about 0.9 / grain diameter, never below that of the frame."""
    score: FloatArray
    """-log10 of the number of equally strong false spots expected in the frame: above 0 better than one a frame."""
    position: FloatArray
    """Centre of the fringe's region in the frame (row, col) [px]; (n, 2)."""
    extent: FloatArray
    """Standard deviation of that region along (row, col) [px]; (n, 2). An evenly filled frame has n / sqrt(12)."""
    flags: IntArray

    def __len__(self) -> int:
        return len(self.gx)

    # Worked out once: series ask for single rows of these thousands of times.
    @cached_property
    def g(self) -> FloatArray:
        """|g| [1/Å]."""
        return _constant(np.hypot(self.gx, self.gy))

    @cached_property
    def g_sigma(self) -> FloatArray:
        """Standard error of |g| from the fit [1/Å]."""
        return _constant(self._sigma_along(self.gx, self.gy))

    @cached_property
    def d_spacing(self) -> FloatArray:
        """1 / |g| [Å]."""
        return _constant(1.0 / self.g)

    @cached_property
    def d_sigma(self) -> FloatArray:
        """Standard error of the d-spacing from the fit alone [Å]."""
        return _constant(self.g_sigma / self.g**2)

    @cached_property
    def angle(self) -> FloatArray:
        """Argument of (gx, gy): 0 to the right, growing clockwise on the screen [rad]."""
        return _constant(np.arctan2(self.gy, self.gx))

    @cached_property
    def angle_sigma(self) -> FloatArray:
        """Standard error of the angle from the fit alone [rad]."""
        return _constant(self._sigma_along(-self.gy, self.gx) / self.g)

    def _sigma_along(self, x: FloatArray, y: FloatArray) -> FloatArray:
        u = np.stack([x, y], axis=-1) / np.maximum(np.hypot(x, y), 1e-300)[..., None]
        variance: FloatArray = np.einsum("ni,nij,nj->n", u, self.covariance, u)
        return np.sqrt(variance)


def _constant(array: FloatArray) -> FloatArray:
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Rings:
    """Rings and wide arcs of a diffractogram, n rows in rising order of g."""

    g: FloatArray
    """Radius of the crest [1/Å]; (n,)."""
    g_sigma: FloatArray
    width: FloatArray
    """Full width at half maximum [1/Å]."""
    contrast: FloatArray
    """Height of the crest over the smooth background, as a share of that background."""
    significance: FloatArray
    """Height of the crest in standard errors of the radial mean."""
    flags: IntArray

    def __len__(self) -> int:
        return len(self.g)


@dataclass(frozen=True)
class Profile:
    """Circular integration: the diffraction-like graph, n radii in rising order."""

    g: FloatArray
    """Radius [1/Å]; (n,)."""
    intensity: FloatArray
    """Azimuthal mean of the power [counts²]; (n,)."""
    background: FloatArray
    """Azimuthal mean of the background [counts²]; (n,)."""
    masked: FloatArray
    """Azimuthal mean of the whitened power inside detected spots, zero elsewhere: sharp peaks; (n,)."""
    peaks_g: FloatArray
    """Radii of the peaks of ``masked`` [1/Å]; (m,)."""
    peaks_height: FloatArray


@dataclass(frozen=True)
class Truth:
    """What a simulated frame really holds."""

    phases: tuple[str, ...]
    """Of each grain."""
    masks: Mask
    """Where each grain is; (n_grains, n_rows, n_cols)."""
    spots: TrueSpots
    scale: Scale
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrueSpots:
    """The spots of a simulated frame, n rows."""

    gx: FloatArray
    gy: FloatArray
    hkl: IntArray
    phase: tuple[str, ...]
    grain: IntArray
    """Row in ``Truth.masks``; -1 for moiré of two grains."""
    amplitude: FloatArray
    """Of the fringe [counts]."""
    width: FloatArray
    """Full width at half maximum of the power [1/Å]."""
    snr: FloatArray
    """As in ``Spots``."""

    def __len__(self) -> int:
        return len(self.gx)
