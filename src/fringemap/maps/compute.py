"""Maps of all phases of one frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.maps.amplitude import map_amplitude
from fringemap.maps.geometry import resample
from fringemap.maps.otsu import map_otsu
from fringemap.records import Diffractogram, Flag, Match, PhaseMap, Spots

if TYPE_CHECKING:
    from fringemap.settings import MapSettings


def compute_maps(
    diffractogram: Diffractogram, spots: Spots, match: Match, *, settings: MapSettings, workers: int = 1
) -> tuple[PhaseMap, ...]:
    """Where each phase is in the frame.

    Parameters
    ----------
    diffractogram
        Half spectrum of the frame and its expected noise power.
    spots
        All spots of the frame; those of other phases are kept out of a phase's aperture as far as possible.
    match
        Which spots belong to which phase; phases without spots get no map.
    settings
        ``map`` chooses the method. "amplitude": fringe amplitude by baseband demodulation, region at a false-discovery
        rate, ended at half of the plateau. "otsu": the paper's masked inverse transform and Otsu's threshold.
    workers
        Threads that share the phases.

    Returns
    -------
    tuple of PhaseMap
        In the order of ``match.phases``, ``UNKNOWN`` included. All have the same grid. ``amplitude`` is the root of the
        sum of the spots' squared amplitudes, noise included. ``area_sigma`` knows the noise at the region's edges and
        the size of the map pixels, not grains that were not seen; NaN for "otsu".
        ``Flag.NOTHING_SIGNIFICANT`` marks an empty region, ``Flag.OVERLAPS`` one that shares more with another
        phase's than false discoveries explain.

    Raises
    ------
    SettingsError
        If the resolution asked for does not suit the frame.

    Notes
    -----
    ``intensity`` is counted over the noise that the aperture passes; it compares between frames only at one resolution,
    so a series should set ``settings.resolution_nm``.
    """
    if settings.map == "otsu":
        # Images of the frame's size: one phase after the other.
        maps = map_otsu(diffractogram, spots, match, settings=settings)
    else:
        maps = map_amplitude(diffractogram, spots, match, settings=settings, workers=workers)
    maps = _flag_overlaps(maps, settings.false_discovery_rate)
    if settings.full_size:
        return tuple(to_full_size(m, diffractogram) for m in maps)
    return maps


def _flag_overlaps(maps: tuple[PhaseMap, ...], false_share: float) -> tuple[PhaseMap, ...]:
    flags = [m.flags for m in maps]
    for i, first in enumerate(maps):
        for j, second in enumerate(maps[:i]):
            shared = np.count_nonzero(first.mask & second.mask)
            if shared > false_share * min(np.count_nonzero(first.mask), np.count_nonzero(second.mask)):
                flags[i] |= Flag.OVERLAPS
                flags[j] |= Flag.OVERLAPS
    return tuple(replace(m, flags=f) for m, f in zip(maps, flags, strict=True))


def to_full_size(phase_map: PhaseMap, diffractogram: Diffractogram) -> PhaseMap:
    """The same map on the frame's own pixels; pixel centres keep their place."""
    shape = diffractogram.frame_shape
    return replace(
        phase_map,
        amplitude=resample(phase_map.amplitude, shape),
        mask=resample(phase_map.mask.astype(np.float32), shape) >= 0.5,
        pixel_size_angstrom=diffractogram.scale.pixel_size_angstrom,
        origin_px=(0.0, 0.0),
    )
