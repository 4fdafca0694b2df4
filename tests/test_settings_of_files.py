"""Settings of single inputs: the tables [files."PATTERN"] of a settings file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from drawn_inputs import QUICK, write_lif
from fringemap.batch import analyze_inputs, watch_folder
from fringemap.batch.replay import compare_results, replay_run
from fringemap.cli import main
from fringemap.cli.options import with_settings
from fringemap.errors import SettingsError
from fringemap.settings import (
    AnalysisSettings,
    FileSettings,
    read_file_settings,
    read_settings,
    settings_of_input,
    settings_to_toml,
    without_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TOML = """
[read]
pixel_size_nm = 0.05

[files."*.mrc".read]
pixel_size_nm = 0.04
frame_time_s = 2.0

[files."day1/b*.mrc"]
read.pixel_size_nm = 0.03
phases.phases = ["Li", "LiF"]
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "pixel_size", "frame_time", "phases"),
    [
        ("day1/a.tif", 0.05, None, ()),
        ("day1/a.mrc", 0.04, 2.0, ()),
        ("day1/b7.mrc", 0.03, 2.0, ("Li", "LiF")),
        ("day2/b7.mrc", 0.04, 2.0, ()),
        ("x/day1/b7.mrc", 0.03, 2.0, ("Li", "LiF")),
    ],
)
def test_tables_match_the_end_of_a_path_and_later_ones_win(
    toml: Path, name: str, pixel_size: float, frame_time: float | None, phases: tuple[str, ...]
) -> None:
    mine = settings_of_input(Path(name), read_settings(toml), read_file_settings(toml))
    assert (mine.read.pixel_size_nm, mine.read.frame_time_s, mine.phases.phases) == (pixel_size, frame_time, phases)


def test_a_relative_path_is_matched_as_a_whole_one(toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "day1").mkdir()
    monkeypatch.chdir(tmp_path / "day1")
    mine = settings_of_input(Path("b.mrc"), AnalysisSettings(), read_file_settings(toml))
    assert mine.read.pixel_size_nm == 0.03


def test_they_come_back_from_the_file_that_a_run_saves(toml: Path, tmp_path: Path) -> None:
    settings, files = read_settings(toml), read_file_settings(toml)
    (tmp_path / "saved.toml").write_text(settings_to_toml(settings, files), encoding="utf-8")
    assert read_settings(tmp_path / "saved.toml") == settings
    assert read_file_settings(tmp_path / "saved.toml") == files


def test_without_tables_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[read]\npixel_size_nm = 0.05\n", encoding="utf-8")
    assert read_file_settings(tmp_path / "my.toml") == ()
    settings = read_settings(tmp_path / "my.toml")
    assert settings_of_input(tmp_path / "a.mrc", settings, ()) is settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'files = "all"',
            '[files] holds tables of sections, one for each pattern of names; write [files."*.dm4".read]',
        ),
        ("[files]\npixel_size_nm = 0.1", "[files] holds tables of sections"),
        ('[files."a.mrc"]\npixel_size_nm = 0.1', '[files."a.mrc"]: there is no section [pixel_size_nm]'),
        ('[files."a.mrc".read]\npixel = 0.1', '[files."a.mrc"], section [read]: there is no setting pixel;'),
        ('[files."a.mrc".read]\npixel_size_nm = -1', "pixel_size_nm = -1.0 nm/px is out of range"),
        ('[files."a.mrc".read]\npixel_size_nm = "wide"', "pixel_size_nm = 'wide'"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_file_settings(tmp_path / "my.toml")
    assert said in str(caught.value)


def settings_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))["settings"]
    return found


FILES = (FileSettings("b.mrc", {"read": {"pixel_size_nm": 0.02}, "phases": {"phases": ["Li"]}}),)


