"""Spots of a frame whose rows and columns are not at a right angle, as the crystal has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fringemap.records import Scale, Spots


def straighten_spots(spots: Spots, scale: Scale) -> Spots:
    """Correct the positions of spots for the shear that a calibration has found.

    Parameters
    ----------
    spots
        As measured in a diffractogram: n rows, at the g that the pixel sizes alone give.
    scale
        Of the frame; see ``Scale.shear``.

    Returns
    -------
    Spots
        The same n rows in the same order, at the true g; ``spots`` itself without shear. One that crosses the column
        axis by it is replaced by its Friedel mate, so that gx stays positive.
    """
    if scale.shear == 0.0:
        return spots
    shear = np.array([[1.0, scale.shear], [scale.shear, 1.0]])
    g = np.stack([spots.gx, spots.gy], axis=1) @ shear
    g *= np.where((g[:, 0] > 0) | ((g[:, 0] == 0) & (g[:, 1] > 0)), 1.0, -1.0)[:, None]
    return replace(spots, gx=g[:, 0], gy=g[:, 1], covariance=shear @ spots.covariance @ shear)
