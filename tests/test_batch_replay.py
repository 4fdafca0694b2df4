from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from drawn_inputs import QUICK, write_lif
from fringemap.batch import analyze_inputs
from fringemap.batch.replay import compare_results, replay_run
from fringemap.errors import OutputError, ReadError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def done(tmp_path: Path) -> Path:
    analyze_inputs([write_lif(tmp_path / "a.mrc")], tmp_path / "out", settings=QUICK)
    return tmp_path / "out" / "a"


def test_a_run_repeated_gives_the_same(done: Path, tmp_path: Path) -> None:
    replay = replay_run(done / "run.json", tmp_path / "again")
    assert replay.differences == ()
    assert replay.remarks == ()
    assert (tmp_path / "again" / "a" / "spots.csv").read_bytes() == (done / "spots.csv").read_bytes()


def test_what_differs_is_named_by_table_row_and_column(done: Path, tmp_path: Path) -> None:
    lines = (done / "spots.csv").read_text(encoding="utf-8").splitlines()
    cells = lines[2].split(",")
    cells[6] = "9.99"
    (done / "spots.csv").write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:-1]]) + "\n", encoding="utf-8")
    (done / "masks.ome.tif").write_bytes(b"")
    (done / "profile.csv").unlink()
    first, *rest = replay_run(done / "run.json", tmp_path / "again").differences
    assert first == "profile.csv: is new"
    assert rest[0].startswith("spots.csv: row 2, d_angstrom: ")
    assert rest[0].endswith("was 9.99")
    assert rest[1:] == ["spots.csv: row 4 is new", "masks.ome.tif differs"]


def test_many_differences_are_counted(done: Path, tmp_path: Path) -> None:
    text = (done / "profile.csv").read_text(encoding="utf-8")
    other = tmp_path / "other"
    other.mkdir()
    (other / "profile.csv").write_text(text.replace("\n0,", "\n1,"), encoding="utf-8")
    (other / "run.json").write_bytes((done / "run.json").read_bytes())
    told = [line for line in compare_results(other, done) if line.startswith("profile.csv")]
    assert told[0] == "profile.csv: row 1, frame: 1, was 0"
    assert len(told) == 6
    assert told[5].endswith("more differences")


def test_another_version_is_remarked(done: Path, tmp_path: Path) -> None:
    run = json.loads((done / "run.json").read_text(encoding="utf-8"))
    run["fringemap"] = "0.0.1"
    (done / "run.json").write_text(json.dumps(run), encoding="utf-8")
    replay = replay_run(done / "run.json", tmp_path / "again")
    assert replay.differences == ()
    assert replay.remarks[0].endswith("was 0.0.1")


def test_an_input_that_is_gone_or_another_is_refused(done: Path, tmp_path: Path) -> None:
    write_lif(tmp_path / "a.mrc", 5)
    with pytest.raises(ReadError, match="another content"):
        replay_run(done / "run.json", tmp_path / "again")
    (tmp_path / "a.mrc").unlink()
    with pytest.raises(ReadError, match="not there any more"):
        replay_run(done / "run.json", tmp_path / "again")


def test_a_run_is_not_replaced_by_its_repetition(done: Path) -> None:
    with pytest.raises(OutputError, match="choose another folder"):
        replay_run(done / "run.json", done.parent)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": []}'])
def test_what_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(ReadError, match="no record of a run"):
        replay_run(tmp_path / "run.json", tmp_path / "again")


def test_a_record_with_unknown_settings_is_named(done: Path, tmp_path: Path) -> None:
    run = json.loads((done / "run.json").read_text(encoding="utf-8"))
    run["settings"]["maps"]["colour"] = "red"
    (done / "run.json").write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(SettingsError, match="no setting colour"):
        replay_run(done / "run.json", tmp_path / "again")
