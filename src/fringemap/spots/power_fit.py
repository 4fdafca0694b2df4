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
from fringemap.spots.fringes import take

if TYPE_CHECKING:
    from fringemap.records import Array, Diffractogram, Image, IntArray, Mask
    from fringemap.spots.candidates import Candidates

_BLOCK_WIDTHS = 1.3
_LEAST_HALF = 5
# Wide humps are fitted on cells of several bins, at most this many along each axis.
_MOST_CELLS = 25
_ITERATIONS = 30
_FURTHEST = 1.5
_LEAST_GAIN = 1e-4
_MOST_DAMPING = 1e6
_FEWEST_CELLS = 12
_HEIGHT, _ROW, _COL = range(3)
_PLACE, _LOG_SIZE = slice(1, 3), slice(3, 5)


@dataclass(frozen=True)
class Humps:
    """Fitted humps of power, n rows, in bins of the half spectrum."""

    row: Array
    col: Array
    covariance: Array
    """Of (row, col) [bins²]; (n, 2, 2)."""
    width: Array
    """Full width at half maximum along (row, col) [bins]; (n, 2)."""
    energy: Array
    """Power of the whole hump [counts²]; (n,)."""
    ok: Mask
    """The fit converged on the spot that the detector saw."""


@dataclass(frozen=True)
class _Cells:
    """Cells of bins around n spots, padded to one size."""

    power: Array
    """Mean power of each cell [counts²]; (n, k, k)."""
    background: Array
    """The same of the background; its mean where there is no cell."""
    place: Array
    """Of the rows and the columns of cells [bins]; (n, 2, k)."""
    shape: Array
    """Of the gamma law of a cell, 0 for cells that are nearer to another spot, and for padding; (n, k, k)."""
    side: Array
    """Bins along each side of a cell; (n,)."""
    extent: Array
    """From the first to the last cell [bins]; (n,)."""


def fit_humps(diffractogram: Diffractogram, candidates: Candidates, chosen: IntArray) -> Humps:
    """Fit an elliptical Gaussian hump to the power around each of the chosen candidates, in the order given.

    References
    ----------
    .. [1] P. Whittle, Ark. Mat. 2 (1953) 423, doi:10.1007/BF02590998.
    """
    cells = _cut_cells(diffractogram, candidates, chosen)
    parameters, fisher = _score(cells, _first_guesses(cells, candidates.take(chosen)))
    row, col, sigma = parameters[:, _ROW], parameters[:, _COL], np.exp(parameters[:, _LOG_SIZE])
    reach = _FURTHEST * np.maximum(candidates.width[chosen], 1.5)
    away = np.hypot(row - candidates.row[chosen], col - candidates.col[chosen])
    enough = np.count_nonzero(cells.shape, axis=(1, 2)) >= _FEWEST_CELLS
    finite = np.isfinite(parameters).all(axis=1)
    return Humps(
        row=row,
        col=col,
        covariance=np.linalg.pinv(fisher)[:, _PLACE, _PLACE],
        width=2.355 * sigma,
        energy=2 * np.pi * parameters[:, _HEIGHT] * sigma.prod(axis=1),
        ok=enough & finite & (away <= reach) & (parameters[:, _HEIGHT] > 0),
    )


def _cut_cells(diffractogram: Diffractogram, candidates: Candidates, chosen: IntArray) -> _Cells:
    half = np.maximum(np.ceil(_BLOCK_WIDTHS * candidates.width[chosen]), _LEAST_HALF).astype(int)
    side = np.ceil((2 * half + 1) / _MOST_CELLS).astype(int)
    n = (2 * half + 1) // side
    start = np.rint([candidates.row[chosen], candidates.col[chosen]]).astype(int).T - half[:, None]
    most = int(n.max(initial=1))
    place = start[:, :, None] + np.arange(most) * side[:, None, None] + ((side - 1) / 2)[:, None, None]
    power, background, shape = np.zeros((3, len(chosen), most, most))
    for k, i in enumerate(chosen):
        inner = (k, slice(n[k]), slice(n[k]))
        power[inner], background[inner] = (
            _means(image, diffractogram.frame_shape[1], start[k], int(n[k]), int(side[k]))
            for image in (diffractogram.power, diffractogram.background)
        )
        background[k][background[k] == 0] = background[inner].mean()
        own = _nearest_to(place[k, :, : n[k]], candidates, int(i))
        shape[inner] = np.where(own, side[k] ** 2 * diffractogram.noise_shape, 0.0)
    return _Cells(power, background, place, shape, side, (n - 1) * side)


def _means(half_image: Image, n_cols: int, start: IntArray, n: int, side: int) -> Array:
    """Means of n x n cells of some bins; (n, n)."""
    block = read_block(half_image, n_cols, start=(int(start[0]), int(start[1])), shape=(n * side, n * side))
    means: Array = block.reshape(n, side, n, side).mean(axis=(1, 3), dtype=np.float64)
    return means


