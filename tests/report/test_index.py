"""The front page over all inputs, looked at with a browser where there is one."""

from __future__ import annotations

import shutil

import pytest

from fringemap.report import write_index
from fringemap.report.lines import phase_names

ROWS = (
    ("day1/a.dm4", "done", "LiF (0.97); Li2CO3 (> 0.99)", 7),
    ("day1/b.dm4", "failed", "", 0),
    ("day2/c.dm4", "done", "Li in 3 of 20 frames; LiF in 20 of 20 frames", 400),
    ("day2/<d> & e.dm4", "partly failed", "ice Ih (–)", 31),
)


@pytest.fixture
def page(tmp_path):
    runs = [
        {
            "folder": str(i),
            "summary": {"input": n, "status": s, "phases": p, "n_frames": 1, "n_spots": k, "n_unknown_spots": 0},
        }
        for i, (n, s, p, k) in enumerate(ROWS)
    ]
    write_index(tmp_path / "index.html", runs)
    return tmp_path / "index.html"


@pytest.mark.parametrize(
    ("summary", "names"),
    [
        ("", []),
        ("LiF (0.97); Li2CO3 (> 0.99)", ["LiF", "Li2CO3"]),
        ("Li in 3 of 20 frames; Cu (fcc) in 20 of 20 frames", ["Li", "Cu (fcc)"]),
        ("Cu (fcc) (< 0.01)", ["Cu (fcc)"]),
    ],
)
def test_names_of_phases_are_told_from_what_is_said_of_them(summary, names):
    assert phase_names(summary) == names


def test_the_choices_are_what_is_there_with_how_often(page):
    text = page.read_text(encoding="utf-8")
    for choice in ("ice Ih (1)", "Li (1)", "LiF (2)", "Li2CO3 (1)", "done (2)", "partly failed (1)", "failed (1)"):
        assert f">{choice}</option>" in text
    assert "day2/&lt;d&gt; &amp; e.dm4" in text


def test_a_single_input_needs_no_filter(tmp_path):
    summary = {"input": "a", "status": "done", "phases": "", "n_frames": 1, "n_spots": 0, "n_unknown_spots": 0}
    write_index(tmp_path / "index.html", [{"folder": "a", "summary": summary}])
    assert 'type="search"' not in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the development extras")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_filters_and_sorting_work_in_a_browser(page, browser):
    seen = browser.new_page()
    asked, wrong = [], []
    seen.on("request", lambda request: asked.append(request.url))
    seen.on("console", lambda message: wrong.append(message.text))
    seen.goto(page.as_uri())

    def shown():
        return [row.inner_text().split("\t")[1].strip() for row in seen.query_selector_all("tbody tr:visible")]

    everything = [row[0] for row in ROWS]
    assert shown() == everything
    seen.fill("input[type=search]", "DAY2  dm4")
    assert shown() == everything[2:]
    assert seen.inner_text("output") == "2 of 4 shown"
    seen.fill("input[type=search]", "")
    for phase, expected in (("LiF", [0, 2]), ("Li", [2]), ("ice Ih", [3]), ("–", [1]), ("", [0, 1, 2, 3])):
        seen.select_option("[data-filter=phase]", phase)
        assert shown() == [everything[i] for i in expected]
    seen.select_option("[data-filter=status]", "done")
    seen.select_option("[data-filter=phase]", "Li")
    assert shown() == [everything[2]]
    seen.select_option("[data-filter=phase]", "")
    seen.click("text=spots")
    seen.click("text=spots")
    assert shown() == [everything[2], everything[0]]
    assert all(url.startswith("file:") for url in asked)
    assert wrong == []
