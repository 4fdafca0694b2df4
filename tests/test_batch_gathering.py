"""Files that are written while frames are still analysed: the same bytes, and nothing left where it goes wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from drawn_inputs import PIXEL_ANGSTROM, QUICK, draw_lif
from fringemap.batch import analyze_inputs, gathering
from fringemap.batch.gathering import Gathering
from fringemap.batch.journal import origin_of
from fringemap.batch.replay import compare_results
from fringemap.batch.work import Job, Opened, do_task, open_input, write_input
from fringemap.errors import OutputError
from fringemap.io import write_mrc
from fringemap.pipeline import load_phases
from fringemap.report import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from fringemap.batch.work import InputResult

N_FRAMES = 5


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [draw_lif(seed).image for seed in range(N_FRAMES)]
    path = tmp_path_factory.mktemp("stack") / "s.mrc"
    return write_mrc(path, frames, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))


def analysed(stack: Path, folder: Path) -> Opened:
    """All frames in the journal, and no file written."""
    origin = origin_of(QUICK, load_phases(QUICK))
    opened = open_input(Job(0, stack, folder, QUICK, origin, keep_frames=True))
    assert isinstance(opened, Opened)
    assert [do_task(task) for task in opened.tasks()] == [None] * N_FRAMES
    return opened


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def assert_same_files(found: Path, expected: Path) -> None:
    assert files(found) == files(expected)
    assert compare_results(found, expected) == []


@pytest.fixture
def written_at_the_end(stack: Path, tmp_path: Path) -> InputResult:
    return write_input(analysed(stack, tmp_path / "end"))


def test_frames_that_are_done_in_any_order_give_the_files_that_are_written_at_the_end(
    stack: Path, tmp_path: Path, written_at_the_end: InputResult
) -> None:
    opened = analysed(stack, tmp_path / "out")
    gathered = Gathering(opened)
    for position in (3, 0, 4, 2, 1):
        gathered.note(position, None)
    result = gathered.finish(opened)
    assert result is not None
    assert result.summary["n_spots"] == written_at_the_end.summary["n_spots"]
    assert_same_files(tmp_path / "out", tmp_path / "end")


def test_results_of_an_earlier_run_need_not_be_noted(
    stack: Path, tmp_path: Path, written_at_the_end: InputResult
) -> None:
    opened = replace(analysed(stack, tmp_path / "out"), missing=(1, 3))
    gathered = Gathering(opened)
    gathered.note(3, None)
    gathered.note(1, None)
    assert gathered.finish(opened) is not None
    assert_same_files(tmp_path / "out", tmp_path / "end")


def test_a_frame_that_failed_is_named_and_its_file_may_be_missing(stack: Path, tmp_path: Path) -> None:
    opened = analysed(stack, tmp_path / "out")
    failure = Failure("s.mrc", 1, "ReadError", "unreadable")
    gathered = Gathering(opened)
    for position in range(N_FRAMES):
        gathered.note(position, failure if position == 1 else None)
    result = gathered.finish(opened)
    assert result is not None
    assert result.failures == (failure,)
    assert result.summary["status"] == "partly failed"


def test_what_goes_wrong_meanwhile_leaves_no_file_and_all_to_the_end(
    stack: Path, tmp_path: Path, written_at_the_end: InputResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = analysed(stack, tmp_path / "out")
    whole = gathering.stored_result

    def full(opened: Opened, position: int) -> Any:
        if position == 2:
            raise OutputError("the disk is full")
        return whole(opened, position)

    monkeypatch.setattr(gathering, "stored_result", full)
    gathered = Gathering(opened)
    for position in range(N_FRAMES):
        gathered.note(position, None)
    assert files(tmp_path / "out") == set()
    assert gathered.finish(opened) is None
    assert write_input(opened).failures == ()
    assert_same_files(tmp_path / "out", tmp_path / "end")


def test_a_run_that_is_interrupted_leaves_no_half_written_file(stack: Path, tmp_path: Path) -> None:
    def interrupt(_name: str, done: int, _n: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyze_inputs([stack], tmp_path, settings=QUICK, workers=2, progress=interrupt)
    assert files(tmp_path / "s") == set()


def test_two_workers_give_the_same_files_even_if_nothing_can_be_gathered_meanwhile(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here: list[int] = []
    whole = gathering.stored_result

    def note(opened: Opened, position: int) -> Any:
        read_here.append(position)
        return whole(opened, position)

    def refuse(*_: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(gathering, "stored_result", note)
    analyze_inputs([stack], tmp_path / "meanwhile", settings=QUICK, workers=2)
    assert read_here == list(range(N_FRAMES))
    monkeypatch.setattr(gathering, "stored_result", refuse)
    (result,) = analyze_inputs([stack], tmp_path / "end", settings=QUICK, workers=2)
    assert result.failures == ()
    assert_same_files(tmp_path / "meanwhile" / "s", tmp_path / "end" / "s")
