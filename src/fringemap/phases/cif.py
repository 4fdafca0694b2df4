"""Crystallographic information files: read anyone's, write our own.

What other people's files hold is checked, not believed: a file without a cell, with a symmetry that nobody knows or
with a symbol that leaves the origin open ends in one clear sentence.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi

from fringemap.errors import StructureError
from fringemap.phases.lattice import direct_basis
from fringemap.records import Atom, Structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger(__name__)

DEFAULT_U_ISO = 0.01
"""Mean square displacement where a file gives none [Å²]: that of a common inorganic crystal at room temperature."""

_CELL_TAGS = (
    "_cell_length_a",
    "_cell_length_b",
    "_cell_length_c",
    "_cell_angle_alpha",
    "_cell_angle_beta",
    "_cell_angle_gamma",
)
_NAME_TAGS = ("_chemical_name_common", "_chemical_name_mineral")
_CITATION_TAGS = ("_journal_name_full", "_journal_volume", "_journal_year", "_journal_page_first")
_CODE_TAGS = {"COD": "_cod_database_code", "AMCSD": "_database_code_amcsd", "ICSD": "_database_code_icsd"}


def read_cif(path: str | Path) -> Structure:
    """Read the first structure of a CIF.

    Parameters
    ----------
    path
        A CIF; the first data block that has a unit cell is taken.

    Returns
    -------
    Structure
        Named by the file's common or mineral name, else by the file's stem. Where the file gives no displacement
        parameter, 0.01 Å² is taken; where it gives no occupancy, 1.

    Raises
    ------
    StructureError
        The file is missing or no CIF, or lacks a cell, atoms or a symmetry that can be told for certain.
    """
    path = Path(path)
    block = _block_with_cell(_read_document(path), path)
    cell = _read_cell(block, path)
    small = gemmi.make_small_structure_from_block(block)
    group = _read_space_group(small, path)
    atoms = tuple(_read_atom(site, path) for site in small.sites)
    if not atoms:
        raise StructureError(f"{path} lists no atoms (_atom_site loop); without them no intensity can be computed")
    return Structure(
        name=_first_value(block, _NAME_TAGS) or path.stem,
        formula=_first_value(block, ("_chemical_formula_sum",)) or _formula_of(atoms, cell, group),
        cell=cell,
        space_group=group.xhm(),
        atoms=atoms,
        temperature_k=_read_temperature(block),
        source=_read_source(block),
        elements=frozenset(atom.element for atom in atoms),
    )


def read_tags(path: str | Path) -> Mapping[str, str]:
    """All single values of a file's first structure, by their tag in lower case: for tables of provenance."""
    block = _block_with_cell(_read_document(Path(path)), Path(path))
    items: list[Any] = [item.pair for item in block if item.pair is not None]
    return {tag.lower(): _plain(value) for tag, value in items}


def write_cif(structure: Structure, path: str | Path) -> None:
    """Write a structure so that ``read_cif`` gives it back: symbol and operators, atoms, temperature, source.

    Raises
    ------
    StructureError
        The space group is unknown.
    """
    group = space_group(structure)
    document = gemmi.cif.Document()
    block = document.add_new_block("".join(c if c.isalnum() else "_" for c in structure.name))
    pairs = {
        "_chemical_name_common": structure.name,
        "_chemical_formula_sum": structure.formula,
        **dict(zip(_CELL_TAGS, (f"{x:.6g}" for x in structure.cell), strict=True)),
        "_space_group_name_H-M_alt": structure.space_group,
        "_space_group_IT_number": str(group.number),
        "_diffrn_ambient_temperature": "" if structure.temperature_k is None else f"{structure.temperature_k:g}",
        "_publ_section_references": structure.source,
    }
    for tag, value in pairs.items():
        block.set_pair(tag, gemmi.cif.quote(value) if value else "?")
    operators = block.init_loop("", ["_space_group_symop_operation_xyz"])
    for operation in group.operations():
        operators.add_row([gemmi.cif.quote(operation.triplet())])
    _add_atom_loop(block, structure.atoms)
    Path(path).write_text(document.as_string(), encoding="utf-8")


