"""How well phases are identified on made-up spot lists, with nearest-entry matching on the same frames beside it.

    python benchmarks/identification.py [--frames N] [--seed S] [--drawn] [--reliability]

Frames are those of ``identified_frames``: lists of spots or, with ``--drawn``, images whose spots come from both
detectors.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy import stats

from fringemap.phases import g_vectors
from fringemap.phases.match import match_spots
from fringemap.records import UNKNOWN, Match, Reflections, Structure
from fringemap.settings import PhaseSettings
from identified_frames import CASES, DETECTORS, Made, drawn_frames, listed_frames, split_library, zone_pattern_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Rule = Literal["posterior", "tolerance", "nearest"]
RULES: tuple[Rule, ...] = ("posterior", "tolerance", "nearest")
N_BINS = 10
N_RETOLD = 200
"""How often truth is drawn anew to learn what calibration error chance alone would bring, and frames to learn how far
the calibration error is due to those that were drawn."""


class Stated(NamedTuple):
    """What is said of one spot, or of one zone."""

    probability: float
    """Of the likeliest phase, or of the zone."""
    right: bool
    frame: int
    phase: str
    """Spots of one frame that share phase and probability are one grain, right or wrong together."""


@dataclass
class Tally:
    """Sums over frames."""

    frames: int = 0
    grains: int = 0
    top1: int = 0
    top3: int = 0
    named: int = 0
    names: int = 0
    false_names: int = 0
    zones: int = 0
    zones_right: int = 0
    stated_zones: list[Stated] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    stated: list[Stated] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def total(cls, tallies: Sequence[Tally]) -> Tally:
        """Add up several cases; their frames stay apart."""
        total = cls()
        for one in tallies:
            for name, value in vars(one).items():
                if name.startswith("stated"):
                    value = [each._replace(frame=each.frame + total.frames) for each in value]
                setattr(total, name, getattr(total, name) + value)
        return total


def tally_frame(tally: Tally, made: Made, match: Match) -> None:
    """Compare a match with the truth."""
    tally.frames += 1
    named = {evidence.phase for evidence in match.phases} - {UNKNOWN}
    solid = {number for number in range(len(made.zones)) if spans_plane(made, number)}
    tally.names += len(named)
    tally.false_names += len(named - set(made.phase))
    for spot, truth in zip(match.spots, made.phase, strict=True):
        candidates = ([spot.best] if spot.best else []) + list(spot.rivals)
        if candidates and np.isfinite(candidates[0].probability):
            first = candidates[0]
            tally.stated.append(Stated(first.probability, first.phase == truth, tally.frames, first.phase))
    for number in solid:
        structure, _ = made.zones[number]
        if structure.name in made.known:
            tally_grain(tally, made, match, number, structure.name)
    tally_zones(tally, made, match)


def spans_plane(made: Made, grain: int) -> bool:
    """Tell whether a grain shows two spots that are not on one line."""
    rows = [row for row, number in enumerate(made.grain) if number == grain]
    angle = made.spots.angle[rows]
    return bool(np.any(np.abs(np.sin(angle[:, None] - angle[None, :])) > 0.15))


def tally_grain(tally: Tally, made: Made, match: Match, grain: int, phase: str) -> None:
    """Count whether most spots of a grain bear, or list, the right phase."""
    tally.grains += 1
    rows = [row for row, number in enumerate(made.grain) if number == grain]
    votes = np.zeros(3)
    for row in rows:
        spot = match.spots[row]
        order = list(dict.fromkeys(c.phase for c in ([spot.best] if spot.best else []) + list(spot.rivals)))
        votes += [order[:1] == [phase], phase in order[:3], spot.best is not None and spot.best.phase == phase]
    right = votes > 0.5 * len(rows)
    tally.top1 += bool(right[0])
    tally.top3 += bool(right[1])
    tally.named += bool(right[2])


def tally_zones(tally: Tally, made: Made, match: Match) -> None:
    """Compare zones of the phases that are named or listed rightly, and rotations and scale of the named ones."""
    for number, evidence in enumerate((*match.phases, *match.candidates)):
        rows = [row for row in evidence.spots if made.phase[row] == evidence.phase]
        if evidence.zone_axis is None or not rows:
            continue
        own = [grain for grain, (structure, _) in enumerate(made.zones) if structure.name == evidence.phase]
        same = [grain for grain in own if same_axis(*made.zones[grain], evidence.zone_axis)]
        # What is said of a zone holds if the phase is right, and a grain of strange spots is not.
        if np.isfinite(evidence.zone_probability) and len(rows) > 0.5 * len(evidence.spots):
            tally.stated_zones.append(Stated(evidence.zone_probability, bool(same), tally.frames, evidence.phase))
        if number >= len(match.phases):
            continue
        tally.zones += 1
        tally.zones_right += bool(same)
        tally.scales.append(evidence.scale - 1.0 - made.scale_error)
        if same:
            tally.turns.append(min(turn_error(made, grain, evidence.zone_axis, evidence.rotation) for grain in same))


def same_axis(structure: Structure, one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Tell whether two axes are equivalent: the planes across them, as far as symmetry goes, are the same."""
    metric = np.linalg.inv(g_vectors(structure.cell, np.eye(3)))
    a, b = np.array(one) @ metric.T, np.array(other) @ metric.T
    if abs(np.linalg.norm(a) - np.linalg.norm(b)) > 1e-6 * np.linalg.norm(a):
        return False
    lengths = [np.sort(np.hypot(*zone_pattern_of(structure, axis).g.T)) for axis in (one, other)]
    return len(lengths[0]) == len(lengths[1]) and bool(np.allclose(*lengths, rtol=1e-6))


