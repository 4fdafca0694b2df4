"""Open: the folder, thumbnails, what a file says of itself, its pixel size, uploads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from fringemap.errors import FringemapError, OutputError, SettingsError
from fringemap.gui.answers import answer, body_of, given_number, session_of
from fringemap.gui.frames import STAND_IN
from fringemap.gui.root import UPLOADS_NAME, free_path
from fringemap.gui.session import GivenScale
from fringemap.io import describe, read
from fringemap.io.formats import ENDINGS
from fringemap.io.inputs import is_numbered, readable_files
from fringemap.records import Flag, Scale, ScaleSource
from fringemap.report.words import calibration_badge
from fringemap.spectrum import reduce_frame

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from fringemap.gui.root import Root
    from fringemap.gui.session import Session
    from fringemap.records import Image

THUMBNAIL_PX = 96
SAMPLE_NAME, SAMPLE_SEED, SAMPLE_PX = "sample", 1, 1024
DEFAULT_SIGMA_PERCENT = 1.0


def list_folder(request: Request) -> Response:
    """What lies in a folder: folders and inputs that can be opened."""
    root, name = session_of(request).root, request.query_params.get("name", "")
    folder = root.find(name)
    entries = [] if not folder.is_dir() else _entries(root, folder)
    parent = None if not root.name_of(folder) else root.name_of(folder.parent)
    return answer({"name": root.name_of(folder), "parent": parent, "title": folder.name, "entries": entries})


def _entries(root: Root, folder: Path) -> list[dict[str, Any]]:
    folders = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    entries = [_entry(root, p, "series" if _is_series(p) else "folder") for p in folders if _inside(root, p)]
    files = [p for p in readable_files(folder) if _inside(root, p)]
    return entries + [_entry(root, p, "image") for p in files]


def _inside(root: Root, path: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(root.folder)
    except (OSError, RuntimeError):
        return False


def _is_series(folder: Path) -> bool:
    try:
        return is_numbered(readable_files(folder))
    except OSError:
        return False


def _entry(root: Root, path: Path, kind: str) -> dict[str, Any]:
    status = path.stat()
    return {
        "name": path.relative_to(root.folder).as_posix(),
        "title": path.name,
        "kind": kind,
        "bytes": status.st_size,
        "time": status.st_mtime,
    }


def show_thumbnail(request: Request) -> Response:
    """Draw a small picture of the first frame."""
    session = session_of(request)
    place = session.place(request.query_params.get("name", ""), 0)
    with read(place.path, settings=place.settings) as series:
        picture = reduce_frame(series[0].image, most_px=THUMBNAIL_PX)
    return Response(_as_png(picture), media_type="image/png", headers={"cache-control": "max-age=3600"})


def _as_png(picture: Image) -> bytes:
    # Slow to import, and the page opens without them.
    from PIL import Image as Pillow

    from fringemap.report.panels import contrast
    from fringemap.report.rendering import pack_png

    low, high = contrast(picture)
    grey = np.clip((picture - low) / max(high - low, 1e-12), 0.0, 1.0)
    return pack_png(Pillow.fromarray((255.0 * grey).astype(np.uint8)))


def describe_input(request: Request) -> Response:
    """Say what the reader understands of an input, and how far its pixel size can be trusted."""
    session, name = session_of(request), request.query_params.get("name", "")
    described = describe_named(session, name)
    session.opened(name)
    return answer(described)


def describe_named(session: Session, name: str) -> dict[str, Any]:
    """Describe an input of the folder by its name.

    Raises
    ------
    ReadError
        It is missing, or no image.
    """
    place = session.place(name, 0)
    with read(place.path, settings=place.settings) as series:
        described = describe(series)
        scale = series.scale or STAND_IN
        times = None if series.times_s is None else [float(t) for t in series.times_s]
    given = session.given_scale(name)
    level, words = _badge(scale, series.flags, given)
    described |= {"name": name, "title": place.path.name, "path": place.path.name, "times_s": times}
    described |= {"badge": {"level": level, "words": words}, "given": given}
    described["pixel_angstrom"] = scale.pixel_size_angstrom
    return described


def _badge(scale: Scale, flags: Flag, given: GivenScale | None) -> tuple[str, str]:
    if given is not None and given.standard:
        return "green", f"calibrated on {given.standard}, standard error {given.sigma_percent:.2g} %"
    return calibration_badge(scale, flags if scale.source is ScaleSource.NONE else Flag.NONE)


async def give_scale(request: Request) -> Response:
    """Take the pixel size that the user types, or forget it."""
    session, asked = session_of(request), await body_of(request)
    name = str(asked.get("name", ""))
    session.root.find(name)
    size, sigma = asked.get("pixel_size_nm"), given_number(asked, "sigma_percent", DEFAULT_SIGMA_PERCENT)
    given = None if size is None else GivenScale(_positive(size), sigma)
    session.give_scale(name, given)
    return answer(await run_in_threadpool(describe_named, session, name))


def _positive(value: Any) -> float:
    try:
        size = float(value)
    except (TypeError, ValueError):
        size = 0.0
    if not size > 0:
        raise SettingsError(f"{value!r} is no pixel size; give it in nm per pixel, such as 0.037")
    return size


async def upload(request: Request) -> Response:
    """Take a file that was dropped on the page, look whether it is an image, and keep it in ``uploads``."""
    session = session_of(request)
    folder = session.root.folder / UPLOADS_NAME
    path = free_path(folder, request.query_params.get("name", ""))
    if path.suffix.lower() not in ENDINGS:
        raise SettingsError(f"{path.name} is no image that fringemap reads: {', '.join(sorted(ENDINGS))}")
    try:
        await _receive(request, path)
        await run_in_threadpool(_check_image, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return answer({"name": session.root.name_of(path)})


async def _receive(request: Request, path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as stream:
            async for chunk in request.stream():
                await run_in_threadpool(stream.write, chunk)
    except OSError as error:
        raise OutputError(f"{path.name} cannot be stored: {os.strerror(error.errno or 0)}") from error


def _check_image(path: Path) -> None:
    try:
        with read(path) as series:
            series[0]
    except FringemapError as error:
        raise SettingsError(f"{path.name} was not kept: {error}") from error


async def draw_sample_frame(request: Request) -> Response:
    """Draw a frame to try the page with; it is kept in ``sample``."""
    session = session_of(request)
    path = await run_in_threadpool(_sample, session.root.folder / SAMPLE_NAME)
    return answer({"name": session.root.name_of(path)})


def _sample(folder: Path) -> Path:
    from fringemap.demo import draw_sample  # slow to import, and seldom needed

    path = folder / "demo.mrc"
    if not path.exists():
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {folder.name} cannot be made: {error.strerror}") from error
        draw_sample(folder, SAMPLE_SEED, SAMPLE_PX)
    return path


def recent(request: Request) -> Response:
    """Inputs opened last that are still there."""
    session = session_of(request)
    return answer([entry for entry in session.recent if _still_there(session, entry["name"])])


def _still_there(session: Session, name: str) -> bool:
    try:
        session.root.find(name)
    except FringemapError:
        return False
    return True


ROUTES = [
    Route("/api/folder", list_folder),
    Route("/api/thumbnail", show_thumbnail),
    Route("/api/input", describe_input),
    Route("/api/recent", recent),
    Route("/api/scale", give_scale, methods=["POST"]),
    Route("/api/sample", draw_sample_frame, methods=["POST"]),
    Route("/api/upload", upload, methods=["POST"]),
]
