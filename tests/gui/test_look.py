from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from drawn_inputs import A_LIF, PIXEL_ANGSTROM, write_lif
from fringemap.gui.frames import STAND_IN, FrameStore, place_of
from fringemap.io import write_mrc
from fringemap.settings import ReadSettings
from gui_server import Asker, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHAPE = (300, 421)


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("frames")
    write_lif(folder / "lif.mrc")
    image = np.random.default_rng(3).normal(100.0, 10.0, SHAPE).astype(np.float32)
    np.save(folder / "plain.npy", image)
    with serving(folder) as asked:
        yield asked


def test_at_full_view_each_pixel_is_the_mean_of_those_it_stands_for(asker: Asker) -> None:
    image = np.load(asker.folder / "plain.npy")
    about, shown = asker.get("frame", name="plain.npy", bin=3).pixels()
    expected = image[:300, :420].reshape(100, 3, 140, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(shown, expected, atol=np.ptp(expected) / 60000)
    assert about["full"] == list(SHAPE)


@pytest.mark.parametrize(("top", "left", "rows", "cols"), [(0, 0, 50, 60), (251, 371, 500, 500), (-5, -9, 10, 10)])
def test_zoomed_in_each_pixel_is_one_of_the_frame(asker: Asker, top: int, left: int, rows: int, cols: int) -> None:
    image = np.load(asker.folder / "plain.npy")
    about, shown = asker.get("frame", name="plain.npy", top=top, left=left, rows=rows, cols=cols).pixels()
    expected = image[about["top"] : about["top"] + rows, about["left"] : about["left"] + cols]
    assert (about["top"], about["left"]) == (max(top, 0), max(left, 0))
    np.testing.assert_allclose(shown, expected, atol=np.ptp(image) / 60000)


def test_a_diffractogram_shows_the_spots_where_its_bins_say(asker: Asker) -> None:
    about, shown = asker.get("spectrum", name="lif.mrc").pixels()
    middle = (np.array(about["full"]) - 1) / 2
    place = np.argwhere(shown > shown.max() - 0.5) - middle
    g = np.hypot(*(place * about["bin_per_nm"]).T)
    assert np.abs(g - 20.0 * np.sqrt(2) / A_LIF).min() < 0.1 or np.abs(g - 20.0 / A_LIF).min() < 0.1
    assert about["calibrated"]


def test_a_pooled_diffractogram_keeps_the_brightest_bins(asker: Asker) -> None:
    _, fine = asker.get("spectrum", name="lif.mrc").pixels()
    _, coarse = asker.get("spectrum", name="lif.mrc", bin=3).pixels()
    rows, cols = coarse.shape
    expected = fine[: 3 * rows, : 3 * cols].reshape(rows, 3, cols, 3).max(axis=(1, 3))
    np.testing.assert_allclose(coarse, expected, atol=1e-3)


def test_a_frame_without_a_pixel_size_is_shown_in_units_of_its_pixels(asker: Asker) -> None:
    about, _ = asker.get("spectrum", name="plain.npy").pixels()
    assert not about["calibrated"]
    assert about["bin_per_nm"] == pytest.approx([10 / SHAPE[0], 10 / SHAPE[1]])
    described = asker.get("input", name="plain.npy").json()
    assert described["badge"]["level"] == "red"


def test_a_region_is_transformed_on_its_own(asker: Asker) -> None:
    about, shown = asker.get("region", name="lif.mrc", region_top=40, region_left=60, side=128).pixels()
    assert about["bin_per_nm"] == pytest.approx([10 / (128 * PIXEL_ANGSTROM)] * 2)
    assert shown.max() > 1.5


@pytest.mark.parametrize("place", [{"region_top": -1}, {"region_left": 200}, {"side": 400}, {"side": 8}, {"side": "x"}])
def test_a_region_beyond_the_frame_is_refused(asker: Asker, place: dict[str, object]) -> None:
    reply = asker.get("region", name="lif.mrc", **{"region_top": 40, "region_left": 60, "side": 128, **place})
    assert reply.status == 422


@pytest.mark.parametrize("query", [{"frame": 1}, {"frame": -1}, {"frame": "x"}, {"bin": "nan"}, {"top": 1e99}])
def test_a_cut_that_is_not_there_is_refused_or_moved_inside(asker: Asker, query: dict[str, object]) -> None:
    assert asker.get("frame", name="lif.mrc", **query).status in (200, 404, 422)
    assert asker.get("frame", name="lif.mrc").status == 200


def test_rings_and_zones_of_phases_have_their_d(asker: Asker) -> None:
    rings = asker.get("rings", phase="LiF", d_min=1.2).json()["rings"]
    assert rings[0]["d_angstrom"] == pytest.approx(A_LIF / np.sqrt(3), rel=2e-3)
    zone = asker.get("zone", phase="LiF", uvw="0 0 1", d_min=1.2).json()
    assert {tuple(np.abs(one["hkl"])) for one in zone["spots"]} >= {(2, 0, 0), (2, 2, 0)}
    assert asker.get("zone", phase="LiF", uvw="0 0", d_min=1.2).status == 422
    assert asker.get("rings", phase="Unobtainium").status == 422
    assert asker.get("rings", phase="../x.cif").status == 404


def test_the_pixel_size_given_is_used_and_forgotten_again(asker: Asker) -> None:
    given = asker.post("scale", {"name": "plain.npy", "pixel_size_nm": 0.025}).json()
    assert given["badge"]["level"] == "amber"
    assert asker.get("spectrum", name="plain.npy").pixels()[0]["calibrated"]
    assert asker.post("scale", {"name": "plain.npy", "pixel_size_nm": None}).json()["badge"]["level"] == "red"
    for nonsense in (0, -1, "x", 1e9):
        assert asker.post("scale", {"name": "plain.npy", "pixel_size_nm": nonsense}).status == 422


def test_a_known_spot_calibrates_the_frame(asker: Asker) -> None:
    asker.post("scale", {"name": "lif.mrc", "pixel_size_nm": 0.026})
    g = 20.0 / A_LIF * 0.025 / 0.026
    asked = {"name": "lif.mrc", "gx": g, "gy": 0.03, "phase": "LiF", "hkl": "2 0 0"}
    found = asker.post("calibrate", asked).json()
    assert found["badge"]["level"] == "green"
    assert "LiF (200)" in found["badge"]["words"]
    assert found["pixel_size_nm"][0] == pytest.approx(0.025, rel=3e-3)
    assert asker.post("calibrate", {**asked, "hkl": "0 0 0"}).status == 422
    asker.post("scale", {"name": "lif.mrc", "pixel_size_nm": None})


def test_memory_stays_bounded_over_five_hundred_frames(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).normal(size=(500, 64, 64)).astype(np.float32)
    path = write_mrc(tmp_path / "stack.mrc", stack, pixel_size_angstrom=(0.5, 0.5))
    store = FrameStore(most_bytes=1 << 20)
    for frame in range(500):
        place = place_of(path, ReadSettings(), frame)
        store.diffractogram(place)
        assert store.n_bytes <= 1 << 20
    assert np.array_equal(store.frame(place).image, stack[499])
    store.close()


def test_of_two_that_ask_for_the_same_frame_at_once_one_waits(tmp_path: Path) -> None:
    place = place_of(write_lif(tmp_path / "a.mrc"), ReadSettings(), 0)
    store = FrameStore()
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(store.diffractogram(place))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(one is found[0] for one in found)
    store.close()


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    store = FrameStore()
    np.save(path, np.eye(64, dtype=np.float32))
    first = store.frame(place_of(path, ReadSettings(), 0))
    assert first.scale is STAND_IN
    np.save(path, np.eye(96, dtype=np.float32))
    assert store.frame(place_of(path, ReadSettings(), 0)).image.shape == (96, 96)
    store.close()
