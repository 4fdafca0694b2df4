from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawn_inputs import PIXEL_ANGSTROM, QUICK, draw_lif, write_lif
from fringemap.batch import analyze_inputs, watch_folder
from fringemap.batch.replay import compare_results
from fringemap.batch.rolling import RollingEvolution
from fringemap.batch.rules import parse_rule
from fringemap.batch.watch import post_to, run_program
from fringemap.batch.watched import Arrivals, WatchPlan, place_of
from fringemap.errors import OutputError, ReadError, SettingsError
from fringemap.io import write_mrc
from fringemap.report.series_tables import TABLE_NAMES
from fringemap.settings import ReportSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Timetable:
    """Lets things happen before each look of the watch, and ends it after the last."""

    def __init__(self, *steps: Callable[[], Any]) -> None:
        # Two looks make a file complete, a third finds nothing new.
        self._steps = [step for given in steps for step in (given, nothing, nothing)]

    def __call__(self) -> bool:
        if not self._steps:
            return True
        self._steps.pop(0)()
        return False


def nothing() -> None:
    return None


def watch(folder: Path, out: Path, *steps: Callable[[], Any], **more: Any) -> Any:
    folder.mkdir(exist_ok=True)
    given = {"settings": QUICK, "poll_s": 0.001, "workers": 1, "stop": Timetable(*steps), **more}
    return watch_folder(folder, out, **given)


def assert_like_offline(folder: Path, out: Path, offline: Path) -> None:
    analyze_inputs([folder], offline, settings=QUICK, workers=1)
    made = {p.name for p in out.iterdir()} - {"live.html"}
    assert made == {p.name for p in offline.iterdir()}
    for place in [p for p in offline.iterdir() if p.is_dir()]:
        assert {p.name for p in (out / place.name).iterdir()} == {p.name for p in place.iterdir()}
        assert compare_results(out / place.name, place) == []


def test_numbered_frames_that_arrive_in_any_order_give_the_series_of_an_offline_run(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    steps = [lambda i=i: write_lif(folder / f"f{i}.mrc", i) for i in (1, 0, 3, 10, 2)]
    (result,) = watch(folder, tmp_path / "out", *steps)
    assert result.summary["n_frames"] == 5
    assert_like_offline(folder, tmp_path / "out", tmp_path / "offline")


def test_other_files_and_stacks_give_what_an_offline_run_gives(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    images = [draw_lif(seed).image for seed in range(3)]

    def stack() -> None:
        write_mrc(folder / "stack.mrc", images, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))

    results = watch(folder, tmp_path / "out", lambda: write_lif(folder / "one.mrc"), stack)
    assert [r.summary["n_frames"] for r in results] == [1, 3]
    assert_like_offline(folder, tmp_path / "out", tmp_path / "offline")


def series_tables(out: Path) -> dict[str, bytes]:
    return {name: (out / "frames" / name).read_bytes() for name in TABLE_NAMES if (out / "frames" / name).exists()}


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 5), (4, 1, 5, 3, 2)])
def test_the_evolution_so_far_is_that_of_a_run_over_the_frames_so_far(tmp_path: Path, order: tuple[int, ...]) -> None:
    folder, out, seen = tmp_path / "frames", tmp_path / "out", []
    settings = replace(QUICK, read=replace(QUICK.read, frame_time_s=2.0, dose_rate=100.0))

    def compare() -> None:
        offline = tmp_path / f"offline{len(seen)}"
        analyze_inputs([folder], offline, settings=settings, workers=1)
        seen.append(series_tables(out))
        assert seen[-1] == series_tables(offline)

    steps = [step for i in order for step in (lambda i=i: write_lif(folder / f"f{i}.mrc", i), compare)]
    watch(folder, out, *steps, settings=settings)
    # Two files are no numbered series yet.
    assert [len(tables) for tables in seen] == [0, 0, 4, 4, 4]
    assert len({tables["evolution.csv"] for tables in seen[2:]}) == 3
    assert seen[-1] == series_tables(out)


