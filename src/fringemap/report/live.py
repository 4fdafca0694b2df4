"""The page of a run that is under way: it loads itself anew, and shows the frames so far."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fringemap.report.atomic import write_text
from fringemap.report.lines import phases_in_words
from fringemap.report.style import assign_styles
from fringemap.report.templates import render
from fringemap.report.words import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fringemap.report.lines import FrameLine

_WIDTH, _HEIGHT = 1000, 240
_MOST_POINTS = 500
_LATEST = 20


def write_live_page(
    path: Path,
    lines: Sequence[FrameLine],
    messages: Sequence[str],
    *,
    title: str,
    refresh_s: int | None,
    series: Mapping[str, int] | None = None,
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        ``OUT/live.html``.
    lines
        All frames so far, in their order.
    messages
        What was called out, the latest last.
    refresh_s
        After how many seconds it loads itself anew; None once the run is over.
    series
        Folders beside the page with the tables of a series so far, and how many frames these hold.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    phases = list(dict.fromkeys(phase.phase for line in lines for phase in line.phases))
    styles = assign_styles(phases)
    values: dict[str, Any] = {
        "version": version("fringemap"),
        "title": title,
        "refresh_s": refresh_s,
        "headline": _headline(lines),
        "messages": list(reversed(messages)),
        "size": (_WIDTH, _HEIGHT),
        "curves": [
            {"phase": phase, "colour": styles[phase].colour, "points": _points(lines, phase)} for phase in phases
        ],
        "series": [_series_entry(path.parent / name, n) for name, n in (series or {}).items()],
        "latest": [_entry(line) for line in reversed(lines[-_LATEST:])],
    }
    write_text(path, render("live.html.j2", **values))


def _series_entry(folder: Path, n_frames: int) -> dict[str, Any]:
    figure = "figures/evolution.png"
    address = quote(folder.name)
    # With the number of frames in its address, a browser fetches the figure anew when it has changed.
    shown = f"{address}/{figure}?{n_frames}" if (folder / figure).exists() else None
    return {"name": folder.name, "n_frames": n_frames, "table": f"{address}/evolution.csv", "figure": shown}


def _headline(lines: Sequence[FrameLine]) -> str:
    if not lines:
        return "Waiting for the first frame."
    return f"{count(len(lines), 'frame').capitalize()} so far; {', '.join(phases_in_words(lines)) or 'no phase named'}."


def _points(lines: Sequence[FrameLine], phase: str) -> list[tuple[float, float]]:
    """Area of a phase over the frames, in pixels of the figure; frames without it are at zero."""
    step = max(-(-len(lines) // _MOST_POINTS), 1)
    shown = lines[::step]
    areas = [next((p.area_fraction for p in line.phases if p.phase == phase), 0.0) for line in shown]
    right = _WIDTH / max(len(shown) - 1, 1)
    return [(i * right, _HEIGHT * (1.0 - a)) for i, a in enumerate(areas) if math.isfinite(a)]


def _entry(line: FrameLine) -> dict[str, Any]:
    named = ", ".join(
        phase.phase + (f" {100 * phase.area_fraction:.1f} %" if math.isfinite(phase.area_fraction) else "")
        for phase in line.phases
    )
    return {"name": line.name, "spots": line.n_spots, "unknown": line.n_unknown_spots, "phases": named or "–"}
