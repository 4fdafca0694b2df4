"""Model packages: a folder with a network as ``model.onnx`` and, in ``model.json``, all that its use depends on.

Training writes a package and this room reads it; neither knows more of the other. What does not fit is an error: a
package that is missing or damaged, made for other input, or that computes something else here than where it was made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fringemap.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from fringemap.records import FloatArray, Image, Mask

FORMAT = 1
"""Of ``model.json``."""
CONTRACT = 1
"""Of the input: what ``pattern.make_pattern`` makes, ``MARGIN`` columns of mates, zeros around it. Whoever changes what
a network sees counts this up, and older packages are refused."""
MARGIN = 32
"""Columns of mates left of gx = 0 that a network sees [px]."""
AXIS_PX = 3
"""Within so many pixels of gx = 0 or gy = 0 false spots are counted apart: what is drawn or cut along the sides of a
frame, above all a scale bar, has bright lobes there."""
SHIPPED = "compact-1"
"""The package that comes with fringemap."""
THREADS = "FRINGEMAP_THREADS"
"""Environment variable: threads of a network in one process."""

# Share of the false spots of a frame that are allowed near the axes: few true ones lie there.
_AXES_SHARE = 0.1
_MODELS = Path(__file__).parent / "models"
_HELP = "train one with fringemap train, name it with --model, or choose --detector classical"


@dataclass(frozen=True)
class Calibration:
    """How many false spots empty frames hold, by the highest logit of a spot."""

    logit: FloatArray
    """Rising; (n,), n of 2 or more."""
    log10_rate: FloatArray
    """log10 of the false spots with at least this logit in a million pixels; falling."""
    exponent: float = 1.0
    """False spots grow with this power of the pixels: below 1, for much that looks like a spot belongs to a frame, not
    to its pixels."""

    def score(self, logit: FloatArray, n_pixels: int) -> FloatArray:
        """-log10 of the false spots that are expected in so many pixels with at least this logit."""
        rate = np.interp(logit, self.logit, self.log10_rate)
        beyond = np.maximum(logit - self.logit[-1], 0.0) * self._slopes[1]
        before = np.minimum(logit - self.logit[0], 0.0) * self._slopes[0]
        score: FloatArray = -(rate + beyond + before + self._log10_of(n_pixels))
        return score

    def logit_at(self, false_spots: float, n_pixels: int) -> float:
        """The logit that so many false spots reach; the inverse of ``score``."""
        wanted = np.log10(false_spots) - self._log10_of(n_pixels)
        if wanted > self.log10_rate[0]:
            return float(self.logit[0] + (wanted - self.log10_rate[0]) / self._slopes[0])
        if wanted < self.log10_rate[-1]:
            return float(self.logit[-1] + (wanted - self.log10_rate[-1]) / self._slopes[1])
        return float(np.interp(-wanted, -self.log10_rate, self.logit))

    def _log10_of(self, n_pixels: int) -> float:
        """How many times the false spots of a million pixels so many hold; log10."""
        return self.exponent * math.log10(max(n_pixels, 1) / 1e6)

    @property
    def _slopes(self) -> tuple[float, float]:
        """Beyond either end the table goes on as its outer parts do."""
        slopes = np.diff(self.log10_rate) / np.diff(self.logit)
        return float(slopes[0]), float(slopes[-1])


@dataclass(frozen=True)
class Model:
    """A package that has been read; the network itself is loaded when it is first used."""

    folder: Path
    name: str
    sha256: str
    """Of ``model.onnx``."""
    n_channels: int
    stride: int
    """The sides of its input are multiples of it [px]."""
    half: bool
    """It sees the half pattern with a margin, or all of it."""
    max_shape: tuple[int, int]
    """Largest pattern it was trained on (rows, cols of the half)."""
    threshold: float
    """Logit from which a pixel belongs to a spot."""
    calibration: Calibration
    """Away from the axes, if these have a table of their own."""
    near_axes: Calibration | None
    about: Mapping[str, Any]
    """The whole of ``model.json``."""

    def score(self, logit: FloatArray, row: FloatArray, col: FloatArray, valid: Mask) -> FloatArray:
        """-log10 of the false spots that are expected in a pattern with at least the scores of n places.

        Parameters
        ----------
        logit, row, col
            Of the places, in pixels of the pattern; (n,).
        valid
            Where spots are looked for; (n_rows, n_cols).
        """
        if self.near_axes is None:
            return self.calibration.score(logit, int(valid.sum()))
        n_off, n_on = count_by_axes(valid)
        off = self.calibration.score(logit, n_off) + np.log10(1 - _AXES_SHARE)
        on = self.near_axes.score(logit, n_on) + np.log10(_AXES_SHARE)
        score: FloatArray = np.where(are_near_axes(row, col, len(valid)), on, off)
        return score

    def least_logit(self, false_spots: float, valid: Mask) -> float:
        """The least logit that a spot can have at this number of false spots in a pattern."""
        if self.near_axes is None:
            return self.calibration.logit_at(false_spots, int(valid.sum()))
        n_off, n_on = count_by_axes(valid)
        off = self.calibration.logit_at((1 - _AXES_SHARE) * false_spots, n_off)
        return min(off, self.near_axes.logit_at(_AXES_SHARE * false_spots, n_on))


def are_near_axes(row: FloatArray, col: FloatArray, n_rows: int) -> Mask:
    """Which pixels of a pattern lie within ``AXIS_PX`` of gx = 0 or gy = 0."""
    near: Mask = (np.abs(row - n_rows // 2) <= AXIS_PX) | (np.abs(col) <= AXIS_PX)
    return near


def count_by_axes(valid: Mask) -> tuple[int, int]:
    """Pixels of a pattern in which spots are looked for: away from the axes, and near them."""
    rows, cols = (np.arange(n, dtype=float) for n in valid.shape)
    near = int(np.count_nonzero(valid & are_near_axes(rows[:, None], cols, len(valid))))
    return int(np.count_nonzero(valid)) - near, near


def load_model(name: str = "") -> Model:
    """Read a package and check that it is whole and fits.

    Parameters
    ----------
    name
        A folder, or the name of a package that comes with fringemap; empty: the default one.

    Raises
    ------
    ModelError
        It is missing or damaged, of another format, or made for other input.
    """
    folder = _folder_of(name)
    try:
        stamp = tuple((folder / part).stat().st_mtime_ns for part in ("model.json", "model.onnx"))
    except OSError as error:
        raise ModelError(f"{folder} holds no model package ({error.strerror}: {error.filename}); {_HELP}") from error
    return _read_model(folder, stamp)


def run_model(model: Model, image: Image) -> Image:
    """Logits of pictures; (n, channels, rows, cols) -> (n, rows, cols), the sides multiples of the stride.

    Raises
    ------
    ModelError
        The network cannot be loaded, or computes other numbers here than where it was made.
    """
    session = _session(model.folder, model.sha256, _n_threads())
    logit: Image = session.run(None, {session.get_inputs()[0].name: image})[0]
    return logit[:, 0]


def check_model(model: Model) -> float:
    """Largest difference [logit] between what the network computes for its test vectors and what it should.

    Raises
    ------
    ModelError
        It is larger than the package allows.
    """
    return _check_vectors(_open_session(model.folder, _n_threads()), model.folder, model.about["test_vectors"])


def pack_array(array: NDArray[Any]) -> dict[str, Any]:
    """An array as JSON holds it: shape, type, and packed bytes in base 64."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    packed = base64.b64encode(zlib.compress(little.tobytes(), 9)).decode("ascii")
    return {"shape": list(array.shape), "dtype": little.dtype.str, "zlib_base64": packed}


