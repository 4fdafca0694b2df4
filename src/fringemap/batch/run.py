"""Many inputs: their frames shared out over workers, their files written, and an overview over all."""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fringemap.batch.executors import DaskExecutor, InlineExecutor, ProcessExecutor, run_tasks
from fringemap.batch.gathering import Gathering
from fringemap.batch.journal import FOLDER_NAME, earlier_origins, origin_of
from fringemap.batch.work import (
    Analyze,
    InputResult,
    Job,
    Open,
    Opened,
    Sign,
    Write,
    close_series,
    do_task,
    failed_input,
    failure_of,
    guarded,
    open_input,
    write_input,
)
from fringemap.errors import FringemapError, OutputError, ReadError, SettingsError, WorkerError
from fringemap.io import find_inputs, read
from fringemap.phases import batch_q
from fringemap.pipeline import load_phases
from fringemap.report import write_errors_csv, write_index, write_summary_csv
from fringemap.report.atomic import write_text, writing
from fringemap.report.identified import IDENTIFIED_NAME
from fringemap.report.lines import all_statuses
from fringemap.report.run import RUN_NAME
from fringemap.report.series_tables import TABLE_NAMES
from fringemap.settings import AnalysisSettings, settings_of_input, settings_to_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from fringemap.batch.executors import Done, Executor
    from fringemap.batch.journal import Origin
    from fringemap.batch.work import Task
    from fringemap.records import FrameResult, Truth
    from fringemap.report import Failure
    from fringemap.settings import FileSettings

    Progress = Callable[[str, int, int], None]

SETTINGS_NAME = "settings.toml"
_OWN_NAMES = (RUN_NAME, FOLDER_NAME, IDENTIFIED_NAME, TABLE_NAMES[0], ".partial-*")
"""What a run leaves in the folder of an input, whole or stopped at any time, and a watch from its first series on."""
_RESERVE_NAME = ".reserve"
_RESERVE_BYTES = 256 * 1024


def analyze_inputs(
    patterns: Sequence[str | Path],
    out: Path,
    *,
    settings: AnalysisSettings | None = None,
    files: Sequence[FileSettings] = (),
    workers: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    keep_frames: bool = False,
    progress: Progress | None = None,
) -> list[InputResult]:
    """Analyse files, folders and globs, and write everything under ``out``.

    Parameters
    ----------
    patterns
        What ``find_inputs`` understands. One that matches nothing becomes a failure, and the others go on.
    out
        Folder for the results; each input gets a folder of its own in it.
    settings
        Of every step; the defaults if left out.
    files
        What is different for single inputs.
    workers
        Processes at most, which share inputs and the frames of each; all cores if left out. With 1, or for a single
        frame, all is done in this process.
    scheduler
        Address of a running Dask scheduler, whose workers do it instead; they must see the same folders.
    resume
        Keep what an earlier run left in ``out``, whole or not, and do only what is missing.
    keep_frames
        Leave the whole result of each frame in ``OUT/<name>/.frames``, for who wants to look at it or correct it.
    progress
        Told a name, and how many of how many are done: frames of the input of that name, or ``"inputs"``.

    Returns
    -------
    list of InputResult
        One for each input and each pattern that failed, in the order given.

    Raises
    ------
    StructureError, SettingsError
        The phases that the settings name cannot be loaded, or ``out`` holds results of other settings that were to be
        kept; nothing has been done then.
    WorkerError
        The cluster does not answer.
    OutputError
        ``out`` or the overview cannot be written; or a folder of results would be one of frames, or holds files of
        others, and nothing has been done then.
    """
    settings = settings or AnalysisSettings()
    load_phases(settings)  # even where every input has its own: what is wrong is said before anything is done
    inputs, failed = _collect(patterns)
    jobs = _plan(inputs, out, settings, files)
    refuse_foreign({job.path: job.folder for job in jobs})
    if resume:
        for job in jobs:
            refuse_others(job.origin, [job.folder])
    ledger = _Ledger(len(inputs), progress)
    text = settings_to_toml(settings, files)
    with _overview(out, text, ledger, failed), choose_executor(jobs, workers, scheduler) as executor:
        threads = (workers or os.cpu_count() or 1) if isinstance(executor, InlineExecutor) else 1
        ahead = 0 if scheduler else executor.n_workers
        ledger.gathers = len(jobs) == 1 and isinstance(executor, ProcessExecutor)
        jobs = [replace(job, threads=threads, resume=resume, keep_frames=keep_frames, ahead=ahead) for job in jobs]
        # Workers on other machines were started in other folders.
        run_jobs([_with_whole_paths(job) for job in jobs] if scheduler else jobs, executor, ledger)
    return [*ledger.in_order(), *failed]


def _plan(inputs: Sequence[Path], out: Path, settings: AnalysisSettings, files: Sequence[FileSettings]) -> list[Job]:
    """Give each input its folder and its settings."""
    origins: dict[AnalysisSettings, Origin] = {}
    jobs = []
    for number, (path, folder) in enumerate(name_folders(inputs, out).items()):
        mine = settings_of_input(path, settings, files)
        if mine not in origins:
            origins[mine] = origin_of(mine, load_phases(mine))
        jobs.append(Job(number, path, folder, mine, origins[mine]))
    return jobs


