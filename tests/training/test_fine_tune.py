from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from fringemap.errors import ModelError, SettingsError
from fringemap.settings import TrainSettings
from fringemap.spots.model import load_model, unpack_array
from fringemap.training import fine_tune as module
from fringemap.training import package
from fringemap.training.checkpoint import read_tensors
from fringemap.training.fine_tune import compare, fine_tune, read_weights, share_out
from fringemap.training.label_scores import LabelScores, score_labels
from fringemap.training.networks import make_network
from fringemap.training.samples import PatternSpots, Sample
from made_model import write_made_model
from made_samples import empty_samples
from made_trainable import write_trainable_model

QUICK = TrainSettings(crop=32, crops_per_sample=1, epochs=1, learning_rate=1e-3, empty_frames=2)


def sample(source, places, *, ignored=(), seed=0):
    """Noise with bright spots of 3 x 3 pixels at some places of a pattern of 41 x 40."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((3, 41, 40)).astype(np.float32)
    label, weight = np.zeros((41, 40), np.uint8), np.ones((41, 40), np.uint8)
    for row, col in (*places, *ignored):
        window = slice(row - 1, row + 2), slice(col - 1, col + 2)
        image[:, *window] += 8.0
        if (row, col) in places:
            label[window] = 1
        else:
            weight[window] = 0
    both = np.array([*places, *ignored], float).reshape(-1, 2)
    visible = np.arange(len(both)) < len(places)
    spots = PatternSpots(both[:, 0], both[:, 1], np.full(len(both), 3.4), np.full(len(both), np.nan), visible)
    return Sample(image.astype(np.float16), label, weight, spots, {"source": source})


@dataclass(frozen=True)
class Labels:
    samples: tuple[Sample, ...]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def source(self, index):
        return self.samples[index].source


LABELS = Labels(tuple(sample(f"{k}.mrc", [(8, 9 + k), (25, 20)], seed=k) for k in range(3)))


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Exports take seconds; here each new model computes what the made one does."""
    made = write_made_model(tmp_path / "made")
    monkeypatch.setattr(
        package, "export_onnx", lambda _network, path: float(bool(shutil.copy(made / "model.onnx", path))) * 0.0
    )
    monkeypatch.setattr(module, "draw_empty", lambda n: iter(empty_samples(n)))
    return tmp_path


def test_a_model_finds_labelled_spots_and_counts_false_ones(tmp_path):
    model = load_model(str(write_made_model(tmp_path / "model")))
    places, faint = [(8, 10), (30, 25), (20, 5)], [(12, 30)]
    whole = score_labels(model, [sample("a", places, ignored=faint)], false_spots=0.05)
    assert (whole.n_spots, whole.n_found, whole.n_false) == (3, 3, 0)
    assert whole.f1 == 1.0
    assert whole.dice > 0.9
    unmarked = sample("a", places[:2], ignored=faint)
    bright = replace(unmarked, image=sample("a", places, ignored=faint).image)
    missing = score_labels(model, [bright, sample("b", places)], false_spots=0.05)
    assert (missing.n_patterns, missing.n_spots, missing.n_found, missing.n_false) == (2, 5, 5, 1)
    assert missing.f1 == pytest.approx(10 / 11)


def test_where_nothing_is_labelled_and_nothing_found_all_is_right(tmp_path):
    model = load_model(str(write_made_model(tmp_path / "model")))
    scores = score_labels(model, [sample("a", [])], false_spots=0.001)
    assert (scores.f1, scores.dice, scores.n_false) == (1.0, 1.0, 0)


@pytest.mark.parametrize("n", range(2, 13))
def test_no_source_is_both_trained_on_and_held_out(n):
    sources = [f"{k * k % n}.mrc" for k in range(2 * n)] + [f"{k}.mrc" for k in range(n)]
    sides = share_out(sources)
    parts = [{sources[i] for i in part} for part in (sides.training, sides.choosing, sides.held_out)]
    assert all(parts)
    assert not parts[2] & (parts[0] | parts[1])
    assert set(sides.training) | set(sides.choosing) | set(sides.held_out) == set(range(len(sources)))
    if len(set(sources)) >= 5:
        assert not parts[0] & parts[1]