def turn_error(made: Made, grain: int, axis: tuple[int, int, int], rotation: float) -> float:
    """Least turn that brings the pattern that was found on the pattern that was drawn [degrees].

    Patterns have symmetry and may be seen from either side, so the turns of all pairs of equal spots are tried.
    """
    structure, drawn_axis = made.zones[grain]
    drawn, found = zone_pattern_of(structure, drawn_axis), zone_pattern_of(structure, axis)
    drawn_g = (drawn.g[:, 0] + 1j * drawn.g[:, 1]) * np.exp(1j * made.turns[grain])
    found_g = (found.g[:, 0] + 1j * found.g[:, 1]) * np.exp(1j * rotation)
    shortest = drawn_g[np.isclose(np.abs(drawn_g), np.abs(drawn_g[0]), rtol=1e-6)]
    return float(np.degrees(np.abs(np.angle(shortest / found_g[0])).min()))


def calibration_error(stated: list[Stated]) -> float:
    """Mean distance between stated probability and share of right answers over bins, weighted by their counts."""
    if not stated:
        return float("nan")
    return _distance(np.array([one.probability for one in stated]), np.array([one.right for one in stated]))


def error_by_chance(stated: list[Stated]) -> float:
    """Calibration error that would be found if all probabilities were right, for spots of one grain share one truth."""
    if not stated:
        return float("nan")
    rng = np.random.default_rng(0)
    probability = np.array([one.probability for one in stated])
    grains = [(one.frame, one.phase, round(one.probability, 6)) for one in stated]
    numbers = {grain: number for number, grain in enumerate(dict.fromkeys(grains))}
    group = np.array([numbers[grain] for grain in grains])
    told = [probability > rng.uniform(size=len(numbers))[group] for _ in range(N_RETOLD)]
    return float(np.mean([_distance(probability, right) for right in told]))


def sampling_error(stated: list[Stated]) -> float:
    """Standard deviation of the calibration error if frames are drawn anew from those that there are."""
    if not stated:
        return float("nan")
    rng = np.random.default_rng(0)
    probability = np.array([one.probability for one in stated])
    off = np.array([one.right for one in stated]) - probability
    frame = np.unique([one.frame for one in stated], return_inverse=True)[1]
    n_frames, place = int(frame.max()) + 1, _bins(probability)
    total, counts = np.zeros((n_frames, N_BINS)), np.zeros(n_frames)
    np.add.at(total, (frame, place), off)
    np.add.at(counts, frame, 1.0)
    drawn = rng.multinomial(n_frames, np.full(n_frames, 1.0 / n_frames), size=N_RETOLD)
    return float(np.std(np.abs(drawn @ total).sum(axis=1) / (drawn @ counts)))


def limits(n_false: int, n: int) -> tuple[float, float]:
    """Exact 95 % limits on a share of which ``n_false`` of ``n`` were seen."""
    interval = stats.binomtest(n_false, n).proportion_ci(0.95, method="exact") if n else (0.0, 1.0)
    low, high = interval
    return float(low), float(high)


def _bins(probability: np.ndarray) -> np.ndarray:
    return np.minimum((probability * N_BINS).astype(int), N_BINS - 1)


def _distance(probability: np.ndarray, right: np.ndarray) -> float:
    off = np.bincount(_bins(probability), probability - right, N_BINS)
    return float(np.abs(off).sum() / len(probability))


