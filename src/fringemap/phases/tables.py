"""Tables of d-spacings that users write: component, hkl, d in Å, as in the paper; or a plain range of d-spacings.

Only d can be compared with such a table: it knows no atoms, so no intensities, and no cell, so no angles.
"""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fringemap.errors import StructureError
from fringemap.records import Reflections

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fringemap.phases.lattice import Hkl

D_LIMITS_ANGSTROM = (0.3, 100.0)
"""What a d-spacing of a crystal can be; a value outside is a slip of the unit."""

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")

MAX_RANGE = 1000
"""Most d-spacings in one range; more cannot be told apart in any diffractogram."""

_COMPONENT_TITLES = ("component", "compound", "material", "name", "phase")
_HKL_TITLES = ("hkl", "plane", "planes", "miller", "phase")
_D_TITLES = ("d", "dspacing", "dangstrom", "dspacingangstrom", "spacing", "dvalue", "da", "då")

_RANGE = re.compile(r"\s*([\d.]+)\s*:\s*([\d.]+)\s*:\s*([\d.]+)\s*")


class _Line(NamedTuple):
    component: str
    hkl: Hkl
    d_angstrom: float


class _Columns(NamedTuple):
    component: int = 0
    hkl: int = 1
    d: int = 2


def read_d_table(path: str | Path) -> tuple[Reflections, ...]:
    """Read a CSV of component, hkl, d [Å], with or without a line of titles.

    Commas, semicolons and tabs separate; lines that start with ``#`` and empty lines are skipped. With titles the
    columns may stand in any order and more of them may follow (``component, phase, d, ranking`` of the paper's later
    tables); without, the order is component, hkl, d. hkl may be written ``(20-2)``, ``011``, ``1 1 1``, ``1,0,-2`` in
    quotes, or empty.

    Returns
    -------
    tuple of Reflections
        One for each component, in the order of the file; lines in falling order of d, intensities NaN.

    Raises
    ------
    StructureError
        The file cannot be read, or a line makes no sense; the message names file and line.
    """
    path = Path(path)
    rows = _read_rows(path)
    if not rows:
        raise StructureError(f"{path} holds no d-spacings; write lines such as: LiF,(111),2.325")
    columns = _columns_of_titles(rows[0][1], path)
    body = rows if columns is None else rows[1:]
    lines = [_parse_line(cells, columns or _Columns(), f"{path}, line {number}") for number, cells in body]
    components = dict.fromkeys(line.component for line in lines)
    return tuple(_reflections(name, [line for line in lines if line.component == name]) for name in components)


def parse_hkl(text: str) -> Hkl:
    """Miller indices from ``(20-2)``, ``011``, ``1 1 1``, ``-1,0,4`` or four indices ``(10-10)``, ``1 0 -1 0``.

    Raises
    ------
    StructureError
        The text holds no three (or four consistent) indices, or could be read in two ways.
    """
    inner = text.strip().strip("(){}[]").strip()
    words = [word for word in re.split(r"[\s,;]+", inner) if word]
    if len(words) == 1:
        words = re.findall(r"[-−\u0304]?\d", inner) if re.fullmatch(r"(?:[-−]?\d)+", inner) else []
    try:
        indices = [int(word.replace("−", "-")) for word in words]
    except ValueError:
        indices = []
    if len(indices) == 4 and indices[0] + indices[1] + indices[2] == 0:
        del indices[2]
    if len(indices) != 3:
        raise StructureError(
            f'"{text}" is not a plane; write three indices as in (20-2) or 011, with spaces if one has two digits'
        )
    return indices[0], indices[1], indices[2]


def parse_zone(text: str) -> Hkl:
    """Direction [uvw] from ``0,0,1``, ``001``, ``[1 -1 0]``: three indices, not all zero.

    Raises
    ------
    StructureError
        The text is no direction. Four indices are refused: those of a direction are not those of a plane.
    """
    try:
        uvw = parse_hkl(text)
    except StructureError:
        uvw = (0, 0, 0)
    apart = re.search(r"\d[\s,;]", text) is not None
    four = len(re.findall(r"\d+" if apart else r"\d", text)) == 4
    if not any(uvw) or four:
        raise StructureError(f'"{text}" is no zone axis; write three whole numbers, such as 0,0,1 or [1 -1 0]')
    return uvw


def is_d_range(text: str) -> bool:
    """Whether a text has the form start:stop:step."""
    return _RANGE.fullmatch(text) is not None


