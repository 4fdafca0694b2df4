"""Label, teach and watch in a real browser. FRINGEMAP_SCREENSHOTS=1 renews the pictures in docs/pictures."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from drawn_inputs import A_LIF, write_lif
from fringemap.gui import teaching
from fringemap.training.labelled import load_labelled
from gui_server import Asker, opened_tab, serving
from made_trainable import write_trainable_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).resolve().parents[1]
PICTURES = TESTS.parent / "docs" / "pictures"
LAPTOP = {"width": 1366, "height": 768}
G = 20.0 / A_LIF


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    pytest.importorskip("torch", reason="needs the extra train")
    folder = tmp_path_factory.mktemp("frames")
    for number, name in enumerate(("a.mrc", "b.mrc", "c.mrc")):
        write_lif(folder / name, number)
    write_trainable_model(folder / "tiny")
    (folder / "camera").mkdir()
    with serving(folder) as asked:
        yield asked


@pytest.fixture
def tab(browser: Any, served: Asker) -> Iterator[Any]:
    with opened_tab(browser, served.port, "a.mrc", viewport=LAPTOP, timeout_ms=240_000, color_scheme="dark") as page:
        yield page


def picture(tab: Any, name: str) -> None:
    if os.environ.get("FRINGEMAP_SCREENSHOTS"):
        tab.wait_for_timeout(700)
        tab.screenshot(path=PICTURES / f"browser_{name}.png")


def choose(tab: Any, name: str) -> None:
    tab.click(f"#tab-analysis-{name}")


def label(tab: Any) -> None:
    choose(tab, "Label")
    tab.wait_for_function("fringemap.label.ready()")


def button(tab: Any, name: str) -> Any:
    return tab.get_by_role("button", name=name, exact=True)


def count(tab: Any) -> list[int]:
    """Circles, strokes, proposals."""
    return list(tab.evaluate("Object.values(fringemap.label.count())"))


def until_count(tab: Any, *expected: int) -> None:
    tab.wait_for_function(
        f"JSON.stringify(Object.values(fringemap.label.count())) === '{list(expected)}'.replaceAll(' ', '')"
    )


def until_saved(tab: Any) -> None:
    tab.wait_for_function("document.querySelector('#label-status').textContent.endsWith('· saved')")


def place(tab: Any, gx: float, gy: float) -> tuple[float, float]:
    """Where a place of the diffractogram is on the screen."""
    x, y = tab.evaluate(
        """([gx, gy]) => {
          const view = fringemap.spectrum, at = view.fromG({gx, gy}), [x, y] = view.toScreen(at.row, at.col);
          const box = view.stage.getBoundingClientRect(), ratio = view.picture.width / box.width;
          return [box.left + x / ratio, box.top + y / ratio];
        }""",
        [gx, gy],
    )
    return x, y


def drag(tab: Any, start: tuple[float, float], end: tuple[float, float], *, key: str = "") -> None:
    """Press at one place of the diffractogram and let go at another."""
    tab.mouse.move(*place(tab, *start))
    if key:
        tab.keyboard.down(key)
    tab.mouse.down()
    tab.mouse.move(*place(tab, *end), steps=6)
    tab.mouse.up()
    if key:
        tab.keyboard.up(key)


def kept(served: Asker, name: str = "a.mrc") -> Any:
    return served.get("labels", name=name).json()


def test_a_frame_is_labelled_and_what_was_marked_survives_a_reload(tab: Any, served: Asker) -> None:
    label(tab)
    # A click beside a spot lands on it, a drag makes a circle of that size, the mate counts as the same.
    tab.mouse.click(*place(tab, G + 0.2, 0.15))
    until_count(tab, 1, 0, 0)
    tab.mouse.click(*place(tab, -G - 0.2, -0.15))
    drag(tab, (0.0, G), (0.9, G))
    until_count(tab, 2, 0, 0)
    until_saved(tab)
    first, second = kept(served)["marks"]
    assert abs(first["gx"] - G) < 0.05
    assert abs(first["gy"]) < 0.05
    assert second["radius"] == pytest.approx(0.9, rel=0.15)
    # Moved with Alt it stays where the hand let go; with Shift it changes its size.
    drag(tab, (first["gx"], first["gy"]), (3.0, -2.0), key="Alt")
    drag(tab, (3.0, -2.0), (3.6, -2.0), key="Shift")
    until_saved(tab)
    moved = kept(served)["marks"][0]
    assert (moved["gx"], moved["gy"]) == (pytest.approx(3.0, abs=0.15), pytest.approx(-2.0, abs=0.15))
    assert moved["radius"] == pytest.approx(0.6, rel=0.2)
    tab.keyboard.press("i")
    tab.keyboard.press("b")
    drag(tab, (G, G), (G + 1, G))
    tab.keyboard.press("x")
    drag(tab, (0.0, -G - 0.5), (0.0, -G + 0.5))
    until_count(tab, 2, 2, 0)
    tab.keyboard.press("Control+z")
    until_count(tab, 2, 1, 0)
    tab.keyboard.press("Control+y")
    until_count(tab, 2, 2, 0)
    tab.keyboard.press("n")
    tab.mouse.click(*place(tab, 3.0, -2.0))
    tab.keyboard.press("Delete")
    until_count(tab, 1, 2, 0)
    button(tab, "↶ Undo").click()
    until_count(tab, 2, 2, 0)
    # A page that is left at once has kept the last change all the same.
    tab.reload()
    tab.wait_for_selector("body[data-shown='a.mrc#0']")
    label(tab)
    until_count(tab, 2, 2, 0)
    left = kept(served)
    assert [one["ignored"] for one in left["marks"]] == [True, False]
    assert [one["erases"] for one in left["strokes"]] == [False, True]
    assert len(load_labelled(served.session.teaching.labels)[0].spots) >= 2


def test_proposals_are_confirmed_or_rejected_one_by_one_or_all(tab: Any, served: Asker) -> None:
    tab.evaluate("location.hash = '#open=b.mrc'")
    tab.reload()
    tab.wait_for_selector("body[data-shown='b.mrc#0']")
    label(tab)
    button(tab, "Propose").click()
    tab.wait_for_function("fringemap.label.count().proposals >= 4")
    n = count(tab)[2]
    assert kept(served, "b.mrc") is None
    tab.keyboard.press("Enter")
    until_count(tab, 1, 0, n - 1)
    tab.keyboard.press("Delete")
    until_count(tab, 1, 0, n - 2)
    button(tab, "Confirm all").click()
    until_count(tab, n - 1, 0, 0)
    until_saved(tab)
    button(tab, "Propose").click()
    tab.wait_for_function("fringemap.label.count().proposals >= 1")
    button(tab, "Reject all").click()
    until_count(tab, n - 1, 0, 0)
    # Leaving the tab gives the diffractogram its own hands back.
    choose(tab, "Phases")
    tab.mouse.click(*place(tab, 6.0, 1.0))
    assert count(tab)[0] == n - 1
    button_forget = "Forget its labels"
    label(tab)
    button(tab, button_forget).click()
    until_count(tab, 0, 0, 0)
    assert kept(served, "b.mrc") is None


def test_a_real_micrograph_is_labelled_with_the_shipped_model_and_a_brush(
    tab: Any, served: Asker, shared_data: Callable[[str], Path]
) -> None:
    shutil.copy(shared_data("hrtem/TiO2_0eV.tif"), served.folder / "rutile.tif")
    tab.goto(f"http://127.0.0.1:{served.port}/#open=rutile.tif")
    tab.reload()
    tab.wait_for_selector("body[data-shown='rutile.tif#0']")
    choose(tab, "Label")
    # Labels are in reciprocal units: without a pixel size there are none.
    tab.wait_for_selector("#label-sheet >> text=This frame has no pixel size")
    tab.fill("[aria-label='Pixel size in nm per pixel']", "0.0614634")
    tab.keyboard.press("Enter")
    button(tab, "Propose").click()
    tab.wait_for_function("fringemap.label.count().proposals > 15")
    n = count(tab)[2]
    for k in range(3):
        tab.keyboard.press("Enter")
        until_count(tab, k + 1, 0, n - k - 1)
    tab.keyboard.press("f")
    tab.wait_for_timeout(300)
    tab.keyboard.press("b")
    for _ in range(5):
        tab.keyboard.press("]")
    drag(tab, (2.0, 2.0), (3.5, 1.6))
    tab.keyboard.press("x")
    drag(tab, (2.7, 1.0), (2.8, 2.4))
    tab.keyboard.press("n")
    until_count(tab, 3, 2, n - 3)
    until_saved(tab)
    picture(tab, "label")
    tab.keyboard.press("f")
    sample = next(one for one in load_labelled(served.session.teaching.labels) if one.source == "rutile.tif")
    # Three circles, and the stroke that the eraser cut in two.
    assert len(sample.spots) == 5
    button(tab, "Forget its labels").click()
    tab.wait_for_selector("#label-sheet >> text=This frame has no labels yet")


@pytest.fixture
def quick_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    start = teaching.Job
    monkeypatch.setattr(teaching, "Job", lambda _, *rest: start("quick_teacher", *rest))
    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)


@pytest.mark.usefixtures("quick_teacher")
def test_a_small_model_is_tuned_on_labels_and_one_that_is_no_better_is_not_taken(tab: Any, served: Asker) -> None:
    for name in ("a.mrc", "b.mrc"):
        marks = [one for one in served.post("labels/propose", {"name": name}).json()["marks"] if not one["ignored"]]
        served.post("labels", {"name": name, "marks": marks})
    choose(tab, "Teach")
    tab.get_by_label("Folder of a model package").fill("tiny")
    button(tab, "Add").click()
    tab.wait_for_selector("article[data-model=tiny].picked")
    tab.get_by_text("Settings", exact=True).last.click()
    tab.get_by_label("Rounds at most").fill("1")
    tab.get_by_label("Drawn patterns mixed in").fill("0")
    # False spots are counted on very few frames: this is a test of seconds.
    tab.route("**/api/teach", lambda route: _with_few_empty_frames(route))
    button(tab, "Fine-tune").click()
    tab.wait_for_selector("#teach-standing progress")
    tab.wait_for_selector("article[data-model=made-tuned] table")
    cells = tab.locator("article[data-model=made-tuned] table td").all_inner_texts()
    assert cells[0].startswith("Dice, held-out")
    assert all(0 <= float(cell) <= 1 for k, cell in enumerate(cells) if k % 3)
    card = next(one for one in served.get("teach").json()["models"] if one["name"] == "made-tuned")
    assert set(card["fine_tuned"]["sources"]) | set(card["fine_tuned"]["held_out"]) == {"a.mrc", "b.mrc"}
    # It is there, and not in use, until somebody says so.
    assert not card["fine_tuned"]["better"]
    assert served.get("teach").json()["current"] == "tiny"
    picture(tab, "teach")
    button(tab, "Use anyway").click()
    tab.wait_for_selector("article[data-model=made-tuned].picked")
    button(tab, "Roll back").click()
    tab.wait_for_selector("article[data-model=tiny].picked")


def _with_few_empty_frames(route: Any) -> None:
    if route.request.method == "POST":
        route.continue_(post_data={**route.request.post_data_json, "empty_frames": 1})
    else:
        route.continue_()


def test_a_fine_tuning_is_cancelled_at_once_and_leaves_nothing(tab: Any, served: Asker) -> None:
    choose(tab, "Teach")
    tab.wait_for_selector("article.picked")
    before = served.get("teach").json()
    button(tab, "Fine-tune").click()
    tab.wait_for_selector("#teach-standing progress")
    button(tab, "Cancel").click()
    tab.wait_for_selector("text=Cancelled")
    after = served.get("teach").json()
    assert (after["current"], after["models"]) == (before["current"], before["models"])
    assert not list(served.session.teaching.models.glob(".unfinished*"))


def test_frames_that_arrive_in_a_watched_folder_are_shown_as_they_come(tab: Any, served: Asker) -> None:
    choose(tab, "Analyse")
    tab.fill("#set-phases-phases", "LiF")
    tab.select_option("#set-phases-match", "tolerance")
    choose(tab, "Live")
    tab.get_by_label("Folder to watch").fill("camera")
    tab.get_by_label("Rules, one a line").fill("LiF appears\n\nLiF covers 5 %")
    button(tab, "Watch").click()
    tab.wait_for_selector("text=Watching camera")
    for number in range(3):
        write_lif(served.folder / "camera" / f"f{number}.mrc", number)
    tab.wait_for_function("document.querySelectorAll('#live-sheet li').length === 3")
    tab.wait_for_selector("body[data-shown='camera/f2.mrc#0']")
    assert tab.locator("#live-sheet [role=alert]").all_inner_texts() == ["LiF appears: f1", "LiF covers 5 %: f1"]
    assert tab.locator("#live-sheet svg circle").count() == 3
    picture(tab, "live")
    # They come with another tab in front as well.
    choose(tab, "Phases")
    write_lif(served.folder / "camera" / "f3.mrc", 3)
    tab.wait_for_selector("body[data-shown='camera/f3.mrc#0']", timeout=30_000)
    choose(tab, "Live")
    tab.wait_for_function("document.querySelectorAll('#live-sheet li').length === 4")
    button(tab, "Stop").click()
    link = tab.wait_for_selector("text=Results (zip)")
    packed = served.raw("GET", f"/{link.get_attribute('href')}")
    assert packed.body[:2] == b"PK"
    assert served.get("live").json()["status"] == "done"
    end = time.monotonic() + 20
    while served.session.watching._job._process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert served.session.watching._job._process.poll() == 0
