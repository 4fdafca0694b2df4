"""Commands of the structure library and of names: ``phases list``, ``show``, ``explain``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
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


@phases_app.command("explain")
def phases_explain_command(
    folder: Annotated[Path, typer.Argument(help="Folder of one input's results: OUT/NAME", metavar="FOLDER")],
    spot: Annotated[
        int | None, typer.Option(help="Number of the spot in spots.csv; all in short if left out", metavar="N")
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Frame of a series", metavar="N")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Say what a spot is, what else it could be, why a name was refused, and what would decide."""
    from fringemap.report.explanation import explain_stored, read_run

    run = read_run(folder, frame=frame)
    for remark in run.remarks:
        typer.echo(remark, err=True)
    numbers = range(len(run.identified.spots)) if spot is None else [spot]
    stories = [explain_stored(run, number) for number in numbers]
    if as_json:
        told = [{"spot": n, **_as_plain(story)} for n, story in zip(numbers, stories, strict=True)]
        print_json({"frame": run.identified.index, "compared": len(run.references), "spots": told})
        return
    if spot is None:
        typer.echo("\n".join(f"{story.measured}: {story.verdict}" for story in stories) or "The frame has no spot.")
        return
    typer.echo("\n".join(stories[0].lines()))
    typer.echo(f"Compared with {len(run.references)} phases.")


def _as_plain(record: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(record)


@phases_app.command("sweep")
def phases_sweep_command(
    folder: Annotated[Path, typer.Argument(help="Folder of one input's results: OUT/NAME", metavar="FOLDER")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Picture to write, .png or .svg", metavar="FILE")
    ] = None,
    reach: Annotated[float, typer.Option(help="Largest change of the pixel size [%]", metavar="PERCENT")] = 5.0,
    step: Annotated[float, typer.Option(help="From one size to the next [%]", metavar="PERCENT")] = 0.5,
    spot: Annotated[int | None, typer.Option(help="Also say what this spot is called where", metavar="N")] = None,
    frame: Annotated[int | None, typer.Option(help="Frame of a series", metavar="N")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Name the spots of a run again at other pixel sizes: which names flip, and where."""
    from fringemap.cli.telling import show_progress
    from fringemap.report.explanation import read_run, sweep_stored
    from fringemap.report.sweep import draw_sweep, sweep_in_words, sweep_rows, sweep_table

    run = read_run(folder, frame=frame)
    if out is not None:
        from fringemap.report.rendering import check_picture_name, write_picture

        check_picture_name(out)
    with show_progress() as tell:
        steps = sweep_stored(
            run, reach=reach / 100, step=step / 100, spot=spot, tell=lambda done, n: tell("pixel sizes", done, n)
        )
    scale = run.identified.scale
    rows, words = sweep_rows(steps, scale), sweep_in_words(steps, scale, spot=spot)
    if out is not None:
        write_picture(draw_sweep(steps, scale, title=folder.name), out)
    if as_json:
        print_json({"frame": run.identified.index, "words": words, "steps": rows, "picture": out})
        return
    typer.echo("\n".join([*sweep_table(rows), "", *words, *([f"Picture: {out}"] if out else [])]))
