"""Whole analysis of frames whose file states no pixel size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from drawn_inputs import QUICK, draw_lif
from fringemap.batch import analyze, analyze_inputs
from fringemap.errors import CalibrationError
from fringemap.records import Flag, ScaleSource
from fringemap.report.words import calibration_badge


@pytest.mark.parametrize(
    ("name", "phase", "zone", "pixel_size_nm", "within"),
    [
        ("hrtem/SL_Bornite_011.png", "bornite high", (0, 1, 1), 0.087, 0.04),
        ("hrtem/Co3O4_0pass_500k.png", "Co3O4", (1, 1, 4), 0.0190527, 0.025),
        ("hrtem/TiO2_0eV.tif", "TiO2 rutile", (0, 0, 1), 0.0614634, 0.025),
    ],
)
def test_ratios_and_angles_give_name_zone_and_pixel_size(shared_data, name, phase, zone, pixel_size_nm, within):
    result = analyze(shared_data(name), phases=(phase,))
    first = result.match.phases[0]
    assert (first.phase, first.zone_axis) == (phase, zone)
    assert first.q_value <= 0.05
    assert first.flags & Flag.UNCALIBRATED
    assert result.flags & Flag.UNCALIBRATED
    assert result.scale.source is ScaleSource.RATIOS
    assert 0.1 * result.scale.pixel_size_angstrom[1] * first.scale == pytest.approx(pixel_size_nm, rel=within)
    assert "d-spacings and names hang on it" in result.warnings[-1]
    assert calibration_badge(result.scale, result.flags)[0] == "red"


@pytest.mark.parametrize(
    ("name", "phases", "said"),
    [
        ("hrtem/SL_Bornite_011.png", (), "--phases"),
        ("hrtem/SL_Bornite_011.png", ("bornite high", "Cu"), "do not tell"),
        ("hrtem/soot_ucam_ExampleImage.tif", ("graphite",), "too few"),
    ],
)
def test_what_ratios_and_angles_do_not_tell_is_refused_in_one_sentence(shared_data, name, phases, said):
    with pytest.raises(CalibrationError, match=said) as error:
        analyze(shared_data(name), phases=phases)
    assert "--pixel-size" in str(error.value)


def test_a_series_without_pixel_size_is_refused_even_with_phases(tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.stack([draw_lif(seed).image for seed in range(2)]), photometric="minisblack")
    settings = replace(QUICK, phases=replace(QUICK.phases, match="posterior"))
    (result,) = analyze_inputs([path], tmp_path / "out", settings=settings, workers=1)
    assert result.failures[0].kind == "CalibrationError"
    assert "fringemap calibrate" in result.failures[0].message
