"""Found against true: which spots are right, how far off they are, and what the best possible measurement would be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.records import Flag
from fringemap.spectrum import bin_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fringemap.records import FloatArray, IntArray, Mask, Spots, TrueSpots, Truth

LEAST_SNR = 1.0
"""Weaker true spots do not exist for the judge: they neither merge with others nor disturb them."""
FLOOR_SNR = 2.5
"""A found spot is right if it sits on a true spot of at least this SNR."""
REACH_BINS, REACH_WIDTHS = 1.5, 0.7
"""A found spot sits on a true one within this many bins, or widths of the true spot, whichever is more."""
NEAR_WIDTHS, NEAR_BINS = 4.0, 8.0
"""A false spot is "beside" a true one within so many of its widths or bins."""

ERROR_ROW = np.dtype(
    [
        (name, float)
        for name in (
            "snr",
            "neighbour",
            "d_error",
            "d_sigma",
            "d_bound",
            "angle_error",
            "angle_sigma",
            "angle_bound",
            "flags",
        )
    ]
)
"""One measured spot: true SNR; distance of the next true spot [widths]; error, stated sigma and Cramér-Rao bound of
d [%] and of the angle [degrees]; flags."""


@dataclass(frozen=True)
class Targets:
    """What a finder can be asked for: true spots, those closer than a width merged into the strongest; m rows."""

    row: IntArray
    """Of the strongest member in ``Truth.spots``."""
    snr: FloatArray
    """Root of the sum of the members' squares."""
    asked: Mask
    """Between the limits of d."""
    merged: Mask
    """Has more than one member."""
    member: IntArray
    """Rows in ``Truth.spots`` of all members; (k,)."""
    member_target: IntArray
    """Row of each member's target; (k,)."""

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class Judged:
    """One analysed frame beside its truth."""

    true: TrueSpots
    targets: Targets
    spots: Spots
    target_of: IntArray
    """Target of each found spot, -1 if it is false; (n,)."""
    cause: tuple[str, ...]
    """What a false spot is near to, "" for a right one: "split", "beside", "sum", "streak" or "alone"; (n,)."""
    errors: np.ndarray
    """Of all right, refined spots that are a single true spot; rows of ``ERROR_ROW``."""

    @property
    def found(self) -> Mask:
        """Which targets were found."""
        mask = np.zeros(len(self.targets), bool)
        mask[self.target_of[self.target_of >= 0]] = True
        return mask


def make_targets(true: TrueSpots, *, d_limits: tuple[float, float]) -> Targets:
    """Merge true spots that no finder can tell apart: closer than the larger of their two widths, mates included.

    Spots up to 3 % outside the limits of d may be found but are not asked for.
    """
    d = 1.0 / np.hypot(true.gx, true.gy)
    usable = (true.snr >= LEAST_SNR) & (d > 0.97 * d_limits[0]) & (d < 1.03 * d_limits[1])
    member = np.flatnonzero(usable)
    member = member[np.argsort(-true.snr[member], kind="stable")]
    heads: list[int] = []
    target = np.zeros(len(member), np.int64)
    for k, i in enumerate(member):
        near = friedel_distance(true.gx[i], true.gy[i], true.gx[heads], true.gy[heads])
        same = np.flatnonzero(near < np.maximum(true.width[i], true.width[heads]))
        target[k] = same[0] if len(same) else len(heads)
        if not len(same):
            heads.append(int(i))
    row = np.array(heads, np.int64)
    energy = np.bincount(target, weights=true.snr[member] ** 2, minlength=len(row))
    asked = (d[row] >= d_limits[0]) & (d[row] <= d_limits[1])
    return Targets(row, np.sqrt(energy), asked, np.bincount(target, minlength=len(row)) > 1, member, target)


def friedel_distance(gx: float, gy: float, other_x: FloatArray, other_y: FloatArray) -> FloatArray:
    """Distance of one spot to others or their mates, whichever is nearer [1/Å]."""
    direct, mate = np.hypot(other_x - gx, other_y - gy), np.hypot(other_x + gx, other_y + gy)
    return np.minimum(direct, mate)


