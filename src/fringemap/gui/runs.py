"""Runs: one input each, waiting, under way or ended; what is known of them is on disk and outlives the server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fringemap.batch.journal import FOLDER_NAME, Journal
from fringemap.batch.run import name_folders
from fringemap.errors import ReadError, SettingsError
from fringemap.report.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fringemap.records import FrameResult

_NAME = "run_state.json"
OPEN = ("waiting", "running")
"""How a run stands that has not ended."""
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Run:
    """One input and what became of it."""

    run: str
    """Its own name."""
    name: str
    """Of the input, in the folder that the page shows."""
    settings: dict[str, dict[str, Any]]
    status: str = "waiting"
    """waiting, running, done, partly failed, failed, cancelled, or stopped (by the end of the server)."""
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    done: int = 0
    """Frames."""
    total: int = 1
    messages: tuple[str, ...] = ()
    """What went wrong."""
    summary: dict[str, Any] = field(default_factory=dict)
    """Row of ``summary.csv``."""


class Runs:
    """All runs of a session, done one after another by one process.

    Parameters
    ----------
    folder
        Where runs are kept, each in a folder of its own.
    find
        Gives the path of an input by its name.
    """

    def __init__(self, folder: Path, find: Callable[[str], Path]) -> None:
        self._folder = folder
        self._find = find
        self._lock = threading.Condition()
        self._runs = {run.run: run for run in _load_all(folder)}
        self._worker: subprocess.Popen[str] | None = None
        self._under_way: str | None = None
        """Name of the run that the process was given."""
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work on what waits; the process that analyses is made ready."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the process; what was under way can be resumed."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            worker = self._worker
            self._end_worker()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)
        if worker is not None:
            _close(worker)

    def add(self, name: str, settings: dict[str, dict[str, Any]]) -> Run:
        """Put a run at the end of the queue."""
        with self._lock:
            run = Run(uuid.uuid4().hex[:12], name, settings, created=time.time())
            self._put(run)
            self._lock.notify_all()
        self.start()
        return run

    def all(self) -> list[Run]:
        """All runs, the newest first."""
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: -run.created)

    def get(self, key: str) -> Run:
        """Look a run up.

        Raises
        ------
        SettingsError
            There is none of this name.
        """
        with self._lock:
            if key not in self._runs:
                raise SettingsError(f"there is no run {key[:40]!r}; it may have been removed")
            return self._runs[key]

    def latest(self, name: str) -> Run | None:
        """The newest run of an input that has any result."""
        return next((run for run in self.all() if run.name == name and self._has_any(run)), None)

    def cancel(self, key: str) -> Run:
        """Stop a run; what it has done stays, and it can be resumed."""
        with self._lock:
            run = self.get(key)
            if self._under_way == key:
                self._end_worker()
            if run.status in OPEN:
                run = self._put(replace(run, status="cancelled", ended=time.time()))
            return run

    def retry(self, key: str) -> Run:
        """Put a run that ended badly, or was stopped, back into the queue; it keeps what it has done."""
        with self._lock:
            run = self.get(key)
            if run.status not in OPEN:
                run = self._put(replace(run, status="waiting", messages=(), started=None, ended=None))
                self._lock.notify_all()
        self.start()
        return run

    def remove(self, key: str) -> None:
        """Forget a run and its results."""
        self.cancel(key)
        with self._lock:
            self._runs.pop(key)
            shutil.rmtree(self._folder / key, ignore_errors=True)

    def folder_of(self, run: Run) -> Path:
        """Folder of the run's results, as ``fringemap analyze`` writes them."""
        path = self._find(run.name)
        return name_folders([path], self._folder / run.run / "out")[path]

    def own_folder(self, run: Run) -> Path:
        """Folder of all that belongs to a run."""
        return self._folder / run.run

    def has_result(self, run: Run, frame: int) -> bool:
        """Whether a frame has been analysed."""
        try:
            return Journal(self.folder_of(run)).has(frame)
        except ReadError:
            return False

    def frames_done(self, run: Run) -> list[int]:
        """Positions of the frames that have a result."""
        try:
            return sorted(Journal(self.folder_of(run)).done())
        except ReadError:
            return []

    def result(self, run: Run, frame: int) -> FrameResult:
        """Load the result of a frame, as the analysis left it.

        Raises
        ------
        ReadError
            There is none.
        """
        return Journal(self.folder_of(run)).load(frame)

    def _has_any(self, run: Run) -> bool:
        try:
            return any((self.folder_of(run) / FOLDER_NAME).glob("[0-9]*.npz"))
        except ReadError:
            return False

    def _put(self, run: Run) -> Run:
        self._runs[run.run] = run
        (self._folder / run.run).mkdir(parents=True, exist_ok=True)
        write_text(self._folder / run.run / _NAME, json.dumps(asdict(run), indent=1, ensure_ascii=False) + "\n")
        return run

    # --- the thread that hands runs to the process ---

    def _work(self) -> None:
        with self._lock:
            if not self._closed:
                self._ready_worker()
        while (run := self._next()) is not None:
            self._do(run)

    def _next(self) -> Run | None:
        with self._lock:
            while not self._closed:
                waiting = [run for run in self._runs.values() if run.status == "waiting"]
                if waiting:
                    first = min(waiting, key=lambda run: run.created)
                    return self._put(replace(first, status="running", started=time.time(), done=0, total=1))
                self._lock.wait()
        return None

    def _do(self, run: Run) -> None:
        try:
            path = self._find(run.name)
        except ReadError as error:
            self._take(run.run, {"event": "ended", "status": "failed", "messages": [str(error)]})
            return
        job = {"run": run.run, "path": str(path), "out": str(self._folder / run.run / "out"), "settings": run.settings}
        worker = self._send(job)
        if worker is not None:
            for message in self._answers(worker, run.run):
                self._take(run.run, message)

    def _send(self, job: dict[str, Any]) -> subprocess.Popen[str] | None:
        """Hand a job to the process, unless its run was cancelled meanwhile."""
        with self._lock:
            run = self._runs.get(job["run"])
            if self._closed or run is None or run.status != "running":
                return None
            worker = self._ready_worker()
            self._under_way = job["run"]
            assert worker.stdin is not None  # a pipe was asked for
            with suppress(OSError):  # it has just died, which its answers will tell
                worker.stdin.write(json.dumps(job) + "\n")
                worker.stdin.flush()
            return worker

    def _answers(self, worker: subprocess.Popen[str], key: str) -> Iterator[dict[str, Any]]:
        """Give what the process says of a run, to its end or that of the process."""
        assert worker.stdout is not None  # a pipe was asked for
        for line in worker.stdout:
            message = json.loads(line)
            if message.get("run") != key:
                continue
            if message["event"] == "ended":
                self._under_way = None
                yield message
                return
            yield message
        self._under_way = None
        _close(worker)
        yield {"event": "ended", "status": "stopped", "messages": ["the process that analysed it ended"]}

    def _take(self, key: str, message: dict[str, Any]) -> None:
        with self._lock:
            run = self._runs.get(key)
            if run is None or run.status != "running":
                return  # cancelled or removed meanwhile
            if message["event"] == "progress":
                # Written at the end: each frame would write else.
                self._runs[key] = replace(run, done=message["done"], total=message["total"])
                return
            status = "stopped" if self._closed else message["status"]
            done = run.total if status == "done" else run.done
            self._put(
                replace(
                    run,
                    status=status,
                    ended=time.time(),
                    done=done,
                    messages=tuple(message.get("messages", ())),
                    summary=message.get("summary", {}),
                )
            )

    def _ready_worker(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._worker is not None and self._worker.poll() is not None:
                _close(self._worker)
                self._worker = None
            if self._worker is None:
                self._worker = subprocess.Popen(
                    [sys.executable, "-m", "fringemap.gui.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                )
            return self._worker

    def _end_worker(self) -> None:
        """Kill the process; who listens to it hears its end and closes its pipes."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()


def _close(worker: subprocess.Popen[str]) -> None:
    worker.wait(_PATIENCE_S)
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was still to be written to a process that is gone
                pipe.close()


def _load_all(folder: Path) -> list[Run]:
    """Read what is kept; what was open when the server ended is marked as stopped."""
    runs = []
    for path in folder.glob(f"*/{_NAME}"):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            run = Run(**{**found, "messages": tuple(found["messages"])})
        except (OSError, ValueError, KeyError, TypeError):
            continue
        runs.append(replace(run, status="stopped") if run.status in OPEN else run)
    return runs
