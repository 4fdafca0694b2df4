"""What every pane needs to read a question and give an answer: JSON, pixels, errors in one sentence."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.responses import JSONResponse, Response

from fringemap.errors import FringemapError, ReadError, SettingsError
from fringemap.gui.security import BodyTooLargeError
from fringemap.report.run import to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from fringemap.gui.session import Session
    from fringemap.records import Image

_STEPS = 65535


def session_of(request: Request) -> Session:
    """Give the session that the server keeps."""
    session: Session = request.app.state.session
    return session


def answer(value: Any, status: int = 200) -> Response:
    """Answer with JSON; a number that is not finite becomes null."""
    body = json.dumps(to_plain(value), ensure_ascii=False, allow_nan=False)
    return Response(body.encode(), status, media_type="application/json", headers={"cache-control": "no-store"})


def answer_pixels(image: Image, about: Mapping[str, Any], *, limits: tuple[float, float] | None = None) -> Response:
    """Answer with an image in 16 bits between its extremes, or these limits, after a header in JSON.

    The layout is: length of the header (uint32), header, padding to an even place, pixels (uint16); all little-endian.
    The header gains ``rows``, ``cols``, ``low`` and ``high``: a pixel p stands for ``low + p (high - low) / 65535``.
    """
    low, high = limits or ((float(image.min()), float(image.max())) if image.size else (0.0, 0.0))
    gain = _STEPS / (high - low) if high > low else 0.0
    steps = ((image - np.float32(low)) * np.float32(gain) + np.float32(0.5)).astype("<u2")
    rows, cols = image.shape
    header = json.dumps(to_plain({**about, "rows": rows, "cols": cols, "low": low, "high": high})).encode()
    header += b" " * (len(header) % 2)
    body = struct.pack("<I", len(header)) + header + steps.tobytes()
    return Response(body, media_type="application/octet-stream", headers={"cache-control": "no-store"})


async def body_of(request: Request) -> dict[str, Any]:
    """Read the JSON object in the body of a question.

    Raises
    ------
    SettingsError
        It is none.
    """
    try:
        value = json.loads(await request.body())
    except ValueError as error:
        raise SettingsError("the question is no JSON") from error
    if not isinstance(value, dict):
        raise SettingsError("the question is no JSON object")
    return value


def number(request: Request, name: str, default: float | None = None) -> float:
    """Read a finite number of the query.

    Raises
    ------
    SettingsError
        It is missing or none.
    """
    text = request.query_params.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = None
    if value is None or not np.isfinite(value):
        raise SettingsError(f"{name} = {text!r} is no number")
    return value


def whole(request: Request, name: str, default: int | None = None) -> int:
    """Read a whole number of the query.

    Raises
    ------
    SettingsError
        It is missing or none.
    """
    value = number(request, name, default)
    if value != int(value):
        raise SettingsError(f"{name} = {value} is no whole number")
    return int(value)


def given_number(asked: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """Read a finite number of a body.

    Raises
    ------
    SettingsError
        It is missing or none.
    """
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise SettingsError(f"{name} = {value!r} is no number")
    return value


async def tell_error(_request: Request, error: Exception) -> Response:
    """Turn an error of ours into its sentence."""
    status = 404 if isinstance(error, ReadError) else 422
    return JSONResponse({"error": str(error), "kind": type(error).__name__}, status)


async def tell_fault(_request: Request, error: Exception) -> Response:
    """Own up to a fault, without a trace of this machine."""
    said = f"a fault in fringemap ({type(error).__name__}: {error}); please report it"
    return JSONResponse({"error": said, "kind": "fault"}, 500)


async def tell_too_large(_request: Request, error: Exception) -> Response:
    """Refuse a body that went on beyond what was allowed."""
    return JSONResponse({"error": str(error)}, 413, headers={"connection": "close"})


HANDLERS: dict[Any, Any] = {FringemapError: tell_error, BodyTooLargeError: tell_too_large, Exception: tell_fault}
