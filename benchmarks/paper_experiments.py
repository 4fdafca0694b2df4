"""The paper's experiments on small networks: number of pictures, resolution, half or full pattern, filters, threshold.

    python benchmarks/paper_experiments.py WORK [--seed N] [--only RUN ...] [--minutes M] [--page docs/experiments.md]

The paper trained each network for ten hours on a GPU; here each run takes one to thirty minutes of one CPU core. So
networks are narrow (4 filters on the first level unless the run says otherwise, 128 in the paper), pictures have half
as many pixels either way, and there are few rounds. What is compared is one choice beside another under the same
conditions, and never a figure beside the paper's.

Samples are drawn once into WORK; each run leaves ``WORK/runs/NAME-SEED.json`` and is not repeated. ``--minutes`` begins
no run after this time. ``--page`` renews the tables and pictures of a page from the runs of all seeds that are there.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.ndimage
import torch

from accuracy import Table, fill_page
from fringemap.settings import AnalysisSettings, NetworkSettings, TrainSettings
from fringemap.spectrum import compute_diffractogram
from fringemap.spots.pattern import complete, make_pattern
from fringemap.training.augment import make_augmentation
from fringemap.training.batches import make_batch, stack_sample
from fringemap.training.drawing import describe_pattern, draw_frame
from fringemap.training.labels import Visibility, label_pattern
from fringemap.training.recipes import find_recipe
from fringemap.training.samples import Sample
from fringemap.training.sets import write_samples
from fringemap.training.shards import open_set
from fringemap.training.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fringemap.records import FloatArray, Mask
    from fringemap.training.networks import UNet
    from fringemap.training.recipes import SetRecipe

SIDE = 512
MAX_SHAPES = {"all": (1024, 512), "half": (256, 128), "quarter": (100, 50)}
"""Largest pattern of each resolution; at "all" a pixel is a bin, then 2 and 4 bins a side."""
N = {"train": 1968, "validation": 60, "test": 120}
N_FINE = 400
"""Sources of the training set that are also stored at the other resolutions."""
N_DRAWN_BY_HAND = 80
"""Pictures that the paper labelled, and augmented to 500 and 1968."""
VALIDATION_SHARE = 0.1
THRESHOLDS = np.linspace(0.02, 0.98, 49)
RESAMPLES = 1000


@dataclass(frozen=True)
class Run:
    """One network."""

    name: str
    label: str
    resolution: str = "half"
    n_sources: int = N_FINE
    n_augmented: int = 0
    """Pictures made of the sources by the paper's recipe; 0: the sources themselves."""
    n_seen: int = 8000
    """Pictures shown in all, repetitions included."""
    base_width: int = 4
    half: bool = True


# 23,616 are twelve rounds of 1968.
RUNS = (
    Run("half-pixels", "2 x 2 bins a pixel"),
    Run("full", "full pattern", half=False),
    Run("quarter-pixels", "4 x 4 bins a pixel", resolution="quarter"),
    Run("images-500", "500 pictures of 80 sources", n_sources=80, n_augmented=500, n_seen=6000),
    Run("images-1968", "1968 pictures of 80 sources", n_sources=80, n_augmented=1968, n_seen=23616),
    Run("images-500-long", "500 pictures of 80 sources, as many steps", n_sources=80, n_augmented=500, n_seen=23616),
    Run("images-80", "the 80 sources, not augmented, as many steps", n_sources=80, n_seen=23616),
    Run("sources-1968", "1968 sources, as many steps", n_sources=1968, n_seen=23616),
    Run("all-pixels", "1 bin a pixel", resolution="all"),
    Run("width-2", "2 filters", base_width=2),
    Run("width-8", "8 filters", base_width=8),
    Run("width-16", "16 filters", base_width=16),
    Run("images-500-longest", "500 pictures, twice as many steps", n_sources=80, n_augmented=500, n_seen=47232),
    Run("images-500-wide", "the same, 8 filters", n_sources=80, n_augmented=500, n_seen=47232, base_width=8),
)


# --- samples ---------------------------------------------------------------------------------------------------------


