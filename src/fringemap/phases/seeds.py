"""The seeds of many structures and their decoys, sorted so that those near a pair of spots are found at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.decoys import make_decoy_cells
from fringemap.phases.zones import ZoneTable, build_zone_table, scale_zone_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import FloatArray, IntArray, Reflections

RATIO_BIN = 0.03
ANGLE_BIN = 0.03
"""Sides of the cells that seeds are sorted into: about as far as a query reaches."""

MAX_PAIRS = 600
MAX_CELLS = 8
MAX_FINDS = 400_000
"""Bounds on a search: pairs, cells to either side, and seeds in all the cells. They hold a search below 100 MB."""

_MARGIN = 16
_ANGLES = math.ceil(math.pi / ANGLE_BIN) + 2 * _MARGIN
_OFFSET = 8.0
_SPAN = 16.0
"""log |g| + offset lies within (0, span): cell number x span + that is one sorted key."""


@dataclass(frozen=True)
class SeedIndex:
    """Zones and seeds of all tables in one row, real structures first."""

    references: IntArray
    """Of each table, which of the references it is or mocks; (n_tables,)."""
    n_real: int
    """The first tables; the others are decoys."""
    table: IntArray
    """Table of each zone; (n_zones,)."""
    uvw: IntArray
    basis_hkl: IntArray
    basis: FloatArray
    log_prior: FloatArray
    miss: FloatArray
    """(n_zones, n_bins)."""
    g_max: FloatArray
    """(n_zones,)."""
    place_steps: IntArray
    """Steps in ``shown`` along the two basis vectors of a zone; (n_zones, 2)."""
    place_origin: IntArray
    shown: FloatArray
    """Probability of showing, of all structures in one row; decoys look up their parents'."""
    zone: IntArray
    """Of each seed; (n_seeds,), sorted by ``key`` as all that follow."""
    points: FloatArray
    log_g: FloatArray
    log_ratio: FloatArray
    angle: FloatArray
    key: FloatArray

    def place(self, zone: IntArray, points: FloatArray) -> IntArray:
        """Tell where in ``shown`` the lattice points of zones are; (n,) for (n,) and (n, 2)."""
        step = np.rint(points[:, 0] * self.place_steps[zone, 0] + points[:, 1] * self.place_steps[zone, 1])
        place: IntArray = np.clip(self.place_origin[zone] + step.astype(np.int64), 0, len(self.shown) - 1)
        return place

    def find(self, features: FloatArray, reach: FloatArray) -> tuple[IntArray, IntArray]:
        """Find the seeds near pairs of spots, at most ``MAX_FINDS`` of them: the last pairs go without.

        Parameters
        ----------
        features
            Mean log |g|, log ratio of |g| and angle [rad] of each pair; (n_pairs, 3).
        reach
            How far a seed may lie; (n_pairs, 3).

        Returns
        -------
        IntArray, IntArray
            Row of the pair and row of the seed of each find.
        """
        features, reach = features[:MAX_PAIRS], reach[:MAX_PAIRS]
        ratio_cell = np.floor(features[:, 1] / RATIO_BIN).astype(np.int64)
        angle_cell = np.floor(features[:, 2] / ANGLE_BIN).astype(np.int64)
        wide = np.ceil(reach.max(axis=0, initial=0.0) / (1.0, RATIO_BIN, ANGLE_BIN)).astype(int)
        wide = np.minimum(wide, MAX_CELLS)
        step = np.array([(r, a) for r in range(-wide[1], wide[1] + 1) for a in range(-wide[2], wide[2] + 1)])
        cell = _cell(ratio_cell[:, None] + step[:, 0], angle_cell[:, None] + step[:, 1]) * _SPAN + _OFFSET
        low = np.searchsorted(self.key, cell + (features[:, 0] - reach[:, 0])[:, None])
        count = np.searchsorted(self.key, cell + (features[:, 0] + reach[:, 0])[:, None], side="right") - low
        count[np.cumsum(count.sum(axis=1)) > MAX_FINDS] = 0
        pair = np.repeat(np.repeat(np.arange(len(features)), len(step)), count.ravel())
        begin = np.cumsum(count.ravel()) - count.ravel()
        seed = np.arange(int(count.sum())) + np.repeat(low.ravel() - begin, count.ravel())
        near = np.abs(self.log_ratio[seed] - features[pair, 1]) <= reach[pair, 1]
        near &= np.abs(self.angle[seed] - features[pair, 2]) <= reach[pair, 2]
        return pair[near], seed[near]


