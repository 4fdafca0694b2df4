"""Detectors on real frames: spots picked by hand, carbon without any crystal, and labelled patches.

    python benchmarks/real_detectors.py DATA [--model MODEL ...] [--drawn evaluation.csv] [--page docs/evaluation.md]

DATA is the folder of real micrographs (the one that tests read). Spots picked by hand count as clear if the
diffractogram stands 12 times above its surroundings within 4 bins of them. Nobody has labelled what else is in that
frame: a found spot that was not picked is compared with the lines of the crystal, and is doubtful if it fits none
within 1.5 %, as the picture stands and with its distortion taken out, which the picked spots tell. ``--drawn`` adds
the tables of an evaluation on a drawn set. ``--fine-tune`` also trains the first model on with the patches of the
training originals, and judges the new one beside it.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from accuracy import Table, fill_page, to_markdown
from fringemap.io import read
from fringemap.phases import load_references
from fringemap.records import Flag
from fringemap.settings import PhaseSettings, ReadSettings, SpotSettings
from fringemap.spectrum import bin_size, compute_diffractogram
from fringemap.spots import find_spots
from fringemap.training.evaluate import evaluate, make_detectors
from fringemap.training.fine_tune import fine_tune
from fringemap.training.scores import Group, count_spots, dice_of_pixels, estimate, f1_of, make_curve
from fringemap.training.subjects import open_subjects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fringemap.records import Diffractogram, Mask, Spots
    from fringemap.training.evaluate import Detector, Facts, Found

SPINEL, SPINEL_NM = "hrtem/Co3O4_0pass_500k.png", 0.0190527
PICKED = "hrtem/Co3O4_0pass_author_manual_peaks.csv"
CARBON, CARBON_NM = "negative/derived_emilys_thonrings_first20_stack.tif", 0.1354
PATCHES = "labels/zr_zro2_fft_patches.npz"
CLEAR = 12.0
REACH_BINS = 5.0
DOUBT = Flag.NOT_REFINED | Flag.FEW_PERIODS | Flag.SINGLE_PIXEL | Flag.ON_STREAK | Flag.UNCONFIRMED
FITS = 0.015
RATES = (0.003, 0.01, 0.02, 0.05, 0.2)
# Spots farther from all lines than this are of something else, and say nothing of the picture's distortion.
MOST_DISTORTED, _FIT_ROUNDS = 0.03, 20


def diffractograms(path: Path, pixel_size_nm: float) -> list[Diffractogram]:
    """Diffractograms of all frames of a file."""
    with read(path, settings=ReadSettings(pixel_size_nm=pixel_size_nm)) as series:
        return [compute_diffractogram(frame, d_min_angstrom=SpotSettings().d_min_angstrom) for frame in series]


def picked_spots(data: Path) -> np.ndarray:
    """(gx, gy) [1/nm] of the spots that were picked by hand."""
    with (data / PICKED).open(encoding="utf-8") as file:
        return np.array([(float(r["gx1_1_per_nm"]), float(r["gy1_1_per_nm"])) for r in csv.DictReader(file)])


def are_clear(data: Path, picked: np.ndarray) -> Mask:
    """Which picked spots stand clearly above their surroundings, under a Hann window."""
    with read(data / SPINEL, settings=ReadSettings(pixel_size_nm=SPINEL_NM)) as series:
        image = series[0].image
    n = image.shape[0]
    power = np.fft.fftshift(np.abs(np.fft.fft2((image - image.mean()) * np.outer(np.hanning(n), np.hanning(n)))) ** 2)
    distance = np.hypot(*np.mgrid[-12:13, -12:13])
    clear = []
    for gx, gy in picked:
        row, col = n // 2 + round(gy * n * SPINEL_NM), n // 2 + round(gx * n * SPINEL_NM)
        block = power[row - 12 : row + 13, col - 12 : col + 13]
        around = np.median(block[(distance > 6) & (distance <= 12)])
        clear.append(block[distance <= 4].max() >= CLEAR * around)
    return np.array(clear)


class Spinel(NamedTuple):
    """The frame whose spots were picked by hand, and what is known of it."""

    diffractogram: Diffractogram
    picked: np.ndarray
    """(gx, gy) [1/nm]; (n, 2)."""
    clear: Mask
    lines: np.ndarray
    """d-spacings of the crystal [Å]."""
    metric: np.ndarray
    """Takes the picture's distortion out; see ``fit_distortion``."""


