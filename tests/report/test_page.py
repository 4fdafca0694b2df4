from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from fringemap.records import Candidate, Flag, Match, ScaleSource, SpotMatch
from fringemap.report import Failure, write_index, write_results
from fringemap.report.words import (
    calibration_badge,
    format_error,
    format_formula,
    format_number,
    format_probability,
    headline,
    mathtext_indices,
    overlined_indices,
)
from fringemap.settings import AnalysisSettings, ReportSettings
from report.made_results import PLANES, make_empty, make_match, make_result, make_rings, make_scale, make_truth

QUICK = ReportSettings(dpi=40)


class Reader(HTMLParser):
    """Collect the tags, the addresses and the words of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.words, self.open = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page_of(folder, *results, settings=QUICK, truth=None, **provenance):
    written = write_results(results, folder=folder, settings=settings, provenance=provenance, truth=truth)
    return Reader(written.page.read_text(encoding="utf-8"))


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    page = page_of(tmp_path, make_result((60, 80)), input="SEI.dm4")
    assert not page.open
    assert page.addresses
    assert all(address.startswith("data:image/") for address in page.addresses)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://", html)
    assert "@media print" in html
    assert "prefers-color-scheme: dark" in html


def test_the_page_says_what_was_found_how_sure_and_what_is_unknown(tmp_path):
    settings = AnalysisSettings()
    inputs = [{"path": "SEI.dm4", "sha256": "ab" * 32}]
    page = page_of(tmp_path, make_result((60, 80)), input="SEI.dm4", settings_given=settings, inputs=inputs)
    for said in (
        "4 phases named: Li₂O (3 spots, probability > 0.99",
        "2 of 9 spots have no name.",
        "not verified on a known lattice, standard error 2.5 %",
        "12 hot pixels were replaced by their neighbours",
        "2.6640 ± 0.0014",
        "Li₂CO₃ (020) −0.2 %",
        "nothing within 3 sigma",
        "ab" * 32,
        "rests on a single d-spacing",
    ):
        assert said in page.text, said
    assert '<span class="over">3</span>' in (tmp_path / "report.html").read_text()


def test_an_empty_result_gives_a_page_that_says_so(tmp_path):
    page = page_of(tmp_path, make_empty(scale=make_scale(source=ScaleSource.NONE)))
    assert "No spot stands out from the noise" in page.text
    assert "not calibrated" in page.text
    assert "nan" not in page.text.lower().split()


def test_of_many_rivals_of_a_spot_a_few_are_said_at_once_and_the_others_on_demand(tmp_path):
    rivals = tuple(Candidate(f"rival{i}", (1, 1, i), 2.0, 0.1 * i, 0.1) for i in range(9))
    made = make_match(PLANES[:1])
    match = Match((dataclasses.replace(made.spots[0], rivals=rivals),), made.phases)
    page_of(tmp_path, make_result((40, 60), planes=PLANES[:1], match=match))
    at_once, _, on_demand = (tmp_path / "report.html").read_text().partition("<summary>and 6 more</summary>")
    assert all(f"rival{i}" in at_once for i in range(3))
    assert all(f"rival{i}" in on_demand and f"rival{i}" not in at_once for i in range(3, 9))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "Li & <b>O</b>", '"quoted"'])
def test_no_name_becomes_markup(name, tmp_path):
    spot = SpotMatch(
        Candidate(name, (1, 1, 1), 2.0, 0.1, 0.1), (Candidate(name, (0, 2, 0), 2.0, 0.2, 0.1),), remark=name
    )
    phase = dataclasses.replace(make_match(PLANES[:1]).phases[0], phase=name)
    result = make_result((40, 60), planes=PLANES[:1], match=Match((spot,), (phase,)), warnings=(name,), name=name)
    page = page_of(tmp_path, result, input=name, note={"k": name})
    assert page.tags.count("script") == 1
    assert "b" not in page.tags
    assert name in page.text


def test_a_series_lists_all_frames_and_shows_the_most_telling_one(tmp_path):
    frames = [
        make_result((40, 60), index=i, time_s=2.46 * i, planes=PLANES if i == 2 else PLANES[3:5]) for i in range(4)
    ]
    failure = Failure("s.mrc", 4, "ReadError", "frame 4 is damaged")
    page = page_of(tmp_path, *frames, failure, input="s.mrc")
    assert "LiF in 4 of 4 frames" in page.text
    assert "Phases in frame 2" in page.text
    assert "All 4 frames" in page.text
    assert "frame 4: frame 4 is damaged" in page.text
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == [
        "evolution.png",
        "evolution.svg",
        "overview.png",
        "thumbnail.jpg",
        "waterfall.png",
        "waterfall.svg",
    ]


def test_a_simulated_frame_gets_found_beside_true(tmp_path):
    page = page_of(tmp_path, make_result((60, 80)), truth=make_truth((60, 80)))
    assert "Found beside true" in page.text
    assert (tmp_path / "figures" / "truth.png").exists()


def test_figures_of_phases_that_are_gone_do_not_stay(tmp_path):
    page_of(tmp_path, make_result((60, 80)))
    (tmp_path / "figures" / "mine.png").write_bytes(b"")
    page_of(tmp_path, make_result((60, 80), planes=PLANES[3:5]))
    names = {p.name for p in (tmp_path / "figures").iterdir()}
    assert "overlay_LiF.png" in names
    assert "overlay_Li2O.png" not in names
    assert "mine.png" in names


def test_a_pdf_is_written_on_request_and_removed_otherwise(tmp_path):
    result = make_result((60, 80))
    page_of(tmp_path, result, settings=dataclasses.replace(QUICK, pdf=True))
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"DejaVuSans" in content
    page_of(tmp_path, result)
    assert not (tmp_path / "report.pdf").exists()


def test_a_pdf_survives_an_empty_result_and_long_names(tmp_path):
    names = {"input": "x" * 300, "note": "<b>" * 50}
    page_of(tmp_path, make_empty(), settings=dataclasses.replace(QUICK, pdf=True), **names)
    assert (tmp_path / "report.pdf").stat().st_size > 5000


def test_the_index_links_every_page_and_names_what_failed(tmp_path):
    page_of(tmp_path / "a #1", make_result((60, 80)), input="a #1.dm4")
    write_results(
        [Failure("b.tif", None, "ReadError", "b.tif is <empty>")],
        folder=tmp_path / "b",
        settings=QUICK,
        provenance={"input": "b.tif"},
    )
    runs = [json.loads((tmp_path / f / "run.json").read_text()) | {"folder": f} for f in ("a #1", "b")]
    write_index(tmp_path / "index.html", runs)
    page = Reader((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "a%20%231/report.html" in page.addresses
    assert "a%20%231/figures/thumbnail.jpg" in page.addresses
    assert not any(address.startswith("b/") for address in page.addresses)
    assert "2 inputs: phases named in 1; 1 failed at least in part." in page.text
    assert "b.tif is <empty>" in page.text


def test_the_badge_tells_verified_stated_and_missing_apart():
    levels = [
        calibration_badge(make_scale(source=source), Flag.NONE)[0]
        for source in (ScaleSource.CALIBRATED, ScaleSource.HEADER, ScaleSource.USER, ScaleSource.NONE)
    ]
    assert levels == ["green", "amber", "amber", "red"]
    assert calibration_badge(make_scale(), Flag.UNCALIBRATED)[0] == "red"


def test_the_headline_counts_in_plain_words():
    assert headline(make_empty()) == ["No spot stands out from the noise, so no crystalline phase is named."]
    lone = make_result((40, 60), planes=PLANES[7:8], rings=make_rings((0.5,)))
    assert headline(lone) == ["1 spot found; no phase explains any of them well enough.", "1 ring at 2.00 Å."]
    assert "The one spot has a name." in headline(make_result((40, 60), planes=PLANES[:1], rings=make_rings(())))


def test_numbers_are_written_with_the_digits_that_their_error_allows():
    nan = float("nan")
    assert format_error(2.66412, 0.0014) == "2.6641 ± 0.0014"
    assert format_error(0.097, 0.011, unit="%", factor=100) == "9.7 ± 1.1 %"
    assert format_error(1234.5, 56.0) == "1234 ± 56"
    assert format_error(-2.0, nan) == "−2"
    assert format_error(nan, 0.1) == "–"
    assert (format_number(-0.5, 1), format_number(None)) == ("−0.5", "–")
    assert [format_probability(p) for p in (0.9999, 0.7, 0.001, nan)] == ["> 0.99", "0.70", "< 0.01", "–"]


def test_formulas_and_planes_are_set_as_in_print():
    assert format_formula("Li2CO3") == "Li₂CO₃"
    assert format_formula("ice Ih") == "ice Ih"
    assert mathtext_indices((-1, 1, 2)) == r"$\bar{1}12$"
    assert mathtext_indices((1, 1, 2)) == "112"
    assert mathtext_indices((10, 0, -2)) == r"$10\ 0\ \bar{2}$"
    assert overlined_indices((-1, 1, 2)) == "1\u030512"
