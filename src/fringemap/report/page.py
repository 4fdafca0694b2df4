"""The page: everything about one input in one self-contained HTML file, without anything loaded from elsewhere."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

from fringemap.phases.explain import tell_spot
from fringemap.records import FLAG_MEANING, UNKNOWN, Flag, ScaleSource
from fringemap.report.atomic import atomic_write, write_text, writing
from fringemap.report.drawn import FIGURES_NAME, THUMBNAIL_NAME, remove_figures
from fringemap.report.figures import (
    draw_overlay,
    draw_profile,
    styles_of,
    write_frame_figures,
    write_overview,
)
from fringemap.report.lines import distinct_warnings, phase_counts, phases_in_words
from fringemap.report.rendering import as_jpeg, to_png, write_figure
from fringemap.report.run import to_plain
from fringemap.report.series_figures import draw_evolution, draw_waterfall
from fringemap.report.series_words import drift_in_words, event_entries
from fringemap.report.style import assign_styles, file_names, style_for
from fringemap.report.templates import render
from fringemap.report.truth import draw_truth_comparison
from fringemap.report.words import (
    PER_NM,
    RIVALS_AT_A_GLANCE,
    calibration_badge,
    count,
    describe_flags,
    flag_word,
    format_area,
    format_error,
    format_formula,
    format_number,
    format_pixel_size,
    format_probability,
    headline,
    join_words,
    named_phases,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from fringemap.records import FrameResult, PhaseEvidence, PhaseMap, SpotMatch, Truth
    from fringemap.report.lines import FrameLine, Shown
    from fringemap.report.style import PhaseStyle
    from fringemap.settings import ReportSettings

PAGE_NAME = "report.html"
PDF_NAME = "report.pdf"
_MOST_FRAMES_LISTED = 2000
_LEAST_TOLD = 0.005


def page_styles(result: FrameResult, lines: Sequence[FrameLine], truth: Truth | None = None) -> dict[str, PhaseStyle]:
    """Give each phase of an input its style: those of the frame that is shown first, then by appearance."""
    true_phases = () if truth is None else truth.phases
    return assign_styles([*styles_of(result), *phase_counts(lines), *true_phases])


def write_page(
    shown: Shown,
    run: Mapping[str, Any],
    *,
    folder: Path,
    settings: ReportSettings,
    styles: Mapping[str, PhaseStyle],
) -> Path:
    """Write figures and the page of one input, on request a PDF.

    Parameters
    ----------
    shown
        What the page is about.
    run
        The record of the run, as `write_run_json` takes it.
    folder
        Where the page goes; figures into ``figures/``.
    settings
        Resolution of the figures, and whether a PDF is wanted.
    styles
        From `page_styles`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    # A phase that an earlier run named must not stay among the figures.
    remove_figures(folder / FIGURES_NAME)
    images = _write_figures(shown, styles, folder / FIGURES_NAME, settings.dpi)
    page = folder / PAGE_NAME
    values = page_values(shown, run, images, styles)
    write_text(page, render("report.html.j2", **values))
    pdf = folder / PDF_NAME
    if settings.pdf:
        # Few ask for it, and its fonts take a moment to load.
        from fringemap.report.pdf import write_pdf

        write_pdf(pdf, values, images)
    else:
        with writing(pdf):
            pdf.unlink(missing_ok=True)
    return page


def _write_figures(shown: Shown, styles: Mapping[str, PhaseStyle], folder: Path, dpi: float) -> dict[str, bytes]:
    result = shown.result
    if shown.series is None:
        images = write_frame_figures(result, folder, styles, dpi=dpi)
    else:
        images = {
            "overview": write_overview(result, folder, styles, dpi=dpi),
            "profile": to_png(draw_profile(result, styles, dpi=dpi)),
            "overlay": to_png(draw_overlay(result, None, styles, dpi=dpi)),
            "evolution": write_figure(draw_evolution(shown.series, styles, dpi=dpi), folder / "evolution"),
            "waterfall": write_figure(draw_waterfall(shown.series, styles, dpi=dpi), folder / "waterfall"),
        }
    if shown.truth is not None:
        images["truth"] = write_figure(draw_truth_comparison(result, shown.truth, styles, dpi=dpi), folder / "truth")
    thumbnail = images.get("overlay", images.get("frame", images["overview"]))
    with atomic_write(folder / THUMBNAIL_NAME) as temporary:
        temporary.write_bytes(as_jpeg(thumbnail, longest_px=300))
    return images


