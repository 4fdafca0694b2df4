"""Teach: train the model in use on with the labels, cards of all models, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from fringemap.errors import SettingsError
from fringemap.gui.answers import answer, body_of, given_number, session_of
from fringemap.training import registry

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fringemap.gui.session import Session

_MOST_DRAWN = 1000


def show_teaching(request: Request) -> Response:
    """Tell what is labelled, which models there are, and how a fine-tuning stands."""
    return answer(session_of(request).teaching.describe())


async def start(request: Request) -> Response:
    """Begin a fine-tuning."""
    session, asked = session_of(request), await body_of(request)
    await run_in_threadpool(_start, session, asked)
    return answer(await run_in_threadpool(session.teaching.describe))


def _start(session: Session, asked: dict[str, Any]) -> None:
    settings: dict[str, Any] = {}
    for key in ("epochs", "empty_frames"):
        if asked.get(key) is not None:
            settings[key] = int(given_number(asked, key))
    if asked.get("minutes") is not None:
        settings["minutes"] = given_number(asked, "minutes")
    drawn = None if asked.get("drawn") is None else int(given_number(asked, "drawn"))
    if drawn is not None and not 0 <= drawn <= _MOST_DRAWN:
        raise SettingsError(f"{drawn} drawn patterns are not allowed; give 0 to {_MOST_DRAWN}")
    session.teaching.start(settings, n_drawn=drawn)


async def change(request: Request) -> Response:
    """Cancel the fine-tuning; use, remove or add a model, or go back to the one before."""
    session, asked = session_of(request), await body_of(request)
    await run_in_threadpool(_change, session, str(asked.get("action")), str(asked.get("model", "")))
    return answer(await run_in_threadpool(session.teaching.describe))


def _change(session: Session, action: str, model: str) -> None:
    models = session.teaching.models
    if action == "cancel":
        session.teaching.cancel()
    elif action == "use":
        registry.choose(models, model)
    elif action == "back":
        registry.roll_back(models)
    elif action == "remove":
        registry.remove(models, model)
    elif action == "add":
        registry.choose(models, registry.adopt(models, session.root.find(model)))
    else:
        raise SettingsError(f"{action[:40]!r} cannot be done with a model")


ROUTES = [
    Route("/api/teach", show_teaching),
    Route("/api/teach", start, methods=["POST"]),
    Route("/api/teach/change", change, methods=["POST"]),
]