def choose_executor(jobs: Sequence[Job], workers: int | None, scheduler: str | None) -> Executor:
    """Choose where to work: processes only where there is more than one frame to share out."""
    if scheduler:
        return DaskExecutor(scheduler)
    n_workers = workers or os.cpu_count() or 1
    if len(jobs) == 1:
        n_workers = min(n_workers, _n_frames(jobs[0]))
    return InlineExecutor() if n_workers == 1 or not jobs else ProcessExecutor(n_workers, do_task)


def _n_frames(job: Job) -> int:
    try:
        with read(job.path, settings=job.settings.read) as series:
            return len(series)
    except FringemapError:
        return 1  # what is wrong will be said when its turn comes


def _with_whole_paths(job: Job) -> Job:
    return replace(job, path=job.path.absolute(), folder=job.folder.absolute())


def _collect(patterns: Sequence[str | Path]) -> tuple[list[Path], list[InputResult]]:
    """Inputs of all patterns, each once, and the patterns that failed."""
    inputs: dict[Path, None] = {}
    failed = []
    for pattern in patterns:
        try:
            inputs.update(dict.fromkeys(find_inputs([pattern])))
        except ReadError as error:
            failed.append(failed_input(Path(pattern), error))
    return list(inputs), failed


def name_folders(inputs: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Choose a folder for each input, named by its stem; with its ending or a number where stems are equal."""
    stems = [path.name if path.is_dir() else path.stem for path in inputs]
    folders: dict[Path, Path] = {}
    for path, stem in zip(inputs, stems, strict=True):
        name = stem if stems.count(stem) == 1 else path.name
        number = 2
        taken = {folder.name for folder in folders.values()}
        unique = name
        while unique in taken:
            unique, number = f"{name}-{number}", number + 1
        folders[path] = out / unique
    return folders


def refuse_foreign(folders: Mapping[Path, Path]) -> None:
    """Refuse to put results among frames that are analysed, or into a folder that holds files of others.

    Parameters
    ----------
    folders
        Of each input.

    Raises
    ------
    OutputError
        With the folder; to replace files in it, or to take results for frames, would be worse.
    """
    series = {path.resolve() for path in folders if path.is_dir()}
    for folder in folders.values():
        if folder.resolve() in series:
            raise OutputError(f"results would lie in {folder}, among its frames; choose another folder with -o")
        if is_foreign(folder):
            raise OutputError(f"{folder} holds files that fringemap did not make; choose another folder with -o")


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds anything, but nothing by which fringemap knows its own results."""
    with writing(folder):
        return folder.is_dir() and any(folder.iterdir()) and not any(any(folder.glob(name)) for name in _OWN_NAMES)


def refuse_others(origin: Origin, folders: Iterable[Path]) -> None:
    """Refuse to add to results that were made in another way.

    Raises
    ------
    SettingsError
        With what differs.
    """
    for folder in folders:
        for earlier in earlier_origins(folder):
            if differences := origin.differences(earlier):
                raise SettingsError(
                    f"{folder} holds results made in another way ({'; '.join(differences[:5])}); to resume, use what "
                    "was used then, else choose another folder with -o or leave --resume out"
                )


@contextmanager
def _overview(out: Path, settings: str, ledger: _Ledger, failed: Sequence[InputResult]) -> Iterator[None]:
    """Write the overview over what the block has done, even if it is interrupted or the disk is full."""
    reserve = out / _RESERVE_NAME
    _make_folder(out)
    write_text(out / SETTINGS_NAME, settings)
    with writing(reserve):
        # Room to say, on a full disk, that it is full; random, since some file systems compress.
        reserve.write_bytes(os.urandom(_RESERVE_BYTES))
    try:
        yield
    finally:
        with suppress(OSError):
            reserve.unlink(missing_ok=True)
        write_overview(out, [*ledger.in_order(), *failed])


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error.strerror}; choose another folder with -o") from error


def write_overview(out: Path, results: Sequence[InputResult]) -> None:
    """Write ``summary.csv``, ``errors.csv`` and ``index.html``.

    Raises
    ------
    OutputError
        One of them cannot be written.
    """
    write_errors_csv(out / "errors.csv", [failure for result in results for failure in result.failures])
    q_values = batch_q([result.probabilities for result in results])
    summaries = [{**result.summary, "q_batch": q} for result, q in zip(results, q_values, strict=True)]
    write_summary_csv(out / "summary.csv", summaries)
    write_index(out / "index.html", [_index_entry(result) for result in results])


def _index_entry(result: InputResult) -> dict[str, Any]:
    folder = None if result.folder is None else result.folder.name
    return {"folder": folder, "summary": result.summary, "frames": all_statuses([], result.failures)}


@dataclass
class _Frames:
    """How far the frames of one input are."""

    opened: Opened
    left: int
    signing: bool
    """Whether the input is being read through for its fingerprint."""
    gathering: Gathering | None
    """Writes the files meanwhile, if this process has nothing else to do."""
    failures: list[Failure] = field(default_factory=list)


