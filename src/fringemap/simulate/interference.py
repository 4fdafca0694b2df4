"""Second order: diffracted beams interfere with each other, within a grain and where two grains overlap.

To the linear image ``2 Re W`` of the scattered wave ``W = Σ b_j exp(2πi g_j·r)`` this adds ``|W|²``: fringes at all
differences ``g_j - g_l``. Within a grain these are lattice vectors again (doubled ones; also planes that a glide or a
screw makes extinct), between two grains they make moiré. The mean of ``|W|²`` is left out: the unscattered beam has
lost as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fringemap.simulate.lattice import Fringes, is_listed, is_sampled
from fringemap.simulate.regions import Coverage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fringemap.records import FloatArray, Image, IntArray, Mask
    from fringemap.simulate.lattice import ComplexArray
    from fringemap.simulate.scene import Point, Scene

MOIRE = "moire"
"""Stands in place of a phase for fringes that two overlapping grains make together."""

_FAINTEST = 1e-5
"""Fringes of second order below this share of the incident intensity are not drawn: there can be thousands."""


@dataclass(frozen=True)
class Patch:
    """Fringes and where in the frame they are."""

    grain: int
    """-1 for moiré."""
    fringes: Fringes
    covered: Coverage
    origin: Point
    """Where the arguments of the coefficients count from."""


def interfere_within(fringes: Fringes, scene: Scene) -> Fringes:
    """Add to a grain's fringes the interference of its own beams; rows may be added, none is lost."""
    hkl = np.concatenate([fringes.hkl, -fringes.hkl])
    gx, gy = np.concatenate([fringes.gx, -fringes.gx]), np.concatenate([fringes.gy, -fringes.gy])
    beams = np.concatenate([fringes.beams[:, 0], fringes.beams[:, 1]])
    strong = 2 * np.abs(beams) * np.abs(beams).max(initial=0.0) > _FAINTEST
    hkl, gx, gy, beams = hkl[strong], gx[strong], gy[strong], beams[strong]
    first, second = np.nonzero(~np.eye(len(beams), dtype=bool))
    product = beams[first] * np.conj(beams[second])
    listed = _is_drawn(gx[first] - gx[second], gy[first] - gy[second], scene)
    first, second, product = first[listed], second[listed], product[listed]
    all_hkl = np.concatenate([fringes.hkl, hkl[first] - hkl[second]])
    all_gx = np.concatenate([fringes.gx, gx[first] - gx[second]])
    all_gy = np.concatenate([fringes.gy, gy[first] - gy[second]])
    unique, row, inverse = np.unique(all_hkl, axis=0, return_index=True, return_inverse=True)
    coefficient = np.zeros(len(unique), complex)
    np.add.at(coefficient, inverse.ravel(), np.concatenate([fringes.coefficient, product]))
    return Fringes(all_gx[row], all_gy[row], unique.astype(np.int64), coefficient, _carry_beams(fringes, unique))


def moire_patches(patches: Sequence[Patch], scene: Scene) -> Iterator[Patch]:
    """Fringes that each two overlapping grains make together, over their overlap."""
    for i, one in enumerate(patches):
        for other in patches[i + 1 :]:
            covered = _overlap(one.covered, other.covered)
            if covered.share.any():
                yield Patch(-1, _moire(one, other, scene), covered, (0.0, 0.0))


def _moire(one: Patch, other: Patch, scene: Scene) -> Fringes:
    (gx1, gy1, beams1), (gx2, gy2, beams2) = _waves(one), _waves(other)
    n = len(gx1) // 2
    gx, gy = (gx1[:n, None] - gx2[None, :]).ravel(), (gy1[:n, None] - gy2[None, :]).ravel()
    # W1 W2* + W1* W2: a pair of beams and the pair of their mates make one and the same real fringe.
    mates = np.roll(beams2, len(beams2) // 2)
    product = (beams1[:n, None] * np.conj(beams2) + np.conj(beams1[n:, None]) * mates).ravel()
    # It is listed at the one of +g and -g that tables list.
    back = ~is_listed(gx, gy)
    gx, gy = np.where(back, -gx, gx), np.where(back, -gy, gy)
    product = np.where(back, np.conj(product), product)
    drawn = _is_drawn(gx, gy, scene) & (2 * np.abs(product) > _FAINTEST)
    none = np.zeros((np.count_nonzero(drawn), 3), np.int64)
    return Fringes(gx[drawn], gy[drawn], none, product[drawn], np.zeros((len(none), 2), np.complex128))


def _waves(patch: Patch) -> tuple[FloatArray, FloatArray, ComplexArray]:
    """All beams of a patch, first +g, then their mates -g; their arguments counted from the place (0, 0)."""
    fringes = patch.fringes
    gx, gy = np.concatenate([fringes.gx, -fringes.gx]), np.concatenate([fringes.gy, -fringes.gy])
    beams = np.concatenate([fringes.beams[:, 0], fringes.beams[:, 1]])
    return gx, gy, beams * np.exp(-2j * np.pi * (gx * patch.origin[1] + gy * patch.origin[0]))


def _is_drawn(gx: FloatArray, gy: FloatArray, scene: Scene) -> Mask:
    return is_listed(gx, gy) & is_sampled(gx, gy, scene)


def _carry_beams(fringes: Fringes, hkl: IntArray) -> ComplexArray:
    """Beams of the old rows at their new places; rows that are new have none."""
    known = {tuple(index): number for number, index in enumerate(fringes.hkl.tolist())}
    beams = np.zeros((len(hkl), 2), np.complex128)
    for row, index in enumerate(hkl.tolist()):
        if tuple(index) in known:
            beams[row] = fringes.beams[known[tuple(index)]]
    return beams


def _overlap(one: Coverage, other: Coverage) -> Coverage:
    rows, cols = _intersect(one.rows, other.rows), _intersect(one.cols, other.cols)
    return Coverage(rows, cols, _cut(one, rows, cols) * _cut(other, rows, cols))


def _cut(covered: Coverage, rows: slice, cols: slice) -> Image:
    top, left = covered.rows.start, covered.cols.start
    return covered.share[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]


def _intersect(one: slice, other: slice) -> slice:
    start = max(one.start, other.start)
    return slice(start, max(start, min(one.stop, other.stop)))
