"""Cells at another temperature: how far crystals shrink in a cryo holder.

The thermal expansion of a solid follows its heat capacity (Grüneisen). With that of an Einstein solid of temperature θ,
a length changes from T0 to T by

    ΔL / L = α θ [n(T) - n(T0)] / c,   n(T) = 1 / (exp(θ / T) - 1),   c = x² eˣ / (eˣ - 1)² at x = θ / T_α,

where α is the linear expansion coefficient measured at T_α. It vanishes in the cold as it should, where a constant α
would shrink crystals too far. All edges change alike and no angle does.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fringemap.records import Structure

ROOM_K = 293.0
"""Temperature of a structure whose source states none."""

EINSTEIN_SHARE = 0.75
"""Einstein temperature over the Debye temperature: the two heat capacities are then alike above 50 K."""

COLD_K = 180.0
"""Below this, water of the vacuum freezes on the specimen and stays."""

ICE = ("ice Ih", "ice Ic")


class Expansion(NamedTuple):
    """How one phase expands."""

    per_kelvin: float
    """Linear expansion coefficient at ``at_k``, mean over the axes [1/K]."""
    debye_k: float
    at_k: float
    source: str


_CRC = "CRC Handbook of Chemistry and Physics, thermal properties of the elements; Debye temperatures after Kittel"
_TOULOUKIAN = "Touloukian et al., Thermophysical Properties of Matter 13 (1977), rounded"
_ROTTGER = "Röttger et al., Acta Crystallographica B 50 (1994) 644: 0.46 % from 100 K to 250 K"

EXPANSION = {
    "Li": Expansion(46e-6, 344.0, 298.0, _CRC),
    "Na": Expansion(71e-6, 158.0, 298.0, _CRC),
    "Al": Expansion(23.1e-6, 428.0, 298.0, _CRC),
    "Cu": Expansion(16.5e-6, 343.0, 298.0, _CRC),
    "Ag": Expansion(18.9e-6, 225.0, 298.0, _CRC),
    "Au": Expansion(14.2e-6, 165.0, 298.0, _CRC),
    "Pt": Expansion(8.8e-6, 240.0, 298.0, _CRC),
    "Ni": Expansion(13.4e-6, 450.0, 298.0, _CRC),
    "Zr": Expansion(5.7e-6, 291.0, 298.0, _CRC),
    "Si": Expansion(2.6e-6, 645.0, 298.0, _CRC),
    "LiF": Expansion(33e-6, 730.0, 293.0, _TOULOUKIAN),
    "NaCl": Expansion(40e-6, 321.0, 293.0, _TOULOUKIAN),
    "MgO": Expansion(10.5e-6, 940.0, 293.0, _TOULOUKIAN),
    "ice Ih": Expansion(37.8e-6, 467.0, 250.0, _ROTTGER),
    "ice Ic": Expansion(37.8e-6, 467.0, 250.0, _ROTTGER + ", taken over from ice Ih"),
}

DEFAULT = Expansion(15e-6, 450.0, ROOM_K, "typical of salts and oxides, which have 5 to 40 in a million per kelvin")
"""For all other phases. From room temperature to 100 K it shrinks them by 0.2 %, uncertain by as much: this stays
within the strain of 0.3 % that every grain may have."""


def at_temperature(structure: Structure, kelvin: float) -> Structure:
    """Give a structure the cell that it has at another temperature.

    Parameters
    ----------
    structure
        Measured at ``structure.temperature_k``, or at room temperature if that is None.
    kelvin
        Temperature of the specimen [K].

    Returns
    -------
    Structure
        With all edges multiplied by the same factor.
    """
    a, b, c, alpha, beta, gamma = structure.cell
    factor = 1.0 + expansion(structure, kelvin)
    return replace(structure, cell=(a * factor, b * factor, c * factor, alpha, beta, gamma), temperature_k=kelvin)


def expansion(structure: Structure, kelvin: float) -> float:
    """Relative change of length from the temperature at which a structure was measured to another."""
    known = EXPANSION.get(structure.name, DEFAULT)
    einstein = EINSTEIN_SHARE * known.debye_k
    x = einstein / known.at_k
    capacity = x**2 * math.exp(x) / math.expm1(x) ** 2
    before = ROOM_K if structure.temperature_k is None else structure.temperature_k
    change = _occupation(einstein / kelvin) - _occupation(einstein / before)
    return known.per_kelvin * einstein * change / capacity


def _occupation(x: float) -> float:
    # Beyond it the exponential would overflow, and the number is zero anyway.
    return 0.0 if x > 500.0 else 1.0 / math.expm1(x)