class _Ledger:
    """Knows what follows from what is done: frames from an input, its files from its frames."""

    def __init__(self, n_jobs: int, progress: Progress | None) -> None:
        self._results: dict[int, InputResult] = {}
        self._n_jobs = n_jobs
        self._progress = progress or (lambda *_: None)
        self._frames: dict[int, _Frames] = {}
        self.gathers = False
        """Whether this process writes the files of an input while others analyse its frames."""

    def in_order(self) -> list[InputResult]:
        """Give the results so far, in the order of the inputs."""
        return [self._results[number] for number in sorted(self._results)]

    def follow(self, done: Done) -> Iterable[Any]:
        """Take note of a task that came back, and give the tasks that follow from it."""
        task = done.task
        if isinstance(task, Analyze):
            return self._after_frame(task, done)
        job = _job(task)
        value = done.value if done.error is None else failed_input(job.path, _named(job.path, done.error))
        if isinstance(task, Sign):
            return self._after_signing(task, value)
        return self._after_opening(value) if isinstance(value, Opened) else self._end(job, value)

    def _after_opening(self, opened: Opened) -> Iterable[Any]:
        gathering = Gathering(opened) if self.gathers else None
        frames = _Frames(opened, len(opened.missing), not opened.signed, gathering)
        self._frames[opened.job.number] = frames
        self._tell(frames)
        first = [Sign(opened)] if frames.signing else []
        return itertools.chain(first, opened.tasks(), self._end_of(frames))

    def _after_signing(self, task: Sign, value: Opened | InputResult) -> Iterable[Any]:
        frames = self._frames[task.opened.job.number]
        frames.signing = False
        if isinstance(value, Opened):
            frames.opened = value
        return self._end_of(frames)

    def _after_frame(self, task: Analyze, done: Done) -> Iterable[Any]:
        frames, path = self._frames[task.job.number], task.job.path
        failure = done.value if done.error is None else failure_of(path, task.index, _named(path, done.error))
        if failure is not None:
            frames.failures.append(failure)
        frames.left -= 1
        self._tell(frames)
        if frames.gathering:
            frames.gathering.note(task.position, failure)
        return self._end_of(frames)

    def _end_of(self, frames: _Frames) -> Iterable[Any]:
        """Write the files when nothing else is left to do; an input that could not be read through fails there."""
        if frames.left or frames.signing:
            return ()
        if frames.gathering and (result := frames.gathering.finish(frames.opened)):
            return self._end(frames.opened.job, result)
        return [Write(frames.opened, tuple(sorted(frames.failures, key=lambda f: f.frame or 0)))]

    def close(self) -> None:
        """Leave no files behind of inputs that were not finished."""
        for frames in self._frames.values():
            if frames.gathering:
                frames.gathering.give_up()

    def _end(self, job: Job, result: InputResult) -> Iterable[Any]:
        self._results[job.number] = result
        self._frames.pop(job.number, None)
        if self._n_jobs > 1:
            self._progress("inputs", len(self._results), self._n_jobs)
        return ()

    def _tell(self, frames: _Frames) -> None:
        opened = frames.opened
        if opened.n_frames > 1:
            self._progress(opened.job.folder.name, opened.n_frames - frames.left, opened.n_frames)


def _named(path: Path, error: Exception) -> Exception:
    return WorkerError(f"{path.name}: {error}") if isinstance(error, WorkerError) else error


def _job(task: Task) -> Job:
    return task.opened.job if isinstance(task, Sign | Write) else task.job


def _number(task: Task) -> float:
    """Earlier inputs first, so that their files are there early and few journals are open."""
    return float(_job(task).number)


def run_jobs(jobs: Sequence[Job], executor: Executor, ledger: _Ledger) -> None:
    """Do all jobs, and write down how they end."""
    try:
        for _ in run_tasks(executor, do_task, (Open(job) for job in jobs), then=ledger.follow, rank=_number):
            pass
    finally:
        ledger.close()
        close_series()


def analyze_input(
    path: Path,
    folder: Path,
    settings: AnalysisSettings,
    *,
    threads: int = 1,
    truth: Truth | None = None,
    watch: Callable[[FrameResult], None] | None = None,
) -> InputResult:
    """Analyse all frames of one input in this process and write its results; what fails is named, not raised.

    Parameters
    ----------
    path
        A file, a stack, or a folder of numbered frames.
    folder
        Where the results go.
    settings
        Of every step.
    threads
        Of the large transforms.
    truth
        What a simulated frame really holds; the page then sets it beside what was found.
    watch
        Given each frame's result, in their order.

    Raises
    ------
    OutputError
        ``folder`` is that of the frames, or holds files of others.
    """
    refuse_foreign({path: folder})

    def do() -> InputResult:
        origin = origin_of(settings, load_phases(settings))
        opened = open_input(Job(0, path, folder, settings, origin, threads), truth=truth, watch=watch)
        if isinstance(opened, InputResult):
            return opened
        failures = [f for task in opened.tasks() if (f := do_task(task)) is not None]
        return write_input(opened, failures, truth=truth, watch=watch)

    result: InputResult = guarded(path, do)
    return result
