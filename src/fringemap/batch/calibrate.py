"""Calibration on a file that shows a known lattice."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fringemap.errors import CalibrationError, SettingsError
from fringemap.io import read, sha256
from fringemap.phases import load_references
from fringemap.phases.standards import Ring, StandardFit, corrected_scale, find_scale, fit_rings, fit_standard
from fringemap.records import Calibration, Scale, ScaleSource
from fringemap.settings import AnalysisSettings
from fringemap.spectrum import average_diffractograms, compute_profile
from fringemap.spots import find_rings, find_spots, measure_ring, spot_mask, straighten_spots
from fringemap.spots.unscaled import (
    LARGEST_ANGSTROM,
    NO_SIGMA,
    PROVISIONAL_ANGSTROM,
    SMALLEST_ANGSTROM,
    provisional_scale,
    provisional_settings,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fringemap.io import FrameSeries
    from fringemap.records import Frame, Reflections, Spots

FOUND_SIGMA = 0.02
"""Relative standard error of a pixel size that was found so, before the fit."""

OUTSTANDING = 0.25
"""Of several rings in a frame without a pixel size, the others may be this significant, at most, of the strongest."""

STRONGEST = 20
FEW_USED = 6
SUSPECT_SIGMA = 2.5
LARGE_ELLIPSE = 0.03
POOR_SIGMA = 0.005


class _Seen(NamedTuple):
    """What the frames show at one scale."""

    spots: Spots
    rings: list[Ring]
    ring_significance: list[float]


def calibrate_input(
    path: Path,
    standard: str = "",
    *,
    ring_angstrom: float | None = None,
    settings: AnalysisSettings | None = None,
) -> Calibration:
    """Find pixel size, ellipse and shear from a lattice that is known to be in a file.

    Parameters
    ----------
    path
        A file, stack or folder of frames; the power of all frames that the settings choose is averaged.
    standard
        Name of a structure in the library, a CIF, or a table of d-spacings.
    ring_angstrom
        Instead: d of a ring [Å], the strongest one, or the nearest where the file states a pixel size.
    settings
        Of reading, spectrum and spots.

    Raises
    ------
    ReadError, StructureError
        The file or the standard cannot be used.
    SettingsError
        No standard is named, or both.
    CalibrationError
        The standard does not fit, spots are too few, or the pixel size stays open.
    """
    settings = settings or AnalysisSettings()
    if bool(standard) == (ring_angstrom is not None):
        raise SettingsError("name one standard, with --standard NAME or with --ring ANGSTROM")
    reference = _load_standard(standard, settings) if standard else None
    with read(path, settings=replace(settings.read, calibration="")) as series:
        found = calibrate_frames(series, reference, ring_angstrom=ring_angstrom, settings=settings)
        return replace(found, **_provenance(series))


def _load_standard(name: str, settings: AnalysisSettings) -> Reflections:
    references = load_references(
        replace(settings.phases, phases=(name,), elements=()), d_min_angstrom=settings.spots.d_min_angstrom
    )
    if len(references) != 1:
        raise CalibrationError(f"{name} stands for {len(references)} phases; name one of them as the standard")
    return references[0]


def _provenance(series: FrameSeries) -> dict[str, Any]:
    known = series.metadata
    numbers = {
        key: known[key] for key in ("magnification", "high_tension_kv") if isinstance(known.get(key), int | float)
    }
    return {
        "source": series.path.name,
        "source_sha256": sha256(series.path),
        "date": datetime.now(UTC).date().isoformat(),
        "instrument": str(known.get("instrument", "")),
        **numbers,
    }


def calibrate_frames(
    frames: FrameSeries | Sequence[Frame],
    standard: Reflections | None = None,
    *,
    ring_angstrom: float | None = None,
    settings: AnalysisSettings | None = None,
) -> Calibration:
    """Find pixel size, ellipse and shear from a lattice that is known to be in frames of one shape and scale.

    Parameters
    ----------
    frames
        At least one. Without a scale it is sought: from ratios and angles of spots, or from the ring. A series is read
        frame by frame, each time anew.
    standard, ring_angstrom
        One of both; see ``calibrate_input``.

    Returns
    -------
    Calibration
        Without file, date and microscope, which frames do not know.
    """
    settings, first = settings or AnalysisSettings(), frames[0]
    stated, (rows, cols) = first.scale, first.image.shape
    scale = stated or _find_scale(frames, (rows, cols), standard, settings)
    seen = _observe(frames, scale, settings)
    if ring_angstrom is not None:
        fit, name = _fit_ring(seen, ring_angstrom, scale)
    elif standard is None:
        raise SettingsError("name a standard, or the d-spacing of a ring")
    else:
        fit, name = _fit(seen, standard, scale), standard.phase
    corrected = corrected_scale(scale, fit.distortion)
    s, e1, e2 = fit.distortion.mean.tolist()
    own_s, own_e1, own_e2 = np.sqrt(np.diag(fit.distortion.covariance)).tolist()
    return Calibration(
        pixel_size_angstrom=corrected.pixel_size_angstrom,
        shear=corrected.shear,
        sigma=corrected.sigma,
        stated_pixel_size_angstrom=None if stated is None else stated.pixel_size_angstrom,
        frame_shape=(rows, cols),
        standard=name,
        method=fit.method,
        n_used=len(fit.used),
        n_found=fit.n_found,
        residual=fit.residual,
        distortion=(s if stated else 0.0, e1, e2),
        distortion_sigma=(own_s, own_e1, own_e2),
        doubts=tuple(_doubts(fit, stated, corrected.sigma, seen)),
    )


def _observe(frames: FrameSeries | Sequence[Frame], scale: Scale, settings: AnalysisSettings) -> _Seen:
    scaled = (replace(frame, scale=scale) for frame in frames)
    diffractogram = average_diffractograms(
        scaled, settings=settings.spectrum, d_min_angstrom=settings.spots.d_min_angstrom
    )
    spots = find_spots(diffractogram, settings=settings.spots)
    mask = spot_mask(diffractogram, spots)
    found = find_rings(compute_profile(diffractogram, inside=np.flatnonzero(mask)), spots, settings=settings.spots)
    shapes = [
        measure_ring(diffractogram, g=float(g), width=float(width), mask=mask)
        for g, width in zip(found.g, found.width, strict=True)
    ]
    whole = [i for i, shape in enumerate(shapes) if np.isfinite(shape.covariance).all()]
    rings = [Ring(*shapes[i]) for i in whole]
    return _Seen(straighten_spots(spots, scale), rings, [float(found.significance[i]) for i in whole])


def _find_scale(
    frames: FrameSeries | Sequence[Frame],
    frame_shape: tuple[int, int],
    standard: Reflections | None,
    settings: AnalysisSettings,
) -> Scale:
    """Seek the pixel size of frames that have none."""
    provisional = provisional_scale()
    wide = provisional_settings(settings.spots, frame_shape)
    if standard is None:
        return provisional
    seen = _observe(frames, provisional, replace(settings, spots=wide))
    if len(seen.spots) < 3 and seen.rings:
        return provisional
    smallest, largest = (size / PROVISIONAL_ANGSTROM for size in (SMALLEST_ANGSTROM, LARGEST_ANGSTROM))
    factor = find_scale(seen.spots, standard, smallest=smallest, largest=largest)
    size = factor * PROVISIONAL_ANGSTROM
    return Scale((size, size), FOUND_SIGMA, ScaleSource.USER)


def _fit(seen: _Seen, standard: Reflections, scale: Scale) -> StandardFit:
    """By spots; by rings where there are no spots to speak of."""
    if len(seen.spots) < 3 and seen.rings:
        sigma = math.inf if scale.sigma >= NO_SIGMA else scale.sigma
        return fit_rings(seen.rings, standard.d_spacing, scale_sigma=sigma, name=standard.phase)[0]
    return fit_standard(seen.spots, standard, scale_sigma=scale.sigma)


def _fit_ring(seen: _Seen, d_angstrom: float, scale: Scale) -> tuple[StandardFit, str]:
    if not seen.rings:
        raise CalibrationError("the frame shows no ring; name the phase of its spots with --standard")
    if scale.sigma >= NO_SIGMA:
        number = _only_ring(seen)
    else:
        number = int(np.argmin([abs(ring.log_g + math.log(d_angstrom)) for ring in seen.rings]))
    chosen = seen.rings[number]
    sigma = math.inf if scale.sigma >= NO_SIGMA else scale.sigma
    if abs(chosen.log_g + math.log(d_angstrom)) > 3.0 * math.hypot(sigma, math.sqrt(chosen.covariance[0, 0])):
        raise CalibrationError(
            f"the ring nearest to {d_angstrom:g} Å lies at {math.exp(-chosen.log_g):.3f} Å, further off than the pixel "
            f"size may be ({100 * sigma:.2g} %); give the right d-spacing, or a larger --scale-sigma"
        )
    fit, _ = fit_rings([chosen], np.array([d_angstrom]), scale_sigma=math.inf, name=f"{d_angstrom:g} Å")
    return replace(fit, n_found=len(seen.rings)), f"ring {d_angstrom:g} Å"


def _only_ring(seen: _Seen) -> int:
    """Of frames without a pixel size, the one ring that stands out."""
    order = np.argsort(-np.array(seen.ring_significance), kind="stable")
    if len(order) > 1 and seen.ring_significance[order[1]] > OUTSTANDING * seen.ring_significance[order[0]]:
        raise CalibrationError(
            f"the frame shows {len(order)} rings, and without a pixel size nobody can tell which one is meant; give a "
            "rough pixel size with --pixel-size and --scale-sigma"
        )
    return int(order[0])


def _doubts(fit: StandardFit, stated: Scale | None, sigma: float, seen: _Seen) -> list[str]:
    """Say why a calibration should not be trusted."""
    s, e1, e2 = fit.distortion.mean
    doubts = []
    if fit.method != "rings":
        strongest = set(np.argsort(-seen.spots.snr, kind="stable")[:STRONGEST].tolist())
        on = len(strongest & set(fit.used))
        if len(fit.used) < FEW_USED:
            doubts.append(f"only {len(fit.used)} spots lie on the standard; six in several directions would do")
        if on < 0.5 * len(strongest):
            doubts.append(
                f"{on} of the {len(strongest)} strongest spots lie on the standard: most of the frame is something else"
            )
        if fit.method == "spots":
            doubts.append("no zone of the standard was found: d-spacings alone fit, and those of other phases may, too")
    elif len(fit.used) == 1:
        doubts.append("a single ring: if it is another one than you say, the pixel size is wrong by their ratio")
    if stated is not None and abs(s) > SUSPECT_SIGMA * math.hypot(stated.sigma, sigma):
        doubts.append(
            f"the pixel size would be {100 * s:+.1f} % off, more than its error of {100 * stated.sigma:.2g} % allows: "
            "is it the right standard?"
        )
    if math.hypot(e1, e2) > LARGE_ELLIPSE:
        doubts.append("the image is so distorted that the calibration holds only for frames taken in the very same way")
    if sigma > POOR_SIGMA:
        doubts.append(f"the standard error of {100 * sigma:.2g} % is large; take a frame with more spots or periods")
    return doubts
