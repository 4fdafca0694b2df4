"""The structures that fringemap knows, and the ones that users name: names, CIFs, folders, tables, ranges."""

from __future__ import annotations

import difflib
import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import gemmi

from fringemap.errors import SettingsError, StructureError
from fringemap.phases.cif import read_cif
from fringemap.phases.reflections import compute_reflections
from fringemap.phases.tables import TABLE_SUFFIXES, is_d_range, parse_d_range, read_d_table
from fringemap.phases.thermal import COLD_K, ICE, at_temperature
from fringemap.phases.userlibrary import key_of, user_phases
from fringemap.records import Reflections, Structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fringemap.settings import PhaseSettings


def list_structures() -> tuple[str, ...]:
    """Names of all built-in structures, in alphabetical order."""
    return tuple(sorted((structure.name for structure, _ in _library().values()), key=str.casefold))


def load_structure(name_or_path: str | Path) -> Structure:
    """Load a built-in or imported structure by its name, or the structure of a CIF.

    Parameters
    ----------
    name_or_path
        Case, spaces, dots and hyphens of a name do not matter: "ice Ih", "iceih". One word of a longer name is enough
        where no other name has it: "rutile" for "TiO2 rutile". A text that ends in ``.cif`` is a path.

    Raises
    ------
    StructureError
        The name is unknown or fits several (the message lists names that are close), or the file is unusable.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.lower().endswith(".cif"):
        return read_cif(name_or_path)
    found = _named(text)
    if isinstance(found, Reflections):
        raise StructureError(f"{found.phase} is a table of d-spacings without a cell; name a structure")
    return found


def list_imported() -> tuple[Structure | Reflections, ...]:
    """Phases that the user has imported, structures and tables, in alphabetical order."""
    return tuple(phase for _, (phase, _) in sorted(user_phases().items()))


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
        since they know no elements. ``present`` and ``absent`` are added and taken away, ``temperature_k`` moves cells
        and below 180 K adds ice to a list. ``min_intensity_percent``: as in ``compute_reflections``.
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
    SettingsError
        The internal standard is not among the phases.
    """
    kept = _at_temperature(_choose(settings), settings.temperature_k)
    references = [
        _above(item, d_min_angstrom)
        if isinstance(item, Reflections)
        else compute_reflections(
            item, d_min_angstrom=d_min_angstrom, min_intensity_percent=settings.min_intensity_percent
        )
        for item in kept
    ]
    named = _with_distinct_names(references)
    find_standard(named, settings.internal_standard)
    return named


def find_standard(references: Sequence[Reflections], name: str) -> tuple[int, ...]:
    """Tell which of the references is the internal standard; none if the user named none.

    One word of its name is enough where no other has it, as anywhere.

    Raises
    ------
    SettingsError
        It is not among them.
    """
    if not name:
        return ()
    key, phases = key_of(name), [reflections.phase for reflections in references]
    keys = [key_of(phase) for phase in phases]
    if key in keys:
        return (keys.index(key),)
    by_word = tuple(row for row, phase in enumerate(phases) if key in map(key_of, phase.split()))
    if len(by_word) == 1:
        return by_word
    raise SettingsError(
        f"the internal standard {name} is not among the phases considered ({', '.join(phases)}); add it to them"
    )


def find_present(references: Sequence[Reflections], entries: Sequence[str]) -> tuple[int, ...]:
    """Tell which of the references the user has named as surely there, in whatever way phases are named.

    Raises
    ------
    StructureError
        A name is unknown or a file unusable.
    """
    wanted = {key for entry in entries for key in _keys_of(entry)}
    return tuple(row for row, reflections in enumerate(references) if key_of(reflections.phase) in wanted)


# The same for all frames of a series, and files need not be read for each.
@functools.lru_cache(maxsize=64)
def _keys_of(entry: str) -> frozenset[str]:
    """Keys of the phases that one entry of the user's list means."""
    return frozenset(key_of(_name_of(item)) for item in _load(entry))