def recipe_of(kind: str) -> SetRecipe:
    """Frames of one size, at the paper's pixel size, all with crystals."""
    recipe = find_recipe(kind, size=SIDE)
    regimes = tuple(replace(r, scenes=replace(r.scenes, empty_share=0.0)) for r in recipe.regimes)
    # All within the half maximum of a spot that can be seen: as a hand fills a feature, and as the page was measured.
    whole = Visibility(least_rise=0.0)
    return replace(recipe, pixel_sizes_nm=((0.035, 0.040),), least_field_nm=1.0, regimes=regimes, visibility=whole)


def draw(kind: str, seed: int, n: int, *, resolution: str) -> Iterator[Sample]:
    """Samples at a resolution; the frame of a number is the same at every one."""
    recipe, settings = recipe_of(kind), AnalysisSettings()
    for index in range(n):
        frame, truth, about = draw_frame(recipe, seed=seed, index=index)
        found = compute_diffractogram(frame, d_min_angstrom=settings.spots.d_min_angstrom)
        pattern = make_pattern(found, settings=settings.spots, max_shape=MAX_SHAPES[resolution])
        label, weight, spots = label_pattern(truth, pattern, visibility=recipe.visibility)
        meta = describe_pattern(pattern, found) | about
        yield Sample(pattern.image.astype(np.float16), label, weight, spots, meta)


def load(work: Path, part: str, resolution: str) -> list[Sample]:
    """Samples of a part of the data, drawn when first asked for."""
    folder = work / "samples" / f"{part}-{resolution}"
    if not (folder / "set.json").exists():
        n = N[part] if part != "train" or resolution == "half" else N_FINE
        kind, seed = ("test", 31) if part == "test" else ("train", 32 if part == "train" else 33)
        print(f"drawing {n} samples: {folder}", flush=True)
        write_samples(folder, draw(kind, seed, n, resolution=resolution), licence="drawn", shares={"train": 1.0})
    return list(open_set(folder))


def augmented(sources: Sequence[Sample], n: int) -> list[Sample]:
    """Pictures 0 to n-1 made of the sources in turn, whole patterns changed as the paper does."""
    change = make_augmentation("paper", half=False)
    made = []
    for number in range(n):
        source = sources[number % len(sources)]
        margin = source.label.shape[1] - 1
        parts = (np.asarray(source.image, np.float32), source.label[None], source.weight[None])
        whole = (torch.from_numpy(complete(part, margin).astype(np.float32)) for part in parts)
        image, label, weight = change(*whole, torch.Generator().manual_seed(number))
        made.append(
            Sample(
                image[:, :, margin:].numpy().astype(np.float16),
                (label[0, :, margin:].numpy() > 0.5).astype(np.uint8),
                (weight[0, :, margin:].numpy() > 0.5).astype(np.uint8),
                source.spots,
                source.meta,
            )
        )
    return made


# --- one run ---------------------------------------------------------------------------------------------------------


def carry_out(run: Run, work: Path, *, seed: int) -> dict[str, Any]:
    """Train a network and measure it on its own validation, unseen sources, and unseen structures."""
    sources = load(work, "train", run.resolution)[: run.n_sources]
    pictures, own = sources, []
    if run.n_augmented:
        pictures = augmented(sources, run.n_augmented)
        # As in the paper: split after augmentation, so that each validation picture has sisters in training. The best
        # round is chosen by them, too.
        order = np.random.default_rng(1).permutation(len(pictures))
        n_own = round(VALIDATION_SHARE * len(pictures))
        own, pictures = [pictures[i] for i in order[:n_own]], [pictures[i] for i in order[n_own:]]
    validation, test = load(work, "validation", run.resolution), load(work, "test", run.resolution)
    network = NetworkSettings(network="paper", base_width=run.base_width, half=run.half)
    epochs = 4
    settings = TrainSettings(
        crop=0, crops_per_sample=1, batch=4, epochs=epochs, samples_per_epoch=run.n_seen // epochs,
        validation_samples=20, learning_rate=4e-3, averaging=0.99, patience=epochs, threads=1, seed=seed,
    )  # fmt: skip
    began = time.monotonic()
    folder = work / "training" / f"{run.name}-{seed}"
    trained = train(pictures, own or validation, network=network, settings=settings, folder=folder, resume=True)
    parts = {"own validation": own, "validation": validation, "test": test}
    measured = {name: measure(trained.network, part, network) for name, part in parts.items() if part}
    return {
        "n_weights": sum(p.numel() for p in trained.network.parameters()),
        "seconds": round(time.monotonic() - began, 1),
        "rounds": len(trained.history),
        "shape": list(test[0].label.shape),
        "parts": measured,
        "features": measure_features(trained.network, test, network),
    }


