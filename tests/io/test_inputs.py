import hashlib
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from fringemap.errors import ReadError
from fringemap.io import find_inputs, read, sha256, write_mrc
from fringemap.records import Flag
from fringemap.settings import ReadSettings
from io_samples import write_emi, write_ser


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        return tmp_path

    return make


@pytest.fixture
def movie(tmp_path, rng):
    """A folder of twelve numbered frames, and their pixels."""
    frames = rng.integers(0, 250, (12, 40, 44)).astype(np.uint8)
    where = tmp_path / "movie"
    where.mkdir()
    for k, frame in enumerate(frames):
        Image.fromarray(frame).save(where / f"frame_{k + 1}.png")
    (where / "notes.txt").write_text("not a frame")
    return where, frames


def names(paths):
    return [p.name for p in paths]


def test_a_folder_stands_for_its_readable_files_and_skips_the_rest(folder):
    where = folder("b.dm4", "a.tif", "notes.txt", ".hidden.tif", "sub/c.tif")
    assert names(find_inputs([where])) == ["a.tif", "b.dm4"]


def test_a_folder_of_numbered_frames_is_one_input(folder):
    where = folder("f_1.tif", "f_2.tif", "f_10.tif")
    assert find_inputs([where]) == [where]


@pytest.mark.parametrize(
    "files",
    [
        ("f_1.tif", "f_2.tif"),
        ("a_1.tif", "b_2.tif", "c_3.tif"),
        ("f_1.tif", "f_2.tif", "f_3.png"),
        ("f_1.tif", "f_2.tif", "other.tif"),
        ("f_1_a1.tif", "f_2_a2.tif", "f_3_a3.tif"),
    ],
)
def test_files_that_differ_in_more_than_one_number_are_inputs_of_their_own(files, folder):
    assert sorted(names(find_inputs([folder(*files)]))) == sorted(files)


def test_numbers_sort_by_their_value(folder):
    where = folder("x10.tif", "x9.tif", "y.tif")
    assert names(find_inputs([where / "*.tif"])) == ["x9.tif", "x10.tif", "y.tif"]


def test_patterns_reach_into_folders(folder):
    where = folder("one/a.tif", "two/b.dm3", "two/c.txt")
    assert names(find_inputs([where / "**" / "*"])) == ["a.tif", "b.dm3"]


def test_an_input_named_twice_is_one_and_the_order_is_the_users(folder):
    where = folder("a.tif", "b.tif")
    assert names(find_inputs([where / "b.tif", where / "*.tif"])) == ["b.tif", "a.tif"]


def test_an_emi_beside_its_ser_is_one_input(folder):
    where = folder("s.emi", "s_1.ser", "s_2.ser", "t.emi")
    assert names(find_inputs([where])) == ["s_1.ser", "s_2.ser", "t.emi"]
    assert names(find_inputs([where / "s.emi"])) == ["s.emi"]


@pytest.mark.parametrize("pattern", ["missing.tif", "*.tif", "notes.txt", "*.txt"])
def test_a_name_that_gives_nothing_is_an_error_that_names_it(pattern, folder):
    where = folder("notes.txt")
    with pytest.raises(ReadError, match=pattern.replace("*", r"\*").replace(".", r"\.")):
        find_inputs([where / pattern])


@pytest.mark.parametrize("name", ["~nobody.tif", "~", "~user/a.tif", "~/a.tif"])
def test_only_the_users_own_folder_has_a_short_name(name, folder, monkeypatch):
    where = folder("~nobody.tif", "~user/a.tif", "home/a.tif", "home/b.tif")
    monkeypatch.chdir(where)
    monkeypatch.setenv("HOME", str(where / "home"))
    expected = {"~": ["home/a.tif", "home/b.tif"], "~/a.tif": ["home/a.tif"]}.get(name, [name])
    assert [p.absolute() for p in find_inputs([name])] == [where / one for one in expected]
    with pytest.raises(ReadError, match="not what its ending"):
        read(find_inputs([name])[0])


@pytest.mark.parametrize("refused", ["iterdir", "is_dir", "exists"])
def test_what_the_system_refuses_is_named(refused, folder, monkeypatch):
    where = folder("a.tif", "b.tif")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, refused, refuse)
    asked = where / "a.tif" if refused == "exists" else where
    for look in (find_inputs, lambda paths: read(*paths)):
        with pytest.raises(ReadError, match=r"cannot be looked at \(Permission denied\); check the name"):
            look([asked])


def test_a_name_that_no_disk_can_hold_is_named():
    name = 300 * "x" + ".tif"
    for look in (find_inputs, lambda paths: read(*paths)):
        with pytest.raises(ReadError, match=r"xxx\.tif cannot be looked at"):
            look([name])


def test_a_folder_with_nothing_to_read_is_an_error(folder):
    with pytest.raises(ReadError, match="holds no file that can be read"):
        find_inputs([folder("notes.txt")])


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(folder):
    where = folder("run[1].tif")
    assert names(find_inputs([where / "run[1].tif"])) == ["run[1].tif"]


def test_a_folder_of_frames_reads_as_a_series_in_the_order_of_its_numbers(movie):
    where, frames = movie
    with read(where, settings=ReadSettings(pixel_size_nm=0.02, frame_time_s=0.5)) as series:
        assert series.name == "movie"
        assert len(series) == 12
        for frame, image in zip(series, frames, strict=True):
            np.testing.assert_array_equal(frame.image, image)
        assert series[10].name == "frame_11"
        assert series[10].time_s == pytest.approx(5.0)


