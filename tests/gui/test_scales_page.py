"""What the page draws where pixel sizes change, and where answers come late, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawn_inputs import A_LIF, PIXEL_ANGSTROM, draw_lif, write_lif
from fringemap.io import write_mrc
from fringemap.simulate import PlaneWave, plane_wave_frame
from gui_server import Asker, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = {"phases": {"phases": ["LiF", "NaF"], "match": "tolerance"}}
OBLONG = (PIXEL_ANGSTROM, 1.3 * PIXEL_ANGSTROM)
SHAPE = (256, 192)
CHANGED = "The pixel size has changed since this run"


PLACES = ((0.8, 0.6), (0.6, -0.8), (1.4, -0.2))
"""Three spots, turned so that neither axis is another's mirror."""
FINE = (2.7, 0.0)
"""At 0.75 Å."""


def _image(pixel: tuple[float, float], places: tuple[tuple[float, float], ...] = PLACES) -> Any:
    g = 2 / A_LIF
    waves = [PlaneWave(g * x, g * y, 8.0) for x, y in places]
    rng = np.random.default_rng(1)
    return plane_wave_frame(SHAPE, pixel, waves, rng=rng, noise_sigma=20.0, mean_counts=500.0)[0].image


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("frames")
    write_mrc(folder / "oblong.mrc", _image(OBLONG), pixel_size_angstrom=OBLONG)
    np.save(folder / "plain.npy", _image((PIXEL_ANGSTROM,) * 2))
    fine = _image((PIXEL_ANGSTROM,) * 2, (*PLACES, FINE))
    write_mrc(folder / "fine.mrc", fine, pixel_size_angstrom=(PIXEL_ANGSTROM,) * 2)
    write_lif(folder / "lif.mrc")
    for name, numbers in (("s1.mrc", (0, 1, 2)), ("s2.mrc", (3, 4))):
        frames = np.array([draw_lif(number).image for number in numbers])
        write_mrc(folder / name, frames, pixel_size_angstrom=(PIXEL_ANGSTROM,) * 2, frame_time_s=2.0)
    with serving(folder, warm=True) as asked:
        yield asked


def analyse(asker: Asker, name: str, **more: dict[str, Any]) -> None:
    run = asker.post("runs", {"names": [name], "settings": {**QUICK, **more}}).json()[0]
    assert asker.wait_for(run["run"])["status"] == "done"


@pytest.fixture
def visit(browser: Any, asker: Asker) -> Iterator[Callable[..., Any]]:
    """Open the page; whatever goes wrong in it fails the test."""
    contexts, wrong = [], []

    def go(name: str) -> Any:
        context = browser.new_context(viewport={"width": 1366, "height": 768}, bypass_csp=True)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(30_000)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(f"http://127.0.0.1:{asker.port}/#open={name}")
        tab.wait_for_selector("body[data-ready=yes]")
        return tab

    yield go
    for context in contexts:
        context.close()
    assert wrong == []


def circles(tab: Any) -> Any:
    """Middles of the circles that are drawn, in screen pixels of the diffractogram."""
    return np.array(
        tab.evaluate(
            """async () => {
                const own = CanvasRenderingContext2D.prototype.arc, drawn = [];
                CanvasRenderingContext2D.prototype.arc = function (x, y, ...rest) {
                    drawn.push([x, y]);
                    own.call(this, x, y, ...rest);
                };
                fringemap.spectrum.repaint();
                await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
                CanvasRenderingContext2D.prototype.arc = own;
                return drawn;
            }"""
        )
    )


def true_places(tab: Any, pixel: tuple[float, float]) -> Any:
    """Where the spots of a frame of this true pixel size [Å] lie on the screen: x, y."""
    places = tab.evaluate(
        """([rows, cols]) => {
            const view = fringemap.spectrum, spots = fringemap.state.result.spots;
            const middle = [view.full[0] / 2, view.full[1] / 2];
            return spots.map((spot) => view.toScreen(middle[0] + spot.gy * rows, middle[1] + spot.gx * cols));
        }""",
        [n * 0.1 * size for n, size in zip(SHAPE, pixel, strict=True)],  # bins to 1/nm
    )
    return np.array(places)


@pytest.mark.parametrize(
    ("name", "size_nm", "later_nm", "true", "said"),
    [
        ("oblong.mrc", None, 0.03, OBLONG, True),
        ("plain.npy", 0.1 * PIXEL_ANGSTROM, None, (PIXEL_ANGSTROM,) * 2, False),
    ],
)
def test_circles_and_clicks_stay_on_the_spots_when_the_pixel_size_changes_after_a_run(
    visit: Callable[..., Any],
    asker: Asker,
    name: str,
    size_nm: float | None,
    later_nm: float | None,
    true: tuple[float, float],
    said: bool,
) -> None:
    asker.post("scale", {"name": name, "pixel_size_nm": size_nm})
    analyse(asker, name)
    asker.post("scale", {"name": name, "pixel_size_nm": later_nm})
    tab = visit(name)
    tab.wait_for_function("fringemap.state.result && fringemap.spectrum.overview")
    places = true_places(tab, true)
    assert len(places) == 3
    drawn = circles(tab)
    assert len(drawn) == 6
    for place in places:
        assert np.hypot(*(drawn - place).T).min() < 1
    assert (CHANGED in tab.inner_text("#foot .message")) == said

    strongest = tab.evaluate("fringemap.state.result.spots[0].d")
    x, y = places[0]
    tab.keyboard.press("x")
    tab.click("[data-pane=diffractogram] .stage", position={"x": x, "y": y})
    tab.wait_for_function("fringemap.state.result.spots.length === 2")
    tab.keyboard.press("n")
    tab.click("[data-pane=diffractogram] .stage", position={"x": x, "y": y})
    tab.wait_for_function("fringemap.state.result.spots.length === 3")
    again = tab.evaluate("fringemap.state.result.spots.find((spot) => spot.by_hand).d")
    assert again == pytest.approx(strongest, rel=2e-3)


