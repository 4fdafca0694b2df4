from __future__ import annotations

import csv
import io
import json
import shlex
import signal
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawn_inputs import PIXEL_ANGSTROM, draw_lif, write_lif
from fringemap.io import write_mrc
from gui_server import Asker, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = {"phases": {"phases": ["LiF", "NaF"], "match": "tolerance"}}


def write_series(path: Path, n_frames: int = 4) -> Path:
    frames = np.array([draw_lif(seed).image for seed in range(n_frames)])
    return write_mrc(path, frames, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM), frame_time_s=2.0)


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("frames")
    write_lif(folder / "a.mrc")
    write_lif(folder / "other.mrc", seed=5)
    write_series(folder / "series.mrc")
    np.save(folder / "plain.npy", draw_lif().image)
    with serving(folder, warm=True) as asked:
        yield asked


@pytest.fixture(scope="module")
def analysed(asker: Asker) -> Asker:
    run = asker.post("runs", {"names": ["a.mrc"], "settings": QUICK}).json()[0]
    assert asker.wait_for(run["run"])["status"] == "done"
    return asker


@pytest.mark.skipif(sys.platform == "win32", reason="has another way to interrupt")
def test_ctrl_c_leaves_the_end_of_its_processes_to_the_server() -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "fringemap.gui.worker"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as worker:
        assert worker.stdout is not None
        assert json.loads(worker.stdout.readline()) == {"event": "ready"}
        worker.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(0.3)
        _, said = worker.communicate("", timeout=20)
    assert (worker.returncode, said) == (0, "")


def result_of(asker: Asker, name: str = "a.mrc", frame: int = 0) -> Any:
    return asker.get("result", name=name, frame=frame).json()


def test_the_form_knows_every_setting_with_unit_range_and_help(asker: Asker) -> None:
    form = {field["name"]: field for field in asker.get("settings").json()}
    assert form["d_min_angstrom"]["unit"] == "Å"
    assert form["match"]["choices"] == ["posterior", "tolerance", "nearest"]
    assert form["false_spots"]["minimum"] == 1e-9
    assert all(field["help"] and field["label"] for field in form.values())
    assert "pixel_size_nm" not in form


def test_a_run_gives_spots_phases_and_maps(analysed: Asker) -> None:
    result = result_of(analysed)
    assert {spot["phase"] for spot in result["spots"]} == {"LiF"}
    assert any(abs(spot["d"] - 2.0135) < 0.01 for spot in result["spots"])
    assert result["phases"][0]["name"] == "LiF"
    about, mask = analysed.get("map", name="a.mrc", phase="LiF", layer="mask").pixels()
    assert set(np.unique(mask.round(3))) <= {0.0, 1.0}
    assert (about["low"], about["high"]) == (0.0, 1.0)
    assert "LiF" in analysed.get("explain", name="a.mrc", spot=0).json()["words"]
    assert analysed.get("explain", name="a.mrc", spot=99).status == 422


def test_what_was_never_analysed_has_no_result(asker: Asker) -> None:
    assert result_of(asker, "other.mrc") is None
    assert asker.get("map", name="other.mrc", phase="LiF").status == 404
    assert asker.post("correct", {"name": "other.mrc", "op": "undo"}).status == 422


def test_wrong_settings_are_refused_before_anything_is_queued(asker: Asker) -> None:
    before = len(asker.get("runs").json())
    for settings in ({"spots": {"d_min_angstrom": -1}}, {"phases": {"phases": ["Unobtainium"]}}, {"no": {}}):
        assert asker.post("runs", {"names": ["a.mrc"], "settings": settings}).status == 422
    assert asker.post("runs", {"names": ["../a.mrc"], "settings": {}}).status == 404
    assert asker.post("runs", {"names": []}).status == 422
    assert len(asker.get("runs").json()) == before


def test_one_that_fails_does_not_end_the_queue_and_can_be_retried(asker: Asker) -> None:
    runs = asker.post("runs", {"names": ["plain.npy", "other.mrc"], "settings": QUICK}).json()
    bad = asker.wait_for(runs[0]["run"])
    assert bad["status"] == "failed"
    assert "pixel size" in bad["messages"][0]
    assert asker.wait_for(runs[1]["run"])["status"] == "done"
    asker.post("run", {"run": bad["run"], "action": "retry"})
    assert asker.wait_for(bad["run"])["status"] == "failed"
    asker.post("run", {"run": bad["run"], "action": "remove"})
    assert bad["run"] not in [run["run"] for run in asker.get("runs").json()]


