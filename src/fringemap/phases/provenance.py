"""Where the built-in structures come from: the docs page, made from the CIFs themselves.

``python -m fringemap.phases.provenance > docs/structures.md`` writes it anew.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.cif import read_tags
from fringemap.phases.library import list_structures, load_structure, structure_path
from fringemap.phases.reflections import compute_reflections

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fringemap.records import Structure

_INTRODUCTION = """\
# The built-in structures

{count} structures, each a CIF in `src/fringemap/phases/structures`, written for fringemap from published numbers. This
page is made from those files by `python -m fringemap.phases.provenance`.

*Checked* names the second source and what it has; where there was none it says so. Beyond that, tests hold every
structure to its formula, its density, sound bond lengths and the lines that the field knows. T is the temperature of
the measurement where the source states one; most others are at room temperature. Cells shrink on cooling: lithium by
0.5 %, sodium by 1.5 %, ice by 0.5 % from 250 K to 100 K.

*Lines* are the five strongest with d above 1 Å: hkl, d in Å, and multiplicity × |F|² with electron scattering factors,
the strongest being 100.

Missing because no atoms could be had from a trustworthy source: Li2SO4, Li2C2O4, LiSi, Li21Si5 and its kin (Li17Si4),
Li4SiO4, NaOH, NaPF6. For these, import a CIF of your own: `fringemap phases import`.
"""


def structures_page() -> str:
    """Make the docs page of all built-in structures: a table of cells, then source, check and lines of each."""
    names = list_structures()
    parts = [_INTRODUCTION.format(count=len(names)), _table(load_structure(name) for name in names)]
    parts += [_section(name) for name in names]
    return "\n".join(parts)


def _table(structures: Iterable[Structure]) -> str:
    rows = ["| name | space group | a, b, c (Å) | α, β, γ (°) | T (K) |", "|---|---|---|---|---|"]
    for s in structures:
        lengths, angles = (", ".join(f"{x:g}" for x in part) for part in (s.cell[:3], s.cell[3:]))
        temperature = "" if s.temperature_k is None else f"{s.temperature_k:g}"
        rows.append(f"| {s.name} | {s.space_group} | {lengths} | {angles} | {temperature} |")
    return "\n".join(rows) + "\n"


def _section(name: str) -> str:
    structure, tags = load_structure(name), read_tags(structure_path(name))
    remark = f"* Remark: {tags['_fringemap_remark']}\n" if "_fringemap_remark" in tags else ""
    return (
        f"## {name}\n\n"
        f"* Source: {structure.source}\n"
        f"* Checked: {tags['_fringemap_check']}\n"
        f"{remark}"
        f"* Lines: {_strongest_lines(structure)}\n"
    )


def _strongest_lines(structure: Structure) -> str:
    lines = compute_reflections(structure, d_min_angstrom=1.0)
    strongest = np.argsort(-lines.intensity, kind="stable")[:5]
    return ", ".join(
        f"({' '.join(map(str, lines.hkl[i]))}) {lines.d_spacing[i]:.3f} ({lines.intensity[i]:.0f})" for i in strongest
    )


if __name__ == "__main__":
    sys.stdout.write(structures_page())
