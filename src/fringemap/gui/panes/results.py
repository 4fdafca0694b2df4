"""Results: what a frame holds, for tables and pictures, in numbers and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.routing import Route

from fringemap.errors import ReadError, SettingsError
from fringemap.gui.answers import answer, answer_pixels, session_of, whole
from fringemap.phases import explain_spot
from fringemap.pipeline import load_phases
from fringemap.records import FLAG_MEANING, UNKNOWN, Flag, ScaleSource
from fringemap.report.style import style_for
from fringemap.report.words import (
    NM,
    PER_NM,
    describe_flags,
    flag_word,
    format_area,
    format_error,
    format_formula,
    format_probability,
    format_rival,
    format_zones,
    headline,
    overlined_indices,
)
from fringemap.settings import settings_from_mapping
from fringemap.spectrum import compute_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from fringemap.gui.runs import Run
    from fringemap.gui.session import Session
    from fringemap.records import FrameResult, PhaseEvidence, PhaseMap, SpotMatch
    from fringemap.report.style import PhaseStyle

_MOST_RIVALS = 12


def show_result(request: Request) -> Response:
    """Tell all of one frame's result, corrections included; null if there is none yet."""
    session, name, frame = _asked(request)
    run = session.runs.latest(name)
    position = None if run is None else session.position_of(run, frame)
    if run is None or position is None or not session.runs.has_result(run, position):
        return answer(None)
    result = session.result(run, position)
    styles = session.styles_of(run, result)
    about = {"input": name, "run": run.run, "frame": frame, "version": session.version_of(run)}
    return answer({**about, **result_as_json(result, styles), **session.corrections.told(run, position)})


def _asked(request: Request) -> tuple[Session, str, int]:
    session, name = session_of(request), request.query_params.get("name", "")
    session.root.find(name)
    return session, name, whole(request, "frame", 0)


def asked_result(request: Request) -> tuple[Session, Run, FrameResult]:
    """Give the result that a question is about.

    Raises
    ------
    ReadError
        The frame has none.
    """
    session, name, frame = _asked(request)
    run = session.runs.latest(name)
    if run is None:
        raise ReadError(f"{name} has not been analysed")
    position = session.position_of(run, frame)
    if position is None:
        raise ReadError(f"frame {frame} of {name} was left out of the run")
    return session, run, session.result(run, position)


def result_as_json(result: FrameResult, styles: Mapping[str, PhaseStyle]) -> dict[str, Any]:
    """Describe a result for the page."""
    maps = {one.phase: one for one in result.maps}
    return {
        "title": result.name,
        "calibrated": result.scale.source is not ScaleSource.NONE,
        "pixel_size_nm": [NM * size for size in result.scale.pixel_size_angstrom],
        "headline": headline(result),
        "warnings": [*describe_flags(result.flags), *result.warnings],
        "spots": [_spot(result, row, match, styles) for row, match in enumerate(result.match.spots)],
        "phases": [_phase(e, maps.get(e.phase), styles) for e in result.match.phases],
        "candidates": [_phase(e, None, styles) for e in result.match.candidates],
        "rings": [{"g_per_nm": PER_NM * g, "d_angstrom": 1 / g} for g in result.rings.g],
        "maps": [_map(result, one, styles) for one in result.maps],
    }


def _spot(result: FrameResult, row: int, match: SpotMatch, styles: Mapping[str, PhaseStyle]) -> dict[str, Any]:
    spots, best = result.spots, match.best
    phase = UNKNOWN if best is None else best.phase
    flags = Flag(int(spots.flags[row])) | match.flags
    return {
        "row": row,
        "gx": PER_NM * spots.gx[row],
        "gy": PER_NM * spots.gy[row],
        "g": PER_NM * spots.g[row],
        "d": spots.d_spacing[row],
        "d_text": format_error(float(spots.d_spacing[row]), float(spots.d_sigma[row])),
        "angle": np.degrees(spots.angle[row]),
        "snr": spots.snr[row],
        "score": spots.score[row],
        "width": PER_NM * spots.width[row],
        "phase": phase,
        "colour": style_for(styles, phase).colour,
        "hkl": f"({overlined_indices(best.hkl)})" if best is not None and any(best.hkl) else "",
        "deviation": None if best is None else best.deviation_percent,
        "probability": match.probability,
        "probability_text": format_probability(match.probability),
        "rivals": [{"phase": r.phase, "text": format_rival(r)} for r in match.rivals[:_MOST_RIVALS]],
        "flags": describe_flags(flags),
        "flag_words": [flag_word(flag) for flag in FLAG_MEANING if flags & flag],
        "by_hand": bool(flags & Flag.BY_HAND),
    }


