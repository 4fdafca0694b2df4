from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image as Pillow

from drawn_inputs import PIXEL_ANGSTROM, QUICK, draw_lif
from fringemap import cli
from fringemap.batch import analyze_inputs
from fringemap.io import write_mrc
from fringemap.settings import FileSettings

if TYPE_CHECKING:
    from pathlib import Path


def test_series_of_a_run_at_two_dose_rates_come_into_one_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [draw_lif(seed).image for seed in range(3)]
    for name in ("high", "low"):
        write_mrc(tmp_path / f"{name}.mrc", images, pixel_size_angstrom=(PIXEL_ANGSTROM, PIXEL_ANGSTROM))
    files = [
        FileSettings(f"{name}.mrc", {"read": {"dose_rate": rate, "frame_time_s": 2.0}})
        for name, rate in (("high", 1000.0), ("low", 250.0))
    ]
    analyze_inputs([tmp_path / "*.mrc"], tmp_path / "out", settings=QUICK, files=files, workers=1)
    words = ["fringemap", "compare", str(tmp_path / "out"), "-o", str(tmp_path / "doses.png")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert capsys.readouterr().out.startswith("high, 1000 e/Å²/s; low, 250 e/Å²/s: ")
    with Pillow.open(tmp_path / "doses.png") as picture:
        assert picture.width > 900
    assert (tmp_path / "doses.svg").read_text(encoding="utf-8").startswith("<?xml")
