"""All zones of a structure in flat tables, made once and searched often.

A zone is a plane lattice: two reciprocal vectors in hkl and in the plane, and for each lattice point the probability
that a grain shows it. A seed is a pair of strong reflections of one zone; two observed spots with the lengths and the
angle of a seed fix phase, zone and rotation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from fringemap.phases.cif import space_group
from fringemap.phases.lattice import lattice_points, reciprocal_basis
from fringemap.phases.strength import log_hidden

if TYPE_CHECKING:
    from fringemap.phases.lattice import Cell
    from fringemap.records import FloatArray, IntArray, Mask, Reflections, Structure

SHOWN_AT_MOST = 0.45
"""Probability that an ordinary grain shows its strongest reflection, where nobody knows the transfer function; what
``strength`` calls an ordinary grain lies between its kinds."""


SHOWN_POWER = 0.3
"""The probability falls with this power of the intensity: contrast transfer and thickness hide and lift reflections."""

ZONE_POWER = 2.5
"""A zone is noticed by this power of the number of spots that it shows: two are needed, and more make it stand out."""

SHOWN_BELOW = 0.08
"""Probability that a grain shows a reflection that is allowed but weaker than the smallest of the list."""

SHOWN_WEAK = 0.03
"""The same for a reflection that only double diffraction shows."""

SEED_D_MIN = 1.15
"""Smallest d of a seed's reflections [Å]: a grain that shows two spots shows them here first."""


FOLD = math.radians(4.0)
"""Seeds this near to 90 degrees are kept with both signs: a measured angle may lie on the other side."""

SWAP = 0.05
"""Seeds whose lengths differ by less than this share are kept in both orders."""

MAX_SEED_FAMILIES = 32
FEWEST_SEEDS = 100
MAX_ZONES = 200
MAX_SEED_REFLECTIONS = 14
"""Bounds on what a large cell may claim: families that define zones (more where symmetry leaves them few members),
zones, and reflections of a zone in its seeds."""

BOX_MARGIN = 1.35
"""The box of hkl reaches so much beyond the largest |g|: a spot is looked up before anyone knows whether it fits."""

MISS_BIN = 0.02
"""Step in |g| of the table of misses [1/Å]."""


@dataclass(frozen=True)
class ZoneTable:
    """Zones and seeds of one cell: n_zones rows, n_seeds rows."""

    phase: str
    uvw: IntArray
    """(n_zones, 3)."""
    basis_hkl: IntArray
    """Two shortest vectors of each zone's plane lattice, turning clockwise as seen along [uvw]; (n_zones, 2, 3)."""
    basis: FloatArray
    """The same in the plane, the first along x [1/Å]; (n_zones, 2, 2), a vector a row."""
    log_prior: FloatArray
    """Of the zone and of a rotation per radian, given that a grain of the phase is seen; (n_zones,)."""
    miss: FloatArray
    """Sum of ``log_hidden`` over one of each Friedel pair, in bins of |g|; (n_kinds, n_zones, n_bins)."""
    zone: IntArray
    """Zone of each seed; (n_seeds,)."""
    points: IntArray
    """The two reflections in units of ``basis``; (n_seeds, 2, 2), a reflection a row."""
    n_originals: int
    """The first seeds; the others are their copies in the other order or with the other sign."""
    log_g: FloatArray
    """Mean of log |g| of the two; (n_seeds,)."""
    log_ratio: FloatArray
    """log of second over first |g|; (n_seeds,)."""
    angle: FloatArray
    """Between the two [rad]; (n_seeds,)."""
    shown: FloatArray
    """Probability that a grain shows hkl, flat over a box of hkl, 0 off the lattice; (n_box,)."""
    strides: IntArray
    """hkl @ strides + origin is the place of hkl in ``shown``."""
    origin: int
    g_max: float
    """Largest |g| that the tables know [1/Å]."""


