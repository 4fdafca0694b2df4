"""Structures, their reflections, and which of them explain the spots."""

from __future__ import annotations

from dataclasses import dataclass

from fringemap.records.basics import Flag, FloatArray, IntArray, Mask


@dataclass(frozen=True)
class Atom:
    """One site of the asymmetric unit."""

    element: str
    fract: tuple[float, float, float]
    occupancy: float = 1.0
    u_iso: float = 0.01
    """Mean square displacement [Å²]."""


@dataclass(frozen=True)
class Structure:
    """Cell, symmetry and atoms of one phase."""

    name: str
    """Short and unique in a library: "Li2CO3", "ice Ih"."""
    formula: str
    cell: tuple[float, float, float, float, float, float]
    """a, b, c [Å], alpha, beta, gamma [degrees]."""
    space_group: str
    """Hermann-Mauguin symbol with its setting, as gemmi reads it: "F m -3 m", "F d -3 m:1"."""
    atoms: tuple[Atom, ...]
    temperature_k: float | None = None
    source: str = ""
    """Where the cell and the positions come from."""
    elements: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reflections:
    """What one phase can show: families of planes in falling order of d; or a user's table of d-spacings."""

    phase: str
    hkl: IntArray
    """One representative of each family; (n, 3). A table without hkl has zeros."""
    d_spacing: FloatArray
    """[Å]; (n,)."""
    multiplicity: IntArray
    intensity: FloatArray
    """Multiplicity x |F|² with electron scattering factors, strongest 100; NaN for a table; (n,)."""
    structure: Structure | None = None
    """None for a table: then only d can be compared."""

    def __len__(self) -> int:
        return len(self.d_spacing)


@dataclass(frozen=True)
class ZonePattern:
    """All reflections of one zone of one structure, n rows in falling order of d, both of each Friedel pair."""

    phase: str
    uvw: tuple[int, int, int]
    """The direction of the beam, from the source to the detector."""
    hkl: IntArray
    """(n, 3)."""
    g: FloatArray
    """Seen along the beam: x to the right, y downward; the first row lies along x [1/Å]; (n, 2)."""
    intensity: FloatArray
    """|F|² with electron scattering factors, strongest 100; (n,)."""
    extinct: Mask
    """Without kinematic intensity; double diffraction can show it; (n,)."""

    def __len__(self) -> int:
        return len(self.g)


@dataclass(frozen=True)
class Candidate:
    """One reflection that can explain one spot."""

    phase: str
    hkl: tuple[int, int, int]
    d_reference_angstrom: float
    deviation_percent: float
    """(measured - reference) / reference of d."""
    deviation_sigma: float
    """The same in standard errors of fit and calibration together."""
    probability: float = float("nan")


@dataclass(frozen=True)
class SpotMatch:
    """What one spot is."""

    best: Candidate | None
    """None: unknown."""
    rivals: tuple[Candidate, ...] = ()
    """Others within the same bound, the nearest first."""
    probability: float = float("nan")
    flags: Flag = Flag.NONE
    remark: str = ""
    """Why a name was given or refused, in words."""


@dataclass(frozen=True)
class PhaseEvidence:
    """What speaks for one phase in one frame."""

    phase: str
    """"unknown" gathers the spots without a name."""
    spots: tuple[int, ...]
    """Rows in ``Spots``."""
    d_mean_angstrom: float = float("nan")
    match_percent: float = float("nan")
    """100 - mean |deviation| in percent."""
    zone_axis: tuple[int, int, int] | None = None
    """[uvw] along the beam, of its best grain."""
    zone_probability: float = float("nan")
    """Of this zone, if the phase is there."""
    rival_zones: tuple[tuple[int, int, int], ...] = ()
    """Others that are at least a tenth as probable, the likeliest first."""
    rotation: float = float("nan")
    """In-plane rotation of the zone [rad]."""
    probability: float = float("nan")
    q_value: float = float("nan")
    scale: float = 1.0
    """True pixel size over the stated one, as this phase sees it."""
    scale_sigma: float = float("nan")
    flags: Flag = Flag.NONE


UNKNOWN = "unknown"


@dataclass(frozen=True)
class Match:
    """Spots joined to reflections."""

    spots: tuple[SpotMatch, ...]
    """One for each row of ``Spots``."""
    phases: tuple[PhaseEvidence, ...]
    """In falling order of evidence; ``UNKNOWN`` last, if any spot has no name."""
    candidates: tuple[PhaseEvidence, ...] = ()
    """Phases that may explain spots which got no name, the likeliest first; their spots are among the unknown ones."""
