"""What a run left on disk is read again and explained."""

from __future__ import annotations

import dataclasses
import math
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from drawn_inputs import write_lif
from fringemap.batch import analyze_inputs
from fringemap.errors import ReadError, SettingsError
from fringemap.io import read
from fringemap.pipeline import analyze_frame, load_phases
from fringemap.report.explanation import explain_stored, read_run, sweep_stored
from fringemap.report.identified import IDENTIFIED_NAME, read_identified, write_identified
from fringemap.settings import AnalysisSettings, PhaseSettings, ReportSettings

if TYPE_CHECKING:
    from pathlib import Path

    from fringemap.records import FrameResult

SETTINGS = AnalysisSettings(
    phases=PhaseSettings(phases=("LiF", "Cu2O", "CuO", "Li2O"), false_names=0.2), report=ReportSettings(figures=False)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    analyze_inputs([write_lif(folder / "a.mrc")], folder / "out", settings=SETTINGS, workers=1)
    return folder / "out" / "a"


@pytest.fixture(scope="module")
def result(run: Path) -> FrameResult:
    with read(run.parent.parent / "a.mrc") as series:
        return analyze_frame(series[0], load_phases(SETTINGS), settings=SETTINGS)


def test_spots_and_match_come_back_as_they_were(run: Path, result: FrameResult) -> None:
    found = read_identified(run)
    for field in dataclasses.fields(found.spots):
        value, expected = getattr(found.spots, field.name), getattr(result.spots, field.name)
        np.testing.assert_allclose(value, expected, rtol=1e-8, err_msg=field.name)
    assert [spot.best and (spot.best.phase, spot.best.hkl) for spot in found.match.spots] == [
        spot.best and (spot.best.phase, spot.best.hkl) for spot in result.match.spots
    ]
    assert [spot.remark for spot in found.match.spots] == [spot.remark for spot in result.match.spots]
    assert [(one.phase, one.spots, one.zone_axis) for one in found.match.phases] == [
        (one.phase, one.spots, one.zone_axis) for one in result.match.phases
    ]
    assert found.scale.pixel_size_angstrom == pytest.approx(result.scale.pixel_size_angstrom)


def test_how_sure_a_zone_is_comes_back_and_older_runs_that_do_not_say_are_read(
    tmp_path: Path, result: FrameResult
) -> None:
    open_zone = dataclasses.replace(result.match.phases[0], zone_probability=0.6, rival_zones=((0, 0, 1), (1, 1, 2)))
    match = dataclasses.replace(result.match, phases=(open_zone,))
    with write_identified(tmp_path / IDENTIFIED_NAME) as append:
        append(dataclasses.replace(result, match=match))
    (found,) = read_identified(tmp_path).match.phases
    assert (found.zone_probability, found.rival_zones) == (0.6, ((0, 0, 1), (1, 1, 2)))
    path = tmp_path / IDENTIFIED_NAME
    text = path.read_text(encoding="utf-8")
    said = '"zone_probability":0.6,"rival_zones":[[0,0,1],[1,1,2]],'
    assert said in text
    path.write_text(text.replace(said, ""), encoding="utf-8")
    (older,) = read_identified(tmp_path).match.phases
    assert math.isnan(older.zone_probability)
    assert older.rival_zones == ()
    assert older.zone_axis == open_zone.zone_axis


def test_several_frames_are_told_apart(tmp_path: Path, result: FrameResult) -> None:
    with write_identified(tmp_path / IDENTIFIED_NAME) as append:
        for index in (3, 7):
            append(dataclasses.replace(result, index=index))
    assert read_identified(tmp_path, frame=7).index == 7
    with pytest.raises(SettingsError, match=r"holds 2 frames \(3, 7\); name one with --frame"):
        read_identified(tmp_path)
    with pytest.raises(SettingsError, match="no frame 4"):
        read_identified(tmp_path, frame=4)


def test_a_run_without_any_spot_is_read(tmp_path: Path, result: FrameResult) -> None:
    spots = type(result.spots)(**{f.name: getattr(result.spots, f.name)[:0] for f in dataclasses.fields(result.spots)})
    match = type(result.match)((), ())
    with write_identified(tmp_path / IDENTIFIED_NAME) as append:
        append(dataclasses.replace(result, spots=spots, match=match))
    found = read_identified(tmp_path)
    assert len(found.spots) == 0
    assert found.spots.covariance.shape == (0, 2, 2)


def test_a_stored_spot_is_explained(run: Path) -> None:
    story = explain_stored(read_run(run), 0)
    assert story.measured.startswith("Spot 0: d = ")
    assert "LiF" in story.verdict
    assert story.lines()[0].endswith("degrees.")
    with pytest.raises(SettingsError, match="spot 99 does not exist"):
        explain_stored(read_run(run), 99)


@pytest.mark.parametrize("keep", [0, 40, 900])
def test_a_truncated_file_is_refused(run: Path, tmp_path: Path, keep: int) -> None:
    shutil.copytree(run, tmp_path / "cut")
    path = tmp_path / "cut" / IDENTIFIED_NAME
    path.write_text(path.read_text(encoding="utf-8")[:keep], encoding="utf-8")
    with pytest.raises((ReadError, SettingsError), match=r"repeat the run|holds no frame"):
        read_run(tmp_path / "cut")


def test_the_folder_above_names_what_it_holds(run: Path) -> None:
    with pytest.raises(ReadError, match=r"name the folder of one input: .* holds a"):
        read_run(run.parent)
    with pytest.raises(ReadError, match="does not exist"):
        read_run(run / "nowhere")


def test_a_damaged_record_of_the_run_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "cut")
    (tmp_path / "cut" / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(ReadError, match=r"run.json is damaged"):
        read_run(tmp_path / "cut")


def test_a_stored_run_is_swept(run: Path) -> None:
    steps = sweep_stored(read_run(run), reach=0.01, step=0.01)
    assert [step.offset for step in steps] == [-0.01, 0.0, 0.01]
    with pytest.raises(SettingsError, match="spot 99 does not exist"):
        sweep_stored(read_run(run), reach=0.01, step=0.01, spot=99)


def test_a_frame_without_spots_has_nothing_to_sweep(tmp_path: Path, run: Path, result: FrameResult) -> None:
    stored = read_run(run)
    none = {f.name: getattr(result.spots, f.name)[:0] for f in dataclasses.fields(result.spots)}
    empty = dataclasses.replace(stored.identified, spots=type(result.spots)(**none))
    with pytest.raises(SettingsError, match="the frame has no spots"):
        sweep_stored(dataclasses.replace(stored, identified=empty), reach=0.01, step=0.01)
