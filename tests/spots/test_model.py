from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fringemap.errors import ModelError
from fringemap.spots import model as models
from fringemap.spots.model import (
    AXIS_PX,
    THREADS,
    Calibration,
    are_near_axes,
    check_model,
    count_by_axes,
    load_model,
    pack_array,
    run_model,
    unpack_array,
)
from made_model import BIAS, WEIGHTS, write_made_model

TABLE = Calibration(np.array([-2.0, 0.0, 3.0]), np.array([2.0, 1.0, -2.0]))


@pytest.fixture
def folder(tmp_path):
    return write_made_model(tmp_path / "package")


def change(folder, **entries):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_package_is_read_and_its_network_computes(folder, rng):
    model = load_model(str(folder))
    image = rng.normal(size=(1, 2, 12, 8)).astype(np.float32)
    wanted = WEIGHTS[0] * image[:, 0] + WEIGHTS[1] * image[:, 1] + BIAS
    np.testing.assert_allclose(run_model(model, image), wanted, atol=1e-5)
    assert check_model(model) < 1e-4
    assert (model.name, model.stride, model.n_channels, model.half) == ("made", 4, 2, True)


def test_a_folder_that_is_not_there_is_named_with_the_way_out(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere is no folder with a model package; train .* --detector classical"):
        load_model(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("part", ["model.onnx", "model.json"])
def test_a_package_that_lacks_a_part_is_refused(folder, part):
    (folder / part).unlink()
    with pytest.raises(ModelError, match="holds no model package"):
        load_model(str(folder))


def test_without_a_shipped_package_there_is_no_silent_default(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "_MODELS", tmp_path)
    with pytest.raises(ModelError, match=r"no model package comes with this copy"):
        load_model()


def test_a_shipped_package_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "_MODELS", tmp_path)
    write_made_model(tmp_path / "small")
    assert load_model("small").folder == tmp_path / "small"


def test_a_network_that_was_changed_is_refused(folder):
    with (folder / "model.onnx").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": 99}, "has format 99, this fringemap reads 1"),
        ({"sha256": 3}, "SHA-256 differs"),
        ({"calibration": {"logit": [0, 1], "log10_false_per_megapixel": [0, 1]}}, "does not fall"),
        ({"calibration": {"logit": [0], "log10_false_per_megapixel": [0]}}, "does not fall"),
        ({"calibration": {}}, "is damaged"),
        ({"input": {}}, "is damaged"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, entries, message):
    change(folder, **entries)
    with pytest.raises(ModelError, match=message):
        load_model(str(folder))


def test_a_package_that_a_stopped_training_left_is_refused(folder):
    about = json.loads((folder / "model.json").read_text())
    del about["test_vectors"]
    (folder / "model.json").write_text(json.dumps(about))
    with pytest.raises(ModelError, match="unfinished: its training was stopped"):
        load_model(str(folder))


def test_input_of_another_version_is_refused(tmp_path):
    folder = write_made_model(tmp_path / "old", input_about={"contract": 0})
    with pytest.raises(ModelError, match="input of version 0, this fringemap makes 1"):
        load_model(str(folder))


def test_a_description_that_is_no_json_is_refused(folder):
    (folder / "model.json").write_text("{")
    with pytest.raises(ModelError, match="is damaged"):
        load_model(str(folder))


def test_a_network_that_is_no_onnx_is_refused_when_it_is_used(folder):
    (folder / "model.onnx").write_bytes(b"nothing")
    change(folder, sha256=models.sha256_of(folder / "model.onnx"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        run_model(load_model(str(folder)), np.zeros((1, 2, 4, 4), np.float32))


def test_a_network_that_computes_something_else_here_is_refused(folder):
    vectors = json.loads((folder / "model.json").read_text())["test_vectors"]
    vectors[0]["logit"] = pack_array(unpack_array(vectors[0]["logit"]) + np.float32(0.1))
    change(folder, test_vectors=vectors)
    for use in (check_model, lambda m: run_model(m, np.zeros((1, 2, 4, 4), np.float32))):
        with pytest.raises(ModelError, match=r"differ by 0.1 .* 0.001 are allowed"):
            use(load_model(str(folder)))


@pytest.mark.parametrize(
    "damage",
    [
        {"image": {"shape": [2, 8, 4], "dtype": "<f2", "zlib_base64": "AAAA"}},
        {"image": {"shape": [2, 8, 4], "dtype": "<f2", "zlib_base64": "A"}},
        {"image": {"shape": [2, 8, 4], "dtype": "nothing", "zlib_base64": pack_array(np.zeros(64))["zlib_base64"]}},
        {"image": {"shape": [2, 8, 4]}},
        {"image": None},
        {"logit": pack_array(np.zeros((4, 8), np.float32))},
        {"tolerance_logit": None},
    ],
)
def test_a_damaged_test_vector_is_named_as_such(folder, damage):
    vectors = json.loads((folder / "model.json").read_text())["test_vectors"]
    change(folder, test_vectors=[vectors[0] | damage])
    for use in (check_model, lambda m: run_model(m, np.zeros((1, 2, 4, 4), np.float32))):
        with pytest.raises(ModelError, match=r"model\.json has a damaged test vector .*; train one"):
            use(load_model(str(folder)))


def test_test_vectors_that_are_no_list_are_refused(folder):
    change(folder, test_vectors=3)
    with pytest.raises(ModelError, match="has a damaged test vector"):
        check_model(load_model(str(folder)))


def test_a_package_that_is_replaced_is_read_anew(folder):
    first = load_model(str(folder))
    assert load_model(str(folder)) is first
    change(folder, name="another")
    assert load_model(str(folder)).name == "another"


@pytest.mark.parametrize(
    ("variables", "threads"), [({}, 0), ({"OMP_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "3", THREADS: "2"}, 2)]
)
def test_the_environment_says_how_many_threads_a_network_takes(monkeypatch, variables, threads):
    for name in (THREADS, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert models._n_threads() == threads


def test_arrays_come_back_from_json(rng):
    for array in (rng.normal(size=(2, 3, 4)).astype(np.float16), np.arange(5.0, dtype=">f4")):
        packed = json.loads(json.dumps(pack_array(array)))
        np.testing.assert_array_equal(unpack_array(packed), array)


@given(false_spots=st.floats(1e-8, 1e4), n_pixels=st.integers(100, 10_000_000))
def test_the_logit_of_a_rate_has_that_rate(false_spots, n_pixels):
    logit = TABLE.logit_at(false_spots, n_pixels)
    assert TABLE.score(np.array([logit]), n_pixels)[0] == pytest.approx(-np.log10(false_spots), abs=1e-6)


@given(st.lists(st.floats(-20, 40), min_size=2, max_size=20))
def test_a_higher_logit_never_has_a_lower_score(logits):
    scores = TABLE.score(np.sort(np.array(logits)), 400_000)
    assert (np.diff(scores) >= -1e-12).all()


def test_the_score_counts_false_spots_of_the_whole_frame():
    # One in a million pixels at logit 1: in 100,000 pixels a tenth.
    assert TABLE.score(np.array([1.0]), 100_000)[0] == pytest.approx(1.0)
    assert TABLE.score(np.array([1.0]), 1_000_000)[0] == pytest.approx(0.0)


def test_reading_a_package_needs_no_onnxruntime():
    assert "onnxruntime" not in models.__dict__
    assert sys.modules["fringemap.spots.model"] is models


NEAR = {"logit": [-1.0, 5.0], "log10_false_per_megapixel": [3.0, 1.5]}


def test_near_the_axes_a_spot_has_the_score_of_their_own_table(folder):
    change(folder, calibration_near_axes=NEAR)
    model, valid = load_model(str(folder)), np.ones((201, 100), bool)
    row, col = np.array([100.0, 100.0 - AXIS_PX, 30.0, 30.0]), np.array([50.0, 50.0, 2.0, 50.0])
    np.testing.assert_array_equal(are_near_axes(row, col, 201), [True, True, True, False])
    score = model.score(np.full(4, 4.0), row, col, valid)
    assert (score[:3] == score[0]).all()
    assert score[0] < score[3]


@given(false_spots=st.floats(1e-4, 10.0))
def test_false_spots_near_the_axes_and_away_from_them_add_up_to_those_that_are_stated(tmp_path_factory, false_spots):
    folder = tmp_path_factory.mktemp("near") / "package"
    write_made_model(folder)
    change(folder, calibration_near_axes=NEAR)
    model, valid = load_model(str(folder)), np.ones((201, 100), bool)
    away, near = (np.array([float(place)]) for place in (30, 100))
    logits = np.linspace(-60, 60, 4001)
    total = 0.0
    for row, table, n in zip((away, near), (model.calibration, model.near_axes), count_by_axes(valid), strict=True):
        score = model.score(logits, np.repeat(row, len(logits)), np.full(len(logits), 50.0), valid)
        listed = logits[score >= -np.log10(false_spots)]
        assert model.least_logit(false_spots, valid) <= listed[0] + 0.03
        total += 10.0 ** -float(table.score(listed[:1], n)[0])
    assert total == pytest.approx(false_spots, rel=0.1)


def test_a_table_near_the_axes_that_does_not_fall_is_refused(folder):
    change(folder, calibration_near_axes={"logit": [0, 1], "log10_false_per_megapixel": [0, 1]})
    with pytest.raises(ModelError, match="does not fall"):
        load_model(str(folder))


@given(exponent=st.floats(0.0, 1.0), rate=st.floats(1e-3, 10.0))
def test_with_any_power_of_the_pixels_the_logit_of_a_rate_has_the_score_of_that_rate(exponent, rate):
    table = Calibration(TABLE.logit, TABLE.log10_rate, exponent)
    logit = np.array([table.logit_at(rate, 30_000)])
    assert table.score(logit, 30_000)[0] == pytest.approx(-np.log10(rate), abs=1e-6)
    grown = table.score(logit, 30_000) - table.score(logit, 300_000)
    assert grown[0] == pytest.approx(exponent)
