"""The record of a run, ``run.json``, and the front page over all inputs, ``index.html``."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections import Counter
from functools import lru_cache
from importlib import metadata
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from fringemap.records import ScaleSource
from fringemap.report.atomic import write_text
from fringemap.report.lines import phase_names
from fringemap.report.templates import render
from fringemap.report.words import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

RUN_NAME = "run.json"
_FIRST_KEYS = (
    "fringemap",
    "status",
    "inputs",
    "settings",
    "model",
    "scale",
    "summary",
    "frames",
    "warnings",
    "seconds",
)


@lru_cache(maxsize=8)
def version_of(package: str) -> str:
    """Version of a package; to find it on disk takes a millisecond, which counts where inputs are many."""
    return metadata.version(package)


def write_run_json(path: Path, run: Mapping[str, Any]) -> None:
    """Write the record of a run: what it read, with which settings, and how each frame ended.

    Keys keep a fixed order: version, status, inputs, settings and so on first, then any others by name. Records
    become objects, paths and enumerations text, arrays lists; numbers that are not finite become null.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    first = [key for key in _FIRST_KEYS if key in run]
    order = first + sorted(key for key in run if key not in first)
    plain = {key: to_plain(run[key]) for key in order}
    write_text(path, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def to_plain(value: Any) -> Any:
    """Make records, arrays, paths and numbers of any kind into what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.IntFlag):
        return int(value)
    if isinstance(value, enum.Enum):
        return to_plain(value.value)
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _plain_container(value)


def _plain_container(value: Any) -> Any:
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return [to_plain(item) for item in sorted(value)]
    if isinstance(value, PurePath):
        return str(value)
    return [to_plain(item) for item in value]


def write_index(path: Path, runs: Iterable[Mapping[str, Any]], *, title: str = "Results") -> None:
    """Write the front page over all inputs of a run.

    Parameters
    ----------
    path
        ``OUT/index.html``.
    runs
        Records as in ``run.json``, each with ``folder``: the name of its folder beside the page, None if it has none.
        Only ``folder`` and ``summary`` are read; page and thumbnail are linked if they are there.
    title
        What stands at the top.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    entries = [_index_entry(path.parent, run) for run in runs]
    values = {
        "version": version_of("fringemap"),
        "title": title,
        "headline": _index_headline(entries),
        "runs": entries,
        "phases": _counted(name for entry in entries for name in entry["names"]),
        "statuses": _counted(entry["status"] for entry in entries),
    }
    write_text(path, render("index.html.j2", **values))


def _counted(words: Iterable[str]) -> list[tuple[str, int]]:
    """Each word with how often it is there, in alphabetical order."""
    return sorted(Counter(words).items(), key=lambda item: (item[0].casefold(), item[0]))


_LEVELS = {"done": "green", "partly failed": "amber"}


def _index_entry(root: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    summary, folder = run["summary"], run["folder"]
    pixel = summary.get("pixel_size_x_nm")
    calibrated = pixel is not None and math.isfinite(pixel) and summary.get("scale_source") != ScaleSource.NONE.value
    failed = [str(frame["message"]) for frame in run.get("frames", []) if frame.get("message")]
    return {
        "name": summary["input"],
        "page": _link(root, folder, "report.html"),
        "thumbnail": _link(root, folder, "figures/thumbnail.jpg"),
        "status": summary["status"],
        "level": _LEVELS.get(str(summary["status"]), "red"),
        "n_frames": summary["n_frames"],
        "n_spots": summary["n_spots"],
        "n_unknown": summary["n_unknown_spots"],
        "phases": summary["phases"] or "–",
        "names": phase_names(str(summary["phases"] or "")),
        "pixel": f"{pixel:.5g}" if calibrated else "–",
        "remarks": "; ".join([*failed[:3], summary.get("warnings") or ""]).strip("; ") or "–",
    }


def _link(root: Path, folder: str | None, name: str) -> str | None:
    if folder is None:
        return None
    # A name may hold what an address may not: blanks, '#', '%'.
    return quote(f"{folder}/{name}") if (root / folder / name).exists() else None


def _index_headline(entries: list[dict[str, Any]]) -> str:
    named = sum(entry["phases"] != "–" for entry in entries)
    failed = sum(entry["level"] != "green" for entry in entries)
    said = f"{count(len(entries), 'input').capitalize()}: phases named in {named or 'none'}"
    return f"{said}; {failed} failed at least in part." if failed else f"{said}."
