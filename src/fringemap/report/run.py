"""The record of a run, ``run.json``, and the front page over all inputs, ``index.html``."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.report.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUN_NAME = "run.json"
INDEX_NAME = "index.html"
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
