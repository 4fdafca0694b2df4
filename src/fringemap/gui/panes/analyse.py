"""Analyse: the form of settings, the queue of runs, what they cost and how they end."""

from __future__ import annotations

import dataclasses
import time
import types
import typing
from typing import TYPE_CHECKING, Any, Literal

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from fringemap import settings as knobs
from fringemap.errors import SettingsError
from fringemap.gui.answers import answer, body_of, session_of
from fringemap.gui.runs import OPEN
from fringemap.pipeline import load_phases
from fringemap.report.run import to_plain

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fringemap.gui.runs import Run
    from fringemap.gui.session import Session

OFTEN = ("elements", "phases", "sensitivity", "match", "map", "frames", "frame_time_s", "d_min_angstrom")
"""Settings that stand at the top of the form, in this order."""
_LABELS = {
    "false_spots": "False spots a frame",
    "d_min_angstrom": "Smallest d",
    "d_max_angstrom": "Largest d",
    "match": "Match spots by",
    "map": "Map by",
    "min_grain_nm": "Smallest grain",
}
"""Where the name of the setting alone says too little."""
NOT_HERE = ("pixel_size_nm", "scale_sigma_percent", "figures", "pdf", "video", "dpi", "spectrum", "fps")
"""Settings that the page asks for elsewhere: the pixel size in its bar, pictures when they are exported."""


def show_form(request: Request) -> Response:
    """List the settings with label, kind, unit, range and help, and the values used last."""
    used = session_of(request).settings
    sections = {f.name: getattr(knobs, str(f.type)) for f in dataclasses.fields(knobs.AnalysisSettings)}
    fields = [_field(s, f, room, used) for s, room in sections.items() for f in dataclasses.fields(room)]
    shown = [f for f in fields if f["name"] not in NOT_HERE]
    shown.sort(key=lambda f: OFTEN.index(f["name"]) if f["name"] in OFTEN else len(OFTEN))
    return answer(shown)


def _field(section: str, f: dataclasses.Field[Any], room: type, used: dict[str, dict[str, Any]]) -> dict[str, Any]:
    kind, choices = _kind(typing.get_type_hints(room)[f.name])
    return {
        "section": section,
        "name": f.name,
        "label": _label(f.name),
        "kind": kind,
        "choices": choices,
        "often": f.name in OFTEN,
        "default": f.default,
        "value": used.get(section, {}).get(f.name, f.default),
        "flag": knobs.flag_of(f.name),
        **{key: f.metadata[key] for key in ("unit", "minimum", "maximum", "help")},
    }


def _kind(hint: Any) -> tuple[str, list[str]]:
    if typing.get_origin(hint) is Literal:
        return "choice", list(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "list", []
    inner = [a for a in typing.get_args(hint) if a is not types.NoneType] or [hint]
    return {bool: "switch", int: "whole", float: "number", str: "text"}[inner[0]], []


def _label(name: str) -> str:
    words = knobs.flag_of(name)[2:].replace("-", " ")
    return _LABELS.get(name, words[0].upper() + words[1:])


async def add_runs(request: Request) -> Response:
    """Queue runs of one or more inputs with the settings of the form."""
    session, asked = session_of(request), await body_of(request)
    names = [str(name) for name in asked.get("names", [])]
    if not names:
        raise SettingsError("no input is chosen; open one, or tick some in the list")
    runs = await run_in_threadpool(_add, session, names, asked.get("settings", {}))
    return answer([_told(session, run) for run in runs])


def _add(session: Session, names: list[str], given: dict[str, dict[str, Any]]) -> list[Run]:
    """Check everything before anything is queued."""
    chosen = session.teaching.resolve(knobs.settings_from_mapping(given, origin="the form"))
    chosen = dataclasses.replace(chosen, report=dataclasses.replace(chosen.report, figures=False))
    load_phases(chosen)
    whole = [dataclasses.replace(chosen, read=_read_settings(session, name, chosen.read)) for name in names]
    session.settings = {section: dict(values) for section, values in given.items()}
    return [session.runs.add(name, to_plain(settings)) for name, settings in zip(names, whole, strict=True)]


def _read_settings(session: Session, name: str, chosen: knobs.ReadSettings) -> knobs.ReadSettings:
    session.root.find(name)
    given = session.read_settings(name)
    return dataclasses.replace(chosen, pixel_size_nm=given.pixel_size_nm, scale_sigma_percent=given.scale_sigma_percent)


def list_runs(request: Request) -> Response:
    """Tell how all runs stand."""
    session = session_of(request)
    return answer([_told(session, run) for run in session.runs.all()])


def _told(session: Session, run: Run) -> dict[str, Any]:
    told = {k: getattr(run, k) for k in ("run", "name", "status", "created", "done", "total", "messages", "summary")}
    # When a run ended that the end of the server stopped, nobody knows.
    end = time.time() if run.status in OPEN else run.ended
    seconds = None if run.started is None or end is None else end - run.started
    return {**told, "seconds": seconds, "left_s": _left(session, run, seconds), "version": session.version_of(run)}


def _left(session: Session, run: Run, seconds: float | None) -> float | None:
    """How long a run under way will take, from its own pace, or that of earlier ones."""
    if run.status != "running" or seconds is None:
        return None
    if run.done:
        return seconds / run.done * (run.total - run.done)
    ended = [r for r in session.runs.all() if r.status == "done" and r.started and r.ended]
    took = [float(r.ended or 0) - float(r.started or 0) for r in ended if r.total == run.total]
    return max(sum(took) / len(took) - seconds, 0.0) if took else None


async def change_run(request: Request) -> Response:
    """Cancel, retry (or resume) or remove a run."""
    session, asked = session_of(request), await body_of(request)
    runs, key = session.runs, str(asked.get("run", ""))
    actions = {"cancel": runs.cancel, "retry": runs.retry, "remove": runs.remove}
    action = actions.get(str(asked.get("action")))
    if action is None:
        raise SettingsError("a run can be cancelled, retried or removed")
    await run_in_threadpool(action, key)
    return answer([_told(session, run) for run in runs.all()])


ROUTES = [
    Route("/api/settings", show_form),
    Route("/api/runs", list_runs),
    Route("/api/runs", add_runs, methods=["POST"]),
    Route("/api/run", change_run, methods=["POST"]),
]
