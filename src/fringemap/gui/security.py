"""The guard at the door: who may ask, how much may be sent, and what the page may do.

A page on this machine can be reached by every other page that the same browser shows. So a request must name this
machine as its host (a foreign name that resolves here would be another page's trick), must not come from another
origin, and must carry a header of ours to change anything, which other origins cannot send unasked.
"""

from __future__ import annotations

import hmac
import json
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADER = b"x-fringemap"
COOKIE = "fringemap_token"
LARGEST_QUESTION = 4 << 20
"""Bytes of any body but that of an upload: lists of paths and settings are small."""

_SAFE = ("GET", "HEAD")
_PAGE_RULES = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Lets through what comes from this page, and refuses the rest with one sentence.

    Parameters
    ----------
    app
        What is guarded.
    hosts
        Names by which this server may be called; their ports are free, since a tunnel may end on another port.
    token
        Secret that a browser must show once, as ``?token=`` or ``Authorization: Bearer``; None asks for none.
    largest_upload
        Bytes that a body at ``/api/upload`` may have.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], token: str | None, largest_upload: int) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token
        self._largest_upload = largest_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            # The page uses none; whoever opens one is no friend.
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif refusal:
            await _refuse(send, *refusal)
        else:
            limit = self._largest_upload if scope["path"] == "/api/upload" else LARGEST_QUESTION
            cookie = self._cookie(scope)
            await self._app(scope, _bounded(receive, limit), _with_rules(send, cookie))

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Status and reason, if the request is not to be answered."""
        host = headers.get(b"host", b"").decode("latin-1")
        if _name_of(host) not in self._hosts:
            return 421, "this server does not answer to that name; call it as it was printed when it was started"
        if not _same_origin(headers, host, scope):
            return 403, "another page asked; only the page that this server shows may"
        if not self._knows(scope, headers):
            return 401, "the token is missing; open the address that was printed when the server was started"
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            return self._refuse_change(scope, headers)
        return None

    def _refuse_change(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        if HEADER not in headers:
            return 403, "changes are taken from the page alone"
        limit = self._largest_upload if scope["path"] == "/api/upload" else LARGEST_QUESTION
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit():
            return 400, "the length of the body makes no sense"
        if int(declared) > limit:
            return 413, too_large(limit)
        return None

    def _knows(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        if self._token is None:
            return True
        jar = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
        bearer = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ")
        shown = [bearer, *parse_qs(scope["query_string"].decode("latin-1")).get("token", [])]
        shown += [jar[COOKIE].value] if COOKIE in jar else []
        return any(hmac.compare_digest(one.encode(), self._token.encode()) for one in shown)

    def _cookie(self, scope: Scope) -> str | None:
        """Remember the token, so that it leaves the address."""
        if self._token is None or b"token=" not in scope["query_string"]:
            return None
        return f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"


def too_large(limit: int) -> str:
    """Say how much may be sent."""
    return f"more than {limit / (1 << 20):,.0f} MiB cannot be sent here; copy the file into the folder instead"


def _name_of(host: str) -> str:
    return (urlsplit(f"//{host}").hostname or "") if host else ""


def _same_origin(headers: dict[bytes, bytes], host: str, scope: Scope) -> bool:
    origin = headers.get(b"origin")
    if origin is not None and urlsplit(origin.decode("latin-1")).netloc.lower() != host.lower():
        return False
    site = headers.get(b"sec-fetch-site", b"same-origin")
    # A link on another page may lead to the page itself, and to nothing else.
    return site in (b"same-origin", b"none") or scope["path"] == "/"


def _bounded(receive: Receive, limit: int) -> Receive:
    """Stop reading a body that is longer than it may be, whatever length it declared."""
    taken = 0

    async def read() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise BodyTooLargeError(too_large(limit))
        return message

    return read


class BodyTooLargeError(Exception):
    """More was sent than may be."""


def _with_rules(send: Send, cookie: str | None) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            known = {name.lower() for name, _ in headers}
            headers += [(n.encode(), v.encode()) for n, v in _PAGE_RULES.items() if n.encode() not in known]
            if cookie:
                headers.append((b"set-cookie", cookie.encode()))
            message = {**message, "headers": headers}
        await send(message)

    return answer


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers += [(name.encode(), value.encode()) for name, value in _PAGE_RULES.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
