"""Labelled real diffractograms: circles, mask pictures and patches all become the same samples."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fringemap.errors import FringemapError, OutputError, ReadError, SettingsError
from fringemap.io import write_tif
from fringemap.records import Frame, Scale, ScaleSource
from fringemap.settings import AnalysisSettings, SpotSettings
from fringemap.simulate import PlaneWave, plane_wave_frame
from fringemap.spectrum import compute_diffractogram, whole_spectrum
from fringemap.spots.pattern import make_pattern
from fringemap.training.circles import Circles, read_circles, write_circles
from fringemap.training.labelled import ZR_STEP_PER_NM, load_labelled, load_mask_pairs, load_patches, sample_from_mask
from fringemap.training.pictures import cut_half, score_picture
from fringemap.training.sets import write_samples

CIRCLES = Circles("grains.tif", 0.05, (4.0, -3.0, 2.5), (1.5, 2.0, 0.0), (0.12, 0.2, 0.1), (False, False, True))
SHAPE = (300, 256)
PIXEL = (0.5, 0.5)


@pytest.fixture
def labelled_frame(tmp_path, rng):
    waves = [PlaneWave(0.4, 0.15, 8.0), PlaneWave(0.3, -0.2, 8.0), PlaneWave(0.25, 0.0, 8.0)]
    frame, _ = plane_wave_frame(SHAPE, PIXEL, waves, rng=rng, noise_sigma=10.0, mean_counts=100.0)
    write_tif(tmp_path / "grains.tif", frame.image, pixel_size_angstrom=(0.5, 0.5))
    write_circles(tmp_path / "grains.spots.json", CIRCLES)
    return tmp_path


def shown_log(frame):
    """The diffractogram as a program shows it: log of 1 + amplitude, 8 bits."""
    found = compute_diffractogram(frame)
    log = np.log1p(np.sqrt(whole_spectrum(found.power, frame.image.shape)))
    low, high = np.percentile(log, 0.1), log.max()
    return np.clip(255 * (log - low) / (high - low), 0, 255).astype(np.uint8)


def drawn_frame(rng, *, shape=(256, 256), place=(40, 60), amplitude=8.0):
    wave = PlaneWave(place[1] / (shape[1] * 0.5), place[0] / (shape[0] * 0.5), amplitude)
    return plane_wave_frame(shape, PIXEL, [wave], rng=rng, noise_sigma=10.0, mean_counts=100.0)[0]


def disc_mask(shape, places, radius=2.5):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.any([np.hypot(y - row, x - col) <= radius for row, col in places], axis=0)


def test_circles_are_read_as_they_were_written(tmp_path):
    write_circles(tmp_path / "a.spots.json", replace(CIRCLES, licence="CC0", author="Å", frame_index=3))
    assert read_circles(tmp_path / "a.spots.json") == replace(CIRCLES, licence="CC0", author="Å", frame_index=3)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"version": 2},
        {"pixel_size_nm": 0},
        {"spots": [{"gx_per_nm": 1.0}]},
        {"spots": [{"gx_per_nm": "x", "gy_per_nm": 0, "radius_per_nm": 1}]},
        {"spots": [{"gx_per_nm": 1, "gy_per_nm": 0, "radius_per_nm": -1}]},
        {"spots": 5},
    ],
)
def test_labels_that_make_no_sense_are_refused(tmp_path, change):
    path = tmp_path / "a.spots.json"
    write_circles(path, CIRCLES)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ReadError):
        read_circles(path)


def test_missing_and_unwritable_labels_are_errors(tmp_path):
    with pytest.raises(ReadError, match="cannot be read"):
        read_circles(tmp_path / "none.spots.json")
    with pytest.raises(OutputError):
        write_circles(tmp_path / "no folder" / "a.spots.json", CIRCLES)


def test_a_circle_is_the_label_at_its_place(labelled_frame):
    found = load_labelled(labelled_frame)
    assert len(found) == 1
    assert found.source(0) == "grains.tif"
    sample = found[0]
    frame_step = 10 / (np.array(SHAPE) * 0.5)
    middle = len(sample.label) // 2
    # The second circle was drawn at the mate with gx < 0.
    for gx, gy, value in ((4.0, 1.5, 1), (3.0, -2.0, 1), (2.5, 0.0, 0)):
        row, col = round(middle + gy / frame_step[0]), round(gx / frame_step[1])
        assert sample.label[row, col] == value
        assert sample.weight[row, col] == value
        assert sample.image[0, row - 1 : row + 2, col - 1 : col + 2].max() > 4
    area = sample.label[:middle].sum() * frame_step.prod()
    assert area == pytest.approx(np.pi * 0.2**2, rel=0.3)
    np.testing.assert_array_equal(sample.spots.visible, [True, True, False])


def test_a_circle_is_round_in_reciprocal_space_on_a_frame_that_is_oblong(tmp_path, rng):
    frame = drawn_frame(rng, shape=(256, 512))
    write_tif(tmp_path / "wide.tif", frame.image, pixel_size_angstrom=PIXEL)
    circle = Circles("wide.tif", 0.05, gx=(4.0,), gy=(3.0,), radius=(0.8,), ignored=(False,))
    write_circles(tmp_path / "wide.spots.json", circle)
    sample = load_labelled(tmp_path)[0]
    rows, cols = (np.flatnonzero(sample.label.any(axis=axis)) for axis in (1, 0))
    rows = rows[rows > len(sample.label) // 2]
    height, width = (np.ptp(found) + 1 for found in (rows, cols))
    step = sample.meta["step_per_nm"]
    assert step[0] > 1.5 * step[1]
    assert height * step[0] == pytest.approx(1.6, abs=step[0])
    assert width * step[1] == pytest.approx(1.6, abs=step[1])


def test_the_sample_of_a_circled_frame_is_the_pattern_of_an_analysis(labelled_frame):
    settings = AnalysisSettings(spots=SpotSettings(d_min_angstrom=1.4))
    sample = load_labelled(labelled_frame / "grains.spots.json", settings=settings)[0]
    with Image.open(labelled_frame / "grains.tif") as picture:
        image = np.asarray(picture, np.float32)
    frame = Frame(image, Scale(PIXEL, 0.0, ScaleSource.USER), "grains")
    pattern = make_pattern(compute_diffractogram(frame, d_min_angstrom=1.4), settings=settings.spots)
    np.testing.assert_allclose(sample.image, pattern.image.astype(np.float16), atol=2e-3)
    assert sample.meta["step_per_nm"] == pytest.approx([10 * s for s in pattern.step])


def test_a_folder_without_labels_is_an_error(tmp_path):
    with pytest.raises(ReadError, match="holds no labels"):
        load_labelled(tmp_path)
    with pytest.raises(ReadError, match="holds no labels"):
        load_labelled(tmp_path / "some.txt")


@pytest.mark.parametrize("layout", ["full", "left", "right"])
def test_halves_of_a_picture_show_the_same_spots(rng, layout):
    frame = drawn_frame(rng)
    picture, mask = shown_log(frame), disc_mask((256, 256), [(168, 188), (88, 68)])
    cut = {"full": slice(None), "left": slice(0, 128), "right": slice(128, None)}[layout]
    sample = sample_from_mask(picture[:, cut].astype(np.float32), mask[:, cut], source="a", layout=layout)
    middle = len(sample.label) // 2
    assert len(sample.spots) == 1
    assert (sample.spots.row[0] - middle, sample.spots.col[0]) == pytest.approx((40, 60), abs=0.1)
    assert sample.label[middle + 40, 60] == 1
    assert sample.image[0, middle + 40, 60] > 4


def test_a_picture_is_scored_like_the_diffractogram_that_it_shows(rng):
    frame = drawn_frame(rng)
    pattern = make_pattern(compute_diffractogram(frame), settings=SpotSettings(d_min_angstrom=1.0))
    half, _ = cut_half(shown_log(frame).astype(np.float32), "full")
    radius = np.hypot(np.arange(len(half))[:, None] - len(half) // 2, np.arange(half.shape[1]))
    valid = (radius > 12) & (radius < 115)
    scored = score_picture(half, valid)
    middle, reach = len(half) // 2, pattern.zero_row
    shown = scored[:, middle - reach : middle + reach + 1, : pattern.image.shape[2]]
    both = pattern.valid & (shown != 0).all(axis=0)
    assert both.sum() > 10_000
    for one, other in zip(shown, pattern.image, strict=True):
        assert np.corrcoef(one[both], other[both])[0, 1] > 0.93
    noise = shown[:, both]
    assert np.abs(np.median(noise, axis=1)).max() < 0.15
    assert np.abs(noise.std(axis=1) - 1).max() < 0.15


def test_grey_levels_and_contrast_of_a_picture_do_not_matter(rng):
    half, _ = cut_half(shown_log(drawn_frame(rng)).astype(np.float32), "full")
    radius = np.hypot(np.arange(len(half))[:, None] - len(half) // 2, np.arange(half.shape[1]))
    valid = (radius > 12) & (radius < 115)
    np.testing.assert_allclose(score_picture(half, valid), score_picture(0.3 * half + 40, valid), atol=0.02)


def test_a_flat_or_tiny_picture_is_refused():
    with pytest.raises(SettingsError, match="flat"):
        score_picture(np.zeros((63, 32), np.float32), np.ones((63, 32), bool))
    with pytest.raises(SettingsError, match="16 px"):
        cut_half(np.zeros((8, 8), np.float32), "full")


def test_pairs_of_pictures_are_read_and_a_missing_mask_is_named(tmp_path, rng):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, place in (("a", (40, 60)), ("b", (-30, 50))):
        mask = disc_mask((256, 256), [(128 + place[0], 128 + place[1]), (128 - place[0], 128 - place[1])])
        Image.fromarray(shown_log(drawn_frame(rng, place=place))).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray((mask * 200).astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    found = load_labelled(tmp_path)
    assert [found.source(i) for i in range(2)] == ["a", "b"]
    assert [len(sample.spots) for sample in found] == [1, 1]
    assert not load_mask_pairs(tmp_path, threshold=250)[0].label.any()
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(ReadError, match="no mask"):
        load_labelled(tmp_path)


def test_picture_and_mask_of_different_shapes_are_refused():
    with pytest.raises(ReadError, match="must be equal"):
        sample_from_mask(np.zeros((64, 64), np.float32), np.zeros((64, 32), bool), source="a")


def test_what_is_marked_at_the_centre_is_no_spot(rng):
    mask = disc_mask((256, 256), [(128, 128), (168, 188), (88, 68)], radius=6)
    sample = sample_from_mask(shown_log(drawn_frame(rng)).astype(np.float32), mask, source="a")
    assert len(sample.spots) == 1
    middle = len(sample.label) // 2
    assert not sample.label[middle - 6 : middle + 7, :7].any()
    assert not sample.weight[middle, :6].any()


def test_patches_are_split_by_original(shared_data):
    path = shared_data("labels/zr_zro2_fft_patches.npz")
    found = load_patches(path)
    assert len(found) == 1380
    sides = {name: found.split(name) for name in ("train", "validation", "test")}
    sources = [{side.source(i) for i in range(len(side))} for side in sides.values()]
    assert [len(s) for s in sources] == [42, 6, 12]
    assert not sources[0] & sources[2]
    assert all(len(side) == 23 * len(s) for side, s in zip(sides.values(), sources, strict=True))
    assert len(sides["test"].split("train")) == 0
    assert len(sides["test"].split("test")) == 12 * 23


def test_patches_become_samples_whose_labels_are_bright(shared_data, tmp_path):
    found = load_patches(shared_data("labels/zr_zro2_fft_patches.npz")).take(range(0, 1380, 46))
    on, off, n_spots = [], [], 0
    for sample in found:
        assert sample.image.shape == (3, 63, 32)
        assert sample.meta["step_per_nm"] == [ZR_STEP_PER_NM] * 2
        on.append(sample.image[1][sample.label > 0])
        off.append(sample.image[1][(sample.label == 0) & (sample.weight > 0)])
        n_spots += len(sample.spots)
    on, off = np.concatenate(on).astype(float), np.concatenate(off).astype(float)
    assert n_spots > 40
    assert np.median(on) > 4
    assert abs(np.median(off)) < 0.3
    written = write_samples(tmp_path / "set", found, licence="GPL-2", shares=found.shares)
    np.testing.assert_array_equal(written[3].image, found[3].image)


def test_a_file_of_something_else_is_no_patches(tmp_path):
    np.savez(tmp_path / "a.npz", other=np.zeros(3))
    (tmp_path / "b.npz").write_bytes(b"nothing")
    for name in ("a.npz", "b.npz", "c.npz"):
        with pytest.raises(FringemapError, match="no file of patches"):
            load_labelled(tmp_path / name)
