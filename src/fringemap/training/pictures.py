"""Pictures of diffractograms, as other programs show them, brought to the scale of a pattern.

What is assumed: grey is a linear function of the logarithm of power (or of 1 + amplitude, far above 1), in every ring
about the centre more than half of the pixels are noise, and noise spreads alike in all rings. Then the median of a ring
is the logarithm of its background, and the common median deviation tells how many grey levels make a factor e: the
logarithm of an exponential number deviates by 0.767 from its median, ln ln 2. What comes out is power over background
as in a diffractogram, and is scored by the same laws; the shape of the law of means is measured, since pictures are
often smoothed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import scipy.ndimage

from fringemap.errors import SettingsError
from fringemap.spots.noise import measure_noise_law
from fringemap.spots.pattern import complete, score_whitened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fringemap.records import Array, FloatArray, Image, Mask

Layout = Literal["full", "left", "right"]
"""Zero frequency at (rows // 2, cols // 2); or only the half left or right of that, as in the paper's half model."""

Number = TypeVar("Number", bound=np.generic)

_LOG_MEDIAN = float(np.log(np.log(2)))
_LOG_DEVIATION = 0.767
_MOST_LOG = 20.0
_MEAN_SIDE = 5
_RING_REACH = 1


def cut_half(picture: NDArray[Number], layout: Layout) -> tuple[NDArray[Number], int]:
    """Half of a shown diffractogram in the layout of a pattern: odd rows, centred; gx >= 0 to the right.

    Returns
    -------
    half
        (n_rows, n_cols).
    first_col
        The first column that was in the picture: 1 for a left half, whose column gx = 0 is missing (and holds 0 here).

    Raises
    ------
    SettingsError
        The picture is smaller than 16 pixels either way.
    """
    if min(picture.shape) < 16:
        raise SettingsError(f"A picture of {picture.shape} px is too small for a diffractogram; give 16 px or more.")
    middle = picture.shape[0] // 2
    reach = picture.shape[0] - 1 - middle
    rows = picture[middle - reach : middle + reach + 1]
    if layout == "left":
        mates = rows[::-1, ::-1]
        return np.concatenate([np.zeros((len(rows), 1), picture.dtype), mates], axis=1), 1
    return rows[:, picture.shape[1] // 2 if layout == "full" else 0 :], 0


def score_picture(half: Image, valid: Mask) -> Image:
    """Channels of a pattern from half a shown diffractogram; (3, n_rows, n_cols), 0 where not valid.

    Parameters
    ----------
    half
        As ``cut_half`` makes it; bright where there is power.
    valid
        Where there is a diffractogram: the centre and what was cut off are left out.
    """
    whitened = _whiten(half, valid)
    brightest = score_whitened(whitened, shape=1.0)
    whole = complete(whitened, _MEAN_SIDE // 2)
    means = scipy.ndimage.uniform_filter(whole, _MEAN_SIDE, mode="constant", cval=1.0)[:, _MEAN_SIDE // 2 :]
    mean, shape = measure_noise_law(means[valid], independent_shape=float(_MEAN_SIDE**2))
    mean_score = score_whitened(means / np.float32(mean), shape=shape)
    # The background is the same all around a ring: the mean is over its calm already.
    image: Image = np.stack([brightest, mean_score, mean_score]) * valid
    return image


def radius_of(shape: tuple[int, ...]) -> FloatArray:
    """Distance of each pixel of a half from zero frequency [px]."""
    rows = np.arange(shape[0]) - shape[0] // 2
    radius: FloatArray = np.hypot(rows[:, None], np.arange(shape[1]))
    return radius


def _whiten(half: Image, valid: Mask) -> Image:
    """Power over background; 1 outside."""
    above = half - _ring_medians(half, valid)
    deviation = float(np.median(np.abs(above[valid])))
    if not deviation > 0:
        raise SettingsError(
            "The picture is flat: more than half of its pixels hold the same grey; give a diffractogram."
        )
    log_power = above * (_LOG_DEVIATION / deviation) + _LOG_MEDIAN
    whitened = np.exp(np.minimum(log_power, _MOST_LOG))
    return np.where(valid, whitened, 1.0).astype(np.float32)


def _ring_medians(half: Image, valid: Mask) -> Array:
    """Median of each pixel's ring and its neighbours."""
    ring = np.rint(radius_of(half.shape)).astype(int)
    medians = np.zeros(ring.max() + 1)
    for radius in np.unique(ring[valid]):
        medians[radius] = np.median(half[valid & (np.abs(ring - radius) <= _RING_REACH)])
    smoothed: Array = medians[ring]
    return smoothed
