"""Put the page together and serve it."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import webbrowser
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fringemap.errors import OutputError
from fringemap.gui.answers import HANDLERS
from fringemap.gui.root import Root, state_folder
from fringemap.gui.security import LOOPBACK, Guard
from fringemap.gui.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
PANES = ("files", "look", "analyse", "results", "correct", "series", "export", "label", "teach", "live")
LARGEST_UPLOAD = 4 << 30


def make_app(
    folder: str | Path, *, hosts: tuple[str, ...] = LOOPBACK, token: str | None = None, warm: bool = False
) -> ASGIApp:
    """Make the guarded application of one folder.

    Parameters
    ----------
    folder
        All that the page can reach.
    hosts
        Names by which the server may be called.
    token
        Secret that a browser must show; None asks for none.
    warm
        Make the process that analyses ready before the first run.

    Raises
    ------
    ReadError
        The folder is missing.
    OutputError
        There is no place to keep the session.
    """
    root = Root(folder)
    session = Session(root, state_folder(root.folder))
    routes: list[Any] = [Route("/", _page), Mount("/static", StaticFiles(directory=STATIC))]
    for pane in PANES:
        routes += import_module(f"fringemap.gui.panes.{pane}").ROUTES
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    app.state.session = session
    if warm:
        session.runs.start()
    return Guard(app, hosts=hosts, token=token, largest_upload=LARGEST_UPLOAD)


def _page(_request: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    browser: bool = True,
    tell: Callable[[str], None] = log.info,
) -> None:
    """Serve the page until it is stopped.

    Parameters
    ----------
    folder
        All that the page can reach.
    host
        Address to listen at. Anything but this machine's own asks each browser for a token, which ``tell`` is given.
    port
        To listen at; 0 takes any that is free.
    browser
        Open the page.
    tell
        Given the address of the page.

    Raises
    ------
    ReadError
        The folder is missing.
    OutputError
        The port is taken, or there is no place to keep the session.
    """
    import uvicorn

    token = None if host in LOOPBACK else secrets.token_urlsafe(24)
    names = LOOPBACK if token is None else (*LOOPBACK, host, socket.gethostname(), socket.getfqdn())
    app = make_app(folder, hosts=names, token=token, warm=True)
    listener = _listen(host, port)
    shown = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{listener.getsockname()[1]}/"
    address = shown if token is None else f"{shown}?token={token}"
    tell(address)
    if browser:
        threading.Timer(0.5, webbrowser.open, (address,)).start()
    config = uvicorn.Config(app, log_level="warning", ws="none", server_header=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OutputError(f"cannot listen at {host}:{port}: {error.strerror}; choose another --port") from error
    # From now on a browser that comes early waits instead of being sent away.
    listener.listen()
    return listener
