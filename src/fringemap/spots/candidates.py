"""What every detector hands to the refinement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fringemap.records import FloatArray, IntArray, Mask


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

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: IntArray) -> Candidates:
        """Some of the candidates, in the order given."""
        return Candidates(self.row[rows], self.col[rows], self.width[rows], self.score[rows], self.merged[rows])
