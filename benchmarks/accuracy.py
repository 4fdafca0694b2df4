"""What fringemap measures against known answers, as tables in Markdown.

    python benchmarks/accuracy.py [--quick] [--only SECTION] [--seed S] [--out FILE] [--page PAGE]

Frames come from ``fringemap.simulate`` with their exact truth; ``fringemap.training.judging`` says what counts as
found. Every section draws from its own generator, so that one run alone gives the figures of the full run. ``--page``
renews the tables of a page between its marks ``<!-- table NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import platform
import re
from collections import Counter
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fringemap.maps import compute_maps, to_full_size
from fringemap.phases import load_references, load_structure, match_spots
from fringemap.records import UNKNOWN, Frame, Match, PhaseEvidence, Scale, ScaleSource, SpotMatch, Truth
from fringemap.settings import MapSettings, PhaseSettings, SpotSettings
from fringemap.simulate import random_scene, simulate_frame
from fringemap.spectrum import compute_diffractogram
from fringemap.spots import find_spots
from fringemap.training.judging import Judged, join_errors, judge
from known_frames import (
    CALM,
    DIAMETERS,
    PIXEL,
    SEI,
    Condition,
    Shape,
    conditions,
    draw_empty,
    draw_grain,
    draw_scene,
    draw_waves,
    empty_scenes,
    invented_spots,
    rescaled,
    size_label,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fringemap.records import FloatArray, Mask, Reflections

# The detector with a law; the network is measured by ``fringemap evaluate``.
BY_LAW = SpotSettings(detector="classical")
D_LIMITS = (BY_LAW.d_min_angstrom, BY_LAW.d_max_angstrom)
SNR_EDGES = (3.0, 5.0, 7.0, 10.0, 20.0, np.inf)
F1_SNR = 5.0
"""Recall in F1 is that of true spots from this SNR on."""
CONDITION_TITLES = {
    "grain": ("Spots found, by grain diameter", "Grain diameter [nm]"),
    "dose": ("Spots found, by dose", "Dose [e/Å²]"),
    "shape": ("Spots found, by size and shape of the frame", "Frame [px]"),
    "trouble": ("Spots found, with camera faults and second-order images", "Trouble, 50 to 5000 e/Å²"),
}
"""Title and first column of the tables of ``conditions``."""
TOLERANCE = PhaseSettings(match="tolerance")


@dataclass(frozen=True)
class Table:
    """One table of the page."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


# --- detection -------------------------------------------------------------------------------------------------------


def judge_frames(condition: Condition, *, rng: np.random.Generator) -> list[Judged]:
    """Draw, find, judge."""
    judged = []
    for _ in range(condition.n_frames):
        frame, truth = simulate_frame(draw_scene(condition, rng=rng), rng=rng)
        judged.append(judge_frame(frame, truth))
    return judged


def judge_frame(frame: Frame, truth: Truth) -> Judged:
    """Find the spots of a frame with the default settings, and judge them."""
    spots = find_spots(compute_diffractogram(frame), settings=BY_LAW)
    return judge(truth, spots, frame_shape=frame.image.shape, d_limits=D_LIMITS)


def measure_detection(frames: int, rng: np.random.Generator) -> list[Table]:
    """Tables of false spots, precision, recall; and of the errors of what was found."""
    every: list[Judged] = []
    tables = [false_spot_table(4 * frames, rng)]
    by_grain: dict[str, list[Judged]] = {}
    for key, group in conditions(frames).items():
        judged = {condition.label: judge_frames(condition, rng=rng) for condition in group}
        tables.append(condition_table(key, judged))
        by_grain = judged if key == "grain" else by_grain
        every += [j for part in judged.values() for j in part if key != "trouble"]
    tables.append(snr_table(every))
    tables += error_tables("frame", "simulated frames", every, by_grain)
    return tables


