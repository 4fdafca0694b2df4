"""The command that draws sets with known answers: ``simulate``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from fringemap.cli.app import app
from fringemap.cli.telling import print_json, show_progress


class Kind(StrEnum):
    """What a set is drawn from."""

    TRAIN = "train"
    RARE = "rare"
    TEST = "test"


@app.command("simulate")
def simulate_command(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the set", metavar="FOLDER")],
    n: Annotated[int, typer.Option("--n", min=1, metavar="N", help="Samples")] = 2000,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the random generator")] = 1,
    kind: Annotated[
        Kind, typer.Option(help="train, rare frames to train on as well, or test with ranges and structures held out")
    ] = Kind.TRAIN,
    size: Annotated[
        int | None, typer.Option(min=128, metavar="N", help="Side of the frames [px]; mixed if not given")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes; the set is the same for any number")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary for programs")] = False,
) -> None:
    """Draw a set of diffractograms with known spots, to train or to test a detector; a stopped run goes on."""
    from fringemap.training.recipes import find_recipe
    from fringemap.training.sets import write_set

    with show_progress() as tell:
        made = write_set(out, find_recipe(kind, size=size), n=n, seed=seed, workers=workers, progress=tell)
    if as_json:
        print_json({"folder": out, "n_samples": len(made), "kind": str(kind), "seed": seed})
    else:
        typer.echo(f"{len(made)} samples ({kind}, seed {seed}): {out}")
