from __future__ import annotations

import csv
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fringemap.errors import OutputError
from fringemap.records import Candidate, Flag, Match, SpotMatch
from fringemap.report.tables import (
    ERROR_COLUMNS,
    SUMMARY_COLUMNS,
    Failure,
    format_cell,
    phase_rows,
    profile_lines,
    spaced_indices,
    write_errors_csv,
    write_phases_csv,
    write_profile_csv,
    write_spots_csv,
    write_summary_csv,
)
from report.made_results import PLANES, make_empty, make_match, make_result

CONTRACT = {
    "spots": "frame, time_s, spot, gx_per_nm, gy_per_nm, g_per_nm, d_angstrom, d_sigma_angstrom, angle_deg, amplitude,"
    " snr, width_per_nm, score, phase, hkl, d_reference_angstrom, deviation_percent, match_percent, probability,"
    " rivals, flags",
    "phases": "frame, time_s, phase, probability, q_value, zone_axis, zone_probability, rival_zones, n_spots,"
    " d_mean_angstrom, match_percent, intensity, intensity_sigma, area_fraction, area_sigma, scale,"
    " scale_sigma_percent, flags",
    "profile": "frame, g_per_nm, d_angstrom, intensity, background",
}
WRITERS = {"spots": write_spots_csv, "phases": write_phases_csv, "profile": write_profile_csv}


def read(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write(writer, path, *results):
    with writer(path) as append:
        for result in results:
            append(result)
    return read(path)


@pytest.mark.parametrize("table", CONTRACT)
def test_an_empty_result_keeps_exactly_the_promised_columns(table, tmp_path):
    path = tmp_path / f"{table}.csv"
    rows = write(
        WRITERS[table],
        path,
        make_empty(
            profile=dataclasses.replace(
                make_empty().profile, g=np.zeros(0), intensity=np.zeros(0), background=np.zeros(0)
            )
        ),
    )
    assert rows == []
    assert path.read_text().strip() == CONTRACT[table].replace(", ", ",")


@pytest.mark.parametrize("table", CONTRACT)
def test_no_frame_at_all_still_gives_a_table_with_columns(table, tmp_path):
    assert write(WRITERS[table], tmp_path / "t.csv") == []
    assert (tmp_path / "t.csv").exists()


def test_spots_are_written_in_the_units_of_users(tmp_path):
    result = make_result((32, 40), index=7, time_s=17.22)
    row = write(write_spots_csv, tmp_path / "spots.csv", result)[1]
    d, angle = PLANES[1][2], math.radians(PLANES[1][3])
    assert row["frame"] == "7"
    assert row["time_s"] == "17.22"
    assert row["spot"] == "1"
    assert float(row["g_per_nm"]) == pytest.approx(10 / d, rel=1e-8)
    assert float(row["gx_per_nm"]) == pytest.approx(10 / d * math.cos(angle), rel=1e-8)
    assert float(row["gy_per_nm"]) == pytest.approx(10 / d * math.sin(angle), rel=1e-8)
    assert float(row["d_angstrom"]) == pytest.approx(d, rel=1e-8)
    assert float(row["angle_deg"]) == pytest.approx(-50.5, rel=1e-8)
    assert float(row["width_per_nm"]) == pytest.approx(0.1)
    assert row["hkl"] == "(1 -1 1)"
    assert float(row["match_percent"]) == pytest.approx(99.9)


def test_rivals_flags_and_unknown_spots_are_in_words(tmp_path):
    rows = write(write_spots_csv, tmp_path / "spots.csv", make_result((32, 40)))
    assert rows[6]["rivals"] == "Li2CO3 (020) -0.2 %; Cu2O (111) +0.7 %"
    assert rows[6]["flags"] == "ambiguous"
    unknown = rows[8]
    assert unknown["phase"] == "unknown"
    assert {unknown[c] for c in ("hkl", "d_reference_angstrom", "deviation_percent", "match_percent", "time_s")} == {""}
    assert unknown["flags"] == "few_periods;on_ring"


def test_phases_hold_area_and_evidence_and_the_calibration_where_no_scale_was_fitted(tmp_path):
    result = make_result((32, 40))
    rows = write(write_phases_csv, tmp_path / "phases.csv", result)
    assert [row["phase"] for row in rows] == ["Li2O", "LiF", "Li2CO3", "Li", "unknown"]
    assert rows[0]["zone_axis"] == "[1 0 -1]"
    assert (rows[0]["zone_probability"], rows[0]["rival_zones"]) == ("0.7", "[0 0 1]; [1 1 2]")
    assert rows[0]["n_spots"] == "3"
    assert float(rows[0]["area_fraction"]) == pytest.approx(result.maps[0].area_fraction, rel=1e-8)
    assert float(rows[0]["scale_sigma_percent"]) == pytest.approx(2.5)
    assert rows[3]["flags"] == "ambiguous;single_spot"
    assert rows[4]["probability"] == ""


def test_a_phase_with_its_own_scale_states_its_own_error():
    result = make_result((32, 40))
    evidence = dataclasses.replace(result.match.phases[0], scale=1.012, scale_sigma=0.003)
    result = dataclasses.replace(result, match=Match(result.match.spots, (evidence,)), maps=())
    (row,) = phase_rows(result)
    assert row[15:17] == (1.012, pytest.approx(0.3))
    assert row[11:15] == (None, None, None, None)


def test_frames_follow_each_other_in_the_order_of_the_series(tmp_path):
    frames = [make_result((32, 40), index=i, time_s=2.46 * i) for i in (3, 4, 9)]
    rows = write(write_phases_csv, tmp_path / "phases.csv", *frames)
    assert [row["frame"] for row in rows] == ["3"] * 5 + ["4"] * 5 + ["9"] * 5


def test_a_profile_has_no_d_at_zero_frequency(tmp_path):
    rows = write(write_profile_csv, tmp_path / "profile.csv", make_result((32, 40)))
    assert rows[0]["d_angstrom"] == ""
    assert float(rows[5]["g_per_nm"]) * float(rows[5]["d_angstrom"]) == pytest.approx(10.0, rel=1e-7)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.5e-300, 123456789012.0, 0.1])
