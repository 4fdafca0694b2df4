from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawn_inputs import PIXEL_ANGSTROM, QUICK, draw_lif, write_lif
from fringemap import batch
from fringemap.batch import analyze, analyze_inputs, work
from fringemap.errors import CalibrationError, OutputError, ReadError, SettingsError, StructureError
from fringemap.io import read, write_mrc
from fringemap.phases import batch_q
from fringemap.records import Flag, FrameResult, ScaleSource
from fringemap.report import page
from fringemap.report.tables import ERROR_COLUMNS, SUMMARY_COLUMNS
from fringemap.settings import PhaseSettings, ReadSettings, ReportSettings, SeriesSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def damaged_copy(folder: Path) -> Path:
    whole = write_lif(folder / "whole" / "d.mrc")
    damaged = folder / "damaged.mrc"
    damaged.write_bytes(whole.read_bytes()[:5000])
    return damaged


def phases_of(result: FrameResult) -> list[str]:
    return [evidence.phase for evidence in result.match.phases]


def test_each_input_gets_a_folder_of_its_stem_and_all_share_an_overview(tmp_path: Path) -> None:
    inputs = [write_lif(tmp_path / name) for name in ("a.mrc", "b.mrc")]
    results = analyze_inputs(inputs, tmp_path / "out", settings=QUICK, workers=1)
    assert [r.folder for r in results] == [tmp_path / "out" / "a", tmp_path / "out" / "b"]
    for name in ("a/spots.csv", "b/phases.csv", "b/run.json", "summary.csv", "errors.csv", "index.html"):
        assert (tmp_path / "out" / name).is_file(), name
    summary = rows(tmp_path / "out" / "summary.csv")
    assert tuple(summary[0]) == SUMMARY_COLUMNS
    assert [(line["input"], line["status"], line["phases"]) for line in summary] == [
        ("a.mrc", "done", "LiF"),
        ("b.mrc", "done", "LiF"),
    ]
    assert rows(tmp_path / "out" / "errors.csv") == []


def test_the_overview_judges_the_names_of_all_inputs_together_also_when_resumed(tmp_path: Path) -> None:
    inputs = [write_lif(tmp_path / name, seed) for seed, name in enumerate(("a.mrc", "b.mrc"))]
    settings = replace(QUICK, phases=replace(QUICK.phases, match="posterior", false_names=1.0))
    results = analyze_inputs(inputs, tmp_path / "out", settings=settings, workers=1)
    written = [line["q_batch"] for line in rows(tmp_path / "out" / "summary.csv")]
    expected = batch_q([result.probabilities for result in results])
    assert all(result.probabilities for result in results)
    assert [float(q) for q in written] == pytest.approx(expected, rel=1e-6)
    analyze_inputs(inputs, tmp_path / "out", settings=settings, workers=1, resume=True)
    assert [line["q_batch"] for line in rows(tmp_path / "out" / "summary.csv")] == written


