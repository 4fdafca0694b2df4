"""Export: tables, figures, data and the whole report, with what a hand changed in all of them; and the run as text."""

from __future__ import annotations

import json
import shlex
import tempfile
import threading
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from fringemap import settings as knobs
from fringemap.errors import SettingsError
from fringemap.gui.answers import session_of, whole
from fringemap.gui.frames import STAND_IN
from fringemap.gui.panes.results import asked_result
from fringemap.io import write_tif
from fringemap.records import ScaleSource
from fringemap.report import write_results
from fringemap.report.run import RUN_NAME, to_plain
from fringemap.report.tables import write_phases_csv, write_profile_csv, write_spots_csv
from fringemap.settings import settings_from_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from fringemap.gui.runs import Run
    from fringemap.gui.session import Session
    from fringemap.records import FrameResult

_TABLES = {"spots": write_spots_csv, "phases": write_phases_csv, "profile": write_profile_csv}
_FIGURES = ("overview", "frame", "diffractogram", "overlay", "profile")
_SERIES_FIGURES = ("evolution", "waterfall")
_drawing = threading.Lock()
"""matplotlib's style is one for the whole process."""


def export_table(request: Request) -> Response:
    """Write a table of all frames of a run as CSV."""
    session, run, _ = asked_result(request)
    kind = request.query_params.get("kind", "spots")
    if kind not in _TABLES:
        raise SettingsError(f"there is no table {kind!r}; there are {', '.join(_TABLES)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{kind}.csv"
        with _TABLES[kind](path) as append:
            for result in _results(session, run):
                append(result)
        return _download(path.read_bytes(), f"{_stem(run)}_{kind}.csv", "text/csv; charset=utf-8")


def export_figure(request: Request) -> Response:
    """Draw a figure as PNG or SVG."""
    session, run, result = asked_result(request)
    kind, form = request.query_params.get("kind", "overview"), request.query_params.get("format", "png")
    if form not in ("png", "svg") or kind not in (*_FIGURES, *_SERIES_FIGURES):
        raise SettingsError(f"there is no figure {kind!r} as {form!r}")
    picture = _draw(session, run, result, kind, form)
    media = "image/png" if form == "png" else "image/svg+xml"
    return _download(picture, f"{_stem(run)}_{kind}.{form}", media)


def _draw(session: Session, run: Run, result: FrameResult, kind: str, form: str) -> bytes:
    # Slow to import, and the page opens without them.
    from fringemap.report import figures, rendering, series_figures

    write = rendering.to_png if form == "png" else rendering.to_svg
    with _drawing:
        if kind in _FIGURES:
            return write(getattr(figures, f"draw_{kind}")(result))
        series = session.series_of(run)
        if series is None:
            raise SettingsError("a single frame has no evolution")
        return write(getattr(series_figures, f"draw_{kind}")(series))


def export_data(request: Request) -> Response:
    """Write a frame, or the map of a phase, as a TIFF in 32 bits, calibrated if the pixel size is known."""
    session, name = session_of(request), request.query_params.get("name", "")
    frame, phase = whole(request, "frame", 0), request.query_params.get("phase")
    if phase is None:
        shown = session.frames.frame(session.place(name, frame))
        image, stem, scale = shown.image, shown.name, shown.scale or STAND_IN
        pixel = scale.pixel_size_angstrom
    else:
        _, run, result = asked_result(request)
        found = next((one for one in result.maps if one.phase == phase), None)
        if found is None:
            raise SettingsError(f"there is no map of {phase}")
        image, stem, scale = found.amplitude, f"{_stem(run)}_{phase}", result.scale
        pixel = found.pixel_size_angstrom
    known = pixel if scale.source is not ScaleSource.NONE else None
    with tempfile.TemporaryDirectory() as folder:
        path = write_tif(Path(folder) / "data.tif", image, pixel_size_angstrom=known)
        return _download(path.read_bytes(), f"{stem}.tif", "image/tiff")


def export_report(request: Request) -> Response:
    """Write everything that ``fringemap analyze`` writes, corrections included, and pack it."""
    session, run, _ = asked_result(request)
    folder = session.runs.own_folder(run) / "export" / _stem(run)
    with _drawing:
        write_report(session, run, folder)
    packed = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
    return FileResponse(packed, filename=packed.name, media_type="application/zip")


def write_report(session: Session, run: Run, folder: Path) -> None:
    """Write tables, maps, figures, page and record of a run; the record lists all corrections.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    settings = settings_from_mapping(run.settings)
    record = session.runs.folder_of(run) / RUN_NAME
    provenance = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    for own in ("status", "summary", "frames", "warnings", "seconds", "fringemap"):
        provenance.pop(own, None)  # made anew
    write_results(
        _results(session, run),
        folder=folder,
        settings=knobs.ReportSettings(),
        provenance={**provenance, "input": Path(run.name).name, "corrections": session.corrections.of_run(run)},
        series=settings.series,
        dose_rate=settings.read.dose_rate,
    )


def _results(session: Session, run: Run) -> Iterator[FrameResult]:
    return (session.result(run, frame) for frame in session.runs.frames_done(run))


def export_text(request: Request) -> Response:
    """Write the run as a command line or as Python."""
    session, run, _ = asked_result(request)
    corrected = session.corrections.of_run(run)
    kind = request.query_params.get("kind", "command")
    text = as_python(run) if kind == "python" else as_command(run)
    if corrected:
        done = sum(map(len, corrected.values()))
        text += f"\n# {done} corrections by hand are not part of this; they are in the record of the exported report.\n"
    return PlainTextResponse(text)


def as_command(run: Run) -> str:
    """Write the command that repeats a run: every setting that is not the default."""
    words = ["fringemap", "analyze", run.name, "-o", "out"]
    for _, name, value in _changed(run):
        flag = knobs.flag_of(name)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            words += [flag, ",".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"]
    return shlex.join(words) + "\n"


def as_python(run: Run) -> str:
    """Write the Python that repeats the analysis of the first frame."""
    sections: dict[str, dict[str, Any]] = {}
    for section, name, value in _changed(run):
        sections.setdefault(section, {})[name] = value
    return (
        "import fringemap\n"
        "from fringemap.settings import settings_from_mapping\n\n"
        f"settings = settings_from_mapping({sections!r})\n"
        f"result = fringemap.analyze({run.name!r}, settings=settings)\n"
        "print(result.spots.d_spacing, result.spots.d_sigma)  # Å\n"
        "for evidence in result.match.phases:\n"
        "    print(evidence.phase, evidence.probability, len(evidence.spots))\n"
    )


def _changed(run: Run) -> Iterator[tuple[str, str, Any]]:
    """Settings of a run that are not the defaults; figures are the page's own choice."""
    default = to_plain(knobs.AnalysisSettings())
    settings = settings_from_mapping(run.settings)
    for section in fields(settings):
        plain = to_plain(getattr(settings, section.name))
        for name, value in plain.items():
            if value != default[section.name][name] and (section.name, name) != ("report", "figures"):
                yield section.name, name, value


def _stem(run: Run) -> str:
    return Path(run.name).stem


def _download(content: bytes, name: str, media: str) -> Response:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    disposition = f'attachment; filename="{plain}"'
    return Response(content, media_type=media, headers={"content-disposition": disposition})


ROUTES = [
    Route("/api/export/table", export_table),
    Route("/api/export/figure", export_figure),
    Route("/api/export/data", export_data),
    Route("/api/export/report", export_report),
    Route("/api/export/text", export_text),
]