def test_a_diffractogram_grows_when_a_run_has_looked_further_out(visit: Callable[..., Any], asker: Asker) -> None:
    tab = visit("fine.mrc")
    tab.wait_for_function("fringemap.spectrum.overview")
    tab.click("#tab-numbers-Profile")
    before = tab.evaluate("fringemap.spectrum.full")
    analyse(asker, "fine.mrc", spots={"d_min_angstrom": 0.6})
    tab.wait_for_function(f"fringemap.state.result && fringemap.spectrum.full[1] > {before[1]}")
    tab.wait_for_function("fringemap.spectrum.overview?.full[1] === fringemap.spectrum.full[1]")
    drawn = circles(tab)
    assert len(drawn) == 8
    assert 0 < drawn[:, 0].min() < drawn[:, 0].max() < tab.evaluate("fringemap.spectrum.picture.width")
    width = "document.querySelector('.plot .hit').getBBox().width"
    last = 'Math.max(...[...document.querySelectorAll(".plot line:has(title)")].map((one) => one.getAttribute("x1")))'
    tab.wait_for_function(f"{last} <= document.querySelector('.plot .hit').getBBox().x + 1 + {width}")


def test_marks_of_the_profile_stay_at_its_peaks_without_a_pixel_size(visit: Callable[..., Any], asker: Asker) -> None:
    asker.post("scale", {"name": "plain.npy", "pixel_size_nm": 0.1 * PIXEL_ANGSTROM})
    analyse(asker, "plain.npy")
    asker.post("scale", {"name": "plain.npy", "pixel_size_nm": None})
    tab = visit("plain.npy")
    tab.wait_for_function("fringemap.state.result")
    tab.click("#tab-numbers-Profile")
    tab.wait_for_selector("svg[aria-label='Mean power over |g|'] title", state="attached")
    curve, marks = tab.evaluate(
        """() => {
            const svg = document.querySelector("svg[aria-label='Mean power over |g|']");
            const places = (line) => line.getAttribute("points").split(" ").map((one) => one.split(",").map(Number));
            const marks = [...svg.querySelectorAll("line")].filter((one) => one.querySelector("title"));
            const curve = [...svg.querySelectorAll("polyline")].at(-1);
            return [places(curve), marks.map((one) => Number(one.getAttribute("x1")))];
        }"""
    )
    x, y = np.array(curve).T
    assert len(marks) == 3
    for mark in marks:
        near = np.abs(x - mark) < 12
        assert x[near][y[near].argmin()] == pytest.approx(mark, abs=4)
        assert y[near].max() - y[near].min() > 20


def test_curves_and_profile_are_those_of_the_file_that_was_opened_last(visit: Callable[..., Any], asker: Asker) -> None:
    for name in ("s1.mrc", "s2.mrc"):
        analyse(asker, name)
    tab = visit("lif.mrc")
    tab.click("#tab-numbers-Series")
    held: list[Any] = []
    tab.route("**/api/series?name=s1.mrc*", lambda route: held.append(route))
    tab.get_by_role("button", name="s1.mrc").first.click()
    tab.wait_for_selector("body[data-shown='s1.mrc#0']")
    tab.get_by_role("button", name="s2.mrc").first.click()
    tab.wait_for_selector("body[data-shown='s2.mrc#0']")
    shown = "[...document.querySelectorAll('.plot path')].map((one) => one.getAttribute('d')).join()"
    tab.wait_for_function(f"{shown}.includes('M')")
    before = tab.evaluate(shown)
    answer_all(tab, held, "**/api/series*")
    assert tab.evaluate(shown) == before

    held.clear()
    tab.click("#tab-numbers-Profile")
    tab.route("**/api/profile?name=lif.mrc*", lambda route: held.append(route))
    tab.get_by_role("button", name="lif.mrc").first.click()
    tab.wait_for_selector("body[data-shown='lif.mrc#0']")
    tab.get_by_role("button", name="s2.mrc").first.click()
    tab.wait_for_selector("body[data-shown='s2.mrc#0']")
    line = "[...document.querySelectorAll('.plot polyline')].at(-1)?.getAttribute('points') ?? ''"
    tab.wait_for_function(f"{line} !== ''")
    before = tab.evaluate(line)
    answer_all(tab, held, "**/api/profile*")
    assert tab.evaluate(line) == before


def answer_all(tab: Any, held: list[Any], path: str) -> None:
    assert held
    for route in held:
        with tab.expect_response(path):
            route.continue_()
    tab.wait_for_timeout(300)