def reliability(stated: list[Stated], of: str) -> str:
    """Lay out stated and realised shares by bins; ``of`` names what is counted."""
    probability = np.array([one.probability for one in stated])
    right = np.array([one.right for one in stated])
    place = _bins(probability)
    lines = [f"| stated | right | {of} |", "|---|---|---|"]
    lines += [
        f"| {probability[place == b].mean():.3f} | {right[place == b].mean():.3f} | {(place == b).sum()} |"
        for b in range(N_BINS)
        if np.any(place == b)
    ]
    return "\n".join(lines)


Tallies = dict[tuple[str, str], Tally]
"""By case and rule."""


def run(n_frames: int, seed: int, rules: Sequence[Rule] = RULES) -> Tallies:
    """Make the frames of each case and match them by each rule."""
    _, _, known = split_library()
    tallies: Tallies = {}
    for case in CASES:
        frames = list(listed_frames(case, n_frames, seed))
        for rule in rules:
            tally = tallies[case, rule] = Tally()
            for made in frames:
                match_and_tally(tally, made, known, rule)
    tallies |= {("all lists", rule): Tally.total([tallies[case, rule] for case in CASES]) for rule in rules}
    return tallies


def run_drawn(n_frames: int, seed: int, rules: Sequence[Rule] = RULES, cache: Path | None = None) -> Tallies:
    """Draw frames as images, find their spots by each detector, and match them."""
    _, _, known = split_library()
    tallies: Tallies = {(f"images, {detector}", rule): Tally() for rule in rules for detector in DETECTORS}
    for detector, made in drawn_frames(n_frames, seed, cache):
        for rule in rules:
            match_and_tally(tallies[f"images, {detector}", rule], made, known, rule)
    cases = [f"images, {detector}" for detector in DETECTORS]
    tallies |= {("all images", rule): Tally.total([tallies[case, rule] for case in cases]) for rule in rules}
    return tallies


def match_and_tally(tally: Tally, made: Made, known: tuple[Reflections, ...], rule: Rule) -> None:
    """Match one frame by one rule."""
    begin = time.perf_counter()
    match = match_spots(made.spots, known, scale=made.scale, settings=PhaseSettings(match=rule))
    tally.seconds.append(time.perf_counter() - begin)
    tally_frame(tally, made, match)


HEAD = (
    "case",
    "rule",
    "top-1",
    "top-3",
    "named",
    "names",
    "false",
    "share of false names, with 95 % limits",
    "calibration error",
    "by chance",
    "zones right",
    "turn, median [deg]",
    "scale error, rms [%]",
)


def report(tallies: Tallies) -> str:
    """Lay out the table."""
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [(case, rule, *_cells(tally)) for (case, rule), tally in tallies.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(t: Tally) -> tuple[str, ...]:
    low, high = limits(t.false_names, t.names)
    share = f"{t.false_names / t.names:.3f} ({low:.3f} to {high:.3f})" if t.names else "–"
    error = f"{calibration_error(t.stated):.3f} ± {sampling_error(t.stated):.3f}" if t.stated else "–"
    return (
        *(f"{count / max(t.grains, 1):.3f}" for count in (t.top1, t.top3, t.named)),
        f"{t.names}",
        f"{t.false_names}",
        share,
        error,
        f"{error_by_chance(t.stated):.3f}" if t.stated else "–",
        f"{t.zones_right / t.zones:.3f}" if t.zones else "–",
        f"{np.median(t.turns):.2f}" if t.turns else "–",
        f"{100 * np.sqrt(np.mean(np.square(t.scales))):.2f}" if t.zones else "–",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How well phases are identified on made-up frames.")
    parser.add_argument("--frames", type=int, default=60, help="frames of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drawn", action="store_true", help="draw images, and find their spots by both detectors")
    parser.add_argument("--cache", type=Path, help="folder that keeps the spots of images for the next time")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--reliability", action="store_true", help="print stated and realised shares, too")
    arguments = parser.parse_args()
    if arguments.drawn:
        tallies = run_drawn(arguments.frames, arguments.seed, arguments.rules, arguments.cache)
    else:
        tallies = run(arguments.frames, arguments.seed, arguments.rules)
    print(report(tallies))
    seconds = [second for (_, rule), tally in tallies.items() if rule == "posterior" for second in tally.seconds]
    print(f"\n{1000 * np.median(seconds):.0f} ms a frame (median)")
    if arguments.reliability:
        whole = Tally.total([tally for (case, rule), tally in tallies.items() if rule == "posterior" and "all" in case])
        print(f"\n{reliability(whole.stated, 'spots')}\n\n{reliability(whole.stated_zones, 'zones')}")


if __name__ == "__main__":
    main()
