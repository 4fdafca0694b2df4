"""How well phases are identified on made-up spot lists, with nearest-entry matching on the same frames beside it.

    python benchmarks/identification.py [--frames N] [--seed S] [--drawn] [--reliability]

A frame holds one to five grains of up to three phases near low-index zones, tilted by a degree or two and strained by
a permille. Contrast transfer hides some of the reflections, noise moves the others, false spots and sums of spots of
different grains are added, and the whole is scaled and distorted. Every sixth structure of the library is kept from
the matcher, so that some grains have no right answer but "unknown". With ``--drawn`` frames are images, and their spots
come from both detectors.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fringemap.errors import StructureError
from fringemap.phases import g_vectors, load_references, zone_pattern
from fringemap.phases.match import match_spots
from fringemap.records import UNKNOWN, Match, Reflections, Scale, ScaleSource, Spots, Structure, ZonePattern
from fringemap.settings import PhaseSettings
from identified_frames import Detector, Drawn, draw_frame, spots_of, true_grains

D_MIN = 1.0
SECOND_ORDER = 0.3
"""Amplitude of false spots, and of sums of two others, over that of the reflections of grains."""
CASES = {
    "no error, 1 % stated": ("fixed", 0.0, 0.01),
    "±1 % error, 1 % stated": ("fixed", 0.01, 0.01),
    "±3 % error, 2.5 % stated": ("fixed", 0.03, 0.025),
    "error as stated, 1 %": ("drawn", 0.01, 0.01),
}
RULES = ("posterior", "tolerance", "nearest")
DETECTORS: tuple[Detector, ...] = ("classical", "unet")
N_RETOLD = 200
"""How often truth is drawn anew to learn what calibration error chance alone would bring."""


@dataclass
class Made:
    """A frame with its answer."""

    spots: Spots
    scale: Scale
    phase: list[str]
    """Of each spot; "" if no grain made it."""
    grain: list[int]
    zones: list[tuple[Structure, tuple[int, int, int]]]
    scale_error: float
    turns: list[float]
    """In-plane rotation of each grain's pattern [rad]."""
    known: frozenset[str]
    """Phases of the frame that the matcher could know."""


class Stated(NamedTuple):
    """What is said of one spot."""

    probability: float
    """Of the likeliest phase."""
    right: bool
    group: tuple[int, str, float]
    """Frame, phase and probability: spots that share them are one grain, right or wrong together."""


@dataclass
class Tally:
    """Sums over frames."""

    frames: int = 0
    grains: int = 0
    top1: int = 0
    top3: int = 0
    named: int = 0
    phases: int = 0
    phases_found: int = 0
    names: int = 0
    false_names: int = 0
    spots: int = 0
    spots_wrong: int = 0
    zones: int = 0
    zones_right: int = 0
    turns: list[float] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    stated: list[Stated] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def make_frame(library: tuple[Reflections, ...], held_out: frozenset[str], case: str, rng: np.random.Generator) -> Made:
    """Draw a frame."""
    kind, size, stated = CASES[case]
    scale_error = size * float(rng.normal() if kind == "drawn" else rng.choice([-1.0, 1.0]))
    ellipse = rng.uniform(0.0, 0.01)
    axis = rng.uniform(0.0, np.pi)
    e1, e2 = ellipse * np.cos(2 * axis), ellipse * np.sin(2 * axis)
    affine = (1.0 + scale_error) * (np.eye(2) + np.array([[e1, e2], [e2, -e1]]))
    chosen = rng.choice(len(library), size=int(rng.integers(1, 4)), replace=False)
    focus = rng.uniform(4.0, 30.0)
    g, phase, grain, zones, turns = [], [], [], [], []
    for number in range(int(rng.integers(1, 6))):
        structure = library[int(rng.choice(chosen))].structure
        uvw, seen, turn = draw_grain(structure, focus, rng)
        turns.append(turn)
        g.append(seen @ affine.T)
        phase += [structure.name] * len(seen)
        grain += [number] * len(seen)
        zones.append((structure, uvw))
    real = np.concatenate(g)
    extra = [*second_order(real, np.array(grain), rng), *false_spots(rng)]
    every = np.concatenate([real, np.reshape(extra, (-1, 2))])
    spots = as_spots(every, rng)
    # What two spots make together is weaker than both.
    amplitude = np.where(np.arange(len(every)) < len(real), 1.0, SECOND_ORDER)
    spots = replace(spots, amplitude=amplitude)
    phase += [""] * len(extra)
    grain += [-1] * len(extra)
    known = frozenset(phase) - held_out - {""}
    return Made(spots, Scale((0.4, 0.4), stated, ScaleSource.HEADER), phase, grain, zones, scale_error, turns, known)


