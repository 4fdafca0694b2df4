"""Events and drift of a series in words and in the units of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.records import EventKind
from fringemap.report.style import style_for
from fringemap.report.words import NM, count, format_error, format_formula, format_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fringemap.records import Event, Series
    from fringemap.report.style import PhaseStyle

_KINDS = {
    EventKind.ONSET: "appears",
    EventKind.END: "disappears",
    EventKind.CHANGE: "changes its course",
    EventKind.DECAY: "decays",
}


def event_entries(series: Series, styles: Mapping[str, PhaseStyle]) -> list[dict[str, Any]]:
    """Make the rows of the table of events."""
    return [
        {
            "text": format_formula(event.phase),
            "colour": style_for(styles, event.phase).colour,
            "plane": event.plane if event.plane and any(event.plane) else None,
            "kind": _KINDS[event.kind],
            "frame": series.frames[event.frame].index,
            "time": format_number(series.frames[event.frame].time_s, 2),
            "between": _interval(series, event),
            "value": f"{event.quantity}: {format_error(event.value, event.sigma)}" if event.quantity else "–",
        }
        for event in series.events
    ]


def _interval(series: Series, event: Event) -> str:
    """Write the interval in frames as the file numbers them."""
    first, last = (
        str(series.frames[i].index) if i < len(series) else "later" for i in (event.first_frame, event.last_frame)
    )
    return first if first == last else f"{first} to {last}"


def drift_in_words(series: Series) -> str:
    """Say how far the specimen drifted in all, as far as it could be followed."""
    shift = series.drift.shift_px
    followed = np.flatnonzero(np.isfinite(shift).all(axis=1))
    if len(followed) < 2:
        return "The drift could not be followed."
    last = int(followed[-1])
    pixel = NM * np.array(series.frames[last].scale.pixel_size_angstrom)
    y, x = (
        format_error(s, e, unit="nm")
        for s, e in zip(shift[last] * pixel, series.drift.sigma_px[last] * pixel, strict=True)
    )
    end = series.frames[last].index
    lost = count(len(series) - len(followed), "frame")
    unknown = f" The drift of {lost} is unknown." if len(followed) < len(series) else ""
    return f"From the first frame to frame {end} the specimen drifts by {x} to the right and {y} down.{unknown}"
