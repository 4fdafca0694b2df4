"""Many inputs: each analysed for itself, in this process or in several; a bad one never ends the rest."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fringemap.errors import CalibrationError, FringemapError, OutputError, ReadError
from fringemap.io import find_inputs, read, sha256
from fringemap.pipeline import analyze_frame, load_phases
from fringemap.records import Frame, FrameResult, Scale, ScaleSource
from fringemap.report import Failure, write_errors_csv, write_index, write_results, write_summary_csv
from fringemap.report.lines import all_statuses, summarise
from fringemap.settings import AnalysisSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fringemap.io import FrameSeries
    from fringemap.records import Reflections, Truth
    from fringemap.settings import ReadSettings

log = logging.getLogger(__name__)


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


def analyze(
    source: str | Path | Frame,
    *,
    pixel_size_nm: float | None = None,
    phases: Sequence[str] = (),
    settings: AnalysisSettings | None = None,
) -> FrameResult:
    """Analyse one frame, and write nothing.

    Parameters
    ----------
    source
        A file, of which the first frame is taken that the settings choose; or a frame.
    pixel_size_nm
        Pixel size [nm/px] in place of the file's or the frame's own.
    phases
        Names from the library, CIFs or tables, in place of those in the settings.
    settings
        Of every step; the defaults if left out.

    Returns
    -------
    FrameResult
        Spots, match and maps.

    Raises
    ------
    ReadError, CalibrationError, StructureError, SettingsError
        The frame cannot be read or has no pixel size, a phase is unknown, or a setting is impossible.
    """
    chosen = settings or AnalysisSettings()
    if pixel_size_nm is not None:
        chosen = replace(chosen, read=replace(chosen.read, pixel_size_nm=pixel_size_nm))
    if phases:
        chosen = replace(chosen, phases=replace(chosen.phases, phases=tuple(phases)))
    references = load_phases(chosen)
    threads = os.cpu_count() or 1
    if isinstance(source, Frame):
        return analyze_frame(_rescaled(source, chosen.read), references, settings=chosen, workers=threads)
    with read(source, settings=chosen.read) as series:
        _require_scale(series)
        return analyze_frame(series[0], references, settings=chosen, workers=threads)


def _rescaled(frame: Frame, settings: ReadSettings) -> Frame:
    if settings.pixel_size_nm is None:
        return frame
    percent = 1.0 if settings.scale_sigma_percent is None else settings.scale_sigma_percent
    side = 10.0 * settings.pixel_size_nm
    return replace(frame, scale=Scale((side, side), percent / 100.0, ScaleSource.USER))


def analyze_inputs(
    patterns: Sequence[str | Path],
    out: Path,
    *,
    settings: AnalysisSettings | None = None,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[InputResult]:
    """Analyse files, folders and globs, and write everything under ``out``.

    Parameters
    ----------
    patterns
        What ``find_inputs`` understands. One that matches nothing becomes a failure, and the others go on.
    out
        Folder for the results; each input gets a folder of its own in it.
    workers
        Processes at most; all cores if left out. A single input is analysed in this process.
    progress
        Told a name, and how many of how many are done: frames of the input of that name, or ``"inputs"`` where
        several processes work.

    Returns
    -------
    list of InputResult
        One for each input and each pattern that failed, in the order given.

    Raises
    ------
    StructureError, SettingsError
        The phases that the settings name cannot be loaded; nothing has been done then.
    OutputError
        ``out`` cannot be written.
    """
    settings = settings or AnalysisSettings()
    load_phases(settings)
    _make_folder(out)
    inputs, failed = _collect(patterns)
    folders = _folders(inputs, out)
    threads = workers or os.cpu_count() or 1
    n_processes = min(threads, len(inputs))
    if n_processes <= 1:
        done = [analyze_input(path, folders[path], settings, progress=progress, threads=threads) for path in inputs]
    else:
        work = functools.partial(_analyze_alone, folders=folders, settings=settings)
        done = _in_processes(work, inputs, n_processes, progress)
    results = done + failed
    _write_overview(out, results)
    return results


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error.strerror}; choose another folder with -o") from error


def _collect(patterns: Sequence[str | Path]) -> tuple[list[Path], list[InputResult]]:
    """Inputs of all patterns, each once, and the patterns that failed."""
    inputs: dict[Path, None] = {}
    failed = []
    for pattern in patterns:
        try:
            inputs.update(dict.fromkeys(find_inputs([pattern])))
        except ReadError as error:
            failed.append(_failed(Path(pattern), error))
    return list(inputs), failed


def _folders(inputs: Sequence[Path], out: Path) -> dict[Path, Path]:
    """A folder for each input, named by its stem; with its ending or a number where stems are equal."""
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


def analyze_input(
    path: Path,
    folder: Path,
    settings: AnalysisSettings,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    threads: int = 1,
    truth: Truth | None = None,
    watch: Callable[[FrameResult], None] | None = None,
) -> InputResult:
    """Analyse all frames of one input and write its results; an input or frame that fails is named, not raised.

    Parameters
    ----------
    path
        A file, a stack, or a folder of numbered frames.
    folder
        Where the results go.
    settings
        Of every step.
    progress
        Told the input's name, and how many of how many frames are done.
    threads
        Of the large transforms.
    truth
        What a simulated frame really holds; the page then sets it beside what was found.
    watch
        Given each frame's result as it comes.

    Raises
    ------
    OutputError
        ``folder`` cannot be written: then nothing else can either.
    """
    try:
        references = load_phases(settings)
        with read(path, settings=settings.read) as series:
            _require_scale(series)
            provenance = _provenance(path, series, settings)
            frames = _watched(_analyze_frames(series, references, settings, threads), series, progress, watch)
            written = write_results(frames, folder=folder, settings=settings.report, provenance=provenance, truth=truth)
            return InputResult(path, folder, written.page, written.summary, written.failures, series.warnings)
    except OutputError:
        raise
    except FringemapError as error:
        return _failed(path, error)
    except Exception as error:  # a fault of ours: this input is lost, the rest must not be
        log.info("%s", path, exc_info=True)
        return _failed(path, error)


def _analyze_alone(path: Path, *, folders: Mapping[Path, Path], settings: AnalysisSettings) -> InputResult:
    return analyze_input(path, folders[path], settings)


def _require_scale(series: FrameSeries) -> None:
    if series.scale is None:
        # The reader's first warning says why, and the way out.
        reason = series.warnings[0] if series.warnings else "the pixel size is unknown; give it with --pixel-size"
        raise CalibrationError(f"{series.path.name}: {reason}")


def _analyze_frames(
    series: FrameSeries,
    references: Sequence[Reflections],
    settings: AnalysisSettings,
    threads: int,
) -> Iterator[FrameResult | Failure]:
    for i in range(len(series)):
        try:
            result = analyze_frame(series[i], references, settings=settings, workers=threads)
            yield replace(result, warnings=(*series.warnings, *result.warnings))
        except FringemapError as error:
            yield Failure(str(series.path), i, type(error).__name__, str(error))


def _watched(
    frames: Iterator[FrameResult | Failure],
    series: FrameSeries,
    progress: Callable[[str, int, int], None] | None,
    watch: Callable[[FrameResult], None] | None,
) -> Iterator[FrameResult | Failure]:
    for done, frame in enumerate(frames, start=1):
        if watch and isinstance(frame, FrameResult):
            watch(frame)
        yield frame
        if progress:
            progress(series.name, done, len(series))


def _in_processes(
    work: Callable[[Path], InputResult],
    inputs: Sequence[Path],
    n_processes: int,
    progress: Callable[[str, int, int], None] | None,
) -> list[InputResult]:
    """Do the work on each input in one of several processes; results in the order of the inputs."""
    done: dict[Path, InputResult] = {}
    for result in _share_out(work, inputs, n_processes, done):
        done[result.path] = result
        if progress:
            progress("inputs", len(done), len(inputs))
    return [done[path] for path in inputs]


def _share_out(
    work: Callable[[Path], InputResult], inputs: Sequence[Path], n_processes: int, done: Mapping[Path, InputResult]
) -> Iterator[InputResult]:
    """Yield results as they come. A process that dies takes its pool along, so what is left is done one by one."""
    with suppress(BrokenProcessPool):
        yield from _in_pool(work, inputs, n_processes)
    for path in [path for path in inputs if path not in done]:
        try:
            yield from _in_pool(work, [path], 1)
        except BrokenProcessPool:
            lost = ReadError(f"{path.name} ended its process without a word; was there enough memory?")
            yield _failed(path, lost)


def _in_pool(work: Callable[[Path], InputResult], inputs: Sequence[Path], n_processes: int) -> Iterator[InputResult]:
    # A fresh interpreter for each worker: forking a process that has threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, mp_context=context) as pool:
        try:
            for future in as_completed([pool.submit(work, path) for path in inputs]):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _provenance(path: Path, series: FrameSeries, settings: AnalysisSettings) -> dict[str, Any]:
    return {
        "input": path.name,
        "inputs": [{"path": str(path), "sha256": sha256(path)}],
        "settings": settings,
        "series": {
            "format": series.format,
            "n_frames": len(series),
            "times_source": series.times_source,
            "metadata": dict(series.metadata),
        },
        "versions": {name: version(name) for name in ("numpy", "scipy", "gemmi", "rosettasciio")},
    }


def _failed(path: Path, error: Exception) -> InputResult:
    message = str(error) if isinstance(error, FringemapError) else _own_fault(error)
    failure = Failure(str(path), None, type(error).__name__, message)
    return InputResult(path, None, None, summarise(path.name, [], [failure], None), (failure,))


def _own_fault(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(f" in {Path(step.filename).name}, line {step.lineno}" for step in where)
    return f"a fault in fringemap ({type(error).__name__}{place}: {error}); please report it"


def _write_overview(out: Path, results: Sequence[InputResult]) -> None:
    write_summary_csv(out / "summary.csv", [result.summary for result in results])
    write_errors_csv(out / "errors.csv", [failure for result in results for failure in result.failures])
    write_index(out / "index.html", [_index_entry(result) for result in results])


def _index_entry(result: InputResult) -> dict[str, Any]:
    folder = result.folder or result.path
    return {"folder": folder.name, "summary": result.summary, "frames": all_statuses([], result.failures)}
