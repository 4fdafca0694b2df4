"""Commands of the structure library and of names: ``phases list``, ``show``, ``explain``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fringemap.cli.app import phases_app
from fringemap.cli.options import split_list
from fringemap.cli.telling import print_json

if TYPE_CHECKING:
    from fringemap.records import Reflections, Structure, ZonePattern


@phases_app.command("list")
def phases_list_command(
    elements: Annotated[str, typer.Option(help="Only phases of these elements, such as Li,C,O", metavar="LIST")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """List the built-in structures and the imported phases."""
    from fringemap.phases import list_imported, list_structures, load_structure, parse_elements
    from fringemap.records import Structure

    allowed = parse_elements(split_list([elements]))
    imported = list_imported()
    own = [phase for phase in imported if isinstance(phase, Structure)]
    # A table knows no elements.
    tables = [] if allowed else [phase for phase in imported if not isinstance(phase, Structure)]
    kept = [
        (s, s in own) for s in [*map(load_structure, list_structures()), *own] if not allowed or s.elements <= allowed
    ]
    if as_json:
        listed = [{**_structure_as_json(s), "imported": mine} for s, mine in kept]
        listed += [{"name": t.phase, "lines": len(t), "imported": True} for t in tables]
        print_json(listed)
        return
    if not kept and not tables:
        typer.echo(f"No phase consists of {', '.join(sorted(allowed))} alone.", err=True)
        return
    typer.echo(
        f"{'name':14} {'formula':14} {'space group':16} {'a b c [Å], alpha beta gamma [degrees]':44} measured at"
    )
    for s, mine in kept:
        cell = " ".join(f"{x:.5g}" for x in s.cell)
        at = f"{s.temperature_k:.0f} K" if s.temperature_k else "-"
        typer.echo(f"{s.name:14} {s.formula:14} {s.space_group:16} {cell:44} {at}{'  imported' if mine else ''}")
    for table in tables:
        typer.echo(f"{table.phase:14} table of {len(table)} d-spacings  imported")


def _structure_as_json(s: Structure) -> dict[str, Any]:
    return {
        "name": s.name,
        "formula": s.formula,
        "space_group": s.space_group,
        "cell": s.cell,
        "temperature_k": s.temperature_k,
        "source": s.source,
    }


@phases_app.command("import")
def phases_import_command(
    source: Annotated[
        Path, typer.Argument(help="CIF, table of component, hkl, d, or folder of them", metavar="SOURCE")
    ],
    name: Annotated[str, typer.Option(help="What the phase is to be called", metavar="NAME")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace an imported phase of the same name")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Check phases and keep them in your own library; list, analyze and, with a cell, show know them by name then."""
    from fringemap.errors import StructureError
    from fringemap.phases import list_structures
    from fringemap.phases.userlibrary import find_sources, import_phases

    sources, failed = find_sources(source), []
    if name and len(sources) > 1:
        raise StructureError(f"{source} holds {len(sources)} files, so one name does not do; leave out --name")
    imported = []
    for path in sources:
        try:
            imported += import_phases(path, name=name, replace_old=replace, reserved=list_structures())
        except StructureError as error:
            if len(sources) == 1:
                raise
            failed.append(str(error))
    if as_json:
        print_json({"imported": [_as_plain(one) for one in imported], "failed": failed})
    else:
        for one in imported:
            typer.echo(f"{one.name}: {one.facts}: {one.path}")
            for remark in one.remarks:
                typer.echo(f"{one.name}: mind: {remark}", err=True)
    for message in failed:
        typer.echo(message, err=True)
    if failed:
        raise typer.Exit(1)


@phases_app.command("remove")
def phases_remove_command(
    name: Annotated[str, typer.Argument(help="Name of an imported phase", metavar="NAME")],
) -> None:
    """Remove a phase from your own library."""
    from fringemap.errors import StructureError
    from fringemap.phases import list_structures
    from fringemap.phases.userlibrary import key_of, remove_phase

    if key_of(name) in map(key_of, list_structures()):
        raise StructureError(
            f'"{name}" is a built-in structure and stays; --absent {name} leaves it out of an analysis'
        )
    typer.echo(f"Removed {remove_phase(name)}")


