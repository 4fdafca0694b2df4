"""A trained network becomes a model package: exported, checked, its threshold tuned, its false spots counted."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import tempfile
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fringemap.errors import ModelError, SettingsError
from fringemap.report.atomic import atomic_write
from fringemap.spots.model import (
    CONTRACT,
    FORMAT,
    MARGIN,
    are_near_axes,
    count_by_axes,
    load_model,
    pack_array,
    run_model,
    sha256_of,
)
from fringemap.spots.unet import compute_logit, find_regions
from fringemap.training.batches import stack_sample
from fringemap.training.checkpoint import write_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from fringemap.records import FloatArray, Image
    from fringemap.settings import NetworkSettings
    from fringemap.spots.model import Model
    from fringemap.training.batches import Sample, Samples
    from fringemap.training.networks import UNet

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
"""File of a package with the weights as they were trained; only training on needs it."""
TOLERANCE = 2e-3
"""Largest difference of logits between ONNX Runtime and PyTorch, and between one processor and another."""
INT8_TOLERANCE = 1.0
"""Of a quantised network: processors with and without wide int8 products round differently."""
MAX_SHAPE = (1024, 512)
_CHANNELS = ["score of the brightest bin", "score of the mean", "score of the mean over the calm of its ring"]
_OPSET = 18
_VECTOR_SHAPES = ((64, 64), (96, 32))
# Sides of the two pictures on which the export is compared with what was exported [strides].
_TRIAL_SIDES = ((2, 3), (5, 4))
_LOGITS = np.linspace(-12.0, 12.0, 481)
_INT8_SAMPLES, _INT8_CROP = 24, 256
# False spots are counted from this logit on; the table goes on beyond its ends.
_LEAST_LOGIT = -4.0
_KNOTS, _LEAST_STEP = 24, 1e-3
# The table follows the counts down to so many false spots, and an exponential tail through the highest from there on.
_TAIL_COUNT = 20
_TAIL_MEAN = (0.1, 10.0)


@dataclass(frozen=True)
class PackageInfo:
    """What a package says of its making."""

    name: str
    version: str
    sets: tuple[Mapping[str, Any], ...]
    """Name, size, origin and licence of each training set."""
    licence: str
    recipe: Mapping[str, Any]
    metrics: Mapping[str, Any]


def write_package(
    network: UNet,
    folder: Path,
    *,
    settings: NetworkSettings,
    validation: Samples,
    empty: Iterable[Sample],
    info: PackageInfo,
    int8: bool = False,
    tell: Callable[[str, int, int], None] | None = None,
) -> Model:
    """Export a network, tune its threshold, count its false spots, and write all as a folder.

    A package that is in the folder already stays until the new one is whole.

    Parameters
    ----------
    validation
        Patterns that were not trained on; the threshold is that of their best Dice.
    empty
        Patterns of frames without any crystal; the rate of false spots is counted on them. None is kept: they may be
        drawn while they are counted.
    int8
        Store weights and products as 8-bit integers; the loss in Dice is measured and said in ``metrics``.

    Returns
    -------
    Model
        As ``load_model`` reads it.

    Raises
    ------
    ModelError
        The exported network does not compute what the trained one does.
    SettingsError
        There is no pattern to count false spots on.
    """
    if len(validation) == 0:
        raise SettingsError("a package needs validation patterns; make a larger set")
    with _beside(folder) as made:
        difference = export_onnx(network, made / "model.onnx")
        # The exporter folds layers into each other; who trains on needs them as they were.
        write_tensors(made / WEIGHTS, network.state_dict(), {"network": asdict(settings)})
        about = _describe(network, settings, info)
        metrics = {**info.metrics, "export_difference_logit": difference}
        model = _write(made, about, metrics, _vectors(validation[0], settings), TOLERANCE)
        counts = count_logits(model, validation, tell=tell)
        if int8:
            metrics["dice_float32"] = round(float(dice_by_threshold(counts).max()), 5)
            quantise(made / "model.onnx", validation, settings, stride=network.stride)
            model = _write(made, about, metrics, _vectors(validation[0], settings), INT8_TOLERANCE)
            counts = count_logits(model, validation, tell=tell)
        dice = dice_by_threshold(counts)
        threshold, metrics["dice"] = float(_LOGITS[dice.argmax()]), round(float(dice.max()), 5)
        about |= {"threshold_logit": threshold, **calibrate(model, empty)}
        _write(made, about, metrics, _vectors(validation[0], settings), INT8_TOLERANCE if int8 else TOLERANCE)
    return load_model(str(folder))


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Folder for files that take their places together at the end; till then threshold and false spots are unknown."""
    unfinished = folder / ".unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)
    yield unfinished
    # Last comes what makes a package of them: with another network it would be refused.
    for path in sorted(unfinished.iterdir(), key=lambda path: path.name == "model.json"):
        path.replace(folder / path.name)
    unfinished.rmdir()


