"""The seeds of many structures or of their decoys, sorted so that those near a pair of spots are found at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.strength import OFFSETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.phases.zones import ZoneTable
    from fringemap.records import FloatArray, IntArray

RATIO_BIN = 0.03
ANGLE_BIN = 0.03
LENGTH_BIN = 0.05
"""Sides of the cells that seeds are sorted into: about as far as a query reaches."""

MAX_PAIRS = 600
MAX_CELLS = 8
MAX_FINDS = 400_000
"""Bounds on a search: pairs, cells to either side, and seeds in all the cells. They hold a search below 100 MB."""

_ANGLES = math.ceil(0.5 * math.pi / ANGLE_BIN) + 3
_BELOW = 4
_SHORTEST = -6.0
_LENGTHS = math.ceil((2.0 - _SHORTEST) / LENGTH_BIN)
"""Cells in the angle, of ratios below 1 (near-ties are kept in both orders), and in log |g|, |g| in 1/Å; those of the
ratio are as many as the seeds need."""


@dataclass(frozen=True)
class SeedIndex:
    """Zones and seeds of all tables in one row."""

    references: IntArray
    """Of each table, which of the references it is or mocks; (n_tables,)."""
    table: IntArray
    """Table of each zone; (n_zones,)."""
    uvw: IntArray
    basis_hkl: IntArray
    basis: FloatArray
    log_prior: FloatArray
    miss: FloatArray
    """(n_kinds, n_zones, n_bins)."""
    g_max: FloatArray
    """(n_zones,)."""
    place_steps: IntArray
    """Steps in ``shown`` along the two basis vectors of a zone; (n_zones, 2)."""
    place_origin: IntArray
    shown: FloatArray
    """Probability of showing, of all structures in one row; decoys look up their parents'."""
    log_shown: FloatArray
    """Log of the odds of each place in ``shown``; -inf where nothing shows."""
    zone: IntArray
    """Of each seed; (n_seeds,), sorted by cell as all that follow."""
    points: FloatArray
    log_g: FloatArray
    log_ratio: FloatArray
    angle: FloatArray
    constant: FloatArray
    """Log prior of the seed's zone and log odds of showing its two reflections."""
    begin: IntArray
    """Row of the first seed of each cell; cells of one ratio and angle follow each other in log |g|; (n_cells + 1,)."""

    def __len__(self) -> int:
        return len(self.references)

    def place(self, zone: IntArray, points: FloatArray) -> IntArray:
        """Tell where in ``shown`` the lattice points of zones are; (n,) for (n,) and (n, 2)."""
        step = np.rint(points[:, 0] * self.place_steps[zone, 0] + points[:, 1] * self.place_steps[zone, 1])
        place: IntArray = np.clip(self.place_origin[zone] + step.astype(np.int64), 0, len(self.shown) - 1)
        return place

    def find(self, features: FloatArray, reach: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
        """Find the seeds near pairs of spots, at most ``MAX_FINDS`` of them: the last pairs go without.

        Parameters
        ----------
        features
            Mean log |g|, log ratio of |g| and angle [rad] of each pair; (n_pairs, 3).
        reach
            How far a seed may lie; (n_pairs, 3).

        Returns
        -------
        IntArray, IntArray, FloatArray
            Row of the pair and row of the seed of each find, and features of the pair less those of the seed; (n,),
            (n,), (3, n).
        """
        features, reach = features[:MAX_PAIRS], reach[:MAX_PAIRS]
        low_ratio, wide_ratio = _cells(features[:, 1], reach[:, 1], RATIO_BIN)
        low_angle, wide_angle = _cells(features[:, 2], reach[:, 2], ANGLE_BIN)
        of_ratio, of_angle = np.arange(wide_ratio.max(initial=0)), np.arange(wide_angle.max(initial=0))
        ratio = (low_ratio[:, None] + of_ratio + _BELOW)[:, :, None]
        angle = (low_angle[:, None] + of_angle)[:, None, :]
        valid = (of_ratio < wide_ratio[:, None])[:, :, None] & (of_angle < wide_angle[:, None])[:, None, :]
        valid &= (ratio >= 0) & (angle >= 0) & (angle < _ANGLES) & (ratio < len(self.begin) // (_ANGLES * _LENGTHS))
        pair, *at = np.nonzero(valid)
        cell = (ratio[pair, at[0], 0] * _ANGLES + angle[pair, 0, at[1]]) * _LENGTHS
        low = self.begin[cell + _length_cell(features[:, 0] - reach[:, 0])[pair]]
        count = self.begin[cell + _length_cell(features[:, 0] + reach[:, 0])[pair] + 1] - low
        total = np.cumsum(count)
        count[np.searchsorted(total, MAX_FINDS, side="right") :] = 0
        seed = np.arange(int(count.sum())) + np.repeat(low - (total - count), count)
        pair = np.repeat(pair, count)
        off_length = features[pair, 0] - self.log_g[seed]
        close = np.abs(off_length) <= reach[pair, 0]
        seed, pair = seed[close], pair[close]
        off_ratio, off_angle = features[pair, 1] - self.log_ratio[seed], features[pair, 2] - self.angle[seed]
        near = (np.abs(off_ratio) <= reach[pair, 1]) & (np.abs(off_angle) <= reach[pair, 2])
        return pair[near], seed[near], np.stack([off_length[close][near], off_ratio[near], off_angle[near]])


def join_tables(rows: Sequence[tuple[int, int, ZoneTable]], shown: FloatArray) -> SeedIndex:
    """Put tables in one row, each with the number of its reference and where its structure begins in ``shown``."""
    tables = [table for _, _, table in rows]
    n_zones = [len(table.uvw) for table in tables]
    first_zone = np.cumsum([0, *n_zones])
    zone = np.concatenate([table.zone + begin for table, begin in zip(tables, first_zone, strict=False)])
    log_g, log_ratio, angle, points = (
        np.concatenate([getattr(table, name) for table in tables]) for name in ("log_g", "log_ratio", "angle", "points")
    )
    order, begin_of_cell = _sort_into_cells(log_g, log_ratio, angle)
    steps = np.concatenate([table.basis_hkl @ table.strides for table in tables])
    n_bins = max(table.miss.shape[2] for table in tables)
    with np.errstate(divide="ignore"):
        log_shown = np.log(shown) - np.log1p(-shown)
    index = SeedIndex(
        references=np.array([number for number, _, _ in rows]),
        table=np.repeat(np.arange(len(tables)), n_zones),
        uvw=np.concatenate([table.uvw for table in tables]),
        basis_hkl=np.concatenate([table.basis_hkl for table in tables]),
        basis=np.concatenate([table.basis for table in tables]),
        log_prior=np.concatenate([table.log_prior for table in tables]),
        miss=np.concatenate([_padded(table.miss, n_bins) for table in tables], axis=1),
        g_max=np.repeat([table.g_max for table in tables], n_zones),
        place_steps=steps,
        place_origin=np.repeat([begin + table.origin for _, begin, table in rows], n_zones),
        shown=shown,
        log_shown=log_shown,
        zone=zone[order],
        points=points[order].astype(np.float64),
        log_g=log_g[order],
        log_ratio=log_ratio[order],
        angle=angle[order],
        constant=np.empty(0),
        begin=begin_of_cell,
    )
    constant = index.log_prior[index.zone]
    for side in (0, 1):
        constant = constant + log_shown[index.place(index.zone, index.points[:, side])]
    return replace(index, constant=constant)


def _sort_into_cells(log_g: FloatArray, log_ratio: FloatArray, angle: FloatArray) -> tuple[IntArray, IntArray]:
    """Order of the seeds cell by cell, and the row of the first seed of each cell; (n_seeds,), (n_cells + 1,)."""
    ratio_cell = np.floor(log_ratio / RATIO_BIN).astype(np.int64) + _BELOW
    cell = ratio_cell * _ANGLES + np.floor(angle / ANGLE_BIN).astype(np.int64)
    cell = cell * _LENGTHS + _length_cell(log_g)
    order = np.argsort(cell, kind="stable")
    n_cells = (int(ratio_cell.max(initial=0)) + 1) * _ANGLES * _LENGTHS
    return order, np.searchsorted(cell[order], np.arange(n_cells + 1))


def _cells(feature: FloatArray, reach: FloatArray, width: float) -> tuple[IntArray, IntArray]:
    """First cell within reach of each pair, and how many there are, at most ``MAX_CELLS`` to either side."""
    middle = np.floor(feature / width).astype(np.int64)
    low = np.maximum(np.floor((feature - reach) / width).astype(np.int64), middle - MAX_CELLS)
    high = np.minimum(np.floor((feature + reach) / width).astype(np.int64), middle + MAX_CELLS)
    return low, high - low + 1


def _length_cell(log_g: FloatArray) -> IntArray:
    cell: IntArray = np.clip(np.floor((log_g - _SHORTEST) / LENGTH_BIN), 0, _LENGTHS - 1).astype(np.int64)
    return cell


def _padded(table: FloatArray, width: int) -> FloatArray:
    return np.pad(table, ((0, 0), (0, 0), (0, width - table.shape[2])))


def no_seeds() -> SeedIndex:
    """Index of no table at all."""
    whole, real = np.empty(0, np.int64), np.empty(0)
    return SeedIndex(
        references=whole,
        table=whole,
        uvw=whole.reshape(0, 3),
        basis_hkl=whole.reshape(0, 2, 3),
        basis=real.reshape(0, 2, 2),
        log_prior=real,
        miss=real.reshape(len(OFFSETS), 0, 0),
        g_max=real,
        place_steps=whole.reshape(0, 2),
        place_origin=whole,
        shown=real,
        log_shown=real,
        zone=whole,
        points=real.reshape(0, 2, 2),
        log_g=real,
        log_ratio=real,
        angle=real,
        constant=real,
        begin=np.zeros(_ANGLES * _LENGTHS + 1, np.int64),
    )
