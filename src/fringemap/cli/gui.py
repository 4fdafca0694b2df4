"""The command that serves the page: ``gui``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fringemap.cli.app import app
from fringemap.errors import SettingsError


@app.command("gui")
def gui_command(
    folder: Annotated[Path, typer.Argument(help="Folder with frames; nothing outside it can be reached")] = Path(),
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes any that is free")] = 8765,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen at; other than this machine's asks for a token")
    ] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page")] = False,
) -> None:
    """Serve a page to look at frames, analyse them and correct what was found."""
    try:
        from fringemap.gui.server import serve
    except ImportError as error:
        raise SettingsError(f"the page needs {error.name}, which is not installed; install fringemap[gui]") from error

    serve(folder, host=host, port=port, browser=not no_browser, tell=lambda at: typer.echo(f"{at}   (Ctrl-C ends it)"))
