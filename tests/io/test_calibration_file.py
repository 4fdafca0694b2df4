from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fringemap.errors import CalibrationError
from fringemap.io import calibration_to_text, read_calibration
from fringemap.io.calibration import compute_scale
from fringemap.io.signals import NO_SIZE, Signal, StoredSize
from fringemap.records import Calibration, Flag, ScaleSource
from fringemap.settings import ReadSettings

if TYPE_CHECKING:
    from pathlib import Path

MADE = Calibration(
    pixel_size_angstrom=(0.38, 0.39),
    shear=0.01,
    sigma=0.002,
    stated_pixel_size_angstrom=(0.4, 0.4),
    frame_shape=(512, 1024),
    standard="Au",
    method="grains",
    n_used=12,
    n_found=15,
    residual=0.003,
    distortion=(-0.03, 0.01, 0.002),
    distortion_sigma=(0.002, 0.002, 0.002),
    source="gold.dm4",
    source_sha256="ab" * 32,
    date="2026-01-31",
    magnification=500e3,
)


def signal(pixel_nm: float | None, shape: tuple[int, int] = (512, 1024), **metadata: float) -> Signal:
    sizes = NO_SIZE if pixel_nm is None else (StoredSize(pixel_nm, "nm"),) * 2
    return Signal("x", 1, shape, np.dtype("f4"), lambda _i: np.zeros(shape), pixel_size=sizes, metadata=metadata)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gold.toml"
    path.write_text(calibration_to_text(MADE), encoding="utf-8")
    return path


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("stated", [(0.4, 0.4), None])
def test_a_calibration_comes_back_from_its_file(tmp_path: Path, as_json: bool, stated: tuple[float, float]) -> None:
    made = dataclasses.replace(MADE, stated_pixel_size_angstrom=stated)
    path = tmp_path / "file"
    path.write_text(calibration_to_text(made, as_json=as_json), encoding="utf-8")
    found = read_calibration(path)
    for field in dataclasses.fields(Calibration):
        value, expected = getattr(found, field.name), getattr(made, field.name)
        assert value == (pytest.approx(expected) if isinstance(expected, tuple | float) else expected), field.name


def test_a_frame_of_the_same_stated_size_gets_the_true_one(file: Path) -> None:
    scale, warnings, flags = compute_scale(signal(0.04, (300, 300)), ReadSettings(calibration=str(file)))
    assert scale is not None
    assert scale.pixel_size_angstrom == pytest.approx((0.38, 0.39))
    assert (scale.shear, scale.sigma) == pytest.approx((0.01, 0.002))
    assert (scale.source, warnings, flags) == (ScaleSource.CALIBRATED, [], Flag.NONE)


def test_the_same_field_with_another_binning_is_calibrated_too(file: Path) -> None:
    scale, _, _ = compute_scale(signal(0.08, (256, 512)), ReadSettings(calibration=str(file)))
    assert scale is not None
    assert scale.pixel_size_angstrom == pytest.approx((0.76, 0.78))


def test_what_the_user_states_counts_before_the_file(file: Path) -> None:
    scale, _, _ = compute_scale(signal(None), ReadSettings(calibration=str(file), pixel_size_nm=0.04))
    assert scale is not None
    assert scale.pixel_size_angstrom == pytest.approx((0.38, 0.39))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (signal(0.041), "calibrate at the magnification that you use"),
        (signal(0.08), "calibrate at the magnification that you use"),
        (signal(None), "say with --pixel-size what its microscope states; for the standard that was 0.04"),
        (signal(0.04, magnification=600e3), "at a magnification of 600000"),
    ],
)
def test_a_frame_that_the_calibration_does_not_hold_for_is_refused(file: Path, other: Signal, said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        compute_scale(other, ReadSettings(calibration=str(file)), name="b.dm4")


def test_without_any_stated_size_the_frame_must_have_the_same_shape(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    bare = dataclasses.replace(MADE, stated_pixel_size_angstrom=None)
    path.write_text(calibration_to_text(bare, as_json=True), encoding="utf-8")
    scale, _, _ = compute_scale(signal(None, (256, 512)), ReadSettings(calibration=str(path)))
    assert scale is not None
    assert scale.pixel_size_angstrom == pytest.approx((0.76, 0.78))
    with pytest.raises(CalibrationError, match=r"is not what gold.dm4 was calibrated for"):
        compute_scale(signal(None, (500, 500)), ReadSettings(calibration=str(path)))
    with pytest.raises(CalibrationError, match="its standard had no pixel size"):
        compute_scale(signal(0.04), ReadSettings(calibration=str(path)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is no calibration file"),
        ("{", "is no calibration file"),
        ('format = "fringemap calibration 1"\n', "is damaged"),
        (calibration_to_text(MADE)[:700], "is damaged|is no calibration file"),
        (calibration_to_text(MADE).replace("0.039", "-1.0"), "impossible numbers"),
    ],
)
def test_a_damaged_calibration_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CalibrationError, match=said):
        read_calibration(path)


def test_a_missing_calibration_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"nowhere.toml cannot be read"):
        read_calibration(tmp_path / "nowhere.toml")