@phases_app.command("show")
def phases_show_command(
    name: Annotated[str, typer.Argument(help="Name in the library, or a CIF", metavar="NAME")],
    zone: Annotated[
        str, typer.Option(help="Also the spots of this zone axis, such as 0,0,1 or '[1 -1 0]'", metavar="UVW")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Draw the lines, and the zone's pattern: .png or .svg", metavar="FILE"),
    ] = None,
    d_min: Annotated[float, typer.Option(help="Smallest d-spacing [Å]", min=0.3, metavar="ANGSTROM")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Show a structure: cell, source, its reflections with d, multiplicity and intensity, and a zone's pattern."""
    from fringemap.phases import compute_reflections, load_structure, zone_pattern
    from fringemap.phases.tables import parse_zone

    structure = load_structure(name)
    lines = compute_reflections(structure, d_min_angstrom=d_min)
    pattern = zone_pattern(structure, parse_zone(zone), d_min_angstrom=d_min) if zone else None
    if out is not None:
        from fringemap.report.rendering import write_picture
        from fringemap.report.zone_pattern import draw_structure

        write_picture(draw_structure(lines, pattern), out)
    if as_json:
        listed = [
            {"hkl": h, "d_angstrom": d, "multiplicity": int(m), "intensity": i}
            for h, d, m, i in zip(lines.hkl.tolist(), lines.d_spacing, lines.multiplicity, lines.intensity, strict=True)
        ]
        print_json({**_structure_as_json(structure), "reflections": listed, "zone": _zone_as_json(pattern)})
        return
    typer.echo("\n".join([*_structure_in_words(structure), *_lines_table(lines), *_zone_table(pattern)]))
    if out is not None:
        typer.echo(f"Picture: {out}")


def _structure_in_words(structure: Structure) -> list[str]:
    at = f"{structure.temperature_k:g} K" if structure.temperature_k else "not stated"
    return [
        f"{structure.name}  {structure.formula}  {structure.space_group}",
        f"cell         {' '.join(f'{x:g}' for x in structure.cell)}  [Å, degrees]",
        f"measured at  {at}",
        f"source       {structure.source or 'not stated'}",
    ]


def _lines_table(lines: Reflections) -> list[str]:
    rows = zip(lines.hkl.tolist(), lines.d_spacing, lines.multiplicity, lines.intensity, strict=True)
    return [
        f"{'hkl':>12}  {'d [Å]':>8}  {'mult.':>5}  intensity",
        *(f"{' '.join(map(str, hkl)):>12}  {d:8.4f}  {m:5d}  {intensity:7.1f}" for hkl, d, m, intensity in rows),
    ]


def _zone_rows(pattern: ZonePattern) -> list[dict[str, Any]]:
    """One of each Friedel pair, with d and the angle from the first spot, clockwise."""
    import numpy as np

    turn = np.degrees(np.arctan2(pattern.g[:, 1], pattern.g[:, 0]))
    # Rounding must not put a spot on the axis to the other side.
    upper = (turn > -1e-6) & (turn < 180.0 - 1e-6)
    return [
        {
            "hkl": pattern.hkl[row].tolist(),
            "d_angstrom": 1.0 / float(np.hypot(*pattern.g[row])),
            "angle_deg": abs(float(turn[row])),
            "intensity": float(pattern.intensity[row]),
            "extinct": bool(pattern.extinct[row]),
        }
        for row in np.flatnonzero(upper)
    ]


def _zone_as_json(pattern: ZonePattern | None) -> dict[str, Any] | None:
    return None if pattern is None else {"uvw": pattern.uvw, "spots": _zone_rows(pattern)}


def _zone_table(pattern: ZonePattern | None) -> list[str]:
    if pattern is None:
        return []
    head = f"zone [{' '.join(map(str, pattern.uvw))}], one of each Friedel pair, angles clockwise from the first"
    lines = [head, f"{'hkl':>12}  {'d [Å]':>8}  {'angle':>6}  |F|²"]
    for row in _zone_rows(pattern):
        plane = " ".join(map(str, row["hkl"]))
        strength = "extinct" if row["extinct"] else f"{row['intensity']:.1f}"
        lines.append(f"{plane:>12}  {row['d_angstrom']:8.4f}  {row['angle_deg']:6.1f}  {strength}")
    return lines


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
