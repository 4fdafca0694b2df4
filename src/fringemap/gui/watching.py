"""The one folder that may be watched, and what has come in so far."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from fringemap.batch.rules import parse_rule
from fringemap.errors import SettingsError
from fringemap.gui.jobs import Job
from fringemap.report.atomic import write_text
from fringemap.report.style import assign_styles, style_for
from fringemap.report.words import format_formula

if TYPE_CHECKING:
    from collections.abc import Sequence

POLL_S = 1.0
_MOST_MESSAGES = 200
_MOST_POINTS = 2000
_RECORD = "watch.json"
_BROKEN = ("ended", "failed")
_LEFT = "it ended with the server, before its results were written; Watch goes on with what was done"


@dataclass
class _Watch:
    """What is known of a watched folder."""

    name: str
    """Of the folder, as the page calls it."""
    out: Path
    settings: dict[str, Any]
    rules: Sequence[str]
    status: str = "watching"
    """watching, stopping (results are written), done, failed or ended (before all results were written)."""
    message: str = ""
    started: float = field(default_factory=time.time)
    lines: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class Watching:
    """Watches one folder at a time; its methods may be called from any thread.

    Parameters
    ----------
    root
        The folder that the page shows.
    state
        Folder for what is kept: results in ``live``.
    """

    def __init__(self, root: Path, state: Path) -> None:
        self._root = root
        self._folder = state / "live"
        self._lock = threading.RLock()
        self._job: Job | None = None
        self._watch = _load(self._folder)

    def start(self, folder: Path, name: str, settings: dict[str, Any], rules: Sequence[str]) -> None:
        """Begin to watch; what an earlier watch of the folder with these settings left unfinished is taken up.

        Raises
        ------
        SettingsError
            A rule is none, or a folder is watched already.
        """
        for rule in rules:
            parse_rule(rule)
        with self._lock:
            if self._watch is not None and self._watch.status in ("watching", "stopping"):
                raise SettingsError(f"{self._watch.name or 'the folder'} is being watched; stop that first")
            self._clear_job()
            watch = self._watch = _Watch(name, self._out_for(name, settings), settings, tuple(rules))
            _keep(self._folder, watch)
            order = {"folder": folder, "out": watch.out, "settings": settings, "rules": rules, "poll_s": POLL_S}
            self._job = Job("fringemap.gui.watcher", order, lambda message: self._hear(watch, message))

    def stop(self) -> None:
        """End the watch: the results are written first; told again, it ends at once."""
        with self._lock:
            watch, job = self._watch, self._job
            if watch is None or job is None:
                return
            if watch.status == "watching":
                watch.status = "stopping"
                job.say({"stop": True})
                return
            if watch.status == "stopping":
                watch.status, watch.message = "ended", "ended before all results were written"
        job.kill()

    def close(self) -> None:
        """End with the server."""
        with self._lock:
            if self._watch is not None and self._watch.status in ("watching", "stopping"):
                self._watch.status = "ended"
        self._clear_job()

    @property
    def out(self) -> Path | None:
        """Folder with the results of a watch that is over; None if there is none."""
        watch = self._watch
        over = watch is not None and watch.status == "done" and watch.out.is_dir()
        return watch.out if over and watch is not None else None

    def describe(self, after: int) -> dict[str, Any] | None:
        """Curves of all frames, and the lines of those from ``after`` on; None if nothing is watched."""
        with self._lock:
            watch = self._watch
            if watch is None:
                return None
            lines = list(watch.lines)
            told: dict[str, Any] = {"name": watch.name, "status": watch.status, "message": watch.message}
            told |= {"rules": list(watch.rules), "started": watch.started}
            told |= {"calls": list(watch.calls), "said": watch.said[-20:]}
        names = list(dict.fromkeys(p["phase"] for line in lines for p in line["phases"]))
        styles = assign_styles(names)
        step = max(-(-len(lines) // _MOST_POINTS), 1)
        chosen = lines[::step]
        curves = [
            {
                "phase": name,
                "text": format_formula(name),
                "colour": style_for(styles, name).colour,
                "area_percent": [_area(line, name) for line in chosen],
            }
            for name in names
        ]
        return {**told, "n_frames": len(lines), "step": step, "curves": curves, "lines": lines[max(after, 0) :]}

    def _hear(self, watch: _Watch, message: dict[str, Any]) -> None:
        with self._lock:
            event = message["event"]
            if event == "frame":
                watch.lines.append({**message["line"], "file": self._name_of(Path(message["path"]))})
            elif event == "call":
                watch.calls.append({"words": message["words"], "frame": message["frame"]})
                del watch.calls[:-_MOST_MESSAGES]
            elif event == "said":
                watch.said.append(message["words"])
                del watch.said[:-_MOST_MESSAGES]
            elif event == "stopping":
                watch.status = "stopping"
            elif event == "ended":
                watch.status, watch.message = message["status"], message["message"]
                _keep(self._folder, watch)
            elif event == "died" and watch.status in ("watching", "stopping"):
                watch.status, watch.message = "failed", "the process that watched ended"

    def _out_for(self, name: str, settings: dict[str, Any]) -> Path:
        before = self._watch
        if before is not None and before.status in _BROKEN and (before.name, before.settings) == (name, settings):
            return before.out
        return self._folder / time.strftime("%Y%m%d-%H%M%S")

    def _name_of(self, path: Path) -> str:
        try:
            return path.resolve().relative_to(self._root).as_posix()
        except (OSError, ValueError):
            return path.name

    def _clear_job(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.kill()


def _area(line: dict[str, Any], name: str) -> float | None:
    """Area of a phase in a frame [%]; 0 where it is not named, None where it was not measured."""
    return next((p["area_percent"] for p in line["phases"] if p["phase"] == name), 0.0)


def _keep(folder: Path, watch: _Watch) -> None:
    """Write down which folder is watched, so that another server knows."""
    told = {key: getattr(watch, key) for key in ("name", "settings", "status", "message")}
    record = {**told, "out": watch.out.name, "rules": list(watch.rules)}
    write_text(folder / _RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _load(folder: Path) -> _Watch | None:
    """The watch that an earlier server had not ended; None if there is none."""
    try:
        found = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        out = folder / PurePath(found["out"]).name
        if found["status"] == "done" or not out.is_dir():
            return None
        return _Watch(str(found["name"]), out, dict(found["settings"]), tuple(found["rules"]), "ended", _LEFT)
    except (OSError, ValueError, KeyError, TypeError):
        return None
