from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import typer

import fringemap
from drawn_inputs import PIXEL_ANGSTROM, draw_lif, write_lif
from fringemap import cli
from fringemap.batch import InputResult
from fringemap.cli.telling import tell_results
from fringemap.report.tables import Failure
from fringemap.report.words import count_spots
from fringemap.settings import (
    AnalysisSettings,
    MapSettings,
    PhaseSettings,
    ReadSettings,
    flag_of,
    read_settings,
    settings_to_toml,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

QUICK = ("--phases", "LiF", "--match", "tolerance", "--no-figures")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: exit status, output, errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["fringemap", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def test_an_analysis_ends_with_0_and_names_phases_and_overview(run: Run, tmp_path: Path) -> None:
    status, out, err = run("analyze", write_lif(tmp_path / "a.mrc"), "-o", tmp_path / "out", *QUICK)
    assert (status, err) == (0, "")
    assert out.startswith("a.mrc: LiF (4 spots, 0 without a name): ")
    assert str(tmp_path / "out" / "index.html") in out


def test_a_failure_ends_with_1_and_is_named_once_while_the_others_are_done(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.mrc").touch()
    inputs = (tmp_path / "empty.mrc", write_lif(tmp_path / "a.mrc"), tmp_path / "missing.mrc")
    status, out, err = run("analyze", *inputs, "-o", tmp_path / "out", "--workers", 1, *QUICK)
    assert status == 1
    assert "a.mrc: LiF" in out
    assert err.splitlines() == [
        "empty.mrc is empty (0 bytes); copy the file again",
        f"{tmp_path / 'missing.mrc'} does not exist; check the name",
        f"Failed: 2; see {tmp_path / 'out' / 'errors.csv'}",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--pixel-size", 0), "pixel_size_nm = 0.0 nm/px is out of range"),
        (("--pixel-size", "wide"), "--pixel-size"),
        (("--phases", "unobtainium"), "unobtainium"),
        (("--phases", "none.cif"), "none.cif cannot be read"),
        (("--elements", "Xx"), "Xx"),
        (("--elements", "He"), "no phase consists of He"),
        (("--match", "guess"), "guess"),
        (("--workers", 0), "--workers"),
        (("--frobnicate",), "--frobnicate"),
        (("--settings", "none.toml"), "none.toml cannot be read"),
    ],
)
def test_wrong_use_of_an_option_ends_with_2_and_names_it(
    run: Run, tmp_path: Path, arguments: tuple[object, ...], said: str
) -> None:
    status, _, err = run("analyze", write_lif(tmp_path / "a.mrc"), "-o", tmp_path / "out", *arguments)
    assert status == 2
    assert said in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("phases = ", "no valid TOML"),
        ("[phase]\nmatch = 'nearest'", "no section [phase]"),
        ("[phases]\nmatsch = 'nearest'", "no setting matsch"),
        ("[phases]\nmatch = 'guess'", "guess"),
        ("[maps]\nresolution_nm = -3", "resolution_nm = -3.0 nm"),
    ],
)
def test_a_bad_settings_file_ends_with_2_and_says_what_is_wrong(run: Run, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    status, _, err = run("analyze", "a.mrc", "-o", tmp_path / "out", "--settings", tmp_path / "my.toml")
    assert status == 2
    assert said in err


@pytest.mark.parametrize("arguments", [(), ("frobnicate",), ("analyze", "a.mrc"), ("analyze", "-o", "out"), ("info",)])
def test_a_missing_or_unknown_word_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_a_folder_that_cannot_be_made_ends_with_1(run: Run, tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.mrc")
    status, _, err = run("analyze", path, "-o", path / "out", *QUICK)
    assert status == 1
    assert "cannot be made" in err


def test_every_setting_has_an_option_and_the_option_reaches_it(run: Run, tmp_path: Path) -> None:
    arguments: list[object] = []
    wanted: dict[str, dict[str, object]] = {}
    for section in fields(AnalysisSettings):
        kinds = get_type_hints(type(section.default))
        for setting in fields(section.default):
            value = other_value(setting.default, kinds[setting.name])
            flag = flag_of(setting.name)
            arguments += [f"--no-{flag[2:]}" if value is False else flag]
            arguments += [] if isinstance(value, bool) else [",".join(value) if isinstance(value, list) else value]
            wanted.setdefault(section.name, {})[setting.name] = value
    status, _, err = run("settings", "-o", tmp_path / "my.toml", *arguments)
    assert (status, err) == (0, "")
    assert tomllib.loads((tmp_path / "my.toml").read_text(encoding="utf-8")) == wanted


def other_value(default: Any, kind: Any) -> Any:
    """Give a value that is allowed and, where there is another, not the default."""
    if isinstance(default, bool):
        return not default
    if get_origin(kind) is Literal:
        return get_args(kind)[-1]
    if isinstance(default, tuple):
        return ["Li", "F"]
    if default is None:
        return 0.4
    if isinstance(default, str):
        return "0:4"
    return default * 2.5 if isinstance(default, float) else default + 33


def test_settings_written_are_settings_read(run: Run, tmp_path: Path) -> None:
    chosen = AnalysisSettings(
        read=ReadSettings(pixel_size_nm=0.02), phases=PhaseSettings(elements=("Li", "O")), maps=MapSettings(map="otsu")
    )
    (tmp_path / "my.toml").write_text(settings_to_toml(chosen), encoding="utf-8")
    assert read_settings(tmp_path / "my.toml") == chosen
    status, out, _ = run("settings", "--settings", tmp_path / "my.toml")
    assert status == 0
    assert out.strip() == settings_to_toml(chosen).strip()


def test_an_option_overrides_the_settings_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[maps]\nmap = 'otsu'\n[report]\ndpi = 99", encoding="utf-8")
    _, out, _ = run("settings", "--settings", tmp_path / "my.toml", "--map", "amplitude")
    assert 'map = "amplitude"' in out
    assert "dpi = 99 " in out


def test_a_settings_file_rules_an_analysis(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", draw_lif().image)
    text = f"[read]\npixel_size_nm = {PIXEL_ANGSTROM / 10}\n[phases]\nphases = ['LiF']\n[report]\nfigures = false"
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    arguments = ("analyze", tmp_path / "a.npy", "-o", tmp_path / "out", "--settings", tmp_path / "my.toml")
    assert run(*arguments)[0] == 0
    saved = json.loads((tmp_path / "out" / "a" / "run.json").read_text(encoding="utf-8"))["settings"]
    assert saved["read"]["pixel_size_nm"] == PIXEL_ANGSTROM / 10
    assert saved["phases"]["phases"] == ["LiF"]


def test_the_summary_for_programs_is_json_also_of_what_failed(run: Run, tmp_path: Path) -> None:
    inputs = (write_lif(tmp_path / "a.mrc"), tmp_path / "missing.mrc")
    status, out, _ = run("analyze", *inputs, "-o", tmp_path / "out", "--json", *QUICK)
    assert status == 1
    done, failed = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert done["summary"]["n_spots"] == 4
    assert failed["summary"]["status"] == "failed"
    assert failed["failures"][0]["kind"] == "ReadError"


def test_a_run_is_resumed_and_repeated(run: Run, tmp_path: Path) -> None:
    analysis = ("analyze", write_lif(tmp_path / "a.mrc"), "-o", tmp_path / "out")
    assert run(*analysis, *QUICK)[0] == 0
    assert run(*analysis, *QUICK, "--resume")[0] == 0
    status, _, err = run(*analysis, "--resume", "--phases", "Li")
    assert status == 2
    assert "phases.phases: Li, was LiF" in err
    status, out, _ = run("replay", tmp_path / "out" / "a" / "run.json", "-o", tmp_path / "again")
    assert (status, out.startswith("The same")) == (0, True)
    (tmp_path / "out" / "a" / "spots.csv").unlink()
    status, out, _ = run("replay", tmp_path / "out" / "a" / "run.json", "-o", tmp_path / "more", "--json")
    assert (status, json.loads(out)["differences"]) == (1, ["spots.csv: is new"])


def test_a_scheduler_that_is_not_there_ends_with_1(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="needs Dask: install fringemap[dask]")
    arguments = ("-o", tmp_path / "out", "--scheduler", "nonsense://here", *QUICK)
    status, _, err = run("analyze", write_lif(tmp_path / "a.mrc"), *arguments)
    assert status == 1
    assert "no Dask scheduler answers at nonsense://here" in err


def test_info_says_size_pixel_size_and_its_source(run: Run, tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.mrc")
    status, out, _ = run("info", path)
    assert status == 0
    assert "256 x 256" in out
    assert "0.025 x 0.025" in out
    described = json.loads(run("info", path, "--json", "--pixel-size", 0.03)[1])
    assert described["pixel_size_source"] == "user"
    assert described["pixel_size_nm"] == pytest.approx([0.03, 0.03])


def test_info_of_a_missing_file_ends_with_1(run: Run, tmp_path: Path) -> None:
    status, out, err = run("info", tmp_path / "missing.mrc")
    assert (status, out) == (1, "")
    assert "does not exist" in err


def test_phases_are_listed_by_element_and_shown_with_their_lines(run: Run) -> None:
    listed = run("phases", "list", "--elements", "Li,F")[1]
    assert [line.split()[0] for line in listed.splitlines()] == ["name", "Li", "LiF"]
    assert {entry["name"] for entry in json.loads(run("phases", "list", "--elements", "Li,F", "--json")[1])} == {
        "Li",
        "LiF",
    }
    shown = run("phases", "show", "LiF")[1]
    assert "1 1 1    2.3250      8" in shown
    lines = json.loads(run("phases", "show", "LiF", "--json", "--d-min", 2.0)[1])["reflections"]
    assert [line["hkl"] for line in lines] == [[1, 1, 1], [2, 0, 0]]


def test_a_pixel_size_found_from_ratios_is_said(capsys, tmp_path: Path) -> None:
    summary = {"n_frames": 1, "phases": "LiF (0.98)", "n_spots": 1, "n_unknown_spots": 0, "pixel_size_x_nm": 0.08507}
    for source, said in (("ratios", "a.png: 0.0851 nm per pixel fits the ratios and angles"), ("user", "")):
        result = InputResult(tmp_path / "a.png", tmp_path, None, {**summary, "scale_source": source}, ())
        tell_results([result], tmp_path)
        out, err = capsys.readouterr()
        assert err.startswith(said)
        assert bool(err) == bool(said)
        assert out.startswith("a.png: LiF (0.98) (1 spot, 0 without a name): ")


def test_of_frames_that_all_failed_no_finding_is_told(capsys, tmp_path: Path) -> None:
    failure = Failure("a.mrc", 0, "ReadError", "every pixel is 513")
    with pytest.raises(typer.Exit):
        tell_results([InputResult(tmp_path / "a.mrc", tmp_path, None, {"n_frames": 0}, (failure,))], tmp_path)
    out, err = capsys.readouterr()
    assert out == f"Overview: {tmp_path / 'index.html'}\n"
    assert "a.mrc, frame 0: every pixel is 513" in err


@pytest.mark.parametrize(
    ("n_spots", "n_unknown", "said"),
    [(0, 0, "no spots"), (1, 0, "1 spot, 0 without a name"), (30, 6, "30 spots, 6 without a name")],
)
def test_spots_are_counted_in_words(n_spots: int, n_unknown: int, said: str) -> None:
    assert count_spots(n_spots, n_unknown) == said


def test_elements_to_list_phases_by_are_those_of_an_analysis(run: Run) -> None:
    assert run("phases", "list", "--elements", "li,f")[1] == run("phases", "list", "--elements", "Li,F")[1]
    status, out, err = run("phases", "list", "--elements", "Xx")
    assert (status, out) == (2, "")
    assert '"Xx" is no element' in err
    assert run("phases", "list", "--elements", "He") == (0, "", "No phase consists of He alone.\n")


def test_an_unknown_phase_to_show_ends_with_2(run: Run) -> None:
    status, _, err = run("phases", "show", "unobtainium")
    assert status == 2
    assert "fringemap phases list" in err


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version")[:2] == (0, f"fringemap {fringemap.__version__}\n")


@pytest.mark.parametrize(
    ("frames", "said"),
    [([3], ", frame 3"), ([3, 5], ", frames 3, 5"), (list(range(2, 102)), ", 100 frames from 2 to 101")],
)
def test_frames_that_fail_alike_are_named_in_one_line(frames: list[int], said: str, capsys, tmp_path: Path) -> None:
    failures = tuple(Failure("stack.mrc", n, "ReadError", "is torn") for n in frames)
    result = InputResult(tmp_path / "stack.mrc", None, None, {}, failures)
    with pytest.raises(typer.Exit):
        tell_results([result], tmp_path)
    assert f"stack.mrc{said}: is torn" in capsys.readouterr().err.splitlines()
