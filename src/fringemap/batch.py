"""Many inputs: each analysed for itself, in this process or in several; a bad one never ends the rest."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fringemap.errors import CalibrationError, FringemapError, OutputError, ReadError
from fringemap.io import find_inputs, read, sha256
from fringemap.pipeline import analyze_frame, load_phases
from fringemap.records import FrameResult
from fringemap.report import Failure, write_errors_csv, write_index, write_results, write_summary_csv
from fringemap.settings import AnalysisSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fringemap.io import FrameSeries
    from fringemap.records import Reflections, Truth

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InputResult:
    """How the analysis of one input ended."""

    path: Path
    folder: Path | None
    """Where its results lie; None if there are none."""
    page: Path | None
    summary: Mapping[str, Any] | None
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...] = ()


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
        Told after each frame of an input analysed here, and after each whole input otherwise.

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
    inputs, results = _collect(patterns)
    folders = _folders(inputs, out)
    n_processes = min(workers or os.cpu_count() or 1, len(inputs))
    if n_processes <= 1:
        threads = workers or os.cpu_count() or 1
        done = {
            path: analyze_input(path, folders[path], settings, progress=progress, threads=threads) for path in inputs
        }
    else:
        done = _in_processes(inputs, folders, settings, n_processes, progress)
    results = [done[path] for path in inputs] + results
    _write_overview(out, results)
    return results


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
        log.exception("%s", path)
        return _failed(path, error)


def _require_scale(series: FrameSeries) -> None:
    if series.scale is None:
        reason = series.warnings[0] if series.warnings else "the file states no pixel size"
        raise CalibrationError(f"{series.path.name} is not calibrated ({reason}); give --pixel-size NM")


def _analyze_frames(
    series: FrameSeries,
    references: Sequence[Reflections],
    settings: AnalysisSettings,
    threads: int,
) -> Iterator[FrameResult | Failure]:
    for i in range(len(series)):
        try:
            result = analyze_frame(series[i], references, settings=settings, workers=threads)
            yield dataclasses.replace(result, warnings=(*series.warnings, *result.warnings))
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
    inputs: Sequence[Path],
    folders: Mapping[Path, Path],
    settings: AnalysisSettings,
    n_processes: int,
    progress: Callable[[str, int, int], None] | None,
) -> dict[Path, InputResult]:
    done: dict[Path, InputResult] = {}
    # A fresh interpreter for each worker: forking a process that has threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, mp_context=context) as pool:
        futures = {pool.submit(analyze_input, path, folders[path], settings): path for path in inputs}
        for future in as_completed(futures):
            path = futures[future]
            try:
                done[path] = future.result()
            except OutputError:
                raise
            except Exception as error:  # a worker died: its input is lost, the rest goes on
                done[path] = _failed(path, error)
            if progress:
                progress(path.name, len(done), len(inputs))
    return done


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
    message = str(error) or type(error).__name__
    failure = Failure(str(path), None, type(error).__name__, message)
    return InputResult(path, None, None, None, (failure,))


def _write_overview(out: Path, results: Sequence[InputResult]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error.strerror}; choose another folder with -o") from error
    write_summary_csv(out / "summary.csv", [r.summary for r in results if r.summary is not None])
    write_errors_csv(out / "errors.csv", [failure for r in results for failure in r.failures])
    entries = [{"folder": r.folder.name, "summary": r.summary} for r in results if r.folder and r.summary is not None]
    write_index(out / "index.html", entries)
