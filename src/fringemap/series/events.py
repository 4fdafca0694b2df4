"""When a phase comes and goes, how fast it decays, and where its course changes; each with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import Event, EventKind
from fringemap.series.changes import find_changes, fit_decay
from fringemap.series.evolution import steady_power

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Array, Evolution, FloatArray, FrameSummary, IntArray, Mask, Track
    from fringemap.series.changes import Change, Decay

_CREDIBLE = 0.68
_MOST_SEEN = 0.98
_LEAST_GAIN = 3.0
"""Presence must be this much more likely than absence (natural logarithm), after paying for the choice of its ends."""


@dataclass(frozen=True)
class Presence:
    """Frames in which something is there: from ``first`` on, up to but without ``end``."""

    first: int
    end: int
    first_range: tuple[int, int]
    """``first`` lies in this range (ends included) with 68 % probability or more."""
    end_range: tuple[int, int]
    evidence: float
    """Log likelihood over that of absence throughout."""
    first_evidence: float
    """Log likelihood over that of presence from the first frame on."""
    end_evidence: float
    """Log likelihood over that of presence to the last frame."""


def find_events(
    frames: Sequence[FrameSummary],
    tracks: Sequence[Track],
    evolutions: Sequence[Evolution],
    *,
    axis: FloatArray,
    unit: str,
    false_presence: float,
) -> tuple[Event, ...]:
    """Onset, end, decay and changes of each phase; onset and end also of each family of planes.

    Parameters
    ----------
    frames, tracks
        Of the series.
    evolutions
        From ``compute_evolutions``, without any phase that is not credible.
    axis
        Time of each frame [s], or its number; what a decay constant is measured in.
    unit
        Of ``axis``, for words.
    false_presence
        Share of frames in which something is named that is not there.

    Returns
    -------
    tuple of Event
        In the order of frames. What is there from the first frame on has no onset, what lasts has no end; nor where
        the frames without it are too few: an onset or end must exceed ln L without it by 3 and by the logarithm of the
        number of frames, among which its place was chosen. Decay and
        changes of the fringe power are those of the spots that are seen almost throughout.
    """
    events: list[Event] = []
    for evolution in evolutions:
        presence = find_presence(evolution.n_spots > 0, false_presence=false_presence)
        if presence is None:
            continue
        events += _comings_and_goings(evolution, presence)
        if evolution.plane is None:
            between = presence.first, presence.end
            steady = steady_power(evolution.phase, frames, tracks, between)
            events += _courses(evolution, presence, steady, axis, unit)
    return tuple(sorted(events, key=lambda event: event.frame))


def find_presence(seen: Mask, *, false_presence: float) -> Presence | None:
    """Find the frames between which something is there.

    Parameters
    ----------
    seen
        Whether it was seen, frame by frame.
    false_presence
        Probability p0 that a frame shows it falsely.

    Returns
    -------
    Presence or None
        None where the sightings are no more than chance brings.

    Notes
    -----
    Before the onset a and from the end b on, each frame shows it with the probability p0; between them with p1, whose
    most likely value is the share of sightings there. With n1 sightings among the b - a frames and n0 outside,

        ln L(a, b) = n1 ln p1 + (b - a - n1) ln(1 - p1) + n0 ln p0 + (n - b + a - n0) ln(1 - p0)

    is largest at the a and b given. It must exceed ln L without any presence by 3, and by the logarithm of the number
    of pairs (a, b), among which the best was chosen. Given b and p1, exp(ln L) over a is the probability of each
    onset; its shortest interval of 68 % is the range. The same for b.
    """
    n = len(seen)
    hits = np.flatnonzero(seen)
    if not len(hits):
        return None
    total = np.concatenate([[0], np.cumsum(seen)])
    best, first, end = -math.inf, 0, 0
    for a in hits.tolist():
        # An interval that does not begin and end with a sighting is never the most likely one.
        ends = hits[hits >= a] + 1
        value = _log_likelihood(total[ends] - total[a], ends - a, total[-1], n, false_presence)
        k = int(np.argmax(value))
        if value[k] > best:
            best, first, end = float(value[k]), a, int(ends[k])
    absent = total[-1] * math.log(false_presence) + (n - total[-1]) * math.log1p(-false_presence)
    gain = best - absent
    if gain < _LEAST_GAIN + math.log(n * (n + 1) / 2):
        return None
    p1 = _share(total[end] - total[first], np.array(end - first), false_presence)
    starts, ends = np.arange(end), np.arange(first + 1, n + 1)
    by_start = _log_likelihood(total[end] - total[starts], end - starts, total[-1], n, false_presence, p1)
    by_end = _log_likelihood(total[ends] - total[first], ends - first, total[-1], n, false_presence, p1)
    return Presence(
        first,
        end,
        _interval(by_start, 0),
        _interval(by_end, first + 1),
        float(gain),
        float(by_start[first] - by_start[0]),
        float(by_end[end - first - 1] - by_end[-1]),
    )


def _share(hits: Array, frames: Array, false_presence: float) -> Array:
    share: Array = np.clip(hits / frames, min(2.0 * false_presence, 0.5), _MOST_SEEN)
    return share


def _log_likelihood(
    hits: Array, frames: Array, all_hits: int, n: int, p0: float, p1: Array | None = None
) -> FloatArray:
    p1 = _share(hits, frames, p0) if p1 is None else p1
    inside = hits * np.log(p1) + (frames - hits) * np.log1p(-p1)
    outside = (all_hits - hits) * math.log(p0) + (n - frames - all_hits + hits) * math.log1p(-p0)
    total: FloatArray = inside + outside
    return total


def _interval(log_likelihood: FloatArray, offset: int) -> tuple[int, int]:
    """Shortest run of places that holds 68 % of the probability."""
    probability = np.exp(log_likelihood - log_likelihood.max())
    probability /= probability.sum()
    low = high = int(np.argmax(probability))
    held = probability[low]
    while held < _CREDIBLE:
        left = probability[low - 1] if low > 0 else -1.0
        right = probability[high + 1] if high + 1 < len(probability) else -1.0
        if left >= right:
            low, held = low - 1, held + left
        else:
            high, held = high + 1, held + right
    return low + offset, high + offset


def _comings_and_goings(evolution: Evolution, presence: Presence) -> list[Event]:
    """Onset and end, where they are credible: one frame without it at either end of a series is neither."""
    least, found = _LEAST_GAIN + math.log(len(evolution.n_spots)), []
    for kind, frame, (low, high), evidence in (
        (EventKind.ONSET, presence.first, presence.first_range, presence.first_evidence),
        (EventKind.END, presence.end, presence.end_range, presence.end_evidence),
    ):
        if evidence > least:
            found.append(Event(kind, evolution.phase, evolution.plane, frame, low, high, evidence))
    return found


def _courses(
    evolution: Evolution,
    presence: Presence,
    steady: tuple[FloatArray, FloatArray],
    axis: FloatArray,
    unit: str,
) -> list[Event]:
    """Decay of fringe power and area, and changes of the course of the fringe power."""
    phase = evolution.phase
    inside = np.zeros(len(axis), dtype=bool)
    inside[presence.first : presence.end] = True
    events: list[Event] = []
    for name, values, sigma in (
        ("fringe power", *steady),
        ("area", evolution.area_fraction, evolution.area_sigma),
    ):
        rows = np.flatnonzero(inside & np.isfinite(values) & np.isfinite(sigma) & (sigma > 0))
        curve = axis[rows], values[rows], sigma[rows]
        decay = fit_decay(*curve)
        if decay is not None:
            events.append(_decay_event(phase, decay, rows, f"decay constant of {name} ({unit})"))
        if name == "fringe power":
            events += [_change_event(phase, change, rows, unit) for change in find_changes(*curve)]
    return events


def _decay_event(phase: str, decay: Decay, rows: IntArray, quantity: str) -> Event:
    first, last = int(rows[0]), int(rows[-1])
    return Event(
        EventKind.DECAY, phase, None, first, first, last, decay.evidence, quantity, decay.constant, decay.sigma
    )


def _change_event(phase: str, change: Change, rows: IntArray, unit: str) -> Event:
    frame, first, last = (int(rows[i]) for i in (change.index, change.first, change.last))
    quantity = "step of ln(fringe power)" if change.is_step else f"change of rate of ln(fringe power) (1/{unit})"
    return Event(
        EventKind.CHANGE, phase, None, frame, first, last, change.evidence, quantity, change.value, change.sigma
    )
