"""Measure spots whose fringes do not form one coherent wave: several grains, bent or strained lattices.

Their power is a speckle under a smooth hump. The hump is fitted by maximum likelihood for exponentially distributed
power (Whittle's likelihood), so that the stated error covers what the speckle leaves open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.spectrum import read_block

if TYPE_CHECKING:
    from fringemap.records import Array, Diffractogram, Mask
    from fringemap.spots.candidates import Candidates

_BLOCK_WIDTHS = 1.3
_LEAST_HALF = 5
# Wide humps are fitted on cells of several bins, at most this many along each axis.
_MOST_CELLS = 25
_ITERATIONS = 30
_FURTHEST = 1.5
_HEIGHT, _ROW, _COL, _LOG_ROW, _LOG_COL = range(5)


@dataclass(frozen=True)
class Hump:
    """A fitted hump of power, in bins of the half spectrum."""

    row: float
    col: float
    covariance: Array
    """Of (row, col) [bins²]; (2, 2)."""
    width: tuple[float, float]
    """Full width at half maximum along (row, col) [bins]."""
    energy: float
    """Power of the whole hump [counts²]."""


@dataclass(frozen=True)
class _Cells:
    power: Array
    """Mean power of each cell [counts²]."""
    background: Array
    row: Array
    col: Array
    shape: float
    """Of the gamma law of a cell."""
    own: Mask
    """Cells that are nearer to this spot than to any other."""
    area: float
    """Bins in a cell."""


def fit_hump(diffractogram: Diffractogram, candidates: Candidates, index: int) -> Hump | None:
    """Fit an elliptical Gaussian hump to the power around one candidate; None if the fit leaves its spot.

    References
    ----------
    .. [1] P. Whittle, Ark. Mat. 2 (1953) 423, doi:10.1007/BF02590998.
    """
    cells = _cut_cells(diffractogram, candidates, index)
    if np.count_nonzero(cells.own) < 12:
        return None
    start = _first_guess(cells, candidates, index)
    parameters, fisher = _score(cells, start)
    row, col = parameters[_ROW], parameters[_COL]
    reach = _FURTHEST * max(float(candidates.width[index]), 1.5)
    away = math.hypot(row - candidates.row[index], col - candidates.col[index])
    if not np.isfinite(parameters).all() or away > reach or parameters[_HEIGHT] <= 0:
        return None
    covariance = np.linalg.pinv(fisher)[_ROW : _COL + 1, _ROW : _COL + 1]
    sigma_row, sigma_col = np.exp(parameters[[_LOG_ROW, _LOG_COL]])
    return Hump(
        row=float(row),
        col=float(col),
        covariance=covariance,
        width=(2.355 * float(sigma_row), 2.355 * float(sigma_col)),
        energy=float(2 * np.pi * parameters[_HEIGHT] * sigma_row * sigma_col),
    )


def _cut_cells(diffractogram: Diffractogram, candidates: Candidates, index: int) -> _Cells:
    row, col, width = (float(a[index]) for a in (candidates.row, candidates.col, candidates.width))
    half = max(math.ceil(_BLOCK_WIDTHS * width), _LEAST_HALF)
    side = max(1, math.ceil((2 * half + 1) / _MOST_CELLS))
    n = (2 * half + 1) // side
    start = (round(row) - half, round(col) - half)
    power, background = (
        read_block(half_image, diffractogram.frame_shape[1], start=start, shape=(n * side, n * side))
        .reshape(n, side, n, side)
        .mean(axis=(1, 3), dtype=np.float64)
        for half_image in (diffractogram.power, diffractogram.background)
    )
    middle = np.arange(n) * side + (side - 1) / 2
    rows, cols = (middle + start[0])[:, None], (middle + start[1])[None, :]
    own = _nearest_to(rows, cols, candidates, index)
    return _Cells(power, background, rows, cols, side**2 * diffractogram.noise_shape, own, float(side**2))


def _nearest_to(rows: Array, cols: Array, candidates: Candidates, index: int) -> Mask:
    """Cells nearer to one spot than to any other or its mate, in their widths."""
    own = np.hypot(rows - candidates.row[index], cols - candidates.col[index]) / candidates.width[index]
    nearest = np.ones(own.shape, bool)
    for other in range(len(candidates)):
        for sign in (1, -1):
            if other == index and sign == 1:
                continue
            distance = np.hypot(rows - sign * candidates.row[other], cols - sign * candidates.col[other])
            nearest &= own <= distance / candidates.width[other]
    return nearest


def _first_guess(cells: _Cells, candidates: Candidates, index: int) -> Array:
    sigma = max(float(candidates.width[index]) * 0.55, 0.6)
    row, col = float(candidates.row[index]), float(candidates.col[index])
    near = cells.own & (np.hypot(cells.row - row, cells.col - col) <= 1.2 * sigma + cells.area**0.5 / 2)
    excess = cells.power - cells.background
    height = float(excess[near].mean()) * 1.3 if near.any() else float(excess.max())
    floor = 0.2 * float(cells.background.mean())
    return np.array([max(height, floor), row, col, math.log(sigma), math.log(sigma)])


def _hump(cells: _Cells, p: Array) -> tuple[Array, Array]:
    """Expected power of each cell and its derivatives; (n, n) and (5, n, n)."""
    u = (cells.row - p[_ROW]) / math.exp(p[_LOG_ROW])
    v = (cells.col - p[_COL]) / math.exp(p[_LOG_COL])
    unit = np.exp(-0.5 * (u**2 + v**2))
    hump = p[_HEIGHT] * unit
    slopes = np.stack(
        [unit, hump * u / math.exp(p[_LOG_ROW]), hump * v / math.exp(p[_LOG_COL]), hump * u**2, hump * v**2]
    )
    return cells.background + hump, slopes


def _score(cells: _Cells, start: Array) -> tuple[Array, Array]:
    """Fisher scoring with halved steps where the likelihood falls; parameters and Fisher matrix."""
    p, loss = start, _loss(cells, start)
    damping = 1e-3
    # A hump wider than its block is background, and an exponential must not overflow.
    widest = math.log(2.0 * (float(np.ptp(cells.row)) + 1.0))
    fisher = np.eye(5)
    for _ in range(_ITERATIONS):
        expected, slopes = _hump(cells, p)
        weight = np.where(cells.own, cells.shape / expected**2, 0.0)
        fisher = np.einsum("iab,jab,ab->ij", slopes, slopes, weight)
        gradient = np.einsum("iab,ab->i", slopes, weight * (cells.power - expected))
        damped = fisher + np.diag(damping * np.diag(fisher) + 1e-12 * np.diag(fisher).max() + 1e-300)
        trial = p + np.linalg.solve(damped, gradient)
        trial[[_LOG_ROW, _LOG_COL]] = np.clip(trial[[_LOG_ROW, _LOG_COL]], math.log(0.35), widest)
        trial_loss = _loss(cells, trial)
        if trial[_HEIGHT] > 0 and trial_loss < loss:
            gain, p, loss, damping = loss - trial_loss, trial, trial_loss, damping / 5
            if gain < 1e-4:
                break
        else:
            damping *= 10
            if damping > 1e6:
                break
    return p, fisher


def _loss(cells: _Cells, p: Array) -> float:
    if p[_HEIGHT] <= 0:
        return math.inf
    expected, _ = _hump(cells, p)
    return float(cells.shape * np.sum((np.log(expected) + cells.power / expected)[cells.own]))