class Tally(NamedTuple):
    """How many of the found spots are what."""

    found: int
    clear: int
    faint: int
    other: int
    """Not picked by anybody."""
    on_no_line: int
    """Of these, as the picture stands."""
    on_no_line_straight: int
    """Of these, with the distortion taken out."""
    of_these_flagged: int


def open_spinel(data: Path) -> Spinel:
    """Read the frame, the picked spots and the lines of the crystal."""
    (diffractogram,) = diffractograms(data / SPINEL, SPINEL_NM)
    picked = picked_spots(data)
    lines = load_references(PhaseSettings(phases=("Co3O4",)), d_min_angstrom=1.0)[0].d_spacing
    return Spinel(diffractogram, picked, are_clear(data, picked), lines, fit_distortion(picked / 10, lines))


def tally_spinel(spinel: Spinel, detector: Detector, false_spots: float) -> Tally:
    """What a detector finds at a stated number of false spots."""
    spots = find_spots(spinel.diffractogram, settings=detector.settings(SpotSettings(), false_spots))
    reach = REACH_BINS * 10 * max(bin_size(spinel.diffractogram.frame_shape, spinel.diffractogram.scale))
    near = distances(spots, spinel.picked) < reach
    found, other = near.any(axis=0), ~near.any(axis=1)
    off, off_straight = (
        other & (np.abs(deviations(np.stack([spots.gx, spots.gy], axis=1), spinel.lines, form)) >= FITS)
        for form in (np.eye(2), spinel.metric)
    )
    flagged = off_straight & ((spots.flags & int(DOUBT)) != 0)
    of_picked = (found & spinel.clear, found & ~spinel.clear)
    return Tally(len(spots), *(np.count_nonzero(x) for x in (*of_picked, other, off, off_straight, flagged)))


def spinel_table(spinel: Spinel, detectors: Sequence[Detector]) -> Table:
    """Picked spots found, and what else was found."""
    tallies = [(detector.name, tally_spinel(spinel, detector, SpotSettings().false_spots)) for detector in detectors]
    columns = (
        "Detector",
        "found",
        f"clear ones of {np.count_nonzero(spinel.clear)}",
        f"faint ones of {np.count_nonzero(~spinel.clear)}",
        "not picked",
        "of these on no line of Co3O4",
        "the same, distortion taken out",
        "of these with a flag of doubt",
    )
    rows = tuple((name, *(f"{count}" for count in tally)) for name, tally in tallies)
    return Table("spinel", "Spots picked by hand, Co3O4", columns, rows)


def spinel_rates_table(spinel: Spinel, detectors: Sequence[Detector]) -> Table:
    """The same at several stated numbers of false spots."""
    rows = []
    for detector in detectors:
        for rate in RATES:
            tally = tally_spinel(spinel, detector, rate)
            sure = tally.on_no_line_straight - tally.of_these_flagged
            counts = (tally.found, tally.clear, tally.faint, tally.on_no_line_straight, sure)
            rows.append((detector.name, f"{rate:g}", *(f"{count}" for count in counts)))
    columns = (
        "Detector",
        "false spots stated",
        "found",
        "clear ones",
        "faint ones",
        "on no line, distortion taken out",
        "of these without a flag of doubt",
    )
    return Table("spinel-rates", "The same at other stated numbers of false spots", columns, tuple(rows))


