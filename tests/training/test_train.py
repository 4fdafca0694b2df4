from __future__ import annotations

import csv
import itertools

import pytest
import torch

from fringemap.errors import ReadError, SettingsError
from fringemap.settings import NetworkSettings, TrainSettings
from fringemap.training.checkpoint import Progress, Round, load_checkpoint, read_tensors
from fringemap.training.train import BEST, CHECKPOINT, learning_rate, train
from made_samples import MadeSamples

NETWORK = NetworkSettings(base_width=2, dropout_bottom=0.2)
SETTINGS = TrainSettings(crop=32, batch=8, crops_per_sample=2, epochs=3, averaging=0.9, learning_rate=5e-3, seed=2)
TRAINING, VALIDATION = MadeSamples(10), MadeSamples(3, seed=1)


def run(folder, settings=SETTINGS, training=TRAINING, **more):
    return train(training, VALIDATION, network=NETWORK, settings=settings, folder=folder, **more)


class KilledError(Exception):
    pass


class Deadly(MadeSamples):
    """Dies when it is asked for the n-th sample, as a process would that is killed."""

    def __init__(self, n, at):
        super().__init__(n)
        object.__setattr__(self, "left", itertools.count(at, -1))

    def __getitem__(self, index):
        if next(self.left) == 0:
            raise KilledError
        return super().__getitem__(index)


@pytest.mark.parametrize("at", [14, 27])
def test_a_training_killed_in_the_middle_of_a_round_goes_on_to_the_same_weights_bit_for_bit(tmp_path, at):
    whole = run(tmp_path / "whole")
    with pytest.raises(KilledError):
        run(tmp_path / "broken", training=Deadly(10, at))
    resumed = run(tmp_path / "broken", resume=True)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    for file in (CHECKPOINT, BEST):
        one, other = (read_tensors(tmp_path / folder / file)[0] for folder in ("whole", "broken"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert [r.dice for r in whole.history] == [r.dice for r in resumed.history]
    assert [r.loss for r in whole.history] == [r.loss for r in resumed.history]


def test_training_learns_and_leaves_its_curves(tmp_path):
    settings = TrainSettings(crop=32, batch=16, crops_per_sample=8, epochs=5, averaging=0.8, learning_rate=1e-2)
    trained = train(
        MadeSamples(24), VALIDATION, network=NetworkSettings(base_width=4), settings=settings, folder=tmp_path
    )
    losses = [r.loss for r in trained.history]
    assert losses[-1] < 0.7 * losses[0]
    assert trained.best.dice > 0.3
    with (tmp_path / "history.csv").open() as file:
        assert [float(row["dice"]) for row in csv.DictReader(file)] == [r.dice for r in trained.history]
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_training_ends_after_rounds_without_a_better_dice(tmp_path):
    frozen = TrainSettings(
        batch=8, crop=32, epochs=60, patience=2, learning_rate=1e-8, averaging=1.0, crops_per_sample=1
    )
    trained = run(tmp_path, settings=frozen)
    assert trained.reason == "no better Dice in 2 rounds"
    assert len(trained.history) == trained.best.epoch + 2 < 60


def test_a_time_limit_ends_a_training_with_the_best_model_so_far(tmp_path):
    limited = TrainSettings(crop=32, crops_per_sample=2, epochs=1000, patience=1000, minutes=0.02)
    trained = run(tmp_path, settings=limited)
    assert trained.reason == "0.02 minutes are over"
    assert 1 <= len(trained.history) < 1000
    assert trained.best in trained.history


def test_a_training_goes_on_after_its_time_limit_as_if_there_had_been_none(tmp_path):
    whole = run(tmp_path / "whole")
    limit = TrainSettings(**{**vars(SETTINGS), "minutes": 1e-5})
    run(tmp_path / "limited", settings=limit)
    resumed = run(tmp_path / "limited", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True))


def test_the_caller_can_end_a_training_and_sees_its_progress(tmp_path):
    told = []
    trained = run(tmp_path, go_on=lambda history: len(history) < 2, tell=lambda *words: told.append(words))
    assert len(trained.history) == 2
    assert told[0] == ("round 1 of 3", 1, 3)
    assert told[-1] == ("round 2 of 3", 3, 3)


def test_a_checkpoint_of_other_settings_is_refused_with_their_names(tmp_path):
    run(tmp_path, settings=TrainSettings(**{**vars(SETTINGS), "epochs": 1}))
    with pytest.raises(SettingsError, match=r"differs in loss, epochs"):
        run(tmp_path, settings=TrainSettings(**{**vars(SETTINGS), "loss": "dice"}), resume=True)


def test_a_checkpoint_of_other_samples_is_refused(tmp_path):
    run(tmp_path, fingerprint="one set")
    with pytest.raises(SettingsError, match="differs in sets of samples"):
        run(tmp_path, fingerprint="another", resume=True)


def test_without_patterns_to_validate_with_nothing_is_trained(tmp_path):
    with pytest.raises(SettingsError, match="to validate with"):
        train(MadeSamples(3), [], network=NETWORK, settings=SETTINGS, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_resumed_average_stays_on_its_device(tmp_path):
    trained = run(tmp_path)
    tensors = {name: torch.zeros_like(value) for name, value in trained.network.state_dict().items()}
    average, optimizer = dict(tensors), torch.optim.AdamW(trained.network.parameters())
    recipe = read_tensors(tmp_path / CHECKPOINT)[1]["recipe"]
    load_checkpoint(tmp_path / CHECKPOINT, network=trained.network, average=average, optimizer=optimizer, recipe=recipe)
    # What is loaded is on the CPU; the tensors that were there, wherever they are, have its values.
    assert all(average[name] is tensors[name] for name in tensors)
    assert any(value.any() for value in average.values())


def test_a_damaged_checkpoint_is_named(tmp_path):
    tmp_path.joinpath(CHECKPOINT).write_bytes(b"no tensors")
    with pytest.raises(ReadError, match="damaged"):
        run(tmp_path, resume=True)


def test_the_step_rises_then_falls_to_a_hundredth():
    rates = [learning_rate(step, 200, SETTINGS) for step in range(200)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(SETTINGS.learning_rate)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0.01 * SETTINGS.learning_rate, rel=0.1)


def test_of_rounds_with_equal_dice_the_one_with_the_smallest_loss_is_best():
    rounds = [Round(k + 1, 1.0, loss, 0.0, 1e-3, 1.0) for k, loss in enumerate((0.9, 0.5, 0.7))]
    best = Progress(3, 3, rounds).best
    assert best is not None
    assert best.epoch == 2
    assert Progress(0, 0, []).best is None
