from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("torch", reason="needs the extra train")

from typer.testing import CliRunner

from drawn_inputs import A_LIF, PIXEL_ANGSTROM, write_lif
from fringemap.cli import app
from fringemap.errors import SettingsError
from fringemap.training import fine_tune as module
from fringemap.training import package
from fringemap.training.circles import Circles, write_circles
from made_model import write_made_model
from made_samples import empty_samples
from made_trainable import write_trainable_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two labelled frames and a model; exports, drawn and empty frames are left out."""
    g = 20.0 / A_LIF
    for number, name in enumerate(("a", "b")):
        write_lif(tmp_path / f"{name}.mrc", number)
        circles = Circles(f"{name}.mrc", PIXEL_ANGSTROM / 10, (g, 0.0), (0.0, g), (0.3, 0.3), (False, False))
        write_circles(tmp_path / f"{name}.spots.json", circles)
    write_trainable_model(tmp_path / "old")
    made = write_made_model(tmp_path / "made")

    def export(_network: Any, path: Path) -> float:
        shutil.copy(made / "model.onnx", path)
        return 0.0

    monkeypatch.setattr(package, "export_onnx", export)
    monkeypatch.setattr(module, "draw_empty", lambda _n: iter(empty_samples(2)))
    monkeypatch.setattr(module, "draw_samples", lambda *_, **__: iter(()))
    monkeypatch.setattr(module, "FINE_TUNING", replace(module.FINE_TUNING, crop=64, crops_per_sample=2))
    return tmp_path


def test_a_model_is_trained_on_and_its_gain_is_said(folder: Path) -> None:
    options = ["--from", str(folder / "old"), "--epochs", "1", "--name", "mine", "--json"]
    done = CliRunner().invoke(app, ["train", str(folder), "-o", str(folder / "new"), *options], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert told["name"] == "mine"
    assert told["before"]["n_spots"] == told["after"]["n_spots"] == 2
    about = json.loads((folder / "new" / "model.json").read_text())
    assert about["training"]["recipe"]["epochs"] == 1
    # What was not given is as fine-tuning has it, not as a first training.
    assert about["training"]["recipe"]["learning_rate"] == module.FINE_TUNING.learning_rate
    assert about["fine_tuned"]["better"] == told["better"]


def test_the_shape_of_the_network_cannot_be_given_with_a_model(folder: Path) -> None:
    wrong = ["--from", str(folder / "old"), "--base-width", "4"]
    with pytest.raises(SettingsError, match="--base-width cannot be given with --from"):
        CliRunner().invoke(app, ["train", str(folder), "-o", str(folder / "new"), *wrong], catch_exceptions=False)
