"""Labels in a real browser: the pixel size changes, frames change under the hand, the server fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from drawn_inputs import A_LIF, PIXEL_ANGSTROM, write_lif
from gui_server import Asker, opened_tab, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

LAPTOP = {"width": 1366, "height": 768}
G = 20.0 / A_LIF
SIZE_NM = PIXEL_ANGSTROM / 10


@pytest.fixture
def served(tmp_path: Any) -> Iterator[Asker]:
    for number, name in enumerate(("a.mrc", "b.mrc")):
        write_lif(tmp_path / name, number)
    with serving(tmp_path) as asked:
        yield asked


@pytest.fixture
def tab(browser: Any, served: Asker) -> Iterator[Any]:
    with opened_tab(browser, served.port, "a.mrc", viewport=LAPTOP, timeout_ms=20_000) as page:
        yield page


def label(tab: Any) -> None:
    tab.click("#tab-analysis-Label")
    tab.wait_for_function("!document.querySelector('#label-status')?.textContent.startsWith('Reading')")


def status_has(tab: Any, words: str) -> None:
    tab.wait_for_function(f"document.querySelector('#label-status')?.textContent.includes({words!r})")


def until_marked(tab: Any, n: int) -> None:
    tab.wait_for_function(f"fringemap.label.count().marks === {n}")


def click(tab: Any, gx: float, gy: float) -> None:
    """Click a place of the diffractogram."""
    x, y = tab.evaluate(
        """([gx, gy]) => {
          const view = fringemap.spectrum, at = view.fromG({gx, gy}), [x, y] = view.toScreen(at.row, at.col);
          const box = view.stage.getBoundingClientRect(), ratio = view.picture.width / box.width;
          return [box.left + x / ratio, box.top + y / ratio];
        }""",
        [gx, gy],
    )
    tab.mouse.click(x, y)


def kept(served: Asker, name: str = "a.mrc") -> list[tuple[float, float]]:
    labels = served.get("labels", name=name).json()
    return [(one["gx"], one["gy"]) for one in labels["marks"]] if labels else []


def type_size(tab: Any, words: str) -> None:
    tab.get_by_label("Pixel size in nm per pixel").fill(words)
    tab.keyboard.press("Enter")


def test_marks_stay_on_their_bins_when_the_pixel_size_is_typed_while_they_are_shown(tab: Any, served: Asker) -> None:
    label(tab)
    click(tab, G, 0.0)
    until_marked(tab, 1)
    status_has(tab, "· saved")
    type_size(tab, str(2 * SIZE_NM))
    tab.wait_for_function(f"Math.abs(fringemap.spectrum.cut.bin_per_nm[1] * 256 * {2 * SIZE_NM} - 1) < 0.01")
    click(tab, 0.0, G / 2)
    until_marked(tab, 2)
    status_has(tab, "· saved")
    first, second = kept(served)
    assert first == (pytest.approx(G / 2, abs=0.05), pytest.approx(0, abs=0.05))
    assert second == (pytest.approx(0, abs=0.05), pytest.approx(G / 2, abs=0.05))
    # What is taken back is in the new pixel size as well.
    tab.keyboard.press("Control+z")
    until_marked(tab, 1)
    status_has(tab, "· saved")
    assert kept(served) == [first]


def test_labels_that_cannot_be_read_are_not_overwritten(tab: Any, served: Asker) -> None:
    served.post("labels", {"name": "a.mrc", "marks": [{"gx": 3.0, "gy": 1.0, "radius": 0.3}]})
    tab.route("**/api/labels?*", lambda route: route.fulfill(status=500, json={"error": "the disk is asleep"}))
    tab.click("#tab-analysis-Label")
    tab.wait_for_timeout(500)
    click(tab, G, 0.0)
    tab.wait_for_timeout(1200)
    assert kept(served) == [(3.0, 1.0)]
    assert "the disk is asleep" in tab.inner_text("#label-sheet")
    tab.unroute("**/api/labels?*")
    tab.get_by_role("button", name="Try again").click()
    until_marked(tab, 1)
    click(tab, G, 0.0)
    until_marked(tab, 2)
    status_has(tab, "· saved")
    assert len(kept(served)) == 2


def test_labels_that_were_not_saved_are_said_to_be_and_saved_later(tab: Any, served: Asker) -> None:
    label(tab)
    tab.route("**/api/labels", lambda route: route.fulfill(status=500, json={"error": "the disk is full"}))
    click(tab, G, 0.0)
    until_marked(tab, 1)
    status_has(tab, "not saved")
    assert "the disk is full" in tab.inner_text("#foot .message")
    assert kept(served) == []
    # They are still there when another file was shown meanwhile.
    tab.get_by_role("button", name="b.mrc").first.click()
    tab.wait_for_selector("body[data-shown='b.mrc#0']")
    until_marked(tab, 0)
    tab.get_by_role("button", name="a.mrc").first.click()
    tab.wait_for_selector("body[data-shown='a.mrc#0']")
    until_marked(tab, 1)
    tab.unroute("**/api/labels")
    status_has(tab, "· saved")
    assert len(kept(served)) == 1


def test_a_mark_does_not_land_in_the_frame_that_is_shown_when_its_place_is_known(tab: Any, served: Asker) -> None:
    label(tab)
    held: list[Any] = []
    tab.route("**/api/labels/snap", lambda route: held.append(route))
    click(tab, G, 0.0)
    tab.get_by_role("button", name="b.mrc").first.click()
    tab.wait_for_selector("body[data-shown='b.mrc#0']")
    status_has(tab, "no labels yet")
    assert len(held) == 1
    held[0].fulfill(json={"gx": G, "gy": 0.0, "radius": 0.3})
    tab.wait_for_timeout(1000)
    assert tab.evaluate("fringemap.label.count().marks") == 0
    assert kept(served, "b.mrc") == []
