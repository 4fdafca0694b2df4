"""The command that judges detectors: ``evaluate``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from fringemap.cli.app import app
from fringemap.cli.telling import print_json, show_progress

if TYPE_CHECKING:
    from fringemap.report.evaluation import SetShown


@app.command("evaluate")
def evaluate_command(
    sets: Annotated[
        list[Path],
        typer.Argument(help="Sets that fringemap simulate made, or labelled frames and pictures", metavar="SET..."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for page and table", metavar="FOLDER")],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Folder or name of a model package; may be repeated", metavar="MODEL"),
    ] = None,
    classical: Annotated[
        bool, typer.Option("--classical/--no-classical", help="Judge the classical detector as well")
    ] = True,
    false_spots: Annotated[
        float, typer.Option(min=1e-6, max=1.0, help="Stated false spots in a frame without any crystal", metavar="X")
    ] = 0.05,
    side: Annotated[
        str, typer.Option(help="test, validation, train or all; what was held out if left out", metavar="SIDE")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Samples of each set at most", metavar="N")] = None,
    empty: Annotated[
        int, typer.Option(min=0, help="Further frames without crystal to draw and count false spots on", metavar="N")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals", metavar="N")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures for programs")] = False,
) -> None:
    """Judge detectors side by side on sets with known spots: one page and one table."""
    import numpy as np

    from fringemap.report.evaluation import write_evaluation
    from fringemap.training.evaluate import make_detectors
    from fringemap.training.summary import evaluate_and_summarise

    detectors = make_detectors(model or [], classical=classical)
    rng = np.random.default_rng(seed)
    with show_progress() as tell:
        shown = [
            evaluate_and_summarise(
                path,
                detectors,
                false_spots=false_spots,
                side=side,
                limit=limit,
                n_empty=empty,
                rng=rng,
                tell=tell,
            )
            for path in sets
        ]
    page = write_evaluation(shown, out)
    if as_json:
        print_json({"page": page, "sets": [_as_json(one) for one in shown]})
        return
    for one in shown:
        _tell(one)
    typer.echo(f"Page: {page}")


def _as_json(one: SetShown) -> dict[str, object]:
    return {"name": one.name, "remarks": list(one.remarks), "figures": [vars(figure) for figure in one.figures]}


def _tell(one: SetShown) -> None:
    typer.echo(f"{one.name}: {one.about}")
    for remark in one.remarks:
        typer.echo(f"{one.name}: {remark}", err=True)
    for detector in one.pixels:
        dice, f1 = one.find(detector, "all", "Dice"), one.find(detector, "all", "F1, stated rate")
        counted = one.find(detector, "all", "false spots in a frame without crystal, counted")
        words = [f"Dice {dice.value:.4f}"] if dice else []
        words += [f"F1 {f1.value:.3f} at the stated rate"] if f1 else []
        words += [f"{counted.value:.3g} false spots in a frame without crystal"] if counted else []
        typer.echo(f"  {detector}: {', '.join(words)}")
