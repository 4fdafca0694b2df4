"""The nouns: frozen records that rooms pass to each other.

Records hold arrays, units and flags, and no algorithms; an array in a record is never changed in place. Inside, lengths
are in Å, reciprocal lengths in 1/Å, angles in radians, times in s; arrays are (row, col). See ``docs/conventions.md``.
"""

from fringemap.records.basics import (
    FLAG_MEANING,
    Array,
    ComplexImage,
    Flag,
    FloatArray,
    Image,
    IntArray,
    Mask,
    Scale,
    ScaleSource,
    flag_names,
)
from fringemap.records.calibration import Calibration
from fringemap.records.frames import (
    Diffractogram,
    Frame,
)
from fringemap.records.memory import lend_array, let_spare_memory_go
from fringemap.records.phases import (
    UNKNOWN,
    Atom,
    Candidate,
    Match,
    PhaseEvidence,
    Reflections,
    SpotMatch,
    Structure,
    ZonePattern,
)
from fringemap.records.results import (
    FrameResult,
    FrameSummary,
    MapSummary,
    PhaseMap,
)
from fringemap.records.series import (
    Drift,
    Event,
    EventKind,
    Evolution,
    Series,
    Track,
)
from fringemap.records.spots import (
    Profile,
    Rings,
    Spots,
    TrueSpots,
    Truth,
)

__all__ = [
    "FLAG_MEANING",
    "UNKNOWN",
    "Array",
    "Atom",
    "Calibration",
    "Candidate",
    "ComplexImage",
    "Diffractogram",
    "Drift",
    "Event",
    "EventKind",
    "Evolution",
    "Flag",
    "FloatArray",
    "Frame",
    "FrameResult",
    "FrameSummary",
    "Image",
    "IntArray",
    "MapSummary",
    "Mask",
    "Match",
    "PhaseEvidence",
    "PhaseMap",
    "Profile",
    "Reflections",
    "Rings",
    "Scale",
    "ScaleSource",
    "Series",
    "SpotMatch",
    "Spots",
    "Structure",
    "Track",
    "TrueSpots",
    "Truth",
    "ZonePattern",
    "flag_names",
    "lend_array",
    "let_spare_memory_go",
]
