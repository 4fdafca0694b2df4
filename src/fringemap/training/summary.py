"""What detectors found in a set, as the figures of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fringemap.report.evaluation import Figured, Line, SetShown
from fringemap.spectrum import read_block
from fringemap.spots.pattern import complete
from fringemap.training.evaluate import CLASSICAL, evaluate, find_targets, half_logit
from fringemap.training.scores import (
    count_spots,
    dice_of_frames,
    dice_of_pixels,
    error_ratios,
    estimate,
    estimate_gain,
    f1_of,
    make_curve,
    make_groups,
    make_reliability,
    precision_of,
    recall_of,
    robust_spread,
    score_at_rate,
)
from fringemap.training.subjects import open_subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fringemap.records import FloatArray
    from fringemap.training.evaluate import Detector, Outcome
    from fringemap.training.scores import Group
    from fringemap.training.subjects import Subject, SubjectSet

    Tell = Callable[[str, int, int], None]

RATES = (1.0, 4.0, 20.0)
"""Detectors are compared at these multiples of the stated rate, measured on frames without crystal."""

_MEASURES = {"recall": recall_of, "precision": precision_of, "F1": f1_of}
_THIRDS = {"faint": 1 / 6, "middle": 1 / 2, "clear": 5 / 6}
_REACH_PX = 24
_EXPECTED = np.geomspace(1e-2, 2.0, 12)
_LEAST_ERRORS = 8


def evaluate_and_summarise(
    path: Path,
    detectors: Sequence[Detector],
    *,
    false_spots: float,
    rng: np.random.Generator,
    side: str = "",
    limit: int | None = None,
    n_empty: int = 0,
    tell: Tell | None = None,
) -> SetShown:
    """What ``fringemap evaluate`` does with one set; see ``evaluate``."""
    subjects = open_subjects(path, side=side, limit=limit)
    outcome = evaluate(subjects, detectors, false_spots=false_spots, n_empty=n_empty, tell=tell)
    lines = lines_through_spots(subjects, outcome, detectors)
    return summarise(outcome, lines=lines, rng=rng)


def summarise(outcome: Outcome, *, lines: Sequence[Line] = (), rng: np.random.Generator) -> SetShown:
    """All figures of one set.

    Parameters
    ----------
    lines
        From ``lines_through_spots``.
    rng
        Draws the frames from which intervals follow.
    """
    groups = make_groups(outcome.facts)
    n_empty = sum(fact.empty for fact in outcome.facts)
    rates = tuple(round(rate * outcome.false_spots, 6) for rate in RATES) if n_empty else ()
    found = {name: list(of) for name, of in outcome.found.items()}
    everything, stated = groups[0], -np.log10(outcome.false_spots)
    curves = {name: make_curve(of, outcome.facts, everything) for name, of in found.items()}
    at_stated = {name: count_spots(of, outcome.facts, everything, stated).sum(axis=0) for name, of in found.items()}
    expected = _EXPECTED * outcome.false_spots / 0.05
    reliable = {name: make_reliability(of, outcome.facts, expected) for name, of in found.items()} if n_empty else {}
    own = everything.frames
    errors = {name: error_ratios(of, own) for name, of in found.items()}
    return SetShown(
        name=outcome.name,
        about=_about(outcome, n_empty),
        remarks=outcome.remarks,
        groups=[group.name for group in groups],
        rates=rates,
        figures=list(_figures(outcome, groups, rates, rng)),
        curves={name: (curve.recall, curve.precision) for name, curve in curves.items()},
        points={name: (float(recall_of(c)), float(precision_of(c))) for name, c in at_stated.items()},
        reliability={name: (r.expected, r.counted, r.sigma) for name, r in reliable.items()},
        dice={name: dice_of_frames(of, own) for name, of in found.items()},
        pixels={
            name: np.sum([f.pixels for f, kept in zip(of, own, strict=True) if kept], axis=0)
            for name, of in found.items()
        },
        errors={name: (snr, ratio) for name, (snr, ratio, _) in errors.items()},
        lines=lines,
    )


def lines_through_spots(subjects: SubjectSet, outcome: Outcome, detectors: Sequence[Detector]) -> list[Line]:
    """A line along gx through a faint, a middle and a clear spot; none where frames are not known.

    The spot's SNR is nearest to the middle of its third of all spots that must be found.
    """
    own = [k for k, fact in enumerate(outcome.facts) if not fact.extra and len(fact.wanted_snr)]
    snr = np.concatenate([np.zeros(0), *(outcome.facts[k].wanted_snr for k in own)])
    if not len(snr) or not np.isfinite(snr).all():
        return []
    frames = np.repeat(own, [len(outcome.facts[k].wanted_snr) for k in own])
    lines = []
    for name, share in _THIRDS.items():
        nearest = int(np.abs(snr - np.quantile(snr, share)).argmin())
        place = nearest - int(np.searchsorted(frames, frames[nearest]))
        title = f"{name}: SNR {snr[nearest]:.1f}"
        lines.append(_line_through(subjects, int(frames[nearest]), place, title, detectors))
    return lines


def _line_through(subjects: SubjectSet, number: int, place: int, title: str, detectors: Sequence[Detector]) -> Line:
    subject = subjects[number]
    true, targets, wanted = find_targets(subject, subjects)
    spot = targets.row[np.flatnonzero(wanted)[place]]
    row, col = true.gy[spot] / subject.step[0] + len(subject.sample.label) // 2, true.gx[spot] / subject.step[1]
    at = int(np.clip(np.rint(row), 0, len(subject.sample.label) - 1))
    margin = min(_REACH_PX, subject.sample.label.shape[1] - 1)
    cols = np.arange(
        max(round(col) - _REACH_PX, -margin), min(round(col) + _REACH_PX + 1, subject.sample.label.shape[1])
    )
    probability = {
        d.name: 1 / (1 + np.exp(-complete(half_logit(d.model, subject.sample), margin)[at, cols + margin]))
        for d in detectors
        if d.model is not None
    }
    power, background, offset = _raw_line(subject, at, cols, float(col))
    return Line(
        title=title,
        offset=offset,
        power=power,
        background=background,
        pattern_offset=10 * subject.step[1] * (cols - col),
        labelled=complete(subject.sample.label, margin)[at, cols + margin].astype(float),
        probability=probability,
    )


def _raw_line(subject: Subject, at: int, cols: np.ndarray, col: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Power and background of the bins along a row of pixels, and their distance from the spot [1/nm]."""
    if subject.seen is None:
        raise ValueError("no frame")
    seen = subject.seen.diffractogram
    rows_a_pixel, cols_a_pixel = subject.sample.meta["factor"]
    first, n = int(cols[0]) * cols_a_pixel, (len(cols) - 1) * cols_a_pixel + 1
    start = ((at - len(subject.sample.label) // 2) * rows_a_pixel, first)
    power, background = (
        read_block(image, seen.frame_shape[1], start=start, shape=(1, n))[0].astype(float)
        for image in (seen.power, seen.background)
    )
    offset = 10 * subject.step[1] * ((first + np.arange(n)) / cols_a_pixel - col)
    return power, background, offset


def _about(outcome: Outcome, n_empty: int) -> str:
    own = [fact for fact in outcome.facts if not fact.extra]
    n_spots = sum(len(fact.wanted_snr) for fact in own)
    side = "all of the set" if outcome.side == "all" else f"the side of the set for {outcome.side}"
    n_sources = len({fact.source for fact in own})
    about = (
        f"{len(own)} patterns of {n_sources} frames, {side}, with {n_spots} spots that must be found; "
        f"{n_empty} frames without any crystal"
    )
    extra = len(outcome.facts) - len(own)
    about += f", {extra} of them drawn to count false spots on." if extra else "."
    return about


def _figures(
    outcome: Outcome, groups: Sequence[Group], rates: Sequence[float], rng: np.random.Generator
) -> Iterator[Figured]:
    for group in groups:
        counts = count_spots(next(iter(outcome.found.values())), outcome.facts, group, np.inf).sum(axis=0)
        yield Figured("", group.name, "frames", np.nan, float(group.frames.sum()))
        yield Figured("", group.name, "spots to be found", np.nan, float(counts[2]))
        yield from _spot_figures(outcome, group, rates, rng)
        if not group.of_spots:
            yield from _frame_figures(outcome, group, rng)
    yield from _empty_figures(outcome, rates)


def _spot_figures(
    outcome: Outcome, group: Group, rates: Sequence[float], rng: np.random.Generator
) -> Iterator[Figured]:
    """Recall, precision and F1 at the stated rate, and at measured ones with the gain over the classical detector."""
    stated = -np.log10(outcome.false_spots)
    for rate in (np.nan, *rates):
        classical = None
        for name, found in outcome.found.items():
            score = stated if np.isnan(rate) else score_at_rate(found, outcome.facts, rate)[0]
            counts = count_spots(found, outcome.facts, group, score)
            suffix = ", stated rate" if np.isnan(rate) else ""
            for measure, of in _MEASURES.items():
                e = estimate(of, counts, group.frames, rng=rng)
                yield Figured(name, group.name, f"{measure}{suffix}", rate, e.value, e.low, e.high)
            if name == CLASSICAL:
                classical = counts
            elif classical is not None:
                e = estimate_gain(f1_of, counts, classical, group.frames, rng=rng)
                yield Figured(name, group.name, f"F1 gain{suffix}", rate, e.value, e.low, e.high)


def _frame_figures(outcome: Outcome, group: Group, rng: np.random.Generator) -> Iterator[Figured]:
    """Dice, and errors over their bounds."""
    for name, found in outcome.found.items():
        pixels = np.array([of.pixels for of in found], float).reshape(-1, 4)
        e = estimate(dice_of_pixels, pixels, group.frames, rng=rng)
        yield Figured(name, group.name, "Dice", np.nan, e.value, e.low, e.high)
        outstanding = np.array([of.outstanding for of in found], float).reshape(-1, 4)
        if outstanding[group.frames].any():
            e = estimate(dice_of_pixels, outstanding, group.frames, rng=rng)
            yield Figured(name, group.name, "Dice of spots that stand out", np.nan, e.value, e.low, e.high)
        dice = dice_of_frames(found, group.frames)
        if len(dice):
            low, high = (float(x) for x in np.quantile(dice, (0.25, 0.75)))
            yield Figured(name, group.name, "median Dice of a frame", np.nan, float(np.median(dice)))
            yield Figured(name, group.name, "lower quartile of Dice", np.nan, low)
            yield Figured(name, group.name, "upper quartile of Dice", np.nan, high)
        for kind, count in zip(
            ("spot found", "none found", "spot missed", "none"), pixels[group.frames].sum(axis=0), strict=True
        ):
            yield Figured(name, group.name, f"pixels: {kind}", np.nan, float(count))
        snr, of_d, of_angle = error_ratios(found, group.frames)
        yield Figured(name, group.name, "measured errors", np.nan, float(len(snr)))
        if len(snr) >= _LEAST_ERRORS:
            yield Figured(name, group.name, "robust error of d over the bound", np.nan, robust_spread(of_d))
            yield Figured(name, group.name, "robust error of the angle over the bound", np.nan, robust_spread(of_angle))


def _empty_figures(outcome: Outcome, rates: Sequence[float]) -> Iterator[Figured]:
    n_empty = sum(fact.empty for fact in outcome.facts)
    if not n_empty:
        return
    yield Figured("", "frames without crystal", "frames", np.nan, float(n_empty))
    for name, found in outcome.found.items():
        reliable = make_reliability(found, outcome.facts, np.array([outcome.false_spots]))
        value, sigma = float(reliable.counted[0]), float(reliable.sigma[0])
        stated = "false spots in a frame without crystal"
        yield Figured(name, "all", f"{stated}, stated", np.nan, outcome.false_spots)
        yield Figured(name, "all", f"{stated}, counted", np.nan, value, max(value - 2 * sigma, 0.0), value + 2 * sigma)
        for rate in rates:
            score, counted = score_at_rate(found, outcome.facts, rate)
            yield Figured(name, "all", "least score", rate, score)
            yield Figured(name, "all", stated, rate, counted)
