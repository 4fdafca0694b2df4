from __future__ import annotations

import numpy as np
from PIL import Image

from fringemap.report.training_curves import write_training_curves, write_trials


def pixels_like(path, rgb):
    """Number of pixels of about one colour."""
    with Image.open(path) as image:
        distance = np.abs(np.asarray(image.convert("RGB"), int) - rgb).max(axis=2)
    return int((distance < 30).sum())


def height(path):
    with Image.open(path) as image:
        return image.size[1]


def test_curves_are_drawn_as_png_and_svg_and_grow_with_the_rounds(tmp_path):
    blue = (86, 180, 233)
    write_training_curves([1], [1.0], [0.9], [0.1], tmp_path / "short")
    png = write_training_curves([1, 2, 3], [1.0, 0.5, 0.4], [0.9, 0.6, 0.5], [0.1, 0.6, 0.5], tmp_path / "long")
    assert (tmp_path / "long.png").read_bytes() == png
    assert (tmp_path / "long.svg").stat().st_size > 1000
    assert pixels_like(tmp_path / "long.png", blue) > 3 * pixels_like(tmp_path / "short.png", blue) > 0


def test_each_setting_of_a_search_has_its_panel(tmp_path):
    choices = {"kernel": [3, 5, 3], "activation": ["relu", "elu", "relu"], "learning_rate": [1e-4, 1e-5, 1e-6]}
    write_trials([0.3, None, 0.6], choices, tmp_path / "three")
    write_trials([0.3, None, 0.6], {"kernel": [3, 5, 3]}, tmp_path / "one")
    assert height(tmp_path / "three.png") == 2 * height(tmp_path / "one.png")


def test_a_search_without_a_trial_is_drawn_empty(tmp_path):
    write_trials([], {}, tmp_path / "none")
    assert (tmp_path / "none.png").exists()
