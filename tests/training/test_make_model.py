"""From a set on disk to a package and a search, by the commands that people use."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import optuna
import pytest
from typer.testing import CliRunner

from fringemap.cli import app
from fringemap.errors import ReadError, SettingsError
from fringemap.settings import NetworkSettings, TrainSettings, TuneSettings
from fringemap.spots.model import load_model
from fringemap.training import make_model as making
from fringemap.training import package
from fringemap.training import tune as tuning
from fringemap.training.joined import Joined, open_sets
from fringemap.training.make_model import draw_empty, make_model
from fringemap.training.samples import Sample, no_spots
from fringemap.training.sets import write_samples
from fringemap.training.tune import tune
from made_samples import MadeSamples, empty_samples

SMALL = TrainSettings(crop=32, batch=4, crops_per_sample=1, epochs=1, empty_frames=2)


def samples(n):
    made = MadeSamples(n)
    for k in range(n):
        sample = made[k]
        yield Sample(sample.image, sample.label, sample.weight, no_spots(), {"source": f"made-{k}"})


@pytest.fixture(scope="module")
def made_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "made"
    write_samples(folder, samples(12), licence="none", shares={"train": 0.75, "validation": 0.25})
    return folder


@pytest.fixture(autouse=True)
def quick_empty_frames(monkeypatch):
    monkeypatch.setattr(making, "draw_empty", lambda n: iter(empty_samples(n)))


def test_the_command_trains_packs_resumes_and_checks(made_set, tmp_path, monkeypatch):
    plain = package.export_onnx
    # Exporting takes most of the time, and the second time gives the same.
    monkeypatch.setattr(package, "export_onnx", lambda net, path: 0.0 if path.exists() else plain(net, path))
    out = tmp_path / "model"
    words = ["train", str(made_set), "-o", str(out), "--base-width", "2", "--epochs", "2", "--name", "tiny", "--json"]
    first = CliRunner().invoke(app, words, catch_exceptions=False)
    assert json.loads(first.stdout)["name"] == "tiny"
    rounds = (out / "training" / "history.csv").read_text()
    forgotten = CliRunner().invoke(app, words)
    assert "go on with --resume" in str(forgotten.exception)
    assert (out / "training" / "history.csv").read_text() == rounds
    again = CliRunner().invoke(app, [*words, "--resume"], catch_exceptions=False)
    assert json.loads(again.stdout)["ended"] == "all 2 rounds are done"
    assert (out / "training" / "history.csv").read_text() == rounds
    checked = CliRunner().invoke(app, ["model", "check", str(out)], catch_exceptions=False)
    assert "tiny" in checked.stdout
    about = load_model(str(out)).about
    assert about["training"]["sets"][0]["licence"] == "none"
    assert about["training"]["recipe"]["rounds"] == 2


def test_sets_are_joined_and_a_set_that_is_not_there_is_named(made_set, tmp_path):
    parts = Joined((MadeSamples(3), MadeSamples(2, seed=5)))
    assert len(parts) == 5
    np.testing.assert_array_equal(parts[3].image, MadeSamples(2, seed=5)[0].image)
    with pytest.raises(IndexError):
        parts[5]
    with pytest.raises(ReadError, match=r"nothing"):
        make_model([tmp_path / "nothing"], tmp_path / "out", network=NetworkSettings(), settings=SMALL)


def test_a_set_without_a_validation_side_is_refused(tmp_path):
    write_samples(tmp_path / "test", samples(3), licence="none", shares={"test": 1.0})
    with pytest.raises(SettingsError, match="no sample to train on"):
        make_model([tmp_path / "test"], tmp_path / "out", network=NetworkSettings(), settings=SMALL)
    write_samples(tmp_path / "rare", samples(3), licence="none", shares={"train": 1.0})
    with pytest.raises(SettingsError, match="no sample to validate with"):
        tune([tmp_path / "rare"], tmp_path / "search", settings=PAPER, base=SMALL)


def test_sets_that_share_sources_across_their_sides_are_refused(made_set, tmp_path):
    write_samples(tmp_path / "more", samples(29), licence="none", shares={"train": 0.75, "validation": 0.25})
    with pytest.raises(SettingsError, match="validated with in another; draw one of them with another --seed"):
        open_sets([made_set, tmp_path / "more"])
    assert len(open_sets([made_set, made_set]).training) == 2 * len(open_sets([made_set]).training)


def test_sets_are_told_from_others_of_any_size(made_set, tmp_path):
    write_samples(tmp_path / "other", samples(13), licence="none", shares={"train": 0.75, "validation": 0.25})
    same, other = (open_sets([folder]).fingerprint for folder in (made_set, tmp_path / "other"))
    assert same == open_sets([made_set]).fingerprint != other


def test_frames_drawn_as_empty_hold_no_spot():
    drawn = list(draw_empty(5, seed=4))
    assert [len(sample.spots) for sample in drawn] == [0] * 5
    assert [sample.meta["kind"] for sample in drawn] == ["train"] * 4 + ["rare"]
    assert all(sample.label.sum() == 0 for sample in drawn)


PAPER = TuneSettings(trials=2, epochs=1, filters=(8, 16), seed=1)


def test_a_search_goes_on_where_it_was_and_reports_its_trials(made_set, tmp_path):
    first = tune([made_set], tmp_path, settings=TuneSettings(trials=1, epochs=1, filters=(8, 16)), base=SMALL)
    assert first.n_trials == 1
    second = tune([made_set], tmp_path, settings=PAPER, base=SMALL)
    assert second.n_trials == 2
    assert second.dice >= first.dice
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["0", "1"]
    assert max(float(row["dice"]) for row in rows) == pytest.approx(second.dice, abs=1e-4)
    wanted = {"learning_rate", "kernel", "transposed_kernel", "filters", "activation"}
    assert wanted | {f"dropout_{place}" for place in ("outer", "middle", "bottom")} == set(second.best)
    assert (tmp_path / "trials.png").exists()
    assert "2 trials" in (tmp_path / "report.md").read_text()


def test_a_trial_that_was_cut_off_is_done_again(made_set, tmp_path, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "train", die)
        with pytest.raises(KeyboardInterrupt):
            tune([made_set], tmp_path, settings=PAPER, base=SMALL)
    study = optuna.load_study(study_name="fringemap", storage=f"sqlite:///{tmp_path / 'study.db'}")
    lost = study.trials[0].params
    done = tune([made_set], tmp_path, settings=TuneSettings(trials=1, epochs=1, filters=(8, 16)), base=SMALL)
    assert done.n_trials == 1
    assert dict(done.best) == lost


def test_a_folder_with_a_search_over_another_space_is_refused(made_set, tmp_path):
    tuning._open_study(tmp_path, PAPER, SMALL, open_sets([made_set]).fingerprint)
    with pytest.raises(SettingsError, match="holds a search that differs in space, filters, epochs"):
        tune([made_set], tmp_path, settings=TuneSettings(space="own"), base=SMALL)
    with pytest.raises(SettingsError, match="differs in samples_per_epoch"):
        tune([made_set], tmp_path, settings=PAPER, base=replace(SMALL, samples_per_epoch=7))


def test_a_search_does_not_go_on_with_other_sets(made_set, tmp_path):
    tuning._open_study(tmp_path, PAPER, SMALL, "of other sets")
    with pytest.raises(SettingsError, match="differs in sets"):
        tune([made_set], tmp_path, settings=PAPER, base=SMALL)


def test_the_own_space_gives_settings_that_make_sense(made_set):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        network, training = tuning.suggest(study.ask(), TuneSettings(space="own"), SMALL)
        assert network.network == "compact"
        assert training.epochs == SMALL.epochs
        assert 3e-4 <= training.learning_rate <= 1e-2
