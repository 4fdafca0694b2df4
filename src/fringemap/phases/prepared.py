"""What a list of phases can show, made ready to be searched once for all frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fringemap.phases.decoys import make_decoy_cells
from fringemap.phases.resemblance import Resemblance, measure_resemblance
from fringemap.phases.seeds import SeedIndex, join_tables, no_seeds
from fringemap.phases.singles import make_ring_set
from fringemap.phases.zones import ZoneTable, build_zone_table, scale_zone_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.phases.singles import RingSet
    from fringemap.records import Reflections


@dataclass(frozen=True)
class Prepared:
    """What a list of phases can show, ready to be searched."""

    index: SeedIndex
    """Of all references that have a structure."""
    decoys: SeedIndex
    """Of the decoys of each."""
    resemblance: Resemblance
    """How common pairs of spots are among both."""
    rings: tuple[RingSet, ...]
    """Of each reference."""


def prepare(references: Sequence[Reflections], *, n_decoys: int) -> Prepared:
    """Gather zones, seeds and rings of all references, with ``n_decoys`` decoys of each that has a structure.

    The result is kept for the next frame with the same references.
    """
    return _prepare(tuple(_Same(reflections, _identity(reflections)) for reflections in references), n_decoys)


@lru_cache(maxsize=8)
def _prepare(same: tuple[_Same, ...], n_decoys: int) -> Prepared:
    index, decoys = _build(same, 0), _build(same, n_decoys) if n_decoys else no_seeds()
    rings = tuple(make_ring_set(one.reflections) for one in same)
    return Prepared(index, decoys, measure_resemblance([index, decoys] if n_decoys else [index]), rings)


@dataclass(frozen=True)
class _Same:
    """Reflections that compare by what they hold."""

    reflections: Reflections = field(compare=False)
    identity: tuple[object, ...]


def _identity(reflections: Reflections) -> tuple[object, ...]:
    columns = (reflections.hkl, reflections.d_spacing, reflections.multiplicity, reflections.intensity)
    return reflections.phase, reflections.structure, *(column.tobytes() for column in columns)


@lru_cache(maxsize=512)
def _table(same: _Same) -> ZoneTable | None:
    """Table of a structure; None if no two of its reflections span a zone."""
    if same.reflections.structure is None or len(same.reflections) == 0:
        return None
    table = build_zone_table(same.reflections)
    return table if len(table.uvw) else None


def _decoys(same: _Same, table: ZoneTable, n_decoys: int, start: int) -> list[ZoneTable]:
    assert same.reflections.structure is not None  # it has a table
    return [
        scale_zone_table(table, cell) for cell in make_decoy_cells(same.reflections.structure, n_decoys, start=start)
    ]


@lru_cache(maxsize=8)
def _build(same: tuple[_Same, ...], n_decoys: int) -> SeedIndex:
    """Index of the structures themselves, or of decoys if any are wanted."""
    known = [(number, one, table) for number, one in enumerate(same) if (table := _table(one)) is not None]
    if not known:
        return no_seeds()
    begins = np.cumsum([0] + [len(table.shown) for _, _, table in known])
    rows = []
    for (number, one, table), begin in zip(known, begins, strict=False):
        tables = _decoys(one, table, n_decoys, number * n_decoys) if n_decoys else [table]
        rows += [(number, int(begin), made) for made in tables]
    return join_tables(rows, np.concatenate([table.shown for _, _, table in known]))
