"""From the grains that explain a frame to names: which phases, which spots, how sure, and what else it could be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.candidates import compute_deviation, compute_relative_sigma, make_candidate
from fringemap.phases.combinations import flag_combinations
from fringemap.phases.false_names import expected_false_shares
from fringemap.phases.grains import UNLISTED, in_brackets
from fringemap.phases.lattice import d_spacings, g_vectors, zone_frame
from fringemap.phases.posterior import SECOND_ORDER
from fringemap.phases.reflections import Extinction, extinction, zone_pattern
from fringemap.phases.rivals import RIVAL_ODDS
from fringemap.phases.search import FEWEST_REAL
from fringemap.phases.zones import SHOWN_WEAK
from fringemap.records import UNKNOWN, Candidate, Flag, Match, PhaseEvidence, SpotMatch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fringemap.phases.combinations import Combination
    from fringemap.phases.grains import Grain
    from fringemap.phases.posterior import Explanation
    from fringemap.records import FloatArray, IntArray, Reflections, Scale, Spots
    from fringemap.settings import PhaseSettings

SINGLES_EXPECTED = 1.0
"""Grains that show a single spot, expected of a phase that is in a frame that does not tell otherwise."""

SINGLES_OF_LIST = 4.5
"""Single spots expected of all phases of the list that are not in the frame as far as its grains tell."""

SMALLEST = 0.02
"""A phase less probable than this is no candidate even where nothing else is likelier."""

MAX_CANDIDATES = 20
"""So many reflections are listed for a spot that has only its d."""

SUSPECT_SIGMA = 2.5
"""A common scale error beyond this many of its own standard errors is flagged."""

NEVER_ALONE = SECOND_ORDER | Flag.ON_STREAK | Flag.FEW_PERIODS | Flag.SINGLE_PIXEL
"""Spots with one of these get no name on their d alone."""


@dataclass(frozen=True)
class _Frame:
    """What all the naming of one frame needs."""

    spots: Spots
    references: Sequence[Reflections]
    explanation: Explanation
    scale: Scale
    settings: PhaseSettings
    shift: FloatArray
    """Relative deviation of d that scale and ellipse make at each spot; (n_spots,)."""
    deviation_sigma: FloatArray
    """Relative standard error of d after the grains have told scale and ellipse; (n_spots,)."""

    def candidate(self, spot: int, reference: int, hkl: Sequence[int], probability: float) -> Candidate:
        """Record a plane as what a spot may be."""
        reflections = self.references[reference]
        assert reflections.structure is not None  # only structures make grains
        d = float(d_spacings(reflections.structure.cell, hkl))
        deviation = float(self.spots.d_spacing[spot]) / d - 1.0
        return Candidate(
            phase=reflections.phase,
            hkl=(int(hkl[0]), int(hkl[1]), int(hkl[2])),
            d_reference_angstrom=d,
            deviation_percent=100.0 * deviation,
            deviation_sigma=self.in_sigma(spot, deviation),
            probability=probability,
        )

    def in_sigma(self, spot: int, deviation: float) -> float:
        """Deviation of d in standard errors, the common scale error and ellipse taken off."""
        return float((deviation - self.shift[spot]) / self.deviation_sigma[spot])


def name_spots(
    spots: Spots,
    references: Sequence[Reflections],
    explanation: Explanation,
    *,
    scale: Scale,
    settings: PhaseSettings,
    combinations: Mapping[int, Combination] | None = None,
) -> Match:
    """Name phases and spots as far as ``settings.false_names`` allows.

    A phase is named if the mean probability of error of all names at least as sure stays below that share; all else is
    listed among the rivals of its spots, which stay unknown. A spot outside all grains is named on its d alone only if
    one phase is within the errors and that phase is named already, or the user has restricted the phases. One of the
    ``combinations`` is never named so: two other spots explain it.
    """
    combinations = combinations or {}
    spots = flag_combinations(spots, combinations)
    design = np.stack([np.ones(len(spots)), np.cos(2.0 * spots.angle), np.sin(2.0 * spots.angle)], axis=1)
    shared = np.einsum("na,ab,nb->n", design, explanation.distortion.of_one_grain.covariance, design)
    sigma = np.sqrt(compute_relative_sigma(spots) ** 2 + shared)
    shift = -design @ explanation.distortion.mean
    frame = _Frame(spots, references, explanation, scale, settings, shift, sigma)
    errors = _phase_errors(explanation)
    q_values = _q_values(errors, explanation.certain)
    named = set(explanation.certain) | {
        phase for phase, q in q_values.items() if q <= settings.false_names and errors[phase] < 0.5
    }
    matches: list[SpotMatch | None] = [None] * len(spots)
    for grain in explanation.grains:
        if grain.reference == UNLISTED:
            for spot in grain.spots:
                matches[spot] = _name_unlisted(frame, grain, spot)
            continue
        for match, spot in zip(_name_grain(frame, grain, grain.reference in named, q_values), grain.spots, strict=True):
            matches[spot] = match
    singles = _single_spots(frame, [row for row, match in enumerate(matches) if match is None], named)
    singles |= {row: _say_combination(singles[row], made) for row, made in combinations.items() if row in singles}
    complete = [match or singles[row] for row, match in enumerate(matches)]
    phases = _gather(frame, complete, errors, q_values)
    return Match(tuple(complete), phases, _gather_candidates(frame, named))


def _phase_errors(explanation: Explanation) -> dict[int, float]:
    """For each reference that explains some grain best, the probability that it is not in the frame."""
    errors: dict[int, float] = {}
    for grain in explanation.grains:
        if grain.reference != UNLISTED:
            errors[grain.reference] = min(errors.get(grain.reference, 1.0), 1.0 - grain.probability)
    return errors | dict.fromkeys(explanation.certain, 0.0)


def _q_values(errors: dict[int, float], certain: Collection[int] = ()) -> dict[int, float]:
    """Mean probability of error of all names at least as sure as each: the expected share of false ones among them.

    What the user has said is no finding: it is never false, and makes no room for others that are.
    """
    found = {reference: error for reference, error in errors.items() if reference not in certain}
    return dict.fromkeys(certain, 0.0) | dict(zip(found, expected_false_shares(list(found.values())), strict=True))


def _name_grain(frame: _Frame, grain: Grain, is_named: bool, q_values: dict[int, float]) -> list[SpotMatch]:
    probabilities = grain.probabilities
    own = grain.probability
    phase = frame.references[grain.reference].phase
    close = [int(r) for r in np.argsort(-probabilities, kind="stable") if probabilities[r] * RIVAL_ODDS >= own]
    rivals = [reference for reference in close if reference != grain.reference]
    assert grain.zone_axis is not None  # only unlisted lattices have none
    story = f"{len(grain.spots)} spots fit {phase} {in_brackets(grain.zone_axis)}"
    if grain.rival_zones:
        story += f" ({grain.zone_probability:.2f} if it is {phase}), or "
        story += ", ".join(f"{in_brackets(axis)} ({share:.2f})" for axis, share in grain.rival_zones)
    if rivals:
        story += "; within 10:1 also " + ", ".join(
            f"{frame.references[r].phase} ({probabilities[r]:.2f})" for r in rivals
        )
    if not is_named:
        story += f"; not named: probability {own:.2f}, expected share of false names {q_values[grain.reference]:.2f}"
        story += _of_group(own + float(probabilities[rivals].sum()), len(rivals) + 1, frame.settings.false_names)
    flags = Flag.AMBIGUOUS if rivals else Flag.NONE
    matches = []
    for spot, hkl, shown in zip(grain.spots, grain.hkl, grain.shown, strict=True):
        best = frame.candidate(spot, grain.reference, hkl, own)
        others = tuple(c for r in rivals if (c := _nearest(frame, spot, r, float(probabilities[r]))) is not None)
        extra = _forbidden(frame, grain.reference, hkl, shown)
        if is_named:
            matches.append(SpotMatch(best, others, own, flags | extra, story))
        else:
            matches.append(SpotMatch(None, (best, *others), 1.0 - own, flags | extra, story))
    return matches


def _of_group(together: float, n_phases: int, false_names: float) -> str:
    """Say that one of several phases is there, where that is as sure as a name has to be."""
    sure = n_phases > 1 and 1.0 - together <= false_names
    return f"; but one of these {n_phases} phases, probability {together:.2f}" if sure else ""


def _name_unlisted(frame: _Frame, grain: Grain, spot: int) -> SpotMatch:
    """Say of a spot that it belongs to a lattice, and which phases come nearest."""
    likely = [int(r) for r in np.argsort(-grain.probabilities, kind="stable")[:3] if grain.probabilities[r] > 0.02]
    rivals = tuple(c for r in likely if (c := _nearest(frame, spot, r, float(grain.probabilities[r]))) is not None)
    story = f"one of {len(grain.spots)} spots of a lattice that no phase of the list explains well enough"
    unknown = 1.0 - max((float(grain.probabilities[r]) for r in likely), default=0.0)
    return SpotMatch(None, rivals, unknown, remark=story)


def _forbidden(frame: _Frame, reference: int, hkl: tuple[int, int, int], shown: float) -> Flag:
    structure = frame.references[reference].structure
    if shown > SHOWN_WEAK or structure is None:
        return Flag.NONE
    return Flag.NONE if extinction(structure, [hkl])[0] == Extinction.ALLOWED else Flag.FORBIDDEN


def _nearest(frame: _Frame, spot: int, reference: int, probability: float) -> Candidate | None:
    """Find the reflection of a rival phase whose d lies nearest, if it is within the tolerance."""
    reflections = frame.references[reference]
    deviation = compute_deviation(frame.spots, reflections)[spot]
    off = (deviation - frame.shift[spot]) / frame.deviation_sigma[spot]
    row = int(np.argmin(np.abs(off)))
    if abs(off[row]) > frame.settings.tolerance_sigma:
        return None
    return make_candidate(reflections, row, float(deviation[row]), float(off[row]), probability=probability)


def _single_spots(frame: _Frame, rows: Sequence[int], named: set[int]) -> dict[int, SpotMatch]:
    """Say of spots outside all grains what their d alone allows."""
    if not frame.references:
        return {row: _name_single(frame, row, _Singles.none(), named) for row in rows}
    lines = np.concatenate([reflections.d_spacing for reflections in frame.references])
    number = np.repeat(np.arange(len(frame.references)), [len(reflections) for reflections in frame.references])
    begin = np.cumsum([0, *(len(reflections) for reflections in frame.references)])
    log_prior = np.concatenate(_single_priors(frame, named))
    n_free = _count_free(frame)
    matches = {}
    for spot in rows:
        sigma = frame.deviation_sigma[spot]
        deviation = frame.spots.d_spacing[spot] / lines - 1.0
        in_sigma = (deviation - frame.shift[spot]) / sigma
        near = np.flatnonzero(np.abs(in_sigma) <= frame.settings.tolerance_sigma)
        # Log density of a single spot over that of an unknown one: normal in log |g|, any direction.
        density = -math.log(math.sqrt(2.0 * math.pi) * sigma) - math.log(math.pi * frame.spots.g[spot] ** 2)
        log_odds = log_prior[near] - 0.5 * in_sigma[near] ** 2 + density
        log_odds -= frame.explanation.log_null[spot] + math.log(max(1, n_free))
        odds = np.exp(log_odds)
        singles = _Singles(
            number=number[near],
            row=near - begin[number[near]],
            deviation=deviation[near],
            in_sigma=in_sigma[near],
            share=frame.scale.probability * odds / (1.0 + odds.sum()),
        )
        matches[spot] = _name_single(frame, spot, singles, named)
    return matches


def _say_combination(match: SpotMatch, made: Combination) -> SpotMatch:
    remark = f"{made.in_words()}, which explains it without a phase of its own"
    return replace(match, flags=match.flags | Flag.COMBINATION, remark=remark)


def _count_free(frame: _Frame) -> int:
    return len(frame.spots) - sum(len(grain.spots) for grain in frame.explanation.grains)


@dataclass(frozen=True)
class _Singles:
    """Reflections whose d lies near that of one spot, n rows."""

    number: IntArray
    """Of the reference."""
    row: IntArray
    """In the reference."""
    deviation: FloatArray
    in_sigma: FloatArray
    share: FloatArray
    """Probability."""

    @classmethod
    def none(cls) -> _Singles:
        whole, real = np.empty(0, np.int64), np.empty(0)
        return cls(whole, whole, real, real, real)


def _single_priors(frame: _Frame, named: set[int]) -> list[FloatArray]:
    """Log of the expected number of single spots of each reflection of each reference."""
    present = _presence(frame, named)
    share, n_free = frame.explanation.single_share, _count_free(frame)
    of_present = max(SINGLES_EXPECTED, share / (1.0 - share) * n_free / max(1.0, float(present.sum())))
    of_list = SINGLES_OF_LIST / max(len(frame.references), FEWEST_REAL)
    rates = present * of_present + (1.0 - present) * of_list
    rings = frame.explanation.rings
    return [np.log(np.maximum(rate * one.weight, 1e-12)) for rate, one in zip(rates, rings, strict=True)]


def _presence(frame: _Frame, named: set[int]) -> FloatArray:
    """Probability that each reference is in the frame, as far as its grains tell; named ones are; (n_references,)."""
    every = [grain.probabilities for grain in frame.explanation.grains]
    present: FloatArray = np.max([np.zeros(len(frame.references)), *every], axis=0)
    present[list(named)] = 1.0
    return present


def _name_single(frame: _Frame, row: int, found: _Singles, named: set[int]) -> SpotMatch:
    if len(found.number) == 0:
        return SpotMatch(None, remark="no reflection within the errors")
    of_phase = np.bincount(found.number, weights=found.share, minlength=len(frame.references))
    phases = np.unique(found.number)
    best = int(phases[np.argmax(of_phase[phases])])
    doubtful = bool(int(frame.spots.flags[row]) & NEVER_ALONE)
    restricted = bool(frame.settings.elements or frame.settings.phases)
    unique = len(phases) == 1
    flags = Flag.SINGLE_SPOT | (Flag.NONE if unique else Flag.AMBIGUOUS)
    order = np.argsort(-found.share, kind="stable")[:MAX_CANDIDATES]
    least = 0.5 if best in named else 1.0 - frame.settings.false_names
    if not doubtful and of_phase[best] >= least and (best in named or (unique and restricted)):
        own = [i for i in order if found.number[i] == best]
        first = own[0] if own else int(np.argmax(np.where(found.number == best, found.share, -1.0)))
        others = tuple(_single_candidate(frame, found, int(i)) for i in order if i != first)
        phase = frame.references[best].phase
        why = "which is in the frame" if best in named else "the only phase within the errors"
        remark = f"rests on its d alone: {phase}, {why}"
        return SpotMatch(_single_candidate(frame, found, int(first)), others, float(of_phase[best]), flags, remark)
    words = ", ".join(sorted(frame.references[number].phase for number in phases))
    remark = f"a single d, not enough for a name; within the errors: {words}"
    candidates = tuple(_single_candidate(frame, found, int(i)) for i in order)
    return SpotMatch(None, candidates, 1.0 - float(of_phase[best]), flags, remark)


def _single_candidate(frame: _Frame, found: _Singles, i: int) -> Candidate:
    reflections = frame.references[int(found.number[i])]
    deviation, in_sigma, share = float(found.deviation[i]), float(found.in_sigma[i]), float(found.share[i])
    return make_candidate(reflections, int(found.row[i]), deviation, in_sigma, probability=share)


def _gather(
    frame: _Frame, matches: Sequence[SpotMatch], errors: dict[int, float], q_values: dict[int, float]
) -> tuple[PhaseEvidence, ...]:
    rows: dict[str, list[int]] = {}
    for row, match in enumerate(matches):
        rows.setdefault(match.best.phase if match.best else UNKNOWN, []).append(row)
    nameless = rows.pop(UNKNOWN, None)
    numbers = {reflections.phase: number for number, reflections in enumerate(frame.references)}
    phases = [_summarise(frame, numbers[phase], members, matches, errors, q_values) for phase, members in rows.items()]
    phases.sort(key=lambda evidence: (-evidence.probability, -len(evidence.spots)))
    if nameless is not None:
        phases.append(PhaseEvidence(UNKNOWN, tuple(nameless)))
    return tuple(phases)


def _gather_candidates(frame: _Frame, named: set[int]) -> tuple[PhaseEvidence, ...]:
    """Phases that may explain grains which got no name: at least a tenth as likely as the likeliest."""
    found: dict[int, tuple[float, Grain]] = {}
    for grain in frame.explanation.grains:
        if grain.reference in named:
            continue
        least = max(float(grain.probabilities.max()) / RIVAL_ODDS, SMALLEST)
        for number in np.flatnonzero(grain.probabilities >= least):
            probability = float(grain.probabilities[number])
            if number not in named and probability > found.get(int(number), (0.0, grain))[0]:
                found[int(number)] = probability, grain
    ordered = sorted(found.items(), key=lambda item: -item[1][0])
    return tuple(_candidate_phase(frame, number, probability, grain) for number, (probability, grain) in ordered)


def _candidate_phase(frame: _Frame, number: int, probability: float, grain: Grain) -> PhaseEvidence:
    own = frame.explanation.rivals.get(number, grain) if grain.reference != number else grain
    known = own.reference == number
    seen = frame.explanation.prior.with_evidence([own.evidence] if known else [])
    return PhaseEvidence(
        phase=frame.references[number].phase,
        spots=own.spots,
        d_mean_angstrom=float(frame.spots.d_spacing[list(own.spots)].mean()),
        zone_axis=own.zone_axis if known else None,
        zone_probability=own.zone_probability if known else math.nan,
        rival_zones=tuple(axis for axis, _ in own.rival_zones) if known else (),
        rotation=_rotation(frame, own) if known else float("nan"),
        probability=probability,
        q_value=1.0 - probability,
        scale=1.0 + float(seen.mean[0]),
        scale_sigma=math.sqrt(seen.covariance[0, 0]),
        flags=Flag.AMBIGUOUS,
    )


def _summarise(
    frame: _Frame,
    number: int,
    members: Sequence[int],
    matches: Sequence[SpotMatch],
    errors: dict[int, float],
    q_values: dict[int, float],
) -> PhaseEvidence:
    """Gather what speaks for one named phase: its grains, the scale they see, and how sure the name is."""
    grains = [grain for grain in frame.explanation.grains if grain.reference == number]
    deviation = [abs(match.best.deviation_percent) for row in members if (match := matches[row]).best is not None]
    seen = frame.explanation.prior.with_evidence(grain.evidence for grain in grains)
    scale_error, sigma = float(seen.mean[0]), math.sqrt(seen.covariance[0, 0])
    flags = Flag.NONE if grains else Flag.SINGLE_SPOT
    if abs(scale_error) > SUSPECT_SIGMA * frame.scale.sigma:
        flags |= Flag.SCALE_SUSPECT
    if any(matches[row].flags & Flag.AMBIGUOUS for grain in grains for row in grain.spots):
        flags |= Flag.AMBIGUOUS
    best_single = max(matches[row].probability for row in members)
    return PhaseEvidence(
        phase=frame.references[number].phase,
        spots=tuple(members),
        d_mean_angstrom=float(frame.spots.d_spacing[list(members)].mean()),
        match_percent=100.0 - float(np.mean(deviation)),
        zone_axis=grains[0].zone_axis if grains else None,
        zone_probability=grains[0].zone_probability if grains else math.nan,
        rival_zones=tuple(axis for axis, _ in grains[0].rival_zones) if grains else (),
        rotation=_rotation(frame, grains[0]) if grains else float("nan"),
        probability=1.0 - errors[number] if grains else best_single,
        q_value=q_values[number] if grains else 1.0 - best_single,
        scale=1.0 + scale_error,
        scale_sigma=sigma,
        flags=flags,
    )


def _rotation(frame: _Frame, grain: Grain) -> float:
    """Turn that brings ``zone_pattern`` of the grain's zone on its spots [rad]."""
    structure = frame.references[grain.reference].structure
    assert structure is not None  # only structures make grains
    assert grain.zone_axis is not None
    d_min = float(frame.references[grain.reference].d_spacing.min())
    first = zone_pattern(structure, grain.zone_axis, d_min_angstrom=d_min).hkl[0]
    flat = g_vectors(structure.cell, grain.hkl) @ zone_frame(structure.cell, grain.zone_axis, first).T
    rows = list(grain.spots)
    seen = frame.spots.gx[rows] + 1j * frame.spots.gy[rows]
    return float(np.angle(np.sum(seen * np.conj(flat[:, 0] + 1j * flat[:, 1]))))