def build_zone_table(reflections: Reflections) -> ZoneTable:
    """List zones and seeds of a structure.

    Parameters
    ----------
    reflections
        Families of a phase with a structure, at least one.

    Returns
    -------
    ZoneTable
        Zones that two reflections with d above ``SEED_D_MIN`` span, the likeliest first, at most ``MAX_ZONES``.

    Notes
    -----
    A random grain lies near a zone in proportion to the number of its equivalent axes, and is the better noticed the
    more spots it shows; both together make the prior. A structure with many zones has little for each: this
    is the penalty for large cells that fit anything.
    """
    structure = reflections.structure
    assert structure is not None  # tables of d-spacings have no zones
    rotations = _laue_rotations(structure)
    box = _Box.around(structure.cell, float(reflections.d_spacing.min()))
    half = _half_of_lattice(structure, 1.0 / box.g_max)
    table = _probability_of_showing(reflections, rotations, box, half)
    shown = table[box.place(half)]
    length = np.linalg.norm(half @ reciprocal_basis(structure.cell).T, axis=1)
    seeds = _seed_reflections(length, shown)
    uvw, weight = _zones_of(half[seeds], shown[seeds], rotations)
    inside = _in_plane(half, uvw)
    basis_hkl = _plane_basis(half, inside, uvw)
    symmetry = _plane_symmetry(basis_hkl, uvw, rotations)
    zone, first, second = _pairs(half, inside, seeds, shown, rotations)
    return _with_metric(
        ZoneTable(
            phase=reflections.phase,
            uvw=uvw,
            basis_hkl=basis_hkl,
            basis=np.empty((len(uvw), 2, 2)),
            log_prior=np.log(weight) + np.log(symmetry / (4.0 * math.pi)),
            miss=_misses(inside, shown, length),
            zone=zone,
            points=_in_basis(np.stack([half[first], half[second]], axis=1), basis_hkl[zone]),
            n_originals=len(zone),
            log_g=np.empty(0),
            log_ratio=np.empty(0),
            angle=np.empty(0),
            shown=table,
            strides=box.strides,
            origin=box.origin,
            g_max=box.g_max,
        ),
        structure.cell,
    )


def scale_zone_table(table: ZoneTable, cell: Cell) -> ZoneTable:
    """Make the table of another cell of the same symmetry: the same zones, other lengths and angles."""
    n = table.n_originals
    return _with_metric(replace(table, zone=table.zone[:n], points=table.points[:n]), cell)


def standard_zone(structure: Structure, uvw: IntArray, hkl: IntArray) -> tuple[IntArray, IntArray]:
    """Turn a zone axis and reflections of its zone into the equivalent that is written by convention.

    Of all axes that a rotation of the Laue class makes of [uvw], the one with the fewest negative indices; among these
    the smallest in the order of u, v, w. The reflections are turned along, so that no angle and no handedness changes.

    Parameters
    ----------
    structure
        Its symmetry matters.
    uvw
        (3,).
    hkl
        (n, 3).

    Returns
    -------
    IntArray, IntArray
        The same, in the standard setting.
    """
    axes = _equivalent_axes(structure, uvw)
    first = _first_by_convention(axes)
    return axes[first], hkl @ _laue_rotations(structure)[first]


def one_of_all(structure: Structure, uvw: IntArray) -> tuple[int, int, int]:
    """Choose one zone axis of all that show the same pattern or its mirror image.

    Parameters
    ----------
    structure
        Its symmetry matters.
    uvw
        (3,).
    """
    axes = _equivalent_axes(structure, uvw)
    both = np.concatenate([axes, -axes])
    u, v, w = both[_first_by_convention(both)].tolist()
    return u, v, w


def _equivalent_axes(structure: Structure, uvw: IntArray) -> IntArray:
    """What each rotation of the Laue class makes of an axis; (n, 3)."""
    inverses = np.rint(np.linalg.inv(_laue_rotations(structure))).astype(np.int64)
    axes: IntArray = inverses @ uvw
    return axes


def _first_by_convention(axes: IntArray) -> int:
    """Row of the axis with the fewest negative indices, among these of the smallest in the order of u, v, w."""
    return int(np.lexsort((axes[:, 2], axes[:, 1], axes[:, 0], (axes < 0).sum(axis=1)))[0])


