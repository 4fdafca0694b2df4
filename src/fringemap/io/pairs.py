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
