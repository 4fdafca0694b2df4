"""What a structure can show: families of planes with d, multiplicity, intensity; extinctions; the pattern of a zone.

gemmi gives the symmetry operators, the unique planes and the electron scattering factors; the sum over the atoms is
done here on whole arrays instead of in one call for each plane.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, NamedTuple

import gemmi
import numpy as np

from fringemap.errors import StructureError
from fringemap.phases.cif import gemmi_structure, space_group
from fringemap.phases.lattice import (
    Hkl,
    check_d_min,
    d_spacings,
    g_vectors,
    lattice_points,
    zone_frame,
    zone_points,
)
from fringemap.records import FloatArray, IntArray, Reflections, ZonePattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fringemap.records import Structure

NEGLIGIBLE = 1e-6
"""|F|² relative to the largest possible one (all atoms in phase) below which a reflection counts as extinct."""

_BLOCK = 1 << 20
"""Planes x atoms summed in one go: 16 MB of complex numbers."""


class Extinction(enum.StrEnum):
    """Why a plane has no intensity in a kinematic pattern."""

    ALLOWED = "allowed"
    CENTRING = "centring"
    """Extinct by lattice centring: no plane of the lattice, never visible within one crystal."""
    SCREW_OR_GLIDE = "screw or glide"
    """Extinct by a screw axis or a glide plane: double diffraction can show it."""
    ATOMS = "atoms"
    """Allowed by the group, but the atoms cancel, as in 222 of silicon: double diffraction can show it."""


class _Families(NamedTuple):
    """All families of a structure in falling order of d, extinct ones of the group left out."""

    hkl: IntArray
    d_spacing: FloatArray
    multiplicity: IntArray
    intensity: FloatArray


def compute_reflections(
    structure: Structure, *, d_min_angstrom: float, min_intensity_percent: float = 1.0
) -> Reflections:
    """Families of planes that a structure shows kinematically, in falling order of d.

    Parameters
    ----------
    structure
        Cell, symmetry and atoms.
    d_min_angstrom
        Smallest d-spacing [Å].
    min_intensity_percent
        Leave out families weaker than this share of the strongest [%]; extinct ones are left out always.

    Returns
    -------
    Reflections
        One row a family: the hkl that people write, d, how many planes (both of each Friedel pair counted), and
        multiplicity x |F|², the strongest of those with d above the limit set to 100. Different families with the
        same d (333 and 511) keep their own rows.

    Raises
    ------
    StructureError
        The cell, the space group or ``d_min_angstrom`` makes no sense.
    """
    families = _families(structure, float(d_min_angstrom))
    keep = families.intensity > 0.0
    keep &= families.intensity >= min_intensity_percent
    return Reflections(
        phase=structure.name,
        hkl=families.hkl[keep],
        d_spacing=families.d_spacing[keep],
        multiplicity=families.multiplicity[keep],
        intensity=families.intensity[keep],
        structure=structure,
    )


def extinct_reflections(structure: Structure, *, d_min_angstrom: float) -> Reflections:
    """Families without kinematic intensity that double diffraction can show, in falling order of d.

    Extinct by a screw axis, a glide plane or cancelling atoms; what the lattice centring forbids is no plane of the
    lattice and not listed. Their intensity is 0. ``extinction`` says of single planes why they are missing.
    """
    check_d_min(d_min_angstrom)
    hkl = _representatives(_rotations(structure), lattice_points(structure.cell, d_min_angstrom))
    reasons = extinction(structure, hkl)
    hkl = hkl[(reasons == Extinction.SCREW_OR_GLIDE) | (reasons == Extinction.ATOMS)]
    hkl, d = _in_falling_order_of_d(structure, hkl)
    count = _multiplicities(_rotations(structure), hkl)
    return Reflections(structure.name, hkl, d, count, np.zeros(len(hkl)), structure=structure)


def extinction(structure: Structure, hkl: ArrayLike) -> NDArray[np.str_]:
    """Why each plane has no intensity, or that it has.

    Parameters
    ----------
    structure
        Cell, symmetry and atoms.
    hkl
        Shape (n, 3).

    Returns
    -------
    NDArray
        Shape (n,), values of ``Extinction``.
    """
    hkl = np.asarray(hkl, dtype=np.int64).reshape(-1, 3)
    return _extinction(structure, hkl, _intensities(structure, hkl))


def _extinction(structure: Structure, hkl: IntArray, intensity: FloatArray) -> NDArray[np.str_]:
    operations = space_group(structure).operations()
    reasons = np.full(len(hkl), Extinction.ALLOWED.value, dtype="<U16")
    reasons[intensity == 0.0] = Extinction.ATOMS
    reasons[operations.systematic_absences(hkl.astype(np.int32))] = Extinction.SCREW_OR_GLIDE
    reasons[_centring_extinct(operations, hkl)] = Extinction.CENTRING
    return reasons


def equivalent_hkl(structure: Structure, hkl: Sequence[int]) -> IntArray:
    """All planes of one family, both of each Friedel pair, in falling lexicographic order; shape (n, 3)."""
    images = _images(_rotations(structure), np.asarray([hkl], dtype=np.int64))[:, 0]
    family: IntArray = np.unique(images.astype(np.int64), axis=0)[::-1]
    return family


def representative_hkl(structure: Structure, hkl: ArrayLike) -> IntArray:
    """Of each plane's family, the member that people write; shape (n, 3).

    Fewest negative indices, then l not negative, then large h before large k: (111), (311), (-202), (104).
    """
    return _canonical(_rotations(structure), np.asarray(hkl, dtype=np.int64).reshape(-1, 3))


def structure_factors(structure: Structure, hkl: ArrayLike) -> NDArray[np.complex128]:
    """Kinematic electron structure factors of the whole cell, Mott-Bethe units of length [Å].

    F(hkl) = sum over all atoms of occupancy x f_e(s) exp(-8 pi² U s²) exp(2 pi i hkl · r), with s = 1 / (2 d).

    Parameters
    ----------
    structure
        Cell, symmetry and atoms; special positions are counted once.
    hkl
        Shape (n, 3).

    Returns
    -------
    NDArray
        Shape (n,).

    References
    ----------
    .. [1] Scattering factors: International Tables for Crystallography C (2004), table 4.3.2.2, as held by gemmi.
    """
    return _factors_and_bounds(structure, np.asarray(hkl, dtype=np.int64).reshape(-1, 3))[0]


def zone_pattern(structure: Structure, uvw: Sequence[int], *, d_min_angstrom: float) -> ZonePattern:
    """All reflections of one zone, projected on the plane across the beam.

    Parameters
    ----------
    structure
        Cell, symmetry and atoms.
    uvw
        Zone axis: the direction of the beam, from the source to the detector.
    d_min_angstrom
        Smallest d-spacing [Å].

    Returns
    -------
    ZonePattern
        In falling order of d, both of each Friedel pair, without (000) and without what the centring forbids. The
        x-axis lies along the first reflection; x to the right, y downward, seen along the beam. What a screw, a glide
        or the atoms extinguish is listed with ``extinct`` set and intensity 0. Its arrays are kept for the next call
        and cannot be written to.

    Raises
    ------
    StructureError
        [uvw] is [000], or no reflection of the zone has a d as large as ``d_min_angstrom``.
    """
    return _zone_pattern(structure, (int(uvw[0]), int(uvw[1]), int(uvw[2])), float(d_min_angstrom))


@functools.lru_cache(maxsize=512)
def _zone_pattern(structure: Structure, uvw: Hkl, d_min_angstrom: float) -> ZonePattern:
    hkl = zone_points(structure.cell, uvw, d_min_angstrom)
    intensity = _intensities(structure, hkl)
    reasons = _extinction(structure, hkl, intensity)
    of_lattice = reasons != Extinction.CENTRING
    hkl, intensity, extinct = hkl[of_lattice], intensity[of_lattice], reasons[of_lattice] != Extinction.ALLOWED
    if not len(hkl):
        raise StructureError(
            f"{structure.name} has no plane of the zone {list(uvw)} with d above {d_min_angstrom} Å; "
            "take a smaller limit or a lower zone"
        )
    g = g_vectors(structure.cell, hkl) @ zone_frame(structure.cell, uvw, hkl[0]).T
    intensity = _strongest_100(np.where(extinct, 0.0, intensity))
    for column in (hkl, g, intensity, extinct):
        column.flags.writeable = False
    return ZonePattern(structure.name, uvw, hkl, g, intensity, extinct)


@functools.lru_cache(maxsize=512)
def _families(structure: Structure, d_min_angstrom: float) -> _Families:
    check_d_min(d_min_angstrom)
    rotations = _rotations(structure)
    cell = gemmi.UnitCell(*structure.cell)
    unique = gemmi.make_miller_array(cell, space_group(structure), d_min_angstrom * (1.0 - 1e-9))
    if not len(unique):
        return _Families(np.empty((0, 3), np.int64), np.empty(0), np.empty(0, np.int64), np.empty(0))
    hkl, d = _in_falling_order_of_d(structure, _canonical(rotations, unique.astype(np.int64)))
    count = _multiplicities(rotations, hkl)
    families = _Families(hkl, d, count, _strongest_100(count * _intensities(structure, hkl)))
    for column in families:
        column.flags.writeable = False
    return families


def _in_falling_order_of_d(structure: Structure, hkl: IntArray) -> tuple[IntArray, FloatArray]:
    """Sorted planes and their d; ties in d are broken by the indices, so that the order never hangs on rounding."""
    d = d_spacings(structure.cell, hkl)
    order = np.lexsort((-hkl[:, 2], -hkl[:, 1], -hkl[:, 0], -np.round(d, 9)))
    return hkl[order], d[order]


def _strongest_100(intensity: FloatArray) -> FloatArray:
    strongest = float(np.max(intensity, initial=0.0))
    scaled: FloatArray = intensity * (100.0 / strongest) if strongest > 0.0 else intensity
    return scaled


@functools.lru_cache(maxsize=512)
def _rotations_of(symbol: str) -> IntArray:
    """Rotation parts of a group with the inversion added (Friedel's law), each once; they act on hkl from the right."""
    operations = gemmi.SpaceGroup(symbol).operations()
    rotations = np.array([operation.rot for operation in operations.sym_ops], dtype=np.int64) // gemmi.Op.DEN
    rotations = np.unique(np.concatenate([rotations, -rotations]), axis=0)
    rotations.flags.writeable = False
    return rotations


def _rotations(structure: Structure) -> IntArray:
    return _rotations_of(space_group(structure).xhm())


def _images(rotations: IntArray, hkl: IntArray) -> FloatArray:
    """Every plane under every rotation; shape (n_rotations, n, 3).

    Whole numbers kept as float64, exact far beyond any index: that lets BLAS multiply them.
    """
    side_by_side = rotations.transpose(1, 0, 2).reshape(3, -1).astype(np.float64)
    images: FloatArray = (hkl.astype(np.float64) @ side_by_side).reshape(len(hkl), len(rotations), 3)
    return images.transpose(1, 0, 2)


def _rank(hkl: FloatArray) -> FloatArray:
    """One number a plane, smallest for the one that people write; the same for no two planes with |index| below 1000.

    ``hkl`` has the shape (..., 3). Digits, most significant first: negative indices, sign of l, sign of the first
    index that is not 0, then h, k, l falling.
    """
    h, k, l = hkl[..., 0], hkl[..., 1], hkl[..., 2]  # noqa: E741
    negative = (h < 0).astype(np.int8) + (k < 0) + (l < 0)
    first = np.where(h != 0, h, k)
    signs = (negative * 2 + (l < 0)) * 2 + (first < 0)
    rank: FloatArray = signs * 8e9 - (h * 4e6 + k * 2e3 + l)
    return rank


def _canonical(rotations: IntArray, hkl: IntArray) -> IntArray:
    images = _images(rotations, hkl)
    best = np.argmin(_rank(images), axis=0)
    canonical: IntArray = images[best, np.arange(len(hkl))].astype(np.int64)
    return canonical


def _representatives(rotations: IntArray, hkl: IntArray) -> IntArray:
    """One plane of each family among ``hkl``."""
    families: IntArray = np.unique(_canonical(rotations, hkl), axis=0)
    return families


def _multiplicities(rotations: IntArray, hkl: IntArray) -> IntArray:
    ranks = np.sort(_rank(_images(rotations, hkl)), axis=0)
    count: IntArray = 1 + np.sum(ranks[1:] != ranks[:-1], axis=0)
    return count


def _centring_extinct(operations: gemmi.GroupOps, hkl: IntArray) -> NDArray[np.bool_]:
    translations = np.array(operations.cen_ops, dtype=np.int64)
    extinct: NDArray[np.bool_] = np.any((hkl @ translations.T) % gemmi.Op.DEN != 0, axis=1)
    return extinct


@functools.lru_cache(maxsize=512)
def _expanded(structure: Structure) -> tuple[tuple[tuple[str, float, float], ...], IntArray, FloatArray]:
    """Kinds of atoms (element, occupancy, U), which kind each atom of the whole cell is, and where it sits."""
    small = gemmi_structure(structure.cell, space_group(structure), structure.atoms)
    sites = small.get_all_unit_cell_sites()
    of_site = [(site.element.name, float(site.occ), float(site.u_iso)) for site in sites]
    kinds = tuple(dict.fromkeys(of_site))
    fract = np.array([site.fract.tolist() for site in sites])
    return kinds, np.array([kinds.index(kind) for kind in of_site]), fract


def _scattering(kinds: tuple[tuple[str, float, float], ...], s2: FloatArray) -> FloatArray:
    """Occupancy x f_e x Debye-Waller factor of each kind of atom at s² = 1 / (4 d²) [1/Å²]; shape (n, n_kinds)."""
    columns = []
    for element, occupancy, u_iso in kinds:
        coefficients = gemmi.Element(element).c4322
        a, b = np.array(coefficients.a), np.array(coefficients.b)
        factor = np.exp(-np.multiply.outer(s2, b)) @ a
        columns.append(occupancy * factor * np.exp(-8.0 * np.pi**2 * u_iso * s2))
    return np.stack(columns, axis=-1)


def _factors_and_bounds(structure: Structure, hkl: IntArray) -> tuple[NDArray[np.complex128], FloatArray]:
    """F of each plane, and |F| if all atoms scattered in phase; shapes (n,)."""
    kinds, kind_of_atom, fract = _expanded(structure)
    weight = _scattering(kinds, 0.25 / d_spacings(structure.cell, hkl) ** 2)
    factors = np.empty(len(hkl), dtype=np.complex128)
    step = max(1, _BLOCK // len(fract))
    for start in range(0, len(hkl), step):
        rows = slice(start, start + step)
        waves = _waves(hkl[rows], fract)
        # The sum over the atoms of each kind comes first: kinds are few, atoms many.
        by_kind = np.stack([waves[:, kind_of_atom == kind].sum(axis=1) for kind in range(len(kinds))], axis=1)
        factors[rows] = np.sum(by_kind * weight[rows], axis=1)
    return factors, weight @ np.bincount(kind_of_atom, minlength=len(kinds))


def _waves(hkl: IntArray, fract: FloatArray) -> NDArray[np.complex128]:
    """exp(2 pi i hkl · r) of every plane and atom, (n, n_atoms): the product of three waves from small tables."""
    waves = np.ones((len(hkl), len(fract)), dtype=np.complex128)
    for axis in range(3):
        indices, which = np.unique(hkl[:, axis], return_inverse=True)
        waves *= np.exp(2j * np.pi * np.multiply.outer(indices, fract[:, axis]))[which]
    return waves


def _intensities(structure: Structure, hkl: IntArray) -> FloatArray:
    """|F|² [Å²], exactly 0 where the atoms cancel; shape (n,)."""
    factors, bound = _factors_and_bounds(structure, hkl)
    squared = np.abs(factors) ** 2
    intensities: FloatArray = np.where(squared < NEGLIGIBLE * bound**2, 0.0, squared)
    return intensities
