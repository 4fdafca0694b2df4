"""Units of length that files use for pixel sizes, and what else their unit strings can mean."""

from __future__ import annotations

import enum
import re

_ANGSTROM = {
    "fm": 1e-5,
    "pm": 1e-2,
    "å": 1.0,
    "nm": 10.0,
    "µm": 1e4,
    "mm": 1e7,
    "cm": 1e8,
    "m": 1e10,
}

_SPELLINGS = {
    "a": "å",
    "ang": "å",
    "angstrom": "å",
    "angstroem": "å",
    "ångström": "å",
    "ångstrom": "å",
    "picometer": "pm",
    "picometre": "pm",
    "nanometer": "nm",
    "nanometre": "nm",
    "um": "µm",
    "micron": "µm",
    "micrometer": "µm",
    "micrometre": "µm",
    # The micro sign in UTF-8 and in Shift-JIS, each read as if it were a Western code page.
    "âµm": "µm",
    "î¼m": "µm",
    "ƒêm": "µm",
    "\x83êm": "µm",
    "\\u00b5m": "µm",
    "\\u03bcm": "µm",
    "\\u00c5": "å",
    "millimeter": "mm",
    "millimetre": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "meter": "m",
    "metre": "m",
}

_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "µs": 1e-6, "ks": 1e3, "min": 60.0}

_RECIPROCAL = re.compile(r"^1\s*/|\^?\(?[-−]1\)?$|⁻¹$|^per\b")
_ANGLE = {"rad", "mrad", "µrad", "urad", "deg", "degree", "°"}
_ENERGY = {"ev", "kev", "mev", "energy"}


class UnitKind(enum.Enum):
    """What a unit string measures."""

    NONE = "no unit"
    LENGTH = "a length"
    RECIPROCAL = "a reciprocal length"
    ANGLE = "an angle"
    ENERGY = "an energy"
    OTHER = "something else"


def clean_unit(unit: str) -> str:
    """Spell a unit the one way that the tables here use; what is not known comes back in lower case."""
    text = unit.strip().strip("\0").strip().strip("[]").replace("_", "").casefold()
    # casefold turns the micro sign (U+00B5) into the Greek mu (U+03BC); the Ångström sign becomes å by itself.
    text = text.replace("μ", "µ")
    if text in _SECONDS:
        return text
    for candidate in (text, text.removesuffix("s")):
        candidate = _SPELLINGS.get(candidate, candidate)
        if candidate in _ANGSTROM:
            return candidate
    return text


def unit_kind(unit: str) -> UnitKind:
    """Tell what a unit string measures."""
    text = clean_unit(unit)
    if text in ("", "none", "pixel", "pixels", "px"):
        return UnitKind.NONE
    if text in _ANGSTROM:
        return UnitKind.LENGTH
    if _RECIPROCAL.search(text):
        return UnitKind.RECIPROCAL
    if text in _ANGLE:
        return UnitKind.ANGLE
    if text in _ENERGY:
        return UnitKind.ENERGY
    return UnitKind.OTHER


def angstrom_per_unit(unit: str) -> float | None:
    """Length of one unit [Å]; None if it is no known unit of length."""
    return _ANGSTROM.get(clean_unit(unit))


def seconds_per_unit(unit: str) -> float | None:
    """Length of one unit [s]; None if it is no known unit of time."""
    return _SECONDS.get(clean_unit(unit))