def test_a_folder_of_frames_can_be_chosen_from_and_averaged(movie):
    where, frames = movie
    with read(where, settings=ReadSettings(frames="2:6", bin_frames=2)) as series:
        np.testing.assert_allclose(series[1].image, frames[4:6].mean(axis=0), rtol=1e-6)
        assert series.flags == Flag.UNCALIBRATED


def test_a_frame_of_another_shape_is_named_when_its_turn_comes(movie):
    where, frames = movie
    Image.fromarray(frames[0][:35]).save(where / "frame_5.png")
    with read(where) as series:
        series[3]
        with pytest.raises(ReadError, match=r"frame_5\.png has another shape"):
            series[4]


def test_a_damaged_frame_is_named_and_the_others_still_come(movie):
    where, _frames = movie
    (where / "frame_5.png").write_bytes((where / "frame_5.png").read_bytes()[:200])
    with read(where) as series:
        with pytest.raises(ReadError, match=r"frame_5\.png"):
            series[4]
        assert series[5].index == 5


def test_frames_of_another_pixel_size_are_no_series(tmp_path, rng):
    for k, size in enumerate((0.2, 0.2, 0.3)):
        write_mrc(tmp_path / f"f{k}.mrc", rng.random((40, 40)), pixel_size_angstrom=(size, size))
    with read(tmp_path) as series:
        assert series.scale.pixel_size_angstrom == pytest.approx((0.2, 0.2))
        with pytest.raises(ReadError, match=r"f2\.mrc"):
            series[2]


def test_a_folder_that_is_no_series_cannot_be_read_as_one(folder):
    with pytest.raises(ReadError, match="no series of numbered frames"):
        read(folder("a.tif", "b.tif"))


def test_a_folder_of_stacks_is_no_series(tmp_path, rng):
    for k in range(3):
        write_mrc(tmp_path / f"f{k}.mrc", rng.random((2, 40, 40)), pixel_size_angstrom=(0.2, 0.2))
    with pytest.raises(ReadError, match="stack itself"):
        read(tmp_path)


def test_an_emi_without_its_ser_says_what_is_missing(folder):
    with pytest.raises(ReadError, match=r"lonely_1\.ser"):
        read(folder("lonely.emi") / "lonely.emi")


def test_an_emi_opens_the_ser_beside_it(tmp_path, rng):
    stack = rng.random((2, 40, 44)).astype(np.float32)
    write_ser(tmp_path / "pair_1.ser", stack)
    write_emi(tmp_path / "pair.emi")
    for name in ("pair.emi", "pair_1.ser"):
        with read(tmp_path / name) as series:
            np.testing.assert_array_equal(series[1].image, stack[1])
            assert series.metadata["high_tension_kv"] == 300.0
            assert series.metadata["magnification"] == 500000.0


def test_a_diffraction_pattern_is_known_by_what_the_emi_says_of_the_mode(tmp_path, rng):
    write_ser(tmp_path / "pair_1.ser", rng.random((1, 40, 44)).astype(np.float32))
    write_emi(tmp_path / "pair.emi", mode="TEM uP SA Zoom Diffraction")
    with pytest.raises(ReadError, match="diffraction pattern"):
        read(tmp_path / "pair_1.ser")


@pytest.mark.parametrize("text", [b"xx", b"<ObjectInfo>\xb5</ObjectInfo>", b"<ObjectInfo><Data></ObjectInfo>"])
def test_an_emi_that_cannot_be_read_costs_its_words_but_not_the_image(text, tmp_path, rng):
    stack = rng.random((2, 40, 44)).astype(np.float32)
    write_ser(tmp_path / "pair_1.ser", stack)
    (tmp_path / "pair.emi").write_bytes(text)
    with read(tmp_path / "pair.emi") as series:
        np.testing.assert_array_equal(series[0].image, stack[0])
        assert any("pair.emi cannot be read" in warning for warning in series.warnings)


def test_the_fingerprint_of_a_file_is_its_sha256(tmp_path, rng):
    data = rng.bytes(3_000_000)
    (tmp_path / "a.npy").write_bytes(data)
    assert sha256(tmp_path / "a.npy") == hashlib.sha256(data).hexdigest()


def test_the_fingerprint_of_a_folder_follows_names_and_contents_of_its_frames(movie, tmp_path):
    where, _frames = movie
    copy = tmp_path / "elsewhere"
    shutil.copytree(where, copy)
    (copy / "notes.txt").write_text("changed")
    assert sha256(copy) == sha256(where)
    (copy / "frame_3.png").rename(copy / "frame_13.png")
    assert sha256(copy) != sha256(where)


@pytest.mark.parametrize("name", ["pair.emi", "pair_1.ser"])
@pytest.mark.parametrize("changed", ["pair.emi", "pair_1.ser"])
def test_the_fingerprint_of_a_pair_follows_both_of_its_files(name, changed, folder):
    where = folder("pair.emi", "pair_1.ser", "pairs_1.ser", "other.emi")
    before = sha256(where / name)
    (where / "other.emi").write_bytes(b"y")
    (where / "pairs_1.ser").write_bytes(b"y")
    assert sha256(where / name) == before
    (where / changed).write_bytes(b"y")
    assert sha256(where / name) != before


def test_a_series_without_its_words_has_the_fingerprint_of_the_file(folder):
    where = folder("alone_1.ser", "alone.ser")
    assert sha256(where / "alone_1.ser") == sha256(where / "alone.ser") == hashlib.sha256(b"x").hexdigest()
