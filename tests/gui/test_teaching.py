"""Labels, models and the watched folder, as a browser asks for them, or an attacker."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawn_inputs import A_LIF, PIXEL_ANGSTROM, write_lif
from fringemap.gui.jobs import Job
from fringemap.io import write_mrc
from fringemap.spots import model
from fringemap.training import registry
from fringemap.training.labelled import load_labelled
from gui_server import Asker, serving
from made_model import write_made_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

G = 20.0 / A_LIF
MARK = {"gx": G, "gy": 0.0, "radius": 0.3, "ignored": False}


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("frames")
    write_lif(folder / "a.mrc")
    (folder / "sub").mkdir()
    write_lif(folder / "sub" / "a.mrc", seed=1)
    np.save(folder / "plain.npy", np.random.default_rng(3).normal(100.0, 10.0, (64, 64)).astype(np.float32))
    write_mrc(folder / "oblong.mrc", np.load(folder / "plain.npy"), pixel_size_angstrom=(0.25, 0.3))
    write_made_model(folder / "bare")
    (folder / "in").mkdir()
    with serving(folder) as asked:
        yield asked


def label(asker: Asker, **given: Any) -> Any:
    return asker.post("labels", {"name": "a.mrc", "frame": 0, **given})


def test_labels_are_kept_as_training_reads_them_and_come_back(asker: Asker) -> None:
    faint = {"gx": 3.0, "gy": -4.0, "radius": 0.2, "ignored": True}
    stroke = {"gx": [2.0, 2.5], "gy": [6.0, 6.0], "radius": 0.25, "erases": False}
    assert label(asker, marks=[MARK, faint], strokes=[stroke]).status == 200
    found = asker.get("labels", name="a.mrc").json()
    assert (found["marks"], found["strokes"]) == ([MARK, faint], [stroke])
    assert found["pixel_size_nm"] == pytest.approx(PIXEL_ANGSTROM / 10)
    sample = load_labelled(asker.session.teaching.labels)[0]
    assert sample.spots.visible.tolist() == [True, False, True]
    assert label(asker, forget=True).status == 200
    assert asker.get("labels", name="a.mrc").json() is None


def test_frames_of_the_same_name_in_two_folders_keep_their_own_labels(asker: Asker) -> None:
    label(asker, marks=[MARK])
    label(asker, name="sub/a.mrc", marks=[])
    assert len(asker.get("labels", name="a.mrc").json()["marks"]) == 1
    assert asker.get("labels", name="sub/a.mrc").json()["marks"] == []
    rows = asker.get("teach").json()["labelled"]
    assert sorted((row["source"], row["spots"]) for row in rows) == [("a.mrc", 0), ("a.mrc", 1)]
    for name in ("a.mrc", "sub/a.mrc"):
        label(asker, name=name, forget=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"marks": [{**MARK, "radius": 0}]},
        {"marks": [{**MARK, "gx": "x"}]},
        {"marks": [{**MARK, "gy": None}]},
        {"marks": "many"},
        {"marks": [1]},
        {"marks": [MARK] * 5001},
        {"strokes": [{"gx": [1], "gy": [1, 2], "radius": 0.1}]},
        {"strokes": [{"gx": [], "gy": [], "radius": 0.1}]},
        {"strokes": [{"gx": ["a"], "gy": [1], "radius": 0.1}]},
        {"name": "plain.npy", "marks": []},
        {"name": "oblong.mrc", "marks": []},
        {"name": "../a.mrc", "marks": []},
        {"name": "a.mrc", "frame": 7, "marks": []},
    ],
)
def test_labels_that_make_no_sense_are_refused(asker: Asker, wrong: dict[str, Any]) -> None:
    reply = label(asker, **wrong)
    assert reply.status in (404, 422)
    assert reply.json()["error"]
    assert asker.get("labels", name="a.mrc").json() is None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_place_near_a_spot_snaps_to_its_maximum_on_the_side_that_was_pointed_at(asker: Asker, sign: int) -> None:
    asked = {"name": "a.mrc", "gx": sign * (G - 0.25), "gy": sign * 0.2, "reach": 0.5}
    found = asker.post("labels/snap", asked).json()
    assert (found["gx"], found["gy"]) == (pytest.approx(sign * G, abs=0.03), pytest.approx(0, abs=0.03))
    assert 0.1 < found["radius"] < 0.5


def test_without_a_model_the_classical_detector_proposes(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(model, "_MODELS", tmp_path)
    found = asker.post("labels/propose", {"name": "a.mrc"}).json()
    assert found["by"] == "classical detector"
    sure = [one for one in found["marks"] if not one["ignored"]]
    assert len(sure) == 4
    assert all(one["score"] < sure[-1]["score"] for one in found["marks"] if one["ignored"])
    assert asker.post("labels/propose", {"name": "plain.npy"}).status == 422


def test_a_model_of_the_folder_is_added_proposes_is_used_and_rolled_back(asker: Asker) -> None:
    def change(action: str, name: str = "") -> Any:
        return asker.post("teach/change", {"action": action, "model": name})

    assert change("back").status == 422
    assert change("add", "../bare").status == 404
    assert change("add", "in").status == 422
    added = change("add", "bare").json()
    assert added["current"] == "bare"
    assert not added["models"][0]["trainable"]
    assert asker.post("labels/propose", {"name": "a.mrc"}).json()["by"] == "model made"
    assert "cannot be trained further" in asker.post("teach", {"drawn": 0}).json()["error"]
    change("add", "bare")
    assert asker.get("teach").json()["current"] == "bare-2"
    assert change("back").json()["current"] == "bare"
    assert change("remove", "bare").status == 422
    assert change("back").json()["current"] == ""
    assert asker.post("labels/propose", {"name": "a.mrc"}).json()["by"] == f"model {model.SHIPPED}"
    change("use", "bare")
    assert change("remove", "bare-2").status == 200
    assert change("remove", "../bare").status == 422
    assert change("fly").status == 422


def test_a_run_finds_a_model_by_its_name(asker: Asker) -> None:
    name = asker.post("teach/change", {"action": "add", "model": "bare"}).json()["current"]
    assert name.startswith("bare")
    settings = {"spots": {"detector": "unet", "model": name}, "phases": {"phases": ["LiF"], "match": "tolerance"}}
    run = asker.post("runs", {"names": ["a.mrc"], "settings": settings}).json()[0]
    assert asker.wait_for(run["run"])["status"] == "done"
    assert asker.get("result", name="a.mrc").json()["spots"]


def test_without_torch_it_is_said_how_to_install_it(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "NEEDED", ("torch", "nowhere_to_be_found"))
    told = asker.get("teach").json()
    assert told["missing"] == ["nowhere_to_be_found"]
    reply = asker.post("teach", {})
    assert reply.status == 422
    assert "pip install 'fringemap[train]'" in reply.json()["error"]


@pytest.mark.parametrize("wrong", [{"epochs": "x"}, {"drawn": -1}, {"minutes": "long"}, {"drawn": 1e9}])
def test_settings_of_a_training_that_make_no_sense_are_refused(asker: Asker, wrong: dict[str, Any]) -> None:
    assert asker.post("teach", wrong).status == 422
    assert asker.get("teach").json()["standing"]["status"] == "none"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"action": "fly"}, 422),
        ({"action": "start", "folder": "a.mrc"}, 422),
        ({"action": "start", "folder": "../"}, 404),
        ({"action": "start", "folder": "in", "rules": ["LiF is there"]}, 422),
        ({"action": "start", "folder": "in", "rules": ["LiF appears"] * 51}, 422),
        ({"action": "start", "folder": "in", "settings": {"spots": {"d_min_angstrom": -1}}}, 422),
    ],
)
def test_a_watch_that_cannot_begin_is_refused(asker: Asker, wrong: dict[str, Any], status: int) -> None:
    assert asker.post("live", wrong).status == status
    assert asker.get("live").json() is None
    assert asker.get("live/results").status == 404


def test_a_process_that_dies_is_noticed_and_one_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    dead = Job("fringemap.gui.nothing_of_this_name", {}, heard.append)
    end = time.monotonic() + 30
    while not heard and time.monotonic() < end:
        time.sleep(0.02)
    assert heard == [{"event": "died"}]
    dead.kill()
    alive = Job("fringemap.gui.watcher", json.loads('{"folder": "/nowhere"}'), heard.append)
    alive.kill()
    assert alive._process.poll() is not None


def test_a_process_ends_when_its_server_is_gone(tmp_path: Path) -> None:
    order = {"folder": str(tmp_path), "out": str(tmp_path / "out"), "settings": {}, "rules": [], "poll_s": 0.2}
    job = Job("fringemap.gui.watcher", order, lambda _message: None)
    assert job._process.stdin is not None
    job._process.stdin.close()
    assert job._process.wait(60) == 0
    job.kill()


def test_a_watch_that_ended_with_the_server_goes_on_with_what_was_done(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        write_lif(folder / f"f{number}.mrc", number)
    settings = {"phases": {"phases": ["LiF"], "match": "tolerance"}}
    asked = {"action": "start", "folder": "in", "settings": settings, "rules": []}
    with serving(tmp_path) as first:
        first.post("live", asked)
        assert until(first, lambda live: live["n_frames"] == 2)["status"] == "watching"
        out = first.session.watching._watch.out
    stored = {path.name: path.stat().st_mtime_ns for path in (out / ".watch").iterdir()}
    with serving(tmp_path) as second:
        left = second.get("live").json()
        assert (left["name"], left["status"], left["n_frames"]) == ("in", "ended", 0)
        assert "goes on with what was done" in left["message"]
        second.post("live", asked)
        until(second, lambda live: live["n_frames"] == 2)
        assert {path.name: path.stat().st_mtime_ns for path in (out / ".watch").iterdir()} == stored
        second.post("live", {"action": "stop"})
        assert until(second, lambda live: live["status"] == "done")["message"] == ""
        assert second.session.watching.out == out
    with serving(tmp_path) as third:
        assert third.get("live").json() is None


def until(asker: Asker, holds: Callable[[dict[str, Any]], bool], seconds: float = 90.0) -> dict[str, Any]:
    """Wait for a state of the watch."""
    end = time.monotonic() + seconds
    while not holds(live := asker.get("live").json()):
        assert time.monotonic() < end, live
        time.sleep(0.05)
    return dict(live)