def _with_metric(table: ZoneTable, cell: Cell) -> ZoneTable:
    """Fill in the lengths and angles; order each seed by |g|, fold it to an acute angle, add near-ties both ways."""
    reciprocal = reciprocal_basis(cell)
    vectors = table.basis_hkl @ reciprocal.T
    length = np.linalg.norm(vectors, axis=2)
    cosine = np.sum(vectors[:, 0] * vectors[:, 1], axis=1) / (length[:, 0] * length[:, 1])
    basis = np.zeros((len(vectors), 2, 2))
    basis[:, 0, 0] = length[:, 0]
    basis[:, 1, 0] = length[:, 1] * cosine
    basis[:, 1, 1] = length[:, 1] * np.sqrt(1.0 - cosine**2)
    zone, points = _folded(table.zone, table.points, basis)
    g = points @ basis[zone]
    g_length = np.linalg.norm(g, axis=2)
    inner = np.sum(g[:, 0] * g[:, 1], axis=1) / (g_length[:, 0] * g_length[:, 1])
    return replace(
        table,
        basis=basis,
        zone=zone,
        points=points,
        log_g=np.log(g_length).mean(axis=1),
        log_ratio=np.log(g_length[:, 1] / g_length[:, 0]),
        angle=np.arccos(np.clip(inner, -1.0, 1.0)),
    )


def _folded(zone: IntArray, points: IntArray, basis: FloatArray) -> tuple[IntArray, IntArray]:
    g = points @ basis[zone]
    length = np.linalg.norm(g, axis=2)
    points = np.where((length[:, 0] > length[:, 1])[:, None, None], points[:, ::-1], points)
    inner = np.sum(g[:, 0] * g[:, 1], axis=1)
    points = np.stack([points[:, 0], np.where(inner < 0.0, -1, 1)[:, None] * points[:, 1]], axis=1)
    near = np.abs(inner) < np.sin(FOLD) * length[:, 0] * length[:, 1]
    other_side = np.stack([points[near, 0], -points[near, 1]], axis=1)
    zone, points = np.concatenate([zone, zone[near]]), np.concatenate([points, other_side])
    length = np.linalg.norm(points @ basis[zone], axis=2)
    tie = np.abs(np.log(length[:, 1] / length[:, 0])) < SWAP
    return np.concatenate([zone, zone[tie]]), np.concatenate([points, points[tie][:, ::-1]])


@dataclass(frozen=True)
class _Box:
    """A box of hkl around the origin, laid out flat."""

    half_size: IntArray
    g_max: float

    @classmethod
    def around(cls, cell: Cell, d_min: float) -> _Box:
        g_max = 1.0 / d_min * (1.0 + 1e-6)
        return cls(np.floor(np.array(cell[:3]) * g_max * BOX_MARGIN).astype(np.int64), g_max)

    @property
    def shape(self) -> IntArray:
        shape: IntArray = 2 * self.half_size + 1
        return shape

    @property
    def strides(self) -> IntArray:
        _, k, l = self.shape  # noqa: E741
        return np.array([k * l, l, 1])

    @property
    def origin(self) -> int:
        return int(self.half_size @ self.strides)

    def place(self, hkl: IntArray) -> IntArray:
        place: IntArray = hkl @ self.strides + self.origin
        return place


def _laue_rotations(structure: Structure) -> IntArray:
    """Rotations of hkl, written as rows, without those that differ by the inversion; (n, 3, 3)."""
    return _laue_rotations_of(space_group(structure).xhm())


@lru_cache(maxsize=512)
def _laue_rotations_of(symbol: str) -> IntArray:
    operations = gemmi.SpaceGroup(symbol).operations()
    rotations = np.array([operation.rot for operation in operations.sym_ops], dtype=np.int64) // gemmi.Op.DEN
    proper = np.where((np.linalg.det(rotations) < 0)[:, None, None], -rotations, rotations)
    unique: IntArray = np.unique(proper, axis=0)
    unique.flags.writeable = False
    return unique


def _half_of_lattice(structure: Structure, d_min: float) -> IntArray:
    """One of each Friedel pair of the lattice's points, in rising order of |g|; the centring's absences left out."""
    hkl = lattice_points(structure.cell, d_min)
    h, k, l = hkl.T  # noqa: E741
    hkl = hkl[(h > 0) | ((h == 0) & ((k > 0) | ((k == 0) & (l > 0))))]
    centring = np.array(space_group(structure).operations().cen_ops, dtype=np.int64)
    hkl = hkl[np.all((hkl @ centring.T) % gemmi.Op.DEN == 0, axis=1)]
    order = np.argsort(np.linalg.norm(hkl @ reciprocal_basis(structure.cell).T, axis=1), kind="stable")
    half: IntArray = hkl[order]
    return half


