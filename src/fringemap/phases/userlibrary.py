"""Phases that users import: checked once, kept in a folder of theirs, and known by name afterwards."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import OutputError, StructureError
from fringemap.phases.cif import gemmi_structure, read_cif, space_group, write_cif
from fringemap.phases.lattice import cell_volume, direct_basis
from fringemap.phases.tables import TABLE_SUFFIXES, read_d_table
from fringemap.records import Reflections, Structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import gemmi

    from fringemap.records import FloatArray

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "FRINGEMAP_PHASES"

DENSITY_LIMITS = (0.3, 25.0)
"""[g/cm³] Below the lightest hydrides and above osmium, something is wrong with cell or atoms."""

CLOSEST_ANGSTROM = 0.6
"""Atoms nearer than this are one atom listed twice: even in H2 they are 0.74 Å apart."""

CLOSEST_WITHOUT_H_ANGSTROM = 1.0
SHARED_SITE = 1.02
"""Largest sum of occupancies of atoms on one place; the 2 % are for rounded thirds."""

_AVOGADRO_TIMES_A3 = 0.602214076
"""Avogadro's number times Å³ in cm³."""


@dataclass(frozen=True)
class Imported:
    """A phase that was checked, and stored."""

    name: str
    path: Path
    facts: str
    """Formula, space group, density; or the number of lines of a table."""
    remarks: tuple[str, ...] = ()
    """What is odd about it but no reason to refuse."""


def user_folder() -> Path:
    """Folder of the user's phases: the variable FRINGEMAP_PHASES, or where the platform keeps data of programs."""
    chosen = os.environ.get(FOLDER_VARIABLE, "")
    if chosen:
        return Path(chosen).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "fringemap" / "phases"


def key_of(name: str) -> str:
    """Name without what does not matter: case, spaces, dots, hyphens."""
    return re.sub(r"[\s·._-]+", "", name).casefold()


def user_phases() -> Mapping[str, tuple[Structure | Reflections, Path]]:
    """Read all imported phases, by the key of the name. A damaged file is left out, with a warning."""
    folder, found = user_folder(), {}
    if not folder.is_dir():
        return {}
    for path in sorted(folder.iterdir()):
        try:
            phases = _read(path)
        except StructureError as error:
            logger.warning("an imported phase is left out: %s", error)
            continue
        for phase in phases:
            found[key_of(_name_of(phase))] = (phase, path)
    return found


def find_sources(source: Path) -> list[Path]:
    """List the files that an import means: the one, or the CIFs and tables directly in a folder.

    Raises
    ------
    StructureError
        There is nothing of that name, or nothing to import in the folder.
    """
    if source.is_dir():
        found = sorted(path for path in source.iterdir() if path.suffix.lower() in (".cif", *TABLE_SUFFIXES))
        if not found:
            raise StructureError(
                f"the folder {source} holds no .cif, .csv, .tsv or .txt file; put them directly into it"
            )
        return found
    if not source.exists():
        raise StructureError(f"{source} does not exist; check the name")
    return [source]


def import_phases(
    source: Path, *, name: str = "", replace_old: bool = False, reserved: Iterable[str] = ()
) -> list[Imported]:
    """Check a CIF or table and store it in the user's library.

    Parameters
    ----------
    source
        A CIF, or a table of component, hkl, d.
    name
        What it is to be called; the name in the file if empty. A table must then hold one component.
    replace_old
        Replace an imported phase of the same name instead of refusing.
    reserved
        Names that cannot be taken: those of the built-in structures.

    Raises
    ------
    StructureError
        The file is unusable, the crystal impossible, or the name taken.
    OutputError
        The folder cannot be written.
    """
    phases = _read(source)
    if not phases:
        raise StructureError(f"{source} is no phase; give a .cif, or a table of component, hkl, d (.csv, .tsv, .txt)")
    if name and len(phases) > 1:
        raise StructureError(f"{source} holds {len(phases)} phases, so one name does not do; leave out --name")
    renamed = [_renamed(phase, name) for phase in phases] if name else list(phases)
    taken, own = {key_of(one) for one in reserved}, user_phases()
    for phase in renamed:
        _check_name(_name_of(phase), taken, own, replace_old=replace_old)
    checked = [(phase, *_check(phase, source)) for phase in renamed]
    return [_store(phase, facts, remarks, own) for phase, facts, remarks in checked]


