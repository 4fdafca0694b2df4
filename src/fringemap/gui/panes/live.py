"""Live: a folder that is watched, its frames, curves and calls."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from fringemap.batch.watch import LIVE_NAME
from fringemap.errors import ReadError, SettingsError
from fringemap.gui.answers import answer, body_of, session_of, whole
from fringemap.report.run import to_plain
from fringemap.settings import settings_from_mapping

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from fringemap.gui.session import Session

_MOST_RULES = 50


def show_live(request: Request) -> Response:
    """Tell what came in, with the lines of frames from a number on; null where nothing is watched."""
    return answer(session_of(request).watching.describe(whole(request, "after", 0)))


async def change(request: Request) -> Response:
    """Start or stop watching a folder."""
    session, asked = session_of(request), await body_of(request)
    await run_in_threadpool(_change, session, asked)
    return answer(session.watching.describe(0))


def _change(session: Session, asked: dict[str, Any]) -> None:
    action = asked.get("action")
    if action == "stop":
        session.watching.stop()
    elif action == "start":
        _start(session, asked)
    else:
        raise SettingsError("a watch can be started or stopped")


def _start(session: Session, asked: dict[str, Any]) -> None:
    name = str(asked.get("folder", ""))
    folder = session.root.find(name)
    if not folder.is_dir():
        raise SettingsError(f"{name} is no folder; choose the one that the frames are written to")
    given = asked.get("settings") or session.settings
    chosen = session.teaching.resolve(settings_from_mapping(given, origin="the form"))
    chosen = dataclasses.replace(chosen, report=dataclasses.replace(chosen.report, figures=False))
    rules = [str(rule).strip() for rule in asked.get("rules", []) if str(rule).strip()]
    if len(rules) > _MOST_RULES:
        raise SettingsError(f"{len(rules)} rules are too many; give {_MOST_RULES} at most")
    session.watching.start(folder, session.root.name_of(folder), to_plain(chosen), rules)


def download(request: Request) -> Response:
    """Pack the results of a watch that is over."""
    out = session_of(request).watching.out
    if out is None:
        raise ReadError("there are no results yet; they are written when the watch is stopped")
    headers = {"content-disposition": 'attachment; filename="live-results.zip"', "cache-control": "no-store"}
    return Response(_packed(out), media_type="application/zip", headers=headers)


def _packed(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.is_file() and not hidden and path.name != LIVE_NAME:
                archive.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()


ROUTES = [
    Route("/api/live", show_live),
    Route("/api/live", change, methods=["POST"]),
    Route("/api/live/results", download),
]
