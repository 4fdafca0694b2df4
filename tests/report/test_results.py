from __future__ import annotations

import csv
import dataclasses
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fringemap.errors import OutputError
from fringemap.records import Scale, ScaleSource
from fringemap.report import Failure, write_results
from fringemap.report.atomic import atomic_write, write_text
from fringemap.report.run import to_plain, write_run_json
from fringemap.settings import AnalysisSettings, ReportSettings
from report.made_results import make_empty, make_result

FULL_DISK = Path("/dev/full")
TABLES = ReportSettings(figures=False)


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write(results, folder, **provenance):
    return write_results(results, folder=folder, settings=TABLES, provenance=provenance)


def test_one_frame_leaves_tables_maps_and_a_record(tmp_path):
    written = write([make_result((60, 80))], tmp_path / "out", input="a.dm4", settings=AnalysisSettings())
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    tables = ["phases.csv", "profile.csv", "run.json", "spots.csv"]
    assert names == ["identification.jsonl", "maps.ome.tif", "masks.ome.tif", *tables]
    assert written.page is None
    assert written.summary["input"] == "a.dm4"
    assert written.summary["phases"] == "Li2O (> 0.99); LiF (0.90); Li2CO3 (0.80); Li (0.70)"
    run = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert run["status"] == "done"
    assert run["settings"]["spots"]["false_spots"] == 0.05
    assert run["frames"][0]["n_unknown_spots"] == 2


def test_frames_that_failed_are_named_and_the_others_written(tmp_path):
    failure = Failure("b.mrc", 1, "ReadError", "frame 1 of b.mrc is damaged")
    frames = [make_result((60, 80), index=0), failure, make_result((60, 80), index=2)]
    written = write(iter(frames), tmp_path, input="b.mrc")
    assert written.failures == (failure,)
    assert written.summary["status"] == "partly failed"
    assert {row["frame"] for row in rows(tmp_path / "spots.csv")} == {"0", "2"}
    run = json.loads((tmp_path / "run.json").read_text())
    assert [(f["frame"], f["status"]) for f in run["frames"]] == [(0, "done"), (1, "failed"), (2, "done")]


def test_an_input_without_any_good_frame_still_has_tables(tmp_path):
    written = write([Failure("c.tif", None, "ReadError", "c.tif is empty")], tmp_path)
    assert written.summary["status"] == "failed"
    assert rows(tmp_path / "spots.csv") == []


def test_the_record_is_missing_until_all_is_whole(tmp_path):
    write([make_result((60, 80))], tmp_path)
    assert (tmp_path / "run.json").exists()

    def frames():
        assert not (tmp_path / "run.json").exists()
        yield make_result((60, 80))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(frames(), tmp_path)
    assert not (tmp_path / "run.json").exists()
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]


def test_a_page_of_an_earlier_run_does_not_contradict_new_tables(tmp_path):
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "figures").mkdir()
    write([make_result((60, 80))], tmp_path)
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "figures").exists()


def test_what_others_put_among_the_figures_stays(tmp_path):
    figures = tmp_path / "figures"
    figures.mkdir()
    for name in ("overview.png", "overlay_LiF.svg", "thumbnail.jpg", ".partial-0-frame.png", "mine.txt"):
        (figures / name).write_text("old")
    write([make_result((60, 80))], tmp_path)
    assert [p.name for p in figures.iterdir()] == ["mine.txt"]


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    base = make_result((400, 400))
    shape = base.thumbnail.shape
    maps = [dataclasses.replace(m, amplitude=base.thumbnail, mask=np.ones(shape, dtype=bool)) for m in base.maps]
    base = dataclasses.replace(base, maps=tuple(maps))

    def frames(n):
        for i in range(n):
            yield dataclasses.replace(base, index=i, thumbnail=np.full((400, 400), i, dtype=np.float32))

    peaks = []
    for n in (3, 30):
        tracemalloc.start()
        write(frames(n), tmp_path / str(n))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    frame_bytes = 400 * 400 * 4
    assert peaks[1] - peaks[0] < frame_bytes


def test_what_pipelines_add_is_kept_in_a_fixed_order(tmp_path):
    write_run_json(tmp_path / "run.json", {"zebra": 1, "settings": {}, "aim": 2, "fringemap": "1"})
    assert list(json.loads((tmp_path / "run.json").read_text())) == ["fringemap", "settings", "aim", "zebra"]


def test_the_record_holds_plain_values_only():
    scale = Scale((0.37, 0.37), float("nan"), ScaleSource.USER)
    assert to_plain(scale) == {
        "pixel_size_angstrom": [0.37, 0.37],
        "sigma": None,
        "source": "user",
        "shear": 0.0,
        "probability": 1.0,
    }
    assert to_plain({"a": np.float32(1.5), "b": np.arange(2), "c": {3, 1}, "d": True}) == {
        "a": 1.5,
        "b": [0, 1],
        "c": [1, 3],
        "d": True,
    }


def test_two_runs_of_equal_results_leave_equal_tables(tmp_path):
    for folder in ("a", "b"):
        write([make_result((60, 80)), make_empty()], tmp_path / folder, input="x")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "first")

    def fail():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert path.read_text() == "first"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.skipif(not FULL_DISK.exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_in_one_sentence(tmp_path):
    def fill(path):
        with atomic_write(path), FULL_DISK.open("w") as stream:
            stream.write("x" * 100_000)

    with pytest.raises(OutputError, match=r"^.*a\.txt cannot be written: the disk is full; free some space or choose"):
        fill(tmp_path / "a.txt")


def test_a_file_in_the_place_of_the_folder_is_said_in_one_sentence(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="a file is in the place of"):
        write([make_result((60, 80))], tmp_path / "out")
