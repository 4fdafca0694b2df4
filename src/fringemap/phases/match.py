"""Which phase explains which spots."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fringemap.phases.calibrate import fit_distortion
from fringemap.phases.candidates import is_calibrated
from fringemap.phases.distortion import distortion_priors
from fringemap.phases.evidence import gather_match
from fringemap.phases.library import find_present, find_standard
from fringemap.phases.naming import name_spots
from fringemap.phases.nearest import match_nearest
from fringemap.phases.posterior import Problem, judge_grains, seek_first_order
from fringemap.phases.tolerance import match_within_tolerance
from fringemap.records import UNKNOWN, Flag, Match, ScaleSource, SpotMatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fringemap.phases.posterior import Explanation
    from fringemap.records import FloatArray, Reflections, Scale, Spots
    from fringemap.settings import PhaseSettings


def match_spots(
    spots: Spots,
    references: Sequence[Reflections],
    *,
    scale: Scale,
    settings: PhaseSettings,
    visibility: Callable[[FloatArray], FloatArray] | None = None,
) -> Match:
    """Join spots to the reflections of known phases.

    Parameters
    ----------
    spots
        n observed spots of one frame.
    references
        What each phase can show. A table without a structure is compared by d alone.
    scale
        The frame's pixel size and its relative standard error, which all spots share.
    settings
        ``settings.match`` chooses the rule, ``settings.tolerance_sigma`` its bound.
    visibility
        Probability that a spot at |g| [1/Å] would be seen, for the rule "posterior": where it is low, a missing
        reflection says little. None: 1 up to the largest |g| seen.

    Returns
    -------
    Match
        n spots in the same order, each with its best candidate or None, its rivals, flags and a remark in words;
        and the evidence for each phase, ``UNKNOWN`` last. Without a pixel size every spot stays unknown; with one that
        ratios and angles gave all names carry ``Flag.UNCALIBRATED``.

    Raises
    ------
    SettingsError
        The internal standard is not among the references.
    StructureError
        What is said to be present is unknown.
    CalibrationError
        The spots do not fit the internal standard.
    """
    if len(spots) == 0:
        return Match((), ())
    match = _match(spots, references, scale, settings, visibility)
    return _flag_uncalibrated(match) if scale.source is ScaleSource.RATIOS else match


def _match(
    spots: Spots,
    references: Sequence[Reflections],
    scale: Scale,
    settings: PhaseSettings,
    visibility: Callable[[FloatArray], FloatArray] | None,
) -> Match:
    if not is_calibrated(scale):
        named = [_refuse() for _ in range(len(spots))]
    elif settings.match == "nearest":
        named = match_nearest(spots, references, scale=scale)
    elif settings.match == "posterior":
        standard = find_standard(references, settings.internal_standard)
        certain = tuple(dict.fromkeys([*standard, *find_present(references, settings.present)]))
        priors = distortion_priors(scale.sigma)
        for number in standard:
            priors = ((1.0, fit_distortion(spots, references[number], scale_sigma=scale.sigma)),)
        problem = Problem(
            spots, references, priors=priors, n_decoys=settings.decoys, certain=certain, visibility=visibility
        )
        sought, combinations = seek_first_order(problem)
        explanation = _less_sure(judge_grains(sought), scale.probability)
        return name_spots(spots, references, explanation, scale=scale, settings=settings, combinations=combinations)
    else:
        named = match_within_tolerance(spots, references, scale=scale, tolerance_sigma=settings.tolerance_sigma)
    return gather_match(spots, named, scale=scale)


def _less_sure(explanation: Explanation, probability: float) -> Explanation:
    """Make all grains depend on something that is true with this probability only."""
    grains = tuple(replace(grain, probabilities=probability * grain.probabilities) for grain in explanation.grains)
    return replace(explanation, grains=grains)


def _flag_uncalibrated(match: Match) -> Match:
    """Flag all names as hanging on a pixel size that was only found with them."""
    return Match(
        tuple(replace(spot, flags=spot.flags | Flag.UNCALIBRATED) if spot.best else spot for spot in match.spots),
        tuple(
            replace(one, flags=one.flags | Flag.UNCALIBRATED) if one.phase != UNKNOWN else one for one in match.phases
        ),
        tuple(replace(one, flags=one.flags | Flag.UNCALIBRATED) for one in match.candidates),
    )


def _refuse() -> SpotMatch:
    return SpotMatch(None, flags=Flag.UNCALIBRATED, remark="no pixel size, so no d-spacing to compare")