def test_a_stack_has_its_evolution_and_a_figure_as_soon_as_it_is_there(tmp_path: Path) -> None:
    folder, out, pages = tmp_path / "frames", tmp_path / "out", []
    images = [draw_lif(seed).image for seed in range(3)]
    settings = replace(QUICK, report=ReportSettings(dpi=40))

    def stack() -> None:
        write_mrc(folder / "a #1.mrc", images, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))

    def look() -> None:
        assert not (out / "a #1" / "run.json").exists()
        assert (out / "a #1" / "figures" / "evolution.png").exists()
        pages.append((out / "live.html").read_text(encoding="utf-8"))

    watch(folder, out, stack, look, settings=settings)
    assert 'src="a%20%231/figures/evolution.png?3"' in pages[0]
    assert 'href="a%20%231/evolution.csv"' in pages[0]


def test_a_series_that_turns_out_to_be_none_leaves_no_tables(tmp_path: Path) -> None:
    folder, out, seen = tmp_path / "frames", tmp_path / "out", []
    steps = [lambda i=i: write_lif(folder / f"f{i}.mrc", i) for i in range(3)]
    watch(folder, out, *steps, lambda: seen.append(series_tables(out)), lambda: write_lif(folder / "other.mrc"))
    assert len(seen[0]) == 4
    assert not (out / "frames").exists()
    assert_like_offline(folder, out, tmp_path / "offline")


def test_averaged_frames_have_their_evolution_as_soon_as_each_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fringemap.batch import work

    folder, out, seen, analysed = tmp_path / "frames", tmp_path / "out", [], []
    settings = replace(QUICK, read=replace(QUICK.read, bin_frames=2, frame_time_s=2.0))
    whole = work.analyze_frame
    steps = [lambda i=i: write_lif(folder / f"f{i}.mrc", i) for i in range(7)]

    def compare() -> None:
        offline = tmp_path / f"offline{len(seen)}"
        analyze_inputs([folder], offline, settings=settings, workers=1)
        seen.append(series_tables(out))
        assert seen[-1] == series_tables(offline)

    def counted(frame: Any, *given: Any, **more: Any) -> Any:
        analysed.append(frame.name)
        return whole(frame, *given, **more)

    monkeypatch.setattr(work, "analyze_frame", counted)
    watch(folder, out, *steps[:4], compare, *steps[4:6], compare, steps[6], settings=settings)
    assert [len(tables) for tables in seen] == [4, 4]
    assert seen[0] != seen[1] == series_tables(out)
    # By the runs that it is compared with, and not again at its end.
    assert analysed == ["f0", "f2", "f0", "f2", "f4"]


def test_while_frames_arrive_the_evolution_waits_for_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fringemap.batch import rolling

    clock = iter([0.0, 10.0, 10.0, 20.0, 49.0, 51.0, 52.0, 52.0, 55.0, 56.0, 57.0, 57.0])
    monkeypatch.setattr(rolling.time, "monotonic", lambda: next(clock))
    plan = WatchPlan(tmp_path, tmp_path / "out", QUICK, ())
    evolution = RollingEvolution(plan)
    updates = []
    monkeypatch.setattr(plan, "inputs", lambda: updates.append(1) or {})
    for hurry in (True, True, True, True, True, False):
        evolution.note(tmp_path / "a.mrc", "0")
        evolution.update(hurry=hurry)
    # It took 10 s and rests for 40; when nothing arrives, it need not wait.
    assert len(updates) == 3


