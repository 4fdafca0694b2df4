"""What a worker does: open an input, analyse one of its frames, write its files. Everything here can be pickled.

An input of one frame is analysed and written at once. Of a longer one, each frame is a task of its own, whose result
goes into the journal; from there they are read in their order and the files are written: in a task when all are there,
or meanwhile by the process that shares out the tasks (``gathering``).
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import traceback
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fringemap.batch.journal import Journal, Origin, earlier_origins, fingerprint, read_origin
from fringemap.batch.read_ahead import read_ahead
from fringemap.errors import CalibrationError, FringemapError, OutputError, ReadError, StructureError
from fringemap.io import read, read_calibration, sha256
from fringemap.io.inputs import files_of
from fringemap.io.names import expanded
from fringemap.phases.any_scale import may_seek_scale
from fringemap.pipeline import analyze_frame, load_phases
from fringemap.records import FrameResult, let_spare_memory_go
from fringemap.report import Failure, open_results
from fringemap.report.lines import name_probabilities, summarise
from fringemap.report.results import PAGE_NAME, richness
from fringemap.report.run import RUN_NAME, version_of
from fringemap.spots.model import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from fringemap.io import FrameSeries
    from fringemap.pipeline import Pictures
    from fringemap.records import Match, Reflections, Spots, Truth
    from fringemap.report import ResultsWriter
    from fringemap.settings import AnalysisSettings

log = logging.getLogger(__name__)

RESUME_HINT = "then repeat the run with --resume"
_MARK = "unread "
"""Begins what stands in place of the fingerprint of an input that nobody has read through yet."""


@dataclass(frozen=True)
class InputResult:
    """How the analysis of one input ended."""

    path: Path
    folder: Path | None
    """Where its results lie; None if there are none."""
    page: Path | None
    summary: Mapping[str, Any]
    """Its row of ``summary.csv``."""
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    """Of the names of all its frames."""


@dataclass(frozen=True)
class Job:
    """One input, and what is to be done with it."""

    number: int
    """Its place among the inputs."""
    path: Path
    folder: Path
    """Of its results."""
    settings: AnalysisSettings
    origin: Origin
    """Of the results, but for the input's fingerprint."""
    threads: int = 1
    """Of the large transforms."""
    resume: bool = False
    """Results of the same origin are kept."""
    keep_frames: bool = False
    """The results of the frames stay in the journal when the files are written."""
    ahead: int = 0
    """So many frames on, the disk is asked to read; 0 where the next frames are others' on other machines."""


@dataclass(frozen=True)
class Open:
    """Task: look at an input. Gives ``Opened``, or ``InputResult`` where that was all."""

    job: Job


@dataclass(frozen=True)
class Opened:
    """An input with frames to be analysed."""

    job: Job
    n_frames: int
    origin: Origin
    """With the fingerprint of the input, or with a mark in its place until ``Sign`` is done."""
    stamp: tuple[tuple[str, int, int], ...]
    """Name, size and time of change of its files."""
    missing: tuple[int, ...]
    """Positions of the frames to be analysed."""
    indices: tuple[int, ...]
    """Of each frame its number in the file, as tables have it: others may have been chosen, or averaged."""
    series: Mapping[str, Any]
    """What the record of the run says of it."""

    @property
    def signed(self) -> bool:
        """Whether the fingerprint of the input is known."""
        return not self.origin.input_sha256.startswith(_MARK)

    def tasks(self) -> Iterator[Analyze]:
        """Make a task of each frame to be analysed."""
        mark = _mark_of(self.stamp)
        return (Analyze(self.job, position, self.indices[position], mark) for position in self.missing)


@dataclass(frozen=True)
class Sign:
    """Task: take the fingerprint of an input beside its first frames. Gives ``Opened`` with it."""

    opened: Opened


@dataclass(frozen=True)
class Analyze:
    """Task: analyse one frame and put its result into the journal. Gives None, or the ``Failure`` of the frame."""

    job: Job
    position: int
    index: int
    """Its number in the file."""
    mark: str
    """Of the input's stamp when it was opened. No more of ``Opened``: that grows with the series."""


@dataclass(frozen=True)
class Write:
    """Task: write the files of an input whose frames are done. Gives ``InputResult``."""

    opened: Opened
    failures: tuple[Failure, ...]


