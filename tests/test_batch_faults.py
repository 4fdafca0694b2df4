"""Faults that really happen: processes killed, disks filled, files gone. Nothing computed is lost, the rest goes on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawn_inputs import PIXEL_ANGSTROM, QUICK, draw_lif, write_lif
from fringemap.batch import analyze_inputs, run, work
from fringemap.batch.executors import Done
from fringemap.batch.journal import FOLDER_NAME, origin_of
from fringemap.batch.replay import compare_results, replay_run, without_times
from fringemap.batch.work import Job, Opened, do_task, open_input
from fringemap.errors import ReadError, WorkerError
from fringemap.io import write_mrc
from fringemap.pipeline import load_phases
from fringemap.settings import ReadSettings, ReportSettings
from io_samples import write_emi, write_ser

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONS = ("--phases", "LiF", "--match", "tolerance", "--no-figures")
N_FRAMES = 24


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [draw_lif(seed).image for seed in range(N_FRAMES)]
    folder = tmp_path_factory.mktemp("stack")
    return write_mrc(folder / "s.mrc", frames, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))


@pytest.fixture(scope="module")
def undisturbed(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    analyze_inputs([stack], out, settings=QUICK, workers=1)
    return out


def start(*arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "fringemap", "analyze", *map(str, arguments), *OPTIONS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def stored(out: Path, name: str = "s") -> list[Path]:
    return sorted((out / name / FOLDER_NAME).glob("[0-9]*.npz"))


def wait_until(what: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not what():
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.002)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_same(out: Path, other: Path, name: str = "s") -> None:
    """The same files with the same bytes, but for times spent."""
    assert files(out) == files(other)
    assert compare_results(out / name, other / name) == []
    for path in sorted(files(out)):
        if path.endswith(("run.json", "summary.csv", "report.html")):
            assert content_but_times(out / path) == content_but_times(other / path), path
        else:
            assert (out / path).read_bytes() == (other / path).read_bytes(), path


def content_but_times(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return without_times(json.loads(text))
    if path.suffix == ".csv":
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(text.splitlines())]
    return [line for line in text.splitlines() if " (s)" not in line]


def errors(out: Path) -> list[dict[str, str]]:
    with (out / "errors.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def processes_below(parent: int) -> list[int]:
    """Processes that calculate for a run: those that were spawned, without the one that keeps track of resources."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if int((place / "stat").read_text().rpartition(")")[2].split()[1]) != parent:
                continue
            if "spawn_main" in (place / "cmdline").read_text():
                found.append(int(place.name))
        except OSError:
            continue
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find processes")


