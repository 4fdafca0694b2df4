"""Spots and reflections made directly from gemmi, independent of the rooms under test."""

from __future__ import annotations

import gemmi
import numpy as np

from fringemap.records import Reflections, Scale, ScaleSource, Spots, Structure

STRUCTURES = {
    name: Structure(name, name, cell, group, ())
    for name, cell, group in [
        ("Li", (3.51, 3.51, 3.51, 90, 90, 90), "I m -3 m"),
        ("LiF", (4.027, 4.027, 4.027, 90, 90, 90), "F m -3 m"),
        ("LiH", (4.0834, 4.0834, 4.0834, 90, 90, 90), "F m -3 m"),
        ("Au", (4.07825, 4.07825, 4.07825, 90, 90, 90), "F m -3 m"),
        ("Li2O", (4.614, 4.614, 4.614, 90, 90, 90), "F m -3 m"),
        ("Cu", (3.61496, 3.61496, 3.61496, 90, 90, 90), "F m -3 m"),
        ("Si", (5.4307, 5.4307, 5.4307, 90, 90, 90), "F d -3 m:2"),
        ("Cu2O", (4.2696, 4.2696, 4.2696, 90, 90, 90), "P n -3 m:2"),
        ("CuO", (4.6837, 3.4226, 5.1288, 90, 99.54, 90), "C 1 2/c 1"),
        ("Li2CO3", (8.3593, 4.9725, 6.1975, 90, 114.83, 90), "C 1 2/c 1"),
        ("LiOH", (3.549, 3.549, 4.334, 90, 90, 90), "P 4/n m m:2"),
        ("ice Ih", (4.498, 4.498, 7.323, 90, 90, 120), "P 63/m m c"),
        ("triclinic", (4.1, 5.3, 6.7, 81.0, 97.0, 108.0), "P -1"),
    ]
}


def make_scale(sigma: float = 0.01, source: ScaleSource = ScaleSource.USER) -> Scale:
    return Scale((0.4, 0.4), sigma, source)


def make_reflections(name: str, d_min: float = 1.2) -> Reflections:
    """All families above d_min, with an intensity that falls with g."""
    structure = STRUCTURES[name]
    cell = gemmi.UnitCell(*structure.cell)
    group = gemmi.find_spacegroup_by_name(structure.space_group)
    miller = gemmi.make_miller_array(cell, group, d_min, unique=True)
    d = np.array([cell.calculate_d(list(map(int, hkl))) for hkl in miller])
    order = np.argsort(-d, kind="stable")
    operations = group.operations()
    rotations = [np.array(op.rot) // 24 for op in operations.sym_ops]
    multiplicity = []
    for hkl in miller[order]:
        members = {tuple(int(i) for i in sign * (hkl @ r)) for r in rotations for sign in (1, -1)}
        multiplicity.append(len(members))
    intensity = np.array(multiplicity) * np.exp(-3.0 / d[order] ** 2)
    return Reflections(
        phase=name,
        hkl=np.asarray(miller[order], dtype=np.int64),
        d_spacing=d[order],
        multiplicity=np.array(multiplicity),
        intensity=100 * intensity / intensity.max(),
        structure=structure,
    )


def make_references(*names: str, d_min: float = 1.2) -> tuple[Reflections, ...]:
    return tuple(make_reflections(name, d_min) for name in names)


def project(name: str, hkls: object, rotation: float = 0.0, scale_error: float = 0.0) -> np.ndarray:
    """(gx, gy) of planes that share one zone, the first along the direction ``rotation``; (n, 2).

    ``scale_error`` is by how much the stated pixel size is too small: all g come out too large by it.
    """
    vectors = np.asarray(hkls, float) @ np.array(gemmi.UnitCell(*STRUCTURES[name].cell).frac.mat.tolist())
    x = vectors[0] / np.linalg.norm(vectors[0])
    partner = next(v for v in vectors[1:] if np.linalg.norm(np.cross(x, v)) > 1e-6) if len(vectors) > 1 else None
    normal = np.cross(x, partner) if partner is not None else np.array([0.0, 0.0, 1.0])
    y = np.cross(normal / np.linalg.norm(normal), x) if partner is not None else np.zeros(3)
    flat = np.stack([vectors @ x, vectors @ y], axis=1) * (1.0 + scale_error)
    c, s = np.cos(rotation), np.sin(rotation)
    return flat @ np.array([[c, s], [-s, c]])


def make_spots(positions: object, *, sigma: float = 2e-4, flags: object = 0) -> Spots:
    """Spots at these (gx, gy) [1/Å], in this order, each with an isotropic error ``sigma`` [1/Å]."""
    g = np.asarray(positions, float).reshape(-1, 2)
    g = np.where(((g[:, 0] < 0) | ((g[:, 0] == 0) & (g[:, 1] < 0)))[:, None], -g, g)
    n = len(g)
    return Spots(
        gx=g[:, 0],
        gy=g[:, 1],
        covariance=np.tile(np.eye(2) * sigma**2, (n, 1, 1)),
        amplitude=np.full(n, 10.0),
        amplitude_sigma=np.full(n, 0.5),
        snr=np.full(n, 20.0),
        width=np.full(n, 0.01),
        score=np.full(n, 10.0),
        position=np.zeros((n, 2)),
        extent=np.full((n, 2), 100.0),
        flags=np.broadcast_to(np.asarray(flags, np.int64), n).copy(),
    )
