"""The process that analyses: one run after another, told on its input, answering in lines of JSON on its output.

It is started once and stays, so that a run begins at once. When its input ends, so does it, and with it all processes
that it started: a page that is gone leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from fringemap.errors import FringemapError
from fringemap.gui.jobs import leave_ctrl_c_to_server, own_output
from fringemap.settings import settings_from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def main() -> None:
    """Do the runs that come in."""
    leave_ctrl_c_to_server()
    tell = own_output()
    asked: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    from fringemap.batch import analyze_inputs  # noqa: F401 - loaded now, so that the first run starts quickly

    tell({"event": "ready"})
    while True:
        tell(do_run(asked.get(), tell))


def do_run(job: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Analyse one input and say how it ended."""
    from fringemap.batch import analyze_inputs

    def progress(_name: str, done: int, total: int) -> None:
        tell({"event": "progress", "run": job["run"], "done": done, "total": total})

    try:
        settings = settings_from_mapping(job["settings"])
        results = analyze_inputs(
            [Path(job["path"])],
            Path(job["out"]),
            settings=settings,
            # One core is left to the page.
            workers=max((os.cpu_count() or 2) - 1, 1),
            resume=True,
            keep_frames=True,
            progress=progress,
        )
    except FringemapError as error:
        return {"event": "ended", "run": job["run"], "status": "failed", "messages": [str(error)]}
    result = results[0]
    said = [failure.message for failure in result.failures]
    ended = {"event": "ended", "run": job["run"], "status": result.summary["status"], "messages": said}
    return {**ended, "summary": dict(result.summary)}


def _listen(asked: SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        asked.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()