def probability_of(network: UNet, sample: Sample, settings: NetworkSettings) -> FloatArray:
    """Over the half pattern with its mates, as many as the network sees."""
    stacked = stack_sample(sample, settings)
    with torch.inference_mode():
        logit = network(make_batch([stacked], network.stride).image)[0, 0]
    return torch.sigmoid(logit[: stacked.shape[1], : stacked.shape[2]]).numpy()


def measure(network: UNet, samples: Sequence[Sample], settings: NetworkSettings) -> list[list[list[int]]]:
    """Labelled pixels, found ones and both, at each threshold, of each sample's half pattern."""
    counts = []
    for sample in samples:
        n_cols = sample.label.shape[1]
        probability = probability_of(network, sample, settings)[:, -n_cols:]
        counted, on_spot = sample.weight > 0, sample.label > 0
        row = []
        for threshold in THRESHOLDS:
            found = (probability > threshold) & counted
            row.append([int(x.sum()) for x in (on_spot & counted, found, found & on_spot)])
        counts.append(row)
    return counts


def measure_features(network: UNet, samples: Sequence[Sample], settings: NetworkSettings) -> dict[str, list[float]]:
    """Found regions of each sample: true spots found, those that share a region, areas over labels, asymmetry."""
    kept: dict[str, list[float]] = {"found": [], "merged": [], "area": [], "asymmetry": []}
    for sample in samples:
        probability = probability_of(network, sample, settings)
        n_cols = sample.label.shape[1]
        found = (probability[:, -n_cols:] > 0.5) & (sample.weight > 0)
        n_found, n_merged, areas = regions_of(found, sample)
        kept["found"].append(n_found)
        kept["merged"].append(n_merged)
        kept["area"] += areas
        if not settings.half:
            whole = probability > 0.5
            union = (whole | whole[::-1, ::-1]).sum()
            kept["asymmetry"].append(float((whole ^ whole[::-1, ::-1]).sum() / union) if union else 0.0)
    return kept


def regions_of(found: Mask, sample: Sample) -> tuple[int, int, list[float]]:
    """True spots in regions, those that share theirs with another, and area over label of those alone."""
    labels, _ = scipy.ndimage.label(found, np.ones((3, 3)))
    truth, _ = scipy.ndimage.label(sample.label > 0, np.ones((3, 3)))
    spots = sample.spots.take(sample.spots.visible)
    rows, cols = (
        np.clip(np.rint(x).astype(int), 0, n - 1) for x, n in zip((spots.row, spots.col), found.shape, strict=True)
    )
    region, own = labels[rows, cols], truth[rows, cols]
    inside = region > 0
    n_in_region, n_in_label = np.bincount(region, minlength=1), np.bincount(own, minlength=1)
    # Spots whose labels touch cannot be told apart by any network.
    apart = inside & (own > 0) & (n_in_label[own] == 1)
    alone = apart & (n_in_region[region] == 1)
    areas = np.bincount(labels.ravel())[region[alone]] / np.bincount(truth.ravel())[own[alone]]
    return int(apart.sum()), int((apart & ~alone).sum()), [float(a) for a in areas]


# --- the page --------------------------------------------------------------------------------------------------------


Results = dict[int, dict[str, Any]]
"""What ``carry_out`` told of one run, by seed."""


def results_in(folder: Path, name: str) -> Results:
    """The runs of this name in a folder."""
    found = {int(path.stem.rpartition("-")[2]): path for path in folder.glob(f"{name}-[0-9].json")}
    return {seed: json.loads(found[seed].read_text(encoding="utf-8")) for seed in sorted(found)}


def dice_at(counts: FloatArray, place: int) -> FloatArray:
    """Dice of each sample at one threshold; (n,). NaN where nothing is labelled and nothing found."""
    true, found, both = counts[:, place].T
    with np.errstate(invalid="ignore"):
        return 2 * both / (true + found)


