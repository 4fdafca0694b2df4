"""How each phase is drawn: a colour, a line and a hatch that stay apart for any number of phases and any eyes.

The first seven colours are those of Okabe and Ito, the brightest on a grey frame first. Further rounds through them are
lightened or darkened; hatch and line style change from phase to phase, so that no two of the first 336 look alike
even in grey.

References
----------
.. [1] M. Okabe, K. Ito, Color universal design (2008), https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fringemap.records import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Line = Literal["-", "--", "-.", ":"]

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
"""Orange, sky blue, bluish green, yellow, vermilion, reddish purple, blue. Black is left to text."""
NEUTRAL = "#B4B4B4"
"""Of what has no name."""
_HATCHES = ("////", "\\\\\\\\", "----", "||||", "....", "xxxx", "++++", "oooo")
_LINES: tuple[Line, ...] = ("-", "--", "-.", ":")
_MARKERS = "osD^vphX"
_ROUNDS = (("white", 0.0), ("white", 0.45), ("black", 0.35), ("white", 0.7), ("black", 0.55), ("white", 0.25))


@dataclass(frozen=True)
class PhaseStyle:
    """How one phase is drawn."""

    colour: str
    """As ``#RRGGBB``."""
    hatch: str
    line: Line
    marker: str


UNKNOWN_STYLE = PhaseStyle(NEUTRAL, "", "-", "o")


def style_of(order: int) -> PhaseStyle:
    """Give the style of the phase that was named as number ``order``, from 0."""
    n = len(OKABE_ITO)
    round_number = order // n
    return PhaseStyle(
        colour=_shade(OKABE_ITO[order % n], *_ROUNDS[round_number % len(_ROUNDS)]),
        hatch=_HATCHES[order % len(_HATCHES)],
        line=_LINES[round_number % len(_LINES)],
        marker=_MARKERS[order % len(_MARKERS)],
    )


def assign_styles(phases: Iterable[str]) -> dict[str, PhaseStyle]:
    """Give each phase its style in the order of appearance; the unknown is always neutral grey."""
    names = [name for name in dict.fromkeys(phases) if name != UNKNOWN]
    return {name: style_of(order) for order, name in enumerate(names)} | {UNKNOWN: UNKNOWN_STYLE}


def style_for(styles: Mapping[str, PhaseStyle], phase: str) -> PhaseStyle:
    """Look up a phase; one without a style is drawn like the unknown."""
    return styles.get(phase, UNKNOWN_STYLE)


def file_names(phases: Iterable[str]) -> dict[str, str]:
    """Give each phase a name that any disk takes, no two alike on disks that ignore case."""
    taken: set[str] = set()
    names = {}
    for phase in phases:
        base = re.sub(r"[^A-Za-z0-9.+-]+", "_", phase).strip("._")[:60] or "phase"
        name, number = base, 2
        while name.lower() in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name.lower())
        names[phase] = name
    return names


def _shade(colour: str, towards: str, share: float) -> str:
    end = 255.0 if towards == "white" else 0.0
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + share * (end - part)):02X}" for part in parts)