def test_each_input_is_analysed_and_recorded_with_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_lif(tmp_path / f"{name}.mrc")
    one, two = tmp_path / "one", tmp_path / "two"
    results = analyze_inputs([tmp_path / "*.mrc"], one, settings=QUICK, files=FILES, workers=1)
    assert [result.summary["phases"] for result in results] == ["LiF", "Li"]
    assert [result.summary["pixel_size_x_nm"] for result in results] == pytest.approx([0.025, 0.02])
    assert settings_in(one / "a")["phases"]["phases"] == ["LiF"]
    assert settings_in(one / "b")["phases"]["phases"] == ["Li"]
    assert read_file_settings(one / "settings.toml") == FILES
    # A record holds all that its own input needs.
    assert replay_run(one / "b" / "run.json", two).differences == ()


def test_a_run_is_resumed_with_the_same_ones_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_lif(tmp_path / f"{name}.mrc")
    out = tmp_path / "out"
    analyze_inputs([tmp_path / "*.mrc"], out, settings=QUICK, files=FILES, workers=1)
    before = (out / "b" / "run.json").stat().st_mtime_ns
    analyze_inputs([tmp_path / "*.mrc"], out, settings=QUICK, files=FILES, workers=1, resume=True)
    assert (out / "b" / "run.json").stat().st_mtime_ns == before
    with pytest.raises(SettingsError, match=r"b holds results made in another way \(phases.phases: LiF, was Li"):
        analyze_inputs([tmp_path / "*.mrc"], out, settings=QUICK, workers=1, resume=True)


@pytest.mark.parametrize("names", [("a", "b"), ("f0", "f1", "f2")])
def test_a_watched_folder_ends_like_an_ordinary_run(tmp_path: Path, names: tuple[str, ...]) -> None:
    folder = tmp_path / "frames"
    files = (
        *FILES,
        FileSettings("f1.mrc", {"phases": {"phases": ["Li"]}}),
        FileSettings("frames", {"read": {"frame_time_s": 3.0}}),
    )
    looks: list[Callable[[], Any]] = []
    for seed, name in enumerate(names):
        looks += [lambda seed=seed, name=name: write_lif(folder / f"{name}.mrc", seed), lambda: None, lambda: None]

    def stop() -> bool:
        if looks:
            looks.pop(0)()
            return False
        return True

    folder.mkdir()
    watched, ordinary = tmp_path / "watched", tmp_path / "ordinary"
    watch_folder(folder, watched, settings=QUICK, files=files, poll_s=0.001, workers=1, stop=stop)
    results = analyze_inputs([folder], ordinary, settings=QUICK, files=files, workers=1)
    for result in results:
        assert result.folder is not None
        assert compare_results(watched / result.folder.name, result.folder) == []


def test_an_option_overrides_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lif(tmp_path / "b.mrc")
    (tmp_path / "my.toml").write_text(settings_to_toml(QUICK, FILES), encoding="utf-8")
    words = ["analyze", tmp_path / "b.mrc", "-o", tmp_path / "out", "--settings", tmp_path / "my.toml"]
    monkeypatch.setattr("sys.argv", ["fringemap", *map(str, words), "--pixel-size", "0.03"])
    with pytest.raises(SystemExit):
        main()
    assert settings_in(tmp_path / "out" / "b")["read"]["pixel_size_nm"] == 0.03
    assert settings_in(tmp_path / "out" / "b")["phases"]["phases"] == ["Li"]
    assert without_settings(FILES, ["phases"])[0].sections == {"read": {"pixel_size_nm": 0.02}, "phases": {}}


def test_a_command_that_does_not_take_them_refuses_the_file(toml: Path) -> None:
    def command(settings: AnalysisSettings) -> None:
        pytest.fail(f"called with {settings}")

    call: Any = with_settings(command)
    with pytest.raises(SettingsError, match=r"settings of single inputs \(\[files\]\)"):
        call(settings=toml, **dict.fromkeys(set(call.__annotations__) - {"settings"}))