Task = Open | Sign | Analyze | Write


def do_task(task: Task) -> Any:
    """Do any of the tasks; what goes wrong with a frame or an input is returned, not raised."""
    match task:
        case Open(job):
            return guarded(job.path, lambda: open_input(job))
        case Sign(opened):
            return guarded(opened.job.path, lambda: sign_input(opened))
        case Analyze():
            return _analyze_into_journal(task)
        case Write(opened, failures):
            return guarded(opened.job.path, lambda: write_input(opened, failures))


def guarded(path: Path, do: Callable[[], Any]) -> Any:
    """Make any error the ``InputResult`` of this input: it is lost, the others must not be."""
    try:
        return do()
    except Exception as error:  # a fault of ours as well
        if not isinstance(error, FringemapError):
            log.info("%s", path, exc_info=True)
        return failed_input(path, error)


def failed_input(path: Path, error: Exception) -> InputResult:
    """Say how an input failed as a whole."""
    failure = failure_of(path, None, error)
    return InputResult(path, None, None, summarise(path.name, [], [failure], None), (failure,))


def failure_of(path: Path, frame: int | None, error: Exception) -> Failure:
    """Put an error into the words of ``errors.csv``."""
    message = str(error) if isinstance(error, FringemapError) else _own_fault(error)
    if isinstance(error, OutputError):
        message = f"{message}; {RESUME_HINT}"
    return Failure(str(path), frame, type(error).__name__, message)


