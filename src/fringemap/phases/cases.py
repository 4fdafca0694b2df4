"""What the search for a grain takes as given, in several cases side by side.

The search is many small array operations. Numpy takes hardly longer for ten cases than for one, so all cases that do
not depend on each other are searched together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.distortion import STRAIN_SIGMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.phases.distortion import Distortion
    from fringemap.records import FloatArray, Mask


@dataclass(frozen=True)
class Cases:
    """What is known of scale and ellipse as one more grain shows them, and of the spots that others leave; n cases."""

    precision: FloatArray
    """Of (s, e1, e2), the strain of the grain included; (n, 3, 3)."""
    covariance: FloatArray
    """(n, 3, 3)."""
    mean: FloatArray
    """(n, 3)."""
    log_det: FloatArray
    """Log of the determinant of the precision; (n,)."""
    log_null: FloatArray
    """Log density of unknown spots at each spot; +inf for spots that are not free; (n, n_spots)."""

    def __len__(self) -> int:
        return len(self.mean)

    @classmethod
    def of(cls, distortions: Sequence[Distortion], log_null: FloatArray) -> Cases:
        """Gather cases from what is known of the scale and ellipse that all grains share."""
        covariance = np.stack([one.covariance for one in distortions]) + STRAIN_SIGMA**2 * np.eye(3)
        precision: FloatArray = np.asarray(np.linalg.inv(covariance), np.float64)
        mean = np.stack([one.mean for one in distortions])
        return cls(precision, covariance, mean, -np.linalg.slogdet(covariance)[1], log_null)

    @property
    def free(self) -> Mask:
        """Which spots no other grain explains; (n, n_spots)."""
        free: Mask = np.isfinite(self.log_null)
        return free
