"""Which files belong together: TIA writes one ``.emi`` and its images in ``.ser`` files beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def ser_files(emi: Path) -> list[Path]:
    """Find the .ser files that belong to an .emi file by their names: name_1.ser, name_2.ser, ..."""
    pattern = re.compile(re.escape(emi.stem) + r"_(\d+)\.ser", re.IGNORECASE)
    found = [(int(m.group(1)), p) for p in emi.parent.iterdir() if (m := pattern.fullmatch(p.name))]
    return [p for _number, p in sorted(found)]


def emi_file(ser: Path) -> Path | None:
    """Find the .emi file that a .ser file belongs to; None if it is not there."""
    match = re.fullmatch(r"(.+)_\d+", ser.stem)
    for ending in (".emi", ".EMI"):
        if match and (emi := ser.with_name(match.group(1) + ending)).is_file():
            return emi
    return None


def belonging(path: Path) -> list[Path]:
    """Files that are read together with one: those of a TIA pair, the one that was named first; else it alone."""
    kind = path.suffix.lower()
    if kind == ".emi":
        return [path, *ser_files(path)]
    emi = emi_file(path) if kind == ".ser" else None
    return [path] if emi is None else [path, emi]
