"""Places for labels: near what they name, inside the picture, and never over each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_REACHES = (0.0, 0.08, 0.18, 0.32, 0.5, 0.75)
"""How far a label may stand off its circle [inch], the nearest first."""
_N_DIRECTIONS = 16


@dataclass(frozen=True)
class Box:
    """A rectangle in inches; y grows upward."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: Box) -> bool:
        """Say whether the two share any area."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def inside(self, other: Box) -> bool:
        """Say whether this one lies within the other."""
        return other.x0 <= self.x0 and self.x1 <= other.x1 and other.y0 <= self.y0 and self.y1 <= other.y1

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box (x, y)."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True)
class Label:
    """A text that wants a place beside its circle."""

    x: float
    """Centre of the circle [inch]."""
    y: float
    radius: float
    width: float
    """Of the text with its margin [inch]."""
    height: float


def place_labels(
    labels: Sequence[Label], *, page: Box, centre: tuple[float, float], obstacles: Sequence[Box] = ()
) -> list[Box | None]:
    """Give each label the first free place around its circle.

    Parameters
    ----------
    labels
        In falling order of importance.
    page
        What the labels must stay inside.
    centre
        Labels go outward from here first (x, y) [inch].
    obstacles
        What they must not cover besides each other and the circles.

    Returns
    -------
    list
        A box for each label, in the same order; None where no place is free.
    """
    circles = [Box(la.x - la.radius, la.y - la.radius, la.x + la.radius, la.y + la.radius) for la in labels]
    taken = [*obstacles, *circles]
    placed: list[Box | None] = []
    for label in labels:
        free = (box for box in _candidates(label, centre) if box.inside(page) and not _hits(box, taken))
        box = next(free, None)
        placed.append(box)
        if box is not None:
            taken.append(box)
    return placed


def _hits(box: Box, taken: Sequence[Box]) -> bool:
    return any(box.overlaps(other) for other in taken)


def _candidates(label: Label, centre: tuple[float, float]) -> Iterator[Box]:
    outward = math.atan2(label.y - centre[1], label.x - centre[0])
    for reach in _REACHES:
        for step in range(_N_DIRECTIONS):
            # Alternately to both sides of the outward direction.
            turn = (step + 1) // 2 * (-1 if step % 2 else 1)
            yield _beside(label, outward + turn * 2 * math.pi / _N_DIRECTIONS, reach)


def _beside(label: Label, direction: float, reach: float) -> Box:
    """Put the box where its nearest edge clears the circle in the given direction."""
    ux, uy = math.cos(direction), math.sin(direction)
    half_w, half_h = label.width / 2, label.height / 2
    # Distance from the box's centre to its edge along the direction.
    to_edge = min(half_w / max(abs(ux), 1e-9), half_h / max(abs(uy), 1e-9))
    distance = label.radius * math.sqrt(2) + to_edge + reach + 0.01
    x, y = label.x + distance * ux, label.y + distance * uy
    return Box(x - half_w, y - half_h, x + half_w, y + half_h)


def text_size(text: str, font_size: float) -> tuple[float, float]:
    """Estimate the size of a text in DejaVu Sans from above [inch]; mathtext marks are not counted."""
    lines = [line.replace("$", "").replace("\\bar", "").replace("{", "").replace("}", "") for line in text.split("\n")]
    widest = max(len(line.replace("\u0305", "")) for line in lines)
    return 0.66 * font_size / 72 * widest, 1.42 * font_size / 72 * len(lines)
