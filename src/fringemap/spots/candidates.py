"""What every detector hands to the refinement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, IntArray, Mask
    from fringemap.spots.peaks import Peak


@dataclass(frozen=True)
class Candidates:
    """Spots as a detector sees them, n rows in falling order of score; positions in bins of the half spectrum."""

    row: FloatArray
    """Signed, may be fractional."""
    col: FloatArray
    width: FloatArray
    """Full width at half maximum of the power [bins], a rough value."""
    score: FloatArray
    """-log10 of the expected number of equally strong false spots in the frame."""
    merged: Mask
    """Shares its component with another spot."""
    unconfirmed: Mask
    """Listed by a network, but not by the law of noise."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: IntArray) -> Candidates:
        """Some of the candidates, in the order given."""
        return Candidates(*(values[rows] for values in vars(self).values()))


def ranked(peaks: Sequence[Peak], scores: FloatArray) -> Candidates:
    """Peaks as candidates, in falling order of score."""
    order = np.argsort(-scores, kind="stable")
    row, col, width = (np.array([getattr(peaks[i], name) for i in order], float) for name in ("row", "col", "width"))
    merged = np.array([peaks[i].merged for i in order], bool)
    return Candidates(row, col, width, scores[order], merged, np.zeros(len(peaks), bool))


def in_order(lists: Sequence[Candidates]) -> Candidates:
    """Several lists as one, in falling order of score."""
    whole = Candidates(*(np.concatenate(parts) for parts in zip(*(vars(one).values() for one in lists), strict=True)))
    return whole.take(np.argsort(-whole.score, kind="stable"))