def test_the_lines_of_a_profile_are_what_its_cells_would_be_one_by_one(odd):
    result = make_result((32, 40), index=7)
    profile = dataclasses.replace(result.profile, intensity=np.where(result.profile.g > 3.0, odd, 0.25))
    expected = [
        ["7", *(format_cell(float(x)) for x in (10.0 * g, 1.0 / g if g else math.nan, intensity, background))]
        for g, intensity, background in zip(profile.g, profile.intensity, profile.background, strict=True)
    ]
    lines = profile_lines(dataclasses.replace(result, profile=profile)).splitlines()
    assert [line.split(",") for line in lines] == expected


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_float32_survives_the_way_through_a_cell(value):
    assert np.float32(format_cell(value)) == np.float32(value)


@pytest.mark.parametrize("missing", [None, math.nan, np.float32("nan"), np.float64("nan")])
def test_what_is_missing_is_an_empty_cell(missing):
    assert format_cell(missing) == ""


NASTY = [
    "a,b",
    'say "hi"',
    "=cmd|'/c calc'!A0",
    "+1",
    "-Li",
    "@SUM(1)",
    "two\nlines",
    "tab\tname",
    "\r=1",
    " =2",
    "α-Fe",
    "",
]


@pytest.mark.parametrize("name", NASTY)
def test_no_name_breaks_a_table_or_runs_in_a_spreadsheet(name, tmp_path):
    match = make_match(PLANES[:1])
    spot = SpotMatch(Candidate(name, (1, 1, 1), 2.0, 0.1, 0.1), (Candidate(name, (0, 2, 0), 2.0, 0.2, 0.1),))
    match = Match((spot,), (dataclasses.replace(match.phases[0], phase=name),))
    result = make_result((32, 40), planes=PLANES[:1], match=match)
    (row,) = write(write_spots_csv, tmp_path / "spots.csv", result)
    (phase,) = write(write_phases_csv, tmp_path / "phases.csv", result)
    assert row["hkl"] == "(1 1 1)"
    assert phase["n_spots"] == "1"
    for cell in (row["phase"], row["rivals"], phase["phase"]):
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
        assert "\n" not in cell
    assert row["phase"].lstrip("'").split() == name.split()


@given(st.text())
def test_any_text_stays_one_cell_of_one_line(text):
    cell = format_cell(text)
    assert len(cell.splitlines()) <= 1
    assert not cell.startswith(("=", "+", "-", "@"))


def test_indices_stay_text_in_a_spreadsheet():
    assert spaced_indices((10, 0, -2)) == "(10 0 -2)"
    assert spaced_indices((0, 0, 0)) == ""
    assert spaced_indices(None) == ""


def test_a_table_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "spots.csv"
    with write_spots_csv(path) as append:
        append(make_result((32, 40)))
        assert not path.exists()
    assert path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["spots.csv"]


def test_an_error_between_frames_passes_as_it_is_and_leaves_the_old_table(tmp_path):
    path = tmp_path / "spots.csv"
    path.write_text("old")

    def fail_at_the_second_frame():
        with write_spots_csv(path) as append:
            append(make_result((32, 40)))
            raise FileNotFoundError("the next frame")

    with pytest.raises(FileNotFoundError):
        fail_at_the_second_frame()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["spots.csv"]


def test_a_table_that_cannot_be_written_says_so_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"spots\.csv cannot be written: .*choose another folder$"):
        write_spots_csv(tmp_path / "file" / "spots.csv").__enter__()


def test_summary_and_errors_keep_their_columns(tmp_path):
    write_summary_csv(tmp_path / "s.csv", [{"input": "a.dm4", "n_spots": 3, "seconds": math.nan}])
    write_errors_csv(tmp_path / "e.csv", [Failure("b.mrc", None, "ReadError", "b.mrc is cut short, say the bytes")])
    (summary,), (error,) = read(tmp_path / "s.csv"), read(tmp_path / "e.csv")
    assert tuple(summary) == SUMMARY_COLUMNS
    assert (summary["input"], summary["n_spots"], summary["seconds"]) == ("a.dm4", "3", "")
    assert tuple(error) == ERROR_COLUMNS
    assert (error["frame"], error["message"]) == ("", "b.mrc is cut short, say the bytes")


def test_flags_of_spot_and_match_are_joined(tmp_path):
    result = make_result((32, 40), planes=PLANES[:1])
    spots = dataclasses.replace(result.spots, flags=np.array([int(Flag.MERGED)]))
    match = Match((dataclasses.replace(result.match.spots[0], flags=Flag.AMBIGUOUS),), ())
    (row,) = write(write_spots_csv, tmp_path / "s.csv", dataclasses.replace(result, spots=spots, match=match))
    assert row["flags"] == "merged;ambiguous"
