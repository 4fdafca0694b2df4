"""A folder that fills up: frames are analysed as they arrive, rules call out, and the end is that of an ordinary run.

Evolution tables and figures of the series so far are kept up to date meanwhile.

Results of frames wait in ``OUT/.watch/``, named by the fingerprint of their file, until the folder is done. Then they
become the journals of the inputs that an ordinary run of the folder would have, and that run is resumed.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fringemap.batch.executors import InlineExecutor, ProcessExecutor, run_tasks
from fringemap.batch.journal import Journal
from fringemap.batch.rolling import RollingEvolution, analyze_average
from fringemap.batch.rules import RuleBook
from fringemap.batch.run import analyze_inputs
from fringemap.batch.stored import is_whole, load_record, save_record
from fringemap.batch.watched import Arrivals, WatchPlan, place_of, place_of_group
from fringemap.batch.work import failure_of, references_for, require_scale
from fringemap.errors import FringemapError, ReadError, SettingsError
from fringemap.io import read, sha256
from fringemap.io.inputs import readable_files
from fringemap.pipeline import analyze_frame
from fringemap.report import Failure
from fringemap.report.atomic import writing
from fringemap.report.lines import line_of
from fringemap.report.live import write_live_page
from fringemap.report.words import count_spots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fringemap.batch.executors import Executor
    from fringemap.batch.rules import Rule
    from fringemap.batch.work import InputResult, Job
    from fringemap.report.lines import FrameLine
    from fringemap.settings import AnalysisSettings, FileSettings

    Call = Callable[[str, FrameLine], None]

log = logging.getLogger(__name__)

LIVE_NAME = "live.html"
_PATIENCE_S = 5.0


def watch_folder(
    folder: Path,
    out: Path,
    *,
    settings: AnalysisSettings,
    files: Sequence[FileSettings] = (),
    rules: Sequence[Rule] = (),
    calls: Sequence[Call] = (),
    poll_s: float = 2.0,
    workers: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = log.info,
    seen: Callable[[Path, FrameLine], None] = lambda _path, _line: None,
) -> list[InputResult]:
    """Analyse the frames of a folder as they arrive, until Ctrl-C or ``stop``; then write what a run would.

    Parameters
    ----------
    folder
        Gets files: single frames or stacks. One counts as complete when size and time of change have stayed the same
        over two looks and it can be read.
    out
        Folder for the results, and meanwhile ``live.html``.
    settings
        Of every step.
    files
        What is different for single inputs.
    rules
        When to call out.
    calls
        What to do then; given the words and the frame. Each rule calls once.
    poll_s
        Time between two looks [s].
    workers
        Processes at most; all cores if left out.
    stop
        Asked before each look.
    tell
        Takes a line of text for each frame, failure and call.
    seen
        Is given the file and the numbers of each frame, in the order of arrival.

    Returns
    -------
    list of InputResult
        As from ``analyze_inputs`` of the same folder; empty if no file came.

    Raises
    ------
    ReadError
        ``folder`` is no folder.
    StructureError, SettingsError, OutputError
        As ``analyze_inputs``.
    """
    if not folder.is_dir():
        raise ReadError(f"{folder} is no folder; give the one that the frames are written to")
    plan = WatchPlan(folder, out, settings, files)
    plan.refuse_foreign()
    plan.refuse_others()
    live = _Live(folder, out, RuleBook(rules), calls, tell, seen, round(max(poll_s, 1.0)))
    live.write_page()
    n_workers = workers or os.cpu_count() or 1
    try:
        with InlineExecutor() if n_workers == 1 else ProcessExecutor(n_workers, analyze_arrival) as executor:
            _watch(plan, live, executor, poll_s, stop)
    except KeyboardInterrupt:
        tell("stopped; writing the results")
    results = _finish(plan, workers)
    live.write_page(over=True)
    return results


def _watch(plan: WatchPlan, live: _Live, executor: Executor, poll_s: float, stop: Callable[[], bool]) -> None:
    arrivals, rolling = Arrivals(plan.folder), RollingEvolution(plan)
    while not stop():
        paths = arrivals.look()
        for number, found in _in_order(run_tasks(executor, analyze_arrival, plan.arrivals(paths))):
            if isinstance(found, Arrived):
                rolling.note(paths[number], found.sha256)
            live.take(paths[number], found)
        for _ in run_tasks(executor, analyze_average, rolling.averages()):
            pass
        if rolling.update(hurry=bool(paths)) or paths:
            live.write_page(rolling.lengths)
        if not paths:
            time.sleep(poll_s)


def _in_order(finished: Iterator[Any]) -> Iterator[tuple[int, Any]]:
    """Hand on what comes back in the order of the files."""
    waiting: dict[int, Any] = {}
    following = 0
    for done in finished:
        job = done.task
        waiting[job.number] = done.value if done.error is None else failure_of(job.path, None, done.error)
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1


@dataclass(frozen=True)
class Arrived:
    """A file whose frames are analysed."""

    sha256: str
    lines: tuple[FrameLine, ...]


def analyze_arrival(job: Job) -> Arrived | Failure:
    """Analyse the frames of one file, each once in a lifetime of the store; what fails is returned."""
    try:
        digest = sha256(job.path)
        return Arrived(digest, tuple(_analyze_file(job, digest)))
    except Exception as error:  # a fault of ours as well: the watch goes on
        return failure_of(job.path, None, error)


def _analyze_file(job: Job, digest: str) -> Iterator[FrameLine]:
    references = references_for(job.settings, job.origin.phases_sha256)
    # A choice of frames is about the whole folder, and is made at the end.
    alone = replace(job.settings.read, frames="", bin_frames=1)
    with read(job.path, settings=alone) as series:
        require_scale(series)
        for position in range(len(series)):
            place = place_of(job, job.folder, digest, position)
            if not is_whole(place):
                save_record(
                    place, analyze_frame(series[position], references, settings=job.settings, workers=job.threads)
                )
            yield line_of(load_record(place))


def _finish(plan: WatchPlan, workers: int | None) -> list[InputResult]:
    """Do what an ordinary run of the folder does, with the frames that are there already."""
    inputs = plan.inputs()
    if not inputs:
        return []
    plan.refuse_foreign()
    for path, place in inputs.items():
        try:
            _fill_journal(plan.job(path, place), store=plan.store)
        except FringemapError as error:  # the run will meet it again, and name it
            log.info("%s", error)
    results = analyze_inputs(
        [plan.folder], plan.out, settings=plan.settings, files=plan.files, workers=workers, resume=True
    )
    if not any(result.failures for result in results):
        shutil.rmtree(plan.store, ignore_errors=True)
    return results


def _fill_journal(job: Job, *, store: Path) -> None:
    """Hand results of single files over to the input that they belong to."""
    files = readable_files(job.path) if job.path.is_dir() else None
    whole = sha256(job.path)
    journal = Journal(job.folder)
    with read(job.path, settings=job.settings.read) as series:
        journal.begin(replace(job.origin, input_sha256=whole), keep=True)
        for position in sorted(set(range(len(series))) - journal.done()):
            frame = series[position]
            members = [(sha256(files[k]), 0) if files else (whole, k) for k in series.stored[position]]
            place = place_of_group(job, store, members)
            result = load_record(place) if is_whole(place) else None
            # A file that is calibrated otherwise than its series is analysed again with it.
            if result is not None and (result.scale, result.frame_shape) == (frame.scale, frame.image.shape):
                known = {"name": frame.name, "index": frame.index, "time_s": frame.time_s}
                warnings = (*series.warnings, *result.warnings)
                journal.save(position, replace(result, **known, warnings=warnings))


@dataclass
class _Live:
    """What is known of the frames so far, and where it is told."""

    folder: Path
    out: Path
    book: RuleBook
    calls: Sequence[Call]
    tell: Callable[[str], None]
    seen: Callable[[Path, FrameLine], None]
    refresh_s: int
    lines: list[FrameLine] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def take(self, path: Path, found: Arrived | Failure) -> None:
        if isinstance(found, Failure):
            self._say(found.message if path.name in found.message else f"{path.name}: {found.message}")
            return
        for line in found.lines:
            self.lines.append(line)
            self.seen(path, line)
            named = ", ".join(phase.phase for phase in line.phases) or "no phase"
            self.tell(f"{line.name}: {named} ({count_spots(line.n_spots, line.n_unknown_spots)})")
            for rule in self.book.take(line):
                self._call(f"{rule}: {line.name}", line)

    def _call(self, words: str, line: FrameLine) -> None:
        self._say(words)
        for call in self.calls:
            try:
                call(words, line)
            except (OSError, subprocess.SubprocessError) as error:
                self._say(f"nobody was told of '{words}': {error}")

    def _say(self, text: str) -> None:
        self.messages.append(text)
        self.tell(text)

    def write_page(self, series: Mapping[Path, int] | None = None, *, over: bool = False) -> None:
        with writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        refresh_s = None if over else self.refresh_s
        title = f"{self.folder.resolve().name}, live" if not over else self.folder.resolve().name
        shown = {folder.name: n for folder, n in (series or {}).items()}
        write_live_page(self.out / LIVE_NAME, self.lines, self.messages, title=title, refresh_s=refresh_s, series=shown)


def post_to(address: str) -> Call:
    """Make a call that sends ``{"message", "frame", "time_s", "phases"}`` as JSON to a web address.

    Raises
    ------
    SettingsError
        The address is none of the web.
    """
    if not address.startswith(("http://", "https://")):
        raise SettingsError(f"--webhook {address} is no web address; it must begin with http:// or https://")

    def call(words: str, line: FrameLine) -> None:
        phases = [phase.phase for phase in line.phases]
        content = {"message": words, "frame": line.name, "time_s": line.time_s, "phases": phases}
        data = json.dumps(content).encode()
        request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_PATIENCE_S):
            pass

    return call


def run_program(command: str) -> Call:
    """Make a call that starts a program, with the words as its last argument, and waits some seconds for it.

    Raises
    ------
    SettingsError
        The command is empty or its quotes do not match.
    """
    try:
        program = shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"--command {command}: {error}") from error
    if not program:
        raise SettingsError("--command is empty; name a program")

    def call(words: str, line: FrameLine) -> None:
        environment = {**os.environ, "FRINGEMAP_FRAME": line.name}
        quiet = subprocess.DEVNULL
        subprocess.run([*program, words], check=True, timeout=_PATIENCE_S, stdin=quiet, stdout=quiet, env=environment)

    return call