def condition_table(key: str, judged: dict[str, list[Judged]]) -> Table:
    """Recall, precision and causes of false spots; a row a condition."""
    title, label = CONDITION_TITLES[key]
    columns = (
        label,
        "frames",
        f"true spots of SNR > {F1_SNR:g}",
        "recall %",
        "found",
        "precision %",
        "F1",
        "false: split",
        "beside",
        "sum",
        "streak",
        "alone",
    )
    rows = [(name, f"{len(part)}", *_scores(part)) for name, part in judged.items()]
    return Table(f"detection-{key}", title, columns, tuple(rows))


def _scores(judged: Sequence[Judged]) -> tuple[str, ...]:
    wanted = sum(int(np.count_nonzero(_wanted(j))) for j in judged)
    recalled = sum(int(np.count_nonzero(_wanted(j) & j.found)) for j in judged)
    n_found = sum(len(j.spots) for j in judged)
    right = sum(int(np.count_nonzero(j.target_of >= 0)) for j in judged)
    causes = Counter(cause for j in judged for cause in j.cause if cause)
    recall, precision = recalled / max(wanted, 1), right / max(n_found, 1)
    f1 = 2 * recall * precision / max(recall + precision, 1e-9)
    counts = (f"{causes[cause]}" for cause in ("split", "beside", "sum", "streak", "alone"))
    return (f"{wanted}", _percent(recalled, wanted), f"{n_found}", _percent(right, n_found), f"{f1:.3f}", *counts)


def _wanted(judged: Judged) -> Mask:
    return judged.targets.asked & (judged.targets.snr >= F1_SNR)


def snr_table(judged: Sequence[Judged]) -> Table:
    """Recall by true SNR, precision by measured SNR."""
    true = np.concatenate([j.targets.snr[j.targets.asked] for j in judged])
    hit = np.concatenate([j.found[j.targets.asked] for j in judged])
    seen = np.concatenate([j.spots.snr for j in judged])
    right = np.concatenate([j.target_of >= 0 for j in judged])
    rows = []
    for low, high in itertools.pairwise(SNR_EDGES):
        asked, found = (true >= low) & (true < high), (seen >= low) & (seen < high)
        counts = f"{np.count_nonzero(asked)}", _percent(np.count_nonzero(hit & asked), np.count_nonzero(asked))
        rows.append(
            (
                _range_label(low, high),
                *counts,
                f"{np.count_nonzero(found)}",
                _percent(np.count_nonzero(right & found), np.count_nonzero(found)),
            )
        )
    columns = ("SNR", "true spots of this SNR", "recall %", "found of this measured SNR", "precision %")
    return Table("detection-snr", "Spots found, by SNR", columns, tuple(rows))


# --- frames without crystal ------------------------------------------------------------------------------------------


def false_spot_table(n_frames: int, rng: np.random.Generator, shape: Shape = (512, 512)) -> Table:
    """Count the spots found in frames without crystal, at two settings."""
    rows = []
    for name, scene in empty_scenes(shape).items():
        diffractograms = [compute_diffractogram(draw_empty(scene, shape, rng)) for _ in range(n_frames)]
        cells = [name, f"{n_frames}"]
        for rate in (0.05, 1.0):
            n = sum(len(find_spots(d, settings=replace(BY_LAW, false_spots=rate))) for d in diffractograms)
            cells.append(f"{n / n_frames:.3f} ± {np.sqrt(max(n, 1)) / n_frames:.3f}")
        rows.append(tuple(cells))
    columns = (f"Frame, {shape[1]} x {shape[0]}", "frames", "at false_spots = 0.05", "at false_spots = 1")
    return Table("false-spots", "False spots per frame without crystal", columns, tuple(rows))


# --- measurement -----------------------------------------------------------------------------------------------------


