"""Command ``calibrate``: the pixel size from a known lattice."""

from __future__ import annotations

import math
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fringemap import settings as knobs
from fringemap.cli.app import app
from fringemap.cli.telling import print_json

if TYPE_CHECKING:
    from fringemap.records import Calibration

_METHODS = {
    "grains": "grains of the standard, d-spacings and angles",
    "spots": "single spots, d-spacings alone",
    "rings": "rings",
}


@app.command("calibrate")
def calibrate_command(
    file: Annotated[Path, typer.Argument(help="File, stack or folder that shows the standard", metavar="FILE")],
    standard: Annotated[
        str, typer.Option(help="The phase in it: a name in the library, a CIF or a table", metavar="NAME")
    ] = "",
    ring: Annotated[
        float | None,
        typer.Option(help="Instead: the d-spacing of its ring [Å]", min=0.3, max=100.0, metavar="ANGSTROM"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Calibration file to write, .toml or .json", metavar="FILE")
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(metavar="NM", help="Pixel size to start from, as your files state it [nm/px]")
    ] = None,
    scale_sigma: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="How far that may be wrong, one standard error [%]")
    ] = None,
    frames: Annotated[str, typer.Option(help="Frames of a series, START:STOP:STEP", metavar="RANGE")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs")] = False,
) -> None:
    """Find pixel size, ellipse and shear from a known lattice, and save them for analyze --calibration."""
    from fringemap.batch.calibrate import calibrate_input
    from fringemap.io import calibration_to_text
    from fringemap.report.atomic import write_text

    settings = knobs.AnalysisSettings(
        read=knobs.ReadSettings(pixel_size_nm=pixel_size, scale_sigma_percent=scale_sigma, frames=frames)
    )
    found = calibrate_input(file, standard, ring_angstrom=ring, settings=settings)
    if out is not None:
        write_text(out, calibration_to_text(found, as_json=out.suffix.lower() == ".json"))
    if as_json:
        print_json({**_as_plain(found), "file": out})
        return
    typer.echo("\n".join(_in_words(found)))
    typer.echo(f"Calibration file: {out}" if out else "Not saved; -o FILE.toml writes it for analyze --calibration")


def _as_plain(found: Calibration) -> dict[str, Any]:
    import json

    from fringemap.io import calibration_to_text

    plain: dict[str, Any] = json.loads(calibration_to_text(found, as_json=True))
    return plain


def _in_words(found: Calibration) -> list[str]:
    """Say what was found, and whether it can be trusted."""
    rows, cols = (size / 10.0 for size in found.pixel_size_angstrom)
    s, e1, e2 = found.distortion
    before = found.stated_pixel_size_angstrom
    what = "rings" if found.method == "rings" else "spots"
    stretch = math.hypot(e1, e2)
    lines = [
        f"Standard    {found.standard}: {found.n_used} of {found.n_found} {what} lie on it ({_METHODS[found.method]})",
        f"Pixel size  {cols:.6g} nm along x, {rows:.6g} nm along y, ± {100 * found.sigma:.2f} %",
    ]
    if before is None:
        lines.append("Stated      nothing; found from the ratios and angles alone, or from the ring")
    else:
        larger = "larger" if s > 0 else "smaller"
        lines.append(
            f"Stated      {before[1] / 10:.6g} nm; the true one is {100 * abs(s):.2f} ± "
            f"{100 * found.distortion_sigma[0]:.2f} % {larger}"
        )
    lines += [
        f"Ellipse     axes 1 : {(1 + s + stretch) / (1 + s - stretch):.4f}, the diffractogram's longer one at "
        f"{math.degrees(0.5 * math.atan2(e2, e1)):.0f}° (± {100 * found.distortion_sigma[1]:.2f} %)",
        f"Shear       rows and columns are {math.degrees(2 * math.atan(abs(found.shear))):.2f}° from a right angle",
        f"Residual    {100 * found.residual:.2f} % rms of |g|, weighted",
    ]
    if found.doubts:
        return [*lines, "Not to be trusted:", *(f"  {doubt}" for doubt in found.doubts)]
    return [*lines, "It can be trusted."]