def build_seed_index(references: Sequence[Reflections], *, n_decoys: int) -> SeedIndex:
    """Gather the zones and seeds of all references that have a structure, and of ``n_decoys`` decoys of each.

    The result is kept for the next frame with the same references.
    """
    return _build(tuple(_Same(reflections, _identity(reflections)) for reflections in references), n_decoys)


@dataclass(frozen=True)
class _Same:
    """Reflections that compare by what they hold."""

    reflections: Reflections = field(compare=False)
    identity: tuple[object, ...]


def _identity(reflections: Reflections) -> tuple[object, ...]:
    return reflections.phase, reflections.structure, reflections.hkl.tobytes(), reflections.intensity.tobytes()


@lru_cache(maxsize=512)
def _tables(same: _Same, n_decoys: int, start: int) -> tuple[ZoneTable, ...]:
    """Tables of a structure and of its decoys; none if no two of its reflections span a zone."""
    structure = same.reflections.structure
    if structure is None or len(same.reflections) == 0:
        return ()
    table = build_zone_table(same.reflections)
    if len(table.uvw) == 0:
        return ()
    cells = make_decoy_cells(structure, n_decoys, start=start)
    return table, *(scale_zone_table(table, cell) for cell in cells)


@lru_cache(maxsize=8)
def _build(same: tuple[_Same, ...], n_decoys: int) -> SeedIndex:
    families = [(number, _tables(one, n_decoys, number * n_decoys)) for number, one in enumerate(same)]
    families = [(number, tables) for number, tables in families if tables]
    if not families:
        return _empty()
    shown_begin = np.cumsum([0] + [len(tables[0].shown) for _, tables in families])
    rows = [
        (number, int(begin), tables[copy])
        for copy in range(n_decoys + 1)
        for (number, tables), begin in zip(families, shown_begin, strict=False)
    ]
    return _join(rows, np.concatenate([tables[0].shown for _, tables in families]), len(families))


def _join(rows: Sequence[tuple[int, int, ZoneTable]], shown: FloatArray, n_real: int) -> SeedIndex:
    tables = [table for _, _, table in rows]
    n_zones = [len(table.uvw) for table in tables]
    first_zone = np.cumsum([0, *n_zones])
    zone = np.concatenate([table.zone + begin for table, begin in zip(tables, first_zone, strict=False)])
    log_g, log_ratio, angle, points = (
        np.concatenate([getattr(table, name) for table in tables]) for name in ("log_g", "log_ratio", "angle", "points")
    )
    cell = _cell(np.floor(log_ratio / RATIO_BIN).astype(np.int64), np.floor(angle / ANGLE_BIN).astype(np.int64))
    key = cell * _SPAN + _OFFSET + log_g
    order = np.argsort(key, kind="stable")
    steps = np.concatenate([table.basis_hkl @ table.strides for table in tables])
    n_bins = max(table.miss.shape[1] for table in tables)
    return SeedIndex(
        references=np.array([number for number, _, _ in rows]),
        n_real=n_real,
        table=np.repeat(np.arange(len(tables)), n_zones),
        uvw=np.concatenate([table.uvw for table in tables]),
        basis_hkl=np.concatenate([table.basis_hkl for table in tables]),
        basis=np.concatenate([table.basis for table in tables]),
        log_prior=np.concatenate([table.log_prior for table in tables]),
        miss=np.concatenate([_padded(table.miss, n_bins) for table in tables]),
        g_max=np.repeat([table.g_max for table in tables], n_zones),
        place_steps=steps,
        place_origin=np.repeat([begin + table.origin for _, begin, table in rows], n_zones),
        shown=shown,
        zone=zone[order],
        points=points[order].astype(np.float64),
        log_g=log_g[order],
        log_ratio=log_ratio[order],
        angle=angle[order],
        key=key[order],
    )


def _cell(ratio: IntArray, angle: IntArray) -> IntArray:
    cell: IntArray = (ratio + _MARGIN) * _ANGLES + angle + _MARGIN
    return cell


def _padded(table: FloatArray, width: int) -> FloatArray:
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))


def _empty() -> SeedIndex:
    whole, real = np.empty(0, np.int64), np.empty(0)
    return SeedIndex(
        references=whole,
        n_real=0,
        table=whole,
        uvw=whole.reshape(0, 3),
        basis_hkl=whole.reshape(0, 2, 3),
        basis=real.reshape(0, 2, 2),
        log_prior=real,
        miss=real.reshape(0, 0),
        g_max=real,
        place_steps=whole.reshape(0, 2),
        place_origin=whole,
        shown=real,
        zone=whole,
        points=real.reshape(0, 2, 2),
        log_g=real,
        log_ratio=real,
        angle=real,
        key=real,
    )