def parse_d_range(text: str) -> tuple[Reflections, ...]:
    """Expand the paper's custom range of d-spacings, ``start:stop:step`` in Å, both ends included.

    Each value makes a phase of its own, called by its d.

    Raises
    ------
    StructureError
        The three numbers make no range, or one of more than 1000 values.
    """
    match = _RANGE.fullmatch(text)
    try:
        start, stop, step = (float(number) for number in match.groups()) if match else (math.nan,) * 3
    except ValueError:
        start = stop = step = math.nan
    low, high = D_LIMITS_ANGSTROM
    if not (low <= start <= stop <= high and step > 0.0):
        raise StructureError(
            f'"{text}" is no range of d-spacings; write start:stop:step in Å, as in 1:5:0.1, from {low} to {high} Å'
        )
    count = math.floor((stop - start) / step + 1e-6) + 1
    if count > MAX_RANGE:
        raise StructureError(f'"{text}" makes {count} d-spacings; at most {MAX_RANGE} are allowed: take a larger step')
    decimals = max(2, len(match.group(3).partition(".")[2])) if match else 2
    values = start + step * np.arange(count)
    return tuple(_reflections(f"d={d:.{decimals}f}", [_Line("", (0, 0, 0), float(d))]) for d in values)


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Cells of each line with content, and the line's number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise StructureError(f"{path} cannot be read ({reason}); check the name of the table") from error
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and line.lstrip()[0] != "#"
    ]
    if not numbered:
        return []
    delimiter = _delimiter(line for _, line in numbered)
    parsed = csv.reader((line for _, line in numbered), delimiter=delimiter, skipinitialspace=True)
    return [(number, [cell.strip() for cell in cells]) for (number, _), cells in zip(numbered, parsed, strict=True)]


def _delimiter(lines: Iterable[str]) -> str:
    """Find the separator: a semicolon or tab separates if the first line has one; a comma may then stand inside hkl."""
    first = next(iter(lines))
    return next((mark for mark in ("\t", ";") if mark in first), ",")


def _columns_of_titles(cells: Sequence[str], path: Path) -> _Columns | None:
    """Which column is what, or None if the first line is data already."""
    titles = [re.sub(r"[^a-zå]", "", cell.lower()) for cell in cells]
    if not any(title in _D_TITLES for title in titles):
        return None
    d = next(i for i, title in enumerate(titles) if title in _D_TITLES)
    component = _position(titles, _COMPONENT_TITLES)
    if component is None:
        raise StructureError(f"{path}: no column is called component; title the columns component, hkl, d")
    # "phase" means the component in a table with hkl beside it, and hkl in the paper's later tables.
    hkl = _position([t if i != component else "" for i, t in enumerate(titles)], _HKL_TITLES)
    return _Columns(component, -1 if hkl is None else hkl, d)


def _position(titles: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((titles.index(title) for title in wanted if title in titles), None)


def _parse_line(cells: Sequence[str], columns: _Columns, where: str) -> _Line:
    if len(cells) <= max(columns):
        raise StructureError(f"{where}: {len(cells)} cells where component, hkl and d are needed; add what is missing")
    component = cells[columns.component]
    if not component:
        raise StructureError(f"{where}: the component has no name; write one")
    try:
        text = cells[columns.hkl] if columns.hkl >= 0 else ""
        hkl = parse_hkl(text) if text else (0, 0, 0)
    except StructureError as error:
        raise StructureError(f"{where}: {error}") from error
    return _Line(component, hkl, _parse_d(cells[columns.d], where))


def _parse_d(text: str, where: str) -> float:
    try:
        d = float(text)
    except ValueError:
        raise StructureError(f'{where}: "{text}" is no d-spacing; write a number in Å with a decimal point') from None
    low, high = D_LIMITS_ANGSTROM
    if not low <= d <= high:
        raise StructureError(f"{where}: d = {d} Å is out of range; allowed: {low} to {high} Å (is it in nm?)")
    return d


def _reflections(phase: str, lines: Sequence[_Line]) -> Reflections:
    lines = sorted(lines, key=lambda line: -line.d_angstrom)
    return Reflections(
        phase=phase,
        hkl=np.array([line.hkl for line in lines], dtype=np.int64),
        d_spacing=np.array([line.d_angstrom for line in lines]),
        multiplicity=np.zeros(len(lines), dtype=np.int64),
        intensity=np.full(len(lines), np.nan),
    )
