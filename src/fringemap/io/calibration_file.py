"""Calibration files: what a known lattice said about the pixels, and which other files it holds for."""

from __future__ import annotations

import json
import math
import tomllib
from typing import TYPE_CHECKING, Any

from fringemap.errors import CalibrationError
from fringemap.records import Calibration, Scale, ScaleSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "fringemap calibration 1"

SAME_SIZE = 1e-3
"""Stated pixel sizes within this share are the same: files round them."""

SAME_MAGNIFICATION = 5e-3

LARGEST_BINNING = 16

_HEAD = """\
# Made by "fringemap calibrate". It holds for frames whose file states the same pixel size as stated here, or that show
# the same field with another binning.
"""


def calibration_to_text(calibration: Calibration, *, as_json: bool = False) -> str:
    """Write a calibration as TOML, or as JSON, with units in the names."""
    values = {"format": FORMAT, **_to_file(calibration)}
    if as_json:
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value is not None)
    return _HEAD + "\n".join(lines) + "\n"


def _to_file(calibration: Calibration) -> dict[str, Any]:
    rows, cols = calibration.pixel_size_angstrom
    stated = calibration.stated_pixel_size_angstrom
    return {
        "pixel_size_x_nm": cols / 10.0,
        "pixel_size_y_nm": rows / 10.0,
        "shear": calibration.shear,
        "scale_sigma_percent": 100.0 * calibration.sigma,
        "stated_pixel_size_x_nm": None if stated is None else stated[1] / 10.0,
        "stated_pixel_size_y_nm": None if stated is None else stated[0] / 10.0,
        "n_cols": calibration.frame_shape[1],
        "n_rows": calibration.frame_shape[0],
        "standard": calibration.standard,
        "method": calibration.method,
        "n_used": calibration.n_used,
        "n_found": calibration.n_found,
        "residual_percent": 100.0 * calibration.residual,
        "distortion_percent": [100.0 * x for x in calibration.distortion],
        "distortion_sigma_percent": [100.0 * x for x in calibration.distortion_sigma],
        **{name: getattr(calibration, name) for name in _AS_THEY_ARE},
        "doubts": list(calibration.doubts),
    }


_AS_THEY_ARE = ("source", "source_sha256", "date", "instrument", "magnification", "high_tension_kv")


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises
    ------
    CalibrationError
        The file is missing, is no calibration, or holds impossible numbers.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except OSError as error:
        raise CalibrationError(
            f"{path} cannot be read ({error.strerror or error}); name the file that fringemap calibrate -o wrote"
        ) from error
    except ValueError as error:
        raise CalibrationError(f"{path} is no calibration file ({error}); make one with fringemap calibrate") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise CalibrationError(
            f'{path} is no calibration file: it lacks format = "{FORMAT}"; make one with fringemap calibrate'
        )
    try:
        calibration = _from_file(values)
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"the calibration file {path} is damaged ({type(error).__name__}: {error}); make it again"
        ) from error
    _check(calibration, path)
    return calibration


def _from_file(values: Mapping[str, Any]) -> Calibration:
    stated = values.get("stated_pixel_size_x_nm")
    s, e1, e2 = (float(x) / 100.0 for x in values["distortion_percent"])
    own_s, own_e1, own_e2 = (float(x) / 100.0 for x in values["distortion_sigma_percent"])
    return Calibration(
        pixel_size_angstrom=(10.0 * float(values["pixel_size_y_nm"]), 10.0 * float(values["pixel_size_x_nm"])),
        shear=float(values["shear"]),
        sigma=float(values["scale_sigma_percent"]) / 100.0,
        stated_pixel_size_angstrom=(
            None if stated is None else (10.0 * float(values["stated_pixel_size_y_nm"]), 10.0 * float(stated))
        ),
        frame_shape=(int(values["n_rows"]), int(values["n_cols"])),
        standard=str(values["standard"]),
        method=str(values["method"]),
        n_used=int(values["n_used"]),
        n_found=int(values["n_found"]),
        residual=float(values["residual_percent"]) / 100.0,
        distortion=(s, e1, e2),
        distortion_sigma=(own_s, own_e1, own_e2),
        doubts=tuple(str(doubt) for doubt in values.get("doubts", ())),
        **{name: values[name] for name in _AS_THEY_ARE if name in values},
    )