def test_labels_of_one_frame_are_too_few():
    with pytest.raises(SettingsError, match="label frames of at least two files"):
        share_out(["a", "a"])


def scores(dice, f1_found, n_patterns=1):
    return LabelScores(n_patterns, 10, f1_found, 0, dice)


@pytest.mark.parametrize(
    ("after", "drawn", "better", "word"),
    [
        (scores(0.8, 9), 8, True, "better"),
        (scores(0.7, 9), 8, True, "better"),
        (scores(0.9, 7), 8, False, "worse"),
        (scores(0.6, 9), 8, False, "worse"),
        (scores(0.7, 8), 8, False, "no better"),
        (scores(0.9, 9), 7, False, "forgets"),
    ],
)
def test_better_is_what_gains_on_held_out_labels_and_forgets_nothing(after, drawn, better, word):
    before = {"labels": scores(0.7, 8), "drawn": scores(0.7, 8)}
    found, reason = compare(before, {"labels": after, "drawn": scores(0.5, drawn)})
    assert found == better
    assert word in reason


def test_training_on_begins_with_the_weights_of_the_model_and_leaves_it_as_it_is(quick):
    base = write_trainable_model(quick / "base")
    first = (base / "model.json").read_bytes()
    own = read_tensors(base / "weights.safetensors")[0]
    still = replace(QUICK, learning_rate=1e-8, weight_decay=0.0)
    told = []
    made = fine_tune(
        base, LABELS, quick / "new", settings=still, n_drawn=0, name="mine", tell=lambda *words: told.append(words)
    )
    new = read_tensors(quick / "new" / "weights.safetensors")[0]
    for name, value in own.items():
        if value.dtype.is_floating_point and "running" not in name:
            assert torch.allclose(new[name], value, atol=1e-6), name
    assert (base / "model.json").read_bytes() == first
    assert made.model.name == "mine"
    card = json.loads((quick / "new" / "model.json").read_text())["fine_tuned"]
    assert card["base"] == "made"
    assert set(card["sources"]) | set(card["held_out"]) == {"0.mrc", "1.mrc", "2.mrc"}
    assert card["better"] == made.better
    assert card["before"]["labels"]["n_spots"] == card["after"]["labels"]["n_spots"] == 2
    assert not (quick / "new" / "training").exists()
    assert told[0][0] == "read labelled frames"
    assert sorted(path.name for path in quick.iterdir()) == ["base", "made", "new"]


def test_what_finds_more_on_held_out_labels_counts_as_better(quick):
    # The old model is so shy that it lists nothing.
    shy = {"threshold_logit": 1e3, "calibration": {"logit": [0.0, 1e3], "log10_false_per_megapixel": [9.0, 8.0]}}
    base = write_trainable_model(quick / "base")
    about = json.loads((base / "model.json").read_text())
    (base / "model.json").write_text(json.dumps(about | shy))
    made = fine_tune(base, LABELS, quick / "new", settings=QUICK, n_drawn=0)
    assert made.before["labels"].n_found == 0
    assert made.after["labels"].n_found == 2
    assert made.better


def test_a_package_without_weights_says_that_it_cannot_be_trained_further(quick):
    base = write_made_model(quick / "base")
    with pytest.raises(ModelError, match=r"cannot be trained further: its package holds no weights\.safetensors"):
        fine_tune(base, LABELS, quick / "new", settings=QUICK, n_drawn=0)
    assert not (quick / "new").exists()


def test_damaged_weights_ask_for_another_package(quick):
    base = write_trainable_model(quick / "base")
    path = next(base.rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="is damaged; fetch the model"):
        read_weights(load_model(str(base)))


def test_weights_that_do_not_fit_are_named(quick):
    base = write_trainable_model(quick / "base")
    about = json.loads((base / "model.json").read_text())
    about["network"]["base_width"] = 3
    (base / "model.json").write_text(json.dumps(about))
    with pytest.raises(ModelError, match="weights do not fit"):
        fine_tune(base, LABELS, quick / "new", settings=QUICK, n_drawn=0)
    del about["network"]
    (base / "model.json").write_text(json.dumps(about))
    with pytest.raises(ModelError, match="does not state the shape"):
        read_weights(load_model(str(base)))