def _phase(evidence: PhaseEvidence, phase_map: PhaseMap | None, styles: Mapping[str, PhaseStyle]) -> dict[str, Any]:
    style = style_for(styles, evidence.phase)
    flags = evidence.flags | (phase_map.flags if phase_map else Flag.NONE)
    return {
        "name": evidence.phase,
        "text": format_formula(evidence.phase),
        "colour": style.colour,
        "probability": evidence.probability,
        "probability_text": format_probability(evidence.probability),
        "q_value": evidence.q_value,
        "zone_text": format_zones(evidence),
        "spots": evidence.spots,
        "d_mean": evidence.d_mean_angstrom,
        "match": evidence.match_percent,
        "area_text": format_area(phase_map),
        "scale_text": format_error(evidence.scale, evidence.scale_sigma),
        "doubts": describe_flags(flags),
    }


def _map(result: FrameResult, phase_map: PhaseMap, styles: Mapping[str, PhaseStyle]) -> dict[str, Any]:
    pairs = zip(phase_map.pixel_size_angstrom, result.scale.pixel_size_angstrom, strict=True)
    return {
        "phase": phase_map.phase,
        "colour": style_for(styles, phase_map.phase).colour,
        "rows": phase_map.amplitude.shape[0],
        "cols": phase_map.amplitude.shape[1],
        "pixel_px": [mine / frames for mine, frames in pairs],
        "origin_px": phase_map.origin_px,
        "resolution_nm": NM * phase_map.resolution_angstrom,
    }


def show_map(request: Request) -> Response:
    """Give the pixels of a map: ``layer`` is amplitude or mask."""
    _, _, result = asked_result(request)
    phase, layer = request.query_params.get("phase", ""), request.query_params.get("layer", "amplitude")
    found = next((one for one in result.maps if one.phase == phase), None)
    if found is None or layer not in ("amplitude", "mask"):
        raise SettingsError("there is no such map")
    if layer == "mask":
        return answer_pixels(found.mask.astype(np.float32), {}, limits=(0.0, 1.0))
    return answer_pixels(found.amplitude, {}, limits=(0.0, max(float(found.amplitude.max()), 1e-12)))


def show_words(request: Request) -> Response:
    """Say of a spot what it is, why, and what else it could be."""
    _, run, result = asked_result(request)
    references = load_phases(settings_from_mapping(run.settings))
    return answer({"words": explain_spot(whole(request, "spot"), result.match, result.spots, references)})


def show_profile(request: Request) -> Response:
    """Integrate the diffractogram over circles."""
    session, name, frame = _asked(request)
    diffractogram = session.frames.diffractogram(session.place(name, frame))
    profile = compute_profile(diffractogram, inside=np.zeros(0, np.int64))
    calibrated = diffractogram.scale.source is not ScaleSource.NONE
    graph = {"g_per_nm": PER_NM * profile.g, "intensity": profile.intensity, "background": profile.background}
    pixel_nm = [NM * size for size in diffractogram.scale.pixel_size_angstrom]
    return answer({**graph, "calibrated": calibrated, "pixel_size_nm": pixel_nm})


ROUTES = [
    Route("/api/result", show_result),
    Route("/api/map", show_map),
    Route("/api/explain", show_words),
    Route("/api/profile", show_profile),
]