def draw_grain(
    structure: Structure, focus: float, rng: np.random.Generator
) -> tuple[tuple[int, int, int], np.ndarray, float]:
    """Draw the zone, the spots and the turn of a grain that shows at least one."""
    while True:
        uvw = tuple(int(i) for i in rng.integers(-2, 3, size=3))
        if not any(uvw) or np.gcd.reduce(uvw) != 1:
            continue
        try:
            pattern = zone_pattern_of(structure, uvw)
        except StructureError:  # a zone without reflections above D_MIN
            continue
        half = (pattern.hkl @ np.array([1e6, 1e3, 1.0])) > 0
        g, intensity = pattern.g[half], pattern.intensity[half]
        length = np.hypot(*g.T)
        transfer = np.abs(np.sin(np.pi * focus * length**2 + 0.4)) * np.exp(-((length / 0.75) ** 4))
        amplitude = np.sqrt(intensity / 100.0) * transfer * np.exp(0.4 * rng.normal(size=len(g)))
        shown = (amplitude > rng.uniform(0.1, 0.35)) & (rng.uniform(size=len(g)) > 0.15)
        if shown.any():
            break
    tilt = np.radians(np.abs(rng.normal(0.0, 1.5)))
    around = rng.uniform(0.0, np.pi)
    normal = np.array([np.cos(around), np.sin(around)])
    g = g[shown] - (1.0 - np.cos(tilt)) * (g[shown] @ normal)[:, None] * normal
    g = g * (1.0 + rng.normal(0.0, 0.001))
    turn = rng.uniform(0.0, 2.0 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return uvw, g @ rotation.T, float(turn)


@lru_cache(maxsize=8192)
def zone_pattern_of(structure: Structure, uvw: tuple[int, int, int]) -> ZonePattern:
    """Keep patterns: the same low zones are drawn again and again."""
    return zone_pattern(structure, uvw, d_min_angstrom=D_MIN)


def second_order(g: np.ndarray, grain: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw at most two sums or differences of spots of different grains."""
    first, second = np.nonzero(grain[:, None] < grain[None, :])
    if len(first) == 0:
        return []
    made = []
    for pick in rng.integers(0, len(first), size=int(rng.integers(0, 3))):
        new = g[first[pick]] + rng.choice([-1.0, 1.0]) * g[second[pick]]
        if 0.1 < np.hypot(*new) < 0.9:
            made.append(new)
    return made


def false_spots(rng: np.random.Generator) -> list[np.ndarray]:
    """Draw spots that nothing made."""
    made = []
    for _ in range(int(rng.poisson(2.0))):
        length, angle = rng.uniform(0.15, 0.8), rng.uniform(0.0, np.pi)
        made.append(length * np.array([np.cos(angle), np.sin(angle)]))
    return made


def as_spots(g: np.ndarray, rng: np.random.Generator) -> Spots:
    """Move the spots by their errors and list one of each Friedel pair."""
    n = len(g)
    sigma = np.exp(rng.uniform(np.log(2e-4), np.log(1.5e-3), size=n))
    g = g + rng.normal(size=(n, 2)) * sigma[:, None]
    flip = (g[:, 0] < 0) | ((g[:, 0] == 0) & (g[:, 1] < 0))
    g = np.where(flip[:, None], -g, g)
    return Spots(
        gx=g[:, 0],
        gy=g[:, 1],
        covariance=sigma[:, None, None] ** 2 * np.eye(2),
        amplitude=np.ones(n),
        amplitude_sigma=np.full(n, 0.1),
        snr=np.full(n, 10.0),
        width=np.full(n, 0.01),
        score=np.full(n, 5.0),
        position=np.zeros((n, 2)),
        extent=np.ones((n, 2)),
        flags=np.zeros(n, np.int64),
    )


def tally_frame(tally: Tally, made: Made, match: Match) -> None:
    """Compare a match with the truth."""
    tally.frames += 1
    named = {evidence.phase for evidence in match.phases} - {UNKNOWN}
    solid = {number for number in range(len(made.zones)) if spans_plane(made, number)}
    expected = {made.zones[number][0].name for number in solid} & made.known
    tally.phases += len(expected)
    tally.phases_found += len(expected & named)
    tally.names += len(named)
    tally.false_names += len(named - set(made.phase))
    for spot, truth in zip(match.spots, made.phase, strict=True):
        candidates = ([spot.best] if spot.best else []) + list(spot.rivals)
        tally.spots += spot.best is not None
        tally.spots_wrong += spot.best is not None and spot.best.phase != truth
        if candidates and np.isfinite(candidates[0].probability):
            first = candidates[0]
            group = (tally.frames, first.phase, round(first.probability, 6))
            tally.stated.append(Stated(first.probability, first.phase == truth, group))
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
    """Compare zones, rotations and scale of the phases that are named rightly."""
    for evidence in match.phases:
        rows = [row for row in evidence.spots if made.phase[row] == evidence.phase]
        if evidence.zone_axis is None or not rows:
            continue
        own = [number for number, (structure, _) in enumerate(made.zones) if structure.name == evidence.phase]
        same = [number for number in own if same_axis(*made.zones[number], evidence.zone_axis)]
        tally.zones += 1
        tally.zones_right += bool(same)
        tally.scales.append(evidence.scale - 1.0 - made.scale_error)
        if same:
            tally.turns.append(min(turn_error(made, number, evidence.zone_axis, evidence.rotation) for number in same))


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


def calibration_error(stated: list[Stated], n_bins: int = 10) -> float:
    """Mean distance between stated probability and share of right answers over bins, weighted by their counts."""
    if not stated:
        return float("nan")
    return _distance(np.array([one.probability for one in stated]), np.array([one.right for one in stated]), n_bins)


def error_by_chance(stated: list[Stated], n_bins: int = 10) -> float:
    """Calibration error that would be found if all probabilities were right, for spots of one grain share one truth."""
    if not stated:
        return float("nan")
    rng = np.random.default_rng(0)
    probability = np.array([one.probability for one in stated])
    numbers = {group: number for number, group in enumerate(dict.fromkeys(one.group for one in stated))}
    group = np.array([numbers[one.group] for one in stated])
    told = [probability > rng.uniform(size=len(numbers))[group] for _ in range(N_RETOLD)]
    return float(np.mean([_distance(probability, right, n_bins) for right in told]))


def _distance(probability: np.ndarray, right: np.ndarray, n_bins: int) -> float:
    place = np.minimum((probability * n_bins).astype(int), n_bins - 1)
    return float(
        sum(
            np.mean(place == b) * abs(probability[place == b].mean() - right[place == b].mean())
            for b in range(n_bins)
            if np.any(place == b)
        )
    )


def reliability(stated: list[Stated], n_bins: int = 10) -> str:
    """Lay out stated and realised shares by bins."""
    probability = np.array([one.probability for one in stated])
    right = np.array([one.right for one in stated])
    place = np.minimum((probability * n_bins).astype(int), n_bins - 1)
    lines = ["stated | right | spots", "--- | --- | ---"]
    lines += [
        f"{probability[place == b].mean():.3f} | {right[place == b].mean():.3f} | {(place == b).sum()}"
        for b in range(n_bins)
        if np.any(place == b)
    ]
    return "\n".join(lines)


def run(n_frames: int, seed: int) -> dict[str, dict[str, Tally]]:
    """Make the frames of each case and match them by each rule."""
    library, held_out, known = split_library()
    tallies: dict[str, dict[str, Tally]] = {}
    for number, case in enumerate(CASES):
        rng = np.random.default_rng([seed, number])
        frames = [make_frame(library, held_out, case, rng) for _ in range(n_frames)]
        for rule in RULES:
            tally = tallies.setdefault(case, {}).setdefault(rule, Tally())
            for made in frames:
                match_and_tally(tally, made, known, rule)
    return tallies


def run_drawn(n_frames: int, seed: int) -> dict[str, dict[str, Tally]]:
    """Draw frames as images, find their spots by each detector, and match them."""
    library, held_out, known = split_library()
    tallies: dict[str, dict[str, Tally]] = {f"images, {detector}": {"posterior": Tally()} for detector in DETECTORS}
    for number in range(n_frames):
        drawn = draw_frame(library, np.random.default_rng([seed, 77, number]))
        for detector in DETECTORS:
            spots = spots_of(drawn, detector)
            if len(spots):
                made = as_made(drawn, spots, held_out)
                match_and_tally(tallies[f"images, {detector}"]["posterior"], made, known, "posterior")
    return tallies


def split_library() -> tuple[tuple[Reflections, ...], frozenset[str], tuple[Reflections, ...]]:
    """All structures, the names of those kept from the matcher, and the others."""
    library = load_references(PhaseSettings(), d_min_angstrom=D_MIN)
    library = tuple(reflections for reflections in library if reflections.structure is not None)
    held_out = frozenset(reflections.phase for reflections in library[::6])
    return library, held_out, tuple(reflections for reflections in library if reflections.phase not in held_out)


def as_made(drawn: Drawn, spots: Spots, held_out: frozenset[str]) -> Made:
    """Join what was found in an image to its answer."""
    phase, grain = true_grains(spots, drawn.truth, drawn.frame.scale)
    zones = [(one.structure, one.zone_axis) for one in drawn.scene.grains]
    turns = [one.rotation for one in drawn.scene.grains]
    known = frozenset(phase) - held_out - {""}
    return Made(spots, drawn.frame.scale, phase, grain, zones, drawn.scale_error, turns, known)


def match_and_tally(tally: Tally, made: Made, known: tuple[Reflections, ...], rule: str) -> None:
    """Match one frame by one rule."""
    begin = time.perf_counter()
    match = match_spots(made.spots, known, scale=made.scale, settings=PhaseSettings(match=rule))
    tally.seconds.append(time.perf_counter() - begin)
    tally_frame(tally, made, match)


def report(tallies: dict[str, dict[str, Tally]]) -> str:
    """Lay out the table."""
    head = (
        "case | rule | top-1 | top-3 | named | phases found | names | false names a frame | false share | "
        "spots wrong | calibration error | by chance alone | "
        "zones right | turn (median, deg) | scale error (rms, %) | ms a frame"
    )
    lines = [head, " | ".join(["---"] * len(head.split(" | ")))]
    for case, rules in tallies.items():
        for rule, t in rules.items():
            scales = 100 * np.sqrt(np.mean(np.square(t.scales))) if t.scales else float("nan")
            turns = np.median(t.turns) if t.turns else float("nan")
            cells = [
                case,
                rule,
                f"{t.top1 / max(t.grains, 1):.3f}",
                f"{t.top3 / max(t.grains, 1):.3f}",
                f"{t.named / max(t.grains, 1):.3f}",
                f"{t.phases_found / max(t.phases, 1):.3f}",
                f"{t.names}",
                f"{t.false_names / t.frames:.3f}",
                f"{t.false_names / max(t.names, 1):.3f}",
                f"{t.spots_wrong / max(t.spots, 1):.3f}",
                f"{calibration_error(t.stated):.3f}",
                f"{error_by_chance(t.stated):.3f}",
                f"{t.zones_right / max(t.zones, 1):.3f}",
                f"{turns:.2f}",
                f"{scales:.2f}",
                f"{1000 * np.median(t.seconds):.0f}",
            ]
            lines.append(" | ".join(cells))
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How well phases are identified on made-up spot lists.")
    parser.add_argument("--frames", type=int, default=60, help="frames of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drawn", action="store_true", help="draw images, and find their spots by both detectors")
    parser.add_argument("--reliability", action="store_true", help="print stated and realised shares, too")
    arguments = parser.parse_args()
    tallies = (run_drawn if arguments.drawn else run)(arguments.frames, arguments.seed)
    print(report(tallies))
    stated = [one for rules in tallies.values() for one in rules["posterior"].stated]
    chance = error_by_chance(stated)
    print(f"all cases: calibration error {calibration_error(stated):.3f}, {chance:.3f} by chance alone")
    if arguments.reliability:
        print(reliability(stated))


if __name__ == "__main__":
    main()
