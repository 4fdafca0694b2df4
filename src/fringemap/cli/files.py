"""Commands that look and try: ``info``, ``demo``, ``benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fringemap import settings as knobs
from fringemap.cli.app import app
from fringemap.cli.telling import print_json


@app.command("info")
def info_command(
    file: Annotated[Path, typer.Argument(help="File, stack or folder", metavar="FILE")],
    pixel_size: Annotated[float | None, typer.Option(metavar="NM", help="Pixel size to use instead [nm/px]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Show what the reader understands of a file: shape, pixel size and its source, times, warnings."""
    from fringemap.io import describe, read

    with read(file, settings=knobs.ReadSettings(pixel_size_nm=pixel_size)) as series:
        described = describe(series)
    if as_json:
        print_json(described)
        return
    for name, value in described.items():
        if value not in (None, [], {}):
            typer.echo(f"{name:22} {_readable(value)}")


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "".join(f"\n  {key:20} {_readable(item)}" for key, item in value.items())
    if isinstance(value, list):
        joiner = "\n" + " " * 23 if value and isinstance(value[0], str) else " x "
        return joiner.join(_readable(item) for item in value)
    return str(value)


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results", metavar="OUT")] = Path(
        "fringemap-demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the random generator", metavar="N")] = 1,
    size: Annotated[int, typer.Option(help="Side of the frame [px]", min=512, max=8192, metavar="N")] = 2048,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser")] = False,
) -> None:
    """Draw a piece of a battery's interphase with a known answer, analyse it, and set found beside true."""
    from fringemap.demo import run_demo

    page = run_demo(out, seed=seed, size=size, tell=typer.echo)
    typer.echo(f"Page: {page.resolve()}")
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


@app.command("benchmark")
def benchmark_command(
    size: Annotated[int, typer.Option(help="Side of the frame [px]", min=256, metavar="N")] = 4096,
    repeats: Annotated[int, typer.Option(help="Runs of each step; the median counts", min=1, metavar="N")] = 5,
    detector: Annotated[
        Literal["classical", "unet"], typer.Option(help="The detector of spots", metavar="classical|unet")
    ] = "classical",
) -> None:
    """Time each step of the analysis of one frame, as a ratio to numpy's complex128 FFT of the same frame."""
    from fringemap.benchmark import run_benchmark

    run_benchmark(size=size, repeats=repeats, tell=typer.echo, detector=detector)
