"""From the pixel size that a file states to one that can be trusted, or to none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from fringemap.errors import ReadError
from fringemap.io.calibration_file import apply_calibration, read_calibration
from fringemap.io.names import expanded
from fringemap.io.units import UnitKind, angstrom_per_unit, unit_kind
from fringemap.records import Flag, Scale, ScaleSource

if TYPE_CHECKING:
    from fringemap.io.signals import Signal, StoredSize
    from fringemap.settings import ReadSettings

SMALLEST_ANGSTROM, LARGEST_ANGSTROM = 1e-3, 1e5
"""A stored size outside 0.0001 nm to 10 µm is no pixel of a micrograph, not even at the lowest magnification."""

USER_SIGMA, HEADER_SIGMA = 0.01, 0.025
"""Relative standard errors: of a size that the user vouches for, and of a maker's own calibration."""

CONTRADICTION = 0.15
"""A size given by the user that differs by more than this share from the file's is pointed out."""

ANISOTROPY = 1e-3
"""Pixels whose sides differ by more than this share are flagged."""

LARGEST_LATTICE_ANGSTROM = 4.7
"""Few inorganic phases show a strong reflection above this: 111 of the spinels has 4.7 Å, 002 of graphite 3.4 Å."""

_GIVE = "give it with --pixel-size (in nm)"


def compute_scale(
    signal: Signal, settings: ReadSettings, *, name: str = "the frame"
) -> tuple[Scale | None, list[str], Flag]:
    """Decide on the pixel size of a signal.

    Parameters
    ----------
    signal
        With the pixel size as stored.
    settings
        ``pixel_size_nm`` is taken along columns; rows keep the ratio that the file states, if it states a usable one.
        ``calibration`` names a file that corrects what is stated.

    name
        Of the file, for errors.

    Returns
    -------
    scale
        None if there is no pixel size that can be trusted: nothing is guessed.
    warnings
        Sentences for the user.
    flags
        Of every frame of the signal.

    Raises
    ------
    CalibrationError
        The calibration file cannot be used, or does not hold for this signal.
    """
    stored, why = stored_pixel_size(signal.pixel_size)
    if settings.calibration:
        scale = _calibrated(signal, settings, stored, name)
    elif settings.pixel_size_nm is not None:
        scale = _user_scale(settings, stored)
    elif stored is not None:
        scale = Scale(stored, _sigma(settings, HEADER_SIGMA), ScaleSource.HEADER)
    else:
        return None, [f"the pixel size is unknown ({why}); {_GIVE}"], Flag.UNCALIBRATED
    warnings, flags = _judge(scale)
    return scale, _contradiction(scale, stored) + warnings, flags


def _calibrated(signal: Signal, settings: ReadSettings, stored: tuple[float, float] | None, name: str) -> Scale:
    """Scale of a calibration file; what the user says of the pixel size takes the place of what the file says."""
    stated = stored if settings.pixel_size_nm is None else _user_scale(settings, stored).pixel_size_angstrom
    scale = apply_calibration(
        read_calibration(expanded(settings.calibration)),
        stated=stated,
        frame_shape=signal.frame_shape,
        metadata=signal.metadata,
        name=name,
    )
    return replace(scale, sigma=_sigma(settings, scale.sigma))


def stored_pixel_size(sizes: tuple[StoredSize, StoredSize]) -> tuple[tuple[float, float] | None, str]:
    """Pixel size (rows, cols) [Å], or None and the reason why it cannot be trusted."""
    angstrom = []
    for size in sizes:
        value, why = _one_axis(size)
        if why:
            return None, why
        angstrom.append(value)
    return (angstrom[0], angstrom[1]), ""


def _one_axis(size: StoredSize) -> tuple[float, str]:
    factor = angstrom_per_unit(size.unit)
    if math.isnan(size.value):
        return 0.0, "the file has none"
    if factor is None:
        return 0.0, f"the file says {size.value:g} without a unit of length" + (f": '{size.unit}'" if size.unit else "")
    angstrom = size.value * factor
    if not math.isfinite(angstrom) or angstrom <= 0:
        return 0.0, f"the file says {size.value:g} {size.unit}, which is not a size"
    if not SMALLEST_ANGSTROM <= angstrom <= LARGEST_ANGSTROM:
        return 0.0, f"the file says {size.value:g} {size.unit}, which is absurd for a micrograph"
    return angstrom, ""


def is_reciprocal(sizes: tuple[StoredSize, StoredSize]) -> bool:
    """Whether the axes are those of a diffraction pattern: reciprocal lengths or angles."""
    return any(unit_kind(size.unit) in (UnitKind.RECIPROCAL, UnitKind.ANGLE) for size in sizes)


def _user_scale(settings: ReadSettings, stored: tuple[float, float] | None) -> Scale:
    if settings.pixel_size_nm is None:
        raise ReadError("no pixel size was given")
    cols = 10.0 * settings.pixel_size_nm
    rows = cols * (stored[0] / stored[1] if stored else 1.0)
    return Scale((rows, cols), _sigma(settings, USER_SIGMA), ScaleSource.USER)


def _contradiction(scale: Scale, stored: tuple[float, float] | None) -> list[str]:
    """Tell the user if the size given and that of the file are further apart than calibrations ever are."""
    given = scale.pixel_size_angstrom
    if scale.source is not ScaleSource.USER or stored is None or abs(given[1] / stored[1] - 1.0) <= CONTRADICTION:
        return []
    return [f"the file says {stored[1] / 10:.6g} nm per pixel, you gave {given[1] / 10:.6g} nm, which is used"]


def _sigma(settings: ReadSettings, default: float) -> float:
    return default if settings.scale_sigma_percent is None else settings.scale_sigma_percent / 100.0


def _judge(scale: Scale) -> tuple[list[str], Flag]:
    rows, cols = scale.pixel_size_angstrom
    warnings, flags = [], Flag.NONE
    # A calibration has measured the difference, and all is corrected for it.
    if abs(rows / cols - 1.0) > ANISOTROPY and scale.source is not ScaleSource.CALIBRATED:
        flags |= Flag.ANISOTROPIC_PIXELS
        warnings.append(
            f"the pixels are not square: {rows / 10:.6g} nm along rows (y), {cols / 10:.6g} nm along columns (x)"
        )
    if 2.0 * min(rows, cols) > LARGEST_LATTICE_ANGSTROM:
        flags |= Flag.COARSE_SAMPLING
        warnings.append(
            f"the pixels of {min(rows, cols) / 10:.4g} nm are too coarse to resolve any lattice: the smallest d-spacing"
            f" that they can show is {2 * min(rows, cols):.3g} Å; use a higher magnification"
        )
    return warnings, flags
