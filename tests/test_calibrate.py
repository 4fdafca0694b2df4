from __future__ import annotations

import json
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawn_inputs import PIXEL_ANGSTROM, draw_lif, write_lif
from fringemap.batch import analyze, analyze_inputs
from fringemap.batch.calibrate import calibrate_input
from fringemap.batch.replay import replay_run
from fringemap.errors import CalibrationError, FringemapError, SettingsError
from fringemap.io import FrameSeries, calibration_to_text
from fringemap.records import ScaleSource
from fringemap.settings import AnalysisSettings, PhaseSettings, ReadSettings, ReportSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Data = Callable[[str], Path]


def stated(pixel_nm: float | None) -> AnalysisSettings:
    return AnalysisSettings(read=ReadSettings(pixel_size_nm=pixel_nm))


def test_strontium_titanate_shows_that_the_header_is_three_percent_off(shared_data: Data) -> None:
    found = calibrate_input(shared_data("formats/16_STOimage_1.ser"), "SrTiO3")
    assert found.method == "grains"
    assert -0.045 < found.distortion[0] < -0.025
    assert found.sigma < 0.005
    assert found.magnification == pytest.approx(13.5e6)
    assert found.doubts == ()


def test_barium_titanate_shows_pixels_that_are_five_percent_oblong(shared_data: Data) -> None:
    found = calibrate_input(shared_data("formats/BTO_crystal_1.dm4"), "BaTiO3")
    rows, cols = found.pixel_size_angstrom
    assert rows / cols == pytest.approx(1.046, abs=0.008)


def test_bornite_is_calibrated_without_any_pixel_size(shared_data: Data) -> None:
    found = calibrate_input(shared_data("hrtem/SL_Bornite_011.png"), "bornite high")
    assert found.stated_pixel_size_angstrom is None
    assert found.pixel_size_angstrom == pytest.approx((0.87, 0.87), rel=0.04)


def test_a_calibrated_frame_is_measured_at_its_true_scale(shared_data: Data, tmp_path: Path) -> None:
    titanate = shared_data("formats/BTO_crystal_1.dm4")
    file = tmp_path / "bto.toml"
    file.write_text(calibration_to_text(calibrate_input(titanate, "BaTiO3")), encoding="utf-8")
    settings = AnalysisSettings(
        read=ReadSettings(calibration=str(file)), phases=PhaseSettings(phases=("BaTiO3", "SrTiO3"))
    )
    result = analyze(titanate, settings=settings)
    assert result.scale.source is ScaleSource.CALIBRATED
    assert result.scale.shear != 0.0
    named = next(phase for phase in result.match.phases if phase.phase == "BaTiO3")
    assert named.scale == pytest.approx(1.0, abs=0.004)
    off = [abs(spot.best.deviation_percent) for spot in result.match.spots if spot.best is not None]
    assert max(off) < 2.5
    assert sorted(off)[len(off) // 2] < 0.5


def test_many_spots_of_a_square_pattern_give_the_pixel_size_that_nobody_stated(shared_data: Data) -> None:
    found = calibrate_input(shared_data("hrtem/TiO2_0eV.tif"), "rutile")
    assert np.mean(found.pixel_size_angstrom) == pytest.approx(0.614634, rel=0.03)


def test_a_wrong_standard_is_refused(shared_data: Data) -> None:
    with pytest.raises(CalibrationError, match="a lattice that TiO2 anatase does not have"):
        calibrate_input(shared_data("hrtem/TiO2_0eV.tif"), "anatase", settings=stated(0.0614634))


def test_soot_is_calibrated_on_its_ring_as_badly_as_so_wide_a_ring_allows(shared_data: Data) -> None:
    soot = shared_data("hrtem/soot_ucam_ExampleImage.tif")
    found = calibrate_input(soot, ring_angstrom=3.57, settings=stated(0.0561798))
    assert found.method == "rings"
    assert abs(found.distortion[0]) < 3 * found.sigma
    assert any("single ring" in doubt for doubt in found.doubts)
    with pytest.raises(CalibrationError, match="nobody can tell which one is meant"):
        calibrate_input(soot, ring_angstrom=3.57)


@pytest.mark.parametrize("pixel_nm", [PIXEL_ANGSTROM / 10, None])
def test_frames_of_a_stack_are_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixel_nm: float | None
) -> None:
    path = tmp_path / "s.npy"
    np.save(path, np.stack([draw_lif(seed).image for seed in range(8)]))
    whole, images, alive = FrameSeries.__getitem__, [], []

    def counted(series: FrameSeries, i: int) -> Any:
        frame = whole(series, i)
        images.append(weakref.ref(frame.image))
        alive.append(sum(image() is not None for image in images))
        return frame

    monkeypatch.setattr(FrameSeries, "__getitem__", counted)
    found = calibrate_input(path, "LiF", settings=stated(pixel_nm))
    assert found.pixel_size_angstrom == pytest.approx((PIXEL_ANGSTROM, PIXEL_ANGSTROM), rel=0.01)
    assert len(alive) > 8
    assert max(alive) <= 3


def test_one_standard_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name one standard"):
        calibrate_input(write_lif(tmp_path / "a.mrc"))
    with pytest.raises(SettingsError, match="name one standard"):
        calibrate_input(tmp_path / "a.mrc", "Au", ring_angstrom=2.0)


def test_a_run_keeps_its_calibration_and_another_one_is_not_mixed_with_it(tmp_path: Path) -> None:
    frame, file = write_lif(tmp_path / "a.mrc"), tmp_path / "c.toml"
    file.write_text(calibration_to_text(calibrate_input(frame, "LiF")), encoding="utf-8")
    settings = AnalysisSettings(
        read=ReadSettings(calibration=str(file)),
        phases=PhaseSettings(phases=("LiF",), match="tolerance"),
        report=ReportSettings(figures=False),
    )
    (result,) = analyze_inputs([frame], tmp_path / "out", settings=settings, workers=1)
    run = json.loads((tmp_path / "out" / "a" / "run.json").read_text(encoding="utf-8"))
    assert run["calibration"]["standard"] == "LiF"
    assert result.summary["scale_source"] == "calibrated"
    assert not replay_run(tmp_path / "out" / "a" / "run.json", tmp_path / "again", workers=1).differences
    file.write_text(file.read_text(encoding="utf-8") + "# another\n", encoding="utf-8")
    with pytest.raises(FringemapError, match="the calibration file has another content"):
        analyze_inputs([frame], tmp_path / "out", settings=settings, workers=1, resume=True)


def test_a_missing_calibration_file_ends_a_run_before_anything_is_written(tmp_path: Path) -> None:
    settings = AnalysisSettings(read=ReadSettings(calibration=str(tmp_path / "nowhere.toml")))
    with pytest.raises(CalibrationError, match=r"nowhere.toml cannot be read"):
        analyze_inputs([write_lif(tmp_path / "a.mrc")], tmp_path / "out", settings=settings, workers=1)
    assert not (tmp_path / "out" / "a").exists()