def _probability_of_showing(reflections: Reflections, rotations: IntArray, box: _Box, half: IntArray) -> FloatArray:
    """How likely a grain shows each hkl: a weak function of |F|², for contrast transfer and thickness hide it."""
    shown = np.zeros(int(np.prod(box.shape)))
    assert reflections.structure is not None  # zones are made of structures only
    absent = space_group(reflections.structure).operations().systematic_absences(half.astype(np.int32))
    shown[box.place(half)] = shown[box.place(-half)] = np.where(absent, SHOWN_WEAK, SHOWN_BELOW)
    squared = reflections.intensity / reflections.multiplicity
    relative = np.where(np.isfinite(squared), squared / max(float(np.nanmax(squared, initial=0.0)), 1e-12), 1.0)
    probability = np.maximum(SHOWN_BELOW, SHOWN_AT_MOST * relative**SHOWN_POWER)
    for rotation in rotations:
        image = reflections.hkl @ rotation
        shown[box.place(image)] = shown[box.place(-image)] = probability
    return shown


def _seed_reflections(length: FloatArray, shown: FloatArray) -> IntArray:
    """Rows of the half lattice that can take part in a seed: of the families most likely shown."""
    usable = np.flatnonzero((shown > SHOWN_BELOW) & (length <= 1.0 / SEED_D_MIN))
    families = np.unique(np.stack([length[usable].round(6), shown[usable].round(9)], axis=1), axis=0)
    if len(families) > MAX_SEED_FAMILIES:
        least = np.sort(families[:, 1])[-MAX_SEED_FAMILIES]
        least = min(least, np.sort(shown[usable])[-min(FEWEST_SEEDS, len(usable))])
        usable = usable[shown[usable] >= least - 1e-9]
    return usable


