"""Whole runs with a network in place of the classical detector."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from drawn_inputs import write_lif
from fringemap.batch import analyze_inputs
from fringemap.batch.replay import replay_run
from fringemap.errors import FringemapError, ModelError
from fringemap.io import sha256
from fringemap.settings import AnalysisSettings, PhaseSettings, ReportSettings, SpotSettings
from made_model import write_made_model

if TYPE_CHECKING:
    from pathlib import Path


def settings_with(model: Path) -> AnalysisSettings:
    return AnalysisSettings(
        spots=SpotSettings(detector="unet", model=str(model)),
        phases=PhaseSettings(phases=("LiF",), match="tolerance"),
        report=ReportSettings(figures=False),
    )


def test_a_run_names_its_network_and_another_one_is_not_mixed_with_it(tmp_path: Path) -> None:
    frame, model = write_lif(tmp_path / "a.mrc"), write_made_model(tmp_path / "model")
    (result,) = analyze_inputs([frame], tmp_path / "out", settings=settings_with(model), workers=1)
    run = json.loads((tmp_path / "out" / "a" / "run.json").read_text(encoding="utf-8"))
    about = json.loads((model / "model.json").read_text(encoding="utf-8"))
    package = sha256(model / "model.json")
    hashes = {"sha256": about["sha256"], "package_sha256": package}
    assert run["model"] == {"name": "made", "folder": str(model), **hashes}
    assert "LiF" in result.summary["phases"]
    assert not replay_run(tmp_path / "out" / "a" / "run.json", tmp_path / "again", workers=1).differences
    write_made_model(model, bias=-7.9)
    with pytest.raises(FringemapError, match="the model is another one"):
        analyze_inputs([frame], tmp_path / "out", settings=settings_with(model), workers=1, resume=True)


def test_a_network_with_another_threshold_is_another_one(tmp_path: Path) -> None:
    frame, model = write_lif(tmp_path / "a.mrc"), write_made_model(tmp_path / "model")
    for _ in range(2):
        analyze_inputs([frame], tmp_path / "out", settings=settings_with(model), workers=1, resume=True)
    about = json.loads((model / "model.json").read_text(encoding="utf-8"))
    about["threshold_logit"] += 0.5
    (model / "model.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(FringemapError, match="the model is another one"):
        analyze_inputs([frame], tmp_path / "out", settings=settings_with(model), workers=1, resume=True)


def test_a_missing_network_ends_a_run_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere is no folder with a model package"):
        analyze_inputs(
            [write_lif(tmp_path / "a.mrc")], tmp_path / "out", settings=settings_with(tmp_path / "nowhere"), workers=1
        )
    assert not (tmp_path / "out" / "a").exists()
