"""Metric geometry of a crystal lattice: no atoms, no symmetry.

One matrix carries everything: ``B``, whose columns are the reciprocal basis vectors **a***, **b***, **c*** in the
Cartesian crystal frame of ``docs/conventions.md`` (**a** along x, **b** in the xy-plane), so that ``g = B @ hkl`` with
|g| = 1/d and no 2π. It holds for every cell, triclinic ones included.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fringemap.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from fringemap.records import FloatArray, IntArray, Structure

Cell = tuple[float, float, float, float, float, float]
Hkl = tuple[int, int, int]


def direct_basis(cell: Cell) -> FloatArray:
    """Matrix whose columns are **a**, **b**, **c** in the Cartesian crystal frame [Å].

    Parameters
    ----------
    cell
        a, b, c [Å], alpha, beta, gamma [degrees].

    Returns
    -------
    FloatArray
        Shape (3, 3), upper triangular: **a** along x, **b** in the xy-plane.

    Raises
    ------
    StructureError
        A length is not positive, or the three angles cannot close a cell.

    References
    ----------
    .. [1] International Tables for Crystallography B (2010), section 3.3.1.1.1.
    """
    a, b, c = cell[:3]
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians(cell[3:]))
    sin_gamma = math.sin(math.radians(cell[5]))
    # The square of the volume of a cell with unit edges: it is positive only if the angles are possible.
    unit_volume_squared = 1.0 - cos_alpha**2 - cos_beta**2 - cos_gamma**2 + 2.0 * cos_alpha * cos_beta * cos_gamma
    if not (min(a, b, c) > 0.0 and all(map(math.isfinite, cell)) and unit_volume_squared > 0.0):
        raise StructureError(
            f"the cell {cell} (a, b, c in Å; alpha, beta, gamma in degrees) cannot exist: lengths must be positive and "
            "the angles must close; check the numbers"
        )
    return np.array(
        [
            [a, b * cos_gamma, c * cos_beta],
            [0.0, b * sin_gamma, c * (cos_alpha - cos_beta * cos_gamma) / sin_gamma],
            [0.0, 0.0, c * math.sqrt(unit_volume_squared) / sin_gamma],
        ]
    )


def reciprocal_basis(cell: Cell) -> FloatArray:
    """Matrix ``B`` whose columns are **a***, **b***, **c*** in the Cartesian crystal frame [1/Å].

    ``g = B @ hkl`` for one reflection, ``g = hkl @ B.T`` for rows of many; |g| = 1/d, without 2π.

    Parameters
    ----------
    cell
        a, b, c [Å], alpha, beta, gamma [degrees].

    Returns
    -------
    FloatArray
        Shape (3, 3). It is kept for the next call and cannot be written to.

    Raises
    ------
    StructureError
        The cell cannot exist.
    """
    return _reciprocal_basis(tuple(cell))


@lru_cache(maxsize=4096)
def _reciprocal_basis(cell: Cell) -> FloatArray:
    basis: FloatArray = np.linalg.inv(direct_basis(cell)).T.astype(np.float64)
    basis.flags.writeable = False
    return basis


def cell_volume(cell: Cell) -> float:
    """Volume of the cell [Å³]."""
    return float(np.linalg.det(direct_basis(cell)))


def g_vectors(cell: Cell, hkl: ArrayLike) -> FloatArray:
    """Reciprocal-lattice vectors in the Cartesian crystal frame [1/Å]; shape (..., 3), like ``hkl``."""
    g: FloatArray = np.asarray(hkl, dtype=np.float64) @ reciprocal_basis(cell).T
    return g


def hkl_of_g(cell: Cell, g: ArrayLike) -> FloatArray:
    """Find the indices, not rounded, of vectors in the Cartesian crystal frame [1/Å]: the inverse of ``g_vectors``."""
    hkl: FloatArray = np.asarray(g, dtype=np.float64) @ direct_basis(cell)
    return hkl


def d_spacings(cell: Cell, hkl: ArrayLike) -> FloatArray:
    """Interplanar spacings 1/|g| [Å]; shape (...), for ``hkl`` of shape (..., 3). Infinite for (000)."""
    with np.errstate(divide="ignore"):
        d: FloatArray = 1.0 / np.linalg.norm(g_vectors(cell, hkl), axis=-1)
    return d


def angle_between(structure: Structure, hkl1: ArrayLike, hkl2: ArrayLike) -> FloatArray:
    """Angle between the plane normals of two reflections, from 0 to pi [rad].

    Parameters
    ----------
    structure
        Only its cell matters.
    hkl1, hkl2
        Shapes (..., 3), broadcast against each other.

    Returns
    -------
    FloatArray
        Shape (...); a scalar array for two single reflections.

    Notes
    -----
    The arc tangent of |g1 x g2| over g1 · g2 stays exact for small angles, where an arc cosine loses half the digits.
    """
    g1, g2 = g_vectors(structure.cell, hkl1), g_vectors(structure.cell, hkl2)
    cross = np.linalg.norm(np.cross(g1, g2), axis=-1)
    angle: FloatArray = np.arctan2(cross, np.sum(g1 * g2, axis=-1))
    return angle


def zone_axis(hkl1: Sequence[int], hkl2: Sequence[int]) -> Hkl:
    """Zone axis [uvw] of two planes: their cross product, made primitive.

    The order gives the sense: looking along [uvw], the shorter turn from ``hkl1`` to ``hkl2`` is clockwise. Swapping
    them gives the opposite axis. It holds for every crystal system.

    Raises
    ------
    StructureError
        The two planes are parallel.
    """
    uvw = [int(x) for x in np.cross(np.asarray(hkl1, dtype=np.int64), np.asarray(hkl2, dtype=np.int64))]
    divisor = math.gcd(*uvw)
    if divisor == 0:
        raise StructureError(
            f"{tuple(hkl1)} and {tuple(hkl2)} are parallel and share no single zone; take another pair"
        )
    return uvw[0] // divisor, uvw[1] // divisor, uvw[2] // divisor


def lattice_points(cell: Cell, d_min_angstrom: float) -> IntArray:
    """All hkl with d of at least ``d_min_angstrom``, both of each Friedel pair, without (000); shape (n, 3).

    |h| = |g · a| cannot exceed |g| a, hence the bounds: they hold for oblique cells too.
    """
    check_d_min(d_min_angstrom)
    # Bounds and limit a hair too wide, so that a plane with exactly d_min is in.
    limit = 1.0 / d_min_angstrom * (1.0 + 1e-9)
    h, k, l = (np.arange(-n, n + 1) for n in (int(edge * limit) for edge in cell[:3]))  # noqa: E741
    hkl = np.stack(np.meshgrid(h, k, l, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int64)
    g2 = np.sum(g_vectors(cell, hkl) ** 2, axis=-1)
    points: IntArray = hkl[(g2 > 0.0) & (g2 <= limit**2)]
    return points


def zone_points(cell: Cell, uvw: Sequence[int], d_min_angstrom: float) -> IntArray:
    """All hkl of one zone (hu + kv + lw = 0) with d of at least ``d_min_angstrom``, in falling order of d; (n, 3).

    Found from a basis of the zone's plane, so that only its own points are looked at.

    Raises
    ------
    StructureError
        [uvw] is [000].
    """
    check_d_min(d_min_angstrom)
    first, second = _zone_basis(uvw)
    g1, g2 = g_vectors(cell, first), g_vectors(cell, second)
    # Heights of the parallelogram of g1 and g2 bound the two coefficients.
    area = float(np.linalg.norm(np.cross(g1, g2)))
    limit = 1.0 / d_min_angstrom * (1.0 + 1e-9)
    n1, n2 = (int(limit * float(np.linalg.norm(g)) / area) for g in (g2, g1))
    i, j = np.meshgrid(np.arange(-n1, n1 + 1), np.arange(-n2, n2 + 1), indexing="ij")
    hkl = i.reshape(-1, 1) * np.array(first) + j.reshape(-1, 1) * np.array(second)
    length = np.linalg.norm(g_vectors(cell, hkl), axis=-1)
    inside = (length > 0.0) & (length <= limit)
    hkl, length = hkl[inside], length[inside]
    # Ties in |g| are broken by the indices, largest first: the order never hangs on rounding.
    order = np.lexsort((-hkl[:, 2], -hkl[:, 1], -hkl[:, 0], np.round(length, 9)))
    points: IntArray = hkl[order].astype(np.int64)
    return points


def zone_frame(cell: Cell, uvw: Sequence[int], first_hkl: Sequence[int]) -> FloatArray:
    """Two unit vectors that span a zone's plane in the Cartesian crystal frame; shape (2, 3).

    The first lies along ``first_hkl`` (a reflection of the zone). With the beam [uvw] they make a right-handed triple:
    x to the right, y downward, beam into the screen, as in ``docs/conventions.md``.
    """
    beam = direct_basis(cell) @ np.asarray(uvw, dtype=np.float64)
    x = g_vectors(cell, first_hkl)
    x, beam = x / np.linalg.norm(x), beam / np.linalg.norm(beam)
    return np.stack([x, np.cross(beam, x)])


def _zone_basis(uvw: Sequence[int]) -> tuple[Hkl, Hkl]:
    """Two hkl whose integer combinations are all hkl with hu + kv + lw = 0."""
    u, v, w = (int(x) for x in uvw)
    divisor = math.gcd(u, v, w)
    if divisor == 0:
        raise StructureError("[000] is no zone axis; give the direction [uvw] of the beam")
    u, v, w = u // divisor, v // divisor, w // divisor
    if u == 0 and v == 0:
        return (1, 0, 0), (0, 1, 0)
    in_plane = math.gcd(u, v)
    # p u + q v = gcd(u, v) makes the second vector reach the next row of the zone's plane.
    p, q = _bezout(u, v)
    return (v // in_plane, -u // in_plane, 0), (-p * w, -q * w, in_plane)


def _bezout(a: int, b: int) -> tuple[int, int]:
    """Whole numbers p, q with p a + q b = gcd(a, b) > 0 (Euclid's extended algorithm)."""
    if b == 0:
        return (1 if a > 0 else -1), 0
    p, q = _bezout(b, a % b)
    return q, p - (a // b) * q


def check_d_min(d_min_angstrom: float) -> None:
    """Refuse a limit that is no length, or so small that the planes could not be counted."""
    if not (math.isfinite(d_min_angstrom) and d_min_angstrom >= 0.1):
        raise StructureError(
            f"the smallest d-spacing must be at least 0.1 Å, not {d_min_angstrom} Å; the number of planes grows as 1/d³"
        )
