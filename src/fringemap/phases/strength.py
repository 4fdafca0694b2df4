"""How much a grain shows: a thick or bright one shows weak reflections, too, a faint one hardly its strongest.

Nobody knows which kind a grain is, so all kinds are summed. Without them, many spots on one lattice would speak for
whatever structure has the most strong reflections, and against any that has weak ones where spots are seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fringemap.records import FloatArray

OFFSETS = np.array([-0.8, 0.4, 1.8])
"""What each kind of grain adds to the log odds of every reflection to show."""

LOG_SHARES = np.log([0.4, 0.4, 0.2])
"""Log of the share of each kind among grains."""


def log_hidden(shown: FloatArray) -> FloatArray:
    """Log of the probability that each kind of grain hides a reflection; one more axis, the first."""
    odds = shown / (1.0 - shown)
    hidden: FloatArray = -np.log1p(odds * np.exp(OFFSETS).reshape(-1, *([1] * np.ndim(shown))))
    return hidden


def log_misses(misses: FloatArray, n_shown: NDArray[np.number]) -> FloatArray:
    """Log of what all kinds of grains make of the reflections that they hide and show.

    Parameters
    ----------
    misses
        Log of the probability to hide all that is not seen, by kind; (n_kinds, n).
    n_shown
        Number of spots seen; their log odds for a grain without offset are not contained; (n,).
    """
    each = misses + OFFSETS[:, None] * n_shown + LOG_SHARES[:, None]
    top = each.max(axis=0)
    log_sum: FloatArray = top + np.log(np.exp(each - top).sum(axis=0))
    return log_sum