def test_two_processes_write_the_same_tables_as_one(tmp_path: Path) -> None:
    inputs = [write_lif(tmp_path / f"{seed}.mrc", seed) for seed in (1, 2)] + [damaged_copy(tmp_path)]
    told: list[tuple[str, int, int]] = []
    analyze_inputs(inputs, tmp_path / "one", settings=QUICK, workers=1)
    analyze_inputs(inputs, tmp_path / "two", settings=QUICK, workers=2, progress=lambda *said: told.append(said))
    for name in ("1/spots.csv", "2/spots.csv", "1/phases.csv", "2/phases.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "errors.csv").read_bytes() == (tmp_path / "two" / "errors.csv").read_bytes()
    assert told == [("inputs", 1, 3), ("inputs", 2, 3), ("inputs", 3, 3)]


def test_inputs_of_one_stem_get_different_folders(tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "a.mrc", tmp_path / "y" / "a.mrc", tmp_path / "y" / "a.mrcs", tmp_path / "y" / "b.mrc"]
    for path in paths:
        write_lif(path)
    results = analyze_inputs(paths, tmp_path / "out", settings=QUICK, workers=1)
    folders = [r.folder.name for r in results if r.folder]
    assert folders == ["a.mrc", "a.mrc-2", "a.mrcs", "b"]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_others_filled_is_refused_and_stays_as_it_was(tmp_path: Path, resume: bool) -> None:
    inputs = [write_lif(tmp_path / "day0.mrc"), write_lif(tmp_path / "day1.mrc")]
    (tmp_path / "day1" / "figures").mkdir(parents=True)
    for name in ("figures/mine.txt", "spots.csv"):
        (tmp_path / "day1" / name).write_text("mine")
    before = content(tmp_path)
    with pytest.raises(OutputError, match=r"day1 holds files that fringemap did not make; choose another folder"):
        analyze_inputs(inputs, tmp_path, settings=QUICK, workers=1, resume=resume)
    with pytest.raises(OutputError, match="holds files that fringemap did not make"):
        batch.analyze_input(inputs[1], tmp_path / "day1", QUICK)
    assert content(tmp_path) == before


def test_results_are_never_put_among_the_frames_of_a_series(tmp_path: Path) -> None:
    for number in range(3):
        write_lif(tmp_path / "day1" / f"f{number}.mrc", number)
    before = content(tmp_path)
    with pytest.raises(OutputError, match=r"results would lie in .*day1, among its frames; choose another folder"):
        analyze_inputs([tmp_path / "day1"], tmp_path, settings=QUICK, workers=1)
    assert content(tmp_path) == before


@pytest.mark.parametrize("out", [".", "results", ".fringemap/out"])
def test_a_folder_beside_the_frames_may_hold_results(tmp_path: Path, out: str) -> None:
    for number in range(3):
        write_lif(tmp_path / f"f{number}.mrc", number)
    for _ in range(2):
        (result,) = analyze_inputs([tmp_path], tmp_path / out, settings=QUICK, workers=1)
        assert result.summary["n_frames"] == 3


@pytest.mark.parametrize("name", ["run.json", ".frames/000000.npz", "identification.jsonl", ".partial-1-spots.csv"])
def test_what_an_earlier_run_left_at_any_time_may_be_replaced(tmp_path: Path, name: str) -> None:
    path = write_lif(tmp_path / "a.mrc")
    left = tmp_path / "out" / "a" / name
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    (tmp_path / "out" / "b").mkdir()
    (result,) = analyze_inputs([path], tmp_path / "out", settings=QUICK, workers=1)
    assert result.summary["status"] == "done"


def test_an_input_named_twice_is_analysed_once(tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.mrc")
    assert len(analyze_inputs([path, tmp_path / "*.mrc"], tmp_path / "out", settings=QUICK, workers=1)) == 1


def test_a_damaged_file_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    good = [write_lif(tmp_path / name) for name in ("a.mrc", "c.mrc")]
    damaged = damaged_copy(tmp_path)
    inputs = [good[0], damaged, good[1], tmp_path / "missing.mrc"]
    results = analyze_inputs(inputs, tmp_path / "out", settings=QUICK, workers=1)
    assert [r.path for r in results] == inputs
    assert [bool(r.failures) for r in results] == [False, True, False, True]
    errors = rows(tmp_path / "out" / "errors.csv")
    assert tuple(errors[0]) == ERROR_COLUMNS
    assert [(line["input"], line["kind"]) for line in errors] == [
        (str(damaged), "ReadError"),
        (str(tmp_path / "missing.mrc"), "ReadError"),
    ]
    statuses = [(line["input"], line["status"]) for line in rows(tmp_path / "out" / "summary.csv")]
    assert statuses == [("a.mrc", "done"), ("damaged.mrc", "failed"), ("c.mrc", "done"), ("missing.mrc", "failed")]
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "missing.mrc does not exist" in page


def test_a_name_that_the_system_refuses_is_named_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["~one.mrc", str(write_lif(tmp_path / "a.mrc")), 300 * "x" + ".mrc", "~b.mrc"]
    write_lif(tmp_path / "~b.mrc")
    analyze_inputs(names, tmp_path / "out", settings=QUICK, workers=1)
    statuses = {line["input"]: line["status"] for line in rows(tmp_path / "out" / "summary.csv")}
    assert statuses == {"a.mrc": "done", "~b.mrc": "done", "~one.mrc": "failed", names[2]: "failed"}


def test_a_bad_frame_of_a_series_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    image = draw_lif().image
    frames = [image, np.full_like(image, 7.0), image]
    path = write_mrc(tmp_path / "s.mrc", frames, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
    told: list[tuple[str, int, int]] = []
    (result,) = analyze_inputs(
        [path], tmp_path / "out", settings=QUICK, workers=1, progress=lambda *said: told.append(said)
    )
    assert [failure.frame for failure in result.failures] == [1]
    assert result.summary["status"] == "partly failed"
    assert {line["frame"] for line in rows(tmp_path / "out" / "s" / "spots.csv")} == {"0", "2"}
    assert told == [("s", done, 3) for done in range(4)]


def test_an_input_that_fails_now_has_no_link_to_an_earlier_page(tmp_path: Path) -> None:
    drawn = replace(QUICK, report=ReportSettings(), series=SeriesSettings(video=False))
    first, *_ = [write_lif(tmp_path / "day1" / f"f{number}.mrc", number) for number in range(3)]
    analyze_inputs([tmp_path / "day1"], tmp_path / "out", settings=drawn, workers=1)
    index = tmp_path / "out" / "index.html"
    assert "day1/report.html" in index.read_text(encoding="utf-8")
    first.write_bytes(b"")
    analyze_inputs([tmp_path / "day1"], tmp_path / "out", settings=drawn, workers=1)
    text = index.read_text(encoding="utf-8")
    assert "f0.mrc is empty" in text
    assert "report.html" not in text
    assert "thumbnail.jpg" not in text


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("chosen", "bad", "named"),
    [
        ({"frames": "2:"}, (4,), 4),
        ({"frames": "4"}, (4,), 4),
        ({"bin_frames": 2}, (4, 5), 4),
        ({"frames": "1::2", "bin_frames": 2}, (1, 3), 1),
    ],
)
def test_a_bad_frame_has_the_number_that_tables_give_it(
    tmp_path: Path, chosen: dict[str, Any], bad: tuple[int, ...], named: int, workers: int
) -> None:
    image = draw_lif().image
    frames = [np.full_like(image, 7.0) if k in bad else image for k in range(6)]
    path = write_mrc(tmp_path / "six.mrc", frames, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
    settings = replace(QUICK, read=ReadSettings(**chosen))
    (result,) = analyze_inputs([path], tmp_path / "out", settings=settings, workers=workers)
    assert [failure.frame for failure in result.failures] == [named]
    assert [line["frame"] for line in rows(tmp_path / "out" / "errors.csv")] == [str(named)]
    place = tmp_path / "out" / "six"
    recorded = json.loads((place / "run.json").read_text(encoding="utf-8"))["frames"]
    assert [frame["frame"] for frame in recorded if frame["status"] == "failed"] == [named]
    done = {str(frame["frame"]) for frame in recorded if frame["status"] == "done"}
    assert {line["frame"] for line in rows(place / "spots.csv")} == done


@pytest.mark.parametrize(
    ("frames", "figures", "kept", "pictures"),
    [(1, False, False, "none"), (2, False, False, "frame"), (2, False, True, "all"), (2, True, False, "all")],
)
def test_a_run_makes_the_pictures_that_somebody_will_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, figures: bool, kept: bool, pictures: str
) -> None:
    images = [draw_lif(seed).image for seed in range(frames)]
    path = write_mrc(tmp_path / "a.mrc", images, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
    asked: list[str] = []

    def ask(*_: object, pictures: str, **__: object) -> None:
        asked.append(pictures)
        raise ReadError("asked, and no more")

    monkeypatch.setattr(work, "analyze_frame", ask)
    settings = replace(QUICK, report=ReportSettings(figures=figures))
    analyze_inputs([path], tmp_path / "out", settings=settings, workers=1, keep_frames=kept)
    assert asked == [pictures] * frames


def test_without_a_video_only_frames_that_figures_may_show_have_a_diffractogram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = np.random.default_rng(3).normal(500.0, 20.0, (256, 256)).astype(np.float32)
    images = [empty, draw_lif(1).image, empty[::-1], draw_lif(2).image]
    path = write_mrc(tmp_path / "a.mrc", images, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
    whole, sizes, shown = work.analyze_frame, [], []

    def analyze_frame(*given: object, **options: object) -> FrameResult:
        result = whole(*given, **options)
        sizes.append(result.shown_spectrum.size > 0)
        return result

    def page_styles(telling: FrameResult, *_: object) -> None:
        shown.append((telling.index, telling.shown_spectrum.size > 0))
        raise ReadError("seen, and no more")

    monkeypatch.setattr(work, "analyze_frame", analyze_frame)
    monkeypatch.setattr(page, "page_styles", page_styles)
    settings = replace(QUICK, report=ReportSettings(), series=SeriesSettings(video=False))
    # Twice: what was known of the results that the second run replaces does not count.
    for _ in range(2):
        analyze_inputs([path], tmp_path / "out", settings=settings, workers=1)
    assert sizes == [True, True, False, False] * 2
    assert shown == [(1, True)] * 2


def test_a_fault_of_our_own_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(work, "analyze_frame", fail)
    (result,) = analyze_inputs([write_lif(tmp_path / "a.mrc")], tmp_path / "out", settings=QUICK)
    assert result.summary["status"] == "failed"
    assert "ZeroDivisionError in test_batch.py, line" in result.failures[0].message
    assert "by nought" in rows(tmp_path / "out" / "errors.csv")[0]["message"]


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_analysed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lif(tmp_path / "a.mrc")
    monkeypatch.setattr(work, "analyze_frame", lambda *_, **__: pytest.fail("analysed in vain"))
    with pytest.raises(OutputError, match="choose another folder"):
        analyze_inputs([path], path / "out", settings=QUICK)


def test_an_unknown_phase_is_told_before_anything_is_written(tmp_path: Path) -> None:
    settings = replace(QUICK, phases=PhaseSettings(phases=("unobtainium",)))
    with pytest.raises(StructureError, match="unobtainium"):
        analyze_inputs([write_lif(tmp_path / "a.mrc")], tmp_path / "out", settings=settings)
    assert not (tmp_path / "out").exists()


def test_a_file_without_a_pixel_size_fails_and_says_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, draw_lif().image)
    (result,) = analyze_inputs([path], tmp_path / "out", settings=QUICK)
    assert "give it with --pixel-size" in result.failures[0].message
    given = replace(QUICK, read=ReadSettings(pixel_size_nm=PIXEL_ANGSTROM / 10))
    (result,) = analyze_inputs([path], tmp_path / "out", settings=given)
    assert result.summary["phases"] == "LiF"


def test_the_record_of_a_run_holds_its_settings_and_the_fingerprint_of_its_input(tmp_path: Path) -> None:
    analyze_inputs([write_lif(tmp_path / "a.mrc")], tmp_path / "out", settings=QUICK)
    run = json.loads((tmp_path / "out" / "a" / "run.json").read_text(encoding="utf-8"))
    assert run["settings"]["phases"]["phases"] == ["LiF"]
    assert len(run["inputs"][0]["sha256"]) == 64


def test_a_watcher_sees_each_result(tmp_path: Path) -> None:
    seen: list[FrameResult] = []
    path = write_lif(tmp_path / "a.mrc")
    batch.analyze_input(path, tmp_path / "out", QUICK, watch=seen.append)
    assert [result.name for result in seen] == ["a"]


def test_a_path_and_a_frame_give_the_same_analysis(tmp_path: Path) -> None:
    frame = draw_lif()
    path = tmp_path / "a.npy"
    np.save(path, frame.image)
    from_path = analyze(path, pixel_size_nm=PIXEL_ANGSTROM / 10, settings=QUICK)
    from_frame = analyze(replace(frame, scale=None), pixel_size_nm=PIXEL_ANGSTROM / 10, settings=QUICK)
    assert phases_of(from_path) == phases_of(from_frame) == ["LiF"]
    assert from_path.scale == from_frame.scale
    assert from_path.scale.source is ScaleSource.USER
    np.testing.assert_array_equal(from_path.spots.gx, from_frame.spots.gx)


def test_a_frame_that_is_given_its_pixel_size_is_calibrated(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, draw_lif().image)
    with read(path) as series:
        frame = series[0]
    assert frame.flags & Flag.UNCALIBRATED
    noted = replace(frame, flags=frame.flags | Flag.HOT_PIXELS)
    result = analyze(noted, pixel_size_nm=PIXEL_ANGSTROM / 10, settings=QUICK)
    assert result.flags & (Flag.UNCALIBRATED | Flag.HOT_PIXELS) == Flag.HOT_PIXELS


def test_analyze_hands_on_what_the_reader_has_to_say(tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.mrc")
    given = replace(QUICK, read=ReadSettings(pixel_size_nm=1.3 * PIXEL_ANGSTROM / 10))
    with read(path, settings=given.read) as series:
        (said,) = series.warnings
    assert said in analyze(path, settings=given).warnings


def test_phases_given_to_analyze_replace_those_of_the_settings() -> None:
    other = replace(QUICK, phases=PhaseSettings(phases=("Au",), match="tolerance"))
    assert phases_of(analyze(draw_lif(), phases=["LiF"], settings=other)) == ["LiF"]


def test_one_phase_may_be_given_to_analyze_by_its_name_alone() -> None:
    assert phases_of(analyze(draw_lif(), phases="LiF", settings=QUICK)) == ["LiF"]
    with pytest.raises(SettingsError, match=r"phases = 'LiF' is no list; write \('LiF',\)"):
        PhaseSettings(phases="LiF")  # type: ignore[arg-type]


def test_analyze_refuses_what_has_no_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, draw_lif().image)
    with pytest.raises(CalibrationError, match="--pixel-size"):
        analyze(path, settings=QUICK)


def test_real_micrographs_of_one_folder_are_all_read(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shared_data("hrtem")
    given = replace(QUICK, read=ReadSettings(pixel_size_nm=0.06))
    results = analyze_inputs([folder / "*.tif"], tmp_path / "out", settings=given, workers=1)
    assert len(results) == len(list(folder.glob("*.tif")))
    assert not any(r.failures for r in results)