def test_spots_are_added_moved_removed_and_named_by_hand_and_all_is_taken_back(analysed: Asker) -> None:
    def correct(**given: Any) -> Any:
        reply = analysed.post("correct", {"name": "a.mrc", "frame": 0, **given})
        assert reply.status == 200, reply.body
        return result_of(analysed)

    original = result_of(analysed)["spots"]
    first = original[0]
    deleted = correct(op="delete", gx=first["gx"], gy=first["gy"])
    assert len(deleted["spots"]) == len(original) - 1
    added = correct(op="add", gx=-first["gx"], gy=-first["gy"])  # its mate will do
    again = next(spot for spot in added["spots"] if spot["by_hand"])
    assert again["d"] == pytest.approx(first["d"], rel=1e-3)
    assert again["phase"] == "LiF"
    assert "added, moved or named by hand" in again["flags"]
    moved = correct(op="move", gx=again["gx"], gy=again["gy"], to_gx=7.0, to_gy=1.0)
    assert any(spot["by_hand"] and abs(spot["g"] - 7.07) < 0.2 for spot in moved["spots"])
    named = correct(op="name", gx=original[1]["gx"], gy=original[1]["gy"], phase="NaF")
    assert [spot["phase"] for spot in named["spots"] if spot["by_hand"]].count("NaF") == 1
    assert "corrected by hand: 1 spot added, 1 spot moved, 1 spot removed, 1 spot named" in named["warnings"]
    for _ in range(4):
        last = correct(op="undo")
    assert [spot["d"] for spot in last["spots"]] == [spot["d"] for spot in original]
    assert not last["warnings"]
    assert correct(op="redo")["corrections"] == 1
    correct(op="undo")
    assert analysed.post("correct", {"name": "a.mrc", "op": "undo"}).status == 422


@pytest.mark.parametrize(
    "wrong",
    [
        {"op": "delete", "gx": 9.9, "gy": 0.1},
        {"op": "add", "gx": 0.0, "gy": 0.0},
        {"op": "add", "gx": 99.0, "gy": 0.0},
        {"op": "add", "gx": "x", "gy": 0.0},
        {"op": "fly"},
        {"op": "add", "gx": 3.0, "gy": 3.0, "frame": 7},
    ],
)
def test_a_correction_that_cannot_be_done_is_not_kept(analysed: Asker, wrong: dict[str, Any]) -> None:
    assert analysed.post("correct", {"name": "a.mrc", **wrong}).status in (404, 422)
    assert result_of(analysed)["corrections"] == 0


def test_what_a_hand_changed_is_marked_in_tables_and_in_the_report(analysed: Asker) -> None:
    spot = result_of(analysed)["spots"][1]
    analysed.post("correct", {"name": "a.mrc", "op": "name", "gx": spot["gx"], "gy": spot["gy"], "phase": "unknown"})
    table = analysed.get("export/table", name="a.mrc", kind="spots").body.decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["phase"] for row in rows if "by_hand" in row["flags"]] == ["unknown"]
    with zipfile.ZipFile(io.BytesIO(analysed.get("export/report", name="a.mrc").body)) as archive:
        record = json.loads(archive.read("a/run.json"))
        page = archive.read("a/report.html").decode()
    assert record["corrections"]["0"][0]["phase"] == "unknown"
    assert record["inputs"][0]["sha256"]
    assert "corrected by hand: 1 spot named" in page
    assert "corrections by hand" in analysed.get("export/text", name="a.mrc").body.decode()
    analysed.post("correct", {"name": "a.mrc", "op": "undo"})


def test_figures_and_data_are_exported(analysed: Asker) -> None:
    assert analysed.get("export/figure", name="a.mrc", kind="profile", format="svg").body.lstrip().startswith(b"<?xml")
    assert analysed.get("export/figure", name="a.mrc", kind="frame", format="png").body[1:4] == b"PNG"
    assert analysed.get("export/data", name="a.mrc").body[:2] in (b"II", b"MM")
    assert analysed.get("export/data", name="a.mrc", phase="LiF").body[:2] in (b"II", b"MM")
    for kind, form in (("x", "png"), ("frame", "exe"), ("evolution", "png")):
        assert analysed.get("export/figure", name="a.mrc", kind=kind, format=form).status == 422


def test_the_run_is_written_as_a_command_and_as_python(analysed: Asker) -> None:
    command = analysed.get("export/text", name="a.mrc").body.decode()
    words = shlex.split(command)
    assert words[:3] == ["fringemap", "analyze", "a.mrc"]
    assert words[words.index("--phases") + 1] == "LiF,NaF"
    assert words[words.index("--match") + 1] == "tolerance"
    assert "--no-figures" not in words
    python = analysed.get("export/text", name="a.mrc", kind="python").body.decode()
    compile(python, "copied", "exec")
    assert "'match': 'tolerance'" in python


