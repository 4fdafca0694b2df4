"""Label: circles and brush strokes on a diffractogram, and proposals to confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from fringemap.gui import labels
from fringemap.gui.answers import answer, body_of, given_number, session_of, whole
from fringemap.gui.frames import STAND_IN

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fringemap.gui.frames import Place
    from fringemap.gui.session import Session
    from fringemap.records import Diffractogram


def show_labels(request: Request) -> Response:
    """Labels of a frame; null where it has none."""
    session, name, frame = session_of(request), request.query_params.get("name", ""), whole(request, "frame", 0)
    session.root.find(name)
    return answer(labels.load(session.teaching.labels, name, frame))


async def save_labels(request: Request) -> Response:
    """Keep the labels of a frame, or forget them."""
    session, asked = session_of(request), await body_of(request)
    await run_in_threadpool(_save, session, asked)
    return answer({"done": True})


def _save(session: Session, asked: dict[str, Any]) -> None:
    name, place = _place(session, asked)
    if asked.get("forget"):
        labels.forget(session.teaching.labels, name, place.frame)
    else:
        scale = session.frames.frame(place).scale or STAND_IN
        labels.save(session.teaching.labels, place, scale, name, asked)


async def snap(request: Request) -> Response:
    """Find the spot near a place."""
    session, asked = session_of(request), await body_of(request)
    gx, gy, reach = (given_number(asked, key) for key in ("gx", "gy", "reach"))
    diffractogram = await run_in_threadpool(_diffractogram, session, asked)
    return answer(await run_in_threadpool(labels.snap, diffractogram, gx=gx, gy=gy, reach=reach))


async def propose(request: Request) -> Response:
    """Let the model in use, or the classical detector where there is none, propose circles."""
    session, asked = session_of(request), await body_of(request)
    return answer(await run_in_threadpool(_propose, session, asked))


def _propose(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    model, words = labels.proposer(session)
    return {"by": words, "marks": labels.propose(_diffractogram(session, asked), model=model)}


def _diffractogram(session: Session, asked: dict[str, Any]) -> Diffractogram:
    place = _place(session, asked)[1]
    labels.pixel_size_nm(session.frames.frame(place).scale or STAND_IN)
    return session.frames.diffractogram(place)


def _place(session: Session, asked: dict[str, Any]) -> tuple[str, Place]:
    name = str(asked.get("name", ""))
    return name, session.place(name, int(given_number(asked, "frame", 0)))


ROUTES = [
    Route("/api/labels", show_labels),
    Route("/api/labels", save_labels, methods=["POST"]),
    Route("/api/labels/snap", snap, methods=["POST"]),
    Route("/api/labels/propose", propose, methods=["POST"]),
]
