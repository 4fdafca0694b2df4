"""A training sample: the pattern of one diffractogram, and where its spots are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fringemap.records import FloatArray, Mask


@dataclass(frozen=True)
class PatternSpots:
    """True spots of a sample, one of each Friedel pair, n rows in falling order of SNR; in pixels of the pattern."""

    row: FloatArray
    """Fractional; (n,)."""
    col: FloatArray
    width: FloatArray
    """Full width at half maximum of the power [px], the geometric mean of its axes."""
    snr: FloatArray
    """As in ``Spots``; NaN where it is not known."""
    visible: Mask
    """Strong enough to be looked for; the others are ignored by the loss."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: NDArray[Any]) -> PatternSpots:
        """Some of the spots, by number or mask."""
        return PatternSpots(self.row[rows], self.col[rows], self.width[rows], self.snr[rows], self.visible[rows])


@dataclass(frozen=True)
class Sample:
    """What a network is trained on, all of one shape (n_rows, n_cols) and layout: that of ``spots.pattern``."""

    image: NDArray[np.float16]
    """The channels of the pattern; (3, n_rows, n_cols)."""
    label: NDArray[np.uint8]
    """1 within the half maximum of a visible spot."""
    weight: NDArray[np.uint8]
    """0 where the loss looks away: spots that nobody could see, and where none is looked for."""
    spots: PatternSpots
    meta: Mapping[str, Any] = field(default_factory=dict)
    """``source`` (what must not be split), ``frame_shape``, ``pixel_size_nm``, ``factor``, ``step_per_nm``, and for
    drawn ones ``seed``, ``index``, ``kind``, ``dose_per_angstrom2``, ``n_grains``, ``n_spots``, ``n_visible``."""

    @property
    def source(self) -> str:
        """The frame that the sample comes from; all samples of a source belong on one side of a split."""
        return str(self.meta["source"])


def no_spots() -> PatternSpots:
    """A sample without any known spot."""
    none = np.zeros(0)
    return PatternSpots(none, none, none, none, np.zeros(0, bool))
