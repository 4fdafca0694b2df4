"""Decay constants and change points of one curve with errors."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

if TYPE_CHECKING:
    from fringemap.records import Array, FloatArray

_LEAST_POINTS = 6
_DEGREE = 4
_LEAST_SEGMENT = 8
_MOST_POINTS = 300
_LEAST_SIGMA = 3.0
_LEAST_JUMP_SIGMA = 5.0
"""The best of many places is judged: a jump must exceed its error by more than a value measured once."""
_LEAST_GAIN = 3.0
_LEAST_FALL = 0.2
"""A curve that falls by less than this share over the frames has no decay constant worth naming."""
_CREDIBLE = 0.68


@dataclass(frozen=True)
class Decay:
    """An exponential decay."""

    constant: float
    """In this time the curve falls to 1/e."""
    sigma: float
    evidence: float
    """Log likelihood over that of a constant."""


@dataclass(frozen=True)
class Change:
    """A place where the course of a curve changes: point ``index`` is the first of the new course."""

    index: int
    first: int
    """The true place lies between these two with 68 % probability."""
    last: int
    evidence: float
    is_step: bool
    """The value jumps; otherwise its rate does."""
    value: float
    """Jump of ln(y), or of its derivative."""
    sigma: float


def fit_decay(x: FloatArray, y: FloatArray, sigma: FloatArray) -> Decay | None:
    """Fit ``y = A exp(-(x - x0) / τ)`` by weighted least squares.

    Returns
    -------
    Decay or None
        None with fewer than 6 points, where y does not fall by a fifth, or where a constant explains it nearly as
        well. No error counts as smaller than their median; all are enlarged by the root of chi-square over its degrees
        of freedom where that exceeds 1.
    """
    if len(x) < _LEAST_POINTS or np.ptp(x) <= 0:
        return None
    # A few points with very small errors must not outweigh all others: errors of areas are those of noise alone.
    sigma = np.maximum(sigma, float(np.median(sigma)))
    span = float(np.ptp(x))
    place = (x - x[0]) / span

    def model(t: FloatArray, amplitude: float, rate: float) -> FloatArray:
        # Growth by more than e^20 is never tried, so that nothing overflows.
        return np.asarray(amplitude * np.exp(-np.clip(rate, -20.0, 1e3) * t))

    start = (max(float(y[: _LEAST_POINTS // 2].mean()), 1e-30), 1.0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            best, covariance = curve_fit(model, place, y, p0=start, sigma=sigma, absolute_sigma=True, maxfev=2000)
    except (RuntimeError, OptimizeWarning):  # no convergence: nothing that resembles a decay
        return None
    chi2 = float((((y - model(place, *best)) / sigma) ** 2).sum())
    weight = 1.0 / sigma**2
    flat = float((weight * (y - (weight * y).sum() / weight.sum()) ** 2).sum())
    excess = max(chi2 / (len(x) - 2), 1.0)
    rate, error = float(best[1]), math.sqrt(float(covariance[1, 1]) * excess)
    evidence = 0.5 * (flat - chi2) / excess
    falls = 1.0 - math.exp(-max(rate, 0.0)) >= _LEAST_FALL
    if not (falls and rate > _LEAST_SIGMA * error and evidence > _LEAST_GAIN + 0.5 * math.log(len(x))):
        return None
    return Decay(span / rate, span * error / rate**2, evidence)


def find_changes(x: FloatArray, y: FloatArray, sigma: FloatArray) -> list[Change]:
    """Find the places where the course of a positive curve changes.

    Parameters
    ----------
    x, y, sigma
        The curve and its standard errors; points that are not positive are left out. More than 300 points are averaged
        in groups.

    Notes
    -----
    ln y is a quartic between changes: a decay, a growth that slows, and a constant need no change. The best partition
    of all comes from dynamic programming over the costs of all segments; each change must raise the log likelihood by
    3 + 3.5 ln n (five coefficients and a place). Errors are enlarged where neighbouring points scatter by more than
    they say. The interval holds 68 % of the likelihood of the place, its neighbours held fixed.
    """
    rows = np.flatnonzero(y > 0)
    group = max(-(-len(rows) // _MOST_POINTS), 1)
    rows = rows[: len(rows) // group * group]
    if len(rows) < 2 * _LEAST_SEGMENT * group or np.ptp(x[rows]) <= 0:
        return []
    curve = _Curve.of(*(values[rows].reshape(-1, group) for values in (x, y, sigma)))
    ends = _best_partition(curve)
    first_rows = rows.reshape(-1, group)[:, 0]
    found = [_change(curve, *three) for three in zip(ends[:-2], ends[1:-1], ends[2:], strict=True)]
    return [
        Change(
            int(first_rows[c.index]),
            int(first_rows[c.first]),
            int(first_rows[c.last]),
            c.evidence,
            c.is_step,
            c.value,
            c.sigma,
        )
        for c in found
        if c is not None
    ]


@dataclass(frozen=True)
class _Curve:
    """ln y with weights, and running sums from which any segment's quartic follows."""

    x: FloatArray
    span: float
    """Of the original axis to one of ``x``."""
    z: FloatArray
    weight: FloatArray
    moments: FloatArray
    """Sums of w x^k, k = 0..8, before each point; (n + 1, 9)."""
    products: FloatArray
    """Sums of w z x^k, k = 0..4; (n + 1, 5)."""
    squares: FloatArray
    """Sum of w z²; (n + 1,)."""

    @staticmethod
    def of(x: FloatArray, y: FloatArray, sigma: FloatArray) -> _Curve:
        weight = 1.0 / (sigma / y) ** 2
        total = weight.sum(axis=1)
        place, z = (x * weight).sum(axis=1) / total, (np.log(y) * weight).sum(axis=1) / total
        half = 0.5 * float(np.ptp(place))
        place = (place - place.min()) / half - 1.0
        z = z - z.mean()
        total = total / _excess_scatter(z, total)
        powers = place[:, None] ** np.arange(2 * _DEGREE + 1)
        return _Curve(
            x=place,
            span=half,
            z=z,
            weight=total,
            moments=_running(total[:, None] * powers),
            products=_running((total * z)[:, None] * powers[:, : _DEGREE + 1]),
            squares=_running(total * z**2),
        )

    def costs(self, starts: Array, ends: Array) -> FloatArray:
        """Half of chi-square of the best quartic of each segment."""
        matrix, right = self._normal(starts, ends)
        solution = np.linalg.solve(matrix, right[..., None])[..., 0]
        chi2 = self.squares[ends] - self.squares[starts] - (solution * right).sum(axis=-1)
        return np.asarray(0.5 * np.maximum(chi2, 0.0))

    def _normal(self, starts: Array, ends: Array) -> tuple[FloatArray, FloatArray]:
        moments = self.moments[ends] - self.moments[starts]
        matrix = moments[..., np.add.outer(np.arange(_DEGREE + 1), np.arange(_DEGREE + 1))]
        # A hair of weight on the coefficients keeps short segments solvable.
        return matrix + 1e-9 * moments[..., :1, None] * np.eye(_DEGREE + 1), self.products[ends] - self.products[starts]

    def at(self, start: int, end: int, x: float) -> tuple[FloatArray, FloatArray]:
        """Value and slope of a segment's quartic at x, and their covariance, (2, 2)."""
        matrix, right = self._normal(np.array([start]), np.array([end]))
        inverse = np.linalg.inv(matrix[0])
        k = np.arange(_DEGREE + 1)
        basis = np.stack([x**k, k * x ** np.maximum(k - 1, 0)])
        return basis @ inverse @ right[0], basis @ inverse @ basis.T


