"""Command ``compare``: several series in one figure."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fringemap.cli.app import app


class Quantity(StrEnum):
    """What is drawn."""

    area = "area"
    power = "power"
    intensity = "intensity"


@app.command("compare")
def compare_command(
    places: Annotated[
        list[Path], typer.Argument(help="Folders of series, or of whole runs, that analyze has made", metavar="OUT")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Figure to write, as .png and .svg", metavar="NAME")] = Path(
        "comparison"
    ),
    quantity: Annotated[Quantity, typer.Option(help="What is drawn over the dose or time")] = Quantity.area,
) -> None:
    """Draw the phases of several series in one figure: dose rates side by side, for instance."""
    from fringemap.report.rendering import write_figure
    from fringemap.report.series_comparison import draw_comparison, find_courses

    stem = out.with_suffix("") if out.suffix.lower() in (".png", ".svg") else out
    courses = find_courses(places)
    write_figure(draw_comparison(courses, quantity=quantity.value), stem)
    typer.echo(f"{'; '.join(courses)}: {stem}.png, {stem}.svg")
