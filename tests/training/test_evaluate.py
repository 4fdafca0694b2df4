"""Evaluation of detectors on drawn sets, circled frames and pictures, with a model that needs no training."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fringemap.cli import app
from fringemap.errors import ModelError, ReadError, SettingsError
from fringemap.report.evaluation import COLUMNS, write_evaluation
from fringemap.training.circles import Circles, write_circles
from fringemap.training.evaluate import CLASSICAL, LOOSEST, count_pixels, evaluate, make_detectors
from fringemap.training.labelled import load_labelled
from fringemap.training.recipes import find_recipe
from fringemap.training.sets import write_samples, write_set
from fringemap.training.subjects import empty_subjects, open_subjects, read_recipe
from fringemap.training.summary import evaluate_and_summarise, lines_through_spots, summarise
from made_model import write_made_model

FALSE_SPOTS = 0.05


@pytest.fixture(scope="module")
def drawn_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "drawn"
    write_set(folder, find_recipe("test", size=256), n=5, seed=4)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "made"
    write_made_model(folder)
    return folder


@pytest.fixture(scope="module")
def outcome(drawn_set, model):
    return evaluate(open_subjects(drawn_set), make_detectors([str(model)]), false_spots=FALSE_SPOTS, n_empty=2)


def test_every_detector_looks_at_every_frame(outcome):
    assert list(outcome.found) == [CLASSICAL, "made"]
    assert [len(of) for of in outcome.found.values()] == [7, 7]
    assert [fact.extra for fact in outcome.facts] == [False] * 5 + [True] * 2
    assert all(fact.empty for fact in outcome.facts if fact.extra)


def test_what_must_be_found_are_the_labelled_spots(outcome, drawn_set):
    for subject, fact in zip(open_subjects(drawn_set), outcome.facts, strict=False):
        # True spots closer than a width count once.
        assert len(fact.wanted_snr) <= np.count_nonzero(subject.sample.spots.visible)
        assert (len(fact.wanted_snr) > 0) == bool(subject.sample.spots.visible.any())
        assert (fact.wanted_snr > 2.5).all()


def test_lists_fall_in_score_down_to_the_loosest_rate_and_targets_count_once(outcome):
    for of in (found for founds in outcome.found.values() for found in founds):
        assert (np.diff(of.score) <= 0).all()
        assert (of.score >= -np.log10(LOOSEST * FALSE_SPOTS) - 1e-9).all()
        targets = of.target[of.target >= 0]
        assert len(set(targets)) == len(targets)
        assert ((of.target >= 0) == (of.verdict > 0)).all()


def test_pixels_of_the_model_are_those_above_its_threshold(outcome, drawn_set):
    for subject, of in zip(open_subjects(drawn_set), outcome.found["made"], strict=False):
        logit = 2.0 * subject.sample.image[0].astype(float) + 0.5 * subject.sample.image[1] - 8.0
        np.testing.assert_array_equal(of.pixels, count_pixels(logit > 0, subject.sample))
        assert of.pixels.sum() == np.count_nonzero(subject.sample.weight)


def test_spots_that_stand_out_are_those_that_noise_makes_nowhere_in_the_pattern(outcome, drawn_set):
    def asked(counts):
        return counts[0] + counts[2]

    for subject, of in zip(open_subjects(drawn_set), outcome.found["made"], strict=False):
        spots = subject.sample.spots
        # At the size of these frames a spot of an SNR of 9 stands out however wide it is, one of 5 never does.
        if (spots.snr[spots.visible] > 9.0).all():
            np.testing.assert_array_equal(of.outstanding, of.pixels)
        elif (spots.snr[spots.visible] < 5.0).any():
            assert asked(of.outstanding) < asked(of.pixels)
        assert asked(of.outstanding) <= asked(of.pixels)
        # Background stays background.
        assert of.outstanding[1] <= of.pixels[1]
    assert (
        0
        < sum(asked(of.outstanding) for of in outcome.found["made"])
        < sum(asked(of.pixels) for of in outcome.found["made"])
    )


def test_frames_drawn_again_are_those_of_the_set_and_others_are_refused(drawn_set):
    subjects = open_subjects(drawn_set)
    assert read_recipe(subjects.samples.record["recipe"]) == find_recipe("test", size=256)
    other = replace(subjects, recipe=find_recipe("train", size=256))
    with pytest.raises(ReadError, match="cannot be drawn again"):
        _ = other[0].seen


def test_further_empty_frames_hold_no_spot_and_are_none_of_the_set(drawn_set):
    subjects = open_subjects(drawn_set)
    drawn = list(empty_subjects(subjects, 2))
    assert all(len(subject.true) == 0 and subject.is_empty for subject in drawn)
    assert not {s.sample.source for s in drawn} & {s.source for s in subjects.samples}


def test_the_page_holds_all_detectors_and_the_table_all_figures(outcome, drawn_set, model, tmp_path, rng):
    lines = lines_through_spots(open_subjects(drawn_set), outcome, make_detectors([str(model)]))
    shown = summarise(outcome, lines=lines, rng=rng)
    page = write_evaluation([shown], tmp_path).read_text(encoding="utf-8")
    for text in (CLASSICAL, "made", "faint spots", "crowded frames", "F1 at the stated rate"):
        assert text in page
    assert page.count("data:image/png;base64,") >= 4
    with (tmp_path / "evaluation.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {"Dice", "recall", "precision", "F1", "F1 gain"} <= {row["quantity"] for row in rows}
    assert {row["detector"] for row in rows} == {"", CLASSICAL, "made"}
    assert [line.title.split(":")[0] for line in shown.lines] == ["faint", "middle", "clear"]


def test_lines_pass_through_their_spots(outcome, drawn_set, model):
    clear = lines_through_spots(open_subjects(drawn_set), outcome, make_detectors([str(model)]))[-1]
    assert clear.labelled[np.abs(clear.pattern_offset).argmin()] == 1
    peak = clear.offset[(clear.power / clear.background).argmax()]
    assert abs(peak) < 3 * np.diff(clear.offset)[0]
    assert clear.probability["made"][np.abs(clear.pattern_offset).argmin()] > 0.5


def picture_folder(folder, rng):
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    shown = rng.normal(100, 10, (65, 65))
    mask = np.zeros((65, 65))
    for row, col in ((20, 45), (44, 19)):
        shown[row - 1 : row + 2, col - 1 : col + 2] += 120
        mask[row - 1 : row + 2, col - 1 : col + 2] = 255
    Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8)).save(folder / "images" / "a.png")
    Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / "a.png")
    return folder


def test_pictures_are_judged_without_the_classical_detector(tmp_path, model, rng):
    folder = picture_folder(tmp_path / "pairs", rng)
    done = evaluate(open_subjects(folder, side="all"), make_detectors([str(model)]), false_spots=FALSE_SPOTS)
    assert list(done.found) == ["made"]
    assert done.found["made"][0].verdict[0] == 1
    assert len(done.facts[0].wanted_snr) == 1
    assert any("classical" in remark for remark in done.remarks)
    with pytest.raises(SettingsError, match="name a model"):
        evaluate(open_subjects(folder, side="all"), make_detectors([]), false_spots=FALSE_SPOTS)


def test_circled_frames_are_judged_with_every_detector(tmp_path, model, rng):
    y, x = np.mgrid[:256, :256]
    image = rng.normal(100, 10, (256, 256)) + 8 * np.cos(2 * np.pi * (60 * x + 40 * y) / 256)
    np.save(tmp_path / "frame.npy", image.astype(np.float32))
    step = 1 / (256 * 0.05)
    write_circles(
        tmp_path / "frame.spots.json",
        Circles("frame.npy", 0.05, gx=(60 * step,), gy=(40 * step,), radius=(2 * step,), ignored=(False,)),
    )
    done = evaluate(open_subjects(tmp_path, side="all"), make_detectors([str(model)]), false_spots=FALSE_SPOTS)
    assert list(done.found) == [CLASSICAL, "made"]
    for found in done.found.values():
        assert found[0].verdict[0] == 1


def test_a_set_of_circled_frames_holds_patterns_without_their_frames(tmp_path, model, rng):
    np.save(tmp_path / "frame.npy", rng.normal(100, 10, (256, 256)).astype(np.float32))
    write_circles(tmp_path / "frame.spots.json", Circles("frame.npy", 0.05, (4.0,), (3.0,), (0.2,), (False,)))
    labelled = load_labelled(tmp_path)
    write_samples(tmp_path / "set", iter(labelled), licence="none", shares={"test": 1.0})
    subjects = open_subjects(tmp_path / "set")
    assert not subjects.has_frames
    assert subjects[0].seen is None
    done = evaluate(subjects, make_detectors([str(model)]), false_spots=FALSE_SPOTS)
    assert list(done.found) == ["made"]


@pytest.mark.parametrize("kind", ["train", "rare"])
def test_whoever_judges_on_what_was_trained_on_is_told_so(tmp_path, model, kind):
    write_set(tmp_path / "set", find_recipe(kind, size=256), n=2, seed=4)
    done = evaluate(open_subjects(tmp_path / "set", side="all"), make_detectors([str(model)]), false_spots=FALSE_SPOTS)
    assert any("models that were trained on them know them" in remark for remark in done.remarks)


def test_what_was_held_out_needs_no_such_remark(outcome):
    assert not any("models that were trained on them" in remark for remark in outcome.remarks)


def test_a_set_with_settings_of_another_version_is_named(drawn_set, tmp_path):
    shutil.copytree(drawn_set, tmp_path / "other")
    record = json.loads((tmp_path / "other" / "set.json").read_text())
    record["settings"] = {"spots": {"no_such_setting": 1}}
    (tmp_path / "other" / "set.json").write_text(json.dumps(record))
    with pytest.raises(ReadError, match="of another version of fringemap"):
        open_subjects(tmp_path / "other")


def test_a_set_without_empty_frames_says_so_and_compares_at_the_stated_rate(tmp_path, model, rng):
    folder = picture_folder(tmp_path / "pairs", rng)
    shown = evaluate_and_summarise(
        folder, make_detectors([str(model)], classical=False), false_spots=FALSE_SPOTS, side="all", rng=rng
    )
    assert shown.rates == ()
    assert any("no frame without crystal" in remark for remark in shown.remarks)
    assert shown.find("made", "all", "F1, stated rate") is not None
    write_evaluation([shown], tmp_path / "out")


def test_wrong_input_ends_with_a_sentence(tmp_path, drawn_set, model):
    with pytest.raises(SettingsError, match="no detector to evaluate"):
        make_detectors([], classical=False)
    with pytest.raises(ModelError):
        make_detectors([str(tmp_path / "missing")])
    with pytest.raises(ReadError, match="does not exist"):
        open_subjects(tmp_path / "missing")
    with pytest.raises(SettingsError, match="no sample for train"):
        open_subjects(drawn_set, side="train")
    with pytest.raises(SettingsError, match="no side of a split"):
        open_subjects(drawn_set, side="left")


def test_the_command_prints_figures_for_programs(drawn_set, model, tmp_path):
    arguments = ["evaluate", drawn_set, "--model", model, "-o", tmp_path / "out", "--limit", 1, "--json"]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["sets"][0]["name"] == "drawn"
    assert (tmp_path / "out" / "evaluation.html").exists()
    again = CliRunner().invoke(app, list(map(str, arguments[:-1])))
    assert "made: Dice" in again.stdout
