"""The published experiments: regions beside true spots, augmented pictures, tables from counts, and a tiny run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import paper_experiments
from fringemap.training.samples import PatternSpots, Sample


def sample_with(places, *, radius=1, shape=(41, 21)):
    label = np.zeros(shape, np.uint8)
    for row, col in places:
        label[row - radius : row + radius + 1, col - radius : col + radius + 1] = 1
    row, col = (np.array(values, float) for values in zip(*places, strict=True))
    n = len(row)
    spots = PatternSpots(row, col, np.full(n, 3.0), np.full(n, 20.0), np.ones(n, bool))
    rng = np.random.default_rng(0)
    image = (rng.standard_normal((2, *shape)) + 6 * label).astype(np.float16)
    return Sample(image, label, np.ones(shape, np.uint8), spots, {"source": "one"})


def test_two_spots_in_one_region_are_merged_and_have_no_area():
    sample = sample_with([(10, 5), (10, 10), (30, 12)])
    found = sample.label > 0
    found[10, 5:11] = True
    assert paper_experiments.regions_of(found, sample) == (3, 2, [1.0])


def test_a_region_twice_as_large_as_its_label_says_so():
    sample = sample_with([(10, 5), (30, 12)])
    found = sample.label > 0
    found[12:15, 4:7] = True
    n_found, n_merged, areas = paper_experiments.regions_of(found, sample)
    assert (n_found, n_merged, sorted(areas)) == (2, 0, [1.0, 2.0])


def test_labels_that_touch_count_as_neither_found_nor_merged():
    sample = sample_with([(10, 5), (10, 8), (30, 12)])
    assert paper_experiments.regions_of(sample.label > 0, sample)[:2] == (1, 0)


def test_augmented_pictures_come_from_their_sources_in_turn_and_stay_near_them():
    sources = [sample_with([(10, 8)]), sample_with([(28, 12)])]
    made = paper_experiments.augmented(sources, 4)
    for number, picture in enumerate(made):
        row, col = (float(x.mean()) for x in np.nonzero(picture.label))
        spots = sources[number % 2].spots
        assert abs(row - spots.row[0]) < 5
        assert abs(col - spots.col[0]) < 5
        assert picture.image.shape == sources[0].image.shape
    assert not np.array_equal(made[0].image, made[2].image)


def test_dice_over_all_pixels_and_its_interval():
    counts = np.zeros((30, len(paper_experiments.THRESHOLDS), 3))
    counts[:] = (10, 14, 9)
    assert paper_experiments.pooled(counts, 3) == pytest.approx(18 / 24)
    assert paper_experiments.interval(counts, 3, np.random.default_rng(0)) == pytest.approx((18 / 24, 18 / 24))


def test_small_runs_train_measure_and_fill_all_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(paper_experiments, "N", {"train": 3, "validation": 2, "test": 2})
    monkeypatch.setattr(paper_experiments, "SIDE", 256)
    runs: dict[str, dict] = {}
    for name, seed in (("images-500", 1), ("images-500", 2), ("full", 1)):
        run = next(run for run in paper_experiments.RUNS if run.name == name)
        small = replace(run, n_sources=3, n_augmented=10 if run.n_augmented else 0, n_seen=8, base_width=1)
        runs.setdefault(name, {})[seed] = paper_experiments.carry_out(small, tmp_path, seed=seed)
    assert len(runs["images-500"][2]["parts"]["own validation"]) == 1
    tables = {table.name: table for table in paper_experiments.tables_of(runs)}
    assert len(tables["images"].rows) == len(tables["halves"].rows) == 1
    assert tables["images"].rows[0][-1].count(",") == 1
    assert len(tables["threshold"].rows) == 2
    assert all(len(row) == len(table.columns) for table in tables.values() for row in table.rows)
    paper_experiments.draw_pictures(runs, tmp_path)
    assert (tmp_path / "experiments.png").stat().st_size > 5000


def test_the_networks_of_all_seeds_are_measured_together_frame_by_frame():
    weak, good = (np.full((4, len(paper_experiments.THRESHOLDS), 3), (10, 10, both)) for both in (5, 9))
    runs = {1: {"parts": {"test": weak.tolist()}}, 2: {"parts": {"test": good.tolist()}}}
    counts = paper_experiments.counts_of(runs, "test")
    assert counts.shape == weak.shape
    assert paper_experiments.pooled(counts, 0) == pytest.approx(0.7)
    assert paper_experiments.told(runs, "validation", np.random.default_rng(0)) == "–"
