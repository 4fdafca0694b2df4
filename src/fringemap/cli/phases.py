"""Commands of the structure library: ``phases list`` and ``phases show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fringemap.cli.app import phases_app
from fringemap.cli.options import split_list
from fringemap.cli.telling import print_json

if TYPE_CHECKING:
    from fringemap.records import Structure


@phases_app.command("list")
def phases_list_command(
    elements: Annotated[str, typer.Option(help="Only phases of these elements, such as Li,C,O", metavar="LIST")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """List the built-in structures."""
    from fringemap.phases import list_structures, load_structure

    allowed = frozenset(split_list([elements]))
    found = [load_structure(name) for name in list_structures()]
    kept = [s for s in found if not allowed or s.elements <= allowed]
    if as_json:
        print_json([_structure_as_json(s) for s in kept])
        return
    typer.echo(
        f"{'name':14} {'formula':14} {'space group':16} {'a b c [Å], alpha beta gamma [degrees]':44} measured at"
    )
    for s in kept:
        cell = " ".join(f"{x:.5g}" for x in s.cell)
        at = f"{s.temperature_k:.0f} K" if s.temperature_k else "-"
        typer.echo(f"{s.name:14} {s.formula:14} {s.space_group:16} {cell:44} {at}")


def _structure_as_json(s: Structure) -> dict[str, Any]:
    return {
        "name": s.name,
        "formula": s.formula,
        "space_group": s.space_group,
        "cell": s.cell,
        "temperature_k": s.temperature_k,
        "source": s.source,
    }


@phases_app.command("show")
def phases_show_command(
    name: Annotated[str, typer.Argument(help="Name in the library, or a CIF", metavar="NAME")],
    d_min: Annotated[float, typer.Option(help="Smallest d-spacing [Å]", min=0.3, metavar="ANGSTROM")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Show a structure: cell, source, and its reflections with d, multiplicity and intensity."""
    from fringemap.phases import compute_reflections, load_structure

    structure = load_structure(name)
    lines = compute_reflections(structure, d_min_angstrom=d_min)
    rows = zip(lines.hkl.tolist(), lines.d_spacing, lines.multiplicity, lines.intensity, strict=True)
    if as_json:
        listed = [{"hkl": h, "d_angstrom": d, "multiplicity": int(m), "intensity": i} for h, d, m, i in rows]
        print_json({**_structure_as_json(structure), "reflections": listed})
        return
    typer.echo(f"{structure.name}  {structure.formula}  {structure.space_group}")
    typer.echo(f"cell         {' '.join(f'{x:g}' for x in structure.cell)}  [Å, degrees]")
    at = f"{structure.temperature_k:g} K" if structure.temperature_k else "not stated"
    typer.echo(f"measured at  {at}\nsource       {structure.source}")
    typer.echo(f"{'hkl':>12}  {'d [Å]':>8}  {'mult.':>5}  intensity")
    for hkl, d, multiplicity, intensity in rows:
        typer.echo(f"{' '.join(map(str, hkl)):>12}  {d:8.4f}  {multiplicity:5d}  {intensity:7.1f}")