def unpack_array(packed: Mapping[str, Any]) -> NDArray[Any]:
    """The array that ``pack_array`` packed."""
    data = zlib.decompress(base64.b64decode(packed["zlib_base64"]))
    return np.frombuffer(data, np.dtype(packed["dtype"])).reshape(packed["shape"])


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder_of(name: str) -> Path:
    if not name:
        if not (_MODELS / SHIPPED).is_dir():
            raise ModelError(f"no model package comes with this copy of fringemap; {_HELP}")
        return _MODELS / SHIPPED
    given = Path(name).expanduser()
    shipped = _MODELS / name
    if not given.is_dir() and "/" not in name and shipped.is_dir():
        return shipped
    if not given.is_dir():
        raise ModelError(f"{name} is no folder with a model package; {_HELP}")
    return given.resolve()


@lru_cache(maxsize=8)
def _read_model(folder: Path, _stamp: Sequence[int]) -> Model:
    try:
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        _check_fit(folder, about)
        near = about.get("calibration_near_axes")
        model = Model(
            folder=folder,
            name=str(about["name"]),
            sha256=str(about["sha256"]),
            n_channels=len(about["input"]["channels"]),
            stride=int(about["input"]["stride_px"]),
            half=bool(about["input"]["half"]),
            max_shape=(int(about["input"]["max_shape_px"][0]), int(about["input"]["max_shape_px"][1])),
            threshold=float(about["threshold_logit"]),
            calibration=_read_table(about["calibration"]),
            near_axes=_read_table(near) if near else None,
            about=about,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelError(f"{folder / 'model.json'} is damaged ({error!r}); {_HELP}") from error
    for calibrated in (model.calibration, model.near_axes):
        if calibrated is not None:
            _check_table(model, calibrated)
    if sha256_of(folder / "model.onnx") != model.sha256:
        raise ModelError(
            f"{folder / 'model.onnx'} is not the file that model.json describes (SHA-256 differs); {_HELP}"
        )
    return model


def _check_fit(folder: Path, about: Mapping[str, Any]) -> None:
    if "test_vectors" not in about:
        raise ModelError(f"{folder} is unfinished: its training was stopped; go on with fringemap train --resume")
    if about["format"] != FORMAT:
        raise ModelError(f"{folder} has format {about['format']}, this fringemap reads {FORMAT}; {_HELP}")
    contract = about["input"]["contract"]
    if contract != CONTRACT or about["input"]["margin_px"] != MARGIN:
        raise ModelError(
            f"{folder} was trained on input of version {contract}, this fringemap makes {CONTRACT}; {_HELP}"
        )


def _read_table(table: Mapping[str, Any]) -> Calibration:
    logit, log10_rate = (np.array(table[name], float) for name in ("logit", "log10_false_per_megapixel"))
    return Calibration(logit, log10_rate, float(table.get("exponent", 1.0)))


def _check_table(model: Model, table: Calibration) -> None:
    logit, rate = table.logit, table.log10_rate
    fits = len(logit) == len(rate) >= 2 and (np.diff(logit) > 0).all() and (np.diff(rate) < 0).all()
    if not (fits and np.isfinite(logit).all() and np.isfinite(rate).all()):
        raise ModelError(f"{model.folder / 'model.json'}: its table of false spots does not fall; {_HELP}")


def _n_threads() -> int:
    """Threads of one network: as many as the environment says, else as OpenMP is given, else all cores."""
    for variable in (THREADS, "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "")
        if value.isdecimal() and int(value) > 0:
            return int(value)
    return 0


@lru_cache(maxsize=4)
def _session(folder: Path, _sha256: str, n_threads: int) -> InferenceSession:
    """The loaded network, once a process; its test vectors are looked at once as well, in a few milliseconds."""
    session = _open_session(folder, n_threads)
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    _check_vectors(session, folder, about["test_vectors"])
    return session


def _open_session(folder: Path, n_threads: int) -> InferenceSession:
    import onnxruntime  # slow to import, and the classical detector needs none

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads take the cores from other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen kinds, none of them documented
        raise ModelError(f"{folder / 'model.onnx'} cannot be loaded ({error}); {_HELP}") from error


def _check_vectors(session: InferenceSession, folder: Path, vectors: Sequence[Mapping[str, Any]]) -> float:
    worst = 0.0
    for image, wanted, tolerance in _read_vectors(folder, vectors):
        got = session.run(None, {session.get_inputs()[0].name: image[None]})[0][0, 0]
        difference = float(np.abs(got - wanted).max())
        if not difference <= tolerance:
            raise ModelError(
                f"{folder} computes logits here that differ by {difference:.2g} from those where it was made, "
                f"{tolerance:g} are allowed; {_HELP}"
            )
        worst = max(worst, difference)
    return worst


def _read_vectors(folder: Path, vectors: Sequence[Mapping[str, Any]]) -> list[tuple[Image, Image, float]]:
    """Picture, logits and tolerance of each test vector."""
    try:
        return [_read_vector(vector) for vector in vectors]
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / 'model.json'} has a damaged test vector ({error!r}); {_HELP}") from error


def _read_vector(vector: Mapping[str, Any]) -> tuple[Image, Image, float]:
    image, logit = (unpack_array(vector[part]).astype(np.float32) for part in ("image", "logit"))
    if image.shape[1:] != logit.shape:
        raise ValueError(f"its picture is {image.shape}, its logits are {logit.shape}")
    return image, logit, float(vector["tolerance_logit"])