def measure_waves(frames: int, rng: np.random.Generator) -> list[Table]:
    """Tables of errors against the bound, for waves whose region and noise are known exactly."""
    every: list[Judged] = []
    by_grain: dict[str, list[Judged]] = {}
    snrs = (6.0, 8.0, 12.0, 20.0, 50.0)
    ratio_rows, cover_rows, found_rows = [], [], []
    for diameter in DIAMETERS:
        label = size_label(diameter)
        cells = []
        for snr in snrs:
            n = 4 * frames if diameter is None else frames
            part = [judge_frame(*draw_waves(diameter, snr, rng)) for _ in range(n)]
            cells.append(part)
        by_grain[label] = [j for part in cells for j in part]
        every += by_grain[label]
        errors = [join_errors(part) for part in cells]
        found_rows.append((label, *(_recall_cell(part) for part in cells)))
        ratio_rows.append((label, *(_ratio_cell(e) for e in errors)))
        cover_rows.append((label, *(_coverage(e["d_error"], e["d_sigma"], 1.0) for e in errors)))
    columns = ("Grain diameter [nm]", *(f"SNR {snr:g}" for snr in snrs))
    found = Table("found", "Waves found, %", columns, tuple(found_rows))
    ratio = Table("bound", "Error of d over the Cramér-Rao bound: rms (robust)", columns, tuple(ratio_rows))
    cover = Table("coverage", "Share of d within one stated sigma, %", columns, tuple(cover_rows))
    return [found, ratio, cover, *error_tables("wave", "plane waves in discs, white noise", every, by_grain)]


def error_tables(name: str, what: str, every: Sequence[Judged], by_grain: dict[str, list[Judged]]) -> list[Table]:
    """Errors of d and of the angle by SNR and by grain size."""
    errors = join_errors(every)
    groups = {_range_label(low, high): errors[_between(errors, low, high)] for low, high in _bins()}
    groups["no neighbour within 3 widths"] = errors[errors["neighbour"] > 3.0]
    groups["all"] = errors
    sizes = {label: join_errors(part) for label, part in by_grain.items()}
    return [
        error_table(f"{name}-d-snr", f"Error of d, {what}, by SNR", "SNR", groups, "d", "%"),
        error_table(f"{name}-d-grain", f"Error of d, {what}, by grain size", "Grain diameter [nm]", sizes, "d", "%"),
        error_table(f"{name}-angle-snr", f"Error of the angle, {what}, by SNR", "SNR", groups, "angle", "°"),
    ]


def error_table(name: str, title: str, label: str, groups: dict[str, np.ndarray], of: str, unit: str) -> Table:
    """Bias, spread, spread over the bound, coverage of the stated intervals; a row a group."""
    columns = (
        label,
        "spots",
        f"bias [{unit}]",
        f"robust sd [{unit}]",
        "robust sd / bound",
        "rms / bound",
        "median sigma / bound",
        "within 1 sigma %",
        "within 1.96 sigma %",
    )
    rows = []
    for group, errors in groups.items():
        error, sigma, bound = errors[f"{of}_error"], errors[f"{of}_sigma"], errors[f"{of}_bound"]
        if len(error) < 5:
            rows.append((group, f"{len(error)}", *[""] * 7))
            continue
        spread = _robust(error)
        rows.append(
            (
                group,
                f"{len(error)}",
                f"{np.median(error):+.4f} ± {1.25 * spread / np.sqrt(len(error)):.4f}",
                f"{spread:.4f}",
                f"{_robust(error / bound):.2f}",
                f"{np.sqrt(np.mean((error / bound) ** 2)):.2f}",
                f"{np.median(sigma / bound):.2f}",
                _coverage(error, sigma, 1.0),
                _coverage(error, sigma, 1.96),
            )
        )
    return Table(name, title, columns, tuple(rows))


def _recall_cell(judged: Sequence[Judged]) -> str:
    return _percent(sum(np.count_nonzero(j.found) for j in judged), sum(len(j.targets) for j in judged))


def _ratio_cell(errors: np.ndarray) -> str:
    if len(errors) < 5:
        return f"({len(errors)} found)"
    ratio = errors["d_error"] / errors["d_bound"]
    return f"{np.sqrt(np.mean(ratio**2)):.2f} ({_robust(ratio):.2f})"


def _robust(values: FloatArray) -> float:
    """Standard deviation of a normal law with the same median of |values|."""
    return 1.4826 * float(np.median(np.abs(values)))


