"""From what detectors found to figures: curves, F1 at the same number of false spots, Dice, reliability.

Two detectors are compared where both make the same number of false spots in the frames without crystal, whatever each
of them states. Intervals hold 95 % of what 1000 sets drawn from the same frames give; differences are those of the same
frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fringemap.records import FloatArray, IntArray, Mask
    from fringemap.training.evaluate import Facts, Found

_RESAMPLES = 1000
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Group:
    """Some frames of a set, or of their spots those of an SNR."""

    name: str
    frames: Mask
    low: float = -np.inf
    """SNR."""
    high: float = np.inf

    @property
    def of_spots(self) -> bool:
        """It is a class of spots, and not of frames only."""
        return bool(np.isfinite(self.low) or np.isfinite(self.high))

    def holds(self, snr: FloatArray) -> Mask:
        """Which spots belong to it; where no SNR is known, all do if the group is one of frames."""
        if not self.of_spots:
            return np.ones(len(snr), bool)
        with np.errstate(invalid="ignore"):
            inside: Mask = (snr >= self.low) & (snr < self.high)
        # A false spot that could not be measured is a faint one.
        return np.asarray(inside | (~np.isfinite(snr) & ~np.isfinite(self.low)))


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Curve:
    """Precision over recall as the least score falls."""

    score: FloatArray
    recall: FloatArray
    precision: FloatArray


@dataclass(frozen=True)
class Reliability:
    """False spots in frames without crystal, expected and counted."""

    expected: FloatArray
    """In a frame; (n,)."""
    counted: FloatArray
    sigma: FloatArray
    """Of the count."""
    n_frames: int


def make_groups(facts: Sequence[Facts]) -> list[Group]:
    """All; thirds of the spots by SNR; thirds of the frames by SNR and by number of spots; sorts of drawn frames.

    Frames count by the median SNR of the spots that must be found in them. Frames that were drawn to count false spots
    are in no group, those without any spot only in that of all.
    """
    own = np.array([not fact.extra for fact in facts])
    n_wanted = np.array([len(fact.wanted_snr) for fact in facts])
    some = own & (n_wanted > 0)
    groups = [Group("all", own)]
    snr = np.concatenate([np.zeros(0), *(fact.wanted_snr for fact in facts if not fact.extra)])
    crowded = _top_third(n_wanted, some)
    if len(snr) and np.isfinite(snr).all():
        low, high = (float(x) for x in np.percentile(snr, (100 / 3, 200 / 3)))
        groups += [
            Group("faint spots", own, -np.inf, low),
            Group("middle spots", own, low, high),
            Group("clear spots", own, high, np.inf),
            Group("faint spots of crowded frames", crowded, -np.inf, low),
        ]
        median = np.array([np.median(fact.wanted_snr) if len(fact.wanted_snr) else np.nan for fact in facts])
        low, high = (float(x) for x in np.percentile(median[some], (100 / 3, 200 / 3)))
        groups += [
            Group("faint frames", some & (median < low)),
            Group("middle frames", some & (median >= low) & (median < high)),
            Group("clear frames", some & (median >= high)),
        ]
    groups += [Group("crowded frames", crowded), Group("other frames with crystals", some & ~crowded)]
    regimes = sorted({fact.regime for fact in facts if fact.regime})
    groups += [Group(f"{name} (drawn as)", own & np.array([f.regime == name for f in facts])) for name in regimes]
    return [group for group in groups if group.frames.any()]


def _top_third(n_wanted: IntArray, some: Mask) -> Mask:
    if not some.any():
        return some
    mask: Mask = some & (n_wanted > np.percentile(n_wanted[some], 200 / 3))
    return mask


def score_at_rate(found: Sequence[Found], facts: Sequence[Facts], rate: float) -> tuple[float, float]:
    """Least score at which frames without crystal hold so many false spots on average, and how many they hold then.

    It lies between the score of the last false spot that is let through and that of the next. A detector that lists
    fewer is taken with all that it lists.
    """
    false = _false_scores(found, facts)
    n_empty = sum(fact.empty for fact in facts)
    allowed = round(rate * n_empty)
    if len(false) <= allowed:
        return -np.inf, len(false) / max(n_empty, 1)
    least = false[allowed] if allowed == 0 else (false[allowed] + false[allowed - 1]) / 2
    return float(np.nextafter(least, np.inf)), allowed / n_empty


def _false_scores(found: Sequence[Found], facts: Sequence[Facts]) -> FloatArray:
    """Of the false spots in frames without crystal; falling."""
    of = [f.score[f.verdict < 0] for f, fact in zip(found, facts, strict=True) if fact.empty]
    return np.sort(np.concatenate([np.zeros(0), *of]))[::-1]


def count_spots(found: Sequence[Found], facts: Sequence[Facts], group: Group, score: float) -> FloatArray:
    """Right, false and missed spots of each frame above a score; (n_frames, 3)."""
    counts = np.zeros((len(facts), 3))
    for row, (of, fact) in enumerate(zip(found, facts, strict=True)):
        if not group.frames[row]:
            continue
        listed = of.score >= score
        right = of.target[listed & (of.verdict > 0)]
        n_right = np.count_nonzero(group.holds(fact.wanted_snr[right]))
        n_false = np.count_nonzero(group.holds(of.snr[listed & (of.verdict < 0)]))
        counts[row] = n_right, n_false, np.count_nonzero(group.holds(fact.wanted_snr)) - n_right
    return counts


def f1_of(counts: FloatArray) -> FloatArray:
    """F1 of sums (..., right, false, missed); NaN where nothing is there and nothing found."""
    right, false, missed = np.moveaxis(counts, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1: FloatArray = 2 * right / (2 * right + false + missed)
    return f1


def recall_of(counts: FloatArray) -> FloatArray:
    """Right over all that must be found."""
    with np.errstate(invalid="ignore", divide="ignore"):
        recall: FloatArray = counts[..., 0] / (counts[..., 0] + counts[..., 2])
    return recall


def precision_of(counts: FloatArray) -> FloatArray:
    """Right over right and false."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision: FloatArray = counts[..., 0] / (counts[..., 0] + counts[..., 1])
    return precision


