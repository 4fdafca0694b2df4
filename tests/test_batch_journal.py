from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawn_inputs import QUICK, draw_lif, write_lif
from fringemap.batch import analyze, analyze_inputs
from fringemap.batch.journal import Journal, Origin, earlier_origins, origin_of
from fringemap.batch.stored import is_whole, load_record, save_record
from fringemap.errors import ReadError, SettingsError
from fringemap.pipeline import load_phases
from fringemap.settings import MapSettings, PhaseSettings

if TYPE_CHECKING:
    from pathlib import Path

    from fringemap.records import FrameResult


@pytest.fixture(scope="module")
def result() -> FrameResult:
    return analyze(draw_lif(), settings=replace(QUICK, phases=PhaseSettings(elements=("Li", "F"))))


def assert_identical(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif dataclasses.is_dataclass(a):
        assert type(a) is type(b)
        for f in dataclasses.fields(a):
            assert_identical(getattr(a, f.name), getattr(b, f.name))
    elif isinstance(a, tuple):
        assert isinstance(b, tuple)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_identical(x, y)
    else:
        assert type(a) is type(b) or isinstance(a, np.generic), (a, b)
        assert a == b or (a != a and b != b)


def test_a_result_is_read_as_it_was_written(result: FrameResult, tmp_path: Path) -> None:
    assert result.maps
    assert result.match.phases
    save_record(tmp_path / "r.npz", result)
    assert_identical(load_record(tmp_path / "r.npz"), result)


def test_a_result_holds_no_pickles(result: FrameResult, tmp_path: Path) -> None:
    save_record(tmp_path / "r.npz", result)
    with np.load(tmp_path / "r.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays)


def test_what_is_no_record_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot be stored"):
        save_record(tmp_path / "r.npz", (object(),))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 10, 3000])
def test_a_damaged_result_is_named(result: FrameResult, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "r.npz"
    save_record(path, result)
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert not is_whole(path)
    with pytest.raises(ReadError, match="damaged"):
        load_record(path)


def origin(**changed: Any) -> Origin:
    return replace(origin_of(QUICK, load_phases(QUICK)), input_sha256="0", **changed)


def test_results_of_the_same_origin_are_kept_and_others_are_not(result: FrameResult, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s")
    journal.begin(origin(), keep=True)
    journal.save(3, result)
    assert journal.done() == {3}
    journal.begin(origin(), keep=True)
    assert journal.done() == {3}
    journal.begin(replace(origin(), input_sha256="1"), keep=True)
    assert journal.done() == set()
    journal.save(3, result)
    journal.begin(replace(origin(), input_sha256="1"), keep=False)
    assert journal.done() == set()


def test_results_from_before_the_fingerprint_was_known_are_kept_if_the_file_is_the_same(
    result: FrameResult, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "s")
    unsigned = replace(origin(), input_sha256="unread x")
    journal.begin(unsigned, keep=False)
    journal.save(3, result)
    journal.begin(origin(), keep=True, unsigned=unsigned)
    assert journal.done() == {3}
    assert earlier_origins(tmp_path / "s") == [origin()]
    journal.begin(unsigned, keep=False)
    journal.save(3, result)
    journal.begin(origin(), keep=True, unsigned=replace(origin(), input_sha256="unread y"))
    assert journal.done() == set()


def test_what_a_killed_run_was_writing_is_cleared_away(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s")
    journal.begin(origin(), keep=True)
    for path in (journal.folder / ".partial-1-000000.npz", tmp_path / "s" / ".partial-1-spots.csv"):
        path.touch()
    journal.begin(origin(), keep=True)
    assert [p.name for p in (tmp_path / "s").rglob(".partial*")] == []


def test_origins_differ_by_version_setting_and_content_of_phases() -> None:
    assert origin().differences(origin()) == []
    assert origin(version="9").differences(origin(version="8")) == ["fringemap: 9, was 8"]
    other = replace(QUICK, maps=MapSettings(resolution_nm=2.0))
    assert origin_of(other, load_phases(other)).differences(origin()) == ["maps.resolution_nm: 2.0, was not given"]
    assert origin(phases_sha256="1").differences(origin()) == ["the files that define phases have another content"]


@pytest.fixture
def done(tmp_path: Path) -> Path:
    analyze_inputs([write_lif(tmp_path / "a.mrc")], tmp_path / "out", settings=QUICK)
    return tmp_path / "out"


def test_other_settings_are_refused_before_anything_is_touched(done: Path, tmp_path: Path) -> None:
    before = (done / "a" / "spots.csv").read_bytes()
    other = replace(QUICK, phases=replace(QUICK.phases, tolerance_sigma=2.0))
    with pytest.raises(SettingsError, match=r"phases\.tolerance_sigma: 2\.0, was 3\.0.*choose another folder"):
        analyze_inputs([tmp_path / "a.mrc"], done, settings=other, resume=True)
    assert (done / "a" / "spots.csv").read_bytes() == before


def test_a_phase_whose_file_changed_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "my.csv"
    table.write_text("component,hkl,d\nX,1 0 0,2.0\n", encoding="utf-8")
    mine = replace(QUICK, phases=replace(QUICK.phases, phases=(str(table),)))
    path = write_lif(tmp_path / "a.mrc")
    analyze_inputs([path], tmp_path / "out", settings=mine)
    table.write_text("component,hkl,d\nX,1 0 0,2.1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="files that define phases"):
        analyze_inputs([path], tmp_path / "out", settings=mine, resume=True)


def test_what_is_done_is_not_done_again(done: Path, tmp_path: Path) -> None:
    table = done / "a" / "spots.csv"
    before, summary = table.stat().st_mtime_ns, (done / "summary.csv").read_bytes()
    (result,) = analyze_inputs([tmp_path / "a.mrc"], done, settings=QUICK, resume=True)
    assert result.folder == done / "a"
    assert table.stat().st_mtime_ns == before
    assert (done / "summary.csv").read_bytes() == summary


def test_an_input_that_changed_is_analysed_anew(done: Path, tmp_path: Path) -> None:
    before = (done / "a" / "spots.csv").read_bytes()
    write_lif(tmp_path / "a.mrc", 7)
    analyze_inputs([tmp_path / "a.mrc"], done, settings=QUICK, resume=True)
    assert (done / "a" / "spots.csv").read_bytes() != before


def test_settings_of_the_run_lie_beside_its_results(done: Path) -> None:
    from fringemap.settings import read_settings

    assert read_settings(done / "settings.toml") == QUICK
    assert not (done / ".reserve").exists()


def test_a_run_leaves_the_results_of_its_frames_where_they_are_asked_for(tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.mrc")
    for _ in range(2):
        analyze_inputs([path], tmp_path / "out", settings=QUICK, resume=True, keep_frames=True)
        journal = Journal(tmp_path / "out" / "a")
        assert journal.done() == {0}
        assert len(journal.load(0).spots)
    assert (tmp_path / "out" / "a" / "run.json").exists()
