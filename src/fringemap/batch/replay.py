"""Repeat a run from its record, and say whether anything differs."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fringemap.batch.journal import origin_of, read_origin
from fringemap.batch.run import analyze_inputs
from fringemap.errors import OutputError, ReadError
from fringemap.io import sha256
from fringemap.pipeline import load_phases
from fringemap.report.run import RUN_NAME
from fringemap.settings import settings_from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fringemap.batch.work import InputResult
    from fringemap.settings import AnalysisSettings

TIMES = "seconds"
"""What every number is called that says how long something took; these are never compared."""
_MOST_TOLD = 5
_COMPARED = ("status", "frames", "warnings", "series")


@dataclass(frozen=True)
class Replay:
    """A run that was repeated."""

    result: InputResult
    differences: tuple[str, ...]
    """What is not as it was, a sentence each; empty if all is."""
    remarks: tuple[str, ...]
    """What was other in making it: versions, files of phases."""


def replay_run(
    record: Path,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Replay:
    """Repeat the run that a ``run.json`` records, with its input and settings, and compare.

    Parameters
    ----------
    record
        ``run.json`` of an input; tables and maps are expected beside it.
    out
        Folder for the new results, which must not be that of the old ones.

    Raises
    ------
    ReadError
        The record is none, or its input is gone or has another content now.
    OutputError
        ``out`` would replace the results that the record belongs to.
    """
    run = _read_record(record)
    path, settings = _input_of(run, record), settings_from_mapping(run["settings"], origin=str(record))
    if out.resolve() == record.resolve().parent.parent:
        raise OutputError(f"{out} holds the run that is to be repeated; choose another folder with -o")
    remarks = _remarks(record, settings)
    (result,) = analyze_inputs([path], out, settings=settings, workers=workers, progress=progress)
    if result.folder is None:
        return Replay(result, tuple(failure.message for failure in result.failures), remarks)
    return Replay(result, tuple(compare_results(result.folder, record.parent)), remarks)


def _read_record(record: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"{record} cannot be read: {error.strerror}; give the run.json of an input") from error
    except ValueError as error:
        raise ReadError(f"{record} is no record of a run: {error}; give the run.json of an input") from error
    if not isinstance(run, dict) or read_origin(record) is None:
        raise ReadError(f"{record} is no record of a run; give the run.json of an input")
    return run


def _input_of(run: dict[str, Any], record: Path) -> Path:
    entry = run["inputs"][0]
    path = Path(entry["path"])
    if not path.exists():
        raise ReadError(f"{path}, the input of {record}, is not there any more; put it back")
    if sha256(path) != entry["sha256"]:
        raise ReadError(f"{path} has another content than when {record} was made; put the old one back")
    return path


def _remarks(record: Path, settings: AnalysisSettings) -> tuple[str, ...]:
    before, now = read_origin(record), origin_of(settings, load_phases(settings))
    return tuple(now.differences(before)) if before else ()


def compare_results(folder: Path, earlier: Path) -> list[str]:
    """Compare tables cell by cell, maps byte by byte, and the records; times are left out.

    Returns
    -------
    list of str
        A sentence for each difference, few of each file.
    """
    names = sorted({path.name for place in (folder, earlier) for path in place.glob("*.csv")})
    told: list[str] = []
    for name in names:
        told += _at_most(name, _table_differences(folder / name, earlier / name))
    for name in sorted({path.name for place in (folder, earlier) for path in place.glob("*.tif")}):
        if _content(folder / name) != _content(earlier / name):
            told.append(f"{name} differs")
    return told + _at_most(RUN_NAME, _record_differences(folder / RUN_NAME, earlier / RUN_NAME))


def _at_most(name: str, found: Iterator[str]) -> list[str]:
    told = [f"{name}: {text}" for text in itertools.islice(found, _MOST_TOLD)]
    left = sum(1 for _ in found)
    return [*told, f"{name}: {left} more differences"] if left else told


def _table_differences(path: Path, earlier: Path) -> Iterator[str]:
    if not (path.exists() and earlier.exists()):
        yield "is new" if path.exists() else "is missing now"
        return
    with path.open(encoding="utf-8", newline="") as new, earlier.open(encoding="utf-8", newline="") as old:
        rows = itertools.zip_longest(csv.reader(new), csv.reader(old))
        columns, were = next(rows, ([], []))
        if columns != were:
            yield "has other columns"
            return
        for number, (row, was) in enumerate(rows, start=1):
            yield from _row_differences(number, columns or [], row, was)


def _row_differences(number: int, columns: list[str], row: list[str] | None, was: list[str] | None) -> Iterator[str]:
    if row is None or was is None:
        yield f"row {number} is {'missing now' if row is None else 'new'}"
        return
    for column, value, before in zip(columns, row, was, strict=True):
        if value != before and column != TIMES:
            yield f"row {number}, {column}: {value or 'empty'}, was {before or 'empty'}"


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _record_differences(path: Path, earlier: Path) -> Iterator[str]:
    new, old = (without_times(json.loads(p.read_text(encoding="utf-8"))) for p in (path, earlier))
    for key in _COMPARED:
        if new.get(key) != old.get(key):
            yield f"{key}: {_short(new.get(key))}, was {_short(old.get(key))}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else f"{text[:77]}..."


def without_times(value: Any) -> Any:
    """Leave out, at any depth, how long something took."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key != TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value
