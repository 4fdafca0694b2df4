"""The command line itself: commands register with ``app``; ``main`` runs it."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from fringemap.errors import FringemapError, SettingsError, StructureError

app = typer.Typer(
    name="fringemap",
    help="From high-resolution TEM frames to phase maps: spots, phases and where they are, with error bars.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
phases_app = typer.Typer(help="The structure library.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(phases_app, name="phases")


def main() -> None:
    """Run the command line; an error becomes one sentence and the exit status 1 (failed) or 2 (wrong use)."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Matrices are small here and threads are shared out by fringemap itself; those of the linear algebra only wait for
    # each other. It reads this when it is loaded.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        app()
    except (SettingsError, StructureError) as error:
        _fail(str(error), 2)
    except FringemapError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("stopped; what was finished is on disk, and --resume does the rest", 130)


def _fail(message: str, status: int) -> None:
    typer.echo(f"fringemap: {message}", err=True)
    sys.exit(status)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from fringemap import __version__

        typer.echo(f"fringemap {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave", callback=_tell_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what happens")] = False,
) -> None:
    if verbose:
        logging.getLogger("fringemap").setLevel(logging.INFO)