def space_group(structure: Structure) -> gemmi.SpaceGroup:
    """Look up the gemmi space group of a structure.

    Raises
    ------
    StructureError
        The symbol is unknown.
    """
    group = gemmi.find_spacegroup_by_name(structure.space_group)
    if group is None:
        raise StructureError(
            f'{structure.name}: the space group "{structure.space_group}" is unknown; write it as in "F d -3 m:1"'
        )
    return group


def _read_document(path: Path) -> gemmi.cif.Document:
    try:
        return gemmi.cif.read_string(path.read_bytes().decode("utf-8", errors="replace"))
    except OSError as error:
        reason = error.strerror or error
        raise StructureError(f"{path} cannot be read ({reason}); check the name of the CIF") from error
    except (ValueError, RuntimeError) as error:
        raise StructureError(f"{path} is not a valid CIF ({error}); export it again or repair that line") from error


def _block_with_cell(document: gemmi.cif.Document, path: Path) -> gemmi.cif.Block:
    for block in document:
        if all(block.find_value(tag) for tag in _CELL_TAGS):
            return block
    raise StructureError(f"{path} has no complete unit cell (_cell_length_a ... _cell_angle_gamma); add the six values")


def _read_cell(block: gemmi.cif.Block, path: Path) -> tuple[float, float, float, float, float, float]:
    a, b, c, alpha, beta, gamma = (gemmi.cif.as_number(block.find_value(tag)) for tag in _CELL_TAGS)
    cell = (a, b, c, alpha, beta, gamma)
    try:
        direct_basis(cell)
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from error
    return cell


def _read_space_group(small: gemmi.SmallStructure, path: Path) -> gemmi.SpaceGroup:
    """Operators first, since they leave nothing open; then the Hall symbol, then the Hermann-Mauguin symbol."""
    if small.symops:
        return _group_from_operators(small.symops, path)
    if small.spacegroup_hall and (group := _group_from_hall(small.spacegroup_hall)):
        return group
    if not small.spacegroup_hm:
        raise StructureError(f"{path} states no symmetry; add its symmetry operators or its space-group symbol")
    group = gemmi.find_spacegroup_by_name(small.spacegroup_hm, small.cell.alpha, small.cell.gamma)
    if group is None:
        raise StructureError(f'{path}: the space group "{small.spacegroup_hm}" is unknown; add its symmetry operators')
    if group.ext in ("1", "2") and ":" not in small.spacegroup_hm:
        raise StructureError(
            f'{path}: "{small.spacegroup_hm}" does not say which of its two origins the atoms refer to; '
            'add the symmetry operators, or ":1" or ":2" to the symbol'
        )
    return group


def _group_from_operators(triplets: Iterable[str], path: Path) -> gemmi.SpaceGroup:
    try:
        operations = gemmi.GroupOps([gemmi.Op(triplet) for triplet in triplets])
    except (ValueError, RuntimeError) as error:
        raise StructureError(f"{path}: a symmetry operator cannot be understood ({error}); correct it") from error
    operations.add_missing_elements()
    group = gemmi.find_spacegroup_by_ops(operations)
    if group is None:
        raise StructureError(
            f"{path}: its {len(list(triplets))} symmetry operators form no known setting of a space group; "
            "transform the structure to a standard setting"
        )
    return group


def _group_from_hall(hall: str) -> gemmi.SpaceGroup | None:
    try:
        return gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(hall))
    except (ValueError, RuntimeError):
        logger.warning('the Hall symbol "%s" cannot be understood; the Hermann-Mauguin symbol is used', hall)
        return None


