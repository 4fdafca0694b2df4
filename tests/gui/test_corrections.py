from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawn_inputs import A_LIF, PIXEL_ANGSTROM
from fringemap.io import write_mrc
from fringemap.simulate import PlaneWave, plane_wave_frame
from gui_server import Asker, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FINE_D = 0.75


def write_fine(path: Path) -> Path:
    """LiF with a wave finer than what is looked for by itself."""
    places = ((2 / A_LIF, 0.0), (0.0, 2 / A_LIF), (1 / FINE_D, 0.0))
    waves = [PlaneWave(gx, gy, 8.0) for gx, gy in places]
    pixel, rng = (PIXEL_ANGSTROM,) * 2, np.random.default_rng(2)
    frame, _ = plane_wave_frame((256, 256), pixel, waves, rng=rng, noise_sigma=20.0, mean_counts=500.0)
    return write_mrc(path, frame.image, pixel_size_angstrom=pixel)


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Asker]:
    with serving(tmp_path, warm=True) as asked:
        yield asked


def analyse(asker: Asker, name: str, **settings: dict[str, Any]) -> Any:
    run = asker.post("runs", {"names": [name], "settings": settings}).json()[0]
    assert asker.wait_for(run["run"], seconds=240)["status"] == "done"
    return asker.get("result", name=name).json()


def correct(asker: Asker, name: str, **given: Any) -> Any:
    reply = asker.post("correct", {"name": name, **given})
    assert reply.status == 200, reply.body
    return asker.get("result", name=name).json()


def test_a_correction_keeps_the_pixel_size_that_its_run_found(asker: Asker, shared_data: Callable[[str], Path]) -> None:
    shutil.copyfile(shared_data("hrtem/TiO2_0eV.tif"), asker.folder / "TiO2.tif")
    found = analyse(asker, "TiO2.tif", phases={"phases": ["TiO2 rutile"]})
    assert found["pixel_size_nm"] == pytest.approx([0.0622, 0.0622], rel=5e-3)
    named = sum(spot["phase"] != "unknown" for spot in found["spots"])
    # What is typed after a run is for the next one.
    for size in (None, 0.05):
        asker.post("scale", {"name": "TiO2.tif", "pixel_size_nm": size})
        last = found["spots"][-1]
        left = correct(asker, "TiO2.tif", op="delete", gx=last["gx"], gy=last["gy"])
        assert len(left["spots"]) == len(found["spots"]) - 1
        assert sum(spot["phase"] != "unknown" for spot in left["spots"]) >= named - 1 > 10
        assert left["pixel_size_nm"] == found["pixel_size_nm"]
        assert left["warnings"] == [*found["warnings"], "corrected by hand: 1 spot removed"]
        again = correct(asker, "TiO2.tif", op="add", gx=last["gx"], gy=last["gy"])["spots"][-1]
        assert again["d"] == pytest.approx(last["d"], rel=3e-3)
        correct(asker, "TiO2.tif", op="undo")
        correct(asker, "TiO2.tif", op="undo")


def test_a_spot_as_fine_as_the_run_looked_for_is_shown_and_comes_back(asker: Asker) -> None:
    write_fine(asker.folder / "fine.mrc")
    before = asker.get("spectrum", name="fine.mrc").pixels()[0]["full"]
    quick = {"phases": ["LiF"], "match": "tolerance"}
    spots = analyse(asker, "fine.mrc", phases=quick, spots={"d_min_angstrom": 0.6})["spots"]
    fine = next(spot for spot in spots if abs(spot["d"] - FINE_D) < 0.01)
    correct(asker, "fine.mrc", op="delete", gx=fine["gx"], gy=fine["gy"])
    again = correct(asker, "fine.mrc", op="add", gx=fine["gx"], gy=fine["gy"])["spots"][-1]
    assert (again["by_hand"], again["d"]) == (True, pytest.approx(FINE_D, rel=5e-3))
    about = asker.get("spectrum", name="fine.mrc").pixels()[0]
    middle, step = (about["full"][1] - 1) / 2, about["bin_per_nm"][1]
    assert middle * step > 10 / FINE_D
    assert about["full"] > before
    assert asker.get("profile", name="fine.mrc").json()["g_per_nm"][-1] > 10 / FINE_D
    region = {"region_top": 0, "region_left": 0, "side": 128}
    about = asker.get("region", name="fine.mrc", **region).pixels()[0]
    assert (about["full"][1] - 1) / 2 * about["bin_per_nm"][1] > 10 / FINE_D
    analyse(asker, "fine.mrc", phases=quick, spots={"d_min_angstrom": 1.5})
    assert asker.get("spectrum", name="fine.mrc").pixels()[0]["full"] == before
