"""Series: how phases evolve over the frames, d against frames, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.routing import Route

from fringemap.errors import ReadError
from fringemap.gui.answers import answer, answer_pixels, session_of
from fringemap.report.series_words import drift_in_words, event_entries
from fringemap.report.style import style_for
from fringemap.report.words import format_formula

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from fringemap.gui.session import Session
    from fringemap.records import Evolution, Series
    from fringemap.report.style import PhaseStyle

_PPM = 1e6
_DECADES = 2.5


def show_series(request: Request) -> Response:
    """Tell how phases evolve; null where there are fewer than two results."""
    from fringemap.report.series_figures import phase_evolutions, series_axis  # draws too, and is slow to import

    found = _asked(request)
    if found is None:
        return answer(None)
    session, series, styles = found
    x, label = series_axis(series)
    events = event_entries(series, styles)
    return answer(
        {
            "x": x,
            "x_label": label,
            "frames": [frame.index for frame in series.frames],
            "evolutions": [_curve(e, styles) for e in phase_evolutions(series)],
            "events": [{**e, "position": event.frame} for e, event in zip(events, series.events, strict=True)],
            "drift": drift_in_words(series),
            "memory_bytes": session.frames.n_bytes,
        }
    )


def _asked(request: Request) -> tuple[Session, Series, Mapping[str, PhaseStyle]] | None:
    session, name = session_of(request), request.query_params.get("name", "")
    session.root.find(name)
    run = session.runs.latest(name)
    series = None if run is None else session.series_of(run)
    if run is None or series is None:
        return None
    return session, series, session.styles_of_phases(run, [e.phase for e in series.evolutions])


def _curve(evolution: Evolution, styles: Mapping[str, PhaseStyle]) -> dict[str, Any]:
    return {
        "phase": evolution.phase,
        "text": format_formula(evolution.phase),
        "colour": style_for(styles, evolution.phase).colour,
        "area_percent": 100.0 * evolution.area_fraction,
        "area_sigma_percent": 100.0 * evolution.area_sigma,
        "power_ppm": _PPM * evolution.fringe_power,
        "power_sigma_ppm": _PPM * evolution.fringe_power_sigma,
    }


def show_waterfall(request: Request) -> Response:
    """Give the picture of d against frames: a column a frame, |g| from top to bottom."""
    from fringemap.report.series_figures import waterfall

    found = _asked(request)
    if found is None:
        raise ReadError("there are fewer than two frames with results")
    g, rows = waterfall(found[1])
    held = np.flatnonzero(rows.max(axis=0, initial=0.0) > 0)
    first, last = (held[0], held[-1]) if len(held) else (0, len(g) - 1)
    first, last = max(int(0.85 * first), 1), min(int(1.08 * last) + 1, len(g) - 1)
    floor = max(10.0**-_DECADES * float(rows.max(initial=0.0)), 1e-12)
    picture = np.log10(np.maximum(rows[:, first : last + 1].T, floor)).astype(np.float32)
    return answer_pixels(picture, {"g_first_per_nm": g[first], "g_last_per_nm": g[last]})


ROUTES = [Route("/api/series", show_series), Route("/api/waterfall", show_waterfall)]
