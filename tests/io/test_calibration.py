import math

import numpy as np
import pytest

from fringemap.io.calibration import compute_scale
from fringemap.io.signals import NO_SIZE, Signal, StoredSize
from fringemap.records import Flag, ScaleSource
from fringemap.settings import ReadSettings


def signal(rows, cols=None):
    sizes = NO_SIZE if rows is None else (StoredSize(*rows), StoredSize(*(cols or rows)))
    return Signal("x", 1, (64, 64), np.dtype("f4"), lambda _i: np.zeros((64, 64)), pixel_size=sizes)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        (1.0, ""),
        (0.03125, ""),
        (1.0, "pixel"),
        (-1.0, "nm"),
        (0.0, "nm"),
        (math.nan, "nm"),
        (math.inf, "nm"),
        (4.2e16, "nm"),
        (1e-30, "m"),
        (1.23, "m"),
        (0.02, "furlong"),
        (0.02, "\ufffdm"),
    ],
)
def test_a_size_that_cannot_be_trusted_is_none_and_the_user_is_asked(stored):
    scale, warnings, flags = compute_scale(signal(stored), ReadSettings())
    assert scale is None
    assert flags == Flag.UNCALIBRATED
    (warning,) = warnings
    assert "--pixel-size" in warning
    assert "unknown" in warning


@pytest.mark.parametrize("bad", [(-1.0, "nm"), (1.0, "")])
def test_one_bad_axis_spoils_the_size(bad):
    for rows, cols in ((bad, (0.02, "nm")), ((0.02, "nm"), bad)):
        assert compute_scale(signal(rows, cols), ReadSettings())[0] is None


def test_axes_may_have_units_of_their_own():
    scale, _warnings, flags = compute_scale(signal((20.0, "pm"), (0.03, "nm")), ReadSettings())
    assert scale.pixel_size_angstrom == pytest.approx((0.2, 0.3))
    assert flags & Flag.ANISOTROPIC_PIXELS


@pytest.mark.parametrize(("ratio", "flagged"), [(1.0, False), (1.0009, False), (1.0011, True), (0.998, True)])
def test_pixels_are_called_not_square_from_a_tenth_of_a_percent(ratio, flagged):
    _scale, warnings, flags = compute_scale(signal((0.02 * ratio, "nm"), (0.02, "nm")), ReadSettings())
    assert bool(flags & Flag.ANISOTROPIC_PIXELS) == flagged
    assert bool(warnings) == flagged


@pytest.mark.parametrize(("size_nm", "coarse"), [(0.2, False), (0.23, False), (0.24, True), (6.0, True)])
def test_sampling_is_called_coarse_where_no_lattice_could_show(size_nm, coarse):
    _scale, warnings, flags = compute_scale(signal((size_nm, "nm")), ReadSettings())
    assert bool(flags & Flag.COARSE_SAMPLING) == coarse
    assert any("too coarse" in warning for warning in warnings) == coarse


@pytest.mark.parametrize(("given_nm", "told"), [(0.02, False), (0.0225, False), (0.024, True), (0.2, True)])
def test_the_user_is_told_of_a_size_far_from_that_of_the_file(given_nm, told):
    _scale, warnings, _flags = compute_scale(signal((0.02, "nm")), ReadSettings(pixel_size_nm=given_nm))
    assert any("the file says 0.02 nm" in warning for warning in warnings) == told


def test_the_user_overrides_a_header_and_an_absent_size():
    for stored in ((0.021, "nm"), None):
        scale, warnings, _flags = compute_scale(signal(stored), ReadSettings(pixel_size_nm=0.02))
        assert scale.pixel_size_angstrom == pytest.approx((0.2, 0.2))
        assert scale.source is ScaleSource.USER
        assert warnings == []


def test_a_given_size_holds_along_columns_and_rows_keep_the_ratio_of_the_file():
    settings = ReadSettings(pixel_size_nm=0.02)
    scale, _warnings, flags = compute_scale(signal((0.6, "nm"), (0.5, "nm")), settings)
    assert scale.pixel_size_angstrom == pytest.approx((0.24, 0.2))
    assert flags & Flag.ANISOTROPIC_PIXELS


@pytest.mark.parametrize(
    ("settings", "sigma"),
    [
        (ReadSettings(), 0.025),
        (ReadSettings(pixel_size_nm=0.03), 0.01),
        (ReadSettings(scale_sigma_percent=0.3), 0.003),
        (ReadSettings(pixel_size_nm=0.03, scale_sigma_percent=0.0), 0.0),
    ],
)
def test_the_error_of_the_scale_depends_on_who_gave_it(settings, sigma):
    scale, _warnings, _flags = compute_scale(signal((0.02, "nm")), settings)
    assert scale.sigma == sigma