def _coverage(error: FloatArray, sigma: FloatArray, times: float) -> str:
    return _percent(np.count_nonzero(np.abs(error) < times * sigma), len(error)) if len(error) >= 5 else ""


def _bins() -> list[tuple[float, float]]:
    return list(itertools.pairwise(SNR_EDGES))


def _between(errors: np.ndarray, low: float, high: float) -> Mask:
    return (errors["snr"] >= low) & (errors["snr"] < high)


# --- maps ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MapRow:
    """One grain mapped by one method."""

    snr: float
    """Of its strongest true spot."""
    diameter: float
    seen: bool
    overlap: float
    """Intersection over union with the true mask."""
    area_error: float
    """Over the true area."""
    area_sigma: float
    """Stated, over the true area."""


def map_grain(frame: Frame, truth: Truth, diameter: float, method: str) -> MapRow | None:
    """Find, name and map one grain from end to end; None if its strongest spot is below SNR 5."""
    snr = float(np.max(truth.spots.snr, initial=0.0))
    if snr < F1_SNR:
        return None
    diffractogram = compute_diffractogram(frame)
    spots = find_spots(diffractogram, settings=BY_LAW)
    references = load_references(PhaseSettings(phases=(truth.phases[0],)), d_min_angstrom=D_LIMITS[0])
    match = match_spots(
        spots, references, scale=Scale((PIXEL, PIXEL), 0.003, ScaleSource.CALIBRATED), settings=TOLERANCE
    )
    settings = MapSettings(map=method)  # type: ignore[arg-type]
    maps = [m for m in compute_maps(diffractogram, spots, match, settings=settings) if m.phase != UNKNOWN]
    if not maps or not maps[0].mask.any():
        return MapRow(snr, diameter, False, 0.0, -1.0, 0.0)
    mask, true = to_full_size(maps[0], diffractogram).mask, truth.masks[0]
    overlap = np.count_nonzero(mask & true) / np.count_nonzero(mask | true)
    area = float(true.mean())
    return MapRow(snr, diameter, True, overlap, maps[0].area_fraction / area - 1, maps[0].area_sigma / area)


def measure_maps(frames: int, rng: np.random.Generator) -> list[Table]:
    """Tables of overlap, area bias and coverage of the stated error; and of false area."""
    ours: list[MapRow] = []
    otsu: list[MapRow] = []
    for diameter in (d for d in DIAMETERS if d is not None):
        for k in range(3 * frames):
            frame, truth = draw_grain(diameter, rng)
            ours.append(map_grain(frame, truth, diameter, "amplitude"))
            otsu.append(map_grain(frame, truth, diameter, "otsu") if k % 3 == 0 else None)
    sizes = {size_label(d): (lambda r, d=d: r.diameter == d) for d in DIAMETERS if d is not None}
    edges = (5.0, 10.0, 20.0, 50.0, 100.0, np.inf)
    ranges = {_range_label(a, b): (lambda r, a=a, b=b: a <= r.snr < b) for a, b in itertools.pairwise(edges)}
    return [
        map_table("maps-grain", "Maps by grain size", "Grain diameter [nm]", sizes, ours, otsu),
        map_table(
            "maps-snr", "Maps by SNR of the strongest spot, 8 to 32 nm", "SNR", ranges, *map(_large, (ours, otsu))
        ),
        false_area_table(frames, rng),
    ]


def _large(rows: Iterable[MapRow | None]) -> list[MapRow]:
    return [r for r in rows if r is not None and r.diameter >= 80.0]


def map_table(
    name: str,
    title: str,
    label: str,
    groups: dict[str, Callable[[MapRow], bool]],
    ours: Sequence[MapRow | None],
    otsu: Sequence[MapRow | None],
) -> Table:
    """Rows of groups of grains; our map, and the overlap and area bias of Otsu's beside it."""
    columns = (
        label,
        "grains",
        "mapped %",
        "median IoU",
        "area bias %",
        "area robust sd %",
        "median stated sd %",
        "within 1 sigma %",
        "Otsu: median IoU",
        "Otsu: median area bias %",
    )
    rows = []
    for group, belongs in groups.items():
        part, other = ([r for r in rows_ if r is not None and belongs(r)] for rows_ in (ours, otsu))
        seen, seen_otsu = ([r for r in rows_ if r.seen] for rows_ in (part, other))
        rows.append((group, f"{len(part)}", _percent(len(seen), len(part)), *_map_cells(seen), *_otsu_cells(seen_otsu)))
    return Table(name, title, columns, tuple(rows))