def fit_distortion(g: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The symmetric form M for which the lengths sqrt(g M g) of spots fit the lines of a crystal best; (2, 2).

    A stretched picture turns circles of reciprocal space into ellipses. Spots that come near no line do not count.
    """
    metric = np.eye(2)
    for _ in range(_FIT_ROUNDS):
        near = np.abs(deviations(g, lines, metric)) < MOST_DISTORTED
        x, y = g[near].T
        line = lines[nearest_lines(g[near], lines, metric)]
        terms = np.stack([x * x, 2 * x * y, y * y], axis=1) * line[:, None] ** 2
        xx, xy, yy = np.linalg.lstsq(terms, np.ones(len(terms)), rcond=None)[0]
        metric = np.array([[xx, xy], [xy, yy]])
    return metric


def nearest_lines(g: np.ndarray, lines: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Number of the line that is nearest to each spot."""
    d = np.einsum("ni,ij,nj->n", g, metric, g) ** -0.5
    return np.argmin(np.abs(np.log(d[:, None] / lines)), axis=1)


def deviations(g: np.ndarray, lines: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Relative deviation of the spacing of each spot (gx, gy) [1/Å] from the nearest line [Å]."""
    d = np.einsum("ni,ij,nj->n", g, metric, g) ** -0.5
    return d / lines[nearest_lines(g, lines, metric)] - 1


def distances(spots: Spots, picked: np.ndarray) -> np.ndarray:
    """From each found spot or its mate to each picked one [1/nm]."""
    gx, gy = 10 * spots.gx[:, None], 10 * spots.gy[:, None]
    direct, mate = (np.hypot(sign * gx - picked[:, 0], sign * gy - picked[:, 1]) for sign in (1, -1))
    return np.minimum(direct, mate)


def carbon_table(data: Path, detectors: Sequence[Detector]) -> Table:
    """False spots in the frames of carbon."""
    frames, rows = diffractograms(data / CARBON, CARBON_NM), []
    for detector in detectors:
        counts = [
            sum(len(find_spots(frame, settings=detector.settings(SpotSettings(), rate))) for frame in frames)
            for rate in (0.05, 1.0)
        ]
        rows.append((detector.name, f"{len(frames)}", *(f"{count}" for count in counts)))
    columns = ("Detector", "frames", "false spots at 0.05 a frame", "at 1 a frame")
    return Table("carbon", "Amorphous carbon, a real series", columns, tuple(rows))


def patches_table(data: Path, models: Sequence[str], rng: np.random.Generator) -> Table:
    """F1 and Dice on the test originals; the score from which a spot counts is chosen on the validation originals."""
    detectors, rows = make_detectors(models, classical=False), []
    sides = {
        side: evaluate(open_subjects(data / PATCHES, side=side), detectors, false_spots=0.05)
        for side in ("validation", "test")
    }
    for name in sides["test"].found:
        score = best_score(sides["validation"].found[name], sides["validation"].facts)
        found, facts = sides["test"].found[name], sides["test"].facts
        group = Group("all", np.ones(len(facts), bool))
        # Patches of one original are no independent frames: intervals are over originals.
        spots = by_source(count_spots(found, facts, group, score), facts)
        pixels = by_source(np.array([f.pixels for f in found], float), facts)
        stated = by_source(count_spots(found, facts, group, -np.log10(0.05)), facts)
        every = np.ones(len(spots), bool)
        f1, dice = estimate(f1_of, spots, every, rng=rng), estimate(dice_of_pixels, pixels, every, rng=rng)
        right, false, missed = spots.sum(axis=0)
        told = (f"{x.value:.3f} ({x.low:.3f} to {x.high:.3f})" for x in (f1, dice))
        recall, precision = right / (right + missed), right / max(right + false, 1)
        at_stated = f"{f1_of(stated.sum(axis=0)):.3f}"
        rows.append((name, f"{len(spots)}", f"{len(facts)}", f"{recall:.3f}", f"{precision:.3f}", *told, at_stated))
    columns = ("Detector", "originals", "patches", "recall", "precision", "F1", "Dice", "F1 at 0.05 stated")
    return Table("patches", "Labelled Zr/ZrO2 patches, originals held out", columns, tuple(rows))


def train_on_patches(data: Path, model: str, out: Path) -> str:
    """Train a model on with the patches of the training originals; a model that is there stays."""
    if not (out / "model.json").exists():
        base = make_detectors([model], classical=False)[0].model
        fine_tune(base.folder, open_subjects(data / PATCHES, side="train").samples, out)
    return str(out)


def best_score(found: Sequence[Found], facts: Sequence[Facts]) -> float:
    """Score with the best F1."""
    curve = make_curve(found, facts, Group("all", np.ones(len(facts), bool)))
    total = np.maximum(curve.recall + curve.precision, 1e-9)
    return float(curve.score[np.argmax(2 * curve.recall * curve.precision / total)])


def by_source(counts: np.ndarray, facts: Sequence[Facts]) -> np.ndarray:
    """Sums over the patches of each original."""
    _, rows = np.unique([fact.source for fact in facts], return_inverse=True)
    sums = np.zeros((rows.max() + 1, counts.shape[1]))
    np.add.at(sums, rows, counts)
    return sums


# --- drawn sets ------------------------------------------------------------------------------------------------------

IN_SHORT = {
    "Dice": "Dice",
    "median Dice of a frame": "median Dice of a frame",
    "recall, stated rate": "recall at 0.05 stated",
    "precision, stated rate": "precision at 0.05 stated",
    "F1, stated rate": "F1 at 0.05 stated",
    "false spots in a frame without crystal, counted": "false spots in a frame without crystal, 0.05 stated",
    "robust error of d over the bound": "robust error of d / bound",
    "robust error of the angle over the bound": "robust error of the angle / bound",
}


def drawn_tables(path: Path) -> list[Table]:
    """Tables of an evaluation: in short, Dice, and F1 by group at each measured number of false spots."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cells = {(r["detector"], r["group"], r["quantity"], r["false_spots_per_frame"]): r for r in rows}
    detectors = list(dict.fromkeys(r["detector"] for r in rows if r["detector"]))
    groups = list(dict.fromkeys(r["group"] for r in rows if r["quantity"] == "frames"))
    rates = sorted({r["false_spots_per_frame"] for r in rows if r["false_spots_per_frame"]}, key=float)
    short = tuple(
        (label, *(in_words(cells.get((name, "all", quantity, ""))) for name in detectors))
        for quantity, label in IN_SHORT.items()
    )
    tables = [Table("drawn-short", "All frames of the test set", ("", *detectors), short)]
    dice = tuple(
        (group, *(in_words(cells[name, group, "Dice", ""]) for name in detectors))
        for group in groups
        if (detectors[0], group, "Dice", "") in cells
    )
    tables.append(Table("drawn-dice", "Dice of the pixels", ("Of", *detectors), dice))
    for rate in rates:
        body = []
        for group in groups:
            if (detectors[0], group, "F1", rate) not in cells:
                continue
            counts = (cells["", group, what, ""]["value"] for what in ("frames", "spots to be found"))
            f1 = (in_words(cells[name, group, "F1", rate], digits=2) for name in detectors)
            gains = (in_words(cells.get((name, group, "F1 gain", rate)), sign="+", digits=2) for name in detectors[1:])
            body.append((group, *counts, *f1, *gains))
        columns = ("Of", "frames", "spots", *(f"{name}: F1" for name in detectors))
        columns += tuple(f"{name}: gain" for name in detectors[1:])
        title = f"F1 at {float(rate):g} false spots, counted, in a frame without crystal"
        tables.append(Table(f"drawn-{float(rate):g}", title, columns, tuple(body)))
    return tables


def in_words(row: dict[str, str] | None, *, sign: str = "", digits: int = 3) -> str:
    """A figure with its interval."""
    if row is None or not row["value"]:
        return "–"
    text = f"{float(row['value']):{sign}.{digits}f}"
    if row["low"] and row["high"]:
        text += f" ({float(row['low']):{sign}.{digits}f} to {float(row['high']):{sign}.{digits}f})"
    return text


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of real micrographs")
    parser.add_argument("--model", action="append", default=[], help="folder or name of a model package")
    parser.add_argument("--drawn", type=Path, help="evaluation.csv of fringemap evaluate on a drawn set")
    parser.add_argument("--page", type=Path, help="page whose tables are renewed")
    parser.add_argument("--fine-tune", type=Path, help="folder for a model trained on with labelled patches")
    arguments = parser.parse_args()
    detectors = make_detectors(arguments.model)
    spinel = open_spinel(arguments.data)
    tables = [spinel_table(spinel, detectors), spinel_rates_table(spinel, detectors)]
    tables.append(carbon_table(arguments.data, detectors))
    if arguments.model:
        models = list(arguments.model)
        if arguments.fine_tune:
            models.append(train_on_patches(arguments.data, models[0], arguments.fine_tune))
        tables.append(patches_table(arguments.data, models, np.random.default_rng(0)))
    if arguments.drawn:
        tables += drawn_tables(arguments.drawn)
    print("\n\n".join(to_markdown(table) for table in tables))
    if arguments.page:
        page = fill_page(arguments.page.read_text(encoding="utf-8"), tables)
        arguments.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
