"""A long job in a process of its own: it is told what to do once, tells its progress in lines, and ends with the page.

The process runs a module of fringemap at low priority, so that the page, and whatever else the machine does, come
first. It reads one line of JSON, the job; further lines are words to it, such as ``stop``; when its input ends, the
server is gone and it ends too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from fringemap.report.run import to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PATIENCE_S = 10.0
_LOW_PRIORITY = 10


class Job:
    """A process at work.

    Parameters
    ----------
    module
        That is run; it calls ``take_job``.
    order
        What it is to do; becomes JSON.
    hear
        Is given each message that it sends, from a thread, and ``{"event": "died"}`` if it ends without saying so.
    """

    def __init__(self, module: str, order: Mapping[str, Any], hear: Callable[[dict[str, Any]], None]) -> None:
        self._hear = hear
        below = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            creationflags=below,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.say(order)
        self._thread.start()

    def say(self, words: Mapping[str, Any]) -> None:
        """Send the process one more line; one that has ended hears nothing."""
        assert self._process.stdin is not None  # a pipe was asked for
        try:
            self._process.stdin.write(json.dumps(to_plain(words), ensure_ascii=False) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return

    def kill(self) -> None:
        """End the process at once."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_PATIENCE_S)
        self._thread.join(_PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # a pipe was asked for
        ended = False
        for line in self._process.stdout:
            message = json.loads(line)
            ended |= message.get("event") == "ended"
            self._hear(message)
        if not ended:
            self._hear({"event": "died"})


def take_job() -> tuple[dict[str, Any], SimpleQueue[dict[str, Any]], Callable[[dict[str, Any]], None]]:
    """Called by the process: its order, what is said to it later, and how it answers."""
    leave_ctrl_c_to_server()
    if hasattr(os, "nice"):
        os.nice(_LOW_PRIORITY)
    tell = own_output()
    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        os._exit(0)
    heard: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(heard,), daemon=True).start()
    return order, heard, tell


def leave_ctrl_c_to_server() -> None:
    """Called by a process of the server: a terminal tells all of them, but it is the server that ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def own_output() -> Callable[[dict[str, Any]], None]:
    """Keep standard output for our lines; what libraries print goes to the error output."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        with lock:
            ours.write(json.dumps(to_plain(message), ensure_ascii=False, allow_nan=False) + "\n")

    return tell


def _listen(heard: SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        heard.put(json.loads(line))
    os._exit(0)
