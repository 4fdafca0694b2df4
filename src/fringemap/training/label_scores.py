"""How well a model finds what people have labelled: pixel by pixel, and spot by spot as an analysis lists them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fringemap.spots.unet import compute_logit, find_regions
from fringemap.training.judging import REACH_BINS, REACH_WIDTHS

if TYPE_CHECKING:
    from collections.abc import Callable

    from fringemap.records import Image, Mask
    from fringemap.spots.model import Model
    from fringemap.spots.unet import Regions
    from fringemap.training.samples import PatternSpots, Sample


class LabelledSamples(Protocol):
    """Labelled patterns with their spots."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class LabelScores:
    """What a model comes to on labelled patterns; all counts are sums over the patterns."""

    n_patterns: int
    n_spots: int
    """Labelled."""
    n_found: int
    """Of them."""
    n_false: int
    dice: float
    """Of the pixels above the model's threshold; 1 where neither it nor the labels mark any."""

    @property
    def f1(self) -> float:
        """Of the spots: 2 found / (labelled + listed); 1 where there are none and none are listed."""
        both = self.n_spots + self.n_found + self.n_false
        return 2 * self.n_found / both if both else 1.0


def score_labels(
    model: Model,
    samples: LabelledSamples,
    *,
    false_spots: float,
    tell: Callable[[str, int, int], None] | None = None,
    name: str = "look at held-out labels",
) -> LabelScores:
    """Compare what a model finds with labels.

    Parameters
    ----------
    samples
        Labelled patterns with their spots.
    false_spots
        As in ``SpotSettings``: spots are listed from the model's own logit for this rate on.
    """
    pixels, spots = np.zeros(2), np.zeros(3, int)
    for number in range(len(samples)):
        sample = samples[number]
        logit = compute_logit(model, np.asarray(sample.image, np.float32))
        half = logit[:, logit.shape[1] - sample.image.shape[2] :]
        judged, marked = np.asarray(sample.weight) > 0, np.asarray(sample.label) > 0
        above = (half > model.threshold) & judged
        pixels += 2 * np.count_nonzero(above & marked), np.count_nonzero(above) + np.count_nonzero(marked & judged)
        spots += _count_spots(model, sample, logit, false_spots)
        if tell is not None:
            tell(name, number + 1, len(samples))
    dice = float(pixels[0] / pixels[1]) if pixels[1] else 1.0
    return LabelScores(len(samples), int(spots[0]), int(spots[1]), int(spots[2]), dice)


def _count_spots(model: Model, sample: Sample, logit: Image, false_spots: float) -> tuple[int, int, int]:
    """Labelled spots, those of them that are listed, and listed ones that nobody labelled."""
    valid = _looked_at(sample)
    # A picture has no frame with scale bars, whose lobes lie near the axes: there false spots are not counted apart.
    asked = replace(model, near_axes=None) if sample.meta.get("kind") == "mask" else model
    level = min(model.threshold, asked.least_logit(false_spots, valid))
    regions = find_regions(logit, valid, level=level)
    listed = asked.score(regions.logit, regions.row, regions.col, valid) >= -np.log10(false_spots)
    wanted, ignored = sample.spots.take(sample.spots.visible), sample.spots.take(~sample.spots.visible)
    found = np.zeros(len(wanted), bool)
    n_false = 0
    for i in np.flatnonzero(listed):
        near = _sits_on(regions, int(i), wanted, len(valid) // 2)
        if (near & ~found).any():
            found[np.flatnonzero(near & ~found)[0]] = True
        elif not near.any() and not _sits_on(regions, int(i), ignored, len(valid) // 2).any():
            n_false += 1
    return len(wanted), int(found.sum()), n_false


def _looked_at(sample: Sample) -> Mask:
    """Where spots are looked for: all of the pattern that is not 0, what is ignored included."""
    looked: Mask = (np.asarray(sample.weight) > 0) | (np.asarray(sample.image) != 0).any(axis=0)
    return looked


def _sits_on(regions: Regions, i: int, spots: PatternSpots, middle: int) -> Mask:
    """Which spots, or mates, a region sits on."""
    on = np.zeros(len(spots), bool)
    reach = np.maximum(REACH_BINS, REACH_WIDTHS * spots.width)
    for row, col in ((spots.row, spots.col), (2 * middle - spots.row, -spots.col)):
        on |= np.hypot(regions.row[i] - row, regions.col[i] - col) <= reach
    return on