def remove_phase(name: str) -> Path:
    """Remove an imported phase.

    Raises
    ------
    StructureError
        No imported phase has this name.
    OutputError
        Its file cannot be removed.
    """
    own = user_phases()
    if key_of(name) not in own:
        known = ", ".join(sorted(_name_of(phase) for phase, _ in own.values())) or "none"
        raise StructureError(f'no imported phase is called "{name}"; imported are: {known}')
    path = own[key_of(name)][1]
    try:
        path.unlink()
    except OSError as error:
        raise OutputError(f"{path} cannot be removed ({error.strerror}); remove it by hand") from error
    return path


def _read(path: Path) -> tuple[Structure | Reflections, ...]:
    if path.suffix.lower() == ".cif":
        return (read_cif(path),)
    return read_d_table(path) if path.suffix.lower() in TABLE_SUFFIXES else ()


def _name_of(phase: Structure | Reflections) -> str:
    return phase.name if isinstance(phase, Structure) else phase.phase


def _renamed(phase: Structure | Reflections, name: str) -> Structure | Reflections:
    return replace(phase, name=name) if isinstance(phase, Structure) else replace(phase, phase=name)


def _check_name(name: str, reserved: set[str], own: Mapping[str, object], *, replace_old: bool) -> None:
    key = key_of(name)
    if not key or "," in name or ":" in name or "/" in name or "\\" in name or name.strip() != name:
        raise StructureError(
            f'"{name}" cannot be the name of a phase: lists are separated by commas, ranges by colons, folders by '
            "slashes; give another with --name"
        )
    if key in reserved:
        raise StructureError(f'"{name}" is a built-in structure; give the phase another name with --name')
    if key in own and not replace_old:
        raise StructureError(
            f'"{name}" was imported before; replace it with --replace, or give another name with --name'
        )


def _check(phase: Structure | Reflections, source: Path) -> tuple[str, tuple[str, ...]]:
    if isinstance(phase, Structure):
        return _check_structure(phase, source)
    longest, shortest = phase.d_spacing.max(), phase.d_spacing.min()
    return f"table of {len(phase)} d-spacings, {longest:.3f} to {shortest:.3f} Å", ()


def _check_structure(structure: Structure, source: Path) -> tuple[str, tuple[str, ...]]:
    """Refuse a crystal that cannot be; say what is odd."""
    for atom in structure.atoms:
        if not 0.0 < atom.occupancy <= SHARED_SITE:
            raise StructureError(
                f"{source}: an atom {atom.element} has the occupancy {atom.occupancy:g}; correct it to above 0 and at "
                "most 1"
            )
    sites = gemmi_structure(structure.cell, space_group(structure), structure.atoms).get_all_unit_cell_sites()
    density = sum(site.element.weight * site.occ for site in sites) / cell_volume(structure.cell) / _AVOGADRO_TIMES_A3
    low, high = DENSITY_LIMITS
    if not low <= density <= high:
        raise StructureError(
            f"{source}: its density would be {density:.3g} g/cm³, outside {low:g} to {high:g}; check cell, symmetry "
            "and the list of atoms"
        )
    distance, pair = _closest(structure, sites, source)
    facts = f"{structure.formula}, {structure.space_group}, {density:.2f} g/cm³"
    if pair:
        facts += f", closest atoms {pair} {distance:.2f} Å"
    return facts, tuple(_remarks(structure, sites, distance, pair))


