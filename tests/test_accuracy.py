"""The benchmark of accuracy: its judge on cases with a known verdict, and each section on a few frames."""

from __future__ import annotations

import numpy as np
import pytest

import accuracy
import known_frames
from fringemap.records import Scale, ScaleSource, Spots, TrueSpots, Truth
from fringemap.simulate import PlaneWave, plane_wave_frame
from fringemap.training import judging

SHAPE, PIXEL, LIMITS = (256, 256), (0.4, 0.4), (1.0, 12.0)


def true_spots(g, *, snr=20.0, width=0.02):
    n = len(g)
    gx, gy = np.array(g, float).reshape(n, 2).T
    ones = np.ones(n)
    return TrueSpots(gx, gy, np.zeros((n, 3), int), ("wave",) * n, np.arange(n), ones, width * ones, snr * ones)


def truth_of(spots):
    masks = np.ones((len(spots), *SHAPE), bool)
    return Truth(spots.phase, masks, spots, Scale(PIXEL, 0.0, ScaleSource.CALIBRATED))


def found_spots(g, *, score=None):
    n = len(g)
    found = known_frames.invented_spots(n, 50.0, np.random.default_rng(0))
    gx, gy = np.array(g, float).reshape(n, 2).T
    score = np.arange(n, 0, -1.0) if score is None else np.array(score)
    sigma = np.tile(np.eye(2) * 1e-8, (n, 1, 1))
    return Spots(**{**vars(found), "gx": gx, "gy": gy, "score": score, "covariance": sigma})


def verdict(true, found):
    return judging.judge(truth_of(true_spots(true)), found_spots(found), frame_shape=SHAPE, d_limits=LIMITS)


def test_a_found_spot_at_the_mate_of_a_true_one_is_right():
    judged = verdict([(0.3, 0.2)], [(-0.3, -0.2)])
    assert judged.target_of.tolist() == [0]
    assert abs(judged.errors["d_error"][0]) < 1e-9
    assert abs(judged.errors["angle_error"][0]) < 1e-9


def test_a_true_spot_counts_once_and_a_second_find_is_a_split():
    judged = verdict([(0.3, 0.2)], [(0.3, 0.2), (0.302, 0.2)])
    assert judged.target_of.tolist() == [0, -1]
    assert judged.cause == ("", "split")


def test_a_find_far_from_all_true_spots_says_what_it_may_be():
    judged = verdict([(0.3, 0.2), (0.2, -0.3)], [(0.5, -0.1), (0.33, 0.21), (0.7, 0.6)])
    assert judged.cause == ("sum", "beside", "alone")


def test_true_spots_closer_than_a_width_are_one_target():
    targets = judging.make_targets(true_spots([(0.3, 0.2), (0.31, 0.2), (0.4, 0.2)]), d_limits=LIMITS)
    assert targets.merged.tolist() == [True, False]
    np.testing.assert_allclose(targets.snr, [20 * np.sqrt(2), 20])


def test_the_bound_of_a_full_square_is_the_textbook_one():
    n, amplitude, sigma = 64, 0.3, 1.0
    snr = amplitude * n / np.sqrt(2) / sigma
    bound = judging.wave_bound(snr, judging.position_covariance(np.ones((n, n), bool), (1.0, 1.0)))
    in_bins = n * np.sqrt(np.diag(bound))
    np.testing.assert_allclose(in_bins, np.sqrt(24) / (2 * np.pi) * sigma / (amplitude * n), rtol=2e-4)


def test_the_bound_is_the_inverse_of_the_fisher_matrix_summed_pixel_by_pixel():
    shape, amplitude, sigma, g = (40, 50), 0.5, 1.3, (0.21, 0.13)
    y, x = np.mgrid[: shape[0], : shape[1]] * 0.9
    mask = (y - 15) ** 2 + 0.5 * (x - 20) ** 2 + 0.4 * (y - 15) * (x - 20) < 150
    slope = -amplitude * np.sin(2 * np.pi * (g[0] * y + g[1] * x))[mask]
    slopes = np.stack([2 * np.pi * y[mask] * slope, 2 * np.pi * x[mask] * slope, slope])
    expected = np.linalg.inv(slopes @ slopes.T / sigma**2)[:2, :2]
    snr = amplitude * np.sqrt(np.count_nonzero(mask) / 2) / sigma
    bound = judging.wave_bound(snr, judging.position_covariance(mask, (0.9, 0.9)))
    np.testing.assert_allclose(bound, expected, rtol=0.05, atol=0.05 * expected.max())


def test_a_strong_wave_is_found_and_measured_near_the_bound(rng):
    frame, truth = plane_wave_frame(SHAPE, PIXEL, [PlaneWave(0.31, 0.17, 0.5)], rng=rng, noise_sigma=1.0)
    judged = accuracy.judge_frame(frame, truth)
    assert judged.found.tolist() == [True]
    assert abs(judged.errors["d_error"][0]) < 6 * judged.errors["d_bound"][0]


@pytest.mark.parametrize("key", ["grain", "dose", "shape", "trouble"])
def test_conditions_draw_frames_of_their_shape(key, rng):
    condition = accuracy.conditions(1)[key][0]
    scene = accuracy.draw_scene(condition, rng=rng)
    assert scene.frame_shape == condition.shape
    assert scene.grains


def test_small_frames_go_through_detection_and_its_tables(rng):
    condition = accuracy.Condition("small", 2, shape=(256, 320), diameter=80.0)
    judged = accuracy.judge_frames(condition, rng=rng)
    tables = [accuracy.condition_table("grain", {"small": judged}), accuracy.snr_table(judged)]
    tables += accuracy.error_tables("frame", "frames", judged, {"small": judged})
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert tables[0].rows[0][:2] == ("small", "2")


def test_empty_frames_give_a_row_a_kind(rng):
    table = accuracy.false_spot_table(1, rng, (128, 128))
    assert [row[0] for row in table.rows] == list(accuracy.empty_scenes((128, 128)))
    area = accuracy.false_area_table(1, rng, (256, 256))
    assert all(len(row) == len(area.columns) for row in area.rows)


def test_maps_of_one_grain_are_judged_by_its_mask():
    row = accuracy.map_grain(*accuracy.draw_grain(160.0, np.random.default_rng(0)), 160.0, "amplitude")
    assert row is not None
    assert row.seen
    assert row.overlap > 0.5


def test_names_are_counted_once_a_spot(rng):
    condition = accuracy.Condition("small", 1, shape=(256, 256), diameter=80.0)
    judged = accuracy.judge_frames(condition, rng=rng)[0]
    references = accuracy.load_references(accuracy.PhaseSettings(phases=("Li", "LiF")), d_min_angstrom=1.0)
    counts = accuracy.name_counts(judged, references, "nearest", 0.01, 0.01)
    assert counts["right"] + counts["wrong"] + counts["unknown"] + counts["false"] == len(judged.spots)


def test_a_page_keeps_its_prose_and_gets_new_tables():
    table = accuracy.Table("one", "Title", ("a", "b"), (("1", "2"),))
    page = accuracy.fill_page("before\n<!-- table one -->\nold\n<!-- end -->\nafter\n", [table])
    assert "| 1 | 2 |" in page
    assert "old" not in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert accuracy.fill_page(page, [table]) == page
