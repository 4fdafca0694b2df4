from __future__ import annotations

import dataclasses
import io
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from fringemap.records import PhaseMap, Scale, ScaleSource
from fringemap.report.figures import (
    draw_diffractogram,
    draw_frame,
    draw_overlay,
    draw_overview,
    draw_profile,
    write_frame_figures,
)
from fringemap.report.labels import Box, Label, place_labels, text_size
from fringemap.report.panels import contrast, grey_pixels, region_outline, spectrum_pixels, view_limits
from fringemap.report.rendering import house_style, to_png, to_svg
from fringemap.report.scalebar import real_bar, reciprocal_bar, round_length
from fringemap.report.style import OKABE_ITO, assign_styles, file_names, style_of
from fringemap.report.truth import compare_with_truth, draw_truth_comparison, match_true_spots
from report.made_results import PLANES, make_empty, make_result, make_scale, make_truth

SMALL = 40


def many_planes(n, rng):
    return tuple(
        (f"Phase{i % 17}" if i % 4 else None, tuple(rng.integers(-12, 13, 3)), rng.uniform(1.2, 4), a, (0.5, 0.5))
        for i, a in enumerate(rng.uniform(-89, 90, n))
    )


CASES = {
    "several phases": lambda: make_result((120, 160)),
    "nothing found": lambda: make_empty((96, 128)),
    "very wide": lambda: make_result((40, 640)),
    "very tall": lambda: make_result((640, 40)),
    "tiny": lambda: make_result((8, 8)),
    "sixty spots of many phases": lambda: make_result((96, 96), planes=many_planes(60, np.random.default_rng(1))),
    "one unknown spot": lambda: make_result((96, 96), planes=PLANES[7:8]),
    "not calibrated": lambda: make_result((96, 96), scale=make_scale(source=ScaleSource.NONE)),
    "unequal pixels": lambda: make_result((96, 96), scale=Scale((0.3, 0.5), 0.01, ScaleSource.CALIBRATED)),
    "constant image": lambda: make_result((96, 96), thumbnail=np.full((96, 96), 7, np.float32)),
    "hkl missing": lambda: make_result((96, 96), planes=(("A$b", (0, 0, 0), 2.0, 10.0, (0.5, 0.5)),)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_figure_draws_whatever_the_result(case):
    result = CASES[case]()
    for draw in (draw_frame, draw_diffractogram, draw_profile, draw_overlay, draw_overview):
        png = to_png(draw(result, dpi=SMALL))
        with Image.open(io.BytesIO(png)) as image:
            assert len(set(image.convert("L").tobytes())) > 3, draw.__name__


def texts_of(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


@pytest.mark.parametrize("case", ["several phases", "sixty spots of many phases", "unequal pixels"])
def test_labels_of_a_diffractogram_never_overlap_nor_leave_it(case):
    figure = draw_diffractogram(CASES[case]())
    with house_style():
        renderer = figure.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in texts_of(figure.axes[0])]
        inside = figure.axes[0].get_window_extent(renderer)
    assert len(boxes) > 5
    for i, box in enumerate(boxes):
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
        assert inside.y0 <= box.y0 <= box.y1 <= inside.y1
        for other in boxes[i + 1 :]:
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert not (width > 0 and height > 0), "two labels share some pixels"


@settings(max_examples=60)
@given(
    st.lists(
        st.builds(
            Label,
            x=st.floats(0, 5),
            y=st.floats(0, 4),
            radius=st.just(0.07),
            width=st.floats(0.2, 1.2),
            height=st.floats(0.1, 0.4),
        ),
        max_size=25,
    )
)
def test_placed_labels_keep_clear_of_each_other_of_circles_and_of_obstacles(labels):
    page, bar = Box(0, 0, 5, 4), Box(0, 0, 1, 0.5)
    places = place_labels(labels, page=page, centre=(2.5, 2), obstacles=[bar])
    assert len(places) == len(labels)
    placed = [box for box in places if box is not None]
    for i, box in enumerate(placed):
        assert box.inside(page)
        assert not box.overlaps(bar)
        assert not any(box.overlaps(other) for other in placed[i + 1 :])
        assert not any(box.x0 < la.x < box.x1 and box.y0 < la.y < box.y1 for la in labels)


def test_a_lone_label_always_finds_a_place():
    (box,) = place_labels([Label(2, 2, 0.07, 1, 0.3)], page=Box(0, 0, 4, 4), centre=(2, 2))
    assert box is not None


@pytest.mark.parametrize("text", ["Li₂CO₃ ($\\bar{3}11$)\n2.430 Å", "Ag₂O (111)", "ring 2.08 Å", "3.300 Å"])
def test_estimated_text_sizes_are_never_too_small(text):
    figure = draw_frame(make_empty((60, 80)))
    with house_style():
        drawn = figure.text(0, 0, text, fontsize=7).get_window_extent(figure.canvas.get_renderer())
    width, height = text_size(text, 7)
    assert drawn.width / figure.dpi <= width
    assert drawn.height / figure.dpi <= height * 1.02


@given(st.floats(1e-6, 1e9))
def test_a_scale_bar_has_the_largest_round_length_that_fits(longest):
    length = round_length(longest)
    assert length <= longest * (1 + 1e-6)
    assert longest < 2.5 * length * (1 + 1e-6)
    lead = length / 10 ** math.floor(math.log10(length) + 1e-9)
    assert min(abs(lead - step) for step in (1, 2, 5)) < 1e-6


def test_scale_bars_say_their_unit_and_do_not_invent_one():
    scale = make_scale()
    assert real_bar(37.9, scale).label == "5 nm"
    assert real_bar(9000.0, scale).label == "2 µm"
    assert reciprocal_bar(20.0, scale).label == "5 nm⁻¹"
    bare = make_scale(source=ScaleSource.NONE)
    assert real_bar(37.9, bare).label == "200 px"
    assert reciprocal_bar(20.0, bare).label.endswith("px⁻¹")


def test_the_first_styles_are_those_of_okabe_and_ito_and_no_two_of_many_are_alike():
    styles = [style_of(i) for i in range(100)]
    assert tuple(style.colour for style in styles[:7]) == OKABE_ITO
    assert len({(s.colour, s.hatch) for s in styles}) == len(styles)
    assert assign_styles(["unknown", "Li", "Li"]).keys() == {"Li", "unknown"}


def simulate_deuteranopia(colour):
    """Brettel's half-plane model in the linear form of Vienot, 1999, on linear RGB."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    return np.clip(matrix @ linear, 0, 1) ** (1 / 2.2)


def test_the_first_colours_stay_apart_without_green_cones():
    seen = [simulate_deuteranopia(colour) for colour in OKABE_ITO]
    for i, one in enumerate(seen):
        for other in seen[i + 1 :]:
            assert np.linalg.norm(one - other) > 0.08


def test_names_of_phases_become_distinct_file_names():
    names = file_names(["Li/2O", "Li:2O", "LI_2o", "..", "α", "β", "x" * 300])
    assert len({name.lower() for name in names.values()}) == 7
    assert all(name and len(name) < 70 and not set(name) & set('/\\:*?"<>|') for name in names.values())


def test_contrast_ignores_hot_pixels_and_survives_constant_images():
    image = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    image[5, 5] = 1e9
    low, high = contrast(image)
    assert -4 < low < high < 4
    assert contrast(np.zeros((3, 3), np.float32)) == (0.0, 1.0)
    assert contrast(np.full((3, 3), np.nan, np.float32)) == (0.0, 1.0)


def test_pixels_of_the_page_show_the_whole_range_and_keep_what_is_enlarged():
    image = np.array([[0, 1], [2, 3]], dtype=np.float32)
    grey = grey_pixels(image, (4, 4), (0.0, 3.0))
    np.testing.assert_array_equal(grey[::2, ::2], [[0, 85], [170, 255]])
    np.testing.assert_array_equal(grey[0], [0, 0, 85, 85])


@pytest.mark.parametrize("shape", [(64, 64), (65, 64), (64, 65), (63, 129)])
def test_a_spot_is_shown_where_its_circle_is_drawn(shape):
    result = make_result((64, 64), planes=PLANES[7:8], scale=make_scale())
    spectrum = np.zeros(shape, dtype=np.float32)
    g = result.spots
    n, edge = np.array(shape), np.array(result.shown_g_max)
    row, col = np.rint(np.array([g.gy[0], g.gx[0]]) / (2 * edge / n)).astype(int)
    spectrum[n[0] // 2 + row, n[1] // 2 + col] = 1.0
    result = dataclasses.replace(result, shown_spectrum=spectrum)
    limits = np.array(view_limits(result))
    grey = spectrum_pixels(result, (500, 500)).astype(float)
    rows, cols = np.nonzero(grey > 128)
    shown = (np.array([rows.mean(), cols.mean()]) + 0.5) / 500 * 2 * limits - limits
    expected = 10 * np.array([row, col]) * (2 * edge / n)
    np.testing.assert_allclose(shown, expected, atol=2.2 * limits.max() / 500)


def test_a_region_is_traced_in_nm_with_its_hole_and_closed_at_the_edge():
    mask = np.zeros((10, 10), dtype=bool)
    mask[:6, :6] = True
    mask[2:4, 2:4] = False
    area = PhaseMap("A", mask.astype(np.float32), mask, (10.0, 10.0), (4.5, 4.5), 1, 1, 1, 0.3, 0.1, ())
    outline = region_outline(area, (1.0, 1.0))
    # The first map pixel is centred at 5 Å and reaches from 0 to 10 Å.
    np.testing.assert_allclose(outline.vertices.min(axis=0), [0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(outline.vertices.max(axis=0), [6.0, 6.0], atol=1e-9)
    assert outline.contains_point((0.6, 0.6))
    inner = [p for p in outline.to_polygons() if p.min() > 1]
    assert len(inner) == 1


def test_svg_is_well_formed_without_date_and_the_same_each_time():
    result = make_result((60, 80))
    first, second = (to_svg(draw_overlay(result, dpi=SMALL)) for _ in range(2))
    assert first == second
    root = ET.fromstring(first)
    images = [e for e in root.iter() if e.tag.endswith("}image")]
    assert len(images) == 1
    width = float(root.get("width").removesuffix("pt"))
    assert float(images[0].get("width")) == pytest.approx(width, abs=2)
    assert b"<dc:date>" not in first


def test_the_users_own_matplotlib_settings_neither_matter_nor_change():
    import matplotlib as mpl

    result = make_result((60, 80))
    plain = to_png(draw_profile(result, dpi=SMALL))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        before = dict(mpl.rcParams)
        assert to_png(draw_profile(result, dpi=SMALL)) == plain
        assert dict(mpl.rcParams) == before


def test_figures_of_a_frame_have_names_that_tell_the_phases(tmp_path):
    written = write_frame_figures(make_result((60, 80)), tmp_path, dpi=SMALL)
    singles = {"overlay_Li2O", "overlay_LiF", "overlay_Li2CO3", "overlay_Li", "overlay_unknown"}
    assert set(written) == {"overview", "frame", "diffractogram", "profile", "overlay"} | singles
    for name in set(written) - {"overview"}:
        assert (tmp_path / f"{name}.svg").exists()
        assert (tmp_path / f"{name}.png").read_bytes() == written[name]


def test_labels_carry_planes_with_overbars_and_units():
    texts = [text.get_text() for text in texts_of(draw_diffractogram(make_result((120, 160))))]
    assert "Li₂CO₃ ($\\bar{3}11$)" in " ".join(texts)
    assert any(text.endswith("2.430 Å") for text in texts)
    assert "5 nm⁻¹" in texts
    assert "ring 2.08 Å" in texts


def test_found_is_held_against_true_phase_by_phase():
    result, truth = make_result((120, 160)), make_truth((120, 160))
    lines = {line.phase: line for line in compare_with_truth(result, truth)}
    assert lines["Li2O"].overlap > 0.8
    assert (lines["Li2O"].n_true_spots, lines["Li2O"].n_found_spots, lines["Li2O"].n_named_spots) == (3, 3, 3)
    assert (lines["Cu2O"].named, lines["Cu2O"].n_found_spots, lines["Cu2O"].n_named_spots) == (False, 2, 0)
    assert (lines["Li3N"].n_true_spots, lines["Li3N"].n_found_spots) == (1, 0)
    assert len(to_png(draw_truth_comparison(result, truth, dpi=SMALL))) > 1000


def test_a_true_spot_is_found_up_to_the_sign_of_g():
    result, truth = make_result((120, 160)), make_truth((120, 160))
    mirrored = dataclasses.replace(truth.spots, gx=-truth.spots.gx, gy=-truth.spots.gy)
    np.testing.assert_array_equal(
        match_true_spots(result, truth), match_true_spots(result, dataclasses.replace(truth, spots=mirrored))
    )
    assert (match_true_spots(make_empty(), truth) == -1).all()


@pytest.mark.parametrize("shape", [(100, 64), (103, 66), (51, 103)])
def test_a_frame_reduced_in_blocks_stays_where_it_was(shape):
    block, place = 4, np.array([42, 38])
    rows, cols = (n // block for n in shape)
    thumbnail = np.zeros((rows, cols), dtype=np.float32)
    thumbnail[place[0] // block, place[1] // block] = 1000.0
    result = make_result((64, 64), frame_shape=shape, thumbnail=thumbnail, planes=())
    with Image.open(io.BytesIO(to_png(draw_frame(result, dpi=150)))) as image:
        page = np.asarray(image.convert("L")).astype(float)
    page[-80:, :200] = 0.0  # the scale bar
    bright = np.argwhere(page > 150)
    centre = (bright.mean(axis=0) + 0.5) / np.array(page.shape) * np.array(shape)
    np.testing.assert_allclose(centre, place // block * block + block / 2, atol=0.5)