def test_a_killed_run_is_resumed_and_gives_the_bytes_of_an_undisturbed_one(
    stack: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = start(stack, "-o", tmp_path / "out", "--workers", 2)
    wait_until(lambda: len(stored(tmp_path / "out")) >= 4, run)
    run.kill()
    run.communicate()
    kept = {path: path.stat().st_mtime_ns for path in stored(tmp_path / "out")}
    assert 4 <= len(kept) < N_FRAMES
    assert not (tmp_path / "out" / "s" / "run.json").exists()
    told: list[tuple[str, int, int]] = []
    (result,) = analyze_inputs(
        [stack],
        tmp_path / "out",
        settings=QUICK,
        workers=1,
        resume=True,
        progress=lambda *said: told.append(said),
    )
    assert result.failures == ()
    # Only what was missing was done.
    assert N_FRAMES - len(kept) <= len(told) <= N_FRAMES - len(kept) + 2
    assert_same(tmp_path / "out", undisturbed)


@needs_proc
def test_a_killed_worker_loses_nothing_and_the_run_goes_on(stack: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = start(stack, "-o", tmp_path / "out", "--workers", 2)
    wait_until(lambda: len(stored(tmp_path / "out")) >= 2, run)
    os.kill(processes_below(run.pid)[0], signal.SIGKILL)
    _, said = run.communicate(timeout=120)
    assert (run.returncode, said) == (0, "")
    assert_same(tmp_path / "out", undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk in memory")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_what_was_done_is_kept_for_when_there_is_room(
    stack: Path, undisturbed: Path, small_disk: Path, tmp_path: Path
) -> None:
    small = write_lif(tmp_path / "z.mrc")
    (failed, other) = analyze_inputs([stack, small], small_disk, settings=QUICK, workers=1)
    assert failed.folder is None
    lines = errors(small_disk)
    assert {line["input"] for line in lines} >= {str(stack)}
    assert {line["kind"] for line in lines} == {"OutputError"}
    assert all("the disk is full" in line["message"] and "--resume" in line["message"] for line in lines)
    kept = len(stored(small_disk))
    assert 0 < kept < N_FRAMES
    assert other.path == small
    # Room again: here, on another disk.
    shutil.copytree(small_disk, tmp_path / "out")
    (result,) = analyze_inputs([stack], tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert result.failures == ()
    shutil.rmtree(tmp_path / "out" / "z", ignore_errors=True)
    assert_same(tmp_path / "out", undisturbed)


def test_a_file_that_vanishes_is_named_and_its_frames_so_far_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "frames"
    paths = [write_lif(folder / f"f{i}.mrc", i) for i in range(4)]
    whole = work._analyzed

    def vanish(job: Any, series: Any, position: int) -> Any:
        paths[2].unlink(missing_ok=True)
        return whole(job, series, position)

    monkeypatch.setattr(work, "_analyzed", vanish)
    good = write_lif(tmp_path / "good.mrc")
    broken, other = analyze_inputs([folder, good], tmp_path / "out", settings=QUICK, workers=1)
    assert [failure.frame for failure in broken.failures] == [2]
    assert "f2.mrc" in broken.failures[0].message
    assert other.failures == ()
    assert len(stored(tmp_path / "out", "frames")) == 3


def test_a_file_that_is_still_written_is_refused_and_done_when_it_is_complete(
    stack: Path, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.mrc"
    shutil.copy(stack, path)
    os.truncate(path, path.stat().st_size // 2)
    (result,) = analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1)
    assert result.failures != ()
    shutil.copy(stack, path)
    (result,) = analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert result.failures == ()
    assert (tmp_path / "out" / "s" / "spots.csv").read_bytes() == (undisturbed / "s" / "spots.csv").read_bytes()


def test_a_file_that_changes_during_its_analysis_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lif(tmp_path / "a.mrc")
    whole = work._analyzed

    def change(job: Any, series: Any, position: int) -> Any:
        result = whole(job, series, position)
        os.utime(path, ns=(1, 1))
        return result

    monkeypatch.setattr(work, "_analyzed", change)
    (result,) = analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1)
    assert "a.mrc changed while it was analysed" in result.failures[0].message
    assert not (tmp_path / "out" / "a" / "run.json").exists()


@pytest.mark.parametrize("named", ["p.emi", "p_1.ser"])
@pytest.mark.parametrize("touched", ["p.emi", "p_1.ser"])
def test_a_pair_has_changed_if_either_of_its_files_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, touched: str
) -> None:
    pixel_m = PIXEL_ANGSTROM * 1e-10
    write_ser(tmp_path / "p_1.ser", draw_lif().image[None], step_m=(pixel_m, pixel_m))
    write_emi(tmp_path / "p.emi")
    path, whole = tmp_path / named, work._analyzed

    def change(job: Any, series: Any, position: int) -> Any:
        result = whole(job, series, position)
        os.utime(tmp_path / touched, ns=(1, 1))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(work, "_analyzed", change)
        (result,) = analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1)
        assert f"{named} changed while it was analysed" in result.failures[0].message
    analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1)
    write_ser(tmp_path / "p_1.ser", draw_lif(1).image[None], step_m=(pixel_m, pixel_m))
    before = (tmp_path / "out" / path.stem / "spots.csv").read_bytes()
    with pytest.raises(ReadError, match=f"{named} has another content"):
        replay_run(tmp_path / "out" / path.stem / "run.json", tmp_path / "again", workers=1)
    analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert (tmp_path / "out" / path.stem / "spots.csv").read_bytes() != before


