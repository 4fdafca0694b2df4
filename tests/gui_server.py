"""A server in this process for questions, and one in a process of its own for browsers."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("starlette", reason="needs the extra gui")
pytest.importorskip("uvicorn", reason="needs the extra gui")

import uvicorn

from fringemap.gui.security import Guard
from fringemap.gui.server import make_app

OURS = {"X-Fringemap": "1"}
CHROMIUM = os.environ.get("FRINGEMAP_CHROMIUM", shutil.which("chromium") or "/usr/bin/chromium")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
QUIET += ("--disable-component-update", "--disable-sync")


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)

    def pixels(self) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
        """Header, and the picture as numbers."""
        (length,) = struct.unpack_from("<I", self.body)
        about = json.loads(self.body[4 : 4 + length])
        steps = np.frombuffer(self.body, "<u2", offset=4 + length).reshape(about["rows"], about["cols"])
        return about, about["low"] + steps * ((about["high"] - about["low"]) / 65535)


@dataclass
class Asker:
    """Asks a server as a browser would, or as an attacker."""

    port: int
    folder: Path
    guard: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def raw(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers={**self.headers, **(headers or {})})
            answered = connection.getresponse()
            return Reply(answered.status, answered.read(), {k.lower(): v for k, v in answered.getheaders()})
        finally:
            connection.close()

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> Reply:
        return self.raw("GET", f"/api/{path}?{urlencode(query)}", headers=headers)

    def post(self, path: str, body: Any, **query: Any) -> Reply:
        given = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.raw("POST", f"/api/{path}?{urlencode(query)}", given, OURS)

    @property
    def session(self) -> Any:
        return self.guard._app.state.session

    def wait_for(self, run: str, *statuses: str, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until a run has one of these statuses."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = next(one for one in self.get("runs").json() if one["run"] == run)
            if found["status"] in (statuses or ("done", "failed", "partly failed", "cancelled", "stopped")):
                return found
            time.sleep(0.05)
        raise AssertionError(f"the run is {found['status']} after {seconds} s: {found['messages']}")


@contextmanager
def serving(folder: Path, **more: Any) -> Iterator[Asker]:
    """Serve a folder from a thread of this process."""
    guard = make_app(folder, **more)
    assert isinstance(guard, Guard)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(guard, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Asker(listener.getsockname()[1], folder, guard)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        guard._app.state.session.close()  # type: ignore[attr-defined]


@dataclass
class Page:
    """A server in a process of its own."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        command = [sys.executable, "-m", "fringemap", "gui", str(self.folder), "--port", str(self.port), "--no-browser"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        self.port = int(said.split("/")[2].split(":")[1])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None


@contextmanager
def opened_tab(browser: Any, port: int, name: str, *, timeout_ms: int, **context: Any) -> Iterator[Any]:
    """Show the first frame of a file in a tab of its own; an error in the page fails the test at the end."""
    wrong: list[str] = []
    own = browser.new_context(bypass_csp=True, **context)
    tab = own.new_page()
    tab.set_default_timeout(timeout_ms)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(f"http://127.0.0.1:{port}/#open={name}")
    tab.wait_for_selector(f"body[data-shown='{name}#0']")
    yield tab
    own.close()
    assert wrong == []