def test_held_out_frames_without_any_spot_say_nothing(quick):
    empty = Labels(tuple(replace(one, spots=one.spots.take(np.zeros(0, int))) for one in LABELS.samples))
    with pytest.raises(SettingsError, match="no spot is labelled in the"):
        fine_tune(write_trainable_model(quick / "base"), empty, quick / "new", settings=QUICK, n_drawn=0)


def test_a_model_is_never_written_over_another(quick):
    with pytest.raises(SettingsError, match="holds a model already"):
        fine_tune(write_trainable_model(quick / "base"), LABELS, quick / "made", settings=QUICK, n_drawn=0)


def test_the_model_that_comes_with_fringemap_can_be_trained_on():
    model = load_model("")
    settings, weights = read_weights(model)
    network = make_network(settings).eval()
    network.load_state_dict(weights)
    for vector in model.about["test_vectors"]:
        image, wanted = (unpack_array(vector[part]).astype(np.float32) for part in ("image", "logit"))
        with torch.inference_mode():
            got = network(torch.from_numpy(image)[None])[0, 0].numpy()
        np.testing.assert_allclose(got, wanted, atol=package.TOLERANCE)


def test_what_a_model_was_trained_on_is_never_held_out_and_what_it_held_out_stays_so():
    for n in range(2, 12):
        first = [f"{k}.mrc" for k in range(n)]
        sides = share_out(first)
        held = {first[i] for i in sides.held_out}
        for more in range(1, 6):
            second = [*first, *(f"new {k}.mrc" for k in range(more))]
            again = share_out(second, trained_on=set(first) - held, held_out=held)
            held_again = {second[i] for i in again.held_out}
            assert held <= held_again
            assert not held_again & (set(first) - held)
            assert {second[i] for i in again.training} - held_again


def test_a_model_that_knows_all_labels_asks_for_more():
    with pytest.raises(SettingsError, match="trained on all 2 labelled files: none is left"):
        share_out(["a", "b"], trained_on={"a", "b", "c"})


def test_a_second_lesson_holds_out_nothing_of_the_first(quick):
    base, settings = write_trainable_model(quick / "base"), replace(QUICK, crops_per_sample=2)
    first = fine_tune(base, Labels(LABELS.samples[:2]), quick / "first", settings=settings, n_drawn=0)
    known = set(first.model.about["fine_tuned"]["sources"])
    second = fine_tune(quick / "first", LABELS, quick / "second", settings=settings, n_drawn=0)
    third = fine_tune(quick / "second", LABELS, quick / "third", settings=settings, n_drawn=0)
    for lesson in (second, third):
        assert not known & set(lesson.model.about["fine_tuned"]["held_out"])
        known |= set(lesson.model.about["fine_tuned"]["sources"])


def test_a_folder_with_other_things_in_it_is_refused_before_anything_is_trained(quick):
    (quick / "mine").mkdir()
    (quick / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(SettingsError, match="mine is taken; choose another folder"):
        fine_tune(write_trainable_model(quick / "base"), LABELS, quick / "mine", settings=QUICK, n_drawn=0)
    (quick / "empty").mkdir()
    assert fine_tune(quick / "base", LABELS, quick / "empty", settings=QUICK, n_drawn=0).model.folder.name == "empty"


def test_spots_near_the_axes_count_from_where_an_analysis_lists_them(tmp_path):
    table = {"logit": [0.0, 40.0], "log10_false_per_megapixel": [4.0, 2.0]}
    counts = {"n_false": 0, "n_patterns": 0, "n_megapixels": 0.0}
    plain = load_model(str(write_made_model(tmp_path / "plain")))
    strict = load_model(str(write_made_model(tmp_path / "strict", about={"calibration_near_axes": table | counts})))
    bright = sample("a", [(8, 1), (30, 25)])
    unmarked = replace(sample("a", [(30, 25)]), image=bright.image)
    assert score_labels(plain, [unmarked], false_spots=0.05).n_false == 1
    assert score_labels(strict, [unmarked], false_spots=0.05).n_false == 0
    picture = replace(unmarked, meta={"source": "a", "kind": "mask"})
    assert score_labels(strict, [picture], false_spots=0.05).n_false == 1