def _nearest_to(place: Array, candidates: Candidates, index: int) -> Mask:
    """Cells nearer to one spot than to any other or its mate, in their widths; (k, k)."""
    spots = np.stack([candidates.row, candidates.col, candidates.width], axis=1)
    mates = spots * (-1.0, -1.0, 1.0)
    others = np.concatenate([np.delete(spots, index, axis=0), mates])
    own = spots[index]
    # No cell is nearer to a spot that lies further away than this.
    reach = np.hypot(*np.ptp(place, axis=1)) * (1 + others[:, 2] / own[2])
    others = others[np.hypot(others[:, 0] - own[0], others[:, 1] - own[1]) < reach]
    scaled = (place - np.concatenate([own[None], others])[:, :2, None]) / np.append(own[2], others[:, 2])[:, None, None]
    distance = (scaled[:, 0] ** 2)[:, :, None] + (scaled[:, 1] ** 2)[:, None, :]
    nearest: Mask = (distance[0] <= distance).all(axis=0)
    return nearest


def _first_guesses(cells: _Cells, candidates: Candidates) -> Array:
    sigma = np.maximum(candidates.width * 0.55, 0.6)
    away = cells.place - np.stack([candidates.row, candidates.col], axis=1)[:, :, None]
    distance = np.sqrt((away[:, 0] ** 2)[:, :, None] + (away[:, 1] ** 2)[:, None, :])
    near = (cells.shape > 0) & (distance <= (1.2 * sigma + cells.side / 2)[:, None, None])
    excess, n_near = cells.power - cells.background, near.sum(axis=(1, 2))
    mean = np.sum(excess * near, axis=(1, 2)) / np.maximum(n_near, 1)
    height = np.where(n_near > 0, 1.3 * mean, excess.max(axis=(1, 2), initial=0.0))
    floor = 0.2 * cells.background.mean(axis=(1, 2))
    log_sigma = np.log(sigma)
    return np.stack([np.maximum(height, floor), candidates.row, candidates.col, log_sigma, log_sigma], axis=1)


def _expect(cells: _Cells, p: Array) -> tuple[Array, Array, Array]:
    """Expected power of each cell and the hump in it, (n, k, k) each, and places in standard deviations, (n, 2, k)."""
    scaled = (cells.place - p[:, _PLACE, None]) / np.exp(p[:, _LOG_SIZE, None])
    along = np.exp(-0.5 * scaled**2)
    hump = p[:, _HEIGHT, None, None] * along[:, 0, :, None] * along[:, 1, None, :]
    return cells.background + hump, hump, scaled


def _slopes(hump: Array, scaled: Array, p: Array) -> Array:
    """Derivatives of the expected power by each parameter; (n, 5, k, k)."""
    u, v = scaled[:, 0, :, None], scaled[:, 1, None, :]
    sigma = np.exp(p[:, _LOG_SIZE])[:, :, None, None]
    unit = hump / p[:, _HEIGHT, None, None]
    return np.stack([unit, hump * u / sigma[:, 0], hump * v / sigma[:, 1], hump * u**2, hump * v**2], axis=1)


def _score(cells: _Cells, start: Array) -> tuple[Array, Array]:
    """Fisher scoring of all spots at once, with shorter steps where the likelihood falls.

    Returns
    -------
    parameters, fisher
        (n, 5) and (n, 5, 5).
    """
    p, active, damping = start.copy(), np.arange(len(start)), np.full(len(start), 1e-3)
    fisher = np.zeros((len(start), 5, 5))
    loss = _loss(cells, p)
    for _ in range(_ITERATIONS):
        if len(active) == 0:
            break
        fisher[active], gradient = _fisher(cells, p[active])
        trial = _damped_step(p[active], fisher[active], gradient, damping, cells)
        trial_loss = _loss(cells, trial)
        gain = loss[active] - trial_loss
        better = gain > 0
        p[active[better]], loss[active[better]] = trial[better], trial_loss[better]
        damping = np.where(better, damping / 5, damping * 10)
        moving = np.flatnonzero(np.where(better, gain >= _LEAST_GAIN, damping <= _MOST_DAMPING))
        if len(moving) < len(active):
            active, damping, cells = active[moving], damping[moving], take(cells, moving)
    return p, fisher


def _fisher(cells: _Cells, p: Array) -> tuple[Array, Array]:
    """Fisher matrix (n, 5, 5) and gradient (n, 5) of the log likelihood."""
    expected, hump, scaled = _expect(cells, p)
    slopes = _slopes(hump, scaled, p).reshape(len(p), 5, -1)
    weight = (cells.shape / expected**2).reshape(len(p), 1, -1)
    weighted = slopes * weight
    gradient = weighted @ (cells.power - expected).reshape(len(p), -1, 1)
    return weighted @ slopes.transpose(0, 2, 1), gradient[..., 0]


def _damped_step(p: Array, fisher: Array, gradient: Array, damping: Array, cells: _Cells) -> Array:
    diagonal = np.diagonal(fisher, axis1=1, axis2=2)
    lift = damping[:, None] * diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300
    trial: Array = p + np.linalg.solve(fisher + lift[:, :, None] * np.eye(5), gradient[..., None])[..., 0]
    # A hump wider than its block is background, and an exponential must not overflow.
    widest = np.log(2.0 * (cells.extent + 1.0))[:, None]
    trial[:, _LOG_SIZE] = np.clip(trial[:, _LOG_SIZE], math.log(0.35), widest)
    return trial


def _loss(cells: _Cells, p: Array) -> Array:
    """Minus the log likelihood, infinite for a hollow; (n,)."""
    expected, _, _ = _expect(cells, np.where(p[:, [_HEIGHT]] > 0, p, np.abs(p)))
    loss = np.sum(cells.shape * (np.log(expected) + cells.power / expected), axis=(1, 2))
    return np.where(p[:, _HEIGHT] > 0, loss, np.inf)