def dice_of_pixels(counts: FloatArray) -> FloatArray:
    """Dice of sums (..., on spots and found, found only, missed, neither)."""
    return f1_of(counts[..., :3])


def estimate(
    of: Callable[[FloatArray], FloatArray], counts: FloatArray, frames: Mask, *, rng: np.random.Generator
) -> Estimate:
    """A figure of summed counts, with the interval over frames; (n_frames, k)."""
    sums = _resampled(counts[frames], rng)
    return _estimate(of(counts[frames].sum(axis=0)), of(sums))


def estimate_gain(
    of: Callable[[FloatArray], FloatArray],
    counts: FloatArray,
    other: FloatArray,
    frames: Mask,
    *,
    rng: np.random.Generator,
) -> Estimate:
    """How much higher a figure is than another detector's on the same frames."""
    both = np.concatenate([counts, other], axis=1)[frames]
    k = counts.shape[1]

    def gain(sums: FloatArray) -> FloatArray:
        difference: FloatArray = of(sums[..., :k]) - of(sums[..., k:])
        return difference

    return _estimate(gain(both.sum(axis=0)), gain(_resampled(both, rng)))


def _resampled(counts: FloatArray, rng: np.random.Generator) -> FloatArray:
    n = len(counts)
    weights = rng.multinomial(n, np.full(n, 1 / max(n, 1)), size=_RESAMPLES)
    sums: FloatArray = weights @ counts
    return sums


def _estimate(value: FloatArray, resampled: FloatArray) -> Estimate:
    usable = resampled[np.isfinite(resampled)]
    if not len(usable) or not np.isfinite(value):
        return Estimate(float(value))
    low, high = np.percentile(usable, _INTERVAL)
    return Estimate(float(value), float(low), float(high))


def make_curve(found: Sequence[Found], facts: Sequence[Facts], group: Group) -> Curve:
    """Precision and recall over all scores, over the frames of a group."""
    scores, verdicts, wanted = [np.zeros(0)], [np.zeros(0)], 0
    for row, (of, fact) in enumerate(zip(found, facts, strict=True)):
        if not group.frames[row]:
            continue
        snr = np.where(of.verdict > 0, np.append(fact.wanted_snr, np.nan)[of.target], of.snr)
        counted = (of.verdict != 0) & group.holds(snr)
        scores.append(of.score[counted])
        verdicts.append(of.verdict[counted] > 0)
        wanted += int(np.count_nonzero(group.holds(fact.wanted_snr)))
    score, right = np.concatenate(scores), np.concatenate(verdicts)
    order = np.argsort(-score, kind="stable")
    n_right = np.cumsum(right[order])
    return Curve(score[order], n_right / max(wanted, 1), n_right / np.arange(1, len(order) + 1))


def make_reliability(found: Sequence[Found], facts: Sequence[Facts], rates: FloatArray) -> Reliability:
    """False spots in frames without crystal that reach the score of each rate, beside the rate."""
    false, n_empty = _false_scores(found, facts), sum(fact.empty for fact in facts)
    counts = np.array([np.count_nonzero(false >= -np.log10(rate)) for rate in rates], float)
    n = max(n_empty, 1)
    return Reliability(np.asarray(rates, float), counts / n, np.sqrt(np.maximum(counts, 1.0)) / n, n_empty)


def dice_of_frames(found: Sequence[Found], frames: Mask) -> FloatArray:
    """Dice of each frame with a labelled pixel."""
    pixels = np.array([of.pixels for of in found], float).reshape(-1, 4)[frames]
    return dice_of_pixels(pixels[pixels[:, 0] + pixels[:, 2] > 0])


def error_ratios(found: Sequence[Found], frames: Mask) -> tuple[FloatArray, FloatArray, FloatArray]:
    """SNR of right spots, and their errors of d and of the angle over the bounds of Cramér and Rao."""
    rows = np.concatenate([of.errors for of, inside in zip(found, frames, strict=True) if inside] or [found[0].errors])
    return rows["snr"], rows["d_error"] / rows["d_bound"], rows["angle_error"] / rows["angle_bound"]


def robust_spread(ratio: FloatArray) -> float:
    """Standard deviation as the median of the absolute values gives it."""
    return 1.4826 * float(np.median(np.abs(ratio))) if len(ratio) else float("nan")