def _running(values: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])


def _excess_scatter(z: FloatArray, weight: FloatArray) -> float:
    """How much more neighbours differ than their errors say, as a factor on the variance, 1 or more."""
    second = z[:-2] - 2.0 * z[1:-1] + z[2:]
    variance = 1.0 / weight[:-2] + 4.0 / weight[1:-1] + 1.0 / weight[2:]
    return max(float(np.median(second**2 / variance)) / 0.455, 1.0)


def _best_partition(curve: _Curve) -> list[int]:
    """Ends of the segments, from 0 to n, with the least sum of costs and penalties."""
    n = len(curve.x)
    penalty = _LEAST_GAIN + 3.5 * math.log(n)
    best, before = np.full(n + 1, np.inf), np.zeros(n + 1, dtype=np.int64)
    best[0] = -penalty
    for end in range(_LEAST_SEGMENT, n + 1):
        starts = np.arange(0, end - _LEAST_SEGMENT + 1)
        total = best[starts] + penalty + curve.costs(starts, np.full(len(starts), end))
        before[end] = int(np.argmin(total))
        best[end] = total[before[end]]
    ends = [n]
    while ends[-1] > 0:
        ends.append(int(before[ends[-1]]))
    return ends[::-1]


def _change(curve: _Curve, start: int, middle: int, end: int) -> Change | None:
    """Judge one change between two others: its interval, and whether value or rate jumps."""
    places = np.arange(start + _LEAST_SEGMENT, end - _LEAST_SEGMENT + 1)
    ends = np.full(len(places), end)
    cost: FloatArray = curve.costs(np.full(len(places), start), places) + curve.costs(places, ends)
    first, last = _interval(-cost)
    whole = float(curve.costs(np.array([start]), np.array([end]))[0])
    is_step, value, sigma = _jump(curve, start, middle, end)
    if abs(value) < _LEAST_JUMP_SIGMA * sigma:
        return None
    return Change(middle, int(places[first]), int(places[last]), whole - float(cost.min()), is_step, value, sigma)


def _jump(curve: _Curve, start: int, middle: int, end: int) -> tuple[bool, float, float]:
    """Say whether value or slope jumps: the other is taken as continuous, whichever contradicts that less."""
    x = 0.5 * float(curve.x[middle - 1] + curve.x[middle])
    (before, spread_before), (after, spread_after) = curve.at(start, middle, x), curve.at(middle, end, x)
    jump, spread = after - before, spread_before + spread_after
    k = int(np.argmax(jump**2 / np.diag(spread)))
    other = 1 - k
    value = jump[k] - spread[k, other] / spread[other, other] * jump[other]
    variance = spread[k, k] - spread[k, other] ** 2 / spread[other, other]
    unit = 1.0 if k == 0 else 1.0 / curve.span
    return k == 0, unit * float(value), unit * math.sqrt(max(float(variance), 0.0))


def _interval(log_likelihood: FloatArray) -> tuple[int, int]:
    """Ends of the shortest set of places, taken in falling order, that holds 68 % of the likelihood."""
    probability = np.exp(log_likelihood - log_likelihood.max())
    order = np.argsort(-probability, kind="stable")
    held = np.cumsum(probability[order]) / probability.sum()
    chosen = order[: int(np.searchsorted(held, _CREDIBLE)) + 1]
    return int(chosen.min()), int(chosen.max())