def data_uri(content: bytes, kind: str) -> str:
    """Write a file into an address, so that a page needs no other file."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


def page_values(
    shown: Shown,
    run: Mapping[str, Any],
    images: Mapping[str, bytes],
    styles: Mapping[str, PhaseStyle],
) -> dict[str, Any]:
    """Gather what the page shows, in words and in the units of users."""
    result, lines = shown.result, shown.lines
    series = shown.series is not None
    summary = run["summary"]
    level, words = calibration_badge(result.scale, result.flags)
    evolution = images.get("evolution")
    return {
        "version": run["fringemap"],
        "title": summary["input"],
        "subtitle": _subtitle(result, lines),
        "shown": f"frame {result.index}" if series else result.name,
        "series": series,
        "badge": {"level": level, "words": words},
        "headline": series_headline(lines) if series else headline(result),
        "warnings": _all_warnings(lines),
        "failures": [_failure_text(frame) for frame in run["frames"] if frame["status"] == "failed"],
        "overview": data_uri(as_jpeg(images["overview"]), "jpeg"),
        "profile": data_uri(images["profile"], "png"),
        "evolution": None if evolution is None else data_uri(evolution, "png"),
        "waterfall": data_uri(images["waterfall"], "png") if "waterfall" in images else None,
        "events": event_entries(shown.series, styles) if shown.series is not None else [],
        "drift": drift_in_words(shown.series) if shown.series is not None else "",
        "video": shown.video.name if shown.video is not None else None,
        "truth": data_uri(as_jpeg(images["truth"]), "jpeg") if "truth" in images else None,
        "overlays": _overlays(result, images),
        "phases": phase_entries(result, styles),
        "candidates": candidate_entries(result),
        "spots": spot_entries(result, styles),
        "rivals_shown": RIVALS_AT_A_GLANCE,
        "scale_sigma": format_number(100 * result.scale.sigma, 2) + " %",
        "rings": ring_entries(result),
        "frames": [_frame_entry(line) for line in lines[:_MOST_FRAMES_LISTED]] if series else [],
        "left_out": max(len(lines) - _MOST_FRAMES_LISTED, 0),
        "provenance": provenance_groups(result, run),
        "glossary": _glossary(result, lines),
    }


def _subtitle(result: FrameResult, lines: Sequence[FrameLine]) -> str:
    rows, cols = result.frame_shape
    parts = [f"{cols} × {rows} px", format_pixel_size(result.scale)]
    if result.scale.source is not ScaleSource.NONE:
        height, width = (
            n * p / PER_NM for n, p in zip(result.frame_shape, result.scale.pixel_size_angstrom, strict=True)
        )
        parts.append(f"{width:.4g} × {height:.4g} nm")
    if len(lines) > 1:
        parts.append(count(len(lines), "frame"))
    elif result.time_s is not None:
        parts.append(f"{result.time_s:g} s")
    return ", ".join(parts)


def series_headline(lines: Sequence[FrameLine]) -> list[str]:
    """Say in a few sentences which phases were named in how many frames of a series."""
    found = phases_in_words(lines)
    if not found:
        return [f"No phase is named in any of {count(len(lines), 'frame')}."]
    unknown = sum(line.n_unknown_spots for line in lines)
    spots = sum(line.n_spots for line in lines)
    return [
        f"{count(len(found), 'phase').capitalize()} named: {join_words(found)}.",
        f"{unknown} of {count(spots, 'spot')} in all frames have no name.",
    ]


def _all_flags(lines: Iterable[FrameLine]) -> Flag:
    flags = Flag.NONE
    for line in lines:
        flags |= line.flags
    return flags


def _all_warnings(lines: Sequence[FrameLine]) -> list[str]:
    """Give the warnings, then what the flags of frames add to them."""
    warnings = distinct_warnings(lines)
    said = " ".join(warnings)
    return warnings + [meaning for meaning in describe_flags(_all_flags(lines)) if meaning not in said]


def _failure_text(frame: Mapping[str, Any]) -> str:
    where = "" if frame["frame"] is None else f"frame {frame['frame']}: "
    return where + str(frame["message"])


def _overlays(result: FrameResult, images: Mapping[str, bytes]) -> list[dict[str, str]]:
    names = file_names(phase_map.phase for phase_map in result.maps)
    found = []
    for phase_map in result.maps:
        png = images.get(f"overlay_{names[phase_map.phase]}")
        if png is not None:
            image = data_uri(as_jpeg(png, longest_px=420), "jpeg")
            found.append({"image": image, "text": _phase_text(phase_map.phase), "caption": _map_caption(phase_map)})
    return found


def _map_caption(phase_map: PhaseMap) -> str:
    if not phase_map.mask.any():
        return "no region exceeds the noise"
    return f"{format_area(phase_map)} of the area, resolution {phase_map.resolution_angstrom / PER_NM:.2g} nm"


def _phase_text(phase: str) -> str:
    return "without a name" if phase == UNKNOWN else format_formula(phase)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def phase_entries(result: FrameResult, styles: Mapping[str, PhaseStyle]) -> list[dict[str, Any]]:
    """Make the rows of the table of phases."""
    maps = {phase_map.phase: phase_map for phase_map in result.maps}
    return [_phase_entry(e, maps.get(e.phase), style_for(styles, e.phase)) for e in result.match.phases]


def _phase_entry(evidence: PhaseEvidence, phase_map: PhaseMap | None, style: PhaseStyle) -> dict[str, Any]:
    area = math.nan if phase_map is None else 100 * phase_map.area_fraction
    area_sigma = math.nan if phase_map is None else 100 * phase_map.area_sigma
    intensity = math.nan if phase_map is None else phase_map.intensity
    intensity_sigma = math.nan if phase_map is None else phase_map.intensity_sigma
    fitted = math.isfinite(evidence.scale_sigma)
    flags = evidence.flags | (phase_map.flags if phase_map is not None else Flag.NONE)
    return {
        "name": evidence.phase,
        "text": _phase_text(evidence.phase),
        "colour": style.colour,
        "probability": format_probability(evidence.probability),
        "q_value": format_number(evidence.q_value, 3),
        **_zone_entry(evidence),
        "n_spots": len(evidence.spots),
        "d_mean": format_number(evidence.d_mean_angstrom, 3),
        "match": format_number(evidence.match_percent, 2),
        "area": format_error(area, area_sigma),
        "intensity": format_error(intensity, intensity_sigma),
        "scale": format_error(evidence.scale, evidence.scale_sigma) if fitted else "–",
        "doubts": "; ".join(describe_flags(flags)) or "–",
        "sort": {
            "probability": _finite(evidence.probability),
            "q_value": _finite(evidence.q_value),
            "d_mean": _finite(evidence.d_mean_angstrom),
            "match": _finite(evidence.match_percent),
            "area": _finite(area),
            "intensity": _finite(intensity),
            "scale": _finite(evidence.scale) if fitted else None,
        },
    }


def _zone_entry(evidence: PhaseEvidence) -> dict[str, Any]:
    return {
        "zone": evidence.zone_axis,
        "zone_probability": format_probability(evidence.zone_probability),
        "rival_zones": evidence.rival_zones,
    }


def candidate_entries(result: FrameResult) -> list[dict[str, Any]]:
    """Make the rows of the table of candidates: phases that may explain grains which got no name."""
    return [
        {
            "text": _phase_text(evidence.phase),
            "probability": format_probability(evidence.probability),
            **_zone_entry(evidence),
            "n_spots": len(evidence.spots),
            "spots": ", ".join(map(str, sorted(evidence.spots))),
            "scale": format_error(evidence.scale, evidence.scale_sigma),
        }
        for evidence in result.match.candidates
    ]


def spot_entries(result: FrameResult, styles: Mapping[str, PhaseStyle]) -> list[dict[str, Any]]:
    """Make the rows of the table of spots."""
    return [_spot_entry(result, row, match, styles) for row, match in enumerate(result.match.spots)]


def _spot_entry(result: FrameResult, row: int, match: SpotMatch, styles: Mapping[str, PhaseStyle]) -> dict[str, Any]:
    spots, best = result.spots, match.best
    name = UNKNOWN if best is None else best.phase
    d, angle = float(spots.d_spacing[row]), math.degrees(float(spots.angle[row]))
    g, width = PER_NM * float(spots.g[row]), PER_NM * float(spots.width[row])
    deviation = math.nan if best is None else best.deviation_percent
    reference = math.nan if best is None else best.d_reference_angstrom
    flags = Flag(int(spots.flags[row])) | match.flags
    return {
        "row": row,
        "name": name,
        "text": _phase_text(name) if best is not None else "unknown",
        "colour": style_for(styles, name).colour,
        "hkl": None if best is None or not any(best.hkl) else best.hkl,
        "d": format_error(d, float(spots.d_sigma[row])),
        "g": format_number(g, 3),
        "angle": format_number(angle, 2),
        "snr": format_number(float(spots.snr[row]), 1),
        "amplitude": format_error(float(spots.amplitude[row]), float(spots.amplitude_sigma[row])),
        "width": format_number(width, 3),
        "d_reference": format_number(reference, 4),
        "deviation": format_number(deviation, 2),
        "probability": format_probability(match.probability),
        "rivals": [
            {
                "text": format_formula(rival.phase),
                "hkl": rival.hkl if any(rival.hkl) else None,
                "deviation": f"{rival.deviation_percent:+.1f}\u00a0%".replace("-", "−"),
                "probability": format_probability(rival.probability) if rival.probability >= _LEAST_TOLD else "",
            }
            for rival in match.rivals
        ],
        "remarks": "; ".join([*([match.remark] if match.remark else []), *_flag_words(flags)]) or "–",
        "short": "; ".join([*([match.remark.partition(";")[0]] if match.remark else []), *_flag_words(flags)]) or "why",
        "story": tell_spot(row, result.match, spots, scale=result.scale).lines(),
        "sort": {
            "d": _finite(d),
            "g": _finite(g),
            "angle": _finite(angle),
            "snr": _finite(float(spots.snr[row])),
            "amplitude": _finite(float(spots.amplitude[row])),
            "width": _finite(width),
            "d_reference": _finite(reference),
            "deviation": _finite(deviation),
            "probability": _finite(match.probability),
        },
    }


def _flag_words(flags: Flag) -> list[str]:
    return [flag_word(flag) for flag in FLAG_MEANING if flags & flag]


def ring_entries(result: FrameResult) -> list[dict[str, str]]:
    """Make the rows of the table of rings."""
    rings = result.rings
    return [
        {
            "d": format_error(1 / g, sigma / g**2),
            "g": format_error(PER_NM * g, PER_NM * sigma),
            "width": format_number(PER_NM * float(rings.width[i]), 2),
            "contrast": format_number(100 * float(rings.contrast[i]), 1),
            "significance": format_number(float(rings.significance[i]), 1),
            "doubts": "; ".join(_flag_words(Flag(int(rings.flags[i])))) or "–",
        }
        for i, (g, sigma) in enumerate(zip(rings.g.tolist(), rings.g_sigma.tolist(), strict=True))
    ]


def _frame_entry(line: FrameLine) -> dict[str, Any]:
    phases = [
        f"{format_formula(p.phase)} {format_error(100 * p.area_fraction, 100 * p.area_sigma, unit='%')}"
        for p in line.phases
    ]
    return {
        "frame": line.frame,
        "time": format_number(line.time_s, 2),
        "sort_time": line.time_s,
        "n_spots": line.n_spots,
        "n_unknown": line.n_unknown_spots,
        "phases": "; ".join(phases) or "–",
        "remarks": "; ".join([*line.warnings, *_flag_words(line.flags)]) or "–",
    }


def provenance_groups(result: FrameResult, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lay the record of the run out as groups of key and value, nested keys joined by a dot."""
    plain = to_plain({key: value for key, value in run.items() if key not in ("summary", "frames", "warnings")})
    groups = [{"title": "Versions and inputs", "open": True, "entries": _flat(_but(plain, "settings", "seconds"))}]
    if plain.get("settings"):
        groups.append({"title": "Settings", "open": False, "entries": _flat(plain["settings"])})
    seconds = {f"{step} (s)": f"{value:.3f}" for step, value in result.seconds.items()}
    if seconds:
        groups.append({"title": "Wall time of each step", "open": False, "entries": list(seconds.items())})
    return groups


def _but(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        children = [(f"{name}.{key}" if name else str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        children = [(f"{name}[{i}]", item) for i, item in enumerate(value)]
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list) else "–" if value in (None, "") else str(value)
        return [(name, text or "–")]
    return [pair for key, item in children for pair in _flat(item, key)]


def _glossary(result: FrameResult, lines: Sequence[FrameLine]) -> list[tuple[str, str]]:
    """Explain the flags that occur on the page."""
    flags = _all_flags(lines) | result.flags
    for value in [*result.spots.flags.tolist(), *result.rings.flags.tolist()]:
        flags |= Flag(int(value))
    for match in result.match.spots:
        flags |= match.flags
    for evidence in named_phases(result):
        flags |= evidence.flags
    return [(flag_word(flag), meaning) for flag, meaning in FLAG_MEANING.items() if flags & flag]
