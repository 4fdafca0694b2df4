"""What becomes of each phase, and of each family of its planes, over the frames."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import UNKNOWN, Evolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fringemap.records import FloatArray, FrameSummary, IntArray, MapSummary, Mask, Track

Plane = tuple[int, int, int]
_PURE = 0.9
_THROUGHOUT = 0.9
_SHORT_SERIES = 5
_AREA_FIELDS = ("intensity", "intensity_sigma", "area_fraction", "area_sigma")


def compute_evolutions(
    frames: Sequence[FrameSummary], tracks: Sequence[Track], track_of: Sequence[IntArray]
) -> tuple[Evolution, ...]:
    """Sum up the spots of each phase and of each family of planes, frame by frame.

    Parameters
    ----------
    frames
        All frames of a series.
    tracks, track_of
        As ``gather_tracks`` and ``link_spots`` give them.

    Returns
    -------
    tuple of Evolution
        Each phase in the order of first sighting, followed by its families of planes, widest d first. Where none of
        its spots was seen, values are missing, and only ``n_spots`` is 0.

    Notes
    -----
    A spot counts for the phase of its track, also in frames where the spot alone had no name, or another; one that is
    seen in a single frame of five or more does not count. Area and
    intensity come from the map that holds all but a tenth of the phase's energy (snr²), and of whose energy all but a
    tenth is the phase's; a frame whose map mixes two phases has neither.
    """
    least = 1 if len(frames) < _SHORT_SERIES else 2
    counted = [track for track in tracks if track.phase != UNKNOWN and len(track) >= least]
    made = []
    for phase in dict.fromkeys(track.phase for track in counted):
        mine = [track for track in counted if track.phase == phase]
        made.append(_evolution(frames, mine, None, _maps_of(phase, frames, tracks, track_of)))
        families: dict[float, list[Track]] = defaultdict(list)
        for track in mine:
            families[track.d_reference_angstrom].append(track)
        made += [_evolution(frames, families[d], families[d][0].plane, None) for d in sorted(families, reverse=True)]
    return tuple(made)


def _evolution(
    frames: Sequence[FrameSummary],
    tracks: Sequence[Track],
    plane: Plane | None,
    maps: Sequence[MapSummary | None] | None,
) -> Evolution:
    members: list[list[tuple[int, float]]] = [[] for _ in frames]
    for track in tracks:
        for position, row in zip(track.frames.tolist(), track.spots.tolist(), strict=True):
            members[position].append((row, track.d_reference_angstrom))
    power = np.array([_fringe_power(frame, seen) for frame, seen in zip(frames, members, strict=True)]).reshape(-1, 2)
    d = np.array([_mean_d(frame, seen) for frame, seen in zip(frames, members, strict=True)]).reshape(-1, 4)
    if plane is None:
        d[:, :2] = np.nan
    found = maps or [None] * len(frames)
    area = {name: np.array([np.nan if m is None else getattr(m, name) for m in found]) for name in _AREA_FIELDS}
    return Evolution(
        phase=tracks[0].phase,
        plane=plane,
        n_spots=np.array([len(seen) for seen in members], dtype=np.int64),
        fringe_power=power[:, 0],
        fringe_power_sigma=power[:, 1],
        d_angstrom=d[:, 0],
        d_sigma_angstrom=d[:, 1],
        deviation_percent=d[:, 2],
        deviation_sigma_percent=d[:, 3],
        **area,
    )


def _fringe_power(frame: FrameSummary, seen: Sequence[tuple[int, float]]) -> tuple[float, float]:
    rows = [row for row, _ in seen]
    if not rows:
        return np.nan, np.nan
    return float(frame.fringe_power[rows].sum()), float(np.sqrt((frame.fringe_power_sigma[rows] ** 2).sum()))


def _mean_d(frame: FrameSummary, seen: Iterable[tuple[int, float]]) -> tuple[float, float, float, float]:
    """Weighted mean of d and of its deviation in percent, each with its standard error."""
    rows, reference = (np.array(column) for column in zip(*seen, strict=True)) if seen else (np.zeros(0), np.zeros(0))
    if not len(rows):
        return np.nan, np.nan, np.nan, np.nan
    rows = rows.astype(np.int64)
    d, sigma = frame.spots.d_spacing[rows], frame.spots.d_sigma[rows]
    known = np.isfinite(sigma) & (sigma > 0)
    if not known.any():
        return float(d.mean()), np.nan, float(100.0 * (d / reference - 1.0).mean()), np.nan
    d, sigma, reference = d[known], sigma[known], reference[known]
    return (*_weighted_mean(d, sigma), *_weighted_mean(100.0 * (d / reference - 1.0), 100.0 * sigma / reference))


def _weighted_mean(values: FloatArray, sigma: FloatArray) -> tuple[float, float]:
    weight = 1.0 / sigma**2
    return float((weight * values).sum() / weight.sum()), float(weight.sum() ** -0.5)


def _maps_of(
    phase: str, frames: Sequence[FrameSummary], tracks: Sequence[Track], track_of: Sequence[IntArray]
) -> list[MapSummary | None]:
    """In each frame the map that shows this phase and hardly any other; None where there is no such map."""
    phase_of = np.array([track.phase == phase for track in tracks], dtype=bool)
    found: list[MapSummary | None] = []
    for frame, numbers in zip(frames, track_of, strict=True):
        mine, energy = phase_of[numbers], frame.spots.snr**2
        fitting = [m for m in frame.maps if _shows(np.array(m.spots, dtype=np.int64), mine, energy)]
        found.append(fitting[0] if fitting else None)
    return found


def _shows(spots: IntArray, mine: Mask, energy: FloatArray) -> bool:
    """Say whether a map holds all but a tenth of a phase's energy, and all but a tenth of its energy is the phase's."""
    shared = float(energy[spots][mine[spots]].sum())
    return shared > _PURE * max(float(energy[spots].sum()), float(energy[mine].sum()))


def name_maps(frame: FrameSummary, numbers: IntArray, tracks: Sequence[Track]) -> tuple[str, ...]:
    """Name each map of a frame by the tracks of its spots: the phase with the most energy among them."""
    phases = [tracks[number].phase for number in numbers.tolist()]
    names = []
    for summary in frame.maps:
        energy: dict[str, float] = defaultdict(float)
        for row in summary.spots:
            energy[phases[row]] += float(frame.spots.snr[row]) ** 2
        names.append(max(energy, key=energy.__getitem__, default=summary.phase))
    return tuple(names)


def steady_power(
    phase: str, frames: Sequence[FrameSummary], tracks: Sequence[Track], between: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Fringe power of those spots of a phase that are seen almost throughout, and its standard error.

    A spot that crosses the limit of detection would look like a change of the phase.

    Parameters
    ----------
    phase, frames, tracks
        Whose spots.
    between
        First frame and end of the phase's presence.

    Returns
    -------
    tuple of arrays
        One value a frame; missing where one of these spots was not seen, and throughout if there are none.
    """
    first, end = between
    power, variance = np.full(len(frames), np.nan), np.full(len(frames), np.nan)
    steady = []
    for track in tracks:
        seen = np.count_nonzero((track.frames >= first) & (track.frames < end))
        if track.phase == phase and seen >= _THROUGHOUT * (end - first):
            steady.append(track)
    if steady:
        count = np.zeros(len(frames))
        power[:], variance[:] = 0.0, 0.0
        for track in steady:
            for position, row in zip(track.frames.tolist(), track.spots.tolist(), strict=True):
                power[position] += frames[position].fringe_power[row]
                variance[position] += frames[position].fringe_power_sigma[row] ** 2
                count[position] += 1
        power[count < len(steady)] = np.nan
    return power, np.sqrt(variance)