def test_a_series_has_curves_events_and_a_waterfall(asker: Asker) -> None:
    run = asker.post("runs", {"names": ["series.mrc"], "settings": QUICK}).json()[0]
    ended = asker.wait_for(run["run"])
    assert (ended["status"], ended["done"], ended["total"]) == ("done", 4, 4)
    series = asker.get("series", name="series.mrc").json()
    assert series["x"] == [0.0, 2.0, 4.0, 6.0]
    assert [one["phase"] for one in series["evolutions"]] == ["LiF"]
    assert len(series["evolutions"][0]["area_percent"]) == 4
    about, picture = asker.get("waterfall", name="series.mrc").pixels()
    assert picture.shape[1] == 4
    assert about["g_first_per_nm"] < 20 / 4.027 < about["g_last_per_nm"]
    assert asker.get("series", name="a.mrc").json() is None


def test_results_of_some_frames_are_shown_at_these_frames(asker: Asker) -> None:
    write_series(asker.folder / "some.mrc")
    settings = {**QUICK, "read": {"frames": "1:4:2"}}
    run = asker.post("runs", {"names": ["some.mrc"], "settings": settings}).json()[0]
    assert asker.wait_for(run["run"])["status"] == "done"
    assert [result_of(asker, "some.mrc", frame) is not None for frame in range(4)] == [False, True, False, True]
    assert result_of(asker, "some.mrc", 3)["title"] == "some_0003"
    assert asker.get("series", name="some.mrc").json()["frames"] == [1, 3]
    assert asker.get("map", name="some.mrc", frame=0, phase="LiF").status == 404
    assert asker.post("correct", {"name": "some.mrc", "frame": 2, "op": "undo"}).status == 422


def test_a_run_is_cancelled_at_once_and_resumed(asker: Asker, tmp_path: Path) -> None:
    write_series(asker.folder / "long.mrc", n_frames=40)
    run = asker.post("runs", {"names": ["long.mrc"], "settings": QUICK}).json()[0]
    asker.wait_for(run["run"], "running")
    cancelled = asker.post("run", {"run": run["run"], "action": "cancel"}).json()
    assert next(one for one in cancelled if one["run"] == run["run"])["status"] == "cancelled"
    after = asker.post("runs", {"names": ["other.mrc"], "settings": QUICK}).json()[0]
    assert asker.wait_for(after["run"])["status"] == "done"


def test_what_was_under_way_when_the_server_ended_can_be_resumed(tmp_path: Path) -> None:
    write_lif(tmp_path / "a.mrc")
    with serving(tmp_path) as first:
        first.post("scale", {"name": "a.mrc", "pixel_size_nm": 0.0251})
        run = first.post("runs", {"names": ["a.mrc"], "settings": QUICK}).json()[0]
    with serving(tmp_path) as second:
        kept = second.get("runs").json()[0]
        assert (kept["run"], kept["status"]) == (run["run"], "stopped")
        assert second.get("input", name="a.mrc").json()["pixel_size_nm"] == pytest.approx([0.0251, 0.0251])
        second.post("run", {"run": run["run"], "action": "retry"})
        assert second.wait_for(run["run"])["status"] == "done"
        assert result_of(second)["spots"]


def test_the_clock_of_a_run_that_a_killed_server_left_does_not_go_on(tmp_path: Path) -> None:
    write_lif(tmp_path / "a.mrc")
    with serving(tmp_path) as first:
        run = first.post("runs", {"names": ["a.mrc"], "settings": QUICK}).json()[0]
        first.wait_for(run["run"])
    (path,) = (tmp_path / ".fringemap").glob(f"**/{run['run']}/run_state.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "running", "ended": None}))
    with serving(tmp_path) as second:
        kept = second.get("runs").json()[0]
        assert (kept["status"], kept["seconds"], kept["left_s"]) == ("stopped", None, None)


def test_a_damaged_session_is_left_aside(tmp_path: Path) -> None:
    write_lif(tmp_path / "a.mrc")
    (tmp_path / ".fringemap").mkdir()
    (tmp_path / ".fringemap" / "session.json").write_text("{")
    with serving(tmp_path) as asker:
        assert asker.get("input", name="a.mrc").status == 200
    assert (tmp_path / ".fringemap" / "damaged-session.json").exists()
