"""Sets on disk: the same bytes for a seed, whatever the workers and however often stopped; sources are never split."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fringemap.errors import ReadError, SettingsError
from fringemap.phases import list_structures, load_structure
from fringemap.settings import AnalysisSettings, SpotSettings
from fringemap.spectrum import compute_diffractogram
from fringemap.spots.pattern import make_pattern
from fringemap.training import sets
from fringemap.training.circles import Circles, write_circles
from fringemap.training.drawing import draw_frame, draw_sample, draw_samples
from fringemap.training.recipes import RECIPES, find_recipe
from fringemap.training.samples import Sample, no_spots
from fringemap.training.sets import open_set, write_samples, write_set
from fringemap.training.shards import index_shard, read_sample, split_sources, write_record, write_shard

SMALL = replace(find_recipe("train", size=256), least_field_nm=3.0)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def made_sample(source, shape=(9, 5), value=1.0):
    ones = np.ones(shape, np.uint8)
    return Sample(np.full((2, *shape), value, np.float16), np.zeros_like(ones), ones, no_spots(), {"source": source})


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "_SHARD_SIZE", 4)
        return write_set(folder / "train", SMALL, n=10, seed=3)


def assert_same(one, other):
    for name in ("image", "label", "weight"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("row", "col", "width", "snr", "visible"):
        np.testing.assert_array_equal(getattr(one.spots, name), getattr(other.spots, name))
    assert json.loads(json.dumps(dict(one.meta))) == json.loads(json.dumps(dict(other.meta)))


def test_what_is_read_is_what_was_drawn(small_set):
    assert len(small_set) == 10
    for index in (0, 3, 4, 9):
        assert_same(small_set[index], draw_sample(SMALL, seed=3, index=index))


def test_a_sample_depends_on_its_own_index_only():
    drawn = list(draw_samples(SMALL, seed=5, n=3))
    assert_same(drawn[2], draw_sample(SMALL, seed=5, index=2))
    other = draw_sample(SMALL, seed=6, index=2)
    assert other.image.shape != drawn[2].image.shape or (other.image != drawn[2].image).any()


def test_the_pattern_is_that_of_an_analysis():
    frame, _, _ = draw_frame(SMALL, seed=2, index=1)
    settings = AnalysisSettings(spots=SpotSettings(d_min_angstrom=1.3))
    sample = draw_sample(SMALL, seed=2, index=1, settings=settings)
    found = compute_diffractogram(frame, settings=settings.spectrum, d_min_angstrom=1.3)
    pattern = make_pattern(found, settings=settings.spots)
    np.testing.assert_array_equal(sample.image, pattern.image.astype(np.float16))
    assert not sample.weight[~pattern.valid].any()


def test_samples_fit_together_and_labels_lie_on_bright_pixels():
    on, off = [], []
    for sample in draw_samples(SMALL, seed=11, n=12):
        assert sample.image.shape == (3, *sample.label.shape)
        assert sample.label.shape == sample.weight.shape
        assert np.isfinite(sample.image).all()
        assert len(sample.spots) == sample.meta["n_spots"]
        on.append(sample.image[1][(sample.label > 0) & (sample.weight > 0)])
        off.append(sample.image[1][(sample.label == 0) & (sample.weight > 0)])
    on, off = np.concatenate(on).astype(float), np.concatenate(off).astype(float)
    assert len(on) > 50
    assert on.mean() > off.mean() + 1.5


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path, monkeypatch, small_set):
    monkeypatch.setattr(sets, "_SHARD_SIZE", 4)
    drawn = []

    def dying(recipe, *, seed, index, settings):
        if index == 6 and len(drawn) == 6:
            raise KeyboardInterrupt
        drawn.append(index)
        return draw_sample(recipe, seed=seed, index=index, settings=settings)

    monkeypatch.setattr(sets, "draw_sample", dying)
    with pytest.raises(KeyboardInterrupt):
        write_set(tmp_path / "again", SMALL, n=10, seed=3)
    with pytest.raises(ReadError, match="not finished"):
        open_set(tmp_path / "again")
    told = []
    write_set(tmp_path / "again", SMALL, n=10, seed=3, progress=lambda *told_now: told.append(told_now))
    # The first shard is kept, the second was not finished.
    assert drawn == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9]
    assert told[0] == ("drawing", 4, 10)
    assert told[-1] == ("drawing", 10, 10)
    assert bytes_of(tmp_path / "again") == bytes_of(small_set.folder)


def test_two_workers_write_the_same_bytes(tmp_path, monkeypatch, small_set):
    monkeypatch.setattr(sets, "_SHARD_SIZE", 4)
    write_set(tmp_path / "two", SMALL, n=10, seed=3, workers=2)
    assert bytes_of(tmp_path / "two") == bytes_of(small_set.folder)


def test_a_finished_set_is_opened_and_not_drawn_again(monkeypatch, small_set):
    monkeypatch.setattr(sets, "_SHARD_SIZE", 4)
    monkeypatch.setattr(sets, "draw_sample", None)
    assert len(write_set(small_set.folder, SMALL, n=10, seed=3)) == 10


def test_a_folder_with_another_set_is_refused(monkeypatch, small_set):
    monkeypatch.setattr(sets, "_SHARD_SIZE", 4)
    for n, seed in ((10, 4), (11, 3)):
        with pytest.raises(SettingsError, match="another way"):
            write_set(small_set.folder, SMALL, n=n, seed=seed)


@pytest.mark.parametrize("kind", ["train", "rare"])
def test_training_and_test_share_no_structure_and_no_range(kind):
    train, test = RECIPES[kind], RECIPES["test"]
    assert {train.crystals, test.crystals} == {"made up", "library"}
    assert not set(train.frame_shapes) & set(test.frame_shapes)
    for name in ("pixel_sizes_nm", "doses_per_angstrom2"):
        for low, high in getattr(test, name):
            assert all(high <= first or last <= low for first, last in getattr(train, name))
    for one in train.regimes:
        for other in test.regimes:
            assert not set(one.scenes.voltages_kv) & set(other.scenes.voltages_kv)
            assert not set(one.scenes.amorphous_elements) & set(other.scenes.amorphous_elements)
            for name in ("cs_mm", "defocus_scherzer"):
                (low, high), (first, last) = getattr(other.scenes, name), getattr(one.scenes, name)
                assert high < first or last < low


def test_structures_come_from_where_the_recipe_says():
    library = {load_structure(name).formula for name in list_structures()}
    test = find_recipe("test", size=256)
    drawn = [draw_frame(test, seed=1, index=i)[2]["phases"] for i in range(6)]
    assert {phase.split(",")[0] for phases in drawn for phase in phases} <= library
    made = [draw_frame(SMALL, seed=1, index=i)[1].phases for i in range(6)]
    assert all(name.startswith("made up") for phases in made for name in phases)


def test_fields_are_no_smaller_than_stated_and_pixels_are_in_their_intervals():
    recipe = find_recipe("train", size=512)
    for index in range(8):
        frame, _, _ = draw_frame(recipe, seed=9, index=index)
        pixel = frame.scale.pixel_size_angstrom[1] / 10
        assert 512 * pixel >= recipe.least_field_nm * 0.999
        assert any(low <= pixel <= high for low, high in recipe.pixel_sizes_nm)


def test_rare_frames_are_averaged_windowed_and_filled():
    recipe = replace(find_recipe("rare", size=256), least_field_nm=3.0)
    samples = [draw_sample(recipe, seed=2, index=index) for index in range(24)]
    assert {sample.meta["edges"] for sample in samples} == {"periodic", "hann"}
    assert {sample.meta["n_averaged"] for sample in samples} > {1}
    assert {sample.meta["regime"] for sample in samples} >= {"filling", "uneven"}
    filled = next(sample for sample in samples if sample.meta["regime"] == "filling")
    _, truth, _ = draw_frame(recipe, seed=2, index=int(filled.meta["index"]))
    assert truth.masks[0].all()


def test_an_unknown_kind_and_a_tiny_size_are_refused():
    with pytest.raises(SettingsError, match="train, rare, test"):
        find_recipe("validation")
    with pytest.raises(SettingsError, match="128"):
        find_recipe("train", size=64)


def test_frames_too_small_for_the_pixels_of_a_kind_are_refused_with_the_least_size_that_works():
    for size in (100, 128, 190):
        with pytest.raises(SettingsError, match=rf"{size} px are too small .* kind test; take 191 px or more"):
            find_recipe("test", size=size)
    for kind, least in (("train", 128), ("rare", 128), ("test", 191)):
        recipe = find_recipe(kind, size=least)
        for index in range(4):
            assert draw_frame(recipe, seed=1, index=index)[0].image.shape == (least, least)


def test_no_source_is_on_two_sides(tmp_path):
    # Ten versions of each frame, as augmentation on disk would make them.
    samples = [made_sample(f"frame {i % 30}", value=i) for i in range(300)]
    found = write_samples(
        tmp_path / "set", samples, licence="CC0", shares={"train": 0.7, "validation": 0.1, "test": 0.2}
    )
    sides = {name: found.split(name) for name in ("train", "validation", "test")}
    sources = {name: {side.source(i) for i in range(len(side))} for name, side in sides.items()}
    assert [len(s) for s in sources.values()] == [21, 3, 6]
    assert sum(len(side) for side in sides.values()) == 300
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not sources[one] & sources[other]
    for side in sides.values():
        assert all(side[i].source == side.source(i) for i in range(len(side)))
    # What is split once more stays where it was.
    assert len(sides["train"].split("train")) == len(sides["train"])
    assert len(sides["train"].split("test")) == 0


def test_the_side_of_a_source_does_not_depend_on_order_or_repetition():
    names = [f"frame {i}" for i in range(40)]
    shares = {"train": 0.5, "test": 0.5}
    assert split_sources(names, shares) == split_sources(names[::-1] + names[:7], shares)
    with pytest.raises(SettingsError, match="add up to 1"):
        split_sources(names, {"train": 0.9})


def test_samples_of_several_shapes_keep_their_shapes(tmp_path):
    shapes = [(9, 5), (31, 16), (7, 40)]
    found = write_samples(
        tmp_path / "set", [made_sample(str(s), s) for s in shapes], licence="CC0", shares={"train": 1.0}
    )
    assert [sample.label.shape for sample in found] == shapes
    assert found.take([2, 0])[0].label.shape == (7, 40)


def test_a_shard_is_what_numpy_reads(small_set):
    with np.load(small_set.folder / "shard-00001.npz", allow_pickle=False) as shard:
        np.testing.assert_array_equal(shard["5/image"], small_set[5].image)
        np.testing.assert_array_equal(shard["5/target"] % 2 == 1, small_set[5].label > 0)
        np.testing.assert_array_equal(shard["5/target"] < 2, small_set[5].weight > 0)
        assert json.loads(shard["5/meta"].tobytes()) == small_set[5].meta


def test_samples_of_many_shards_keep_their_order_and_a_set_can_be_sent_to_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "_SHARD_SIZE", 2)
    found = write_samples(
        tmp_path / "set", [made_sample(str(i), value=i) for i in range(20)], licence="CC0", shares={"train": 1.0}
    )
    assert [float(sample.image[0, 0, 0]) for sample in found] == list(range(20))
    assert float(pickle.loads(pickle.dumps(found))[13].image[0, 0, 0]) == 13


def test_a_damaged_or_missing_set_is_a_clear_error(tmp_path, small_set):
    with pytest.raises(ReadError, match="fringemap simulate"):
        open_set(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in bytes_of(small_set.folder).items():
        (copy / name).write_bytes(content[: len(content) // 2] if name.endswith("1.npz") else content)
    damaged = open_set(copy)
    damaged[0]
    with pytest.raises(ReadError, match="cannot be read"):
        damaged[5]
    for content in ("{", "null", "[]", '[["format", 2]]', "3"):
        (copy / "set.json").write_text(content)
        with pytest.raises(ReadError, match=r"set\.json cannot be read"):
            open_set(copy)


@pytest.mark.parametrize("name", ["shard-00000.npz", "set.json", "a.spots.json"])
def test_two_runs_that_write_the_same_file_at_once_do_not_harm_each_other(tmp_path, monkeypatch, name):
    sample, path, take_place = made_sample("frame", value=3), tmp_path / name, Path.replace

    def write():
        if path.suffix == ".npz":
            write_shard(path, 7, [sample])
        elif path.name == "set.json":
            write_record(tmp_path, {"n_samples": 1})
        else:
            write_circles(path, Circles("a.mrc", 0.02, (1.0,), (2.0,), (0.1,), (False,)))

    def after_the_other_run(unfinished, target):
        monkeypatch.setattr(Path, "replace", take_place)
        write()
        return take_place(unfinished, target)

    write()
    alone = bytes_of(tmp_path)
    monkeypatch.setattr(Path, "replace", after_the_other_run)
    write()
    assert bytes_of(tmp_path) == alone
    if path.suffix == ".npz":
        assert_same(read_sample(index_shard(path), 7), sample)


def test_nothing_to_write_and_no_sample_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="no samples"):
        write_samples(tmp_path / "a", [], licence="CC0", shares={"train": 1.0})
    with pytest.raises(SettingsError, match="1 or more"):
        write_set(tmp_path / "b", SMALL, n=0, seed=1)


def test_a_test_set_is_drawn_the_same_when_the_library_has_grown(monkeypatch):
    recipe = find_recipe("test", size=256)
    assert recipe.structures == list_structures()
    before = draw_sample(recipe, seed=3, index=0)
    monkeypatch.setattr("fringemap.training.drawing.list_structures", lambda: ("Cu", *list_structures()))
    np.testing.assert_array_equal(draw_sample(recipe, seed=3, index=0).image, before.image)