def _map_cells(seen: Sequence[MapRow]) -> tuple[str, ...]:
    if len(seen) < 3:
        return ("",) * 5
    error = np.array([r.area_error for r in seen])
    sigma = np.array([r.area_sigma for r in seen])
    overlap = float(np.median([r.overlap for r in seen]))
    return (
        f"{overlap:.2f}",
        f"{100 * np.median(error):+.1f}",
        f"{100 * _robust(error - np.median(error)):.1f}",
        f"{100 * np.median(sigma):.1f}",
        _percent(np.count_nonzero(np.abs(error) < sigma), len(error)),
    )


def _otsu_cells(seen: Sequence[MapRow]) -> tuple[str, str]:
    if len(seen) < 3:
        return "", ""
    return f"{np.median([r.overlap for r in seen]):.2f}", f"{100 * np.median([r.area_error for r in seen]):+.0f}"


def false_area_table(frames: int, rng: np.random.Generator, shape: Shape = (1024, 1024)) -> Table:
    """Area that is marked for spots invented at random on frames without crystal."""
    rows = []
    for name, scene in empty_scenes(shape).items():
        areas: dict[str, list[float]] = {"amplitude": [], "otsu": []}
        for _ in range(frames):
            diffractogram = compute_diffractogram(draw_empty(scene, shape, rng))
            spots = invented_spots(3, float(rng.choice([40.0, 80.0, 160.0])), rng)
            match = Match((SpotMatch(None),) * 3, (PhaseEvidence("none", (0, 1, 2)),))
            for method, found in areas.items():
                settings = MapSettings(map=method)  # type: ignore[arg-type]
                found.append(compute_maps(diffractogram, spots, match, settings=settings)[0].area_fraction)
        ours, otsu = (np.array(areas[method]) for method in ("amplitude", "otsu"))
        marked = _percent(np.count_nonzero(ours), frames)
        rows.append((name, f"{frames}", f"{100 * ours.mean():.3f}", marked, f"{100 * otsu.mean():.0f}"))
    columns = ("Frame", "frames", "marked area %", "frames with any %", "Otsu: marked area %")
    return Table("false-area", "Area marked where there is no crystal", columns, tuple(rows))


# --- phases ----------------------------------------------------------------------------------------------------------


def measure_phases(frames: int, rng: np.random.Generator) -> list[Table]:
    """Table of right and wrong names of the spots of simulated frames, by rule and error of the scale."""
    cases = {"0 %, stated 1 %": (0.0, 0.01), "1 %, stated 1 %": (0.01, 0.01), "3 %, stated 2.5 %": (0.03, 0.025)}
    structures = [load_structure(name) for name in SEI]
    judged = []
    ranges = replace(CALM, n_grains=(1, 3), grain_diameter_angstrom=(60.0, 400.0), low_zone_share=1.0)
    while len(judged) < 2 * frames:
        scene = random_scene(structures, (1024, 1024), (PIXEL, PIXEL), rng=rng, ranges=ranges)
        judged.append(judge_frame(*simulate_frame(scene, rng=rng)))
    references = load_references(PhaseSettings(phases=SEI), d_min_angstrom=D_LIMITS[0])
    rows = []
    for rule in ("posterior", "tolerance", "nearest"):
        for label, (error, stated) in cases.items():
            counts: Counter[str] = Counter()
            for number, j in enumerate(judged):
                counts += name_counts(j, references, rule, error * (-1) ** number, stated)
            n = counts["right"] + counts["wrong"] + counts["unknown"]
            shares = (_percent(counts[kind], n) for kind in ("right", "wrong", "unknown"))
            false = f"{counts['false named']} of {counts['false']}"
            rows.append((rule, label, f"{n}", *shares, false))
    columns = ("Rule", "Error of the scale", "true spots", "right %", "wrong %", "unknown %", "false spots named")
    return [Table("phases", "Names of spots", columns, tuple(rows))]


