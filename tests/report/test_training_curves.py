from __future__ import annotations

from PIL import Image

from fringemap.report.training_curves import write_training_curves, write_trials


def ink(path):
    """Share of pixels that are not white."""
    histogram = Image.open(path).convert("L").histogram()
    return 1 - histogram[255] / sum(histogram)


def test_curves_are_drawn_as_png_and_svg_and_grow_with_the_rounds(tmp_path):
    write_training_curves([1], [1.0], [0.9], [0.1], tmp_path / "short")
    png = write_training_curves([1, 2, 3], [1.0, 0.5, 0.4], [0.9, 0.6, 0.5], [0.1, 0.6, 0.5], tmp_path / "long")
    assert (tmp_path / "long.png").read_bytes() == png
    assert (tmp_path / "long.svg").stat().st_size > 1000
    assert ink(tmp_path / "long.png") > ink(tmp_path / "short.png") > 0.01


def test_each_setting_of_a_search_has_its_panel(tmp_path):
    choices = {"kernel": [3, 5, 3], "activation": ["relu", "elu", "relu"], "learning_rate": [1e-4, 1e-5, 1e-6]}
    write_trials([0.3, None, 0.6], choices, tmp_path / "three")
    write_trials([0.3, None, 0.6], {"kernel": [3, 5, 3]}, tmp_path / "one")
    tall, flat = (Image.open(tmp_path / f"{name}.png").size[1] for name in ("three", "one"))
    assert tall == 2 * flat


def test_a_search_without_a_trial_is_drawn_empty(tmp_path):
    write_trials([], {}, tmp_path / "none")
    assert (tmp_path / "none.png").exists()