def _check(calibration: Calibration, path: Path) -> None:
    numbers = [*calibration.pixel_size_angstrom, calibration.shear, calibration.sigma]
    sizes = (*calibration.pixel_size_angstrom, *(calibration.stated_pixel_size_angstrom or ()), calibration.sigma)
    if not all(map(math.isfinite, numbers)) or min(sizes) <= 0 or abs(calibration.shear) > 0.5:
        raise CalibrationError(
            f"the calibration file {path} holds impossible numbers (pixel size, error or shear); make it again"
        )


def apply_calibration(
    calibration: Calibration,
    *,
    stated: tuple[float, float] | None,
    frame_shape: tuple[int, int],
    metadata: Mapping[str, str | float],
    name: str,
) -> Scale:
    """Give a frame the scale of a calibration, if it holds for it.

    Parameters
    ----------
    stated
        Pixel size that the frame's file, or the user, states (rows, cols) [Å]; None: nothing.
    metadata
        Of the frame; a magnification that differs is refused.
    name
        Of the frame's file, for errors.

    Returns
    -------
    Scale
        ``ScaleSource.CALIBRATED``, its pixels as large as the binning asks for.

    Raises
    ------
    CalibrationError
        The frame has another pixel size and another field of view than the standard, or another magnification.
    """
    binning = _binning(calibration, stated, frame_shape)
    if binning is None:
        raise CalibrationError(_misfit(calibration, stated, frame_shape, name))
    own = metadata.get("magnification")
    known = calibration.magnification
    if known and isinstance(own, int | float) and abs(own / known - 1.0) > SAME_MAGNIFICATION:
        raise CalibrationError(
            f"{name} was taken at a magnification of {own:g}, the calibration {calibration.source} at {known:g}; "
            "calibrate at the magnification that you use"
        )
    rows, cols = calibration.pixel_size_angstrom
    return Scale((rows * binning, cols * binning), calibration.sigma, ScaleSource.CALIBRATED, calibration.shear)


def _binning(
    calibration: Calibration, stated: tuple[float, float] | None, frame_shape: tuple[int, int]
) -> float | None:
    """How many times larger the pixels of a frame are than those of the standard's; None: it cannot be told."""
    before = calibration.stated_pixel_size_angstrom
    if (stated is None) != (before is None):
        return None
    fields = [was / now for was, now in zip(calibration.frame_shape, frame_shape, strict=True)]
    if stated is None or before is None:
        return fields[0] if abs(fields[0] - fields[1]) < SAME_SIZE and _is_whole(fields[0]) else None
    ratios = [now / was for now, was in zip(stated, before, strict=True)]
    if max(abs(ratio - 1.0) for ratio in ratios) <= SAME_SIZE:
        return 1.0
    # A camera whose side is no multiple of the binning loses a few pixels.
    same_field = all(abs(r / f - 1.0) < 0.01 for r, f in zip(ratios, fields, strict=True))
    same_binning = abs(ratios[0] / ratios[1] - 1.0) <= SAME_SIZE
    return round_binning(ratios[0]) if same_field and same_binning and _is_whole(ratios[0]) else None


def _is_whole(ratio: float) -> bool:
    larger = max(ratio, 1.0 / ratio)
    return abs(larger / round(larger) - 1.0) <= SAME_SIZE and round(larger) <= LARGEST_BINNING


def round_binning(ratio: float) -> float:
    """Whole number, or one over it, that a ratio is meant to be."""
    return float(round(ratio)) if ratio >= 1.0 else 1.0 / round(1.0 / ratio)


def _misfit(
    calibration: Calibration, stated: tuple[float, float] | None, frame_shape: tuple[int, int], name: str
) -> str:
    rows, cols = calibration.frame_shape
    before = calibration.stated_pixel_size_angstrom
    known = f"{cols} x {rows} px" if before is None else f"{before[1] / 10:.6g} nm per pixel, {cols} x {rows} px"
    mine = f"{frame_shape[1]} x {frame_shape[0]} px"
    if stated is not None:
        mine = f"{stated[1] / 10:.6g} nm per pixel, {mine}"
    if stated is None and before is not None:
        out = f"say with --pixel-size what its microscope states; for the standard that was {before[1] / 10:.6g}"
    elif stated is not None and before is None:
        out = "its standard had no pixel size; calibrate with a file that states one"
    else:
        out = "calibrate at the magnification that you use, on a frame of the same camera"
    return f"{name} ({mine}) is not what {calibration.source or 'the standard'} was calibrated for ({known}); {out}"