def export_onnx(network: UNet, path: Path) -> float:
    """Write a network for any height and width, and return the largest difference of its logits from PyTorch's.

    Raises
    ------
    ModelError
        The difference is above ``TOLERANCE``.
    """
    network = network.cpu().eval()
    example = torch.zeros(1, network.n_channels, 2 * network.stride, 3 * network.stride)
    rows, cols = (torch.export.Dim(name, min=1, max=4096) for name in ("rows", "cols"))
    shape = {2: network.stride * rows, 3: network.stride * cols}
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes=(shape,),
            opset_version=_OPSET,
            input_names=["image"],
            output_names=["logit"],
            verbose=False,
        )
    if program is None:
        raise ModelError("the network cannot be exported; this release of torch writes no ONNX")
    # Lines and folders of the source, which differ from machine to machine.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    with atomic_write(path) as beside:
        program.save(str(beside), external_data=False)
    worst = max(_difference(network, path, tuple(n * network.stride for n in sides)) for sides in _TRIAL_SIDES)
    if not worst <= TOLERANCE:
        raise ModelError(f"{path} computes logits that differ by {worst:.2g} from PyTorch's, {TOLERANCE:g} are allowed")
    return worst


def quantise(path: Path, samples: Samples, settings: NetworkSettings, *, stride: int) -> None:
    """Turn an exported network into one of 8-bit integers, in place; ranges come from crops of some patterns."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images = _crops(samples, settings, stride)

        def get_next(self) -> dict[str, Image] | None:
            image = next(self._images, None)
            return None if image is None else {"image": image}

    with tempfile.TemporaryDirectory() as work, _quiet(""), warnings.catch_warnings(), atomic_write(path) as beside:
        warnings.simplefilter("ignore")
        prepared = Path(work) / "prepared.onnx"
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(beside),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def count_logits(model: Model, samples: Samples, *, tell: Callable[[str, int, int], None] | None = None) -> FloatArray:
    """Pixels on spots and beside them, by logit: (2, n) counts of those above each of ``_LOGITS``; ignored ones not."""
    counts = np.zeros((2, len(_LOGITS) + 1))
    for number in range(len(samples)):
        sample = samples[number]
        logit = _half_logit(model, sample)
        bins = np.searchsorted(_LOGITS, logit)
        for row, on_spot in enumerate((True, False)):
            chosen = (sample.weight > 0) & ((sample.label > 0) == on_spot)
            counts[row] += np.bincount(bins[chosen], minlength=counts.shape[1])
        if tell is not None:
            tell("tune the threshold", number + 1, len(samples))
    above: FloatArray = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    return above


def dice_by_threshold(counts: FloatArray) -> FloatArray:
    """Dice over all pixels at each of ``_LOGITS``, from ``count_logits``."""
    true, both, found = counts[0, 0], counts[0, 1:], counts[:, 1:].sum(axis=0)
    dice: FloatArray = 2 * both / np.maximum(true + found, 1.0)
    return dice


def calibrate(model: Model, empty: Iterable[Sample]) -> dict[str, Any]:
    """Tables of false spots in a million pixels by their highest logit, from patterns without any spot.

    Returns
    -------
    dict
        ``calibration``, away from the axes of reciprocal space, and ``calibration_near_axes``.

    Raises
    ------
    SettingsError
        There is no pattern.
    """
    away: list[tuple[FloatArray, int]] = []
    near: list[tuple[FloatArray, int]] = []
    for sample in empty:
        valid = np.asarray(sample.weight) > 0
        regions = find_regions(compute_logit(model, np.asarray(sample.image, np.float32)), valid, level=_LEAST_LOGIT)
        on_axes = are_near_axes(regions.row, regions.col, len(valid))
        n_away, n_near = count_by_axes(valid)
        away.append((regions.logit[~on_axes], n_away))
        near.append((regions.logit[on_axes], n_near))
    if not away:
        raise SettingsError("a package needs patterns without any spot to count false ones on; draw some")
    return {"calibration": _table(away), "calibration_near_axes": _table(near)}


def _table(patterns: Sequence[tuple[FloatArray, int]]) -> dict[str, Any]:
    """A table as ``model.json`` holds it, from the logits of false spots and the pixels of each pattern."""
    highest = np.concatenate([logit for logit, _ in patterns])
    megapixels = np.array([max(n, 1) / 1e6 for _, n in patterns])
    exponent = fit_exponent([logit for logit, _ in patterns], megapixels)
    logit, log10_rate = tabulate_rate(highest, float((megapixels**exponent).sum()))
    return {
        "logit": [round(float(x), 4) for x in logit],
        "log10_false_per_megapixel": [round(float(x), 4) for x in log10_rate],
        "exponent": exponent,
        "n_patterns": len(patterns),
        "n_megapixels": round(float(megapixels.sum()), 2),
        "n_false": len(highest),
    }


def fit_exponent(logits: Sequence[FloatArray], megapixels: FloatArray) -> float:
    """Power of the pixels with which the number of false spots grows, from 0 to 1, two decimals.

    Notes
    -----
    Maximum likelihood of Poisson counts of the highest logits, one in ten patterns: about as many as an analysis
    allows. With fewer than 20 of them, or patterns of one size, it is 1.
    """
    n = len(megapixels) // 10
    falling = np.sort(np.concatenate(logits))[::-1]
    if min(n, len(falling)) < _TAIL_COUNT or np.ptp(megapixels) == 0:
        return 1.0
    least = falling[min(n, len(falling)) - 1]
    counts, log_size = np.array([np.count_nonzero(logit >= least) for logit in logits]), np.log(megapixels)
    powers = np.linspace(0.0, 1.0, 101)
    likelihood = [p * (counts @ log_size) - counts.sum() * np.log(np.exp(p * log_size).sum()) for p in powers]
    return round(float(powers[np.argmax(likelihood)]), 2)


def tabulate_rate(highest: FloatArray, n_megapixels: float) -> tuple[FloatArray, FloatArray]:
    """Rising logits, and log10 of the false spots with at least these logits in a million pixels.

    Notes
    -----
    The k-th highest of all is reached by k of them. Counts below 20 say little: from there on the rate falls
    exponentially, by the mean excess of the 20 highest, the maximum-likelihood estimate of such a tail. Where there are
    fewer, 0 to 19, the tail begins at the least logit, and its rate is not taken below one in all.
    """
    falling = np.sort(highest)[::-1]
    n = len(falling)
    if n <= _TAIL_COUNT:
        start, count, excess = _LEAST_LOGIT, max(n, 1), falling - _LEAST_LOGIT
        knots, counts = np.zeros(0), np.zeros(0)
    else:
        start, count = float(falling[_TAIL_COUNT]), _TAIL_COUNT
        excess = falling[:_TAIL_COUNT] - start
        ranks = np.unique(np.geomspace(_TAIL_COUNT + 1, n, _KNOTS).astype(int))[::-1]
        knots, counts = falling[ranks - 1], ranks.astype(float)
    mean = float(np.clip(excess.mean() if len(excess) else 0.0, *_TAIL_MEAN))
    tail = start + mean * np.arange(1, 8)
    logit = np.concatenate([knots, tail] if n > _TAIL_COUNT else [[start], tail])
    rate = np.concatenate([counts if n > _TAIL_COUNT else [count], count * np.exp(-np.arange(1.0, 8.0))])
    # Still apart when they are rounded.
    rising = np.concatenate([[True], np.diff(logit) > _LEAST_STEP])
    return logit[rising], np.log10(rate[rising] / n_megapixels)


def _half_logit(model: Model, sample: Sample) -> Image:
    """Logit over the half pattern, without the mates."""
    logit = compute_logit(model, np.asarray(sample.image, np.float32))
    return logit[:, logit.shape[1] - sample.image.shape[2] :]


def _difference(network: UNet, path: Path, shape: tuple[int, ...]) -> float:
    import onnxruntime

    image = torch.randn((2, network.n_channels, *shape), generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for one in image[:, None]:
        with torch.inference_mode():
            wanted = network(one).numpy()
        worst = max(worst, float(np.abs(session.run(None, {"image": one.numpy()})[0] - wanted).max()))
    return worst


def _vectors(sample: Sample, settings: NetworkSettings) -> list[NDArray[np.float16]]:
    """Parts of a pattern, around the middle of the axis gx = 0 where most is to be seen; stored at half precision."""
    stacked = stack_sample(sample, settings)[:-2]
    vectors = []
    for rows, cols in _VECTOR_SHAPES:
        part = np.zeros((len(stacked), rows, cols), np.float16)
        top = max(stacked.shape[1] // 2 - rows // 2, 0)
        seen = stacked[:, top : top + rows, MARGIN : MARGIN + cols]
        part[:, : seen.shape[1], : seen.shape[2]] = seen
        vectors.append(part)
    return vectors


def _crops(samples: Samples, settings: NetworkSettings, stride: int) -> Iterator[Image]:
    for number in range(min(len(samples), _INT8_SAMPLES)):
        stacked = stack_sample(samples[number], settings)[:-2]
        rows, cols = (min(n, _INT8_CROP) // stride * stride for n in stacked.shape[1:])
        if rows and cols:
            top = (stacked.shape[1] - rows) // 2
            yield stacked[None, :, top : top + rows, :cols]


def _describe(network: UNet, settings: NetworkSettings, info: PackageInfo) -> dict[str, Any]:
    channels = _CHANNELS[: network.n_channels]
    return {
        "format": FORMAT,
        "name": info.name,
        "version": info.version,
        "fringemap": version("fringemap"),
        "made": dt.datetime.now(dt.UTC).date().isoformat(),
        "licence": info.licence,
        "input": {
            "contract": CONTRACT,
            "channels": channels,
            "normalisation": "scores against noise, which has mean 0 and standard deviation 1; compressed beyond 1.5",
            "scale": "one pixel a bin of the half spectrum, or several where it exceeds max_shape_px",
            "half": settings.half,
            "margin_px": MARGIN,
            "stride_px": network.stride,
            "max_shape_px": list(MAX_SHAPE),
        },
        "output": "logit of a pixel belonging to a spot",
        "threshold_logit": 0.0,
        "calibration": {"logit": [0.0, 1.0], "log10_false_per_megapixel": [0.0, -1.0]},
        "network": asdict(settings),
        "n_weights": sum(p.numel() for p in network.parameters()),
        "training": {"sets": [dict(s) for s in info.sets], "recipe": dict(info.recipe)},
    }


def _write(
    folder: Path,
    about: Mapping[str, Any],
    metrics: Mapping[str, Any],
    vectors: Sequence[NDArray[np.float16]],
    tolerance: float,
) -> Model:
    """Write model.json around the model.onnx that is there; what its test vectors should give is computed with it."""
    whole = {**about, "sha256": sha256_of(folder / "model.onnx"), "metrics": dict(metrics), "test_vectors": []}
    _write_json(whole, folder)
    model = load_model(str(folder))
    for image in vectors:
        logit = run_model(model, image[None].astype(np.float32))[0]
        packed = {"image": pack_array(image), "logit": pack_array(logit.astype(np.float32))}
        whole["test_vectors"].append({**packed, "tolerance_logit": tolerance})
    _write_json(whole, folder)
    return load_model(str(folder))


def _write_json(about: Mapping[str, Any], folder: Path) -> None:
    with atomic_write(folder / "model.json") as beside:
        beside.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """No chatter of some loggers: exporters warn of everything that they do not do."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