def _own_fault(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(f" in {Path(step.filename).name}, line {step.lineno}" for step in where)
    return f"a fault in fringemap ({type(error).__name__}{place}: {error}); please report it"


def open_input(
    job: Job, *, truth: Truth | None = None, watch: Callable[[FrameResult], None] | None = None
) -> Opened | InputResult:
    """Look at an input: what is left to do? A single frame is analysed and written at once.

    Raises
    ------
    FringemapError
        The input cannot be read, has no pixel size, or its folder cannot be written.
    """
    stamp = stamp_of(job.path)
    with read(job.path, settings=job.settings.read, workers=job.threads) as series:
        require_scale(series, job.settings)
        unsigned = replace(job.origin, input_sha256=_mark_of(stamp))
        # A long input is read through beside its first frames, unless results of an earlier run may be those of it.
        at_once = len(series) == 1 or (job.resume and bool(earlier_origins(job.folder)))
        origin = replace(unsigned, input_sha256=sha256(job.path)) if at_once else unsigned
        finished = _finished_before(job, origin) if job.resume else None
        if finished is not None:
            return finished
        journal = Journal(job.folder)
        journal.begin(origin, keep=job.resume, unsigned=unsigned)
        missing = sorted(set(range(len(series))) - journal.done())
        indices = tuple(stored[0] for stored in series.stored)
        opened = Opened(job, len(series), origin, stamp, tuple(missing), indices, _described(series))
        if len(series) > 1 or not missing or job.keep_frames:
            return opened
        return _write(opened, _watched(_analyze_frames(opened, series), watch), truth)


def sign_input(opened: Opened) -> Opened:
    """Take the fingerprint of an input, and put it to the results of its frames.

    Raises
    ------
    FringemapError
        The input cannot be read, or its folder cannot be written.
    """
    if opened.signed:
        return opened
    origin = replace(opened.origin, input_sha256=sha256(opened.job.path))
    Journal(opened.job.folder).sign(origin)
    return replace(opened, origin=origin)


def write_input(
    opened: Opened,
    failures: Iterable[Failure] = (),
    *,
    truth: Truth | None = None,
    watch: Callable[[FrameResult], None] | None = None,
) -> InputResult:
    """Write the files of an input from its journal, and remove that if every frame is there.

    Raises
    ------
    OutputError
        A file cannot be written; the journal stays.
    ReadError
        The input has changed since it was opened.
    """
    close_series()
    opened = sign_input(opened)
    known = {failure.frame: failure for failure in failures}
    stored = (known.get(index) or stored_result(opened, n) for n, index in enumerate(opened.indices))
    return _write(opened, _watched(stored, watch), truth)


def _write(opened: Opened, results: Iterator[FrameResult | Failure], truth: Truth | None) -> InputResult:
    with open_files(opened.job) as writer:
        for result in results:
            writer.add(result)
        return finish_files(writer, opened, truth=truth)


def open_files(job: Job) -> AbstractContextManager[ResultsWriter]:
    """Open the files of an input."""
    settings = job.settings
    return open_results(job.folder, settings=settings.report, series=settings.series, dose_rate=settings.read.dose_rate)


def finish_files(writer: ResultsWriter, opened: Opened, *, truth: Truth | None = None) -> InputResult:
    """Finish the files of an input when all its frames are in them, and remove the journal if none failed.

    Raises
    ------
    OutputError
        A file cannot be written.
    ReadError
        The input has changed since it was opened; one that is gone has not.
    """
    job = opened.job
    let_spare_memory_go()
    if job.path.exists() and not {*stamp_of(job.path)} <= {*opened.stamp}:
        raise ReadError(
            f"{job.path.name} changed while it was analysed; repeat the run with --resume when it is complete"
        )
    written = writer.finish(_provenance(opened), truth=truth)
    if not written.failures and not job.keep_frames:
        Journal(job.folder).remove()
    return InputResult(
        job.path,
        job.folder,
        written.page,
        written.summary,
        written.failures,
        opened.series["warnings"],
        written.probabilities,
    )


def _watched(
    results: Iterator[FrameResult | Failure], watch: Callable[[FrameResult], None] | None
) -> Iterator[FrameResult | Failure]:
    for result in results:
        if watch and isinstance(result, FrameResult):
            watch(result)
        yield result


def stored_result(opened: Opened, position: int) -> FrameResult | Failure:
    """Take the result of a frame from the journal; one that is damaged has failed, and will be missing next time."""
    journal = Journal(opened.job.folder)
    try:
        return journal.load(position)
    except ReadError as error:
        journal.forget(position)
        return failure_of(opened.job.path, opened.indices[position], error)


def _analyze_frames(opened: Opened, series: FrameSeries) -> Iterator[FrameResult | Failure]:
    for position in opened.missing:
        try:
            yield _analyzed(opened.job, series, position)
        except Exception as error:  # a fault of ours as well: the other frames must not be lost
            yield failure_of(opened.job.path, opened.indices[position], error)


def _analyze_into_journal(task: Analyze) -> Failure | None:
    job = task.job
    try:
        result = _analyzed(job, _open_series(job, task.mark), task.position)
        Journal(job.folder).save(task.position, result)
        _note_rank(job, task.position, result)
    except Exception as error:  # see above
        return failure_of(job.path, task.index, error)
    return None


def _analyzed(job: Job, series: FrameSeries, position: int) -> FrameResult:
    references = references_for(job.settings, job.origin.phases_sha256)
    frame = series[position]
    if job.ahead:
        read_ahead(series, position + job.ahead, job.settings.read)
    pictures = _pictures_for(job, series, position)
    result = analyze_frame(frame, references, settings=job.settings, workers=job.threads, pictures=pictures)
    return replace(result, warnings=(*series.warnings, *result.warnings))


def _pictures_for(job: Job, series: FrameSeries, position: int) -> Pictures | Callable[[Match, Spots], Pictures]:
    """What somebody will look at: figures, a video, who asks for the stored results, or the drift of a series."""
    figures, alone = job.settings.report.figures, len(series) == 1
    if job.keep_frames or (figures and (alone or job.settings.series.video)):
        return "all"
    if not figures:
        return "none" if alone else "frame"
    return lambda match, spots: "all" if _may_be_shown(job, position, match, spots) else "frame"


_ranks = threading.local()
"""How much the frames show that this thread has put into the journal of an input, as far as figures may show them."""


def _may_be_shown(job: Job, position: int, match: Match, spots: Spots) -> bool:
    """Whether no frame before it, as far as this thread knows, shows as much: figures show the first with the most."""
    ranks = _ranks.of_frames if getattr(_ranks, "job", None) == job else {}
    rank, journal = richness(match, spots), Journal(job.folder)
    return not any(p < position and other >= rank and journal.has(p) for p, other in ranks.items())


def _note_rank(job: Job, position: int, result: FrameResult) -> None:
    """Remember a frame that is safe in the journal, with its pictures."""
    if getattr(_ranks, "job", None) != job:
        _ranks.job, _ranks.of_frames = job, {}
    if result.shown_spectrum.size:
        _ranks.of_frames[position] = richness(result.match, result.spots)


@lru_cache(maxsize=8)
def references_for(settings: AnalysisSettings, phases_sha256: str) -> tuple[Reflections, ...]:
    """Load the phases once a process; those of the run, and no others.

    Raises
    ------
    StructureError
        Their files have changed since.
    """
    references = load_phases(settings)
    if fingerprint(references) != phases_sha256:
        raise StructureError("the files that define the phases changed during the run; start it again")
    return references


_open = threading.local()
"""The series that this thread has open: to open a large file anew takes longer than to read one of its frames."""


def _open_series(job: Job, mark: str) -> FrameSeries:
    key = (job.path, job.settings.read, mark)
    if getattr(_open, "key", None) != key:
        close_series()
        _open.series = read(job.path, settings=job.settings.read, workers=job.threads)
        _open.key = key
    series: FrameSeries = _open.series
    return series


def close_series() -> None:
    """Close what this thread has open."""
    if getattr(_open, "key", None) is not None:
        _open.key = None
        _open.series.close()


def stamp_of(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change of the files that an input is made of.

    Raises
    ------
    ReadError
        It is not there.
    """
    try:
        return tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files_of(path))
    except OSError as error:
        raise ReadError(f"{path} does not exist; check the name") from error


def _mark_of(stamp: tuple[tuple[str, int, int], ...]) -> str:
    return _MARK + hashlib.sha256(repr(stamp).encode()).hexdigest()


def require_scale(series: FrameSeries, settings: AnalysisSettings | None = None) -> None:
    """Refuse a series without a pixel size; with settings, not a single frame of phases that they name.

    Raises
    ------
    CalibrationError
        With the reader's reason.
    """
    alone = settings is not None and len(series) == 1
    if series.scale is None and not (alone and settings and may_seek_scale(settings.phases)):
        # The reader's first warning says why, and the way out.
        reason = series.warnings[0] if series.warnings else "the pixel size is unknown; give it with --pixel-size"
        other = (
            "name the few phases that the frame may show with --phases, to seek it by ratios and angles"
            if alone
            else "calibrate one of its frames with fringemap calibrate"
        )
        raise CalibrationError(f"{series.path.name}: {reason}; or {other}")


def _finished_before(job: Job, origin: Origin) -> InputResult | None:
    """Give the result of an earlier run of the same origin, if all its frames were done."""
    record = job.folder / RUN_NAME
    if read_origin(record) != origin:
        return None
    run = json.loads(record.read_text(encoding="utf-8"))
    if run["status"] != "done":
        return None
    if not job.keep_frames:
        # A run that was killed after its last file was written.
        Journal(job.folder).remove()
    page = job.folder / PAGE_NAME
    warnings = tuple(run["series"]["warnings"])
    return InputResult(
        job.path,
        job.folder,
        page if page.exists() else None,
        run["summary"],
        (),
        warnings,
        name_probabilities(run["frames"]),
    )


def _described(series: FrameSeries) -> dict[str, Any]:
    return {
        "format": series.format,
        "n_frames": len(series),
        "times_source": series.times_source,
        "metadata": dict(series.metadata),
        "warnings": series.warnings,
    }


def _calibration(opened: Opened) -> dict[str, Any]:
    """What the calibration file said, if there is one."""
    name = opened.job.settings.read.calibration
    if not name:
        return {}
    found = read_calibration(expanded(name))
    return {"calibration": found, "calibration_sha256": opened.origin.calibration_sha256}


def _model(opened: Opened) -> dict[str, Any]:
    """Which network found the spots, if one did."""
    settings = opened.job.settings.spots
    if settings.detector != "unet":
        return {}
    model = load_model(settings.model)
    hashes = {"sha256": model.sha256, "package_sha256": opened.origin.model_sha256}
    return {"model": {"name": model.name, "folder": model.folder, **hashes}}


def _provenance(opened: Opened) -> dict[str, Any]:
    path = opened.job.path
    return {
        "input": path.name,
        "inputs": [{"path": str(path.absolute()), "sha256": opened.origin.input_sha256}],
        "settings": opened.job.settings,
        "phases_sha256": opened.origin.phases_sha256,
        **_calibration(opened),
        **_model(opened),
        "series": opened.series,
        "versions": {name: version_of(name) for name in ("numpy", "scipy", "gemmi", "rosettasciio")},
    }