def judge(truth: Truth, spots: Spots, *, frame_shape: tuple[int, int], d_limits: tuple[float, float]) -> Judged:
    """Pair found spots with true ones, and measure how far off the right ones are."""
    targets = make_targets(truth.spots, d_limits=d_limits)
    target_of, cause = pair_spots(truth.spots, targets, spots, step=bin_size(frame_shape, truth.scale))
    errors = measure_errors(truth, spots, targets, target_of)
    return Judged(truth.spots, targets, spots, target_of, cause, errors)


def pair_spots(
    true: TrueSpots, targets: Targets, spots: Spots, *, step: tuple[float, float]
) -> tuple[IntArray, tuple[str, ...]]:
    """Pair found spots with targets, the most significant first; each target counts once.

    Parameters
    ----------
    step
        Distance of neighbouring bins along (gy, gx) [1/Å].

    Returns
    -------
    target_of
        Target of each found spot, -1 if it is false; (n,). It does not depend on less significant spots, so a list cut
        at a higher score has the same verdicts.
    cause
        What a false spot is near to, as in ``Judged``.
    """
    target_of = np.full(len(spots), -1, np.int64)
    cause = [""] * len(spots)
    for i in np.argsort(-spots.score, kind="stable"):
        near = _targets_at(float(spots.gx[i]), float(spots.gy[i]), true, targets, step)
        free = [t for t in near if t not in target_of]
        if free:
            target_of[i] = free[0]
        else:
            cause[i] = "split" if near else _why_false(i, spots, true, targets, step)
    return target_of, tuple(cause)


def _targets_at(gx: float, gy: float, true: TrueSpots, targets: Targets, step: tuple[float, float]) -> list[int]:
    """Targets with a member within reach, the nearest first."""
    member = targets.member[true.snr[targets.member] >= FLOOR_SNR]
    owner = targets.member_target[true.snr[targets.member] >= FLOOR_SNR]
    distance = _in_reaches(gx, gy, true.gx[member], true.gy[member], true.width[member], step)
    order = np.argsort(distance, kind="stable")
    return list(dict.fromkeys(int(owner[k]) for k in order if distance[k] <= 1.0))


def _in_reaches(
    gx: float, gy: float, true_x: FloatArray, true_y: FloatArray, width: FloatArray, step: tuple[float, float]
) -> FloatArray:
    """Distances over the reach of each true spot; at most 1 for a spot that sits on it."""
    nearest = np.full(len(true_x), np.inf)
    for sign in (1.0, -1.0):
        dx, dy = sign * true_x - gx, sign * true_y - gy
        bins, widths = np.hypot(dx / step[1], dy / step[0]), np.hypot(dx, dy) / width
        nearest = np.minimum(nearest, np.minimum(bins / REACH_BINS, widths / REACH_WIDTHS))
    return nearest


def _why_false(i: int, spots: Spots, true: TrueSpots, targets: Targets, step: tuple[float, float]) -> str:
    gx, gy = float(spots.gx[i]), float(spots.gy[i])
    strong = targets.row[targets.snr >= 5.0]
    near = np.maximum(NEAR_WIDTHS * true.width[strong], NEAR_BINS * max(step))
    if np.any(friedel_distance(gx, gy, true.gx[strong], true.gy[strong]) < near):
        return "beside"
    if _is_sum(gx, gy, true, strong, step):
        return "sum"
    return "streak" if spots.flags[i] & Flag.ON_STREAK else "alone"


def _is_sum(gx: float, gy: float, true: TrueSpots, strong: IntArray, step: tuple[float, float]) -> bool:
    """At g1 + g2 or g1 - g2 of two strong spots, or at 2 g of one: what clipped or second-order contrast makes."""
    for sign in (1.0, -1.0):
        x = true.gx[strong][:, None] + sign * true.gx[strong]
        y = true.gy[strong][:, None] + sign * true.gy[strong]
        width = np.maximum(true.width[strong][:, None], true.width[strong])
        if np.any(_in_reaches(gx, gy, x.ravel(), y.ravel(), width.ravel(), step) <= 1.0):
            return True
    return False


def position_covariance(mask: Mask, pixel_size: tuple[float, float]) -> FloatArray:
    """Covariance of the places (y, x) of a mask's pixels [Å²]; (2, 2)."""
    y = np.arange(mask.shape[0]) * pixel_size[0]
    x = np.arange(mask.shape[1]) * pixel_size[1]
    n = max(int(np.count_nonzero(mask)), 1)
    down, across = mask.sum(axis=1) / n, mask.sum(axis=0) / n
    mean_y, mean_x = float(down @ y), float(across @ x)
    var_y, var_x = float(down @ (y - mean_y) ** 2), float(across @ (x - mean_x) ** 2)
    mixed = float((y - mean_y) @ (mask @ (x - mean_x))) / n
    return np.array([[var_y, mixed], [mixed, var_x]])


