"""Detectors side by side: what each finds in labelled patterns, beside what is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fringemap.errors import SettingsError
from fringemap.records import Spots
from fringemap.spots import Candidates, detect_spots, measure_spots
from fringemap.spots.model import load_model
from fringemap.spots.pattern import make_pattern
from fringemap.spots.unet import compute_logit, find_regions
from fringemap.training.judging import ERROR_ROW, make_targets, measure_errors, pair_spots
from fringemap.training.labels import label_pattern, paint_labels, round_forms
from fringemap.training.samples import PatternSpots
from fringemap.training.subjects import empty_subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fringemap.records import FloatArray, Image, IntArray, Mask, TrueSpots
    from fringemap.settings import SpotSettings
    from fringemap.spots.model import Model
    from fringemap.training.judging import Targets
    from fringemap.training.samples import Sample
    from fringemap.training.subjects import Seen, Subject, SubjectSet

    Tell = Callable[[str, int, int], None]

CLASSICAL = "classical"
LOOSEST = 60.0
"""Spots are listed down to so many times the stated rate of false spots, for the curves."""


@dataclass(frozen=True)
class Detector:
    """What is judged: the classical detector, or a model."""

    name: str
    model: Model | None = None

    def settings(self, base: SpotSettings, false_spots: float) -> SpotSettings:
        """Settings of a search with this detector."""
        if self.model is None:
            return replace(base, detector="classical", false_spots=false_spots, sensitivity=None)
        folder = str(self.model.folder)
        return replace(base, detector="unet", model=folder, false_spots=false_spots, sensitivity=None)


@dataclass(frozen=True)
class Facts:
    """What is true of one subject."""

    source: str
    regime: str
    """Sort of frame, of a drawn set; else empty."""
    empty: bool
    extra: bool
    """Drawn to count false spots only, not one of the set."""
    wanted_snr: FloatArray
    """Of the spots that must be found; NaN where nobody knows; (m,)."""


@dataclass(frozen=True)
class Found:
    """What one detector found in one subject: k spots in falling order of score."""

    pixels: IntArray
    """On spots and found, found only, missed, neither; (4,)."""
    outstanding: IntArray
    """The same, where only spots are asked for that stand out of the whole pattern; zeros where no truth is known."""
    score: FloatArray
    verdict: IntArray
    """1 right, 0 on a spot that need not be found, -1 false."""
    snr: FloatArray
    """As measured."""
    target: IntArray
    """Row in ``Facts.wanted_snr``, -1 where the verdict is not 1."""
    errors: np.ndarray
    """Of right spots at the stated rate; rows of ``ERROR_ROW``."""


@dataclass(frozen=True)
class Outcome:
    """Detectors on one set."""

    name: str
    side: str
    false_spots: float
    """Stated, in a frame."""
    facts: tuple[Facts, ...]
    found: dict[str, tuple[Found, ...]]
    """Of each detector, a row a subject."""
    remarks: tuple[str, ...]


def make_detectors(models: Sequence[str], *, classical: bool = True) -> tuple[Detector, ...]:
    """The classical detector, and one of each model package.

    Raises
    ------
    ModelError
        A package is missing or damaged.
    SettingsError
        Nothing is left to be judged.
    """
    loaded = [load_model(model) for model in models]
    names = [model.name for model in loaded]
    unique = [
        name if names.count(name) == 1 else f"{name} ({model.folder})"
        for name, model in zip(names, loaded, strict=True)
    ]
    detectors = [Detector(CLASSICAL)] * classical
    detectors += [Detector(name, model) for name, model in zip(unique, loaded, strict=True)]
    if not detectors:
        raise SettingsError("There is no detector to evaluate; name a model package with --model or take --classical.")
    return tuple(detectors)


def evaluate(
    subjects: SubjectSet,
    detectors: Sequence[Detector],
    *,
    false_spots: float,
    n_empty: int = 0,
    tell: Tell | None = None,
) -> Outcome:
    """Let detectors look at a set, and judge what they find.

    Parameters
    ----------
    subjects
        From ``open_subjects``.
    false_spots
        Stated false spots in a frame without any crystal.
    n_empty
        Further frames without any crystal, drawn like those of the set, on which false spots are counted.

    Raises
    ------
    ReadError
        A sample is damaged, or its frame cannot be drawn again.
    SettingsError
        No detector can look at the set, or more frames cannot be drawn like its own.
    """
    able = [d for d in detectors if d.model is not None or subjects.has_frames]
    if n_empty and subjects.recipe is None:
        raise SettingsError(f"{subjects.path} was not drawn: no further frames can be drawn like its own.")
    if not able:
        raise SettingsError(
            f"{subjects.path} holds pictures and not frames: the classical detector cannot look at them; name a model."
        )
    facts, found = [], {detector.name: [] for detector in able}  # type: ignore[var-annotated]
    for subject, extra in _told(_all_subjects(subjects, n_empty), len(subjects) + n_empty, subjects.name, tell):
        true, targets, wanted = find_targets(subject, subjects)
        facts.append(_facts_of(subject, targets, wanted, extra=extra))
        known = _Known(true, targets, wanted, _with_outstanding_alone(subject, subjects, false_spots))
        for detector in able:
            found[detector.name].append(_judge(detector, subject, subjects, known, false_spots=false_spots))
    remarks = _remarks(subjects, detectors, able, facts)
    return Outcome(
        subjects.name,
        subjects.side,
        false_spots,
        tuple(facts),
        {name: tuple(of) for name, of in found.items()},
        remarks,
    )


def find_in_subject(
    detector: Detector, subject: Subject, base: SpotSettings, *, false_spots: float
) -> tuple[Spots, Mask]:
    """Spots down to ``LOOSEST`` times the stated rate, and the pixels that the detector takes for spots.

    The list above the stated rate is that of a search at this rate.
    """
    logit = None if detector.model is None else half_logit(detector.model, subject.sample)
    if detector.model is not None and logit is not None:
        if subject.seen is None:
            spots = _spots_in_picture(detector.model, subject, logit, false_spots)
        else:
            spots = _spots_in_frame(detector, subject.seen, base, false_spots)
        return spots, logit > detector.model.threshold
    if subject.seen is None:
        raise SettingsError(
            f"{subject.sample.source} is a picture: the classical detector needs a frame; name a model."
        )
    spots = _spots_in_frame(detector, subject.seen, base, false_spots)
    return spots, _painted(spots, subject, -np.log10(false_spots), widest=0.1 / base.min_grain_nm)


class _Known(NamedTuple):
    """What is true of a subject, whoever looks at it."""

    true: TrueSpots
    targets: Targets
    wanted: Mask
    outstanding: Sample | None


def _judge(detector: Detector, subject: Subject, subjects: SubjectSet, known: _Known, *, false_spots: float) -> Found:
    true, targets, wanted, outstanding = known
    spots, pixels = find_in_subject(detector, subject, subjects.settings.spots, false_spots=false_spots)
    target_of, _ = pair_spots(true, targets, spots, step=subject.bins)
    # A false spot asks for target -1: the last row, which nobody wants.
    asked, row = np.append(wanted, False), np.append(np.cumsum(wanted) - 1, -1)
    right = asked[target_of]
    stated = np.where(spots.score >= -np.log10(false_spots), target_of, -1)
    truth = None if subject.seen is None else subject.seen.truth
    return Found(
        pixels=count_pixels(pixels, subject.sample),
        outstanding=np.zeros(4, np.int64) if outstanding is None else count_pixels(pixels, outstanding),
        score=spots.score,
        verdict=np.where(target_of < 0, -1, right.astype(np.int64)),
        snr=spots.snr,
        target=np.where(right, row[target_of], -1),
        errors=np.zeros(0, ERROR_ROW) if truth is None else measure_errors(truth, spots, targets, stated),
    )


def count_pixels(found: Mask, sample: Sample) -> IntArray:
    """On spots and found, found only, missed, neither; ignored pixels are left out; (4,)."""
    counted, on_spot = np.asarray(sample.weight) > 0, np.asarray(sample.label) > 0
    kinds = (on_spot & found, ~on_spot & found, on_spot & ~found, ~on_spot & ~found)
    return np.array([np.count_nonzero(kind & counted) for kind in kinds], np.int64)


def _with_outstanding_alone(subject: Subject, subjects: SubjectSet, false_spots: float) -> Sample | None:
    """The sample with fainter spots ignored that only those see who know where to look; None where no truth is known.

    A visible spot is one that noise seldom makes *at a given place*. Nobody is given places: a spot stands out if noise
    makes its like anywhere in the pattern with less than the stated rate.
    """
    if subjects.recipe is None or subject.seen is None or subject.seen.truth is None:
        return None
    diffractogram = subject.seen.diffractogram
    pattern = make_pattern(diffractogram, settings=subjects.settings.spots)
    usual = subjects.recipe.visibility
    tail = false_spots / (np.count_nonzero(pattern.valid) * np.prod(pattern.factor))
    visibility = replace(usual, visible_tail=min(float(tail), usual.visible_tail))
    label, weight, _ = label_pattern(
        subject.seen.truth, pattern, visibility=visibility, n_averaged=diffractogram.n_averaged
    )
    return replace(subject.sample, label=label, weight=weight)


def _all_subjects(subjects: SubjectSet, n_empty: int) -> Iterator[tuple[Subject, bool]]:
    for subject in subjects:
        yield subject, False
    for subject in empty_subjects(subjects, n_empty):
        yield subject, True


def _told(
    items: Iterator[tuple[Subject, bool]], n: int, name: str, tell: Tell | None
) -> Iterator[tuple[Subject, bool]]:
    for number, item in enumerate(items, start=1):
        yield item
        if tell is not None:
            tell(f"evaluate {name}", number, n)


def find_targets(subject: Subject, subjects: SubjectSet) -> tuple[TrueSpots, Targets, Mask]:
    """True spots, what can be told apart of them, and which of these must be found."""
    true, spots = subject.true, subjects.settings.spots
    limits = (0.0, np.inf) if subject.seen is None else (spots.d_min_angstrom, spots.d_max_angstrom)
    targets = make_targets(true, d_limits=limits)
    of_members = subject.is_wanted(true)[targets.member]
    wanted = np.bincount(targets.member_target, weights=of_members, minlength=len(targets)) > 0
    return true, targets, wanted & targets.asked


def _facts_of(subject: Subject, targets: Targets, wanted: Mask, *, extra: bool) -> Facts:
    meta = subject.sample.meta
    known = subject.seen is not None and subject.seen.truth is not None
    snr = targets.snr[wanted]
    return Facts(
        source=subject.sample.source,
        regime=str(meta.get("regime", "")),
        empty=subject.is_empty,
        extra=extra,
        wanted_snr=snr if known else np.full(len(snr), np.nan),
    )


def half_logit(model: Model, sample: Sample) -> Image:
    """Logit over the half pattern, without the mates."""
    logit = compute_logit(model, np.asarray(sample.image, np.float32))
    return logit[:, logit.shape[1] - sample.image.shape[2] :]


def _one_behind_the_other(strict: Candidates, loose: Candidates, score: float) -> Candidates:
    """A list of a strict search, then what a loose one adds below its score."""
    more = loose.take(np.flatnonzero(loose.score < score))
    both = zip(vars(strict).values(), vars(more).values(), strict=True)
    return Candidates(*(np.concatenate(pair) for pair in both))


def _spots_in_frame(detector: Detector, seen: Seen, base: SpotSettings, false_spots: float) -> Spots:
    strict, loose = (
        detect_spots(seen.diffractogram, settings=detector.settings(base, rate))
        for rate in (false_spots, LOOSEST * false_spots)
    )
    return measure_spots(seen.diffractogram, _one_behind_the_other(strict, loose, -np.log10(false_spots)))


def _painted(spots: Spots, subject: Subject, score: float, *, widest: float) -> Mask:
    """Pixels within the half maximum of spots, painted as true ones are; none wider than a limit [1/Å]."""
    kept = spots.score >= score
    step, middle = subject.step, len(subject.sample.label) // 2
    row, col = spots.gy[kept] / step[0] + middle, spots.gx[kept] / step[1]
    width = np.minimum(spots.width[kept], widest)
    pixels = width / np.sqrt(step[0] * step[1])
    listed = PatternSpots(row, col, pixels, np.full(len(row), np.nan), np.ones(len(row), bool))
    label, _ = paint_labels(listed, round_forms(width, step), np.ones(subject.sample.label.shape, bool))
    mask: Mask = label > 0
    return mask


def _spots_in_picture(model: Model, subject: Subject, logit: Image, false_spots: float) -> Spots:
    """Regions of a pattern whose frame nobody knows, as spots without any measured error."""
    valid = np.asarray(subject.sample.weight) > 0
    n_pixels = int(valid.sum())
    least = model.calibration.logit_at(LOOSEST * false_spots, n_pixels)
    strict = find_regions(logit, valid, level=model.threshold)
    parts = [strict]
    if least < model.threshold:
        loose = find_regions(logit, valid, level=least)
        below = loose.logit <= model.threshold
        parts.append(type(loose)(*(values[below] for values in vars(loose).values())))
    row, col, highest, size = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("row", "col", "logit", "size")
    )
    kept = highest >= least
    return _bare_spots(row[kept], col[kept], size[kept], model.calibration.score(highest[kept], n_pixels), subject)


def _bare_spots(row: FloatArray, col: FloatArray, size: IntArray, score: FloatArray, subject: Subject) -> Spots:
    n, step = len(row), subject.step
    unknown = np.full(n, np.nan)
    return Spots(
        gx=col * step[1],
        gy=(row - len(subject.sample.label) // 2) * step[0],
        covariance=np.full((n, 2, 2), np.nan),
        amplitude=unknown,
        amplitude_sigma=unknown,
        snr=unknown,
        width=2 * np.sqrt(size / np.pi) * np.sqrt(step[0] * step[1]),
        score=score,
        position=np.full((n, 2), np.nan),
        extent=np.full((n, 2), np.nan),
        flags=np.zeros(n, np.int64),
    )


def _remarks(
    subjects: SubjectSet, detectors: Sequence[Detector], able: Sequence[Detector], facts: Sequence[Facts]
) -> tuple[str, ...]:
    """What a reader of the figures must know of a set."""
    said = []
    if len(able) < len(detectors):
        said.append("The set holds pictures and not frames: the classical detector cannot look at them.")
    if not any(fact.empty for fact in facts):
        said.append(
            "The set holds no frame without crystal: false spots are not counted, and detectors are compared at the "
            "stated rate instead of the same measured one."
        )
    if not any(len(fact.wanted_snr) for fact in facts):
        said.append("The set holds no spot that must be found: only false spots are counted.")
    if len(subjects.samples.split("train")):
        said.append("Samples of the training side are among these: models that were trained on them know them.")
    return tuple(said)
