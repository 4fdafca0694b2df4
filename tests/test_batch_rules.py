from __future__ import annotations

import math

import pytest

from fringemap.batch.rules import Rule, RuleBook, parse_rule
from fringemap.errors import SettingsError
from fringemap.records import Flag
from fringemap.report.lines import FrameLine, PhaseLine


def frame(**areas: float) -> FrameLine:
    phases = tuple(PhaseLine(name, 1, 1.0, 0.0, 0.0, area, 0.0) for name, area in areas.items())
    return FrameLine("f", 0, None, 1, 0, phases, Flag.NONE, (), 0.0)


def calls_at(text: str, *frames: FrameLine) -> list[int]:
    book = RuleBook([parse_rule(text)])
    return [number for number, line in enumerate(frames) if book.take(line)]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Li appears", Rule("Li", "appears")),
        ("  ice Ih   disappears ", Rule("ice Ih", "disappears")),
        ("LiF below half", Rule("LiF", "below", 0.5)),
        ("LiF below 30 %", Rule("LiF", "below", 0.3)),
        ("LiF covers 2.5%", Rule("LiF", "covers", 0.025)),
    ],
)
def test_a_rule_is_read(text: str, rule: Rule) -> None:
    read = parse_rule(text)
    assert (read.phase, read.verb) == (rule.phase, rule.verb)
    assert read.share == pytest.approx(rule.share, nan_ok=True)
    assert parse_rule(str(read)).share == pytest.approx(rule.share, nan_ok=True)


@pytest.mark.parametrize("text", ["", "Li", "appears", "Li vanishes", "Li below", "Li below 30", "Li covers 120 %"])
def test_what_is_no_rule_is_named(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_rule(text)


def test_a_phase_appears_when_two_frames_in_a_row_have_it() -> None:
    assert calls_at("Li appears", frame(), frame(Li=0.1), frame(), frame(Li=0.1), frame(Li=0.1), frame(Li=0.1)) == [4]


def test_a_phase_disappears_only_if_it_was_there() -> None:
    assert calls_at("Li disappears", frame(), frame(), frame(Li=0.1), frame(), frame()) == [4]


def test_below_compares_with_the_largest_area_so_far() -> None:
    frames = [frame(LiF=a) for a in (0.2, 0.4, 0.3, 0.19, 0.19, 0.1)]
    assert calls_at("LiF below half", *frames) == [4]
    assert calls_at("LiF below half", frame(LiF=0.4), frame(), frame()) == [2]


def test_covers_compares_with_the_frame() -> None:
    assert calls_at("LiF covers 30 %", *[frame(LiF=a) for a in (0.29, 0.3, 0.31, 0.5)]) == [2]


def test_an_area_that_was_not_measured_says_nothing() -> None:
    unmeasured = frame(LiF=math.nan)
    assert calls_at("LiF below half", frame(LiF=0.4), unmeasured, unmeasured, unmeasured) == []
