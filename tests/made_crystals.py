"""Spots of known crystals: positions made directly from gemmi, not by the room under test."""

from __future__ import annotations

import gemmi
import numpy as np

from fringemap.phases import compute_reflections, load_structure
from fringemap.records import Atom, Reflections, Scale, ScaleSource, Spots, Structure

NAMES = ("Li", "LiF", "LiH", "Au", "Li2O", "Cu", "Si", "Cu2O", "CuO", "Li2CO3", "LiOH", "ice Ih")
TRICLINIC = Structure(
    "triclinic",
    "Li",
    (4.1, 5.3, 6.7, 81.0, 97.0, 108.0),
    "P -1",
    (Atom("Li", (0.1, 0.2, 0.3)), Atom("O", (0.4, 0.1, 0.7))),
)
STRUCTURES = {**{name: load_structure(name) for name in NAMES}, "triclinic": TRICLINIC}


def make_scale(sigma: float = 0.01, source: ScaleSource = ScaleSource.USER) -> Scale:
    return Scale((0.4, 0.4), sigma, source)


def make_reflections(name: str, d_min: float = 1.2) -> Reflections:
    return compute_reflections(STRUCTURES[name], d_min_angstrom=d_min, min_intensity_percent=0.0)


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
