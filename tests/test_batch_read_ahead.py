from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drawn_inputs import PIXEL_ANGSTROM, QUICK, draw_lif, write_lif
from fringemap.batch import analyze_inputs
from fringemap.batch.read_ahead import read_ahead
from fringemap.batch.replay import compare_results
from fringemap.io import read, write_mrc
from fringemap.settings import ReadSettings

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system knows no such hint")

Hints = list[tuple[str, int, int]]
N = 5


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> Hints:
    """Name of the file, first byte and number of bytes of each hint, which is passed on."""
    noted: Hints = []
    give = os.posix_fadvise

    def note(descriptor: int, offset: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        noted.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, offset, length))
        give(descriptor, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", note)
    return noted


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    images = [draw_lif(seed).image for seed in range(N)]
    return write_mrc(tmp_path / "s.mrc", images, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))


def test_each_frame_of_a_stack_is_asked_for_while_the_one_before_is_analysed(
    stack: Path, tmp_path: Path, hints: Hints
) -> None:
    analyze_inputs([stack], tmp_path / "out", settings=QUICK, workers=1)
    frame_bytes = 256 * 256 * 4
    header = stack.stat().st_size - N * frame_bytes
    assert len(hints) == N - 1
    for k, (name, offset, length) in enumerate(hints, start=1):
        start = header + k * frame_bytes
        assert name == "s.mrc"
        # All but what the header shifts it by.
        assert start - header <= offset <= start
        assert offset + length >= start + frame_bytes - header


def test_the_next_file_of_a_numbered_folder_is_asked_for(tmp_path: Path, hints: Hints) -> None:
    for i in (2, 10, 9):
        write_lif(tmp_path / "frames" / f"f{i}.mrc", i)
    analyze_inputs([tmp_path / "frames"], tmp_path / "out", settings=QUICK, workers=1)
    assert [name for name, _, _ in hints] == ["f9.mrc", "f10.mrc"]


def test_chosen_and_averaged_frames_are_asked_for_together(stack: Path, hints: Hints) -> None:
    settings = ReadSettings(frames="1::1", bin_frames=2)
    share = stack.stat().st_size / N
    with read(stack, settings=settings) as series:
        read_ahead(series, 1, settings)
        assert [round(offset / share) for _, offset, _ in hints] == [3, 4]
        read_ahead(series, 2, settings)
        assert len(hints) == 2


def test_without_the_hint_results_are_the_same(stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analyze_inputs([stack], tmp_path / "with", settings=QUICK, workers=1)
    monkeypatch.delattr(os, "posix_fadvise")
    analyze_inputs([stack], tmp_path / "without", settings=QUICK, workers=1)
    assert compare_results(tmp_path / "with" / "s", tmp_path / "without" / "s") == []


def test_a_hint_that_fails_is_no_failure(stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    (result,) = analyze_inputs(
        [stack], tmp_path / "out", settings=replace(QUICK, read=ReadSettings(frames="0:2")), workers=1
    )
    assert result.failures == ()
