from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from drawn_inputs import PIXEL_ANGSTROM, draw_lif, write_lif
from fringemap.io import read
from gui_server import serving

if TYPE_CHECKING:
    from pathlib import Path


def test_a_frame_is_written_with_its_pixel_size_and_without_one_if_it_has_none(tmp_path: Path) -> None:
    folder, saved = tmp_path / "frames", tmp_path / "saved.tif"
    folder.mkdir()
    write_lif(folder / "lif.mrc")
    image = draw_lif().image.astype(np.float32)
    np.save(folder / "plain.npy", image)
    sizes = []
    with serving(folder) as asker:
        for name in ("lif.mrc", "plain.npy"):
            saved.write_bytes(asker.get("export/data", name=name).body)
            with read(saved) as series:
                sizes.append(series[0].scale and series[0].scale.pixel_size_angstrom)
                np.testing.assert_array_equal(series[0].image, image)
    assert sizes == [pytest.approx((PIXEL_ANGSTROM,) * 2), None]