def _closest(structure: Structure, sites: gemmi.SmallStructure.SiteList, source: Path) -> tuple[float, str]:
    """Smallest distance of two atoms that can be there together; refuse if it is too small."""
    fract = np.array([site.fract.tolist() for site in sites])
    occupancy = np.array([site.occ for site in sites])
    best, pair = np.inf, ""
    for number, one in enumerate(fract):
        distance = _distances(fract - one, structure)
        # Atoms that share a place by chance of occupation are never there together.
        together = (occupancy + occupancy[number] > SHARED_SITE) & (np.arange(len(fract)) != number)
        nearest = int(np.argmin(np.where(together, distance, np.inf)))
        if together[nearest] and distance[nearest] < best:
            best, pair = float(distance[nearest]), f"{sites[number].element.name}-{sites[nearest].element.name}"
    if best < CLOSEST_ANGSTROM:
        raise StructureError(
            f"{source}: two atoms {pair} are {best:.2f} Å apart, which cannot be; check positions, occupancies and the "
            "setting of the space group"
        )
    return best, pair


def _distances(off: FloatArray, structure: Structure) -> FloatArray:
    """Length of each difference of fractional positions, to the nearest image [Å]."""
    shifts = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = (off - np.round(off))[:, None, :] + shifts[None, :, :]
    lengths: FloatArray = np.linalg.norm(images @ direct_basis(structure.cell).T, axis=2).min(axis=1)
    return lengths


def _remarks(structure: Structure, sites: gemmi.SmallStructure.SiteList, distance: float, pair: str) -> list[str]:
    remarks = []
    if distance < CLOSEST_WITHOUT_H_ANGSTROM and "H" not in pair.split("-") and "D" not in pair.split("-"):
        remarks.append(f"two atoms {pair} are only {distance:.2f} Å apart")
    stated, listed = _counts(structure.formula), _share(sites)
    if stated and set(stated) != set(listed):
        missing = ", ".join(sorted(set(stated) ^ set(listed)))
        remarks.append(f"formula and list of atoms differ in {missing}: intensities may be wrong")
    elif stated and max(abs(stated[e] / sum(stated.values()) - listed[e]) for e in stated) > 0.02:
        remarks.append("the atoms do not add up to the formula: check occupancies and symmetry")
    if structure.temperature_k is None:
        remarks.append("the file states no temperature; room temperature is assumed")
    return remarks


def _counts(formula: str) -> dict[str, float]:
    found = re.findall(r"([A-Z][a-z]?)\s*(\d*\.?\d*)", formula)
    counts: dict[str, float] = {}
    for element, number in found:
        counts[element] = counts.get(element, 0.0) + (float(number) if number not in ("", ".") else 1.0)
    return counts


def _share(sites: gemmi.SmallStructure.SiteList) -> dict[str, float]:
    counts: dict[str, float] = {}
    for site in sites:
        counts[site.element.name] = counts.get(site.element.name, 0.0) + site.occ
    total = sum(counts.values())
    return {element: number / total for element, number in counts.items()}


def _store(
    phase: Structure | Reflections, facts: str, remarks: tuple[str, ...], own: Mapping[str, tuple[object, Path]]
) -> Imported:
    name, folder = _name_of(phase), user_folder()
    suffix = ".cif" if isinstance(phase, Structure) else ".csv"
    path = folder / (re.sub(r"[^A-Za-z0-9.+-]+", "_", name).strip("._")[:60] + suffix)
    before = own.get(key_of(name))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.partial")
        if isinstance(phase, Structure):
            write_cif(phase, temporary)
        else:
            temporary.write_text(_table_text(phase), encoding="utf-8")
        temporary.replace(path)
        if before is not None and before[1] != path:
            before[1].unlink()
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}); name a folder that can with the variable {FOLDER_VARIABLE}"
        ) from error
    return Imported(name, path, facts, remarks)


def _table_text(table: Reflections) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["component", "hkl", "d"])
    for hkl, d in zip(table.hkl.tolist(), table.d_spacing.tolist(), strict=True):
        writer.writerow([table.phase, " ".join(map(str, hkl)) if any(hkl) else "", f"{d:.6g}"])
    return stream.getvalue()
