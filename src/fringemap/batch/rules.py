"""Rules that call out while frames arrive: "Li appears", "LiF below half".

::

    RULE  = PHASE VERB
    VERB  = "appears" | "disappears" | "below" SHARE | "covers" SHARE
    SHARE = "half" | NUMBER "%"

``below`` compares the area of a phase with the largest that it has had; ``covers`` with the whole frame.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fringemap.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.report.lines import FrameLine

CONFIRMED_BY = 2
"""Frames in a row for which a rule must hold before it calls: single frames err."""
_PATTERN = re.compile(r"(.+?)\s+(?:(appears|disappears)|(below|covers)\s+(?:(half)|(\d+(?:\.\d*)?)\s*%))")


@dataclass(frozen=True)
class Rule:
    """When to call out."""

    phase: str
    verb: str
    """``appears``, ``disappears``, ``below`` or ``covers``."""
    share: float = math.nan
    """Of its largest area (below) or of the frame (covers), 0 to 1."""

    def __str__(self) -> str:
        share = "" if math.isnan(self.share) else f" {100 * self.share:g} %"
        return f"{self.phase} {self.verb}{share}"


def parse_rule(text: str) -> Rule:
    """Read a rule.

    Raises
    ------
    SettingsError
        The text follows no pattern, or its share is not between 0 and 100 %.
    """
    found = _PATTERN.fullmatch(text.strip())
    if found is None:
        raise SettingsError(
            f"'{text}' is no rule; write 'Li appears', 'Li disappears', 'LiF below half', 'LiF below 30 %' or "
            "'Li covers 20 %'"
        )
    phase, event, verb, half, percent = found.groups()
    share = 0.5 if half else float(percent) / 100.0 if percent else math.nan
    if share > 1.0 or share == 0.0:
        raise SettingsError(f"'{text}': the share must lie between 0 and 100 %")
    return Rule(phase, event or verb, share)


@dataclass
class _State:
    largest: float = 0.0
    seen: bool = False
    held: int = 0
    called: bool = False


@dataclass
class RuleBook:
    """Rules, and what they know of the frames so far; each calls once."""

    rules: Sequence[Rule]
    _states: dict[Rule, _State] = field(default_factory=dict)

    def take(self, line: FrameLine) -> list[Rule]:
        """Look at the next frame; gives the rules that call out now."""
        return [rule for rule in self.rules if _calls(rule, self._states.setdefault(rule, _State()), line)]


def _calls(rule: Rule, state: _State, line: FrameLine) -> bool:
    found = next((phase for phase in line.phases if phase.phase == rule.phase), None)
    area = 0.0 if found is None else found.area_fraction
    if math.isnan(area) and rule.verb in ("below", "covers"):
        return False
    holds = {
        "appears": found is not None,
        "disappears": state.seen and found is None,
        "below": state.largest > 0.0 and area < rule.share * state.largest,
        "covers": area >= rule.share,
    }[rule.verb]
    state.largest, state.seen = max(state.largest, area), state.seen or found is not None
    state.held = state.held + 1 if holds else 0
    calls = state.held >= CONFIRMED_BY and not state.called
    state.called |= calls
    return calls
