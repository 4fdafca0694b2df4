"""Correct: add, move and remove spots, name them, undo and redo; and calibrate on a spot that is known."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from fringemap.batch.corrections import Correction
from fringemap.errors import SettingsError
from fringemap.gui.answers import answer, body_of, given_number, session_of
from fringemap.gui.frames import STAND_IN
from fringemap.gui.panes.files import describe_named
from fringemap.gui.session import GivenScale
from fringemap.phases import d_spacings, load_structure
from fringemap.report.words import NM, PER_NM, format_plane
from fringemap.spots.by_hand import measure_at

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fringemap.gui.session import Session

_NUMBERS = ("gx", "gy", "to_gx", "to_gy", "score")


async def correct(request: Request) -> Response:
    """Take one correction, or undo or redo one."""
    session, asked = session_of(request), await body_of(request)
    await run_in_threadpool(_correct, session, asked)
    return answer({"done": True})


def _correct(session: Session, asked: dict[str, Any]) -> None:
    name, frame, op = str(asked.get("name", "")), int(given_number(asked, "frame", 0)), asked.get("op")
    session.root.find(name)
    run = session.runs.latest(name)
    if run is None:
        raise SettingsError("there is nothing to correct before the first run")
    position = session.position_of(run, frame)
    if position is None:
        raise SettingsError(f"frame {frame} was left out of the run, so there is nothing to correct in it")
    if op == "undo":
        session.corrections.undo(run, position)
    elif op == "redo":
        session.corrections.redo(run, position)
    elif op in ("add", "move", "delete", "name", "threshold"):
        session.corrections.add(run, position, _correction(asked))
    else:
        raise SettingsError(f"{op!r} is no correction")


def _correction(asked: dict[str, Any]) -> Correction:
    known = {f.name for f in fields(Correction)}
    given = {key: asked[key] for key in known & asked.keys()}
    for key in _NUMBERS:
        given[key] = given_number(asked, key, 0.0)
    return Correction(**{**given, "phase": str(asked.get("phase", ""))})


async def calibrate(request: Request) -> Response:
    """Take a spot for a known plane: the pixel size follows."""
    session, asked = session_of(request), await body_of(request)
    return answer(await run_in_threadpool(_calibrate, session, asked))


def _calibrate(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    name, frame = str(asked.get("name", "")), int(given_number(asked, "frame", 0))
    gx, gy = given_number(asked, "gx"), given_number(asked, "gy")
    structure = load_structure(str(asked.get("phase", "")))
    hkl = _indices(asked.get("hkl"))
    reference = float(d_spacings(structure.cell, np.array([hkl]))[0])
    place = session.place(name, frame)
    diffractogram = session.frames.diffractogram(place)
    spot = measure_at(diffractogram, gx=gx / PER_NM, gy=gy / PER_NM)
    measured, sigma = float(spot.d_spacing[0]), float(spot.d_sigma[0])
    if not np.isfinite(sigma):
        raise SettingsError("no spot can be measured there; point at a sharp one")
    scale = session.frames.frame(place).scale or STAND_IN
    size = NM * float(np.mean(scale.pixel_size_angstrom)) * reference / measured
    standard = f"{structure.name} {format_plane(hkl)}"
    session.give_scale(name, GivenScale(size, max(100.0 * sigma / measured, 0.05), standard))
    return describe_named(session, name)


def _indices(text: Any) -> tuple[int, int, int]:
    try:
        h, k, l = (int(part) for part in str(text).replace(",", " ").split())  # noqa: E741 - as everyone calls them
    except ValueError as error:
        raise SettingsError(f"{text!r} is no plane; give three whole numbers, such as 1 1 1") from error
    if not any((h, k, l)):
        raise SettingsError("(000) is no plane")
    return h, k, l


ROUTES = [
    Route("/api/correct", correct, methods=["POST"]),
    Route("/api/calibrate", calibrate, methods=["POST"]),
]
