"""A model package without training: its logit is a weighted sum of the two scores of each pixel."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fringemap.spots.model import CONTRACT, FORMAT, MARGIN, pack_array, sha256_of

WEIGHTS, BIAS = (2.0, 0.5), -8.0


def write_made_model(folder, *, bias=BIAS, about=None, input_about=None):
    """Write the package; ``about`` and ``input_about`` replace entries of model.json."""
    folder.mkdir(parents=True, exist_ok=True)
    weight = numpy_helper.from_array(np.array(WEIGHTS, np.float32).reshape(1, 2, 1, 1), "weight")
    offset = numpy_helper.from_array(np.array([bias], np.float32), "bias")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logit"])],
        "made",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 2, "rows", "cols"])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n", 1, "rows", "cols"])],
        [weight, offset],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx"
    )
    image = np.linspace(-2, 8, 2 * 8 * 4).reshape(2, 8, 4).astype(np.float16)
    logit = (image.astype(np.float32) * np.array(WEIGHTS, np.float32)[:, None, None]).sum(axis=0) + bias
    whole = {
        "format": FORMAT,
        "name": "made",
        "made": "2026-01-01",
        "n_weights": 3,
        "sha256": sha256_of(folder / "model.onnx"),
        "input": {
            "contract": CONTRACT,
            "channels": ["brightest", "mean"],
            "half": True,
            "margin_px": MARGIN,
            "stride_px": 4,
            "max_shape_px": [1024, 512],
        }
        | (input_about or {}),
        "threshold_logit": 0.0,
        # Measured on white noise: a score of 4 is about one false pixel in 30,000.
        "calibration": {
            "logit": [-4.0, 0.0, 4.0],
            "log10_false_per_megapixel": [4.0, 1.5, -1.5],
            "n_false": 0,
            "n_patterns": 0,
            "n_megapixels": 0.0,
        },
        "metrics": {"dice": 0.5},
        "test_vectors": [
            {"image": pack_array(image), "logit": pack_array(logit.astype(np.float32)), "tolerance_logit": 1e-3}
        ],
    } | (about or {})
    (folder / "model.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder
