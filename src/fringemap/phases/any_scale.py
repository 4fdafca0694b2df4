"""The pixel size of a frame that has none, from the ratios and angles of its spots and a few phases it may show.

All pixel sizes are tried, evenly in the logarithm, each with the same search as on a calibrated frame. What explains
the spots at some other size, phases of the list or plain lattices that are on none, counts against what explains them
best, so that the freedom of the scale is paid for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fringemap.errors import CalibrationError
from fringemap.phases.calibrate import ELLIPSE_SIGMA
from fringemap.phases.distortion import prior_distortion
from fringemap.phases.grains import UNLISTED
from fringemap.phases.posterior import Problem, explain_spots
from fringemap.phases.sweep import rescaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.phases.posterior import Explanation
    from fringemap.records import FloatArray, Reflections, Spots
    from fringemap.settings import PhaseSettings

FEWEST = 4
"""Ratios and angles of three spots fit some zone of nearly any cell."""

STEP = 0.04
FOUND_SIGMA = 0.02
"""Sizes this far apart are tried, each with this relative standard error; it is that of what is found, too."""

SAME = 0.03
"""Sizes that differ by less are one answer [relative]."""

LEAST_PROBABILITY = 0.8
"""A pixel size less probable than this is none."""

LEAST_SURE = 0.5
"""The surest grain of a phase that the user vouches for is at least so probable at the size that is found."""

MOST_PHASES = 8
"""A longer list fits most frames at some size."""

N_DECOYS = 4


class FoundScale(NamedTuple):
    """A pixel size that ratios and angles give."""

    factor: float
    """True over provisional pixel size."""
    probability: float
    """That it is right, among all sizes and all phases and lattices."""


def may_seek_scale(settings: PhaseSettings) -> bool:
    """Tell whether the user has said enough to seek a pixel size: which phases the frame may show.

    Other rules than "posterior" could not say how sure their names are at such a size.
    """
    return settings.match == "posterior" and bool(settings.phases or settings.internal_standard)


def search_scale(
    spots: Spots, references: Sequence[Reflections], *, smallest: float, largest: float, surely: bool = False
) -> FoundScale:
    """Find the pixel size at which phases of a list explain the spots.

    Parameters
    ----------
    spots
        At a provisional scale.
    references
        The phases that the frame may show; those without a structure have no angles and take no part.
    smallest, largest
        Bounds of the true over the provisional pixel size; all between are as likely, in the logarithm.
    surely
        One of the phases is in the frame, by the word of the user: sizes at which none explains spots do not count.

    Raises
    ------
    CalibrationError
        The spots are too few, the phases too many, or no size is much likelier than all others together.

    Notes
    -----
    The probability holds if the list does: a phase that is not on it but built like one that is, as all rock salts
    are, has the same ratios and angles at another pixel size.
    """
    named = [reflections for reflections in references if reflections.structure is not None]
    if not named or len(spots) < FEWEST:
        what = f"{len(spots)} spots are too few" if named else "phases without a cell have no angles"
        raise CalibrationError(f"{what} to find a pixel size from ratios and angles; give it with --pixel-size")
    if len(named) > MOST_PHASES:
        raise CalibrationError(
            f"{len(named)} phases are too many to find a pixel size from ratios and angles, {MOST_PHASES} at most; "
            "name fewer with --phases, or give it with --pixel-size"
        )
    sizes = np.geomspace(smallest, largest, max(2, math.ceil(math.log(largest / smallest) / STEP) + 1))
    prior = ((1.0, prior_distortion(FOUND_SIGMA, ellipse_sigma=ELLIPSE_SIGMA)),)
    every = [
        explain_spots(Problem(rescaled(spots, 1.0 / size), named, priors=prior, n_decoys=N_DECOYS)) for size in sizes
    ]
    found = _weigh(sizes, every, surely=surely)
    if found.probability < LEAST_PROBABILITY:
        names = ", ".join(reflections.phase for reflections in named)
        raise CalibrationError(
            f"the ratios and angles of the {len(spots)} spots do not tell at which pixel size they are those of "
            f"{names} (best guess {100 * found.probability:.0f} %); give it with --pixel-size"
        )
    return found


def _weigh(sizes: FloatArray, every: Sequence[Explanation], *, surely: bool) -> FoundScale:
    """Choose the likeliest size, and add up what lies so near that it is the same answer."""
    score = np.array([explanation.score for explanation in every])
    sure = np.array([_best_probability(explanation) for explanation in every])
    factor = sizes * np.array([1.0 + explanation.distortion.mean[0] for explanation in every])
    weight = np.exp(score - score.max())
    listed = weight * sure
    best = int(np.argmax(listed))
    same = np.abs(np.log(factor / factor[best])) <= SAME
    # Where no phase explains anything at any size, the user is wrong.
    every_size = listed if surely and sure[best] >= LEAST_SURE else weight
    return FoundScale(float(factor[best]), float(listed[same].sum() / every_size.sum()))


def _best_probability(explanation: Explanation) -> float:
    """Probability of the surest grain of a listed phase; 0 if there is none."""
    listed = [grain.probability for grain in explanation.grains if grain.reference != UNLISTED]
    return max(listed, default=0.0)
