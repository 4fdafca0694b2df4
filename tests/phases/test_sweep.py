"""Names at other pixel sizes."""

import numpy as np
import pytest

from fringemap.errors import SettingsError
from fringemap.phases.sweep import named_ranges, rescaled, spot_ranges, sweep_scale
from fringemap.report.rendering import to_png
from fringemap.report.sweep import draw_sweep, sweep_in_words, sweep_rows, sweep_table
from fringemap.settings import PhaseSettings
from made_crystals import make_references, make_scale, make_spots, project

FCC = [(1, -1, 1), (1, -1, -1), (0, 0, 2), (2, -2, 0), (1, -1, 3), (2, -2, 2)]
REFERENCES = make_references("Si", "Au", "Cu")
SETTINGS = PhaseSettings(phases=("Si", "Au", "Cu"))


@pytest.fixture(scope="module")
def swept():
    """Silicon, of which all g are 4 % too large."""
    spots = make_spots(project("Si", FCC, rotation=0.3) * 1.04)
    return sweep_scale(spots, REFERENCES, scale=make_scale(0.01), settings=SETTINGS, reach=0.12, step=0.04)


def test_a_phase_is_named_where_its_size_fits(swept):
    assert [round(step.offset, 3) for step in swept] == [-0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12]
    (first, last), *more = named_ranges(swept)["Si"]
    assert (first, last) == pytest.approx((0.04, 0.04))
    assert not more


def test_a_spot_tells_what_it_is_called_where(swept):
    names = [name for name, _, _ in spot_ranges(swept, 0)]
    assert names == ["unknown", "Si (1 1 1)", "unknown"]


def test_words_table_and_rows_say_the_same(swept):
    words = " ".join(sweep_in_words(swept, make_scale(0.04), spot=0))
    assert "At the stated pixel size no phase is named." in words
    assert "Si is named at +4.00 %." in words
    assert "Within two standard errors of the pixel size, ±8 %, the names change between Si and none" in words
    assert "Spot 0: Si (1 1 1) at +4.00 %." in words
    assert "hang on it" in " ".join(sweep_in_words(swept, make_scale(0.01)))
    rows = sweep_rows(swept, make_scale())
    assert rows[4]["named"]["Si"]["n_spots"] == 6
    assert rows[4]["pixel_size_nm"] == pytest.approx(0.04 * 1.04)
    assert "Si (6)" in sweep_table(rows)[5]


def test_the_picture_is_drawn_also_where_nothing_is_named(swept):
    assert to_png(draw_sweep(swept, make_scale())).startswith(b"\x89PNG")
    nothing = [step for step in swept if not step.likeliest()]
    assert to_png(draw_sweep(nothing, make_scale(np.nan))).startswith(b"\x89PNG")


@pytest.mark.parametrize(("reach", "step"), [(0.05, 0.0), (0.05, -0.1), (0.01, 0.02), (0.9, 0.1), (0.05, 1e-5)])
def test_a_sweep_without_sense_is_refused(reach, step):
    with pytest.raises(SettingsError, match="makes no sense"):
        sweep_scale(make_spots([[0.3, 0]]), (), scale=make_scale(), settings=SETTINGS, reach=reach, step=step)


def test_larger_pixels_make_smaller_g():
    spots = make_spots([[0.3, 0.1]])
    found = rescaled(spots, 0.5)
    assert found.g == pytest.approx(0.5 * spots.g)
    assert found.g_sigma == pytest.approx(0.5 * spots.g_sigma)