def pooled(counts: FloatArray, place: int) -> float:
    """Dice over all pixels of all samples."""
    true, found, both = counts[:, place].sum(axis=0)
    return float(2 * both / max(true + found, 1))


def interval(counts: FloatArray, place: int, rng: np.random.Generator) -> tuple[float, float]:
    """95 % of the Dice of sets drawn from these samples."""
    draws = rng.integers(len(counts), size=(RESAMPLES, len(counts)))
    sums = counts[:, place][draws].sum(axis=1)
    low, high = np.percentile(2 * sums[:, 2] / np.maximum(sums[:, 0] + sums[:, 1], 1), (2.5, 97.5))
    return float(low), float(high)


def counts_of(results: Results, part: str) -> FloatArray:
    """Counts of each sample, (n, n_thresholds, 3), summed over the networks of all seeds."""
    return np.sum([result["parts"][part] for result in results.values()], axis=0, dtype=float)


def told(results: Results, part: str, rng: np.random.Generator) -> str:
    """Dice at a probability of 0.5, with its interval."""
    if any(part not in result["parts"] for result in results.values()):
        return "–"
    counts, place = counts_of(results, part), middle()
    low, high = interval(counts, place, rng)
    return f"{pooled(counts, place):.3f} ({low:.3f} to {high:.3f})"


def middle() -> int:
    """Place of the threshold 0.5."""
    return int(np.abs(THRESHOLDS - 0.5).argmin())


GROUPS = {
    "images": ("Number of pictures", tuple(run.name for run in RUNS if run.name.startswith(("images", "sources")))),
    "pixels": ("Resolution, 400 sources", ("quarter-pixels", "half-pixels", "all-pixels")),
    "filters": ("Filters of the first level, 400 sources", ("width-2", "half-pixels", "width-8", "width-16")),
    "halves": ("Half and full pattern, 400 sources", ("half-pixels", "full")),
}
"""Title and runs of each table."""


def label_of(name: str, group: str) -> str:
    """A run's words in a table; the one that all tables share is called by what each varies."""
    run = next(run for run in RUNS if run.name == name)
    if group == "filters":
        return f"{run.base_width} filters"
    return "half pattern" if group == "halves" and name == "half-pixels" else run.label


def tables_of(runs: dict[str, Results]) -> list[Table]:
    """Tables of the runs that are there."""
    return [*(dice_table(group, runs) for group in GROUPS), feature_table(runs), threshold_table(runs)]


def dice_table(group: str, runs: dict[str, Results]) -> Table:
    """Dice on new frames and on new structures, and where there are any on sisters of the training pictures."""
    rng, (title, names) = np.random.default_rng(5), GROUPS[group]
    parts = {"validation": "validation, new frames", "test": "test"}
    if group == "images":
        parts = {"own validation": "validation among sisters", **parts}
    rows = []
    for name in names:
        if not (results := runs.get(name)):
            continue
        first = next(iter(results.values()))
        about = (" x ".join(str(n) for n in first["shape"]), f"{first['n_weights']:,}")
        alone = ", ".join(
            f"{pooled(counts_of({seed: result}, 'test'), middle()):.3f}" for seed, result in results.items()
        )
        rows.append((label_of(name, group), *about, *(told(results, part, rng) for part in parts), alone))
    return Table(group, title, ("Trained on", "px", "weights", *parts.values(), "test, each seed"), tuple(rows))


def feature_table(runs: dict[str, Results]) -> Table:
    """Merged features and sizes; the counts of all seeds added up."""
    rows = []
    for group, name in (
        ("halves", "half-pixels"), ("halves", "full"), ("pixels", "quarter-pixels"), ("pixels", "all-pixels"),
    ):  # fmt: skip
        if not (results := runs.get(name)):
            continue
        kept = {
            what: np.concatenate([result["features"][what] for result in results.values()])
            for what in ("found", "merged", "area", "asymmetry")
        }
        found, merged = kept["found"].sum(), kept["merged"].sum()
        area = kept["area"] if len(kept["area"]) else np.array([np.nan])
        asymmetry = f"{100 * kept['asymmetry'].mean():.1f}" if len(kept["asymmetry"]) else "0, by construction"
        rows.append(
            (
                label_of(name, group),
                f"{found / len(results):.0f}",
                f"{100 * merged / max(found, 1):.1f} ± {100 * np.sqrt(max(merged, 1)) / max(found, 1):.1f}",
                f"{np.median(area):.2f}",
                f"{np.quantile(area, 0.25):.2f} to {np.quantile(area, 0.75):.2f}",
                asymmetry,
            )
        )
    columns = (
        "Network",
        "spots found",
        "of them merged %",
        "area / label, median",
        "middle half",
        "asymmetric pixels %",
    )
    return Table("features", "Features on the test set, probability above 0.5", columns, tuple(rows))


