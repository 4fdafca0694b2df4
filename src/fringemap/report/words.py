"""Numbers, planes, directions and findings in words, the same in tables, figures and pages."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import FLAG_MEANING, UNKNOWN, Flag, ScaleSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fringemap.records import Candidate, FrameResult, PhaseEvidence, PhaseMap, Scale

PER_NM = 10.0
"""1/Å in 1/nm."""
NM = 0.1
"""Å in nm."""
RIVALS_AT_A_GLANCE = 3
"""Rivals of a spot that a page says at once; the others on demand, or their number alone in print."""


def join_indices(indices: Iterable[int]) -> str:
    """Write indices close together, ``-112``, or apart where one has two digits, ``10 0 2``."""
    values = [int(i) for i in indices]
    return ("" if all(abs(i) < 10 for i in values) else " ").join(str(i) for i in values)


def format_plane(hkl: Iterable[int]) -> str:
    """Write a plane as ``(-112)``."""
    return f"({join_indices(hkl)})"


def mathtext_indices(indices: Iterable[int]) -> str:
    r"""Write indices for matplotlib, negative ones with an overbar: ``$\bar{1}12$``; plain text if none is negative."""
    values = [int(i) for i in indices]
    if min(values) >= 0:
        # Setting mathematics takes ten times as long as setting text.
        return join_indices(values)
    gap = "" if all(abs(i) < 10 for i in values) else r"\ "
    return "$" + gap.join(rf"\bar{{{-i}}}" if i < 0 else str(i) for i in values) + "$"


def overlined_indices(indices: Iterable[int]) -> str:
    """Write indices as plain text, negative ones with a combining overline after each digit."""
    values = [int(i) for i in indices]
    gap = "" if all(abs(i) < 10 for i in values) else " "
    return gap.join("".join(digit + "\u0305" for digit in str(-i)) if i < 0 else str(i) for i in values)


def format_zones(evidence: PhaseEvidence) -> str:
    """Write the zone axis of a phase, and where it may be another how sure it is: ``[021] 0.61, or [121], [001]``."""
    if evidence.zone_axis is None:
        return "–"
    own, *others = (f"[{overlined_indices(axis)}]" for axis in (evidence.zone_axis, *evidence.rival_zones))
    return f"{own} {format_probability(evidence.zone_probability)}, or {', '.join(others)}" if others else own


def format_formula(name: str) -> str:
    """Write the digits of a formula as subscripts: ``Li2CO3`` becomes ``Li₂CO₃``. Other names stay as they are."""
    if not re.fullmatch(r"(?:[A-Z][a-z]?\d*)+", name):
        return name
    return name.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def format_rival(rival: Candidate) -> str:
    """Write another explanation of a spot as ``Li2CO3 (020) +0.2 %``."""
    plane = f" {format_plane(rival.hkl)}" if any(rival.hkl) else ""
    return f"{rival.phase}{plane} {rival.deviation_percent:+.1f} %"


def format_rivals(rivals: Sequence[Candidate], *, most: int = 10) -> str:
    """Join rivals with semicolons, the nearest first; of many, how many more there are."""
    said = [format_rival(rival) for rival in rivals[:most]]
    more = len(rivals) - len(said)
    return "; ".join([*said, f"and {more} more"] if more else said)


def format_number(value: float | None, decimals: int = 2) -> str:
    """Write a number with fixed decimals; a dash where it is missing."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}".replace("-", "−")


def format_error(value: float, sigma: float, *, unit: str = "", factor: float = 1.0) -> str:
    """Write ``value ± sigma unit``, with as many decimals as the error's two leading digits ask for.

    Both are multiplied by ``factor`` first. A missing error is left out; a missing value is a dash.
    """
    value, sigma = value * factor, sigma * factor
    after = f" {unit}" if unit else ""
    if not math.isfinite(value):
        return "–"
    if not (math.isfinite(sigma) and sigma > 0):
        return f"{value:.4g}{after}".replace("-", "−")
    decimals = min(max(1 - math.floor(math.log10(sigma)), 0), 6)
    return f"{value:.{decimals}f} ± {sigma:.{decimals}f}{after}".replace("-", "−")


def format_probability(probability: float) -> str:
    """Write a probability with two decimals, never as a certainty."""
    if not math.isfinite(probability):
        return "–"
    if probability > 0.995:
        return "> 0.99"
    return "< 0.01" if probability < 0.005 else f"{probability:.2f}"


def format_area(phase_map: PhaseMap | None) -> str:
    """Write the share of the frame's area in percent with its error; a dash without a map."""
    if phase_map is None:
        return "–"
    return format_error(phase_map.area_fraction, phase_map.area_sigma, unit="%", factor=100.0)


def describe_flags(flags: int) -> list[str]:
    """Say what each set flag means."""
    return [meaning for flag, meaning in FLAG_MEANING.items() if flags & flag]


