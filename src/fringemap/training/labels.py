"""Where the spots of a pattern are: ellipses at their true places, as large as their half maximum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.special

from fringemap.training.samples import PatternSpots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fringemap.records import FloatArray, Image, Mask, Truth
    from fringemap.spots.pattern import Pattern

LEAST_RADIUS_PX = 1.5
"""A spot's label covers at least the 3 x 3 pixels around it: wherever it lies between pixels, it lights up to 2 x 2 of
them, and 3 x 3 leave something for the overlap that the loss measures."""

# Full width at half maximum of a spot times the standard deviation of the grain along the same direction: 0.256 for a
# square, 0.257 for a disc.
_WIDTH_TIMES_SPREAD = 0.256
# Share of a spot's energy within its half maximum.
_WITHIN_HALF_MAXIMUM = 0.5
# A spot counts as there if the pattern shows this much over its whole place or, where that is few pixels, in one of
# them: among many pixels noise alone has one as bright.
_LEAST_MEAN_SCORE = 0.5
_LEAST_BRIGHTEST_SCORE, _FEW_PIXELS = 2.0, 25
_MOST_MASK_PIXELS = 128


@dataclass(frozen=True)
class Visibility:
    """When a true spot is looked for, ignored, or left to the background."""

    visible_tail: float = 1e-4
    """Looked for, if noise makes a place as bright as the spot is expected to be with less than this probability."""
    ignored_tail: float = 0.05
    """Ignored between the two; above, a spot is no brighter than its surroundings and counts as background."""
    least_rise: float = 1.0
    """Of a visible spot, a pixel is asked for where the spot is expected to rise above the background by at least so
    many standard deviations of a bin's noise; fainter ones within its half maximum are ignored. 0: all are asked for.
    Outside the half maximum all is background: what is ignored there, a network marks, and no outline is right."""


@dataclass(frozen=True)
class Ellipses:
    """Half-maximum ellipses of spots in pixels of a pattern, n rows: x^T form x <= 1 with x = (row, col) - centre."""

    row: FloatArray
    col: FloatArray
    form: FloatArray
    """(n, 2, 2) [1/px²]."""

    def take(self, rows: Mask) -> Ellipses:
        """Those marked."""
        return Ellipses(self.row[rows], self.col[rows], self.form[rows])

    @property
    def width(self) -> FloatArray:
        """Twice the geometric mean of the half axes [px]."""
        width: FloatArray = 2 * np.linalg.det(self.form) ** -0.25
        return width


def true_ellipses(truth: Truth, pattern: Pattern) -> Ellipses:
    """Half-maximum ellipses of all true spots: long where their grain is narrow.

    Notes
    -----
    The width along a direction follows from the spread of the grain's mask along it, for compact grains of any shape.
    Moiré has no mask of its own; its spots are round.
    """
    spots = truth.spots
    step_y, step_x = pattern.step
    row, col = spots.gy / step_y + pattern.zero_row, spots.gx / step_x
    round_form = (2 / spots.width[:, None, None]) ** 2 * np.eye(2)
    form = round_form.copy()
    for grain in np.unique(spots.grain[spots.grain >= 0]):
        spread = _spread(truth.masks[grain], truth.scale.pixel_size_angstrom)
        if spread is not None:
            form[spots.grain == grain] = spread * (2 / _WIDTH_TIMES_SPREAD) ** 2
    step = np.array([step_y, step_x])
    return Ellipses(row, col, form * step[:, None] * step)


def _spread(mask: Mask, pixel_size_angstrom: tuple[float, float]) -> FloatArray | None:
    """Covariance of the places (y, x) in a mask [Å²]; None if it is empty."""
    strides = tuple(max(n // _MOST_MASK_PIXELS, 1) for n in mask.shape)
    thinned = mask[:: strides[0], :: strides[1]]
    places = np.argwhere(thinned) * (np.array(strides) * pixel_size_angstrom)
    if len(places) < 2:
        return None
    # A pixel has a spread of its own.
    own = np.diag((np.array(strides) * pixel_size_angstrom) ** 2 / 12)
    spread: FloatArray = np.cov(places.T, bias=True) + own
    return spread


def expected_tail(snr: FloatArray, n_bins: FloatArray) -> FloatArray:
    """Probability that noise makes as many bins on average as bright as a spot is expected to make them.

    Parameters
    ----------
    snr
        As in ``Spots``: sqrt(2 excess energy / noise power of a bin); (n,).
    n_bins
        Bins within the half maximum; (n,).
    """
    n = np.maximum(n_bins, 1.0)
    tail: FloatArray = scipy.special.gammaincc(n, n + _WITHIN_HALF_MAXIMUM * snr**2 / 2)
    return tail


def expected_rise(snr: FloatArray, form: FloatArray) -> FloatArray:
    """Power of a spot's middle over the noise of a bin, if it is a Gaussian in its ellipse.

    Parameters
    ----------
    snr
        As in ``Spots``; (n,).
    form
        Half-maximum ellipses [1/bin²]; (n, 2, 2).
    """
    n_bins = np.pi / np.sqrt(np.linalg.det(form)) if len(form) else np.ones(0)
    rise: FloatArray = np.log(2) * snr**2 / 2 / n_bins
    return rise


def label_pattern(
    truth: Truth, pattern: Pattern, *, visibility: Visibility, n_averaged: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], PatternSpots]:
    """Label and weight of each pixel, and the list of spots that are looked for or ignored.

    Parameters
    ----------
    n_averaged
        Frames whose power was averaged: the noise of a bin spreads less by its root.

    Notes
    -----
    A spot is visible if noise alone hardly makes its place as bright as it is expected to be, and if there is anything
    at its place indeed: a stronger neighbour, a streak or a JPEG picture may have swallowed it.
    """
    ellipses, snr = true_ellipses(truth, pattern), truth.spots.snr
    n_bins = np.pi / 4 * ellipses.width**2 * (pattern.factor[0] * pattern.factor[1])
    tail = expected_tail(snr * np.sqrt(n_averaged), np.maximum(n_bins, 1.0) * n_averaged)
    listed = (tail < visibility.ignored_tail) & is_within(ellipses.row, ellipses.col, pattern.valid)
    ellipses, snr, tail = ellipses.take(listed), snr[listed], tail[listed]
    form = _at_least(ellipses.form, LEAST_RADIUS_PX)
    visible = (tail < visibility.visible_tail) & _is_there(Ellipses(ellipses.row, ellipses.col, form), pattern.image)
    spots = PatternSpots(ellipses.row, ellipses.col, ellipses.width, snr, visible)
    label, weight = paint_labels(spots, form, pattern.valid)
    if visibility.least_rise > 0:
        bins = _at_least(ellipses.form / np.outer(pattern.factor, pattern.factor), LEAST_RADIUS_PX)
        rise = expected_rise(snr, bins) * np.sqrt(n_averaged) / visibility.least_rise
        weight &= (label == 0) | _rising(spots, form, rise, pattern.valid.shape)
    return label, weight, spots


def _rising(spots: PatternSpots, form: FloatArray, rise: FloatArray, shape: tuple[int, ...]) -> Mask:
    """Pixels where a visible spot rises above 1; ``rise`` is that of its middle."""
    rising = np.zeros(shape, bool)
    for i in np.flatnonzero(spots.visible & (rise > 1.0)):
        # A Gaussian of peak p is above 1 within sqrt(log2 p) half widths.
        within = form[i] / np.log2(rise[i])
        for row, col in _both(float(spots.row[i]), float(spots.col[i]), shape[0] // 2):
            window, inside = ellipse_pixels(row, col, within, shape)
            rising[window] |= inside
    return rising


def paint_labels(spots: PatternSpots, form: FloatArray, valid: Mask) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Paint the ellipses of spots, and of those mates that reach beyond the axis gx = 0, onto label and weight."""
    label, weight = np.zeros(valid.shape, np.uint8), valid.astype(np.uint8)
    for shown in (False, True):
        for row, col, own, visible in zip(spots.row, spots.col, form, spots.visible, strict=True):
            if visible != shown:
                continue
            for at_row, at_col in _both(row, col, len(valid) // 2):
                window, inside = ellipse_pixels(at_row, at_col, own, valid.shape)
                if shown:
                    label[window] |= inside
                    weight[window] |= inside
                else:
                    weight[window] &= ~inside
    label *= valid
    weight *= valid
    return label, weight


def _both(row: float, col: float, middle: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """A place and that of its mate."""
    return (row, col), (2 * middle - row, -col)


def ellipse_pixels(
    row: float, col: float, form: FloatArray, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], Mask]:
    """Window of a pattern that an ellipse touches, and the pixels inside it."""
    reach = np.sqrt(np.diag(np.linalg.inv(form)))
    low = np.maximum(np.ceil(np.array([row, col]) - reach), 0).astype(int)
    high = np.minimum(np.floor(np.array([row, col]) + reach) + 1, shape).astype(int)
    high = np.maximum(high, low)
    dy, dx = (np.arange(first, end) - at for first, end, at in zip(low, high, (row, col), strict=True))
    dy = dy[:, None]
    inside: Mask = form[0, 0] * dy**2 + 2 * form[0, 1] * dy * dx + form[1, 1] * dx**2 <= 1
    return (slice(low[0], high[0]), slice(low[1], high[1])), inside


def is_within(row: FloatArray, col: FloatArray, valid: Mask) -> Mask:
    """Whether the nearest pixel exists and spots are looked for there."""
    rows, cols = np.rint(row).astype(int), np.rint(col).astype(int)
    inside = (rows >= 0) & (cols >= 0) & (rows < valid.shape[0]) & (cols < valid.shape[1])
    within: Mask = inside & valid[np.where(inside, rows, 0), np.where(inside, cols, 0)]
    return within


def round_forms(width: FloatArray, step: tuple[float, float]) -> FloatArray:
    """Forms of spots that are round in reciprocal space, none smaller than the least radius; (n, 2, 2).

    Parameters
    ----------
    width
        In the units of ``step``; (n,).
    step
        Distance of neighbouring pixels along rows and columns; the spots of an oblong frame are oblong in its pattern.
    """
    half_axes = np.maximum(width[:, None] / 2 / np.array(step), LEAST_RADIUS_PX)
    form: FloatArray = half_axes[:, :, None] ** -2.0 * np.eye(2)
    return form


def _at_least(form: FloatArray, radius: float) -> FloatArray:
    """The same ellipses with no half axis below a radius."""
    if not len(form):
        return form
    values, vectors = np.linalg.eigh(form)
    values = np.minimum(values, radius**-2)
    limited: FloatArray = np.einsum("nij,nj,nkj->nik", vectors, values, vectors)
    return limited


def _is_there(ellipses: Ellipses, image: Image) -> Mask:
    """Whether the pattern shows anything at the place of each spot."""
    there = np.zeros(len(ellipses.row), bool)
    for i, (row, col, form) in enumerate(zip(ellipses.row, ellipses.col, ellipses.form, strict=True)):
        window, inside = ellipse_pixels(row, col, form, image.shape[1:])
        if inside.any():
            brightest, mean = (channel[window][inside] for channel in image[:2])
            few = brightest.size <= _FEW_PIXELS
            there[i] = mean.mean() > _LEAST_MEAN_SCORE or (few and brightest.max() > _LEAST_BRIGHTEST_SCORE)
    return there