def _zones_of(seeds: IntArray, shown: FloatArray, rotations: IntArray) -> tuple[IntArray, FloatArray]:
    """Zone axes that pairs of seeds span, one of each set of equivalents, and the share of grains that show it."""
    if len(seeds) < 2:
        return np.empty((0, 3), np.int64), np.empty(0)
    code = _code(_upward(np.einsum("ni,rij->rnj", seeds, rotations))).min(axis=0)
    leaders = seeds[np.unique(code, return_index=True)[1]]
    uvw = _cross(leaders[:, None, :], seeds[None, :, :]).reshape(-1, 3)
    uvw = uvw[np.any(uvw != 0, axis=1)]
    uvw = _unique_rows(_upward(uvw // np.gcd.reduce(uvw, axis=1)[:, None]))
    images = np.sort(_code(_upward(np.einsum("rij,nj->rni", rotations, uvw))), axis=0)
    _, chosen = np.unique(images[0], return_index=True)
    uvw, images = uvw[chosen], images[:, chosen]
    n_axes = 1 + np.sum(images[1:] != images[:-1], axis=0)
    expected = shown @ _in_plane(seeds, uvw)
    weight = n_axes * expected**ZONE_POWER
    order = np.argsort(-weight, kind="stable")[:MAX_ZONES]
    return uvw[order], weight[order] / weight.sum()


def _cross(a: IntArray, b: IntArray) -> IntArray:
    # Written out: numpy's own takes five times as long for short vectors of whole numbers.
    a0, a1, a2, b0, b1, b2 = a[..., 0], a[..., 1], a[..., 2], b[..., 0], b[..., 1], b[..., 2]
    cross: IntArray = np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=-1)
    return cross


def _unique_rows(vectors: IntArray) -> IntArray:
    rows: IntArray = vectors[np.unique(_code(vectors), return_index=True)[1]]
    return rows


def _in_plane(hkl: IntArray, uvw: IntArray) -> Mask:
    """Which planes belong to which zones; (n_hkl, n_zones)."""
    # Floats are exact for such small numbers, and ten times faster than whole numbers.
    inside: Mask = np.abs(hkl.astype(np.float32) @ uvw.T.astype(np.float32)) < 0.5
    return inside


def _upward(vectors: IntArray) -> IntArray:
    """Turn each vector so that its first index that is not zero is positive."""
    a, b, c = np.moveaxis(vectors, -1, 0)
    first = np.where(a != 0, a, np.where(b != 0, b, c))
    upward: IntArray = vectors * np.where(first < 0, -1, 1)[..., None]
    return upward


def _code(vectors: IntArray) -> IntArray:
    """One number for each vector of whole numbers below 4096."""
    code: IntArray = (vectors + 4096) @ np.array([1 << 26, 1 << 13, 1])
    return code


def _plane_basis(half: IntArray, inside: Mask, uvw: IntArray) -> IntArray:
    """Two shortest independent points of each zone: they span its plane lattice; turned clockwise seen along [uvw]."""
    basis = np.empty((len(uvw), 2, 3), np.int64)
    for zone, axis in enumerate(uvw):
        points = half[inside[:, zone]]
        turn = _cross(points[0], points) @ axis
        second = int(np.argmax(turn != 0))
        basis[zone] = points[0], np.sign(turn[second]) * points[second]
    return basis


def _plane_symmetry(basis_hkl: IntArray, uvw: IntArray, rotations: IntArray) -> IntArray:
    """Order of the point group of each zone's pattern: how often a turn or a mirror brings it onto itself."""
    images = np.einsum("zbi,rij->rzbj", basis_hkl, np.concatenate([rotations, -rotations]))
    in_plane = np.all(np.einsum("rzbj,zj->rzb", images, uvw) == 0, axis=2)
    codes = np.where(in_plane, _code(images[:, :, 0]) * 5000011 + _code(images[:, :, 1]), -1)
    codes = np.sort(codes, axis=0)
    order: IntArray = np.sum(codes[1:] != codes[:-1], axis=0) + (codes[0] >= 0)
    return order


def _pairs(
    half: IntArray, inside: Mask, seeds: IntArray, shown: FloatArray, rotations: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Zone, first and second reflection (rows of ``half``) of each seed; of equivalent pairs one."""
    rank = np.where(inside[seeds], shown[seeds][:, None], -1.0)
    order = np.argsort(-rank, axis=0, kind="stable")[:MAX_SEED_REFLECTIONS]
    a, b = np.triu_indices(len(order), 1)
    zone = np.tile(np.arange(inside.shape[1]), len(a))
    first, second = seeds[order[a]].ravel(), seeds[order[b]].ravel()
    valid = inside[first, zone] & inside[second, zone] & np.any(_cross(half[first], half[second]), axis=1)
    zone, first, second = zone[valid], first[valid], second[valid]
    name = np.full(len(half), -1, np.int64)
    codes = _code(_upward(np.einsum("ni,rij->rnj", half[seeds], rotations)))
    name_of_image = np.unique(codes, return_inverse=True)[1].reshape(codes.shape).astype(np.int64)
    name[seeds] = np.arange(len(seeds))
    one, two = name_of_image[:, name[first]], name_of_image[:, name[second]]
    pair = np.minimum(one, two) * (name_of_image.max(initial=0) + 1) + np.maximum(one, two)
    # The sign of a reflection does not matter: seeds are folded to acute angles afterwards.
    _, chosen = np.unique(pair.min(axis=0, initial=np.iinfo(np.int64).max), return_index=True)
    return zone[chosen], first[chosen], second[chosen]


def _misses(inside: Mask, shown: FloatArray, length: FloatArray) -> FloatArray:
    """Sum over each zone's points of ``log_hidden``, in bins of |g|; (n_kinds, n_zones, n_bins)."""
    place = np.floor(length / MISS_BIN).astype(np.int64)
    hidden = log_hidden(shown)
    of_bin = np.zeros((len(hidden), len(length), int(place.max()) + 1), np.float32)
    of_bin[:, np.arange(len(length)), place] = hidden
    table: FloatArray = (inside.T.astype(np.float32) @ of_bin).astype(np.float64)
    return table


def _in_basis(hkl: IntArray, basis_hkl: IntArray) -> IntArray:
    """Write planes (n, 2, 3) in the basis (n, 2, 3) of their zone: whole numbers (n, 2, 2)."""
    gram = np.einsum("nai,nbi->nab", basis_hkl, basis_hkl).astype(np.float64)
    inner = np.einsum("npi,nai->npa", hkl, basis_hkl).astype(np.float64)
    solved = np.linalg.solve(gram, inner.transpose(0, 2, 1)).transpose(0, 2, 1)
    points: IntArray = np.rint(solved).astype(np.int64)
    return points
