from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fringemap.errors import ModelError, SettingsError
from fringemap.settings import NetworkSettings
from fringemap.spots.model import Model, check_model, load_model, run_model
from fringemap.spots.unet import compute_logit
from fringemap.training import package
from fringemap.training.checkpoint import read_tensors
from fringemap.training.networks import make_network
from fringemap.training.package import (
    TOLERANCE,
    PackageInfo,
    count_logits,
    dice_by_threshold,
    tabulate_rate,
    write_package,
)
from made_samples import MadeSample, MadeSamples, empty_samples

NETWORK = NetworkSettings(base_width=2)
INFO = PackageInfo("made", "1", ({"name": "made", "licence": "none"},), "none", {"seed": 0}, {"best_round": 3})
VALIDATION = MadeSamples(4)


def seeing_network():
    """A network without training that passes its input on: the logit is near the score of the brightest bin."""
    torch.manual_seed(0)
    network = make_network(NETWORK).eval()
    with torch.no_grad():
        network.head.weight.normal_(std=0.5)
    return network


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The same network at full precision and in 8 bits; exported once, which takes its time."""
    made: dict[bool, Model] = {}
    plain = package.export_onnx

    def export_once(network, path):
        if not made:
            return plain(network, path)
        shutil.copy(made[False].folder / "model.onnx", path)
        return float(made[False].about["metrics"]["export_difference_logit"])

    patch = pytest.MonkeyPatch()
    patch.setattr(package, "export_onnx", export_once)
    for int8 in (False, True):
        folder = tmp_path_factory.mktemp("package")
        made[int8] = write_package(
            seeing_network(),
            folder,
            settings=NETWORK,
            validation=VALIDATION,
            empty=empty_samples(4),
            info=INFO,
            int8=int8,
        )
    patch.undo()
    return made


@pytest.mark.parametrize("shape", [(64, 32), (32, 96), (128, 160)])
def test_the_exported_network_computes_what_the_trained_one_does(packages, shape):
    image = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        wanted = seeing_network()(image)[:, 0].numpy()
    got = np.concatenate([run_model(packages[False], one[None].numpy()) for one in image])
    assert np.abs(wanted).max() > 0.5
    np.testing.assert_allclose(got, wanted, atol=TOLERANCE)


def test_a_package_is_the_same_wherever_it_was_made(packages):
    assert str(Path(package.__file__).parent).encode() not in (packages[False].folder / "model.onnx").read_bytes()
    shipped = load_model("compact-1").folder / "model.onnx"
    assert b"networks.py" not in shipped.read_bytes()


def test_a_package_says_what_its_use_and_its_making_depend_on(packages):
    about = json.loads((packages[False].folder / "model.json").read_text(encoding="utf-8"))
    assert about["metrics"]["best_round"] == 3
    assert about["metrics"]["export_difference_logit"] <= TOLERANCE
    assert about["training"]["sets"] == [{"name": "made", "licence": "none"}]
    assert about["input"]["stride_px"] == 32
    assert about["calibration"]["n_patterns"] == about["calibration_near_axes"]["n_patterns"] == 4
    assert len(about["test_vectors"]) == 2
    assert check_model(packages[False]) <= TOLERANCE


@pytest.mark.parametrize("int8", [False, True])
def test_a_package_keeps_the_weights_that_training_on_begins_with(packages, int8):
    kept, about = read_tensors(packages[int8].folder / package.WEIGHTS)
    assert NetworkSettings(**about["network"]) == NETWORK
    for name, value in seeing_network().state_dict().items():
        assert torch.equal(kept[name], value), name


def test_eight_bits_are_smaller_and_their_loss_is_said(packages):
    small, large = ((packages[k].folder / "model.onnx").stat().st_size for k in (True, False))
    assert small < large
    metrics = packages[True].about["metrics"]
    assert 0 <= metrics["dice"] <= 1
    assert metrics["dice_float32"] == pytest.approx(packages[False].about["metrics"]["dice"], abs=1e-5)
    assert check_model(packages[True]) < 1.0


def test_the_threshold_is_that_of_the_best_dice(packages):
    model = packages[False]
    dice = dice_by_threshold(count_logits(model, VALIDATION))
    assert dice.max() == pytest.approx(model.about["metrics"]["dice"], abs=1e-5)
    # Counted plainly at the threshold.
    found = true = both = 0
    for k in range(len(VALIDATION)):
        sample = VALIDATION[k]
        logit = compute_logit(model, sample.image.astype(np.float32))[:, -sample.label.shape[1] :]
        above = logit > model.threshold
        found, true, both = found + above.sum(), true + sample.label.sum(), both + (above & (sample.label > 0)).sum()
    assert 2 * both / (found + true) == pytest.approx(dice.max(), abs=1e-3)


def test_a_package_without_patterns_to_judge_it_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="needs patterns without any spot"):
        write_package(seeing_network(), tmp_path, settings=NETWORK, validation=VALIDATION, empty=[], info=INFO)


def test_a_package_that_is_not_finished_leaves_the_one_before_alone(packages, tmp_path, monkeypatch):
    def stopped():
        yield from empty_samples(1)
        raise KeyboardInterrupt

    whole = shutil.copytree(packages[False].folder, tmp_path / "whole")
    before = (whole / "model.json").read_bytes()
    monkeypatch.setattr(package, "export_onnx", lambda _, path: shutil.copy(whole / "model.onnx", path) and 0.0)
    for folder in (whole, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            write_package(seeing_network(), folder, settings=NETWORK, validation=VALIDATION, empty=stopped(), info=INFO)
    assert (whole / "model.json").read_bytes() == before
    assert check_model(load_model(str(whole))) <= TOLERANCE
    with pytest.raises(ModelError, match="holds no model package"):
        load_model(str(tmp_path / "new"))
    # The next one takes up where this was left.
    made = write_package(
        seeing_network(), whole, settings=NETWORK, validation=VALIDATION, empty=empty_samples(4), info=INFO
    )
    assert made.folder == whole
    assert not (whole / ".unfinished").exists()


def test_the_rate_of_false_spots_follows_an_exponential_tail_beyond_the_counts(rng):
    # 100 a megapixel above 0, a tenth of that every 2.
    highest = rng.exponential(2 / np.log(10), 5000)
    logit, rate = tabulate_rate(highest, 50.0)
    assert (np.diff(logit) > 0).all()
    assert (np.diff(rate) < 0).all()
    for at in (0.5, 2.0, 5.0, 7.0):
        assert np.interp(at, logit, rate) == pytest.approx(2 - at / 2, abs=0.25)


@pytest.mark.parametrize("highest", [[], [-1.0], [0.5, 2.0, -3.0]])
def test_few_false_spots_still_make_a_table_that_falls(highest):
    logit, rate = tabulate_rate(np.array(highest), 10.0)
    assert len(logit) >= 2
    assert (np.diff(logit) > 0).all()
    assert (np.diff(rate) < 0).all()
    assert rate[0] >= np.log10(max(len(highest), 1) / 10) - 1e-9


def test_false_spots_near_the_axes_are_counted_apart(monkeypatch):
    monkeypatch.setattr(package, "compute_logit", lambda _model, image: image[0])
    places = [(60, 1), (48, 20), (10, 25), (40, 30), (70, 9)]
    tables = package.calibrate(None, [one_bright_pixel(*place) for place in places])
    away, near = tables["calibration"], tables["calibration_near_axes"]
    assert (away["n_false"], near["n_false"]) == (3, 2)
    assert away["n_patterns"] == near["n_patterns"] == 5
    assert near["n_megapixels"] < away["n_megapixels"]


def one_bright_pixel(row, col):
    image = np.full((2, 101, 40), -9.0, np.float32)
    image[0, row, col] = 2.0
    return MadeSample(image, np.zeros((101, 40), np.uint8), np.ones((101, 40), np.uint8))


def test_false_spots_of_nearly_the_same_logit_make_a_table_that_falls_when_it_is_rounded(rng):
    table = package._table([(rng.uniform(0.0, 1e-3, 5), 4000) for _ in range(40)])
    assert (np.diff(table["logit"]) > 0).all()
    assert (np.diff(table["log10_false_per_megapixel"]) < 0).all()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_power_of_the_pixels_with_which_false_spots_grow_is_found(rng, exponent):
    megapixels = rng.uniform(0.02, 0.5, 4000)
    counts = rng.poisson(0.5 * megapixels**exponent)
    logits = [rng.exponential(3.0, n) for n in counts]
    assert package.fit_exponent(logits, megapixels) == pytest.approx(exponent, abs=0.15)
    assert package.fit_exponent(logits[:100], megapixels[:100]) == 1.0


@pytest.mark.parametrize("n", [500, 20_000])
def test_a_tail_as_long_as_a_trained_network_makes_is_followed(rng, n):
    highest = rng.exponential(4.0, n)
    logit, rate = tabulate_rate(highest, 10.0)
    # Where one is expected in all; the mean of 20 says it within a factor of two.
    assert np.interp(4.0 * np.log(n), logit, rate) == pytest.approx(np.log10(1.0 / 10.0), abs=0.6)


def test_finding_spots_imports_no_torch(packages):
    code = (
        "import sys, numpy as np\n"
        "from fringemap.records import Frame, Scale, ScaleSource\n"
        "from fringemap.settings import SpotSettings\n"
        "from fringemap.spectrum import compute_diffractogram\n"
        "from fringemap.spots import find_spots\n"
        "image = np.random.default_rng(0).normal(100, 10, (128, 128)).astype(np.float32)\n"
        "frame = Frame(image, Scale((0.4, 0.4), 0.0, ScaleSource.USER), 'noise')\n"
        "find_spots(compute_diffractogram(frame), settings=SpotSettings(detector='unet', model=sys.argv[1]))\n"
        "assert 'onnxruntime' in sys.modules\n"
        "print([name for name in ('torch', 'onnx', 'optuna', 'matplotlib') if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(packages[False].folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