def flag_word(flag: Flag) -> str:
    """Name of one flag as a user reads it: ``ON_RING`` is ``on ring``."""
    return (flag.name or "").lower().replace("_", " ")


def named_phases(result: FrameResult) -> list[PhaseEvidence]:
    """Phases of a frame in their order, without the unknown."""
    return [evidence for evidence in result.match.phases if evidence.phase != UNKNOWN]


def count(number: int, noun: str) -> str:
    """Write ``no spots``, ``1 spot``, ``2 spots``."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def count_spots(n_spots: int, n_unknown: int) -> str:
    """Write ``30 spots, 6 without a name``."""
    return count(n_spots, "spot") + (f", {n_unknown} without a name" if n_spots else "")


def join_words(words: Sequence[str]) -> str:
    """Join with commas and a last ``and``."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def describe_phase(evidence: PhaseEvidence, phase_map: PhaseMap | None) -> str:
    """Say in one clause what speaks for a phase: spots, probability, area."""
    said = [count(len(evidence.spots), "spot")]
    if math.isfinite(evidence.probability):
        said.append(f"probability {format_probability(evidence.probability)}")
    if phase_map is not None and math.isfinite(phase_map.area_fraction):
        said.append(f"{format_area(phase_map)} of the area")
    return f"{format_formula(evidence.phase)} ({', '.join(said)})"


def headline(result: FrameResult) -> list[str]:
    """Say in a few sentences which phases were found, how sure, and what has no name."""
    phases, maps = named_phases(result), {m.phase: m for m in result.maps}
    n_spots = len(result.spots)
    n_unknown = sum(m.best is None for m in result.match.spots)
    if not n_spots:
        sentences = ["No spot stands out from the noise, so no crystalline phase is named."]
    elif not phases:
        sentences = [f"{count(n_spots, 'spot').capitalize()} found; no phase explains any of them well enough."]
    else:
        said = join_words([describe_phase(e, maps.get(e.phase)) for e in phases])
        sentences = [f"{count(len(phases), 'phase').capitalize()} named: {said}."]
        sentences += _doubts(phases)
        sentences.append(_rest(n_unknown, n_spots))
    if len(result.rings):
        listed = join_words([f"{1 / g:.2f} Å" for g in result.rings.g])
        sentences.append(f"{count(len(result.rings), 'ring').capitalize()} at {listed}.")
    return sentences


def _doubts(phases: Sequence[PhaseEvidence]) -> list[str]:
    sentences = []
    for flag, said in (
        (Flag.AMBIGUOUS, "Other phases explain {} as well; see the rivals in the table of spots."),
        (Flag.SINGLE_SPOT, "The name of {} rests on a single d-spacing."),
        (Flag.SCALE_SUSPECT, "{} fits only with another pixel size than the stated one."),
    ):
        names = [format_formula(e.phase) for e in phases if e.flags & flag]
        if names:
            sentences.append(said.format(join_words(names)))
    return sentences


def _rest(n_unknown: int, n_spots: int) -> str:
    if n_unknown == 0:
        return f"All {n_spots} spots have a name." if n_spots > 1 else "The one spot has a name."
    verb = "has" if n_unknown == 1 else "have"
    return f"{n_unknown} of {count(n_spots, 'spot')} {verb} no name."


def calibration_badge(scale: Scale, flags: Flag) -> tuple[str, str]:
    """Say how far the pixel size can be trusted.

    Returns
    -------
    level, words
        Level is ``green`` (verified on a known lattice), ``amber`` (stated, not verified) or ``red`` (missing).
    """
    if scale.source is ScaleSource.RATIOS:
        return "red", (
            "no pixel size is known: this one fits the ratios and angles of the phases that were named beforehand, and "
            f"all d-spacings and names hang on it; probability {scale.probability:.2f}, standard error "
            f"{100 * scale.sigma:.2g} %"
        )
    if scale.source is ScaleSource.NONE or flags & Flag.UNCALIBRATED:
        return "red", "not calibrated: d-spacings are in arbitrary units and no name is safe"
    sigma = f"standard error {100 * scale.sigma:.2g} %" if math.isfinite(scale.sigma) else "error unknown"
    if scale.source is ScaleSource.CALIBRATED:
        return "green", f"calibrated on a known lattice, {sigma}"
    origin = "given by the user" if scale.source is ScaleSource.USER else "stated by the file"
    return "amber", f"{origin}, not verified on a known lattice, {sigma}"


def format_pixel_size(scale: Scale) -> str:
    """Write the pixel size in nm/px, both axes where they differ."""
    if scale.source is ScaleSource.NONE:
        return "not calibrated"
    rows, cols = (NM * size for size in scale.pixel_size_angstrom)
    return f"{cols:.5g} nm/px" if np.isclose(rows, cols, rtol=1e-6) else f"{cols:.5g} × {rows:.5g} nm/px (x × y)"
