from __future__ import annotations

import json

import pytest

from fringemap.errors import ModelError, SettingsError
from fringemap.spots import model
from fringemap.training import registry
from made_model import write_made_model


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Two models, and none that comes with fringemap."""
    monkeypatch.setattr(model, "_MODELS", tmp_path / "none")
    folder = tmp_path / "models"
    for name in ("one", "two"):
        write_made_model(folder / name, about={"name": name})
    return folder


def test_models_are_chosen_and_rolled_back_in_turn(models):
    assert not registry.can_roll_back(models)
    registry.choose(models, "one")
    registry.choose(models, "two")
    registry.choose(models, "two")
    assert registry.current(models) == "two"
    assert registry.roll_back(models) == "one"
    assert registry.current(models) == "one"


def test_without_a_way_back_it_says_so(models):
    registry.choose(models, "one")
    with pytest.raises(SettingsError, match="nothing to go back to"):
        registry.roll_back(models)
    assert registry.current(models) == "one"


def test_a_model_that_was_damaged_gives_way_to_the_one_before(models):
    registry.choose(models, "one")
    registry.choose(models, "two")
    (models / "two" / "model.onnx").write_bytes(b"damaged")
    assert registry.current(models) == "one"
    card = registry.read_card(models, "two")
    assert "SHA-256" in card.problem
    with pytest.raises(ModelError):
        registry.choose(models, "two")


def test_the_model_in_use_is_not_deleted_and_others_are(models):
    registry.choose(models, "one")
    registry.choose(models, "two")
    with pytest.raises(SettingsError, match="in use"):
        registry.remove(models, "two")
    registry.remove(models, "one")
    assert [card.name for card in registry.list_cards(models) if card.name] == ["two"]
    assert not registry.can_roll_back(models)


@pytest.mark.parametrize("name", ["three", "../one", "one/..", ".hidden", "a/b", "/etc"])
def test_a_name_that_is_no_model_is_refused(models, name):
    with pytest.raises(SettingsError, match="there is no model"):
        registry.package_of(models, name)


def test_a_package_is_copied_with_its_weights_under_a_free_name(models, tmp_path):
    given = write_made_model(tmp_path / "elsewhere" / "one")
    (given / "training").mkdir()
    (given / "training" / "best.safetensors").write_bytes(b"weights")
    (given / "training" / "checkpoint.safetensors").write_bytes(b"large")
    name = registry.adopt(models, given)
    assert name == "one-2"
    assert registry.read_card(models, name).trainable
    assert not registry.read_card(models, "one").trainable
    assert not (models / name / "training" / "checkpoint.safetensors").exists()


def test_what_is_no_package_is_not_copied(models, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no model package"):
        registry.adopt(models, tmp_path / "empty")
    assert sorted(path.name for path in models.iterdir()) == ["one", "two"]


def test_a_damaged_record_counts_as_none(models):
    registry.choose(models, "one")
    (models / registry.RECORD).write_text("{")
    registry.choose(models, "two")
    assert json.loads((models / registry.RECORD).read_text())["current"] == "two"


def test_the_model_that_comes_with_fringemap_is_in_use_until_another_is_chosen(tmp_path):
    models = tmp_path / "models"
    assert registry.current(models) == registry.SHIPPED
    (card,) = registry.list_cards(models)
    assert card.title == model.SHIPPED
    assert card.trainable
    write_made_model(models / "one")
    registry.choose(models, "one")
    assert registry.roll_back(models) == registry.SHIPPED
    with pytest.raises(SettingsError, match="came with fringemap"):
        registry.remove(models, registry.SHIPPED)