def _read_atom(site: Any, path: Path) -> Atom:
    element = site.element.name
    fract = (site.fract.x, site.fract.y, site.fract.z)
    if site.element.atomic_number == 0:
        raise StructureError(f'{path}: the atom "{site.label}" is of no known element; set its _atom_site_type_symbol')
    if not all(map(math.isfinite, fract)):
        raise StructureError(f'{path}: the atom "{site.label}" has no complete position; remove it or add x, y, z')
    if not 0.0 < site.occ <= 1.0:
        raise StructureError(f'{path}: the atom "{site.label}" has the occupancy {site.occ}; allowed: above 0, up to 1')
    return Atom(element, fract, site.occ, _displacement(site))


def _displacement(site: Any) -> float:
    if site.u_iso > 0.0:
        return float(site.u_iso)
    trace = site.aniso.u11 + site.aniso.u22 + site.aniso.u33
    return float(trace / 3.0) if trace > 0.0 else DEFAULT_U_ISO


def _read_temperature(block: gemmi.cif.Block) -> float | None:
    tags = ("_diffrn_ambient_temperature", "_cell_measurement_temperature")
    kelvin = gemmi.cif.as_number(_first_value(block, tags) or "?")
    return kelvin if math.isfinite(kelvin) else None


def _read_source(block: gemmi.cif.Block) -> str:
    """Write authors, journal, volume, year, page and database code on one line, as far as they are given."""
    if reference := _first_value(block, ("_publ_section_references",)):
        return reference
    authors = "; ".join(_plain(author) for author in block.find_values("_publ_author_name"))
    journal, volume, year, page = (_first_value(block, (tag,)) for tag in _CITATION_TAGS)
    citation = " ".join(filter(None, (journal, volume, year and f"({year})", page)))
    codes = (f"{name} {code}" for name, tag in _CODE_TAGS.items() if (code := _first_value(block, (tag,))))
    return ", ".join(filter(None, (authors, citation, *codes)))


def _first_value(block: gemmi.cif.Block, tags: Iterable[str]) -> str:
    """Value of the first of the tags that has one, on one line; empty if none has."""
    values = (_plain(block.find_value(tag) or "?") for tag in tags)
    return next(filter(None, values), "")


def _plain(value: str) -> str:
    return "" if value in ("?", ".") else " ".join(gemmi.cif.as_string(value).split())


def _formula_of(atoms: tuple[Atom, ...], cell: tuple[float, ...], group: gemmi.SpaceGroup) -> str:
    """Element symbols with their number in the cell, alphabetically, as in ``_chemical_formula_sum``."""
    small = gemmi_structure(cell, group, atoms)
    counts: dict[str, float] = {}
    for site in small.get_all_unit_cell_sites():
        counts[site.element.name] = counts.get(site.element.name, 0.0) + site.occ
    divisor = math.gcd(*(round(n) for n in counts.values())) if all(_is_whole(n) for n in counts.values()) else 1
    return " ".join(f"{element}{n / divisor:g}" for element, n in sorted(counts.items()))


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 0.01 and round(number) > 0


def gemmi_structure(cell: tuple[float, ...], group: gemmi.SpaceGroup, atoms: Iterable[Atom]) -> gemmi.SmallStructure:
    """Make the same structure as a gemmi object, with chemical (not crystallographic) occupancies."""
    small = gemmi.SmallStructure()
    small.cell = gemmi.UnitCell(*cell)
    small.spacegroup = group
    for number, atom in enumerate(atoms, start=1):
        site = gemmi.SmallStructure.Site()
        site.label = f"{atom.element}{number}"
        site.element = gemmi.Element(atom.element)
        site.fract = gemmi.Fractional(*atom.fract)
        site.occ, site.u_iso = atom.occupancy, atom.u_iso
        small.add_site(site)
    small.setup_cell_images()
    return small


def _add_atom_loop(block: gemmi.cif.Block, atoms: Iterable[Atom]) -> None:
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy", "U_iso_or_equiv")
    loop = block.init_loop("_atom_site_", list(columns))
    for number, atom in enumerate(atoms, start=1):
        position = [f"{x:.6f}" for x in atom.fract]
        loop.add_row([f"{atom.element}{number}", atom.element, *position, f"{atom.occupancy:g}", f"{atom.u_iso:g}"])