def test_frames_are_not_analysed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fringemap.batch import watch as module
    from fringemap.batch import work

    analysed = []
    whole = module.analyze_frame

    def counted(frame: Any, *given: Any, **more: Any) -> Any:
        analysed.append(frame.name)
        return whole(frame, *given, **more)

    monkeypatch.setattr(module, "analyze_frame", counted)
    monkeypatch.setattr(work, "analyze_frame", counted)
    folder = tmp_path / "frames"
    watch(folder, tmp_path / "out", *[lambda i=i: write_lif(folder / f"f{i}.mrc", i) for i in range(3)])
    assert analysed == ["f0", "f1", "f2"]


def test_a_file_counts_when_it_has_not_changed_between_two_looks(tmp_path: Path) -> None:
    path, arrivals = tmp_path / "a.mrc", Arrivals(tmp_path)
    assert arrivals.look() == []
    path.write_bytes(b"12")
    (tmp_path / "note.txt").touch()
    assert arrivals.look() == []
    path.write_bytes(b"1234")
    assert arrivals.look() == []
    assert arrivals.look() == [path]
    assert arrivals.look() == []
    path.write_bytes(b"123456")
    assert arrivals.look() == []
    assert arrivals.look() == [path]
    path.unlink()
    assert arrivals.look() == []


def test_half_a_file_is_told_and_the_whole_one_is_taken(tmp_path: Path) -> None:
    folder, told = tmp_path / "frames", []
    whole = write_lif(tmp_path / "whole.mrc")

    def half() -> None:
        (folder / "a.mrc").write_bytes(whole.read_bytes()[:9000])

    (result,) = watch(folder, tmp_path / "out", half, lambda: shutil.copy(whole, folder / "a.mrc"), tell=told.append)
    assert "a.mrc" in told[0]
    assert told[1] == "a: LiF (4 spots, 0 without a name)"
    assert result.failures == ()


def blank(folder: Path, number: int) -> None:
    image = np.random.default_rng(number).normal(500, 20, (256, 256)).astype(np.float32)
    write_mrc(folder / f"f{number}.mrc", image, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))


@pytest.fixture
def listener() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", got
        server.shutdown()
        thread.join()


def test_a_phase_that_appears_is_called_out_by_line_webhook_and_program(
    tmp_path: Path, listener: tuple[str, list[dict[str, Any]]]
) -> None:
    folder, told = tmp_path / "frames", []
    program = tmp_path / "note.py"
    program.write_text(f"import sys; open({str(tmp_path / 'noted')!r}, 'w').write(sys.argv[1])", encoding="utf-8")
    address, got = listener
    steps = [lambda: blank(folder, 0), *[lambda i=i: write_lif(folder / f"f{i}.mrc", i) for i in (1, 2)]]
    calls = [post_to(address), run_program(f"{sys.executable} {program}")]
    watch(folder, tmp_path / "out", *steps, rules=[parse_rule("LiF appears")], calls=calls, tell=told.append)
    assert "LiF appears: f2" in told
    assert got == [{"message": "LiF appears: f2", "frame": "f2", "time_s": None, "phases": ["LiF"]}]
    assert (tmp_path / "noted").read_text() == "LiF appears: f2"
    assert "LiF appears: f2" in (tmp_path / "out" / "live.html").read_text(encoding="utf-8")


def test_a_call_that_reaches_nobody_does_not_end_the_watch(tmp_path: Path) -> None:
    folder, told = tmp_path / "frames", []
    steps = [lambda i=i: write_lif(folder / f"f{i}.mrc", i) for i in range(3)]
    calls = [post_to("http://127.0.0.1:9/"), run_program(str(tmp_path / "missing"))]
    (result,) = watch(
        folder, tmp_path / "out", *steps, rules=[parse_rule("LiF appears")], calls=calls, tell=told.append
    )
    assert sum("nobody was told" in line for line in told) == 2
    assert result.summary["n_frames"] == 3


