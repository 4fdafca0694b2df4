from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fringemap.demo import run_demo
from fringemap.io import read

if TYPE_CHECKING:
    from pathlib import Path

PHASES = ("Li", "Li2O", "LiF", "Li2CO3")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """Folder, page and what was told of a small demonstration."""
    out, told = tmp_path_factory.mktemp("demo"), []
    return out, run_demo(out, seed=1, size=1024, tell=told.append), told


def row_of(told: list[str], phase: str) -> list[str]:
    return next(line.split() for line in told if line.split()[:1] == [phase])


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_is_found_with_its_area_and_its_spots(demo: tuple[Path, Path, list[str]], phase: str) -> None:
    _, true, _, found, _, _, _, n_found, _, n_true, n_named, error, _ = row_of(demo[2], phase)
    assert float(found) == pytest.approx(float(true), rel=0.15)
    assert int(n_named) == int(n_found) >= 0.6 * int(n_true)
    assert float(error) < 0.15


def test_no_other_phase_is_named(demo: tuple[Path, Path, list[str]]) -> None:
    start = next(i for i, line in enumerate(demo[2]) if line.startswith("phase"))
    assert [line.split()[0] for line in demo[2][start + 1 : start + 6]] == [*PHASES, "Spots:"]


def test_the_drawn_file_is_a_calibrated_micrograph(demo: tuple[Path, Path, list[str]]) -> None:
    with read(demo[0] / "demo.mrc") as series:
        assert series.frame_shape == (1024, 1024)
        assert series.scale is not None
        assert series.scale.pixel_size_angstrom == pytest.approx((0.37, 0.37))
        image = series[0].image
    assert np.array_equal(image, np.rint(image))


def test_the_page_sets_found_beside_true(demo: tuple[Path, Path, list[str]]) -> None:
    out, page, _ = demo
    assert page == out / "demo" / "report.html"
    assert "Found beside true" in page.read_text(encoding="utf-8")
    for name in ("spots.csv", "phases.csv", "maps.ome.tif", "masks.ome.tif", "run.json", "figures/truth.png"):
        assert (out / "demo" / name).is_file(), name