def threshold_table(runs: dict[str, Results]) -> Table:
    """Dice over the threshold."""
    wanted = (0.1, 0.3, 0.5, 0.7, 0.9)
    places = [int(np.abs(THRESHOLDS - t).argmin()) for t in wanted]
    rows = []
    for name, results in runs.items():
        counts, own = counts_of(results, "test"), counts_of(results, "validation")
        best = int(np.argmax([pooled(own, place) for place in range(len(THRESHOLDS))]))
        dice = [f"{pooled(counts, place):.3f}" for place in places]
        rows.append((label_of(name, ""), *dice, f"{THRESHOLDS[best]:.2f}", f"{pooled(counts, best):.3f}"))
    columns = ("Trained on", *(f"test Dice at {t:g}" for t in wanted), "best on validation", "test Dice there")
    return Table("threshold", "Threshold on the probability", columns, tuple(rows))


def draw_pictures(runs: dict[str, Results], folder: Path) -> None:
    """Threshold sweep and distribution of Dice, one picture."""
    from matplotlib.figure import Figure

    from fringemap.report.rendering import house_style, to_png
    from fringemap.report.style import style_of

    shown = [name for name in ("images-500", "images-1968", "sources-1968", "half-pixels", "full") if name in runs]
    with house_style():
        figure = Figure(figsize=(7.0, 3.0), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2)
        for order, name in enumerate(shown):
            style, counts = style_of(order), counts_of(runs[name], "test")
            sweep = [pooled(counts, place) for place in range(len(THRESHOLDS))]
            left.plot(THRESHOLDS, sweep, color=style.colour, label=label_of(name, "halves"))
            dice = np.sort(dice_at(counts, middle()))
            dice = dice[np.isfinite(dice)]
            right.step(dice, np.arange(1, len(dice) + 1) / len(dice), color=style.colour)
        left.set_xlabel("threshold on the probability", fontsize=8)
        left.set_ylabel("Dice, test", fontsize=8)
        right.set_xlabel("Dice of a test pattern, threshold 0.5", fontsize=8)
        right.set_ylabel("share of patterns below", fontsize=8)
        left.legend(fontsize=7, frameon=False, loc="lower center")
        for axes in (left, right):
            axes.tick_params(labelsize=7)
            axes.grid(color="#B4B4B4", linewidth=0.3)
    (folder / "experiments.png").write_bytes(to_png(figure))


def main() -> None:
    """Carry out the runs that are missing, and renew the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for samples and results")
    parser.add_argument("--seed", type=int, default=1, help="of the networks; the samples are the same")
    parser.add_argument("--only", choices=[run.name for run in RUNS], action="append", help="this run alone")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after this time")
    parser.add_argument("--page", type=Path, help="page whose tables are renewed")
    arguments = parser.parse_args()
    began, folder = time.monotonic(), arguments.work / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    for run in RUNS:
        path = folder / f"{run.name}-{arguments.seed}.json"
        if path.exists() or (arguments.only and run.name not in arguments.only):
            continue
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        result = carry_out(run, arguments.work, seed=arguments.seed)
        path.write_text(json.dumps(result))
        dice = told({arguments.seed: result}, "test", np.random.default_rng(5))
        print(f"{path.stem}: {dice}, {result['seconds']:.0f} s", flush=True)
    runs = {run.name: results for run in RUNS if (results := results_in(folder, run.name))}
    if arguments.page and runs:
        page = fill_page(arguments.page.read_text(encoding="utf-8"), tables_of(runs))
        arguments.page.write_text(page, encoding="utf-8")
        draw_pictures(runs, arguments.page.parent / "pictures")


if __name__ == "__main__":
    main()