def _choose(settings: PhaseSettings) -> list[Structure | Reflections]:
    """What the list of phases, the elements, and what is surely there or not leave to compare with."""
    allowed = parse_elements(settings.elements)
    names = dict.fromkeys(settings.phases or list_structures())
    # What is named twice is there once: "rutile" and "TiO2 rutile" are one object of the library.
    loaded = list({id(item): item for name in names for item in _load(name)}.values())
    if not settings.phases:
        loaded += list_imported()
    loaded = [item for item in loaded if isinstance(item, Reflections) or not allowed or item.elements <= allowed]
    absent = {key for entry in settings.absent for key in _keys_of(entry)}
    for name in (*settings.present, *added_phases(settings)):
        known = {key_of(_name_of(item)) for item in loaded}
        loaded += [item for item in _load(name) if key_of(_name_of(item)) not in known]
    kept = [item for item in loaded if key_of(_name_of(item)) not in absent]
    if not kept:
        listed = ", ".join(sorted(allowed))
        why = f"no phase consists of {listed} alone" if allowed else "no phase is left"
        raise StructureError(f"{why}; allow more elements, name other phases, or rule out fewer")
    return kept


def added_phases(settings: PhaseSettings) -> tuple[str, ...]:
    """Name what joins a user's list by itself: ice, where the specimen is so cold that water freezes on it."""
    cold = settings.temperature_k is not None and settings.temperature_k < COLD_K
    if not cold or not settings.phases:
        return ()
    ruled_out = {key_of(name) for name in (*settings.absent, *settings.phases, *settings.present)}
    return tuple(name for name in ICE if key_of(name) not in ruled_out)


def _at_temperature(phases: Iterable[Structure | Reflections], kelvin: float | None) -> list[Structure | Reflections]:
    """Give structures their cells at a temperature; tables of d-spacings stay, for nobody knows what they are of."""
    return [
        at_temperature(phase, kelvin) if kelvin is not None and isinstance(phase, Structure) else phase
        for phase in phases
    ]


def structure_path(name: str) -> Path:
    """Find the CIF of a built-in structure: it holds the whole provenance.

    Raises
    ------
    StructureError
        The name is unknown.
    """
    return _library()[_find(name)][1]


@functools.cache
def _library() -> dict[str, tuple[Structure, Path]]:
    """Built-in structures and their CIFs, by the key of the name."""
    folder = Path(__file__).parent / "structures"
    loaded = ((read_cif(path), path) for path in sorted(folder.glob("*.cif")))
    return {key_of(structure.name): (structure, path) for structure, path in loaded}


def _named(name: str) -> Structure | Reflections:
    """Built-in structure or imported phase that a user means."""
    if key_of(name) in _library():
        return _library()[key_of(name)][0]
    imported = user_phases()
    if key_of(name) in imported:
        return imported[key_of(name)][0]
    return _library()[_find(name, [_name_of(phase) for phase, _ in imported.values()])][0]


def _name_of(phase: Structure | Reflections) -> str:
    return phase.name if isinstance(phase, Structure) else phase.phase


def _find(name: str, others: Iterable[str] = ()) -> str:
    """Key of the built-in structure that a user means; ``others`` are further names to point out."""
    key = key_of(name)
    if key in _library():
        return key
    by_word = [known for known in list_structures() if key in map(key_of, known.split())]
    if len(by_word) == 1:
        return key_of(by_word[0])
    names = {key_of(known): known for known in [*list_structures(), *others]}
    close = by_word or [names[k] for k in difflib.get_close_matches(key, names, n=4, cutoff=0.6)]
    hint = f"did you mean {' or '.join(close)}? Otherwise name a CIF" if close else "name a CIF instead"
    raise StructureError(f'no structure is called "{name}"; {hint}; "fringemap phases list" shows all names')


def _load(name: str) -> tuple[Structure | Reflections, ...]:
    """Whatever one entry of the user's list means."""
    path = Path(name).expanduser()
    if is_d_range(name):
        return parse_d_range(name)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return read_d_table(path)
    if path.suffix.lower() == ".cif":
        return (read_cif(path),)
    if path.is_dir() and key_of(name) not in _library():
        return load_folder(path)
    return (_named(name),)


def parse_elements(symbols: Iterable[str]) -> frozenset[str]:
    """Read symbols of elements, in capitals or not.

    Raises
    ------
    StructureError
        A symbol is that of no element.
    """
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