def wave_bound(snr: float, covariance: FloatArray) -> FloatArray:
    """Cramér-Rao bound of the covariance of (gy, gx) of a plane wave in a known region [1/Å²]; (2, 2).

    Notes
    -----
    ``A cos(2π g·r + φ)`` in N pixels with white noise of variance σ² has, with φ unknown, the Fisher matrix
    ``J = (2π)² (A² N / 2 σ²) Cov(r)``, Cov(r) being that of the places of the pixels. Along one axis the standard error
    is therefore ``sqrt(σ² / (2 π² A² N var(x)))``. The SNR of a spot is ``A sqrt(N / 2) / σ``, so that the bound is
    ``Cov(r)⁻¹ / (2π SNR)²``: only the SNR and the shape of the region matter. For a full square of side L,
    var(x) = L²/12, which gives ``sqrt(24) / (2π) · σ / (A sqrt(N))`` bins. For noise that is not white, σ² is the noise
    power of a bin at the spot over the number of pixels; that is how the simulation defines the SNR.

    References
    ----------
    .. [1] D. C. Rife and R. R. Boorstyn, IEEE Trans. Inf. Theory 20 (1974) 591, doi:10.1109/TIT.1974.1055282.
    """
    inverse = np.asarray(np.linalg.inv(covariance), np.float64)
    return inverse / (2 * np.pi * snr) ** 2


def measure_errors(truth: Truth, spots: Spots, targets: Targets, target_of: IntArray) -> np.ndarray:
    """Errors of all right, refined spots that are a single true spot of one grain; rows of ``ERROR_ROW``."""
    true = truth.spots
    grains = {int(true.grain[targets.row[t]]) for t in target_of if t >= 0} - {-1}
    covariances = {g: position_covariance(truth.masks[g], truth.scale.pixel_size_angstrom) for g in grains}
    rows = []
    for i in np.flatnonzero((target_of >= 0) & np.isfinite(spots.covariance).all(axis=(1, 2))):
        target = int(target_of[i])
        t = int(targets.row[target])
        if targets.merged[target] or true.grain[t] < 0:
            continue
        bound = wave_bound(float(true.snr[t]), covariances[int(true.grain[t])])
        neighbour = _nearest_other(true, targets, target)
        rows.append((true.snr[t], neighbour, *_errors_of(spots, int(i), true, t, bound), spots.flags[i]))
    return np.array(rows, ERROR_ROW)


def _nearest_other(true: TrueSpots, targets: Targets, target: int) -> float:
    """Distance of the next target, in widths of the wider of both."""
    t, others = targets.row[target], np.delete(targets.row, target)
    distance = friedel_distance(true.gx[t], true.gy[t], true.gx[others], true.gy[others])
    return float(np.min(distance / np.maximum(true.width[others], true.width[t]), initial=np.inf))


def _errors_of(spots: Spots, i: int, true: TrueSpots, t: int, bound: FloatArray) -> tuple[float, ...]:
    """Error, sigma and bound of d [%] and of the angle [degrees]."""
    g = float(np.hypot(true.gx[t], true.gy[t]))
    along = np.array([true.gy[t], true.gx[t]]) / g
    across = np.array([along[1], -along[0]])
    turn = float(spots.angle[i]) - float(np.arctan2(true.gy[t], true.gx[t]))
    turn -= np.pi * np.round(turn / np.pi)
    return (
        100 * float(spots.d_spacing[i] * g - 1),
        100 * float(spots.d_sigma[i] / spots.d_spacing[i]),
        100 * float(np.sqrt(along @ bound @ along)) / g,
        float(np.degrees(turn)),
        float(np.degrees(spots.angle_sigma[i])),
        float(np.degrees(np.sqrt(across @ bound @ across))) / g,
    )


def join_errors(judged: Iterable[Judged]) -> np.ndarray:
    """Errors of several frames."""
    return np.concatenate([np.zeros(0, ERROR_ROW), *(j.errors for j in judged)])