def test_the_page_loads_itself_anew_while_the_watch_lasts(tmp_path: Path) -> None:
    folder, page = tmp_path / "frames", tmp_path / "out" / "live.html"
    pages = []
    steps = [lambda: write_lif(folder / "f0.mrc"), lambda: pages.append(page.read_text(encoding="utf-8"))]
    watch(folder, tmp_path / "out", *steps)
    assert 'http-equiv="refresh"' in pages[0]
    assert "1 frame so far" in pages[0]
    assert "<polyline" in pages[0]
    assert 'http-equiv="refresh"' not in page.read_text(encoding="utf-8")


def test_a_watch_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, told = tmp_path / "frames", []

    def killed() -> None:
        raise SystemError("killed")

    first = [lambda i=i: write_lif(folder / f"f{i}.mrc", i) for i in range(2)]
    with pytest.raises(SystemError):
        watch(folder, tmp_path / "out", *first, killed)
    assert len(list((tmp_path / "out" / ".watch").glob("*.npz"))) == 2
    (result,) = watch(folder, tmp_path / "out", lambda: write_lif(folder / "f2.mrc", 2), tell=told.append)
    assert result.summary["n_frames"] == 3
    assert_like_offline(folder, tmp_path / "out", tmp_path / "offline")


@pytest.mark.parametrize("changed", ["version", "phases_sha256", "calibration_sha256", "model_sha256"])
def test_results_made_with_another_network_or_calibration_do_not_wait_in_the_same_place(
    tmp_path: Path, changed: str
) -> None:
    job = WatchPlan(tmp_path, tmp_path / "out", QUICK, ()).job(tmp_path)
    other = replace(job, origin=replace(job.origin, **{changed: "another"}))
    signed = replace(job, origin=replace(job.origin, input_sha256="of the input"))
    place = place_of(job, tmp_path, "abc", 0)
    assert place_of(signed, tmp_path, "abc", 0) == place
    assert place_of(other, tmp_path, "abc", 0) != place


def test_a_watch_refuses_to_put_results_among_files_of_others(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    with pytest.raises(OutputError, match=r"results would lie in .*frames, among its frames"):
        watch(folder, tmp_path, lambda: pytest.fail("begun"))
    mine = tmp_path / "out" / "s" / "figures" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")

    def stack() -> None:
        images = [draw_lif(seed).image for seed in range(2)]
        write_mrc(folder / "s.mrc", images, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))

    # It comes during the watch: its frames are analysed, and wait.
    with pytest.raises(OutputError, match="s holds files that fringemap did not make"):
        watch(folder, tmp_path / "out", stack)
    assert [p.name for p in (tmp_path / "out" / "s").rglob("*")] == ["figures", "mine.txt"]
    assert len(list((tmp_path / "out" / ".watch").glob("*.npz"))) == 2
    with pytest.raises(OutputError, match="s holds files that fringemap did not make"):
        watch(folder, tmp_path / "out", lambda: pytest.fail("begun"))


def test_an_empty_folder_ends_without_results(tmp_path: Path) -> None:
    assert watch(tmp_path / "frames", tmp_path / "out", nothing) == []


def test_wrong_use_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="is no folder"):
        watch_folder(tmp_path / "missing", tmp_path / "out", settings=QUICK)
    with pytest.raises(SettingsError, match="no web address"):
        post_to("file:///etc/passwd")
    for command in ("", "'"):
        with pytest.raises(SettingsError, match="--command"):
            run_program(command)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent otherwise on Windows")
def test_ctrl_c_ends_the_watch_with_all_results_written(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    for i in range(3):
        write_lif(folder / f"f{i}.mrc", i)
    words = [sys.executable, "-m", "fringemap", "watch", folder, "-o", tmp_path / "out", "--poll", "0.05"]
    words += ["--phases", "LiF", "--match", "tolerance", "--no-figures", "--workers", "2", "--rule", "LiF appears"]
    process = subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out" / ".watch").glob("[0-9a-f]*.npz"))) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "LiF appears: f1" in out
    assert "stopped; writing the results" in out
    assert "frames: LiF in 3 of 3 frames" in out
    assert not (tmp_path / "out" / ".watch").exists()
