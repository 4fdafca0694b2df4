"""Look: cuts of frames and diffractograms at the resolution that the screen shows, and the live region."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from starlette.routing import Route

from fringemap.errors import SettingsError
from fringemap.gui.answers import answer, answer_pixels, number, session_of, whole
from fringemap.gui.frames import STAND_IN
from fringemap.phases import compute_reflections, list_structures, load_structure, zone_pattern
from fringemap.records import ScaleSource
from fringemap.report.words import NM, PER_NM
from fringemap.settings import SpectrumSettings
from fringemap.spectrum import bin_size, compute_diffractogram, reduce_frame, shown_block, shown_limits

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fringemap.gui.frames import Place
    from fringemap.gui.session import Session
    from fringemap.records import Diffractogram, Structure

MOST_SHOWN_PX = 4096
"""A cut has at most so many pixels a side."""
_MOST_REFLECTIONS = 400


def show_frame(request: Request) -> Response:
    """Cut a rectangle of a frame, each pixel the mean of ``bin`` x ``bin``."""
    session, place = _asked(request)
    image = session.frames.frame(place).image
    rows, cols, factor = _cut(request, image.shape[0], image.shape[1])
    cut = image[rows.start : rows.stop, cols.start : cols.stop]
    # A multiple of the factor a side, so that reducing to this many pixels is exact.
    shown = cut if factor == 1 else reduce_frame(cut, most_px=max(len(rows), len(cols)) // factor)
    return answer_pixels(shown, {"top": rows.start, "left": cols.start, "bin": factor, "full": image.shape})


def show_spectrum(request: Request) -> Response:
    """Cut a rectangle of a frame's diffractogram, each pixel the brightest of ``bin`` x ``bin``."""
    session, place = _asked(request)
    return _answer_spectrum(request, session.frames.diffractogram(place))


def look_ahead(request: Request) -> Response:
    """Read and transform the frame that will be asked for next, so that it is there when it is."""
    session, place = _asked(request)
    session.frames.diffractogram(place)
    return answer({})


def show_region(request: Request) -> Response:
    """Transform a square of a frame: the live diffractogram."""
    session, place = _asked(request)
    frame = session.frames.frame(place)
    top, left, side = (whole(request, name) for name in ("region_top", "region_left", "side"))
    n_rows, n_cols = frame.image.shape
    if not (side >= 32 and 0 <= top <= n_rows - side and 0 <= left <= n_cols - side):
        raise SettingsError(f"a square of {side} px at row {top}, column {left} does not lie in the frame")
    square = np.ascontiguousarray(frame.image[top : top + side, left : left + side])
    d_min = None if frame.scale is STAND_IN else place.d_min_angstrom
    settings = SpectrumSettings(edges="hann")
    diffractogram = compute_diffractogram(replace(frame, image=square), settings=settings, d_min_angstrom=d_min)
    return _answer_spectrum(request, diffractogram)


def _answer_spectrum(request: Request, diffractogram: Diffractogram) -> Response:
    last_row, last_col = shown_limits(diffractogram)
    full = (2 * last_row + 1, 2 * last_col + 1)
    rows, cols, factor = _cut(request, *full)
    first = (rows.start - last_row, cols.start - last_col)
    shown = shown_block(diffractogram, first=first, shape=(len(rows), len(cols)), factor=factor)
    steps = [PER_NM * step for step in bin_size(diffractogram.frame_shape, diffractogram.scale)]
    about = {"top": rows.start, "left": cols.start, "bin": factor, "full": full, "bin_per_nm": steps}
    calibrated = diffractogram.scale.source is not ScaleSource.NONE
    pixel_nm = [NM * size for size in diffractogram.scale.pixel_size_angstrom]
    return answer_pixels(shown, {**about, "calibrated": calibrated, "pixel_size_nm": pixel_nm})


def _asked(request: Request) -> tuple[Session, Place]:
    session = session_of(request)
    return session, session.place(request.query_params.get("name", ""), whole(request, "frame", 0))


def _cut(request: Request, n_rows: int, n_cols: int) -> tuple[range, range, int]:
    """Rows and columns asked for, within the picture and a multiple of the bin; at least one pixel."""
    factor = min(max(whole(request, "bin", 1), 1), n_rows, n_cols)
    factor = max(factor, math.ceil(max(n_rows, n_cols) / (MOST_SHOWN_PX * 8)))
    rows = _along(whole(request, "top", 0), whole(request, "rows", n_rows), n_rows, factor)
    cols = _along(whole(request, "left", 0), whole(request, "cols", n_cols), n_cols, factor)
    if max(len(rows), len(cols)) > MOST_SHOWN_PX * factor:
        raise SettingsError(f"a cut of {len(rows)} x {len(cols)} px is larger than any screen; ask for a larger bin")
    return rows, cols, factor


def _along(start: int, length: int, n: int, factor: int) -> range:
    start = min(max(start, 0) // factor * factor, n - factor)
    length = min(max(length, factor), n - start) // factor * factor
    return range(start, start + length)


def list_phases(_request: Request) -> Response:
    """Names of the built-in structures, with their formulas and elements."""
    structures = [load_structure(name) for name in list_structures()]
    return answer([{"name": s.name, "formula": s.formula, "elements": sorted(s.elements)} for s in structures])


def show_rings(request: Request) -> Response:
    """Radii at which a phase has reflections."""
    structure = _structure(request)
    reflections = compute_reflections(structure, d_min_angstrom=_d_min(request))
    rows = zip(reflections.hkl, reflections.d_spacing, reflections.intensity, strict=True)
    listed = [{"hkl": hkl, "d_angstrom": d, "g_per_nm": PER_NM / d, "intensity": i} for hkl, d, i in rows]
    return answer({"phase": structure.name, "rings": listed[:_MOST_REFLECTIONS]})


def show_zone(request: Request) -> Response:
    """Compute the pattern of a phase seen along a direction; its first reflection lies along x."""
    text = request.query_params.get("uvw", "0 0 1").replace(",", " ").split()
    try:
        u, v, w = (int(part) for part in text)
    except ValueError as error:
        raise SettingsError(f"[{' '.join(text)}] is no direction; give three whole numbers, such as 0 1 1") from error
    pattern = zone_pattern(_structure(request), (u, v, w), d_min_angstrom=_d_min(request))
    rows = zip(pattern.hkl, PER_NM * pattern.g, pattern.intensity, pattern.extinct, strict=True)
    listed = [{"hkl": h, "gx": g[0], "gy": g[1], "intensity": i, "extinct": x} for h, g, i, x in rows]
    return answer({"phase": pattern.phase, "uvw": pattern.uvw, "spots": listed[:_MOST_REFLECTIONS]})


def _structure(request: Request) -> Structure:
    """Take a structure of the library, or a CIF in the folder."""
    name = request.query_params.get("phase", "")
    return load_structure(session_of(request).root.find(name) if name.lower().endswith(".cif") else name)


def _d_min(request: Request) -> float:
    return max(number(request, "d_min", 1.0), 0.5)


ROUTES = [
    Route("/api/frame", show_frame),
    Route("/api/spectrum", show_spectrum),
    Route("/api/ahead", look_ahead),
    Route("/api/region", show_region),
    Route("/api/phases", list_phases),
    Route("/api/rings", show_rings),
    Route("/api/zone", show_zone),
]