def test_a_stack_that_cannot_be_read_through_fails_when_its_frames_are_done(
    stack: Path, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, tried = work._analyzed, []

    def noted(job: Any, series: Any, position: int) -> Any:
        tried.append(position)
        return whole(job, series, position)

    def refuse(path: Path) -> str:
        raise ReadError(f"{path.name} cannot be read")

    monkeypatch.setattr(work, "_analyzed", noted)
    with monkeypatch.context() as broken:
        broken.setattr(work, "sha256", refuse)
        (result,) = analyze_inputs([stack], tmp_path / "out", settings=QUICK, workers=1)
    assert [failure.message for failure in result.failures] == ["s.mrc cannot be read"]
    # The frames are as good as ever: the file is still what it was.
    (result,) = analyze_inputs([stack], tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert tried == list(range(N_FRAMES))
    assert_same(tmp_path / "out", undisturbed)


def test_a_frame_that_failed_is_tried_again_and_only_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = draw_lif().image
    path = write_mrc(tmp_path / "s.mrc", [image] * 3, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
    whole, tried = work._analyzed, []

    def fail_once(job: Any, series: Any, position: int) -> Any:
        tried.append(position)
        if tried.count(1) == 1 and position == 1:
            raise MemoryError("too little")
        return whole(job, series, position)

    monkeypatch.setattr(work, "_analyzed", fail_once)
    (result,) = analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1)
    assert (result.summary["status"], len(stored(tmp_path / "out"))) == ("partly failed", 2)
    (result,) = analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert result.summary["status"] == "done"
    assert tried == [0, 1, 2, 1]
    assert stored(tmp_path / "out") == []


def test_inputs_that_failed_are_tried_again_and_only_those(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tried = work._analyzed, []

    def noted(job: Any, series: Any, position: int) -> Any:
        tried.append(job.path.name)
        return whole(job, series, position)

    monkeypatch.setattr(work, "_analyzed", noted)
    inputs = [write_lif(tmp_path / f"{name}.mrc", seed) for seed, name in enumerate(("good", "cut", "gone", "lost"))]
    for path in inputs[1:]:
        path.rename(path.with_suffix(".whole"))
    inputs[1].write_bytes(inputs[1].with_suffix(".whole").read_bytes()[:5000])
    inputs[2].write_bytes(b"")
    analyze_inputs(inputs, tmp_path / "out", settings=QUICK, workers=1)
    assert {Path(line["input"]).name for line in errors(tmp_path / "out")} == {"cut.mrc", "gone.mrc", "lost.mrc"}
    for path in inputs[1:3]:
        path.with_suffix(".whole").rename(path)
    analyze_inputs(inputs, tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert tried == ["good.mrc", "cut.mrc", "gone.mrc"]
    # What still fails is named once, what was mended no more.
    assert [Path(line["input"]).name for line in errors(tmp_path / "out")] == ["lost.mrc"]
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8", newline="") as stream:
        assert [(line["input"], line["status"]) for line in csv.DictReader(stream)] == [
            ("good.mrc", "done"),
            ("cut.mrc", "done"),
            ("gone.mrc", "done"),
            ("lost.mrc", "failed"),
        ]


def test_a_stored_result_that_rots_is_named_and_the_next_resume_computes_it_again(
    stack: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = start(stack, "-o", tmp_path / "out", "--workers", 1)
    wait_until(lambda: len(stored(tmp_path / "out")) >= 3, run)
    run.kill()
    run.communicate()
    rotten = stored(tmp_path / "out")[1]
    content = bytearray(rotten.read_bytes())
    # Its end still promises a whole file.
    content[len(content) // 2] ^= 0xFF
    rotten.write_bytes(content)
    (result,) = analyze_inputs([stack], tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert [failure.frame for failure in result.failures] == [int(rotten.stem)]
    assert "--resume" in errors(tmp_path / "out")[0]["message"]
    (result,) = analyze_inputs([stack], tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert errors(tmp_path / "out") == []
    assert_same(tmp_path / "out", undisturbed)


def test_frames_have_their_numbers_where_a_stored_result_rots_or_a_worker_dies(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(QUICK, read=ReadSettings(frames="4:8"))
    job = Job(0, stack, tmp_path / "out" / "s", chosen, origin_of(chosen, load_phases(chosen)))
    opened = open_input(job)
    assert isinstance(opened, Opened)
    tasks = list(opened.tasks())
    assert [do_task(task) for task in tasks] == [None] * 4
    rotten = stored(tmp_path / "out")[1]
    rotten.write_bytes(rotten.read_bytes()[:-7])
    assert [failure.frame for failure in work.write_input(opened).failures] == [5]
    ledger = run._Ledger(1, None)
    list(ledger._after_opening(work.sign_input(opened)))
    (write, *_) = [
        following
        for task in tasks
        for following in ledger.follow(Done(task, error=WorkerError("gone") if task.position == 2 else None))
    ]
    assert [failure.frame for failure in write.failures] == [6]


def test_figures_video_and_page_of_a_resumed_run_are_those_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = replace(QUICK, report=ReportSettings())
    images = [draw_lif(seed).image for seed in range(3)]
    path = write_mrc(tmp_path / "s.mrc", images, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
    analyze_inputs([path], tmp_path / "undisturbed", settings=drawn, workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(work, "write_input", lambda *_, **__: pytest.fail("stopped before its files"))
        with pytest.raises(pytest.fail.Exception):
            analyze_inputs([path], tmp_path / "out", settings=drawn, workers=1)
    assert len(stored(tmp_path / "out")) == 3
    analyze_inputs([path], tmp_path / "out", settings=drawn, workers=1, resume=True)
    assert_same(tmp_path / "out", tmp_path / "undisturbed")


def test_a_damaged_result_in_the_journal_is_computed_again(stack: Path, tmp_path: Path, undisturbed: Path) -> None:
    run = start(stack, "-o", tmp_path / "out", "--workers", 1)
    wait_until(lambda: len(stored(tmp_path / "out")) >= 3, run)
    run.kill()
    run.communicate()
    first = stored(tmp_path / "out")[0]
    os.truncate(first, first.stat().st_size // 2)
    analyze_inputs([stack], tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert_same(tmp_path / "out", undisturbed)


def test_frames_of_one_stack_are_shared_out_and_give_the_same_bytes(
    stack: Path, undisturbed: Path, tmp_path: Path
) -> None:
    analyze_inputs([stack], tmp_path / "out", settings=QUICK, workers=2)
    assert_same(tmp_path / "out", undisturbed)


def test_noise_alone_can_be_resumed_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    frames = rng.normal(100, 10, (2, 64, 64)).astype(np.float32)
    path = write_mrc(tmp_path / "n.mrc", list(frames), pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
    analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1)
    before = files(tmp_path / "out")
    (result,) = analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1, resume=True)
    assert result.summary["n_frames"] == 2
    assert files(tmp_path / "out") == before