def name_counts(
    judged: Judged, references: Sequence[Reflections], rule: str, error: float, stated: float
) -> Counter[str]:
    """How many spots of one frame get the right name, another or none, with a scale that is off by ``error``."""
    scale = Scale((PIXEL * (1 + error), PIXEL * (1 + error)), stated, ScaleSource.HEADER)
    settings = PhaseSettings(match=rule)  # type: ignore[arg-type]
    match = match_spots(rescaled(judged.spots, 1 + error), references, scale=scale, settings=settings)
    counts: Counter[str] = Counter()
    for found, target in zip(match.spots, judged.target_of, strict=True):
        if target < 0:
            counts["false"] += 1
            counts["false named"] += found.best is not None
            continue
        true = judged.true.phase[judged.targets.row[target]]
        kind = "unknown" if found.best is None else "right" if found.best.phase == true else "wrong"
        counts[kind] += 1
    return counts


# --- output ----------------------------------------------------------------------------------------------------------

SECTIONS = {"detection": measure_detection, "waves": measure_waves, "maps": measure_maps, "phases": measure_phases}
FRAMES = {"detection": (3, 14), "waves": (2, 10), "maps": (2, 10), "phases": (5, 25)}
"""Size of each section, quick and full."""


def _percent(part: int, of: int) -> str:
    return f"{100 * part / of:.0f}" if of else ""


def _range_label(low: float, high: float) -> str:
    return f"> {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"


def to_markdown(table: Table) -> str:
    """Lay a table out: a bold title, a head, rows."""
    lines = [f"**{table.title}**", "", _line(table.columns), _line(["---"] + ["---:"] * (len(table.columns) - 1))]
    return "\n".join([*lines, *(_line(row) for row in table.rows)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def origin(arguments: argparse.Namespace) -> Table:
    """Say with what and when the tables were made."""
    names = ("fringemap", "numpy", "scipy", "scikit-image", "gemmi")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    command = "python benchmarks/accuracy.py" + " --quick" * arguments.quick
    day = dt.datetime.now(tz=dt.UTC).date().isoformat()
    row = (f"`{command} --seed {arguments.seed}`", day, f"Python {platform.python_version()}, {versions}")
    return Table("origin", "Where the figures come from", ("command", "date", "versions"), (row,))


def fill_page(page: str, tables: Sequence[Table]) -> str:
    """Replace the tables between the marks of a page; tables without a mark are left out."""
    for table in tables:
        mark = f"<!-- table {table.name} -->"
        pattern = re.compile(re.escape(mark) + r".*?<!-- end -->", re.DOTALL)
        text = f"{mark}\n{to_markdown(table)}\n<!-- end -->"
        page = pattern.sub(lambda _, text=text: text, page)
    return page


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few frames: about two minutes")
    parser.add_argument("--only", choices=tuple(SECTIONS), action="append", help="this section alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write all tables to this file")
    parser.add_argument("--page", type=Path, help="renew the tables of this page")
    arguments = parser.parse_args()
    tables = [origin(arguments)]
    for number, (section, measure) in enumerate(SECTIONS.items()):
        if arguments.only and section not in arguments.only:
            continue
        rng = np.random.default_rng((arguments.seed, number))
        for table in measure(FRAMES[section][0 if arguments.quick else 1], rng):
            tables.append(table)
            print(f"\n{to_markdown(table)}", flush=True)
    if arguments.out:
        arguments.out.write_text("\n\n".join(map(to_markdown, tables)) + "\n", encoding="utf-8")
    if arguments.page:
        page = arguments.page.read_text(encoding="utf-8")
        arguments.page.write_text(fill_page(page, tables), encoding="utf-8")


if __name__ == "__main__":
    main()
