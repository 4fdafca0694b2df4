"""The structures that fringemap knows, and the ones that users name: names, CIFs, folders, tables, ranges."""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import gemmi

from fringemap.errors import StructureError
from fringemap.phases.cif import read_cif
from fringemap.phases.reflections import compute_reflections
from fringemap.phases.tables import is_d_range, parse_d_range, read_d_table
from fringemap.records import Reflections, Structure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fringemap.settings import PhaseSettings

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")


def list_structures() -> tuple[str, ...]:
    """Names of all built-in structures, in alphabetical order."""
    return tuple(sorted((structure.name for structure in _library().values()), key=str.casefold))


def load_structure(name_or_path: str | Path) -> Structure:
    """Load a built-in structure by its name, or the structure of a CIF.

    Parameters
    ----------
    name_or_path
        Case, spaces, dots and hyphens of a name do not matter: "ice Ih", "iceih". A text that ends in
        ``.cif`` is a path.

    Raises
    ------
    StructureError
        The name is unknown (the message lists names that are close), or the file is unusable.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.lower().endswith(".cif"):
        return read_cif(name_or_path)
    structure = _library().get(_key(text))
    if structure is None:
        raise StructureError(f'no structure is called "{text}"; {_suggestion(text)}')
    return structure


def load_folder(folder: str | Path) -> tuple[Structure, ...]:
    """Load the structures of all CIFs directly in a folder, in the order of the file names.

    Raises
    ------
    StructureError
        The folder does not exist or holds no CIF, or one of them is unusable.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StructureError(f"{folder} is no folder; name a folder with CIFs")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".cif")
    if not paths:
        raise StructureError(f"the folder {folder} holds no .cif file; put the CIFs directly into it")
    return tuple(read_cif(path) for path in paths)


def load_references(settings: PhaseSettings, *, d_min_angstrom: float) -> tuple[Reflections, ...]:
    """Load what spots are compared with: the reflections of every phase that the user named.

    Parameters
    ----------
    settings
        ``phases``: library names, CIFs, folders of CIFs, CSV tables of component, hkl, d, or ranges start:stop:step
        in Å; the whole library if empty. ``elements``: structures with any other element are left out; tables stay,
        since they know no elements. ``min_intensity_percent``: as in ``compute_reflections``.
    d_min_angstrom
        Smallest d-spacing [Å].

    Returns
    -------
    tuple of Reflections
        One a phase, in the order of the settings; every phase has a name of its own.

    Raises
    ------
    StructureError
        A name is unknown, a file unusable, or nothing is left to compare with.
    """
    allowed = _check_elements(settings.elements)
    loaded = [item for name in settings.phases or list_structures() for item in _load(name)]
    kept = [item for item in loaded if isinstance(item, Reflections) or not allowed or item.elements <= allowed]
    if not kept:
        raise StructureError(
            f"no phase consists of {', '.join(sorted(allowed))} alone; allow more elements or name other phases"
        )
    references = [
        _above(item, d_min_angstrom)
        if isinstance(item, Reflections)
        else compute_reflections(
            item, d_min_angstrom=d_min_angstrom, min_intensity_percent=settings.min_intensity_percent
        )
        for item in kept
    ]
    return _with_distinct_names(references)


@functools.cache
def _library() -> dict[str, Structure]:
    """Built-in structures by the key of their name."""
    folder = resources.files("fringemap.phases") / "structures"
    with resources.as_file(folder) as path:
        structures = [read_cif(file) for file in sorted(path.glob("*.cif"))]
    return {_key(structure.name): structure for structure in structures}


def structure_path(name: str) -> Path:
    """Path of a built-in structure's CIF: it holds the whole provenance.

    Raises
    ------
    StructureError
        The name is unknown.
    """
    folder = resources.files("fringemap.phases") / "structures"
    with resources.as_file(folder) as path:
        return path / f"{load_structure(name).name.replace(' ', '_')}.cif"


def _key(name: str) -> str:
    return re.sub(r"[\s·._-]+", "", name).casefold()


def _suggestion(name: str) -> str:
    names = {_key(known): known for known in list_structures()}
    close = difflib.get_close_matches(_key(name), names, n=4, cutoff=0.5)
    hint = f"did you mean {' or '.join(names[key] for key in close)}?" if close else ""
    return f'{hint} Otherwise name a CIF; "fringemap phases list" shows all names'.strip()


def _load(name: str) -> tuple[Structure | Reflections, ...]:
    """Whatever one entry of the user's list means."""
    path = Path(name).expanduser()
    if is_d_range(name):
        return parse_d_range(name)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return read_d_table(path)
    if path.suffix.lower() == ".cif":
        return (read_cif(path),)
    if _key(name) not in _library() and path.is_dir():
        return load_folder(path)
    return (load_structure(name),)


def _check_elements(symbols: Iterable[str]) -> frozenset[str]:
    elements = [gemmi.Element(symbol.strip()) for symbol in symbols]
    unknown = [symbol for symbol, element in zip(symbols, elements, strict=True) if element.atomic_number == 0]
    if unknown:
        raise StructureError(f'"{unknown[0]}" is no element; write symbols such as Li, C, O, F')
    return frozenset(element.name for element in elements)


def _above(table: Reflections, d_min_angstrom: float) -> Reflections:
    keep = table.d_spacing >= d_min_angstrom
    return replace(
        table,
        hkl=table.hkl[keep],
        d_spacing=table.d_spacing[keep],
        multiplicity=table.multiplicity[keep],
        intensity=table.intensity[keep],
    )


def _with_distinct_names(references: Iterable[Reflections]) -> tuple[Reflections, ...]:
    """Keep the reflections; a name that comes again gets a number: "Li2CO3 (2)"."""
    seen: dict[str, int] = {}
    distinct = []
    for reference in references:
        count = seen[reference.phase] = seen.get(reference.phase, 0) + 1
        distinct.append(reference if count == 1 else replace(reference, phase=f"{reference.phase} ({count})"))
    return tuple(distinct)
