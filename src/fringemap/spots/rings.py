"""Rings and wide arcs: turbostratic carbon, fine polycrystals.

A ring is a crest of the azimuthal mean over a smooth course. Thon rings are crests as well; they are told by their
zeros, which follow each other at equal steps of g² (while the spherical aberration is small against the defocus).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from fringemap.records import Flag, Rings

if TYPE_CHECKING:
    from fringemap.records import Array, Mask, Profile, Spots
    from fringemap.settings import SpotSettings

# The smooth course at a radius is the chord between the radii this share below and above it.
_CHORD = 0.22
_LEAST_CONTRAST = 0.2
_LEAST_SIGNIFICANCE = 8.0
# A hump wider than this share of its radius is the transfer of the microscope, no ring.
_WIDEST = 0.45
# Share of a circle under spots from which its crest is theirs.
_MOST_COVERED = 0.15
_THON_ZEROS = 3
_THON_TOLERANCE = 0.15
# Depth of a zero of the transfer in the course of log power, at least.
_THON_DEPTH = 0.12


def find_rings(profile: Profile, spots: Spots, *, settings: SpotSettings) -> Rings:
    """Crests of the background of a diffractogram that are no Thon rings and not the skirts of spots.

    Parameters
    ----------
    profile
        Circular integration; its ``background`` is used, which spots hardly lift.
    spots
        What was detected in the same diffractogram.
    settings
        The limits of d.

    Returns
    -------
    Rings
        In rising order of g; no rows if there is none.
    """
    from scipy.signal import find_peaks  # a third of a second to load: with the first frame

    step = float(profile.g[1])
    positive = profile.background > 0
    course = np.log(np.where(positive, profile.background, profile.background[positive].min(initial=1.0)))
    course = scipy.ndimage.gaussian_filter1d(course, _smoothing(len(course)))
    rise = _above_chord(course)
    low = int(np.ceil(1 / settings.d_max_angstrom / step))
    high = min(int(1 / settings.d_min_angstrom / step), int(len(course) / (1 + _CHORD)))
    if high - low < 8 or _is_thon(_without_spots(profile)[:high]):
        return _rings(np.zeros(0, int), rise, profile, step)
    crests, _ = find_peaks(rise[:high], height=_LEAST_CONTRAST, prominence=_LEAST_CONTRAST)
    crests = crests[crests >= low]
    return _rings(crests[_covered_by_spots(crests, spots, step) < _MOST_COVERED], rise, profile, step)


def _covered_by_spots(crests: Array, spots: Spots, step: float) -> Array:
    """Share of each circle on which spots, or the lobes that the frame's edges give them, lift the background."""
    height = spots.snr**2 / (2.3 * np.maximum(spots.width / step, 1.0) ** 2) / _LEAST_CONTRAST
    # Lobes of a spot as sharp as the frame allows fall with the square of the distance, others more steeply.
    power = np.where(spots.width < 2 * step, 2.0, 3.0)
    reach = spots.width * np.maximum(height ** (1 / power) / np.pi, 1.5)
    radius = crests[:, None] * step
    half_chord = np.sqrt(np.maximum(reach**2 - (spots.g - radius) ** 2, 0.0))
    share: Array = np.sum(2 * half_chord / (np.pi * radius), axis=1)
    return share


def _above_chord(course: Array) -> Array:
    """Height of a curve over the chord between the points a share below and above."""
    ring = np.arange(len(course))
    below, above = (np.interp(ring * (1 + sign * _CHORD), ring, course) for sign in (-1, 1))
    rise: Array = course - (below + above) / 2
    return rise


def _without_spots(profile: Profile) -> Array:
    """Log of the circular mean, bridged where a ring holds spots; the background fills the zeros of fine Thon rings."""
    free = np.flatnonzero((profile.intensity > 0) & (profile.masked == 0))
    log = np.log(profile.intensity[free]) if len(free) else np.zeros(1)
    course: Array = np.interp(np.arange(len(profile.g)), free if len(free) else [0], log)
    return course


def _is_thon(course: Array) -> bool:
    """Whether real minima, deeper than the noise of their rings, follow each other at equal steps of g²."""
    from scipy.signal import find_peaks

    minima, found = find_peaks(-course, prominence=_THON_DEPTH)
    noise = 1.3 / np.sqrt(np.pi * np.maximum(minima, 1))
    minima = minima[found["prominences"] > 4 * noise].astype(float)
    if len(minima) < _THON_ZEROS:
        return False
    steps = np.diff(minima**2)
    pairs = np.stack([steps[:-1], steps[1:]])
    return bool((np.ptp(pairs, axis=0) < 2 * _THON_TOLERANCE * pairs.mean(axis=0)).any())


def _smoothing(n_rings: int) -> float:
    """Standard deviation of the kernel that smooths the course [rings]."""
    return max(1.0, 0.004 * n_rings)


def _rings(crests: Array, rise: Array, profile: Profile, step: float) -> Rings:
    from scipy.signal import peak_widths

    width, *_ = peak_widths(rise, crests, rel_height=0.5)
    # The mean of n exponential numbers has the relative error 1 / sqrt(n); a half ring of radius r holds pi r bins.
    noise = 1.0 / np.sqrt(np.pi * np.maximum(crests, 1) * np.maximum(width, 1))
    significance = rise[crests] / noise
    keep: Mask = (significance > _LEAST_SIGNIFICANCE) & (width < _WIDEST * crests)
    crests, width, noise = crests[keep], width[keep], noise[keep]
    return Rings(
        g=profile.g[crests],
        g_sigma=width * step * noise / np.maximum(rise[crests], 1e-9),
        width=width * step,
        contrast=np.expm1(rise[crests]),
        significance=significance[keep],
        flags=np.full(len(crests), int(Flag.NONE)),
    )
